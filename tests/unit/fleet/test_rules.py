# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Rules: their results, and the messages for invalid rules."""

from __future__ import annotations

import datetime
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.rules import (
    FleetFacts,
    RuleError,
    RuleFacts,
    RuleSet,
    host_facts,
    rules_from_list,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import assemble
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.rule_evaluation import (
    RuleEvaluator,
    load_rules,
)
from tests.samples.records import make_record
from tests.samples.reports import grouped, recorded

# The records of the tests are from 2026-01-10 06:00; the last checks of their clients are from 05:31.
NOW = datetime.datetime(2026, 1, 10, 8, 0, tzinfo=datetime.timezone.utc)
FACTS = RuleFacts("protected", 2, 3, 142)
FLEET: FleetFacts = {"hosts": 3, "states": {"protected": 3}, "enabled": 3, "seats": None, "clones": []}
RULE = {"id": "client_old", "expression": "client.version != '11'", "message": "old client"}


def _found(record: Record, *rules: t.Any, now: datetime.datetime = NOW) -> list[str]:
    return [rule for rule, _message in RuleEvaluator(load_rules(list(rules), []), now).of_record(record)]


def _is_broken(expression: str, record: Record | None = None) -> bool:
    return bool(_found(record or make_record(), {**RULE, "expression": expression}))


def test_facts_are_computed_from_record_times() -> None:
    assert host_facts(make_record(patch__upgrade_required_by="2026-06-01"), NOW) == FACTS


@pytest.mark.parametrize(
    ("places", "fact", "value"),
    [
        ({"client__last_check": None}, "hours_since_check", None),
        ({"client__last_check": "yesterday"}, "hours_since_check", None),
        ({"client__last_check": "2026-01-10T08:00:00Z"}, "hours_since_check", 0),
        ({"client__last_check": "2026-01-09T08:00:00Z"}, "hours_since_check", 24),
        ({"client__last_check": "2026-01-09T07:59:59.5Z"}, "hours_since_check", 25),
        ({"collected_at": "2026-01-10T09:30:00Z"}, "hours_since_record", -1),
        ({"patch__upgrade_required_by": None}, "days_until_upgrade", None),
        ({"patch__upgrade_required_by": "{{ 1 }}"}, "days_until_upgrade", None),
        ({"patch__upgrade_required_by": "2026-01-10"}, "days_until_upgrade", 0),
        ({"patch__upgrade_required_by": "2026-01-09"}, "days_until_upgrade", -1),
    ],
)
def test_facts_are_rounded_towards_risk(places: dict[str, t.Any], fact: str, value: int | None) -> None:
    assert getattr(host_facts(make_record(**places), NOW), fact) == value


@pytest.mark.parametrize(
    ("expression", "broken"),
    [
        ("client.version != '11'", True),
        ("client.version == '10.8.3'", True),
        ("client.version == '9'", False),
        ("patch.fixes[?!patched]", False),
        ("patch.fixes[?patched].cve", True),
        ("kernel_patches[0].verification.level != 'file'", False),
        ("length(kernel_patches) > `1`", False),
        ("contains(system.kernel.release, 'generic')", True),
        ("`0`", True),  # as in JMESPath, and not as in Python
        ('`""`', False),
        ("@.host == 'web1'", True),
        ("state == 'protected' && client.tier == 'updates'", True),
        ("hours_since_check > `2`", True),
        ("days_until_upgrade", True),
    ],
)
def test_a_rule_matches_when_its_expression_is_true(expression: str, broken: bool) -> None:
    assert _is_broken(expression) is broken


def test_an_evaluation_error_breaks_the_rule() -> None:
    rules = rules_from_list([{**RULE, "expression": "contains(client.version, '10')"}], "rules")
    record = make_record(client__version=None)
    [(rule, message)] = RuleSet(rules).broken_by_host(record, FACTS)
    assert rule == "client_old"
    assert message.startswith("this rule cannot be evaluated: In function contains()")


def test_equal_hosts_are_evaluated_separately() -> None:
    rules = RuleSet(rules_from_list([{**RULE, "expression": "host == 'web2'"}], "rules"))
    assert not rules.broken_by_host(make_record("web1"), FACTS)
    assert rules.broken_by_host(make_record("web2"), FACTS)
    assert not rules.broken_by_host(make_record("web3"), FACTS)


def test_a_rule_can_use_every_fact() -> None:
    expression = f"length([{', '.join(RuleFacts._fields)}]) == `{len(RuleFacts._fields)}`"
    rules = RuleSet(rules_from_list([{**RULE, "expression": expression}], "rules"))
    assert not rules.reads_records
    assert rules.broken_by_host(make_record(), FACTS)


def test_rules_about_groups_and_vulnerabilities_are_known() -> None:
    about = {"old": "client.version != '11'", "db": "groups.group == 'db'", "urgent": "open_cves[?overdue]"}
    document = [{**RULE, "id": name, "expression": expression} for name, expression in about.items()]
    rules = RuleSet(rules_from_list(document, "rules"))
    assert (rules.reads_groups, rules.of_open_cves) == (True, ["urgent"])
    assert (RuleSet(rules.rules[:1]).reads_groups, RuleSet(rules.rules[:1]).reads_records) == (False, True)


def test_a_message_contains_facts() -> None:
    document = [{**RULE, "expression": "state", "message": "{state}, {days_until_upgrade} days, {{}}"}]
    with pytest.raises(RuleError, match=r"unknown fact \{\}"):
        rules_from_list(document, "rules")
    rules = rules_from_list([{**document[0], "message": "{state}, {days_until_upgrade} days"}], "rules")
    assert RuleSet(rules).broken_by_host(make_record(), FACTS) == (("client_old", "protected, 142 days"),)
    unknown = FACTS._replace(days_until_upgrade=None)
    assert RuleSet(rules).broken_by_host(make_record(), unknown)[0].message == "protected, an unknown number of days"
    assert rules[0].description == "…, … days"


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("enabled > seats", []),
        ("enabled > `2`", [(None, ("client_old", "old client"))]),
        ("states.protected < hosts", []),
        (
            "clones",
            [("web1", ("client_old", "old client: web1, web2")), ("web2", ("client_old", "old client: web1, web2"))],
        ),
        ("[length(clones), `1`]", [(None, ("client_old", "old client"))]),
    ],
)
def test_a_fleet_rule_returns_hosts_or_the_fleet(expression: str, found: list[t.Any]) -> None:
    rules = rules_from_list([{**RULE, "scope": "fleet", "expression": expression}], "rules")
    clones = [{"host": host, "found": "web1, web2"} for host in ("web1", "web2")]
    facts: t.Any = {**FLEET, "clones": clones}
    assert RuleSet(rules).broken_by_fleet(facts) == found


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("client.version = '11'", "invalid at character 16"),
        ("client.version ==", "invalid at its end, character 18: the expression ends too early"),
        (" && ".join(["`true`"] * 5000), "nested too deeply"),
        ("(" * 5000, "maximum recursion depth"),
        ("client.version == '11' )", "before ')'"),
        ("client.version == $", "invalid at character 19"),
        ("client.versoin", "at character 8, before 'versoin': unknown name versoin; did you mean version?"),
        ("stat == 'x'", "at character 1, before \"stat == 'x'\": unknown name stat; did you mean state?"),
        ("patch.fixes[?cev == 'x']", "unknown name cev; did you mean cve?"),
        ("kernel_patches[*].verification.levle", "unknown name levle; did you mean level?"),
        ("kernel_patches[0].modul", "unknown name modul; did you mean module?"),
        ("lenght(kernel_patches)", "at character 1, before 'lenght(kernel_patches)': unknown function lenght"),
        ("length(kernel_patches, host)", "length takes 1, but got 2"),
        ("!client.enabled", "at character 1, before '!client.enabled': here '!' applies to the first name only"),
        ("host != 'a' && !patch.fixes[?patched]", "at character 16, before '!patch.fixes[?patched]'"),
        ("not_null()", "not_null takes at least 1, but got 0"),
    ],
)
def test_an_invalid_expression_is_located(expression: str, mistake: str) -> None:
    with pytest.raises(RuleError) as caught:
        rules_from_list([RULE, {**RULE, "id": "wrong", "expression": expression}], "rules")
    assert caught.value.reason.startswith("rules: [1].expression: rule wrong: the expression ")
    assert repr(expression) in caught.value.reason
    assert mistake in caught.value.reason


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"serverity": "error"}, r"\[0\].serverity: unknown key; did you mean severity\?"),
        ({"id": None}, r"\[0\]: id is missing"),
        ({"message": " "}, r"\[0\].message: expected text"),
        ({"severity": "fatal"}, r"\[0\].severity: expected one of error, warning, info"),
        ({"scope": "all"}, r"\[0\].scope: expected one of host, fleet"),
        ({"id": "two words"}, r"\[0\].id: expected a word"),
        ({"id": "tampered"}, r"\[0\].id: tampered is the name of a state"),
        ({"id": "warning"}, r"\[0\].id: warning is the name of a state or severity"),
        ({"message": "in {days_until_upgrad} days"}, r"unknown fact \{days_until_upgrad\}; did you mean days_unti"),
    ],
)
def test_an_invalid_rule_is_refused(changes: dict[str, t.Any], mistake: str) -> None:
    with pytest.raises(RuleError, match=mistake):
        rules_from_list([{**RULE, **changes}], "rules")


