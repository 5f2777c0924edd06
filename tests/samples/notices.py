# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Made-up notices in the published format."""

from __future__ import annotations

import typing as t

XENIAL = "Ubuntu:Pro:16.04:LTS"
TRUSTY = "Ubuntu:Pro:14.04:LTS"
GENERIC = r"lkp_Ubuntu_4_4_0[_|\d]+_(?:generic|lowlatency)_(\d+)"


def affected(
    regex: t.Any = GENERIC,
    version: t.Any = "101",
    *,
    ecosystem: str = XENIAL,
    package: str = "linux",
    fixed: str | None = "4.4.0-200.232",
) -> dict[str, t.Any]:
    """Return one package of a notice."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    return {
        "package": {"ecosystem": ecosystem, "name": package, "purl": f"pkg:deb/ubuntu/{package}?arch=source"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
        "versions": ["4.4.0-13.29", "4.4.0-199.231"],
        "ecosystem_specific": {
            "availability": "Livepatch subscription required",
            "module_name_regex": regex,
            "module_version": version,
        },
    }


def notice(number: str = "0101-1", *entries: dict[str, t.Any], **fields: t.Any) -> dict[str, t.Any]:
    """Return a notice with the given packages, or with one package."""
    return {
        "schema_version": "1.7.0",
        "id": f"LSN-{number}",
        "summary": "Kernel Live Patch Security Notice",
        "details": "Several security issues were fixed in the kernel.",
        "aliases": [],
        "upstream": ["UBUNTU-CVE-2031-1002", "UBUNTU-CVE-2031-1001"],
        "related": [],
        "published": "2031-03-04T05:06:07Z",
        "modified": "2031-04-05T06:07:08.123456789Z",
        "affected": list(entries) or [affected()],
        **fields,
    }
