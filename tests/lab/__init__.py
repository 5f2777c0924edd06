# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab: a fleet of described Ubuntu hosts, each in its own sandbox, and the server double that they use."""

from __future__ import annotations

from .fleet import Fleet, LabError, down, running_fleet, up
from .hosts.description import Description, DescriptionError, Expectation, load_descriptions

__all__ = [
    "Description",
    "DescriptionError",
    "Expectation",
    "Fleet",
    "LabError",
    "down",
    "load_descriptions",
    "running_fleet",
    "up",
]
