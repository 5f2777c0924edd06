# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Time and processor time of `check` over real sshd, by forks, ControlPersist, latency and loss.

``python tests/bench/network.py`` (as root) prints a table. Each host replays a recorded answer after a second, which is
what an ordinary host takes, so that the processors of this machine are left to the controller and the servers. The
processor time is that of Ansible and its ssh processes.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose  # noqa: E402  (found by the path above)
from tests.lab.fleet import running_fleet  # noqa: E402  (found by the path above)
from tests.lab.network import Link, Network, SshHost, running_network  # noqa: E402  (found by the path above)

WORK = REPOSITORY / ".build" / "bench"
NONCE = "0" * 32
LINKS = (Link(), Link(round_trip=30, loss=1))
_SUBREAPER = 36
# The script is on standard input, and its first line has the nonce.
_REPLAY = """\
read -r nonce
nonce=${nonce#lp_nonce=}
cat >/dev/null
sleep %(seconds)s
exec sed "s/%(nonce)s/$nonce/" %(answer)s
"""


class Figure(t.NamedTuple):
    """The figures of one run: seconds, and processor seconds of Ansible and of its ssh processes."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="network", description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--forks", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--persist", type=int, nargs="+", default=[0, 60], help="ControlPersist in seconds, 0 for none")
    parser.add_argument("--seconds", type=float, default=1, help="time that a host takes to answer")
    parser.add_argument("--rounds", type=int, default=1, help="runs, of which the fastest counts")
    options = parser.parse_args()
    # Connections that ssh keeps open outlive Ansible. Their processor time counts, too.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    WORK.mkdir(parents=True, exist_ok=True)
    answer = WORK / "answer"
    answer.write_bytes(recorded_answer())
    replay = _REPLAY % {"seconds": options.seconds, "nonce": NONCE, "answer": shlex.quote(str(answer))}
    hosts = {f"host-{number}": SshHost(f"exec sh -c {shlex.quote(replay)}") for number in range(options.hosts)}
    print(
        "| round trip, loss | ControlPersist | forks | wall time | processor time | a host |\n|---|---|---|---|---|---|"
    )
    for link in LINKS:
        with running_network(hosts, link) as network:
            for persist in options.persist:
                for forks in options.forks:
                    rounds = [measure(network, forks, persist) for _round in range(options.rounds)]
                    figure = Figure(min(each.wall for each in rounds), min(each.cpu for each in rounds))
                    print(
                        f"| {link.round_trip:g} ms, {link.loss:g} % | {f'{persist} s' if persist else 'off'} | {forks} "
                        f"| {figure.wall:.1f} s | {figure.cpu:.1f} s | {figure.cpu / len(hosts) * 1000:.0f} ms |",
                        flush=True,
                    )


def recorded_answer() -> bytes:
    """Return the answer of a host of the lab to the script of a check."""
    with running_fleet(WORK / "lab", 1) as fleet:
        variables = {"server": fleet.server, "network": "1", "verify": "auto", "certificate": ""}
        return fleet.run("web-0001", "/bin/sh -s", compose("probe", NONCE, variables).encode()).stdout


def measure(network: Network, forks: int, persist: int) -> Figure:
    """Run the check once, and close the connections that it leaves open."""
    inventory = WORK / "network.json"
    inventory.write_text(json.dumps(network.inventory), encoding="utf-8")
    configuration = WORK / "ansible.cfg"
    configuration.touch()
    for folder in ("network-records", "network-report"):
        shutil.rmtree(WORK / folder, ignore_errors=True)
    variables = {
        "livepatch_policy": "launch",
        "livepatch_fail_on": [],
        "livepatch_record_dir": str(WORK / "network-records"),
        "livepatch_report_dir": str(WORK / "network-report"),
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".build" / "collections"),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(network.sockets),
        "ANSIBLE_SSH_ARGS": f"-C -o ControlMaster=auto -o ControlPersist={persist}s" if persist else "-C",
    }
    playbook = ["ansible-playbook", "kernelops.livepatch.check", "-i", str(inventory), "-e", json.dumps(variables)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run([*network.prefix, *playbook], env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - started
    _end_children()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((WORK / "network-report" / "fleet.json").read_text(encoding="utf-8"))
    assert len(report["records"]) == len(network.inventory["all"]["hosts"]), report["summary"]
    return Figure(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _end_children() -> None:
    """End the processes that Ansible left behind, which are children of this process now."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    names = {pid: Path(f"/proc/{pid}/comm") for pid in children.read_text(encoding="ascii").split()}
    for pid, name in names.items():
        if name.read_text(encoding="utf-8") == "ssh\n":
            os.kill(int(pid), signal.SIGTERM)
            os.waitpid(int(pid), 0)


if __name__ == "__main__":
    main()
