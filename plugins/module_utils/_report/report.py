# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Assemble a report from the newest records of a fleet, independent of any format.

Documents come in as they were read, in any order and from several folders; `assemble` keeps the newest
of every host. Nothing is decided here: the state of a host is the one in its record, and a host without a
usable newest record is ``no_answer``.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import functools
import re
import typing as t

from .._decisions import causes
from .._decisions.states.evidence import shows_running_patch
from .._fleet.group_counts import GroupCount, count_groups
from .._fleet.rules import Finding, Rule
from .._fleet.waivers import WAIVER_STATUSES, WaivedFinding, Waiver, Waivers
from .._record import STATES, Containers, Fix, Reason, Record, State
from .._records.document import ATTEMPT_SCHEMA, AttemptCause, Document, FailedAttempt, Problem, Recorded
from .._records.folder_store import note_name, record_name
from .._records.newest import NewestRecords
from .._records.spans import Kind, Sighting
from .._records.spool import SplitText, Spool, SpoolPosition, SpoolWriter, lines_of
from .._text import visible
from .._time import format_time, parse_time, sort_key, to_microseconds
from .changes.model import Changes
from .fleet_exposure import FleetExposure, evaluate_fleet
from .history import History
from .host_exposure import HostExposure, HostExposures
from .scanners.host_proof import HostProof
from .state_steps import step_of_state
from .summary.actions import Action, actions_of
from .summary.coverage import Coverage, coverage_of
from .summary.protection import condition
from .summary.run_context import RunContext

if t.TYPE_CHECKING:
    from .rule_evaluation import RuleEvaluator

_LAST: tuple[State, ...] = ("ineligible", "protected")
URGENCY: tuple[State, ...] = (*(state for state in STATES if state not in _LAST), *_LAST)
"""The states in the order in which reports show them: the most urgent first, at the end those without a next step."""

_RANK = {state: rank for rank, state in enumerate(URGENCY)}

_CLOCK_TOLERANCE = datetime.timedelta(minutes=5)
"""The clocks of several controllers may differ by this much. A record that is newer than that is from the future."""
_ASSESSMENT = b'"assessment"'
_DIGITS = re.compile("[0-9]+")
_NO_GROUPS: t.Mapping[str, str] = {}
_SECONDS = 19  # characters of an RFC 3339 time without fractions and zone


class LastRecord(t.NamedTuple):
    """The time and state of the last record of a host that gave no answer since then."""

    collected_at: str
    state: State


class HostLine(t.NamedTuple):
    """One host of the report.

    `document` is the position of its record in the spool, or None for a host without a record of this run. `release` is
    the release of the distribution. `unpatched` lists the CVEs that the client reports as not patched. `containers` is
    the number of containers that share the kernel, or None if it is unknown. `cause` is that of a failed attempt.
    `patch_runs` is true if the record shows that the patch whose fixes it lists runs. For a host without a record,
    `enabled`, `machine_id_sha256` and `containers` are the last known values. `covered_by` is a policy that covers a
    host which its own refuses. `waived` are findings that a waiver covers; `findings` does not have them.
    `exposure` are its vulnerabilities, or None without vulnerability data. `proof` is what the record proves to a
    vulnerability scanner, or None if no format needs it. `policy` is the name of the policy that the record was made
    with. `groups` are the groups of the host by key, see `_fleet.groups`: those of its last record, or of a later
    failed attempt.
    """

    host: str
    state: State
    collected_at: str | None = None
    attempted_at: str | None = None
    kernel_name: str | None = None
    patch_version: str | None = None
    client_version: str | None = None
    support: str | None = None
    upgrade_required_by: str | None = None
    reasons: t.Sequence[Reason] = ()
    last_record: LastRecord | None = None
    last_check: str | None = None
    enabled: bool | None = None
    machine_id_sha256: str | None = None
    containers: int | None = None
    findings: tuple[Finding, ...] = ()
    document: SpoolPosition | None = None
    release: str | None = None
    unpatched: tuple[str, ...] = ()
    covered_by: str | None = None
    cause: AttemptCause | None = None
    patch_runs: bool = False
    waived: tuple[WaivedFinding, ...] = ()
    exposure: HostExposure | None = None
    proof: HostProof | None = None
    policy: str | None = None
    groups: t.Mapping[str, str] = _NO_GROUPS

    @property
    def exposes(self) -> int:
        """Return the known number of containers on this kernel if it is not protected, else 0."""
        return 0 if self.state == "protected" else self.containers or 0

    @property
    def exposes_unknown(self) -> bool:
        """Return True if this kernel is not protected, and its containers could not be counted."""
        return self.state != "protected" and self.containers is None

    @property
    def message(self) -> str | None:
        """Return the reason for the state."""
        return self.reasons[0]["message"] if self.reasons else None

    @property
    def last_seen(self) -> str | None:
        """Return time and state of the last record of a host that gave no answer."""
        return f"last seen {self.last_record.collected_at}, {self.last_record.state}" if self.last_record else None

    @property
    def next_step(self) -> str | None:
        """Return the remedy, if there is one."""
        return self.reasons[0]["remedy"] if self.reasons else None


