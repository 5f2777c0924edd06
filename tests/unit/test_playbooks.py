# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Defaults of the variables of the playbooks: the role playbook_defaults contains each once, as the modules have it."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.names import (
    OF_THE_RULEBOOK,
    SET_BY_PLAYBOOKS,
)

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "kernelops.livepatch."
ROLE = ROOT / "roles" / "playbook_defaults"
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# The modules alone neither write files nor fail. The role `report` has the same defaults as the playbooks.
SET_FOR_REPORTS = {"livepatch_report_formats": "report_formats", "livepatch_fail_on": "report_fail_on"}
# Names that would be ambiguous among all playbooks, and those that release 1 gave to options of roles.
LONGER_NAMES = {
    ("export", "export_file"),
    ("fips_data", "fips"),
    ("import", "import_folders"),
    ("maximum_data_age", "maximum_age"),
    ("package_data_url", "url"),
    ("report_dir", "output_dir"),
    ("report_formats", "formats"),
    ("report_title", "title"),
    ("store", "record_dir"),
    ("upgrade_timeout", "timeout"),
}
VARIABLE = re.compile(r"\blivepatch_\w+")
WHOLE = re.compile(r"\{\{ (livepatch_\w+) \}\}")


@functools.cache
def read_yaml(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def tasks(value: t.Any) -> Iterator[dict[str, t.Any]]:
    """Every task of a play or a list of plays, with those in blocks."""
    if isinstance(value, list):
        for item in value:
            yield from tasks(item)
    elif isinstance(value, dict):
        yield value
        for key in ("tasks", "block", "rescue", "always"):
            yield from tasks(value.get(key))


def set_by_playbook(plays: list[dict[str, t.Any]]) -> set[str]:
    """Names of results, facts and groups that a playbook itself creates."""
    names = set()
    for task in tasks(plays):
        names.add(task.get("register"))
        names.update(task.get("vars", {}), task.get("ansible.builtin.set_fact", {}))
        names |= {
            task.get("ansible.builtin.add_host", {}).get("groups"),
            task.get("ansible.builtin.group_by", {}).get("key"),
        }
    return {name for name in names if name}


def options_of_role(name: str) -> dict[str, t.Any]:
    """Options of a role, over all entry points."""
    specs = read_yaml(ROOT / "roles" / name / "meta" / "argument_specs.yml")["argument_specs"]
    return {option: spec for point in specs.values() for option, spec in point["options"].items()}


def default_of(name: str) -> t.Any:
    """The default of a variable of the playbooks; None if the role omits it or computes it."""
    return options_of_role("playbook_defaults")[name].get("default")


@pytest.fixture(scope="module")
def modules() -> dict[str, dict[str, t.Any]]:
    """The documented options of every module that a playbook or role runs."""
    names = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "--type", "module"]
    command += [COLLECTION + name for name in names]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {name: document["doc"]["options"] for name, document in found.items()}


def assignments(modules: dict[str, dict[str, t.Any]]) -> Iterator[tuple[str, str, dict[str, t.Any]]]:
    """Each variable that a playbook passes unchanged, with the option that takes it and the option's specification."""
    for path in PLAYBOOKS:
        for task in tasks(read_yaml(path)):
            for name in modules.keys() & task.keys():
                yield from passed(task[name], modules[name])
            if "ansible.builtin.include_role" in task:
                role = task["ansible.builtin.include_role"]["name"].removeprefix(COLLECTION)
                yield from passed(task["vars"], options_of_role(role))


def passed(values: dict[str, t.Any], options: dict[str, t.Any]) -> Iterator[tuple[str, str, dict[str, t.Any]]]:
    for option, value in values.items():
        match = WHOLE.fullmatch(str(value))
        if match:
            yield match[1], option, options[option]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_no_playbook_contains_a_default(path: Path) -> None:
    plays = read_yaml(path)
    own = set_by_playbook(plays)
    found = re.findall(r"\b(livepatch_\w+)[\w.]*\s*\|\s*(?:default|d)\b", path.read_text(encoding="utf-8"))
    assert set(found) <= own


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_play_loads_the_defaults_first(path: Path) -> None:
    for play in read_yaml(path):
        assert play["tasks"][0]["ansible.builtin.import_role"] == {
            "name": f"{COLLECTION}playbook_defaults",
            "rolespec_validate": False,
        }


