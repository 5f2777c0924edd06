# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A reader of DER (ITU-T X.690), limited to the structures of a module's signature.

It accepts the encodings that the Linux kernel accepts (``lib/asn1_decoder.c``), which reads BER: lengths in up to two
octets that need not be the shortest, indefinite lengths, and constructed elements without the bit that marks them. Tags
have one byte. It reads within fixed bounds and is not recursive: the caller names the tag of each element that it
expects.
"""

from __future__ import annotations

INTEGER = 0x02
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31

_CONSTRUCTED = 0x20
_LONG_TAG = 0x1F
_LONG_LENGTH = 0x80
_LENGTH_OCTETS = 2
_END_MARK = b"\0\0"


class DerError(ValueError):
    """The bytes are not the expected elements. The message gives the fault and its position."""


def context(number: int, *, constructed: bool = True) -> int:
    """Return the tag ``[number]``."""
    return (0xA0 if constructed else 0x80) | number


class Der:
    """A reader of the elements between two positions of `data`. Every method but `at` and `more` raises `DerError`.

    `indefinite` is True for the content of an element of indefinite length, which a mark ends.
    """

    __slots__ = ("_data", "_end", "_indefinite", "_position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None, *, indefinite: bool = False) -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end
        self._indefinite = indefinite

    def at(self, *tags: int) -> bool:
        """Return True if there is a next element with one of these tags."""
        return self._position < self._end and _has_tag(self._data[self._position], tags)

    def more(self) -> bool:
        """Return True if there is a next element."""
        return self._position < self._end

    def enter(self, *tags: int) -> Der:
        """Skip the next element, which must have one of these tags, and return a reader of its content."""
        start, end, indefinite = self._step(*tags)
        return Der(self._data, start, end, indefinite=indefinite)

    def value(self, tag: int) -> bytes:
        """Skip the next element, and return its content."""
        start, end, _indefinite = self._step(tag)
        return self._data[start:end]

    def encoded(self, tag: int) -> bytes:
        """Skip the next element, and return it with tag and length."""
        start = self._position
        self._step(tag)
        return self._data[start : self._position]

    def skip(self) -> None:
        """Skip the next element of any tag."""
        self._step()

    def more_of_any(self) -> bool:
        """Return True if there is a next element, which may have any tag.

        The kernel takes the mark that ends an indefinite length for such an element, and then misses the mark.
        """
        if self._indefinite and not self.more():
            raise DerError(f"the mark at byte {self._end} ends an element in which another one may follow")
        return self.more()

    def finish(self) -> None:
        """Raise `DerError` if there is a next element."""
        if self._position != self._end:
            raise DerError(f"unexpected data at byte {self._position}")

    def _step(self, *tags: int) -> tuple[int, int, bool]:
        """Skip the next element, which must have one of the tags if any are given.

        Return the positions at which its content begins and ends, and True if its length is indefinite.
        """
        position = self._position
        start, end = _content(self._data, position, self._end)
        if tags and not _has_tag(self._data[position], tags):
            expected = " or ".join(f"{tag:#04x}" for tag in tags)
            raise DerError(f"tag {self._data[position]:#04x} at byte {position}, where {expected} is expected")
        if end is not None:
            self._position = end
            return start, end, False
        end = _find_end_mark(self._data, start, self._end)
        self._position = end + len(_END_MARK)
        return start, end, True


def _has_tag(tag: int, expected: tuple[int, ...]) -> bool:
    """Compare tags as the kernel does, which does not require the bit of a constructed element."""
    return any(each in (tag, tag | _CONSTRUCTED) for each in expected)


def _content(data: bytes, position: int, limit: int) -> tuple[int, int | None]:
    """Return the positions at which the content of an element begins and ends: ``None`` for an indefinite length."""
    start = position + 2
    if start > limit:
        raise DerError(f"data ends at byte {limit}, where an element is expected")
    tag, length = data[position], data[position + 1]
    if tag & _LONG_TAG == _LONG_TAG:
        raise DerError(f"a tag of several bytes at byte {position}")
    if length == _LONG_LENGTH and tag & _CONSTRUCTED:
        return start, None
    if length >= _LONG_LENGTH:
        octets = length - _LONG_LENGTH
        if not 1 <= octets <= _LENGTH_OCTETS:
            raise DerError(f"a length of an unusual form at byte {position + 1}")
        start += octets
        length = int.from_bytes(data[position + 2 : start], "big")
    if start + length > limit:
        raise DerError(f"the element at byte {position} is longer than the element around it")
    return start, start + length


def _find_end_mark(data: bytes, position: int, limit: int) -> int:
    """Return the position of the mark that ends an element, from the position of its content."""
    level = 1
    while True:
        start, end = _content(data, position, limit)
        if data[position : position + 2] == _END_MARK:
            level -= 1
            if level == 0:
                return position
        elif end is None:
            level += 1
        position = start if end is None else end
