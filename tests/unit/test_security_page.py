# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the page on security: each guarantee names tests, and all of them exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
GUARANTEES = PAGE.partition("## Guarantees")[2].partition("## Limits")[0]
ROWS = [line for line in GUARANTEES.splitlines() if line.startswith("| ") and not line.startswith("| guarantee")]


@pytest.fixture(scope="module")
def defined() -> set[str]:
    """The names of all tests."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name
        for path in files
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def test_each_guarantee_names_tests(defined: set[str]) -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        _guarantee, tests = row.strip("| ").split(" | ")
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, row
        assert set(named) <= defined, set(named) - defined


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("README.md", "(docs/security.md)"),
        ("README.md", "(SECURITY.md)"),
        ("SECURITY.md", "(docs/security.md)"),
        ("docs/docsite/index.md", "\nsecurity\n"),
    ],
)
def test_the_page_is_linked(page: str, link: str) -> None:
    assert link in (ROOT / page).read_text(encoding="utf-8")
