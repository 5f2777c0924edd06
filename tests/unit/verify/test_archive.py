# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Patch archives: archives of the service and of common tools are parsed, and hostile archives are refused."""

from __future__ import annotations

import bz2
import datetime as dt
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

from ansible_collections.kernelops.livepatch.plugins.module_utils import _tar
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import archive, patch_file, trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from tests.lab.live_patches import signing

NOW = dt.datetime.now(dt.timezone.utc)
VENDOR = signing.make_signer("Vendor")
ANCHORS = trust.TrustAnchors([trust.read_certificate(VENDOR.der)])
MODULE = signing.sign(signing.module(), VENDOR)
PACKINGS = ("bz2", "gz", "xz")
GOOD = {packing: signing.patch_archive(MODULE, packing=packing) for packing in PACKINGS}
PACK: dict[str, t.Callable[[bytes], bytes]] = {"bz2": bz2.compress, "gz": gzip.compress, "xz": lzma.compress}


def examine(data: bytes, name: str = signing.ARCHIVE_NAME, kernel: str | None = None) -> patch_file.PatchFile:
    return patch_file.examine(data, name, ANCHORS, now=NOW, kernel=kernel)


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: t.Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar(*headers: bytes, end: bytes = bytes(1024)) -> bytes:
    return bz2.compress(b"".join(headers) + end)


def header(info: tarfile.TarInfo, form: int = tarfile.GNU_FORMAT) -> bytes:
    return info.tobuf(form)


def pax(records: bytes) -> bytes:
    return header(entry("pax", tarfile.XHDTYPE, size=len(records))) + records + bytes(-len(records) % 512)


@pytest.mark.parametrize("packing", PACKINGS)
def test_an_archive_of_the_service_is_parsed(packing: str) -> None:
    found = examine(GOOD[packing], signing.ARCHIVE_NAME.replace("bz2", packing))
    assert (found.verdict, found.kernel, found.version) == ("valid", signing.KERNEL, "65.1")
    assert archive.unpack_module(GOOD[packing]) == MODULE


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    "name", ["m.ko", "./m.ko", "a/b/m.ko", "a" * 90 + "/" + "b" * 50 + ".ko", "é.ko", "module-without-an-ending"]
)
def test_common_compressions_and_names_are_accepted(name: str, form: int) -> None:
    timed = entry("folder", tarfile.DIRTYPE, mtime=1.5)
    data = signing.archive({name: MODULE, "meta": b"x" * 513, "empty": b""}, form=form, extra=(timed,))
    assert archive.unpack_module(data) == MODULE


def test_long_names_of_gnu_and_pax_are_parsed() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert archive.unpack_module(signing.archive({"d/" * 500 + "m.ko": MODULE}, form=form)) == MODULE


def test_an_archive_of_several_streams_is_complete() -> None:
    unpacked = bz2.decompress(GOOD["bz2"])
    for pack in PACK.values():
        assert archive.unpack_module(pack(unpacked[:700]) + pack(unpacked[700:])) == MODULE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (signing.ARCHIVE_NAME, (signing.KERNEL, "65.1", "amd64")),
        ("livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2", ("5.15.0-107.117-generic", "107.1", "amd64")),
        (
            "livepatch-5.4.0-1021.21+fips2-aws-fips-9-arm64.tar.xz",
            ("5.4.0-1021.21+fips2-aws-fips", "9", "arm64"),
        ),
        ("livepatch-4.15.0-30.32~16.04.1-generic-7.2-amd64.tar.gz", ("4.15.0-30.32~16.04.1-generic", "7.2", "amd64")),
        ("livepatch-4.4.0-168.197-generic-65.1-amd64.tar", None),
        ("livepatch-4.4.0-168-generic-65.1-amd64.tar.bz2", None),
        ("livepatch-4.4.0-168.197-generic-65.1-amd64.tar.bz2\n", None),
        ("../livepatch-4.4.0-168.197-generic-65.1-amd64.tar.bz2", None),
        ("livepatch-" + "1-" * 200 + "amd64.tar.bz2", None),
        ("", None),
    ],
)
def test_the_archive_name_is_parsed(name: str, expected: tuple[str, str, str] | None) -> None:
    assert archive.parse_archive_name(name) == (archive.ArchiveName(*expected) if expected else None)


@pytest.mark.parametrize(
    ("name", "kernel", "verdict"),
    [
        (signing.ARCHIVE_NAME, signing.KERNEL, "valid"),
        (signing.ARCHIVE_NAME, signing.RELEASE, "valid"),
        (signing.ARCHIVE_NAME, "4.4.0-169.198-generic", "not_for_this_kernel"),
        ("download", signing.KERNEL, "valid"),
        ("download", None, "valid"),
        ("livepatch-4.4.0-169.198-generic-65.1-amd64.tar.bz2", None, "not_for_this_kernel"),
        ("livepatch-4.4.0-168.197-generic-66.1-amd64.tar.bz2", None, "malformed"),
    ],
)
def test_name_and_content_must_agree(name: str, kernel: str | None, verdict: str) -> None:
    assert examine(GOOD["bz2"], name, kernel).verdict == verdict


def test_without_a_usable_name_the_module_decides() -> None:
    found = examine(GOOD["bz2"], "download")
    assert (found.kernel, found.version) == (signing.KERNEL, "65")


