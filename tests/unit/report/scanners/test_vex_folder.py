# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The folder of OpenVEX documents: versions, withdrawn documents, and files of others."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import lock_within, open_lock
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners import vex_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.openvex import vex_documents
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.vex_folder import (
    VexChanges,
    plan_folder,
    update_folder,
    write_folder,
)
from tests.samples.proofs import CVES, PATCHED, a_record, an_index, proofs

NEXT = "2026-01-11T06:00:00Z"


def store(folder: Path, *records: Record) -> VexChanges:
    changes = plan_folder(folder, vex_documents(proofs(*records), (), [an_index()], CVES, "an author"))
    write_folder(folder, changes)
    return changes


def document_of(folder: Path, host: str) -> dict[str, t.Any]:
    name = json.loads((folder / "index.json").read_text())["hosts"][host]
    content: dict[str, t.Any] = json.loads((folder / name).read_text())
    return content


def statuses(content: dict[str, t.Any]) -> dict[str, str]:
    return {each["vulnerability"]["name"]: each["status"] for each in content["statements"]}


def test_the_second_run_changes_nothing(tmp_path: Path) -> None:
    assert len(store(tmp_path / "vex", a_record()).files) == 2
    before = {path.name: path.read_bytes() for path in (tmp_path / "vex").iterdir()}
    assert store(tmp_path / "vex", a_record()).files == {}
    assert {path.name: path.read_bytes() for path in (tmp_path / "vex").iterdir()} == before


def test_the_folder_and_its_parents_are_private(tmp_path: Path) -> None:
    store(tmp_path / "report" / "openvex", a_record())
    for folder in (tmp_path / "report", tmp_path / "report" / "openvex"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_check_mode_returns_figures_and_writes_nothing(tmp_path: Path) -> None:
    documents = vex_documents(proofs(a_record()), ["db1"], [an_index()], CVES, "an author")
    checked, first, second = (
        update_folder(tmp_path / "vex", documents, check_mode=check_mode) for check_mode in (True, False, False)
    )
    assert checked == first
    assert (first["documents"], len(first["changed"]), first["without_document"]) == (1, 2, 1)
    assert second == {**first, "changed": []}


def test_a_change_increases_the_version(tmp_path: Path) -> None:
    store(tmp_path, a_record())
    first = document_of(tmp_path, "web1")
    store(tmp_path, a_record(collected_at=NEXT), a_record("web2"))
    second = document_of(tmp_path, "web1")
    assert (first["version"], second["version"]) == (1, 2)
    assert second["@id"] == first["@id"]
    assert (second["timestamp"], second["last_updated"]) == (first["timestamp"], NEXT)


def test_a_boot_without_the_patch_withdraws_the_document(tmp_path: Path) -> None:
    store(tmp_path, a_record())
    patched = document_of(tmp_path, "web1")
    changes = store(tmp_path, a_record(patched=False, collected_at=NEXT))
    [name] = changes.withdrawn
    withdrawn = json.loads((tmp_path / name).read_text())
    assert withdrawn["@id"] == patched["@id"]
    assert withdrawn["version"] == 2
    assert statuses(withdrawn)[PATCHED] == "affected"
    assert "not_affected" not in statuses(withdrawn).values()
    statement = withdrawn["statements"][0]
    assert statement["timestamp"] == withdrawn["last_updated"] == NEXT
    assert "evaluate the host again" in statement["action_statement"]
    assert not {"justification", "impact_statement"} & statement.keys()
    assert statuses(document_of(tmp_path, "web1"))[PATCHED] == "affected"
    assert store(tmp_path, a_record(patched=False, collected_at=NEXT)).files == {}, "it is withdrawn once"


def test_a_patch_that_returns_continues_the_document(tmp_path: Path) -> None:
    store(tmp_path, a_record())
    store(tmp_path, a_record(patched=False))
    store(tmp_path, a_record(collected_at=NEXT))
    again = document_of(tmp_path, "web1")
    assert (again["version"], statuses(again)[PATCHED]) == (3, "not_affected")


def test_a_host_that_disappears_withdraws_its_document(tmp_path: Path) -> None:
    store(tmp_path, a_record())
    assert len(store(tmp_path).withdrawn) == 1


def test_one_of_several_hosts_leaves_its_document(tmp_path: Path) -> None:
    store(tmp_path, a_record("web1"), a_record("web2"))
    changes = store(tmp_path, a_record("web1"), a_record("web2", patched=False))
    assert changes.withdrawn == []
    assert document_of(tmp_path, "web1")["version"] == 2
    assert "web2" not in document_of(tmp_path, "web1")["statements"][0]["impact_statement"]
    assert statuses(document_of(tmp_path, "web2"))[PATCHED] == "affected"


def test_documents_of_others_stay(tmp_path: Path) -> None:
    other = {"tooling": "another tool", "version": 1, "statements": [{"status": "not_affected"}]}
    (tmp_path / "other.openvex.json").write_text(json.dumps(other))
    (tmp_path / "notes.txt").write_text("x")
    changes = store(tmp_path, a_record())
    assert changes.withdrawn == []
    assert json.loads((tmp_path / "other.openvex.json").read_text()) == other


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1", "statements": []}', '{"version": 1}', "[" * 9999])
def test_a_damaged_document_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.openvex.json").write_text(content)
    with pytest.raises(LivepatchError) as caught:
        store(tmp_path, a_record())
    assert caught.value.id == "openvex_unusable"
    assert "a.openvex.json" in caught.value.message


@pytest.mark.parametrize("missing", ["products", "vulnerability", "timestamp", "justification"])
def test_an_incomplete_statement_is_withdrawn(tmp_path: Path, missing: str) -> None:
    store(tmp_path, a_record())
    [path] = tmp_path.glob("*.openvex.json")
    content = json.loads(path.read_text())
    del content["statements"][0][missing]
    path.write_text(json.dumps(content))
    update_folder(tmp_path, vex_documents({}, (), [an_index()], CVES, "an author"), check_mode=False)
    withdrawn = json.loads(path.read_text())
    assert withdrawn["version"] == 2
    assert {each["status"] for each in withdrawn["statements"]}.isdisjoint({"not_affected", "fixed"})


def test_two_runs_do_not_use_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vex_folder, "_LOCK_SECONDS", 0)
    documents = vex_documents(proofs(a_record()), (), [an_index()], CVES, "an author")
    with open_lock(tmp_path / ".lock") as lock:
        assert lock_within(lock.fileno(), 0)
        with pytest.raises(LivepatchError) as caught:
            update_folder(tmp_path, documents, check_mode=False)
    assert caught.value.id == "openvex_locked"
    assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]
