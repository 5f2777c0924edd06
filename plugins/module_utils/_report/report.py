# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report: what the newest records of a fleet say together, before any format.

Documents come in as they were read, in any order and from several folders; `assemble` keeps the newest
of every host. Nothing is concluded here: a host's state is the one in its record, and a host without a
usable newest record is ``unreachable``.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

from .._record import STATES, Reason, Record, State
from .spool import Spool
from .text import visible

ATTEMPT_SCHEMA = "kernelops.livepatch/attempt/1"

URGENCY: tuple[State, ...] = (*(state for state in STATES if state != "protected"), "protected")
"""The states in the order in which they are shown: what needs a person first, what is well last."""

_RANK = {state: rank for rank, state in enumerate(URGENCY)}


class Recorded(t.NamedTuple):
    """A record, and the same as one line of JSON in pure ASCII, without its line end."""

    record: Record
    line: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """A host gave no answer at `attempted_at` (RFC 3339, UTC)."""

    host: str
    attempted_at: str
    reasons: list[Reason]


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something in the folders that could not be used. `host` is the host that it would have told of, if known."""

    id: str
    path: str
    message: str
    host: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return dataclasses.asdict(self)


Document: t.TypeAlias = "Recorded | Attempt | Problem"


@dataclasses.dataclass(frozen=True, slots=True)
class LastRecord:
    """When, and in which state, a host that is now unreachable was last seen."""

    collected_at: str
    state: State

    def as_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class HostLine:
    """One host of the report. `document` is its JSON text in the spool; an unreachable host has none."""

    host: str
    state: State
    collected_at: str | None = None
    attempted_at: str | None = None
    kernel: str | None = None
    patch: str | None = None
    client: str | None = None
    support: str | None = None
    upgrade_required_by: str | None = None
    reasons: list[Reason] = dataclasses.field(default_factory=list)
    last_record: LastRecord | None = None
    document: int | None = None

    @property
    def message(self) -> str | None:
        """Why the host is in its state."""
        return self.reasons[0]["message"] if self.reasons else None

    @property
    def last_seen(self) -> str | None:
        """When, and as what, a host was last seen that is unreachable now."""
        return f"last seen {self.last_record.collected_at}, {self.last_record.state}" if self.last_record else None

    @property
    def next_step(self) -> str | None:
        """What to do, if anything."""
        return self.reasons[0]["remedy"] if self.reasons else None


@dataclasses.dataclass(frozen=True)
class Report:
    """A fleet at one time. `lines` are sorted by urgency, then by host (numbers by their value).

    `left_out` counts hosts that have records but were not asked for.
    """

    generated_at: str
    lines: list[HostLine]
    problems: list[Problem]
    left_out: int
    spool: Spool

    def states(self) -> dict[State, int]:
        """Hosts per state, every state, in the order of the record's schema."""
        counts = collections.Counter(line.state for line in self.lines)
        return {state: counts[state] for state in STATES}

    def hosts_by_state(self) -> dict[str, list[str]]:
        """Names of hosts per state, every state, in the order of the record's schema."""
        hosts: dict[str, list[str]] = {state: [] for state in STATES}
        for line in self.lines:
            hosts[line.state].append(line.host)
        return hosts

    def summary(self) -> dict[str, t.Any]:
        """Count the hosts, as plain data that is safe to show. Only reachable hosts have times, kernels and patches."""
        seen = [line for line in self.lines if line.collected_at is not None]
        times = [line.collected_at for line in seen if line.collected_at is not None]
        return {
            "hosts": len(self.lines),
            "states": self.states(),
            "kernels": _tally("kernel", (line.kernel for line in seen)),
            "patch_versions": _tally("version", (line.patch for line in seen)),
            "oldest_record": min(times, key=_moment, default=None),
            "newest_record": max(times, key=_moment, default=None),
            "left_out": self.left_out,
        }


def assemble(documents: t.Iterable[Document], hosts: t.Sequence[str] | None, generated_at: str, spool: Spool) -> Report:
    """Make the report of these hosts, or of every host that the documents know.

    The newest record of a host wins, and a failed attempt that is newer than it makes the host unreachable.
    `generated_at` is RFC 3339 in UTC.
    """
    recorded: dict[str, HostLine] = {}
    attempts: dict[str, Attempt] = {}
    problems: list[Problem] = []
    for document in documents:
        if isinstance(document, Problem):
            problems.append(document)
        elif isinstance(document, Attempt):
            known = attempts.get(document.host)
            if known is None or _moment(document.attempted_at) > _moment(known.attempted_at):
                attempts[document.host] = document
        else:
            record, text = document
            previous = recorded.get(record["host"])
            if previous is None or _moment(record["collected_at"]) > _moment(previous.collected_at):
                recorded[record["host"]] = _line(record, spool.append(text))
    unusable = {problem.host: problem for problem in reversed(problems) if problem.host is not None}
    known_hosts = {**recorded, **attempts, **unusable}
    asked_for = dict.fromkeys(hosts if hosts is not None else known_hosts)
    lines = [_judged(host, recorded.get(host), attempts.get(host), unusable.get(host)) for host in asked_for]
    lines.sort(key=lambda line: (_RANK[line.state], _natural(line.host), line.host))
    left_out = sum(host not in asked_for for host in known_hosts)
    return Report(generated_at, lines, problems, left_out, spool)


def _line(record: Record, place: int) -> HostLine:
    kernel = record["system"]["kernel"]
    return HostLine(
        host=record["host"],
        state=record["assessment"]["state"],
        collected_at=record["collected_at"],
        kernel=kernel["full"] or kernel["release"],
        patch=record["patch"]["version"],
        client=record["client"]["version"],
        support=record["patch"]["support"],
        upgrade_required_by=record["patch"]["upgrade_required_by"],
        reasons=record["assessment"]["reasons"][:1],
        document=place,
    )


def _judged(host: str, line: HostLine | None, attempt: Attempt | None, unusable: Problem | None) -> HostLine:
    # Storing a record removes the note of an attempt before it: of two within one second, the note is the later.
    if line is not None and (attempt is None or _moment(line.collected_at) > _moment(attempt.attempted_at)):
        return line
    if attempt is not None:
        reasons = attempt.reasons or [_reason("no_answer", "the host gave no answer", "check that it runs")]
    elif unusable is not None:
        reasons = [
            _reason("record_unusable", f"its record cannot be used: {unusable.message}", "run the check playbook on it")
        ]
    else:
        reasons = [_reason("no_record", "there is no record of this host", "run the check playbook on it")]
    return HostLine(
        host=host,
        state="unreachable",
        attempted_at=attempt.attempted_at if attempt else None,
        reasons=reasons,
        last_record=LastRecord(line.collected_at, line.state) if line and line.collected_at else None,
    )


def _reason(identifier: str, message: str, remedy: str) -> Reason:
    return {"id": identifier, "message": message, "remedy": remedy}


def _moment(time: str | None) -> str:
    # Without the Z, RFC 3339 times in UTC sort as text, with and without fractions of a second.
    return (time or "").removesuffix("Z")


def _natural(host: str) -> str:
    return re.sub(r"[0-9]+", lambda digits: digits[0].zfill(20), host)


def _tally(name: str, values: t.Iterable[str | None]) -> list[dict[str, t.Any]]:
    counts = collections.Counter(visible(value) if value else None for value in values)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
    return [{name: value, "hosts": count} for value, count in ordered]
