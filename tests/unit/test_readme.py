# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tables of the README agree with the collection: supported systems, host states, and contents."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
POLICY: dict[str, t.Any] = yaml.safe_load(
    (ROOT / "plugins" / "plugin_utils" / "policies" / "current.yml").read_text(encoding="utf-8")
)


def names(row: str) -> set[str]:
    """Names in backquotes in a row of the table of contents."""
    [cells] = re.findall(rf"^\| {row} \| (.*) \|$", README, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", cells))


def test_supported_systems_are_those_of_the_policy() -> None:
    covered: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for system in POLICY["systems"]:
        series, flavours = covered.setdefault((system["release"], system["architecture"]), (set(), set()))
        series.add(system["kernel"])
        flavours.update(system["flavours"])
    rows = re.findall(r"^\| (\d\d\.\d\d) LTS \| (\w+) \| ([\d., ]+) \| ([\w, -]+) \|$", README, re.MULTILINE)
    shown = {(row[0], row[1]): (set(row[2].split(", ")), set(row[3].split(", "))) for row in rows}
    assert len(rows) == len(shown)
    assert shown == covered


def test_the_readme_lists_the_host_states_in_order() -> None:
    table = README.partition("## Host states")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == tuple(STATES)


def test_contents_name_every_playbook_module_and_role() -> None:
    assert names("playbooks") == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert names("modules") == {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert names("roles") == {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
