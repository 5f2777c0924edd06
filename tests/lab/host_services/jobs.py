# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Processes of a host that outlive the session that started them."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import threading

from ..holds import stop_at
from ..hosts.current_host import CurrentHost

# A sandbox dies with the thread that started it (PR_SET_PDEATHSIG), and the thread of a request soon ends.
_STARTER = concurrent.futures.ThreadPoolExecutor(max_workers=1)


class Jobs:
    """The background processes of one host."""

    def __init__(self, current: CurrentHost) -> None:
        self._session_file = current.folder / "session.json"
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, argv: str) -> str:
        """Run a command (its arguments, each ended by a NUL) in a new sandbox, as ``setsid`` does."""
        session = json.loads(self._session_file.read_text(encoding="utf-8"))
        process = _STARTER.submit(
            subprocess.Popen,
            [*session["command"], *argv.split("\0")[:-1]],
            env=session["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ).result()
        with self._lock:
            self._processes = [job for job in self._processes if job.poll() is None]
            self._processes.append(process)
        threading.Thread(target=self._wait_for, args=(process,), daemon=True).start()
        return ""

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        stop_at(self._session_file.parent / "lab", "setsid exit")

    def kill_all(self) -> None:
        """End every process, as a reboot does."""
        with self._lock:
            for job in self._processes:
                job.kill()
                job.wait()
