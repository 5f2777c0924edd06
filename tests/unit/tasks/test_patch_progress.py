# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The progress of a host towards its newest patch, for every client state and kernel state."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
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
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import patch_progress
from tests.samples.facts import MODULE, NOW, a_client, a_host, a_kernel, a_patch, shipped, without_client

POLICY = shipped("launch")
NOTHING_SEEN = RefreshOutput(refused=None, timed_out=False, removed=(), tasks=(), kernel_log=(), journal=())
LOCK = "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1"
OTHER_LOCK = "livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2"
MINUTE = dt.timedelta(minutes=1)


def client(**changes: t.Any) -> dict[str, t.Any]:
    return {"client": a_client(**changes)}


def error(identifier: str) -> dict[str, t.Any]:
    return {"client": ClientStatus(error=ClientError(identifier, "original text"))}


def watch(**changes: t.Any) -> RefreshOutput:
    return RefreshOutput(**{**{name: getattr(NOTHING_SEEN, name) for name in RefreshOutput.__slots__}, **changes})


def stands(facts: HostFacts, seen: RefreshOutput = NOTHING_SEEN) -> tuple[str, str]:
    standing = patch_progress.judge_progress(facts, seen, POLICY)
    assert standing.message
    assert standing.phase == "arrived" or standing.remedy
    return standing.phase, standing.id


@pytest.mark.parametrize(
    ("phase", "identifier", "facts"),
    [
        ("arrived", "applied", a_host()),
        ("arrived", "applied", a_host(patches=(a_patch(transition=False),))),
        ("arrived", "applied", a_host(patches=None)),
        ("arrived", "applied", a_host(patches=(a_patch(module=f"{MODULE[:-3]}112", enabled=False), a_patch()))),
        ("arrived", "nothing_to_apply", a_host(patches=(), **client(patch_state="nothing-to-apply"))),
        ("arrived", "upgrade_required", a_host(patches=(), **client(patch_state="kernel-upgrade-required"))),
        ("moving", "in_transition", a_host(patches=(a_patch(transition=True),))),
        ("moving", "in_transition", a_host(patches=(a_patch(transition=True),), **client(patch_state="applying"))),
        ("moving", "not_yet_applied", a_host(patches=(), **client(patch_state="applying"))),
        ("moving", "not_yet_applied", a_host(patches=(), **client(patch_state="unapplied"))),
        ("moving", "not_yet_applied", a_host(patches=(), **client(patch_state=None, check_state="needs-check"))),
        ("moving", "kernel_disagrees", a_host(patches=())),
        ("moving", "kernel_disagrees", a_host(patches=(a_patch(enabled=False),))),
        ("moving", "kernel_disagrees", a_host(patches=(a_patch(module=f"{MODULE[:-3]}112"),))),
        ("moving", "kernel_disagrees", a_host(kernel=a_kernel("4.4.0-211-generic", "243"))),
        ("moving", "check_failed", a_host(uptime=MINUTE, **client(check_state="check-failed"))),
        ("moving", "timed_out", a_host(**error("timed_out"))),
        ("stuck", "check_failed", a_host(**client(check_state="check-failed"))),
        ("stuck", "check_failed", a_host(uptime=None, **client(check_state="check-failed"))),
        ("stuck", "apply_failed", a_host(patches=(), **client(patch_state="apply-failed"))),
        ("stuck", "apply_failed", a_host(crash_locks=(OTHER_LOCK,), **client(patch_state="apply-failed"))),
        ("stuck", "crash_lock", a_host(crash_locks=(LOCK,), **client(patch_state="apply-failed"))),
        ("stuck", "applied_with_bug", a_host(**client(patch_state="applied-with-bug"))),
        ("stuck", "client_words_unknown", a_host(**client(patch_state="levitating"))),
        ("stuck", "client_words_unknown", a_host(**client(patch_state=None))),
        ("stuck", "not_enabled", a_host(client=ClientStatus(enabled=False))),
        ("stuck", "daemon_down", a_host(**error("daemon_down"))),
        ("stuck", "unreadable_output", a_host(**error("unreadable_output"))),
        ("stuck", "unreadable_output", a_host(client=None)),
    ],
)
def test_every_host_state_has_its_progress(phase: str, identifier: str, facts: HostFacts) -> None:
    assert stands(facts) == (phase, identifier)


def test_a_refused_refresh_is_an_error() -> None:
    refused = ClientFailure("server_unreachable", "the server cannot be reached", "open port 443")
    assert stands(a_host(), watch(refused=refused)) == ("stuck", "server_unreachable")
    assert stands(a_host(), watch(timed_out=True)) == ("moving", "refresh_timed_out")


