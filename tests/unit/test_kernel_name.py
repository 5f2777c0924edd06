# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the grammar of kernel names and of the names of live patch modules and crash locks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import (
    KernelName,
    ModuleName,
    module_name,
    normalised_source,
    parse_kernel_name,
    parse_lock_name,
    parse_module_name,
    parse_release,
    series_of,
)


def parsed(text: str) -> KernelName:
    name = parse_kernel_name(text)
    assert name is not None
    return name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("4.4.0-168.197-generic", KernelName("4.4.0", "168", "generic", upload="197")),
        ("4.4.0-168-generic", KernelName("4.4.0", "168", "generic")),
        ("4.15.0-36.39~16.04.1-lowlatency", KernelName("4.15.0", "36", "lowlatency", upload="39~16.04.1")),
        ("5.4.0-1021.21+fips2-aws-fips", KernelName("5.4.0", "1021", "aws-fips", upload="21+fips2")),
        ("4.4.0-1017.22~recert1-fips", KernelName("4.4.0", "1017", "fips", upload="22~recert1")),
        ("6.8.0-31.31.1-generic-64k", KernelName("6.8.0", "31", "generic-64k", upload="31.1")),
        ("2.6.32-73.141-server", KernelName("2.6.32", "73", "server", upload="141")),
        ("5.7.7-050707-generic", KernelName("5.7.7", "050707", "generic")),
        ("5.15.0-051500rc7-generic", KernelName("5.15.0", "051500", "generic", suffix="rc7")),
        ("6.1.0-18-cloud-amd64", KernelName("6.1.0", "18", "cloud-amd64")),
        ("10.4-1004-x", KernelName("10.4", "1004", "x")),
    ],
)
def test_parses_kernel_names(text: str, name: KernelName) -> None:
    assert parse_kernel_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4.4.24",
        "4.4.0-168",
        "4.4.0-168.197",
        "4.4.0-168.-generic",
        "4.4.0-168-",
        "4.4.0-168--generic",
        "4.4.0-168-generic+",
        "4.4.0-168-generic\n",
        " 4.4.0-168-generic",
        "4-168-generic",
        "4..4-168-generic",
        "4.4.0-x-generic",
        "5.15.90.1-microsoft-standard-WSL2",
        "4.4.0-168.197 generic",
        "٤.4.0-168-generic",
        f"4.4.0-168-{'x' * 128}",
    ],
)
def test_rejects_other_names(text: str) -> None:
    assert parse_kernel_name(text) is None


@pytest.mark.parametrize(
    ("text", "full", "release", "package_version"),
    [
        ("4.4.0-168.197-generic", "4.4.0-168.197-generic", "4.4.0-168-generic", "4.4.0-168.197"),
        ("4.4.0-168-generic", None, "4.4.0-168-generic", "4.4.0-168"),
        ("5.15.0-051500rc7-generic", None, "5.15.0-051500rc7-generic", "5.15.0-051500rc7"),
    ],
)
def test_full_name_and_release(text: str, full: str | None, release: str, package_version: str) -> None:
    name = parsed(text)
    assert (name.full, name.release, name.package_version) == (full, release, package_version)


def test_a_full_name_is_not_a_release() -> None:
    assert parse_release("4.4.0-168-generic") == KernelName("4.4.0", "168", "generic")
    assert parse_release("4.4.0-168.197-generic") is None
    assert parse_release("4.4.24") is None


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("4.15.0-36.39~16.04.1-generic", "16.04"),
        ("4.15.0-36.39~16.04-generic", "16.04"),
        ("4.15.0-36.39~16.041-generic", None),
        ("4.4.0-1017.22~recert1-fips", None),
        ("4.4.0-168.197-generic", None),
        ("4.4.0-168-generic", None),
    ],
)
def test_release_of_an_hwe_kernel(text: str, release: str | None) -> None:
    assert parsed(text).ubuntu_release == release


