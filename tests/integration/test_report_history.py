# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history of a fleet: reports of several nights, and two reports at the same time."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import sqlite3
import typing as t
from pathlib import Path

import pytest

from tests.samples.notices import notice
from tests.samples.records import make_record

from .conftest import Ansible, Run
from .record_files import write_record

KERNEL = {"system__kernel__full": "4.4.0-168.197-generic"}


@dataclasses.dataclass(frozen=True)
class Controller:
    """A folder with records and a history, in which Ansible runs."""

    folder: Path

    @property
    def history(self) -> Path:
        return self.folder / "history.sqlite"

    def store(self, host: str, state: t.Any, day: int, records: str = "records", **places: t.Any) -> None:
        time = f"2021-03-{day:02}T12:00:00Z"
        write_record(self.folder / records, make_record(host, state, collected_at=time, **KERNEL, **places))

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

    def spans(self) -> dict[str, int]:
        """Return the number of spans of each host in the history."""
        query = "SELECT host.name, COUNT(*) FROM span JOIN host ON host.id = span.host GROUP BY host.name"
        with contextlib.closing(sqlite3.connect(self.history)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return dict(database.execute(query).fetchall())

    def document(self) -> dict[str, t.Any]:
        document: dict[str, t.Any] = json.loads((self.folder / "report" / "fleet.json").read_text(encoding="utf-8"))
        return document


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """Notices of the fourth of March, of which patch 101 closes one."""
    controller = Controller(tmp_path)
    (tmp_path / "lsn").mkdir()
    (tmp_path / "lsn" / "LSN-0101-1.json").write_text(json.dumps(notice(published="2021-03-04T05:06:07Z")))
    return controller


def test_nightly_reports_measure_the_time_to_patch(controller: Controller) -> None:
    nights = [(3, "100.1", "protected"), (5, "100.1", "protected"), (6, "101.1", "applying"), (7, "101.1", "protected")]
    for day, patch, state in nights:
        controller.store("web1", state, day, patch__version=patch, patch__fixes=[])
        controller.store("web2", "disabled", day, patch__version=None, patch__fixes=[])
        outcome = controller.report(livepatch_notices=str(controller.folder / "lsn"))
        assert outcome.code == 0, outcome.output
        assert outcome.result("localhost")["changed"]
    history = outcome.result("localhost")["history"]
    # From 4 March, 05:06:07, to 7 March, 12:00.
    patched = {"exposures": 2, "mean_days": 3.29, "p95_days": 3.29}
    assert history == {
        "begins_at": "2021-03-03T12:00:00Z",
        "time_to_patch": patched,
        "open_exposures": 2,
        "closed_before": 0,
    }
    document = controller.document()
    assert document["history"]["time_to_patch"] == patched
    both = {"disabled": 1, "protected": 1}
    assert [(each["date"], each["states"]) for each in document["history"]["days"]] == [
        ("2021-03-03", both),
        ("2021-03-04", both),
        ("2021-03-05", both),
        ("2021-03-06", {"applying": 1, "disabled": 1}),
        ("2021-03-07", both),
    ]
    exposed = {"published": "2021-03-04T05:06:07Z", "cves": ["CVE-2031-1001", "CVE-2031-1002"]}
    assert document["exposures"] == [
        {"host": "web1", "closed_at": "2021-03-07T12:00:00Z", **exposed},
        {"host": "web2", "closed_at": None, **exposed},
    ]
    assert "Time to patch: 3.29 days on average" in outcome.output
    again = controller.report(livepatch_notices=str(controller.folder / "lsn"))
    assert not again.result("localhost")["changed"]
    assert again.result("localhost")["history"] == history


def test_simultaneous_reports_store_everything_once(controller: Controller) -> None:
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
    assert controller.spans() == {f"web{number}": 1 for number in range(40)}


def test_check_mode_stores_no_history(controller: Controller) -> None:
    controller.store("web1", "protected", 3)
    outcome = controller.report("--check")
    assert outcome.code == 0, outcome.output
    assert outcome.result("localhost")["history"]["begins_at"] is None
    assert not controller.history.exists()


def test_spans_before_the_retention_are_removed(controller: Controller) -> None:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    write_record(controller.folder / "records", make_record("old", collected_at="2020-01-01T00:00:00Z"))
    write_record(controller.folder / "records", make_record("web1", collected_at=f"{yesterday:%Y-%m-%dT%H:%M:%SZ}"))
    outcome = controller.report(livepatch_retention=30)
    assert outcome.code == 0, outcome.output
    assert list(controller.spans()) == ["web1"]
    assert not controller.report(livepatch_retention=30).result("localhost")["changed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"livepatch_retention": 0}, "livepatch_retention: 0 is not allowed; the least is 1"),
        ({"livepatch_notices": "nowhere"}, "livepatch_notices: nowhere does not exist on the controller"),
        ({"livepatch_history": "records/web1.json"}, "cannot be used: file is not a database"),
        ({"livepatch_history": "ansible.cfg/history"}, "ansible.cfg is not a folder"),
    ],
)
def test_unusable_options_are_named_before_writing(
    controller: Controller, options: dict[str, t.Any], message: str
) -> None:
    controller.store("web1", "protected", 3)
    before = (controller.folder / "records" / "web1.json").read_bytes()
    outcome = controller.report(**options)
    assert outcome.result("localhost")["kind"] == "failed"
    assert message in outcome.result("localhost")["msg"]
    assert not (controller.folder / "report").exists()
    assert (controller.folder / "records" / "web1.json").read_bytes() == before


def test_retention_needs_a_history(controller: Controller) -> None:
    controller.store("web1", "protected", 3)
    outcome = Ansible(controller.folder, {}).task(
        "kernelops.livepatch.fleet_report", "localhost", record_dir="records", retention=3
    )
    assert "Retention needs a history." in outcome.result("localhost")["msg"]
