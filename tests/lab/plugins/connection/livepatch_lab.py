# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connection plugin of the lab: it runs commands in the sandboxes of the hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: livepatch_lab
short_description: Run commands in the sandboxes of the test lab
description:
  - Connects to the hosts that C(python -m tests.lab up) has started. Every command runs in a new sandbox over the
    host's files, which persist between commands.
  - Connections to a host that is described as unreachable fail.
author:
  - The kernelops.livepatch contributors
options:
  directory:
    description: The folder of the running lab.
    type: path
    required: true
    vars:
      - name: lab_directory
  host:
    description: The name of the host in the lab.
    type: str
    required: true
    vars:
      - name: inventory_hostname
"""

import json
import os
import subprocess
import time
import typing as t
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

display = Display()


class Connection(ConnectionBase):
    """A session on a host of the lab."""

    transport = "livepatch_lab"
    has_pipelining = True

    def _connect(self) -> Connection:
        if self._connected:
            return self
        folder = Path(self.get_option("directory"), "hosts", self.get_option("host"))
        self._session(folder)
        self._folder = folder
        self._uptime = folder / "lab" / "uptime"
        self._next_uptime = folder / f"uptime.{os.getpid()}"
        self._connected = True
        return self

    def _session(self, folder: Path) -> dict[str, t.Any]:
        """Return the session of the host. Raises `AnsibleConnectionFailure` while the host is down."""
        host = self.get_option("host")
        try:
            session: dict[str, t.Any] = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise AnsibleConnectionFailure(
                f"the lab in {folder.parents[1]} is not running, or has no host {host}"
            ) from error
        if session["unreachable"]:
            raise AnsibleConnectionFailure(f"connect to host {host} port 22: No route to host")
        return session

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a command line with the host's shell; return its exit status, output and errors."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        display.vvv(f"EXEC {cmd}", host=self.get_option("host"))
        return self._run(["/bin/sh", "-c", cmd], in_data or b"")

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        status, _output, errors = self._run(["/bin/sh", "-c", 'cat >"$1"', "sh", out_path], Path(in_path).read_bytes())
        if status != 0:
            raise AnsibleError(f"cannot write {out_path}: {errors.decode(errors='replace')}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        status, output, errors = self._run(["/bin/cat", "--", in_path], b"")
        if status != 0:
            raise AnsibleError(f"cannot read {in_path}: {errors.decode(errors='replace')}")
        Path(out_path).write_bytes(output)

    def close(self) -> None:
        self._connected = False

    def reset(self) -> None:
        self.close()

    def _run(self, words: list[str], in_data: bytes) -> tuple[int, bytes, bytes]:
        session = self._session(self._folder)
        # The only file in /proc that changes by itself.
        since_boot = time.time() - session["booted_at"]
        self._next_uptime.write_text(f"{since_boot:.2f} {since_boot * 1.9:.2f}\n", encoding="ascii")
        self._next_uptime.replace(self._uptime)
        time.sleep(session["latency_ms"] / 1000)
        done = subprocess.run(
            [*session["command"], *words],
            input=in_data,
            env=session["environment"],
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr
