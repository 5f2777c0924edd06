# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reports for pipelines and metrics, and their rules."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import os
import re
import sys
import typing as t
from pathlib import Path

import junitparser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.samples.notices import affected, notice
from tests.samples.proofs import KERNEL_ONLY, PATCHED, VERSION, a_record
from tests.samples.records import make_record
from tests.samples.reports import HOSTILE, hostile_record
from tests.samples.vulnerabilities import package, release_data

from .conftest import Ansible, Run
from .record_files import write_attempt, write_record

FORMATS = ["csv", "junit", "sarif", "prometheus"]
ALL_FORMATS = [*FORMATS, "table", "json", "jsonl", "markdown", "html"]
FILES = ["fleet.csv", "fleet.junit.xml", "fleet.prom", "fleet.sarif"]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"


@dataclasses.dataclass(frozen=True)
class Controller:
    """A folder with records, in which Ansible runs."""

    folder: Path

    @property
    def records(self) -> Path:
        return self.folder / "records"

    def playbook(self, *words: str, **variables: t.Any) -> Run:
        """Write the report with the playbook."""
        given = {"livepatch_record_dir": "records", **variables}
        return Ansible(self.folder, {}).playbook("kernelops.livepatch.report", *words, **given)

    def each(self, cases: list[dict[str, t.Any]]) -> Run:
        """Write a report with each of these options of the module, and ignore failures."""
        usual = {"record_dir": "records", "output_dir": "livepatch-report"}
        ansible = Ansible(self.folder, {})
        return ansible.each_run("kernelops.livepatch.fleet_report", "localhost", [{**usual, **case} for case in cases])

    def written(self, name: str) -> str:
        return (self.folder / "livepatch-report" / name).read_text(encoding="utf-8")


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """New records: two protected hosts, one with a tampered patch, one that is unreachable."""
    controller = Controller(tmp_path)
    now = datetime.datetime.now(datetime.timezone.utc)
    fresh = {"collected_at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "patch__upgrade_required_by": f"{now.year + 2}-01-01"}
    states: list[tuple[str, t.Any]] = [("web1", "protected"), ("web2", "protected"), ("web3", "tampered")]
    for number, (host, state) in enumerate(states):
        machine = f"{number:064}"
        record = make_record(host, state, system__machine_id_sha256=machine, **fresh)
        write_record(controller.records, record)
    write_attempt(controller.records, "web4", fresh["collected_at"])
    return controller


def _message(outcome: Run) -> str:
    return str(outcome.result("localhost")["msg"])


@pytest.mark.matrix
def test_every_format_has_the_same_findings(controller: Controller) -> None:
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


def test_several_processes_write_the_same_files(controller: Controller) -> None:
    """The first run may use one processor only, and the second one all of them."""
    others: list[t.Any] = ["disabled", "stale", "protected"]
    for number in range(2200):
        write_record(controller.records, make_record(f"host-{number}", others[number % 3]))
    (controller.records / "host-9999.json").write_text("{")
    options = {"livepatch_report_formats": ALL_FORMATS, "livepatch_fail_on": [], "livepatch_rules": []}
    extra = json.dumps({"livepatch_record_dir": "records", **options})
    one_processor = ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    first = Ansible(controller.folder, {}).command(
        "playbook", "kernelops.livepatch.report", "-e", extra, prefix=one_processor
    )
    assert first.code == 0, first.output
    assert first.result("localhost")["changed"]
    assert first.result("localhost")["summary"]["hosts"] == 2205
    assert len(first.result("localhost")["files"]) == len(ALL_FORMATS)
    second = controller.playbook(**options)
    assert (second.code, second.result("localhost")["changed"]) == (0, False), second.output
    assert second.result("localhost")["files"] == first.result("localhost")["files"]
    (controller.folder / "livepatch-report" / "fleet.csv").unlink()
    (controller.folder / "livepatch-report" / "fleet.csv").mkdir()
    outcome = controller.playbook(**options)
    assert "fleet.csv: not a regular file. Give the user who runs Ansible" in _message(outcome)


def test_the_table_ends_with_broken_rules(controller: Controller) -> None:
    outcome = controller.playbook(livepatch_fail_on=[])
    assert "Failed rules: no_answer (1), not_protected (2), patch_tampered (1)." in outcome.output
    findings = json.loads(controller.written("fleet.json"))["findings"]
    assert {
        "rule": "patch_tampered",
        "severity": "error",
        "host": "web3",
        "message": "a loaded patch is not the one that was signed",
    } in findings


def test_a_broken_rule_fails_after_all_files(controller: Controller) -> None:
    expected = {
        "patch_tampered": "Of 4 hosts, 1 patch_tampered (web3), which fail_on lists.",
        "error": "Of 4 hosts, 2 error (web4, web3), which fail_on lists.",
        "no_answer not_protected": (
            "Of 4 hosts, 1 no_answer (web4); 2 not_protected (web4, web3), which fail_on lists."
        ),
    }
    outcome = controller.each([{"formats": FORMATS, "fail_on": rules.split()} for rules in expected])
    for line, message in zip(outcome.results, expected.values(), strict=True):
        assert line["kind"] == "ignored"
        assert line["result"]["msg"].startswith(message)
    assert controller.written("fleet.sarif")
    assert controller.playbook(livepatch_fail_on=["upgrade_overdue", "warning", "cloned"]).code == 0


@pytest.mark.matrix
def test_custom_rules_from_a_file_and_task(controller: Controller) -> None:
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
        "2 CVE-2019-14895 (web4, web3), which fail_on lists."
    )
    created = next(line["result"] for line in outcome.results if line["task"].endswith("Create the report"))
    assert created["summary"]["rules"]["not_protected"] == 0
    assert outcome.output.count("not_protected") < 10, "the failure repeats all figures of the report"


