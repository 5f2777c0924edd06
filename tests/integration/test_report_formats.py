# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reports for pipelines and metrics from outside, and the rules that they are held against."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import re
import sys
import typing as t
from pathlib import Path

import junitparser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.kernelops.livepatch.plugins.module_utils import _io
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import registry
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import assemble
from tests.lab.fleet import Fleet
from tests.samples.records import make_record
from tests.samples.reports import HOSTILE, hostile_record

from .conftest import Ansible, Run

FORMATS = ["csv", "junit", "sarif", "prometheus"]
FILES = ["fleet.csv", "fleet.junit.xml", "fleet.prom", "fleet.sarif"]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"


@dataclasses.dataclass(frozen=True)
class Controller:
    """A folder with records, in which Ansible is started."""

    folder: Path

    @property
    def records(self) -> Path:
        return self.folder / "records"

    def playbook(self, *words: str, **variables: t.Any) -> Run:
        """Make the report with the playbook."""
        given = {"livepatch_record_dir": "records", **variables}
        return Ansible(self.folder, {}).playbook("kernelops.livepatch.report", *words, **given)

    def written(self, name: str) -> str:
        return (self.folder / "livepatch-report" / name).read_text(encoding="utf-8")


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Records of now: two hosts that are well, one that is tampered with, one that gave no answer."""
    controller = Controller(tmp_path)
    now = datetime.datetime.now(datetime.timezone.utc)
    fresh = {"collected_at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "patch__upgrade_required_by": f"{now.year + 2}-01-01"}
    states: list[tuple[str, t.Any]] = [("web1", "protected"), ("web2", "protected"), ("web3", "tampered")]
    for number, (host, state) in enumerate(states):
        machine = f"{number:064}"
        record = make_record(host, state, system__machine_id_sha256=machine, **fresh)
        folder_store.store(controller.records, record)
    folder_store.note_unreachable(controller.records, "web4", fresh["collected_at"], [])
    return controller


def _message(outcome: Run) -> str:
    return str(outcome.result("localhost")["msg"])


@pytest.mark.matrix
def test_every_format_tells_the_same(controller: Controller) -> None:
    outcome = controller.playbook(livepatch_report_formats=FORMATS, livepatch_fail_on=[])
    assert outcome.code == 0, outcome.output
    broken = {"no_answer": ["web4"], "not_protected": ["web4", "web3"], "patch_tampered": ["web3"]}
    by_rule = outcome.result("localhost")["hosts_by_rule"]
    assert {rule: hosts for rule, hosts in by_rule.items() if hosts} == broken
    assert outcome.result("localhost")["summary"]["rules"] == {rule: len(hosts) for rule, hosts in by_rule.items()}
    assert sorted(Path(path).name for path in outcome.result("localhost")["files"]) == FILES
    rows = list(csv.DictReader(controller.written("fleet.csv").splitlines()))
    assert {row["host"]: row["rules"].split() for row in rows} == {
        "web4": ["no_answer", "not_protected"],
        "web3": ["not_protected", "patch_tampered"],
        "web1": [],
        "web2": [],
    }
    failures: dict[str, list[str]] = {}
    for suite in junitparser.JUnitXml.fromstring(controller.written("fleet.junit.xml").encode()):
        for case in suite:
            if case.result and isinstance(case.result[0], junitparser.Failure):
                failures.setdefault(suite.name, []).append(case.name)
    assert failures == broken
    [run] = json.loads(controller.written("fleet.sarif"))["runs"]
    found = [(result["ruleId"], result["locations"][0]["logicalLocations"][0]["name"]) for result in run["results"]]
    assert sorted(found) == sorted((rule, host) for rule, hosts in broken.items() for host in hosts)
    families = {family.name: family for family in text_string_to_metric_families(controller.written("fleet.prom"))}
    counted = {sample.labels["rule"]: sample.value for sample in families["livepatch_rule_findings"].samples}
    assert {rule: value for rule, value in counted.items() if value} == {rule: len(broken[rule]) for rule in broken}


def test_a_large_fleet_is_read_and_written_by_two_processes_as_by_one(controller: Controller) -> None:
    others: list[t.Any] = ["disabled", "stale", "protected"]
    for number in range(2200):
        folder_store.store(controller.records, make_record(f"host-{number}", others[number % 3]))
    (controller.records / "host-9999.json").write_text("{")
    options = {"livepatch_report_formats": list(registry.FORMATS), "livepatch_fail_on": [], "livepatch_rules": []}
    outcome = controller.playbook(**options)
    assert outcome.code == 0, outcome.output
    assert outcome.result("localhost")["changed"]
    generated_at = json.loads(controller.written("fleet.json"))["generated_at"]
    report = assemble(folder_store.load([controller.records]), None, generated_at, Spool())
    assert len(report.lines) == 2205
    for layout in registry.FORMATS.values():
        assert _io.has_content(controller.folder / "livepatch-report" / f"fleet{layout.suffix}", layout.render(report))
    (controller.folder / "livepatch-report" / "fleet.csv").unlink()
    (controller.folder / "livepatch-report" / "fleet.csv").mkdir()
    outcome = controller.playbook(**options)
    assert "fleet.csv: Is a directory. Give the user who runs Ansible" in _message(outcome)


def test_the_table_ends_with_the_rules_that_are_broken(controller: Controller) -> None:
    outcome = controller.playbook(livepatch_fail_on=[])
    assert "Broken rules: no_answer (1), not_protected (2), patch_tampered (1)." in outcome.output
    findings = json.loads(controller.written("fleet.json"))["findings"]
    assert {
        "rule": "patch_tampered",
        "severity": "error",
        "host": "web3",
        "message": "a loaded patch is not the one that was signed",
    } in findings


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("fail_on", "message"),
    [
        (["patch_tampered"], "Of 4 hosts, 1 patch_tampered (web3), which fail_on lists."),
        (["error"], "Of 4 hosts, 2 error (web4, web3), which fail_on lists."),
        (
            ["unreachable", "not_protected"],
            "Of 4 hosts, 1 unreachable (web4); 2 not_protected (web4, web3), which fail_on lists.",
        ),
    ],
)
def test_a_rule_that_is_broken_fails_after_all_is_written(
    controller: Controller, fail_on: list[str], message: str
) -> None:
    outcome = controller.playbook(livepatch_report_formats=FORMATS, livepatch_fail_on=fail_on)
    assert outcome.code == 2, outcome.output
    assert _message(outcome).startswith(message)
    assert controller.written("fleet.sarif")


def test_a_rule_that_holds_does_not_fail(controller: Controller) -> None:
    assert controller.playbook(livepatch_fail_on=["upgrade_overdue", "warning", "cloned"]).code == 0


@pytest.mark.matrix
def test_rules_of_ones_own_from_a_file_and_a_task(controller: Controller) -> None:
    (controller.folder / "site.yml").write_text(
        "- {id: not_protected, expression: state == 'failed', message: m}\n"
        "- {id: old_client, severity: info, expression: \"!starts_with(client.version || '', '11.')\", message: old}\n",
        encoding="utf-8",
    )
    own = {"id": "many", "scope": "fleet", "expression": "hosts > `3`", "message": "{hosts} hosts"}
    outcome = controller.playbook(
        livepatch_rules=["default", "site.yml", own],
        livepatch_closed_cves=["CVE-2019-14895"],
        livepatch_seats=2,
        livepatch_fail_on=["info", "many", "seats_exceeded", "CVE-2019-14895", "not_protected"],
    )
    assert outcome.code == 2, outcome.output
    assert _message(outcome).startswith(
        "Of 4 hosts, 4 info (web4, web3, web1, web2); 1 many (the fleet); 1 seats_exceeded (the fleet); "
        "1 CVE-2019-14895 (web4), which fail_on lists."
    )
    assert outcome.result("localhost")["summary"]["rules"]["not_protected"] == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"livepatch_rules": "missing.yml"}, "missing.yml: the file cannot be read"),
        (
            {"livepatch_rules": [{"id": "own", "expression": "stat == 'failed'", "message": "m"}]},
            "rules: [0].expression: rule own: the expression \"stat == 'failed'\" is invalid at character 1",
        ),
        ({"livepatch_closed_cves": ["2024-1086"]}, "expected a CVE such as CVE-2024-1086"),
        ({"livepatch_fail_on": ["patch_tampred"]}, "no rule 'patch_tampred'. Did you mean 'patch_tampered'?"),
        ({"livepatch_rules": [], "livepatch_fail_on": ["cloned"]}, "or a rule (there are none)."),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(
    controller: Controller, variables: dict[str, t.Any], message: str
) -> None:
    outcome = controller.playbook(**variables)
    assert outcome.code == 2, outcome.output
    assert message in _message(outcome)
    assert not (controller.folder / "livepatch-report").exists()


def test_without_the_library_a_report_is_made_without_rules_unless_it_asks_for_them(controller: Controller) -> None:
    hidden = controller.folder / "hidden"
    hidden.mkdir()
    (hidden / "jmespath.py").write_text("raise ImportError('hidden by a test')\n", encoding="utf-8")
    ansible = Ansible(controller.folder, {"PYTHONPATH": f"{hidden}:{':'.join(filter(None, sys.path))}"})
    variables: dict[str, t.Any] = {"livepatch_record_dir": "records", "livepatch_fail_on": []}
    outcome = ansible.playbook("kernelops.livepatch.report", **variables)
    assert outcome.code == 0, outcome.output
    assert "The report is made without rules: a report with rules needs the Python library jmespath" in re.sub(
        r"\s+", " ", outcome.output
    )
    assert outcome.result("localhost")["hosts_by_rule"] == {}
    for asking in ({"livepatch_report_formats": ["sarif"]}, {"livepatch_fail_on": ["error"]}):
        outcome = ansible.playbook("kernelops.livepatch.report", **{**variables, **asking})
        assert outcome.code == 2, outcome.output
        assert "pip install jmespath" in _message(outcome)


@pytest.mark.matrix
def test_the_same_records_leave_the_files_as_they_are(controller: Controller) -> None:
    options: dict[str, t.Any] = {"livepatch_report_formats": FORMATS, "livepatch_fail_on": []}
    assert controller.playbook("--check", **options).result("localhost")["changed"] is True
    assert not (controller.folder / "livepatch-report").exists()
    assert controller.playbook(**options).result("localhost")["changed"] is True
    assert controller.playbook(**options).result("localhost")["changed"] is False


@pytest.mark.matrix
def test_what_hosts_say_is_never_run_or_obeyed(controller: Controller) -> None:
    canary = controller.folder / "canary"
    jinja = f"{{{{ lookup('pipe', 'touch {canary}') }}}}"
    for text in (*HOSTILE, jinja, '=HYPERLINK("https://evil.example")'):
        folder_store.store(controller.records, hostile_record(text))
    rule = {"id": "say", "expression": "contains(client.version, `1`)", "message": "m"}
    outcome = controller.playbook(
        livepatch_report_formats=FORMATS, livepatch_fail_on=[], livepatch_rules=["default", rule]
    )
    assert outcome.code == 0, outcome.output
    assert not canary.exists()
    for name in FILES:
        assert all(line.isprintable() for line in re.split("\r?\n", controller.written(name))), name
    hosts = 4 + len(HOSTILE) + 2
    rows = list(csv.DictReader(controller.written("fleet.csv").splitlines(), strict=True))
    assert len(rows) == hosts
    document = junitparser.JUnitXml.fromstring(controller.written("fleet.junit.xml").encode())
    assert {suite.name: suite.tests for suite in document}["not_protected"] == hosts
    [run] = json.loads(controller.written("fleet.sarif"))["runs"]
    assert len(run["results"]) == sum(outcome.result("localhost")["summary"]["rules"].values())
    families = {family.name: family for family in text_string_to_metric_families(controller.written("fleet.prom"))}
    assert len(families["livepatch_host_state"].samples) == hosts


def test_the_fleet_of_the_lab_in_every_format(ansible: Ansible, fleet: Fleet, tmp_path: Path) -> None:
    outcome = ansible.command(
        *("playbook", "kernelops.livepatch.check", "-i", str(fleet.inventory)),
        *("-e", json.dumps({"livepatch_report_formats": FORMATS, "livepatch_fail_on": ["patch_tampered"]})),
    )
    assert outcome.code == 2, outcome.output
    assert "1 patch_tampered (tampered), which fail_on lists." in outcome.output
    report = tmp_path / "livepatch-report"
    [run] = json.loads((report / "fleet.sarif").read_text(encoding="utf-8"))["runs"]
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(json.loads((report / "fleet.sarif").read_text(encoding="utf-8"))) == []
    by_rule: dict[str, set[str]] = {}
    for result in run["results"]:
        by_rule.setdefault(result["ruleId"], set()).add(result["locations"][0]["logicalLocations"][0]["name"])
    assert by_rule["patch_tampered"] == {"tampered"}
    assert by_rule["no_answer"] == {"unreachable"}
    assert by_rule["upgrade_overdue"] == {"end-of-life", "end-of-life-by-date"}
    assert "xenial-generic" not in by_rule["not_protected"]


def _examples(language: str, page: str) -> list[str]:
    text = (GUIDE / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_rules_of_the_guide_work(controller: Controller) -> None:
    [example] = _examples("yaml", "rules.md")
    (controller.folder / "site-rules.yml").write_text(example, encoding="utf-8")
    outcome = controller.playbook(livepatch_rules=["default", "site-rules.yml"], livepatch_fail_on=[])
    assert outcome.code == 0, outcome.output
    assert set(outcome.result("localhost")["hosts_by_rule"]) > {rule["id"] for rule in yaml.safe_load(example)}


def test_the_pipelines_of_the_guide_give_variables_that_the_playbook_takes() -> None:
    playbook = (Path(__file__).resolve().parents[2] / "playbooks" / "check.yml").read_text(encoding="utf-8")
    text = (GUIDE / "ci.md").read_text(encoding="utf-8")
    for example in _examples("yaml", "ci.md"):
        assert yaml.safe_load(example)
    given = re.findall(r"-e '(\{.*?\})'", text)
    assert len(given) == 4
    for variables in map(json.loads, given):
        assert all(f"{name} |" in playbook for name in variables)
