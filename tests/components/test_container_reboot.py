# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `kernel_reboot` on a machine with real containers under systemd, with a real reboot of this system."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.lab.runtimes.machine import NAME, Machine

pytestmark = pytest.mark.runtimes

MODULE = "kernelops.livepatch.kernel_reboot"
OPTIONS: dict[str, t.Any] = {
    "force": True,
    "require_protected": False,
    "message": "",
    "delay": 0,
    "reboot_timeout": 240,
    "drain_timeout": 120,
}
DOCKER = """\
run() { docker run -d --network none --name "$@"; }
run d-no tiny:1
run d-always --restart always tiny:1
run d-unless --restart unless-stopped tiny:1
run d-failure --restart on-failure tiny:1
run off-no tiny:1
run off-unless --restart unless-stopped tiny:1
run off-always --restart always tiny:1
docker stop off-no off-unless off-always
"""
# Version 1 of Compose is real. Version 2 labels the dependencies, of which one has been created again.
COMPOSE = """\
mkdir -p /srv/shop
cd /srv/shop
cat >docker-compose.yml <<'END'
version: "2.4"
services:
  web: {image: "tiny:1", network_mode: none, depends_on: [db], restart: unless-stopped}
  db: {image: "tiny:1", network_mode: none}
END
docker-compose --no-ansi up -d
service() {
    name=$1
    shift
    docker run -d --network none --name "mail-$name-1" --label com.docker.compose.project=mail \\
        --label "com.docker.compose.service=$name" --label "com.docker.compose.depends_on=$*" tiny:1
}
service web queue:service_started:false,db:service_healthy:true
service db
service queue db:service_started:false
"""
# `podman generate systemd` writes units that create their container, and units that start one that exists.
PODMAN = """\
cd /etc/systemd/system
run() { podman run -d --network none --name "$@"; }
run p-no localhost/tiny:1
run p-always --restart always localhost/tiny:1
run off-podman localhost/tiny:1
podman stop off-podman
podman create --network none --name plain localhost/tiny:1
podman generate systemd --files --name --restart-policy always plain
podman pod create --name group --network none
podman create --pod group --name member localhost/tiny:1
podman generate systemd --files --name --new group
podman pod rm -f group
podman create --network none --name p-front localhost/tiny:1
cat >front.service <<'END'
[Service]
ExecStart=/usr/bin/podman start -a p-front
ExecStop=/usr/bin/podman stop p-front
Restart=always
RestartSec=0
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now --quiet container-plain pod-group front
"""
UNITS = ("container-plain", "pod-group", "container-member", "front")
# Only alice has a session of systemd, so only her container has a control group of its own.
ROOTLESS = """\
as() { user=$1; shift; cd "/home/$user"; runuser -u "$user" -- env HOME="$PWD" "$@"; }
for user in alice bob; do as "$user" podman import tiny.tar localhost/tiny:1; done
as alice podman run -d --network none localhost/tiny:1 /bin/good
as bob podman run -d --network none localhost/tiny:1 /bin/good
systemd-run --quiet --unit=of-bob --uid=bob -p WorkingDirectory=/home/bob -p Environment=HOME=/home/bob \\
    podman run --sdnotify=ignore --network none --name in-unit localhost/tiny:1 /bin/good
until runuser -u bob -- env HOME=/home/bob podman ps --format '{{.Names}}' | grep -q in-unit; do sleep 0.2; done
"""
MAIL = ["mail-db-1", "mail-queue-1", "mail-web-1"]
STARTED_BY_MODULE = ["d-no", "d-unless", "d-failure", "shop_db_1", "shop_web_1", *MAIL]
PODMAN_RUNNING = {"p-no", "p-always", "plain", "member", "p-front"}


@pytest.fixture
def reboots(tmp_path: Path, running_runtimes: tuple[Machine, Path]) -> t.Callable[..., list[dict[str, t.Any]]]:
    """Run the module with each set of options, in one play."""
    ansible = Ansible(tmp_path, {"ANSIBLE_INVENTORY": str(running_runtimes[1])}, timeout=900)
    return lambda *cases: ansible.each(MODULE, NAME, [{**OPTIONS, **case} for case in cases])