Condensed: t.TypeAlias = "HostLine | FailedAttempt | Problem"


@dataclasses.dataclass(frozen=True)
class Report:
    """A fleet at one time.

    `lines` are sorted by urgency, then by the containers that a kernel exposes, then by host (numbers by their value).

    `left_out` counts hosts that have records but were not asked for. `rules` are the evaluated rules;
    each line has the findings of its host, `fleet_findings` has the findings of the fleet as a whole.
    Findings that a waiver covers are not among them, but in `waived` of the line, and in `fleet_waived`.
    `history` is the history of the fleet, if one is stored. `waivers` are those that the report was made with.
    `exposure` has the vulnerabilities of the fleet, or None without vulnerability data. `changes` compares the report
    with an earlier one, and is None if there is none. `group_keys` are the keys of the groups that the report shows.
    `run_started` is the begin of the run that makes the report.
    """

    generated_at: str
    lines: list[HostLine]
    problems: list[Problem]
    left_out: int
    spool: Spool
    rules: tuple[Rule, ...] = ()
    fleet_findings: tuple[Finding, ...] = ()
    history: History | None = None
    waivers: Waivers | None = None
    fleet_waived: tuple[WaivedFinding, ...] = ()
    exposure: FleetExposure | None = None
    context: RunContext = dataclasses.field(default_factory=RunContext)
    changes: Changes | None = None
    group_keys: tuple[str, ...] = ()
    run_started: datetime.datetime | None = None

    @functools.cached_property
    def coverage(self) -> Coverage:
        """Return the numbers of hosts by the age of their last record."""
        seen = (line.collected_at or (line.last_record and line.last_record.collected_at) for line in self.lines)
        return coverage_of(seen, self.generated_at, self.run_started)

    def states(self) -> dict[State, int]:
        """Return the number of hosts in each state, in the order of the record's schema."""
        return self._states

    @functools.cached_property
    def _states(self) -> dict[State, int]:
        counts = collections.Counter(line.state for line in self.lines)
        return {state: counts[state] for state in STATES}

    @property
    def eligible(self) -> int:
        """Return the number of hosts that live patches could protect: those that are not `ineligible`."""
        return len(self.lines) - self._states["ineligible"]

    @functools.cached_property
    def groups(self) -> dict[str, list[GroupCount]]:
        """Return the numbers of hosts in each group, by key. A protected host has a recent record."""
        conditions = [condition(line, self.generated_at) for line in self.lines] if self.group_keys else []
        return {
            key: count_groups((line.groups.get(key), each) for line, each in zip(self.lines, conditions, strict=True))
            for key in self.group_keys
        }

    def hosts_by_state(self) -> dict[str, list[str]]:
        """Return the names of the hosts in each state, in the order of the record's schema."""
        hosts: dict[str, list[str]] = {state: [] for state in STATES}
        for line in self.lines:
            hosts[line.state].append(line.host)
        return hosts

    def rule(self, identifier: str) -> Rule:
        """Return the rule with this id."""
        return self._rules[identifier]

    @functools.cached_property
    def _rules(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self.rules}

    def findings(self) -> t.Iterator[tuple[HostLine | None, Finding]]:
        """Yield all findings: first of the fleet as a whole (without a line), then of the hosts, in order."""
        yield from ((None, finding) for finding in self.fleet_findings)
        yield from ((line, finding) for line in self.lines for finding in line.findings)

    def waived(self) -> t.Iterator[tuple[HostLine | None, WaivedFinding]]:
        """Yield the findings that waivers cover, in the order of `findings`."""
        yield from ((None, waived) for waived in self.fleet_waived)
        yield from ((line, waived) for line in self.lines for waived in line.waived)

    def waived_by_rule(self) -> dict[str, int]:
        """Return the number of waived findings of each rule, in the order of the rules."""
        counts = collections.Counter(waived.rule for _line, waived in self.waived())
        return {rule.id: counts[rule.id] for rule in self.rules}

    def findings_by_waiver(self) -> list[tuple[Waiver, int]]:
        """Return all waivers in the order of their file, each with the number of findings that it covers.

        An open or unknown vulnerability of a host that the waiver covers counts as a finding. A rule that only depends
        on waived vulnerabilities is not counted again.
        """
        # By identity: two entries can be equal.
        counts = collections.Counter(id(each.waiver) for _line, each in self.waived() if not each.follows)
        if self.exposure is not None:
            counts.update(self.exposure.findings_by_waiver())
        return [(waiver, counts[id(waiver)]) for waiver in (self.waivers.entries if self.waivers else ())]

    def hosts_by_rule(self) -> dict[str, list[str]]:
        """Return the names of the hosts that break each rule, in the order of the rules."""
        hosts: dict[str, list[str]] = {rule.id: [] for rule in self.rules}
        for line in self.lines:
            for rule, _message in line.findings:
                hosts[rule].append(line.host)
        return hosts

    def findings_by_rule(self) -> dict[str, int]:
        """Return the number of findings of each rule, in the order of the rules."""
        return self._findings_by_rule

    @functools.cached_property
    def _findings_by_rule(self) -> dict[str, int]:
        counts = collections.Counter(rule for _line, (rule, _message) in self.findings())
        return {rule.id: counts[rule.id] for rule in self.rules}

    def policies(self) -> dict[str, int]:
        """Return the number of hosts with a record of each policy, the most frequent first."""
        counts = collections.Counter(visible(line.policy) for line in self.lines if line.policy is not None)
        return dict(counts.most_common())

    def only_policy(self) -> str | None:
        """Return the policy of all records; None if there are several."""
        names = {line.policy for line in self.lines} - {None}
        return names.pop() if len(names) == 1 else None

    def covered_by_other_policies(self) -> dict[str, int]:
        """Return the number of hosts that their policy refuses and another policy covers, by the name of the latter."""
        counts = collections.Counter(visible(line.covered_by) for line in self.lines if line.covered_by is not None)
        return dict(sorted(counts.items()))

    def sightings(self) -> t.Iterator[Sighting]:
        """Yield the sightings for a history: each host with a record or with a failed attempt at a known time."""
        for line in self.lines:
            time = parse_time(line.collected_at or line.attempted_at)
            if time is not None:
                kind = Kind(line.state, line.kernel_name, line.release, line.patch_version, line.unpatched)
                yield Sighting(line.host, to_microseconds(time), kind)

    def with_exposure(self, exposures: HostExposures) -> Report:
        """Return a report with the vulnerabilities of the fleet. A host without a record of this run is unknown."""
        evidence = {line.host: line.exposure.evidence for line in self.lines if line.exposure is not None}
        missing = {line.host for line in self.lines} - evidence.keys()
        records = NewestRecords(evidence, missing, [], None)
        steps = {line.host: step_of_state(line.host, line.state, line.reasons) for line in self.lines}
        found = evaluate_fleet(
            records,
            exposures.indexes,
            None,
            exposures.options.minimum_priority,
            exposures.waivers,
            {host: step for host, step in steps.items() if step is not None},
        )
        return dataclasses.replace(self, exposure=found)

    @property
    def vulnerabilities(self) -> FleetExposure:
        """Return the vulnerabilities of the fleet, in formats that need them."""
        if self.exposure is None:
            raise ValueError("this report has no vulnerabilities")
        return self.exposure

    def proofs(self) -> tuple[dict[str, HostProof], list[str]]:
        """Return what the records of this run prove to vulnerability scanners, by host, and the hosts without one."""
        found = {line.host: line.proof for line in self.lines if line.proof is not None}
        return found, [line.host for line in self.lines if line.proof is None]

    @functools.cached_property
    def actions(self) -> list[Action]:
        """Return the next steps, each with its hosts, the most urgent first."""
        return actions_of(self.lines, self.only_policy())

    def clones(self) -> list[list[str]]:
        """Return groups of hosts that have the same machine-id."""
        hosts: dict[str, list[str]] = collections.defaultdict(list)
        for line in self.lines:
            if line.machine_id_sha256 is not None:
                hosts[line.machine_id_sha256].append(line.host)
        return [same for same in hosts.values() if len(same) > 1]

    def with_findings(self, findings: t.Iterable[tuple[str | None, Finding]]) -> Report:
        """Return a report with more findings, each with its host, or ``None`` for the fleet as a whole."""
        of_host: dict[str | None, list[Finding]] = collections.defaultdict(list)
        for host, finding in findings:
            of_host[host].append(finding)
        lines = [
            line._replace(findings=(*line.findings, *of_host[line.host])) if line.host in of_host else line
            for line in self.lines
        ]
        of_fleet = (*self.fleet_findings, *of_host[None])
        return dataclasses.replace(self, lines=lines, fleet_findings=of_fleet)

    def with_waivers(self, waivers: Waivers) -> Report:
        """Return a report in which the findings that waivers cover are apart. The states of hosts stay."""
        # Those of vulnerabilities may come from another process, as copies of the waivers.
        own = {each: each for each in reversed(waivers.entries)}
        lines = []
        for line in self.lines:
            kept, waived = _sorted_by(waivers, line.host, line.findings)
            of_cves = (each._replace(waiver=own[each.waiver]) for each in line.waived)
            lines.append(line._replace(findings=kept, waived=(*of_cves, *waived)) if waived or line.waived else line)
        of_fleet, fleet_waived = _sorted_by(waivers, None, self.fleet_findings)
        return dataclasses.replace(
            self, lines=lines, fleet_findings=of_fleet, fleet_waived=fleet_waived, waivers=waivers
        )

    def summary(self) -> dict[str, t.Any]:
        """Return counts as plain data that is safe to show. Only reachable hosts have times, kernels and patches."""
        return self._summary

    @functools.cached_property
    def _summary(self) -> dict[str, t.Any]:
        seen = [line for line in self.lines if line.collected_at is not None]
        times = dict.fromkeys(line.collected_at for line in seen if line.collected_at is not None)
        return {
            "hosts": len(self.lines),
            "eligible": self.eligible,
            "states": self.states(),
            "groups": {key: [dataclasses.asdict(each) for each in counts] for key, counts in self.groups.items()},
            "rules": self.findings_by_rule(),
            "kernels": _tally("kernel", (line.kernel_name for line in seen)),
            "patch_versions": _tally("version", (line.patch_version for line in seen)),
            "oldest_record": min(times, key=sort_key, default=None),
            "newest_record": max(times, key=sort_key, default=None),
            "exposed_containers": sum(line.exposes for line in self.lines),
            "left_out": self.left_out,
            "coverage": self.coverage._asdict(),
            "vulnerabilities": self.exposure.summary() if self.exposure else None,
            "waived": sum(self.waived_by_rule().values()),
            "waivers": {
                status: len(self.waivers.with_status(status)) if self.waivers else 0 for status in WAIVER_STATUSES
            },
            "covered_by_other_policies": self.covered_by_other_policies(),
        }


