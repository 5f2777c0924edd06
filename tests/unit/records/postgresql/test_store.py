# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A store that cannot be reached: records wait on the controller, and are sent later."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import records
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.local_spool import LocalSpool
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.store import (
    PostgresStore,
    passwords,
)
from tests.samples.records import make_record

EARLY, NOON, LATE = "2026-01-10T06:00:00Z", "2026-01-10T12:00:00Z", "2026-01-10T18:00:00Z"


@pytest.fixture
def down(tmp_path: Path, spool_folder: Path) -> DatabaseAddress:
    """A database whose server does not run."""
    return DatabaseAddress(f"postgresql://anna@/livepatch?host={tmp_path}")


def test_records_wait_while_the_store_is_down(down: DatabaseAddress, spool_folder: Path) -> None:
    opened = PostgresStore(down)
    opened.put(make_record("web1"))
    opened.note_attempt("web2", LATE, [])
    kinds = {type(document) for document in store.load([down])}
    assert kinds == {Recorded, FailedAttempt, Problem}
    last = opened.last_record("web1")
    assert last is not None and last["host"] == "web1"
    delivery = opened.send_waiting()
    assert (delivery.sent, delivery.waiting) == (0, 2)
    assert delivery.error is not None and delivery.error.id == "database_unreachable"
    assert Path(delivery.folder).parent == spool_folder


def test_waiting_records_are_sent_once(
    down: DatabaseAddress, database: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    PostgresStore(down).put(make_record("web1", collected_at=EARLY))
    PostgresStore(down).put(make_record("web1", collected_at=NOON))
    PostgresStore(down).note_attempt("web1", LATE, [])
    monkeypatch.setattr(PostgresStore, "spool", LocalSpool.of(down))
    first, second = (PostgresStore(database).send_waiting() for _number in range(2))
    assert (first.sent, first.waiting, second.sent) == (2, 0, 0)
    record, attempt = store.load([database])
    assert isinstance(record, Recorded) and record.record["collected_at"] == NOON
    assert isinstance(attempt, FailedAttempt)


def test_a_store_that_is_down_is_asked_once(down: DatabaseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = PostgresStore(down)
    opened.put(make_record("web1"))
    assert opened.spool.is_down()
    monkeypatch.setattr(records, "put", lambda *_all, **_more: pytest.fail("the store was asked"))
    opened.put(make_record("web2"))
    assert len(opened.spool.find()) == 2


def test_a_record_that_cannot_be_kept_is_an_error(
    down: DatabaseAddress, spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool_folder.write_text("no folder", encoding="utf-8")
    for write in (lambda: PostgresStore(down).put(make_record("web1")), lambda: note(down)):
        with pytest.raises(LivepatchError) as caught:
            write()
        assert caught.value.id == "record_not_stored"
        assert "LIVEPATCH_SPOOL_DIR" in str(caught.value.remedy)
    with pytest.raises(OSError, match="web1"):
        PostgresStore(down).set_aside("web1")


def note(down: DatabaseAddress) -> None:
    PostgresStore(down).note_attempt("web1", LATE, [])


def test_passwords_of_addresses_are_known() -> None:
    places = [Path("records"), DatabaseAddress("postgresql://a:s%40@db/x"), DatabaseAddress("postgresql://a@db/x")]
    assert passwords(places) == {"s@"}


@pytest.mark.parametrize("sign", ["[", "]", "\u2100"])
def test_the_password_of_an_invalid_url_is_known(sign: str) -> None:
    address = DatabaseAddress(f"postgresql://anna:s3{sign}cret@db/x")
    assert passwords([address]) == {f"s3{sign}cret"}
    assert "cret" not in str(address)
