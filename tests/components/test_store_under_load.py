# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A store in PostgreSQL: writers that are killed, a server that stops, controllers that plan at the same time."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import typing as t
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import grants, store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import Recorded
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.store import PostgresStore
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.seat_plan import SeatOptions, seat_plan
from tests.samples.facts import shipped
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer
from tests.samples.records import make_record
from tests.samples.replay import Replay
from tests.samples.store_writer import stored

pytestmark = [pytest.mark.store, pytest.mark.skipif(NOT_INSTALLED is not None, reason=str(NOT_INSTALLED))]
ROOT = Path(__file__).resolve().parents[2]
WRITERS, KILLS, RECORDS = 4, 50, 400
SEED = 20260310


@pytest.fixture
def server() -> t.Iterator[PostgresServer]:
    """A server that writes to the disk before it answers, as in production."""
    with PostgresServer.run(fsync=True) as started:
        yield started


@pytest.fixture
def database(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseAddress:
    monkeypatch.setenv("LIVEPATCH_SPOOL_DIR", str(tmp_path / "spool"))
    return DatabaseAddress(server.database())


def start(database: DatabaseAddress, log: Path, name: str, last: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.samples.store_writer", database.url, str(log), name, "0", str(last)]
    return subprocess.Popen(words, cwd=ROOT)


def hosts(database: DatabaseAddress) -> list[str]:
    documents = list(store.load([database]))
    assert all(isinstance(document, Recorded) for document in documents), documents
    return sorted(document.record["host"] for document in documents if isinstance(document, Recorded))


def test_killed_writers_lose_nothing_and_store_nothing_twice(database: DatabaseAddress, tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  (a repeatable order)
    logs = {f"w{number}": tmp_path / f"w{number}.log" for number in range(WRITERS)}
    with contextlib.ExitStack() as started:
        running = {name: started.enter_context(start(database, log, name, RECORDS)) for name, log in logs.items()}
        for _kill in range(KILLS):
            name = chance.choice(list(logs))
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[name].wait(chance.uniform(0.05, 1.5))
            running[name].kill()
            running[name].wait()
            running[name] = started.enter_context(start(database, logs[name], name, RECORDS))
        assert [process.wait() for process in running.values()] == [0] * WRITERS
    assert {name: stored(log) for name, log in logs.items()} == {name: list(range(RECORDS)) for name in logs}
    delivery = PostgresStore(database).send_waiting()
    assert (delivery.waiting, delivery.error) == (0, None)
    assert hosts(database) == sorted(f"{name}-{number}" for name in logs for number in range(RECORDS))


def test_records_of_a_server_that_was_stopped_arrive(
    server: PostgresServer, database: DatabaseAddress, tmp_path: Path
) -> None:
    log, count = tmp_path / "w.log", 60
    assert start(database, log, "w", 20).wait() == 0
    server.stop()
    assert start(database, log, "w", 40).wait() == 0
    server.start()
    assert start(database, log, "w", count).wait() == 0
    delivery = PostgresStore(database).send_waiting()
    assert delivery.sent >= 20
    assert (delivery.waiting, delivery.error) == (0, None)
    assert hosts(database) == sorted(f"w-{number}" for number in range(count))


def grant(url: str, names: list[str]) -> list[str]:
    """Plan seats for hosts that no record shows as enabled, as a second controller does at the same time."""
    options = SeatOptions(
        record_dirs=(DatabaseAddress(url),),
        hosts=names,
        priority=[],
        seats=3,
        policy=shipped("launch"),
        require_eligible=False,
        show=False,
        check_mode=False,
        granted_file=Path("unused"),
    )
    result = Replay(lambda _command: None).run(seat_plan(options))
    return t.cast("list[str]", result["granted"])


def test_controllers_never_grant_more_seats_than_there_are(database: DatabaseAddress) -> None:
    names = [f"host{number}" for number in range(8)]
    for name in names:
        record = make_record(name, "disabled", client__enabled=False, system__machine_id_sha256=name)
        PostgresStore(database).put(record)
    with ProcessPoolExecutor(4) as pool:
        plans = list(pool.map(grant, [database.url] * 8, [[name] for name in names]))
    granted = [name for plan in plans for name in plan]
    assert len(granted) == len(set(granted)) == 3
    assert sorted(grants.read_seat_grants([database]).grants) == sorted(granted)


def test_actions_load_the_library_before_the_forks() -> None:
    """Each host has its own process, and loading the library in each of them takes longer than the rest of its task."""
    program = "import sys, ansible_collections.kernelops.livepatch.plugins.action.patch_info as _; "
    program += "print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
