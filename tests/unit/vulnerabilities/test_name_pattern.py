# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the patterns by which notices name modules."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.name_pattern import (
    PatternError,
    compile_pattern,
    name_matches,
)
from tests.samples.notices import GENERIC

LONGEST = "a" * 64


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (
            GENERIC,
            ["lkp_Ubuntu_4_4_0_168_197_generic_65", "lkp_Ubuntu_4_4_0_1_lowlatency_1"],
            ["lkp_Ubuntu_4_4_0_1_aws_1", "xlkp_Ubuntu_4_4_0_1_generic_1", "lkp_Ubuntu_4_4_0_1_generic_1x"],
        ),
        (r"lkp_Ubuntu_5_15_0[_|\d]+_linux_(\d+)", ["lkp_Ubuntu_5_15_0_107_117_linux_107"], []),
        ("^a$", ["a"], ["^a$", "aa", "a\n"]),
        ("a*b+c?", ["b", "aabbc"], ["ac"]),
        ("a+?b", ["ab", "aab"], ["b"]),
        ("[a-c-]+", ["ab-c"], ["d"]),
        ("[^a]", ["b"], ["a"]),
        (r"\.\d\D\w\W.", [".1aa-."], ["x1aa-.", ".٣aa-."]),
        ("(?:ab|b)c", ["abc", "bc"], ["c", "ab"]),
        ("(a+)b", ["aab"], ["b"]),
        ("a+", ["a" * 64], ["a" * 65]),
    ],
)
def test_a_pattern_describes_whole_names(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [name for name in [*yes, *no] if name_matches(pattern, name)] == yes


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "(",
        ")",
        "(a",
        "a)",
        "()",
        "*",
        "a**",
        "a++",
        "a{2}",
        "[",
        "[a",
        "[]",
        "[]a]",
        "[[a]]",
        "[a--b]",
        "[a||b]",
        "[a&&b]",
        "[z-a]",
        r"[\d-z]",
        r"\1",
        r"\b",
        r"\Aa",
        r"\N{DIGIT ONE}",
        "(?=a)",
        "(?!a)",
        "(?<a>a)",
        "(?P<a>a)",
        "(?i)a",
        "(?i:a)",
        "a\n",
        "ä",
        "a^b",
        "$a",
        "\\",
        # Matched quickly or not, these are not needed.
        "a|b",
        "((a))",
        "(a)?",
        "(a)+",
        "(a+)+b",
        "((a*)*)*b",
        "(a|a)*b",
        "(a*|b)",
        "(a|)",
        "a*a*a*a*a*",
        "(a|a)(a|a)(a|a)(a|a)(a|a)b",
        "a" * 257,
    ],
)
def test_other_forms_are_not_supported(pattern: str) -> None:
    with pytest.raises(PatternError, match="pattern") as caught:
        name_matches(pattern, "a")
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "pattern",
    [
        "a*a*a*a*[^a]",
        "a*?a*?a*?a*?[^a]",
        ".*.*.*.*[bc]",
        f"(a*)(a*)(a*)({'|'.join('a' * count for count in range(1, 18))})[bc]",
        f"({'|'.join(['a'] * 99)})a*a*a*[bc]",
        f"({'|'.join(['a'] * 25)})({'|'.join(['a'] * 25)})a*a*[bc]",
    ],
)
def test_the_worst_patterns_take_no_time(pattern: str) -> None:
    started = time.process_time()
    assert not name_matches(pattern, LONGEST)
    assert time.process_time() - started < 0.5


_ONE = st.sampled_from(["a", "a", "aa", ".", r"\w", "[ab]", "[^b]", r"[a|\d]", "b", "_"])
_REPEATED = st.tuples(_ONE, st.sampled_from(["", "*", "+", "?", "*?", "+?", "??"])).map("".join)
_WORDS = st.lists(st.text("ab_", min_size=1, max_size=6), min_size=2, max_size=20).map("|".join)
_GROUP = st.one_of(_WORDS, st.lists(_REPEATED, min_size=1, max_size=3).map("".join)).map("({})".format)
HOSTILE = st.lists(_REPEATED | _GROUP, min_size=1, max_size=12).map("".join)


@settings(max_examples=500)
@given(HOSTILE, st.sampled_from([LONGEST, "a" * 63 + "b", "ab" * 32, "a_" * 32, "aab"]))
def test_every_admitted_pattern_is_matched_in_time(pattern: str, name: str) -> None:
    started = time.process_time()
    try:
        matches = name_matches(pattern, name)
    except PatternError:
        return
    assert time.process_time() - started < 0.5
    assert matches == bool(re.fullmatch(pattern, name))


@given(st.text("ab1|()[]^$*+?\\-.{}:d_&~", max_size=24) | st.text(max_size=24))
def test_any_text_is_compiled_or_rejected(pattern: str) -> None:
    try:
        assert compile_pattern(pattern).pattern == pattern
    except PatternError as error:
        assert str(error).isprintable()


def test_a_long_text_is_rejected_at_once() -> None:
    started = time.process_time()
    for unit in ("(", "(a", "a|", "(a|", "[a", "(\\", "a*"):
        for size in (256, 1 << 20):
            with pytest.raises(PatternError):
                name_matches((unit * size)[:size], "a")
    assert time.process_time() - started < 3
