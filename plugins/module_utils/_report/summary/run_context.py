# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a report says about itself: its title, and the run that made it."""

from __future__ import annotations

import typing as t

TITLE = "Livepatch report"


class RunContext(t.NamedTuple):
    """The title of a report and the run that made it; `inventory` and `playbook` are empty if they are not known.

    `limit` is the pattern to which the run is limited, None for a report of the fleet.
    """

    title: str = TITLE
    inventory: str = ""
    playbook: str = ""
    limit: str | None = None