def test_every_variable_is_documented_and_used() -> None:
    used = set()
    for path in PLAYBOOKS:
        used |= set(VARIABLE.findall(path.read_text(encoding="utf-8"))) - set_by_playbook(read_yaml(path))
    assert used == options_of_role("playbook_defaults").keys()


def test_names_that_playbooks_set_are_known() -> None:
    """A later playbook of the same run must not take them for misspelt variables."""
    found = {name for path in PLAYBOOKS for name in set_by_playbook(read_yaml(path)) if VARIABLE.fullmatch(name)}
    groups = {"livepatch_enable_failed", "livepatch_patch_failed", "livepatch_upgrade_failed"}
    assert found - groups == SET_BY_PLAYBOOKS


def test_variables_of_the_rulebook_are_known() -> None:
    text = (ROOT / "extensions" / "eda" / "rulebooks" / "livepatch_alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"livepatch_webhook_\w+", text)) == OF_THE_RULEBOOK


def test_every_play_has_the_strategy_that_it_needs() -> None:
    for path in PLAYBOOKS:
        assert {play.get("strategy") for play in read_yaml(path)} == {"linear"}, path.name


def test_every_playbook_checks_its_variables_first() -> None:
    for path in PLAYBOOKS:
        last = read_yaml(path)[0]["tasks"][-1]
        assert last["kernelops.livepatch.validate_variables"] == {"playbook": path.stem}


def test_every_variable_has_a_default() -> None:
    defined = {name for path in (ROLE / "defaults").glob("*.yml") for name in read_yaml(path)}
    assert defined == options_of_role("playbook_defaults").keys()


def test_defaults_match_their_options(modules: dict[str, dict[str, t.Any]]) -> None:
    found = list(assignments(modules))
    assert len(found) > 100
    for name, option, specification in found:
        default = default_of(name)
        if name in SET_FOR_REPORTS:
            assert default == options_of_role("report")[SET_FOR_REPORTS[name]]["default"]
        elif specification.get("default") is not None and default is not None:
            assert specification["default"] in (default, [default]), f"{name} sets {option}"


def test_a_variable_has_the_name_of_its_option(modules: dict[str, dict[str, t.Any]]) -> None:
    prefixes = tuple(f"{path.name}_" for path in (ROOT / "roles").iterdir())
    found = set()
    for name, option, _specification in assignments(modules):
        prefix = next((each for each in prefixes if option.startswith(each)), "")
        names = {option, option.removeprefix(prefix)}
        if name.removeprefix("livepatch_") not in names:
            found.add((name.removeprefix("livepatch_"), option.removeprefix(prefix)))
    assert found == LONGER_NAMES


def test_reports_of_all_playbooks_use_the_same_variables() -> None:
    """The report of the playbook `report` has no hosts of a run. Only the last task of a run may fail."""
    of_run = {"hosts", "limit", "fail_on"}
    used = {}
    for path in PLAYBOOKS:
        for number, task in enumerate(tasks(read_yaml(path))):
            options = task.get("kernelops.livepatch.fleet_report", {"formats": []})
            if options["formats"] != []:
                used[path.stem, number] = {name: options[name] for name in options.keys() - of_run}
    assert {name for name, _number in used} == {"check", "enable", "patch", "report", "upgrade"}
    assert len({json.dumps(options, sort_keys=True) for options in used.values()}) == 1


def test_choices_match_their_options(modules: dict[str, dict[str, t.Any]]) -> None:
    for name, option, specification in assignments(modules):
        choices = options_of_role("playbook_defaults")[name].get("choices")
        assert not choices or choices == specification.get("choices"), f"{name} sets {option}"


def test_the_role_has_no_tasks() -> None:
    assert sorted(path.name for path in ROLE.iterdir()) == ["README.md", "defaults", "meta"]
