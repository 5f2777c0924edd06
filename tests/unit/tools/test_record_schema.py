# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The published JSON Schemas: they are up to date, and agree with the validation of the product."""

from __future__ import annotations

import copy
import datetime
import itertools
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import record_builder
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Collector
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import ATTEMPT_CAUSES, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.reader import RecordReader
from tests.bench.records import kinds
from tests.samples.facts import shipped
from tests.samples.records import COLLECTED_AT, make_record
from tests.samples.reports import HOSTILE, hostile_record
from tests.samples.schemas import check_document, validator
from tests.tools import record_schema

Document = dict[str, t.Any]
Steps = tuple[t.Any, ...]
_WRONG: tuple[t.Any, ...] = (5, True, "x", None, [], {})
_NOTE = {
    "schema": "kernelops.livepatch/attempt/1",
    "host": "web1",
    "attempted_at": COLLECTED_AT,
    "cause": "unreachable",
    "reasons": [{"id": "no_answer", "message": "The host gave no answer.", "remedy": None}],
}


def full_record() -> Document:
    """Return a record with every key of the schema."""
    record: t.Any = make_record()
    record["clock_skew_seconds"] = 1
    record["system"]["groups"] = {"group": "production"}
    record["system"]["containers"] |= {"kubernetes": 2, "containerd": None}
    record["system"]["kernel"] |= {"source_package": "linux", "source_version": "4.4.0-168.197"}
    package = {"name": "linux-image-4.4.0-168-generic", "version": "4.4.0-168.197"}
    record["system"]["kernel"] |= {"packages": [package], "packages_problem": None}
    blocking = {"options": ["cutoff-date"], "excluded_notices": ["LSN-0113-1"], "cutoff_date": None}
    record["client"] |= {"mode": {"value": "normal", "source": "default"}, "blocking": blocking}
    record["client"]["recent_log"] = ["started"]
    record["patch"] |= {"kernel": "4.4.0-168.197-generic", "waiting_since": None}
    record["assessment"]["reasons"][0]["evidence"] = ["line"]
    return t.cast("Document", record)


def places(value: t.Any, steps: Steps = ()) -> Iterator[Steps]:
    """Generate every place in a document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*steps, key)
        yield from places(member, (*steps, key))


def mutations(document: Document) -> Iterator[tuple[str, Document]]:
    """Generate changed documents with their names: at each place, no key, another one, and values of three kinds."""
    for number, steps in enumerate(places(document)):
        for wrong in (*(_WRONG[(number + offset) % len(_WRONG)] for offset in (0, 2, 4)), KeyError):
            changed: t.Any = copy.deepcopy(document)
            parent = changed
            for step in steps[:-1]:
                parent = parent[step]
            value, parent[steps[-1]] = parent[steps[-1]], wrong
            if wrong is KeyError:
                del parent[steps[-1]]
                if isinstance(parent, dict):
                    parent["added"] = value
            yield f"{'.'.join(map(str, steps))}: {wrong!r}", changed


def is_read(folder: Path, document: Document) -> bool:
    """Return True if the reader of the product accepts a document."""
    (folder / "web1.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return not isinstance(RecordReader().read(str(folder), "web1.json"), Problem)


def test_the_files_are_up_to_date() -> None:
    assert record_schema.main(["--check"]) == 0, "run python tests/tools/record_schema.py"


def test_a_file_that_differs_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record_schema, "FOLDER", tmp_path)
    assert record_schema.main(["--check"]) == 1
    assert "record-1.schema.json is out of date" in capsys.readouterr().err
    assert record_schema.main([]) == record_schema.main(["--check"]) == 0


def test_every_description_belongs_to_a_key() -> None:
    described = {".".join(step for step in steps if isinstance(step, str)) for steps in places(full_record())}
    assert record_schema.DESCRIPTIONS.keys() <= described


def test_the_full_record_has_every_key() -> None:
    kept = full_record()

    def check(schema: Document, value: t.Any) -> None:
        for key, of_key in schema.get("properties", {}).items():
            check(of_key, value[key])
        if schema.get("items"):
            check(schema["items"], value[0])

    check(record_schema.record_schema(), kept)


@pytest.mark.parametrize("state", [*STATES, "unreachable"])
def test_schema_accepts_every_state(state: t.Any) -> None:
    check_document({**make_record(), "assessment": {"state": state, "reasons": [], "reboot_needed": None}})


def test_schema_accepts_built_records() -> None:
    collector, now = Collector(collection="2.0.0", ansible_core="2.19.0"), datetime.datetime.now(datetime.timezone.utc)
    built = [
        record_builder.make_record(f"web{number}", facts, shipped(policy), collector=collector, collected_at=now)
        for number, (facts, policy) in enumerate(
            zip(kinds()[-9:], itertools.cycle(("launch", "current")), strict=False)
        )
    ]
    for record in (*built, *map(hostile_record, HOSTILE)):
        check_document(json.loads(json.dumps(record)))


@pytest.mark.parametrize("identifier", ["connection_failed", "timed_out", "not_root", "record_not_stored", "other"])
def test_schema_accepts_stored_notes(tmp_path: Path, identifier: str) -> None:
    reasons = [{"id": identifier, "message": "m", "remedy": None}]
    path = folder_store.note_attempt(tmp_path, "web1", COLLECTED_AT, t.cast("t.Any", reasons))
    note = json.loads(path.read_text(encoding="utf-8"))
    check_document(note)
    assert note["cause"] in ATTEMPT_CAUSES


def test_schema_and_reader_agree_on_records(tmp_path: Path) -> None:
    documents = [("full", full_record()), ("former", t.cast("Document", make_record())), *mutations(full_record())]
    for name, time in (
        ("offset", "2026-01-10T06:00:00+00:00"),
        ("date", "2026-01-10"),
        ("exact", "2026-01-10T06:00:00.5Z"),
    ):
        documents.append((name, {**full_record(), "collected_at": time}))
    for schema in (
        "kernelops.livepatch/record/2",
        "kernelops.livepatch/record/01",
        "kernelops.livepatch/attempt/1",
        None,
    ):
        documents.append((str(schema), {**full_record(), "schema": schema}))
    accepted = {name: validator("record-1").is_valid(document) for name, document in documents}
    assert accepted == {name: is_read(tmp_path, document) for name, document in documents}
    assert min(sum(accepted.values()), len(accepted) - sum(accepted.values())) > 40


def test_schema_and_reader_agree_on_notes(tmp_path: Path) -> None:
    # The reader derives the cause of a note without a known one, so that later releases can add causes.
    documents = [(name, note) for name, note in mutations(_NOTE) if not name.startswith("cause: ")]
    accepted = {name: validator("attempt-1").is_valid(document) for name, document in documents}
    assert accepted == {name: is_read(tmp_path, document) for name, document in documents}
    assert len(set(accepted.values())) == 2
