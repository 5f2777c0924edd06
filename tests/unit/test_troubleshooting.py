# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The ids of failures, reasons and problems: the guide on troubleshooting lists each of them, and no other."""

from __future__ import annotations

import ast
import collections
import collections.abc as c
import functools
import re
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import causes
from tests.samples.plugin_sources import nodes, syntax_trees

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide" / "troubleshooting.md"

ID = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
FORWARDED = re.compile(r"(?:\w+\.)?id|\w+\['id'\]")
"""Expressions that pass on the id of another error, reason or check."""
WITH_ID = {"LivepatchError": (0, "cause"), "Cause": (0, "id"), "Problem": (0, "id"), "Reason": (None, "id")}
"""Calls that have an id: its position, and the name of its argument."""


@functools.cache
def classes_of_errors() -> frozenset[str]:
    """Return the names of `LivepatchError` and its subclasses."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for found in nodes().values()
        for node in found
        if isinstance(node, ast.ClassDef)
    }
    found = {"LivepatchError"}
    while new := {name for name, parents in bases.items() if parents & found} - found:
        found |= new
    return frozenset(found)


@functools.cache
def ids_in_calls() -> list[tuple[str, ast.expr]]:
    """Return the id of each call in `WITH_ID`, and of each call of the constructor by a subclass, with its place."""
    errors = classes_of_errors()
    ids = []
    for path, parents in nodes().items():
        for parent in parents:
            in_error = isinstance(parent, ast.ClassDef) and parent.name in errors - {"LivepatchError"}
            for node in ast.walk(parent) if in_error else ast.iter_child_nodes(parent):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func)
                if name in WITH_ID or (in_error and name == "super().__init__"):
                    position, keyword = WITH_ID.get(name, (0, "cause"))
                    named = [argument.value for argument in node.keywords if argument.arg == keyword]
                    value = node.args[position] if position is not None and node.args else named[0]
                    ids.append((f"{path.relative_to(ROOT)}:{node.lineno}", value))
    return ids


def raised_ids() -> set[str]:
    literal = {value.value for _place, value in ids_in_calls() if isinstance(value, ast.Constant)}
    recognised = {*causes.CLIENT_ERRORS, *causes.CLIENT_FAILURES}
    return {str(value) for value in literal} | recognised


def listed_ids() -> list[str]:
    """Return the ids in the first column of the tables of the guide."""
    rows = re.findall(r"^\| (`[^|]+) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    return [identifier for row in rows for identifier in re.findall(r"`([^`]+)`", row)]


def test_every_id_is_a_literal_or_passed_on() -> None:
    """Otherwise this test file would not find it."""
    computed = [
        place
        for place, value in ids_in_calls()
        if not isinstance(value, ast.Constant) and not FORWARDED.fullmatch(ast.unparse(value))
    ]
    assert computed == []


def test_the_guide_lists_every_id() -> None:
    assert sorted(raised_ids() - set(listed_ids())) == []


def test_the_guide_lists_no_other_id() -> None:
    assert sorted(set(listed_ids()) - raised_ids()) == []


def test_the_guide_lists_an_id_once() -> None:
    assert [identifier for identifier, rows in collections.Counter(listed_ids()).items() if rows > 1] == []


def test_ids_are_lower_case_with_underscores() -> None:
    assert [identifier for identifier in sorted(raised_ids()) if not ID.fullmatch(identifier)] == []


def test_failed_results_are_built_in_few_places() -> None:
    """In the base class of the actions, and in each module that runs on the host of its files."""
    places = [
        path.name
        for path, found in nodes().items()
        for node in found
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "as_result"
        if ast.unparse(node.func).endswith("error.as_result")
    ]
    modules = ["exposure_info.py", "notice_info.py", "patch_file_info.py", "patch_mirror.py", "vulnerability_data.py"]
    assert places == [*modules, "_action.py"]


TRANSLATIONS = {
    # The module has had ids of its own for these errors since its first release.
    ("patch_mirror.py", "trust.CertificateFileError"),
    ("patch_mirror.py", "trust.TrustError"),
}


def translations() -> c.Iterator[tuple[str, str]]:
    """Yield each error of the collection for which a handler raises an error of another class, with the file."""
    errors = classes_of_errors()
    factories = {
        node.name: ast.unparse(node.returns)
        for tree in syntax_trees().values()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) in errors
    }
    for path, found in nodes().items():
        for handler in found:
            if not isinstance(handler, ast.ExceptHandler) or handler.type is None:
                continue
            caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            raised = {
                factories.get(_name(node.exc.func), _name(node.exc.func))
                for node in ast.walk(handler)
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
            }
            for error in caught:
                if _name(error) in errors and raised & errors - {_name(error)}:
                    yield path.name, ast.unparse(error)


def _name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def test_no_error_is_translated_into_another() -> None:
    assert set(translations()) == TRANSLATIONS
