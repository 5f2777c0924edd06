# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts that send anything: the run ends, nothing is believed, and no host keeps an older record."""

from __future__ import annotations

import datetime
import json
import typing as t
from pathlib import Path

import pytest

from tests.lab.fleet import PLUGINS, running_fleet
from tests.lab.plugins.connection.hostile import SCENARIOS
from tests.samples.records import make_record

from .conftest import Ansible, Run
from .record_files import note_of, write_record

pytestmark = pytest.mark.matrix

HONEST = "xenial-generic"
SILENT_SECONDS = 2
RECORDS = "livepatch-records"
# Hosts whose answers claim something else than nothing.
CLAIMED = {
    "escapes": "failed",
    "fixes": "failed",
    "many_fixes": "unverified",
    "no_end": "failed",
    "wide": "ineligible",
}
REPORT = {"record_dir": RECORDS, "output_dir": "report", "formats": ["json"]}
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Collect the records",
                "kernelops.livepatch.patch_info": {"record_dir": RECORDS},
                "timeout": "{{ seconds | default(0) }}",
                "ignore_errors": True,
                "ignore_unreachable": True,
            },
            {
                "name": "Report",
                "kernelops.livepatch.fleet_report": {
                    "record_dir": RECORDS,
                    "output_dir": "report",
                    "formats": ["json"],
                },
                "run_once": True,
            },
        ],
    }
]


class Attacked(t.NamedTuple):
    """A run over all scenarios and one honest host. Every host was `protected` before."""

    run: Run
    folder: Path
    time_before: str
    files_before: set[str]

    def states(self) -> dict[str, str]:
        report = json.loads((self.folder / "report" / "fleet.json").read_text(encoding="utf-8"))
        found = {each["host"]: each["assessment"]["state"] for each in (*report["records"], *report["unreachable"])}
        return {host.replace("-", "_"): state for host, state in found.items()}


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.relative_to(folder).parts[0] != "home"}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Attacked]:
    folder = tmp_path_factory.mktemp("hostile")
    hour_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    before = hour_ago.strftime("%Y-%m-%dT%H:%M:%SZ")
    with running_fleet(tmp_path_factory.mktemp("lab"), only=[HONEST]) as fleet:
        hosts = {scenario: {"ansible_connection": "hostile", "hostile_scenario": scenario} for scenario in SCENARIOS}
        hosts["silent"]["seconds"] = str(SILENT_SECONDS)
        (folder / "hostile.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        (folder / "play.yml").write_text(json.dumps(PLAY), encoding="utf-8")
        for host in (*hosts, HONEST):
            write_record(folder / RECORDS, make_record(host, "protected", collected_at=before))
        ansible = Ansible(folder, {**fleet.variables, "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS)})
        words = ["playbook", "play.yml", "-i", str(fleet.inventory), "-i", "hostile.json"]
        found = _files(folder)
        yield Attacked(ansible.command(*words), folder, before, found)


def test_no_hostile_host_is_protected(attacked: Attacked) -> None:
    states = attacked.states()
    assert states.pop(HONEST.replace("-", "_")) == "protected", attacked.run.output
    assert states.keys() == set(SCENARIOS)
    assert {name: state for name, state in states.items() if state not in ("no_answer", "unknown")} == CLAIMED


def test_no_hostile_host_keeps_its_last_record(attacked: Attacked) -> None:
    """Each host has a new record, or a failed attempt with a cause."""
    for scenario in SCENARIOS:
        record = json.loads((attacked.folder / RECORDS / f"{scenario}.json").read_text(encoding="utf-8"))
        is_new = record["collected_at"] > attacked.time_before
        assert is_new != note_of(attacked.folder / RECORDS, scenario).exists(), scenario
    notes = {name: note_of(attacked.folder / RECORDS, name) for name in ("silent", "wrong_nonce", "empty", "refusal")}
    ids = {name: json.loads(note.read_text("utf-8"))["reasons"][0]["id"] for name, note in notes.items()}
    expected = dict.fromkeys(("wrong_nonce", "empty", "refusal"), "script_did_not_run")
    assert ids == {**expected, "silent": "timed_out"}


def test_no_scenario_is_an_internal_error(attacked: Attacked) -> None:
    assert [line["host"] for line in attacked.run.results if line["result"].get("error_id") == "internal_error"] == []
    assert "Traceback" not in attacked.run.output


def test_records_and_output_of_hostile_hosts_are_bounded(attacked: Attacked) -> None:
    many = json.loads((attacked.folder / RECORDS / "many_fixes.json").read_text(encoding="utf-8"))
    assert many["assessment"]["reasons"][-1]["id"] == "record_truncated"
    for path in (attacked.folder / RECORDS).iterdir():
        assert path.stat().st_size <= 66_000, path
    assert len(attacked.run.output) < 200_000
    for character in ("\x1b", "\x07", "\x9b", "\u202e", "\x00"):
        assert character not in attacked.run.output


def test_only_records_and_the_report_are_written(attacked: Attacked) -> None:
    notes = {f"{RECORDS}/{scenario}.unreachable.json" for scenario in SCENARIOS}
    assert _files(attacked.folder) - attacked.files_before <= notes | {
        "ansible.cfg",
        "results.jsonl",
        "report",
        "report/fleet.json",
    }
