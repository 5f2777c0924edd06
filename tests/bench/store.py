# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A store in PostgreSQL: many records from several writers, and a report from it against one from a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import store  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import Recorded  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import records, schema  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (  # noqa: E402  (found by the path above)
    DatabaseAddress,
)
from tests.samples.postgresql import PostgresServer  # noqa: E402  (found by the path above)

WRITERS = 4
_AT_ONCE = 2000


def store_lines(
    server: PostgresServer, folder: Path, report: Callable[[str], float], rounds: int
) -> Iterator[tuple[str, float, str, bool, str]]:
    """Return the name of each measurement, the figure, its goal, True if the goal is reached, and details.

    `report` makes a report from a store, and returns its seconds.
    """
    address = DatabaseAddress(server.database())
    schema.migrate(address)
    found = store.find([folder])
    started = time.monotonic()
    with ProcessPoolExecutor(WRITERS) as pool:
        stored = sum(pool.map(_write, [(address, found[number::WRITERS]) for number in range(WRITERS)]))
    took = time.monotonic() - started
    goal = 60 * len(found) / 100_000
    name = f"store {len(found):,} records from {WRITERS} writers, seconds"
    yield name, took, f"<= {goal:.0f}", took <= goal and stored == len(found), "reads the files too"
    report(str(folder)), report(address.url)  # warm-up
    ratios = sorted(report(address.url) / report(str(folder)) for _round in range(rounds))
    ratio = ratios[len(ratios) // 2]
    yield (
        f"report from the store / folder, {len(found):,} records",
        ratio,
        "<= 1.3",
        ratio <= 1.3,
        "whole command, with a history",
    )


def _write(job: tuple[DatabaseAddress, list[store.Stored]]) -> int:
    address, found = job
    stored = 0
    for begin in range(0, len(found), _AT_ONCE):
        part = [each.record for each in store.read(found[begin : begin + _AT_ONCE]) if isinstance(each, Recorded)]
        stored += records.put(address, part, [], None)[0]
    return stored
