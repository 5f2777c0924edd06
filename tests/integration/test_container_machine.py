# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Real containers of every kind, and the real snapd, on a virtual machine with the kernel of Debian 13.

Each test starts a machine from the same saved state: the containers of `tests/lab/containers/guest/prepare` run.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.lab.containers.virtual_machine import NAME, running_machine
from tests.lab.runtimes.machine import KILL_DOCKER
from tests.lab.snapd.machine import CLIENT, TOKEN
from tests.lab.ssh_machine import SshMachine
from tests.lab.vm.debian_packages import UnavailableError

pytestmark = pytest.mark.containers

Module = Callable[..., list[dict[str, t.Any]]]
# An emulator without hardware virtualisation is slow.
REBOOT: dict[str, t.Any] = {
    "answer_timeout": 600,
    "drain_timeout": 900,
    "reboot_timeout": 900,
    "delay": 0,
    "force": True,
    "message": "",
    "require_protected": False,
}
STARTED_BY_MODULE = ["d-no", "d-unless", "shop-db-1", "shop-web-1"]
DOCKER = {*STARTED_BY_MODULE, "d-always"}
PODMAN = {"p-no", "p-always", "p-member", "q-web", "q-cart", "mail-sender"}
UNITS = "web.service shop-pod.service cart.service mail.service"


@pytest.fixture
def machine() -> Iterator[SshMachine]:
    try:
        with running_machine() as started:
            yield started
    except UnavailableError as reason:
        pytest.skip(f"no virtual machine with container runtimes: {reason}")


@pytest.fixture
def ansible(tmp_path: Path, machine: SshMachine) -> Ansible:
    return Ansible(tmp_path, {"ANSIBLE_INVENTORY": str(machine.inventory)}, timeout=2400)


@pytest.fixture
def reboots(ansible: Ansible) -> Module:
    """Run the module with each set of options, in one play."""
    return lambda *cases: ansible.each(
        "kernelops.livepatch.kernel_reboot", NAME, [{**REBOOT, **each} for each in cases]
    )


def running(machine: SshMachine) -> dict[str, set[str]]:
    """Return the names of the running containers of root by runtime, without those that only keep namespaces."""
    found = {}
    for engine in ("docker", "podman"):
        names = machine.read(f"{engine} ps --format '{{{{.Names}}}}'").split()
        found[engine] = {name for name in names if not name.endswith(("-infra", "-service"))}
    found["lxd"] = set(machine.read("incus list -c n -f csv status=running").split())
    return found


def test_containers_run_again_after_a_reboot_of_the_kernel(machine: SshMachine, reboots: Module) -> None:
    boot_id = machine.read("cat /proc/sys/kernel/random/boot_id")
    before = running(machine)
    assert before == {"docker": DOCKER, "podman": PODMAN, "lxd": {"one"}}

    rebooted, again = reboots({}, {"force": False})
    assert (rebooted.get("error_id"), rebooted["rebooted"]) == (None, True), rebooted
    assert (again["rebooted"], again["changed"]) == (False, False)
    assert rebooted["boot_id"] == machine.read("cat /proc/sys/kernel/random/boot_id") != boot_id
    # The kernel counts the seconds since it was started.
    assert float(machine.read("cut -d ' ' -f 1 /proc/uptime")) < rebooted["elapsed"] + again.get("elapsed", 300)

    # Docker itself starts a container with the policy always, although it was stopped before.
    assert running(machine) == {**before, "docker": {*DOCKER, "off-always"}}
    events = "docker events --since 0 --until 0s --filter event=start"
    names = machine.read(f"{events} --format '{{{{.Actor.Attributes.name}}}}'").split()
    assert [name for name in names if name in STARTED_BY_MODULE] == STARTED_BY_MODULE
    assert sorted(names) == sorted({*DOCKER, "off-always"})
    assert machine.read(f"systemctl is-active {UNITS}").split() == ["active"] * 4


