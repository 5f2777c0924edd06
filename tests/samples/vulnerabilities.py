# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Made-up vulnerability data in the published formats: package data of a release, OSV documents, raw notices."""

from __future__ import annotations

import typing as t

PUBLISHED = "2031-06-01T01:31:45"


def package(
    cves: dict[str, str | tuple[str, str | None] | None],
    *versions: str,
    pocket: str = "security",
    usns: dict[str, str] | None = None,
) -> dict[str, t.Any]:
    """Return a source package. A vulnerability has the version with the fix, ``None``, or status and version.

    `usns` are the versions of security notices about it.
    """
    return {
        "source_versions": {
            version: {"binary_packages": {f"linux-image-{version}": version}, "pocket": pocket} for version in versions
        },
        "ubuntu_security_notices": {name: {"source_fixed_version": each} for name, each in (usns or {}).items()},
        "ubuntu_security_notices_regressions": {},
        "cves": {cve: _status(value) for cve, value in cves.items()},
    }


def _status(value: str | tuple[str, str | None] | None) -> dict[str, str | None]:
    status, fixed = value if isinstance(value, tuple) else ("fixed" if value else "vulnerable", value)
    return {"source_fixed_version": fixed, "status": status}


def release_data(
    packages: dict[str, dict[str, t.Any]],
    priorities: dict[str, str] | None = None,
    *,
    release: str = "xenial",
    published: str = PUBLISHED,
    usns: dict[str, tuple[str, list[str]]] | None = None,
) -> dict[str, t.Any]:
    """Return the data of a release. A vulnerability without another priority is high.

    `usns` are security notices with their time and vulnerabilities.
    """
    names = sorted({cve for each in packages.values() for cve in each["cves"]} | {*(priorities or {})})
    return {
        "format": "1",
        "published_at": published,
        "release": release,
        "packages": packages,
        "security_issues": {
            "cves": {
                cve: {
                    "description": f'A made-up fault, number {cve}.\nIt has a text with "quotes" and \u00fcmlauts.',
                    "published_at": f"{cve[4:8]}-01-02T03:04:05",
                    "notes": [],
                    "mitigation": "",
                    "cvss_severity": "high",
                    "cvss_score": 7.8,
                    "ubuntu_priority": (priorities or {}).get(cve, "high"),
                    "related_usns": [],
                    "related_packages": [],
                }
                for cve in names
            },
            "usns": {
                "USN-1-1": {"title": "A made-up notice", "related_cves": names},
                **{
                    name: {"title": "Another one", "published_at": time, "related_cves": cves}
                    for name, (time, cves) in (usns or {}).items()
                },
            },
        },
    }


def osv_row(
    ecosystem: str, name: str, fixed: str | None, *versions: str, events: list[dict[str, str]] | None = None
) -> dict[str, t.Any]:
    """Return one package of an OSV document."""
    found = events or [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    return {
        "package": {"ecosystem": ecosystem, "name": name, "purl": f"pkg:deb/ubuntu/{name}?arch=source"},
        "ranges": [{"type": "ECOSYSTEM", "events": found}],
        "versions": list(versions),
        "ecosystem_specific": {"binaries": [], "availability": "No subscription required"},
    }


def osv_cve(cve: str, *rows: dict[str, t.Any], **fields: t.Any) -> dict[str, t.Any]:
    """Return the OSV document of a vulnerability."""
    return {
        "schema_version": "1.7.0",
        "id": f"UBUNTU-{cve}",
        "details": "A made-up fault.",
        "aliases": [],
        "upstream": [cve],
        "related": [],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L"}, {"type": "Ubuntu", "score": "high"}],
        "published": f"{cve[4:8]}-01-02T03:04:05Z",
        "modified": "2031-06-01T00:00:00Z",
        "affected": list(rows),
        **fields,
    }


def raw_row(module: str, oldest: str | None, version: str = "101") -> dict[str, t.Any]:
    """Return what a raw notice has about one kernel, in the form of `raw_notice`."""
    return {"oldest": oldest, "module": module, "version": version}


def raw_notice(number: str, releases: dict[str, dict[str, dict[str, t.Any]]], **fields: t.Any) -> dict[str, t.Any]:
    """Return a notice in raw form. `releases` has rows by codename and name of the kernel."""
    return {
        "action": "",
        "cves": ["CVE-2031-1002", "CVE-2031-1001"],
        "description": "Several made-up faults.",
        "id": f"LSN-{number}",
        "isummary": "Several security issues were fixed in the kernel.",
        "releases": {
            codename: {
                "sources": {
                    name: {"version": row["oldest"], "description": "Linux kernel"} for name, row in rows.items()
                },
                "binaries": {},
                "allbinaries": {
                    name: {"pocket": "livepatch", "module": row["module"], "version": row["version"]}
                    for name, row in rows.items()
                },
            }
            for codename, rows in releases.items()
        },
        "summary": "Kernel Live Patch Security Notice",
        "timestamp": "1930366800.0",
        "title": "Kernel Live Patch Security Notice",
        **fields,
    }
