# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Host names as text of a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.keys import host_key, host_of

NAMES = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(['"', '""', "\0", "\udcff", '"\\u0000"'])


@given(NAMES)
def test_a_key_is_storable_and_distinct(host: str) -> None:
    key = host_key(host)
    assert host_of(key) == host
    assert "\0" not in key
    assert key.encode("utf-8").decode("utf-8") == key


@pytest.mark.parametrize("key", ['"', '"web1', '"web1" web2'])
def test_a_damaged_key_is_the_host(key: str) -> None:
    """Whoever may write to a table can store any text, which must not end a report."""
    assert host_of(key) == key


def test_ordinary_names_are_their_own_keys() -> None:
    assert [host_key(name) for name in ("web1", "é", "a b")] == ["web1", "é", "a b"]
