# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""`kernel_reboot` as a user runs it: into the intended kernel, with every container running again after it.

Waits and their deadlines are tests of the task, in `tests/unit/tasks/test_kernel_reboot.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Description, Grub, Workload

from .conftest import Ansible
from .shells import SHELLS
from .upgrading import AT_ONCE, LIKE, NEW, OLD, Hosts, with_new_kernel

MODULE = "kernelops.livepatch.kernel_reboot"
SAVED = "var/lib/kernelops-livepatch/kernel_reboot"
ALL = (
    Workload("registry"),
    Workload("proxy", restarts=True),
    Workload("old", running=False),
    Workload("application", runtime="lxd"),
    Workload("database", runtime="lxd", priority=10),
    Workload("metrics", runtime="podman"),
)
RUNNING = ["application", "database", "metrics", "proxy", "registry"]
JOB = Workload("batch-job", vanishes=True)
OPTIONS: dict[str, t.Any] = {"delay": 0, "reboot_timeout": 120, "drain_timeout": 60, "protected_timeout": 60}
# The double shuts the host down well before this timeout.
UNREACHABLE = {**OPTIONS, "reboot_timeout": 6}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 36, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture
def ansible(tmp_path: Path, hosts: Hosts) -> Ansible:
    return Ansible(tmp_path, hosts.fleet.variables)


def saved(hosts: Hosts, host: str) -> Path:
    """The list of containers that must run again, on a host."""
    return hosts.file(host, SAVED) / "containers"


@pytest.mark.matrix
def test_a_reboot_is_done_once(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.take(with_new_kernel, workloads=ALL)
    checked = ansible.task(MODULE, host, "--check", "--diff").result(host)
    assert (checked["changed"], checked["rebooted"], checked["to"]) == (True, False, NEW), checked
    assert checked["diff"] == {"before": f"kernel {OLD}\n", "after": f"kernel {NEW}\n"}
    assert sorted(container["name"] for container in checked["containers"]) == RUNNING
    assert hosts.reboots(host) == 0
    assert hosts.running(host) == RUNNING
    assert not saved(hosts, host).exists()

    done = ansible.task(MODULE, host, delay=0, message="Going down for a while.").result(host)
    assert (done["kind"], done["changed"], done["rebooted"], done["state"]) == ("ok", True, True, "protected"), done
    assert done["boot_id"] != checked["boot_id"]
    assert done["containers"] == checked["containers"]
    assert (hosts.kernel(host), hosts.fleet.boots(host)) == (NEW, [NEW])
    assert hosts.running(host) == RUNNING
    assert hosts.commands(host, "wall") == ["wall Going down for a while."]
    assert not saved(hosts, host).exists()

    again = ansible.task(MODULE, host).result(host)
    assert (again["changed"], again["rebooted"]) == (False, False), again
    assert hosts.fleet.boots(host) == [NEW]


def test_containers_are_handled_as_selected(hosts: Hosts, ansible: Ansible) -> None:
    in_cluster = (Workload("application", runtime="lxd"), Workload("database", runtime="lxd"))
    stopped = hosts.take(with_new_kernel, workloads=ALL)
    member = hosts.take(lambda host: dataclasses.replace(with_new_kernel(host), member="node-1"), workloads=in_cluster)
    ignored = hosts.take(with_new_kernel, workloads=ALL)
    awaited = hosts.take(with_new_kernel, workloads=(JOB,))
    results = ansible.cases(
        MODULE,
        {
            stopped: OPTIONS,
            member: OPTIONS,
            ignored: {**OPTIONS, "docker": "ignore", "podman": "ignore", "lxd": "ignore"},
            # The job ends in the background while the task waits for it.
            awaited: {**OPTIONS, "docker": "wait", "pre_commands": ["setsid docker stop $(docker ps -q --no-trunc)"]},
        },
    )
    assert [(result["kind"], result.get("rebooted")) for result in results.values()] == [("ok", True)] * 4, results
    running = {host: hosts.running(host) for host in results}
    assert running == {stopped: RUNNING, member: ["application", "database"], ignored: ["proxy"], awaited: []}
    assert hosts.commands(stopped, "lxc stop", "lxc start") == [
        "lxc stop application",
        "lxc stop database",
        "lxc start database",
        "lxc start application",
    ]
    assert hosts.commands(member, "lxc cluster", "lxc stop", "lxc start") == [
        "lxc cluster evacuate node-1 --force",
        "lxc cluster restore node-1 --force",
    ]
    assert results[ignored]["containers"] == results[awaited]["containers"] == []
    assert hosts.commands(ignored, "docker stop") == []


def test_a_mainline_kernel_is_never_booted(hosts: Hosts, ansible: Ansible) -> None:
    mainline = "4.8.7-040807-generic"

    def beside(host: Description) -> Description:
        return dataclasses.replace(host, kernel=dataclasses.replace(host.kernel, also_installed=(NEW, mainline)))

    def with_saved_entry(host: Description) -> Description:
        grub = Grub("${saved_entry}", saved_entry=f"Advanced options for Ubuntu>Ubuntu, with Linux {OLD}")
        return dataclasses.replace(with_new_kernel(host), grub=grub)

    kernels = ("4.4.0-262.296-generic", "4.8.7-040807.201611100339-generic")
    refused = hosts.take(beside, workloads=ALL, kernels=kernels)
    selected = hosts.take(beside, kernels=kernels)
    pinned = hosts.take(with_saved_entry)
    results = ansible.cases(MODULE, {refused: OPTIONS, selected: {**OPTIONS, "boot_entry": "set"}, pinned: OPTIONS})
    assert results[refused]["error_id"] == "boot_order", results[refused]
    assert f"would start {mainline}, which Ubuntu did not build" in results[refused]["msg"]
    assert f"apt-get purge linux-image-{mainline}" in results[refused]["remedy"]
    assert (hosts.reboots(refused), hosts.running(refused)) == (0, RUNNING)
    assert (results[selected]["kind"], results[selected]["to"]) == ("ok", NEW), results[selected]
    assert hosts.fleet.boots(selected) == [NEW]
    assert results[pinned]["error_id"] == "boot_order"
    assert "saved_entry" in results[pinned]["msg"]
    assert hosts.reboots(pinned) == 0


def test_commands_run_before_and_after_the_reboot(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.take(with_new_kernel, reboot=dataclasses.replace(AT_ONCE, protects=False))
    # Each command writes the boot id of the boot in which it runs.
    write = "cat /proc/sys/kernel/random/boot_id >>/root/{}"
    commands = {"pre_commands": [write.format("before")], "post_commands": [write.format("after")]}
    result = ansible.task(MODULE, host, **OPTIONS, **commands, require_protected=False).result(host)
    assert (result["kind"], result["rebooted"]) == ("ok", True), result
    before, after = ((hosts.home(host) / name).read_text("ascii").split() for name in ("before", "after"))
    assert after == [result["boot_id"]]
    assert (len(before), before != after) == (1, True)
    assert "state" not in result


def test_a_failed_drain_changes_nothing(hosts: Hosts, ansible: Ansible) -> None:
    def hanging(runtime: str) -> str:
        others = tuple(workload for workload in ALL if workload.runtime != runtime)
        return hosts.take(with_new_kernel, workloads=(*others, Workload("hanging", runtime=runtime, hangs=True)))

    refusing = hosts.take(with_new_kernel, workloads=ALL)
    removed = hosts.take(with_new_kernel, workloads=(*ALL, JOB))
    awaited = hosts.take(with_new_kernel, workloads=(JOB,))
    broken = hosts.take(with_new_kernel, workloads=(Workload("registry"),))
    hosts.break_command(broken, "docker")
    failing = ["true", "echo not today >&2; exit 3"]
    cases: dict[str, tuple[dict[str, t.Any], str, str]] = {
        **{
            hanging(name): ({"drain_timeout": 3}, "drain_failed", ": hanging; the others")
            for name in ("docker", "podman", "lxd")
        },
        refusing: ({"pre_commands": failing}, "pre_command_failed", "not today"),
        removed: ({}, "containers_would_vanish", "batch-job"),
        awaited: ({"docker": "wait", "drain_timeout": 1}, "containers_did_not_end", "batch-job"),
        broken: ({}, "runtime_unresponsive", "docker does not answer"),
    }
    before = {host: hosts.running(host) for host in cases}
    results = ansible.cases(MODULE, {host: {**OPTIONS, **options} for host, (options, *_rest) in cases.items()})
    for host, (_options, error_id, text) in cases.items():
        result = results[host]
        assert (result["kind"], result.get("error_id"), result.get("rebooted")) == ("failed", error_id, False), result
        assert text in result["msg"]
        assert result["remedy"][1:] in result["msg"]
        assert hosts.running(host) == before[host], error_id
        assert hosts.reboots(host) == 0
        assert not saved(hosts, host).exists()
    for host in (refusing, removed, awaited):
        assert hosts.commands(host, "docker stop") == []


def test_a_bad_reboot_is_reported_with_containers_running(hosts: Hosts, ansible: Ansible) -> None:
    cases = {
        hosts.take(with_new_kernel, workloads=ALL, reboot=dataclasses.replace(AT_ONCE, **reboot)): (options, error_id)
        for reboot, options, error_id in (
            ({"into": "old"}, {}, "old_kernel"),
            ({"ignored": True}, {"reboot_timeout": 1}, "reboot_did_not_happen"),
            ({"protects": False}, {"protected_timeout": 0}, "not_protected"),
        )
    }
    results = ansible.cases(MODULE, {host: {**OPTIONS, **options} for host, (options, _id) in cases.items()})
    for host, (_options, error_id) in cases.items():
        result = results[host]
        assert (result["kind"], result.get("error_id")) == ("failed", error_id), result
        assert result["rebooted"] is (error_id != "reboot_did_not_happen")
        assert hosts.running(host) == RUNNING, error_id
        assert not saved(hosts, host).exists()
    assert {error_id: results[host].get("state") for host, (_options, error_id) in cases.items()} == {
        "old_kernel": None,
        "reboot_did_not_happen": None,
        "not_protected": "applying",
    }


def test_containers_and_foreign_logins_are_refused(fleet: Fleet, tmp_path: Path) -> None:
    ansible = Ansible(tmp_path, fleet.variables)
    results = ansible.cases(MODULE, {host: {"force": True} for host in ("lxd-container", "not-root")})
    assert {host: result["error_id"] for host, result in results.items()} == {
        "lxd-container": "container",
        "not-root": "not_root",
    }
    assert "machine that runs this container" in results["lxd-container"]["msg"]


# --- runs that another run completes


def test_the_next_run_completes_a_late_host(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.take(with_new_kernel, workloads=ALL)
    with hosts.fleet.hold(host, "boot") as down, hosts.fleet.hold(host, "boot done") as back:
        result = ansible.task(MODULE, host, **UNREACHABLE).result(host)
        assert (result["kind"], result["error_id"]) == ("failed", "host_did_not_return"), result
        assert "within 6 s" in result["msg"]
        assert len(saved(hosts, host).read_text("utf-8").splitlines()) == len(RUNNING)
        assert saved(hosts, host).parent.stat().st_mode & 0o077 == 0
        # One of them cannot be started when the host is back.
        hosts.break_command(host, "podman")
        down.wait()
        down.release()
        back.wait()
    assert hosts.running(host) == []
    result = ansible.task(MODULE, host, **{**OPTIONS, "drain_timeout": 1}).result(host)
    assert (result["error_id"], result["rebooted"]) == ("containers_not_restored", False), result
    assert "metrics (podman)" in result["msg"]
    assert "the daemon does not run" in result["msg"]

    hosts.break_command(host, "podman", broken=False)
    done = ansible.task(MODULE, host, **OPTIONS).result(host)
    assert (done["kind"], done["changed"], done["rebooted"]) == ("ok", True, False), done
    assert hosts.running(host) == RUNNING
    assert hosts.fleet.boots(host) == [NEW]
    assert not saved(hosts, host).exists()


def test_the_next_run_completes_a_killed_one(hosts: Hosts, ansible: Ansible) -> None:
    points = ("docker stop", "docker stop done", "setsid", "setsid done", "reboot")
    killed = {point: hosts.take(with_new_kernel, workloads=ALL) for point in points}
    reboots = [killed["setsid done"], killed["reboot"]]
    with contextlib.ExitStack() as stack:
        holds = [stack.enter_context(hosts.fleet.hold(host, point)) for point, host in killed.items()]
        booted = [stack.enter_context(hosts.fleet.hold(host, "boot done")) for host in reboots]
        run = stack.enter_context(ansible.start_task(MODULE, ",".join(killed.values()), **OPTIONS))
        for hold in holds:
            hold.wait(run.process)
        run.kill()
        for hold in holds:
            hold.release()
        for hold in booted:
            hold.wait()
    assert [hosts.fleet.boots(host) for host in reboots] == [[NEW], [NEW]]
    assert all(hosts.running(host) != RUNNING for point, host in killed.items() if point != "docker stop")

    options = {**OPTIONS, "post_commands": ["echo done >>/root/after"]}
    results = ansible.cases(MODULE, dict.fromkeys(killed.values(), options))
    for point, host in killed.items():
        assert (results[host]["kind"], results[host]["changed"]) == ("ok", True), (point, results[host])
        assert hosts.fleet.boots(host) == [NEW], f"{point}: one reboot, and not a second one"
        assert hosts.running(host) == RUNNING, point
        assert (hosts.home(host) / "after").read_text("ascii") == "done\n"
    again = ansible.cases(MODULE, dict.fromkeys(killed.values(), OPTIONS))
    assert [result["changed"] for result in again.values()] == [False] * len(killed)


def test_a_host_restores_itself_without_a_controller(hosts: Hosts, ansible: Ansible) -> None:
    """The controller is killed when the last container has stopped, and never comes back."""
    lost, disabled = (hosts.take(with_new_kernel, workloads=ALL) for _number in range(2))
    cases = (lost, disabled)
    after = f"{{{{ 1 if inventory_hostname == '{lost}' else 0 }}}}"
    options = {**OPTIONS, "restore_after": after, "post_commands": ["echo done >>/root/after"]}
    with contextlib.ExitStack() as stack:
        drained = [stack.enter_context(hosts.fleet.hold(host, "podman stop done")) for host in cases]
        restored = stack.enter_context(hosts.fleet.hold(lost, "setsid exit"))
        run = stack.enter_context(ansible.start_task(MODULE, ",".join(cases), **options))
        for hold in drained:
            hold.wait(run.process)
        run.kill()
        assert [hosts.running(host) for host in cases] == [[], []]
        restored.wait()
    assert hosts.running(lost) == RUNNING
    assert (hosts.home(lost) / "after").read_text("ascii") == "done\n"
    assert not saved(hosts, lost).exists()
    assert hosts.running(disabled) == []
    results = ansible.cases(MODULE, dict.fromkeys(cases, OPTIONS))
    assert [results[host]["rebooted"] for host in cases] == [True, True]
    assert [hosts.running(host) for host in cases] == [RUNNING, RUNNING]


def test_two_runs_at_once_do_not_mix(hosts: Hosts, ansible: Ansible, tmp_path: Path) -> None:
    host = hosts.take(with_new_kernel, workloads=ALL)
    (tmp_path / "other").mkdir()
    other = Ansible(tmp_path / "other", hosts.fleet.variables)
    with hosts.fleet.hold(host, "docker stop") as hold, ansible.start_task(MODULE, host, **OPTIONS) as first:
        hold.wait(first.process)
        result = other.task(MODULE, host, **{**OPTIONS, "drain_timeout": 1}).result(host)
        assert (result["kind"], result["error_id"]) == ("failed", "run_in_progress"), result
        assert hosts.commands(host, "lxc start") == []
        hold.release()
        assert first.process.wait(timeout=120) == 0
    assert hosts.fleet.boots(host) == [NEW]
    assert hosts.running(host) == RUNNING


# --- shells


def test_every_shell_reboots_alike(hosts: Hosts, ansible: Ansible) -> None:
    found = hosts.with_shells(lambda: hosts.take(with_new_kernel, workloads=ALL))
    options = {**OPTIONS, "message": "Bye.", "pre_commands": ["echo one", "echo 'two words' >/root/pre"]}
    results = ansible.cases(MODULE, dict.fromkeys(found.values(), options))
    for shell, host in found.items():
        assert (results[host]["kind"], results[host].get("rebooted")) == ("ok", True), (shell, results[host])
        assert results[host]["containers"] == results[found["dash"]]["containers"]
        assert hosts.running(host) == RUNNING, shell
        assert (hosts.home(host) / "pre").read_text("ascii") == "two words\n"
        assert hosts.commands(host, "wall") == ["wall Bye."]
        assert not saved(hosts, host).exists()
    if len(found) < len(SHELLS):
        pytest.skip(f"only these shells are installed: {', '.join(found)}")
