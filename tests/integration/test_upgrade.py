# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The playbook `upgrade` and its role as a user runs them: waves, failures, and runs that another run completes."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Workload

from .conftest import Ansible, Run
from .upgrading import AT_ONCE, LIKE, NEW, OLD, Hosts

UPGRADE = "kernelops.livepatch.upgrade"
CONTAINERS = (Workload("registry"), Workload("database", runtime="lxd"))
RUNNING = ["database", "registry"]
OPTIONS: dict[str, t.Any] = {"livepatch_delay": 0, "livepatch_network": False}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 40, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


def some(hosts: Hosts, count: int) -> list[str]:
    return [hosts.take(workloads=CONTAINERS) for _number in range(count)]


def ansible_with(hosts: Hosts, folder: Path, variables: dict[str, dict[str, t.Any]] | None = None) -> Ansible:
    """Return Ansible with the inventory of the fleet, and with variables of hosts."""
    path = folder / "variables.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": variables or {}}}), encoding="utf-8")
    return Ansible(folder, {**hosts.fleet.variables, "ANSIBLE_INVENTORY": f"{hosts.fleet.inventory},{path}"})


def upgrade(ansible: Ansible, names: list[str], *words: str, **extra: t.Any) -> Run:
    return ansible.playbook(UPGRADE, *words, livepatch_hosts=names, **{**OPTIONS, **extra})


def plan_of(run: Run) -> list[list[str]]:
    """Return the waves that a run shows."""
    waves: dict[str, list[str]] = {}
    for line in shown(run)["plan"]:
        wave, host, _reason = line.split(": ", 2)
        waves.setdefault(wave, []).append(host)
    assert list(waves) == [f"wave {number}" for number in range(1, len(waves) + 1)]
    return list(waves.values())


def shown(run: Run) -> dict[str, t.Any]:
    """Return the plan that a run shows."""
    found = (line["result"]["msg"] for line in run.results if isinstance(line["result"].get("msg"), dict))
    return t.cast("dict[str, t.Any]", next(found))


def report_of(ansible: Ansible) -> dict[str, str]:
    """Return the state of every host in the report of a run."""
    report = json.loads((ansible.folder / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))
    states = {record["host"]: record["assessment"]["state"] for record in report["records"]}
    return states | {host["host"]: "no_answer" for host in report["unreachable"]}


def failures(run: Run) -> str:
    """Return the failures of a run as text."""
    bad = [line for line in run.results if line["kind"] not in ("ok", "skipped")]
    return "\n".join(f"{line['host']}: {line['kind']}: {line['result'].get('msg')}" for line in bad)


def upgraded(hosts: Hosts, name: str) -> bool:
    """Return True if a host has rebooted once, into the new kernel, and its containers run."""
    return (hosts.kernel(name), hosts.fleet.boots(name), hosts.running(name)) == (NEW, [NEW], RUNNING)


def untouched(hosts: Hosts, name: str) -> bool:
    """Return True if nothing was installed on a host, and it was neither rebooted nor drained."""
    changes = hosts.commands(name, "apt-get -y", "systemctl reboot", "docker stop", "lxc stop")
    return (hosts.kernel(name), hosts.running(name), changes) == (OLD, RUNNING, [])


@pytest.mark.waves
def test_a_lost_host_stops_the_run(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 7)
    lost, same_group = names[4], names[6]
    hosts.change(lost, reboot=dataclasses.replace(AT_ONCE, returns=False))
    ansible = ansible_with(
        hosts,
        tmp_path,
        {
            names[1]: {"drain_group": "a"},
            names[2]: {"drain_group": "a"},
            lost: {"drain_group": "b", "livepatch_reboot_timeout": 6},
            same_group: {"drain_group": "b"},
        },
    )

    first = upgrade(ansible, names, livepatch_serial=2)
    assert first.code != 0
    waves = plan_of(first)
    # The canary alone, then two at a time, and never two of a drain group.
    assert [len(wave) for wave in waves] == [1, 2, 2, 2]
    assert waves[0] == [names[0]]
    assert names[1] in waves[1]
    assert names[2] in waves[2]
    assert lost in waves[2]
    rest = waves[3]
    done = [name for name in names if name not in (*rest, lost)]
    assert [name for name in done if not upgraded(hosts, name)] == [], failures(first)
    assert [name for name in rest if not untouched(hosts, name)] == []
    assert "did not come back within 6 s" in first.output
    expected = dict.fromkeys(done, "protected") | dict.fromkeys(rest, "upgrade_required")
    assert report_of(ansible) == expected | {lost: "no_answer"}

    second = upgrade(ansible, names, livepatch_serial=2)
    assert second.code != 0, "a host is still lost"
    assert sorted(name for wave in plan_of(second) for name in wave) == sorted(set(rest) - {same_group})
    assert f"{lost} of its drain group (b) is down" in second.output
    assert untouched(hosts, same_group)
    assert [name for name in names if name not in (lost, same_group) and not upgraded(hosts, name)] == []
    assert report_of(ansible)[lost] == "no_answer"
    assert hosts.reboots(lost) == 1


