# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""OpenVEX documents: valid, deterministic, and suppressing only what a proven live patch fixes."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Record, State
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.openvex import (
    VexDocument,
    VexDocuments,
    vex_documents,
)
from tests.samples.proofs import CVES, FIXED, KERNEL_ONLY, PATCHED, UNDECIDED, URLS, VERSION, a_record, an_index, proofs
from tests.samples.records import make_record

SCHEMA = json.loads(Path(__file__).with_name("openvex_json_schema.json").read_text(encoding="utf-8"))
AUTHOR = "Fleet security, Example Ltd."
TRIVY = "&distro=ubuntu-16.04"
GRYPE = "&distro=ubuntu-16.04&upstream=linux"


def documents(*records: Record, missing: tuple[str, ...] = ()) -> VexDocuments:
    return vex_documents(proofs(*records), missing, [an_index()], CVES, AUTHOR)


def only(*records: Record) -> VexDocument:
    [document] = documents(*records).documents
    jsonschema.Draft202012Validator(SCHEMA).validate({**document.content, "version": 1})
    return document


def statuses(document: VexDocument) -> dict[str, str]:
    return {each["vulnerability"]["name"]: each["status"] for each in document.content["statements"]}


def purl_matches(general: str, specific: str) -> bool:
    """Return True if a package URL of a VEX document applies to one of a scanner, as scanners decide it."""
    one, other = urlsplit(general), urlsplit(specific)
    path, version = unquote(one.path).partition("@")[::2]
    scanned_path, scanned_version = unquote(other.path).partition("@")[::2]
    qualifiers, scanned = parse_qs(one.query), parse_qs(other.query)
    return (
        path == scanned_path
        and version in ("", scanned_version)
        and all(scanned.get(name) == value for name, value in qualifiers.items())
    )


def suppressed(document: VexDocument, cve: str, package_url: str) -> bool:
    """Return True if a scanner with this document leaves out a vulnerability of a package."""
    return any(
        statement["vulnerability"]["name"] == cve
        and statement["status"] in ("not_affected", "fixed")
        and any(purl_matches(product["identifiers"]["purl"], package_url) for product in statement["products"])
        for statement in document.content["statements"]
    )


def test_a_live_patched_vulnerability_is_not_affected() -> None:
    document = only(a_record())
    assert statuses(document) == {PATCHED: "not_affected", KERNEL_ONLY: "affected", UNDECIDED: "under_investigation"}
    first, second, third = document.content["statements"]
    assert first["justification"] == "vulnerable_code_not_in_execute_path"
    for text in ("65.1", "LSN-0065-1", "lkp_Ubuntu_4_4_0_168_197_generic_65", "ab" * 20, "key 14df34d1a87cf", "web1"):
        assert text in first["impact_statement"]
    assert "booted 2026-01-01T00:00:00Z, collected 2026-01-10T06:00:00Z" in first["impact_statement"]
    assert second["action_statement"].startswith(
        "reboot into the installed kernel with the fix (4.4.0-201.233 or newer)"
    )
    assert third["status_notes"] == "the data does not show whether the kernel is affected"
    assert [product["@id"] for product in first["products"]] == URLS


def test_no_package_is_ever_fixed() -> None:
    assert "fixed" not in statuses(only(a_record())).values()
    assert FIXED not in statuses(only(a_record())), "the scanner sees the version of the package"


@pytest.mark.parametrize("qualifiers", ["", TRIVY, GRYPE])
def test_a_scanner_with_more_qualifiers_matches(qualifiers: str) -> None:
    document = only(a_record())
    assert all(suppressed(document, PATCHED, url + qualifiers) for url in URLS)
    assert not any(suppressed(document, KERNEL_ONLY, url + qualifiers) for url in URLS)


@pytest.mark.parametrize(
    "other",
    [
        f"pkg:deb/ubuntu/linux-image-4.4.0-168-generic@{VERSION}?arch=i386",
        f"pkg:deb/ubuntu/linux-image-4.4.0-168-generic@{VERSION}",
        "pkg:deb/ubuntu/linux-image-4.4.0-168-generic@4.4.0-168.196?arch=amd64",
        "pkg:deb/ubuntu/linux-image-4.4.0-250-generic@4.4.0-250.284?arch=amd64",
        f"pkg:deb/debian/linux-image-4.4.0-168-generic@{VERSION}?arch=amd64",
    ],
)
def test_another_package_does_not_match(other: str) -> None:
    assert not suppressed(only(a_record()), PATCHED, other)


def test_an_unpatched_host_has_a_document_of_its_own() -> None:
    found = documents(a_record("web1"), a_record("web2", patched=False), a_record("web3"))
    with_patch = next(each for each in found.documents if "web1" in each.hosts)
    without = next(each for each in found.documents if "web2" in each.hosts)
    assert (with_patch.hosts, without.hosts) == (["web1", "web3"], ["web2"])
    assert with_patch.content["@id"] != without.content["@id"]
    assert not any(suppressed(without, PATCHED, url + TRIVY) for url in URLS)
    assert statuses(without)[PATCHED] == "affected"


def test_the_most_urgent_status_of_a_set_counts() -> None:
    listed = a_record("web2")
    listed["patch"]["fixes"] = [{"cve": PATCHED, "patched": False}]
    assert statuses(only(a_record("web1"), listed))[PATCHED] == "affected"


def test_documents_do_not_depend_on_the_order() -> None:
    records = [a_record("web1"), a_record("web2", patched=False), a_record("web3")]
    assert documents(*records) == documents(*reversed(records))


def test_times_are_those_of_the_records() -> None:
    document = only(a_record("web1"), a_record("web2", collected_at="2026-01-11T00:00:00Z"))
    assert document.content["timestamp"] == "2026-01-11T00:00:00Z"


def test_another_author_has_another_identity() -> None:
    [other] = vex_documents(proofs(a_record()), (), [an_index()], CVES, "another").documents
    assert other.content["@id"] != only(a_record()).content["@id"]


def test_hosts_without_proof_have_no_document() -> None:
    found = documents(make_record("old"), a_record("web1"), missing=("gone",))
    assert found.left_out == {"no_current_record": ["gone"], "packages_unknown": ["old"]}
    assert [each.hosts for each in found.documents] == [["web1"]]


def test_many_hosts_are_counted() -> None:
    document = only(*(a_record(f"web{number}") for number in range(30)))
    assert "and 10 more: module" in document.content["statements"][0]["impact_statement"]


def test_a_live_patched_host_is_always_proven() -> None:
    for state in STATES[1:]:
        record = a_record()
        record["assessment"]["state"] = state
        assert suppressed(only(record), PATCHED, URLS[0]) is (state in ("protected", "exposed"))


@given(
    state=st.sampled_from(STATES[1:]),
    enabled=st.booleans(),
    patched=st.booleans(),
    version=st.sampled_from(["65.1", "64.2"]),
)
def test_no_statement_without_evidence(state: State, enabled: bool, patched: bool, version: str) -> None:
    record: t.Any = a_record(patched=patched)
    record["assessment"]["state"] = state
    record["patch"]["version"] = version if patched else None
    for loaded in record["kernel_patches"]:
        loaded["enabled"] = enabled
    proven = state in ("protected", "exposed") and enabled and patched and version == "65.1"
    assert suppressed(only(record), PATCHED, URLS[0]) is proven


def test_texts_of_hosts_are_visible() -> None:
    record: t.Any = a_record("web\x1b[2J")
    record["kernel_patches"][0]["verification"]["signer"] = "evil\u202e\n"
    text = only(record).content["statements"][0]["impact_statement"]
    assert text.isprintable()
