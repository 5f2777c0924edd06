# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Mutation testing: small mistakes in the code that decides, each of which the tests must detect.

    python tests/tools/mutation.py [name of a module …]

Cosmic Ray creates the mutants. For each one, a process with the loaded test tools is forked, imports the mutant instead
of its module, and runs the tests of the module: this takes some tenths of a second instead of a start of Python. The
working tree does not change. Mutants that no test detects need an entry in ``tests/mutation-survivors.yml``; a missing
or an outdated entry is an error.
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

import hypothesis
import pytest
import yaml
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from hypothesis import Phase

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.kernelops.livepatch.plugins.module_utils"
# Loaded once, before the forks. The modules of the core are on lower floors than all targets, so none imports a mutant.
_LOADED = (
    "cryptography.hazmat.primitives.asymmetric.rsa",
    f"{PACKAGE}._host.client_failures",
    f"{PACKAGE}._host.facts",
)
# The modules that decide about eligibility, host states and signatures, with their tests: fast ones first.
TARGETS = {
    "_decisions.eligibility": ("decisions/test_eligibility.py",),
    "_decisions.host_state": ("decisions/test_host_state.py", "decisions/states/test_evidence.py"),
    "_decisions.states.evidence": ("decisions/test_host_state.py", "decisions/states/test_evidence.py"),
    "_decisions.states.failures": ("decisions/states/test_failures.py", "decisions/test_host_state.py"),
    "_decisions.states.held_back": ("decisions/states/test_held_back.py", "decisions/test_host_state.py"),
    "_decisions.states.waiting": ("decisions/states/test_waiting.py", "decisions/test_host_state.py"),
    "_verify.signature": ("verify/test_signature.py", "verify/test_signature_variants.py", "verify/test_trust.py"),
}
# One or two operators of each kind: the same tests would detect most of the others.
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
PROFILE = "mutation"
SECONDS = 120  # of processor time: the limit for a mutant that never ends, on an idle and on a busy machine


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mistake in a module: its operator, its line, and the text before and after."""

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
    """Generate every mutant of a module, except those of annotations, which are not evaluated."""
    path = ROOT / "plugins" / "module_utils" / f"{module.replace('.', '/')}.py"
    source = path.read_text(encoding="utf-8")
    excluded = _annotations(source)
    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = plugins.get_operator(name)()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _end) in enumerate(places):
            if any(begin <= start < end for begin, end in excluded):
                continue
            code = mutate_code(source, operator, occurrence)
            if code is None or code == source:
                continue
            before, after = _difference(source, code)
            yield Mutant(module, name.removeprefix("core/"), start[0], before, after, code)


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the ranges of annotations, type bases and type aliases, as (line, column) of start and end."""
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
    """Return the first line that differs, stripped."""
    before, after = source.splitlines(), code.splitlines()
    for one, other in zip(before, after, strict=False):
        if one != other:
            return one.strip(), other.strip()
    return "(a line)", "(no line)"


class _MutantImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant instead of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"{PACKAGE}.{mutant.module}"
        self._code = mutant.code

    def find_spec(self, fullname: str, *_where: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._code, f"<mutant of {self._name}>", "exec"), module.__dict__)  # noqa: S102  (our own code)


class _FastTestsFirst:
    """Runs tests with many generated examples last, because most mutants are detected without them."""

    @staticmethod
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: hypothesis.is_hypothesis_test(getattr(item, "obj", None)))


def is_detected(mutant: Mutant | None, tests: c.Sequence[str]) -> bool:
    """Run tests in a new process, with a mutant or with the original code. Return True if a test failed."""
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        code = 1
        try:
            if mutant is not None:
                sys.meta_path.insert(0, _MutantImporter(mutant))
            words = [str(ROOT / "tests" / "unit" / name) for name in tests]
            options = ["-x", "-q", f"--hypothesis-profile={PROFILE}"]
            code = int(pytest.main([*words, *options], plugins=[_FastTestsFirst()]))
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    return status != 0


def accepted_survivors() -> dict[tuple[str, str, str], str]:
    """Return the mutants that may survive, each with its reason."""
    entries: list[dict[str, str]] = yaml.safe_load((ROOT / "tests" / "mutation-survivors.yml").read_text("utf-8")) or []
    return {(entry["module"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def main(words: list[str]) -> int:
    # A mutant is detected by any example, which need not be small.
    hypothesis.settings.register_profile(PROFILE, deadline=None, phases=(Phase.explicit, Phase.generate), database=None)
    for slow in _LOADED:
        importlib.import_module(slow)
    reasons = accepted_survivors()
    survivors: list[Mutant] = []
    figures: dict[str, t.Any] = {}
    for module, tests in TARGETS.items():
        if words and not any(fnmatch.fnmatch(module, f"*{word}*") for word in words):
            continue
        assert f"{PACKAGE}.{module}" not in sys.modules, "a module was imported before its mutant"
        if is_detected(None, tests):
            print(f"{module}: its tests fail without a mutant")
            return 2
        started = time.monotonic()
        generated = list(mutants(module))
        survived = [mutant for mutant in generated if not is_detected(mutant, tests)]
        survivors += survived
        figures[module] = {
            "mutants": len(generated),
            "detected": len(generated) - len(survived),
            "accepted": sum(mutant.key in reasons for mutant in survived),
        }
        seconds = time.monotonic() - started
        print(
            f"{module}: {len(generated)} mutants, {len(generated) - len(survived)} detected, {len(survived)} survived, "
            f"{seconds:.0f} s",
            flush=True,
        )
    new = [mutant for mutant in survivors if mutant.key not in reasons]
    for mutant in new:
        print(f"\n{mutant.module}:{mutant.line} {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}")
    keys = {mutant.key for mutant in survivors}
    outdated = [key for key in reasons if key[0] in figures and key not in keys]
    for module, before, after in outdated:
        print(f"\n{module}: outdated entry, the mutant is detected or does not exist\n  - {before}\n  + {after}")
    report = ROOT / ".build" / "mutation.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{len(survivors)} survived: {len(survivors) - len(new)} accepted, {len(new)} new")
    return 1 if new or outdated else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
