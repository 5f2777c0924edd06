# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""`kernel_reboot` as a user runs it: into the kernel that is meant, with every container running again after it."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Reboot, Workload

from .conftest import Ansible
from .shells import SHELLS, each_shell
from .upgrading import (
    LIKE,
    NEW,
    OLD,
    Hosts,
    shell_on,
    wait_until,
    with_new_kernel,
    with_tools_of_the_host,
)

MODULE = "kernelops.livepatch.kernel_reboot"
NOTE = "var/lib/kernelops-livepatch/kernel_reboot"
NONCE = "0f" * 16
ALL = (
    Workload("registry"),
    Workload("proxy", restarts=True),
    Workload("old", running=False),
    Workload("application", runtime="lxd"),
    Workload("database", runtime="lxd", priority=10),
    Workload("metrics", runtime="podman"),
)
RUNNING = ["application", "database", "metrics", "proxy", "registry"]
QUICK: dict[str, t.Any] = {"delay": 1, "reboot_timeout": 40, "drain_timeout": 60, "protected_timeout": 3}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 30, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture
def ansible(tmp_path: Path, hosts: Hosts) -> Ansible:
    return Ansible(tmp_path, hosts.fleet.variables)


def failed(ansible: Ansible, host: str, error_id: str, **options: t.Any) -> dict[str, t.Any]:
    result = ansible.task(MODULE, host, **{**QUICK, **options}).result(host)
    assert (result["kind"], result.get("error_id")) == ("failed", error_id), result
    assert result["remedy"] in result["msg"]
    return result


def note_of(hosts: Hosts, host: str) -> Path:
    return hosts.fleet.root(host) / NOTE


@pytest.mark.matrix
def test_check_then_reboot_then_again(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL)
    foreseen = ansible.task(MODULE, host, "--check", "--diff").result(host)
    assert (foreseen["changed"], foreseen["rebooted"], foreseen["to"]) == (True, False, NEW), foreseen
    assert foreseen["diff"] == {"before": f"kernel {OLD}\n", "after": f"kernel {NEW}\n"}
    assert sorted(container["name"] for container in foreseen["containers"]) == RUNNING
    assert hosts.reboots(host) == 0
    assert hosts.running(host) == RUNNING
    assert not note_of(hosts, host).exists()

    done = ansible.task(MODULE, host, delay=1, message="Going down for a while.").result(host)
    assert (done["kind"], done["changed"], done["rebooted"], done["state"]) == ("ok", True, True, "protected"), done
    assert done["boot_id"] != foreseen["boot_id"]
    assert done["containers"] == foreseen["containers"]
    assert (hosts.kernel(host), hosts.fleet.boots(host)) == (NEW, [NEW])
    assert hosts.running(host) == RUNNING
    assert hosts.said(host, "wall") == ["wall Going down for a while."]
    assert not note_of(hosts, host).exists()

    again = ansible.task(MODULE, host).result(host)
    assert (again["changed"], again["rebooted"]) == (False, False), again
    assert hosts.fleet.boots(host) == [NEW]


def test_containers_stop_in_the_reverse_of_the_order_in_which_they_start(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL)
    assert ansible.task(MODULE, host, **QUICK).result(host)["rebooted"]
    told = [line for line in hosts.fleet.commands(host) if line.startswith(("lxc stop", "lxc start"))]
    assert told == ["lxc stop application", "lxc stop database", "lxc start database", "lxc start application"]
    # What restarts by itself need not be told, and what did not run is let be.
    assert hosts.running(host) == RUNNING


