# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Compare a report with the data of an earlier one."""

from __future__ import annotations

import collections
import collections.abc as c
import typing as t

from ..report import HostLine, Report
from ..summary.protection import LONGEST_AGE_HOURS, OUTDATED
from .model import (
    Changes,
    CveChange,
    HostChange,
    HostCondition,
    Listed,
    RuleChange,
    RuleStatus,
    Snapshot,
    ValueChange,
    Vulnerabilities,
)

_PROTECTED = "protected"
_NAMED_RULES = 10
_LONGEST_REASON = 200


def compare(before: Snapshot, now: Snapshot, report: Report, *, repeated: bool = False) -> Changes:
    """Return what changed. `now` is the snapshot of `report`."""
    states = _StateChanges(before.hosts, now.hosts)
    for line in report.lines:
        states.add(line)
    opened, closed, undecided, of_data = _cves(before.vulnerabilities, now.vulnerabilities, report)
    failing, passing, of_rules = _rules(before.rules, now.rules, report)
    both = [(before.hosts[host], condition) for host, condition in now.hosts.items() if host in before.hosts]
    gone = (HostChange(host, each.condition, None) for host, each in before.hosts.items() if host not in now.hosts)
    return Changes(
        since=before.generated_at,
        before=before.protection,
        now=now.protection,
        unprotected=Listed(states.unprotected),
        protected=Listed(states.protected),
        others=Listed(states.others),
        judged_anew=Listed(states.judged_anew),
        new=Listed(states.new),
        gone=Listed(gone),
        kernels=Listed(_values((old.kernel, new.kernel) for old, new in both)),
        patches=Listed(_values((old.patch, new.patch) for old, new in both)),
        failing=Listed(failing),
        passing=Listed(passing),
        opened=Listed(opened),
        closed=Listed(closed),
        undecided=Listed(undecided),
        notes=(*_policies(both), *of_rules, *of_data, *_versions(before, now)),
        repeated=repeated,
    )


class _StateChanges:
    """Sorts the hosts of a report by what happened to them, in the order of the report."""

    def __init__(self, before: c.Mapping[str, HostCondition], now: c.Mapping[str, HostCondition]) -> None:
        self._before = before
        self._now = now
        self.unprotected: list[HostChange] = []
        self.protected: list[HostChange] = []
        self.others: list[HostChange] = []
        self.judged_anew: list[HostChange] = []
        self.new: list[HostChange] = []

    def add(self, line: HostLine) -> None:
        now, before = self._now[line.host], self._before.get(line.host)
        if before is not None and before.condition == now.condition:
            return
        reason = _reason(line, now.condition)
        change = HostChange(line.host, before.condition if before else None, now.condition, reason)
        if before is None:
            self.new.append(change)
        elif _is_other_policy(before, now):
            self.judged_anew.append(change)
        elif before.condition == _PROTECTED:
            self.unprotected.append(change)
        elif now.condition == _PROTECTED:
            self.protected.append(change)
        else:
            self.others.append(change)


def _reason(line: HostLine, condition: str) -> str | None:
    if condition == OUTDATED:
        return f"its last record, of {line.collected_at}, is older than {LONGEST_AGE_HOURS} hours"
    return line.message[:_LONGEST_REASON] if line.message else None


def _is_other_policy(before: HostCondition, now: HostCondition) -> bool:
    # Without a record, no policy is known, and none is the reason for the change.
    return before.policy is not None and now.policy is not None and before.policy != now.policy


def _values(pairs: t.Iterable[tuple[str | None, str | None]]) -> list[ValueChange]:
    """Return the changes of a value, the most frequent first. A host without a record has none, which is no change."""
    found = collections.Counter((old, new) for old, new in pairs if old != new and None not in (old, new))
    return [ValueChange(old, new, hosts) for (old, new), hosts in found.most_common()]


def _policies(both: t.Iterable[tuple[HostCondition, HostCondition]]) -> t.Iterator[str]:
    found = collections.Counter((old.policy, new.policy) for old, new in both if _is_other_policy(old, new))
    for (old, new), hosts in found.most_common(_NAMED_RULES):
        counted = "1 host is" if hosts == 1 else f"{hosts} hosts are"
        yield f"{counted} evaluated by policy '{new}' instead of '{old}'; changes of state can be due to this"


def _rules(
    before: c.Mapping[str, RuleStatus], now: c.Mapping[str, RuleStatus], report: Report
) -> tuple[list[RuleChange], list[RuleChange], list[str]]:
    """Return the rules that fail and those that pass since then, and notes on those that cannot be compared."""
    failing, passing = [], []
    same = [rule for rule, status in now.items() if rule in before and status.digest == before[rule].digest]
    for rule in same:
        old, new = before[rule], now[rule]
        change = RuleChange(rule, report.rule(rule).severity, old.findings, new.findings, new.waived)
        if new.findings and not old.findings:
            failing.append(change)
        elif old.findings and not new.findings:
            passing.append(change)
    notes = [
        f"{words}: {', '.join(rules[:_NAMED_RULES])}{' and others' if rules[_NAMED_RULES:] else ''}"
        for words, rules in (
            ("rules that the last report did not have", [rule for rule in now if rule not in before]),
            ("rules that this report does not have", [rule for rule in before if rule not in now]),
            ("rules with another definition", [rule for rule in now if rule in before and rule not in same]),
        )
        if rules
    ]
    return failing, passing, notes


_CveChanges = tuple[list[CveChange], list[CveChange], list[CveChange], list[str]]


def _cves(before: Vulnerabilities | None, now: Vulnerabilities | None, report: Report) -> _CveChanges:
    """Return the vulnerabilities that are open since then, those that are not, unknown ones, and notes."""
    if before is None and now is None:
        return [], [], [], []
    if before is None or now is None or report.exposure is None:
        which = "the last report had no" if before is None else "this report has no"
        return [], [], [], [f"{which} vulnerability data, so open vulnerabilities cannot be compared"]
    if before.minimum_priority != now.minimum_priority:
        text = (
            f"vulnerabilities from priority {now.minimum_priority} instead of {before.minimum_priority} are evaluated"
        )
        return [], [], [], [f"{text}, so open vulnerabilities cannot be compared"]
    opened = [CveChange(cve, *found) for cve, found in now.open.items() if cve not in before.open]
    gone = [cve for cve in before.open if cve not in now.open]
    unknown = report.exposure.unknown_hosts(gone)
    changes = [CveChange(cve, *before.open[cve], unknown[cve]) for cve in gone]
    closed = [change for change in changes if not change.unknown]
    return opened, closed, [change for change in changes if change.unknown], []


def _versions(before: Snapshot, now: Snapshot) -> t.Iterator[str]:
    if before.collection != now.collection:
        yield (
            f"the last report was made by version {before.collection} of the collection, this one by {now.collection}; "
            "changes of state can be due to this"
        )
