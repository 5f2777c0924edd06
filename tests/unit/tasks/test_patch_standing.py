# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The progress of a host towards its newest patch: applied, in transition, stalled, and the closed CVEs."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import client_failures
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import (
    ClientError,
    ClientStatus,
    ReportedFix,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import BlockingTask, RefreshOutput
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.patch_progress import (
    PatchProgress,
    Running,
    before_refresh,
    closed_cves,
    expected_version,
    judge_progress,
    locks_of_kernel,
    running,
    too_late,
    verified,
)
from tests.samples.facts import MODULE, a_client, a_host, a_patch, shipped, without_client
from tests.samples.records import make_record

QUIET = RefreshOutput(refused=None, timed_out=False, removed=(), tasks=(), kernel_log=(), journal=())
OTHER = "lkp_Ubuntu_4_4_0_210_242_generic_99"
LOCK = "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1"
DOWN = ClientStatus(enabled=None, error=ClientError("daemon_down", "dial unix"))
SLOW = ClientStatus(enabled=None, error=ClientError("timed_out", ""))
STRANGE = ClientStatus(enabled=None, error=ClientError("unreadable_output", "{{{"))


def stands(facts: HostFacts, **watch: t.Any) -> tuple[str, str]:
    found = judge_progress(
        facts, RefreshOutput(**{**{name: getattr(QUIET, name) for name in QUIET.__slots__}, **watch}), shipped("launch")
    )
    assert found.message
    assert found.remedy or found.phase == "arrived"
    return found.phase, found.id


# --- the running patch


@pytest.mark.parametrize(
    ("facts", "version"),
    [
        (a_host(), "113.1"),
        (a_host(client=a_client(patch_version="114.1")), "113"),
        (a_host(patches=(a_patch(), a_patch(module=OTHER))), "113.1"),
        (a_host(patches=(a_patch(module=OTHER), a_patch(enabled=False))), "99"),
        (a_host(patches=()), None),
        (a_host(patches=(a_patch(module="someone_elses"),)), None),
        (a_host(patches=None), "113.1"),
        (a_host(patches=None, client=a_client(patch_state="unapplied")), None),
        (without_client(patches=None), None),
    ],
)
def test_the_kernel_must_confirm_the_version(facts: HostFacts, version: str | None) -> None:
    assert running(facts).version == version


def test_the_kernel_decides_whether_patches_differ() -> None:
    one, same = Running("113.1", frozenset({(MODULE, "ab")})), Running("113.2", frozenset({(MODULE, "ab")}))
    rebuilt, unseen = Running("113.1", frozenset({(MODULE, "cd")})), Running("113.1", None)
    assert not one.differs_from(same)
    assert one.differs_from(rebuilt)
    assert not one.differs_from(unseen)
    assert same.differs_from(unseen)


# --- before a refresh


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (a_host(), None),
        (without_client(), "not_installed"),
        (a_host(root=False), "not_root"),
        (a_host(client=ClientStatus(enabled=False)), "not_enabled"),
        (a_host(client=DOWN), "daemon_down"),
        (a_host(client=STRANGE), "unreadable_output"),
        # The client does not answer while it works.
        (a_host(client=SLOW), None),
        (a_host(client=None), None),
    ],
)
def test_obstacles_of_a_refresh_are_named_first(facts: HostFacts, expected: str | None) -> None:
    found = before_refresh(facts)
    assert (found.id if found else None) == expected
    assert found is None or (found.phase == "stuck" and found.remedy)


# --- after a refresh


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({}, ("arrived", "applied")),
        ({"patch_state": "nothing-to-apply"}, ("arrived", "nothing_to_apply")),
        ({"patch_state": "kernel-upgrade-required"}, ("arrived", "upgrade_required")),
        ({"patch_state": "unapplied"}, ("moving", "not_yet_applied")),
        ({"patch_state": "applying"}, ("moving", "not_yet_applied")),
        ({"check_state": "needs-check"}, ("moving", "not_yet_applied")),
        ({"patch_state": "apply-failed"}, ("stuck", "apply_failed")),
        ({"patch_state": "applied-with-bug"}, ("stuck", "applied_with_bug")),
        ({"patch_state": "perhaps"}, ("stuck", "client_words_unknown")),
        ({"patch_state": None}, ("stuck", "client_words_unknown")),
        ({"check_state": "check-failed"}, ("stuck", "check_failed")),
        ({"patch_version": "114.1"}, ("moving", "kernel_disagrees")),
    ],
)
def test_the_client_status_gives_the_progress(client: dict[str, t.Any], expected: tuple[str, str]) -> None:
    assert stands(a_host(client=a_client(**client))) == expected


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (None, ("stuck", "unreadable_output")),
        (DOWN, ("stuck", "daemon_down")),
        (SLOW, ("moving", "timed_out")),
        (ClientStatus(enabled=False), ("stuck", "not_enabled")),
    ],
)
def test_a_client_without_status_is_an_error(client: ClientStatus | None, expected: tuple[str, str]) -> None:
    assert stands(a_host(client=client)) == expected


def test_a_failed_check_after_boot_is_tolerated() -> None:
    client = a_client(check_state="check-failed")
    grace = shipped("launch").check_grace
    assert stands(a_host(client=client, uptime=grace))[0] == "moving"
    assert stands(a_host(client=client, uptime=grace + datetime.timedelta(seconds=1)))[0] == "stuck"
    assert stands(a_host(client=client, uptime=None))[0] == "stuck"


