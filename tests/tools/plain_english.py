# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Find constructions that the style guide (docs/style.md) excludes, and fail if an area has too many of them.

    python tests/tools/plain_english.py                  check the enforced areas
    python tests/tools/plain_english.py --list PATH...   print every finding below these paths

Only files that git knows are read. The rules also match some correct sentences, so the limits are above zero.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tokenize
import typing as t
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENFORCED: tuple[tuple[str, float], ...] = (
    ("README.md", 1.0),
    ("CONTRIBUTING.md", 1.0),
    ("CHANGELOG.md", 1.0),
    ("changelogs", 1.0),
    ("docs", 1.0),
    ("extensions", 1.0),
    ("galaxy.yml", 1.0),
    ("meta", 1.0),
    ("playbooks", 1.0),
    ("plugins", 1.0),
    ("roles", 1.0),
    ("tests", 3.0),
)
"""Areas (a file or a folder) and their limits in findings for each 1,000 words."""


class Rule(t.NamedTuple):
    """A construction to avoid, and the suggestion for its replacement."""

    name: str
    pattern: re.Pattern[str]
    suggestion: str


class Finding(t.NamedTuple):
    """A match of a rule in a line of a file."""

    path: str
    line: int
    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule.name}: {self.text!r}: write {self.rule.suggestion}"


class Area(t.NamedTuple):
    """The findings in a file or folder, and the number of its words."""

    name: str
    limit: float
    words: int
    findings: list[Finding]

    @property
    def rate(self) -> float:
        """Findings for each 1,000 words."""
        return 1000 * len(self.findings) / max(1, self.words)

    @property
    def exceeds_limit(self) -> bool:
        """True if the area has more findings than permitted."""
        return self.rate > self.limit


def _rule(name: str, pattern: str, suggestion: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), suggestion)


_REASON_STARTS = (
    "a all an ansible both busy each every he here his it its lines most neither no nobody nothing old one only"
    " otherwise reports she some that the their then there these they this those we what whatever who whoever you"
)
_QUESTION_VERBS = (
    "a an are came can cannot comes could each every goes had has have is it matters may must runs stands the they"
    " was were"
)
RULES = (
    _rule("compare", r"\bh(?:e|o)ld(?:s|ing)?\b[^.]{0,80}\bagainst\b", "evaluate, compare or check"),
    _rule("be", r"\bst(?:ands?|ood|anding)\b(?! (?:alone|for)\b)", "is, is documented in, or see"),
    _rule("report", r"\bt(?:ells?|old|elling)\b", "report, return, show or print"),
    _rule("word", r"(?:'s|\b(?:its|their|own)) words?\b|\bwords? for\b", "status, reply or output"),
    _rule(
        "way",
        r"\b(?:the|its|an?|lost) way (?:to|in|that|there|and|by|the|with|is|out)\b|\bon the way\b|\bgo(?:es|ing)? by\b",
        "connection, route or method",
    ),
    _rule("again", r"\banew\b|\bonce more\b", "again"),
    _rule("compute", r"\breckon", "compute, calculate or count"),
    _rule("repair", r"\bmend", "fix or repair"),
    _rule("let", r"\blets? (?:be|go)\b|\b(?:is|are|was|were|be) let\b", "skip, keep or release"),
    _rule("person", r"\b(?:(?:no|some|any)body|who(?:so)?ever|whom(?:ever)?)\b", "the role, or the passive voice"),
    _rule("because", rf", for (?:{'|'.join(_REASON_STARTS.split())})\b", "because, or start a new sentence"),
    _rule(
        "outcome",
        r"\bwhat [a-z ]{0,30}c(?:omes?|ame) (?:to|of|about|from|out)\b|\bc(?:omes?|ame) about\b",
        "the result or the state of",
    ),
    _rule("own", r"\bone's own\b|\bof (?:my|your|his|her|its|our|their) own\b", "your own, or separate"),
    _rule("apply", r"\b(?:brings?|brought|bringing)\b|\bbears? (?:it )?out\b", "apply, install, transfer or include"),
    _rule("meant", r"\b(?:is|are|was|were|be) meant\b", "expected, intended or selected"),
    _rule("check", r"\blook(?:s|ed|ing)? (?:at|again|into|after|upon)\b", "check, read or collect"),
    _rule("position", r"\bin vain\b|\bat hand\b|\bbesides?\b", "without success, available or in addition to"),
    _rule("predict", r"\bfore(?:see|sees|seen|saw|seeing|tell|tells|told)\b", "predict or expect"),
    _rule("continue", r"\b(?:go|goes|going|gone|went) on\b", "continue"),
    _rule("location", r"\bl(?:ies|ie|ay|aid|ain|ying)\b", "is in, is below or is stored in"),
    _rule("suffice", r"\b(?:ha|has|have|had) to do\b|\bwill do\b", "is sufficient, is accepted or must"),
    _rule("negation", r"\b(?:is|was) no \w", "is not, there are no or does not"),
    _rule("what", rf"(?:^\s*|[\"'#.;:(>|] ?)what (?:{'|'.join(_QUESTION_VERBS.split())})\b", "a noun, not a question"),
    _rule("amount", r"\bso (?:many|much|long|far as)\b", "this number, this time or at most"),
    _rule(
        "docstring",
        r'^[rbfu]{0,2}"""(?:what|whether|which|who|whose|how|where|when)\b',
        "a verb or a noun phrase at the beginning",
    ),
)

