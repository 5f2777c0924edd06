# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the layout of the code: one place per fact, one meaning per name, small folders."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"


def _lines_with(pattern: str, *, except_in: str) -> list[str]:
    """Return the lines of the plugins that match, as ``path:number``, outside one file."""
    found = []
    for path in sorted(PLUGINS.rglob("*.py")):
        name = str(path.relative_to(PLUGINS))
        lines = path.read_text(encoding="utf-8").splitlines() if name != except_in else []
        found += [f"{name}:{number}" for number, line in enumerate(lines, 1) if re.search(pattern, line)]
    return found


def test_kernel_names_have_one_grammar() -> None:
    pattern = r"""_Ubuntu_["'({]|lkp\||\?P<flavour>|\?P<upload>|\?P<abi>|\[\^0-9A-Za-z\]"""
    assert _lines_with(pattern, except_in="module_utils/_kernel_name.py") == []
    assert re.search(pattern, (PLUGINS / "module_utils" / "_kernel_name.py").read_text(encoding="utf-8"))


def test_elf_files_have_one_reader() -> None:
    assert _lines_with(r"x7fELF|GNU\\0", except_in="module_utils/_elf.py") == []


def test_credentials_are_masked_in_one_module() -> None:
    assert _lines_with(r"""\[\^[^]]*@[^]]*\]\*@""", except_in="module_utils/_text.py") == []


def test_the_hosted_server_is_named_in_one_module() -> None:
    # Modules name it in samples of their documentation.
    found = _lines_with(r"https://livepatch\.canonical\.com", except_in="module_utils/_server/kernel_support.py")
    assert [place for place in found if not place.startswith("modules/")] == []


def test_times_are_parsed_and_formatted_in_one_module() -> None:
    pattern = r"fromisoformat|strptime|%Y-%m-%dT|datetime\(1970|\{4\}-\[0-9\]\{2\}-"
    assert _lines_with(pattern, except_in="module_utils/_time.py") == []
    assert re.search(pattern, (PLUGINS / "module_utils" / "_time.py").read_text(encoding="utf-8"))
