# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of lists of patches and of selections."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import (
    OldListError,
    PatchList,
    PatchListError,
    Selection,
    list_folder,
    patch_version_key,
    read_list,
)
from tests.samples.mirror import NOW, index_of, listed, mirrored, name_of


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), True),
        (Selection(kernels=("4.4.0-168.197-generic",)), True),
        (Selection(kernels=("4.4.0-168-generic",)), True),
        (Selection(kernels=("5.*", "4.4*")), True),
        (Selection(kernels=("4.4",)), False),
        (Selection(kernels=()), False),
        (Selection(flavours=("generic",)), True),
        (Selection(flavours=("gen*",)), False),
        (Selection(architectures=("arm64", "amd64")), True),
        (Selection(tiers=("stable",)), False),
    ],
)
def test_a_selection_contains_the_named_patches(selection: Selection, expected: bool) -> None:
    assert selection.selects(listed("65.1")) is expected


def test_a_flavour_may_contain_dashes() -> None:
    patch = listed("9", "5.4.0-1021.21+fips2-aws-fips", "stable")
    assert Selection(flavours=("aws-fips",), tiers=("stable",), kernels=("5.4.0-1021-aws-fips",)).selects(patch)


def test_lists_may_be_yaml_json_or_index() -> None:
    patch = listed("65.1")
    entry = {"filename": patch.filename, "hash": patch.sha256.upper()}
    as_yaml = f"# carried\n- filename: {patch.filename}\n  hash: {patch.sha256}\n".encode()
    index = index_of(mirrored("65.1")).text().encode()
    for data in (as_yaml, json.dumps([entry]).encode(), index):
        assert read_list(data) == [patch]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_list_crashes_the_parser(content: str | bytes) -> None:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    try:
        assert read_list(data) == []
    except PatchListError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not a list of patches"),
        ("[", "this is not a list of patches"),
        ("patches: 7", "it must be a list of filename and hash"),
        ("- 7", "entry 0: expected filename and hash, found str"),
        ("- hash: a", "entry 0: None is not the name of an archive"),
        (f"- filename: ../{name_of('65.1')}", "is not the name of an archive"),
        (f"- filename: {name_of('65.1')}\n  hash: abc", "has no SHA-256 of 64 hexadecimal digits, but 'abc'"),
        (f"- filename: {name_of('65.1')}\n  hash: {'0' * 64}\n  tier: A b", "'A b' as tier"),
        # The loader in C would end the process.
        ("- " * 50_000 + "x", "it is nested deeper than 16 levels"),
        ("[" * 100_000, "this is not a list of patches"),
        ("- &a [x, x]\n- &b [*a, *a]", "it contains an anchor or an alias"),
    ],
)
def test_an_invalid_entry_is_named(text: str, message: str) -> None:
    with pytest.raises(PatchListError) as caught:
        read_list(text.encode())
    assert caught.value.id == "bad_list"
    assert message in str(caught.value)


def test_an_archive_has_one_hash_in_a_list() -> None:
    entries = [{"filename": name_of("65.1"), "hash": digit * 64} for digit in "00"]
    assert len(read_list(json.dumps(entries).encode())) == 1
    entries[1]["hash"] = "1" * 64
    with pytest.raises(PatchListError, match=r"entry 1: .* is listed above with another hash or tier"):
        read_list(json.dumps(entries).encode())


def test_a_folder_is_a_list_of_its_archives(tmp_path: Path) -> None:
    patch = listed("65.1")
    (tmp_path / patch.filename).write_bytes(patch.filename.encode())
    (tmp_path / "README").write_text("no archive")
    (tmp_path / name_of("66.1")).mkdir()
    assert list_folder(tmp_path) == [patch]


def test_versions_sort_by_number() -> None:
    ordered = ["9", "9.1", "64.10", "65", "65.0.1"]
    assert sorted([*ordered[2:], *ordered[:2]], key=patch_version_key) == ordered
    assert patch_version_key("65") == patch_version_key("65.0")


@pytest.mark.parametrize(
    ("hours", "limit", "accepted", "age"),
    [
        (1.5, 2, True, 1.5),
        (2, 2, True, 2),
        (2.5, 2, False, 2.5),
        (None, 2, False, None),
        (None, None, True, None),
        (100_000, None, True, 100_000),
        (-0.05, 2, True, 0),
        (-1, 2, False, None),
        (-1, None, True, None),
    ],
)
def test_a_list_has_an_age(hours: float | None, limit: int | None, accepted: bool, age: float | None) -> None:
    found = PatchList([], None if hours is None else NOW - dt.timedelta(hours=hours))
    assert found.age(NOW) == (None if age is None else dt.timedelta(hours=age))
    most = None if limit is None else dt.timedelta(hours=limit)
    if accepted:
        found.check_age(NOW, most)
        return
    with pytest.raises(OldListError, match="max_list_age is 2 hours") as caught:
        found.check_age(NOW, most)
    assert caught.value.id == "list_too_old"
    assert ("unknown" if age is None else "2.5 hours old") in str(caught.value)
