# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Running containers, counted by `probe.sh` in a folder with the control groups that real runtimes create."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import (
    ContainerCounts,
    count_containers,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.integration.shells import SHELLS, each_shell

NONCE = "0123456789abcdef0123456789abcdef"
TASKS = "run/containerd/io.containerd.runtime.v2.task"
POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0aa1_2bb3.slice"
PODMAN_POD = f"machine.slice/machine-libpod_pod_{'77' * 32}.slice"
NONE = {"docker": 0, "podman": 0, "lxd": 0, "kubernetes": 0, "containerd": 0}


def identifier(number: int) -> str:
    return f"{number:02x}" * 32


class Root:
    """A folder with the files of a host that the count reads."""

    def __init__(self, folder: Path, hierarchy: str = "") -> None:
        self.folder = folder
        self.hierarchy = folder / "sys/fs/cgroup" / hierarchy
        self.hierarchy.mkdir(parents=True)
        if not hierarchy:
            (self.hierarchy / "cgroup.controllers").touch()
        (folder / "proc").mkdir()

    def add(self, group: str, *processes: str) -> None:
        """Add a control group with processes of these names."""
        path = self.hierarchy / group
        path.mkdir(parents=True, exist_ok=True)
        numbers = [self._add_process(name) for name in processes]
        if self.hierarchy.name == "cgroup":
            (path / "cgroup.events").write_text("populated 1\nfrozen 0\n", encoding="ascii")
        (path / "cgroup.procs").write_text("".join(f"{number}\n" for number in numbers), encoding="ascii")

    def add_task(self, namespace: str, name: str, *, running: bool = True) -> None:
        """Add the state of a container of containerd."""
        path = self.folder / TASKS / namespace / name
        path.mkdir(parents=True)
        (path / "init.pid").write_text(str(self._add_process("sh") if running else 4_000_000), encoding="ascii")

    def add_monitor(self, command: str, user: int, group: str) -> None:
        """Add a process of a user that watches over a container. Its name has at most 15 characters."""
        words = command.split()
        folder = self.folder / "proc" / str(self._add_process(words[0].rpartition("/")[2][:15]))
        (folder / "status").write_text(f"Name:\tx\nUid:\t{user}\t{user}\t{user}\t{user}\n", encoding="ascii")
        (folder / "cmdline").write_text("".join(f"{word}\0" for word in words), encoding="ascii")
        (folder / "cgroup").write_text(f"1:name=systemd:/\n0::/{group}\n", encoding="ascii")

    def _add_process(self, name: str) -> int:
        number = 100 + len(list((self.folder / "proc").iterdir()))
        (self.folder / "proc" / str(number)).mkdir()
        (self.folder / "proc" / str(number) / "comm").write_text(f"{name}\n", encoding="ascii")
        return number

    def sections(self, shell: str = "sh") -> Sections:
        script = compose("probe", NONCE, {"server": "", "network": "", "verify": "", "certificate": ""})
        script = script.replace("    probe\n", "    section containers containers\n")
        for place in ("/sys/fs/cgroup", "/run/containerd", "/proc/"):
            script = script.replace(place, f"{self.folder}{place}")
        done = subprocess.run([*shell.split(), "-s"], input=script, capture_output=True, text=True, check=False)
        return parse(done.stdout, done.stderr, NONCE)

    def count(self, shell: str = "sh") -> ContainerCounts | None:
        return count_containers(self.sections(shell))

    def running(self) -> dict[str, int]:
        found = self.count()
        assert found is not None
        return {name: number for name, number in found.running.items() if number}


