# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the layout of the code: one place per fact, one meaning per name, small folders."""

from __future__ import annotations

import ast
import collections
import re
import subprocess
import sys
from pathlib import Path

from tests.samples.plugin_sources import PLUGINS, nodes, syntax_trees

ROOT = PLUGINS.parent
CORE = PLUGINS / "module_utils"
SOURCES = [*syntax_trees()]

FILES_IN_A_FOLDER = 12
FLAT = "plugins/modules"  # Ansible looks for modules in this folder only
LINES_OF_AN_ACTION = 60
PACKAGE = "ansible_collections.kernelops.livepatch.plugins.module_utils"
LIBRARIES = ("cryptography", "jmespath", "psycopg", "requests", "urllib3", "yaml")

USERS_OF_THE_CLOCK = {
    "callback/fleet_progress.py",  # the progress of a run is measured where Ansible reports it
    "module_utils/_io.py",  # defaults of arguments, as in the download
    "module_utils/_report/status_line.py",
    "module_utils/_server/deadline.py",  # a thread that limits the time of another one, in which a server has control
    "module_utils/_server/download.py",  # defaults of arguments: tests pass their own sleep and clock
    "plugin_utils/_driver.py",
}

# Ansible finds a plugin by the name of its class, so that every file of a kind has a class of this name.
NAMES_OF_ANSIBLE = {"ActionModule", "CallbackModule", "FilterModule", "InventoryModule", "ModuleDocFragment"}

# Modules whose tests are in the file of a module that uses them, with that file.
TESTED_ELSEWHERE = {
    "_fleet/expression.py": "fleet/test_rules.py",  # an expression is a part of a rule
    "_decisions/record_builder.py": "decisions/test_host_state.py",  # every test of a host state builds a record
    "_records/document.py": "records/test_reader.py",  # types only
    # Every store, and every history, passes the same tests.
    "_records/postgresql/connection.py": "records/postgresql/test_records.py",
    "_records/postgresql/grants.py": "records/test_store.py",
    "_records/postgresql/history.py": "records/test_history_store.py",
    "_records/postgresql/locks.py": "records/test_store.py",
    "_records/postgresql/runs.py": "records/postgresql/test_records.py",
    "_report/changes/model.py": "report/changes/test_comparison.py",  # types only
    "_report/formats/json_lines.py": "report/formats/test_json_document.py",  # the same records, one a line
    "_report/formats/registry.py": "report/formats/test_json_document.py",  # a table of the formats
    "_report/rule_evaluation.py": "fleet/test_rules.py",  # rules over a whole report
    "_report/summary/run_context.py": "report/summary/test_brief.py",  # types only
    "_verify/file_verdict.py": "verify/test_patch_file.py",  # types only
}
# A module that needs a real terminal has integration tests only.
TESTED_WITH_ANSIBLE = {"_report/status_line.py": "test_fleet_progress.py"}


def _classes(path: Path) -> list[str]:
    return [node.name for node in nodes()[path] if isinstance(node, ast.ClassDef)]


def _has_code(path: Path) -> bool:
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in syntax_trees()[path].body)


def _test_of(module: str) -> Path:
    *folders, name = (part.removeprefix("_") for part in module.split("/"))
    return ROOT.joinpath("tests", "unit", *folders, f"test_{name}")


def _lines_with(pattern: str, *, except_in: str = "") -> list[str]:
    """Return the lines of the plugins that match, as ``path:number``, outside one file."""
    found = []
    for path in SOURCES:
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


def test_every_core_module_has_a_test_file() -> None:
    modules = {str(path.relative_to(CORE)) for path in CORE.rglob("*.py") if _has_code(path)}
    without = {module for module in modules if not _test_of(module).is_file()}
    assert without == {*TESTED_ELSEWHERE, *TESTED_WITH_ANSIBLE}


def test_exceptions_name_files_that_exist() -> None:
    unit = {ROOT / "tests" / "unit" / place for place in TESTED_ELSEWHERE.values()}
    integration = {ROOT / "tests" / "integration" / place for place in TESTED_WITH_ANSIBLE.values()}
    assert [path for path in unit | integration if not path.is_file()] == []


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = collections.defaultdict(list)
    for path in SOURCES:
        for name in _classes(path):
            places[name].append(str(path.relative_to(PLUGINS)))
    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in NAMES_OF_ANSIBLE}
    assert twice == {}


def test_folders_stay_small() -> None:
    counts = collections.Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    large = {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > FILES_IN_A_FOLDER}
    assert large.keys() <= {FLAT}


def test_plugin_utils_imports_ansible() -> None:
    without = [
        path.name
        for path in sorted((PLUGINS / "plugin_utils").glob("*.py"))
        if not re.search(r"^(?:from|import) ansible\b(?!_)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert without == [], "what does not need Ansible belongs to the core"


def test_optional_libraries_are_imported_in_one_way() -> None:
    pattern = r"except (?:ImportError|ModuleNotFoundError)"
    assert _lines_with(pattern, except_in="module_utils/_errors.py") == []


def test_the_core_loads_without_third_party_libraries() -> None:
    modules = [".".join(path.relative_to(CORE).with_suffix("").parts) for path in CORE.rglob("*.py")]
    program = (
        "import importlib, sys\n"
        f"for library in {LIBRARIES!r}: sys.modules[library] = None\n"
        f"for name in {modules!r}: importlib.import_module('{PACKAGE}.' + name)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_actions_only_turn_options_into_a_task() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in (PLUGINS / "action").glob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_AN_ACTION} == {}


def test_only_driver_and_status_line_use_the_clock() -> None:
    found = {line.partition(":")[0] for line in _lines_with(r"\btime\.(?:sleep|monotonic)\b")}
    assert found == USERS_OF_THE_CLOCK
