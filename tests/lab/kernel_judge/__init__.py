# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A real Linux kernel in an emulator that loads modules and reports its judgement. See `judge.judge`."""

from __future__ import annotations
