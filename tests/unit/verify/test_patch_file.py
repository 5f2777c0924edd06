# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the examination of patch files: archives and modules, their signature, kernel and version."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import lzma
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust
from tests.lab.live_patches import signing

NOW = dt.datetime.now(dt.timezone.utc)
VENDOR = signing.make_signer("Vendor")
ANCHORS = trust.TrustAnchors([trust.read_certificate(VENDOR.der)])
MODULE = signing.sign(signing.module(), VENDOR)
PACKINGS = ("bz2", "gz", "xz")
GOOD = {packing: signing.patch_archive(MODULE, packing=packing) for packing in PACKINGS}


def examine(data: bytes, name: str = signing.ARCHIVE_NAME, kernel: str | None = None) -> patch_file.PatchFile:
    return patch_file.examine(data, name, ANCHORS, now=NOW, kernel=kernel)


@pytest.mark.parametrize("packing", PACKINGS)
def test_an_archive_of_the_service_is_valid(packing: str) -> None:
    found = examine(GOOD[packing], signing.ARCHIVE_NAME.replace("bz2", packing))
    assert (found.verdict, found.kernel, found.version) == ("valid", signing.KERNEL, "65.1")
    assert (found.signer, found.certificate_expired) == ("Vendor", False)


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


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"livepatch": None}, "it has no livepatch=Y"),
        ({"livepatch": "N"}, "it has no livepatch=Y"),
        ({"name": "zfs"}, "does not have the name of a live patch"),
        ({"name": "lkp_Ubuntu_4_4_0_168_197_generic_66"}, "has version 65.1, and its module 66"),
        ({"machine": signing.MACHINES["arm64"]}, "not for the architecture amd64"),
    ],
)
def test_an_archive_holds_the_live_patch_it_names(parts: dict[str, t.Any], reason: str) -> None:
    signed = signing.sign(signing.module(**parts), VENDOR)
    found = examine(signing.patch_archive(signed))
    assert found.verdict == "malformed"
    assert reason in found.reason
    assert examine(signed, "any.ko").valid, "a module of another kind is no patch, and its signature is good"


@pytest.mark.parametrize(
    ("architecture", "verdict"),
    [("arm64", "valid"), ("amd64", "malformed"), ("s390x", "malformed"), ("x", "malformed")],
)
def test_the_architecture_of_the_name_is_the_modules(architecture: str, verdict: str) -> None:
    signed = signing.sign(signing.module(machine=signing.MACHINES["arm64"]), VENDOR)
    name = signing.ARCHIVE_NAME.replace("amd64", architecture)
    assert examine(signing.patch_archive(signed), name).verdict == verdict


def test_without_a_usable_name_the_module_decides() -> None:
    found = examine(GOOD["bz2"], "download")
    assert (found.kernel, found.version) == (signing.KERNEL, "65")


@pytest.mark.parametrize(
    ("kernel", "verdict"),
    [
        (None, "valid"),
        (signing.KERNEL, "valid"),
        (signing.RELEASE, "valid"),
        ("4.4.0-168.198-generic", "not_for_this_kernel"),
        ("", "not_for_this_kernel"),
    ],
)
def test_a_module_is_for_one_kernel(kernel: str | None, verdict: str) -> None:
    assert examine(MODULE, "patch.ko", kernel).verdict == verdict


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2", "zst"])
def test_a_compressed_module_is_named(suffix: str) -> None:
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}.get(suffix, lambda data: data)
    found = examine(pack(MODULE), f"patch.ko.{suffix}")
    assert (found.verdict, "is compressed" in found.reason) == ("malformed", True)


def test_a_module_without_kernel_is_for_none() -> None:
    data = signing.sign(signing.module(vermagic=None), VENDOR)
    assert examine(data, "patch.ko", signing.RELEASE).verdict == "not_for_this_kernel"
    assert examine(data, "patch.ko").valid


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"", "truncated"),
        (b"text", "malformed"),
        (signing.sign(b"text", VENDOR), "malformed"),
        (signing.module(), "unsigned"),
        (signing.module() + b"more", "truncated"),
        (MODULE[:-1], "truncated"),
        (signing.archive({"meta": b""}), "malformed"),
        (GOOD["gz"][:-1], "truncated"),
        (signing.patch_archive(signing.module()), "unsigned"),
    ],
)
def test_the_first_fault_decides(data: bytes, verdict: str) -> None:
    found = examine(data)
    assert (found.verdict, found.valid) == (verdict, False)
    assert found.reason.isprintable()


@settings(max_examples=300)
@given(st.data())
def test_no_change_forges_a_patch(data: st.DataObject) -> None:
    unpacked = bytearray(bz2.decompress(GOOD["bz2"]))
    for _change in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, 2048), st.integers(0, len(unpacked))))
        unpacked[at : at + 8] = data.draw(st.binary(max_size=8))
    if examine(bz2.compress(bytes(unpacked))).valid:
        assert MODULE in unpacked
