# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The hosts that an upgrade selects, and the plan that it shows."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.upgrades import (
    UPGRADED_STATES,
    CheckedHost,
    UpgradeRun,
    plan_upgrades,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import WavesError

NEEDS = ("kernel_upgrade_required",)


def plan(*hosts: CheckedHost, **options: t.Any) -> UpgradeRun:
    return plan_upgrades(hosts, **{"states": UPGRADED_STATES, "force": False, "canaries": 0, "serial": 9, **options})


@pytest.mark.parametrize(
    ("state", "needs", "selected"),
    [
        ("upgrade_required", NEEDS, True),
        # By the months of the policy: the client reports nothing.
        ("end_of_life", (), True),
        ("protected", (), False),
        ("protected", ("upgrade_due_soon",), True),
        ("unverified", ("series_ended",), True),
        # The client of a host that the policy refuses can also ask for a newer kernel.
        ("ineligible", NEEDS, False),
        ("ineligible", ("upgrade_due_soon",), False),
        ("ineligible", ("series_ended",), False),
        ("failed", NEEDS, False),
        ("tampered", NEEDS, False),
        (None, NEEDS, False),
    ],
)
def test_states_select_hosts(state: str | None, needs: tuple[str, ...], selected: bool) -> None:
    run = plan(CheckedHost("a", state=state, needs=needs))
    assert run.waves.order == (("a",) if selected else ())
    assert ("a" in run.not_selected) is (bool(needs) and not selected)


def test_other_states_are_selected_on_request() -> None:
    hosts = [CheckedHost(name, state=name, needs=NEEDS) for name in ("ineligible", "failed", "end_of_life")]
    assert plan(*hosts, states=["ineligible"]).waves.order == ("ineligible",)
    assert plan(*hosts, force=True).waves.order == ("ineligible", "failed", "end_of_life")


def test_states_can_be_a_text() -> None:
    hosts = [CheckedHost(name, state=name, needs=NEEDS) for name in ("ineligible", "failed", "end_of_life")]
    run = plan(*hosts, states="ineligible, failed")
    assert run.waves.order == run.by_state == ("ineligible", "failed")
    with pytest.raises(WavesError, match="the state end_of_live does not exist"):
        plan(*hosts, states="end_of_live")


def test_hosts_that_end_soon_are_not_forced() -> None:
    run = plan(CheckedHost("a", state="protected", needs=("upgrade_due_soon",)))
    assert (run.waves.order, run.by_state) == (("a",), ())


def test_an_unfinished_host_is_always_selected() -> None:
    run = plan(CheckedHost("a", state="ineligible", unfinished=True, running="4.4.0-1-generic"))
    assert run.plan == ("wave 1: a: ineligible, 4.4.0-1-generic: an earlier run was interrupted",)


def test_the_plan_has_a_line_for_each_host() -> None:
    kernels = {"running": "4.4.0-1-generic", "target": "4.4.0-2-generic"}
    hosts = [
        CheckedHost("a", state="upgrade_required", reason="the client requires it", needs=NEEDS, **kernels),
        CheckedHost("b", state="end_of_life", needs=NEEDS, running="4.4.0-1-generic", target="4.4.0-1-generic"),
        CheckedHost("c", state="protected", needs=("upgrade_due_soon",), **kernels),
    ]
    assert plan(*hosts, canaries=1).plan == (
        "wave 1: a: upgrade_required, 4.4.0-1-generic to 4.4.0-2-generic: the client requires it",
        "wave 2: b: end_of_life, 4.4.0-1-generic (no newer kernel is known yet): kernel_upgrade_required",
        "wave 2: c: protected, 4.4.0-1-generic to 4.4.0-2-generic: upgrade_due_soon",
    )


def test_a_host_that_was_not_checked_is_no_canary() -> None:
    lost = CheckedHost("lost", "orders", failure="no answer")
    ready = CheckedHost("ready", "orders", state="upgrade_required", needs=NEEDS)
    assert plan(lost, ready).waves.left_out == {"ready": "lost of its drain group (orders) is down"}
    with pytest.raises(WavesError, match="lost could not be checked"):
        plan(lost, ready, canaries="lost")


def test_a_canary_that_is_done_needs_no_replacement() -> None:
    done = CheckedHost("done", state="protected")
    others = [CheckedHost(name, state="upgrade_required", needs=NEEDS) for name in "abc"]
    run = plan(done, *others, canaries=["done"], serial=2)
    assert (run.waves.order, run.waves.sizes) == (("a", "b", "c"), (2, 1))
