# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine, with the base of the client's snap installed, and an inventory with which Ansible logs in."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..runtimes.machine import Machine, running_root, write_inventory
from .image import built_root

NAME = "snapd"
"""The name of the machine in its inventory."""
CLIENT = "/srv/snaps/canonical-livepatch_10.8.3_amd64.snap"
"""The client's snap on the machine. No assertion of the store exists for it."""
TOKEN = "made-up-token"
"""The token that the daemon of the client double accepts."""
_PREPARE = """\
mkdir -p /run/sshd
snap wait system seed.loaded
snap install --dangerous /srv/snaps/core22_1_amd64.snap
snap install --dangerous /srv/snaps/snapd_*.snap
"""


@contextlib.contextmanager
def running_machine() -> Iterator[tuple[Machine, Path]]:
    """Start the machine, and return it with its inventory. Stop it at the end. Raises `UnavailableError`."""
    built = built_root()
    with running_root(built / "root.tar", NAME, ("multi-user.target", "snapd.socket")) as machine:
        machine.read(_PREPARE, timeout=600)
        # The path of a socket must be short.
        with tempfile.TemporaryDirectory(prefix="snapd-") as folder:
            proxy = machine.command_line("/usr/sbin/sshd -i")
            yield machine, write_inventory(NAME, proxy, built / "login_key", Path(folder))
