# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Real containers under systemd: counted, drained, and running again after that."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import (
    ContainerCounts,
    Runtime,
    count_containers,
    read_runtimes,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.lab.runtimes.machine import KILL_DOCKER, Machine

pytestmark = pytest.mark.runtimes

NONCE = "0123456789abcdef0123456789abcdef"
ALICE = (
    "cd /home/alice; runuser -u alice -- env HOME=/home/alice XDG_RUNTIME_DIR=/run/user/$(id -u alice) "
    "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u alice)/bus"
)
UNIT = r"""
[Service]
Environment=PODMAN_SYSTEMD_UNIT=%n
ExecStart=/usr/bin/podman run -d --rm --replace --name p-unit --cgroups=split --network none --sdnotify=conmon \
    localhost/tiny:1
ExecStop=/usr/bin/podman stop -i p-unit
Type=notify
NotifyAccess=all
Delegate=yes
[Install]
WantedBy=multi-user.target
"""
# In the order of their creation.
DOCKER = """\
run() { docker run -d --network none --name "$@"; }
run d-first tiny:1
run d-always --restart always tiny:1
run d-paused tiny:1
docker pause d-paused
run d-stubborn tiny:1 /bin/stubborn
run d-last tiny:1
run d-off tiny:1
docker stop d-off
"""
PODMAN = f"""\
run() {{ podman run -d --network none --name "$@"; }}
run p-first localhost/tiny:1
run p-always --restart always localhost/tiny:1
run p-paused localhost/tiny:1
podman pause p-paused
podman --cgroup-manager=cgroupfs run -d --network none --name p-cgroupfs localhost/tiny:1
podman pod create --name pod --network none
podman run -d --pod pod --name p-member localhost/tiny:1
podman create --pod pod --name p-off localhost/tiny:1
cat >/etc/systemd/system/web.service <<'END'
{UNIT}END
systemctl daemon-reload
systemctl enable --now --quiet web.service
run p-last localhost/tiny:1
"""
RUNNING = {
    *("d-first", "d-always", "d-stubborn", "d-last", "p-first", "p-always", "p-cgroupfs", "p-member", "p-last"),
    *("p-unit", "one"),
}
START_DOCKER = """\
rm -r /run/systemd/system/docker.service.d
systemctl daemon-reload
systemctl reset-failed docker.socket docker.service
systemctl restart docker.socket docker.service
"""
PAUSED = {"d-paused", "p-paused"}


def script(machine: Machine, task: str, *, patience: int = 20, **variables: str) -> Sections:
    """Run a task of `kernel_reboot.sh`. `patience` is the time in seconds for an answer of a daemon."""
    values = {"task": task, "within": "100", "docker": "stop", "podman": "stop", "lxd": "stop", "network": ""}
    for name in ("server", "verify", "certificate", "boot_id", "boot_entry", "message"):
        values[name] = ""
    values |= {"delay": "0", "restore_after": "0", "later": "", **variables}
    text = compose(("probe", "kernel_reboot"), NONCE, values).replace("bounded 20 ", f"bounded {patience} ")
    ended = machine.run(text, timeout=300)
    return parse(ended.stdout, ended.stderr, NONCE)


def look(machine: Machine, **options: t.Any) -> tuple[ContainerCounts, dict[str, Runtime]]:
    sections = script(machine, "look", **options)
    counts = count_containers(sections)
    assert counts is not None
    return counts, read_runtimes(sections)


def states(machine: Machine) -> dict[str, str]:
    """The state of every container of root, by name."""
    engines = "; ".join(
        f"{engine} ps -aq | xargs -r {engine} inspect --format '{{{{.Name}}}} {{{{.State.Status}}}}'"
        for engine in ("docker", "podman")
    )
    lines = machine.read(f"{engines}; lxc list -c ns -f csv | tr ,A-Z ' a-z'").splitlines()
    found = {name.removeprefix("/"): state for name, state in (line.split() for line in lines)}
    return {name: state for name, state in found.items() if not name.endswith("-infra")}


def in_state(machine: Machine, *wanted: str) -> set[str]:
    return {name for name, state in states(machine).items() if state in wanted}