@pytest.mark.parametrize(
    ("text", "mainline"),
    [
        ("4.4.0-040400-generic", True),
        ("5.15.0-051500rc7-generic", True),
        ("6.8.12-060812-generic", True),
        ("4.9.100-0409100-generic", True),
        ("4.4.0-040500-generic", False),
        ("10.4-1004-x", False),
        ("4.4.0-168-generic", False),
    ],
)
def test_mainline_repeats_its_version(text: str, mainline: bool) -> None:
    assert parsed(text).mainline is mainline


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("5.7.7-050707-generic", True),
        ("6.2.6-76060206-generic", True),
        ("5.15.0-051500rc7-lowlatency", True),
        ("5.4.0-216-generic", False),
        ("5.15.0-1080-aws", False),
        ("4.15.0-1011.12-fips", False),
    ],
)
def test_names_show_who_built_a_kernel(text: str, foreign: bool) -> None:
    assert parsed(text).foreign is foreign


@pytest.mark.parametrize(
    ("text", "of_archive"),
    [
        ("4.4.0-168-generic", True),
        ("6.8.0-60.63-generic", True),
        ("6.8.0-60.63.1-lowlatency", True),
        ("4.15.0-36.39~16.04.1-generic", True),
        ("5.15.0-1019.24~20.04.1.1-azure-fde", True),
        ("5.4.0-1098.104+cvm1.1-azure", True),
        ("5.4.0-1021.21+fips2-aws-fips", True),
        ("4.4.0-1017.22~recert1-fips", True),
        ("5.15.0-25.25~lp1956396-generic", False),
        ("5.15.0-25.25+acme1-generic", False),
        ("5.15.0-25.25~20220401-generic", False),
        ("5.15.0-25.25b1-generic", False),
    ],
)
def test_uploads_of_the_archive_have_known_forms(text: str, of_archive: bool) -> None:
    assert parsed(text).of_archive is of_archive


@pytest.mark.parametrize(
    ("text", "fips"),
    [
        ("4.4.0-1019-fips", True),
        ("5.4.0-1031-aws-fips", True),
        ("5.4.0-1031.32+fips1-aws", True),
        ("4.4.0-1019.24~recert1-generic", True),
        ("4.4.0-47.68-generic", False),
        ("4.4.0-47-nofipshere", False),
    ],
)
def test_fips(text: str, fips: bool) -> None:
    assert parsed(text).fips is fips


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("4.4.0-168-generic", "4.4"),
        ("5.15.90.1-microsoft-standard-WSL2", "5.15"),
        ("4.4.24", "4.4"),
        ("4.4", "4.4"),
        ("44", None),
        ("six", None),
        ("", None),
    ],
)
def test_series_of_any_release(text: str, series: str | None) -> None:
    assert series_of(text) == series


def test_age_counts_numbers_not_letters() -> None:
    ordered = [
        "4.4.0-9-generic",
        "4.4.0-47-generic",
        "4.4.0-104-generic",
        "4.15.0-1-generic",
        "5.15.0-051500rc9-generic",
        "5.15.0-051500rc10-generic",
        "5.15.0-051500-generic",
    ]
    shuffled = [*ordered[3:], *ordered[:3]]
    assert sorted(shuffled, key=lambda text: parsed(text).age) == ordered


MODULES = [
    ("4.4.0-47.68-generic", "15.3", "lkp_Ubuntu_4_4_0_47_68_generic_15"),
    ("4.15.0-36.39~16.04.1-lowlatency", "44.1", "lkp_Ubuntu_4_15_0_36_39_16_04_1_lowlatency_44"),
    ("5.4.0-1031.32+fips1-aws-fips", "101.2", "lkp_Ubuntu_5_4_0_1031_32_fips1_aws_fips_101"),
    ("6.8.0-47.47-generic", "113", "lkp_Ubuntu_6_8_0_47_47_generic_113"),
]


@pytest.mark.parametrize(("full", "patch", "name"), MODULES)
def test_module_is_named_after_kernel_and_major_number(full: str, patch: str, name: str) -> None:
    assert module_name(full, patch) == name
    module = parse_module_name(name)
    assert module is not None
    assert module.major == patch.partition(".")[0]
    assert module.is_for(full)


@pytest.mark.parametrize(("full", "patch", "name"), MODULES)
def test_lock_is_named_after_module_and_version(full: str, patch: str, name: str) -> None:
    assert parse_lock_name(f"{name}_{patch}") == parse_module_name(name)


def test_old_clients_use_another_prefix() -> None:
    lock = parse_lock_name("livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2")
    assert lock == ModuleName("4_15_0_54_58_generic", "54")
    assert lock.is_for("4.15.0-54.58-generic")


