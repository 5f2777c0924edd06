# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Failures of commands that install, configure, enable or refresh a client, recognised by their output.

The texts are those of `error_texts`. `_decisions/causes.py` has message and remedy for each id.
"""

from __future__ import annotations

import dataclasses

from .apt import without_waits
from .client_status import plain_text
from .error_texts.table import TEMPORARY, find_error

_TEXT_LIMIT = 300


@dataclasses.dataclass(frozen=True, slots=True)
class ClientFailure:
    """A failure: its id, and up to 300 characters of the output on one line, with tokens removed."""

    id: str
    text: str = ""

    @property
    def temporary(self) -> bool:
        """True if the command can succeed later without a change by an operator."""
        return self.id in TEMPORARY


def recognise(tool: str, output: str, *, timed_out: bool = False) -> ClientFailure:
    """Return the failure that an output describes. `tool` printed it: ``client``, ``snap``, ``apt``, ``pro``, ``file``.

    Without a known text, the id is ``timed_out`` or names the tool.
    """
    text = plain_text(without_waits(output))
    error = find_error(tool, text)
    if error is not None:
        row, found = error
        return ClientFailure(row.id, text[0 if found.end() <= _TEXT_LIMIT else found.start() :][:_TEXT_LIMIT])
    return ClientFailure("timed_out" if timed_out else f"{tool}_failed", text[:_TEXT_LIMIT])