def test_every_kind_of_container_is_counted(machine: Machine) -> None:
    machine.read(DOCKER)
    machine.read(PODMAN)
    machine.read("lxc launch tiny one")
    machine.read(f"cp /root/tiny.tar /home/alice; {ALICE} podman import tiny.tar localhost/tiny:1")
    machine.read(f"{ALICE} podman run -d --network none --name rootless localhost/tiny:1 /bin/good")
    image = "docker.io/library/tiny:1"
    machine.read(f"ctr run -d --cpu-shares 0 {image} one /bin/good; ctr run -d --cpu-shares 0 {image} two /bin/good")
    machine.read("ctr task kill -s KILL two")
    for number, program in ((1, "pause"), (2, "good"), (3, "good")):
        name = f"{number}" * 64
        group = f"kubepods-burstable-pod0a1b.slice:cri-containerd:{name}"
        options = f"-d --cpu-shares 0 --runc-systemd-cgroup --cgroup {group}"
        machine.read(f"ctr -n k8s.io run {options} {image} {name} /bin/{program}")

    counts, runtimes = look(machine)
    assert counts == ContainerCounts(
        {"docker": 5, "podman": 8, "lxd": 1, "kubernetes": 2, "containerd": 1}, {"podman": {1000: 1}}
    )
    # Every container of root is listed by its runtime, too, and the containers that keep namespaces are not.
    assert {name: len(runtime.running) for name, runtime in runtimes.items()} == {"docker": 5, "podman": 7, "lxd": 1}
    assert all(runtime.answers and not runtime.auto_removed for runtime in runtimes.values())


def test_drained_containers_run_again(machine: Machine) -> None:
    machine.read(DOCKER)
    machine.read(PODMAN)
    machine.read("lxc launch tiny one")
    assert (in_state(machine, "running"), in_state(machine, "paused")) == (RUNNING, PAUSED)
    unit_before = machine.read("podman inspect --format '{{.Id}}' p-unit")

    drained = script(machine, "drain")
    assert (drained["note"].exit_code, drained["stop"].exit_code) == (0, 0), dict(drained)
    assert in_state(machine, "running", "paused") == set()
    noted = [line.split()[2] for line in drained["saved"].output.splitlines() if not line.startswith("infra ")]
    assert noted == [
        *("d-first", "d-always", "d-paused", "d-stubborn", "d-last"),
        *("p-first", "p-always", "p-paused", "p-cgroupfs", "p-member", "p-unit", "p-last", "one"),
    ]

    restored = script(machine, "restore")
    assert restored["not_running"].output == "", dict(restored)
    assert (in_state(machine, "running"), in_state(machine, "paused")) == (RUNNING, PAUSED)
    assert machine.read("podman inspect --format '{{.Id}}' p-unit") != unit_before
    assert script(machine, "look")["saved"].exit_code != 0
    # They were started in the order of creation.
    names = ["d-first", "d-stubborn", "d-last"]
    times = machine.read(f"docker inspect --format '{{{{.State.StartedAt}}}} {{{{.Name}}}}' {' '.join(names)}")
    assert [line.partition("/")[2] for line in sorted(times.splitlines())] == names


def test_a_label_is_text_of_an_image(machine: Machine) -> None:
    machine.read("docker run -d --network none --name task --label com.docker.swarm.task.id=x7k tiny:1")
    machine.read("docker run -d --network none --name plain --label com.docker.swarm.task.id= tiny:1")
    for name, label in (
        ("other", "dbus.service"),
        ("socket", "dbus.socket"),
        ("lines", "x\n1 --all false false false /y"),
    ):
        text = f"--label 'PODMAN_SYSTEMD_UNIT={label}' localhost/tiny:1"
        machine.read(f"podman run -d --network none --name {name} {text}")
    _counts, runtimes = look(machine)
    found = {each.name: each.handled_as for name in ("docker", "podman") for each in runtimes[name].running}
    assert found == {"task": "swarm", "plain": "docker", **dict.fromkeys(("other", "socket", "lines"), "podman")}


def test_a_daemon_that_hangs_is_noticed(machine: Machine) -> None:
    machine.read("docker run -d --network none --name web tiny:1")
    machine.read("kill -STOP $(pidof dockerd)")
    try:
        counts, runtimes = look(machine, patience=3)
    finally:
        machine.read("kill -CONT $(pidof dockerd)")
    assert (counts.running["docker"], runtimes["docker"].answers) == (1, False)
    assert look(machine)[1]["docker"].answers


def test_containers_of_a_killed_daemon_are_counted(machine: Machine) -> None:
    """Its socket stays, and so do the containers."""
    machine.read("docker run -d --network none --name web tiny:1")
    machine.read(f"{KILL_DOCKER}test -S /run/docker.sock")
    try:
        counts, runtimes = look(machine)
    finally:
        machine.read(START_DOCKER)
    assert (counts.running["docker"], runtimes["docker"].answers) == (1, False)


def test_a_stopped_daemon_has_no_containers(machine: Machine) -> None:
    machine.read("docker run -d --network none --name web tiny:1")
    machine.read("systemctl stop docker.socket docker.service")
    try:
        counts, runtimes = look(machine)
    finally:
        machine.read("systemctl start docker.socket docker.service")
    assert (counts.running["docker"], runtimes["docker"].answers) == (0, False)


def test_a_container_that_docker_removes_is_named(machine: Machine) -> None:
    machine.read("docker run -d --rm --network none --name job tiny:1")
    assert look(machine)[1]["docker"].auto_removed == ("job",)
