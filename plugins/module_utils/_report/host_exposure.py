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
import re
import typing as t
from pathlib import Path

from .._errors import LivepatchError
from .._fleet.rules import OpenCve
from .._record import Assessment, Reason, Record
from .._records.spool import as_line
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
    "cache_dir": {"type": "path", "default": "~/.cache/kernelops.livepatch"},
    "openvex_author": {"type": "str", "default": DEFAULT_AUTHOR},
}
"""Options of the module from which `ExposureOptions` are made."""

_LISTED = 100
_DAYS = re.compile(r"[0-9]{1,4}")
_FIRST_DAY = "0000"  # a vulnerability without a date comes first
_REBOOTING = ("reboot", "kernel")


class HostExposure(t.NamedTuple):
    """The vulnerabilities of a host: those that are open, the most urgent first, and the number of unknown ones."""

    evidence: KernelEvidence
    open: tuple[OpenCve, ...]
    unknown: int

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
        return self.as_text() or ("unknown" if self.unknown else "none")


@dataclasses.dataclass(frozen=True)
class ExposureOptions:
    """The places of vulnerability data; none if vulnerabilities are not evaluated.

    `deadlines` are the days after their publication within which vulnerabilities must be closed, by priority.
    """

    data: tuple[str, ...] = ()
    cache: Path = Path("~/.cache/kernelops.livepatch")
    minimum_priority: str = "high"
    deadlines: c.Mapping[str, int] = dataclasses.field(default_factory=dict)
    openvex_author: str = DEFAULT_AUTHOR

    @classmethod
    def of(cls, options: c.Mapping[str, t.Any]) -> ExposureOptions:
        """Return the options of the module. Raises `LivepatchError` (``options_invalid``)."""
        data, deadlines = options["vulnerability_data"] or [], options["vulnerability_deadlines"] or {}
        if deadlines and not data:
            raise _invalid("vulnerability_deadlines needs vulnerability data", "name it with vulnerability_data")
        days: dict[str, int] = {}
        for priority, value in deadlines.items():
            if priority not in PRIORITIES:
                hint = f"use {', '.join(reversed(PRIORITIES))}"
                raise _invalid(f"vulnerability_deadlines has the priority {priority!r:.40}", hint)
            if not _DAYS.fullmatch(str(value)) or isinstance(value, bool):
                hint = "give the deadline of each priority as a number of days, such as {critical: 7, high: 30}"
                raise _invalid(f"vulnerability_deadlines has {value!r:.40} for {priority}", hint)
            days[priority] = int(value)
        cache = Path(options["cache_dir"]).expanduser()
        return cls(tuple(data), cache, options["minimum_priority"], days, options["openvex_author"])


def _invalid(message: str, remedy: str) -> LivepatchError:
    return LivepatchError("options_invalid", message, remedy)


