# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Running containers, boot ids, and the saved list of an interrupted reboot, as a host prints them."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import containers
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import (
    Container,
    ContainerCounts,
    Runtime,
    SavedContainers,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section
from tests.samples.answers import answer, ok

BOOT = "0c5a3d2e-1111-2222-3333-444455556666"


# --- counting

A, B = "0123456789ab", "fedcba987654"
POD = "pod7d1f9f3e_1c2b_4a5d_8e9f_0a1b2c3d4e5f"
SLICE = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{POD}.slice"
USER = "user.slice/user-1000.slice/user@1000.service"
PODMAN_POD = f"machine.slice/machine-libpod_pod_{'ab' * 32}.slice"


def counts(*lines: str, cut: bool = False) -> ContainerCounts | None:
    output = "".join(f"{line}\n" for line in lines)
    return containers.count_containers(answer(Section("containers", "ok", output, exit_code=0, cut=cut)))


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        # Docker: the drivers systemd and cgroupfs, and another parent.
        (f"system.slice/docker-{A}.scope", "docker"),
        (f"docker/{A}", "docker"),
        (f"ecs/0f3b/{A}", "docker"),
        (f"batch.slice/docker-{A}.scope", "docker"),
        # Podman: with systemd, in a pod, in a pod of a cgroupfs manager, and in a unit (--cgroups=split, Quadlet).
        (f"machine.slice/libpod-{A}.scope", "podman"),
        (f"{PODMAN_POD}/libpod-{A}.scope", "podman"),
        (f"libpod_parent/libpod-{A}", "podman"),
        (f"libpod_parent/{'ab' * 32}/libpod-{A}", "podman"),
        (f"system.slice/web.service/libpod-payload-{A}", "podman"),
        # LXD, Incus and LXC of several versions.
        ("lxc.payload.web-1", "lxd"),
        ("lxc.payload/web-1", "lxd"),
        ("lxc/web-1", "lxd"),
        ("lxc.payload.project_web-1", "lxd"),
        # Kubernetes with containerd, CRI-O and Docker, with both drivers of control groups.
        (f"{SLICE}/cri-containerd-{A}.scope", "kubernetes"),
        (f"{SLICE}/crio-{A}.scope", "kubernetes"),
        (f"{SLICE}/docker-{A}.scope", "kubernetes"),
        (f"kubepods/burstable/{POD}/{A}", "kubernetes"),
        (f"kubepods/besteffort/{POD}/crio-{A}", "kubernetes"),
        (f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-{POD}.slice/cri-containerd-{A}.scope", "kubernetes"),
        (f"system.slice/cri-containerd-{A}.scope", "kubernetes"),
    ],
)
def test_a_control_group_is_a_container(path: str, runtime: str) -> None:
    found = counts(f"group - {path}", "containerd ok")
    assert found is not None
    assert {name: number for name, number in found.running.items() if number} == {runtime: 1}
    assert found.rootless == {}


@pytest.mark.parametrize(
    "line",
    [
        # The monitors of containers.
        f"group - machine.slice/libpod-conmon-{A}.scope",
        f"group - {PODMAN_POD}/libpod-conmon-{A}.scope",
        f"group - {SLICE}/crio-conmon-{A}.scope",
        f"group - kubepods/besteffort/{POD}/crio-conmon-{A}",
        # The processes that keep the namespaces of pods.
        f"group pause {PODMAN_POD}/libpod-{A}.scope",
        f"group pause system.slice/pod.service/libpod-payload-{A}",
        f"group pause {SLICE}/cri-containerd-{A}.scope",
        f"group pause kubepods/burstable/{POD}/{A}",
        # A plugin of Docker, other scopes, and other text.
        f"group - {A}",
        f"group - system.slice/runc-{A}.scope",
        f"group - machine.slice/buildah-{A}.scope",
        "group - system.slice/ssh.service",
        f"group - system.slice/docker-{A}.scope; reboot",
        "docker 12",
    ],
)
def test_other_control_groups_are_no_containers(line: str) -> None:
    found = counts(line, "containerd absent")
    assert found is not None
    assert set(found.running.values()) == {0}


def test_a_container_of_docker_may_be_called_pause() -> None:
    found = counts(f"group pause system.slice/docker-{A}.scope", "containerd absent")
    assert found is not None
    assert found.running["docker"] == 1


def test_containers_of_users_are_counted_by_user() -> None:
    found = counts(
        f"group - {USER}/user.slice/libpod-{A}.scope",
        f"group - {USER}/user.slice/libpod-conmon-{A}.scope",
        f"group - {USER}/app.slice/web.service/libpod-payload-{B}",
        f"group - {USER}/user.slice/docker-{A}.scope",
        f"group - {USER}/user.slice/nerdctl-{A}.scope",
        f"group - {USER.replace('1000', '1001')}/user.slice/libpod-{B}.scope",
        # The session of a user in which root starts a container, and the service manager of root.
        f"group - user.slice/user-1000.slice/session-3.scope/libpod-payload-{A}",
        f"group - user.slice/user-0.slice/user@0.service/app.slice/web.service/libpod-payload-{B}",
        "containerd ok",
    )
    assert found == ContainerCounts(
        {"docker": 1, "lxd": 0, "podman": 5, "kubernetes": 0, "containerd": 1},
        {"podman": {1000: 2, 1001: 1}, "docker": {1000: 1}, "containerd": {1000: 1}},
    )