def assemble(
    documents: t.Iterable[Document],
    hosts: t.Sequence[str] | None,
    generated_at: str,
    spool: Spool,
    evaluator: RuleEvaluator | None = None,
) -> Report:
    """Assemble the report of these hosts, or of every host in the documents.

    The newest record of a host wins, and a failed attempt that is newer than it gives it the state ``no_answer``.
    `generated_at` is RFC 3339 in UTC.
    """
    return merge(condense(documents, spool.writer(), evaluator), hosts, generated_at, spool, evaluator)


def condense(
    documents: t.Iterable[Document],
    writer: SpoolWriter,
    evaluator: RuleEvaluator | None,
    exposures: HostExposures | None = None,
) -> list[Condensed]:
    """Reduce each record to the line of its host, and write the record to the spool: not all records fit in memory.

    Rules and vulnerabilities are evaluated here, while the record is available.
    """
    condensed: list[Condensed] = [
        _condensed(document, writer, evaluator, exposures) if isinstance(document, Recorded) else document
        for document in documents
    ]
    writer.flush()
    return condensed


def _condensed(
    document: Recorded, writer: SpoolWriter, evaluator: RuleEvaluator | None, exposures: HostExposures | None
) -> HostLine:
    if exposures is None:
        return _line(document.record, writer.append(document.text), evaluator, None)
    exposure, section = exposures.of_record(document.record)
    proof = exposures.proof(document.record, exposure)
    record = exposures.assessed(document.record, exposure)
    shared, values = document.text
    if record is not document.record:
        assessment = lines_of({"assessment": record["assessment"]})
        shared = tuple(assessment if each[0].startswith(_ASSESSMENT) else each for each in shared)
    line = _line(record, writer.append(SplitText((*shared, (section,)), values)), None, exposure)
    if evaluator is not None:
        findings, waived = evaluator.with_waived_cves(record, exposures, exposure)
        line = line._replace(findings=findings, waived=waived)
    return line if proof is None else line._replace(proof=proof)


