# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Check many hosts from one controller, and from three slices that share one store in PostgreSQL.

Each host is a program on this machine that answers with a recorded answer at once, over Ansible's local connection. So
the figures are those of the controller. Larger fleets than those that ran are calculated from two sizes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose  # noqa: E402  (found by the path above)
from tests.lab.fleet import running_fleet  # noqa: E402  (found by the path above)
from tests.lab.hosts.file_tree import machine_id  # noqa: E402  (found by the path above)
from tests.samples.postgresql import PostgresServer  # noqa: E402  (found by the path above)

FLEET = 10_000
SLICES = 3
SECONDS, MEGABYTES = 360.0, 250.0
"""Limits for `FLEET` hosts, on two processors."""

_FORKS = 20
_NONCE = "0" * 32
_HOST = "web-0001"
# The script is on standard input, and its first line has the nonce. It is also the machine ID: each host has its own.
_REPLAY = """\
#!/bin/sh
read -r nonce
nonce=${nonce#lp_nonce=}
cat >/dev/null
exec sed "s/%(nonce)s/$nonce/; s/%(machine_id)s/$nonce/" %(answer)s
"""


@dataclasses.dataclass(frozen=True)
class RunCost:
    """The cost of commands that ran at the same time: seconds, processor seconds, and bytes of the largest process."""

    wall: float
    cpu: float
    memory: int

    def extrapolated(self, hosts: int, other: RunCost, others: int, wanted: int) -> RunCost:
        """Return the cost for a number of hosts, by the straight line through two sizes; this one is the larger."""
        rest = (wanted - hosts) / (hosts - others)
        return RunCost(
            self.wall + (self.wall - other.wall) * rest,
            self.cpu + (self.cpu - other.cpu) * rest,
            round(self.memory + max(0, self.memory - other.memory) * rest),
        )


def controller_lines(
    work: Path, hosts: int, server: PostgresServer | None
) -> t.Iterator[tuple[str, float, str, bool, str]]:
    """Return the name of each measurement, the figure, its goal, True if the goal is reached, and details.

    Without a server, the slices are not measured.
    """
    sizes = (max(hosts // 4, SLICES), hosts)
    replay = _write_replay(work)
    alone = [_check(work, replay, size, 1, str(work / "controller-records")) for size in sizes]
    yield from _lines("one controller", sizes, alone)
    if server is not None:
        sliced = [_check(work, replay, size, SLICES, server.database()) for size in sizes]
        yield from _lines(f"{SLICES} slices, one store", sizes, sliced)


def _lines(name: str, sizes: tuple[int, int], costs: list[RunCost]) -> t.Iterator[tuple[str, float, str, bool, str]]:
    cost, how = costs[1], "measured"
    if sizes[1] < FLEET:
        cost = cost.extrapolated(sizes[1], costs[0], sizes[0], FLEET)
        how = f"EXTRAPOLATED from {sizes[0]:,} and {sizes[1]:,} hosts ({costs[0].wall:.1f} s and {costs[1].wall:.1f} s)"
    count = max(FLEET, sizes[1])
    seconds, size = SECONDS * count / FLEET, cost.memory / 1e6
    detail = f"{how}; {cost.cpu:.0f} s of processor, {cost.cpu / count * 1000:.0f} ms a host"
    yield f"check of {count:,} hosts, {name}, seconds", cost.wall, f"<= {seconds:g}", cost.wall <= seconds, detail
    detail = f"{how}; the largest process"
    yield f"check of {count:,} hosts, {name}, MB", size, f"<= {MEGABYTES:g}", size <= MEGABYTES, detail


def _write_replay(work: Path) -> Path:
    """Write the program that stands for a host, with the answer of a host of the lab."""
    with running_fleet(work / "lab", 1) as fleet:
        variables = {"server": fleet.server, "network": "1", "verify": "auto", "certificate": ""}
        answer = fleet.run(_HOST, "/bin/sh -s", compose("probe", _NONCE, variables).encode()).stdout
    own = machine_id(_HOST)
    assert own.encode() in answer
    (work / "answer").write_bytes(answer)
    replay = work / "replay"
    values = {"nonce": _NONCE, "machine_id": own, "answer": shlex.quote(str(work / "answer"))}
    replay.write_text(_REPLAY % values, encoding="utf-8")
    replay.chmod(0o755)
    return replay


def _check(work: Path, replay: Path, hosts: int, slices: int, store: str) -> RunCost:
    """Check all hosts: one run with its report, or slices at the same time and then the report."""
    for folder in ("controller-records", "controller-report"):
        shutil.rmtree(work / folder, ignore_errors=True)
    names = [f"host-{number:05}" for number in range(hosts)]
    inventories = [_inventory(work, replay, names, "all")]
    if slices > 1:
        inventories += [_inventory(work, replay, names[each::slices], f"slice-{each}") for each in range(slices)]
    variables = {
        "livepatch_policy": "launch",
        "livepatch_fail_on": [],
        "livepatch_store": store,
        "livepatch_report_dir": str(work / "controller-report"),
    }
    given = ["--forks", str(_FORKS // slices), "-e", json.dumps(variables)]
    check = ["ansible-playbook", "kernelops.livepatch.check", *given]
    if slices == 1:
        costs = [_run(work, [[*check, "-i", str(inventories[0])]])]
    else:
        parts = [[*check, "--tags", "collect", "-i", str(each)] for each in inventories[1:]]
        report = ["ansible-playbook", "kernelops.livepatch.report", "-i", str(inventories[0]), *given]
        costs = [_run(work, parts), _run(work, [report])]
    found = json.loads((work / "controller-report" / "fleet.json").read_text(encoding="utf-8"))
    assert len(found["records"]) == hosts, found["summary"]
    return RunCost(sum(c.wall for c in costs), sum(c.cpu for c in costs), max(c.memory for c in costs))


def _inventory(work: Path, replay: Path, names: list[str], name: str) -> Path:
    path = work / f"controller-{name}.json"
    variables = {"ansible_connection": "local", "ansible_shell_executable": str(replay)}
    inventory = {"all": {"vars": {}, "hosts": dict.fromkeys(names, variables)}}
    path.write_text(json.dumps(inventory), encoding="utf-8")
    return path


def _run(work: Path, commands: list[list[str]]) -> RunCost:
    """Run commands at the same time. Raises `SystemExit` if one fails."""
    configuration = work / "ansible.cfg"
    configuration.touch()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".build" / "collections"),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_DISPLAY_OK_HOSTS": "false",
    }
    outputs = [work / f"controller-output-{number}" for number in range(len(commands))]
    started = time.monotonic()
    processes = []
    for words, path in zip(commands, outputs, strict=True):
        with path.open("wb") as output:
            processes.append(subprocess.Popen(words, cwd=work, env=environment, stdout=output, stderr=output))
    cpu, memory = 0.0, 0
    for process, words, path in zip(processes, commands, outputs, strict=True):
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            text = path.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise SystemExit(f"bench: {' '.join(words)} ended with {process.returncode}:\n{text}")
        cpu += usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss * 1024)
    return RunCost(time.monotonic() - started, cpu, memory)