def test_names_of_rules_are_unique() -> None:
    with pytest.raises(RuleError, match=r"\[1\].id: the id client_old is used by another rule"):
        rules_from_list([RULE, RULE], "rules")
    with pytest.raises(RuleError, match="expected a list of rules, found dict"):
        rules_from_list(RULE, "rules")


def test_an_error_in_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("- id: a\n  expression: state\n  message: m\n- id: b\n  expresion: state\n", encoding="utf-8")
    with pytest.raises(RuleError, match=r"rules.yml:5: \[1\].expresion: unknown key; did you mean expression\?"):
        load_rules(str(path), [])
    path.write_text("- id: a\n  message: m\n  expression: stat\n", encoding="utf-8")
    with pytest.raises(RuleError, match=r"rules.yml:3: \[0\].expression: rule a: .*did you mean state\?"):
        load_rules(str(path), [])
    path.write_text("- id: [\n", encoding="utf-8")
    with pytest.raises(RuleError, match=r"rules.yml:2: not valid YAML"):
        load_rules(str(path), [])
    with pytest.raises(RuleError, match=r"missing.yml: the file cannot be read: No such file"):
        load_rules(str(tmp_path / "missing.yml"), [])
    path.write_bytes(b"- id: \xe4\n")
    with pytest.raises(RuleError, match=r"rules.yml: the file is not UTF-8"):
        load_rules(str(path), [])


