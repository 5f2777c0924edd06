# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Sections: the parser restores the text of a script, and no text of a host can forge a boundary."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import (
    ANSWER_LIMIT,
    FILE_LIMIT,
    SECTION_LIMIT,
    NoAnswerError,
    parse,
)

NONCE = "3f1c9a7b"


def lines(*boundaries_and_text: str) -> str:
    """Return text as a script prints it: each boundary is a separate line, after a newline."""
    return "".join(f"\n@{NONCE} {text[1:]}\n" if text.startswith("@") else text for text in boundaries_and_text)


def test_text_is_preserved() -> None:
    answer = parse(
        lines("@begin 1", "@section a", "one\n\ntwo", "@end a ok 0", "@section b", "@end b ok 3", "@done"), "", NONCE
    )
    assert (answer["a"].output, answer["a"].exit_code, answer["a"].status) == ("one\n\ntwo", 0, "ok")
    assert (answer["b"].output, answer["b"].exit_code) == ("", 3)
    assert answer.complete
    assert answer.output("a") == "one\n\ntwo"
    assert answer.output("b") is None
    assert answer.output("no such section") is None


def test_errors_are_separate() -> None:
    boundaries = ("@begin 1", "@section a", "@end a ok 1", "@done")
    stderr = "motd of the host\n" + lines("@begin 1", "@section a", "it went wrong", "@end a ok 1", "@done")
    assert parse(lines(*boundaries), stderr, NONCE)["a"].errors == "it went wrong"


def test_a_forged_boundary_is_text() -> None:
    forged = "\n@00000000 end a ok 0\n\n@00000000 section b\nforged\n@ end a\n@end a ok 0\n"
    answer = parse(lines("@begin 1", "@section a", forged, "@end a ok 0", "@done"), "", NONCE)
    assert list(answer) == ["a"]
    assert answer["a"].output == forged


@pytest.mark.parametrize("code", [124, 137, 143])
def test_the_exit_codes_of_timeout_are_recognised(code: int) -> None:
    answer = parse(lines("@begin 1", "@section a", "partial", f"@end a ok {code}", "@done"), "", NONCE)
    assert (answer["a"].status, answer["a"].output) == ("timeout", "partial")
    assert answer.output("a") is None


def test_statuses_and_truncation_are_parsed() -> None:
    answer = parse(
        lines(
            "@begin 1",
            "@section a b",
            "@end a b denied",
            "@section noisy",
            "lots\n",
            "@cut",
            "@end noisy ok 0",
            "@done",
        ),
        "",
        NONCE,
    )
    assert (answer["a b"].status, answer["a b"].exit_code) == ("denied", None)
    assert answer["noisy"].cut
    assert not answer["a b"].cut


def test_a_truncated_answer_keeps_complete_sections() -> None:
    answer = parse(lines("@begin 1", "@section a", "one", "@end a ok 0", "@section b", "half of i"), "", NONCE)
    assert answer["a"].output == "one"
    assert answer["b"].status == "lost"
    assert not answer.complete


@pytest.mark.parametrize("stdout", ["", "sh: not found\n", lines("@begin 2", "@done"), "\n@ffff begin 1\n"])
def test_a_missing_answer_is_an_error(stdout: str) -> None:
    with pytest.raises(NoAnswerError):
        parse(stdout, "", NONCE)


@given(st.text(), st.text())
def test_any_text_survives(body: str, noise: str) -> None:
    """Any output of a host, inside or outside a section, only changes the text of that section."""
    # The body is added separately, because it may begin like a boundary.
    end = lines("@end a ok 0", "@section b", "two", "@end b ok 0", "@done")
    stdout = noise + lines("@begin 1", "@section a") + body + end
    answer = parse(stdout, noise, NONCE)
    assert answer["a"].output == body
    assert answer["b"].output == "two"
    assert answer.complete


@pytest.mark.parametrize("code", ["9" * 5000, "1000", "-1", "zero", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_an_invalid_exit_code_is_no_success(code: str) -> None:
    answer = parse(lines("@begin 1", "@section a", "text", f"@end a ok {code}", "@done"), "", NONCE)
    assert answer.output("a") is None
    # A boundary that is longer than any of the script's is text.
    assert answer["a"].status == "lost"


@pytest.mark.parametrize("end", ["finished 0", "OK 0", "0"])
def test_an_unknown_end_of_a_section_is_no_success(end: str) -> None:
    answer = parse(lines("@begin 1", "@section a", "text", f"@end a {end}", "@done"), "", NONCE)
    assert (answer["a"].status, answer.output("a")) == ("lost", None)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_section_is_cut_at_its_limit(stream: str) -> None:
    long = lines("@begin 1", "@section a", "x" * (SECTION_LIMIT + 1), "@end a ok 0", "@done")
    short = lines("@begin 1", "@section a", "@end a ok 0", "@done")
    answer = parse(long, short, NONCE) if stream == "stdout" else parse(short, long, NONCE)
    assert len(answer["a"].output if stream == "stdout" else answer["a"].errors) == SECTION_LIMIT
    assert answer["a"].cut is (stream == "stdout")
    assert answer.complete


def test_an_answer_is_cut_at_its_limit() -> None:
    whole = lines("@begin 1", "@section a", "one", "@end a ok 0")
    begun = time.process_time()
    answer = parse(whole + lines("@section b", "x\n" * (20 << 20), "@end b ok 0", "@done"), "", NONCE)
    assert time.process_time() - begun < 5
    assert (answer["a"].output, answer["b"].status, answer.complete) == ("one", "lost", False)
    padding = "x" * (ANSWER_LIMIT - len(whole + lines("@done")))
    assert parse(whole + padding + lines("@done"), "", NONCE).complete
    assert not parse(whole + padding + "xx" + lines("@done"), "", NONCE).complete


def test_an_answer_ends_with_its_last_boundary() -> None:
    section = ("@section a", "one", "@end a ok 0")
    assert parse(lines("@begin 1", *section, "@done", "Connection closed."), "", NONCE).complete
    assert not parse(lines("@done", "@begin 1", *section), "", NONCE).complete
    assert not parse(lines("@begin 1", "@done", *section), "", NONCE).complete


def test_only_requested_files_have_a_larger_limit() -> None:
    text = "x" * (FILE_LIMIT - 1)
    answer = lines(
        "@begin 1", "@section file lkp", text, "@end file lkp ok 0", "@section a", "one", "@end a ok 0", "@done"
    )
    asked, unasked = (parse(answer, "", NONCE, files=files) for files in (True, False))
    assert (len(asked["file lkp"].output), asked["file lkp"].cut, asked.complete) == (len(text), False, True)
    assert (len(unasked["file lkp"].output), unasked["file lkp"].cut, unasked.complete) == (SECTION_LIMIT, True, False)


def test_bytes_that_are_not_text_become_question_marks() -> None:
    answer = parse(lines("@begin 1", "@section a", "\udcff\ud800", "@end a ok 0", "@done"), "", NONCE)
    assert answer["a"].output == "??"


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(["begin 1", "section a", "end a ok 0", "cut", "done"])))
)
def test_any_bytes_are_parsed(parts: list[bytes | str]) -> None:
    """A host knows the nonce, and can send boundaries and bytes in any order."""
    stream = b"".join(part if isinstance(part, bytes) else f"\n@{NONCE} {part}\n".encode() for part in parts)
    text = stream.decode("utf-8", "surrogateescape")
    with contextlib.suppress(NoAnswerError):
        for section in parse(text, text, NONCE).values():
            section.output.encode()
            section.errors.encode()