_COMMENT_MARKS = {".sh": "#", ".js": "//"}
_COMPLETE = {".md", ".yml", ".yaml"}
_FSTRING_PART = getattr(tokenize, "FSTRING_MIDDLE", None)


def python_prose(text: str) -> Iterator[tuple[int, str]]:
    """Return line numbers and lines of the comments and strings in Python source, up to the first syntax error."""
    wanted = {tokenize.COMMENT, tokenize.STRING, _FSTRING_PART}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in wanted:
                yield from enumerate(token.string.splitlines(), start=token.start[0])
    except (tokenize.TokenError, SyntaxError):
        return


def prose(suffix: str, text: str) -> Iterator[tuple[int, str]]:
    """Return line numbers and lines that people read in a file with this suffix.

    A line of a script counts as a whole if it has a comment. A file without a suffix counts if it is a shell script.
    """
    if suffix == ".py":
        yield from python_prose(text)
        return
    mark = "#" if not suffix and text.startswith("#!/bin/sh") else _COMMENT_MARKS.get(suffix)
    for number, line in enumerate(text.splitlines(), start=1):
        if suffix in _COMPLETE or (mark and mark in line):
            yield number, line


def find(path: str, lines: Iterable[tuple[int, str]]) -> Iterator[Finding]:
    """Return every match of a rule in these lines of a file."""
    for number, line in lines:
        for rule in RULES:
            for match in rule.pattern.finditer(line):
                yield Finding(path, number, rule, match[0].strip())


def count_words(lines: Iterable[tuple[int, str]]) -> int:
    """Count the words of at least two letters."""
    return sum(len(re.findall(r"[A-Za-z]{2,}", line)) for _number, line in lines)


def known_files(root: Path, name: str) -> list[str]:
    """Return the files at or below a path that git knows, relative to the root of the repository."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--", name]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    return [path for path in listed if path and (root / path).is_file()]


def examine(root: Path, name: str, limit: float) -> Area:
    """Read all files of an area."""
    words = 0
    findings: list[Finding] = []
    for path in known_files(root, name):
        source = root / path
        lines = list(prose(source.suffix, source.read_text(encoding="utf-8", errors="replace")))
        words += count_words(lines)
        findings += find(path, lines)
    return Area(name, limit, words, findings)


def main(arguments: list[str] | None = None) -> int:
    """Print the findings of areas above their limit, and the rate of every area. Return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print all findings, also those within the limits")
    parser.add_argument("--limit", type=float, default=1.0, help="limit for PATH, in findings for each 1,000 words")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders instead of the enforced areas")
    options = parser.parse_args(arguments)
    wanted = [(path, options.limit) for path in options.paths] or ENFORCED
    areas = [examine(ROOT, name, limit) for name, limit in wanted]
    for area in areas:
        if options.list or area.exceeds_limit:
            print(*area.findings, sep="\n")
    for area in areas:
        result = "above the limit of" if area.exceeds_limit else "limit"
        print(f"{area.name}: {len(area.findings)} findings, {area.rate:.1f} for 1,000 words ({result} {area.limit})")
    return int(any(area.exceeds_limit for area in areas))


if __name__ == "__main__":
    sys.exit(main())
