# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Where the whole records of a fleet wait until a format wants them.

A large fleet's records do not fit in memory, and reading their files twice could show two different fleets.
"""

from __future__ import annotations

import json
import tempfile
import typing as t

_IN_MEMORY = 32 * 1024 * 1024  # bytes; a fleet of a few thousand hosts never touches the disk


class Spool:
    """Documents as one line of JSON each, in an unnamed temporary file that is gone when the process is."""

    def __init__(self) -> None:
        self._file: t.IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)
        self._end = 0

    def append(self, line: bytes) -> int:
        """Keep the line of a document, and return its place for `read`. All lines come before the first `read`."""
        place = self._end
        self._end += self._file.write(line) + self._file.write(b"\n")
        return place

    def read(self, place: int) -> str:
        """Return the line that was kept at this place, with its line end."""
        self._file.seek(place)
        return self._file.readline().decode("ascii")


def as_line(document: object) -> str:
    """Write JSON as one line of pure ASCII: nothing that a host said can reach a terminal or parser raw."""
    return json.dumps(document, ensure_ascii=True, allow_nan=False)
