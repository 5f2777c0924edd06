# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine, with the base of the client's snap installed, and an inventory with which Ansible logs in."""

from __future__ import annotations

import contextlib
import json
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ..runtimes.machine import Machine, running_root
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
            inventory = Path(folder) / "inventory.json"
            hosts = {NAME: _variables(machine, built / "login_key", folder)}
            inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
            yield machine, inventory


def _variables(machine: Machine, key: Path, folder: str) -> dict[str, t.Any]:
    """Return variables for ssh through the namespaces of the machine, which has no network but loopback."""
    known = f"-o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known_hosts"
    return {
        "ansible_host": "127.0.0.1",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_args": f"-o ControlMaster=auto -o ControlPersist=600 -o ControlPath={folder}/%r",
        "ansible_ssh_common_args": f"-F none {known} -o ProxyCommand='{machine.command_line('/usr/sbin/sshd -i')}'",
        "ansible_ssh_timeout": 60,
        "ansible_python_interpreter": "/nonexistent/python",
    }
