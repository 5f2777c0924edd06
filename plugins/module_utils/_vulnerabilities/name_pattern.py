# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The regular expression by which a notice names kernel modules, admitted only in a form that is matched quickly.

Python's `re` backtracks, so a hostile pattern such as ``(a+)+b`` would take years. Real patterns are simple:
``lkp_Ubuntu_4_4_0[_|\\d]+_(?:generic|lowlatency)_(\\d+)``. So groups must not be nested or repeated, the alternatives
in a group must be plain words, and few parts may match in several ways. On a name of 64 characters the worst admitted
pattern takes milliseconds.
"""

from __future__ import annotations

import functools
import re

from .._kernel_name import MODULE_NAME_LIMIT

_PATTERN_LIMIT = 256
_CHOICE_LIMIT = 4
"""Parts of a pattern that can match in several ways: repetitions and groups of alternatives."""

_ESCAPE = r"\\[dDwW.+*?()\[\]{}|^$\\-]"
_CLASS = rf"\[\^?(?:[0-9A-Za-z_.+ ]|\|(?!\|)|-(?!-)|{_ESCAPE})+\]"
_LITERAL = rf"(?:[0-9A-Za-z_ ~-]|{_ESCAPE})"
_REPEATED = rf"(?:{_LITERAL}|\.|{_CLASS})(?:[*+?]\??)?"
_GROUP = rf"\((?:\?:)?(?:(?:{_REPEATED})+|{_LITERAL}+(?:\|{_LITERAL}+)+)\)"
_ADMITTED = re.compile(rf"\^?(?:{_REPEATED}|{_GROUP})+\$?")
_NO_CHOICE = re.compile(rf"{_CLASS}|{_ESCAPE}|\?:")
_CHOICE = re.compile(r"[*+?]\??|\([^()|]*\|")


class PatternError(ValueError):
    """The pattern cannot be used. The message says why."""


def name_matches(pattern: str, name: str) -> bool:
    """Return True if the pattern describes the name from its first to its last character. Raises `PatternError`."""
    return len(name) <= MODULE_NAME_LIMIT and compile_pattern(pattern).fullmatch(name) is not None


@functools.lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern once: notices repeat them. Raises `PatternError` for one that is not admitted."""
    if len(pattern) > _PATTERN_LIMIT or not _ADMITTED.fullmatch(pattern):
        raise PatternError(f"the pattern {pattern[:80]!a} for names of modules has a form that is not supported")
    if len(_CHOICE.findall(_NO_CHOICE.sub("", pattern))) > _CHOICE_LIMIT:
        raise PatternError(f"the pattern {pattern[:80]!a} for names of modules repeats more than {_CHOICE_LIMIT} parts")
    try:
        return re.compile(pattern, re.ASCII)
    except re.error as error:
        raise PatternError(f"the pattern {pattern[:80]!a} for names of modules is not valid: {error}") from error
