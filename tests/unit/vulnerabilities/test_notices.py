# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Notices: the sources, the comparison with kernels, and hostile notices."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import (
    NoticeError,
    UbuntuKernel,
)
from tests.samples.notices import GENERIC, TRUSTY, XENIAL, affected, notice

KERNEL = "4.4.0-168.197-generic"


def parsed(document: object) -> notices.Notice:
    found = notices.parse_notice(document)
    assert found is not None
    return found


# --- one notice


def test_a_notice_is_parsed() -> None:
    found = parsed(notice())
    assert found == notices.Notice(
        id="LSN-0101-1",
        published=dt.datetime(2031, 3, 4, 5, 6, 7, tzinfo=dt.timezone.utc),
        modified=dt.datetime(2031, 4, 5, 6, 7, 8, 123_456, tzinfo=dt.timezone.utc),
        cves=("CVE-2031-1001", "CVE-2031-1002"),
        modules=(notices.NoticeModule(XENIAL, "linux", GENERIC, "101", "4.4.0-200.232"),),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"upstream": ["CVE-2031-1"]}, ()),
        ({"upstream": ["CVE-2031-10001"]}, ("CVE-2031-10001",)),
        ({"upstream": [], "aliases": ["UBUNTU-CVE-2031-1003"]}, ("CVE-2031-1003",)),
        ({"upstream": None, "related": ["CVE-2031-1003"]}, ("CVE-2031-1003",)),
        ({"upstream": ["UBUNTU-CVE-2031-1003"] * 3, "related": ["CVE-2031-9999"]}, ("CVE-2031-1003",)),
        ({"upstream": ["USN-1-1", 7, None, {"CVE-2031-1003": 1}]}, ()),
    ],
)
def test_vulnerabilities_are_found_in_every_field(fields: dict[str, t.Any], expected: tuple[str, ...]) -> None:
    assert parsed(notice(**fields)).cves == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2031-03-04T05:06:07Z", (5, 6)),
        ("2031-03-04T05:06:07.5Z", (5, 6)),
        ("2031-03-04T05:06:07.123456789+02:00", (3, 6)),
        ("2031-03-04t05:06:07z", (5, 6)),
    ],
)
def test_times_in_every_form_are_parsed(text: str, expected: tuple[int, int]) -> None:
    published = parsed(notice(published=text)).published
    assert (published.hour, published.minute, published.tzinfo) == (*expected, dt.timezone.utc)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "LSN-0101-1",
        {},
        {"id": 7},
        {"id": "USN-1234-1", "affected": []},
        notice(withdrawn="2031-05-01T00:00:00Z"),
    ],
)
def test_other_documents_are_ignored(document: object) -> None:
    assert notices.parse_notice(document) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "LSN-\x1b[2J"}, "is not the number of a notice"),
        ({"published": None, "modified": None}, "no valid time of publication"),
        ({"published": "yesterday"}, "no valid time of publication"),
        ({"published": "0001-01-01T00:00:00+23:59"}, "no valid time of publication"),
        ({"published": "2031-03-04T05:06:07"}, "no valid time of publication"),
        ({"affected": {}}, "affected is not a list"),
        ({"upstream": "CVE-2031-1001"}, "upstream is not a list"),
        ({"affected": [{}] * 10_001}, "affected is not a list of at most"),
    ],
)
def test_an_unusable_notice_has_a_reason(fields: dict[str, t.Any], message: str) -> None:
    with pytest.raises(NoticeError, match=message):
        notices.parse_notice(notice(**fields))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "no package"),
        ({"package": {"ecosystem": "a b", "name": "linux"}}, "no valid ecosystem"),
        ({**affected(), "ecosystem_specific": None}, "no ecosystem_specific"),
        (affected(version=None), "is not the version of a module"),
        (affected(version="101.5"), "is not the version of a module"),
        (affected(regex=None), "the pattern for names of modules is missing"),
        (affected(regex=r"(a)\1"), "is not supported"),
    ],
)
def test_an_invalid_package_does_not_affect_others(entry: t.Any, message: str) -> None:
    found = parsed(notice("0101-1", entry, affected()))
    assert len(found.modules) == 1
    assert message in found.unreadable[0]


# --- notices and kernels


@pytest.mark.parametrize(
    ("kernel", "patch", "standing"),
    [
        (KERNEL, None, "open"),
        (KERNEL, "100.9", "open"),
        (KERNEL, "101.1", "patched"),
        (KERNEL, "101", "patched"),
        (KERNEL, "113.2", "patched"),
        (KERNEL, "9.1", "open"),
        (KERNEL, "nonsense", "open"),
        ("4.4.0-168-lowlatency", "101.1", "patched"),
        ("4.4.0-200.232-generic", None, "in_kernel"),
        ("4.4.0-201.1-generic", "9.1", "in_kernel"),
        ("4.4.0-1100.1-aws", "113.1", None),
        ("4.15.0-200.1-generic", "113.1", None),
    ],
)
def test_patch_and_version_decide_the_status(kernel: str, patch: str | None, standing: str | None) -> None:
    assert parsed(notice()).status_for(UbuntuKernel.parse(kernel), patch) == standing


