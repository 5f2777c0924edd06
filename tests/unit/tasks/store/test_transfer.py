# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `record_store`: prepare, import, export, again, and in check mode."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store, grants, history_db
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_store import open_history
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    StorePlace,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.store import PostgresStore
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Sighting
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.store.transfer import (
    TransferOptions,
    transfer_records,
)
from tests.samples.records import make_record
from tests.samples.replay import Replay

EARLY, LATE = "2026-01-10T06:00:00Z", "2026-01-10T18:00:00Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two records, a failed attempt, a granted seat and a damaged file, and a history next to it."""
    records = tmp_path / "records"
    for name in ("web1", "web2"):
        folder_store.store(records, make_record(name, "disabled", client__enabled=False, collected_at=EARLY))
    folder_store.note_attempt(records, "web3", LATE, [])
    grants.read_seat_grants([records]).grant(records, ["web1"], LATE)
    (records / "web4.json").write_text("{", encoding="utf-8")
    history_db.add_sightings(tmp_path / "history.sqlite", [Sighting("web1", at, Kind("protected")) for at in (1, 5)])
    return records


def transfer(place: StorePlace, *folders: Path, **changes: t.Any) -> dict[str, t.Any]:
    options = {"import_history": None, "export_file": None, "check_mode": False, **changes}
    replay = Replay(lambda _command: pytest.fail("no host is contacted"))
    return replay.run(transfer_records(TransferOptions(place, folders, **options)))


def test_an_import_is_complete_and_can_be_repeated(database: DatabaseAddress, folder: Path) -> None:
    history = folder.parent / "history.sqlite"
    before = transfer(database, folder, import_history=history, check_mode=True)
    first, second = (transfer(database, folder, import_history=history) for _number in range(2))
    assert first["imported"].pop("problems")[0]["host"] == "web4"
    assert first["imported"] == {"records": 2, "attempts": 1, "grants": 1, "hosts_in_history": 1}
    assert (before["changed"], first["changed"], second["changed"]) == (True, True, False)
    assert (before["schema"], first["schema"]["before"], second["schema"]["before"]) == (first["schema"], 0, 1)
    assert open_history(database).read_spans() == history_db.read_spans(history)
    assert list(grants.read_seat_grants([database]).grants) == ["web1"]


def test_an_export_has_every_document(database: DatabaseAddress, folder: Path, tmp_path: Path) -> None:
    transfer(database, folder)
    from_database, from_folder = tmp_path / "database.jsonl", tmp_path / "folder.jsonl"
    assert transfer(database, export_file=from_database)["exported"] == 3
    assert transfer(folder, export_file=from_folder)["exported"] == 3
    lines = from_database.read_text("utf-8").splitlines()
    assert sorted(lines) == sorted(from_folder.read_text("utf-8").splitlines())
    assert [json.loads(line)["host"] for line in lines] == ["web1", "web2", "web3"]
    again = transfer(database, export_file=from_database)
    assert (again["changed"], again["exported"]) == (False, 3)


def test_check_mode_writes_no_export(folder: Path, tmp_path: Path) -> None:
    result = transfer(folder, export_file=tmp_path / "new.jsonl", check_mode=True)
    assert (result["changed"], result["exported"], result["schema"]) == (True, 3, None)
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"folders": ["missing"]}, "records_unusable", "missing"),
        ({"import_history": Path("/missing.sqlite")}, "history_unusable", "there is no history /missing.sqlite"),
        ({"export_file": Path("/proc/nothing/records.jsonl")}, "files", "/proc/nothing"),
    ],
)
def test_a_failure_names_its_file(
    database: DatabaseAddress, tmp_path: Path, changes: dict[str, t.Any], error: str, words: str
) -> None:
    folders = [tmp_path / name for name in changes.pop("folders", ())]
    with pytest.raises(LivepatchError) as caught:
        transfer(database, *folders, **changes)
    assert caught.value.id == error
    assert words in caught.value.message


def test_a_folder_takes_no_import(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LivepatchError, match="is a folder") as caught:
        transfer(tmp_path / "other", folder)
    assert caught.value.id == "options_invalid"


def test_waiting_records_are_sent(database: DatabaseAddress) -> None:
    PostgresStore(database).spool.keep_record(make_record("web1"))
    assert transfer(database)["waiting"] == 0
    assert PostgresStore(database).last_record("web1") is not None
