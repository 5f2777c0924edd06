# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Open vulnerabilities of one host: its line in a report, the values for rules, and the state ``exposed``.

Hosts with equal evidence share one result, and equal entries of different hosts are the same object.
"""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import datetime
import functools
import re
import typing as t
from pathlib import Path

from .._decisions.next_steps import limit
from .._errors import LivepatchError
from .._fleet.rules import OpenCve
from .._fleet.waivers import Waiver, Waivers
from .._io import expand_user
from .._record import Assessment, Reason, Record
from .._records.spool import lines_of
from .._time import parse_date
from .._vulnerabilities.exposure import (
    Evaluator,
    IdentifiedKernel,
    KernelEvidence,
    Verdict,
    kernel_evidence,
    known_vulnerabilities,
)
from .._vulnerabilities.index import VulnerabilityIndex
from .._vulnerabilities.package_data import PRIORITIES, Vulnerability
from .fleet_exposure import SHOWN_PRIORITIES, UNRATED, is_chosen, next_step
from .scanners.host_proof import HostProof, host_proof
from .scanners.openvex import DEFAULT_AUTHOR

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "vulnerability_data": {"type": "list", "elements": "str"},
    "minimum_priority": {"type": "str", "choices": list(PRIORITIES), "default": "high"},
    "vulnerability_deadlines": {"type": "dict"},
    "vulnerability_deadlines_from": {"type": "str", "choices": ["published", "fixed", "seen"], "default": "published"},
    "cache_dir": {"type": "path", "default": "~/.cache/kernelops.livepatch"},
    "openvex_author": {"type": "str", "default": DEFAULT_AUTHOR},
}
"""Options of the module from which `ExposureOptions` are made."""

_LISTED = 100
_DAYS = re.compile(r"[0-9]{1,4}")
_FIRST_DAY = "0000"  # a vulnerability without a date comes first
_REBOOTING = ("reboot", "kernel")


class WaivedCve(t.NamedTuple):
    """A vulnerability of a host that a waiver covers. `entry` describes an open one; ``None`` if it is unknown."""

    cve: str
    priority: str | None
    entry: OpenCve | None
    waiver: Waiver

    def as_dict(self) -> dict[str, t.Any]:
        """Return the vulnerability as plain data."""
        status = "unknown" if self.entry is None else "open"
        return {"cve": self.cve, "priority": self.priority, "status": status, "waiver": self.waiver.as_dict()}


class HostExposure(t.NamedTuple):
    """The vulnerabilities of a host: those that are open, the most urgent first, and the number of unknown ones.

    Those that a waiver covers are in `waived` only, in the order of urgency.
    """

    evidence: KernelEvidence
    open: tuple[OpenCve, ...]
    unknown: int
    waived: tuple[WaivedCve, ...] = ()

    @property
    def overdue(self) -> int:
        """Return the number of open vulnerabilities whose deadline has passed."""
        return sum(each["overdue"] is True for each in self.open)

    def by_priority(self) -> dict[str, int]:
        """Return the number of open vulnerabilities of each priority that occurs, the most urgent first."""
        found = collections.Counter(each["priority"] or UNRATED for each in self.open)
        return {priority: found[priority] for priority in SHOWN_PRIORITIES if found[priority]}

    def as_text(self) -> str:
        """Return the counts in a few words: ``1 critical, 3 high``."""
        return ", ".join(f"{number} {priority}" for priority, number in self.by_priority().items())

    def as_cell(self) -> str:
        """Return the counts for a table. A host without open vulnerabilities has ``none`` only if none is unknown."""
        waived = f"{len(self.waived)} waived" if self.waived else ""
        unknown = "unknown" if self.unknown and not self.open else ""
        return ", ".join(filter(None, (self.as_text(), unknown, waived))) or "none"

    @property
    def waived_open(self) -> tuple[OpenCve, ...]:
        """Return the open vulnerabilities that waivers cover."""
        return tuple(each.entry for each in self.waived if each.entry is not None)


@dataclasses.dataclass(frozen=True)
class ExposureOptions:
    """The places of vulnerability data; none if vulnerabilities are not evaluated.

    `deadlines` are the days within which vulnerabilities must be closed, by priority. They count from the publication
    of the vulnerability (``published``) or of its first fix (``fixed``), or from the first report in which the
    vulnerability was open (``seen``).
    """

    data: tuple[str, ...] = ()
    cache: Path = Path("~/.cache/kernelops.livepatch")
    minimum_priority: str = "high"
    deadlines: c.Mapping[str, int] = dataclasses.field(default_factory=dict)
    openvex_author: str = DEFAULT_AUTHOR
    deadlines_from: str = "published"

    @classmethod
    def of(cls, options: c.Mapping[str, t.Any]) -> ExposureOptions:
        """Return the options of the module. Raises `LivepatchError` (``options_invalid``)."""
        data, deadlines = options["vulnerability_data"] or [], options["vulnerability_deadlines"] or {}
        if deadlines and not data:
            raise _invalid("vulnerability_deadlines needs vulnerability data", "name it with vulnerability_data")
        days, start = read_deadlines(deadlines), options["vulnerability_deadlines_from"]
        cache = expand_user(options["cache_dir"])
        return cls(tuple(data), cache, options["minimum_priority"], days, options["openvex_author"], start)


def read_deadlines(deadlines: c.Mapping[str, object]) -> dict[str, int]:
    """Return the days of each priority. Raises `LivepatchError` (``options_invalid``)."""
    days: dict[str, int] = {}
    for priority, value in deadlines.items():
        if priority not in PRIORITIES:
            hint = f"use {', '.join(reversed(PRIORITIES))}"
            raise _invalid(f"vulnerability_deadlines has {priority!r:.40}, which is not a priority", hint)
        if not _DAYS.fullmatch(str(value)) or isinstance(value, bool):
            hint = "give the deadline of each priority as a number of days, such as {critical: 7, high: 30}"
            raise _invalid(
                f"vulnerability_deadlines has {value!r:.40} for {priority}, which is not a number of days", hint
            )
        days[priority] = int(str(value))
    return days


def _invalid(message: str, remedy: str) -> LivepatchError:
    return LivepatchError("options_invalid", message, remedy)


class _Evaluated(t.NamedTuple):
    """The open and the unknown vulnerabilities of equal hosts, whatever is waived: positions in the evaluator."""

    open: dict[int, OpenCve]
    unknown: tuple[int, ...]


class HostExposures:
    """Evaluates the vulnerabilities of hosts at one time (UTC).

    With `proofs`, it also has what vulnerability scanners need. Other formats do not, and a large fleet needs memory
    for it. `first_seen` are the dates of the first reports in which vulnerabilities were open.
    """

    def __init__(
        self,
        indexes: c.Sequence[VulnerabilityIndex],
        options: ExposureOptions,
        now: datetime.datetime,
        *,
        waivers: Waivers | None = None,
        first_seen: c.Mapping[str, str] | None = None,
        proofs: bool = False,
    ) -> None:
        self.indexes = indexes
        self.options = options
        self.waivers = waivers or Waivers()
        self._proofs = proofs
        known = known_vulnerabilities(indexes)
        chosen = sorted(
            (cve for cve, details in known.items() if is_chosen(details, options.minimum_priority)),
            key=lambda cve: (_rank(known[cve]), known[cve].published or _FIRST_DAY, cve),
        )
        self._details = [known[cve] for cve in chosen]
        self._evaluator = Evaluator(indexes, chosen)
        self._today = now.date()
        self._first_seen = first_seen or {}
        self._evaluated = functools.cache(self._evaluate)
        self.accepting = functools.cache(self._accepting)
        self._about: dict[tuple[KernelEvidence, int], tuple[Waiver, ...]] = {}
        self._of_evidence: dict[tuple[KernelEvidence, int], tuple[HostExposure, bytes]] = {}
        self._entries: dict[tuple[int, tuple[t.Any, ...]], OpenCve] = {}

    def of_record(self, record: Record) -> tuple[HostExposure, bytes]:
        """Return the vulnerabilities of a host, and the section of the report's record with them."""
        evidence, waivers = kernel_evidence(record), self.waivers.of_host(record["host"])
        # Hosts with the same waivers have the same object, which is quicker to compare than its waivers.
        key = evidence, id(waivers)
        found = self._of_evidence.get(key)
        if found is None:
            about = self.waivers_about(record["host"], evidence)
            exposure = self.accepting(evidence, tuple(each for each in about if each.rule is None))
            [section] = lines_of({"vulnerabilities": _section(exposure)})
            found = self._of_evidence[key] = exposure, section
        return found

    def waivers_about(self, host: str, evidence: KernelEvidence) -> tuple[Waiver, ...]:
        """Return the waivers of a host that cover vulnerabilities which are open or unknown with this evidence."""
        waivers = self.waivers.of_host(host)
        key = evidence, id(waivers)
        found = self._about.get(key)
        if found is None:
            evaluated = self._evaluated(evidence)
            cves = {None, *(self._evaluator.cves[each] for each in (*evaluated.open, *evaluated.unknown))}
            about = (each for each in waivers if each.cve in cves and (each.rule is None or each.cve is not None))
            found = self._about[key] = tuple(about)
        return found

    def proof(self, record: Record, exposure: HostExposure) -> HostProof | None:
        """Return what a record proves to a vulnerability scanner, or None if no format needs it."""
        return host_proof(record, exposure.evidence) if self._proofs else None

    def assessed(self, record: Record, exposure: HostExposure) -> Record:
        """Return the record with the state ``exposed`` if nothing else is wrong and a vulnerability is open.

        A waiver does not close a vulnerability, so it does not change the state.
        """
        if record["assessment"]["state"] != "protected" or not (exposure.open or exposure.waived_open):
            return record
        kernel = self._evaluator.identify(exposure.evidence)
        source = kernel.source if isinstance(kernel, IdentifiedKernel) else None
        return {**record, "assessment": _exposed(record, exposure, source, self.options.minimum_priority)}

    def _accepting(self, evidence: KernelEvidence, waivers: tuple[Waiver, ...]) -> HostExposure:
        """Return the vulnerabilities of hosts, apart from those that these waivers cover. The longest are first."""
        longest: dict[str | None, Waiver] = {}
        for waiver in waivers:
            longest.setdefault(waiver.cve, waiver)
        found, cves = self._evaluated(evidence), self._evaluator.cves
        waived: dict[int, WaivedCve] = {}
        for position in (*found.open, *found.unknown) if longest else ():
            covering = [each for each in (longest.get(cves[position]), longest.get(None)) if each is not None]
            if covering:
                waiver = max(covering, key=lambda each: each.expires)
                details = self._details[position]
                waived[position] = WaivedCve(cves[position], details.priority, found.open.get(position), waiver)
        return HostExposure(
            evidence,
            tuple(entry for position, entry in found.open.items() if position not in waived),
            sum(position not in waived for position in found.unknown),
            tuple(waived[position] for position in sorted(waived)),
        )

    def _evaluate(self, evidence: KernelEvidence) -> _Evaluated:
        verdicts = list(enumerate(self._evaluator.verdicts(evidence)))
        return _Evaluated(
            {position: self._entry(position, verdict) for position, verdict in verdicts if verdict.status == "open"},
            tuple(position for position, verdict in verdicts if verdict.status == "unknown"),
        )

    def _entry(self, position: int, verdict: Verdict) -> OpenCve:
        key = position, (*verdict.key, verdict.since)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._described(position, verdict)
        return entry

    def _described(self, position: int, verdict: Verdict) -> OpenCve:
        details = self._details[position]
        published = parse_date(details.published)
        days = self.options.deadlines.get(details.priority or PRIORITIES[-1])
        start = self._start(position, verdict)
        due = None if start is None or days is None else start + datetime.timedelta(days=days)
        return OpenCve(
            cve=self._evaluator.cves[position],
            priority=details.priority,
            published=details.published,
            days_open=None if published is None else (self._today - published).days,
            fix=verdict.fix,
            fixed_in=verdict.fixed_in,
            patch=None if verdict.patch is None else str(verdict.patch),
            evidence=verdict.evidence,
            counts_from=None if start is None or days is None else start.isoformat(),
            due=None if due is None else due.isoformat(),
            overdue=None if due is None else due < self._today,
        )

    def _start(self, position: int, verdict: Verdict) -> datetime.date | None:
        """Return the day from which the deadline of a vulnerability counts; ``None`` if it has none."""
        published = parse_date(self._details[position].published)
        if self.options.deadlines_from == "seen":
            return parse_date(self._first_seen.get(self._evaluator.cves[position])) or self._today
        if self.options.deadlines_from == "fixed":
            # The fix of a vulnerability is never earlier, so a fix without a date has no later deadline.
            return None if verdict.fix == "none" else parse_date(verdict.since) or published
        return published


