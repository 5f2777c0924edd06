# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read published notices: a folder of files, one file, or an archive (tar or zip) of OSV documents.

Nothing is unpacked to disk. All sizes are bounded, because an archive comes from the network.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import io
import json
import os
import struct
import typing as t
import zipfile
import zlib
from pathlib import Path

from .._io import open_regular, read_bounded
from .._tar import TarError, TarStream, is_compressed
from .notices import Notice, NoticeError, newest_of_each, parse_notice

DOCUMENT_LIMIT = 16 << 20
"""Bytes of one document. The largest notices have 2 MB."""

_UNPACKED_LIMIT = 8 << 30
_ENTRY_LIMIT = 300_000
_DIRECTORY_LIMIT = 64 << 20
"""Bytes of the directory of a zip, which is read at once: enough for the entries above with long names."""

_ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")
_ZIP_ENTRY = b"PK\1\2"
"""The beginning of an entry in the directory of a zip."""

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
    top = Path(path)
    documents = _in_folder(top) if top.is_dir() else _in_file(top)
    notices: list[Notice] = []
    unreadable: list[Unreadable] = []
    for name, data in documents:
        try:
            found = list(_parse(data))
        except NoticeError as error:
            unreadable.append(Unreadable(name, str(error)))
            continue
        notices += found
        unreadable += [Unreadable(f"{name}, {one.id}", reason) for one in found for reason in one.unreadable]
    return NoticeFiles(newest_of_each(notices), unreadable)


def _parse(data: bytes) -> c.Iterator[Notice]:
    if _MARK not in data:
        return
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoticeError(f"this is not JSON: {error}") from error
    for each in document if isinstance(document, list) else [document]:
        notice = parse_notice(each)
        if notice is not None:
            yield notice


def _in_folder(top: Path) -> c.Iterator[tuple[str, bytes]]:
    for folder, folders, names in os.walk(top, onerror=_raise):
        folders.sort()
        for name in sorted(filter(_is_document, names)):
            file = Path(folder, name)
            yield str(file.relative_to(top)), read_bounded(str(file), DOCUMENT_LIMIT)


def _in_file(path: Path) -> c.Iterator[tuple[str, bytes]]:
    with open_regular(str(path)) as file:
        magic = file.read(16)
        file.seek(0)
        if is_compressed(magic):
            yield from _in_tar(file)
        elif magic.startswith(_ZIP_MAGIC):
            yield from _in_zip(file)
        else:
            yield path.name, read_bounded(str(path), DOCUMENT_LIMIT)


def _in_tar(file: t.BinaryIO) -> c.Iterator[tuple[str, bytes]]:
    stream = TarStream(file, entries=_ENTRY_LIMIT, unpacked=_UNPACKED_LIMIT)
    try:
        for name, size in stream.entries():
            if _is_document(name) and size <= DOCUMENT_LIMIT:
                yield name, stream.read(size)
            else:
                stream.skip(size)
    except TarError as error:
        raise NoticeError(str(error)) from error


class _BoundedReads(io.BufferedReader):
    """A file of which no single read is larger than `_DIRECTORY_LIMIT`: `zipfile` reads a directory in one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_LIMIT:
            raise NoticeError(f"the archive has a directory of {size >> 20} MiB, which is too large")
        data = super().read(_DIRECTORY_LIMIT if size is None or size < 0 else size)
        # zipfile makes an object of each entry of a directory before it returns the first.
        if len(data) > _ENTRY_LIMIT * len(_ZIP_ENTRY) and data.count(_ZIP_ENTRY) > _ENTRY_LIMIT:
            raise NoticeError(f"the archive has more than {_ENTRY_LIMIT} entries")
        return data


def _in_zip(file: t.BinaryIO) -> c.Iterator[tuple[str, bytes]]:
    left = _UNPACKED_LIMIT
    try:
        with zipfile.ZipFile(_BoundedReads(io.FileIO(file.fileno(), closefd=False))) as archive:
            for entry in archive.infolist():
                if not _is_document(entry.filename) or entry.file_size > DOCUMENT_LIMIT:
                    continue
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # Other methods can use any amount of memory.
                    raise NoticeError("the archive has a compression method that is not supported")
                with archive.open(entry) as member:
                    data = member.read(DOCUMENT_LIMIT + 1)
                left -= len(data)
                if left < 0:
                    raise NoticeError(f"the archive unpacks to more than {_UNPACKED_LIMIT >> 20} MiB")
                yield entry.filename if entry.filename.isprintable() else repr(entry.filename), data
    except NoticeError:
        raise
    # zipfile also raises the errors of the modules that it uses, and RuntimeError for encrypted entries.
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, ValueError, struct.error) as error:
        raise NoticeError(f"the archive is damaged: {error}") from error


def _is_document(name: str) -> bool:
    return name.lower().endswith(".json")


def _raise(error: OSError) -> t.NoReturn:
    raise error
