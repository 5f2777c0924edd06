# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Waivers: findings that an owner accepts until a date, with a reason.

A waiver names a host or a group of the inventory, and a vulnerability or a rule, or only some of them: it covers each
finding for which all of these match. It never changes the state of a host. A waiver covers findings until the end of
the day on which it expires (UTC), and none afterwards.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import functools
import re
import typing as t
from pathlib import Path

from .._config_file import Location, mapping, nearest, read_yaml, text
from .._errors import LivepatchError
from .._io import read_bounded
from .._text import visible
from .._time import parse_date

SELECTORS = ("host", "group", "cve", "rule")
"""The keys that select findings. An entry needs at least one."""

WARNING_DAYS = 14
"""Days before the end of a waiver on which reports begin to warn."""

LONGEST_DAYS = 731
"""A waiver may not expire later than this many days from now, so that its owner decides again within two years."""

_FILE_LIMIT = 1 << 20
_ENTRY_LIMIT = 2000
_TEXT_LIMIT = 500
_NAMED = 5
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")

WaiverStatus = t.Literal["active", "expiring", "expired"]
WAIVER_STATUSES: tuple[WaiverStatus, ...] = t.get_args(WaiverStatus)


class WaiverError(LivepatchError):
    """The waivers cannot be used. `reason` names the file, the line and the key."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "waivers_unusable",
            f"the waivers cannot be used: {reason}",
            "correct the file: each entry needs reason, owner, expires (a date such as 2026-12-31), and host, group, "
            "cve or rule",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Waiver:
    """One entry of the file. `expires` is the last day on which it covers findings."""

    reason: str
    owner: str
    expires: datetime.date
    host: str | None = None
    group: str | None = None
    cve: str | None = None
    rule: str | None = None

    @property
    def scope(self) -> str:
        """Return what the waiver covers: ``cve CVE-2024-1086, group db``."""
        found = ((name, getattr(self, name)) for name in ("rule", "cve", "host", "group"))
        return ", ".join(f"{name} {value}" for name, value in found if value is not None)

    @property
    def justification(self) -> str:
        """Return reason, owner and date in one sentence, as formats for other tools show them."""
        return f"Waived until {self.expires.isoformat()} by {self.owner}: {self.reason}"

    def status(self, today: datetime.date) -> WaiverStatus:
        """Return whether the waiver covers findings, still covers them for a short time, or does not any more."""
        left = (self.expires - today).days
        return "expired" if left < 0 else "expiring" if left <= WARNING_DAYS else "active"

    def covers(self, rule: str | None, cve: str | None) -> bool:
        """Return True for a finding of this rule or about this vulnerability, on a host that the waiver selects."""
        return self.rule in (None, rule) and self.cve in (None, cve)

    def as_dict(self) -> dict[str, str | None]:
        """Return the entry as plain data."""
        selected = {name: getattr(self, name) for name in SELECTORS}
        return {**selected, "reason": self.reason, "owner": self.owner, "expires": self.expires.isoformat()}


class WaivedFinding(t.NamedTuple):
    """A broken rule that a waiver covers."""

    rule: str
    message: str
    waiver: Waiver

    @property
    def follows(self) -> bool:
        """Return True if the waiver covers a vulnerability, and the rule is not broken for that reason only."""
        return self.waiver.rule is None and self.waiver.cve not in (None, self.rule)


class Waivers:
    """The waivers of a fleet on a day. `groups` has the hosts of each group of the inventory."""

    def __init__(
        self,
        entries: c.Sequence[Waiver] = (),
        today: datetime.date = datetime.date.min,
        groups: c.Mapping[str, c.Iterable[str]] | None = None,
    ) -> None:
        self.entries = tuple(entries)
        self.today = today
        self.unknown_groups = sorted({each.group for each in entries if each.group} - (groups or {}).keys())
        self._active = [each for each in entries if each.status(today) != "expired"]
        named = {each.group for each in self._active if each.group is not None}
        self._members = {name: frozenset((groups or {}).get(name, ())) for name in named}
        self._everywhere = tuple(each for each in self._active if each.host is None and each.group is None)
        self._by_group = [each for each in self._active if each.host is None and each.group is not None]
        self._shared: dict[tuple[int, ...], tuple[Waiver, ...]] = {}
        self._by_host: dict[str | None, list[Waiver]] = {}
        for each in self._active:
            if each.host is not None:
                self._by_host.setdefault(each.host, []).append(each)
        self._of_host = functools.lru_cache(maxsize=None)(self._select)

    def with_status(self, status: WaiverStatus) -> list[Waiver]:
        """Return the waivers with this status, those that expire first at the beginning."""
        found = (each for each in self.entries if each.status(self.today) == status)
        return sorted(found, key=lambda each: each.expires)

    def of_host(self, host: str | None) -> tuple[Waiver, ...]:
        """Return the waivers that can cover findings of a host; ``None`` stands for the fleet as a whole."""
        return self._of_host(host) if self._active else ()

    def find(self, host: str | None, *, rule: str | None = None, cve: str | None = None) -> Waiver | None:
        """Return the waiver that covers a finding, if there is one. A rule with the number of a CVE is about it."""
        about = rule if cve is None and rule is not None and _CVE.fullmatch(rule) else cve
        return next((each for each in self.of_host(host) if each.covers(rule, about)), None)

    def to_renew(self) -> c.Iterator[str]:
        """Yield sentences about the waivers that expire soon, and about those that have expired."""
        expiring, expired = self.with_status("expiring"), self.with_status("expired")
        if expiring:
            yield f"Waivers that expire within {WARNING_DAYS} days: {_named(expiring)}."
        if expired:
            yield f"Expired waivers, whose findings count again: {_named(expired)}."

    def warnings(self) -> c.Iterator[str]:
        """Yield sentences about waivers that need attention."""
        yield from self.to_renew()
        if self.unknown_groups:
            named = visible(", ".join(self.unknown_groups[:_NAMED]))
            more = f" and {len(self.unknown_groups) - _NAMED} more" if self.unknown_groups[_NAMED:] else ""
            yield f"Waivers name groups that the inventory does not have, and cover no host there: {named}{more}."

    def _select(self, host: str | None) -> tuple[Waiver, ...]:
        own = [
            each
            for each in (*self._by_host.get(host, ()), *self._by_group)
            if each.host in (None, host) and (each.group is None or host in self._members[each.group])
        ]
        # Hosts with the same waivers share one object.
        key = tuple(map(id, own))
        if key not in self._shared:
            # Of several waivers that cover a finding, the one that lasts longest counts.
            every = sorted((*self._everywhere, *own), key=lambda each: each.expires, reverse=True)
            self._shared[key] = tuple(every)
        return self._shared[key]


def _named(waivers: list[Waiver]) -> str:
    more = f" and {len(waivers) - _NAMED} more" if waivers[_NAMED:] else ""
    named = (f"{each.scope} ({each.expires.isoformat()}, {each.owner})" for each in waivers[:_NAMED])
    return f"{visible('; '.join(named))}{more}"


def load_waivers(
    path: Path,
    today: datetime.date,
    *,
    groups: c.Mapping[str, c.Iterable[str]] | None = None,
    rules: c.Collection[str] | None = None,
) -> Waivers:
    """Read a file of waivers. Raises `WaiverError`.

    Without `rules`, the names of rules are not checked.
    """
    try:
        content = read_bounded(str(path), _FILE_LIMIT).decode("utf-8")
    except OSError as error:
        raise WaiverError(f"{path}: the file cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise WaiverError(f"{path}: the file is not UTF-8") from error
    document, lines = read_yaml(content, str(path), WaiverError)
    place = Location(str(path), "", lines, WaiverError)
    if document is not None and not isinstance(document, list):
        raise place.error(f"expected a list of waivers, found {type(document).__name__}")
    entries = document or []
    if len(entries) > _ENTRY_LIMIT:
        raise place.error(f"there are {len(entries)} waivers, and {_ENTRY_LIMIT} are possible")
    found = [_waiver(entry, place.below(f"[{index}]"), today, rules) for index, entry in enumerate(entries)]
    return Waivers(found, today, groups)


def _waiver(entry: object, place: Location, today: datetime.date, rules: c.Collection[str] | None) -> Waiver:
    keys = mapping(entry, place, required=("reason", "owner", "expires"), optional=SELECTORS)
    if not any(name in keys for name in SELECTORS):
        raise place.error(f"one of {', '.join(SELECTORS)} is missing: a waiver must name what it covers")

    def given(name: str) -> str | None:
        if name in keys and keys[name] is None:
            raise place.below(name).error("the key has no value, so the waiver would cover more than it names")
        return _short(keys[name], place.below(name)) if name in keys else None

    cve, rule = given("cve"), given("rule")
    if cve is not None and not _CVE.fullmatch(cve.upper()):
        raise place.below("cve").error(f"expected a CVE such as CVE-2024-1086, found {cve!r:.80}")
    if rule is not None and rules is not None and rule not in rules:
        raise place.below("rule").error(f"there is no rule {rule!r:.80}; {nearest(rule, rules, 'rules')}")
    return Waiver(
        reason=_short(keys["reason"], place.below("reason")),
        owner=_short(keys["owner"], place.below("owner")),
        expires=_date(keys["expires"], place.below("expires"), today),
        host=given("host"),
        group=given("group"),
        cve=None if cve is None else cve.upper(),
        rule=rule,
    )


def _short(value: object, place: Location) -> str:
    found = text(value, place).strip()
    if len(found) > _TEXT_LIMIT:
        raise place.error(f"the text has {len(found)} characters, and {_TEXT_LIMIT} are possible")
    return found


def _date(value: object, place: Location, today: datetime.date) -> datetime.date:
    day = parse_date(value)
    if day is None:
        raise place.error(f"expected a date such as 2026-12-31, found {value!r:.80}")
    if (day - today).days > LONGEST_DAYS:
        raise place.error(f"{day.isoformat()} is more than {LONGEST_DAYS} days ahead: use an earlier date")
    return day
