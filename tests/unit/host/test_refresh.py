# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The output of a refresh: failures, tasks and logs."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import BlockingTask, read_refresh_output
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections


def sections(*found: Section, **outputs: str) -> Sections:
    plain = [Section(name.replace("__", " "), "ok", text, exit_code=0) for name, text in outputs.items()]
    return Sections([*found, *plain], complete=True)


def test_a_successful_refresh_has_no_error() -> None:
    found = read_refresh_output(sections(refresh="Before refresh: …"))
    assert (found.refused, found.timed_out, found.removed, found.tasks) == (None, False, (), ())
    assert read_refresh_output(sections()).refused is None


def test_a_failed_refresh_has_an_error_id() -> None:
    section = Section("refresh", "ok", "", "Unknown Auth-Token", exit_code=1)
    assert (read_refresh_output(sections(section)).refused or pytest.fail("nothing")).id == "bad_token"
    late = read_refresh_output(sections(Section("refresh", "timeout", exit_code=124)))
    assert (late.refused, late.timed_out) == (None, True)
    lost = read_refresh_output(sections(Section("refresh", "lost")))
    assert (lost.refused or pytest.fail("nothing")).id == "interrupted"


def test_locks_tasks_and_logs_are_bounded() -> None:
    tasks = "".join(f"{7 + number} {7 + number} kvm\n" for number in range(50))
    found = read_refresh_output(
        sections(
            Section("removed b", "ok", "", exit_code=1),
            removed__a="",
            tasks=f"7 7 kvm\n7 7 again\nnonsense\n{tasks}",
            kernel_log="\n".join(f"line {number}" for number in range(30)),
            journal="x" * 1000 + "\n\x1b[2Jred\n\n",
        )
    )
    assert found.removed == ("a",)
    assert len(found.tasks) == 20
    assert found.tasks[:2] == (BlockingTask(7, 7, "kvm"), BlockingTask(8, 8, "kvm"))
    assert (len(found.kernel_log), found.kernel_log[-1]) == (20, "line 29")
    assert len(found.journal[0]) == 300
    assert "\x1b" not in found.journal[1]
