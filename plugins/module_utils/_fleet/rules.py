# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Rules: JMESPath expressions that must not be true for a host, or for the fleet.

A rule is broken if its expression is true in JMESPath: any value except ``null``, ``false`` and empty values. If an
expression cannot be evaluated with the data of a host, the rule is broken too, because missing data never passes.

The expression of a rule for hosts is evaluated with the record, its `groups` and `RuleFacts`; without an answer of the
host, only ``host`` and ``assessment`` of the record exist. A rule for the fleet is evaluated once, with `FleetFacts`.
If its expression returns hosts (a list of ``{host, found}``), each of them breaks the rule, otherwise the fleet as a
whole.
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
from .._errors import LivepatchError
from .._record import STATES, Record, State
from .._time import parse_date, parse_time
from .expression import Expression, ExpressionError, can_compile, is_true

Severity = t.Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = t.get_args(Severity)
Scope = t.Literal["host", "fleet"]

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CACHED_RESULTS = 4096  # most hosts of a fleet have the same facts, and hostile hosts must not fill the memory
_UNKNOWN = "an unknown number of"
_RULE_OF_STATE = "no_answer"  # the only state that has the name of its default rule


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
    """One rule. `message` describes the problem, and can contain facts such as ``{days_until_upgrade}``."""

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
    """The facts of a host that an expression can use in addition to the record.

    Hours are rounded up, and negative if the host's clock is ahead. Days are counted from today (UTC). A value is
    ``None`` if the time is unknown. The numbers of vulnerabilities are ``None`` without vulnerability data. Those that
    waivers cover are in the last number only.
    """

    state: State
    hours_since_record: int | None
    hours_since_check: int | None
    days_until_upgrade: int | None
    open_vulnerabilities: int | None = None
    overdue_vulnerabilities: int | None = None
    unknown_vulnerabilities: int | None = None
    waived_vulnerabilities: int | None = None


class OpenCve(t.TypedDict):
    """An open vulnerability of a host. `fix` is ``patch``, ``reboot``, ``kernel`` or ``none``.

    `days_open` are the days since its publication. `counts_from` is the day from which its deadline counts, `due` the
    last day of the deadline (``YYYY-MM-DD``), and `overdue` is True after that day; all are ``None`` if it has none.
    """

    cve: str
    priority: str | None
    published: str | None
    days_open: int | None
    fix: str | None
    fixed_in: str | None
    patch: str | None
    evidence: str | None
    counts_from: str | None
    due: str | None
    overdue: bool | None


class VulnerabilityFacts(t.TypedDict):
    """The open vulnerabilities of a host that no waiver covers, the most urgent first.

    Without vulnerability data, it does not exist.
    """

    open_cves: list[OpenCve]


class GroupFacts(t.TypedDict):
    """The groups of a host that the option `group_by` selects, by key: ``group``, and names of host variables."""

    groups: dict[str, str]


class Clone(t.TypedDict):
    """A host with the same machine identity as others. `found` is the list of their names."""

    host: str
    found: str


class FleetFacts(t.TypedDict):
    """The facts of a fleet that an expression can use. `enabled` is the number of hosts with an enabled client."""

    hosts: int
    states: dict[str, int]
    enabled: int
    seats: int | None
    clones: list[Clone]


class Finding(t.NamedTuple):
    """A broken rule: its id and the description of the problem."""

    rule: str
    message: str


def host_facts(record: Record, now: datetime.datetime) -> RuleFacts:
    """Calculate the facts from a record at this time (UTC)."""
    return RuleFacts(
        state=record["assessment"]["state"],
        hours_since_record=_hours_since(record["collected_at"], now),
        hours_since_check=_hours_since(record["client"]["last_check"], now),
        days_until_upgrade=_days_until(record["patch"]["upgrade_required_by"], now),
    )


def facts_without_record(document: c.Mapping[str, t.Any], now: datetime.datetime) -> RuleFacts:
    """Calculate the facts of a host that gave no answer. Only the age of its last record can be known."""
    last = document["last_record"]
    return RuleFacts("no_answer", _hours_since(last and last["collected_at"], now), None, None)


def rules_from_list(document: object, source: str, lines: c.Mapping[str, int] | None = None) -> list[Rule]:
    """Parse rules from plain data, a list of mappings. Raises `RuleError`.

    `source` is the name of the list in messages. For a list from a file, `lines` has the line of each value by its
    path.
    """
    place = Location(source, "", lines or {}, RuleError)
    if not isinstance(document, list):
        raise place.error(f"expected a list of rules, found {type(document).__name__}")
    rules: dict[str, Rule] = {}
    for index, entry in enumerate(document):
        rule = _rule(entry, place.below(f"[{index}]"))
        if rule.id in rules:
            raise place.below(f"[{index}]").below("id").error(f"the id {rule.id} is used by another rule above")
        rules[rule.id] = rule
    return list(rules.values())