def _rank(details: Vulnerability) -> int:
    return SHOWN_PRIORITIES.index(details.priority or UNRATED)


def _section(exposure: HostExposure) -> dict[str, t.Any]:
    return {
        "open": exposure.by_priority(),
        "unknown": exposure.unknown,
        "overdue": exposure.overdue,
        "waived": len(exposure.waived),
        "open_cves": exposure.open[:_LISTED],
        "waived_cves": [each.as_dict() for each in exposure.waived[:_LISTED]],
    }


def _exposed(record: Record, exposure: HostExposure, source: str | None, minimum_priority: str) -> Assessment:
    assessment = record["assessment"]
    chosen = exposure.open or exposure.waived_open
    number = len(chosen)
    subject = "1 vulnerability" if number == 1 else f"{number} vulnerabilities"
    found = f"{subject} of priority {minimum_priority} or higher {'is' if number == 1 else 'are'} open"
    published = f"published {chosen[0]['published']}" if chosen[0]["published"] else "without a date"
    named = f"the most urgent is {chosen[0]['cve']} ({chosen[0]['priority'] or 'no priority'}, {published})"
    remedy = _remedy(record, chosen, exposure.evidence, source)
    if exposure.open:
        waived = len(exposure.waived_open)
        more = f"; {waived} more {'is' if waived == 1 else 'are'} waived" if waived else ""
        reason = Reason(id="vulnerability_open", message=f"{found}; {named}{more}", remedy=remedy)
    else:
        waiver = next(each.waiver for each in exposure.waived if each.entry is chosen[0])
        until = f"waived until {waiver.expires.isoformat()} by {waiver.owner}"
        message = f"{found} and waived; {named}, {until}"
        reason = Reason(id="vulnerability_waived", message=message, remedy=remedy)
    everything = (*exposure.open, *exposure.waived_open)
    return {
        **assessment,
        "state": "exposed",
        "reasons": [reason, *assessment["reasons"]],
        "reboot_needed": any(each["fix"] in _REBOOTING for each in everything),
    }


def _remedy(record: Record, found: c.Sequence[OpenCve], evidence: KernelEvidence, source: str | None) -> str | None:
    """Return the step for the most urgent vulnerability that has a fix, or for the first one if none has."""
    chosen = next((each for each in found if each["fix"] != "none"), found[0])
    patch = None if chosen["patch"] is None else int(chosen["patch"])
    verdict = Verdict("open", chosen["fix"], chosen["fixed_in"], patch, chosen["evidence"])
    policy = record["eligibility"]["policy"]
    return next_step(verdict, source, enabled=evidence.enabled, only=limit(record["host"]), policy=policy)
