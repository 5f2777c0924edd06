# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""`check` over a network with latency and loss, on 200 hosts with a real sshd each, some of which disappear."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.network import Link, Network, SshHost, UnavailableError, running_network

from .conftest import Ansible, Run

pytestmark = pytest.mark.network

HOSTS, FORKS, ANSWER_SECONDS = 200, 30, 90
LIKE = "xenial-generic"
EACH = 4
"""Hosts that disappear in each way."""
CAUSES = {
    "cut": ("timed_out", f"did not complete its answer within {ANSWER_SECONDS} s"),
    "frozen": ("timed_out", f"did not complete its answer within {ANSWER_SECONDS} s"),
    "killed": ("unreachable", "the connection was lost before the host had completed its answer"),
    "off": ("unreachable", "Connection refused"),
    # On a busy machine, ssh may end its attempt before the kernel gives up the search for the address.
    "away": ("unreachable", "No route to host", "Connection timed out"),
}
"""How hosts disappear: the cause, and parts of its message, of which it has one. The first three begin to answer."""
STOPPING = ("cut", "frozen", "killed")
LIMIT = 600
"""Seconds for the run, also on a machine that is busy. A host that disappears takes its `ANSWER_SECONDS` at most."""


class Checked(t.NamedTuple):
    """A run of `check`, its seconds, its report, and the described host of each host that stays.

    `connections` are the command lines of ssh processes for the others that remained.
    """

    run: Run
    seconds: float
    report: dict[str, t.Any]
    described: dict[str, str]
    connections: list[str]


def hosts_of(fleet: Fleet, described: dict[str, str]) -> dict[str, SshHost]:
    """Return all hosts. Those that disappear are first, so that the run waits for them while others answer."""
    going = {f"{way}-{number}": way for number in range(EACH) for way in CAUSES}
    return {
        **{
            name: SshHost.that_stops(fleet, LIKE)
            if way in STOPPING
            else SshHost.of_lab(fleet, LIKE, serves=way != "off")
            for name, way in going.items()
        },
        **{name: SshHost.of_lab(fleet, like) for name, like in described.items()},
    }


def let_disappear(network: Network) -> None:
    """Let each host disappear when it has sent the first part of its answer."""
    actions: dict[str, Callable[[str], None]] = {"killed": network.kill, "cut": network.cut, "frozen": network.freeze}
    for name in network.stopped():
        actions[name.partition("-")[0]](name)


@pytest.fixture(scope="module")
def checked(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    folder = tmp_path_factory.mktemp("network")
    fleet.set_clocks()
    names = [name for name, host in fleet.hosts.items() if not host.faults.unreachable]
    staying = itertools.islice(itertools.cycle(names), HOSTS - EACH * len(CAUSES))
    described = {f"host-{number}": name for number, name in enumerate(staying)}
    try:
        with running_network(hosts_of(fleet, described), Link(round_trip=30, loss=1)) as network:
            for number in range(EACH):
                network.cut(f"away-{number}")
            threading.Thread(target=let_disappear, args=(network,), daemon=True).start()
            yield check(network, fleet, folder, described)
    except UnavailableError as reason:
        pytest.skip(f"no network of the lab: {reason}")


def check(network: Network, fleet: Fleet, folder: Path, described: dict[str, str]) -> Checked:
    (folder / "inventory.json").write_text(json.dumps(network.inventory), encoding="utf-8")
    ansible = Ansible(folder, {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(network.sockets), "ANSIBLE_FORKS": str(FORKS)})
    variables = {
        "livepatch_policy": "current",
        "livepatch_server": fleet.server,
        "livepatch_answer_timeout": ANSWER_SECONDS,
        "livepatch_fail_on": [],
    }
    words = ("playbook", "kernelops.livepatch.check", "-i", "inventory.json", "-e", json.dumps(variables))
    started = time.monotonic()
    run = ansible.command(*words, prefix=network.prefix)
    seconds = time.monotonic() - started
    report = json.loads((folder / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))
    lost = [network.address(name) for name in network.inventory["all"]["hosts"] if name not in described]
    return Checked(run, seconds, report, described, ssh_processes(lost))


def ssh_processes(addresses: list[str]) -> list[str]:
    """Return the command lines of the ssh clients for these addresses."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace").split("\0"))
    return [" ".join(words) for words in lines if words[0].endswith("ssh") and not {*words}.isdisjoint(addresses)]


def test_every_host_that_stays_has_its_described_state(checked: Checked, fleet: Fleet) -> None:
    expected = {name: fleet.hosts[like].expected("current") for name, like in checked.described.items()}
    found = {record["host"]: record for record in checked.report["records"]}
    states = {name: (record["assessment"]["state"], record["eligibility"]["verdict"]) for name, record in found.items()}
    assert states == {name: (each.state, each.verdict) for name, each in expected.items()}


def test_every_host_that_disappears_has_the_cause(checked: Checked) -> None:
    found = {attempt["host"]: attempt for attempt in checked.report["unreachable"]}
    assert {name.partition("-")[0] for name in found} == set(CAUSES)
    assert len(found) == EACH * len(CAUSES)
    for name, attempt in found.items():
        (reason,) = attempt["assessment"]["reasons"]
        cause, *texts = CAUSES[name.partition("-")[0]]
        assert (attempt["assessment"]["state"], attempt["cause"]) == ("no_answer", cause), attempt
        assert any(text in reason["message"] for text in texts), attempt
        assert reason["remedy"], attempt


def test_the_run_ends_in_time(checked: Checked) -> None:
    assert checked.run.code == 0, checked.run.output[-3000:]
    assert checked.seconds < LIMIT


def test_no_connection_to_lost_hosts_remains(checked: Checked) -> None:
    assert checked.connections == []
