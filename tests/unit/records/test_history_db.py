# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The file of a history: concurrent and killed writers lose nothing and duplicate nothing."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import history_db
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_db import (
    HistoryError,
    add_sightings,
    read_spans,
    restrict_access,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Sighting, Span

WELL = Kind("protected", "4.4.0-168.197-generic", "16.04", "65.1")
OPEN = Kind("upgrade_required", "4.4.0-168.197-generic", "16.04", None, ("CVE-2019-1", "CVE-2019-2"))
GONE = Kind("no_answer")

# A writer in a separate process: it reports that it is ready, waits for input, and adds its sightings in parts.
WRITER = """
import sys
from pathlib import Path
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Sighting
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_db import add_sightings
path, first, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def sightings(part):
    for host in range(first, first + 600):
        state = "protected" if (host + part) % 3 else "stale"
        yield Sighting(f"web{host}", 1000 * part, Kind(state, "4.4.0-168.197-generic", "16.04", "65.1"))
print("ready", flush=True)
sys.stdin.readline()
for part in range(1, parts + 1):
    add_sightings(path, sightings(part))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made on demand" / "history.sqlite"


def test_stored_spans_are_read_back(path: Path) -> None:
    assert read_spans(path) == []
    assert add_sightings(path, [Sighting("web1", 1, WELL), Sighting("web2", 1, OPEN), Sighting("web1", 2, WELL)])
    assert add_sightings(path, [Sighting("web1", 3, OPEN), Sighting("web2", 3, GONE)])
    assert read_spans(path) == [
        ("web1", [Span(1, 2, WELL), Span(3, 3, OPEN)]),
        ("web2", [Span(1, 1, OPEN), Span(3, 3, GONE)]),
    ]


def test_former_names_of_states_are_read(path: Path) -> None:
    assert add_sightings(path, [Sighting("web1", 1, Kind(t.cast("t.Any", "unreachable")))])
    assert read_spans(path) == [("web1", [Span(1, 1, GONE)])]


def test_a_known_sighting_changes_nothing(path: Path) -> None:
    sightings = [Sighting("web1", 1, WELL), Sighting("web1", 5, WELL), Sighting("web1", 7, GONE)]
    assert add_sightings(path, sightings)
    before = read_spans(path), path.read_bytes()
    for again in ([], sightings, [Sighting("web1", 3, WELL)], [Sighting("web1", 7, OPEN)]):
        assert not add_sightings(path, again)
    assert (read_spans(path), path.read_bytes()) == before


@pytest.mark.parametrize("order", list(itertools.permutations([(1, WELL), (2, OPEN), (3, WELL), (4, WELL)])))
def test_sightings_may_arrive_in_any_order(path: Path, order: tuple[tuple[int, Kind], ...]) -> None:
    add_sightings(path, [Sighting("web2", 2, GONE)])
    for at, kind in order:
        assert add_sightings(path, [Sighting("web1", at, kind)]) or (at, kind) == (3, WELL)
    expected = [Span(1, 1, WELL), Span(2, 2, OPEN), Span(3, 4, WELL)]
    shortened = [Span(1, 1, WELL), Span(2, 2, OPEN), Span(4, 4, WELL)]
    assert dict(read_spans(path))["web1"] in (expected, shortened)
    together = path.with_name("together.sqlite")
    add_sightings(together, [Sighting("web1", at, kind) for at, kind in order])
    assert dict(read_spans(together))["web1"] == dict(read_spans(path))["web1"]


def test_host_names_are_stored_unchanged(path: Path) -> None:
    names = ["web1", "wéb-漢字", "\udc80", "'; DROP TABLE host; --", "a\x00b", "x" * 10_000, "\x1b[2J"]
    sightings = [Sighting(name, 1, WELL) for name in names]
    assert add_sightings(path, sightings)
    assert not add_sightings(path, sightings)
    assert dict(read_spans(path)) == {name: [Span(1, 1, WELL)] for name in names}


def test_a_year_of_runs_is_small(path: Path) -> None:
    for night in range(30):
        add_sightings(path, [Sighting(f"web{host}", night, WELL if night < 20 else OPEN) for host in range(500)])
    empty_tables = 2 * 4096  # those of vulnerabilities, each a page
    assert path.stat().st_size < 500 * 2 * 60 + empty_tables
    assert all(len(of_host) == 2 for _host, of_host in read_spans(path))


def test_the_query_in_the_guide_works(path: Path) -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "guide" / "history.md"
    question = guide.read_text(encoding="utf-8").split("```sql\n")[1].split("```")[0]
    add_sightings(path, [Sighting("web1", 0, OPEN), Sighting("web1", 86_400_000_000, WELL)])
    with sqlite3.connect(path) as database:
        assert database.execute(question).fetchall() == [
            ("web1", "upgrade_required", "1970-01-01 00:00:00", "1970-01-01 00:00:00"),
            ("web1", "protected", "1970-01-02 00:00:00", "1970-01-02 00:00:00"),
        ]


def test_old_spans_are_removed(path: Path) -> None:
    add_sightings(path, [Sighting("web1", 1, WELL), Sighting("web1", 9, WELL), Sighting("web2", 2, OPEN)])
    add_sightings(path, [Sighting("web2", 5, GONE)])
    add_sightings(path, [Sighting("gone", 1, OPEN)])
    assert add_sightings(path, [Sighting("web1", 10, WELL)], forget_before=3)
    assert read_spans(path) == [("web1", [Span(1, 10, WELL)]), ("web2", [Span(5, 5, GONE)])]
    assert not add_sightings(path, [Sighting("web3", 2, WELL)], forget_before=3)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM host").fetchone() == (2,)
        assert database.execute("SELECT count(*) FROM kind").fetchone() == (2,)


# --- several writers


def test_a_new_history_is_private(path: Path) -> None:
    """Any user who can read the file can lock it."""
    history = path.parent / "new" / "history.db"
    mask = os.umask(0)
    try:
        add_sightings(history, [])
    finally:
        os.umask(mask)
    assert [each.stat().st_mode & 0o777 for each in (history.parent, history)] == [0o700, 0o600]


@pytest.mark.parametrize(
    ("folder", "before", "after"),
    [(0o700, 0o644, 0o600), (0o755, 0o644, 0o600), (0o755, 0o600, 0o600), (0o770, 0o664, 0o660), (0o770, 0o640, 0o640)],
)
def test_a_history_of_release_1_becomes_private(path: Path, folder: int, before: int, after: int) -> None:
    """With a journal, as a killed writer leaves it. Users who may write to the folder keep their access."""
    add_sightings(path, [Sighting("web1", 1, WELL)])
    journal = path.with_name(f"{path.name}-journal")
    journal.touch()
    path.parent.chmod(folder)
    for file in (path, journal):
        file.chmod(before)
    assert restrict_access(path)
    assert [file.stat().st_mode & 0o777 for file in (path, journal)] == [after, after]
    path.chmod(before)
    add_sightings(path, [Sighting("web1", 2, WELL)])
    assert path.stat().st_mode & 0o777 == after


def test_the_history_of_another_user_is_still_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", refuse)
    add_sightings(path, [Sighting("web1", 1, WELL)])
    assert restrict_access(path)
    path.chmod(0o644)
    assert not restrict_access(path)
    assert add_sightings(path, [Sighting("web1", 2, WELL)])


def test_a_pipe_is_no_history(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "history.db")
    with pytest.raises(HistoryError, match="not a regular file"):
        add_sightings(tmp_path / "history.db", [])
    with pytest.raises(HistoryError, match="not a regular file"):
        read_spans(tmp_path / "history.db")


def _writer(path: Path, first: int, parts: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(parts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _start(*writers: subprocess.Popen[str]) -> None:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()


def _end(writer: subprocess.Popen[str]) -> int:
    code = writer.wait(120)
    for stream in (writer.stdin, writer.stdout):
        assert stream is not None
        stream.close()
    return code


def test_two_writers_lose_and_duplicate_nothing(path: Path) -> None:
    """Of 900 hosts, both writers see 300, and each sees 300 others."""
    parts = 12
    writers = [_writer(path, first, parts) for first in (0, 300)]
    _start(*writers)
    assert [_end(writer) for writer in writers] == [0, 0]
    found = dict(read_spans(path))
    assert sorted(found) == sorted(f"web{host}" for host in range(900))
    for name, of_host in found.items():
        states = ["protected" if (int(name[3:]) + part) % 3 else "stale" for part in range(1, parts + 1)]
        wanted = [(state, len(list(group)), number) for number, (state, group) in enumerate(itertools.groupby(states))]
        assert [(span.kind.state, (span.end - span.begin) // 1000 + 1) for span in of_host] == [
            (state, length) for state, length, _number in wanted
        ]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_killed_writer_leaves_a_valid_file(path: Path) -> None:
    add_sightings(path, [Sighting("web0", 1, WELL)])
    for wait in (0.05, 0.1, 0.15, 0.2):
        writer = _writer(path, 1, 1000)
        _start(writer)
        time.sleep(wait)
        writer.send_signal(signal.SIGKILL)
        assert _end(writer) == -signal.SIGKILL
        found = dict(read_spans(path))
        assert found.pop("web0")[0].begin == 1
        # Each part is complete or missing.
        assert len({of_host[-1].end for of_host in found.values()}) <= 1
        assert len(found) in (0, 600)
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert add_sightings(path, [Sighting("web0", 10_000_000, WELL)])


def test_a_writer_waits_and_then_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_sightings(path, [Sighting("web1", 1, WELL)])
    monkeypatch.setattr(history_db, "_PATIENCE", 0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryError, match="locked"):
        add_sightings(path, [Sighting("web1", 2, WELL)])
    other.close()
    assert add_sightings(path, [Sighting("web1", 2, WELL)])


def test_failing_sightings_leave_the_file_unchanged(path: Path) -> None:
    add_sightings(path, [Sighting("web1", 1, WELL)])
    before = path.read_bytes()

    def broken() -> object:
        yield Sighting("web1", 2, OPEN)
        raise RuntimeError("the report failed")

    with pytest.raises(RuntimeError):
        add_sightings(path, broken())  # type: ignore[arg-type]  # it yields, and then fails on purpose
    assert path.read_bytes() == before


# --- unusable files


def test_another_file_is_not_overwritten(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE accounts (name TEXT)")
    before = path.read_bytes()
    for use in (lambda: add_sightings(path, [Sighting("web1", 1, WELL)]), lambda: read_spans(path)):
        with pytest.raises(HistoryError, match="it is another database"):
            use()
    path.write_text("no database, but as long as a header of one, " * 40)
    with pytest.raises(HistoryError, match="not a database"):
        add_sightings(path, [Sighting("web1", 1, WELL)])
    assert before != path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE kind SET facts = '7'",
        "UPDATE kind SET facts = x'00'",
        "UPDATE kind SET facts = '[1, null, null, null, []]'",
        "UPDATE kind SET facts = '[{}, null, null, null, []]'",
        "UPDATE kind SET facts = '[\"stale\", null, null, null, null]'",
        "UPDATE kind SET facts = '" + "[" * 100_000 + "'",
        "UPDATE span SET end = 'late'",
        "UPDATE span SET kind = 9",
    ],
)
def test_a_damaged_row_is_an_error(path: Path, change: str) -> None:
    add_sightings(path, [Sighting("web1", 1, WELL)])
    with sqlite3.connect(path) as database:
        database.execute(change)
    for use in (lambda: add_sightings(path, [Sighting("web1", 2, WELL)]), lambda: read_spans(path)):
        with pytest.raises(HistoryError):
            use()


def test_a_later_version_is_refused(path: Path) -> None:
    add_sightings(path, [Sighting("web1", 1, WELL)])
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    for use in (lambda: add_sightings(path, [Sighting("web1", 2, WELL)]), lambda: read_spans(path)):
        with pytest.raises(HistoryError, match="it has schema 9, and this version knows schemas up to 2"):
            use()


def test_an_older_history_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_sightings(path, [Sighting("web1", 1, WELL)])
    monkeypatch.setattr(history_db, "MIGRATIONS", (*history_db.MIGRATIONS, ("ALTER TABLE host ADD COLUMN note TEXT",)))
    assert add_sightings(path, [Sighting("web1", 2, WELL)])
    assert read_spans(path) == [("web1", [Span(1, 2, WELL)])]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
        assert database.execute("SELECT name, note FROM host").fetchall() == [("web1", None)]


def test_an_empty_file_becomes_a_history(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert read_spans(path) == []
    assert add_sightings(path, [Sighting("web1", 1, WELL)])


def test_an_impossible_folder_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError) as caught:
        add_sightings(tmp_path / "file" / "history.sqlite", [])
    assert str(tmp_path / "file" / "history.sqlite") in str(caught.value)
    assert "write access" in str(caught.value.remedy)