HUGE = _tar.UNPACKED_LIMIT + 1
REFUSED: dict[str, tuple[bytes, str]] = {
    "no module": (signing.archive({"meta": b"x"}), "has no kernel module"),
    "nothing": (signing.archive({}), "has no kernel module"),
    "two modules": (signing.archive({"a.ko": MODULE, "b.ko": MODULE}), "more than one kernel module"),
    "two modules, one without its ending": (
        signing.archive({"a.ko": MODULE, "b": MODULE}),
        "more than one kernel module",
    ),
    "one name twice": (tar(*[header(entry("a.ko", size=512)) + MODULE[:512]] * 2), "more than one kernel module"),
    "absolute path": (signing.archive({"/m.ko": MODULE}), "not a plain path"),
    "path that leads out": (signing.archive({"../m.ko": MODULE}), "not a plain path"),
    "path that leads out further on": (signing.archive({"a/../../m.ko": MODULE}), "not a plain path"),
    "path with backslash": (signing.archive({"..\\m.ko": MODULE}), "not a plain path"),
    "path with escape": (signing.archive({"m\x1b[2J.ko": MODULE}), "not a plain path"),
    "path with double slash": (signing.archive({"a//m.ko": MODULE}), "not a plain path"),
    "no name": (tar(header(entry(""))), "not a plain path"),
    "name that is not text": (tar(entry("\udcff").tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")), "not UTF-8"),
    "symbolic link": (
        signing.archive({"m.ko": MODULE}, extra=(entry("l", tarfile.SYMTYPE, linkname="/etc/passwd"),)),
        "neither a regular file nor a folder",
    ),
    "hard link": (
        signing.archive({"m.ko": MODULE}, extra=(entry("l", tarfile.LNKTYPE, linkname="m.ko"),)),
        "neither a regular file nor a folder",
    ),
    "block device": (
        signing.archive({"m.ko": MODULE}, extra=(entry("d", tarfile.BLKTYPE),)),
        "neither a regular file nor a folder",
    ),
    "character device": (
        signing.archive({"m.ko": MODULE}, extra=(entry("d", tarfile.CHRTYPE),)),
        "neither a regular file nor a folder",
    ),
    "pipe": (
        signing.archive({"m.ko": MODULE}, extra=(entry("p", tarfile.FIFOTYPE),)),
        "neither a regular file nor a folder",
    ),
    "contiguous file": (
        signing.archive({"m.ko": MODULE}, extra=(entry("c", tarfile.CONTTYPE),)),
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
        tar(header(entry("m.ko", size=512)), MODULE[:512], end=bytes(1024) + b"more"),
        "data behind its end",
    ),
    "garbage behind the stream": (GOOD["bz2"] + b"garbage", "damaged"),
    "damaged": (GOOD["gz"][:40] + bytes(8) + GOOD["gz"][48:], "damaged"),
    "many streams": (bz2.compress(b"") * 2000 + GOOD["bz2"], "1024 compressed streams"),
}


@pytest.mark.parametrize(("data", "reason"), [pytest.param(*case, id=name) for name, case in REFUSED.items()])
def test_forbidden_contents_are_refused(data: bytes, reason: str) -> None:
    found = examine(data)
    assert (found.verdict, found.valid) == ("malformed", False)
    assert reason in found.reason
    assert found.reason.isprintable()


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_truncation_is_detected(packing: str) -> None:
    data = GOOD[packing]
    verdicts = {examine(data[:size]).verdict for size in range(6, len(data))}
    # The headers of xz contain checksums, so a truncation can also appear as damage.
    assert verdicts <= {"truncated", "malformed"}
    assert examine(data[:-1]).verdict == "truncated"
    assert not {examine(data[:size]).valid for size in range(6)} & {True}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_decompression_bomb_is_refused_early(packing: str) -> None:
    zeros = io.BytesIO()
    pack = {"bz2": bz2.open, "gz": gzip.open, "xz": lzma.open}[packing]
    with pack(zeros, "wb") as packer:
        packer.write(header(entry("meta", size=_tar.UNPACKED_LIMIT)))
        for _part in range((_tar.UNPACKED_LIMIT >> 20) + 1):
            packer.write(bytes(1 << 20))
    tracemalloc.start()
    started = time.process_time()
    found = examine(zeros.getvalue())
    took, (_now, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.verdict, found.reason) == ("malformed", "the archive unpacks to more than 128 MiB")
    assert took < 30
    assert peak < 32 << 20


def test_the_memory_of_xz_is_limited() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28, "preset": 0}]
    data = lzma.compress(bz2.decompress(GOOD["bz2"]), filters=filters)
    assert examine(data).verdict == "malformed"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_archive_crashes_or_forges_a_patch(data: st.DataObject) -> None:
    unpacked = bytearray(bz2.decompress(GOOD["bz2"]))
    for _change in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, 2048), st.integers(0, len(unpacked))))
        unpacked[at : at + 8] = data.draw(st.binary(max_size=8))
    if examine(bz2.compress(bytes(unpacked))).valid:
        assert MODULE in unpacked


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PACKINGS), st.data())
def test_no_compressed_bytes_crash_the_reader(packing: str, data: st.DataObject) -> None:
    packed = bytearray(GOOD[packing])
    at = data.draw(st.integers(6, len(packed)))
    packed[at : at + 8] = data.draw(st.binary(max_size=8))
    try:
        assert archive.unpack_module(bytes(packed)) == MODULE
    except PatchFileError as fault:
        assert fault.verdict in ("truncated", "malformed")
