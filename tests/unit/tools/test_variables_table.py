# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The guide page with the variables of the playbooks is what their argument specs give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools import variables_table


def test_the_page_is_up_to_date() -> None:
    assert variables_table.main(["--check"]) == 0, "run python tests/tools/variables_table.py"


def test_every_variable_is_in_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", variables_table.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [name for options in variables_table.read_specs().values() for name in options]
    assert sorted(rows) == sorted(documented)


def test_every_link_belongs_to_a_variable() -> None:
    assert variables_table.LINKS.keys() <= variables_table.read_specs()["main"].keys()


def test_a_page_that_differs_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "variables.md"
    content = variables_table.PAGE.read_text(encoding="utf-8")
    page.write_text(content.replace("`launch`", "`current`", 1), encoding="utf-8")
    monkeypatch.setattr(variables_table, "render", lambda: content)
    monkeypatch.setattr(variables_table, "PAGE", page)
    monkeypatch.setattr(variables_table, "ROOT", tmp_path)
    assert variables_table.main(["--check"]) == 1
    assert "variables.md is out of date" in capsys.readouterr().err
    assert variables_table.main([]) == 0
    assert variables_table.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ({}, "none"),
        ({"default": ""}, '`""`'),
        ({"default": True}, "`true`"),
        ({"default": [1, "a"]}, "`[1, a]`"),
        ({"default": {}}, "`{}`"),
        ({"default": 10.5}, "`10.5`"),
    ],
)
def test_a_default_is_shown_as_yaml(option: dict[str, object], default: str) -> None:
    assert variables_table.shown(option) == default


def test_a_link_without_a_heading_is_an_error() -> None:
    with pytest.raises(LookupError, match=re.escape("enable.md#nothing")):
        variables_table.heading("enable.md#nothing")
