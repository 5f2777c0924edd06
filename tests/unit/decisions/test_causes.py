# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of causes: one place for each text, used everywhere with the values that the text needs."""

from __future__ import annotations

import ast
import functools
import re
import string
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import causes
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.cause_texts.cause import Cause
from tests.samples.plugin_sources import PLUGINS, nodes

TABLE_FOLDER = PLUGINS / "module_utils" / "_decisions" / "cause_texts"
NAMED = {name: value for name, value in vars(causes).items() if isinstance(value, Cause)}
TABLE = {
    **{f"failure {cause.id}": cause for cause in causes.CLIENT_FAILURES.values()},
    **{f"refusal {cause.id}": cause for cause in causes.PRO_REFUSALS.values()},
    **NAMED,
}
PARTS_OF_A_CAUSE = 20
"""Characters of a part of a text that make it recognisable. Shorter parts, such as commands, may occur elsewhere."""


def sources() -> list[tuple[ast.AST, ...]]:
    """Return the nodes of each file except for the table itself."""
    return [found for path, found in nodes().items() if path.parent != TABLE_FOLDER]


def placeholders(*texts: str | None) -> set[str]:
    fields = (field for text in texts for _literal, field, _format, _conversion in string.Formatter().parse(text or ""))
    return {field for field in fields if field}


def parts(text: str) -> list[str]:
    """Return the parts of a text between its placeholders."""
    return [part for part in re.split(r"\{\w+\}", text) if len(part) >= PARTS_OF_A_CAUSE]


def literals() -> set[str]:
    """Return all texts in the code of the plugins, without documentation."""
    found = set()
    for source in sources():
        documentation = {
            id(node.value)
            for node in source
            if isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and _is_documentation(node))
        }
        found |= {
            node.value
            for node in source
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        }
    return found


def _is_documentation(statement: ast.Assign) -> bool:
    names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return bool(names & {"DOCUMENTATION", "EXAMPLES", "RETURN"})


@pytest.mark.parametrize("name", TABLE)
def test_texts_are_plain_clauses(name: str) -> None:
    """The result of a task joins message and remedy as sentences."""
    cause = TABLE[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", cause.id)
    for text in filter(None, (cause.message, cause.remedy)):
        assert not text.endswith((".", " "))
        assert "  " not in text


def test_no_text_names_a_kernel_package_or_a_token() -> None:
    """The kernel that a host needs depends on the host: `next_steps` computes it."""
    texts = [text for cause in TABLE.values() for text in (cause.message, cause.remedy) if text]
    assert [text for text in texts if re.search(r"linux-(?!image-\{)|canonical-livepatch enable", text)] == []


def test_no_text_occurs_outside_the_table() -> None:
    texts = {text for cause in TABLE.values() for text in (cause.message, cause.remedy) if text}
    known = literals()
    copied = {part for text in texts for part in parts(text) for literal in known if part in literal}
    assert copied == set()


def test_no_two_causes_have_the_same_message() -> None:
    messages = [cause.message for cause in set(TABLE.values())]
    assert sorted(messages) == sorted(set(messages))


class Use(t.NamedTuple):
    """A call such as ``causes.NAME.reason(version=…)``. `values` is None if they are not listed in the call."""

    name: str
    values: set[str] | None


@functools.cache
def uses() -> list[Use]:
    found = []
    for source in sources():
        calls = {id(node.func.value): node for node in source if isinstance(node, ast.Call) and _is_use(node)}
        for node in source:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "causes":
                call = calls.get(id(node))
                names = None if call is None else [keyword.arg for keyword in call.keywords]
                listed = names is not None and None not in names
                found.append(Use(node.attr, {name for name in names or () if name} if listed else None))
    return found


def _is_use(node: ast.Call) -> t.TypeGuard[t.Any]:
    return isinstance(node.func, ast.Attribute) and node.func.attr in ("reason", "error")


def test_every_use_gives_the_values_of_the_text() -> None:
    wrong = [
        use
        for use in uses()
        if use.name in TABLE
        and use.values is not None
        and use.values != placeholders(TABLE[use.name].message, TABLE[use.name].remedy)
    ]
    assert wrong == []


def test_every_cause_is_used() -> None:
    by_id = {*causes.CLIENT_ERRORS.values(), *causes.CLIENT_FAILURES.values()}
    used = {use.name for use in uses()}
    assert {name for name, cause in NAMED.items() if name not in used and cause not in by_id} == set()
