# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The regular expression by which a notice names kernel modules, matched in time that no pattern can make grow.

Python's `re` tries one way after the other, so a pattern such as ``(a+)+b`` from a notice that somebody has tampered
with would keep it busy for years. Here all ways are followed at once (the positions automaton of Glushkov, 1961). The
patterns need little: letters, classes, groups, alternatives and repetition. Anything else is refused.
"""

from __future__ import annotations

import dataclasses
import functools

_PATTERN_LIMIT = 256
_DEPTH_LIMIT = 16
_ALPHABET = frozenset(map(chr, range(0x20, 0x7F)))
_DIGITS = frozenset("0123456789")
_WORD = _DIGITS | frozenset("_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CLASSES = {"d": _DIGITS, "w": _WORD, "D": _ALPHABET - _DIGITS, "W": _ALPHABET - _WORD}


class PatternError(ValueError):
    """The pattern cannot be used. The message says why and where."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pattern: whether it matches nothing, and at which positions a match of it begins and ends."""

    empty: bool
    first: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()


_NOTHING = _Part(empty=True)


class NamePattern:
    """A pattern that a whole name must match. Names are printable ASCII; others match nothing."""

    def __init__(self, pattern: str) -> None:
        """Raises `PatternError`."""
        if len(pattern) > _PATTERN_LIMIT or not _ALPHABET.issuperset(pattern):
            raise PatternError(f"the pattern {pattern[:40]!r}… is longer than {_PATTERN_LIMIT} signs or not printable")
        reader = _Reader(pattern.removeprefix("^").removesuffix("$") if _anchored(pattern) else pattern)
        self._whole = reader.read()
        self._symbols = reader.symbols
        self._follow = [frozenset(positions) for positions in reader.follow]

    def matches(self, name: str) -> bool:
        """Whether the pattern describes the name from its first to its last sign."""
        if not name:
            return self._whole.empty
        reached: frozenset[int] = frozenset()
        candidates = self._whole.first
        for sign in name:
            reached = frozenset(position for position in candidates if sign in self._symbols[position])
            if not reached:
                return False
            candidates = frozenset().union(*(self._follow[position] for position in reached))
        return bool(reached & self._whole.last)


@functools.lru_cache(maxsize=4096)
def name_pattern(pattern: str) -> NamePattern:
    """The same, made once: notices repeat their patterns. Raises `PatternError`."""
    return NamePattern(pattern)


def _anchored(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith("\\$") and "|" not in pattern


class _Reader:
    """Reads a pattern by recursive descent; collects its positions, and which of them may follow which."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0
        self.symbols: list[frozenset[str]] = []
        self.follow: list[set[int]] = []

    def read(self) -> _Part:
        part = self._alternatives()
        if self._at < len(self._pattern):
            raise self._error("a parenthesis closes nothing")
        return part

    def _alternatives(self) -> _Part:
        part = self._sequence()
        while self._take("|"):
            other = self._sequence()
            part = _Part(part.empty or other.empty, part.first | other.first, part.last | other.last)
        return part

    def _sequence(self) -> _Part:
        part = _NOTHING
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            following = self._repeated()
            self._join(part, following)
            part = _Part(
                part.empty and following.empty,
                part.first | following.first if part.empty else part.first,
                part.last | following.last if following.empty else following.last,
            )
        return part

    def _repeated(self) -> _Part:
        part = self._single()
        for sign in "*+?":
            if self._take(sign):
                if sign != "?":
                    self._join(part, part)
                # Lazy or not, the names that match as a whole are the same.
                self._take("?")
                return _Part(part.empty or sign != "+", part.first, part.last)
        return part

    def _single(self) -> _Part:
        sign = self._next("an expression")
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._position(self._class())
        if sign == "\\":
            return self._position(self._escaped())
        if sign == ".":
            return self._position(_ALPHABET)
        if sign in "*+?{}^$])":
            raise self._error(f"{sign!r} is not understood here")
        return self._position(frozenset(sign))

    def _group(self) -> _Part:
        if self._take("?") and not self._take(":"):
            raise self._error("only groups of the kinds (…) and (?:…) are understood")
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise self._error(f"groups lie deeper than {_DEPTH_LIMIT} in each other")
        part = self._alternatives()
        if not self._take(")"):
            raise self._error("a group is not closed")
        self._depth -= 1
        return part

    def _class(self) -> frozenset[str]:
        negated = self._take("^")
        signs: frozenset[str] = frozenset()
        # As in Python, a bracket that stands first is a sign like any other.
        while True:
            one = self._class_member()
            if self._pattern.startswith("-", self._at) and not self._pattern.startswith("-]", self._at):
                self._at += 1
                one = self._range(one, self._class_member())
            signs |= one
            if self._take("]"):
                return _ALPHABET - signs if negated else signs

    def _class_member(self) -> frozenset[str]:
        sign = self._next("the end of a class")
        return self._escaped() if sign == "\\" else frozenset(sign)

    def _range(self, low: frozenset[str], high: frozenset[str]) -> frozenset[str]:
        if len(low) != 1 or len(high) != 1 or min(low) > min(high):
            raise self._error("a range in a class has no two ends in their order")
        return frozenset(map(chr, range(ord(min(low)), ord(min(high)) + 1)))

    def _escaped(self) -> frozenset[str]:
        sign = self._next("what is escaped")
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _WORD:
            raise self._error(f"'\\{sign}' is not understood")
        return frozenset(sign)

    def _position(self, signs: frozenset[str]) -> _Part:
        at = frozenset({len(self.symbols)})
        self.symbols.append(signs)
        self.follow.append(set())
        return _Part(False, at, at)

    def _join(self, part: _Part, following: _Part) -> None:
        for position in part.last:
            self.follow[position] |= following.first

    def _take(self, sign: str) -> bool:
        taken = self._pattern.startswith(sign, self._at)
        self._at += taken
        return taken

    def _next(self, what: str) -> str:
        if self._at == len(self._pattern):
            raise self._error(f"{what} is missing")
        self._at += 1
        return self._pattern[self._at - 1]

    def _error(self, reason: str) -> PatternError:
        return PatternError(f"the pattern {self._pattern!r} cannot be used, at sign {self._at}: {reason}")
