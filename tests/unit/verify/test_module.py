# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Module metadata: valid ELF files are parsed, and hostile ones are refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import module
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from tests.lab.live_patches import signing


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name_in_modinfo", [True, False], ids=["modinfo", "structure"])
def test_modules_of_any_machine_are_parsed(order: str, bits: int, name_in_modinfo: bool) -> None:
    content = signing.module(order=order, bits=bits, name_in_modinfo=name_in_modinfo)
    assert module.read_module(content + b"signature") == module.ModuleFacts(
        name=signing.PATCH_NAME,
        build_id=bytes(range(20)).hex(),
        srcversion="0C7D2E3B0F6F2A1D9B8E4C5",
        vermagic=signing.VERMAGIC,
        extent=len(content),
        machine=62,
        is_live_patch=True,
    )


@pytest.mark.parametrize(
    ("name", "vermagic", "kernel", "release", "major"),
    [
        (signing.PATCH_NAME, signing.VERMAGIC, signing.KERNEL, signing.RELEASE, "65"),
        (
            "livepatch_Ubuntu_4_15_0_54_58_generic_54",
            "4.15.0-54-generic SMP",
            "4.15.0-54.58-generic",
            "4.15.0-54-generic",
            "54",
        ),
        (
            "lkp_Ubuntu_5_4_0_1021_21_aws_fips_9",
            "5.4.0-1021-aws-fips SMP",
            "5.4.0-1021.21-aws-fips",
            "5.4.0-1021-aws-fips",
            "9",
        ),
        # Special characters within the upload number cannot be recognised in the name.
        (
            "lkp_Ubuntu_4_15_0_30_32_16_04_1_generic_7",
            "4.15.0-30-generic SMP",
            "4.15.0-30-generic",
            "4.15.0-30-generic",
            "7",
        ),
        ("lkp_Ubuntu_4_4_0_168_197_generic_65", "4.4.0-21-generic SMP", "4.4.0-21-generic", "4.4.0-21-generic", "65"),
        ("virtio_net", "6.1.0-28-cloud-amd64 SMP", "6.1.0-28-cloud-amd64", "6.1.0-28-cloud-amd64", None),
        ("virtio_net", " ", None, None, None),
        ("virtio_net", None, None, None, None),
    ],
)
def test_the_kernel_is_named_as_precisely_as_possible(
    name: str, vermagic: str | None, kernel: str | None, release: str | None, major: str | None
) -> None:
    facts = module.read_module(signing.module(name=name, vermagic=vermagic))
    assert (facts.kernel, facts.release, facts.patch_major) == (kernel, release, major)


@pytest.mark.parametrize(
    ("name", "kernel", "expected"),
    [
        (signing.PATCH_NAME, signing.KERNEL, True),
        (signing.PATCH_NAME, signing.RELEASE, True),
        (signing.PATCH_NAME, "4.4.0-168.198-generic", False),
        (signing.PATCH_NAME, "4.4.0-168.197-lowlatency", False),
        (signing.PATCH_NAME, "4.4.0-21-generic", False),
        (signing.PATCH_NAME, "4.4.0-168.197~16.04.1-generic", False),
        ("lkp_Ubuntu_4_4_0_168_197_16_04_1_generic_65", "4.4.0-168.197~16.04.1-generic", True),
        ("own_fix", signing.KERNEL, True),
        ("own_fix", "4.4.0-169.198-generic", False),
        (signing.PATCH_NAME, "", False),
        (signing.PATCH_NAME, "4.4.0-168-generic\n", False),
    ],
)
def test_a_module_matches_one_kernel(name: str, kernel: str, expected: bool) -> None:
    content = signing.module(name=name)
    assert module.read_module(content).is_for(kernel) is expected


def test_a_module_without_kernel_matches_none() -> None:
    facts = module.read_module(signing.module(vermagic=None))
    assert facts.kernel is None
    assert not facts.is_for(signing.RELEASE)
    assert not facts.is_for(signing.KERNEL)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {".modinfo": b""},
        {".modinfo": b"vermagic"},
        {".modinfo": b"vermagic=\0srcversion=" + b"A" * 257 + b"\0name=\xff\x1b[31m\0"},
        {".modinfo": b"vermagic=a\nb\0"},
        {".note.gnu.build-id": b""},
        {".note.gnu.build-id": struct.pack("<III", 4, 20, 3) + b"GNU\0" + bytes(19)},
        {".note.gnu.build-id": struct.pack("<III", 4, 20, 1) + b"GNU\0" + bytes(20)},
        {".note.gnu.build-id": struct.pack("<III", 4, 0xFFFFFFFF, 3) + b"GNU\0" + bytes(20)},
        {".note.gnu.build-id": struct.pack("<III", 4, 0, 3) + b"GNU\0"},
        {".gnu.linkonce.this_module": bytes(10)},
        {".gnu.linkonce.this_module": bytes(24) + b"\x1b" * 56},
    ],
)
def test_missing_and_binary_values_are_unknown(sections: dict[str, bytes]) -> None:
    facts = module.read_module(signing.elf(sections))
    assert (facts.name, facts.build_id, facts.srcversion, facts.vermagic) == (None, None, None, None)


def test_the_first_of_several_values_is_used() -> None:
    content = signing.elf({".modinfo": b"vermagic=4.4.0-1-generic\0vermagic=4.4.0-2-generic\0"})
    assert module.read_module(content).release == "4.4.0-1-generic"


def test_other_files_are_malformed() -> None:
    with pytest.raises(PatchFileError, match="this is not a kernel module: ") as caught:
        module.read_module(b"MZ\x90")
    assert caught.value.verdict == "malformed"


def test_a_part_of_a_module_is_truncated() -> None:
    with pytest.raises(PatchFileError) as caught:
        module.read_module(signing.module()[:-1])
    assert caught.value.verdict == "truncated"


@settings(max_examples=300)
@given(st.binary(max_size=400), st.binary(max_size=200))
def test_any_sections_give_printable_facts(modinfo: bytes, structure: bytes) -> None:
    facts = module.read_module(signing.elf({".modinfo": modinfo, ".gnu.linkonce.this_module": structure}))
    assert all(value is None or value.isprintable() for value in (facts.name, facts.vermagic, facts.srcversion))
