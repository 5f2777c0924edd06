# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""JMESPath expressions over data whose shape is known, so that a mistake in one is found before it is used.

In JMESPath a name that does not exist gives ``null``, and an expression with a slip of the pen would be quietly false
for ever. The types of the data tell which names there are.
"""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from .._config_file import nearest

try:
    import jmespath.exceptions
    import jmespath.functions
    import jmespath.parser
    import jmespath.visitor
except ImportError as error:
    # What needs no expression must work without.
    MISSING: ImportError | None = error
else:
    MISSING = None

_WIDEST_MISTAKE = 60  # characters
_WIDEST_REASON = 200

# A TypedDict, a list of one, a scalar; a mapping of names to such; or None where anything may be.
_Shape: t.TypeAlias = "t.Any"
# The parser's tree is public: mappings with ``type``, ``value`` and ``children``.
_Tree: t.TypeAlias = "t.Any"
_CHAINS = ("subexpression", "index_expression", "pipe")
_PROJECTIONS = ("projection", "filter_projection", "value_projection")


class ExpressionError(ValueError):
    """An expression that is wrong. The message has the expression and the place in it."""


class Expression:
    """An expression, ready to be asked of many documents. Raises `ExpressionError`.

    `names` has the shape of each name that a document holds: a TypedDict, a list of one, or a scalar.
    `first_names` are those of them that the expression reads.
    """

    def __init__(self, text: str, names: c.Mapping[str, t.Any]) -> None:
        self._tree = _parse(text)
        # The library's own entry makes an interpreter a call, which costs more than most expressions.
        self._interpreter = jmespath.visitor.TreeInterpreter()
        check = _Names(text, names)
        check.check(self._tree, names)
        self.first_names = frozenset(check.first)

    def answer(self, document: object) -> tuple[object, str | None]:
        """What the expression gives, or why it gives nothing: the data is not what a function of it takes."""
        try:
            return self._interpreter.visit(self._tree, document), None
        except (jmespath.exceptions.JMESPathError, ArithmeticError, TypeError, RecursionError) as error:
            return None, f"{error!s:.{_WIDEST_REASON}}"


def is_true(value: object) -> bool:
    """What JMESPath takes for true: zero is, and what is empty is not."""
    return not (value is None or value is False or value in ("", [], {}))


def _parse(text: str) -> _Tree:
    try:
        return jmespath.parser.Parser().parse(text).parsed
    except jmespath.exceptions.IncompleteExpressionError as error:
        raise _wrong(text, len(text), "the expression ends too early") from error
    except jmespath.exceptions.LexerError as error:
        raise _wrong(text, error.lexer_position, error.message) from error
    except jmespath.exceptions.ParseError as error:
        raise _wrong(text, error.lex_position, f"{error.token_value!r} cannot stand here") from error
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        raise _wrong(text, 0, str(error)) from error


def _wrong(text: str, position: int, what: str) -> ExpressionError:
    """Name the expression and the place in it: the character, counted from 1, and what stands there."""
    rest = text[position : position + _WIDEST_MISTAKE]
    where = f"at character {position + 1}, before {rest!r}" if rest else f"at its end, character {position + 1}"
    return ExpressionError(f"the expression {text!r} is wrong {where}: {what}")


def _members(shape: _Shape) -> c.Mapping[str, t.Any] | None:
    if isinstance(shape, c.Mapping):
        return shape
    return t.get_type_hints(shape) if t.is_typeddict(shape) else None


def _item(shape: _Shape) -> _Shape:
    origin: object = t.get_origin(shape)
    return t.get_args(shape)[0] if origin is list else None


class _Names:
    """Holds the names in an expression against the data that it will see, and gathers the first of each path."""

    def __init__(self, text: str, root: c.Mapping[str, t.Any]) -> None:
        self._text = text
        self._root = root
        self.first: set[str] = set()

    def check(self, node: _Tree, shape: _Shape) -> _Shape:
        """Check a part of the tree that sees data of this shape, and return the shape of what it gives."""
        kind, children = node["type"], node["children"]
        if kind == "field":
            return self._field(node["value"], shape)
        if kind in ("current", "identity"):
            self._takes_all(shape)
            return shape
        if kind in ("index", "slice"):
            return _item(shape) if kind == "index" else shape
        if kind in (*_CHAINS, *_PROJECTIONS) and children[0]["type"] == "not_expression":
            raise _wrong(
                self._text, self._first(r"!(?!=)"), "here '!' takes the first name alone: write !(…) around all"
            )
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
            raise _wrong(self._text, self._position(name), f"there is no {name}; {nearest(name, members, 'names')}")
        return members[name]

    def _takes_all(self, shape: _Shape) -> None:
        if shape is self._root:
            self.first.update(shape)

    def _function(self, name: str, given: int) -> None:
        functions = jmespath.functions.Functions.FUNCTION_TABLE
        if name not in functions:
            hint = nearest(name, functions, "functions")
            raise _wrong(self._text, self._position(name), f"there is no function {name}; {hint}")
        signature = functions[name]["signature"]
        wanted = len(signature)
        more = bool(signature) and signature[-1].get("variadic", False)
        if given < wanted or (given > wanted and not more):
            wants = f"{name} takes {'at least ' if more else ''}{wanted}, and {given} are given"
            raise _wrong(self._text, self._position(name), f"wrong number of arguments; {wants}")

    def _position(self, name: str) -> int:
        return self._first(rf"(?<![\w'\"`]){re.escape(name)}(?!\w)")

    def _first(self, pattern: str) -> int:
        found = re.search(pattern, self._text)
        return found.start() if found else 0
