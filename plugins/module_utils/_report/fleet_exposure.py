# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerabilities over a fleet: how many hosts have each status, which hosts, and the next step for them."""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import json
import typing as t

from .._decisions.next_steps import limit, limit_of, policy_option
from .._fleet.waivers import WAIVER_STATUSES, Waiver, Waivers
from .._record import Reason
from .._records.newest import NewestRecords
from .._text import shorten, visible
from .._vulnerabilities.exposure import (
    CHECK,
    STATUSES,
    Evaluator,
    IdentifiedKernel,
    KernelEvidence,
    Verdict,
    VulnerabilityStatus,
    known_vulnerabilities,
)
from .._vulnerabilities.index import VulnerabilityIndex
from .._vulnerabilities.package_data import PRIORITIES, Vulnerability
from .state_steps import StateStep

RESULT_LIMIT = 300_000
"""Bytes of the entries of a result as JSON. AWX removes a result that is larger than 700,000 bytes."""

UNRATED = "unrated"
"""The priority of vulnerabilities for which the data has none. They count as of the highest."""

SHOWN_PRIORITIES = (UNRATED, *reversed(PRIORITIES))
"""All priorities, the most urgent first."""

_NAMED_HOSTS = (100, 20, 5, 1, 0)
"""Hosts of a group that a result names: as many as its limit allows."""

LIMIT = "{hosts}"
"""Stands for the limit to hosts that only the page knows."""

_LINES = 200
_HOSTS_OF_A_LINE = 5
_HOST_COLUMNS = 64
_HOSTS_OF_A_REASON = 20
_CVES_OF_A_RESULT = 200
_KEPT_HOSTS = 1000
NO_RECORD = Reason(
    id="no_current_record",
    message="the host has no usable record: it gave no answer, or was never checked",
    remedy=f"see the report for the reason, then check the host: {CHECK}",
)
_WAIVABLE = ("open", "unknown")
_NOTHING_TO_DO = ("live_patched", "fixed", "not_affected")
WAIVED = "waived"
COUNTED = ("open", "unknown", WAIVED, "live_patched", "fixed", "not_affected")
"""The statuses under which hosts are counted if there are waivers, in the order in which reports show them."""

_RANK = {status: rank for rank, status in enumerate(COUNTED)}
_FIRST_DAY = "0000"  # a vulnerability without a date is shown first


class _Kind(t.NamedTuple):
    """Hosts with equal evidence, waivers and step of their state; without evidence those with no usable record.

    `of_fleet` is the policy of all records of the fleet, None if there are several.
    """

    evidence: KernelEvidence | None
    hosts: list[str]
    waivers: tuple[Waiver, ...] = ()
    state: StateStep | None = None
    of_fleet: str | None = None

    @property
    def policy(self) -> str | None:
        """Return the policy of the records; where there is none, that of all records of the fleet."""
        return self.of_fleet if self.evidence is None else self.evidence.policy

    def step_before(self, verdict: Verdict) -> StateStep | None:
        """Return the step of the state of the hosts, if it comes before that of a vulnerability."""
        return self.state if self.state is not None and self.state.precedes(verdict) else None

    def waiver(self, cve: str | None, verdict: Verdict | None = None) -> Waiver | None:
        """Return the waiver that covers a vulnerability if it is open or unknown."""
        if not self.waivers or (verdict is not None and verdict.status not in _WAIVABLE):
            return None
        return next((each for each in self.waivers if each.covers(None, cve)), None)


@dataclasses.dataclass
class _Group:
    """Hosts with the same status and next step: their common values, their number, and the first names.

    `step_for` returns the next step of hosts that a limit selects, None if the step does not depend on them.
    """

    description: dict[str, t.Any]
    step_for: c.Callable[[str | None], str | None] | None = None
    count: int = 0
    _hosts: list[str] = dataclasses.field(default_factory=list)

    def add(self, hosts: list[str]) -> None:
        """Add hosts, which must be sorted."""
        self.count += len(hosts)
        self._hosts += hosts[: _NAMED_HOSTS[0]]
        if len(self._hosts) > _KEPT_HOSTS:
            self._hosts = self.hosts(_NAMED_HOSTS[0])

    def hosts(self, most: int) -> list[str]:
        """Return the first names."""
        self._hosts.sort()
        return self._hosts[:most]

    def described(self, most: int) -> dict[str, t.Any]:
        """Return the values, the number of hosts, and the first names. Commands for few hosts name all of them."""
        described = {**self.description, "count": self.count, "hosts": self.hosts(most)}
        if self.step_for is not None and self.count <= _HOSTS_OF_A_LINE:
            names = self.hosts(self.count)
            described["next_step"] = self.step_for(limit_of(names) if all(map(limit, names)) else None)
        return described