class HostExposures:
    """Evaluates the vulnerabilities of hosts at one time (UTC).

    With `proofs`, it also has what vulnerability scanners need. Other formats do not, and a large fleet needs memory
    for it.
    """

    def __init__(
        self,
        indexes: c.Sequence[VulnerabilityIndex],
        options: ExposureOptions,
        now: datetime.datetime,
        *,
        proofs: bool = False,
    ) -> None:
        self.indexes = indexes
        self.options = options
        self._proofs = proofs
        known = known_vulnerabilities(indexes)
        chosen = sorted(
            (cve for cve, details in known.items() if is_chosen(details, options.minimum_priority)),
            key=lambda cve: (_rank(known[cve]), known[cve].published or _FIRST_DAY, cve),
        )
        self._details = [known[cve] for cve in chosen]
        self._evaluator = Evaluator(indexes, chosen)
        self._today = now.date()
        self._of_evidence: dict[KernelEvidence, tuple[HostExposure, bytes]] = {}
        self._entries: dict[tuple[int, tuple[t.Any, ...]], OpenCve] = {}

    def of_record(self, record: Record) -> tuple[HostExposure, bytes]:
        """Return the vulnerabilities of a host, and the section of the report's record with them."""
        evidence = kernel_evidence(record)
        found = self._of_evidence.get(evidence)
        if found is None:
            found = self._of_evidence[evidence] = self._evaluate(evidence)
        return found

    def proof(self, record: Record, exposure: HostExposure) -> HostProof | None:
        """Return what a record proves to a vulnerability scanner, or None if no format needs it."""
        return host_proof(record, exposure.evidence) if self._proofs else None

    def assessed(self, record: Record, exposure: HostExposure) -> Record:
        """Return the record with the state ``exposed`` if nothing else is wrong and a vulnerability is open."""
        if record["assessment"]["state"] != "protected" or not exposure.open:
            return record
        kernel = self._evaluator.identify(exposure.evidence)
        source = kernel.source if isinstance(kernel, IdentifiedKernel) else None
        return {**record, "assessment": _exposed(record, exposure, source, self.options.minimum_priority)}

    def _evaluate(self, evidence: KernelEvidence) -> tuple[HostExposure, bytes]:
        found: list[OpenCve] = []
        unknown = 0
        for position, verdict in enumerate(self._evaluator.verdicts(evidence)):
            if verdict.status == "open":
                found.append(self._entry(position, verdict))
            elif verdict.status == "unknown":
                unknown += 1
        exposure = HostExposure(evidence, tuple(found), unknown)
        return exposure, f'"vulnerabilities": {as_line(_section(exposure))}'.encode("ascii")

    def _entry(self, position: int, verdict: Verdict) -> OpenCve:
        key = position, verdict.key
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._described(position, verdict)
        return entry

    def _described(self, position: int, verdict: Verdict) -> OpenCve:
        details = self._details[position]
        published = parse_date(details.published)
        days = self.options.deadlines.get(details.priority or PRIORITIES[-1])
        due = None if published is None or days is None else published + datetime.timedelta(days=days)
        return OpenCve(
            cve=self._evaluator.cves[position],
            priority=details.priority,
            published=details.published,
            days_open=None if published is None else (self._today - published).days,
            fix=verdict.fix,
            fixed_in=verdict.fixed_in,
            patch=None if verdict.patch is None else str(verdict.patch),
            evidence=verdict.evidence,
            due=None if due is None else due.isoformat(),
            overdue=None if due is None else due < self._today,
        )


def _rank(details: Vulnerability) -> int:
    return SHOWN_PRIORITIES.index(details.priority or UNRATED)


def _section(exposure: HostExposure) -> dict[str, t.Any]:
    return {
        "open": exposure.by_priority(),
        "unknown": exposure.unknown,
        "overdue": exposure.overdue,
        "open_cves": exposure.open[:_LISTED],
    }


def _exposed(record: Record, exposure: HostExposure, source: str | None, minimum_priority: str) -> Assessment:
    assessment = record["assessment"]
    first, number = exposure.open[0], len(exposure.open)
    published = f"published {first['published']}" if first["published"] else "without a date"
    named = f"{first['cve']} ({first['priority'] or 'no priority'}, {published})"
    subject = "1 vulnerability" if number == 1 else f"{number} vulnerabilities"
    reason = Reason(
        id="vulnerability_open",
        message=f"{subject} of priority {minimum_priority} or higher {'is' if number == 1 else 'are'} open; the most "
        f"urgent is {named}",
        remedy=_remedy(record["host"], exposure, source),
    )
    return {
        **assessment,
        "state": "exposed",
        "reasons": [reason, *assessment["reasons"]],
        "reboot_needed": any(each["fix"] in _REBOOTING for each in exposure.open),
    }


def _remedy(host: str, exposure: HostExposure, source: str | None) -> str | None:
    """Return the step for the most urgent vulnerability that has a fix, or for the first one if none has."""
    chosen = next((each for each in exposure.open if each["fix"] != "none"), exposure.open[0])
    patch = None if chosen["patch"] is None else int(chosen["patch"])
    verdict = Verdict("open", chosen["fix"], chosen["fixed_in"], patch, chosen["evidence"])
    return next_step(verdict, source, enabled=exposure.evidence.enabled, host=host)