def test_mistakes_are_named_before_writing(controller: Controller) -> None:
    cases: list[tuple[dict[str, t.Any], str]] = [
        ({"rules": "missing.yml"}, "missing.yml: the file cannot be read"),
        (
            {"rules": [{"id": "own", "expression": "stat == 'failed'", "message": "m"}]},
            "rules: [0].expression: rule own: the expression \"stat == 'failed'\" is invalid at character 1",
        ),
        ({"closed_cves": ["2024-1086"]}, "expected a CVE such as CVE-2024-1086"),
        ({"fail_on": ["patch_tampred"]}, "no rule 'patch_tampred'. Did you mean 'patch_tampered'?"),
        ({"rules": [], "fail_on": ["cloned"]}, "or a rule (there are none)."),
        (
            {"formats": ["json", "openvex", "scanner_csv"]},
            "a report cannot be written as openvex or scanner_csv. Name the data with vulnerability_data",
        ),
    ]
    outcome = controller.each([options for options, _message in cases])
    assert [line["kind"] for line in outcome.results] == ["ignored"] * len(cases)
    pairs = [(message, line["result"]["msg"]) for line, (_options, message) in zip(outcome.results, cases, strict=True)]
    assert [pair for pair in pairs if pair[0] not in pair[1]] == []
    assert not (controller.folder / "livepatch-report").exists()


def test_without_jmespath_a_report_has_no_rules(controller: Controller) -> None:
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
    asking = [{"record_dir": "records", **each} for each in ({"formats": ["sarif"]}, {"fail_on": ["error"]})]
    for result in ansible.each("kernelops.livepatch.fleet_report", "localhost", asking):
        assert (result["kind"], "pip install jmespath" in result["msg"]) == ("ignored", True), result


def test_the_same_records_change_no_file(controller: Controller) -> None:
    options: dict[str, t.Any] = {"livepatch_report_formats": FORMATS, "livepatch_fail_on": []}
    assert controller.playbook("--check", **options).result("localhost")["changed"] is True
    assert not (controller.folder / "livepatch-report").exists()
    assert controller.playbook(**options).result("localhost")["changed"] is True
    assert controller.playbook(**options).result("localhost")["changed"] is False


@pytest.mark.matrix
def test_data_of_hosts_is_never_evaluated(controller: Controller) -> None:
    canary = controller.folder / "canary"
    jinja = f"{{{{ lookup('pipe', 'touch {canary}') }}}}"
    for text in (*HOSTILE, jinja, '=HYPERLINK("https://evil.example")'):
        write_record(controller.records, hostile_record(text))
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