def test_the_release_distinguishes_equal_kernels() -> None:
    both = parsed(
        notice(
            "0101-1",
            affected(fixed="4.4.0-269.303"),
            affected(fixed="4.4.0-269.303~14.04.1", ecosystem=TRUSTY, package="linux-lts-xenial"),
        )
    )
    trusty = "4.4.0-269.303~14.04.1-generic"
    assert both.status_for(UbuntuKernel.parse(trusty), None) == "in_kernel"
    assert both.status_for(UbuntuKernel.parse(trusty, "14.04"), None) == "in_kernel"
    assert both.status_for(UbuntuKernel.parse(trusty, "16.04"), None) == "open"
    assert both.status_for(UbuntuKernel.parse(trusty, "18.04"), None) is None
    # If a kernel may belong to either release, the worst status applies.
    assert both.status_for(UbuntuKernel.parse("4.4.0-269.302-generic"), None) == "open"
    assert (
        parsed(notice("1-1", affected(fixed=None))).status_for(UbuntuKernel.parse("4.4.0-999.1-generic"), None)
        == "open"
    )


def test_an_hwe_kernel_has_its_own_release() -> None:
    regex = r"lkp_Ubuntu_4_15_0[_|\d]+_aws_(\d+)"
    hwe = parsed(notice("0113-1", affected(regex, "113", package="linux-aws-hwe", fixed="4.15.0-1181.194~16.04.1")))
    assert hwe.status_for(UbuntuKernel.parse("4.15.0-1180.193~16.04.1-aws"), "112.1") == "open"
    assert hwe.status_for(UbuntuKernel.parse("4.15.0-1180.193~16.04.1-aws"), "113.1") == "patched"
    assert hwe.status_for(UbuntuKernel.parse("4.15.0-1181.194~16.04.1-aws"), None) == "in_kernel"


def test_a_patch_closes_earlier_notices() -> None:
    published = [
        parsed(notice("0100-1", affected(version="100"), upstream=["UBUNTU-CVE-2030-5000"])),
        parsed(notice("0101-1")),
        parsed(notice("0102-1", affected(version="102"), upstream=["UBUNTU-CVE-2031-2000"])),
        parsed(notice("0103-1", affected(r"lkp_Ubuntu_4_4_0[_|\d]+_aws_(\d+)", "101"), upstream=["CVE-2031-3000"])),
    ]
    assert notices.patched_cves(published, UbuntuKernel.parse(KERNEL), "101.2") == [
        *("CVE-2030-5000", "CVE-2031-1001", "CVE-2031-1002")
    ]
    assert notices.patched_cves(published, UbuntuKernel.parse(KERNEL), None) == []


def test_a_vulnerability_needs_all_notices_closed() -> None:
    published = [
        parsed(notice("0100-1", affected(version="100"), upstream=["CVE-2031-1001", "CVE-2031-1002"])),
        parsed(notice("0101-1", affected(version="101"), upstream=["CVE-2031-1002"])),
        parsed(notice("0102-1", affected(version="102", fixed="4.4.0-100.1"), upstream=["CVE-2031-1003"])),
        parsed(notice("0103-1", affected(r"lkp_Ubuntu_5_4_0[_|\d]+_generic_(\d+)", "1"), upstream=["CVE-2031-1004"])),
    ]
    kernel = UbuntuKernel.parse(KERNEL)
    assert notices.resolved_cves(published, kernel, None) == {"CVE-2031-1003"}
    assert notices.resolved_cves(published, kernel, "100.1") == {"CVE-2031-1001", "CVE-2031-1003"}
    assert notices.resolved_cves(published, kernel, "101.1") == {"CVE-2031-1001", "CVE-2031-1002", "CVE-2031-1003"}


@pytest.mark.parametrize(
    "name",
    [
        *("", "generic", "4.4.0", "4.4.0-168", "x" * 200, "4.4.0-168.197-generic\n", "4.4.0-1-ä"),
        # The mainline archive and Pop!_OS: their ABI numbers are higher than those of Ubuntu with the same fixes.
        *("4.4.200-0404200-generic", "6.2.6-76060206-generic"),
    ],
)
def test_an_invalid_kernel_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an Ubuntu kernel"):
        UbuntuKernel.parse(name)


def test_the_latest_version_of_a_notice_is_used() -> None:
    old, new = (
        parsed(notice(modified=f"2031-0{month}-01T00:00:00Z", upstream=[f"CVE-2031-000{month}"])) for month in (4, 5)
    )
    earlier = parsed(notice("0100-1", published="2031-01-01T00:00:00Z"))
    assert notices.newest_of_each([new, old, earlier]) == [earlier, new]
    assert notices.newest_of_each([old, new]) == [new]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_no_document_crashes_the_parser(data: st.DataObject) -> None:
    document: t.Any = notice("0101-1", affected(), affected(ecosystem=TRUSTY))
    for _change in range(data.draw(st.integers(1, 3))):
        place = document
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(_JSON)
            break
    try:
        found = notices.parse_notice(document)
    except NoticeError as error:
        assert str(error).isprintable()
        return
    if found is not None:
        found.status_for(UbuntuKernel.parse(KERNEL), "101.1")
