# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Notices in raw form: their rows, the oldest kernels, and the join with the OSV form."""

from __future__ import annotations

import datetime as dt
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import read_notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import (
    NoticeError,
    UbuntuKernel,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.raw_notices import (
    is_raw_notice,
    parse_raw_notice,
)
from tests.samples.notices import affected, notice
from tests.samples.vulnerabilities import raw_notice, raw_row

AWS = r"lkp_Ubuntu_4_4_0[_|\d]+_aws_(\d+)"
ROWS = {
    "xenial": {
        "aws": raw_row(AWS, "4.4.0-1159"),
        "aws-hwe": raw_row(r"lkp_Ubuntu_4_15_0[_|\d]+_aws_(\d+)", "4.15.0-1126"),
        "generic-4.4": raw_row(r"lkp_Ubuntu_4_4_0[_|\d]+_generic_(\d+)", "4.4.0-243"),
        "generic-4.15": raw_row(r"lkp_Ubuntu_4_15_0[_|\d]+_generic_(\d+)", "4.15.0-143"),
    },
    "jammy": {
        "linux": raw_row(r"lkp_Ubuntu_5_15_0[_|\d]+_linux_(\d+)", "5.15.0-24"),
        "hwe-6.8": raw_row(r"lkp_Ubuntu_6_8_0[_|\d]+_hwe_(\d+)", "6.8.0-0"),
        "gcp-6.8": raw_row(r"lkp_Ubuntu_6_8_0[_|\d]+_gcp_(\d+)", "6.8.0-1000"),
    },
}


def parsed(document: t.Any) -> notices.Notice:
    found = parse_raw_notice(document)
    assert found is not None
    return found


def test_a_notice_with_a_malformed_number_is_read() -> None:
    found = parsed(raw_notice("120-1", ROWS))
    assert found.id == "LSN-120-1"
    assert found.published == dt.datetime.fromtimestamp(1930366800, dt.timezone.utc)
    assert found.cves == ("CVE-2031-1001", "CVE-2031-1002")
    assert [(module.package, module.oldest) for module in found.modules] == [
        ("linux-aws", "4.4.0-1159"),
        ("linux-aws-hwe", "4.15.0-1126"),
        ("linux", "4.4.0-243"),
        ("linux-hwe", "4.15.0-143"),
        ("linux", "5.15.0-24"),
        ("linux-hwe-6.8", "6.8.0-0"),
        ("linux-gcp-6.8", "6.8.0-1000"),
    ]
    assert found.unreadable == ()


@pytest.mark.parametrize(
    ("kernel", "release", "patch", "expected"),
    [
        ("4.4.0-1159.174-aws", "16.04", "101.1", "patched"),
        ("4.4.0-1159.174-aws", "16.04", "100.1", "open"),
        ("4.4.0-1158.173-aws", "16.04", "101.1", None),
        ("5.15.0-24.24-generic", "22.04", "101.1", "patched"),
        ("5.15.0-24.24-lowlatency", "22.04", "101.1", "patched"),
        ("6.8.0-40.40~22.04.3-generic", "22.04", "101.1", "patched"),
        ("5.15.0-1050.55-aws", "22.04", "101.1", None),
        ("5.15.0-24.24-generic", "20.04", "101.1", None),
    ],
)
def test_rows_are_for_flavours_and_known_kernels(kernel: str, release: str, patch: str, expected: str | None) -> None:
    assert parsed(raw_notice("120-1", ROWS)).status_for(UbuntuKernel.parse(kernel, release), patch) == expected


def test_both_forms_of_a_notice_are_joined(tmp_path: Path) -> None:
    osv = notice("0120-1", affected(AWS, package="linux-aws", fixed="4.4.0-1195.210"))
    for name, document in (("a", osv), ("b", raw_notice("120-1", ROWS))):
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    (found,) = read_notices(tmp_path).notices
    assert found.id == "LSN-0120-1"
    first, *others = found.modules
    assert (first.fixed, first.oldest) == ("4.4.0-1195.210", "4.4.0-1159")
    assert len(others) == 6
    assert all(row.fixed is None for row in others)


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"id": "LSN-1-1", "releases": {}, "affected": []}, {"id": "LSN-1-1", "releases": []}],
)
def test_other_documents_are_not_raw_notices(document: object) -> None:
    assert not is_raw_notice(document)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timestamp": None}, "no valid time of publication"),
        ({"timestamp": "9" * 40}, "no valid time of publication"),
        ({"releases": {"xenial": []}}, "has no tables of kernels"),
        ({"cves": "CVE-2031-1001"}, "cves is not a list"),
        ({"id": "LSN-\x1b"}, "is not the number of a notice"),
    ],
)
def test_an_unusable_raw_notice_has_a_reason(fields: dict[str, t.Any], message: str) -> None:
    with pytest.raises(NoticeError, match=message):
        parse_raw_notice({**raw_notice("1-1", {}), **fields})


@pytest.mark.parametrize(
    ("codename", "name", "row", "message"),
    [
        ("quantal", "aws", raw_row(AWS, "4.4.0-1"), "release or kernel is not known"),
        ("xenial", "a b", raw_row(AWS, "4.4.0-1"), "release or kernel is not known"),
        ("xenial", "aws", raw_row(AWS, None), "the oldest kernel is missing"),
        ("xenial", "aws", raw_row(AWS, "4.4.0-1", "1.2"), "is not the version of a module"),
        ("xenial", "aws", raw_row("(a)+", "4.4.0-1"), "is not supported"),
    ],
)
def test_an_invalid_row_does_not_affect_others(codename: str, name: str, row: t.Any, message: str) -> None:
    found = parsed(raw_notice("1-1", {codename: {name: row}, "bionic": {"aws": raw_row(AWS, "4.15.0-1")}}))
    assert len(found.modules) == 1
    assert message in found.unreadable[0]