def _examples(language: str, page: str) -> list[str]:
    text = (GUIDE / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_rules_of_the_guide_work(controller: Controller) -> None:
    data = {"linux": package({"CVE-2022-0847": "4.4.0-999.999"}, "4.4.0-168.197")}
    (controller.folder / "com.ubuntu.xenial.pkg.json").write_text(json.dumps(release_data(data)), encoding="utf-8")
    plain, of_vulnerabilities = _examples("yaml", "rules.md")
    for example, variables in (
        (plain, {}),
        (of_vulnerabilities, {"livepatch_vulnerability_data": "com.ubuntu.xenial.pkg.json"}),
    ):
        (controller.folder / "site-rules.yml").write_text(example, encoding="utf-8")
        outcome = controller.playbook(livepatch_rules=["default", "site-rules.yml"], livepatch_fail_on=[], **variables)
        assert outcome.code == 0, outcome.output
        assert set(outcome.result("localhost")["hosts_by_rule"]) > {rule["id"] for rule in yaml.safe_load(example)}


def test_variables_of_the_guide_are_valid() -> None:
    playbook = (Path(__file__).resolve().parents[2] / "playbooks" / "check.yml").read_text(encoding="utf-8")
    text = (GUIDE / "ci.md").read_text(encoding="utf-8")
    for example in _examples("yaml", "ci.md"):
        assert yaml.safe_load(example)
    given = re.findall(r"-e '(\{.*?\})'", text)
    assert len(given) == 4
    for variables in map(json.loads, given):
        assert set(variables) <= set(re.findall(r"\blivepatch_\w+", playbook))


# --- vulnerabilities


@pytest.fixture
def exposed(tmp_path: Path) -> Controller:
    """New records: `web1` runs a patch that fixes a vulnerability, `web2` has no patch, `db1` gave no answer.

    A vulnerability that only a newer kernel fixes is open on both, so that `web1` is exposed.
    """
    controller = Controller(tmp_path)
    now = datetime.datetime.now(datetime.timezone.utc)
    collected = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    for record in (a_record("web1", collected_at=collected), a_record("web2", patched=False, collected_at=collected)):
        write_record(controller.records, record)
    write_attempt(controller.records, "db1", collected)
    (tmp_path / "data").mkdir()
    content = release_data({"linux": package({PATCHED: "4.4.0-200.232", KERNEL_ONLY: "4.4.0-201.233"}, VERSION)})
    (tmp_path / "data" / "com.ubuntu.xenial.pkg.json").write_text(json.dumps(content), encoding="utf-8")
    fixes = notice("0065-1", affected(version="65"), upstream=[PATCHED])
    (tmp_path / "data" / "LSN-0065-1.json").write_text(json.dumps(fixes), encoding="utf-8")
    return controller


def test_the_report_has_the_formats_of_scanners(exposed: Controller) -> None:
    options = {
        "livepatch_report_formats": ["table", "openvex", "scanner_csv"],
        "livepatch_vulnerability_data": "data",
        "livepatch_openvex_author": "Fleet security",
        "livepatch_fail_on": [],
    }
    first = exposed.playbook(**options)
    assert first.code == 0, first.output
    assert "fleet.txt, openvex/, fleet.scanner.csv, " in " ".join(first.output.split())
    figures = first.result("localhost")["openvex"]
    assert (figures["documents"], figures["without_document"]) == (2, 1)
    index = json.loads(exposed.written("openvex/index.json"))
    assert index["without_document"] == {"no_current_record": ["db1"]}
    found = {}
    for host, name in index["hosts"].items():
        document = json.loads(exposed.written(f"openvex/{name}"))
        assert (document["author"], document["version"]) == ("Fleet security", 1)
        found[host] = {each["vulnerability"]["name"]: each["status"] for each in document["statements"]}
    assert found == {
        "web1": {PATCHED: "not_affected", KERNEL_ONLY: "affected"},
        "web2": {PATCHED: "affected", KERNEL_ONLY: "affected"},
    }
    rows = list(csv.DictReader(exposed.written("fleet.scanner.csv").splitlines()))
    assert {(row["host"], row["cve"], row["status"]) for row in rows} == {
        ("web1", PATCHED, "live_patched"),
        ("web1", KERNEL_ONLY, "open"),
        ("web2", PATCHED, "open"),
        ("web2", KERNEL_ONLY, "open"),
        ("db1", PATCHED, "unknown"),
        ("db1", KERNEL_ONLY, "unknown"),
    }
    second = exposed.playbook(**options)
    assert second.result("localhost")["changed"] is False, second.output


def test_the_playbook_exposure_writes_the_same_documents(exposed: Controller) -> None:
    data = {"livepatch_vulnerability_data": "data"}
    report = exposed.playbook(livepatch_report_formats=["openvex", "scanner_csv"], livepatch_fail_on=[], **data)
    assert report.code == 0, report.output
    outcome = Ansible(exposed.folder, {}).playbook(
        "kernelops.livepatch.exposure",
        livepatch_record_dir="records",
        livepatch_openvex_dir="livepatch-report/openvex",
        livepatch_scanner_csv="livepatch-report/fleet.scanner.csv",
        livepatch_exposure_fail_on=[],
        **data,
    )
    assert outcome.code == 0, outcome.output
    evaluated = next(
        line["result"] for line in outcome.results if line["task"].endswith("Evaluate the vulnerabilities")
    )
    assert (evaluated["changed"], evaluated["openvex"]["changed"]) == (False, [])


def test_formats_of_scanners_need_data_before_the_report(exposed: Controller) -> None:
    outcome = exposed.playbook(livepatch_report_formats="table,openvex")
    assert outcome.code == 2, outcome.output
    assert (
        "livepatch_report_formats: without livepatch_vulnerability_data, a report cannot be written as openvex"
        in " ".join(outcome.output.split())
    )
    assert not (exposed.folder / "livepatch-report").exists()