def merge(
    condensed: t.Iterable[Condensed],
    hosts: t.Sequence[str] | None,
    generated_at: str,
    spool: Spool,
    evaluator: RuleEvaluator | None,
) -> Report:
    """Assemble the report from the results of `condense`."""
    recorded: dict[str, HostLine] = {}
    attempts: dict[str, FailedAttempt] = {}
    problems: list[Problem] = []
    refused: dict[str | None, Problem] = {}
    for document in _without_future(condensed, generated_at):
        if isinstance(document, HostLine):
            previous = recorded.get(document.host)
            if previous is None or sort_key(document.collected_at) > sort_key(previous.collected_at):
                recorded[document.host] = document
        elif isinstance(document, FailedAttempt):
            known = attempts.get(document.host)
            if known is None or sort_key(document.attempted_at) > sort_key(known.attempted_at):
                attempts[document.host] = document
        else:
            problems.append(document)
            if document.id == causes.RECORD_FROM_FUTURE.id:
                refused[document.host] = document
    unusable = {problem.host: problem for problem in reversed(problems) if problem.host is not None}
    known_hosts = {**recorded, **attempts, **unusable}
    asked_for = dict.fromkeys(hosts if hosts is not None else known_hosts)
    lines = [
        _counted(host, None, None, refused[host], evaluator)
        if host in refused
        else _counted(host, recorded.get(host), attempts.get(host), unusable.get(host), evaluator)
        for host in asked_for
    ]
    lines.sort(key=lambda line: (_RANK[line.state], -line.exposes, _natural(line.host), line.host))
    left_out = sum(host not in asked_for for host in known_hosts)
    return Report(generated_at, lines, problems, left_out, spool, evaluator.rules if evaluator else ())


