# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Keep the results of tasks small, whatever the number of hosts.

AWX removes a result that is larger than 700,000 bytes, and Ansible sends each result through several processes. So a
result has the first entries of its lists and the number of the others. Files have everything.
"""

from __future__ import annotations

import collections.abc as c
import itertools
import json
import typing as t

NAMES = 100_000
"""Bytes of the lists of hosts under one key, as JSON."""

ENTRIES = 50_000
"""Bytes of another list, as JSON."""


def limit_lists(result: c.Mapping[str, t.Any], limits: c.Mapping[str, int]) -> dict[str, t.Any]:
    """Return a result in which a list, or a mapping to lists, has at most the bytes of `limits`, by its key.

    The lists of a mapping are complete if all of them fit, or else have equal shares. ``not_listed`` is the number of
    missing entries by key.
    """
    limited = dict(result)
    not_listed: dict[str, int] = {}
    for key, limit in limits.items():
        value = result[key]
        lists = value if isinstance(value, dict) else {key: value}
        kept = _first(lists, limit)
        missing = sum(map(len, lists.values())) - sum(map(len, kept.values()))
        if missing:
            not_listed[key] = missing
            limited[key] = kept if isinstance(value, dict) else kept[key]
    return {**limited, "not_listed": not_listed}


def _first(lists: c.Mapping[str, c.Sequence[t.Any]], limit: int) -> c.Mapping[str, c.Sequence[t.Any]]:
    entries = list(itertools.chain.from_iterable(lists.values()))
    if _fitting(entries, limit) == len(entries):
        return lists
    share = limit // len(lists)
    return {name: each[: _fitting(each, share)] for name, each in lists.items()}


def _fitting(entries: c.Iterable[t.Any], limit: int) -> int:
    """Return the number of the first entries that have at most these bytes, with the commas between them."""
    sizes = itertools.accumulate(len(json.dumps(entry)) + len(", ") for entry in entries)
    return sum(1 for _size in itertools.takewhile(lambda size: size <= limit, sizes))
