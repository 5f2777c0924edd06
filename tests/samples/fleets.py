# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A fleet like a real one: mostly protected hosts of several releases and groups, with vulnerabilities."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.states.evidence import shows_running_patch
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import module_name
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record, State
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Span
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.history import History, build_history
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.host_exposure import (
    ExposureOptions,
    HostExposures,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import (
    Report,
    condense,
    merge,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.rule_evaluation import (
    DEFAULT,
    RuleEvaluator,
    load_rules,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import RunContext
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import (
    VulnerabilityIndex,
    index_packages,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import NoticeFiles
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import (
    Advice,
    Packages,
    Vulnerability,
)
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, grouped, recorded

NOW = datetime.datetime(2026, 1, 12, tzinfo=datetime.timezone.utc)
_BUILT: dict[str, tuple[str, str, str]] = {
    "16.04": ("xenial", "4.4.0", "4.4.0-{}.{}-generic"),
    "18.04": ("bionic", "4.15.0", "4.15.0-{}.{}-generic"),
    "20.04": ("focal", "5.4.0", "5.4.0-{}.{}-generic"),
    "22.04": ("jammy", "5.15.0", "5.15.0-{}.{}-generic"),
    "24.04": ("noble", "6.8.0", "6.8.0-{}.{}-generic"),
}
_ODD: dict[int, State] = {
    3: "upgrade_required",
    17: "disabled",
    41: "failed",
    64: "stale",
    88: "ineligible",
    109: "upgrade_required",
    130: "disabled",
    151: "held_back",
    170: "end_of_life",
    199: "applying",
    222: "ineligible",
    241: "unverified",
    263: "disabled",
    280: "tampered",
}
_CVES = ("CVE-2025-21756", "CVE-2025-38477", "CVE-2025-38617", "CVE-2025-39682", "CVE-2025-40018")


def _record(number: int) -> Record:
    release = ("24.04", "22.04", "22.04", "20.04", "22.04", "18.04", "24.04", "20.04", "16.04", "22.04")[number % 10]
    codename, series, pattern = _BUILT[release]
    abi = (94, 87, 94, 80, 94)[number // 10 % 5]
    state: State = _ODD.get(number, "protected")
    version = f"{107 + number % 4}.1"
    role = ("web", "app", "db", "build", "cache")[number // 60]
    region = ("eu-central-1", "eu-west-1", "us-east-1")[number % 3]
    host = f"{role}-{number:03}.{region}.internal" if number % 4 else f"{role}{number:03}"
    off = state in ("disabled", "ineligible")
    record = make_record(
        host,
        state,
        system__release=release,
        system__codename=codename,
        system__containers={"docker": number % 7 if role == "app" else 0, "lxd": None, "podman": 0},
        system__machine_id_sha256=f"{number:064x}",
        system__kernel__series=series.removesuffix(".0"),
        system__kernel__release=f"{series}-{abi}-generic",
        system__kernel__full=pattern.format(abi, abi + 10),
        client__version=None if off else ("10.8.3", "10.9.1")[number % 2],
        client__enabled=not off,
        client__last_check=None if off else f"2026-01-11T21:{number % 60:02}:00Z",
        collected_at=f"2026-01-11T22:{number // 6:02}:00Z",
        eligibility__policy="current",
        patch__version=None if off else version,
        patch__state=None if off else "applied",
        patch__fixes=[] if off else [{"cve": cve, "patched": True} for cve in _CVES],
        patch__upgrade_required_by=(None, "2026-06-01", "2026-04-15")[number % 3] if number != 3 else "2026-01-02",
        **({"kernel_patches": []} if off else {}),
    )
    if not off:
        record["kernel_patches"][0]["module"] = module_name(record["system"]["kernel"]["full"] or "", version)
    groups = {"group": "production" if number % 5 else "staging", "region": region, "owner": f"team {role}"}
    return grouped(record, groups if number % 50 else {})


def _vulnerabilities(waivers: Waivers) -> HostExposures:
    details = {cve: Vulnerability("high", "2025-11-03") for cve in _CVES}
    details["CVE-2025-40300"] = Vulnerability("critical", "2025-12-01")
    details["CVE-2025-40301"] = Vulnerability("high", "2025-10-12")
    kinds = []
    for release, (_codename, series, _pattern) in _BUILT.items():
        known = {f"{series}-{abi}.{abi + 10}" for abi in (80, 87, 94)}
        advice = {cve: Advice("fixed", f"{series}-94.104") for cve in _CVES}
        advice["CVE-2025-40300"] = Advice("fixed", f"{series}-{88 if release in ('16.04', '18.04') else 70}.98")
        advice["CVE-2025-40301"] = Advice("fixed", f"{series}-{'85' if release == '18.04' else '70'}.95")
        kinds.append(index_packages(Packages(release, "", "2026-01-10", details, {"linux": known}, {"linux": advice})))
    indexes = [VulnerabilityIndex(kinds, NoticeFiles([], []))]
    return HostExposures(
        indexes, ExposureOptions(data=("data",), deadlines={"critical": 14, "high": 30}), NOW, waivers=waivers
    )


def _history(report: Report) -> History:
    """Return a history of 60 days in which hosts were enrolled one after another."""
    length = 24 * 3600 * 1_000_000
    first = int((NOW - datetime.timedelta(days=60)).timestamp() * 1_000_000)
    spans = []
    for number, line in enumerate(report.lines):
        now, before = Kind(line.state, patch="1"), Kind("disabled")
        changed = first + (number * 61 % 58) * length
        own = [Span(first, changed, before), Span(changed, first + 60 * length, now)]
        spans.append((line.host, own if number % 3 == 0 and line.state == "protected" else [own[1]]))
    return build_history(spans, first + 60 * length, None, lambda _kind: t.cast("t.Any", None))


def a_fleet_of_300() -> Report:
    """Return the report of the fleet."""
    records = [_record(number) for number in range(300)]
    assert sum(map(shows_running_patch, records)) > 200
    gone = [
        FailedAttempt(records[number]["host"], "2026-01-11T23:00:00Z", [_UNREACHABLE], groups={"group": "production"})
        for number in (12, 77, 140)
    ]
    problem = Problem("invalid_json", "livepatch-records/old.json", "the file ends too early")
    evaluator = RuleEvaluator(load_rules(DEFAULT, []), NOW)
    entries = [
        Waiver("replaced by release 26.04 in spring", "web team", datetime.date(2026, 3, 31), rule="not_protected"),
        Waiver("no local users on these hosts", "security", datetime.date(2026, 1, 20), cve="CVE-2025-40301"),
        Waiver("was tested", "build team", datetime.date(2026, 1, 2), host="build240"),
    ]
    waivers = Waivers([dataclasses.replace(entries[0], host=records[17]["host"]), *entries[1:]], NOW.date(), {})
    found, spool = _vulnerabilities(waivers), Spool()
    condensed = condense([*map(recorded, records), *gone, problem], spool.writer(), evaluator, found)
    hosts = [record["host"] for record in records]
    report = evaluator.with_fleet(merge(condensed, hosts, GENERATED_AT, spool, evaluator), 250)
    report = report.with_exposure(found).with_waivers(waivers)
    context = RunContext("Fleet of Example Ltd.", "production.yml, staging.yml", "kernelops.livepatch.check")
    keys = ("group", "region", "owner")
    return dataclasses.replace(report, history=_history(report), group_keys=keys, context=context)


_UNREACHABLE: t.Any = {"id": "connection_failed", "message": "Connection timed out", "remedy": "Start the host."}
