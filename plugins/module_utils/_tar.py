# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A bounded reader of compressed tar archives as a stream, which writes nothing to disk.

Python's `tarfile` trusts its input: headers that announce further headers recurse, some versions take quadratic time
for extended headers, and each can be as large as it claims. This reader accepts regular files and folders of the ustar,
GNU and pax formats, and rejects everything else. Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header
Block"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import bz2
import collections.abc as c
import io
import lzma
import typing as t
import zlib

UNPACKED_LIMIT = 128 << 20
"""Bytes of an unpacked archive. The largest modules of a kernel have about 20 MB."""

_ENTRY_LIMIT = 1024
_STREAM_LIMIT = 1024
"""Compressed streams in one file: parallel compressors write one for every 900 KB."""

_MEMORY_LIMIT = 128 << 20
"""Bytes of memory for xz. Its strongest preset needs 65 MB."""

_CHUNK = 1 << 16
_BLOCK = 512
_HEADER_TEXT_LIMIT = 1 << 16
"""Bytes of a pax header or a long name."""

_NAME_LIMIT = 4096
_FILE, _FOLDER, _LONG_NAME, _PAX, _PAX_GLOBAL = b"0", b"5", b"L", b"x", b"g"
_PAX_HARMLESS = {b"atime", b"comment", b"ctime", b"gid", b"gname", b"mtime", b"uid", b"uname"}
_PAX_HARMLESS_PREFIXES = (b"SCHILY.xattr.", b"LIBARCHIVE.")


class TarError(Exception):
    """The archive cannot be read. `kind` is the fault, `reason` explains it in a sentence."""

    def __init__(self, kind: t.Literal["truncated", "malformed"], reason: str) -> None:
        super().__init__(reason)
        self.kind: t.Literal["truncated", "malformed"] = kind
        self.reason = reason


class _Decompressor(t.Protocol):
    """The common interface of the decompressors of `bz2` and `lzma`."""

    @property
    def eof(self) -> bool:
        """Return True if the compressed stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Return True if all input was decompressed."""

    @property
    def unused_data(self) -> bytes:
        """Return the bytes behind the end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return at most `max_length` bytes."""