def test_a_failed_refresh_is_reported_first() -> None:
    refused = client_failures.failure("bad_token", "Unknown Auth-Token")
    assert stands(a_host(), refused=refused, timed_out=True) == ("stuck", "bad_token")
    assert stands(a_host(), timed_out=True) == ("moving", "refresh_timed_out")


def test_the_kernel_must_confirm_the_client() -> None:
    assert stands(a_host(patches=None)) == ("arrived", "applied")
    assert stands(a_host(patches=(a_patch(transition=True),))) == ("moving", "in_transition")
    assert stands(a_host(patches=(a_patch(enabled=False),))) == ("moving", "kernel_disagrees")
    assert stands(a_host(patches=(a_patch(enabled=False, transition=True), a_patch()))) == ("arrived", "applied")
    applying = a_client(patch_state="applying")
    assert stands(a_host(client=applying, patches=(a_patch(transition=True),))) == ("moving", "in_transition")


@pytest.mark.parametrize(
    ("log", "transition", "expected"),
    [
        ((f"livepatch: enabling patch '{MODULE}'",), None, ("arrived", "applied")),
        ((f"livepatch: failed to enable patch '{MODULE}'",), None, ("stuck", "apply_failed")),
        (
            (f"livepatch: failed to enable patch '{MODULE}'", f"livepatch: enabling patch '{MODULE}'"),
            None,
            ("arrived", "applied"),
        ),
        ((f"livepatch: failed to enable patch '{OTHER}'",), None, ("arrived", "applied")),
        ((f"livepatch: failed to enable patch '{MODULE}'",), False, ("arrived", "applied")),
    ],
)
def test_the_kernel_log_replaces_missing_transitions(
    log: tuple[str, ...], transition: bool | None, expected: tuple[str, str]
) -> None:
    assert stands(a_host(patches=(a_patch(transition=transition),)), kernel_log=log) == expected


def test_the_journal_names_the_cause_of_failure() -> None:
    facts = a_host(client=a_client(patch_state="apply-failed"))
    watch = RefreshOutput(None, False, (), (), (), ("x failed", "Cannot apply: no memory", "later"))
    assert judge_progress(facts, watch, shipped("launch")).message.endswith(": Cannot apply: no memory")


def test_only_locks_of_the_running_kernel_count() -> None:
    locks = (LOCK, "livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2", "notes.txt", f"../{LOCK}")
    facts = a_host(crash_locks=locks, client=a_client(patch_state="apply-failed"))
    assert locks_of_kernel(facts) == (LOCK,)
    assert stands(facts) == ("stuck", "crash_lock")
    assert stands(a_host(client=a_client(patch_state="apply-failed"), crash_locks=locks[1:])) == (
        "stuck",
        "apply_failed",
    )


# --- the deadline, the verification, and the result


def test_a_transition_at_the_deadline_is_stalled() -> None:
    moving = PatchProgress("moving", "in_transition", "still moving", "wait")
    tasks = [BlockingTask(7, 7, "kvm"), BlockingTask(7, 8, "kvm"), BlockingTask(9, 9, "")]
    found = too_late(moving, tasks, 60)
    assert (found.phase, found.id) == ("stuck", "transition_stalled")
    assert "within 60 s; it is held up by kvm (7), a task without a name (9)" in found.message
    assert "held up" not in too_late(moving, (), 60).message
    other = too_late(PatchProgress("moving", "timed_out", "no answer", "read"), tasks, 60)
    assert other == PatchProgress("stuck", "timed_out", "no answer, and that did not change within 60 s", "read")
    arrived = PatchProgress("arrived", "applied", "patch 1 is applied")
    assert too_late(arrived, tasks, 60) is arrived


def _record(result: str, *, enabled: bool = True) -> t.Any:
    verification = {"level": "client", "result": result, "signer": None, "key_id": None, "sha512": None}
    patch = {"module": MODULE, "enabled": enabled, "transition": None, "build_id": None, "taint": None}
    return make_record(state="tampered", kernel_patches=[{**patch, "verification": verification}])


def test_the_required_level_is_enforced() -> None:
    def ids(record: t.Any) -> list[str | None]:
        found = [verified(record, verify) for verify in t.cast("t.Any", ("required", "best_effort", "off"))]
        return [each.id if each else None for each in found]

    assert ids(_record("verified")) == [None, None, None]
    assert ids(_record("failed")) == ["tampered", "tampered", None]
    assert ids(_record("failed", enabled=False)) == ["tampered", "tampered", None]
    assert ids(_record("not_checked")) == ["not_verified", None, None]
    assert ids(_record("not_checked", enabled=False)) == [None, None, None]


def test_only_newly_closed_vulnerabilities_are_listed() -> None:
    before = a_client(fixes=(ReportedFix("CVE-2", patched=True), ReportedFix("CVE-3", patched=False)))
    after = a_client(
        fixes=(
            ReportedFix("CVE-3", patched=True),
            ReportedFix("CVE-2", patched=True),
            ReportedFix("CVE-1", patched=False),
        )
    )
    assert closed_cves(before, after) == ["CVE-3"]
    assert closed_cves(None, after) == ["CVE-2", "CVE-3"]
    assert closed_cves(before, None) == []


def test_an_unapplied_version_is_expected() -> None:
    for state in ("unapplied", "applying", "apply-failed"):
        assert expected_version(a_host(client=a_client(patch_state=state))) == "113.1"
    assert expected_version(a_host()) is None
    assert expected_version(without_client()) is None