def test_a_member_of_a_cluster_is_evacuated_and_restored(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(
        lambda host: dataclasses.replace(with_new_kernel(host), member="node-1"),
        workloads=(Workload("application", runtime="lxd"), Workload("database", runtime="lxd")),
    )
    assert ansible.task(MODULE, host, **QUICK).result(host)["rebooted"]
    told = [line for line in hosts.fleet.commands(host) if line.startswith(("lxc cluster", "lxc st"))]
    assert told == ["lxc cluster evacuate node-1 --force", "lxc cluster restore node-1 --force"]
    assert hosts.running(host) == ["application", "database"]


def test_commands_around_the_reboot(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL)
    # Each command notes the boot in which it runs.
    note = "cat /proc/sys/kernel/random/boot_id >>/root/{}"
    result = ansible.task(
        MODULE, host, **QUICK, pre_commands=[note.format("before")], post_commands=[note.format("after")]
    ).result(host)
    assert result["rebooted"], result
    home = hosts.fleet.root(host).parent / "home"
    before, after = ((home / name).read_text("ascii").split() for name in ("before", "after"))
    assert after == [result["boot_id"]]
    assert len(before) == 1
    assert before != after


def test_a_command_that_fails_before_stops_everything(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL)
    result = failed(ansible, host, "pre_command_failed", pre_commands=["true", "echo not today >&2; exit 3"])
    assert "command 2" in result["msg"]
    assert "not today" in result["msg"]
    assert hosts.running(host) == RUNNING
    assert hosts.said(host, "docker stop") == []
    assert hosts.reboots(host) == 0


# --- hosts that do not come back as they should ---


def test_a_host_that_does_not_return(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(returns=False))
    result = failed(ansible, host, "host_did_not_return")
    assert "40 s" in result["msg"]
    # The note lies on the host, for the day on which it is back.
    assert len((note_of(hosts, host) / "containers").read_text("utf-8").splitlines()) == len(RUNNING)


def test_a_host_that_returns_late_fails_and_is_completed_by_the_next_run(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(down="60s"))
    failed(ansible, host, "host_did_not_return", reboot_timeout=20)
    wait_until(lambda: hosts.fleet.boots(host) == [NEW], 120)
    assert hosts.running(host) == []
    result = ansible.task(MODULE, host, **QUICK).result(host)
    assert (result["kind"], result["changed"], result["rebooted"]) == ("ok", True, False), result
    assert hosts.running(host) == RUNNING
    assert hosts.reboots(host) == 1
    assert not note_of(hosts, host).exists()


def test_a_host_that_comes_back_with_the_old_kernel(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(into="old"))
    result = failed(ansible, host, "old_kernel")
    assert OLD in result["msg"]
    assert NEW in result["msg"]
    assert hosts.running(host) == RUNNING


def test_a_host_that_ignores_the_reboot(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(ignored=True))
    failed(ansible, host, "reboot_did_not_happen")
    assert hosts.running(host) == RUNNING
    assert not note_of(hosts, host).exists()


def test_a_host_whose_client_does_not_come_to_its_work(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(protects=False))
    result = failed(ansible, host, "not_protected")
    assert result["state"] == "applying"
    assert hosts.running(host) == RUNNING


def test_whether_a_host_must_be_protected_is_a_choice(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, reboot=Reboot(protects=False))
    result = ansible.task(MODULE, host, **QUICK, require_protected=False).result(host)
    assert (result["kind"], result["rebooted"]) == ("ok", True), result


# --- drains that do not end ---


@pytest.mark.parametrize("runtime", ["docker", "podman", "lxd"])
def test_a_container_that_hangs_stops_the_reboot_and_all_of_them_run_again(
    runtime: str, hosts: Hosts, ansible: Ansible
) -> None:
    others = tuple(workload for workload in ALL if workload.runtime != runtime)
    host = hosts.next(with_new_kernel, workloads=(*others, Workload("stubborn", runtime=runtime, hangs=True)))
    before = hosts.running(host)
    failed(ansible, host, "drain_failed", drain_timeout=3)
    assert hosts.running(host) == before
    assert hosts.reboots(host) == 0
    assert not note_of(hosts, host).exists()


def test_a_container_that_would_vanish_is_not_stopped(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=(*ALL, Workload("batch-job", vanishes=True)))
    result = failed(ansible, host, "containers_would_vanish")
    assert "batch-job" in result["msg"]
    assert hosts.said(host, "docker stop") == []
    assert "batch-job" in hosts.running(host)


def test_containers_can_be_waited_for(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=(Workload("batch-job", vanishes=True),))
    result = failed(ansible, host, "containers_did_not_end", docker="wait", drain_timeout=3)
    assert "batch-job" in result["msg"]
    assert hosts.reboots(host) == 0

    ending = threading.Timer(2, lambda: hosts.change(host, workloads=()))
    ending.start()
    done = ansible.task(MODULE, host, **{**QUICK, "drain_timeout": 30}, docker="wait").result(host)
    ending.join()
    assert (done["kind"], done["rebooted"]) == ("ok", True), done


def test_containers_can_be_left_to_their_runtime(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL)
    done = ansible.task(MODULE, host, **QUICK, docker="ignore", podman="ignore", lxd="ignore").result(host)
    assert (done["rebooted"], done["containers"]) == (True, []), done
    assert hosts.said(host, "docker stop") == []
    assert hosts.running(host) == ["proxy"]


def test_a_runtime_that_does_not_answer_is_not_taken_for_one_without_containers(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=(Workload("registry"),))
    (hosts.fleet.root(host).parent / "lab" / "docker-dead").touch()
    failed(ansible, host, "runtime_unresponsive")
    assert hosts.reboots(host) == 0


# --- the controller goes away ---


@pytest.mark.parametrize("moment", ["/containers/stop", "/job", "/reboot"])
def test_a_controller_that_is_killed_leaves_nothing_half_done(moment: str, hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(down="2s"))
    with ansible.start_task(MODULE, host, **QUICK) as run:
        assert run.reaches(lambda: hosts.has_done(host, moment))
    assert hosts.running(host) != RUNNING
    if moment != "/containers/stop":
        wait_until(lambda: hosts.fleet.boots(host) == [NEW])
    result = ansible.task(MODULE, host, delay=1, post_commands=["echo done >>/root/after"]).result(host)
    assert (result["kind"], result["changed"]) == ("ok", True), result
    assert hosts.kernel(host) == NEW
    assert hosts.fleet.boots(host) == [NEW], "once, and no second time"
    assert hosts.running(host) == RUNNING
    assert (hosts.fleet.root(host).parent / "home" / "after").read_text("ascii") == "done\n"
    assert ansible.task(MODULE, host).result(host)["changed"] is False


def test_a_container_that_cannot_start_is_named_and_tried_again_without_a_reboot(
    hosts: Hosts, ansible: Ansible
) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(down="3s"))

    def lose() -> None:
        wait_until(lambda: bool(hosts.said(host, "systemctl reboot")))
        (hosts.fleet.root(host).parent / "lab" / "podman-dead").touch()

    losing = threading.Thread(target=lose)
    losing.start()
    result = failed(ansible, host, "containers_not_restored", drain_timeout=30)
    losing.join()
    assert "metrics (podman)" in result["msg"]
    (hosts.fleet.root(host).parent / "lab" / "podman-dead").unlink()
    done = ansible.task(MODULE, host, **QUICK).result(host)
    assert (done["kind"], done["rebooted"]) == ("ok", False), done
    assert hosts.running(host) == RUNNING
    assert hosts.reboots(host) == 1