@dataclasses.dataclass(frozen=True)
class CveExposure:
    """One vulnerability: the number of hosts with each status.

    `not_waived` has the status ``waived`` for hosts that are open or unknown, and where a waiver covers it. The sums of
    both are the number of all hosts.
    """

    cve: str
    details: Vulnerability
    counts: dict[str, int]
    not_waived: dict[str, int]

    @property
    def waived(self) -> int:
        """Return the number of hosts that are open or unknown, and where a waiver covers the vulnerability."""
        return self.not_waived[WAIVED]


@dataclasses.dataclass(frozen=True)
class FleetExposure:
    """The vulnerabilities of a fleet that are open or were asked for, oldest first.

    `hosts_by_status` counts each host once, by its first status in the order of `STATUSES`; the sum is `hosts`.
    `not_waived` counts them by `COUNTED`: what a waiver covers is waived, whatever its status. Its sum is `hosts`, too.
    `without_data` has the hosts that package data cannot be applied to, by reason. `pairs` has the number of pairs of a
    host and a vulnerability, by priority and `COUNTED`, of all that were evaluated. `chosen` are the vulnerabilities
    that were evaluated, and `evaluated` is their number.
    """

    hosts: int
    hosts_by_status: dict[str, int]
    without_data: list[dict[str, t.Any]]
    evaluated: int
    cves: list[CveExposure]
    kinds: list[_Kind]
    indexes: c.Sequence[VulnerabilityIndex]
    not_waived: dict[str, int]
    waivers: Waivers
    pairs: dict[str, dict[str, int]]
    minimum_priority: str
    chosen: tuple[str, ...] = ()

    def waivers_by_status(self) -> dict[str, int]:
        """Return the number of waivers with each status."""
        return {status: len(self.waivers.with_status(status)) for status in WAIVER_STATUSES}

    def summary(self) -> dict[str, t.Any]:
        """Return counts as plain data: of hosts, and of the open vulnerabilities by priority."""
        return {
            "hosts_by_status": self.hosts_by_status,
            "not_waived": self.not_waived,
            "open_cves": self.open_by_priority(),
            "waived_cves": self.waived_by_priority(),
            "pairs": self.pairs,
            "evaluated": self.evaluated,
            "oldest_data": self.oldest_data,
        }

    def open_by_priority(self) -> dict[str, int]:
        """Return the number of vulnerabilities that are open on a host, by each priority that was evaluated."""
        found = collections.Counter(each.details.priority or UNRATED for each in self.cves)
        return {priority: found[priority] for priority in self.pairs}

    def waived_by_priority(self) -> dict[str, int]:
        """Return the number of vulnerabilities that are open on hosts, and waived on all of these."""
        waived = (each for each in self.cves if not each.not_waived["open"])
        found = collections.Counter(each.details.priority or UNRATED for each in waived)
        return {priority: found[priority] for priority in self.pairs}

    @property
    def oldest_data(self) -> str | None:
        """Return the date of the oldest package data."""
        dates = [each.published for index in self.indexes for each in index.packages if each.published]
        return min(dates, default=None)

    def entries(self) -> tuple[list[dict[str, t.Any]], int]:
        """Return entries for a result within `RESULT_LIMIT`, and the number of vulnerabilities that are left out."""
        shown = self.cves[:_CVES_OF_A_RESULT]
        groups = self._groups(shown)
        for most in _NAMED_HOSTS:
            entries = [_entry(each, groups[each.cve], most) for each in shown]
            if len(json.dumps(entries)) <= RESULT_LIMIT:
                return entries, len(self.cves) - len(entries)
        size, kept = 0, 0
        for entry in entries:
            size += len(json.dumps(entry)) + 2
            if size > RESULT_LIMIT:
                break
            kept += 1
        return entries[:kept], len(self.cves) - kept

    def lines(
        self, entries: c.Sequence[dict[str, t.Any]], data_age: int | None = None, oldest_record: str | None = None
    ) -> list[str]:
        """Return a summary for people, at most `_LINES` lines.

        `data_age` is that of the oldest data in days, `oldest_record` the time of the oldest record.
        """
        counts = ", ".join(f"{count} {status}" for status, count in self.not_waived.items() if count)
        sizes = f"{_plural(self.hosts, 'host', 'hosts')}, {_plural(self.evaluated, 'vulnerability', 'vulnerabilities')}"
        dates = [f"Oldest record: {oldest_record}."] if oldest_record else []
        dates += [f"Oldest package data: {self.oldest_data}."] if self.oldest_data else []
        dates += [] if data_age is None else [f"Age of the oldest data: {_plural(data_age, 'day', 'days')}."]
        lines = [f"{sizes}: {counts or 'no host'}.", *dates]
        lines += self.waivers.to_renew()
        lines += [line for group in self.without_data for line in _lines({"status": "without data", **group})]
        for entry in entries:
            counts = ", ".join(f"{count} {status}" for status, count in entry["not_waived"].items() if count)
            details = ", ".join(filter(None, (entry["priority"] or "no priority", entry["published"])))
            lines.append(f"{entry['cve']} ({details}): {counts or 'no host'}")
            lines += [line for group in entry["groups"] for line in _lines(group)]
        if len(lines) > _LINES:
            lines = [*lines[: _LINES - 1], "The result has further vulnerabilities and hosts."]
        return lines

    def document(self) -> c.Iterator[str]:
        """Yield the complete result as JSON.

        It has the vulnerabilities, groups of hosts with equal evidence, and evaluations. A group has the position of an
        evaluation for each vulnerability, because most evaluations are the same.
        """
        cves = [_entry(each, None, 0) for each in self.cves]
        counted = {"hosts": self.hosts, "hosts_by_status": self.hosts_by_status, "not_waived": self.not_waived}
        yield json.dumps({**counted, "cves": cves})[:-1]
        yield ', "groups": ['
        evaluator = Evaluator(self.indexes, [each.cve for each in self.cves])
        evaluations: dict[str, int] = {}
        for number, kind in enumerate(self.kinds):
            name = kind.evidence.kernel if kind.evidence else None
            found = dict(zip(evaluator.cves, _positions(evaluator, kind, evaluations), strict=True))
            yield ("\n" if number == 0 else ",\n") + json.dumps({"hosts": kind.hosts, "kernel": name, "cves": found})
        yield '\n], "evaluations": [\n' + ",\n".join(evaluations) + "\n]}\n"

    def matrix(self, shown: c.Sequence[CveExposure]) -> tuple[list[list[int]], list[dict[str, t.Any]]]:
        """Return for each kind of hosts the evaluation of each vulnerability, by number, and the evaluations.

        An evaluation has `step_for`, which is its next step with `LIMIT` in place of the limit to hosts.
        """
        evaluator = Evaluator(self.indexes, [each.cve for each in shown])
        evaluations: dict[str, int] = {}
        positions = [list(_positions(evaluator, kind, evaluations, with_limit=True)) for kind in self.kinds]
        return positions, [json.loads(text) for text in evaluations]

    def unknown_hosts(self, cves: c.Sequence[str]) -> dict[str, int]:
        """Return for each of these vulnerabilities the number of hosts for which its status is unknown."""
        counts = dict.fromkeys(cves, 0)
        evaluator = Evaluator(self.indexes, cves)
        for kind in self.kinds:
            for cve, verdict in zip(evaluator.cves, _verdicts(evaluator, kind), strict=True):
                counts[cve] += len(kind.hosts) if verdict.status == "unknown" else 0
        return counts

    def findings_by_waiver(self) -> dict[int, int]:
        """Return the number of pairs of a host and a vulnerability that each waiver covers, by its identity."""
        evaluator = Evaluator(self.indexes, [each.cve for each in self.cves])
        counts: collections.Counter[int] = collections.Counter()
        for kind in self.kinds:
            if not kind.waivers:
                continue
            for cve, verdict in zip(evaluator.cves, _verdicts(evaluator, kind), strict=True):
                waiver = kind.waiver(cve, verdict)
                if waiver is not None:
                    counts[id(waiver)] += len(kind.hosts)
        return counts

    def _groups(self, shown: c.Sequence[CveExposure]) -> dict[str, list[_Group]]:
        """Return the hosts of each vulnerability by status and next step, the most urgent first."""
        found: dict[str, dict[tuple[t.Any, ...], _Group]] = {each.cve: {} for each in shown}
        evaluator = Evaluator(self.indexes, [each.cve for each in shown])
        for kind in self.kinds:
            kernel = _kernel(evaluator, kind)
            enabled = None if kind.evidence is None else kind.evidence.enabled
            for each, verdict in zip(shown, _verdicts(evaluator, kind), strict=True):
                waiver = kind.waiver(each.cve, verdict)
                state = kind.step_before(verdict)
                policy = None if verdict.status in _NOTHING_TO_DO else policy_option(kind.policy)
                key = (*verdict.key, kernel, enabled if verdict.fix == "patch" else None, waiver, state, policy)
                group = found[each.cve].get(key)
                if group is None:
                    step_for = _step_for(verdict, kernel[0], kind) if state is None else None
                    group = found[each.cve][key] = _Group(_described(verdict, kernel, kind, waiver), step_for)
                group.add(kind.hosts)
        return {
            cve: sorted(groups.values(), key=lambda group: (_RANK[_counted_as(group.description)], -group.count))
            for cve, groups in found.items()
        }


