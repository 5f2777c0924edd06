# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Keep the complete records of a fleet in temporary files until a format needs them.

The records of a large fleet do not fit in memory, and reading their files twice could show two different fleets.
A section that many records have in common is written once, and each of these records has a reference to it.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
import typing as t

_BUFFER = 1024 * 1024  # bytes
_MEMORY = 8 * 1024 * 1024  # bytes of text that a process keeps
_KIND = 512  # bytes of the references of a document, about

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

# Neither a section nor a value has these characters: both are JSON on one line of pure ASCII.
_GAP = "\0"  # between the parts of a section, where a value of the host belongs
_LINE = "\n"  # between the references of a document and its values
_NEXT = ","  # between references


class SplitText(t.NamedTuple):
    """The text of a document, split into what similar documents share and the values of this one.

    `shared` has the parts of each section around its values, `values` the JSON values of all sections, in order. A part
    is a piece of ``"key": value`` on one line of pure ASCII.
    """

    shared: tuple[tuple[bytes, ...], ...]
    values: tuple[bytes, ...]


class SpoolPosition(t.NamedTuple):
    """The position of a document: the number of the file, the first byte, and the number of bytes."""

    file: int
    begin: int
    size: int


class DocumentKind:
    """What similar documents share: the parts of each section around its values."""

    def __init__(self, sections: tuple[tuple[str, ...], ...]) -> None:
        self.sections = sections

    @functools.cached_property
    def value_names(self) -> tuple[tuple[str, str], ...]:
        """Return the section and the key of each value."""
        return value_names([[part.encode("ascii") for part in section] for section in self.sections])

    def document(self, values: t.Sequence[str]) -> str:
        """Return the text of the document with these values, as one line of JSON."""
        text = self._text_and_places.copy()
        text[1::2] = values
        return "".join(text)

    @functools.cached_property
    def _text_and_places(self) -> list[str]:
        """Return the text of the document in parts, with a place between two parts for each value."""
        parts = f"{{{', '.join(map(_GAP.join, self.sections))}}}".split(_GAP)
        return [text for part in parts for text in (part, "")][:-1]


class Spool:
    """Documents, each as its sections, in unnamed temporary files that disappear with the processes.

    A forked process can read and write too, each process with a separate writer.
    """

    def __init__(self) -> None:
        self._files: list[t.IO[bytes]] = []
        # The kinds and sections of each file, by their references.
        self._kinds: list[dict[str, DocumentKind]] = []
        self._sections: list[dict[str, tuple[str, ...]]] = []
        self._room = _MEMORY

    def writer(self) -> SpoolWriter:
        """Add a file and return its writer."""
        self._files.append(tempfile.TemporaryFile(buffering=_BUFFER))
        self._kinds.append({})
        self._sections.append({})
        return SpoolWriter(len(self._files) - 1, self._files[-1])

    def parts(self, position: SpoolPosition) -> tuple[DocumentKind, list[str]]:
        """Return the kind of the document at a position, and its values, each as JSON.

        Documents of one kind have the same object, so that looking it up is fast.
        """
        references, *values = self._read(*position).split(_LINE)
        kind = self._kinds[position.file].get(references)
        return kind or self._kind(position.file, references), values

    def document(self, position: SpoolPosition) -> str:
        """Return the document at a position as one line of JSON, without a line end."""
        kind, values = self.parts(position)
        return kind.document(values)

    def _kind(self, file: int, references: str) -> DocumentKind:
        """Return a kind of documents, and keep it."""
        known = self._sections[file]
        sections = tuple([known.get(each) or self._section(file, each) for each in references.split(_NEXT)])
        # A kind that writes its documents keeps their text, too.
        self._room -= sum([len(part) for section in sections for part in section])
        if self._room < 0:
            self._forget()
        kind = self._kinds[file][references] = DocumentKind(sections)
        return kind

    def _section(self, file: int, reference: str) -> tuple[str, ...]:
        """Read what documents share of a section, and keep it."""
        begin, size = map(int, reference.split())
        section = self._sections[file][reference] = tuple(self._read(file, begin, size).split(_GAP))
        return section

    def _forget(self) -> None:
        for kinds, sections in zip(self._kinds, self._sections, strict=True):
            kinds.clear()
            sections.clear()
        self._room = _MEMORY

    def _read(self, file: int, begin: int, size: int) -> str:
        return os.pread(self._files[file].fileno(), size, begin).decode("ascii")


