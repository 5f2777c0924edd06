# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module, the role and the playbook that report: their output and their files."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.samples.records import make_record
from tests.samples.reports import HOSTILE, hostile_record

from .conftest import Ansible, Run
from .record_files import write_attempt, write_record

ALL_FORMATS = ["table", "json", "jsonl", "markdown"]
COMPANIONS = ["changes.json", "changes.txt", "summary.txt"]
ALL_FILES = ["fleet.json", "fleet.jsonl", "fleet.md", "fleet.txt"]


@dataclasses.dataclass(frozen=True)
class Controller:
    """A folder with records, in which Ansible runs."""

    folder: Path

    @property
    def records(self) -> Path:
        return self.folder / "records"

    @property
    def output(self) -> Path:
        return self.folder / "report"

    def run(self, *words: str, **variables: str) -> Run:
        """Run `ansible-playbook` as a user who has no inventory."""
        return Ansible(self.folder, {}).command("playbook", *words, **variables)

    def report(self, *words: str, then: list[dict[str, t.Any]] | None = None, **options: t.Any) -> Run:
        """Run the module on `records`, or on other folders, and tasks after it."""
        task = {"kernelops.livepatch.fleet_report": {"record_dir": "records", **options}, "register": "report"}
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [task, *(then or [])]}
        playbook = self.folder / "play.yml"
        playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
        return self.run(str(playbook), *words)

    def written(self) -> dict[str, str]:
        """The files of the report by their names."""
        return {path.name: path.read_text(encoding="utf-8") for path in self.output.iterdir() if path.is_file()}


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Records of three hosts: one is protected, one is disabled, one was unreachable after its record."""
    controller = Controller(tmp_path)
    write_record(controller.records, make_record("web1"))
    write_record(controller.records, make_record("web2", "disabled"))
    write_record(controller.records, make_record("web3", "stale"))
    reason = {"id": "connection_failed", "message": "connection refused", "remedy": "start sshd"}
    write_attempt(controller.records, "web3", "2026-01-11T00:00:00Z", reason)
    return controller


def test_a_report_in_every_format(controller: Controller) -> None:
    outcome = controller.report(formats=ALL_FORMATS, output_dir="report")
    assert outcome.code == 0, outcome.output
    written = controller.written()
    assert sorted(written) == sorted([*ALL_FILES, *COMPANIONS])
    assert sorted(outcome.result("localhost")["files"]) == [str(controller.output / name) for name in ALL_FILES]
    assert outcome.result("localhost")["changed"] is True
    assert outcome.result("localhost")["problems"] == []
    complete = json.loads(written["fleet.json"])["summary"]
    assert outcome.result("localhost")["summary"] == {**complete, "not_listed": {}}
    assert {state: hosts for state, hosts in outcome.result("localhost")["hosts_by_state"].items() if hosts} == {
        "no_answer": ["web3"],
        "disabled": ["web2"],
        "protected": ["web1"],
    }
    assert "3 hosts: 1 protected, 1 no_answer, 1 disabled." in outcome.output
    assert "last seen 2026-01-10T06:00:00Z, stale; start sshd" in outcome.output
    assert "3 hosts: 1 protected, 1 no_answer, 1 disabled." in written["fleet.txt"]
    assert [json.loads(line)["host"] for line in written["fleet.jsonl"].splitlines()] == ["web3", "web2", "web1"]
    assert "| `web2` | disabled |" in written["fleet.md"]


def test_without_a_folder_only_the_table_is_shown(controller: Controller) -> None:
    outcome = controller.report(fail_on=["failed", "tampered"])
    assert outcome.code == 0, "no host is in a state that fail_on lists"
    assert (outcome.result("localhost")["changed"], outcome.result("localhost")["files"]) == (False, [])
    assert "HOST  STATE" in outcome.output
    assert not [path for path in controller.folder.rglob("fleet.*") if path.is_file()]


def test_a_failed_report_names_the_cause(controller: Controller) -> None:
    (controller.folder / "taken").write_text("a file, where a folder must be", encoding="utf-8")
    cases: list[tuple[dict[str, t.Any], list[str]]] = [
        (
            {"record_dir": "recrods", "output_dir": "report", "fail_on": ["failed"]},
            [f"no record in {controller.folder / 'recrods'}", "No such file or directory"],
        ),
        (
            {"output_dir": "report", "formats": ALL_FORMATS, "fail_on": ["end-of-live"]},
            ["there is no rule 'end-of-live'. Did you mean 'end_of_life'?"],
        ),
        (
            {"output_dir": "taken", "formats": ALL_FORMATS},
            [f"The report cannot be written to {controller.folder / 'taken' / 'fleet.'}", "choose another output_dir"],
        ),
        ({"output_dir": "./report/../records", "formats": ["json"]}, ["which holds records"]),
    ]
    options = [{"record_dir": "records", **each} for each, _words in cases]
    outcome = Ansible(controller.folder, {}).each_run("kernelops.livepatch.fleet_report", "localhost", options)
    for result, (_options, words) in zip(outcome.results, cases, strict=True):
        assert result["kind"] == "ignored"
        assert [word for word in words if word not in result["result"]["msg"]] == []
    assert "3 hosts:" in outcome.output, "the table is shown even if the files cannot be written"
    assert not controller.output.exists()
    assert not (controller.records / "fleet.json").exists()


def test_without_the_table_nothing_is_shown(controller: Controller) -> None:
    outcome = controller.report(formats=["json"], output_dir="report")
    assert "HOST" not in outcome.output
    assert sorted(controller.written()) == sorted(["fleet.json", *COMPANIONS])


def test_the_newest_record_of_several_folders_counts(controller: Controller) -> None:
    other = controller.folder / "other"
    write_record(other, make_record("web1", "tampered", collected_at="2026-01-09T00:00:00Z"))
    write_record(other, make_record("web3", "protected", collected_at="2026-01-12T00:00:00Z"))
    write_record(other, make_record("db1"))
    variables = {"livepatch_record_dir": ["records", "other"], "livepatch_fail_on": []}
    outcome = controller.run("kernelops.livepatch.report", "-e", json.dumps(variables))
    assert outcome.code == 0, outcome.output
    assert outcome.result("localhost")["hosts_by_state"]["protected"] == ["db1", "web1", "web3"]
    assert outcome.result("localhost")["summary"]["hosts"] == 4
    folder = controller.folder / "livepatch-report"
    written = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert written == sorted(["fleet.json", "fleet.md", "fleet.txt", *COMPANIONS])


def test_the_playbook_fails_for_unreachable_hosts(controller: Controller) -> None:
    outcome = controller.run("kernelops.livepatch.report", "-e", "livepatch_record_dir=records")
    assert outcome.code != 0
    assert "Of 3 hosts, 1 no_answer (web3), which fail_on lists." in outcome.output
    assert (controller.folder / "livepatch-report" / "fleet.json").is_file()


def test_only_expected_hosts_are_reported(controller: Controller) -> None:
    outcome = controller.report(hosts=["web1", "web9"])
    assert outcome.result("localhost")["hosts_by_state"]["no_answer"] == ["web9"]
    assert outcome.result("localhost")["summary"]["hosts"] == 2
    assert outcome.result("localhost")["summary"]["left_out"] == 2
    assert "2 more hosts have records, and are not in this report" in outcome.output


def test_unusable_files_hide_no_other_record(controller: Controller) -> None:
    (controller.records / "web1.json").write_text('{"schema": "kernelops.livepatch/rec', encoding="utf-8")
    newer = {**make_record("web4"), "schema": "kernelops.livepatch/record/2"}
    (controller.records / "web4.json").write_text(json.dumps(newer), encoding="utf-8")
    malformed: t.Any = make_record("web5")
    del malformed["patch"]["fixes"]
    (controller.records / "web5.json").write_text(json.dumps(malformed), encoding="utf-8")
    outcome = controller.report(record_dir=["records", "missing"])
    assert outcome.code == 0, outcome.output
    problems = {problem["id"]: problem for problem in outcome.result("localhost")["problems"]}
    assert {identifier: problem["host"] for identifier, problem in problems.items()} == {
        "invalid_json": "web1",
        "newer_schema": "web4",
        "malformed_record": "web5",
        "folder_unreadable": None,
    }
    assert "patch.fixes: is missing" in problems["malformed_record"]["message"]
    assert "upgrade kernelops.livepatch" in problems["newer_schema"]["message"]
    for problem in problems.values():
        assert problem["path"] in outcome.output
        assert problem["message"] in outcome.output
    assert outcome.result("localhost")["hosts_by_state"]["no_answer"] == ["web1", "web3", "web4", "web5"]
    assert outcome.result("localhost")["hosts_by_state"]["disabled"] == ["web2"]


@pytest.mark.matrix
def test_a_broken_rule_fails_after_all_files(controller: Controller) -> None:
    for number in range(10, 18):
        write_record(controller.records, make_record(f"web{number}", "failed"))
    outcome = controller.report(formats=ALL_FORMATS, output_dir="report", fail_on=["tampered", "failed", "disabled"])
    assert outcome.code != 0
    assert outcome.result("localhost")["msg"].startswith(
        "Of 11 hosts, 8 failed (web10, web11, web12, web13, web14 and 3 more); 1 disabled (web2), which fail_on lists. "
    )
    assert str(controller.output / "fleet.txt") in outcome.result("localhost")["msg"]
    assert sorted(controller.written()) == sorted([*ALL_FILES, *COMPANIONS])
    assert outcome.result("localhost")["summary"]["states"]["failed"] == 8
    assert "hosts_by_state" not in outcome.result("localhost")


@pytest.mark.matrix
def test_check_mode_predicts_a_report(controller: Controller) -> None:
    options: dict[str, t.Any] = {"formats": ALL_FORMATS, "output_dir": "report"}
    foretold = controller.report("--check", **options)
    assert foretold.code == 0, foretold.output
    assert not controller.output.exists()
    real = controller.report(**options)
    assert foretold.result("localhost") == real.result("localhost")
    assert "HOST  STATE" in foretold.output
    assert controller.report("--check", **options).result("localhost")["changed"] is False


def test_the_same_records_change_no_file(controller: Controller) -> None:
    options: dict[str, t.Any] = {"formats": ALL_FORMATS, "output_dir": "report"}
    controller.report(**options)
    before = controller.written()
    outcome = controller.report(**options)
    assert outcome.result("localhost")["changed"] is False
    assert len(outcome.result("localhost")["files"]) == 4
    assert controller.written() == before
    write_record(controller.records, make_record("web2", "protected"))
    assert controller.report(**options).result("localhost")["changed"] is True
    assert '"disabled": 0' in controller.written()["fleet.json"]
    (controller.output / "fleet.md").unlink()
    assert controller.report(**options).result("localhost")["changed"] is True


@pytest.mark.matrix
def test_data_of_hosts_is_never_evaluated(controller: Controller) -> None:
    canary = controller.folder / "canary"
    jinja = f"{{{{ lookup('pipe', 'touch {canary}') }}}}"
    for index, text in enumerate((*HOSTILE, jinja)):
        record = hostile_record(text)
        record["host"] = f"evil{index}"
        write_record(controller.records, record)
    write_record(controller.records, {**hostile_record(jinja), "host": jinja})
    show = {"ansible.builtin.debug": {"msg": "{{ report.summary.kernels }} {{ report.hosts_by_state.failed }}"}}
    outcome = controller.report(formats=ALL_FORMATS, output_dir="report", then=[show])
    assert outcome.code == 0, outcome.output
    assert "lookup('pipe', 'touch " in outcome.output
    assert not canary.exists()
    for name, text in {**controller.written(), "standard output": outcome.output}.items():
        assert all(line.isprintable() for line in text.split("\n")), name
    assert "| &lt;script&gt;alert(1)&lt;/script&gt;&lt;\\!-- &amp;amp; --&gt; |" in controller.written()["fleet.md"]


def test_files_and_logs_have_no_colour(controller: Controller) -> None:
    log = controller.folder / "ansible.log"
    playbook = ("kernelops.livepatch.report", "-e", "livepatch_record_dir=records")
    plain = controller.run(*playbook)
    coloured = controller.run(*playbook, ANSIBLE_NOCOLOR="0", ANSIBLE_FORCE_COLOR="1", ANSIBLE_LOG_PATH=str(log))
    assert "\x1b" not in plain.output
    assert "\x1b[32mprotected" in coloured.output
    logged = log.read_text(encoding="utf-8")
    assert "web1  protected" in logged
    assert "\x1b[32mprotected" not in logged
    report = (controller.folder / "livepatch-report" / "fleet.txt").read_text(encoding="utf-8")
    assert "\x1b" not in report


def test_the_table_fits_the_terminal(controller: Controller) -> None:
    playbook = ("kernelops.livepatch.report", "-e", "livepatch_record_dir=records")
    assert "NEXT STEP" not in controller.run(*playbook, COLUMNS="80").output
    assert "NEXT STEP" in controller.run(*playbook, COLUMNS="140").output


def test_the_role_reports_once_per_play(controller: Controller) -> None:
    variables = {
        "report_record_dir": "records",
        "report_hosts": "{{ ansible_play_hosts_all }}",
        "report_fail_on": [],
    }
    role = {"role": "kernelops.livepatch.report", "vars": variables}
    play = {"hosts": "all", "gather_facts": False, "roles": [role]}
    playbook = controller.folder / "play.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    outcome = controller.run(str(playbook), "-i", "web1,web2,web8,")
    assert outcome.code == 0, outcome.output
    assert outcome.output.count("Livepatch report of") == 1
    assert "3 hosts: 1 protected, 1 no_answer, 1 disabled." in outcome.output
    document = json.loads((controller.folder / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))
    assert [entry["host"] for entry in document["unreachable"]] == ["web8"]


def test_the_role_reports_every_record_by_default(controller: Controller) -> None:
    role = {"role": "kernelops.livepatch.report", "vars": {"report_record_dir": ["records"]}}
    play = {"hosts": "localhost", "gather_facts": False, "roles": [role]}
    playbook = controller.folder / "play.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    outcome = controller.run(str(playbook))
    assert outcome.code != 0
    assert "Of 3 hosts, 1 no_answer (web3)" in outcome.output


def test_a_broken_webhook_is_a_warning_without_secrets(controller: Controller) -> None:
    targets = [
        {"type": "slack", "url": "http://localhost:1/services/T0SECRET", "when": "always", "timeout": 1},
        {"type": "mail", "host": "localhost", "port": 1, "from": "a@b.example", "to": "c@d.example"},
    ]
    outcome = controller.report("-vvv", formats=["json"], output_dir="report", notify=targets)
    assert outcome.code == 0, outcome.output
    assert [each["status"] for each in outcome.result("localhost")["notifications"]] == ["failed", "not_due"]
    assert "The notification 'slack localhost' was not sent." in outcome.output
    assert "SECRET" not in outcome.output
    assert "fleet.json" in controller.written()
