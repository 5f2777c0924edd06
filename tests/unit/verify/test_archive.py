# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of patch archives: their names, and the one module in them."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import archive
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from tests.lab.live_patches import signing

MODULE = signing.module()


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


@pytest.mark.parametrize("packing", ["bz2", "gz", "xz"])
def test_an_archive_of_the_service_is_unpacked(packing: str) -> None:
    assert archive.unpack_module(signing.patch_archive(MODULE, packing=packing)) == MODULE


def test_a_module_is_recognised_by_name_or_content() -> None:
    assert archive.unpack_module(signing.archive({"meta": b"x", "module": MODULE})) == MODULE
    assert archive.unpack_module(signing.archive({"meta": b"\x7fEL", "a/b.ko": b"short"})) == b"short"
    assert archive.unpack_module(signing.archive({"empty.ko": b""})) == b""


REFUSED = {
    "no module": (signing.archive({"meta": b"x"}), "malformed", "has no kernel module"),
    "no files": (signing.archive({}), "malformed", "has no kernel module"),
    "two modules": (signing.archive({"a.ko": MODULE, "b.ko": MODULE}), "malformed", "more than one kernel module"),
    "two modules, one without a suffix": (
        signing.archive({"a.ko": MODULE, "b": MODULE}),
        "malformed",
        "more than one kernel module",
    ),
    "path outside": (signing.archive({"../m.ko": MODULE}), "malformed", "not a plain path"),
    "truncated": (signing.archive({"m.ko": MODULE})[:-1], "truncated", "ends too early"),
}


@pytest.mark.parametrize(
    ("data", "verdict", "reason"), [pytest.param(*case, id=name) for name, case in REFUSED.items()]
)
def test_other_archives_are_refused(data: bytes, verdict: str, reason: str) -> None:
    with pytest.raises(PatchFileError, match=reason) as caught:
        archive.unpack_module(data)
    assert caught.value.verdict == verdict
