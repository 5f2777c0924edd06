# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Mutation testing: small mistakes are made in the code that decides, and the tests must notice each of them.

    python tests/tools/mutation.py [name of a module …]

Cosmic Ray makes the mistakes. A process that has the test tools loaded is forked for each of them, serves the mutant in
place of its module, and runs that module's tests: a few tenths of a second instead of a start of Python. The working
tree is never changed. Mistakes that no test notices must be explained in ``tests/mutation-survivors.yml``; what is not
explained, or explained and noticed after all, is an error.
"""

from __future__ import annotations

import ast
import collections.abc as c
import dataclasses
import fnmatch
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

# Loaded once, before the forks.
for _slow in ("cryptography.hazmat.primitives.asymmetric.rsa", "hypothesis"):
    importlib.import_module(_slow)

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.kernelops.livepatch.plugins.module_utils"
# What decides whether a host may have patches, in which state it is, and whether a signature holds, with its tests.
TARGETS = {
    "_decisions.eligibility": ("decisions/test_eligibility.py",),
    "_decisions.host_state": ("decisions/test_host_state.py",),
    "_verify.signature": ("verify/test_signature.py", "verify/test_trust.py"),
}
# One or two of each kind: of the others, most would be noticed by the same test.
OPERATORS = (
    "core/ReplaceBinaryOperator_Add_Sub",
    "core/ReplaceBinaryOperator_Sub_Add",
    "core/ReplaceBinaryOperator_Mul_Div",
    "core/ReplaceBinaryOperator_BitOr_BitAnd",
    "core/ReplaceBinaryOperator_BitAnd_BitOr",
    "core/ReplaceComparisonOperator_Eq_NotEq",
    "core/ReplaceComparisonOperator_NotEq_Eq",
    "core/ReplaceComparisonOperator_Lt_LtE",
    "core/ReplaceComparisonOperator_Lt_Gt",
    "core/ReplaceComparisonOperator_LtE_Lt",
    "core/ReplaceComparisonOperator_LtE_Gt",
    "core/ReplaceComparisonOperator_Gt_GtE",
    "core/ReplaceComparisonOperator_Gt_Lt",
    "core/ReplaceComparisonOperator_GtE_Gt",
    "core/ReplaceComparisonOperator_GtE_Lt",
    "core/ReplaceComparisonOperator_Is_IsNot",
    "core/ReplaceComparisonOperator_IsNot_Is",
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/AddNot",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ExceptionReplacer",
    "core/NumberReplacer",
    "core/RemoveDecorator",
    "core/ZeroIterationForLoop",
)
SECONDS = 120  # for the tests of one mutant; one that never ends is noticed by that


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mistake in a module: which kind, in which line, as it stands there and as it is with the mistake."""

    module: str
    operator: str
    line: int
    before: str
    after: str
    code: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.module, self.before, self.after


def mutants(module: str) -> c.Iterator[Mutant]:
    """Every mistake that can be made in a module, but for its annotations, which nothing evaluates."""
    path = ROOT / "plugins" / "module_utils" / f"{module.replace('.', '/')}.py"
    source = path.read_text(encoding="utf-8")
    passed_over = _annotations(source)
    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = plugins.get_operator(name)()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _end) in enumerate(places):
            if any(begin <= start < end for begin, end in passed_over):
                continue
            code = mutate_code(source, operator, occurrence)
            if code is None or code == source:
                continue
            before, after = _difference(source, code)
            yield Mutant(module, name.removeprefix("core/"), start[0], before, after, code)


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations stand, and the bases and aliases of types: from here to there, as (line, column)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        places: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp):
            places += [node.value] if any(map(_is_type_name, node.targets)) else []
        for place in places:
            if isinstance(place, ast.expr):
                end = (place.end_lineno or 0, place.end_col_offset or 0)
                found.append(((place.lineno, place.col_offset), end))
    return found


def _is_type_name(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id.lstrip("_")[:1].isupper() and not target.id.isupper()


def _difference(source: str, code: str) -> tuple[str, str]:
    """The first line that differs, without the space around it."""
    before, after = source.splitlines(), code.splitlines()
    for one, other in zip(before, after, strict=False):
        if one != other:
            return one.strip(), other.strip()
    return "(a line)", "(no line)"


class _Serve(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant where its module is asked for."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"{PACKAGE}.{mutant.module}"
        self._code = mutant.code

    def find_spec(self, fullname: str, *_where: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._code, f"<mutant of {self._name}>", "exec"), module.__dict__)  # noqa: S102  (our own code)


def is_noticed(mutant: Mutant | None, tests: c.Sequence[str]) -> bool:
    """Run tests in a process of its own, with the mutant or as the code is, and tell whether any failed."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        code = 1
        try:
            if mutant is not None:
                sys.meta_path.insert(0, _Serve(mutant))
            words = [str(ROOT / "tests" / "unit" / name) for name in tests]
            code = int(pytest.main([*words, "-x", "-q"]))
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    return status != 0


def explained() -> dict[tuple[str, str, str], str]:
    """The mistakes that may stay unnoticed, each with its reason."""
    entries: list[dict[str, str]] = yaml.safe_load((ROOT / "tests" / "mutation-survivors.yml").read_text("utf-8")) or []
    return {(entry["module"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def main(words: list[str]) -> int:
    assert not any(name.startswith(PACKAGE) for name in sys.modules), "a mutant would come too late"
    reasons = explained()
    survivors: list[Mutant] = []
    figures: dict[str, t.Any] = {}
    for module, tests in TARGETS.items():
        if words and not any(fnmatch.fnmatch(module, f"*{word}*") for word in words):
            continue
        if is_noticed(None, tests):
            print(f"{module}: its tests fail as it is")
            return 2
        started = time.monotonic()
        all_of_them = list(mutants(module))
        left = [mutant for mutant in all_of_them if not is_noticed(mutant, tests)]
        survivors += left
        figures[module] = {
            "mutants": len(all_of_them),
            "noticed": len(all_of_them) - len(left),
            "explained": sum(mutant.key in reasons for mutant in left),
        }
        seconds = time.monotonic() - started
        print(
            f"{module}: {len(all_of_them)} mutants, {len(all_of_them) - len(left)} noticed, {len(left)} left, "
            f"{seconds:.0f} s",
            flush=True,
        )
    new = [mutant for mutant in survivors if mutant.key not in reasons]
    for mutant in new:
        print(f"\n{mutant.module}:{mutant.line} {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}")
    keys = {mutant.key for mutant in survivors}
    outdated = [key for key in reasons if key[0] in figures and key not in keys]
    for module, before, after in outdated:
        print(f"\n{module}: explained, and noticed or gone\n  - {before}\n  + {after}")
    report = ROOT / ".build" / "mutation.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{len(survivors)} unnoticed, {len(survivors) - len(new)} of them explained, {len(new)} not")
    return 1 if new or outdated else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
