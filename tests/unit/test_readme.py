# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tables of the README agree with the collection: supported systems, host states, and contents."""

from __future__ import annotations

import fnmatch
import re
import typing as t
from pathlib import Path

import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES
from tests.tools import interpreters

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


def test_versions_of_ansible_core_are_those_of_the_checks() -> None:
    rows = re.findall(r"^\| (\d\.\d+) \| (3\.\d+ to 3\.\d+) \| (.*) \|$", README, re.MULTILINE)
    pythons = {core.version: core.describe_pythons() for core in interpreters.CORES}
    assert {version: python for version, python, _tests in rows} == {
        version: pythons[version] for version in interpreters.SANE
    }
    assert {version for version, _python, tests in rows if "tests, " in tests} == set(interpreters.TESTED)


def test_requirements_allow_this_major_version() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    major = int(version.partition(".")[0])
    pages = [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".yml"))]
    named = re.compile(r"kernelops\.livepatch(?:\n +version: \"|:)(>=[\d.]+,<[\d.]+)")
    found = [wanted for page in pages for wanted in named.findall(page.read_text(encoding="utf-8"))]
    assert len(found) > 4
    assert set(found) == {f">={major}.0.0,<{major + 1}.0.0"}


def test_variables_have_the_defaults_of_the_role() -> None:
    role = ROOT / "roles" / "playbook_defaults" / "meta" / "argument_specs.yml"
    options = yaml.safe_load(role.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    table = README.partition("## Variables")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(livepatch_\w+)` \| (.*?) \|", table, re.MULTILINE)
    assert len(rows) > 8
    for name, default in rows:
        shown = re.fullmatch(r"`(.*)`", default)
        expected = options[name].get("default") or None
        assert (yaml.safe_load(shown[1]) if shown else None) == expected, name


def test_links_work_in_the_archive() -> None:
    """A page of the installed collection must not refer to a file that only the repository has."""
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]

    def is_packed(path: Path) -> bool:
        parts = path.relative_to(ROOT).parts
        heads = ["/".join(parts[:number]) for number in range(1, len(parts) + 1)]
        return not any(fnmatch.fnmatch(head, pattern) for head in heads for pattern in ignored)

    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "roles").rglob("*.md")]:
        # The start page of the site is copied to another folder.
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")) if page.name != "index.md" else ():
            target = (page.parent / link).resolve()
            if "://" not in link and not (target.exists() and is_packed(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_the_site_has_every_page_of_the_guide() -> None:
    index = (ROOT / "docs" / "docsite" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^guide/([\w-]+)$", index, re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in (ROOT / "docs" / "guide").glob("*.md"))


def test_the_readme_lists_the_host_states_in_order() -> None:
    table = README.partition("## Host states")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == tuple(STATES)


def test_contents_name_every_playbook_module_and_role() -> None:
    assert names("playbooks") == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert names("modules") == {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert names("roles") == {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
