# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Rules of the style guide: examples that each finds, examples that none finds, and the exit code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.tools import plain_english

EXCLUDED = {
    "compare": ["The facts are held against the policy.", "Hold the record against these rules."],
    "be": ["The reason stands in the changelog.", "Its list stood there."],
    "report": ["The client tells its version.", "Users are told."],
    "word": ["the client's word decides", "in its own words", "the word for it"],
    "way": ["the way to the server", "a way in", "a file goes by its name", "on the way"],
    "again": ["The client is enabled anew.", "Try it once more."],
    "compute": ["The time is reckoned from the notices."],
    "repair": ["A run that mends the host."],
    "let": ["Such a host is let be.", "let go of it"],
    "person": ["Nobody knows it.", "whoever reads it", "the key of whom"],
    "because": ["It is skipped, for it has no key.", "This fails, for nothing is known."],
    "outcome": ["what becomes of it", "A failure came about."],
    "own": ["a server of one's own", "a folder of its own"],
    "apply": ["The task brings the patch.", "as the record bears out"],
    "meant": ["the kernel that is meant"],
    "check": ["Look at the host.", "The task looks again."],
    "position": ["Three attempts were in vain.", "a certificate is at hand", "beside the record"],
    "predict": ["A check mode that foresees it.", "as foretold"],
    "continue": ["The run goes on.", "It went on."],
    "location": ["The file lies below it.", "where it lay"],
    "suffice": ["One of them will do.", "It has to do."],
    "negation": ["There is no seat.", "It is no longer used."],
    "what": ["What is read here", '"""What the host sent', "Done. What it runs"],
    "amount": ["so many hosts", "so long as it runs"],
    "docstring": ['"""Whether the host answers."""', 'r"""How a record is stored."""'],
}
ACCEPTED = [
    "The facts are evaluated against the policy.",
    "Hold the lock. Then protect it against other processes.",
    "A host is held back by a setting.",
    "The abbreviation stands for a name.",
    "The client reports the status, for example an error.",
    "a new version, for instance 2.0",
    "Settings for the client, for clients and for servers",
    "Return True if the host answers.",
    "Return what the host sent.",
    "The connection to the server failed.",
    "The layout of the file",
    "recommend, comment and amend",
]
GUIDE = plain_english.ROOT / "docs" / "style.md"


def found(line: str, suffix: str = ".md") -> list[str]:
    return [finding.rule.name for finding in plain_english.find("a", plain_english.prose(suffix, line))]


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in EXCLUDED.items() for line in lines])
def test_rule_finds_what_it_excludes(name: str, line: str) -> None:
    assert name in found(line)


@pytest.mark.parametrize("line", ACCEPTED)
def test_plain_sentences_have_no_finding(line: str) -> None:
    assert found(line) == []


def test_every_rule_has_an_example() -> None:
    assert [rule.name for rule in plain_english.RULES] == list(EXCLUDED)


def test_style_guide_lists_every_rule() -> None:
    table = re.findall(r"^\| `(\w+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert table == list(EXCLUDED)


def test_case_is_ignored() -> None:
    assert found("TOLD") == found("told") == ["report"]


@pytest.mark.parametrize(
    ("suffix", "text", "lines"),
    [
        (".py", "tells = told('x')  # tells\n", {1}),
        (".py", 'A = "tells"\nB = f"{told} tells"\n"""\ntold\n"""\n', {1, 2, 4}),
        (".py", "told = 1\n", set()),
        (".sh", "tell x\n# tell\n", {2}),
        (".js", "tell(x)\ny() // tell\n", {2}),
        (".md", "# x\ntell\n", {2}),
        (".yml", "# x\na: tell\n", {2}),
        (".json", '{"a": "tell"}', set()),
        ("", "#!/bin/sh\n# tell\ntell\n", {2}),
        ("", "tell\n", set()),
    ],
)
def test_only_text_for_people_is_read(suffix: str, text: str, lines: set[int]) -> None:
    assert {finding.line for finding in plain_english.find("a", plain_english.prose(suffix, text))} == lines


def test_a_finding_names_place_rule_and_suggestion() -> None:
    [finding] = plain_english.find("docs/a.md", [(7, "The client tells it.")])
    assert str(finding) == "docs/a.md:7: report: 'tells': write report, return, show or print"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose folder `docs` has 2 findings in 1,000 words, beside a file that git does not know."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The client tells it.\n" * 2 + "word " * 992, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "add", "docs"], check=True)
    (tmp_path / "docs" / "unknown.md").write_text("tells " * 100, encoding="utf-8")
    monkeypatch.setattr(plain_english, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("limit", "code"), [(1.9, 1), (2.0, 0)])
def test_a_limit_decides_the_exit_code(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: float, code: int
) -> None:
    monkeypatch.setattr(plain_english, "ENFORCED", (("docs", limit),))
    assert plain_english.main([]) == code
    output = capsys.readouterr().out
    assert ("docs/a.md:2: report" in output) == bool(code)
    assert "docs: 2 findings, 2.0 for 1,000 words" in output


def test_listed_paths_are_read_instead(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plain_english.main(["--list", "--limit", "3", "docs/a.md"]) == 0
    assert capsys.readouterr().out.count("docs/a.md:") == 3