def test_without_transitions_the_kernel_log_decides() -> None:
    taken, refused = f"livepatch: enabling patch '{MODULE}'", f"livepatch: failed to enable patch '{MODULE}'"
    assert stands(a_host(), watch(kernel_log=(refused, taken))) == ("arrived", "applied")
    assert stands(a_host(), watch(kernel_log=(taken, refused))) == ("stuck", "apply_failed")
    assert stands(a_host(), watch(kernel_log=(taken, refused.replace(MODULE, "other")))) == ("arrived", "applied")
    with_transition = a_host(patches=(a_patch(transition=False),))
    assert stands(with_transition, watch(kernel_log=(taken, refused))) == ("arrived", "applied")


def test_the_reason_of_the_daemon_is_shown() -> None:
    facts = a_host(patches=(), **client(patch_state="apply-failed"))
    journal = ("Checking", "during refresh: cannot apply patches: payload checksum does not match", "No updates")
    standing = patch_progress.judge_progress(facts, watch(journal=journal), POLICY)
    assert standing.message.endswith("payload checksum does not match")


@pytest.mark.parametrize(
    ("identifier", "facts"),
    [
        ("not_installed", without_client()),
        ("not_root", a_host(root=False)),
        ("not_enabled", a_host(client=ClientStatus(enabled=False))),
        ("interface_not_connected", a_host(**error("interface_not_connected"))),
        (None, a_host()),
        (None, a_host(root=None)),
        (None, a_host(**error("timed_out"))),
        (None, a_host(**client(patch_state="apply-failed", check_state="check-failed"))),
    ],
)
def test_obstacles_of_a_refresh_are_found(identifier: str | None, facts: HostFacts) -> None:
    standing = patch_progress.before_refresh(facts)
    assert (standing.id if standing else None) == identifier


def test_a_transition_at_the_deadline_is_stalled() -> None:
    def late(facts: HostFacts, *tasks: BlockingTask) -> patch_progress.PatchProgress:
        return patch_progress.too_late(patch_progress.judge_progress(facts, NOTHING_SEEN, POLICY), tasks, 60)

    arrived = late(a_host())
    assert (arrived.phase, arrived.id) == ("arrived", "applied")
    slow = late(a_host(patches=(), **client(patch_state="applying")))
    assert (slow.phase, slow.id) == ("stuck", "not_yet_applied")
    assert "within 60 s" in slow.message
    held = late(
        a_host(patches=(a_patch(transition=True),)), BlockingTask(7, 7, "backupd"), BlockingTask(7, 9, "backupd")
    )
    assert (held.phase, held.id) == ("stuck", "transition_stalled")
    assert held.message.endswith("within 60 s; it is held up by backupd (7)")
    assert "held up" not in late(a_host(patches=(a_patch(transition=True),))).message


# --- the running patch ---


@pytest.mark.parametrize(
    ("version", "facts"),
    [
        ("113.1", a_host()),
        ("113.1", a_host(patches=None)),
        (None, a_host(patches=None, **client(patch_state="unapplied"))),
        (None, a_host(patches=())),
        ("112", a_host(patches=(a_patch(module=f"{MODULE[:-3]}112"),), **client(patch_state="unapplied"))),
        ("112", a_host(patches=(a_patch(module=f"{MODULE[:-3]}99"), a_patch(module=f"{MODULE[:-3]}112")))),
        (None, a_host(patches=(a_patch(module="stranger"),), **client(patch_version=None))),
        ("113", a_host(client=None)),
    ],
)
def test_the_kernel_must_confirm_the_version(version: str | None, facts: HostFacts) -> None:
    assert patch_progress.running(facts).version == version


def test_another_module_or_build_is_another_patch() -> None:
    now = patch_progress.running(a_host())
    for other in (
        a_host(patches=(a_patch(build_id="cd" * 20),)),
        a_host(patches=(a_patch(module=f"{MODULE[:-3]}112"),)),
        a_host(patches=()),
        a_host(patches=(a_patch(enabled=False),)),
    ):
        assert patch_progress.running(other).differs_from(now)
    # Another version of the client, or a disabled patch, makes no difference.
    for same in (
        a_host(**client(patch_version="113.2")),
        a_host(patches=(a_patch(), a_patch(module=f"{MODULE[:-3]}112", enabled=False))),
        a_host(patches=(a_patch(transition=True),)),
    ):
        assert not patch_progress.running(same).differs_from(now)
    # Without sysfs, the client is the only source.
    blind = patch_progress.running(a_host(patches=None))
    assert not blind.differs_from(now)
    assert patch_progress.running(a_host(patches=None, **client(patch_version="114.1"))).differs_from(blind)


