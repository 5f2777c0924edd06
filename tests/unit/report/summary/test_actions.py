# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What people must do: hosts with the same step together, and commands that can be pasted."""

from __future__ import annotations

import shlex
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.samples.changes import fresh, reported
from tests.samples.reports import HOSTILE, hostile_record, recorded


def host(name: str, state: t.Any, remedy: str, reason: str = "x", **changes: t.Any) -> t.Any:
    reasons = [{"id": reason, "message": f"{name} is not well.", "remedy": remedy}]
    return fresh(name, state, assessment__reasons=reasons, **changes)


def shown(report: Report) -> list[tuple[str, list[str], str | None]]:
    return [(each.step, each.hosts, each.command()) for each in report.actions]


def test_hosts_with_one_playbook_have_one_command() -> None:
    enable = (
        "enable the client: ansible-playbook kernelops.livepatch.enable --limit {} -e livepatch_policy=current; pass x"
    )
    upgrade = "upgrade the kernel and reboot: ansible-playbook kernelops.livepatch.upgrade --limit {}"
    report = reported(
        fresh("web1"),
        *(host(name, "disabled", enable.format(name)) for name in ("web2", "web3")),
        host("db1", "upgrade_required", upgrade.format("db1")),
        host("db2", "end_of_life", upgrade.format("db2")),
    )
    run = "ansible-playbook kernelops.livepatch."
    assert shown(report) == [
        ("upgrade the kernel and reboot", ["db2", "db1"], f"{run}upgrade --limit db2,db1"),
        ("enable the client", ["web2", "web3"], f"{run}enable --limit web2,web3 -e livepatch_policy=current"),
    ]


def test_other_variables_are_another_command() -> None:
    upgrade = "upgrade: ansible-playbook kernelops.livepatch.upgrade --limit {}{}; needs Ubuntu Pro"
    report = reported(
        host("db1", "end_of_life", upgrade.format("db1", " -e livepatch_force=true")),
        host("db2", "end_of_life", upgrade.format("db2", "")),
    )
    assert [command for _step, _hosts, command in shown(report)] == [
        "ansible-playbook kernelops.livepatch.upgrade --limit db1 -e livepatch_force=true",
        "ansible-playbook kernelops.livepatch.upgrade --limit db2",
    ]


def test_the_check_after_a_step_has_the_policy_of_the_last_one() -> None:
    reasons = [{"id": "x", "message": "x", "remedy": "x"}]
    checked = [
        fresh(name, "failed", assessment__reasons=reasons, eligibility__policy=policy)
        for name, policy in (("web1", "current"), ("web2", "launch"), ("web3", "current"))
    ]
    assert [command for _step, _hosts, command in shown(reported(*checked))] == [
        "ansible-playbook kernelops.livepatch.check --limit web1,web3 -e livepatch_policy=current",
        "ansible-playbook kernelops.livepatch.check --limit web2",
    ]


def test_steps_of_people_end_with_a_check() -> None:
    report = reported(
        host("web1", "failed", "Start the daemon.", "daemon_down"),
        host("web2", "failed", "Start the daemon.", "daemon_down"),
        host("web3", "failed", "Remove the lock.", "crash_lock"),
        fresh("web4", "applying"),
        fresh("web5"),
    )
    check = "ansible-playbook kernelops.livepatch.check --limit"
    assert shown(report) == [
        ("Start the daemon.", ["web1", "web2"], f"{check} web1,web2"),
        ("Remove the lock.", ["web3"], f"{check} web3"),
    ]


def test_a_step_that_mentions_a_playbook_is_for_people() -> None:
    """The playbook is a part of it, and may need variables that a person decides about."""
    step = "find the cause of the crash, then run kernelops.livepatch.patch with clear_crash_lock: true"
    [action] = reported(host("web1", "failed", step, "crash_lock")).actions
    assert (action.step, action.playbook) == (step, None)


def test_every_command_has_the_policy_of_the_check() -> None:
    current = {"eligibility__policy": "current"}
    report = reported(
        fresh("web1", "failed", **current),
        host("web2", "unknown", "see ansible-playbook kernelops.livepatch.check", **current),
        host("web3", "disabled", "ansible-playbook kernelops.livepatch.enable --limit web3", **current),
        hosts=["web1", "web2", "web3", "web4"],
    )
    commands = [command for _step, _hosts, command in shown(report)]
    assert len(commands) == 4
    assert [command for command in commands if not str(command).endswith(" -e livepatch_policy=current")] == []


def test_hosts_of_two_policies_have_two_checks() -> None:
    documents = fresh("web1", "failed", eligibility__policy="current"), fresh("web2", "failed")
    report = reported(*documents, hosts=["web1", "web2", "web3"])
    check = "ansible-playbook kernelops.livepatch.check --limit"
    assert sorted(str(command) for _step, _hosts, command in shown(report)) == [
        f"{check} web1 -e livepatch_policy=current",
        f"{check} web2",
        f"{check} web3",
    ]


def test_ineligible_hosts_come_last() -> None:
    report = reported(fresh("box1", "ineligible"), fresh("web1", "unknown"))
    assert [hosts for _step, hosts, _command in shown(report)] == [["web1"], ["box1"]]


@pytest.mark.parametrize("names", [["a b", "web1"], ["web*", "web1"], ["fe80::1", "web1"], ["$(id)", "web1"]])
def test_a_limit_is_one_argument(names: list[str]) -> None:
    report = reported(*(fresh(name, "failed") for name in names))
    [(_step, _hosts, command)] = shown(report)
    assert command is not None
    words = shlex.split(command)
    assert words[:3] == ["ansible-playbook", "kernelops.livepatch.check", "--limit"]
    usable = {name for name in names if " " not in name and "*" not in name}
    assert set(words[3].split(",")) == usable
    assert len(words) == 4


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    [action] = reported(recorded(hostile_record(text))).actions
    assert action.step.isprintable()
    assert (action.command() or "").isprintable()


def test_a_command_has_a_bounded_length() -> None:
    [action] = reported(*(fresh(f"web{number}", "failed") for number in range(1500))).actions
    assert len(action.hosts) == 1500
    assert str(action.command()).count(",") == 999
    assert str(action.command(2)).endswith("--limit web0,web1")