def test_module_is_for_its_own_kernel_only() -> None:
    module = ModuleName("4_4_0_47_68_generic", "15")
    assert module.is_for("4.4.0-47.68-generic")
    for other in ("4.4.0-47.69-generic", "4.4.0-47.68-lowlatency", "4.4.0-47.68", ""):
        assert not module.is_for(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nf_tables",
        "lkp_Ubuntu_",
        "lkp_Ubuntu_4_4_0_47_68_generic_",
        "lkp_Ubuntu_4_4_0_47_68_generic_15\n",
        "lkp_Ubuntu_4_4_0_47_68_" + "x" * 64 + "_15",
        "lkp_Ubuntu_generic_15",
        "lkp_Fedora_4_4_0_47_68_generic_15",
        "xlkp_Ubuntu_4_4_0_47_68_generic_15",
    ],
)
def test_other_modules_are_not_patches(text: str) -> None:
    assert parse_module_name(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* ",
        "-rf",
        "livepatch_Ubuntu_x; rm",
        "livepatch_Ubuntu_4_4_0_210_242_generic_113",
        "livepatch_Ubuntu_4_4_0_210_242_generic_113_",
        "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1\n",
        "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1/../../x",
        "livepatch_Ubuntu_4_4_0_210_242_generic_113_..",
        "livepatch_Ubuntu_4_4_0_210_242_generic_113_" + "1" * 40,
    ],
)
def test_other_files_are_not_locks(text: str) -> None:
    assert parse_lock_name(text) is None


@pytest.mark.parametrize(
    ("kernel", "release", "full"),
    [
        ("4_4_0_168_197_generic", "4.4.0-168-generic", "4.4.0-168.197-generic"),
        ("5_4_0_1031_32_aws_fips", "5.4.0-1031-aws-fips", "5.4.0-1031.32-aws-fips"),
        # Which sign an underscore of the upload number stands for is not known.
        ("4_15_0_36_39_16_04_1_generic", "4.15.0-36-generic", None),
        ("4_4_0_168_197_generic", "4.4.0-21-generic", None),
        ("4_4_0_168_197_generic", "4.4.0-168-lowlatency", None),
        ("4_4_0_168_generic", "4.4.0-168-generic", None),
    ],
)
def test_release_completes_the_name_of_a_module(kernel: str, release: str, full: str | None) -> None:
    found = ModuleName(kernel, "65").kernel_of_release(parsed(release))
    assert (found.full if found else None) == full


NAME_LIKE = st.text(alphabet="0123456789.-~+_ ()#:ubuntpkrg\n", max_size=120)
ANY_TEXT = st.text() | NAME_LIKE | NAME_LIKE.map("4.4.0-1{}".format) | NAME_LIKE.map("lkp_Ubuntu_4{}".format)


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_parsed_or_rejected(text: str, other: str) -> None:
    kernel = parse_kernel_name(text)
    if kernel is not None:
        assert str(kernel) == text
        assert parse_kernel_name(kernel.release) is not None
        assert kernel.series == series_of(text)
    for module in (parse_module_name(text), parse_lock_name(text)):
        assert module is None or module.major.isdecimal()
        assert module is None or module.is_for(other) in (True, False)
    assert module_name(text, other).isascii()


@pytest.mark.parametrize("unit", ["4", "4.", "-", "4.4.0-", "4.4.0-1.1-", " ", "lkp_Ubuntu_4_"])
def test_a_megabyte_takes_no_time(unit: str) -> None:
    noise = unit * (2**20 // len(unit))
    start = time.process_time()
    assert parse_kernel_name(noise) is None
    assert parse_module_name(noise) is None
    assert parse_lock_name(noise) is None
    series_of(noise)
    assert time.process_time() - start < 1


def test_signed_images_have_the_source_of_the_kernel() -> None:
    assert normalised_source("linux-signed") == "linux"
    assert normalised_source("linux-signed-hwe-6.8") == "linux-hwe-6.8"
    assert normalised_source("linux-meta-aws") == "linux-aws"
    assert normalised_source("linux-aws") == "linux-aws"
    assert normalised_source("linux-signedness") == "linux-signedness"
