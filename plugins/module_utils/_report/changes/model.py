# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Types of a comparison of two reports: the data of the earlier one, and the changes. All lists are bounded."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from ..summary.protection import Protection

MOST = 1000
"""Entries that a list of changes keeps. Its number is always that of all."""


class HostCondition(t.NamedTuple):
    """The data of a host: its state or ``outdated``, its kernel, its patch, and the policy of its check."""

    condition: str
    kernel: str | None
    patch: str | None
    policy: str | None


class RuleStatus(t.NamedTuple):
    """The data of a rule: a digest of its definition, and the numbers of its findings."""

    digest: str
    findings: int
    waived: int


class Vulnerabilities(t.NamedTuple):
    """The vulnerabilities that were open on a host, each with its priority and the number of hosts."""

    minimum_priority: str
    open: c.Mapping[str, tuple[str | None, int]]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The data of a report for the comparison with the next one.

    `records` is a digest of the times of all records and attempts: two reports of the same records have the same.
    `collection` is the version of the collection. `vulnerabilities` is None for a report without vulnerability data.
    """

    generated_at: str
    records: str
    collection: str
    protection: Protection
    hosts: c.Mapping[str, HostCondition]
    rules: c.Mapping[str, RuleStatus]
    vulnerabilities: Vulnerabilities | None

    def is_same(self, other: Snapshot) -> bool:
        """Return True for a report of the same records with the same results, made at any time."""
        return dataclasses.replace(self, generated_at=other.generated_at) == other


class HostChange(t.NamedTuple):
    """A host whose state changed. `before` is None for a new host, `now` for one that is gone."""

    host: str
    before: str | None
    now: str | None
    reason: str | None = None


class ValueChange(t.NamedTuple):
    """A kernel or a patch that hosts had before, the one that they have now, and their number."""

    before: str | None
    now: str | None
    hosts: int


class RuleChange(t.NamedTuple):
    """A rule that fails or passes since the earlier report, with its numbers of findings."""

    rule: str
    severity: str
    before: int
    now: int
    waived: int


class CveChange(t.NamedTuple):
    """A vulnerability that is open or not since the earlier report, and the number of hosts where it is or was open.

    `unknown` is the number of hosts for which its status is unknown.
    """

    cve: str
    priority: str | None
    hosts: int
    unknown: int = 0


_Entry = t.TypeVar("_Entry")


class Listed(t.Generic[_Entry]):
    """The number of entries, and the first of them."""

    def __init__(self, entries: c.Iterable[_Entry] = ()) -> None:
        found = list(entries)
        self.number = len(found)
        self.first = found[:MOST]

    def __bool__(self) -> bool:
        return self.number > 0


@dataclasses.dataclass(frozen=True)
class Changes:
    """The changes since an earlier report of the same hosts.

    `unprotected` are hosts that were protected and are not, `protected` the reverse, and `others` changed between other
    states. `judged_anew` changed their state and are evaluated by another policy. `notes` say what is not comparable.
    `repeated` is true if the last report had the same records and results: the comparison is the one of that report.
    """

    since: str
    before: Protection
    now: Protection
    unprotected: Listed[HostChange]
    protected: Listed[HostChange]
    others: Listed[HostChange]
    judged_anew: Listed[HostChange]
    new: Listed[HostChange]
    gone: Listed[HostChange]
    kernels: Listed[ValueChange]
    patches: Listed[ValueChange]
    failing: Listed[RuleChange]
    passing: Listed[RuleChange]
    opened: Listed[CveChange]
    closed: Listed[CveChange]
    undecided: Listed[CveChange]
    notes: tuple[str, ...] = ()
    repeated: bool = False

    def lists(self) -> dict[str, Listed[t.Any]]:
        """Return all lists by their names."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Listed)}

    def __bool__(self) -> bool:
        """Return True if anything changed."""
        return any(self.lists().values())

    @property
    def worse(self) -> bool:
        """Return True if a host lost its protection, a rule fails, or a vulnerability is open that was not."""
        return bool(self.unprotected or self.failing or self.opened)

    def as_dict(self, most: int = MOST) -> dict[str, t.Any]:
        """Return plain data, with at most `most` entries of each list."""
        lists = {
            name: {"number": each.number, "first": [entry._asdict() for entry in each.first[:most]]}
            for name, each in self.lists().items()
        }
        shares = {"before": self.before._asdict(), "now": self.now._asdict()}
        return {"since": self.since, **shares, **lists, "notes": list(self.notes)}
