# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A machine with systemd and the real snapd. See `machine.running_machine`."""

from __future__ import annotations