def evaluate_fleet(
    records: NewestRecords[KernelEvidence],
    indexes: c.Sequence[VulnerabilityIndex],
    cves: c.Sequence[str] | None,
    minimum_priority: str,
    waivers: Waivers | None = None,
    steps: c.Mapping[str, StateStep] | None = None,
) -> FleetExposure:
    """Evaluate these vulnerabilities, or all of a priority. Of the latter, those are kept that are open on a host.

    A vulnerability without a priority counts as of the highest. `steps` has the hosts whose state asks for another step
    first.
    """
    waivers = waivers or Waivers()
    kinds = _kinds(records, waivers, steps or {})
    known = known_vulnerabilities(indexes)
    chosen = _chosen(known, cves, minimum_priority)
    evaluator = Evaluator(indexes, chosen)
    counts, worst, not_waived = _counted(evaluator, kinds)
    unknown = Vulnerability(None, None)
    found = [
        CveExposure(cve, known.get(cve, unknown), *counts.of_position(position)) for position, cve in enumerate(chosen)
    ]
    pairs = _pairs(found)
    if cves is None:
        found = [each for each in found if each.counts["open"]]
        found.sort(key=lambda each: (each.details.published or _FIRST_DAY, _cve_key(each.cve)))
    return FleetExposure(
        sum(len(kind.hosts) for kind in kinds),
        worst,
        _without_data(evaluator, kinds),
        len(chosen),
        found,
        kinds,
        indexes,
        not_waived,
        waivers,
        pairs,
        minimum_priority,
        chosen=tuple(chosen),
    )


