# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A virtual machine with real container runtimes and the real snapd. See `virtual_machine.running_machine`."""

from __future__ import annotations
