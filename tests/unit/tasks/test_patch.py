# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `patch` from recorded answers: pauses, deadline, lost connections, results."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.host_check import CheckOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.patch import PatchOptions, apply_patch
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from tests.samples.client_host import LOCK, OTHER_LOCK, ClientHost, section
from tests.samples.facts import shipped
from tests.samples.replay import ConnectionLost, Replay

CHECK = CheckOptions(host="web1", policy=shipped("launch"), collector=Collector(collection="2", ansible_core="2.21"))
BEFORE = ClientHost(patch_state="nothing-to-apply", patch_version="", loaded=None)
APPLYING = ClientHost(patch_state="applying", loaded=None)
MOVING = ClientHost(patch_state="applying", transition="1")
APPLIED = ClientHost(transition="0")
REFRESHED = section("refresh", "Before refresh: …")
TASK = section("tasks", "4711 4711 backupd {{ 1/0 }}")

Answer: t.TypeAlias = "Sections | ConnectionLost | None"


def options(**changes: t.Any) -> PatchOptions:
    """Return options that do not verify signatures."""
    return dataclasses.replace(PatchOptions(check=CHECK, verify="off"), **changes)


def replay(*answers: Answer, seconds: float = 0) -> Replay:
    """Return a replay of these answers. The last one is repeated."""
    left = list(answers)
    return Replay(lambda _command: left.pop(0) if len(left) > 1 else left[0], script_seconds=seconds)


def refreshed(host: ClientHost, *more: Section) -> Sections:
    """Return the answer to a round trip with a refresh."""
    return host.answer(REFRESHED, *more)


def failure(played: Replay, wanted: PatchOptions) -> dict[str, t.Any]:
    """Return the failed result of the task."""
    with pytest.raises(LivepatchError) as caught:
        played.run(apply_patch(wanted))
    return caught.value.as_result()


# --- round trips ---


def test_a_patch_takes_two_round_trips() -> None:
    played = replay(BEFORE.answer(), refreshed(APPLIED))
    result = played.run(apply_patch(options(timeout=90)))
    assert [command.parts for command in played.scripts] == [("probe", "patch")] * 2
    assert [command.variables["refresh"] for command in played.scripts] == ["", "90"]
    assert [command.extra_seconds for command in played.scripts] == [0, 90]
    assert (result["changed"], result["previous_version"], result["version"]) == (True, None, "113.1")
    assert (result["patch_state"], result["round_trips"], played.sleeps) == ("applied", 2, [])
    assert result["msg"] == "patch 113.1 is applied"
    assert result["record"]["collected_at"] == "2026-03-01T04:00:00Z"


def test_the_newest_patch_is_not_replaced() -> None:
    result = replay(APPLIED.answer(), refreshed(APPLIED)).run(apply_patch(options()))
    assert (result["changed"], result["previous_version"], result["version"]) == (False, "113.1", "113.1")
    assert result["closed_cves"] == []


def test_a_newer_patch_closes_cves() -> None:
    old = ClientHost(patch_version="112.1", loaded="112", fixes={"CVE-2020-0001": True})
    new = APPLIED.change(fixes={"CVE-2020-0001": True, "CVE-2021-0002": True, "CVE-2021-0003": False})
    result = replay(old.answer(), refreshed(new)).run(apply_patch(options(diff=True)))
    assert (result["previous_version"], result["version"]) == ("112.1", "113.1")
    assert result["closed_cves"] == ["CVE-2021-0002"]
    assert result["diff"] == {"before": {"version": "112.1"}, "after": {"version": "113.1"}}


def test_old_hosts_without_patch_are_done() -> None:
    for state, text in (("nothing-to-apply", "nothing to apply"), ("kernel-upgrade-required", "only a newer kernel")):
        host = BEFORE.change(patch_state=state)
        result = replay(host.answer(), refreshed(host)).run(apply_patch(options()))
        assert (result["changed"], result["version"], result["patch_state"]) == (False, None, state)
        assert text in result["msg"]


# --- waiting ---


def test_the_pauses_of_a_wait_grow() -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING, TASK), *[MOVING.answer(TASK)] * 5, APPLIED.answer())
    result = played.run(apply_patch(options()))
    assert played.sleeps == [1, 2, 4, 8, 15, 15]
    assert (result["changed"], result["version"], result["tasks"]) == (True, "113.1", [])
    assert result["round_trips"] == len(played.scripts) == 2 + 6 + 1


