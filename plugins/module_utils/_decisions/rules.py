# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Rules: what must not be true of a host, or of the fleet, as JMESPath expressions over plain data.

A rule is broken where its expression gives something that JMESPath takes for true: anything but ``null``, ``false``
and what is empty. An expression that cannot be held against a host's data breaks its rule too, for what cannot be
known never passes.

The expression of a rule for hosts sees the record, and beside it the facts of `RuleFacts`. Of a host that is
unreachable there are ``host`` and ``assessment`` only. A rule for the fleet sees `FleetFacts`, once;
where its expression gives hosts (``{host, found}`` each) it is broken by each of them, else by the fleet as a whole.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import functools
import math
import re
import typing as t

from .._config_file import Location, choice, mapping, nearest, text
from .._errors import LivepatchError, require
from .._record import STATES, Record, State
from .._time import parse_date, parse_time
from .expression import MISSING, Expression, ExpressionError, is_true

Severity = t.Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = t.get_args(Severity)
Scope = t.Literal["host", "fleet"]

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_REMEMBERED = 4096  # answers: hosts of a fleet are few kinds, and a hostile fleet must not fill the memory
_UNKNOWN = "an unknown number of"


class RuleError(LivepatchError):
    """A rule cannot be used. `reason` names the rule, the expression and the place in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "rules_unusable",
            f"the rules cannot be used: {reason}",
            "correct the rule, or name a file of rules on the controller or the rules of the collection (default)",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `message` says what is wrong where it is broken, and may hold facts as ``{days_until_upgrade}``."""

    id: str
    severity: Severity
    scope: Scope
    expression: str
    message: str
    remedy: str | None

    @property
    def of_fleet(self) -> bool:
        """Return True if the rule is evaluated for the fleet as a whole, not for each host."""
        return self.scope == "fleet"

    @property
    def description(self) -> str:
        """Return the message without the facts of a host: each placeholder becomes an ellipsis."""
        return _PLACEHOLDER.sub("…", self.message)


class RuleFacts(t.NamedTuple):
    """What an expression sees of a host beside its record.

    Hours are whole ones, rounded up, and negative where the host's clock is ahead. Days are those from today, UTC.
    ``None`` where the time is not known.
    """

    state: State
    hours_since_record: int | None
    hours_since_check: int | None
    days_until_upgrade: int | None


class Clone(t.TypedDict):
    """A host that has the machine identity of others; `found` names them."""

    host: str
    found: str


class FleetFacts(t.TypedDict):
    """What an expression sees of a fleet. `enabled` counts the hosts whose client is enabled, as last seen."""

    hosts: int
    states: dict[str, int]
    enabled: int
    seats: int | None
    clones: list[Clone]


class Finding(t.NamedTuple):
    """A rule, by its id, is broken, and what is wrong."""

    rule: str
    message: str


def host_facts(record: Record, now: datetime.datetime) -> RuleFacts:
    """Reckon from the times of a record, at this time (UTC)."""
    return RuleFacts(
        state=record["assessment"]["state"],
        hours_since_record=_hours_since(record["collected_at"], now),
        hours_since_check=_hours_since(record["client"]["last_check"], now),
        days_until_upgrade=_days_until(record["patch"]["upgrade_required_by"], now),
    )


def facts_of_unreachable(document: c.Mapping[str, t.Any], now: datetime.datetime) -> RuleFacts:
    """The same of a host that is unreachable, of which only the age of its last record may be known."""
    last = document["last_record"]
    return RuleFacts("unreachable", _hours_since(last and last["collected_at"], now), None, None)


def rules_from_list(document: object, source: str, lines: c.Mapping[str, int] | None = None) -> list[Rule]:
    """Read rules from plain data: a list of mappings.

    `source` is its name in messages, `lines` has the line of each value by its path where it was read from a file.
    Raises `RuleError`.
    """
    place = Location(source, "", lines or {}, RuleError)
    if not isinstance(document, list):
        raise place.error(f"expected a list of rules, found {type(document).__name__}")
    rules: dict[str, Rule] = {}
    for index, entry in enumerate(document):
        rule = _rule(entry, place.below(f"[{index}]"))
        if rule.id in rules:
            raise place.below(f"[{index}]").below("id").error(f"there is a rule {rule.id} above already")
        rules[rule.id] = rule
    return list(rules.values())


def rule_of_closed_cve(cve: str) -> Rule:
    """The rule that a vulnerability is closed on every host; its id is that of the vulnerability."""
    if not _CVE.fullmatch(cve):
        raise RuleError(f"expected the number of a vulnerability such as CVE-2024-1086, found {cve!r:.80}")
    return Rule(
        id=cve,
        severity="error",
        scope="host",
        expression=f"!(patch.fixes[?cve == '{cve}' && patched])",
        message=f"nothing shows that a live patch closes {cve} here",
        remedy="bring the newest patch to the host, or boot a kernel that has the fix",
    )


