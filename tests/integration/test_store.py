# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The playbooks and the inventory plugin with a store in PostgreSQL."""

from __future__ import annotations

import json
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer

from .conftest import Ansible, Run

pytestmark = [pytest.mark.store, pytest.mark.skipif(NOT_INSTALLED is not None, reason=str(NOT_INSTALLED))]
CHECK, ENABLE, REPORT = "kernelops.livepatch.check", "kernelops.livepatch.enable", "kernelops.livepatch.report"
STORE, RECORD_STORE = "kernelops.livepatch.store", "kernelops.livepatch.record_store"
HOSTS = "xenial-generic,i386,unreachable"
STATES = {"xenial-generic": "protected", "i386": "ineligible", "unreachable": "no_answer"}
TOKEN = "c0ffee00c0ffee00c0ffee00c0ffee00"
PASSWORD = "s3cret-word"


@pytest.fixture(scope="module")
def server() -> t.Iterator[PostgresServer]:
    with PostgresServer.run() as started:
        yield started


@pytest.fixture
def database(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LIVEPATCH_SPOOL_DIR", str(tmp_path / "spool"))
    return server.database()


def states(folder: Path) -> dict[str, str]:
    [file] = folder.rglob("fleet.json")
    report = json.loads(file.read_text("utf-8"))
    found = {record["host"]: record["assessment"]["state"] for record in report["records"]}
    return found | {attempt["host"]: "no_answer" for attempt in report["unreachable"]}


def check(ansible: Ansible, store: str, **variables: t.Any) -> Run:
    given = {"livepatch_fail_on": [], "livepatch_report_formats": ["json", "table"], **variables}
    return ansible.playbook(CHECK, "--limit", HOSTS, livepatch_store=store, **given)


def test_a_fleet_is_checked_into_a_database(
    fleet: Fleet, ansible: Ansible, server: PostgresServer, database: str, tmp_path: Path
) -> None:
    secret = database.replace("postgres@", f"postgres:{PASSWORD}@")
    run = check(ansible, secret)
    assert run.code == 0, run.output
    assert states(ansible.folder / "livepatch-report") == STATES
    [report] = [line["result"] for line in run.results if "summary" in line["result"]]
    assert report["summary"]["coverage"] == {"this_run": 2, "last_day": 0, "older": 0, "none": 1}
    assert PASSWORD not in run.output + json.dumps(run.results)
    assert not (ansible.folder / "livepatch-records").exists()
    [(_id, _started, _by, limit)] = server.sql("SELECT * FROM livepatch.run", database)
    assert limit == HOSTS, "one run has all records"
    assert server.sql("SELECT count(*) FROM livepatch.record WHERE run IS NULL", database) == [(0,)]

    source = ansible.folder / "livepatch.yml"
    source.write_text(yaml.safe_dump({"plugin": "kernelops.livepatch.records", "store": database}), "utf-8")
    listed = ansible.command("inventory", "-i", str(source), "--list")
    groups = json.loads(listed.output[listed.output.index("{") : listed.output.rindex("}") + 1])
    assert groups["livepatch_state_protected"]["hosts"] == ["xenial-generic"]

    again = ansible.playbook(REPORT, livepatch_store=database, livepatch_fail_on=[], livepatch_report_formats=["json"])
    summary = again.result("localhost")
    assert summary["summary"]["coverage"] == {"this_run": 0, "last_day": 2, "older": 0, "none": 1}
    assert summary["history"] is not None


def test_a_folder_moves_into_a_database_and_out_of_it(
    fleet: Fleet, ansible: Ansible, server: PostgresServer, database: str
) -> None:
    assert check(ansible, "livepatch-records", livepatch_history="history.sqlite").code == 0
    given = {
        "livepatch_store": database,
        "livepatch_import": "livepatch-records",
        "livepatch_import_history": "history.sqlite",
        "livepatch_export": "records.jsonl",
    }
    for changed in (True, False):
        run = ansible.playbook(STORE, **given)
        assert run.code == 0, run.output
        [result] = [line["result"] for line in run.results if "imported" in line["result"]]
        assert (result["changed"], result["exported"]) == (changed, 3)
    lines = (ansible.folder / "records.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["host"] for line in lines} == set(STATES)
    assert server.sql("SELECT count(DISTINCT host) FROM livepatch.span", database) == [(3,)]
    refused = ansible.task(RECORD_STORE, "localhost", store="records", import_folders=["livepatch-records"])
    assert refused.result("localhost")["error_id"] == "options_invalid"


def test_a_run_does_not_stop_with_its_database(
    fleet: Fleet, ansible: Ansible, server: PostgresServer, database: str
) -> None:
    server.stop()
    try:
        run = check(ansible, database)
    finally:
        server.start()
    assert run.code == 0, run.output
    assert states(ansible.folder / "livepatch-report") == STATES
    assert "for the next run: 3." in " ".join(run.output.split())
    again = ansible.playbook(REPORT, livepatch_store=database, livepatch_fail_on=[])
    assert "now: 3." in " ".join(again.output.split())
    assert server.sql("SELECT count(*) FROM livepatch.host", database) == [(3,)]


def test_controllers_enable_no_more_hosts_than_seats(lab_processes: Fleet, tmp_path: Path, database: str) -> None:
    with lab_processes.with_hosts(tmp_path / "lab", 4, "not-installed") as fleet:
        fleet.set_tokens({TOKEN: {"seats": 100, "tier": "updates"}})

        def enable(number: int) -> Run:
            folder = tmp_path / f"controller-{number}"
            folder.mkdir()
            hosts = f"web-{2 * number + 1:04},web-{2 * number + 2:04}"
            given = {"livepatch_token": TOKEN, "livepatch_seats": 3, "livepatch_fail_on": []}
            return Ansible(folder, fleet.variables).playbook(
                ENABLE, "--limit", hosts, livepatch_store=database, **given
            )

        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(enable, range(2)))
        enabled = [machine for machine in fleet.machines().values() if machine["auth_token"] == TOKEN]
    assert len(enabled) == 3, "\n".join(run.output for run in runs)
