# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Readers of published vulnerability data: the data of a release, and OSV documents."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import (
    Advice,
    DataError,
    Packages,
    Vulnerability,
    add_osv,
    osv_vulnerability,
    parse_ecosystem,
    read_release,
)
from tests.samples.vulnerabilities import osv_cve, osv_row, package, release_data

DATA = release_data(
    {
        "accountsservice": package({"CVE-2031-7": None}, "0.6.40-2ubuntu10"),
        "linux": package(
            {
                "CVE-2031-1001": "4.4.0-200.232",
                "CVE-2031-1002": ("not-vulnerable", None),
                "CVE-2031-1003": ("vulnerable", None),
                "CVE-2031-1004": ("in-triage", None),
                "CVE-2031-1005": ("fixed", None),
            },
            "4.4.0-168.197",
            "4.4.0-200.232",
        ),
        "linux-aws-hwe": package({"CVE-2031-1001": "4.15.0-1192.205~16.04.1"}, "4.15.0-1191.204~16.04.1"),
    },
    {"CVE-2031-1002": "low", "CVE-2031-1003": "nonsense"},
)
EXPECTED = {
    "CVE-2031-1001": Advice("fixed", "4.4.0-200.232"),
    "CVE-2031-1002": Advice("not-vulnerable"),
    "CVE-2031-1003": Advice("vulnerable"),
    "CVE-2031-1004": Advice("in-triage"),
    "CVE-2031-1005": Advice("unknown"),
}


def read(text: str, size: int = 1 << 16) -> Packages:
    data = text.encode()
    packages = Packages("16.04", "")
    read_release((data[begin : begin + size] for begin in range(0, len(data), size)), packages)
    return packages


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_kernels_are_read_from_pieces_of_any_size(size: int, indent: int | None) -> None:
    found = read(json.dumps(DATA, ensure_ascii=False, indent=indent), size)
    assert found.published == "2031-06-01"
    assert found.advice["linux"] == EXPECTED
    assert found.advice.keys() == {"linux", "linux-aws-hwe"}
    assert found.versions["linux"] == {"4.4.0-168.197", "4.4.0-200.232"}
    assert found.vulnerabilities["CVE-2031-1001"] == Vulnerability("high", "2031-01-02")
    assert found.vulnerabilities["CVE-2031-1002"] == Vulnerability("low", "2031-01-02")
    assert found.vulnerabilities["CVE-2031-1003"] == Vulnerability(None, "2031-01-02")
    assert "CVE-2031-7" not in found.vulnerabilities, "no kernel has it"


@pytest.mark.parametrize(
    ("status", "fixed", "expected"),
    [
        ("not-affected", None, Advice("not-vulnerable")),
        ("DNE", None, Advice("not-vulnerable")),
        ("needed", None, Advice("vulnerable")),
        ("ignored", "end of life", Advice("vulnerable")),
        ("deferred", None, Advice("vulnerable")),
        ("pending", "4.4.0-200.232", Advice("vulnerable", "4.4.0-200.232")),
        ("released", "4.4.0-200.232", Advice("fixed", "4.4.0-200.232")),
        ("released", "not-affected", Advice("unknown")),
        ("fixed", "", Advice("unknown")),
        ("fixed", "4.4.0-200.232 (pending)", Advice("unknown")),
        ("needs-triage", None, Advice("needs-triage")),
        ("x" * 33, None, Advice("unknown")),
    ],
)
def test_statuses_of_the_tracker_are_known(status: str, fixed: str | None, expected: Advice) -> None:
    found = read(json.dumps(release_data({"linux": package({"CVE-2031-1001": (status, fixed)})})))
    assert found.advice["linux"] == {"CVE-2031-1001": expected}


def test_the_first_notice_of_a_package_dates_the_fix() -> None:
    cves = ["CVE-2031-1001", "CVE-2031-1002"]
    fixes: dict[str, str | tuple[str, str | None] | None] = {cves[0]: "4.4.0-200.232", cves[1]: None}
    document = release_data(
        {
            "linux": package(fixes, usns={"USN-2-1": "4.4.0-200.232", "USN-3-1": "4.4.0-201.233", "USN-9-1": "1"}),
            "linux-aws": package(fixes, usns={"USN-4-1": "4.4.0-1200.1232"}),
            "linux-kvm": package(fixes),
        },
        usns={
            "USN-3-1": ("2031-04-05T01:02:03", cves),
            "USN-2-1": ("2031-03-04T01:02:03", cves),
            "USN-4-1": ("soon", cves),
        },
    )
    found = read(json.dumps(document)).advice
    assert found["linux"] == {cves[0]: Advice("fixed", "4.4.0-200.232", "2031-03-04"), cves[1]: Advice("vulnerable")}
    assert {each.since for name in ("linux-aws", "linux-kvm") for each in found[name].values()} == {None}


def test_a_vulnerability_without_details_is_kept() -> None:
    document = {**DATA, "security_issues": {"cves": {}}}
    assert read(json.dumps(document)).vulnerabilities["CVE-2031-1001"] == Vulnerability(None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"packages": {}}',
        '{"packages": [], "security_issues": {}}',
        '{"packages": {"linux": {}}, "security_issues": {"cves": {}}}',
        '{"packages": {"linux": {"cves": [], "source_versions": {}}}, "security_issues": {"cves": {}}}',
        '{"packages" 1}',
        '{"packages": {} "security_issues": {}}',
        '{"a": ' + "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        json.dumps(DATA)[:-30],
    ],
)
def test_damaged_data_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        read(text)