def test_a_later_rule_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("- {id: own, expression: state, message: own}\n", encoding="utf-8")
    sooner = {"id": "upgrade_soon", "expression": "days_until_upgrade < `200`", "message": "soon"}
    rules = {rule.id: rule for rule in load_rules(["default", str(path), sooner], ["CVE-2024-1086"])}
    assert list(rules)[-2:] == ["own", "CVE-2024-1086"]
    assert rules["upgrade_soon"].message == "soon"
    assert load_rules([], []) == []


def test_the_format_of_vulnerability_ids_is_checked() -> None:
    with pytest.raises(RuleError, match="expected a CVE such as"):
        load_rules([], ["CVE-2024-1' || '1"])


@pytest.mark.parametrize(
    ("record", "broken"),
    [
        (make_record(), []),
        (make_record(state="tampered"), ["not_protected", "patch_tampered"]),
        (make_record(state="ineligible"), ["not_eligible"]),
        (make_record(state="ineligible", collected_at="2026-01-09T07:00:00Z"), ["not_eligible"]),
        (make_record(collected_at="2026-01-09T07:00:00Z"), ["not_protected"]),
        (make_record(patch__upgrade_required_by="2026-01-09"), ["upgrade_overdue"]),
        (make_record(state="end_of_life"), ["not_protected", "upgrade_overdue"]),
        (make_record(patch__upgrade_required_by="2026-01-10"), ["upgrade_soon"]),
        (make_record(patch__upgrade_required_by="2026-02-09"), ["upgrade_soon"]),
        (make_record(patch__upgrade_required_by="2026-02-10"), []),
    ],
)
def test_the_default_rules_on_a_host(record: Record, broken: list[str]) -> None:
    assert _found(record, "default") == broken


@pytest.mark.parametrize(
    ("fixes", "closed"),
    [
        ([{"cve": "CVE-2024-1086", "patched": True}], True),
        ([{"cve": "CVE-2024-1086", "patched": False}], False),
        ([{"cve": "CVE-2024-10861", "patched": True}], False),
        ([], False),
    ],
)
def test_a_patch_closes_its_listed_vulnerabilities(fixes: list[t.Any], closed: bool) -> None:
    judgement = RuleEvaluator(load_rules([], ["CVE-2024-1086"]), NOW)
    assert (judgement.of_record(make_record(patch__fixes=fixes)) == ()) is closed


@pytest.mark.parametrize(
    ("state", "changes", "closed"),
    [
        ("protected", {}, True),
        ("stale", {}, True),
        ("tampered", {}, False),
        ("unverified", {}, False),
        ("applying", {}, False),
        ("failed", {"patch__state": "applied-with-bug"}, False),
        ("failed", {}, False),
        ("stale", {"kernel_patches": []}, False),
        ("protected", {"patch__state": "unapplied"}, False),
        ("protected", {"system__kernel__full": "4.4.0-169.198-generic"}, False),
    ],
)
def test_a_fix_counts_only_if_its_patch_runs(state: t.Any, changes: dict[str, t.Any], closed: bool) -> None:
    judgement = RuleEvaluator(load_rules([], ["CVE-2019-14895"]), NOW)
    assert (judgement.of_record(make_record("web1", state, **changes)) == ()) is closed