def is_chosen(details: Vulnerability, minimum_priority: str) -> bool:
    """Return True for a vulnerability of at least this priority, and for one without a priority."""
    return details.priority is None or PRIORITIES.index(details.priority) >= PRIORITIES.index(minimum_priority)


def _pairs(found: c.Iterable[CveExposure]) -> dict[str, dict[str, int]]:
    pairs: dict[str, dict[str, int]] = {}
    for each in found:
        of_priority = pairs.setdefault(each.details.priority or UNRATED, dict.fromkeys(COUNTED, 0))
        for status, number in each.not_waived.items():
            of_priority[status] += number
    return {priority: pairs[priority] for priority in SHOWN_PRIORITIES if priority in pairs}


def _kinds(records: NewestRecords[KernelEvidence], waivers: Waivers, steps: c.Mapping[str, StateStep]) -> list[_Kind]:
    """Return the hosts in groups that are evaluated once."""
    found: dict[tuple[KernelEvidence | None, int, StateStep | None], list[str]] = collections.defaultdict(list)
    # Hosts with the same waivers have the same object, which is quicker to compare than its waivers.
    accepted: dict[int, tuple[Waiver, ...]] = {}
    # Sorted, so that two reports on the same records are equal.
    without_record = ((host, None) for host in sorted(records.missing))
    for host, evidence in (*records.records.items(), *without_record):
        of_host = waivers.of_host(host)
        accepted[id(of_host)] = of_host
        found[evidence, id(of_host), steps.get(host)].append(host)
    about_cves = {key: tuple(each for each in given if each.rule is None) for key, given in accepted.items()}
    policies = {evidence.policy for evidence, _waivers, _state in found if evidence is not None}
    of_fleet = policies.pop() if len(policies) == 1 else None
    return [
        _Kind(evidence, sorted(hosts), about_cves[key], state, of_fleet)
        for (evidence, key, state), hosts in found.items()
    ]


