# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of error texts: who prints them, the id of their cause, and an example of each with its source.

The same words have different causes if different programs print them. A certificate that the client refuses is that of
the livepatch server, and one that snapd refuses is that of the snap store. So the text decides first who can have
printed it (`speakers`), and then the first row of the table that one of them can print counts. Patterns are families
where the wording varies between versions: status codes of HTTP, network errors of Go, errors of certificates.

Texts are on one line, without tokens (`client_status.plain_text`). `_decisions/causes.py` has message and remedy
of each id. Each speaker has a file of rows.
"""

from __future__ import annotations

import re

from . import apt, client, daemon, pro, snapd, store
from .row import ErrorText
from .speakers import speakers

ERROR_TEXTS = (
    *snapd.STATE_ROWS,
    *daemon.ROWS,
    *snapd.SNAP_ROWS,
    *store.ROWS,
    *apt.ROWS,
    *pro.ROWS,
    *client.ROWS,
)
"""All rows, in the order in which they are compared with a text."""

TEMPORARY = frozenset(
    {
        "apt_locked",
        "contract_server_error",
        "daemon_shutting_down",
        "not_seeded",
        "pro_already_attached",
        "pro_busy",
        "server_error",
        "snap_busy",
        "snapd_restarting",
        "store_error",
    }
)
"""Causes that end without a change by an operator, so that the command can be repeated."""


def find_error(tool: str, text: str, *, status: bool = False) -> tuple[ErrorText, re.Match[str]] | None:
    """Return the first row that a text matches, and the match. With `status`, only rows with `is_status` count."""
    possible = speakers(tool, text)
    for row in ERROR_TEXTS:
        if row.speakers & possible and (row.is_status or not status):
            found = row.pattern.search(text)
            if found and not (row.unless and row.unless.search(text)):
                return row, found
    return None
