# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Progress of a host towards its newest patch, for every state of client and kernel."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_failures import ClientFailure
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import (
    ClientError,
    ClientStatus,
    ReportedFix,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import (
    BlockingTask,
    RefreshOutput,
    read_refresh_output,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.patch_progress import (
    PatchProgress,
    RunningPatches,
    at_deadline,
    closed_cves,
    expected_version,
    judge_progress,
    locks_of_kernel,
    refresh_obstacle,
    running_patches,
    verification_failure,
)
from tests.samples.facts import MODULE, a_client, a_host, a_kernel, a_patch, shipped, without_client
from tests.samples.records import make_record

POLICY = shipped("launch")
OTHER = "lkp_Ubuntu_4_4_0_210_242_generic_99"
LOCK = "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1"
OTHER_LOCK = "livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2"
MINUTE = datetime.timedelta(minutes=1)


def with_client(**changes: t.Any) -> dict[str, t.Any]:
    return {"client": a_client(**changes)}


def with_error(cause: str) -> dict[str, t.Any]:
    return {"client": ClientStatus(error=ClientError(cause, "the output of the client"))}


def progress(facts: HostFacts, **refresh: t.Any) -> tuple[str, str]:
    found = judge_progress(facts, RefreshOutput(**refresh), POLICY)
    assert found.message
    assert found.remedy or found.phase == "done"
    return found.phase, found.id


# --- running patches ---


@pytest.mark.parametrize(
    ("facts", "version"),
    [
        (a_host(), "113.1"),
        (a_host(**with_client(patch_version="114.1")), "113"),
        (a_host(patches=(a_patch(), a_patch(module=OTHER))), "113.1"),
        (a_host(patches=(a_patch(module=OTHER), a_patch(enabled=False))), "99"),
        (a_host(patches=(a_patch(module=OTHER), a_patch(module=f"{MODULE[:-3]}112"))), "112"),
        (a_host(patches=(a_patch(module=OTHER),), **with_client(patch_state="unapplied")), "99"),
        (a_host(patches=()), None),
        (a_host(patches=(a_patch(module="someone_elses"),), **with_client(patch_version=None)), None),
        (a_host(patches=None), "113.1"),
        (a_host(patches=None, **with_client(patch_state="unapplied")), None),
        (a_host(client=None), "113"),
        (without_client(patches=None), None),
    ],
)
def test_the_client_version_needs_the_kernels_confirmation(facts: HostFacts, version: str | None) -> None:
    assert running_patches(facts).version == version


@pytest.mark.parametrize(
    ("facts", "differs"),
    [
        (a_host(patches=(a_patch(build_id="cd" * 20),)), True),
        (a_host(patches=(a_patch(module=OTHER),)), True),
        (a_host(patches=()), True),
        (a_host(patches=(a_patch(enabled=False),)), True),
        (a_host(**with_client(patch_version="113.2")), False),
        (a_host(patches=(a_patch(), a_patch(module=OTHER, enabled=False))), False),
        (a_host(patches=(a_patch(transition=True),)), False),
        (a_host(patches=None), False),
        (a_host(patches=None, **with_client(patch_version="114.1")), True),
    ],
)
def test_patches_differ_by_module_and_build(facts: HostFacts, differs: bool) -> None:
    assert running_patches(facts).differs_from(running_patches(a_host())) is differs


def test_versions_decide_only_without_modules() -> None:
    modules = frozenset({(MODULE, "ab")})
    one, same, unseen = (
        RunningPatches("113.1", modules),
        RunningPatches("113.2", modules),
        RunningPatches("113.1", None),
    )
    assert not one.differs_from(same)
    assert not one.differs_from(unseen)
    assert same.differs_from(unseen)


# --- before a refresh ---


@pytest.mark.parametrize(
    ("cause", "facts"),
    [
        ("not_installed", without_client()),
        ("not_root", a_host(root=False)),
        ("not_enabled", a_host(client=ClientStatus(enabled=False))),
        ("daemon_down", a_host(**with_error("daemon_down"))),
        ("interface_not_connected", a_host(**with_error("interface_not_connected"))),
        ("unreadable_output", a_host(**with_error("unreadable_output"))),
        (None, a_host()),
        (None, a_host(root=None)),
        (None, a_host(client=None)),
        (None, a_host(**with_error("timed_out"))),
        (None, a_host(**with_client(patch_state="apply-failed", check_state="check-failed"))),
    ],
)
def test_obstacles_to_a_refresh_are_named(cause: str | None, facts: HostFacts) -> None:
    found = refresh_obstacle(facts, POLICY)
    assert (found.id if found else None) == cause
    assert found is None or (found.phase == "failed" and found.remedy)


# --- after a refresh ---


@pytest.mark.parametrize(
    ("phase", "cause", "facts"),
    [
        ("done", "applied", a_host()),
        ("done", "applied", a_host(patches=(a_patch(transition=False),))),
        ("done", "applied", a_host(patches=None)),
        ("done", "applied", a_host(patches=(a_patch(module=OTHER, enabled=False), a_patch()))),
        ("done", "applied", a_host(patches=(a_patch(module=OTHER, enabled=False, transition=True), a_patch()))),
        ("done", "nothing_to_apply", a_host(patches=(), **with_client(patch_state="nothing-to-apply"))),
        ("done", "kernel_upgrade_required", a_host(patches=(), **with_client(patch_state="kernel-upgrade-required"))),
        ("pending", "in_transition", a_host(patches=(a_patch(transition=True),))),
        (
            "pending",
            "in_transition",
            a_host(patches=(a_patch(transition=True),), **with_client(patch_state="applying")),
        ),
        ("pending", "not_yet_applied", a_host(patches=(), **with_client(patch_state="applying"))),
        ("pending", "not_yet_applied", a_host(patches=(), **with_client(patch_state="unapplied"))),
        ("pending", "not_yet_applied", a_host(**with_client(check_state="needs-check"))),
        ("pending", "not_yet_applied", a_host(**with_client(patch_state=None, check_state="needs-check"))),
        ("pending", "kernel_disagrees", a_host(patches=())),
        ("pending", "kernel_disagrees", a_host(patches=(a_patch(enabled=False),))),
        ("pending", "kernel_disagrees", a_host(patches=(a_patch(module=OTHER),))),
        ("pending", "kernel_disagrees", a_host(**with_client(patch_version="114.1"))),
        ("pending", "kernel_disagrees", a_host(kernel=a_kernel("4.4.0-211-generic", "243"))),
        ("pending", "timed_out", a_host(**with_error("timed_out"))),
        ("failed", "apply_failed", a_host(patches=(), **with_client(patch_state="apply-failed"))),
        ("failed", "apply_failed", a_host(crash_locks=(OTHER_LOCK,), **with_client(patch_state="apply-failed"))),
        ("failed", "crash_lock", a_host(crash_locks=(LOCK,), **with_client(patch_state="apply-failed"))),
        ("failed", "applied_with_bug", a_host(**with_client(patch_state="applied-with-bug"))),
        ("failed", "client_words_unknown", a_host(**with_client(patch_state="levitating"))),
        ("failed", "client_words_unknown", a_host(**with_client(patch_state=None))),
        ("failed", "not_enabled", a_host(client=ClientStatus(enabled=False))),
        ("failed", "daemon_down", a_host(**with_error("daemon_down"))),
        ("failed", "unreadable_output", a_host(**with_error("unreadable_output"))),
        ("failed", "unreadable_output", a_host(client=None)),
    ],
)
def test_every_state_has_a_progress(phase: str, cause: str, facts: HostFacts) -> None:
    assert progress(facts) == (phase, cause)


def test_a_failed_check_is_tolerated_after_boot() -> None:
    failed, grace = with_client(check_state="check-failed"), POLICY.check_grace
    assert progress(a_host(uptime=MINUTE, **failed)) == ("pending", "check_failed")
    assert progress(a_host(uptime=grace, **failed)) == ("pending", "check_failed")
    assert progress(a_host(uptime=grace + datetime.timedelta(seconds=1), **failed)) == ("failed", "check_failed")
    assert progress(a_host(uptime=None, **failed)) == ("failed", "check_failed")


def test_a_failed_refresh_decides_first() -> None:
    failed = ClientFailure("bad_token", "Unknown Auth-Token")
    assert progress(a_host(), failure=failed, timed_out=True) == ("failed", "bad_token")
    assert progress(a_host(), timed_out=True) == ("pending", "refresh_timed_out")


@pytest.mark.parametrize(
    ("log", "transition", "phase"),
    [
        ((f"livepatch: enabling patch '{MODULE}'",), None, "done"),
        ((f"livepatch: failed to enable patch '{MODULE}'",), None, "failed"),
        ((f"livepatch: enabling patch '{MODULE}'", f"livepatch: failed to enable patch '{MODULE}'"), None, "failed"),
        ((f"livepatch: failed to enable patch '{MODULE}'", f"livepatch: enabling patch '{MODULE}'"), None, "done"),
        ((f"livepatch: failed to enable patch '{OTHER}'",), None, "done"),
        ((f"livepatch: failed to enable patch '{MODULE}'",), False, "done"),
    ],
)
def test_old_kernels_report_failures_in_their_log(log: tuple[str, ...], transition: bool | None, phase: str) -> None:
    assert progress(a_host(patches=(a_patch(transition=transition),)), kernel_log=log)[0] == phase


@pytest.mark.parametrize(
    ("client", "journal", "end"),
    [
        (
            {"patch_state": "apply-failed"},
            ("x failed", "Cannot apply: no memory", "later"),
            ": Cannot apply: no memory",
        ),
        ({"patch_state": "apply-failed"}, ("nothing of interest",), "could not apply its patch"),
        ({"check_state": "check-failed"}, ("bad server status 503", "later"), ": bad server status 503"),
    ],
)
def test_messages_quote_the_journal(client: dict[str, t.Any], journal: tuple[str, ...], end: str) -> None:
    found = judge_progress(a_host(**with_client(**client)), RefreshOutput(journal=journal), POLICY)
    assert found.message.endswith(end)


_answers = st.dictionaries(
    st.sampled_from(["refresh", "tasks", "kernel_log", "journal", "removed x", "removed "]),
    st.builds(
        dict,
        output=st.text(),
        errors=st.text(),
        exit_code=st.none() | st.integers(0, 255),
        status=st.sampled_from(["ok", "absent", "denied", "timeout", "lost"]),
    ),
)


@settings(max_examples=200)
@given(_answers)
def test_any_answer_can_be_judged(answers: dict[str, dict[str, t.Any]]) -> None:
    refresh = read_refresh_output(Sections([Section(name, **given) for name, given in answers.items()], complete=True))
    assert judge_progress(a_host(**with_client(patch_state="apply-failed")), refresh, POLICY).message


# --- at the deadline ---


def test_a_stalled_transition_names_the_blocking_tasks() -> None:
    pending = PatchProgress("pending", "in_transition", "still moving", "wait")
    tasks = [BlockingTask(7, 7, "kvm"), BlockingTask(7, 8, "kvm"), BlockingTask(9, 9, "")]
    found = at_deadline(pending, tasks, 60)
    assert (found.phase, found.id) == ("failed", "transition_stalled")
    assert found.message.endswith("within 60 s; it is blocked by kvm (7), an unnamed task (9)")
    assert "blocked" not in at_deadline(pending, (), 60).message


def test_a_pending_host_fails_at_the_deadline() -> None:
    pending = PatchProgress("pending", "timed_out", "no answer", "read")
    failed = PatchProgress("failed", "timed_out", "no answer, and this did not change within 60 s", "read")
    assert at_deadline(pending, [BlockingTask(7, 7, "kvm")], 60) == failed
    for other in (PatchProgress("done", "applied", "patch 1 is applied"), failed):
        assert at_deadline(other, (), 60) is other


# --- verification ---


def record(result: str, *, enabled: bool = True) -> t.Any:
    verification = {"level": "client", "result": result, "signer": None, "key_id": None, "sha512": None}
    patch = {"module": MODULE, "enabled": enabled, "transition": None, "build_id": None, "taint": None}
    return make_record(state="tampered", kernel_patches=[{**patch, "verification": verification}])


@pytest.mark.parametrize(
    ("result", "enabled", "causes"),
    [
        ("verified", True, [None, None, None]),
        ("failed", True, ["tampered", "tampered", None]),
        ("failed", False, ["tampered", "tampered", None]),
        ("not_checked", True, ["not_verified", None, None]),
        ("not_checked", False, [None, None, None]),
    ],
)
def test_verification_is_as_strict_as_required(result: str, enabled: bool, causes: list[str | None]) -> None:
    levels: t.Any = ("required", "best_effort", "off")
    found = [verification_failure(record(result, enabled=enabled), level) for level in levels]
    assert [each.id if each else None for each in found] == causes


# --- details of the result ---


def test_only_newly_fixed_cves_are_closed() -> None:
    def client(**fixes: bool) -> ClientStatus:
        return a_client(fixes=tuple(ReportedFix(cve.replace("_", "-"), patched) for cve, patched in fixes.items()))

    before, after = client(CVE_2=True, CVE_3=False), client(CVE_3=True, CVE_2=True, CVE_1=False)
    assert closed_cves(before, after) == ["CVE-3"]
    assert closed_cves(None, after) == ["CVE-2", "CVE-3"]
    assert closed_cves(before, None) == []


def test_an_unapplied_version_is_expected() -> None:
    for state in ("unapplied", "applying", "apply-failed"):
        assert expected_version(a_host(**with_client(patch_state=state))) == "113.1"
    assert expected_version(a_host()) is None
    assert expected_version(without_client()) is None


def test_only_locks_of_the_running_kernel_count() -> None:
    strange = ("notes.txt", f"../{LOCK}", f"{LOCK}/../../x", "* ", "livepatch_Ubuntu_x; rm", "-rf", f"{LOCK}\n")
    assert locks_of_kernel(a_host(crash_locks=(OTHER_LOCK, LOCK, *strange))) == (LOCK,)
