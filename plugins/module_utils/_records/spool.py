# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Keep the complete records of a fleet in temporary files until a format needs them.

The records of a large fleet do not fit in memory, and reading their files twice could show two different fleets.
A section that many records have in common is written once, and each of these records has a reference to it.
"""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

_BUFFER = 1024 * 1024  # bytes
_MEMORY = 8 * 1024 * 1024  # bytes of sections that a process keeps

ALIKE = (
    "schema",
    "collector",
    "eligibility",
    "patch",
    "kernel_patches",
    "assessment",
    "clock_skew_seconds",
    "vulnerabilities",
)
"""Keys of the sections that similar hosts have in common. The others differ from host to host."""

_ALIKE_BEGINNINGS = tuple(f'"{key}": '.encode() for key in ALIKE)
_REFERENCE = "@"  # never begins a section, which begins with the quotation mark of its key


class SpoolPosition(t.NamedTuple):
    """The position of a document: the number of the file, the first byte, and the number of bytes."""

    file: int
    begin: int
    size: int


class Spool:
    """Documents, each as its sections, in unnamed temporary files that disappear with the processes.

    A forked process can read and write too, each process with a separate writer.
    """

    def __init__(self) -> None:
        self._files: list[t.IO[bytes]] = []
        self._known: list[dict[str, str]] = []  # the common sections of each file, by their references
        self._room = _MEMORY

    def writer(self) -> SpoolWriter:
        """Add a file and return its writer."""
        self._files.append(tempfile.TemporaryFile(buffering=_BUFFER))
        self._known.append({})
        return SpoolWriter(len(self._files) - 1, self._files[-1])

    def sections(self, position: SpoolPosition) -> list[str]:
        """Return the sections of the document at a position, each a member of a JSON object.

        A section that documents have in common is the same object each time, so that looking it up is fast.
        """
        known = self._known[position.file]
        lines = self._read(*position).split("\n")
        return [
            known.get(line) or self._common(position.file, line) if line[0] == _REFERENCE else line for line in lines
        ]

    def document(self, position: SpoolPosition) -> str:
        """Return the document at a position as one line of JSON, without a line end."""
        return f"{{{', '.join(self.sections(position))}}}"

    def _common(self, file: int, reference: str) -> str:
        """Read a section that documents have in common, and keep it."""
        begin, size = map(int, reference[1:].split())
        self._room -= size
        if self._room < 0:
            for known in self._known:
                known.clear()
            self._room = _MEMORY - size
        section = self._known[file][reference] = self._read(file, begin, size)
        return section

    def _read(self, file: int, begin: int, size: int) -> str:
        return os.pread(self._files[file].fileno(), size, begin).decode("ascii")


class SpoolWriter:
    """Writes one file of a spool."""

    def __init__(self, number: int, file: t.IO[bytes]) -> None:
        self._number = number
        self._file = file
        self._end = 0
        self._references: dict[bytes, bytes] = {}
        self._room = _MEMORY

    def append(self, sections: t.Iterable[bytes]) -> SpoolPosition:
        """Write a document, given as sections from `sections_of`. It can be read after `flush`."""
        lines = [self._reference(each) if each.startswith(_ALIKE_BEGINNINGS) else each for each in sections]
        return SpoolPosition(self._number, *self._write(b"\n".join(lines)))

    def flush(self) -> None:
        """Make all appended documents readable, and free the memory that appending needs."""
        self._file.flush()
        self._references.clear()
        self._room = _MEMORY

    def _reference(self, section: bytes) -> bytes:
        """Return the reference to a section, which is written unless an earlier document has it."""
        reference = self._references.get(section)
        if reference is None:
            begin, size = self._write(section)
            self._room -= size
            if self._room < 0:
                self._references.clear()
                self._room = _MEMORY - size
            reference = self._references[section] = f"{_REFERENCE}{begin} {size}".encode("ascii")
        return reference

    def _write(self, text: bytes) -> tuple[int, int]:
        begin, size = self._end, self._file.write(text)
        self._end += size
        return begin, size


def sections_of(document: t.Mapping[str, object]) -> tuple[bytes, ...]:
    """Write the members of a document as JSON, each on one line of pure ASCII."""
    return tuple(f"{as_line(key)}: {as_line(value)}".encode("ascii") for key, value in document.items())


def document_text(document: t.Mapping[str, object]) -> str:
    """Write a document as it is stored: one line for each member, so that it is readable and quick to parse."""
    return "{\n" + ",\n".join(f"  {section.decode('ascii')}" for section in sections_of(document)) + "\n}\n"


# Created once: json.dumps creates an encoder for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)


def as_line(document: object) -> str:
    """Return JSON as one line of ASCII, so that no text from a host reaches a terminal or parser unescaped."""
    return _ENCODER.encode(document)


# A fleet has few kinds of systems and clients, but each host has its machine ID and its times. Without these values,
# the sections of similar hosts are equal, and each kind has to be parsed only once.
# Keys whose values differ from host to host, by the beginning of their section, in the order in which records have
# them. All values are texts or null.
_KEYS = {'"system"': ('"machine_id_sha256"', '"booted_at"'), '"client"': ('"last_check"',)}
_BEGINNING = len('"system"')
_TEXT, _NULL = ': "', ": null"


class SplitSection(t.NamedTuple):
    """The texts of a section around its individual values, and these values by their keys."""

    common: tuple[str, ...]
    individual: dict[str, str | None]


def split_section(text: str) -> SplitSection | None:
    """Split a section, given as ``"key": value``.

    Return None if it has no individual values, has them in another form, or might have their keys within a string.
    """
    keys = _KEYS.get(text[:_BEGINNING])
    # In text without a backslash, quotation marks only delimit strings, so that a match is a whole string.
    if keys is None or "\\" in text:
        return None
    common: list[str] = []
    individual: dict[str, str | None] = {}
    rest = text
    for key in keys:
        parts = rest.split(key)
        if len(parts) != 2:
            return None
        before, rest = parts
        value: str | None = None
        if rest.startswith(_TEXT):
            value, _quote, rest = rest[len(_TEXT) :].partition('"')
            if not value.isprintable():
                return None
        elif rest.startswith(_NULL):
            rest = rest[len(_NULL) :]
        else:
            return None
        common.append(before)
        individual[key[1:-1]] = value
    common.append(rest)
    return SplitSection(tuple(common), individual)
