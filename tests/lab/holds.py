# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Points at which a double stops until a test releases it.

A hold is a folder with two FIFOs, ``arrived`` and ``release``. A double that reaches the point opens ``release``,
writes a newline to ``arrived`` and reads a line from ``release``. The test keeps both FIFOs open for reading and
writing, so that neither side blocks in ``open``. Nothing polls and nothing sleeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

_FOLDER = "holds"
_ACTIONS = (
    "apt-get update",
    "apt-get install",
    "dpkg --configure",
    "snap install",
    "snap refresh",
    "snap remove",
    "snap start",
    "snap stop",
    "snap restart",
    "canonical-livepatch enable",
    "canonical-livepatch disable",
    "canonical-livepatch refresh",
    "canonical-livepatch config",
    "pro attach",
    "pro detach",
    "pro enable",
    "pro disable",
    "docker stop",
    "docker start",
    "podman stop",
    "podman start",
    "lxc stop",
    "lxc start",
    "lxc cluster evacuate",
    "lxc cluster restore",
    "setsid",
    "reboot",
    "boot",
)
POINTS = frozenset(("canonical-livepatch status", "setsid exit", *_ACTIONS, *(f"{action} done" for action in _ACTIONS)))
"""The points of a host. ``reboot`` is the command and ``boot`` the moment at which the host comes up again.

A point is reached before its action, and the one that ends in ``done`` after it, before the double prints its answer.
``setsid exit`` is the end of a background process.
"""


class HoldError(Exception):
    """No double stopped at the point; the message names the point and the reason."""


class Hold:
    """A point that is held for as long as the context lasts. At its end, every double at the point continues."""

    def __init__(self, folder: Path, name: str, request: dict[str, t.Any] | None = None) -> None:
        self._name = name
        self._request = request
        self._place = folder / _FOLDER / name

    def __enter__(self) -> Hold:
        if self._place.exists():
            raise HoldError(f"{self._name!r} is held already")
        self._place.parent.mkdir(exist_ok=True)
        # The folder gets its name when it is complete.
        part = Path(tempfile.mkdtemp(dir=self._place.parents[1]))
        part.chmod(0o755)
        for fifo in ("arrived", "release"):
            os.mkfifo(part / fifo)
        if self._request is not None:
            (part / "request.json").write_text(json.dumps(self._request), encoding="utf-8")
        self._arrived, self._release = (os.open(part / fifo, os.O_RDWR) for fifo in ("arrived", "release"))
        part.rename(self._place)
        return self

    def __exit__(self, *_error: object) -> None:
        shutil.rmtree(self._place)
        os.close(self._release)
        os.close(self._arrived)

    def wait(self, process: subprocess.Popen[bytes] | None = None, seconds: float = 120) -> None:
        """Wait until a double has stopped at the point.

        Raises `HoldError` when `process` ends, or the time is over, before that.
        """
        events = select.poll()
        events.register(self._arrived, select.POLLIN)
        with contextlib.ExitStack() as stack:
            if process is not None and process.poll() is None:
                ended = os.pidfd_open(process.pid)
                stack.callback(os.close, ended)
                events.register(ended, select.POLLIN)
            ready = [descriptor for descriptor, _event in events.poll(seconds * 1000)]
        if self._arrived not in ready:
            reason = "the process ended" if ready else f"{seconds} seconds passed"
            raise HoldError(f"{reason} before a double reached {self._name!r}")
        os.read(self._arrived, 1)

    def release(self) -> None:
        """Let one double continue. The next double that reaches the point stops again."""
        os.write(self._release, b"\n")


def stop_at(folder: Path, name: str) -> None:
    """Stop while a test holds this point of a folder; for doubles in Python. Without a hold, return."""
    place = folder / _FOLDER / name
    # A hold may end at any moment, and its folder with it.
    with contextlib.suppress(FileNotFoundError):
        release = os.open(place / "release", os.O_RDONLY)
        try:
            arrived = os.open(place / "arrived", os.O_WRONLY)
            os.write(arrived, b"\n")
            os.close(arrived)
            os.read(release, 1)
        finally:
            os.close(release)


def held_requests(folder: Path) -> dict[str, dict[str, t.Any]]:
    """Return the requests that tests hold at the server of a folder, by the name of the hold."""
    found = {}
    for path in sorted((folder / _FOLDER).glob("*/request.json")):
        with contextlib.suppress(FileNotFoundError):
            found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    return found