class SpoolWriter:
    """Writes one file of a spool. What several documents share of a section is written once."""

    def __init__(self, number: int, file: t.IO[bytes]) -> None:
        self._number = number
        self._file = file
        self._end = 0
        # References by what they refer to: those of a section, and those of all sections of a document.
        self._sections: dict[tuple[bytes, ...], bytes] = {}
        self._kinds: dict[tuple[tuple[bytes, ...], ...], bytes] = {}
        self._room = _MEMORY

    def append(self, text: SplitText) -> SpoolPosition:
        """Write a document. It can be read after `flush`."""
        shared, values = text
        references = self._kinds.get(shared) or self._kind(shared)
        return SpoolPosition(self._number, *self._write(b"\n".join((references, *values))))

    def flush(self) -> None:
        """Make all appended documents readable, and free the memory that appending needs."""
        self._file.flush()
        self._forget()

    def _kind(self, sections: tuple[tuple[bytes, ...], ...]) -> bytes:
        references = [self._sections.get(section) or self._section(section) for section in sections]
        kind = self._kinds[sections] = b",".join(references)
        self._make_room(_KIND)
        return kind

    def _section(self, parts: tuple[bytes, ...]) -> bytes:
        text = b"\0".join(parts)
        begin, size = self._write(text)
        self._make_room(size)
        reference = self._sections[parts] = f"{begin} {size}".encode("ascii")
        return reference

    def _make_room(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._forget()

    def _forget(self) -> None:
        self._sections.clear()
        self._kinds.clear()
        self._room = _MEMORY

    def _write(self, text: bytes) -> tuple[int, int]:
        begin, size = self._end, self._file.write(text)
        self._end += size
        return begin, size


def lines_of(document: t.Mapping[str, object]) -> tuple[bytes, ...]:
    """Write the members of a document as JSON, each on one line of pure ASCII."""
    return tuple(f"{as_line(key)}: {as_line(value)}".encode("ascii") for key, value in document.items())


def split_document(document: t.Mapping[str, object]) -> SplitText:
    """Write a document, and split its text."""
    sections = list(map(split_section, lines_of(document)))
    return SplitText(
        tuple(section.shared for section in sections), tuple(value for each in sections for value in each.values)
    )


def document_text(document: t.Mapping[str, object]) -> str:
    """Write a document as it is stored: one line for each member, so that it is readable and quick to parse."""
    return "{\n" + ",\n".join(f"  {line.decode('ascii')}" for line in lines_of(document)) + "\n}\n"


# Created once: json.dumps creates an encoder for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)


def as_line(document: object) -> str:
    """Return JSON as one line of ASCII, so that no text from a host reaches a terminal or parser unescaped."""
    return _ENCODER.encode(document)


# A fleet has few kinds of systems and clients, but each host has its machine ID and its times. Without these values,
# the sections of similar hosts are equal, and each kind has to be parsed only once.
# The texts before values that differ from host to host, by the beginning of their section, in the order in which
# records have them. All values are texts or null.
_BEFORE_VALUES = {b'"system"': (b'"machine_id_sha256": ', b'"booted_at": '), b'"client"': (b'"last_check": ',)}
_BEGINNING = len(b'"system"')
_KEY = re.compile(rb'"(?:[^"\\]|\\.)*": ')
_VALUE = re.compile(rb'null|"[ !#-\[\]-~]*"')  # printable ASCII without escapes


def text_of(value: str) -> str | None:
    """Return an individual value of a section, which is null or a text without escapes."""
    return None if value == "null" else value[1:-1]


def value_names(shared: t.Iterable[t.Sequence[bytes]]) -> tuple[tuple[str, str], ...]:
    """Return the section and the key of each value. A section that is a value as a whole has its key twice."""
    return tuple(
        (section[0].split(b'"', 2)[1].decode("ascii"), part.rsplit(b'"', 2)[1].decode("ascii"))
        for section in shared
        for part in section[:-1]
    )


class SplitSection(t.NamedTuple):
    """The text of a section: the parts around its values, and the values as JSON."""

    shared: tuple[bytes, ...]
    values: tuple[bytes, ...] = ()

    def texts(self) -> list[str | None]:
        """Return the values of a section with individual values."""
        return [text_of(value.decode("ascii")) for value in self.values]


def split_section(line: bytes) -> SplitSection:
    """Split a section, given as one line of ASCII, ``"key": value``, around values that differ from host to host."""
    split = split_individual(line)
    if split is not None:
        return split
    if line.startswith(_ALIKE_BEGINNINGS):
        return SplitSection((line,))
    end = key_end(line)
    return SplitSection((line[:end], b""), (line[end:],))


def key_end(line: bytes) -> int:
    """Return where the value of a section begins, 0 if it has another form than ``"key": value``."""
    found = _KEY.match(line)
    return found.end() if found else 0


def split_individual(line: bytes) -> SplitSection | None:
    """Split a section around its individual values.

    Return None if it has none, has them in another form, or might have their keys within a string.
    """
    befores = _BEFORE_VALUES.get(line[:_BEGINNING])
    # In text without a backslash, quotation marks only delimit strings, so that a match is a whole key.
    if befores is None or b"\\" in line or any(line.count(before) != 1 for before in befores):
        return None
    shared: list[bytes] = []
    values: list[bytes] = []
    end = 0
    for before in befores:
        begin = line.index(before) + len(before)
        found = _VALUE.match(line, begin)
        if begin < end or found is None:
            return None
        shared.append(line[end:begin])
        values.append(found[0])
        end = found.end()
    return SplitSection((*shared, line[end:]), tuple(values))


def split_like(shared: tuple[bytes, ...], line: bytes) -> SplitSection | None:
    """Split a section around its individual values. Return None if the parts around them are not these ones."""
    values: list[bytes] = []
    end = 0
    for part in shared[:-1]:
        found = _VALUE.match(line, end + len(part)) if line.startswith(part, end) else None
        if found is None:
            return None
        values.append(found[0])
        end = found.end()
    return SplitSection(shared, tuple(values)) if line[end:] == shared[-1] else None
