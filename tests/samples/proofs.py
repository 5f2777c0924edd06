# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Records with the installed packages of the kernel, and vulnerability data about them, for documents of scanners."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.host_proof import (
    HostProof,
    host_proof,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import (
    VulnerabilityIndex,
    index_packages,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import NoticeFiles
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import parse_notice
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import (
    Advice,
    Packages,
    Vulnerability,
)

from .notices import affected, notice
from .records import make_record

PATCHED, KERNEL_ONLY, UNDECIDED, FIXED = (f"CVE-2031-100{number}" for number in (1, 2, 3, 4))
CVES = (PATCHED, KERNEL_ONLY, UNDECIDED, FIXED)
VERSION = "4.4.0-168.197"
PACKAGES = (
    ("linux-image-4.4.0-168-generic", VERSION),
    ("linux-modules-4.4.0-168-generic", VERSION),
    ("linux-headers-4.4.0-168", VERSION),
    ("linux-image-4.4.0-250-generic", "4.4.0-250.284"),
)
URLS = [
    f"pkg:deb/ubuntu/linux-headers-4.4.0-168@{VERSION}?arch=all",
    f"pkg:deb/ubuntu/linux-image-4.4.0-168-generic@{VERSION}?arch=amd64",
    f"pkg:deb/ubuntu/linux-modules-4.4.0-168-generic@{VERSION}?arch=amd64",
]


def a_record(host: str = "web1", *, patched: bool = True, collected_at: str = "", **places: t.Any) -> Record:
    """Return a record of a host on 16.04 with packages, and with the live patch 65.1 or without any."""
    loaded: dict[str, t.Any] = {"patch__fixes": []}
    if not patched:
        loaded.update(patch__state="unapplied", patch__version=None, kernel_patches=[])
    record = make_record(host, "protected" if patched else "applying", **loaded, **places)
    kernel = t.cast("dict[str, t.Any]", record["system"]["kernel"])
    kernel["packages"] = [{"name": name, "version": version} for name, version in PACKAGES]
    kernel["source_package"] = "linux"
    if collected_at:
        record["collected_at"] = collected_at
    return record


def proofs(*records: Record) -> dict[str, HostProof]:
    """Return what the records prove, by host."""
    return {record["host"]: host_proof(record) for record in records}


def an_index() -> VulnerabilityIndex:
    """Return data in which patch 65 fixes the first of `CVES`, and the kernel has the fix of the last."""
    found = parse_notice(notice("0065-1", affected(version="65"), upstream=[PATCHED]))
    assert found is not None
    advice = {
        PATCHED: Advice("fixed", "4.4.0-200.232"),
        KERNEL_ONLY: Advice("fixed", "4.4.0-201.233"),
        UNDECIDED: Advice("deferred"),
        FIXED: Advice("fixed", "4.4.0-100.123"),
    }
    vulnerabilities = dict.fromkeys(CVES, Vulnerability("high", "2031-01-01"))
    packages = Packages("16.04", "", "2031-06-01", vulnerabilities, {"linux": {VERSION}}, {"linux": advice})
    return VulnerabilityIndex([index_packages(packages)], NoticeFiles([found], []))