@given(st.integers(0, len(json.dumps(DATA)) - 1))
def test_data_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(DataError):
        read(json.dumps(DATA)[:length], 64)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        read_release([b'{"packages": "\xff"}'], Packages("16.04", ""))


# --- OSV


def added(*documents: dict[str, t.Any]) -> dict[tuple[str, str], Packages]:
    packages: dict[tuple[str, str], Packages] = {}
    for document in documents:
        cve = osv_vulnerability(document)
        assert cve is not None
        add_osv(document, cve, packages)
    return packages


def test_an_osv_document_has_one_row_per_package() -> None:
    document = osv_cve(
        "CVE-2031-1001",
        osv_row("Ubuntu:Pro:16.04:LTS", "linux", "4.4.0-200.232", "4.4.0-168.197"),
        osv_row("Ubuntu:Pro:16.04:LTS", "linux-aws", None),
        osv_row("Ubuntu:Pro:FIPS:16.04:LTS", "linux-fips", "4.4.0-1100.1"),
        osv_row("Ubuntu:24.04:LTS", "linux", "6.8.0-50.51"),
        osv_row("Ubuntu:24.04:LTS", "bash", "1-1"),
        osv_row("Debian:12", "linux", "6.1.1-1"),
    )
    found = added(document)
    assert found["16.04", ""].advice == {
        "linux": {"CVE-2031-1001": Advice("fixed", "4.4.0-200.232")},
        "linux-aws": {"CVE-2031-1001": Advice("vulnerable")},
    }
    assert found["16.04", ""].versions["linux"] == {"4.4.0-168.197"}
    assert found["16.04", "fips"].advice.keys() == {"linux-fips"}
    assert found["24.04", ""].advice.keys() == {"linux"}
    assert found.keys() == {("16.04", ""), ("16.04", "fips"), ("24.04", "")}


def test_of_several_rows_the_one_that_claims_less_counts() -> None:
    def fixed(*versions: str | None) -> Advice:
        rows = [osv_row("Ubuntu:24.04:LTS", "linux", version) for version in versions]
        return added(osv_cve("CVE-2031-1001", *rows))["24.04", ""].advice["linux"]["CVE-2031-1001"]

    assert fixed("6.8.0-9.9", "6.8.0-10.10") == Advice("fixed", "6.8.0-10.10")
    assert fixed("6.8.0-10.10", None) == Advice("vulnerable")
    assert fixed(None, "6.8.0-10.10") == Advice("vulnerable")


def test_the_highest_priority_counts() -> None:
    severity = [{"type": "Ubuntu", "score": score} for score in ("low", "critical", "untriaged", "medium")]
    row = osv_row("Ubuntu:24.04:LTS", "linux", None)
    packages: dict[tuple[str, str], Packages] = {}
    for entries, expected in ((severity, "critical"), ([], None), (None, None), ([{"type": "Ubuntu"}], None)):
        assert add_osv(osv_cve("CVE-2031-1001", row, severity=entries), "CVE-2031-1001", packages) == Vulnerability(
            expected, "2031-01-02"
        )


@pytest.mark.parametrize(
    "row",
    [
        None,
        {"package": {"ecosystem": "Ubuntu:24.04:LTS"}},
        osv_row("Ubuntu:24.04:LTS", "linux", "not a version"),
        osv_row("Ubuntu:24.04:LTS", "linux", None, events=[{"fixed": t.cast("str", 7)}]),
    ],
)
def test_a_document_with_an_invalid_row_is_refused(row: t.Any) -> None:
    with pytest.raises(DataError):
        add_osv(osv_cve("CVE-2031-1001", row), "CVE-2031-1001", {})


@pytest.mark.parametrize(
    "document",
    [None, {}, {"id": "USN-1-1"}, {"id": "UBUNTU-CVE-1"}, osv_cve("CVE-2031-1001", withdrawn="2031-01-01T00:00:00Z")],
)
def test_other_documents_have_no_vulnerability(document: object) -> None:
    assert osv_vulnerability(document) is None


@pytest.mark.parametrize(
    ("ecosystem", "expected"),
    [
        ("Ubuntu:Pro:16.04:LTS", ("16.04", "")),
        ("Ubuntu:24.04:LTS", ("24.04", "")),
        ("Ubuntu:Pro:FIPS:16.04:LTS", ("16.04", "fips")),
        ("Ubuntu:Pro:FIPS-updates:18.04:LTS", ("18.04", "fips-updates")),
        ("Ubuntu:Pro:FIPS-preview:22.04:LTS", ("22.04", "fips")),
        ("Ubuntu:Pro:22.04:LTS:Realtime:Kernel", ("22.04", "")),
        ("Debian:12", None),
        ("Ubuntu", None),
    ],
)
def test_an_ecosystem_has_a_release_and_a_realm(ecosystem: str, expected: tuple[str, str] | None) -> None:
    assert parse_ecosystem(ecosystem) == expected
