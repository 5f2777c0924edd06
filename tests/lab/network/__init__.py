# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A network of the lab: hosts with a real OpenSSH server each, behind a link with latency and loss."""

from __future__ import annotations

from .ssh_hosts import Link, Network, SshHost, UnavailableError, running_network

__all__ = ["Link", "Network", "SshHost", "UnavailableError", "running_network"]
