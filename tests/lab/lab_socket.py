# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The Unix socket of the lab in each of its hosts, on which `host_services` listens."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

LAB_SOCKET = "lab.sock"
READY = b"ready\n"
"""The line that the process writes when it listens on every socket."""


def send(folder: Path, path: str, body: bytes = b"") -> tuple[int, str]:
    """Send a request to the lab's socket in a folder, as a double does; return the status and the text."""
    with contextlib.closing(http.client.HTTPConnection("lab")) as connection, short_path(folder) as place:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(f"{place}/{LAB_SOCKET}")
        connection.request("PUT", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """Return a short path of a folder: the address of a socket has at most 108 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
