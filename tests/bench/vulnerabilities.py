# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerability data of full size: compiling and loading the data of a release, and evaluating a fleet.

Run as a program, it measures one of these steps in a process of its own, and prints seconds and bytes.
"""

from __future__ import annotations

import datetime
import json
import lzma
import random
import re
import shutil
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.newest import NewestRecords  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.fleet_exposure import (  # noqa: E402  (found by the path above)
    evaluate_fleet,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (  # noqa: E402  (found by the path above)
    Downloader,
    DownloadOptions,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.data_files import (  # noqa: E402  (found by the path above)
    DataFiles,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.exposure import (  # noqa: E402  (found by the path above)
    KernelEvidence,
)
from tests.samples.notices import affected, notice  # noqa: E402  (found by the path above)
from tests.samples.vulnerabilities import package, release_data  # noqa: E402  (found by the path above)

SOURCES, CVES, VERSIONS, OTHERS, NOTICES = 40, 6000, 250, 2500, 55
HOSTS, PATCHES = 10_000, 8
NAMES = ["linux", *(f"linux-variant{number}" for number in range(1, SOURCES))]


def write_data(folder: Path) -> Path:
    """Write the data of a release and the notices, unless they exist, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "com.ubuntu.xenial.pkg.json.xz"
    if path.is_file():
        return folder
    chance = random.Random(1)  # noqa: S311  (made-up data, the same in each run)
    cves = [f"CVE-{2016 + number % 16}-{10000 + number}" for number in range(CVES)]
    packages = {
        name: package({cve: _advice(chance) for cve in cves}, *(f"4.4.0-{n}.{n + 20}" for n in range(1, VERSIONS)))
        for name in NAMES
    }
    packages |= {f"package{n}": package({cves[n]: "1.2-3"}, *(f"1.2-{v}" for v in range(20))) for n in range(OTHERS)}
    for each in packages.values():
        for version, entry in each["source_versions"].items():
            entry["binary_packages"] = {f"linux-part{n}-{version}": version for n in range(8)}
    document = release_data(packages, dict(zip(cves, chance.choices(["low", "medium", "high"], k=CVES), strict=True)))
    for entry in document["security_issues"]["cves"].values():
        entry["description"] *= 25
    for number in range(60, 60 + NOTICES):
        regex = r"lkp_Ubuntu_4_4_0[_|\d]+_generic_(\d+)"
        listed = [f"UBUNTU-{cve}" for cve in chance.sample(cves, 40)]
        content = notice(f"{number:04}-1", affected(regex, str(number), fixed="4.4.0-240.260"), upstream=listed)
        (folder / f"LSN-{number:04}-1.json").write_text(json.dumps(content), encoding="utf-8")
    with lzma.open(path.with_suffix(".part"), "wt", preset=0, encoding="utf-8") as file:
        text = json.dumps(document)
        file.write(text)
    (folder / "size").write_text(str(len(text)), encoding="ascii")
    path.with_suffix(".part").replace(path)
    return folder


def _advice(chance: random.Random) -> tuple[str, str | None]:
    kind = chance.random()
    if kind < 0.25:
        return "not-vulnerable", None
    if kind < 0.3:
        return "vulnerable", None
    number = chance.randint(1, VERSIONS - 1)
    return "fixed", f"4.4.0-{number}.{number + 20}"


def evidence() -> dict[str, KernelEvidence]:
    """Return the evidence of hosts with several hundred kinds of kernels, patches and lists of the client."""
    hosts = {}
    for number in range(HOSTS):
        release, patch = 1 + 3 * (number % 80), number // 80 % PATCHES
        fixes = tuple((f"CVE-{2016 + n % 16}-{10000 + n}", True) for n in range(patch, 400, 7))
        hosts[f"host-{number:05}"] = KernelEvidence(
            ubuntu=True,
            release="16.04",
            kernel=f"4.4.0-{release}.{release + 20}-generic",
            source="linux",
            patch=f"{100 + patch}.1" if patch else None,
            confirmed=bool(patch),
            fixes=fixes if patch % 2 else (),
            patchable=True,
            enabled=True,
        )
    return hosts


def measure(step: str, folder: Path) -> tuple[float, int]:
    """Return the seconds of processor time and the peak of memory of one step in this process."""
    now = datetime.datetime.now(datetime.timezone.utc)
    files = DataFiles(folder.with_name("vulnerability-cache"), Downloader(DownloadOptions()), now)
    places, releases = [str(folder)], {("16.04", "")}
    if step == "evaluate":
        indexes = files.open(places, releases).indexes
        hosts = NewestRecords(evidence(), set(), [], None)
        started = time.process_time()
        found = evaluate_fleet(hosts, indexes, None, "negligible")
        entries, _left_out = found.entries()
        assert found.evaluated == CVES
        assert entries
    else:
        started = time.process_time()
        files.open(places, releases)
    took = time.process_time() - started
    # The figure of getrusage begins with the memory of the parent.
    peak = re.search(r"VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return took, int(peak[1]) * 1024 if peak else 0


def vulnerability_lines(work: Path) -> Iterator[tuple[str, float, str, bool, str]]:
    """Return the name of each measurement, the figure, its goal, True if the goal is reached, and details."""
    folder = write_data(work / "vulnerabilities")
    size = int((folder / "size").read_text(encoding="ascii")) / 1e6
    shutil.rmtree(work / "vulnerability-cache", ignore_errors=True)
    detail = f"{size:.0f} MB, {SOURCES} kernels, {CVES} vulnerabilities, {NOTICES} notices"
    for step, name, goal in (
        ("compile", "compile the data of a release", 20.0),
        ("load", "load the compiled data", 0.3),
        ("evaluate", f"evaluate {HOSTS:,} hosts", 3.0),
    ):
        words = [sys.executable, __file__, step, str(folder)]
        output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        took, memory = json.loads(output)
        yield f"{name}, seconds", took, f"<= {goal:g}", took <= goal, detail
        yield f"{name}, MB", memory / 1e6, "<= 500", memory <= 500e6, "one process"


if __name__ == "__main__":
    print(json.dumps(measure(t.cast(str, sys.argv[1]), Path(sys.argv[2]))))