def test_the_first_rule_that_needs_vulnerabilities_is_named() -> None:
    RuleEvaluator(load_rules([RULE], []), NOW).require_vulnerabilities()
    rules = [RULE, *({**RULE, "id": name, "expression": "open_cves[?overdue]"} for name in ("urgent", "late"))]
    with pytest.raises(RuleError, match="rule urgent uses open_cves, and vulnerability_data is not set"):
        RuleEvaluator(load_rules(rules, []), NOW).require_vulnerabilities()


def test_the_default_rules_on_a_fleet() -> None:
    judgement = RuleEvaluator(load_rules("default", ["CVE-2019-14895"]), NOW)
    documents = [
        *(recorded(make_record(f"web{number}")) for number in range(1, 8)),
        recorded(make_record("db1", system__machine_id_sha256=None, client__enabled=False)),
        recorded(make_record("db2", system__machine_id_sha256=None)),
        FailedAttempt("web7", "2026-01-10T07:00:00Z", []),
        FailedAttempt("db3", "2026-01-10T07:00:00Z", []),
    ]
    report = judgement.with_fleet(assemble(documents, None, "2026-01-10T08:00:00Z", Spool(), judgement), seats=7)
    clones = [f"web{number}" for number in (7, 1, 2, 3, 4, 5, 6)]
    assert report.hosts_by_rule() == {
        "no_answer": ["db3", "web7"],
        "not_protected": ["db3", "web7"],
        "not_eligible": [],
        "patch_tampered": [],
        "upgrade_overdue": [],
        "upgrade_soon": [],
        "vulnerability_open": [],
        "vulnerability_overdue": [],
        "cloned": clones,
        "seats_exceeded": [],
        "CVE-2019-14895": ["db3", "web7"],
    }
    assert report.fleet_findings == (("seats_exceeded", "8 hosts are enabled, and there are 7 seats"),)
    assert report.summary()["rules"]["seats_exceeded"] == 1
    [message] = {message for _line, (rule, message) in report.findings() if rule == "cloned"}
    assert message.endswith(": web7, web1, web2, web3, web4 and 2 more")
    assert judgement.with_fleet(report, seats=8).fleet_findings == report.fleet_findings


def test_a_rule_selects_hosts_by_group() -> None:
    expression = "groups.region == 'eu' && state != 'protected'"
    elsewhere, here = (grouped(make_record("web1", "disabled"), {"region": name}) for name in ("us", "eu"))
    assert _is_broken(expression, here)
    assert not _is_broken(expression, elsewhere)
    assert not _is_broken(expression, make_record("web1", "disabled"))
    gone = FailedAttempt("web1", "2026-01-10T07:00:00Z", [], groups={"region": "eu"})
    evaluator = RuleEvaluator(rules_from_list([{"id": "eu", "expression": expression, "message": "m"}], "r"), NOW)
    [line] = assemble([gone], None, "2026-01-10T08:00:00Z", Spool(), evaluator).lines
    assert [rule for rule, _message in line.findings] == ["eu"]


@pytest.mark.parametrize(
    "expression", ["floor(to_number(system.architecture))", "patch.fixes[::0]", "ceil(to_number('nan'))"]
)
def test_no_text_of_a_host_ends_the_report(expression: str) -> None:
    record = make_record(system__architecture="nan")
    [(rule, message)] = RuleEvaluator(load_rules([{**RULE, "expression": expression}], []), NOW).of_record(record)
    assert rule == "client_old"
    assert message.startswith("this rule cannot be evaluated: ")


def test_a_number_with_many_digits_is_an_error() -> None:
    with pytest.raises(RuleError, match="is invalid"):
        load_rules([{**RULE, "expression": f"patch.fixes[{'9' * 5000}]"}], [])


def test_a_file_of_rules_is_regular_and_bounded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "large.yml").write_bytes(b"#" * ((1 << 20) + 1))
    for name, problem in (("pipe.yml", "not a regular file"), ("large.yml", "the file is larger than 1 MiB")):
        with pytest.raises(RuleError, match=f"cannot be read: {problem}"):
            load_rules(str(tmp_path / name), [])


def test_the_home_of_an_unknown_user_is_no_file() -> None:
    with pytest.raises(RuleError, match="cannot be read"):
        load_rules("~no-such-user/rules.yml", [])
