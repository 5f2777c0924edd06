# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A server that sends any bytes, and then repeats others without end, whatever the client asks for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

PACE_SECONDS = 0.02


class HostileServer:
    """Answers each connection with `answer`, then repeats `drip` until the client is gone.

    Without `drip`, the connection is closed. `requests` are the heads of the requests.
    """

    def __init__(self, answer: bytes, drip: bytes = b"", pace: float = PACE_SECONDS) -> None:
        self.requests: list[bytes] = []
        self.ended = threading.Event()
        self.sent = 0
        self._answer = answer
        self._drip = drip
        self._pace = pace
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{self._listener.getsockname()[1]}/a"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                threading.Thread(target=self._answer_one, args=(connection,), daemon=True).start()

    def _answer_one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.requests.append(connection.recv(1 << 16))
            self._send(connection, self._answer)
            while self._drip and not self.ended.wait(self._pace):
                self._send(connection, self._drip)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            self.sent += connection.send(data[start : start + (1 << 16)])

    def close(self) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def serving(answer: bytes, drip: bytes = b"", pace: float = PACE_SECONDS) -> Iterator[HostileServer]:
    server = HostileServer(answer, drip, pace)
    try:
        yield server
    finally:
        server.close()
