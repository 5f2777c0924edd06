# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the order of package versions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._package_version import VERSION_LIMIT, version_key

ORDERED = (
    "1.0~rc1",
    "1.0",
    "1.0-1~16.04.1",
    "1.0-1",
    "1.0-1+fips1",
    "1.0-1.1",
    "4.4.0-9.1",
    "4.4.0-10.1~14.04.1",
    "4.4.0-10.1",
    "4.4.0-10.1+fips1",
    "4.4.0-10.10",
    "4.15.0-1.1",
    "5",
)
VERSIONS = st.text(alphabet="0123456789.-~+abz", max_size=20)


def test_versions_have_the_order_of_debian() -> None:
    for one, two in itertools.combinations(ORDERED, 2):
        assert version_key(one) < version_key(two), (one, two)


def test_leading_zeros_make_no_difference() -> None:
    assert version_key("1.0-1") == version_key("1.00-01")


def test_a_missing_revision_is_the_lowest_one() -> None:
    assert version_key("1.0") == version_key("1.0-")
    assert version_key("1.0-1~") < version_key("1.0-1")


def test_a_long_version_is_an_error() -> None:
    version_key("9" * VERSION_LIMIT)
    with pytest.raises(ValueError, match="too long"):
        version_key("9" * (VERSION_LIMIT + 1))


@given(st.lists(VERSIONS, max_size=6))
def test_any_versions_have_an_order(versions: list[str]) -> None:
    assert [version_key(version) for version in sorted(versions, key=version_key)] == sorted(map(version_key, versions))


@given(VERSIONS)
def test_a_tilde_sorts_first(version: str) -> None:
    assert version_key(f"{version}~") < version_key(version)
