# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the reader of compressed tar archives."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import tarfile
import time
import tracemalloc
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._tar import (
    UNPACKED_LIMIT,
    TarError,
    TarStream,
    is_compressed,
    is_plain_tar,
)

COMPRESSIONS: dict[str, t.Callable[[bytes], bytes]] = {
    "bz2": bz2.compress,
    "gz": gzip.compress,
    "xz": lzma.compress,
}
CONTENT = bytes(range(256)) * 80


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: t.Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive(
    files: dict[str, bytes], *, form: int = tarfile.GNU_FORMAT, extra: tuple[tarfile.TarInfo, ...] = ()
) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2", format=form) as archive:
        for info in extra:
            archive.addfile(info)
        for name, content in files.items():
            archive.addfile(entry(name, size=len(content)), io.BytesIO(content))
    return packed.getvalue()


def tar(*headers: bytes, end: bytes = bytes(1024)) -> bytes:
    return bz2.compress(b"".join(headers) + end)


def header(info: tarfile.TarInfo, form: int = tarfile.GNU_FORMAT) -> bytes:
    return info.tobuf(form)


def pax(records: bytes) -> bytes:
    return header(entry("pax", tarfile.XHDTYPE, size=len(records))) + records + bytes(-len(records) % 512)


UNPACKED = bz2.decompress(archive({"meta": b"x" * 513, "m.ko": CONTENT, "empty": b""}))


@functools.cache
def packed(compression: str) -> bytes:
    return COMPRESSIONS[compression](UNPACKED)


def files_of(data: bytes, **limits: int) -> dict[str, bytes]:
    stream = TarStream(io.BytesIO(data), **limits)
    return {name: stream.read(size) for name, size in stream.entries()}


def fault(data: bytes) -> TarError:
    with pytest.raises(TarError) as caught:
        files_of(data)
    assert str(caught.value) == caught.value.reason
    assert caught.value.reason.isprintable()
    return caught.value


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_files_are_read_in_order(compression: str) -> None:
    assert is_compressed(packed(compression))
    found = files_of(packed(compression))
    assert found == {"meta": b"x" * 513, "m.ko": CONTENT, "empty": b""}
    assert list(found) == ["meta", "m.ko", "empty"]


def test_files_can_be_skipped() -> None:
    stream = TarStream(io.BytesIO(packed("gz")))
    names = []
    for name, size in stream.entries():
        names.append(name)
        stream.skip(size)
    assert names == ["meta", "m.ko", "empty"]


@pytest.mark.parametrize("data", [b"", b"B", b"PK\3\4", b"meta" + bytes(508), b"\x1f\x8c"])
def test_other_data_is_not_compressed(data: bytes) -> None:
    assert not is_compressed(data)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["m.ko", "./m.ko", "a/b/m.ko", "a" * 90 + "/" + "b" * 50 + ".ko", "é.ko"])
def test_common_formats_and_names_are_accepted(name: str, form: int) -> None:
    timed = entry("folder", tarfile.DIRTYPE, mtime=1.5)
    assert files_of(archive({name: CONTENT}, form=form, extra=(timed,))) == {name: CONTENT}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(form: int) -> None:
    name = "d/" * 500 + "m.ko"
    assert files_of(archive({name: CONTENT}, form=form)) == {name: CONTENT}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_of_several_streams_is_complete(compression: str) -> None:
    unpacked, pack = UNPACKED, COMPRESSIONS[compression]
    assert files_of(pack(unpacked[:700]) + pack(unpacked[700:])) == files_of(packed("bz2"))


def test_an_archive_need_not_be_compressed() -> None:
    plain = bz2.decompress(archive({"a": CONTENT, "b": b""}))
    assert is_plain_tar(plain[:512])
    assert not is_plain_tar(CONTENT[:512])
    stream = TarStream(io.BytesIO(plain))
    assert [(name, stream.read(size)) for name, size in stream.entries()] == [("a", CONTENT), ("b", b"")]
    cut = TarStream(io.BytesIO(plain[:1000]))
    with pytest.raises(TarError, match="ends too early"):
        [cut.read(size) for _name, size in cut.entries()]


