# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of fixes that notices show in addition to those of the client."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_fixes import (
    FixesByNotices,
    notices_from,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import parse_notice
from tests.samples.notices import affected, notice
from tests.samples.records import make_record

CVE, OTHER = "CVE-2031-1001", "CVE-2031-1002"
NOTICE = parse_notice(notice())


def fixes(record: Record, *cves: str) -> dict[str, bool]:
    assert NOTICE is not None
    found = FixesByNotices([NOTICE], cves or (CVE,)).applied(record)
    return {fix["cve"]: fix["patched"] for fix in found["patch"]["fixes"]}


def record(state: str = "protected", **patch: object) -> Record:
    made = make_record("web1", state, patch__version="101.1", patch__fixes=[])
    made["patch"].update(patch)  # type: ignore[typeddict-item]  # the keys are those of a patch
    made["system"]["release"] = "16.04"
    made["system"]["kernel"]["full"] = "4.4.0-168.197-generic"
    made["kernel_patches"][0]["module"] = "lkp_Ubuntu_4_4_0_168_197_generic_101"
    return made


def test_the_patch_fixes_what_notices_say() -> None:
    assert fixes(record()) == {CVE: True}
    assert fixes(record(), CVE, OTHER, "CVE-2031-9999") == {CVE: True, OTHER: True}


@pytest.mark.parametrize(
    ("state", "version"), [("protected", "100.1"), ("protected", None), ("stale", "101.1"), ("unverified", "101.1")]
)
def test_only_a_proven_patch_of_the_version_counts(state: str, version: str | None) -> None:
    assert fixes(record(state, version=version)) == {}


def test_a_fixed_kernel_needs_no_patch() -> None:
    made = record("disabled", version=None)
    made["system"]["kernel"]["full"] = "4.4.0-200.232-generic"
    assert fixes(made) == {CVE: True}


@pytest.mark.parametrize("patched", [True, False])
def test_the_clients_list_takes_precedence(patched: bool) -> None:
    assert fixes(record(fixes=[{"cve": CVE, "patched": patched}])) == {CVE: patched}


def test_a_list_of_the_client_is_not_completed_by_a_notice() -> None:
    """A notice has vulnerabilities that its patch does not fix on each of its kernels."""
    listed = record(fixes=[{"cve": "CVE-2031-5000", "patched": True}])
    assert fixes(listed) == {"CVE-2031-5000": True}
    listed["system"]["kernel"]["full"] = "4.4.0-200.232-generic"
    listed["kernel_patches"][0]["module"] = "lkp_Ubuntu_4_4_0_200_232_generic_101"
    assert fixes(listed) == {"CVE-2031-5000": True, CVE: True}, "the kernel itself has the fix"


def test_a_patch_that_the_kernel_does_not_show_fixes_nothing() -> None:
    made = record()
    made["kernel_patches"] = []
    assert fixes(made) == {}


@pytest.mark.parametrize("origin", ["mainline", "custom", "unknown"])
def test_a_kernel_that_ubuntu_did_not_build_has_no_fixes(origin: str) -> None:
    made = record("ineligible", version=None)
    made["system"]["kernel"].update(full=None, release="4.4.200-0404200-generic")
    assert fixes(made) == {}
    made["system"]["kernel"].update(full="4.4.0-200.232-generic", origin=origin)
    assert fixes(made) == {}


def test_the_source_package_decides_whose_version_counts() -> None:
    made = record("disabled", version=None)
    made["system"]["kernel"].update(full="4.4.0-200.232-generic", source_package="linux-euclid")
    assert fixes(made) == {}


@pytest.mark.parametrize("full", [None, "custom", "4.4.0-168.197-aws"])
def test_another_kernel_has_no_fixes(full: str | None) -> None:
    made = record()
    made["system"]["kernel"].update(full=full, release=full)
    assert fixes(made) == {}


def test_the_record_is_not_changed() -> None:
    made = record()
    before = copy.deepcopy(made)
    fixes(made)
    assert made == before


def test_notices_are_read_with_their_faults(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(notice("0101-1", affected(), affected(regex="("))), encoding="utf-8")
    found, faults = notices_from(tmp_path)
    assert found[0].id == "LSN-0101-1"
    assert [fault.partition(": ")[0] for fault in faults] == ["a.json, LSN-0101-1"]


def test_an_unusable_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LivepatchError, match="absent") as caught:
        notices_from(tmp_path / "absent")
    assert caught.value.id == "notices_unusable"
