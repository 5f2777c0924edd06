# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A virtual machine with a real kernel and real live patches. See `virtual_machine.running_machine`."""

from __future__ import annotations