# The end of a login then ends all its processes.
LOGIND = """\
printf '[Login]\\nKillUserProcesses=yes\\nKillExcludeUsers=nobody\\n' >/etc/systemd/logind.conf
systemctl restart systemd-logind
"""


def running(machine: Machine, engine: str) -> set[str]:
    names = machine.read(f"{engine} ps --format '{{{{.Names}}}}'").split()
    return {name for name in names if not name.endswith("-infra")}


def test_containers_that_cannot_be_drained_are_refused(
    machine: Machine, reboots: t.Callable[..., list[dict[str, t.Any]]]
) -> None:
    boot_id = machine.read("cat /proc/sys/kernel/random/boot_id")
    machine.read(ROOTLESS)
    machine.read("docker run -d --network none --stop-timeout 600 --name slow tiny:1 /bin/stubborn")
    rootless, slow = reboots({}, {"allow_running": ["rootless"]})
    assert (rootless["error_id"], slow["error_id"]) == ("rootless_running", "stop_timeout_too_long")
    assert "3 containers of users" in rootless["msg"]
    assert "(user IDs: 1000, 1001)" in rootless["msg"]
    assert "slow (600 s)" in slow["msg"]

    machine.read("docker rm -f slow; docker run -d --network none --name web tiny:1")
    machine.read("podman run -d --network none --stop-timeout 600 --name hung localhost/tiny:1 /bin/stubborn")
    try:
        (hung,) = reboots({"allow_running": ["rootless"], "drain_timeout": 3})
    finally:
        # Podman removes a container that it waits for, but does not end its processes.
        machine.read("systemctl kill -s KILL libpod-$(podman inspect --format '{{.Id}}' hung).scope")
    assert hung["error_id"] == "drain_failed"
    assert "did not stop within drain_timeout: hung; the others were started again" in hung["msg"]
    assert (running(machine, "docker"), hung["rebooted"]) == ({"web"}, False)
    assert machine.read("cat /proc/sys/kernel/random/boot_id") == boot_id


def test_containers_run_again_after_a_real_reboot(
    machine: Machine, reboots: t.Callable[..., list[dict[str, t.Any]]]
) -> None:
    for part in (LOGIND, DOCKER, COMPOSE, PODMAN, "lxc launch tiny one"):
        machine.read(part, timeout=300)
    before = running(machine, "docker")
    assert before == {*STARTED_BY_MODULE, "d-always"}
    assert running(machine, "podman") == PODMAN_RUNNING
    boot_id = machine.read("cat /proc/sys/kernel/random/boot_id")

    rebooted, again = reboots({}, {"force": False})
    assert (rebooted.get("error_id"), rebooted["kind"]) == (None, "ok"), rebooted
    assert (rebooted["rebooted"], again["rebooted"], again["changed"]) == (True, False, False)
    assert rebooted["boot_id"] == machine.read("cat /proc/sys/kernel/random/boot_id") != boot_id
    named = {each["name"] for each in rebooted["containers"]}
    assert named == {*before, *PODMAN_RUNNING, "one"}

    # Docker itself starts a container with the policy always, although it was stopped before.
    assert running(machine, "docker") == {*before, "off-always"}
    assert running(machine, "podman") == PODMAN_RUNNING
    assert machine.read("lxc list -c s -f csv") == "RUNNING"
    # Every start since the boot.
    events = "docker events --since 0 --until 0s --filter event=start"
    names = machine.read(f"{events} --format '{{{{.Actor.Attributes.name}}}}'").split()
    assert sorted(names) == sorted({*before, "off-always"})
    assert [name for name in names if name in STARTED_BY_MODULE] == STARTED_BY_MODULE
    restarts = machine.read(f"systemctl show --value -p NRestarts {' '.join(UNITS)}").split()
    assert restarts == ["0"] * len(UNITS)
    assert machine.read(f"systemctl is-active {' '.join(UNITS)}").split() == ["active"] * len(UNITS)
