# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history of a fleet from outside: reports night after night, and two at the same time."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import sqlite3
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store, history_db
from tests.samples.notices import notice
from tests.samples.records import make_record

from .conftest import Ansible, Run

KERNEL = {"system__kernel__full": "4.4.0-168.197-generic"}


@dataclasses.dataclass(frozen=True)
class Controller:
    """A folder in which Ansible is started, with records and a history."""

    folder: Path

    @property
    def history(self) -> Path:
        return self.folder / "history.sqlite"

    def store(self, host: str, state: t.Any, day: int, records: str = "records", **places: t.Any) -> None:
        time = f"2031-03-{day:02}T12:00:00Z"
        folder_store.store(self.folder / records, make_record(host, state, collected_at=time, **KERNEL, **places))

    def report(self, *words: str, work: str = ".", **variables: t.Any) -> Run:
        given = {
            "livepatch_record_dir": str(self.folder / "records"),
            "livepatch_report_formats": ["json", "table"],
            "livepatch_report_dir": "report",
            "livepatch_history": str(self.history),
            "livepatch_fail_on": [],
            **variables,
        }
        (self.folder / work).mkdir(exist_ok=True)
        return Ansible(self.folder / work, {}).playbook("kernelops.livepatch.report", *words, **given)

    def document(self) -> dict[str, t.Any]:
        document: dict[str, t.Any] = json.loads((self.folder / "report" / "fleet.json").read_text(encoding="utf-8"))
        return document


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Notices of the fourth of March, of which patch 101 closes one."""
    controller = Controller(tmp_path)
    (tmp_path / "lsn").mkdir()
    (tmp_path / "lsn" / "LSN-0101-1.json").write_text(json.dumps(notice()))
    return controller


@pytest.mark.matrix
def test_nights_make_a_history_and_the_time_to_patch(controller: Controller) -> None:
    nights = [(3, "100.1", "protected"), (5, "100.1", "protected"), (6, "101.1", "applying"), (7, "101.1", "protected")]
    for day, patch, state in nights:
        controller.store("web1", state, day, patch__version=patch, patch__fixes=[])
        controller.store("web2", "disabled", day, patch__version=None, patch__fixes=[])
        outcome = controller.report(livepatch_notices=str(controller.folder / "lsn"))
        assert outcome.code == 0, outcome.output
        assert outcome.result("localhost")["changed"]
    told = outcome.result("localhost")["history"]
    # From 4 March, 05:06:07, to 7 March, 12:00.
    patched = {"exposures": 2, "mean_days": 3.29, "p95_days": 3.29}
    assert told == {
        "begins_at": "2031-03-03T12:00:00Z",
        "time_to_patch": patched,
        "open_exposures": 2,
        "closed_before": 0,
    }
    document = controller.document()
    assert document["history"]["time_to_patch"] == patched
    # They are in the future.
    assert document["history"]["days"] == []
    exposed = {"published": "2031-03-04T05:06:07Z", "cves": ["CVE-2031-1001", "CVE-2031-1002"]}
    assert document["exposures"] == [
        {"host": "web1", "closed_at": "2031-03-07T12:00:00Z", **exposed},
        {"host": "web2", "closed_at": None, **exposed},
    ]
    assert "Time to patch: 3.29 days on average" in outcome.output
    again = controller.report(livepatch_notices=str(controller.folder / "lsn"))
    assert not again.result("localhost")["changed"]
    assert again.result("localhost")["history"] == told


def test_two_reports_at_the_same_time_lose_nothing_and_keep_nothing_twice(controller: Controller) -> None:
    for number in range(40):
        for folder in ("berlin", "lisbon"):
            if number < 30 if folder == "berlin" else number >= 10:
                controller.store(f"web{number}", "protected" if number % 2 else "stale", 3, folder)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(controller.report, work=folder, livepatch_record_dir=str(controller.folder / folder))
            for folder in ("berlin", "lisbon")
        ]
    assert [run.result().code for run in runs] == [0, 0], [run.result().output for run in runs]
    found = dict(history_db.read_spans(controller.history))
    assert sorted(found) == sorted(f"web{number}" for number in range(40))
    assert all(len(spans) == 1 for spans in found.values())
    with sqlite3.connect(controller.history) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_in_check_mode_nothing_is_kept(controller: Controller) -> None:
    controller.store("web1", "protected", 3)
    outcome = controller.report("--check")
    assert outcome.code == 0, outcome.output
    assert outcome.result("localhost")["history"]["begins_at"] is None
    assert not controller.history.exists()


def test_what_ended_before_the_retention_is_forgotten(controller: Controller) -> None:
    folder_store.store(controller.folder / "records", make_record("old", collected_at="2020-01-01T00:00:00Z"))
    controller.store("web1", "protected", 3)
    outcome = controller.report(livepatch_retention=30)
    assert outcome.code == 0, outcome.output
    assert [host for host, _spans in history_db.read_spans(controller.history)] == ["web1"]
    assert not controller.report(livepatch_retention=30).result("localhost")["changed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"livepatch_retention": 0}, "Give retention as a number of days, 1 or more."),
        ({"livepatch_notices": "nowhere"}, "/nowhere cannot be read"),
        ({"livepatch_history": "records/web1.json"}, "cannot be used: file is not a database"),
        ({"livepatch_history": "ansible.cfg/history"}, "Give the user who runs Ansible write access"),
    ],
)
def test_what_cannot_be_used_is_named_before_anything_is_written(
    controller: Controller, options: dict[str, t.Any], message: str
) -> None:
    controller.store("web1", "protected", 3)
    before = (controller.folder / "records" / "web1.json").read_bytes()
    outcome = controller.report(**options)
    assert outcome.result("localhost")["kind"] == "failed"
    assert message in outcome.result("localhost")["msg"]
    assert not (controller.folder / "report").exists()
    assert (controller.folder / "records" / "web1.json").read_bytes() == before


def test_retention_and_notices_are_about_a_history(controller: Controller) -> None:
    controller.store("web1", "protected", 3)
    outcome = Ansible(controller.folder, {}).task(
        "kernelops.livepatch.fleet_report", "localhost", record_dir="records", retention=3
    )
    assert "Retention needs a history." in outcome.result("localhost")["msg"]