@pytest.mark.kills
def test_the_next_run_completes_a_killed_one(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 4)
    ansible = ansible_with(hosts, tmp_path)
    extra = {**OPTIONS, "livepatch_hosts": names, "livepatch_serial": 2}
    with contextlib.ExitStack() as stack:
        draining = stack.enter_context(hosts.fleet.hold(names[1], "docker stop done"))
        rebooting = stack.enter_context(hosts.fleet.hold(names[2], "reboot"))
        booted = stack.enter_context(hosts.fleet.hold(names[2], "boot done"))
        run = stack.enter_context(ansible.start("playbook", UPGRADE, "-e", json.dumps(extra)))
        draining.wait(run.process)
        rebooting.wait(run.process)
        run.kill()
        rebooting.release()
        booted.wait()
    assert upgraded(hosts, names[0])
    assert [hosts.running(name) for name in names[1:3]] == [[], []]
    assert untouched(hosts, names[3])

    second = upgrade(ansible, names, livepatch_serial=2)
    assert second.code == 0, second.output
    assert [name for name in names if not upgraded(hosts, name)] == []
    assert set(report_of(ansible).values()) == {"protected"}

    third = upgrade(ansible, names)
    assert third.code == 0
    assert plan_of(third) == []
    assert [name for name in names if not upgraded(hosts, name)] == []


def window(begin: int, end: int) -> str:
    """Return a maintenance window. `begin` and `end` are hours from now."""
    now = dt.datetime.now(dt.timezone.utc)
    return "-".join(f"{now + dt.timedelta(hours=hours):%H:%M}" for hours in (begin, end)) + " UTC"


def test_check_mode_only_shows_the_plan(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 3)
    run = upgrade(ansible_with(hosts, tmp_path), names, "--check", livepatch_serial=1, livepatch_window=window(-2, 4))
    assert run.code == 0, run.output
    assert plan_of(run) == [[name] for name in names]
    results = [line["result"] for line in run.results if line["result"].get("msg", "") == f"would reboot into {NEW}"]
    assert len(results) == len(names)
    assert [name for name in names if not untouched(hosts, name)] == []


@pytest.mark.waves
def test_a_plan_has_the_canaries_in_every_form(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 4)
    a, b, c, d = names
    ansible = ansible_with(hosts, tmp_path)
    forms: list[tuple[t.Any, list[str]]] = [(2, [a, b]), (c, [c]), (f"{d}, {b}", [b, d]), ([d, c], [c, d])]
    for value, first in forms:
        # Values of the command line are texts.
        run = upgrade(ansible, names, livepatch_plan_only="true", livepatch_canary=value, livepatch_serial=9)
        assert run.code == 0, run.output
        rest = [name for name in names if name not in first]
        assert plan_of(run) == [first, rest]
        assert shown(run)["plan"][-1].startswith(f"wave 2: {rest[-1]}: upgrade_required, {OLD} to {NEW}: ")
        assert "WARNING" not in run.output
    assert [name for name in names if not untouched(hosts, name)] == []


def test_a_bad_option_ends_the_run_before_a_change(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 2)
    ansible = ansible_with(hosts, tmp_path)
    wrong = {
        "is not a host of this run": {"livepatch_canary": "misspelt"},
        "size of a wave": {"livepatch_serial": "abc"},
    }
    for text, option in wrong.items():
        run = upgrade(ansible, names, **option)
        assert run.code not in (0, 250), run.output
        assert text in run.output
        assert [name for name in names if not untouched(hosts, name)] == []


def test_variables_of_groups_set_the_waves(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 4)
    ansible = ansible_with(hosts, tmp_path)
    variables = {"livepatch_canary": 0, "livepatch_serial": 2, "livepatch_plan_only": True, "livepatch_window": ""}
    (tmp_path / "variables.yml").write_text(yaml.safe_dump({"all": {"vars": variables}}), encoding="utf-8")
    run = upgrade(ansible, names)
    assert run.code == 0, run.output
    assert plan_of(run) == [names[:2], names[2:]]


def test_an_ineligible_host_is_not_upgraded(hosts: Hosts, tmp_path: Path) -> None:
    (name,) = some(hosts, 1)
    policy = tmp_path / "policy.yml"
    ansible = ansible_with(hosts, tmp_path)
    system = {"release": "26.04", "architecture": "arm64", "kernel": "7.0", "flavours": ["generic"]}
    policy.write_text(yaml.safe_dump({"name": "none", "systems": [system]}), encoding="utf-8")
    run = upgrade(ansible, [name], livepatch_policy=str(policy))
    assert run.code == 0, run.output
    assert plan_of(run) == []
    assert "add ineligible to livepatch_upgrade_states" in shown(run)["not_selected"][name]
    assert untouched(hosts, name)
    asked = {"livepatch_upgrade_states": "upgrade_required,ineligible", "livepatch_plan_only": "false"}
    run = upgrade(ansible, [name], "--check", livepatch_policy=str(policy), livepatch_force="false", **asked)
    assert plan_of(run) == [[name]], run.output