def test_containers_of_users_without_groups_are_counted_by_their_monitors() -> None:
    found = counts(
        f"group - {USER}/user.slice/libpod-{A}.scope",
        f"group - system.slice/web.service/libpod-payload-{B}",
        f"group - system.slice/docker-{'0' * 12}.scope",
        f"group pause {USER}/user.slice/libpod-{'1' * 12}.scope",
        f"monitor - podman 1000 {A}",
        f"monitor - podman 1001 {B}",
        # A process that claims to be the monitor of a container of root.
        f"monitor - docker 1001 {'0' * 12}",
        # Without a group: one of each runtime, one whose identifier is unknown, and two that keep namespaces.
        f"monitor - podman 1001 {'2' * 12}",
        f"monitor - docker 1002 {'3' * 12}",
        "monitor - podman 1002 -",
        f"monitor pause podman 1002 {'4' * 12}",
        f"monitor - podman 1000 {'1' * 12}",
        # Other text.
        f"monitor - podman 0 {'5' * 12}",
        f"monitor - lxd 1000 {'5' * 12}",
        f"monitor - podman root {'5' * 12}",
        "containerd absent",
    )
    assert found == ContainerCounts(
        {"docker": 2, "lxd": 0, "podman": 4, "kubernetes": 0, "containerd": 0},
        {"podman": {1000: 1, 1001: 2, 1002: 1}, "docker": {1002: 1}},
    )


def test_containerd_counts_by_its_state() -> None:
    found = counts(
        "group - default/c1",
        f"group - default/{A}",
        f"group - system.slice/nerdctl-{B}.scope",
        "containerd ok",
        "task default c1",
        f"task default {A}{'0' * 52}",
        f"task example {B}{'0' * 52}",
    )
    assert found == ContainerCounts({"docker": 0, "lxd": 0, "podman": 0, "kubernetes": 0, "containerd": 3}, {})


def test_what_cannot_be_counted_is_missing() -> None:
    assert counts("containerd denied", f"group - {USER}/user.slice/nerdctl-{A}.scope") == ContainerCounts(
        {"docker": 0, "lxd": 0, "podman": 0, "kubernetes": 0}, {"containerd": {1000: 1}}
    )
    assert counts("containerd ok", f"group - docker/{A}", cut=True) is None
    assert counts(f"group - docker/{A}", "more", "containerd ok") is None
    assert containers.count_containers(answer(ok("containers", "", 1))) is None
    assert containers.count_containers(answer()) is None


# --- containers that a reboot stops


def test_a_boot_id_is_a_uuid() -> None:
    assert containers.read_boot_id(answer(ok("boot_id", f"{BOOT}\n"))) == BOOT
    assert containers.read_boot_id(answer()) is None


@pytest.mark.parametrize("output", ["", "nonsense", f"{BOOT}\n{BOOT}", f"{BOOT}; reboot"])
def test_other_text_is_no_boot_id(output: str) -> None:
    assert containers.read_boot_id(answer(ok("boot_id", output))) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("docker ab12 web", Container("docker", "web")),
        (f"docker {'a' * 64} web", Container("docker", "web")),
        ("podman cd34 db-1", Container("podman", "db-1")),
        ("lxd db db", Container("lxd", "db")),
        ("evacuated m1 vm", Container("evacuated", "vm")),
        ("docker ab12 web paused", Container("docker", "web")),
        ("unit container-web@1.service web", Container("unit", "web")),
        ("unit app-\\x2dx.service web", Container("unit", "web")),
        # A container for the namespaces of a pod, and a member of a cluster.
        ("infra ab12 cd34-infra", None),
        ("pod_unit pod-web.service cd34-infra", None),
        ("member m1 node1", None),
        ("rkt x y", None),
        ("podman x", None),
        ("docker a b c", None),
        ("docker a$(id) web", None),
        ("reboot -f now", None),
        ("\x1b[2J a b", None),
    ],
)
def test_a_container_is_a_line(line: str, expected: Container | None) -> None:
    assert containers.read_containers(f"{line}\n") == ((expected,) if expected else ())


def test_a_container_belongs_to_a_runtime() -> None:
    handled = {"docker": "docker", "podman": "podman", "unit": "podman", "lxd": "lxd", "evacuated": "lxd"}
    assert {name: Container(name, "web").runtime for name in handled} == handled


def test_runtimes_are_read_by_name() -> None:
    sections = answer(
        ok("running docker", "docker ab12 web\n"),
        ok("auto_removed docker", "true /job\nfalse /web\ntrue x y\n"),
        ok("stop_limits docker", "600 web\nlong db\n-1 db\n5 a b\n"),
        Section("running podman", "timeout", exit_code=124),
        ok("running lxd", "", 1, "Error: no daemon"),
    )
    assert containers.read_runtimes(sections) == {
        "docker": Runtime(True, (Container("docker", "web"),), ("job",), {"web": 600}),
        "podman": Runtime(False, (), ()),
        "lxd": Runtime(False, (), ()),
    }


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            [ok("saved_boot_id", f"{BOOT}\n"), ok("saved", "lxd c1 c1\n")],
            SavedContainers(BOOT, (Container("lxd", "c1"),)),
        ),
        (
            [ok("saved_boot_id", "cut sho"), ok("saved", "lxd c1 c1\n")],
            SavedContainers(None, (Container("lxd", "c1"),)),
        ),
        ([ok("saved_boot_id", "?")], SavedContainers(None, ())),
        ([ok("saved_boot_id", "", 1), ok("saved", "", 1)], None),
        ([], None),
    ],
)
def test_the_saved_list_is_read(sections: list[Section], expected: SavedContainers | None) -> None:
    assert containers.read_saved_containers(answer(*sections)) == expected
