# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The process behind all hosts of a lab: their daemons, packages, containers, jobs and reboots, and its sockets."""

from __future__ import annotations