def test_round_trips_of_a_wait_are_brief() -> None:
    anchors = trust.canonical_anchors()
    check = dataclasses.replace(CHECK, verify="file", anchors=anchors)
    played = replay(BEFORE.answer(), refreshed(MOVING), MOVING.answer(), APPLIED.answer())
    played.run(apply_patch(options(check=check)))
    sent = [tuple(command.variables[name] for name in ("refresh", "verify", "network")) for command in played.scripts]
    whole, brief = ("", "file", "1"), ("", "", "")
    assert sent == [whole, ("300", "file", "1"), brief, brief, whole]
    assert [command.may_fail for command in played.scripts] == [False, False, True, True, False]


def test_a_wait_ends_at_its_deadline() -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING, TASK), MOVING.answer(TASK))
    result = failure(played, options(timeout=20))
    assert played.sleeps == [1, 2, 4, 8, 5]
    assert result["error_id"] == "transition_stalled"
    assert "within 20 s; it is blocked by backupd {{ 1/0 }} (4711). " in result["msg"]
    assert result["tasks"] == [{"pid": 4711, "tid": 4711, "name": "backupd {{ 1/0 }}"}]
    assert result["changed"] is True
    assert (result["round_trips"], result["kernel_log"], result["journal"]) == (8, [], [])


def test_the_deadline_counts_refresh_and_round_trips() -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING), MOVING.answer(), seconds=8)
    assert failure(played, options(timeout=20))["error_id"] == "transition_stalled"
    # The refresh ends at 8 s, the brief round trips at 17 and 27 s.
    assert played.sleeps == [1, 2]


def test_the_whole_timeout_is_waited() -> None:
    played = replay(BEFORE.answer(), refreshed(APPLYING), APPLYING.answer())
    result = failure(played, options())
    assert (sum(played.sleeps), result["error_id"]) == (300, "not_yet_applied")
    assert "within 300 s" in result["msg"]
    assert result["changed"] is False


def test_a_failure_ends_the_wait() -> None:
    broken = APPLYING.change(patch_state="apply-failed")
    logs = (section("kernel_log", "livepatch: failed"), section("journal", "cannot apply: no memory"))
    played = replay(BEFORE.answer(), refreshed(APPLYING), broken.answer(*logs))
    result = failure(played, options())
    assert (result["error_id"], played.sleeps) == ("apply_failed", [1])
    assert (result["kernel_log"], result["journal"]) == (["livepatch: failed"], ["cannot apply: no memory"])
    assert "no memory" in result["msg"]
    assert result["record"]["assessment"]["state"] == "failed"


def test_without_wait_a_pending_patch_succeeds() -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING, TASK))
    result = played.run(apply_patch(options(wait=False)))
    assert (result["changed"], result["patch_state"], result["round_trips"]) == (True, "applying", 2)
    assert (played.sleeps, len(result["tasks"])) == ([], 1)
    assert result["record"]["assessment"]["state"] == "applying"


def test_a_long_refresh_is_no_clock_skew() -> None:
    late = refreshed(APPLIED)
    late = Sections(
        [section("clock", str(1772337600 + 420)) if each.name == "clock" else each for each in late.values()],
        complete=True,
    )
    result = replay(BEFORE.answer(), late, seconds=210).run(apply_patch(options(timeout=900)))
    assert result["record"]["clock_skew_seconds"] == 0
    assert result["record"]["collected_at"] == "2026-03-01T04:07:00Z"


def test_without_wait_a_failure_still_fails() -> None:
    played = replay(BEFORE.answer(), refreshed(BEFORE.change(patch_state="apply-failed")))
    assert failure(played, options(wait=False))["error_id"] == "apply_failed"


def test_a_client_without_an_answer_is_waited_for() -> None:
    busy = APPLYING.change(errors="Could not connect: timeout")
    silent = Sections(
        [each for each in refreshed(busy).values() if each.name != "status json"]
        + [Section("status json", "timeout", exit_code=124)],
        complete=True,
    )
    played = replay(BEFORE.answer(), silent, APPLIED.answer())
    assert played.run(apply_patch(options()))["version"] == "113.1"
    assert played.sleeps == [1]


def test_a_refresh_beyond_the_timeout_fails() -> None:
    late = BEFORE.answer(Section("refresh", "timeout", exit_code=124))
    played = replay(BEFORE.answer(), late, seconds=5)
    result = failure(played, options(timeout=5))
    assert (result["error_id"], result["changed"], played.sleeps) == ("refresh_timed_out", False, [])


