# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Keep the complete records of a fleet in temporary files until a format needs them.

The records of a large fleet do not fit in memory, and reading their files twice could show two different fleets.
"""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

_BUFFER = 1024 * 1024  # bytes


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

    def writer(self) -> SpoolWriter:
        """Add a file and return its writer."""
        self._files.append(tempfile.TemporaryFile(buffering=_BUFFER))
        return SpoolWriter(len(self._files) - 1, self._files[-1])

    def sections(self, position: SpoolPosition) -> list[str]:
        """Return the sections of the document at a position, each a member of a JSON object."""
        return self._read(position).split("\n")

    def document(self, position: SpoolPosition) -> str:
        """Return the document at a position as one line of JSON, without a line end."""
        return f"{{{self._read(position).replace(_JOINT, _JSON_JOINT)}}}"

    def _read(self, position: SpoolPosition) -> str:
        return os.pread(self._files[position.file].fileno(), position.size, position.begin).decode("ascii")


_JOINT = "\n"  # never inside JSON text on one line
_JSON_JOINT = ", "


class SpoolWriter:
    """Writes one file of a spool."""

    def __init__(self, number: int, file: t.IO[bytes]) -> None:
        self._number = number
        self._file = file
        self._end = 0

    def append(self, sections: t.Iterable[bytes]) -> SpoolPosition:
        """Write a document, given as sections from `sections_of`. It can be read after `flush`."""
        position = SpoolPosition(self._number, self._end, self._file.write(_JOINT.encode().join(sections)))
        self._end += position.size
        return position

    def flush(self) -> None:
        """Make all appended documents readable."""
        self._file.flush()


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
