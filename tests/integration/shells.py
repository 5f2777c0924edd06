# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Shells that hosts have. `make test` uses the first one, and the session `shells` all others."""

from __future__ import annotations

import pytest

SHELLS = {"dash": "dash", "busybox": "busybox ash", "bash": "bash --posix", "mksh": "mksh"}

each_shell = pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=[] if name == "dash" else pytest.mark.shells) for name in SHELLS]
)
"""Run a test with every shell."""