# --- lost connections ---


@pytest.mark.parametrize("lost", [None, ConnectionLost(), MOVING.answer(complete=False)], ids=["down", "lost", "half"])
def test_a_lost_connection_costs_one_round_trip(lost: Answer) -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING), lost, APPLIED.answer())
    result = played.run(apply_patch(options()))
    assert (result["version"], played.sleeps, played.resets) == ("113.1", [1, 2], 1)
    assert result["round_trips"] == len(played.scripts) == 5


def test_a_host_that_stays_lost_ends_the_task() -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING), ConnectionLost())
    with pytest.raises(ConnectionLost):
        played.run(apply_patch(options(timeout=20)))
    assert sum(played.sleeps) == 20


@pytest.mark.parametrize("number", [0, 1])
def test_a_connection_lost_elsewhere_ends_the_task(number: int) -> None:
    answers: list[Answer] = [BEFORE.answer(), refreshed(APPLIED)]
    answers[number] = ConnectionLost()
    with pytest.raises(ConnectionLost):
        replay(*answers).run(apply_patch(options()))


def test_half_an_answer_to_the_refresh_fails() -> None:
    half = Sections([Section("refresh", "lost")], complete=False)
    result = failure(replay(BEFORE.answer(), half), options())
    assert (result["error_id"], result["changed"]) == ("unreadable_output", False)


# --- temporary failures of the refresh ---

STOPPING = section("refresh", "", 1, "livepatchd error: daemon shutting down")
REFUSED = section("refresh", "", 1, "your kernel is not eligible for livepatch updates")


def test_a_refresh_that_is_refused_temporarily_is_repeated() -> None:
    played = replay(BEFORE.answer(), BEFORE.answer(STOPPING), BEFORE.answer(STOPPING), refreshed(APPLIED))
    result = played.run(apply_patch(options()))
    assert (result["version"], result["round_trips"], played.sleeps) == ("113.1", 4, [1, 2])
    assert [command.variables["refresh"] for command in played.scripts] == ["", "300", "300", "300"]


@pytest.mark.parametrize(
    ("wanted", "waited"), [({"timeout": 10}, 10), ({"timeout": 900}, 120), ({"timeout": 900, "wait": False}, 0)]
)
def test_a_refresh_is_repeated_until_a_deadline(wanted: dict[str, t.Any], waited: float) -> None:
    played = replay(BEFORE.answer(), BEFORE.answer(STOPPING))
    assert failure(played, options(**wanted))["error_id"] == "daemon_shutting_down"
    assert sum(played.sleeps) == waited


def test_a_refused_refresh_is_not_repeated() -> None:
    played = replay(BEFORE.answer(), BEFORE.answer(REFUSED))
    assert failure(played, options())["error_id"] == "not_eligible_kernel"
    assert played.sleeps == []


def test_a_daemon_that_is_stopping_is_no_obstacle() -> None:
    stopping = BEFORE.change(errors="livepatchd error: daemon shutting down")
    assert replay(stopping.answer(), refreshed(APPLIED)).run(apply_patch(options()))["version"] == "113.1"


# --- check mode, options and obstacles ---


@pytest.mark.parametrize(
    ("host", "changed", "version", "msg"),
    [
        (APPLIED, False, "113.1", True),
        (BEFORE, False, None, True),
        (BEFORE.change(patch_state="unapplied", patch_version="107.1"), True, "107.1", False),
    ],
)
def test_check_mode_only_reads(host: ClientHost, changed: bool, version: str | None, msg: bool) -> None:
    played = replay(host.answer())
    result = played.run(apply_patch(options(check_mode=True, diff=True)))
    assert [command.variables["refresh"] for command in played.scripts] == [""]
    assert (result["changed"], result["version"], result["round_trips"]) == (changed, version, 1)
    assert result["diff"]["after"] == {"version": version}
    assert ("msg" in result) is msg


