# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Holds of the lab: a double stops at its point, and goes on when the test releases it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import socket
import urllib.parse
from collections.abc import Iterator

import pytest
import requests

from tests.lab import Fleet, LabError, running_fleet
from tests.lab.holds import POINTS, HoldError

pytestmark = pytest.mark.lab

CLIENT = "/snap/bin/canonical-livepatch"
CONTAINERS = "upgradable-container-host"
CONTRACT = "C-made-up-contract"
_INSTALL = "snap install canonical-livepatch"
_ENABLE = f"{CLIENT} enable made-up-token"
_ATTACH = f"pro attach {CONTRACT}"
_STOPPED = '$(awk \'$1 == "%s" && $4 == "STOPPED" { print $2 }\' /usr/lib/livepatch-lab/workloads)'
COMMANDS = {
    "apt-get update": ("install-10", "apt-get update"),
    "apt-get install": (CONTAINERS, "apt-get -y install linux-image-generic"),
    "dpkg --configure": (CONTAINERS, "dpkg --force-confdef --force-confold --configure -a"),
    "snap install": ("install-10", _INSTALL),
    "snap refresh": ("install-10", f"{_INSTALL}; snap refresh canonical-livepatch"),
    "snap stop": ("install-10", f"{_INSTALL}; snap stop canonical-livepatch"),
    "snap start": ("install-10", f"{_INSTALL}; snap start canonical-livepatch"),
    "snap restart": ("install-10", f"{_INSTALL}; snap restart canonical-livepatch"),
    "snap remove": ("install-10", f"{_INSTALL}; snap remove canonical-livepatch"),
    "canonical-livepatch config": ("enable-10", f"{CLIENT} config log-level=info"),
    "canonical-livepatch enable": ("enable-10", _ENABLE),
    "canonical-livepatch refresh": ("enable-10", f"{_ENABLE}; {CLIENT} refresh"),
    "canonical-livepatch disable": ("enable-10", f"{_ENABLE}; {CLIENT} disable"),
    "pro attach": ("pro", _ATTACH),
    "pro disable": ("pro", f"{_ATTACH}; pro disable livepatch"),
    "pro enable": ("pro", f"{_ATTACH}; pro disable livepatch; pro enable livepatch"),
    "pro detach": ("pro", f"{_ATTACH}; pro detach"),
    "docker stop": (CONTAINERS, "docker stop $(docker ps -q --no-trunc)"),
    "docker start": (CONTAINERS, f"docker start {_STOPPED % 'docker'}"),
    "podman stop": (CONTAINERS, "podman stop $(podman ps -q --no-trunc)"),
    "podman start": (CONTAINERS, f"podman stop $(podman ps -q --no-trunc); podman start {_STOPPED % 'podman'}"),
    "lxc stop": (CONTAINERS, "lxc stop database"),
    "lxc start": (CONTAINERS, "lxc stop database; lxc start database"),
    "lxc cluster evacuate": (CONTAINERS, "lxc cluster evacuate one --force"),
    "lxc cluster restore": (CONTAINERS, "lxc cluster restore one --force"),
    "setsid": (CONTAINERS, "setsid true"),
}
"""A host and a command line that reaches each point, once."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("lab"), only=["install-10", "enable-10", "pro", CONTAINERS]) as fleet:
        fleet.set_tokens({"made-up-token": {}})
        fleet.set_contracts({CONTRACT: {}})
        yield fleet


def prepare(lab: Fleet, host: str) -> None:
    lab.change(host, lambda _host: dataclasses.replace(lab.hosts[host], member="one" if host == CONTAINERS else None))


def finished(lab: Fleet, host: str) -> int:
    """Return the number of requests that the lab has finished for the doubles of a host."""
    log = lab.root(host).parent / "lab" / "done"
    return len(log.read_text("ascii").splitlines()) if log.exists() else 0


@pytest.mark.parametrize("point", COMMANDS)
def test_a_double_stops_before_and_after_its_action(point: str, lab: Fleet) -> None:
    host, line = COMMANDS[point]
    prepare(lab, host)
    with lab.hold(host, point) as before, lab.hold(host, f"{point} done") as after:
        process = lab.start(host, line)
        before.wait(process)
        count = finished(lab, host)
        before.release()
        after.wait(process)
        assert finished(lab, host) == count + (point != "apt-get update")
        after.release()
        output, _errors = process.communicate(timeout=60)
        assert process.returncode == 0, output


def test_a_status_stops_before_it_answers(lab: Fleet) -> None:
    prepare(lab, "enable-10")
    with lab.hold("enable-10", "canonical-livepatch status") as hold:
        process = lab.start("enable-10", f"echo begin; {CLIENT} status")
        hold.wait(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begin\n"
        hold.release()
        assert b"not enabled" in process.communicate(timeout=60)[0]


def test_a_reboot_stops_at_each_of_its_points(lab: Fleet) -> None:
    prepare(lab, CONTAINERS)
    with lab.hold(CONTAINERS, "reboot") as before, lab.hold(CONTAINERS, "reboot done") as after:
        with lab.hold(CONTAINERS, "boot") as boot, lab.hold(CONTAINERS, "boot done") as booted:
            process = lab.start(CONTAINERS, "reboot")
            before.wait(process)
            before.release()
            after.wait(process)
            after.release()
            boot.wait()
            assert lab.boots(CONTAINERS) == []
            boot.release()
            booted.wait()
            assert len(lab.boots(CONTAINERS)) == 1
        process.communicate(timeout=60)


def test_the_end_of_a_background_process_is_a_point(lab: Fleet) -> None:
    with lab.hold(CONTAINERS, "setsid exit") as hold:
        assert lab.run(CONTAINERS, "setsid touch /root/ended").returncode == 0
        hold.wait()
        assert (lab.root(CONTAINERS).parent / "home" / "ended").exists()


def test_every_point_has_a_test() -> None:
    others = {"canonical-livepatch status", "setsid exit", "reboot", "reboot done", "boot", "boot done"}
    assert {*COMMANDS, *(f"{point} done" for point in COMMANDS), *others} == POINTS


def test_a_process_killed_at_a_point_changes_nothing(lab: Fleet) -> None:
    prepare(lab, "enable-10")
    with lab.hold("enable-10", "canonical-livepatch enable") as hold:
        process = lab.start("enable-10", _ENABLE)
        hold.wait(process)
        process.kill()
        process.communicate(timeout=60)
    assert lab.machine_token("enable-10") is None


def test_the_end_of_a_hold_releases_its_double(lab: Fleet) -> None:
    prepare(lab, "enable-10")
    with lab.hold("enable-10", "canonical-livepatch enable") as hold:
        process = lab.start("enable-10", _ENABLE)
        hold.wait(process)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_each_double_stops_until_it_is_released(lab: Fleet) -> None:
    with lab.hold("enable-10", "apt-get update") as hold:
        first, second = (lab.start("enable-10", "apt-get update") for _number in range(2))
        for _number in range(2):
            hold.wait()
        hold.release()
        hold.release()
        assert [process.wait(timeout=60) for process in (first, second)] == [0, 0]


def test_a_wait_fails_when_no_double_arrives(lab: Fleet) -> None:
    with lab.hold("enable-10", "apt-get install") as hold:
        with pytest.raises(HoldError, match="the process ended before a double reached 'apt-get install'"):
            hold.wait(lab.start("enable-10", "uname -r"))
        with pytest.raises(HoldError, match=r"0\.01 seconds passed before"):
            hold.wait(seconds=0.01)


def test_an_unknown_point_cannot_be_held(lab: Fleet) -> None:
    with pytest.raises(LabError, match="'apt-get remove' is not one of the points"):
        lab.hold("enable-10", "apt-get remove")


def test_a_point_cannot_be_held_twice(lab: Fleet) -> None:
    with (
        lab.hold("enable-10", "apt-get install"),
        pytest.raises(HoldError, match="held already"),
        lab.hold("enable-10", "apt-get install"),
    ):
        pass


def test_the_server_stops_before_a_request_acts(lab: Fleet) -> None:
    address = lab.on_premises.replace("livepatch.lab.test", "127.0.0.1")
    body = {"auth-token": "made-up-token"}
    with concurrent.futures.ThreadPoolExecutor() as pool, lab.hold_requests("/v1/client/", method="POST") as hold:
        answer = pool.submit(requests.post, f"{address}/v1/client/held", json=body, timeout=60)
        hold.wait()
        assert "held" not in lab.machines()
        hold.release()
        assert answer.result().status_code == 200
    assert "held" in lab.machines()


def test_the_server_stops_within_a_body(lab: Fleet) -> None:
    lab.state.put_file("large", bytes(90_000))
    address = urllib.parse.urlsplit(lab.on_premises)
    with (
        lab.hold_requests("/files/large", after=40_000) as hold,
        socket.create_connection(("127.0.0.1", address.port or 80)) as connection,
    ):
        connection.sendall(b"GET /files/large HTTP/1.0\r\n\r\n")
        hold.wait()
        received = b""
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                received += connection.recv(65_536)
        assert len(received.partition(b"\r\n\r\n")[2]) == 40_000
        hold.release()
        connection.setblocking(True)
        with connection.makefile("rb") as rest:
            assert len(rest.read()) == 50_000
