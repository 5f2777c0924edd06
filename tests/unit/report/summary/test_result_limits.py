# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the limits of results."""

from __future__ import annotations

import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.result_limits import limit_lists

HOSTS = [f"web-{number:06}.example.com" for number in range(20_000)]


def test_small_lists_are_complete() -> None:
    result = {"hosts_by_state": {"failed": HOSTS[:9], "stale": []}, "problems": [{"id": "x"}], "changed": True}
    assert limit_lists(result, {"hosts_by_state": 1000, "problems": 1000}) == {**result, "not_listed": {}}


def test_a_full_list_uses_the_room_of_empty_ones() -> None:
    names = {"failed": HOSTS[:30], **{f"state{number}": [] for number in range(20)}}
    assert limit_lists({"names": names}, {"names": 30 * 28})["names"] == names


@pytest.mark.parametrize("limit", [0, 1, 500, 100_000])
def test_large_lists_are_cut_to_their_shares(limit: int) -> None:
    names = {"failed": HOSTS[:10], "stale": HOSTS[10:]}
    result = limit_lists(
        {"names": names, "problems": [{"host": host} for host in HOSTS]}, {"names": limit, "problems": limit}
    )
    for key in ("names", "problems"):
        assert len(json.dumps(result[key])) <= limit + len(json.dumps({"failed": [], "stale": []}))
    assert {name: hosts[: len(result["names"][name])] for name, hosts in names.items()} == result["names"]
    listed = sum(map(len, result["names"].values()))
    assert result["not_listed"] == {"names": len(HOSTS) - listed, "problems": len(HOSTS) - len(result["problems"])}
    assert names["stale"] == HOSTS[10:], "the lists of the caller stay"