@pytest.fixture
def host(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_a_host_without_containers_has_none(host: Root) -> None:
    for group in ("init.scope", "system.slice/docker.service", "lxc.monitor.web", "lxc.pivot", "user.slice"):
        host.add(group, "sh")
    assert host.count() == ContainerCounts(NONE, {})


@each_shell
def test_containers_of_every_runtime_are_counted(shell: str, host: Root) -> None:
    if shutil.which(SHELLS[shell].split()[0]) is None:
        pytest.skip(f"{shell} is not installed on this machine")
    for number in (1, 2, 3):
        host.add(f"system.slice/docker-{identifier(number)}.scope", "good")
        host.add_task("moby", identifier(number))
    # Podman: two plain containers, a pod with its infra container, one of a unit, one of a cgroupfs manager.
    for number in (4, 5):
        host.add(f"machine.slice/libpod-{identifier(number)}.scope/container", "good")
        host.add(f"machine.slice/libpod-conmon-{identifier(number)}.scope", "conmon")
    host.add(f"{PODMAN_POD}/libpod-{identifier(6)}.scope", "good")
    host.add(f"{PODMAN_POD}/libpod-{identifier(7)}.scope/container", "catatonit")
    host.add(f"{PODMAN_POD}/libpod-conmon-{identifier(7)}.scope", "conmon")
    host.add(f"system.slice/web.service/libpod-payload-{identifier(8)}", "good")
    host.add("system.slice/web.service/runtime", "conmon")
    host.add(f"libpod_parent/libpod-{identifier(9)}", "good")
    host.add("libpod_parent/conmon", "conmon")
    host.add(f"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{identifier(10)}.scope", "good")
    for name in ("one", "two"):
        host.add(f"lxc.payload.{name}/init.scope", "init")
        host.add(f"lxc.monitor.{name}", "lxd")
    for number, name in ((11, "pause"), (12, "nginx"), (13, "envoy")):
        host.add(f"{POD}/cri-containerd-{identifier(number)}.scope", name)
        host.add_task("k8s.io", identifier(number))
    host.add("default/c1", "sh")
    host.add_task("default", "c1")
    host.add_task("default", "ended", running=False)
    assert host.count(SHELLS[shell]) == ContainerCounts(
        {"docker": 3, "podman": 6, "lxd": 2, "kubernetes": 2, "containerd": 1}, {"podman": {1000: 1}}
    )


@each_shell
def test_containers_of_users_may_have_no_groups(shell: str, host: Root) -> None:
    if shutil.which(SHELLS[shell].split()[0]) is None:
        pytest.skip(f"{shell} is not installed on this machine")
    user = "user.slice/user-1000.slice/user@1000.service/user.slice"
    conmon = "/usr/bin/conmon --api-version 1 -c {} -u {} -r /usr/bin/crun -b /home -n {} --exit-command podman"
    pod = f"machine-libpod_pod_{'77' * 32}.slice"
    host.add(f"{user}/libpod-{identifier(1)}.scope", "good")
    host.add(f"system.slice/db.service/libpod-payload-{identifier(4)}", "good")
    for number, name, owner, group in (
        # With a separate group, in a session, in a unit with User= (twice), and the infra container of a pod.
        (1, "a", 1000, f"{user}/libpod-conmon-{identifier(1)}.scope"),
        (2, "b", 1000, "user.slice/user-1000.slice/session-2.scope"),
        (3, "c", 1001, "system.slice/web.service"),
        (4, "d", 1001, "system.slice/db.service/runtime"),
        (5, f"{'7' * 12}-infra", 1001, f"{pod}/libpod-conmon-{identifier(5)}.scope"),
        # Of root, and of users within containers.
        (6, "e", 0, "machine.slice/x.scope"),
        (7, "f", 1001, f"system.slice/docker-{identifier(8)}.scope"),
        (7, "g", 1001, "lxc.payload.one/user.slice"),
    ):
        host.add_monitor(conmon.format(identifier(number), identifier(number), name), owner, group)
    shim = f"/usr/bin/containerd-shim-runc-v2 -namespace moby -id {identifier(9)} -address x"
    host.add_monitor(shim, 1002, "user.slice/docker.service")
    host.add_monitor("/usr/bin/conmonitor -c x", 1001, "a.slice")
    assert host.count(SHELLS[shell]) == ContainerCounts(
        {**NONE, "podman": 4, "docker": 1}, {"podman": {1000: 2, 1001: 2}, "docker": {1002: 1}}
    )


def test_containers_in_containers_are_not_counted(host: Root) -> None:
    outer = f"system.slice/docker-{identifier(1)}.scope"
    host.add(f"{outer}/docker/{identifier(2)}", "sh")
    host.add(f"{outer}/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{identifier(3)}.scope", "sh")
    host.add(f"lxc.payload.one/system.slice/docker-{identifier(4)}.scope", "sh")
    host.add(f"{POD}/cri-containerd-{identifier(5)}.scope/docker/{identifier(6)}", "sh")
    assert host.running() == {"docker": 1, "lxd": 1, "kubernetes": 1}


def test_a_pod_of_a_cgroupfs_manager_is_no_container(host: Root) -> None:
    pod = f"libpod_parent/{identifier(1)}"
    host.add(f"{pod}/libpod-{identifier(2)}", "good")
    host.add(f"{pod}/libpod-{identifier(3)}", "catatonit")
    assert host.running() == {"podman": 1}


def test_a_group_that_is_left_behind_does_not_count(host: Root) -> None:
    group = f"libpod_parent/libpod-{identifier(1)}"
    host.add(group)
    (host.hierarchy / group / "cgroup.events").write_text("populated 0\nfrozen 0\n", encoding="ascii")
    assert host.running() == {}


def test_a_container_with_an_init_process_counts(host: Root) -> None:
    host.add(f"machine.slice/libpod-{identifier(1)}.scope", "catatonit", "good")
    assert host.running() == {"podman": 1}


@pytest.mark.parametrize("hierarchy", ["systemd", "pids", "memory", "cpu,cpuacct"])
def test_version_1_has_one_tree_for_each_controller(hierarchy: str, tmp_path: Path) -> None:
    """The same group exists in the trees of all controllers."""
    host = Root(tmp_path, hierarchy)
    groups = (f"docker/{identifier(1)}", "lxc/one", f"kubepods/burstable/pod1/{identifier(2)}")
    for group in groups:
        host.add(group, "sh")
        (tmp_path / "sys/fs/cgroup/blkio" / group).mkdir(parents=True)
    if hierarchy == "systemd":
        # Both versions at the same time.
        (tmp_path / "sys/fs/cgroup/unified" / groups[0]).mkdir(parents=True)
    assert host.running() == {"docker": 1, "lxd": 1, "kubernetes": 1}


def test_a_host_without_control_groups_is_unknown(tmp_path: Path) -> None:
    assert Root(tmp_path, "other").count() is None


def test_the_names_of_units_can_have_escapes(host: Root) -> None:
    host.add(f"system.slice/a\\x2db@c:d.service/libpod-payload-{identifier(1)}", "sh")
    assert host.running() == {"podman": 1}


def test_many_containers_fit_in_an_answer(host: Root) -> None:
    for number in range(1500):
        digits = f"{number:064x}"
        (host.hierarchy / POD / f"cri-containerd-{digits[::-1]}.scope").mkdir(parents=True)
    assert host.running() == {"kubernetes": 1500}


def test_too_many_groups_are_unknown(host: Root) -> None:
    """Users can create any number of control groups in their own."""
    parent = host.hierarchy / "user.slice/user-1000.slice/user@1000.service/app.slice"
    for number in range(20_001):
        (parent / f"a{number}").mkdir(parents=True)
    assert host.count() is None


def test_too_many_monitors_are_unknown(host: Root) -> None:
    """Users can start any number of processes with such a name."""
    for number in range(201):
        host.add_monitor(f"conmon -c {number}", 1000, "a.slice")
    assert host.count() is None


def test_an_odd_name_hides_no_container(host: Root) -> None:
    """Users can create control groups with any name in their own."""
    host.add(f"system.slice/docker-{identifier(1)}.scope", "sh")
    host.add(f"user.slice/user-1000.slice/user@1000.service/a\ngroup - docker/{'0' * 12}", "sh")
    assert host.running() == {"docker": 1}
