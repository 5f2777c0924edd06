# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The title of a report, and the run that made it."""

from __future__ import annotations

import typing as t

from ..._text import visible

TITLE = "Livepatch report"


class RunContext(t.NamedTuple):
    """The title of a report and the run that made it; `inventory` and `playbook` are empty if they are not known.

    `limit` is the pattern to which the run is limited, None for a report of the fleet.
    """

    title: str = TITLE
    inventory: str = ""
    playbook: str = ""
    limit: str | None = None

    def heading(self, generated_at: str) -> str:
        """Return the first line of a text: the title and the time of the report."""
        title = visible(self.title)
        return f"{title} of {generated_at}" if self.title == TITLE else f"{title}, {generated_at}"