# The names of the control groups are those of the CRI plugin. No kubelet runs.
MORE = """\
mkdir /root/rootfs
tar -C /root/rootfs -xf /root/tiny.tar
ctr run -d --rootfs /root/rootfs plain /bin/good
number=1
for program in pause good good; do
    name=$number$(printf "%063d" 0)
    number=$((number + 1))
    ctr -n k8s.io run -d --runc-systemd-cgroup --cgroup "kubepods-burstable-pod0a1b.slice:cri-containerd:$name" \\
        --rootfs /root/rootfs "$name" "/bin/$program"
done
podman --cgroup-manager=cgroupfs run -d --network none --name p-cgroupfs localhost/tiny:1
incus project create other -c features.images=false -c features.profiles=false </dev/null
incus launch tiny far --project other </dev/null
"""
# Only a user with a session of systemd has control groups.
ROOTLESS = """\
loginctl enable-linger alice
until [ -S /run/user/$(id -u alice)/bus ]; do sleep 0.2; done
cp /root/tiny.tar /home/alice
cd /home/alice
runuser -u alice -- env HOME=/home/alice XDG_RUNTIME_DIR=/run/user/$(id -u alice) \\
    DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u alice)/bus sh -s <<'END'
set -e
systemd-run --user --quiet --unit=docker --setenv=DOCKERD_ROOTLESS_ROOTLESSKIT_NET=host \\
    --setenv=DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=none \\
    /usr/share/docker.io/contrib/dockerd-rootless.sh --bridge=none --iptables=false --ip6tables=false
podman import -c 'CMD ["/bin/good"]' tiny.tar localhost/tiny:1
podman run -d --network none localhost/tiny:1
export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/docker.sock
until docker ps >/dev/null 2>&1; do sleep 0.5; done
docker import -c 'CMD ["/bin/good"]' tiny.tar tiny:1
docker run -d --network none tiny:1
END
"""


def test_containers_that_cannot_be_drained_are_counted_and_refused(
    machine: SshMachine, ansible: Ansible, reboots: Module
) -> None:
    for part in (MORE, ROOTLESS):
        machine.read(part, timeout=900)
    (found,) = ansible.each("kernelops.livepatch.patch_info", NAME, [{"network": False, "answer_timeout": 600}])
    counts = {"docker": len(DOCKER) + 1, "podman": len(PODMAN) + 2, "lxd": 2, "kubernetes": 2, "containerd": 1}
    assert found["record"]["system"]["containers"] == counts
    machine.read(KILL_DOCKER)
    allowed = ["kubernetes", "containerd", "rootless"]
    refused = reboots(
        {"allow_running": allowed[:2]},
        {"allow_running": allowed},
        {"allow_running": allowed, "docker": "ignore"},
    )
    errors = ["rootless_running", "runtime_unresponsive", "containers_unlisted"]
    assert [each["error_id"] for each in refused] == errors
    assert "2 containers of users" in refused[0]["msg"]
    assert f"{len(DOCKER)} containers of docker run on this host" in refused[1]["msg"]
    assert "2 containers of lxd run on this host, but lxd lists only 1" in refused[2]["msg"]


def test_the_client_is_enabled_changed_and_removed_by_snapd(machine: SshMachine, ansible: Ansible) -> None:
    common = {"network": False, "require_eligible": False, "token": TOKEN, "answer_timeout": 600}
    cases = (
        {"state": "present"},
        {},
        {"mode": "no-apply"},
        {"state": "absent"},
        {"state": "present", "snap_file": CLIENT},
    )
    found = ansible.each("kernelops.livepatch.client", NAME, [{**common, **each} for each in cases])
    assert [(each.get("error_id"), [step["id"] for step in each.get("steps", [])]) for each in found] == [
        (None, []),
        (None, ["enable"]),
        (None, ["mode"]),
        (None, ["disable", "remove"]),
        ("snap_unsigned", []),
    ]
    assert (found[1]["token_transport"], found[1]["version"], found[1]["enabled"]) == ("socket", "10.8.3", True)
    assert machine.run("snap list canonical-livepatch").returncode == 1
    assert machine.run("ls /snap/canonical-livepatch /var/snap/canonical-livepatch").stdout == ""
