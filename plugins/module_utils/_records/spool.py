# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Where the whole records of a fleet wait until a format wants them.

A large fleet's records do not fit in memory, and reading their files twice could show two different fleets.
"""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

_BUFFER = 1024 * 1024  # bytes


class SpoolPosition(t.NamedTuple):
    """Where a document is: in which file, from which byte on, and how many bytes of it."""

    file: int
    begin: int
    size: int


class Spool:
    """Documents, each as its sections, in unnamed temporary files that are gone when the processes are.

    A process that is forked from this one can read and go on writing, each process to a writer of its own.
    """

    def __init__(self) -> None:
        self._files: list[t.IO[bytes]] = []

    def writer(self) -> SpoolWriter:
        """A file more."""
        self._files.append(tempfile.TemporaryFile(buffering=_BUFFER))
        return SpoolWriter(len(self._files) - 1, self._files[-1])

    def sections(self, place: SpoolPosition) -> list[str]:
        """The sections of the document that was kept at this place, each a member of a JSON object."""
        return self._read(place).split("\n")

    def document(self, place: SpoolPosition) -> str:
        """The document that was kept at this place: one line of JSON, without a line end."""
        return f"{{{self._read(place).replace(_JOINT, _JSON_JOINT)}}}"

    def _read(self, place: SpoolPosition) -> str:
        return os.pread(self._files[place.file].fileno(), place.size, place.begin).decode("ascii")


_JOINT = "\n"  # never within JSON text that is on one line
_JSON_JOINT = ", "


class SpoolWriter:
    """Fills one file of a spool."""

    def __init__(self, number: int, file: t.IO[bytes]) -> None:
        self._number = number
        self._file = file
        self._end = 0

    def append(self, sections: t.Iterable[bytes]) -> SpoolPosition:
        """Keep a document, of sections as `sections_of` makes them. It can be read after `flush`."""
        place = SpoolPosition(self._number, self._end, self._file.write(_JOINT.encode().join(sections)))
        self._end += place.size
        return place

    def flush(self) -> None:
        """Make all that was appended readable."""
        self._file.flush()


def sections_of(document: t.Mapping[str, object]) -> tuple[bytes, ...]:
    """Write the members of a document as JSON, each on one line of pure ASCII."""
    return tuple(f"{as_line(key)}: {as_line(value)}".encode("ascii") for key, value in document.items())


# Made once: json.dumps makes another for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)


def as_line(document: object) -> str:
    """Write JSON as one line of pure ASCII: nothing that a host said can reach a terminal or parser raw."""
    return _ENCODER.encode(document)