def test_only_open_vulnerabilities_are_newly_closed() -> None:
    def named(*fixes: tuple[str, bool]) -> ClientStatus:
        return a_client(fixes=tuple(ReportedFix(cve, patched) for cve, patched in fixes))

    before, after = named(("CVE-1", True), ("CVE-2", False)), named(("CVE-3", True), ("CVE-2", True), ("CVE-4", False))
    assert patch_progress.closed_cves(before, after) == ["CVE-2", "CVE-3"]
    assert patch_progress.closed_cves(None, after) == ["CVE-2", "CVE-3"]
    assert patch_progress.closed_cves(before, None) == []


def test_check_mode_predicts_the_result() -> None:
    assert patch_progress.expected_version(a_host()) is None
    assert patch_progress.expected_version(a_host(client=None)) is None
    for state in ("unapplied", "applying", "apply-failed"):
        assert patch_progress.expected_version(a_host(**client(patch_state=state))) == "113.1"


def test_only_locks_of_the_running_kernel_count() -> None:
    strange = f"{LOCK}/../../x", "* ", "livepatch_Ubuntu_x; rm", "-rf", LOCK + "\n"
    assert patch_progress.locks_of_kernel(a_host(crash_locks=(OTHER_LOCK, LOCK, *strange))) == (LOCK,)


# --- verification ---


def recorded(**patch: t.Any) -> Record:
    return make_record(
        "web-01",
        a_host(patches=(a_patch(**patch),)),
        POLICY,
        collector=Collector(collection="1.0.0", ansible_core="2.19.0"),
        collected_at=NOW,
    )


@pytest.mark.parametrize(
    ("patch", "outcomes"),
    [
        ({}, (None, None, None)),
        ({"taint": None}, ("not_verified", None, None)),
        ({"taint": None, "enabled": False}, (None, None, None)),
        ({"taint": "OEK"}, ("tampered", "tampered", None)),
    ],
)
def test_the_required_level_is_enforced(patch: dict[str, t.Any], outcomes: tuple[str | None, ...]) -> None:
    record = recorded(**patch)
    found = [patch_progress.verified(record, verify) for verify in ("required", "best_effort", "off")]
    assert tuple(standing.id if standing else None for standing in found) == outcomes


# --- the answer of the host ---


def seen(**sections: dict[str, t.Any]) -> RefreshOutput:
    return read_refresh_output(Sections([Section(name, **given) for name, given in sections.items()], complete=True))


def test_the_output_of_a_refresh_is_parsed() -> None:
    assert seen(refresh={"status": "ok", "exit_code": 0}).refused is None
    failed = seen(refresh={"status": "ok", "exit_code": 1, "errors": "error executing refresh: dial tcp: no such host"})
    assert failed.refused is not None
    assert failed.refused.id == "server_unreachable"
    late = seen(refresh={"status": "timeout"})
    assert (late.refused, late.timed_out) == (None, True)
    lost = seen(refresh={"status": "lost"})
    assert lost.refused is not None
    assert lost.refused.id == "interrupted"


def test_tasks_are_unique_and_bounded() -> None:
    lines = ["12 12 backup d", "12 13 worker", "12 12 backup d", "x 1 y", "1 2", "-1 0 z", "7 8 \x1b[2Jred"]
    tasks = seen(tasks={"status": "ok", "output": "\n".join(lines)}).tasks
    assert tasks[:2] == (BlockingTask(12, 12, "backup d"), BlockingTask(12, 13, "worker"))
    assert [task.pid for task in tasks[2:]] == [7]
    assert "\x1b" not in tasks[2].name
    many = seen(tasks={"status": "ok", "output": "\n".join(f"{pid} {pid} x" for pid in range(1, 99))})
    assert len(many.tasks) == 20


def test_secrets_in_logs_are_masked() -> None:
    token = "5ec2e7" * 6
    journal = seen(journal={"status": "ok", "output": f"PUT /enable?auth-token={token}\n\nlast"}).journal
    assert token not in "".join(journal)
    assert journal[-1] == "last"


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["refresh", "tasks", "kernel_log", "journal", "removed x", "removed "]),
        st.builds(
            dict,
            output=st.text(),
            errors=st.text(),
            exit_code=st.none() | st.integers(0, 255),
            status=st.sampled_from(["ok", "absent", "denied", "timeout", "lost"]),
        ),
    )
)
def test_no_answer_crashes_the_parser(answers: dict[str, dict[str, t.Any]]) -> None:
    facts = a_host(**client(patch_state="apply-failed"))
    assert patch_progress.judge_progress(facts, seen(**answers), POLICY).message