class RuleSet:
    """Rules that are ready to be held against many hosts. Raises `RuleError` for an expression that is wrong."""

    def __init__(self, rules: c.Sequence[Rule]) -> None:
        if rules and MISSING is not None:
            require("jmespath", "a report with rules")
        self.rules = tuple(rules)
        compiled = [_Compiled(rule) for rule in rules]
        self._of_fleet = [rule for rule in compiled if rule.rule.scope == "fleet"]
        of_hosts = [rule for rule in compiled if rule.rule.scope == "host"]
        # What the facts alone decide is decided once for all hosts that are alike; the rest looks into each record.
        self._of_facts = [rule for rule in of_hosts if rule.fields <= set(RuleFacts._fields)]
        self._of_records = [rule for rule in of_hosts if not rule.fields <= set(RuleFacts._fields)]
        self._decided = functools.lru_cache(_REMEMBERED)(self._decide)

    def broken_by_host(self, document: c.Mapping[str, t.Any], facts: RuleFacts) -> tuple[Finding, ...]:
        """Hold the rules for hosts against a host: its record, or what is known of one that is unreachable."""
        broken = self._decided(facts)
        if self._of_records:
            seen = {**document, **facts._asdict()}
            broken += tuple(broken for rule in self._of_records for broken in rule.broken_by_host(seen, facts))
        return broken

    def broken_by_fleet(self, facts: FleetFacts) -> list[tuple[str | None, Finding]]:
        """Hold the rules for the fleet against it. Each comes with the host that breaks it, ``None`` for the fleet."""
        return [broken for rule in self._of_fleet for broken in rule.broken_by_fleet(facts)]

    def _decide(self, facts: RuleFacts) -> tuple[Finding, ...]:
        seen = facts._asdict()
        return tuple(broken for rule in self._of_facts for broken in rule.broken_by_host(seen, facts))


class _Compiled:
    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        try:
            self._expression = Expression(rule.expression, _SCOPES[rule.scope])
        except ExpressionError as error:
            raise RuleError(f"rule {rule.id}: {error}") from error
        self.fields = self._expression.first_names

    def broken_by_host(self, document: object, facts: RuleFacts) -> c.Iterator[Finding]:
        answer, unfit = self._expression.answer(document)
        if unfit is not None or is_true(answer):
            yield self._broken(facts._asdict(), unfit)

    def broken_by_fleet(self, facts: FleetFacts) -> c.Iterator[tuple[str | None, Finding]]:
        answer, unfit = self._expression.answer(facts)
        if unfit is None and not is_true(answer):
            return
        broken = self._broken(facts, unfit)
        if not isinstance(answer, list) or not all(map(_names_a_host, answer)):
            yield None, broken
            return
        for item in answer:
            found = f": {item['found']}" if item.get("found") else ""
            yield item["host"], Finding(broken.rule, f"{broken.message}{found}")

    def _broken(self, facts: c.Mapping[str, t.Any], unfit: str | None) -> Finding:
        if unfit is not None:
            return Finding(self.rule.id, f"this rule cannot be held against the data: {unfit}")
        return Finding(self.rule.id, _filled(self.rule.message, facts))


def _filled(message: str, facts: c.Mapping[str, t.Any]) -> str:
    if "{" not in message:
        return message
    values = {name: _UNKNOWN if value is None else str(value) for name, value in facts.items()}
    return _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], message)


def _names_a_host(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("host"), str)


def _rule(entry: object, place: Location) -> Rule:
    keys = mapping(
        entry,
        place,
        required=("id", "expression", "message"),
        optional=("severity", "scope", "remedy"),
    )
    identifier = text(keys["id"], place.below("id"))
    if not _ID.fullmatch(identifier):
        raise place.below("id").error(f"expected a word of letters, digits, '_', '-' and '.', found {identifier!r:.80}")
    if identifier in STATES or identifier in SEVERITIES:
        raise place.below("id").error(f"{identifier} is the name of a state or severity; choose another")
    scope = t.cast("Scope", choice(keys.get("scope", "host"), place.below("scope"), t.get_args(Scope)))
    rule = Rule(
        id=identifier,
        severity=t.cast("Severity", choice(keys.get("severity", "error"), place.below("severity"), SEVERITIES)),
        scope=scope,
        expression=text(keys["expression"], place.below("expression")),
        message=text(keys["message"], place.below("message")),
        remedy=None if keys.get("remedy") is None else text(keys["remedy"], place.below("remedy")),
    )
    for name in _PLACEHOLDER.findall(rule.message):
        if name not in _PLACEHOLDERS[scope]:
            hint = nearest(name, _PLACEHOLDERS[scope], "facts")
            raise place.below("message").error(f"there is no fact {{{name}}}; {hint}")
    if MISSING is None:
        try:
            _Compiled(rule)
        except RuleError as error:
            raise place.below("expression").error(error.reason) from error
    return rule


def _hours_since(time: str | None, now: datetime.datetime) -> int | None:
    moment = parse_time(time)
    return None if moment is None else math.ceil((now - moment).total_seconds() / 3600)


def _days_until(date: str | None, now: datetime.datetime) -> int | None:
    day = parse_date(date)
    return None if day is None else (day - now.date()).days


_SCOPES: dict[Scope, dict[str, t.Any]] = {
    "host": {**t.get_type_hints(Record), **t.get_type_hints(RuleFacts)},
    "fleet": t.get_type_hints(FleetFacts),
}
_PLACEHOLDERS: dict[Scope, tuple[str, ...]] = {
    "host": RuleFacts._fields,
    "fleet": tuple(name for name, kind in _SCOPES["fleet"].items() if kind in (int, int | None)),
}