def rule_of_closed_cve(cve: str) -> Rule:
    """Return the rule that a CVE must be fixed on every host. Its id is the CVE."""
    if not _CVE.fullmatch(cve):
        raise RuleError(f"expected a CVE such as CVE-2024-1086, found {cve!r:.80}")
    return Rule(
        id=cve,
        severity="error",
        scope="host",
        expression=f"!(patch.fixes[?cve == '{cve}' && patched])",
        message=f"no live patch is known to fix {cve} on this host",
        remedy="apply the newest live patch, or boot a kernel with the fix",
    )


class RuleSet:
    """Compiled rules. Raises `RuleError` for an invalid expression, and ``library_missing`` without jmespath."""

    def __init__(self, rules: c.Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        compiled = [_Compiled(rule) for rule in rules]
        self._of_fleet = [rule for rule in compiled if rule.rule.scope == "fleet"]
        of_hosts = [rule for rule in compiled if rule.rule.scope == "host"]
        # Rules that use only the facts are evaluated once for all hosts with equal facts, the others for each record.
        self._of_facts = [rule for rule in of_hosts if rule.fields <= set(RuleFacts._fields)]
        self._of_records = [rule for rule in of_hosts if not rule.fields <= set(RuleFacts._fields)]
        self.reads_records = bool(self._of_records)
        self.reads_groups = any("groups" in rule.fields for rule in of_hosts)
        self.of_open_cves = [rule.rule.id for rule in of_hosts if "open_cves" in rule.fields]
        self._broken_by_facts = functools.lru_cache(_CACHED_RESULTS)(self._evaluate_facts)

    def broken_by_host(self, document: c.Mapping[str, t.Any], facts: RuleFacts) -> tuple[Finding, ...]:
        """Evaluate the rules for hosts with a record, or with the document of a host that gave no answer."""
        broken = self._broken_by_facts(facts)
        if self._of_records:
            data = {**document, **facts._asdict()}
            broken += tuple(broken for rule in self._of_records for broken in rule.broken_by_host(data, facts))
        return broken

    def broken_by_fleet(self, facts: FleetFacts) -> list[tuple[str | None, Finding]]:
        """Evaluate the rules for the fleet. Each finding has the host that breaks the rule, ``None`` for the fleet."""
        return [broken for rule in self._of_fleet for broken in rule.broken_by_fleet(facts)]

    def _evaluate_facts(self, facts: RuleFacts) -> tuple[Finding, ...]:
        data = facts._asdict()
        return tuple(broken for rule in self._of_facts for broken in rule.broken_by_host(data, facts))


class _Compiled:
    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        try:
            self._expression = Expression(rule.expression, _SCOPES[rule.scope])
        except ExpressionError as error:
            raise RuleError(f"rule {rule.id}: {error}") from error
        self.fields = self._expression.first_names

    def broken_by_host(self, document: object, facts: RuleFacts) -> c.Iterator[Finding]:
        value, problem = self._expression.evaluate(document)
        if problem is not None or is_true(value):
            yield self._broken(facts._asdict(), problem)

    def broken_by_fleet(self, facts: FleetFacts) -> c.Iterator[tuple[str | None, Finding]]:
        value, problem = self._expression.evaluate(facts)
        if problem is None and not is_true(value):
            return
        broken = self._broken(facts, problem)
        if not isinstance(value, list) or not all(map(_names_a_host, value)):
            yield None, broken
            return
        for item in value:
            found = f": {item['found']}" if item.get("found") else ""
            yield item["host"], Finding(broken.rule, f"{broken.message}{found}")

    def _broken(self, facts: c.Mapping[str, t.Any], problem: str | None) -> Finding:
        if problem is not None:
            return Finding(self.rule.id, f"this rule cannot be evaluated: {problem}")
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
    if (identifier in STATES and identifier != _RULE_OF_STATE) or identifier in SEVERITIES:
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
            raise place.below("message").error(f"unknown fact {{{name}}}; {hint}")
    if can_compile():
        try:
            _Compiled(rule)
        except RuleError as error:
            raise place.below("expression").error(error.reason) from None
    return rule


def _hours_since(time: str | None, now: datetime.datetime) -> int | None:
    moment = parse_time(time)
    return None if moment is None else math.ceil((now - moment).total_seconds() / 3600)


def _days_until(date: str | None, now: datetime.datetime) -> int | None:
    day = parse_date(date)
    return None if day is None else (day - now.date()).days


_SCOPES: dict[Scope, dict[str, t.Any]] = {
    "host": {
        **t.get_type_hints(Record),
        **t.get_type_hints(RuleFacts),
        **t.get_type_hints(VulnerabilityFacts),
        **t.get_type_hints(GroupFacts),
    },
    "fleet": t.get_type_hints(FleetFacts),
}
_PLACEHOLDERS: dict[Scope, tuple[str, ...]] = {
    "host": RuleFacts._fields,
    "fleet": tuple(name for name, kind in _SCOPES["fleet"].items() if kind in (int, int | None)),
}
