# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Rules of the repository: the documentation matches the code, and every part has a test.

The tests read the tree, so the rules apply to every new module, role and playbook.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils import _record, _version
from tests.samples.plugin_sources import nodes, syntax_trees

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "kernelops.livepatch"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
CONTROLLER_SOURCES = sorted(
    path for part in ("action", "plugin_utils") for path in (ROOT / "plugins" / part).glob("*.py")
)

# Methods of ActionBase for modules and files on the host. Each needs Python, sftp or several round trips there.
HOST_NEEDS_MORE_THAN_A_SHELL = {
    "_execute_module",
    "_execute_remote_stat",
    "_fixup_perms2",
    "_make_tmp_path",
    "_remote_checksum",
    "_transfer_data",
    "_transfer_file",
}


def _read_yaml(*path: str) -> t.Any:
    return yaml.safe_load(ROOT.joinpath(*path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, t.Any]]:
    """Return the output of ansible-doc for every module, with documentation fragments."""
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "--type", "module"]
    answer = subprocess.run(
        [*command, *(f"{COLLECTION}.{name}" for name in MODULES)], check=True, capture_output=True, text=True
    )
    found = json.loads(answer.stdout)
    return {name: found[f"{COLLECTION}.{name}"] for name in MODULES}


def _interface(options: dict[str, dict[str, t.Any]] | None, nested: str) -> dict[str, dict[str, t.Any]]:
    """Return the options of a module in one format for argument specs and documentation."""
    return {
        name: {
            "type": option.get("type") or "str",
            "elements": option.get("elements"),
            "required": bool(option.get("required")),
            "default": option.get("default"),
            "choices": list(option["choices"]) if option.get("choices") else None,
            "aliases": sorted(option.get("aliases") or []),
            "options": _interface(option.get(nested), nested),
        }
        for name, option in (options or {}).items()
    }


@pytest.mark.parametrize("name", ACTIONS)
def test_action_options_match_the_documentation(name: str, documents: dict[str, dict[str, t.Any]]) -> None:
    action = importlib.import_module(f"ansible_collections.kernelops.livepatch.plugins.action.{name}").ActionModule
    documented = _interface(documents[name]["doc"].get("options"), "suboptions")
    assert _interface(action.ARGUMENT_SPEC, "options") == documented


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_an_action_or_code(name: str) -> None:
    tree = syntax_trees()[ROOT / "plugins" / "modules" / f"{name}.py"]
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name in ACTIONS:
        code = [node for node in tree.body if not isinstance(node, (ast.Expr, ast.ImportFrom, ast.Assign))]
        assert not code, "the action does the work, so the module is documentation only"
    else:
        assert "main" in functions, "without an action, the module itself must do the work"


def test_every_action_has_a_module_that_documents_it() -> None:
    assert set(ACTIONS) <= set(MODULES)


def test_the_action_group_contains_every_module() -> None:
    groups = _read_yaml("meta", "runtime.yml")["action_groups"]
    assert sorted(groups["livepatch"]) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_modules_document_their_attributes(name: str, documents: dict[str, dict[str, t.Any]]) -> None:
    attributes = documents[name]["doc"]["attributes"]
    assert {"check_mode", "diff_mode", "action_group", "platform"} <= set(attributes)
    assert all(attribute.get("support") for attribute in attributes.values())


@pytest.mark.parametrize("path", CONTROLLER_SOURCES, ids=lambda path: path.stem)
def test_controller_code_needs_only_a_shell(path: Path) -> None:
    used = {node.attr for node in nodes()[path] if isinstance(node, ast.Attribute)}
    assert not used & HOST_NEEDS_MORE_THAN_A_SHELL


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_playbook_gathers_no_facts(name: str) -> None:
    plays = _read_yaml("playbooks", f"{name}.yml")
    assert [play.get("gather_facts") for play in plays] == [False] * len(plays)


ENTRY_POINTS = [
    (name, point)
    for name in ROLES
    for point in _read_yaml("roles", name, "meta", "argument_specs.yml")["argument_specs"]
]


@pytest.mark.parametrize(("name", "point"), ENTRY_POINTS)
def test_role_defaults_match_the_argument_specs(name: str, point: str) -> None:
    options = _read_yaml("roles", name, "meta", "argument_specs.yml")["argument_specs"][point]["options"]
    documented = {key: option["default"] for key, option in options.items() if "default" in option}
    defaults = _read_yaml("roles", name, "defaults", f"{point}.yml")
    # A template has no value before a run: it omits the option or computes its default.
    assert {key: value for key, value in defaults.items() if "{{" not in str(value)} == documented
    undecided = [key for key, option in options.items() if "default" in option and option.get("required")]
    assert not undecided, "an option is required or has a default"


def test_the_collection_knows_its_own_version() -> None:
    assert _read_yaml("galaxy.yml")["version"] == _version.COLLECTION_VERSION


def _assert_documented(kind: t.Any, returned: dict[str, t.Any], place: str) -> None:
    """Compare the `contains` of a return value with a type of the record, as deep as it is documented."""
    members = t.get_type_hints(kind)
    assert set(returned) == set(members), f"{place}: keys differ"
    for key, value in returned.items():
        if "contains" in value:
            inner = next(iter(t.get_args(members[key])), members[key])
            _assert_documented(inner, value["contains"], f"{place}.{key}")


def test_patch_info_documents_every_key_of_a_record(documents: dict[str, dict[str, t.Any]]) -> None:
    _assert_documented(_record.Record, documents["patch_info"]["return"]["record"]["contains"], "record")


def _integration_tests() -> str:
    tests = sorted((ROOT / "tests" / "integration").rglob("*"))
    return "\n".join(path.read_text(encoding="utf-8") for path in tests if path.suffix in (".py", ".yml"))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_an_integration_test(name: str) -> None:
    own_file = ROOT / "tests" / "integration" / f"test_{name}.py"
    assert own_file.is_file() or re.search(rf"\b{re.escape(COLLECTION)}\.{name}\b", _integration_tests())


@pytest.mark.parametrize("name", ROLES)
def test_a_role_has_an_integration_test(name: str) -> None:
    pattern = rf"""\b(?:role|roles|name)["']?\s*[:=]\s*[-\["'\s]*{re.escape(COLLECTION)}\.{name}\b"""
    assert re.search(pattern, _integration_tests())


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_playbook_has_an_integration_test(name: str) -> None:
    assert re.search(rf"""["'\s]{re.escape(COLLECTION)}\.{name}\b""", _integration_tests())


def test_every_script_variable_is_defined() -> None:
    """Scripts are composed from parts, so no tool detects a misspelt name in one of them."""
    folder = ROOT / "plugins" / "plugin_utils" / "shell"
    parts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sh"))]
    code = re.sub(r"^\s*#.*", "", "\n".join(parts), flags=re.MULTILINE)
    given = {word for names in re.findall(r"\bread -r ((?:\w+ ?)+)", code) for word in names.split()}
    given |= set(re.findall(r"\b(lp_\w+)=", code)) | set(re.findall(r"\bfor (lp_\w+) in\b", code))
    # The comment at the top names the variables that the controller sets; for numbered ones, the prefix.
    comments = "".join(line for part in parts for line in part.splitlines(keepends=True) if line.startswith("#"))
    named = set(re.findall(r"\blp_\w+", comments))
    named |= {re.sub(r"(\d+|N)$", "", name) for name in named}
    used = set(re.findall(r"\$\{?(lp_\w+)", code))
    assert used - given - named - {"lp_nonce", "lp_terminal"} == set()
    assert {name for name in given if not re.search(rf"{name}\b(?!=)", code)} == set()
