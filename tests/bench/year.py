# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A year of two reports a day: the size of a history, and its trend of open vulnerabilities."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.cve_history import (  # noqa: E402  (found by the path above)
    CveCounts,
    add_counts,
    read_counts,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_db import (  # noqa: E402  (found by the path above)
    add_sightings,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import (  # noqa: E402  (found by the path above)
    Kind,
    Sighting,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.history import (  # noqa: E402  (found by the path above)
    build_cve_history,
)

HOSTS, REPORTS = 5000, 730
_HALF_DAY = 12 * 3600 * 1_000_000
_BEGIN = 20_454 * 2 * _HALF_DAY  # 2026-01-01
_PATCHES, _OPEN_REPORTS, _CHANGING = 28, 60, 40


def year_lines(work: Path) -> Iterator[tuple[str, float, str, bool, str]]:
    """Return the name of each measurement, the figure, its goal, True if the goal is reached, and details.

    Each report shows a new vulnerability of priority high, which stays open for 30 days, and changes of some hosts.
    """
    path = work / "year.sqlite"
    path.unlink(missing_ok=True)
    chance = random.Random(1)  # noqa: S311  (made-up data, the same in each run)
    kinds = [Kind("protected", "4.4.0-168.197-generic", "16.04", "100.1")] * HOSTS
    started = time.process_time()
    for report in range(REPORTS):
        for host in chance.sample(range(HOSTS), _CHANGING):
            state = chance.choice(["protected", "exposed", "stale", "no_answer"])
            kinds[host] = Kind(state, "4.4.0-168.197-generic", "16.04", f"{100 + report // _PATCHES}.1")
        at = _BEGIN + report * _HALF_DAY
        add_sightings(path, (Sighting(f"host-{n:04}", at, kind) for n, kind in enumerate(kinds)))
        cves = {f"CVE-2026-{10000 + n}": "high" for n in range(max(0, report - _OPEN_REPORTS + 1), report + 1)}
        add_counts(path, CveCounts(at, HOSTS, 0, {"high": len(cves)}), cves)
    took = time.process_time() - started
    history = build_cve_history(*read_counts(path))
    assert history is not None
    shown = [day.open["high"] for day in history.days]
    expected = [min(_OPEN_REPORTS, 2 * day + 2) for day in range(REPORTS // 2)]
    closed = {"open": _OPEN_REPORTS, "closed": REPORTS - _OPEN_REPORTS, "mean_days": _OPEN_REPORTS / 2}
    right = shown == expected and history.time_to_close == {"high": closed}
    size = path.stat().st_size / 1e6
    detail = f"{HOSTS:,} hosts, {REPORTS} reports"
    yield "history of a year, MB", size, "<= 50", size <= 50, detail
    yield "history of a year, right trend", float(right), "1", right, detail
    yield "one report of it, seconds", took / REPORTS, "<= 1", took <= REPORTS, "processor time"
