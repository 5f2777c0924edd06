# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fixtures of the tests of components: the hosts of the integration tests."""

from __future__ import annotations

# Fixtures are found by their names in this module.
from tests.integration.conftest import ansible, fleet, lab_processes

__all__ = ["ansible", "fleet", "lab_processes"]
