# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lock of a drain group: one host at a time, also after a run was lost."""

from __future__ import annotations

import datetime as dt
import json
import os
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.drain_lock import (
    DrainLock,
    Holder,
    lock_path,
)

NOW = dt.datetime(2026, 3, 1, 4, 0, tzinfo=dt.timezone.utc)
MINUTE = dt.timedelta(minutes=1)
LATER = NOW + 10 * MINUTE


def lock(folder: Path, host: str = "db-01", run: str = "r1", group: str = "orders") -> DrainLock:
    return DrainLock(folder, group, host, run, f"anna@{run}")


def take(drain_lock: DrainLock, at: dt.datetime = NOW) -> Holder | None:
    return drain_lock.take(at, at + 5 * MINUTE)


def test_another_host_gets_the_holder(tmp_path: Path) -> None:
    assert take(lock(tmp_path)) is None
    holder = take(lock(tmp_path, "db-02", "r2"))
    assert holder == Holder("db-01", "r1", "anna@r1", NOW, NOW + 5 * MINUTE)


def test_a_released_lock_is_free(tmp_path: Path) -> None:
    first = lock(tmp_path)
    take(first)
    first.release()
    assert take(lock(tmp_path, "db-02", "r2")) is None


def test_groups_do_not_affect_each_other(tmp_path: Path) -> None:
    groups = ["orders", "orders.eu", "orders/eu", "../orders", "1", "é" * 100, "a" * 300]
    assert [take(lock(tmp_path, group=group)) for group in groups] == [None] * len(groups)
    assert len({lock_path(tmp_path, group) for group in groups}) == len(groups)
    assert {path.parent for path in tmp_path.rglob("*.drain-group")} == {tmp_path}


def test_a_lost_run_keeps_other_hosts_out(tmp_path: Path) -> None:
    take(lock(tmp_path))
    holder = take(lock(tmp_path, "db-02", "r2"), LATER)
    assert holder is not None
    assert holder.until < LATER


def test_the_next_run_on_the_host_takes_the_lock(tmp_path: Path) -> None:
    first, again = lock(tmp_path), lock(tmp_path, run="r2")
    take(first)
    assert take(again, NOW + MINUTE) is None
    assert not first.renew(LATER)
    first.release()
    other = take(lock(tmp_path, "db-02", "r3"), LATER)
    assert other is not None
    assert (other.run, other.since) == ("r2", NOW), "the host has been drained since then"


def test_only_the_owner_renews_and_releases(tmp_path: Path) -> None:
    first, other = lock(tmp_path), lock(tmp_path, "db-02", "r2")
    take(first)
    assert first.renew(LATER)
    assert not other.renew(LATER)
    other.release()
    holder = take(other, NOW + 6 * MINUTE)
    assert holder is not None
    assert holder.until == LATER
    lock_path(tmp_path, "orders").unlink()
    assert not first.renew(LATER)
    first.release()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": "kernelops.livepatch/drain-lock/2"}'])
def test_a_damaged_file_is_not_a_free_lock(tmp_path: Path, content: str) -> None:
    lock_path(tmp_path, "orders").write_text(content, encoding="ascii")
    with pytest.raises(LivepatchError) as caught:
        take(lock(tmp_path))
    assert (caught.value.id, caught.value.remedy is None) == ("drain_lock_unusable", False)
    assert str(lock_path(tmp_path, "orders")) in caught.value.message


@pytest.mark.parametrize("key", ["group", "host", "run", "by", "since", "until"])
def test_an_incomplete_file_is_not_a_free_lock(tmp_path: Path, key: str) -> None:
    take(lock(tmp_path))
    content: dict[str, t.Any] = json.loads(lock_path(tmp_path, "orders").read_text("utf-8"))
    lock_path(tmp_path, "orders").write_text(json.dumps({**content, key: 1}), encoding="utf-8")
    with pytest.raises(LivepatchError, match="schema"):
        take(lock(tmp_path))


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LivepatchError) as caught:
        take(lock(tmp_path / "file"))
    assert caught.value.id == "drain_lock_unusable"


def test_runs_at_the_same_time_give_one_holder(tmp_path: Path) -> None:
    locks = [lock(tmp_path, f"db-{number}", f"r{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        holders = list(pool.map(take, locks))
    assert holders.count(None) == 1
    assert len({holder.host for holder in holders if holder is not None}) == 1


def test_a_nested_lock_is_unusable(tmp_path: Path) -> None:
    mine = lock(tmp_path)
    take(mine)
    lock_path(tmp_path, "orders").write_text("[" * 60_000)
    with pytest.raises(LivepatchError) as caught:
        take(mine)
    assert caught.value.id == "drain_lock_unusable"


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        take(lock(tmp_path / "records"))
    finally:
        os.umask(mask)
    assert (tmp_path / "records").stat().st_mode & 0o777 == 0o700
