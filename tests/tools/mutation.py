# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Mutation testing: small mistakes in the code that decides, each of which the tests must detect.

    python tests/tools/mutation.py [name of a module …]

Cosmic Ray creates the mutants. For each one, a process is forked that has collected the tests of the module. There the
functions get the code of the mutant, and the tests run: this takes less than a tenth of a second. A mutant that changes
more than functions, or that no test detects in this way, is imported instead of its module in a process of its own,
which takes some tenths of a second. The working tree does not change. Mutants that no test detects need an entry in
``tests/mutation-survivors.yml``; a missing or an outdated entry is an error.
"""

from __future__ import annotations

import ast
import collections.abc as c
import dataclasses
import fnmatch
import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import multiprocessing
import os
import resource
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
# The modules that decide, with their tests: fast ones first.
TARGETS = {
    "_decisions.eligibility": ("decisions/test_eligibility.py",),
    "_decisions.host_state": ("decisions/test_host_state.py", "decisions/states/test_evidence.py"),
    "_decisions.states.evidence": ("decisions/test_host_state.py", "decisions/states/test_evidence.py"),
    "_decisions.states.failures": ("decisions/states/test_failures.py", "decisions/test_host_state.py"),
    "_decisions.states.held_back": ("decisions/states/test_held_back.py", "decisions/test_host_state.py"),
    "_decisions.states.waiting": ("decisions/states/test_waiting.py", "decisions/test_host_state.py"),
    "_verify.signature": ("verify/test_signature.py", "verify/test_signature_variants.py", "verify/test_trust.py"),
    "_fleet.waivers": ("fleet/test_waivers.py",),
    "_fleet.waves": ("fleet/test_waves.py",),
    "_fleet.seats": ("fleet/test_seats.py",),
    "_decisions.boot_order": ("decisions/test_boot_order.py",),
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
# The limits of a mutant that never ends: of processor time, a multiple of what the tests take without a mutant.
SECONDS, TIMES = 2.0, 4
MEMORY = 2 << 30


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
    source = _source(module)
    excluded = _annotations(source)
    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = plugins.get_operator(name)()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _end) in enumerate(places):
            if any(begin <= start < end for begin, end in excluded):
                continue
            code = mutate_code(source, operator, occurrence)
            if code is None or code == source or not _is_python(code):
                continue
            before, after = _difference(source, code)
            yield Mutant(module, name.removeprefix("core/"), start[0], before, after, code)


def _is_python(code: str) -> bool:
    """Return False for code that no import accepts, such as a parameter without a default after one with a default."""
    try:
        compile(code, "<mutant>", "exec")
    except SyntaxError:
        return False
    return True


def _source(module: str) -> str:
    path = ROOT / "plugins" / "module_utils" / f"{module.replace('.', '/')}.py"
    return path.read_text(encoding="utf-8")


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


def _changed_functions(old: types.CodeType, new: types.CodeType) -> dict[types.CodeType, types.CodeType] | None:
    """Return the code of the functions that differ, or ``None`` if a class, a default or a constant differs."""
    if old.co_flags & inspect.CO_OPTIMIZED:
        return {} if old == new else {old: new}
    found: dict[types.CodeType, types.CodeType] = {}
    bare = [code.replace(co_consts=tuple(filter(_is_value, code.co_consts))) for code in (old, new)]
    inner = [list(itertools.filterfalse(_is_value, code.co_consts)) for code in (old, new)]
    if bare[0] != bare[1] or len(inner[0]) != len(inner[1]):
        return None
    for one, other in zip(*inner, strict=True):
        changed = _changed_functions(one, other)
        if changed is None:
            return None
        found |= changed
    return found


def _is_value(constant: object) -> bool:
    return not isinstance(constant, types.CodeType)


class _TestsOfMutants:
    """Runs the collected tests once for each mutant, for at most `seconds`.

    `failed` is true if a test fails without a mutant.
    """

    def __init__(self, module: str, generated: c.Sequence[Mutant]) -> None:
        self._original = compile(_source(module), module, "exec")
        self._name = f"{PACKAGE}.{module}"
        self._mutants = generated
        self.undecided: list[Mutant] = []
        self.seconds = 0.0
        self.failed = False

    @staticmethod
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        # Most mutants are detected without the tests that have many generated examples.
        items.sort(key=lambda item: hypothesis.is_hypothesis_test(getattr(item, "obj", None)))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        found = [each for each in gc.get_objects() if isinstance(each, types.FunctionType)]
        functions = [each for each in found if each.__module__ == self._name]
        self.failed = _fails(functools.partial(_run_all, session))
        self.seconds = SECONDS + TIMES * os.times().children_user
        for mutant in [] if self.failed else self._mutants:
            changed = _changed_functions(self._original, compile(mutant.code, mutant.module, "exec"))
            places = [(each, changed[each.__code__]) for each in functions if changed and each.__code__ in changed]
            if not places or not _fails(functools.partial(_run_with, session, places), self.seconds):
                self.undecided.append(mutant)
        return True


def _run_with(session: pytest.Session, places: c.Iterable[tuple[types.FunctionType, types.CodeType]]) -> int:
    for function, code in places:
        function.__code__ = code
    return _run_all(session)


def _run_all(session: pytest.Session) -> int:
    """Run the tests up to the first that fails. Return 1 if one fails."""
    for item, following in itertools.zip_longest(session.items, session.items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _pytest(tests: c.Iterable[str], plugin: object = None) -> int:
    words = [str(ROOT / "tests" / "unit" / name) for name in tests]
    options = ["-x", "-q", "--tb=no", "--assert=plain", "--capture=no", f"--hypothesis-profile={PROFILE}"]
    return int(pytest.main([*words, *options], plugins=[plugin] if plugin else []))


def _fails(action: c.Callable[[], int], seconds: float = 0) -> bool:
    """Perform an action in a new process without output. Return True if its exit status is not 0.

    `seconds` limits its processor time, if it is not 0.
    """
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        _be_silent()
        code = 1
        try:
            code = action()
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    return status != 0


def _be_silent() -> None:
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def undecided(module: str) -> tuple[int, list[Mutant], float] | None:
    """Return the number of mutants, those that no test detects when only the functions are changed, and the limit.

    ``None`` if a test fails without a mutant.
    """
    _be_silent()
    generated = list(mutants(module))
    plugin = _TestsOfMutants(module, generated)
    code = _pytest(TARGETS[module], plugin)
    return None if code or plugin.failed else (len(generated), plugin.undecided, plugin.seconds)


def survivors_of(module: str, candidates: c.Iterable[Mutant], seconds: float) -> list[Mutant]:
    """Return the mutants that no test detects when they are imported instead of the module."""
    for slow in _LOADED:
        importlib.import_module(slow)

    def run(mutant: Mutant) -> int:
        sys.meta_path.insert(0, _MutantImporter(mutant))
        return _pytest(TARGETS[module])

    return [mutant for mutant in candidates if not _fails(functools.partial(run, mutant), seconds)]


def accepted_survivors() -> dict[tuple[str, str, str], str]:
    """Return the mutants that may survive, each with its reason."""
    entries: list[dict[str, str]] = yaml.safe_load((ROOT / "tests" / "mutation-survivors.yml").read_text("utf-8")) or []
    return {(entry["module"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def main(words: list[str]) -> int:
    # A mutant is detected by any example, which need not be small.
    hypothesis.settings.register_profile(PROFILE, deadline=None, phases=(Phase.explicit, Phase.generate), database=None)
    sys.dont_write_bytecode = False  # the tests are compiled once
    sys.pycache_prefix = str(ROOT / ".build" / "mutation")
    reasons = accepted_survivors()
    survivors: list[Mutant] = []
    figures: dict[str, t.Any] = {}
    for module in TARGETS:
        if words and not any(fnmatch.fnmatch(module, f"*{word}*") for word in words):
            continue
        started = time.monotonic()
        with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as new_process:
            found = new_process.apply(undecided, (module,))
            if found is None:
                print(f"{module}: its tests fail without a mutant")
                return 2
            survived = new_process.apply(survivors_of, (module, *found[1:]))
        new = [mutant for mutant in survived if mutant.key not in reasons]
        figures[module] = {
            "mutants": found[0],
            "detected": found[0] - len(survived),
            "accepted": len(survived) - len(new),
            "new": len(new),
            "seconds": round(time.monotonic() - started),
        }
        survivors += survived
        print(f"{module}: {', '.join(f'{name} {value}' for name, value in figures[module].items())}", flush=True)
        for mutant in new:
            print(f"{module}:{mutant.line} {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    return report(survivors, reasons, figures)


def report(
    survivors: c.Sequence[Mutant], reasons: c.Mapping[tuple[str, str, str], str], figures: c.Mapping[str, t.Any]
) -> int:
    """Print the total and the outdated entries, and write the figures to a file. Return the exit code."""
    keys = {mutant.key for mutant in survivors}
    outdated = [key for key in reasons if key[0] in figures and key not in keys]
    for module, before, after in outdated:
        print(f"{module}: outdated entry, the mutant is detected or does not exist\n  - {before}\n  + {after}")
    path = ROOT / ".build" / "mutation.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    new = sum(mutant.key not in reasons for mutant in survivors)
    print(f"{len(survivors)} survived: {len(survivors) - new} accepted, {new} new")
    return 1 if new or outdated else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
