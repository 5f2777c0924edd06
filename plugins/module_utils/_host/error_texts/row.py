# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A row of the table: a text with its cause, who prints it, and where it was published."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

FORUM = "ubuntuforums.org"
PRO = "canonical/ubuntu-pro-client, uaclient/messages"
"""Sources of many examples."""

Speaker = t.Literal["client", "livepatch_server", "snap_run", "snapd", "store", "pro", "contract_server", "apt", "file"]
"""``snap_run`` is snapd where it prints an error instead of the client that it should start."""


class Example(t.NamedTuple):
    """A text that `tool` printed, with shortened addresses and without tokens, and where it was published."""

    tool: str
    text: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorText:
    """A row: texts of some speakers with the same cause `id`.

    A text that matches `unless` too is another one. `is_status` is True if the client, or ``snap run`` instead of it,
    prints the text in place of a status.
    """

    id: str
    speakers: frozenset[str]
    pattern: re.Pattern[str]
    examples: tuple[Example, ...]
    is_status: bool = False
    unless: re.Pattern[str] | None = None


def row(
    identifier: str,
    speaking: str,
    alternatives: c.Sequence[str],
    *examples: tuple[str, str, str],
    is_status: bool = False,
    unless: c.Sequence[str] = (),
) -> ErrorText:
    """Build a row. `speaking` lists the speakers; `alternatives` are joined, and compared without case."""
    return ErrorText(
        identifier,
        frozenset(speaking.split()),
        re.compile("|".join(alternatives), re.IGNORECASE),
        tuple(Example(*example) for example in examples),
        is_status,
        re.compile("|".join(unless), re.IGNORECASE) if unless else None,
    )