@pytest.mark.waves
def test_two_runs_never_take_down_a_drain_group(hosts: Hosts, tmp_path: Path) -> None:
    first, second = some(hosts, 2)
    groups = {first: {"drain_group": 1}, second: {"drain_group": "1"}}
    ansible = ansible_with(hosts, tmp_path, groups)
    extra = {**OPTIONS, "livepatch_hosts": [first]}
    with (
        hosts.fleet.hold(first, "docker stop done") as drained,
        ansible.start("playbook", UPGRADE, "-e", json.dumps(extra)) as run,
    ):
        drained.wait(run.process)
        refused = upgrade(ansible, [second], livepatch_drain_group_timeout=0)
        assert refused.code != 0
        assert f"host {first} of the drain group 1 is down" in refused.result(second)["msg"].replace("Host", "host")
        assert hosts.commands(second, "docker stop", "lxc stop", "systemctl reboot") == []
        assert hosts.running(second) == RUNNING
        drained.release()
        assert run.process.wait(timeout=240) == 0
    assert upgraded(hosts, first)
    done = upgrade(ansible, [second])
    assert done.code == 0, done.output
    assert upgraded(hosts, second)
    assert list((tmp_path / "livepatch-records").glob("*.drain-group")) == []


def test_no_wave_starts_outside_the_window(hosts: Hosts, tmp_path: Path) -> None:
    (name,) = some(hosts, 1)
    ansible = ansible_with(hosts, tmp_path)
    run = upgrade(ansible, [name], livepatch_window=window(2, 4))
    assert run.code != 0
    assert "window" in run.result(name)["msg"]
    assert untouched(hosts, name)
    assert report_of(ansible) == {name: "upgrade_required"}


def test_a_failed_canary_stops_the_run(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 3)
    hosts.change(names[2], reboot=dataclasses.replace(AT_ONCE, into="old"))
    ansible = ansible_with(hosts, tmp_path)
    run = upgrade(ansible, names, livepatch_canary=[names[2]], livepatch_max_fail_percentage=100)
    assert run.code != 0
    assert f"instead of {NEW}" in run.output
    assert "Hosts of later waves, which were not changed: 2." in run.output
    assert [untouched(hosts, name) for name in names] == [True, True, False]
    assert hosts.running(names[2]) == RUNNING


@pytest.mark.waves
def test_tolerated_failures_protect_their_drain_group(hosts: Hosts, tmp_path: Path) -> None:
    names = some(hosts, 4)
    hosts.change(names[1], reboot=dataclasses.replace(AT_ONCE, into="old"))
    groups = {names[1]: {"drain_group": "pair"}, names[3]: {"drain_group": "pair"}}
    run = upgrade(ansible_with(hosts, tmp_path, groups), names, livepatch_serial=2, livepatch_max_fail_percentage=60)
    assert plan_of(run) == [[names[0]], [names[1], names[2]], [names[3]]]
    assert run.code != 0
    assert upgraded(hosts, names[2])
    assert untouched(hosts, names[3])
    assert "did not come back in this run" in run.output


def test_a_held_host_does_not_stop_others(hosts: Hosts, tmp_path: Path) -> None:
    held, ready = some(hosts, 2)
    hosts.change_apt(held, held=("linux-image-generic",))
    run = upgrade(ansible_with(hosts, tmp_path), [held, ready])
    assert run.code != 0
    assert "linux-image-generic is held back" in run.result(held)["msg"]
    assert upgraded(hosts, ready)
    assert untouched(hosts, held)


def test_the_role_runs_tasks_on_the_controller(hosts: Hosts, tmp_path: Path) -> None:
    (name,) = some(hosts, 1)
    ansible = ansible_with(hosts, tmp_path)
    for kind in ("pre", "post"):
        line = f"{kind} {{{{ inventory_hostname }}}}"
        copy = {"content": line, "dest": str(tmp_path / f"{kind}.txt"), "mode": "0600"}
        task = {"name": kind, "ansible.builtin.copy": copy, "delegate_to": "localhost", "connection": "local"}
        python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        (tmp_path / f"{kind}.yml").write_text(yaml.safe_dump([{**task, "vars": python}]), encoding="utf-8")
    options = {f"kernel_upgrade_{key.removeprefix('livepatch_')}": value for key, value in OPTIONS.items()}
    del options["kernel_upgrade_network"]
    options |= {"kernel_upgrade_pre_tasks": "pre.yml", "kernel_upgrade_post_tasks": str(tmp_path / "post.yml")}
    play = {
        "name": "Play",
        "hosts": name,
        "gather_facts": False,
        "roles": [{"role": "kernelops.livepatch.kernel_upgrade", "vars": options}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    run = ansible.command("playbook", "play.yml")
    assert run.code == 0, run.output
    assert [(tmp_path / f"{kind}.txt").read_text("utf-8") for kind in ("pre", "post")] == [
        f"pre {name}",
        f"post {name}",
    ]
    assert upgraded(hosts, name)

    for kind in ("pre", "post"):
        (tmp_path / f"{kind}.txt").unlink()
    again = ansible.command("playbook", "play.yml")
    assert again.code == 0, again.output
    assert all(not line["result"].get("changed") for line in again.results)
    assert not (tmp_path / "pre.txt").exists()
