# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The page about doubles names every double of the lab, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/development/doubles.md").read_text(encoding="utf-8")


def test_every_double_is_on_the_page() -> None:
    doubles = {path.name for path in (ROOT / "tests/lab/doubles").rglob("*") if path.is_file()}
    assert {name for name in doubles if f"`{name}`" not in PAGE} == set()


def test_every_named_test_exists() -> None:
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"test_\w+\.py", PAGE)) - tests == set()
