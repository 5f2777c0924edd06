# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The compiled form of vulnerability data."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import index
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import (
    IndexFormatError,
    VulnerabilityIndex,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import (
    NoticeFiles,
    Unreadable,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import parse_notice
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import (
    Advice,
    Packages,
    Vulnerability,
)
from tests.samples.notices import notice

PACKAGES = Packages(
    "16.04",
    "",
    "2031-06-01",
    {"CVE-2031-1002": Vulnerability("high", "2031-01-02"), "CVE-2031-1001": Vulnerability(None, None)},
    {"linux": {"4.4.0-168.197"}},
    {
        "linux": {"CVE-2031-1001": Advice("fixed", "4.4.0-200.232")},
        "linux-aws": {"CVE-2031-1002": Advice("vulnerable")},
    },
)


def whole() -> VulnerabilityIndex:
    found = parse_notice(notice())
    assert found is not None
    return VulnerabilityIndex([index.index_packages(PACKAGES)], NoticeFiles([found], [Unreadable("a", "b")]))


def test_advice_is_found_by_package_and_vulnerability() -> None:
    (packages,) = whole().packages
    assert packages.cves == ["CVE-2031-1001", "CVE-2031-1002"]
    assert packages.advice("linux", "CVE-2031-1001") == Advice("fixed", "4.4.0-200.232")
    assert packages.advice("linux", "CVE-2031-1002") is None
    assert packages.advice("linux-aws", "CVE-2031-1002") == Advice("vulnerable")
    assert packages.advice("linux", "CVE-2031-9999") is None
    assert packages.advice("bash", "CVE-2031-1001") is None


def test_the_stored_form_has_everything() -> None:
    assert index.load_index(index.dump_index(whole(), "d1").encode(), "d1") == whole()


@pytest.mark.parametrize(
    "change",
    [
        {"format": index.FORMAT + 1},
        {"digest": "d2"},
        {"packages": None},
        {"packages": [{}]},
        {
            "packages": [
                {
                    **dict.fromkeys(("release", "realm", "published")),
                    **{key: [] for key in ("cves", "priorities", "dates", "sources")},
                }
            ]
        },
        {"notices": [["LSN-1-1"]]},
        {"notices": [["LSN-1-1", "yesterday", "today", [], [], False]]},
        {"unreadable": [[1]]},
    ],
)
def test_a_damaged_index_is_refused(change: dict[str, t.Any]) -> None:
    document = {**json.loads(index.dump_index(whole(), "d1")), **change}
    with pytest.raises(IndexFormatError):
        index.load_index(json.dumps(document).encode(), "d1")


@pytest.mark.parametrize(
    ("key", "value"), [("cves", []), ("priorities", []), ("column", [0]), ("column", [0, 9]), ("column", [-1, 0])]
)
def test_lists_of_an_index_must_agree(key: str, value: list[int]) -> None:
    document = json.loads(index.dump_index(whole(), "d1"))
    target = document["packages"][0]["sources"]["linux"] if key == "column" else document["packages"][0]
    target[key] = value
    with pytest.raises(IndexFormatError):
        index.load_index(json.dumps(document).encode(), "d1")


@given(st.integers(0, 2000))
def test_an_index_that_is_cut_off_is_refused(length: int) -> None:
    text = index.dump_index(whole(), "d1").encode()
    with pytest.raises(IndexFormatError):
        index.load_index(text[: min(length, len(text) - 1)], "d1")
