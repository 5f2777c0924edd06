# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fixtures of the tests of stores."""

from __future__ import annotations

# Fixtures are found by their names in this module.
from tests.samples.stores import database, place, roles, server, spool_folder

__all__ = ["database", "place", "roles", "server", "spool_folder"]
