# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""JMESPath expressions over data of a known type, whose names are checked before use.

In JMESPath, a name that does not exist evaluates to ``null``, so that an expression with a typing error would always be
false without a message. The types of the data define the valid names.
"""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from .._config_file import nearest
from .._errors import LivepatchError, require

_WIDEST_MISTAKE = 60  # characters
_WIDEST_REASON = 200

# A TypedDict, a list of one, a scalar; a mapping of names to such; or None for any value.
_Shape: t.TypeAlias = "t.Any"
# The parser's tree is public: mappings with ``type``, ``value`` and ``children``.
_Tree: t.TypeAlias = "t.Any"
_CHAINS = ("subexpression", "index_expression", "pipe")
_PROJECTIONS = ("projection", "filter_projection", "value_projection")


class ExpressionError(ValueError):
    """The expression is not valid. The message contains the expression and the position of the error."""


class Expression:
    """A compiled expression. Raises `ExpressionError`, and `LivepatchError` (``library_missing``) without jmespath.

    `names` maps each name of a document to its type: a TypedDict, a list of one, or a scalar. `first_names` are those
    of them that the expression uses.
    """

    def __init__(self, text: str, names: c.Mapping[str, t.Any]) -> None:
        self._tree = _parse(text)
        # The entry point of the library creates an interpreter for each call, which costs more than most expressions.
        self._interpreter = _library("visitor").TreeInterpreter()
        # JMESPathError is a ValueError, and `floor` of a text such as "nan" is one too.
        self._errors = (ValueError, ArithmeticError, TypeError, RecursionError)
        check = _Names(text, names)
        try:
            check.check(self._tree, names)
        except RecursionError as error:
            raise _wrong(text, 0, "it is nested too deeply") from error
        self.first_names = frozenset(check.first)

    def evaluate(self, document: object) -> tuple[object, str | None]:
        """Return the value of the expression, or None and the reason if a function does not accept the data."""
        try:
            return self._interpreter.visit(self._tree, document), None
        except self._errors as error:
            return None, f"{error!s:.{_WIDEST_REASON}}"


def is_true(value: object) -> bool:
    """Return True if a value is true in JMESPath: zero is true, and empty values are false."""
    return not (value is None or value is False or value in ("", [], {}))


def can_compile() -> bool:
    """Return True if the library for expressions is available."""
    try:
        _library("parser")
    except LivepatchError:
        return False
    return True


def _library(module: str) -> t.Any:
    return require(f"jmespath.{module}", "a report with rules")


def _parse(text: str) -> _Tree:
    exceptions = _library("exceptions")
    try:
        return _library("parser").Parser().parse(text).parsed
    except exceptions.IncompleteExpressionError as error:
        raise _wrong(text, len(text), "the expression ends too early") from error
    except exceptions.LexerError as error:
        raise _wrong(text, error.lexer_position, error.message) from error
    except exceptions.ParseError as error:
        raise _wrong(text, error.lex_position, f"{error.token_value!r} is not allowed here") from error
    # JMESPathError is a ValueError, and a number with too many digits is one too.
    except (ValueError, RecursionError) as error:
        raise _wrong(text, 0, str(error)) from error


def _wrong(text: str, position: int, what: str) -> ExpressionError:
    """Return an error with the expression and the position of the error: the character, counted from 1."""
    rest = text[position : position + _WIDEST_MISTAKE]
    where = f"at character {position + 1}, before {rest!r}" if rest else f"at its end, character {position + 1}"
    return ExpressionError(f"the expression {text!r} is invalid {where}: {what}")


def _members(shape: _Shape) -> c.Mapping[str, t.Any] | None:
    if isinstance(shape, c.Mapping):
        return shape
    return t.get_type_hints(shape) if t.is_typeddict(shape) else None


def _item(shape: _Shape) -> _Shape:
    origin: object = t.get_origin(shape)
    return t.get_args(shape)[0] if origin is list else None


class _Names:
    """Compares the names in an expression with the data, and collects the first name of each path."""

    def __init__(self, text: str, root: c.Mapping[str, t.Any]) -> None:
        self._text = text
        self._root = root
        self.first: set[str] = set()

    def check(self, node: _Tree, shape: _Shape) -> _Shape:
        """Check a part of the tree whose input has this type, and return the type of its result."""
        kind, children = node["type"], node["children"]
        if kind == "field":
            return self._field(node["value"], shape)
        if kind in ("current", "identity"):
            self._takes_all(shape)
            return shape
        if kind in ("index", "slice"):
            return _item(shape) if kind == "index" else shape
        if kind in (*_CHAINS, *_PROJECTIONS) and children[0]["type"] == "not_expression":
            raise _wrong(self._text, self._first(r"!(?!=)"), "here '!' applies to the first name only: write !(…)")
        if kind in _CHAINS:
            for child in children:
                shape = self.check(child, shape)
            return shape
        if kind in _PROJECTIONS:
            outer = self.check(children[0], shape)
            inner = _item(outer) if kind != "value_projection" else None
            for child in children[1:]:
                self.check(child, inner)
            return None
        if kind == "flatten":
            return self.check(children[0], shape)
        if kind == "function_expression":
            self._function(node["value"], len(children))
        for child in children:
            self.check(child, None if kind == "expref" else shape)
        return None

    def _field(self, name: str, shape: _Shape) -> _Shape:
        members = _members(shape)
        if members is None:
            return None
        if shape is self._root:
            self.first.add(name)
        if name not in members:
            hint = nearest(name, members, "names")
            raise _wrong(self._text, self._position(name), f"unknown name {name}; {hint}")
        return members[name]

    def _takes_all(self, shape: _Shape) -> None:
        if shape is self._root:
            self.first.update(shape)

    def _function(self, name: str, given: int) -> None:
        functions = _library("functions").Functions.FUNCTION_TABLE
        if name not in functions:
            hint = nearest(name, functions, "functions")
            raise _wrong(self._text, self._position(name), f"unknown function {name}; {hint}")
        signature = functions[name]["signature"]
        wanted = len(signature)
        more = bool(signature) and signature[-1].get("variadic", False)
        if given < wanted or (given > wanted and not more):
            expected = f"{name} takes {'at least ' if more else ''}{wanted}, but got {given}"
            raise _wrong(self._text, self._position(name), f"wrong number of arguments; {expected}")

    def _position(self, name: str) -> int:
        return self._first(rf"(?<![\w'\"`]){re.escape(name)}(?!\w)")

    def _first(self, pattern: str) -> int:
        found = re.search(pattern, self._text)
        return found.start() if found else 0