def _without_future(condensed: t.Iterable[Condensed], generated_at: str) -> t.Iterator[Condensed]:
    """Replace the documents from the future by problems: their time is wrong, so no document of the host is newest."""
    now = parse_time(generated_at)
    latest = format_time(now + _CLOCK_TOLERANCE)[:_SECONDS] if now is not None else ""
    for document in condensed:
        # Times of records are RFC 3339 in UTC, so texts compare like times.
        if isinstance(document, HostLine) and (document.collected_at or "")[:_SECONDS] > latest:
            yield _from_future(document.host, record_name(document.host), document.collected_at, generated_at)
        elif isinstance(document, FailedAttempt) and document.attempted_at[:_SECONDS] > latest:
            yield _from_future(document.host, note_name(document.host), document.attempted_at, generated_at)
        else:
            yield document


def _from_future(host: str, name: str, time: str | None, now: str) -> Problem:
    return Problem("record_from_future", name, f"it is dated {time}, and the clock shows {now}", host)


def document_without_record(line: HostLine) -> dict[str, t.Any]:
    """Return the document of a host without a record of this run, in the form of a failed attempt with its state."""
    return {
        "schema": ATTEMPT_SCHEMA,
        "host": line.host,
        "attempted_at": line.attempted_at,
        "cause": line.cause,
        "assessment": {"state": line.state, "reasons": line.reasons, "reboot_needed": None},
        "last_record": line.last_record._asdict() if line.last_record else None,
        **({"groups": dict(line.groups)} if line.groups else {}),
    }