def test_what_is_noted_on_the_host_is_for_root_alone(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(with_new_kernel, workloads=ALL, reboot=Reboot(returns=False))
    failed(ansible, host, "host_did_not_return", reboot_timeout=20)
    assert note_of(hosts, host).stat().st_mode & 0o077 == 0


def test_a_container_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    ansible = Ansible(tmp_path, fleet.variables)
    result = ansible.task(MODULE, "lxd-container", force=True).result("lxd-container")
    assert result["error_id"] == "container"
    assert "machine that runs this container" in result["msg"]
    assert ansible.task(MODULE, "not-root", force=True).result("not-root")["error_id"] == "not_root"


# --- shells ---


@each_shell
def test_every_shell_stops_and_starts_alike(shell: str, hosts: Hosts) -> None:
    source = shutil.which(SHELLS[shell].split()[0])
    if source is None:
        pytest.skip(f"{shell} is not installed on this machine")
    host = hosts.next(with_new_kernel, workloads=ALL)
    command = shell_on(hosts.fleet, host, shell, Path(source))
    policies = {"docker": "stop", "podman": "stop", "lxd": "stop", "within": "30", "delay": "0", "message": "Bye."}
    commands = {"pre_1": "echo one", "pre_2": "echo 'two words'", "post_1": "echo three"}

    def run(task: str, boot_id: str = "") -> t.Any:
        variables = {"task": task, "server": "", "network": "", "boot_id": boot_id, **policies, **commands}
        script = compose(("probe", "kernel_reboot"), NONCE, variables)
        done = hosts.fleet.run(host, f"{command} -s", with_tools_of_the_host(script, shell).encode())
        sections = parse(done.stdout.decode(), done.stderr.decode(), NONCE)
        assert sections.complete, (done.stdout, done.stderr)
        return sections

    look = run("look")
    assert [line.split()[2] for line in look["running docker"].output.splitlines()] == ["registry", "proxy"]
    assert [line.split()[2] for line in look["running lxd"].output.splitlines()] == ["database", "application"]
    drained = run("drain")
    assert [drained.output(f"pre {number}") for number in (1, 2)] == ["one", "two words"]
    assert drained["stop"].exit_code == 0
    assert hosts.running(host) == []
    assert run("reboot", boot_id="of another time").output("down") == "another boot"
    assert hosts.reboots(host) == 0
    boot_id = look.output("boot_id")
    assert run("reboot", boot_id=boot_id)["down"].exit_code == 0
    wait_until(lambda: hosts.fleet.boots(host) == [NEW])
    restored = run("restore")
    assert restored["wanting"].output == ""
    assert restored.output("post 1") == "three"
    assert hosts.running(host) == RUNNING
    assert not note_of(hosts, host).exists()
