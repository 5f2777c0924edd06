# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `seat_plan`, with records of hosts of the lab."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet

from .conftest import Ansible, Run

SEAT_PLAN = "kernelops.livepatch.seat_plan"
WANTING = ["not-installed", "i386", "xenial-generic", "not-enabled", "no-network-command", "unreachable"]


@pytest.fixture(scope="module")
def records(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of these hosts and of one more that is enabled."""
    ansible = Ansible(tmp_path_factory.mktemp("checked"), fleet.variables)
    hosts = ":".join([*WANTING, "xenial-lowlatency"])
    assert ansible.playbook("kernelops.livepatch.check", "--limit", hosts, livepatch_fail_on=[]).code == 0
    return ansible.folder / "livepatch-records"


@pytest.fixture
def checked(ansible: Ansible, records: Path) -> Ansible:
    """A folder with the records."""
    shutil.copytree(records, ansible.folder / "livepatch-records")
    return ansible


def plan(ansible: Ansible, *words: str, **arguments: t.Any) -> Run:
    return ansible.task(SEAT_PLAN, "localhost", *words, **{"record_dir": "livepatch-records", **arguments})


def result(run: Run) -> dict[str, t.Any]:
    found = run.result("localhost")
    assert found["kind"] == "ok", run.output
    return found


@pytest.mark.matrix
def test_seats_are_planned_from_all_records(checked: Ansible) -> None:
    run = plan(checked, hosts=WANTING, priority=["not-enabled", "elsewhere"])
    found = result(run)
    assert found["changed"] is False
    assert found["seats"] == 3, "the number of the policy launch"
    assert found["in_use"] == ["no-network-command", "xenial-generic", "xenial-lowlatency"]
    assert found["granted"] == ["xenial-generic", "no-network-command"]
    assert found["free"] == 0
    assert {denial["host"]: denial["id"] for denial in found["denied"]} == {
        "not-enabled": "seats_used_up",
        "not-installed": "seats_used_up",
        "i386": "ineligible",
        "unreachable": "unreachable",
    }
    for denial in found["denied"]:
        assert denial["message"]
        assert denial["remedy"]
        assert f"{denial['host']} " in run.output
    assert "3 seats, 0 left: 2 kept, 4 denied." in run.output


def test_priority_comes_first_and_grants_are_remembered(checked: Ansible, tmp_path: Path) -> None:
    arguments = {"hosts": WANTING, "priority": ["not-enabled"], "seats": 4, "show": False}
    predicted = result(plan(checked, "--check", **arguments))
    assert not (tmp_path / "livepatch-records" / "seats.granted").exists(), "check mode grants nothing"
    run = plan(checked, **arguments)
    assert result(run) == predicted
    assert predicted["granted"] == ["xenial-generic", "no-network-command", "not-enabled"]
    assert "kept" not in run.output
    # No record of not-enabled is newer than its grant, so the host may be enabled now.
    other = result(plan(checked, hosts=["not-installed"], seats=4))
    assert other["granted"] == []
    assert "not-enabled" in other["in_use"]
    checked.playbook("kernelops.livepatch.check", "--limit", "not-enabled")
    assert result(plan(checked, hosts=["not-installed"], seats=4))["granted"] == ["not-installed"]


def test_ineligible_hosts_get_seats_on_request(checked: Ansible) -> None:
    found = result(plan(checked, hosts=["i386"], seats=9, require_eligible=False))
    assert found["granted"] == ["i386"]


def test_every_recorded_host_wants_a_seat(checked: Ansible) -> None:
    found = result(plan(checked, policy="current"))
    assert found["seats"] == 5
    assert found["granted"] == [
        "no-network-command",
        "xenial-generic",
        "xenial-lowlatency",
        "not-enabled",
        "not-installed",
    ]


def test_the_number_of_seats_is_required(ansible: Ansible, tmp_path: Path) -> None:
    policy = {"systems": [{"release": "16.04", "architecture": "amd64", "kernel": "4.4", "flavours": ["generic"]}]}
    failure = plan(ansible, policy=policy).result("localhost")
    assert failure["kind"] == "failed"
    assert failure["error_id"] == "seats_unknown"
    assert "Give the number as `seats`" in failure["msg"]
    assert "0 or more" in plan(ansible, seats=-1).result("localhost")["msg"]


def test_without_records_nothing_is_granted(ansible: Ansible, tmp_path: Path) -> None:
    failure = plan(ansible).result("localhost")
    assert failure["kind"] == "failed"
    assert failure["error_id"] == "records_unusable"
    assert "run the check playbook first" in failure["msg"]
    (tmp_path / "livepatch-records").mkdir()
    (tmp_path / "livepatch-records" / "seats.granted").write_text(json.dumps([]), encoding="utf-8")
    assert "remove this file" in plan(ansible).result("localhost")["msg"]
