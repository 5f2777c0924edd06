# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A virtual machine whose sshd listens on a port of this machine's loopback."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import typing as t
from pathlib import Path


def make_keys(folder: Path) -> None:
    """Create ``login_key`` and ``host_key`` in a folder. In an emulated machine, this takes over a minute."""
    for name in ("login_key", "host_key"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(key, check=True, stdin=subprocess.DEVNULL)


@dataclasses.dataclass(frozen=True)
class SshMachine:
    """A running machine. `keys` is the folder of its keys, `folder` one for files of this run, with a short path."""

    name: str
    keys: Path
    folder: Path
    port: int

    @property
    def variables(self) -> dict[str, t.Any]:
        """Return inventory variables with which Ansible logs in as root."""
        sockets = f"-o ControlMaster=auto -o ControlPersist=600 -o ControlPath={self.folder}/ansible-%r"
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.keys / "login_key"),
            "ansible_ssh_args": sockets,
            "ansible_ssh_common_args": " ".join(self._options),
            "ansible_ssh_timeout": 60,
            "ansible_python_interpreter": "/nonexistent/python",
        }

    @property
    def inventory(self) -> Path:
        """Return the inventory with this machine only."""
        return self.folder / "inventory.json"

    def write_files(self) -> None:
        """Write the inventory, and the file with the key of the machine's sshd."""
        host_key = (self.keys / "host_key.pub").read_text(encoding="utf-8")
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}", encoding="utf-8")
        inventory = {"all": {"hosts": {self.name: self.variables}}}
        self.inventory.write_text(json.dumps(inventory), encoding="utf-8")

    def run(self, line: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command line as root, with the machine's `sh`."""
        return subprocess.run(
            [*self._login, "/bin/sh -c " + shlex.quote(line)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def read(self, line: str, timeout: float = 300) -> str:
        """Run a command line that must succeed, and return its output without the last newline."""
        ended = self.run(line, timeout)
        if ended.returncode != 0:
            raise RuntimeError(f"{line!r} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
        return ended.stdout.rstrip("\n")

    def write(self, path: str, content: bytes) -> None:
        """Write a file in the machine."""
        line = f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat >{shlex.quote(path)}"
        subprocess.run([*self._login, line], input=content, capture_output=True, timeout=300, check=True)

    @property
    def login(self) -> str:
        """Return a command line that logs in as root."""
        return shlex.join(self._login)

    @property
    def _options(self) -> list[str]:
        known = f"UserKnownHostsFile={self.folder}/known_hosts"
        return ["-F", "none", "-o", known, "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"]

    @property
    def _login(self) -> list[str]:
        control = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", f"ControlPath={self.folder}/own"]
        key = ["-i", str(self.keys / "login_key"), "-p", str(self.port), "-o", "ConnectTimeout=60"]
        return ["ssh", *self._options, *control, *key, "root@127.0.0.1"]
