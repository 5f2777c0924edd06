# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Split the two output streams of one round trip into the sections that the script sent.

A boundary is a line ``@<nonce> <words>``, on standard output and on standard error. The words are
``begin 1``, ``section <name>``, ``cut``, ``end <name> <status> [<exit code>]`` or ``done``.
Everything between two boundaries is output of the host, and can be any text.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

PROTOCOL = "1"

SECTION_LIMIT = 262_144
"""Bytes that one section may contain, on each stream. The host cuts at this limit; a hostile host does not."""

FILE_LIMIT = 11_600_000
"""The limit of a section with a file in base64: 8 MiB, and some more, so that a larger file is noticed."""

ANSWER_LIMIT = 2 << 20
"""Bytes of a whole answer, on each stream. An answer with files may contain `FILE_LIMIT` in addition."""

SectionStatus = t.Literal["ok", "absent", "denied", "timeout", "lost"]

# Exit codes of timeout(1) for a command that it ended with TERM and with KILL; 143 is that of busybox for TERM.
_TIMEOUT_EXIT_CODES = frozenset({124, 137, 143})
_EXIT_CODE = re.compile(r"[0-9]{1,3}")
_LONGEST_BOUNDARY = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """The output of one command on the host.

    `status` is ``lost`` for a section without an end: the connection was lost, or the script ended early.
    `cut` is true if the output was longer than the limit.
    """

    name: str
    status: SectionStatus
    output: str = ""
    errors: str = ""
    exit_code: int | None = None
    cut: bool = False


class Sections(c.Mapping[str, Section]):
    """The sections of one answer by name. `complete` is true if the script reached its end."""

    def __init__(self, sections: c.Iterable[Section], *, complete: bool) -> None:
        self._sections = {section.name: section for section in sections}
        self.complete = complete

    def __getitem__(self, name: str) -> Section:
        return self._sections[name]

    def __iter__(self) -> c.Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)

    def output(self, name: str) -> str | None:
        """Return the output of a section without surrounding white space; None if there is none or if it failed."""
        section = self._sections.get(name)
        if section is None or section.status != "ok" or section.exit_code not in (0, None):
            return None
        return section.output.strip() or None


class NoAnswerError(ValueError):
    """The host sent no boundary: the script did not run."""


def answer_limit(*, files: bool = False) -> int:
    """Return the limit of each stream of an answer. `files` is true if the script was asked for files."""
    return ANSWER_LIMIT + FILE_LIMIT if files else ANSWER_LIMIT


def parse(stdout: str, stderr: str, nonce: str, *, files: bool = False) -> Sections:
    """Parse the answer of a host. Raises `NoAnswerError` if the script did not start on the host.

    A host can send anything, so all limits of the script are enforced here too. An answer that is too long is
    incomplete. `files` is true if the script was asked for files, whose sections have a larger limit.
    """
    limit = answer_limit(files=files)
    stdout, stderr = (_without_surrogates(stream[:limit]) for stream in (stdout, stderr))
    blocks = [(words, _bounded(words, body, files)) for words, body in _blocks(stdout, nonce)]
    if not any(words == ["begin", PROTOCOL] for words, _body in blocks):
        raise NoAnswerError("the script did not start on the host")
    errors = {
        " ".join(words[1:]): body[:SECTION_LIMIT] for words, body in _blocks(stderr, nonce) if words[:1] == ["section"]
    }
    return Sections(_assemble(blocks, errors), complete=blocks[-1][0] == ["done"])


def _without_surrogates(text: str) -> str:
    """Replace the bytes that were not UTF-8, which are surrogates here and which no encoder accepts."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _bounded(words: list[str], body: str, files: bool) -> tuple[str, bool]:
    """Return the text of a section up to its limit, and True if it was cut."""
    limit = FILE_LIMIT if files and words[:2] == ["section", "file"] else SECTION_LIMIT
    return body[:limit], len(body) > limit


def _blocks(stream: str, nonce: str) -> c.Iterator[tuple[list[str], str]]:
    """Yield the words of each boundary with the text up to the next one."""
    boundary = re.compile(rf"^@{re.escape(nonce)} (.{{0,{_LONGEST_BOUNDARY}}})$", re.MULTILINE)
    found = list(boundary.finditer(stream))
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(stream)
        # One newline ends the line of the boundary, and the script prints one before each boundary.
        yield match.group(1).split(), stream[match.end() + 1 : max(match.end() + 1, end - 1)]


def _assemble(blocks: list[tuple[list[str], tuple[str, bool]]], errors: dict[str, str]) -> c.Iterator[Section]:
    name, body, cut = None, "", False
    for words, (text, too_long) in blocks:
        match words:
            case ["section", *rest]:
                if name is not None:
                    yield Section(name, "lost", body, errors.get(name, ""), cut=cut)
                name, body, cut = " ".join(rest), text, too_long
            case ["cut"]:
                cut = True
            case ["end", *rest] if name is not None:
                yield _ended(name, rest[len(name.split()) :], body, errors.get(name, ""), cut)
                name = None
            case _:
                continue
    if name is not None:
        yield Section(name, "lost", body, errors.get(name, ""), cut=cut)


def _ended(name: str, outcome: list[str], output: str, errors: str, cut: bool) -> Section:
    status = outcome[0] if outcome else "lost"
    exit_code = int(outcome[1]) if len(outcome) > 1 and _EXIT_CODE.fullmatch(outcome[1]) else None
    if len(outcome) > 1 and exit_code is None:
        status = "lost"
    if status == "ok" and exit_code in _TIMEOUT_EXIT_CODES:
        status = "timeout"
    if status not in t.get_args(SectionStatus):
        status = "lost"
    return Section(name, t.cast(SectionStatus, status), output, errors, exit_code, cut)