class _CountsOfCves:
    """The number of hosts with each status, by vulnerability, and of those among them that a waiver covers."""

    def __init__(self, number: int) -> None:
        self._by_status = {status: [0] * number for status in STATUSES}
        self._waived = {status: [0] * number for status in _WAIVABLE}

    def add(self, statuses: c.Sequence[VulnerabilityStatus], hosts: int) -> None:
        """Count hosts under the status of each vulnerability."""
        by_status = self._by_status
        for position, status in enumerate(statuses):
            by_status[status][position] += hosts

    def waive(self, position: int, status: VulnerabilityStatus, hosts: int) -> None:
        """Count hosts where a waiver covers a vulnerability."""
        self._waived[status][position] += hosts

    def of_position(self, position: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return the numbers of hosts for a vulnerability: by status, and by `COUNTED`."""
        counts = {str(status): numbers[position] for status, numbers in self._by_status.items()}
        waived = {status: numbers[position] for status, numbers in self._waived.items()}
        remaining = {status: number - waived.get(status, 0) for status, number in counts.items()}
        remaining[WAIVED] = sum(waived.values())
        return counts, {status: remaining[status] for status in COUNTED}


def _chosen(known: c.Mapping[str, Vulnerability], cves: c.Sequence[str] | None, minimum_priority: str) -> list[str]:
    if cves is not None:
        return list(dict.fromkeys(cves))
    return [cve for cve, one in known.items() if is_chosen(one, minimum_priority)]


def _counted(evaluator: Evaluator, kinds: c.Sequence[_Kind]) -> tuple[_CountsOfCves, dict[str, int], dict[str, int]]:
    """Return the counts of all vulnerabilities, and each host once by its most urgent status.

    The latter without and with waivers.
    """
    counts = _CountsOfCves(len(evaluator.cves))
    worst: dict[str, int] = dict.fromkeys(STATUSES, 0)
    not_waived: dict[str, int] = dict.fromkeys(COUNTED, 0)
    positions = {cve: position for position, cve in enumerate(evaluator.cves)}
    for kind in kinds:
        number = len(kind.hosts)
        statuses = [verdict[0] for verdict in _verdicts(evaluator, kind)]
        counts.add(statuses, number)
        # Where the data has no vulnerability of the priority, none of them affects a kernel that it has.
        fallback: VulnerabilityStatus = "not_affected" if _reason(evaluator, kind) is None else "unknown"
        most_urgent = _most_urgent(set(statuses) or {fallback})
        worst[most_urgent] += number
        if not kind.waivers:
            not_waived[most_urgent] += number
            continue
        waived = _waived_positions(positions, kind, statuses)
        for position in waived:
            counts.waive(position, statuses[position], number)
        remaining: set[str] = {status for position, status in enumerate(statuses) if position not in waived}
        if not statuses:
            remaining = {WAIVED if fallback in _WAIVABLE and kind.waiver(None) else fallback}
        not_waived[_most_urgent(remaining | ({WAIVED} if waived else set()))] += number
    return counts, worst, not_waived


def _most_urgent(present: c.Set[str]) -> str:
    return next(status for status in COUNTED if status in present)


def _waived_positions(
    positions: c.Mapping[str, int], kind: _Kind, statuses: c.Sequence[VulnerabilityStatus]
) -> set[int]:
    """Return the positions of what waivers cover. Most waivers name one vulnerability, so not all are compared."""
    named = {waiver.cve for waiver in kind.waivers}
    found: c.Iterable[int] = (positions[cve] for cve in named if cve is not None and cve in positions)
    if None in named:
        found = range(len(statuses))
    return {position for position in found if statuses[position] in _WAIVABLE}


def _without_data(evaluator: Evaluator, kinds: c.Sequence[_Kind]) -> list[dict[str, t.Any]]:
    groups: dict[tuple[str, str | None], _Group] = {}
    for kind in kinds:
        reason = _reason(evaluator, kind)
        if reason is not None:
            step = _with_policy(reason["remedy"], kind.policy)
            described = {"reason": reason["id"], "message": reason["message"], "next_step": step}
            groups.setdefault((reason["id"], step), _Group(described)).add(kind.hosts)
    ordered = sorted(groups.values(), key=lambda group: -group.count)
    return [{**group.description, "count": group.count, "hosts": group.hosts(_HOSTS_OF_A_REASON)} for group in ordered]


def _reason(evaluator: Evaluator, kind: _Kind) -> Reason | None:
    """Return the reason why package data cannot be applied to hosts; ``None`` if it can."""
    kernel = evaluator.identify(kind.evidence) if kind.evidence is not None else NO_RECORD
    return None if isinstance(kernel, IdentifiedKernel) else kernel


def _verdicts(evaluator: Evaluator, kind: _Kind) -> list[Verdict]:
    if kind.evidence is None:
        return [Verdict("unknown", reason=NO_RECORD)] * len(evaluator.cves)
    return evaluator.verdicts(kind.evidence)


def _kernel(evaluator: Evaluator, kind: _Kind) -> tuple[str | None, bool]:
    """Return the source package of a kind of hosts, and True if it is derived."""
    kernel = evaluator.identify(kind.evidence) if kind.evidence is not None else None
    return (kernel.source, kernel.derived) if isinstance(kernel, IdentifiedKernel) else (None, False)


def _positions(
    evaluator: Evaluator, kind: _Kind, evaluations: dict[str, int], *, with_limit: bool = False
) -> c.Iterator[int]:
    """Yield the position of the evaluation of each vulnerability in `evaluations`, to which new ones are added."""
    kernel = _kernel(evaluator, kind)
    known: dict[tuple[t.Any, ...], int] = {}
    for cve, verdict in zip(evaluator.cves, _verdicts(evaluator, kind), strict=True):
        waiver = kind.waiver(cve, verdict)
        key = (verdict.key, waiver)
        position = known.get(key)
        if position is None:
            described = _described(verdict, kernel, kind, waiver)
            if with_limit:
                step = _step_for(verdict, kernel[0], kind)(LIMIT) if described["state"] is None else None
                described["step_for"] = step if step is not None and LIMIT in step else None
            text = json.dumps(described)
            position = known[key] = evaluations.setdefault(text, len(evaluations))
        yield position


def _described(
    verdict: Verdict, kernel: tuple[str | None, bool], kind: _Kind, waiver: Waiver | None
) -> dict[str, t.Any]:
    source, derived = kernel
    state = kind.step_before(verdict)
    return {
        "status": verdict.status,
        "fix": verdict.fix,
        "source_package": source,
        "source_derived": derived,
        "fixed_in": verdict.fixed_in,
        "patch": None if verdict.patch is None else str(verdict.patch),
        "evidence": verdict.evidence,
        "reason": verdict.reason["id"] if verdict.reason else None,
        "message": verdict.reason["message"] if verdict.reason else None,
        "state": None if state is None else state.state,
        "next_step": _step_for(verdict, source, kind)(None) if state is None else state.step,
        "waived": None if waiver is None else waiver.as_dict(),
    }


def next_step(
    verdict: Verdict,
    source: str | None,
    *,
    enabled: bool | None,
    only: str | None = None,
    policy: str | None = None,
) -> str | None:
    """Return what to do about a verdict on hosts whose kernel has this source package.

    `only` is the limit of a command for all of them, None if there are too many for a command. `policy` is that of
    their records.
    """
    options = policy_option(policy)
    if verdict.reason is not None:
        return _with_policy(verdict.reason["remedy"], policy)
    if verdict.fix == "patch":
        if enabled:
            return f"apply live patch {verdict.patch} or newer: {_command('patch', only)}{options}"
        if enabled is None:
            return f"repair the client, as the report shows for the host; live patch {verdict.patch} has the fix"
        return f"enable the client, which applies live patch {verdict.patch}: {_command('enable', only)}{options}"
    if verdict.fix == "reboot":
        return f"reboot into the installed kernel with the fix ({verdict.fixed_in} or newer): {_upgrade(only, options)}"
    if verdict.fix == "kernel":
        return f"upgrade {source or 'the kernel'} to {verdict.fixed_in} or newer and reboot: {_upgrade(only, options)}"
    if verdict.fix == "none":
        return "wait: no fix is published for this kernel; evaluate again with newer vulnerability data"
    return None


def _step_for(verdict: Verdict, source: str | None, kind: _Kind) -> c.Callable[[str | None], str | None]:
    """Return a function that returns the next step of a kind, for hosts that a limit selects."""
    enabled = None if kind.evidence is None else kind.evidence.enabled
    return lambda only: next_step(verdict, source, enabled=enabled, only=only, policy=kind.policy)


def _with_policy(remedy: str | None, policy: str | None) -> str | None:
    """Return a remedy whose check has the policy of the hosts."""
    return f"{remedy}{policy_option(policy)}" if remedy is not None and remedy.endswith(CHECK) else remedy


def _command(playbook: str, only: str | None) -> str:
    return f"ansible-playbook kernelops.livepatch.{playbook}{f' --limit {only}' if only else ''}"


def _upgrade(only: str | None, options: str) -> str:
    """Return the command for an upgrade of hosts whose client does not ask for one."""
    command = f"{_command('upgrade', only)} -e livepatch_force=true{options}"
    return command if only else f"run `{command}` with --limit for these hosts only"


def _entry(exposure: CveExposure, groups: c.Sequence[_Group] | None, most: int) -> dict[str, t.Any]:
    entry: dict[str, t.Any] = {
        "cve": exposure.cve,
        "priority": exposure.details.priority,
        "published": exposure.details.published,
        "counts": exposure.counts,
        "not_waived": exposure.not_waived,
        "waived": exposure.waived,
    }
    if groups is not None:
        entry["groups"] = [group.described(most) for group in groups]
    return entry


def _counted_as(group: c.Mapping[str, t.Any]) -> str:
    """Return the status under which the hosts of a group are counted."""
    return WAIVED if group.get("waived") else group["status"]


def _lines(group: c.Mapping[str, t.Any]) -> c.Iterator[str]:
    """Yield status and hosts of a group, and further lines with the reason and with the next step or the waiver."""
    hosts = group["hosts"][:_HOSTS_OF_A_LINE]
    more = group["count"] - len(hosts)
    named = ", ".join(shorten(visible(host), _HOST_COLUMNS) for host in hosts) + (
        f" and {more} more" if more and hosts else ""
    )
    waiver, state = group.get("waived"), group.get("state")
    details = [group["status"]] if waiver else []
    details += [f"state {state}"] if state and state != "no_answer" else []
    shown = f" ({', '.join(details)})" if details else ""
    yield f"  {group['count']} {_counted_as(group)}{shown}{': ' + named if named else ''}"
    if group["message"]:
        yield f"    {group['message']}"
    if waiver:
        yield f"    waived until {waiver['expires']} by {visible(waiver['owner'])}: {visible(waiver['reason'])}"
    elif group["next_step"]:
        yield f"    {visible(group['next_step'])}"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _cve_key(cve: str) -> tuple[int, ...]:
    return tuple(int(part) for part in cve.split("-")[1:])