def _line(
    record: Record, place: SpoolPosition, evaluator: RuleEvaluator | None, exposure: HostExposure | None
) -> HostLine:
    kernel = record["system"]["kernel"]
    return HostLine(
        host=record["host"],
        state=record["assessment"]["state"],
        collected_at=record["collected_at"],
        kernel_name=kernel["full"] or kernel["release"],
        patch_version=record["patch"]["version"],
        client_version=record["client"]["version"],
        support=record["patch"]["support"],
        upgrade_required_by=record["patch"]["upgrade_required_by"],
        reasons=record["assessment"]["reasons"][:1],
        last_check=record["client"]["last_check"],
        enabled=record["client"]["enabled"],
        machine_id_sha256=record["system"]["machine_id_sha256"],
        containers=_running(record["system"]["containers"]),
        findings=evaluator.of_record(record, exposure) if evaluator else (),
        document=place,
        release=record["system"]["release"],
        unpatched=_unpatched(record["patch"]["fixes"]),
        covered_by=_covered_by(record),
        patch_runs=shows_running_patch(record),
        exposure=exposure,
        policy=record["eligibility"]["policy"],
        groups=record["system"].get("groups", _NO_GROUPS),
    )


def _sorted_by(
    waivers: Waivers, host: str | None, findings: tuple[Finding, ...]
) -> tuple[tuple[Finding, ...], tuple[WaivedFinding, ...]]:
    """Return the findings that no waiver covers, and those that one covers."""
    if not findings or not waivers.of_host(host):
        return findings, ()
    found = [(finding, waivers.find(host, rule=finding[0])) for finding in findings]
    waived = tuple(WaivedFinding(*finding, waiver) for finding, waiver in found if waiver is not None)
    return tuple(finding for finding, waiver in found if waiver is None), waived


def _covered_by(record: Record) -> str | None:
    if record["assessment"]["state"] != "ineligible":
        return None
    found = (check for check in record["eligibility"]["checks"] if check["id"] == causes.OTHER_POLICY.id)
    return next((check["required"] for check in found), None)


def _unpatched(fixes: t.Sequence[Fix]) -> tuple[str, ...]:
    found = [fix["cve"] for fix in fixes if not fix["patched"]]
    return tuple(sorted(found)) if found else ()


def _counted(
    host: str,
    line: HostLine | None,
    attempt: FailedAttempt | None,
    unusable: Problem | None,
    evaluator: RuleEvaluator | None,
) -> HostLine:
    # Storing a record removes the note of an earlier attempt: with equal times, the note is the later one.
    if line is not None and (attempt is None or sort_key(line.collected_at) > sort_key(attempt.attempted_at)):
        return line
    if attempt is not None:
        reasons = attempt.reasons or [causes.NO_ANSWER.reason()]
    elif unusable is not None:
        from_future = unusable.id == causes.RECORD_FROM_FUTURE.id
        cause = causes.RECORD_FROM_FUTURE if from_future else causes.RECORD_UNUSABLE
        reasons = [cause.reason(unusable.message, path=unusable.path)]
    else:
        reasons = [causes.NO_RECORD.reason()]
    gone = HostLine(
        host=host,
        state="no_answer",
        attempted_at=attempt.attempted_at if attempt else None,
        cause=attempt.cause if attempt else None,
        reasons=reasons,
        last_record=LastRecord(line.collected_at, line.state) if line and line.collected_at else None,
        enabled=line.enabled if line else None,
        machine_id_sha256=line.machine_id_sha256 if line else None,
        containers=line.containers if line else None,
        groups=(attempt.groups if attempt else None) or (line.groups if line else _NO_GROUPS),
    )
    if evaluator is None:
        return gone
    return gone._replace(findings=evaluator.without_record(document_without_record(gone)))


def _running(containers: Containers) -> int | None:
    numbers = (containers["docker"], containers["lxd"], containers["podman"])
    counts = [*numbers, containers.get("kubernetes"), containers.get("containerd")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _natural(host: str) -> str:
    return _DIGITS.sub(lambda digits: digits[0].zfill(20), host)


def _tally(name: str, values: t.Iterable[str | None]) -> list[dict[str, t.Any]]:
    counts: collections.Counter[str | None] = collections.Counter()
    # Hosts have few different values, so each is made visible once.
    for value, hosts in collections.Counter(values).items():
        counts[visible(value) if value else None] += hosts
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
    return [{name: value, "hosts": count} for value, count in ordered]