@pytest.mark.parametrize(
    ("wanted", "cause", "text"),
    [
        ({"state": "absent"}, "no_rollback", "cannot be removed from a running kernel"),
        ({"state": "rollback"}, "no_rollback", "reboot"),
        ({"timeout": 0}, "timeout_invalid", "the timeout is 0 s"),
    ],
)
def test_invalid_options_fail_before_any_contact(wanted: dict[str, t.Any], cause: str, text: str) -> None:
    played = replay(BEFORE.answer())
    result = failure(played, options(**wanted))
    assert (result["error_id"], played.scripts) == (cause, [])
    assert text in result["msg"].lower()


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        (BEFORE.change(installed=False), "not_installed"),
        (BEFORE.change(enabled=False), "not_enabled"),
        (BEFORE.change(user="1000"), "not_root"),
        (BEFORE.change(errors="connection to the daemon failed"), "daemon_down"),
        (BEFORE.change(errors='your kernel "4.15.0" is not eligible for livepatch updates'), "not_eligible_kernel"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_host_with_an_obstacle_is_not_refreshed(host: ClientHost, cause: str, check_mode: bool) -> None:
    played = replay(host.answer())
    result = failure(played, options(check_mode=check_mode))
    assert [command.variables["refresh"] for command in played.scripts] == [""]
    assert (result["error_id"], result["changed"], result["round_trips"]) == (cause, False, 1)
    assert "record" in result
    assert result["remedy"]


# --- crash locks ---


def test_crash_locks_are_only_removed_on_request() -> None:
    host = BEFORE.change(patch_state="apply-failed", patch_version="113.1", locks=(LOCK, OTHER_LOCK))
    played = replay(host.answer(), refreshed(host))
    result = failure(played, options())
    assert [command.variables["locks"] for command in played.scripts] == ["", ""]
    assert (result["error_id"], result["crash_locks"], result["cleared_locks"]) == ("crash_lock", [LOCK], [])
    assert LOCK in result["msg"]
    assert "clear_crash_lock" in result["remedy"]


def test_locks_of_the_running_kernel_are_removed() -> None:
    host = BEFORE.change(locks=(LOCK, OTHER_LOCK))
    removed = [section(f"removed {LOCK}")]
    played = replay(host.answer(), refreshed(MOVING, *removed), APPLIED.change(locks=(OTHER_LOCK,)).answer())
    result = played.run(apply_patch(options(clear_crash_lock=True)))
    assert [command.variables["locks"] for command in played.scripts] == ["", LOCK, "", ""]
    assert (result["cleared_locks"], result["crash_locks"]) == ([LOCK], [])


def test_a_removed_lock_alone_is_a_change() -> None:
    host = BEFORE.change(locks=(LOCK,))
    played = replay(host.answer(), refreshed(BEFORE, section(f"removed {LOCK}")))
    assert played.run(apply_patch(options(clear_crash_lock=True)))["changed"] is True


def test_check_mode_removes_no_locks() -> None:
    host = BEFORE.change(patch_state="apply-failed", patch_version="113.1", locks=(LOCK,))
    played = replay(host.answer())
    result = played.run(apply_patch(options(clear_crash_lock=True, check_mode=True)))
    assert (result["changed"], result["version"], result["crash_locks"]) == (True, "113.1", [LOCK])
    assert played.scripts[0].variables["locks"] == ""


# --- records and verification ---


def test_an_unverified_patch_fails_only_if_required() -> None:
    check = dataclasses.replace(CHECK, verify="file", anchors=trust.canonical_anchors())
    for verify, cause in (("required", "not_verified"), ("best_effort", None), ("off", None)):
        played = replay(BEFORE.answer(), refreshed(APPLIED))
        if cause is None:
            assert played.run(apply_patch(options(check=check, verify=verify)))["changed"] is True
            continue
        result = failure(played, options(check=check, verify=verify))
        assert (result["error_id"], result["changed"], result["version"]) == (cause, True, "113.1")


def test_the_record_is_stored_also_on_failure() -> None:
    check = dataclasses.replace(CHECK, record_dir="records")
    broken = BEFORE.change(patch_state="apply-failed")
    played = replay(BEFORE.answer(), refreshed(broken))
    result = failure(played, options(check=check))
    assert played.stored == [result["record"]]
    assert result["record_file"] == "records/web1.json"


def test_the_service_is_asked_once() -> None:
    check = dataclasses.replace(CHECK, ask_server=True)
    played = replay(BEFORE.answer(), refreshed(MOVING), MOVING.answer(), APPLIED.answer())
    played.run(apply_patch(options(check=check)))
    assert len(played.questions) == 1


def test_the_record_has_its_round_trips_time() -> None:
    played = replay(BEFORE.answer(), refreshed(MOVING), APPLIED.answer(), seconds=10)
    result = played.run(apply_patch(options()))
    # Two round trips, a pause of 1 s and a brief round trip precede it.
    assert result["record"]["collected_at"] == "2026-03-01T04:00:31Z"
