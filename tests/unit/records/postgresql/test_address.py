# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Addresses of stores: what is a folder, what is a URL, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    address_fault,
    is_database,
    store_place,
)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example.com/livepatch",
        "postgresql:///livepatch",
        "postgresql:///?service=livepatch",
        "postgres://anna@db:5433/livepatch?sslmode=verify-full&connect_timeout=3",
        "postgresql://anna:s%40cret@db/livepatch",
        "postgresql://[2001:db8::1]:5432/livepatch",
        "postgresql://one:5432,two:5433/livepatch?target_session_attrs=read-write",
        "postgresql://anna@/livepatch?host=/run/postgresql",
    ],
)
def test_urls_of_libpq_are_databases(url: str) -> None:
    assert store_place(url) == DatabaseAddress(url)


@pytest.mark.parametrize("text", ["livepatch-records", "/srv/a b", "./postgresql", "C:records", "a:b/c", "~/records"])
def test_other_texts_are_folders(text: str) -> None:
    assert not is_database(text)
    assert store_place(text) == Path(text).expanduser().absolute()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://db/livepatch", "no store with the scheme mysql"),
        ("https://db/livepatch", "no store with the scheme https"),
        ("postgresql:/livepatch", "does not begin with postgresql://"),
        ("postgresql:livepatch", "does not begin with postgresql://"),
        ("POSTGRESQL://db/livepatch", "does not begin with postgresql://"),
        ("postgresql://db/live patch", "has a blank"),
        ("postgresql://db/live\npatch", "has a blank"),
        ("postgresql://db:port/livepatch", "not a number from 1 to 65535"),
        ("postgresql://db:0/livepatch", "not a number from 1 to 65535"),
        ("postgresql://db:65536/livepatch", "not a number from 1 to 65535"),
        ("postgresql://one,two:x/livepatch", "not a number from 1 to 65535"),
        ("postgresql://[::1/livepatch", "is not a URL"),
        ("postgresql://anna:s3cr#t@db/livepatch", "write # in a password as %23"),
        ("postgresql://anna:s3cr@t@db/livepatch", "write @ in a password as %40"),
        ("postgresql://db/livepatch?sslmod=require", "did you mean sslmode?"),
        ("postgresql://db/livepatch?password=s3cret", "use the variable PGPASSWORD"),
        ("postgresql://db/livepatch?sslmode=require&sslpassword=s3cret", "use the variable PGPASSWORD"),
    ],
)
def test_a_fault_names_its_cause_without_a_password(url: str, words: str) -> None:
    with pytest.raises(LivepatchError) as caught:
        store_place(url)
    assert caught.value.id == "options_invalid"
    assert words in caught.value.message
    assert "s3cr" not in str(caught.value.as_result())


def test_a_password_is_never_shown() -> None:
    address = DatabaseAddress("postgresql://anna:s%40cret@db/livepatch")
    assert str(address) == "postgresql://***@db/livepatch"
    assert "cret" not in f"{address!r}"
    assert address.password == "s@cret"
    assert address_fault(address.url) is None


def test_an_address_without_password_can_be_pasted() -> None:
    assert str(DatabaseAddress("postgresql://anna@db/livepatch")) == "postgresql://anna@db/livepatch"
