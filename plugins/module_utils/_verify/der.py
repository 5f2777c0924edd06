# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A strict reader of DER (ITU-T X.690), limited to the structures of a module's signature.

It reads forward within fixed bounds, reads each byte at most twice, and is not recursive: the caller names the tag of
each element that it expects. Only the shortest definite lengths and tags of one byte are accepted, so that every value
has one encoding and a change of a single bit is detected.
"""

from __future__ import annotations

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31

_LENGTH_OCTETS = 4


class DerError(ValueError):
    """The bytes are not the expected DER. The message gives the fault and its position."""


def context(number: int, *, constructed: bool = True) -> int:
    """Return the tag ``[number]``."""
    return (0xA0 if constructed else 0x80) | number


class Der:
    """A reader of the elements between two positions of `data`. Every method but `at` and `more` raises `DerError`."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end

    def at(self, tag: int) -> bool:
        """Return True if there is a next element with this tag."""
        return self._position < self._end and self._data[self._position] == tag

    def more(self) -> bool:
        """Return True if there is a next element."""
        return self._position < self._end

    def enter(self, tag: int) -> Der:
        """Skip the next element, and return a reader of its content."""
        start = self._step(tag)
        return Der(self._data, start, self._position)

    def value(self, tag: int) -> bytes:
        """Skip the next element, and return its content."""
        start = self._step(tag)
        return self._data[start : self._position]

    def encoded(self, tag: int) -> bytes:
        """Skip the next element, and return it with tag and length."""
        start = self._position
        self._step(tag)
        return self._data[start : self._position]

    def skip(self) -> None:
        """Skip the next element of any tag that has one byte."""
        if self._position < self._end and self._data[self._position] & 0x1F == 0x1F:
            raise DerError(f"a tag of several bytes at byte {self._position}")
        self._step(None)

    def finish(self) -> None:
        """Raise `DerError` if there is a next element."""
        if self._position != self._end:
            raise DerError(f"unexpected data at byte {self._position}")

    def _step(self, tag: int | None) -> int:
        """Skip the next element, which must have this tag if one is given, and return the position of its content."""
        data, position = self._data, self._position
        start = position + 2
        if start > self._end:
            raise DerError(f"data ends at byte {self._end}, where an element is expected")
        if tag is not None and data[position] != tag:
            raise DerError(f"tag {data[position]:#04x} at byte {position}, where {tag:#04x} is expected")
        length = data[position + 1]
        if length >= 0x80:
            octets = length & 0x7F
            if not 1 <= octets <= _LENGTH_OCTETS:
                raise DerError(f"a length of an unusual form at byte {position + 1}")
            start += octets
            length = int.from_bytes(data[position + 2 : start], "big")
            if length < max(0x80, 1 << 8 * (octets - 1)):
                raise DerError(f"a length longer than needed at byte {position + 1}")
        if start + length > self._end:
            raise DerError(f"the element at byte {position} is longer than the element around it")
        self._position = start + length
        return start