@pytest.mark.parametrize("pack", [bytes, *COMPRESSIONS.values()])
def test_a_file_is_unpacked_in_pieces(pack: t.Callable[[bytes], bytes]) -> None:
    assert b"".join(TarStream(io.BytesIO(pack(CONTENT))).rest()) == CONTENT
    with pytest.raises(TarError, match="unpacks to more than"):
        list(TarStream(io.BytesIO(pack(CONTENT)), unpacked=len(CONTENT) - 1).rest())


def test_limits_are_kept() -> None:
    assert files_of(packed("bz2"), entries=4, unpacked=1 << 20)
    for limits in ({"entries": 3}, {"unpacked": 1 << 14}):
        with pytest.raises(TarError, match="more than"):
            files_of(packed("bz2"), **limits)


HUGE = UNPACKED_LIMIT + 1
REFUSED: dict[str, tuple[bytes, str]] = {
    "absolute path": (archive({"/m.ko": CONTENT}), "not a plain path"),
    "path that leads out": (archive({"../m.ko": CONTENT}), "not a plain path"),
    "path that leads out further on": (archive({"a/../../m.ko": CONTENT}), "not a plain path"),
    "path with backslash": (archive({"..\\m.ko": CONTENT}), "not a plain path"),
    "path with escape": (archive({"m\x1b[2J.ko": CONTENT}), "not a plain path"),
    "path with double slash": (archive({"a//m.ko": CONTENT}), "not a plain path"),
    "no name": (tar(header(entry(""))), "not a plain path"),
    "name that is not text": (tar(entry("\udcff").tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")), "not UTF-8"),
    "symbolic link": (
        archive({"m.ko": CONTENT}, extra=(entry("l", tarfile.SYMTYPE, linkname="/etc/passwd"),)),
        "neither a regular file nor a folder",
    ),
    "hard link": (
        archive({"m.ko": CONTENT}, extra=(entry("l", tarfile.LNKTYPE, linkname="m.ko"),)),
        "neither a regular file nor a folder",
    ),
    "block device": (
        archive({"m.ko": CONTENT}, extra=(entry("d", tarfile.BLKTYPE),)),
        "neither a regular file nor a folder",
    ),
    "character device": (
        archive({"m.ko": CONTENT}, extra=(entry("d", tarfile.CHRTYPE),)),
        "neither a regular file nor a folder",
    ),
    "pipe": (
        archive({"m.ko": CONTENT}, extra=(entry("p", tarfile.FIFOTYPE),)),
        "neither a regular file nor a folder",
    ),
    "contiguous file": (
        archive({"m.ko": CONTENT}, extra=(entry("c", tarfile.CONTTYPE),)),
        "neither a regular file nor a folder",
    ),
    "sparse file": (tar(header(entry("s", tarfile.GNUTYPE_SPARSE))), "neither a regular file nor a folder"),
    "sparse file of pax": (tar(pax(b"22 GNU.sparse.major=1\n"), header(entry("s"))), "GNU.sparse.major"),
    "folder with content": (
        tar(header(entry("d", tarfile.DIRTYPE, size=512)), bytes(512)),
        "neither a regular file nor a folder",
    ),
    "link of pax": (tar(pax(b"14 linkpath=x\n"), header(entry("l"))), "linkpath"),
    "path of pax that leads out": (tar(pax(b"13 path=../x\n"), header(entry("x"))), "not a plain path"),
    "path for all files": (
        tar(header(entry("g", tarfile.XGLTYPE, size=10)), b"10 path=x\n".ljust(512, b"\0"), header(entry("l"))),
        "for several files",
    ),
    "long link": (
        tar(header(entry("x", tarfile.GNUTYPE_LONGLINK, size=512)), bytes(512)),
        "neither a regular file nor a folder",
    ),
    "huge file": (tar(header(entry("m.ko", size=HUGE))), "too large"),
    "huge file in base 256": (tar(header(entry("m.ko", size=1 << 40))), "an invalid number"),
    "huge file of pax": (tar(pax(b"21 size=999999999999\n"), header(entry("m.ko"))), "too large"),
    "huge header": (
        tar(header(entry("x", tarfile.XHDTYPE, size=1 << 20)), bytes(1 << 20)),
        "a header of 1048576 bytes",
    ),
    "pax that overruns": (tar(pax(b"99 path=x\n"), header(entry("x"))), "an invalid pax header"),
    "pax without length": (tar(pax(b"path=x\n"), header(entry("x"))), "an invalid pax header"),
    "pax of length zero": (tar(pax(b"0 path=x\n"), header(entry("x"))), "an invalid pax header"),
    "pax without end of line": (tar(pax(b"8 path=xy"), header(entry("x"))), "an invalid pax header"),
    "many entries": (tar(*[header(entry("x"))] * 1100), "more than 1024 entries"),
    "chain of headers": (tar(pax(b"9 path=x\n") * 1100), "more than 1024 entries"),
    "wrong checksum": (tar(header(entry("x")).replace(b"x", b"y", 1)), "checksum"),
    "no archive": (bz2.compress(b"text " * 200), "an invalid number"),
    "data behind the end": (
        tar(header(entry("m.ko", size=512)), CONTENT[:512], end=bytes(1024) + b"more"),
        "data behind its end",
    ),
    "garbage behind the stream": (packed("bz2") + b"garbage", "damaged"),
    "damaged": (packed("gz")[:40] + bytes(8) + packed("gz")[48:], "damaged"),
    "many streams": (bz2.compress(b"") * 2000 + packed("bz2"), "1024 compressed streams"),
}


@pytest.mark.parametrize(("data", "reason"), [pytest.param(*case, id=name) for name, case in REFUSED.items()])
def test_forbidden_contents_are_malformed(data: bytes, reason: str) -> None:
    found = fault(data)
    assert found.kind == "malformed"
    assert reason in found.reason


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_truncation_is_noticed(compression: str) -> None:
    data = packed(compression)
    # The headers of xz contain checksums, so a truncation can also appear as damage.
    assert {fault(data[:size]).kind for size in range(6, len(data))} <= {"truncated", "malformed"}
    assert fault(data[:-1]).kind == "truncated"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_decompression_bomb_is_refused_early(compression: str) -> None:
    zeros = io.BytesIO()
    # Zeros shrink to almost nothing at the fastest level too.
    pack = {
        "bz2": functools.partial(bz2.open, compresslevel=1),
        "gz": functools.partial(gzip.open, compresslevel=1),
        "xz": functools.partial(lzma.open, preset=0),
    }[compression]
    with pack(zeros, "wb") as packer:
        packer.write(header(entry("meta", size=UNPACKED_LIMIT)))
        for _part in range((UNPACKED_LIMIT >> 20) + 1):
            packer.write(bytes(1 << 20))
    zeros.seek(0)
    tracemalloc.start()
    started = time.process_time()
    stream = TarStream(zeros)
    with pytest.raises(TarError, match="the archive unpacks to more than 128 MiB"):
        for _name, size in stream.entries():
            stream.skip(size)
    took, (_now, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 30
    assert peak < 32 << 20


def test_the_memory_of_xz_is_limited() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28, "preset": 0}]
    assert fault(lzma.compress(UNPACKED, filters=filters)).kind == "malformed"


@settings(max_examples=300)
@given(st.data())
def test_no_archive_crashes_the_reader(data: st.DataObject) -> None:
    unpacked = bytearray(UNPACKED)
    for _change in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, 2048), st.integers(0, len(unpacked))))
        unpacked[at : at + 8] = data.draw(st.binary(max_size=8))
    try:
        found = files_of(gzip.compress(bytes(unpacked), compresslevel=1))
    except TarError as error:
        assert error.reason
    else:
        assert all(content in unpacked for content in found.values())


@settings(max_examples=200)
@given(st.sampled_from(list(COMPRESSIONS)), st.data())
def test_no_compressed_bytes_crash_the_reader(compression: str, data: st.DataObject) -> None:
    content = bytearray(packed(compression))
    at = data.draw(st.integers(6, len(content)))
    content[at : at + 8] = data.draw(st.binary(max_size=8))
    try:
        assert files_of(bytes(content)) == files_of(packed(compression))
    except TarError as error:
        assert error.kind in ("truncated", "malformed")
