# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `seat_plan`, on folders of records."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.host_list import has_host
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.seats import SeatPlan
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import seat_plan as task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.seat_plan import SeatOptions, seat_plan
from tests.samples.facts import shipped
from tests.samples.records import make_record
from tests.samples.replay import Replay


@pytest.fixture
def options(tmp_path: Path) -> SeatOptions:
    """A plan for three eligible hosts that are not enabled, and three seats."""
    for name in ("web1", "web2", "web3"):
        record = make_record(name, "disabled", client__enabled=False, system__machine_id_sha256=name)
        folder_store.store(tmp_path, record)
    return SeatOptions(
        record_dirs=(tmp_path,),
        hosts=None,
        priority=[],
        seats=2,
        policy=shipped("launch"),
        require_eligible=False,
        show=False,
        check_mode=False,
        granted_file=tmp_path / "granted",
    )


def plan(options: SeatOptions, **changes: t.Any) -> tuple[dict[str, t.Any], Replay]:
    replay = Replay(lambda _command: pytest.fail("a plan contacts no host"))
    return replay.run(seat_plan(dataclasses.replace(options, **changes))), replay


def grants(options: SeatOptions) -> dict[str, str]:
    file = options.record_dirs[0] / "seats.granted"
    return dict(json.loads(file.read_text())["granted"]) if file.exists() else {}


def test_hosts_get_seats_in_their_order(options: SeatOptions) -> None:
    result, _replay = plan(options, hosts=["web3", "web1", "web2"])
    assert result["granted"] == ["web3", "web1"]
    assert [denial["host"] for denial in result["denied"]] == ["web2"]


def test_priority_comes_first(options: SeatOptions) -> None:
    assert plan(options, priority=["web3", "elsewhere"])[0]["granted"][0] == "web3"


def test_grants_have_the_time_of_the_controller(options: SeatOptions) -> None:
    plan(options)
    assert grants(options) == {"web1": "2026-03-01T04:00:00.000000Z", "web2": "2026-03-01T04:00:00.000000Z"}


def test_check_mode_stores_no_grant(options: SeatOptions) -> None:
    assert plan(options, check_mode=True)[0]["granted"] == ["web1", "web2"]
    assert grants(options) == {}


def test_the_table_is_shown_on_request(options: SeatOptions) -> None:
    assert plan(options)[1].shown == []
    (table,) = plan(options, show=True)[1].shown
    assert "web1" in table


def test_the_policy_has_the_number_of_seats(options: SeatOptions) -> None:
    assert plan(options, seats=None)[0]["seats"] == shipped("launch").seats


@pytest.mark.parametrize("seats", [None, -1])
def test_a_number_of_seats_is_needed(options: SeatOptions, seats: int | None) -> None:
    policy = dataclasses.replace(options.policy, seats=None)
    with pytest.raises(LivepatchError) as caught:
        plan(options, seats=seats, policy=policy)
    assert caught.value.id == "seats_unknown"


def test_a_missing_folder_is_an_error(options: SeatOptions, tmp_path: Path) -> None:
    with pytest.raises(LivepatchError) as caught:
        plan(options, record_dirs=(tmp_path / "missing",))
    assert caught.value.id == "records_unusable"
    assert caught.value.remedy is not None


def test_the_result_for_many_hosts_is_small(options: SeatOptions) -> None:
    """AWX removes results of more than 700,000 bytes."""
    hosts = ["web1", *(f"web-{number:06}.example.com" for number in range(20_000))]
    result, _replay = plan(options, hosts=hosts, seats=50, check_mode=True)
    assert len(json.dumps(result)) < 300_000
    assert (result["granted"], result["granted_file"]) == (["web1"], None)
    assert len(result["denied"]) + result["not_listed"]["denied"] == 20_000


def test_many_granted_hosts_are_in_a_file(options: SeatOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [f"web-{number:06}.example.com" for number in range(100_000)]
    granted = SeatPlan(len(hosts), tuple(hosts), (), (), 0)
    monkeypatch.setattr(task, "plan_seats", lambda *_arguments, **_options: granted)
    result, _replay = plan(options, check_mode=True)
    assert len(json.dumps(result)) < 300_000
    assert result["granted"] == hosts[: len(hosts) - result["not_listed"]["granted"]]
    assert result["granted_file"] == str(options.granted_file)
    assert [name for name in (*hosts[::997], hosts[-1]) if not has_host(result["granted_file"], name)] == []
    assert not has_host(result["granted_file"], "web1")


def test_a_list_that_cannot_be_written_is_an_error(
    options: SeatOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    granted = SeatPlan(9000, tuple(f"web-{number:06}.example.com" for number in range(9000)), (), (), 0)
    monkeypatch.setattr(task, "plan_seats", lambda *_arguments, **_options: granted)
    with pytest.raises(LivepatchError) as caught:
        plan(options, check_mode=True, granted_file=tmp_path / "file" / "granted")
    assert caught.value.id == "files"
