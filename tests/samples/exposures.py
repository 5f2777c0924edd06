# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reports with made-up vulnerabilities, as the data of a release has them."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import Document
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.host_exposure import (
    ExposureOptions,
    HostExposures,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report, condense, merge
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.rule_evaluation import (
    DEFAULT,
    RuleEvaluator,
    load_rules,
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
from tests.samples.notices import affected, notice
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, recorded

CRITICAL, HIGH, LOW, PATCHED = "CVE-2025-1001", "CVE-2025-1002", "CVE-2025-1003", "CVE-2025-1004"
NOW = datetime.datetime(2026, 1, 12, tzinfo=datetime.timezone.utc)

_DETAILS = {
    CRITICAL: Vulnerability("critical", "2026-01-02"),
    HIGH: Vulnerability("high", "2025-06-01"),
    LOW: Vulnerability("low", "2025-01-01"),
    PATCHED: Vulnerability("high", "2025-03-01"),
}
_ADVICE = {
    CRITICAL: Advice("fixed", "4.4.0-200.232"),
    HIGH: Advice("vulnerable"),
    LOW: Advice("vulnerable"),
    PATCHED: Advice("fixed", "4.4.0-190.222"),
}
_PACKAGES = Packages("16.04", "", "2026-01-10", _DETAILS, {"linux": {"4.4.0-168.197"}}, {"linux": _ADVICE})


def an_index() -> VulnerabilityIndex:
    """Return the data of 16.04: two open vulnerabilities of priority critical and high, and one that patch 65 fixes."""
    found = parse_notice(notice("0065-1", affected(version="65"), upstream=[f"UBUNTU-{PATCHED}"]))
    assert found is not None
    return VulnerabilityIndex([index_packages(_PACKAGES)], NoticeFiles([found], []))


def exposures(waivers: Waivers | None = None, **changes: t.Any) -> HostExposures:
    """Return an evaluation with `an_index`. The arguments replace options."""
    return HostExposures([an_index()], ExposureOptions(data=("data",), **changes), NOW, waivers=waivers)


def an_exposed_report(
    *documents: Document,
    hosts: list[str] | None = None,
    rules: RuleEvaluator | None = None,
    waivers: Waivers | None = None,
    **changes: t.Any,
) -> Report:
    """Return a report with vulnerabilities: by default of an exposed, a fixed and a disabled host, and one without."""
    fleet = documents or tuple(map(recorded, a_fleet()))
    found, spool = exposures(waivers, **changes), Spool()
    names = hosts if documents else ["web1", "web2", "web3", "web4"]
    report = merge(condense(fleet, spool.writer(), rules, found), names, GENERATED_AT, spool, rules)
    report = report.with_exposure(found)
    return report if waivers is None else report.with_waivers(waivers)


def a_waived_exposure() -> Report:
    """Return a report with the default rules on two exposed hosts. The vulnerabilities of `web1` are waived."""
    evaluator = RuleEvaluator(load_rules(DEFAULT, []), NOW)
    waiver = Waiver("no users", "web team", datetime.date(2026, 3, 1), rule="vulnerability_open", host="web1")
    return an_exposed_report(rules=evaluator).with_waivers(Waivers([waiver], NOW.date()))


def a_fleet() -> list[t.Any]:
    """Return records of an exposed host, one whose kernel has all fixes but one, and a disabled one."""
    newer = {"system__kernel__full": "4.4.0-210.242-generic", "system__kernel__release": "4.4.0-210-generic"}
    return [
        make_record("web1", patch__fixes=[{"cve": PATCHED, "patched": True}]),
        make_record("web2", patch__state="nothing-to-apply", patch__version=None, kernel_patches=[], **newer),
        make_record("web3", "disabled", patch__state=None, patch__version=None, patch__fixes=[], kernel_patches=[]),
    ]
