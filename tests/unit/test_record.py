# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The schema of the record: accepted and refused documents, and the places of errors."""

from __future__ import annotations

import copy
import json
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import (
    RECORD_LIMIT,
    SCHEMA,
    STATES,
    NewerSchemaError,
    RecordError,
    limit_record,
    limit_text,
    validate,
)
from tests.samples.records import make_record

Steps = tuple[str | int, ...]


def _places(value: t.Any, steps: Steps = ()) -> Iterator[Steps]:
    """Generate every place in a document except the document itself."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*steps, key)
        yield from _places(member, (*steps, key))


def _name(steps: Steps) -> str:
    words = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(words).removeprefix(".")


def _parent(document: t.Any, steps: Steps) -> t.Any:
    for step in steps[:-1]:
        document = document[step]
    return document


PLACES = list(_places(make_record()))
KEYS = [steps for steps in PLACES if isinstance(steps[-1], str)]


def test_a_valid_record_is_returned_unchanged() -> None:
    record = make_record()
    assert validate(record) is record


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_a_state_of_a_record(state: t.Any) -> None:
    assert make_record(state=state)["assessment"]["state"] == state


@pytest.mark.parametrize("steps", KEYS, ids=map(_name, KEYS))
def test_a_missing_key_is_named(steps: Steps) -> None:
    document = copy.deepcopy(make_record())
    del _parent(document, steps)[steps[-1]]
    with pytest.raises(RecordError) as caught:
        validate(document)
    assert caught.value.path == _name(steps)


@pytest.mark.parametrize("steps", PLACES, ids=map(_name, PLACES))
def test_a_value_of_the_wrong_kind_is_named(steps: Steps) -> None:
    document = copy.deepcopy(make_record())
    _parent(document, steps)[steps[-1]] = 1.5
    with pytest.raises(RecordError) as caught:
        validate(document)
    assert caught.value.path == _name(steps)
    assert str(caught.value).startswith(_name(steps))


@pytest.mark.parametrize("steps", PLACES, ids=map(_name, PLACES))
def test_an_unknown_key_is_accepted(steps: Steps) -> None:
    document = copy.deepcopy(make_record())
    place = _parent(document, steps)
    if isinstance(place, dict):
        place["added_later"] = [{"anything": None}]
    validate(document)


ADDED: dict[str, t.Any] = {
    "mode": {"value": "stop", "source": "file"},
    "blocking": {"options": ["cutoff-date"], "excluded_notices": ["LSN-0113-1"], "cutoff_date": None},
    "recent_log": ["daemon shutting down"],
}


def with_added(**changes: t.Any) -> dict[str, t.Any]:
    document = t.cast(dict[str, t.Any], copy.deepcopy(make_record()))
    document["client"] |= ADDED | changes
    return document


def test_records_with_and_without_added_keys_are_valid() -> None:
    assert not set(ADDED) & set(make_record()["client"])
    assert validate(with_added())["client"]["mode"] == {"value": "stop", "source": "file"}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"mode": None}, "client.mode"),
        ({"mode": {"value": "stop"}}, "client.mode.source"),
        ({"mode": {"value": 1, "source": None}}, "client.mode.value"),
        ({"blocking": {**ADDED["blocking"], "options": "cutoff-date"}}, "client.blocking.options"),
        ({"blocking": {**ADDED["blocking"], "excluded_notices": [{}]}}, "client.blocking.excluded_notices[0]"),
        ({"recent_log": [None]}, "client.recent_log[0]"),
    ],
)
def test_added_keys_are_validated(changes: dict[str, t.Any], place: str) -> None:
    with pytest.raises(RecordError) as caught:
        validate(with_added(**changes))
    assert caught.value.path == place


def test_containers_of_earlier_releases_are_fewer() -> None:
    counts = {"docker": 1, "lxd": None, "podman": None}
    make_record(system__containers=counts)
    make_record(system__containers={**counts, "kubernetes": 2, "containerd": None})
    with pytest.raises(RecordError) as caught:
        make_record(system__containers={**counts, "kubernetes": "2"})
    assert caught.value.path == "system.containers.kubernetes"


def test_a_boolean_is_not_a_number() -> None:
    with pytest.raises(RecordError) as caught:
        make_record(system__containers={"docker": True, "lxd": None, "podman": None})
    assert caught.value.path == "system.containers.docker"


@pytest.mark.parametrize("version", ["2", "17"])
def test_a_later_schema_has_its_own_error(version: str) -> None:
    with pytest.raises(NewerSchemaError, match=SCHEMA):
        validate({"schema": f"kernelops.livepatch/record/{version}", "state_of_2": {}})


@pytest.mark.parametrize("schema", [None, 1, "", "1", "record/1", "kernelops.livepatch/report/1", f"{SCHEMA}.1"])
def test_a_document_of_another_kind_is_refused(schema: object) -> None:
    with pytest.raises(RecordError) as caught:
        validate({**make_record(), "schema": schema})
    assert caught.value.path == "schema"
    assert not isinstance(caught.value, NewerSchemaError)


@pytest.mark.parametrize("document", [None, [], "text", 1])
def test_only_a_mapping_can_be_a_record(document: object) -> None:
    with pytest.raises(RecordError, match="expected a record"):
        validate(document)


FIX = {"cve": "CVE-2016-0758", "patched": True}


def test_an_ordinary_record_is_within_all_limits() -> None:
    record = make_record(patch__fixes=[FIX] * 1000)
    assert limit_record(record) == (record, False)


@pytest.mark.parametrize("text", ["x", "\x1b", "\U0001f600", "\ud800", "\u0301"])
def test_every_text_of_a_host_is_cut(text: str) -> None:
    long = text * 100_000
    reasons = [{"id": long, "message": long, "remedy": long}]
    record = make_record(system__architecture=long, client__server=long, kernel_patches=[], assessment__reasons=reasons)
    limited, incomplete = limit_record(record)
    assert len(limited["system"]["architecture"] or "") <= 200
    assert len(limited["assessment"]["reasons"][0]["message"]) <= 300
    assert (limited["client"]["server"] or "").endswith("…")
    assert len(json.dumps(limited)) < 10_000
    assert not incomplete
    assert limited["host"] == record["host"]
    validate(limited)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("patch__fixes", {**FIX, "cve": "\U0001f600" * 200}),
        ("kernel_patches", make_record("web1", "tampered")["kernel_patches"][0]),
        ("eligibility__checks", make_record()["eligibility"]["checks"][0]),
        ("assessment__reasons", {"id": "x", "message": "y" * 200, "remedy": None}),
    ],
)
@pytest.mark.parametrize("count", [1001, 5001, 50_000])
def test_a_record_never_exceeds_its_limit(name: str, entry: dict[str, t.Any], count: int) -> None:
    limited, incomplete = limit_record(make_record(**{name: [entry] * count}))
    assert incomplete
    assert len(json.dumps(limited)) < RECORD_LIMIT - 1024
    if name != "assessment__reasons":
        assert len(json.dumps(limited)) > RECORD_LIMIT * 0.8
    validate(limited)


def test_a_limited_text_can_be_stored_everywhere() -> None:
    assert limit_text("a\0b\ud800\n") == "a\ufffdb\ufffd\n"
