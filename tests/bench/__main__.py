# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Benchmarks of speed and memory, as ratios within one run, because absolute times depend on the machine.

``make bench`` runs everything, ``make bench BENCH=store`` one part, ``make bench BENCH='raw --hosts 50 --rounds 1'`` a
short one. Prints a table and writes ``.build/bench.json``. Compared commands alternate (A B A B …), and a ratio is the
median over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose  # noqa: E402  (found by the path above)
from tests.bench.controller import controller_lines  # noqa: E402  (found by the path above)
from tests.bench.mirror import Job, publish  # noqa: E402  (found by the path above)
from tests.bench.records import write_records  # noqa: E402  (found by the path above)
from tests.bench.signature import signature_lines  # noqa: E402  (found by the path above)
from tests.bench.store import store_lines  # noqa: E402  (found by the path above)
from tests.bench.vulnerabilities import vulnerability_lines  # noqa: E402  (found by the path above)
from tests.bench.year import year_lines  # noqa: E402  (found by the path above)
from tests.lab.fleet import Fleet, running_fleet  # noqa: E402  (found by the path above)
from tests.lab.live_patches import module_files  # noqa: E402  (found by the path above)
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer  # noqa: E402  (found by the path above)

PLAYS = Path(__file__).parent / "plays"
WORK = REPOSITORY / ".build" / "bench"
FORKS = 20
NONCE = "0" * 32


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one command: elapsed seconds, processor seconds, bytes of its largest process.

    `total_memory` is the peak of the bytes of all its processes together, with shared bytes counted once; 0 unless
    watched.
    """

    wall: float
    cpu: float
    memory: int
    total_memory: int = 0


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One figure and its goal."""

    name: str
    figure: float
    goal: str
    reached: bool
    detail: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"parts to measure, all by default: {', '.join(PARTS)}"
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=[50, 200, 1000], help="sizes of the fleet")
    parser.add_argument("--modules", type=int, default=200, help="hosts for ordinary modules, 0 for none")
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000], help="records to report on")
    parser.add_argument("--archives", type=int, default=500, help="archives of 1 MB for a mirror, 0 for none")
    parser.add_argument("--fleet", type=int, default=1000, help="hosts for one controller; 10000 for no extrapolation")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}: use some of {', '.join(PARTS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    results = []
    for name in dict.fromkeys(options.parts or PARTS):
        print(f"{name}: {PARTS[name].__doc__}".splitlines()[0], flush=True)
        for result in PARTS[name](options):
            print(show(result), flush=True)
            results.append(result)
    (REPOSITORY / ".build" / "bench.json").write_text(
        json.dumps([dataclasses.asdict(result) for result in results], indent=2) + "\n", encoding="utf-8"
    )
    return 0 if all(result.reached for result in results) else 1


def show(measurement: Measurement) -> str:
    return (
        f"{'ok  ' if measurement.reached else 'OVER'}  {measurement.name:<58} {measurement.figure:>9.2f}  "
        f"goal {measurement.goal:<10}  {measurement.detail}"
    )


def compare_with_raw(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Compare patch_info over N hosts with raw and the same script."""
    for count in options.hosts:
        with running_fleet(WORK / "lab", count) as fleet:
            script = WORK / "probe.sh"
            script.write_text(probe_script(fleet, network=True), encoding="utf-8")
            give_module_file(fleet)
            ours, raw = alternate(
                options.rounds,
                lambda fleet=fleet: play(fleet, "patch_info.yml"),
                lambda fleet=fleet, script=script: play(fleet, "raw.yml", script=str(script)),
            )
        for name in ("wall", "cpu"):
            ratio = median_ratio(ours, raw, name)
            detail = f"{median(ours, name):.1f} s and {median(raw, name):.1f} s"
            yield Measurement(f"patch_info / raw, {count} hosts, {name} time", ratio, "<= 1.3", ratio <= 1.3, detail)


def probe_script(fleet: Fleet, *, network: bool) -> str:
    """Return the script that patch_info sends."""
    variables = {"server": fleet.server, "network": "1" if network else "", "verify": "auto", "certificate": ""}
    return compose("probe", NONCE, variables)


def give_module_file(fleet: Fleet) -> None:
    """Add the module file of the loaded patch to every copy, and write the certificate of its signer."""
    module_files.put(fleet, "web-0001", module_files.loaded(fleet, "web-0001").file())
    (WORK / "signing.pem").write_bytes(module_files.vendor().pem)


def compare_with_modules(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Compare the check with a playbook of ordinary modules: facts, packages, status, set_fact, template."""
    if not options.modules:
        return
    with running_fleet(WORK / "lab", options.modules, replicated="xenial-with-python") as fleet:
        modules = [play(fleet, "ordinary_modules.yml", out=str(WORK / "modules"))]
        ours = [check(fleet) for _round in range(options.rounds)]
    ratio = median(modules, "wall") / median(ours, "wall")
    detail = f"{median(modules, 'wall'):.1f} s against {median(ours, 'wall'):.1f} s"
    yield Measurement(
        f"ordinary modules / check, {options.modules} hosts, wall time", ratio, ">= 20", ratio >= 20, detail
    )


def memory_growth(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Compare the growth of the controller's largest process from 100 to 1,000 hosts with that of raw."""
    few, many = 100, 1000
    if max(options.hosts) < many:
        return
    peaks: dict[tuple[str, int], int] = {}
    for count in (few, many):
        with running_fleet(WORK / "lab", count) as fleet:
            give_module_file(fleet)
            peaks["ours", count] = play(fleet, "patch_info.yml").memory
            peaks["raw", count] = play(fleet, "raw.yml", script=str(WORK / "probe.sh")).memory
    ours, raw = (peaks[kind, many] - peaks[kind, few] for kind in ("ours", "raw"))
    ratio = ours / max(raw, 1)
    detail = f"{ours / 1e6:.0f} MB against {raw / 1e6:.0f} MB more"
    yield Measurement(
        "controller memory, growth from 100 to 1,000 hosts / raw's", ratio, "<= 1.1", ratio <= 1.1, detail
    )


def reports(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Measure fleet_report over many records, in every format."""
    goals = {10_000: (1.5, 400), 100_000: (10.0, 400)}
    for count in options.records:
        write_records(WORK / "records", count)
        report()  # warm-up
        costs = [report() for _round in range(options.rounds)]
        took, (seconds, megabytes) = median(costs, "wall"), goals.get(count, (10.0 * count / 100_000, 400))
        detail = f"whole command; {median(costs, 'cpu'):.1f} s of processor"
        name = f"fleet_report, {count:,} records"
        yield Measurement(f"{name}, seconds", took, f"<= {seconds:g}", took <= seconds, detail)
        # A separate run, because reading the memory of a process slows it down.
        peak = report(watched=True).total_memory / 1e6
        detail = "all of its processes"
        yield Measurement(f"{name}, MB", peak, f"<= {megabytes}", peak <= megabytes, detail)


def stores(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Measure a store in PostgreSQL with the most records to report on."""
    missing = without_postgresql()
    if missing or not options.records:
        print(f"skipped: the store in PostgreSQL ({missing or 'no records'})")
        return
    write_records(WORK / "records", max(options.records))
    history = WORK / "store-history.sqlite"
    history.unlink(missing_ok=True)

    def seconds(place: str) -> float:
        # A store in PostgreSQL always has a history, so the folder has one too.
        return report(place, history=None if place.startswith("postgresql:") else history).wall

    with PostgresServer.run() as server:
        for values in store_lines(server, WORK / "records", seconds, options.rounds):
            yield Measurement(*values)


def report(place: str = str(WORK / "records"), *, watched: bool = False, history: Path | None = None) -> Cost:
    """Create the report again."""
    shutil.rmtree(WORK / "report", ignore_errors=True)
    given = {"records": place, "out": str(WORK / "report"), **({"history": str(history)} if history else {})}
    return run(["ansible-playbook", str(PLAYS / "report.yml"), "-e", json.dumps(given)], watched=watched)


def script_alone(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Measure the probe on a host, without the time of the client."""
    with running_fleet(WORK / "lab", 1) as fleet:
        host = json.loads((fleet.root("web-0001").parent / "session.json").read_text(encoding="utf-8"))
        script = probe_script(fleet, network=False).encode()
        give_module_file(fleet)
        took = []
        for _round in range(max(options.rounds, 5)):
            started = time.monotonic()
            subprocess.run(
                [*host["command"], "/bin/sh", "-s"],
                input=script,
                env=host["environment"],
                capture_output=True,
                check=True,
            )
            took.append(time.monotonic() - started)
    seconds = statistics.median(took)
    yield Measurement(
        "the probe on a host, seconds", seconds, "<= 0.3", seconds <= 0.3, "includes sandbox and client double"
    )


def mirrors(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Compare the core of patch_mirror for archives of 1 MB with curl and sha256sum, which verify no signature.

    Unpacking bzip2 takes longer than everything else, so the cost of the mirror shows with gzip. With bzip2, the other
    side unpacks too.
    """
    if not options.archives:
        return
    few, memory = max(options.archives // 5, 1), {}
    with running_fleet(WORK / "lab", 1) as fleet:
        for packing, count, test in (("gz", few, ""), ("gz", options.archives, ""), ("bz2", few, "bzip2 -t")):
            job = publish(fleet, WORK / "mirror", count, packing)
            plain = job.plain(test=test)
            ours, theirs = alternate(
                options.rounds,
                lambda job=job: transfer(job, job.ours),
                lambda job=job, plain=plain: transfer(job, plain),
            )
            memory[packing, count] = max(cost.memory for cost in ours)
            if (packing, count) != ("gz", few):
                ratio = median_ratio(theirs, ours, "wall")
                detail = f"{median(theirs, 'wall'):.1f} s against {median(ours, 'wall'):.1f} s"
                name = f"curl, sha256sum{test and f', {test}'} / mirror, {count} archives, {packing}"
                yield Measurement(name, ratio, ">= 0.8", ratio >= 0.8, detail)
    ratio = memory["gz", options.archives] / memory["gz", few]
    detail = f"{memory['gz', options.archives] / 1e6:.0f} MB against {memory['gz', few] / 1e6:.0f} MB"
    yield Measurement(f"memory of a mirror, {options.archives} archives / {few}", ratio, "<= 1.1", ratio <= 1.1, detail)


def signatures(_options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Compare the verification of a signature with the RSA operation alone."""
    for values in signature_lines():
        yield Measurement(*values)


def vulnerabilities(_options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Measure vulnerability data of full size, and a year of reports."""
    for values in (*vulnerability_lines(WORK), *year_lines(WORK)):
        yield Measurement(*values)


def controllers(options: argparse.Namespace) -> t.Iterator[Measurement]:
    """Measure the check of 10,000 hosts from one controller, and from three slices that share a store."""
    missing = without_postgresql()
    if missing:
        print(f"skipped: the slices ({missing})")
    with contextlib.nullcontext() if missing else PostgresServer.run() as server:
        for values in controller_lines(WORK, options.fleet, server):
            yield Measurement(*values)


def without_postgresql() -> str | None:
    """Return why PostgreSQL cannot be used, or None."""
    return NOT_INSTALLED or (None if importlib.util.find_spec("psycopg") else "psycopg is not installed")


PARTS: dict[str, t.Callable[[argparse.Namespace], t.Iterator[Measurement]]] = {
    "raw": compare_with_raw,
    "modules": compare_with_modules,
    "memory": memory_growth,
    "report": reports,
    "store": stores,
    "controller": controllers,
    "probe": script_alone,
    "mirror": mirrors,
    "signature": signatures,
    "vulnerabilities": vulnerabilities,
}


def transfer(job: Job, words: list[str]) -> Cost:
    """Transfer all archives of a job into an empty folder."""
    job.clear()
    return run(words)


def alternate(rounds: int, one: t.Callable[[], Cost], other: t.Callable[[], Cost]) -> tuple[list[Cost], list[Cost]]:
    """Run both once as a warm-up, then alternately."""
    one(), other()
    pairs = [(one(), other()) for _round in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def median(costs: list[Cost], name: str) -> float:
    return statistics.median(getattr(cost, name) for cost in costs)


def median_ratio(ones: list[Cost], others: list[Cost], name: str) -> float:
    return statistics.median(getattr(one, name) / getattr(other, name) for one, other in zip(ones, others, strict=True))


def play(fleet: Fleet, playbook: str, **variables: str) -> Cost:
    """Run one of the plays in ``plays/`` over a fleet."""
    words = ["ansible-playbook", "-i", str(fleet.inventory), "--forks", str(FORKS), str(PLAYS / playbook)]
    return run([*words, "-e", json.dumps(variables)], **fleet.variables)


def check(fleet: Fleet) -> Cost:
    """Run the check playbook over a fleet, as a user does."""
    words = ["ansible-playbook", "kernelops.livepatch.check", "-i", str(fleet.inventory), "--forks", str(FORKS)]
    return run(words, **fleet.variables)


def run(words: list[str], *, watched: bool = False, **variables: str) -> Cost:
    """Run a command and return its cost, including children. `watched`: measure its total memory too."""
    configuration = WORK / "ansible.cfg"
    configuration.touch()
    ours = {
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".build" / "collections"),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_DISPLAY_OK_HOSTS": "false",
        **variables,
    }
    with (WORK / "output").open("wb") as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        process = subprocess.Popen(words, cwd=WORK, env=os.environ | ours, stdout=output, stderr=output)
        peaks = [0]
        while watched and not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            peaks.append(total_memory(process.pid))
            time.sleep(0.1)
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        text = (WORK / "output").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"bench: {' '.join(words)} ended with {process.returncode}:\n{text}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, usage.ru_maxrss * 1024, max(peaks))


def total_memory(pid: int) -> int:
    """Return the bytes of a process and its descendants; shared bytes count once (proc(5), Pss)."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        children = [
            child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text("ascii").split()
        ]
    except OSError:
        # The process has exited.
        return 0
    own = next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return own + sum(total_memory(int(child)) for child in children)


if __name__ == "__main__":
    raise SystemExit(main())
