# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Steps of the state of a host that come before the step of a vulnerability."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Reason
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.fleet_exposure import NO_RECORD
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.state_steps import (
    StateStep,
    step_of_record,
    step_of_state,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.exposure import (
    NO_CVE,
    NOT_CONFIRMED,
    Verdict,
)
from tests.samples.records import make_record

FIRST = ("no_answer", "tampered", "held_back", "failed", "unverified")
BEFORE_PATCH = ("stale", "applying", "unknown")


def reasons(remedy: str | None) -> list[Reason]:
    return [Reason(id="a_reason", message="a message", remedy=remedy)]


@pytest.mark.parametrize("state", STATES)
def test_states_with_a_problem_have_a_step(state: str) -> None:
    found = step_of_state("web1", state, reasons("solve the problem"))
    assert (found is not None) is (state in (*FIRST, *BEFORE_PATCH))
    assert step_of_state("web1", state, reasons(None)) is None
    assert step_of_state("web1", state, []) is None


@pytest.mark.parametrize(
    ("verdict", "before"),
    [
        (Verdict("open", "patch", patch=113), (*FIRST, *BEFORE_PATCH)),
        (Verdict("open", "kernel", "4.4.0-1.2"), FIRST),
        (Verdict("open", "reboot", "4.4.0-1.2"), FIRST),
        (Verdict("open", "none"), FIRST),
        (Verdict("unknown", reason=NOT_CONFIRMED), (*FIRST, *BEFORE_PATCH)),
        (Verdict("unknown", reason=NO_RECORD), (*FIRST, *BEFORE_PATCH)),
        (Verdict("unknown", reason=NO_CVE), ()),
        (Verdict("fixed"), ()),
        (Verdict("live_patched"), ()),
        (Verdict("not_affected"), ()),
    ],
)
def test_the_step_precedes_what_it_would_prevent(verdict: Verdict, before: tuple[str, ...]) -> None:
    found = [state for state in (*FIRST, *BEFORE_PATCH) if StateStep(state, "solve").precedes(verdict)]
    assert sorted(found) == sorted(before)


@pytest.mark.parametrize(("host", "limit"), [("web1", "web1"), ("fe80::1", "fe80::1"), ("a b", None)])
def test_hosts_with_the_same_step_share_it(host: str, limit: str | None) -> None:
    command = "check it again: ansible-playbook kernelops.livepatch.check"
    found = step_of_state(host, "failed", reasons(f"{command} --limit {limit}; then wait" if limit else command))
    assert found is not None
    assert found.step == (f"{command}; then wait" if limit else command)


def test_a_record_has_the_step_of_its_state() -> None:
    record = make_record("web1", "tampered")
    found = step_of_record(record)
    assert found is not None
    assert (found.state, found.step) == ("tampered", record["assessment"]["reasons"][0]["remedy"])
    assert step_of_record(make_record("web1")) is None
