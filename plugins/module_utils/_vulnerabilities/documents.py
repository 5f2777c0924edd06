# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read JSON documents from a folder, one file, or an archive (tar or zip).

Nothing is unpacked to disk. All sizes are bounded, because an archive comes from the network.
"""

from __future__ import annotations

import collections.abc as c
import io
import os
import struct
import typing as t
import zipfile
import zlib
from pathlib import Path

from .._io import open_regular, read_bounded
from .._tar import TarError, TarStream, is_compressed, is_plain_tar

DOCUMENT_LIMIT = 16 << 20
"""Bytes of one document. The largest notices have 2 MB."""

PACKAGE_DATA = ".pkg.json"
"""Part of the names of package data, which are larger than documents and have a reader of their own."""

_UNPACKED_LIMIT = 8 << 30
_ENTRY_LIMIT = 300_000
_DIRECTORY_LIMIT = 64 << 20
"""Bytes of the directory of a zip, which is read at once: enough for the entries above with long names."""

_ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")
_ZIP_ENTRY = b"PK\1\2"
"""The beginning of an entry in the directory of a zip."""


class DocumentError(ValueError):
    """An archive cannot be used. The message gives the reason."""


def read_documents(path: Path) -> c.Iterator[tuple[str, bytes]]:
    """Yield name and content of each document: those of a folder with its subfolders, of an archive, or one file.

    In folders and archives, only files with the suffix ``.json`` are read. Raises `OSError` and `DocumentError`.
    """
    return _in_folder(path) if path.is_dir() else _in_file(path)


def _in_folder(top: Path) -> c.Iterator[tuple[str, bytes]]:
    for folder, folders, names in os.walk(top, onerror=_raise_error):
        folders.sort()
        for name in sorted(filter(_is_document, names)):
            file = Path(folder, name)
            yield str(file.relative_to(top)), read_bounded(str(file), DOCUMENT_LIMIT)


def _in_file(path: Path) -> c.Iterator[tuple[str, bytes]]:
    with open_regular(str(path)) as file:
        magic = file.read(512)
        file.seek(0)
        if is_compressed(magic) or is_plain_tar(magic):
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
        raise DocumentError(str(error)) from error


class _BoundedReads(io.BufferedReader):
    """A file of which no single read is larger than `_DIRECTORY_LIMIT`: `zipfile` reads a directory in one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_LIMIT:
            raise DocumentError(f"the archive has a directory of {size >> 20} MiB, which is too large")
        data = super().read(_DIRECTORY_LIMIT if size is None or size < 0 else size)
        # zipfile makes an object of each entry of a directory before it returns the first.
        if len(data) > _ENTRY_LIMIT * len(_ZIP_ENTRY) and data.count(_ZIP_ENTRY) > _ENTRY_LIMIT:
            raise DocumentError(f"the archive has more than {_ENTRY_LIMIT} entries")
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
                    raise DocumentError("the archive has a compression method that is not supported")
                with archive.open(entry) as member:
                    data = member.read(DOCUMENT_LIMIT + 1)
                left -= len(data)
                if left < 0:
                    raise DocumentError(f"the archive unpacks to more than {_UNPACKED_LIMIT >> 20} MiB")
                yield entry.filename if entry.filename.isprintable() else repr(entry.filename), data
    except DocumentError:
        raise
    # zipfile also raises the errors of the modules that it uses, and RuntimeError for encrypted entries.
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, ValueError, struct.error) as error:
        raise DocumentError(f"the archive is damaged: {error}") from error


def _is_document(name: str) -> bool:
    return name.lower().endswith(".json") and PACKAGE_DATA not in name.lower()


def _raise_error(error: OSError) -> t.NoReturn:
    raise error