class _Gunzip:
    """The decompressor of `zlib`, with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        output = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # After a full output there can be more, even if all input was used.
        self.needs_input = not self._zlib.unconsumed_tail and len(output) < max_length
        return output


def _unxz() -> _Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)


_DECOMPRESSORS: dict[bytes, c.Callable[[], _Decompressor]] = {
    b"BZh": bz2.BZ2Decompressor,
    b"\x1f\x8b": _Gunzip,
    b"\xfd7zXZ\0": _unxz,
}

_MAGIC_SIZE = max(map(len, _DECOMPRESSORS))
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257


def is_compressed(data: bytes) -> bool:
    """Return True if the data begins like bzip2, gzip or xz."""
    return data.startswith(tuple(_DECOMPRESSORS))


def is_plain_tar(data: bytes) -> bool:
    """Return True if the data begins like an archive that is not compressed. It needs the first 512 bytes."""
    return data.startswith(_TAR_MAGIC, _TAR_MAGIC_AT)


class _Stored:
    """The interface of a decompressor for data that is not compressed. The end of the data is unknown to it."""

    eof = False
    unused_data = b""

    def __init__(self) -> None:
        self._left = b""

    @property
    def needs_input(self) -> bool:
        return not self._left

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        data = self._left + data
        self._left = data[max_length:]
        return data[:max_length]


class TarStream:
    """A reader of an archive. Every method raises `TarError`, with ``truncated`` or ``malformed``."""

    def __init__(self, source: t.BinaryIO, *, entries: int = _ENTRY_LIMIT, unpacked: int = UNPACKED_LIMIT) -> None:
        """A `source` that does not begin as `is_compressed` requires is not compressed. `entries` and `unpacked`
        (bytes) are limits.
        """
        self._source = source
        self._entries, self._most = entries, unpacked
        magic = source.read(_MAGIC_SIZE)
        source.seek(-len(magic), io.SEEK_CUR)
        self._new = next((new for start, new in _DECOMPRESSORS.items() if magic.startswith(start)), _Stored)
        self._decompressor = self._new()
        self._streams = 1
        self._unpacked = 0
        self._chunk = memoryview(b"")

    def entries(self) -> c.Iterator[tuple[str, int]]:
        """Yield name and size of each file. The caller must `read` or `skip` exactly that size before the next one.

        The iterator ends after the whole archive was read, including the checksums of the compression.
        """
        name: str | None = None
        size: int | None = None
        for _header in range(self._entries):
            header = self.read(_BLOCK)
            if not any(header):
                self._finish()
                return
            kind, own_name, own_size = _parse_header(header)
            if kind == _LONG_NAME:
                name = _as_name(self._header_text(own_size).rstrip(b"\0"))
            elif kind in (_PAX, _PAX_GLOBAL):
                records = _pax_records(self._header_text(own_size))
                if kind == _PAX_GLOBAL and records:
                    raise TarError("malformed", "the archive has one header with a name or a size for several files")
                name = _as_name(records[b"path"]) if b"path" in records else name
                size = _as_size(records[b"size"], 10) if b"size" in records else size
            else:
                entry_name, entry_size = name or own_name, own_size if size is None else size
                _check_entry(kind, entry_name, entry_size)
                if kind == _FILE:
                    yield entry_name, entry_size
                    self.skip(_padding(entry_size))
                name = size = None
        raise TarError("malformed", f"the archive has more than {self._entries} entries")

    def read(self, size: int) -> bytes:
        """Return exactly this many bytes."""
        pieces: list[memoryview] = []
        while size:
            if not self._chunk:
                self._chunk = memoryview(self._unpack())
            if not self._chunk:
                raise TarError("truncated", "the archive ends too early")
            pieces.append(self._chunk[:size])
            self._chunk = self._chunk[size:]
            size -= len(pieces[-1])
        return b"".join(pieces)

    def rest(self) -> c.Iterator[bytes]:
        """Yield all bytes to the end, in pieces: for a file that is no archive."""
        yield self._chunk.tobytes()
        while piece := self._unpack():
            yield piece

    def skip(self, size: int) -> None:
        """Skip this many bytes."""
        while size:
            size -= len(self.read(min(size, _CHUNK)))

    def _header_text(self, size: int) -> bytes:
        if size > _HEADER_TEXT_LIMIT:
            raise TarError("malformed", f"the archive has a header of {size} bytes")
        text = self.read(size)
        self.skip(_padding(size))
        return text

    def _finish(self) -> None:
        """Read the zeros behind the last entry."""
        rest = self._chunk.tobytes()
        while True:
            if rest.count(0) != len(rest):
                raise TarError("malformed", "the archive has data behind its end")
            rest = self._unpack()
            if not rest:
                return

    def _unpack(self) -> bytes:
        """Return the next bytes, or none at the end of the last stream."""
        while True:
            if self._decompressor.eof:
                packed = self._decompressor.unused_data or self._source.read(_CHUNK)
                if not packed:
                    return b""
                self._streams += 1
                if self._streams > _STREAM_LIMIT:
                    raise TarError("malformed", f"the archive has more than {_STREAM_LIMIT} compressed streams")
                self._decompressor = self._new()
            else:
                packed = self._source.read(_CHUNK) if self._decompressor.needs_input else b""
                if not packed and self._decompressor.needs_input:
                    if isinstance(self._decompressor, _Stored):
                        return b""
                    raise TarError("truncated", "the compressed data ends too early")
            try:
                unpacked = self._decompressor.decompress(packed, _CHUNK)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise TarError("malformed", f"the compressed data is damaged: {error}") from error
            self._unpacked += len(unpacked)
            if self._unpacked > self._most:
                raise TarError("malformed", f"the archive unpacks to more than {self._most >> 20} MiB")
            if unpacked:
                return unpacked


def _parse_header(header: bytes) -> tuple[bytes, str, int]:
    """Return kind, name and size of an entry."""
    checksum = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _as_size(header[148:156], 8) != checksum:
        raise TarError("malformed", "a header of the archive does not match its checksum")
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    kind = _FILE if header[156:157] == b"\0" else header[156:157]
    return kind, _as_name(prefix + b"/" + name if prefix else name), _as_size(header[124:136], 8)


def _pax_records(text: bytes) -> dict[bytes, bytes]:
    """Return the records ``path`` and ``size`` of a pax header. A record is ``<length> <key>=<value>\\n``."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(text):
        space = text.find(b" ", position, position + 8)
        length = _as_size(text[position:space], 10) if space > position else 0
        record = text[space + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if position + length > len(text) or not equals or not value.endswith(b"\n"):
            raise TarError("malformed", "the archive has an invalid pax header")
        if key in (b"path", b"size"):
            records[key] = value[:-1]
        elif key not in _PAX_HARMLESS and not key.startswith(_PAX_HARMLESS_PREFIXES):
            raise TarError("malformed", f"the archive has a pax header {_as_name(key[:64])!r}, which is not supported")
        position += length
    return records


def _as_size(digits: bytes, base: int) -> int:
    """Parse a number in octal or decimal digits, with the spaces and zero bytes around it in a header."""
    digits = digits.strip(b" \0")
    if len(digits) > 20 or not digits.isdigit() or (base == 8 and not set(digits) <= set(b"01234567")):
        raise TarError("malformed", "the archive has a header with an invalid number")
    return int(digits, base)


def _padding(size: int) -> int:
    """Return the number of padding bytes in the last block of an entry."""
    return -size % _BLOCK


def _as_name(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TarError("malformed", "the archive has a name that is not UTF-8") from error


def _check_entry(kind: bytes, name: str, size: int) -> None:
    if kind not in (_FILE, _FOLDER) or (kind == _FOLDER and size):
        raise TarError("malformed", f"the archive has {name[:80]!r}, which is neither a regular file nor a folder")
    if size > UNPACKED_LIMIT:
        raise TarError("malformed", f"the archive has {name[:80]!r} with {size} bytes, which is too large")
    parts = (name[:-1] if kind == _FOLDER and name.endswith("/") else name).split("/")
    strange = len(name) > _NAME_LIMIT or not name.isprintable() or "\\" in name
    if strange or ".." in parts or "" in parts:
        raise TarError("malformed", f"the archive has {name[:80]!r}, which is not a plain path below it")
