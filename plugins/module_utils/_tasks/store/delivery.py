# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Send the records that wait on this controller to their store, before a task reads it."""

from __future__ import annotations

import collections.abc as c

from ..._errors import sentence
from ..._records.postgresql.address import DatabaseAddress, StorePlace
from ..._records.postgresql.store import PostgresStore
from ..commands import Task, warn


def send_waiting(places: c.Iterable[StorePlace]) -> Task[int]:
    """Send what waits for these stores, with a warning for each that has or had any. Return how many still wait."""
    waiting = 0
    for place in places:
        if not isinstance(place, DatabaseAddress):
            continue
        delivery = PostgresStore(place).send_waiting()
        waiting += delivery.waiting
        if delivery.sent:
            yield from warn(
                f"Records that waited in {delivery.folder}, and are in the store {place} now: {delivery.sent}."
            )
        if delivery.waiting:
            why = sentence(delivery.error.message) if delivery.error else "They cannot be used."
            yield from warn(f"Records that wait in {delivery.folder} for the next run: {delivery.waiting}. {why}")
    return waiting
