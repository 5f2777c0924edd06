# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read published notices: a folder of files, one file, or an archive (tar or zip), in OSV or in raw form."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import json
from pathlib import Path

from .documents import DocumentError, read_documents
from .notices import Notice, NoticeError, newest_of_each, parse_notice
from .raw_notices import is_raw_notice, parse_raw_notice

_MARK = b'"LSN-'
"""A document without it is not a notice, and is not parsed: archives contain tens of thousands of others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """An invalid notice, or an invalid part of one, and the reason."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class NoticeFiles:
    """The newest revision of each notice, ordered by publication, and the parts that are invalid."""

    notices: list[Notice]
    unreadable: list[Unreadable]


def read_notices(path: str | Path) -> NoticeFiles:
    """Read a folder with its subfolders, an archive, or a file with one document or a list of documents.

    In folders and archives, only files with the suffix ``.json`` are read. Raises `OSError`, and `NoticeError` for an
    archive or a file that cannot be used at all.
    """
    collected = NoticeCollector()
    try:
        for name, data in read_documents(Path(path)):
            collected.add(name, data)
    except DocumentError as error:
        raise NoticeError(str(error)) from error
    return collected.result()


class NoticeCollector:
    """Collects the notices among documents."""

    def __init__(self) -> None:
        self._notices: list[Notice] = []
        self._unreadable: list[Unreadable] = []

    def add(self, name: str, data: bytes) -> None:
        """Parse a document. Any other document than a notice is ignored, an invalid notice is noted."""
        try:
            found = list(_parse(data))
        except NoticeError as error:
            self._unreadable.append(Unreadable(name, str(error)))
            return
        self._notices += found
        self._unreadable += [Unreadable(f"{name}, {one.id}", reason) for one in found for reason in one.unreadable]

    def result(self) -> NoticeFiles:
        """Return the newest revision of each notice, and the invalid parts."""
        return NoticeFiles(newest_of_each(self._notices), self._unreadable)


def _parse(data: bytes) -> c.Iterator[Notice]:
    if _MARK not in data:
        return
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoticeError(f"this is not JSON: {error}") from error
    for each in document if isinstance(document, list) else [document]:
        notice = parse_raw_notice(each) if is_raw_notice(each) else parse_notice(each)
        if notice is not None:
            yield notice
