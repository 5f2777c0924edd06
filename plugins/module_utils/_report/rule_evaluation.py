# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Load the rules of a report, and evaluate them for hosts and for the fleet."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

from .._config_file import read_yaml
from .._decisions.states.evidence import shows_running_patch
from .._fleet.rules import (
    Finding,
    FleetFacts,
    Rule,
    RuleError,
    RuleSet,
    facts_without_record,
    host_facts,
    rule_of_closed_cve,
    rules_from_list,
)
from .._fleet.waivers import WaivedFinding, Waiver
from .._io import expand_user, read_bounded
from .._record import Record
from .._vulnerabilities.notice_fixes import FixesByNotices
from . import report as _report
from .host_exposure import HostExposure, HostExposures

DEFAULT = "default"
_DEFAULT_FILE = Path(__file__).parents[2] / "plugin_utils" / "rules" / "default.yml"
_FILE_LIMIT = 1 << 20
_NAMED_CLONES = 5

RULES_OF_VULNERABILITIES = ("vulnerability_open", "vulnerability_overdue")
"""The default rules that need vulnerability data. A report without it does not have them: nothing can break them."""

NAMES_THAT_NEED_DATA = ("exposed", *RULES_OF_VULNERABILITIES)
"""The state and the rules that never match a host in a report without vulnerability data."""


def load_rules(wanted: object, closed_cves: t.Sequence[str]) -> list[Rule]:
    """Return the rules of an option: ``default``, the path of a YAML file, a rule as a mapping, or a list of these.

    Of two rules with the same id, the later one replaces the earlier one. Raises `RuleError`.
    """
    rules: dict[str, Rule] = {}
    given: list[object] = []
    for entry in wanted if isinstance(wanted, list) else [wanted]:
        if isinstance(entry, str):
            rules.update((rule.id, rule) for rule in _file(entry))
        else:
            given.append(entry)
    rules.update((rule.id, rule) for rule in rules_from_list(given, "rules"))
    rules.update((cve, rule_of_closed_cve(cve)) for cve in closed_cves)
    return list(rules.values())


class RuleEvaluator:
    """Evaluates rules for the hosts of a report at one time (UTC). Fixes from notices count like the client's.

    A fix that the client reports counts only if the record shows that the patch runs.
    """

    def __init__(
        self, rules: t.Sequence[Rule], now: datetime.datetime, by_notices: FixesByNotices | None = None
    ) -> None:
        self._set = RuleSet(rules)
        self._by_notices = by_notices
        self._now = now
        self.rules = tuple(rules)

    def require_vulnerabilities(self) -> None:
        """Raise `RuleError` if a rule needs vulnerability data: without it, the rule would never be violated."""
        if self._set.of_open_cves:
            raise RuleError(f"rule {self._set.of_open_cves[0]} uses open_cves, and vulnerability_data is not set")

    def of_record(self, record: Record, exposure: HostExposure | None = None) -> tuple[Finding, ...]:
        seen = _without_unproven_fixes(record) if self._set.reads_records else record
        if self._by_notices is not None:
            seen = self._by_notices.applied(seen)
        facts = host_facts(record, self._now)
        added: dict[str, t.Any] = {}
        if self._set.reads_groups:
            added["groups"] = record["system"].get("groups", {})
        if exposure is None:
            return self._set.broken_by_host({**seen, **added} if added else seen, facts)
        facts = facts._replace(
            open_vulnerabilities=len(exposure.open),
            overdue_vulnerabilities=exposure.overdue,
            unknown_vulnerabilities=exposure.unknown,
            waived_vulnerabilities=len(exposure.waived),
        )
        return self._set.broken_by_host({**seen, **added, "open_cves": list(exposure.open)}, facts)

    def with_waived_cves(
        self, record: Record, exposures: HostExposures, exposure: HostExposure
    ) -> tuple[tuple[Finding, ...], tuple[WaivedFinding, ...]]:
        """Return the findings of a host, and those that only waivers of its vulnerabilities prevent."""
        found = self.of_record(record, exposure)
        of_cves = exposures.waivers_about(record["host"], exposure.evidence)
        if not exposures.accepting(exposure.evidence, of_cves).waived:
            return found, ()

        def broken(accepted: tuple[Waiver, ...]) -> dict[str, Finding]:
            findings = self.of_record(record, exposures.accepting(exposure.evidence, accepted))
            return {finding.rule: finding for finding in findings}

        every, kept, waived = broken(()), [], []
        for rule in dict.fromkeys((*every, *(finding.rule for finding in found))):
            accepted = tuple(each for each in of_cves if each.rule in (None, rule))
            remaining = broken(accepted).get(rule)
            if remaining is not None:
                kept.append(remaining)
            elif rule in every:
                ending = _first_ending(rule, accepted, broken)
                waivers = exposures.waivers.of_host(record["host"])
                whole = [each for each in waivers if each.rule == rule and each.cve is None]
                waiver = max((ending, *whole), key=lambda each: each.expires)
                waived.append(WaivedFinding(*every[rule], waiver))
        return tuple(kept), tuple(waived)

    def without_record(self, document: dict[str, t.Any]) -> tuple[Finding, ...]:
        return self._set.broken_by_host(document, facts_without_record(document, self._now))

    def with_fleet(self, report: _report.Report, seats: int | None) -> _report.Report:
        """Return the report with the findings of fleet rules. `seats` is the number of seats of the token, if known."""
        return report.with_findings(self._set.broken_by_fleet(_fleet_facts(report, seats)))


def _first_ending(
    rule: str, waivers: t.Sequence[Waiver], broken: t.Callable[[tuple[Waiver, ...]], t.Container[str]]
) -> Waiver:
    """Return the waiver with whose end the rule is broken again, if they end one after the other."""
    ordered = sorted(waivers, key=lambda each: each.expires)
    return next(each for number, each in enumerate(ordered, 1) if rule in broken(tuple(reversed(ordered[number:]))))


def _without_unproven_fixes(record: Record) -> Record:
    """Return the record without the fixes of a patch that is not shown to run: the client alone is no evidence."""
    patch = record["patch"]
    if not any(fix["patched"] for fix in patch["fixes"]) or shows_running_patch(record):
        return record
    return {**record, "patch": {**patch, "fixes": [fix for fix in patch["fixes"] if not fix["patched"]]}}


def _fleet_facts(report: _report.Report, seats: int | None) -> FleetFacts:
    facts: FleetFacts = {
        "hosts": len(report.lines),
        "states": {str(state): hosts for state, hosts in report.states().items()},
        "enabled": sum(line.enabled is True for line in report.lines),
        "seats": seats,
        "clones": [],
    }
    for hosts in report.clones():
        more = f" and {len(hosts) - _NAMED_CLONES} more" if hosts[_NAMED_CLONES:] else ""
        found = f"{', '.join(hosts[:_NAMED_CLONES])}{more}"
        facts["clones"] += [{"host": host, "found": found} for host in hosts]
    return facts


def _file(name: str) -> list[Rule]:
    path = _DEFAULT_FILE if name == DEFAULT else expand_user(name)
    source = f"rules {DEFAULT}" if name == DEFAULT else str(path)
    try:
        content = read_bounded(str(path), _FILE_LIMIT).decode("utf-8")
    except OSError as error:
        raise RuleError(f"{source}: the file cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RuleError(f"{source}: the file is not UTF-8") from error
    document, lines = read_yaml(content, source, RuleError)
    return rules_from_list(document, source, lines)
