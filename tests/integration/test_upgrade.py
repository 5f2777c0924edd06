# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The playbook `upgrade` and its role, as a user runs them: in waves, stopping where it must, and going on after."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import running_fleet
from tests.lab.hosts.description import Reboot, Workload

from .conftest import Ansible, Run
from .upgrading import LIKE, NEW, OLD, Hosts, wait_until

UPGRADE = "kernelops.livepatch.upgrade"
CONTAINERS = (Workload("registry"), Workload("database", runtime="lxd"))
RUNNING = ["database", "registry"]
QUICK: dict[str, t.Any] = {
    "livepatch_delay": 1,
    "livepatch_reboot_timeout": 100,
    "livepatch_drain_timeout": 120,
    "livepatch_protected_timeout": 60,
    "livepatch_network": False,
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A fleet of thirty, for the test that needs so many."""
    with running_fleet(tmp_path_factory.mktemp("thirty"), 30, LIKE, writable=True) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts that the other tests take some of each."""
    with running_fleet(tmp_path_factory.mktemp("few"), 24, LIKE, writable=True) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


def some(hosts: Hosts, count: int) -> list[str]:
    return [hosts.next(workloads=CONTAINERS) for _number in range(count)]


def upgrade(ansible: Ansible, names: list[str], *words: str, **extra: t.Any) -> Run:
    return ansible.playbook(UPGRADE, *words, livepatch_hosts=names, **{**QUICK, **extra})


def plan_of(run: Run) -> list[list[str]]:
    """The waves that a run showed."""
    shown = next(line["result"]["msg"] for line in run.results if isinstance(line["result"].get("msg"), dict))
    order = iter(shown["hosts"])
    return [list(itertools.islice(order, size)) for size in shown["waves"]]


def report_of(ansible: Ansible) -> dict[str, str]:
    """The state of every host in the report that the run left."""
    said = json.loads((ansible.folder / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))
    states = {record["host"]: record["assessment"]["state"] for record in said["records"]}
    return states | {host["host"]: "unreachable" for host in said["unreachable"]}


def failures(run: Run) -> str:
    """What a test shows when a run went another way than it should."""
    bad = [line for line in run.results if line["kind"] not in ("ok", "skipped")]
    return "\n".join(f"{line['host']}: {line['kind']}: {line['result'].get('msg')}" for line in bad)


def untouched(hosts: Hosts, name: str) -> bool:
    return hosts.kernel(name) == OLD and hosts.reboots(name) == 0 and hosts.said(name, "apt-get -y") == []


def test_a_host_that_never_returns_stops_the_run_and_the_next_one_goes_on(hosts: Hosts, tmp_path: Path) -> None:
    fleet = hosts.fleet
    names = [hosts.next(workloads=CONTAINERS) for _number in range(30)]
    lost = names[16]
    hosts.change(lost, reboot=Reboot(returns=False))
    groups = {"all": {"hosts": {names[1]: {"drain_group": "a"}, names[2]: {"drain_group": "a"}}}}
    groups["all"]["hosts"] |= {lost: {"drain_group": "b"}, names[20]: {"drain_group": "b"}}
    (tmp_path / "groups.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    ansible = Ansible(
        tmp_path, {**fleet.variables, "ANSIBLE_INVENTORY": f"{fleet.inventory},{tmp_path / 'groups.yml'}"}
    )

    first = upgrade(ansible, names, livepatch_serial=8)
    assert first.code != 0
    waves = plan_of(first)
    # The canary alone, and then eight at a time, but never both of a drain group.
    assert [len(wave) for wave in waves] == [1, 8, 8, 8, 5]
    assert waves[0] == [names[0]]
    assert names[1] in waves[1]
    assert names[2] in waves[2]
    stopped = next(number for number, wave in enumerate(waves) if lost in wave)
    assert stopped == 2
    done = [name for wave in waves[: stopped + 1] for name in wave if name != lost]
    rest = [name for wave in waves[stopped + 1 :] for name in wave]
    for name in done:
        assert (hosts.kernel(name), fleet.boots(name), hosts.running(name)) == (NEW, [NEW], RUNNING), failures(first)
    for name in rest:
        assert untouched(hosts, name), name
        assert hosts.running(name) == RUNNING
    assert "did not come back within 100 s" in first.output
    expected = dict.fromkeys(done, "protected") | dict.fromkeys(rest, "upgrade_required")
    assert report_of(ansible) == expected | {lost: "unreachable"}

    second = upgrade(ansible, names, livepatch_serial=8)
    assert second.code != 0, "a host is still lost"
    waits = names[20]
    assert sorted(name for wave in plan_of(second) for name in wave) == sorted(set(rest) - {waits})
    assert f"{lost} of its drain group (b) is down" in second.output
    assert untouched(hosts, waits)
    for name in {*names} - {lost, waits}:
        assert (hosts.kernel(name), fleet.boots(name), hosts.running(name)) == (NEW, [NEW], RUNNING), failures(second)
    assert report_of(ansible)[lost] == "unreachable"
    assert hosts.reboots(lost) == 1


@pytest.mark.parametrize("moment", ["/containers/stop", "/reboot"])
def test_a_run_that_is_killed_in_mid_wave_is_completed_by_the_next(moment: str, few: Hosts, tmp_path: Path) -> None:
    names = some(few, 5)
    ansible = Ansible(tmp_path, few.fleet.variables)
    extra = {"livepatch_hosts": names, "livepatch_serial": 2, **QUICK}
    in_second_wave = names[1:3]
    with ansible.start("playbook", UPGRADE, "-e", json.dumps(extra)) as killed:
        assert killed.reaches(lambda: any(few.has_done(name, moment) for name in in_second_wave), 200)
    assert few.fleet.boots(names[0]) == [NEW]
    assert any(few.running(name) != RUNNING for name in in_second_wave), "containers stand still now"

    run = upgrade(ansible, names, livepatch_serial=2)
    assert run.code == 0, run.output
    for name in names:
        assert (few.kernel(name), few.fleet.boots(name), few.running(name)) == (NEW, [NEW], RUNNING), name
    assert set(report_of(ansible).values()) == {"protected"}

    again = upgrade(ansible, names)
    assert again.code == 0
    assert plan_of(again) == []
    assert [few.fleet.boots(name) for name in names] == [[NEW]] * len(names)


def test_check_mode_shows_the_plan_and_touches_nothing(few: Hosts, tmp_path: Path) -> None:
    names = some(few, 3)
    run = upgrade(Ansible(tmp_path, few.fleet.variables), names, "--check", livepatch_serial=1)
    assert run.code == 0, run.output
    assert plan_of(run) == [[name] for name in names]
    results = [line["result"] for line in run.results if line["result"].get("msg", "") == f"would reboot into {NEW}"]
    assert len(results) == len(names)
    for name in names:
        assert untouched(few, name)
        assert few.running(name) == RUNNING


def test_no_wave_begins_outside_the_window(few: Hosts, tmp_path: Path) -> None:
    names = some(few, 1)
    ansible = Ansible(tmp_path, few.fleet.variables)
    now = dt.datetime.now(dt.timezone.utc)
    begin, end = (f"{now + dt.timedelta(hours=hours):%H:%M}" for hours in (2, 4))
    closed = upgrade(ansible, names, livepatch_window=f"{begin}-{end} UTC")
    assert closed.code != 0
    assert "window" in closed.result(names[0])["msg"]
    assert untouched(few, names[0])
    assert report_of(ansible) == {names[0]: "upgrade_required"}

    begin, end = (f"{now + dt.timedelta(hours=hours):%H:%M}" for hours in (-2, 4))
    assert upgrade(ansible, names, livepatch_window=f"{begin}-{end} UTC").code == 0
    assert few.kernel(names[0]) == NEW


def test_a_failed_canary_keeps_the_fleet_from_harm(few: Hosts, tmp_path: Path) -> None:
    names = some(few, 3)
    few.change(names[2], reboot=Reboot(into="old"))
    run = upgrade(
        Ansible(tmp_path, few.fleet.variables), names, livepatch_canary=[names[2]], livepatch_max_fail_percentage=100
    )
    assert run.code != 0
    assert "and not with" in run.output
    assert [untouched(few, name) for name in names] == [True, True, False]
    assert few.running(names[2]) == RUNNING


def test_failures_that_may_be_do_not_stop_the_run_but_their_drain_group_is_spared(few: Hosts, tmp_path: Path) -> None:
    names = some(few, 4)
    few.change(names[1], reboot=Reboot(into="old"))
    groups = {"all": {"hosts": {names[1]: {"drain_group": "pair"}, names[3]: {"drain_group": "pair"}}}}
    (tmp_path / "groups.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    inventory = f"{few.fleet.inventory},{tmp_path / 'groups.yml'}"
    ansible = Ansible(tmp_path, {**few.fleet.variables, "ANSIBLE_INVENTORY": inventory})
    run = upgrade(ansible, names, livepatch_serial=2, livepatch_max_fail_percentage=60)
    assert plan_of(run) == [[names[0]], [names[1], names[2]], [names[3]]]
    assert run.code != 0
    assert few.kernel(names[2]) == NEW
    assert untouched(few, names[3])
    assert "did not come back in this run" in run.output


def test_the_role_runs_tasks_on_the_controller_around_the_reboot(few: Hosts, tmp_path: Path) -> None:
    (name,) = some(few, 1)
    ansible = Ansible(tmp_path, few.fleet.variables)
    for kind in ("pre", "post"):
        line = f"{kind} {{{{ inventory_hostname }}}}"
        copy = {"content": line, "dest": str(tmp_path / f"{kind}.txt"), "mode": "0600"}
        task = {"name": kind, "ansible.builtin.copy": copy, "delegate_to": "localhost", "connection": "local"}
        python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        (tmp_path / f"{kind}.yml").write_text(yaml.safe_dump([{**task, "vars": python}]), encoding="utf-8")
    options = {f"kernel_upgrade_{key.removeprefix('livepatch_')}": value for key, value in QUICK.items()}
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
    assert few.kernel(name) == NEW

    for kind in ("pre", "post"):
        (tmp_path / f"{kind}.txt").unlink()
    again = ansible.command("playbook", "play.yml")
    assert again.code == 0, again.output
    assert all(not line["result"].get("changed") for line in again.results)
    assert not (tmp_path / "pre.txt").exists()


def test_hosts_that_cannot_be_upgraded_do_not_keep_the_others(few: Hosts, tmp_path: Path) -> None:
    held, ready = some(few, 2)
    apt = few.fleet.current(held).describe().apt
    assert apt is not None
    few.change(held, apt=dataclasses.replace(apt, held=("linux-image-generic",)))
    run = upgrade(Ansible(tmp_path, few.fleet.variables), [held, ready])
    assert run.code != 0
    assert "linux-image-generic is held back" in run.result(held)["msg"]
    assert few.kernel(ready) == NEW
    assert untouched(few, held)
    wait_until(lambda: few.running(ready) == RUNNING)
