# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the file in which each host of a large fleet finds its name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.host_list import (
    HostListError,
    has_host,
    read_hosts,
    write_hosts,
)

ODD = ["ü", "a b", 'a"b', "a\\b", "a\nb", "", "z" * 300]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_exactly_the_written_hosts_are_found(tmp_path: Path, count: int) -> None:
    names = [f"web-{number}" for number in range(count)] + (ODD if count == 500 else [])
    random.Random(1).shuffle(names)  # noqa: S311  (any order, the same in each run)
    path = tmp_path / "names"
    write_hosts(path, names)
    assert [name for name in names if not has_host(str(path), name)] == []
    assert read_hosts(str(path)) == names
    others = ["web-", "web-00", "web-1 ", "web-500", "Web-1", "a", "b", "~", "web-1\n", *([] if count == 500 else ODD)]
    assert [name for name in others if has_host(str(path), name)] == []


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "names")
    for read in (lambda: has_host(path, "web-1"), lambda: read_hosts(path)):
        with pytest.raises(HostListError, match=r"names, cannot be read: No such file or directory\. Run kernelops"):
            read()
