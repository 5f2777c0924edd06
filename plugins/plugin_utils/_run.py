# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The run of Ansible that loads this collection: who runs it, since when, and on which hosts."""

from __future__ import annotations

import datetime
import getpass
import os
import secrets
import socket

from ansible import context

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.runs import Run


def _operator() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container can run as a user without a name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


OPERATOR = _operator()

# Made when the first plugin is loaded: once in each run, before Ansible forks a process for each host.
RUN = Run(
    id=secrets.token_hex(8),
    started_at=datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
    by=OPERATOR,
    limit=context.CLIARGS.get("subset") or None,
)
