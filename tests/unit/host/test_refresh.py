# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The output of a refresh, whatever the host sends."""

from __future__ import annotations

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import (
    BlockingTask,
    RefreshOutput,
    read_refresh_output,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections


def read(*sections: Section, **outputs: str) -> RefreshOutput:
    plain = [Section(name, "ok", text, exit_code=0) for name, text in outputs.items()]
    return read_refresh_output(Sections([*sections, *plain], complete=True))


def test_a_successful_refresh_has_no_failure() -> None:
    assert read(refresh="Before refresh: …") == RefreshOutput()
    assert read() == RefreshOutput()


def test_a_failed_refresh_has_its_cause() -> None:
    failed = read(Section("refresh", "ok", "", "Unknown Auth-Token", exit_code=1))
    assert failed.failure is not None
    assert failed.failure.id == "bad_token"
    on_stdout = read(Section("refresh", "ok", "dial tcp: no such host", exit_code=1))
    assert on_stdout.failure is not None
    assert on_stdout.failure.id == "server_unreachable"


def test_a_refresh_beyond_its_time_has_timed_out() -> None:
    late = read(Section("refresh", "timeout", exit_code=124))
    assert (late.failure, late.timed_out) == (None, True)


def test_a_refresh_without_an_end_is_interrupted() -> None:
    lost = read(Section("refresh", "lost"))
    assert lost.failure is not None
    assert lost.failure.id == "interrupted"


def test_only_removed_locks_are_listed() -> None:
    found = read(Section("removed b", "ok", "", exit_code=1), Section("removed a", "ok", exit_code=0))
    assert found.removed_locks == ("a",)


def test_blocking_tasks_are_read_once_each() -> None:
    lines = ["12 12 backup d", "12 13 worker", "12 12 backup d", "x 1 y", "1 2", "-1 0 z", "7 8 \x1b[2Jred"]
    tasks = read(tasks="\n".join(lines)).blocking_tasks
    assert tasks[:2] == (BlockingTask(12, 12, "backup d"), BlockingTask(12, 13, "worker"))
    assert [task.pid for task in tasks[2:]] == [7]
    assert "\x1b" not in tasks[2].name


def test_the_number_of_blocking_tasks_is_limited() -> None:
    assert len(read(tasks="\n".join(f"{pid} {pid} x" for pid in range(1, 99))).blocking_tasks) == 20


def test_logs_are_limited_and_printable() -> None:
    found = read(
        kernel_log="\n".join(f"line {number}" for number in range(30)), journal="x" * 1000 + "\n\x1b[2Jred\n\n"
    )
    assert (len(found.kernel_log), found.kernel_log[-1]) == (20, "line 29")
    assert [len(line) for line in found.journal] == [300, 6]
    assert "\x1b" not in found.journal[1]


def test_secrets_in_logs_are_masked() -> None:
    token = "5ec2e7" * 6
    journal = read(journal=f"PUT /enable?auth-token={token}\n\nlast").journal
    assert token not in "".join(journal)
    assert journal[-1] == "last"
