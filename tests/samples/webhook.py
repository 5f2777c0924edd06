# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A server that receives notifications."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
import typing as t
from collections.abc import Iterator

from tests.lab.certificates import Authority

SECRET = "services/T0SECRET/B0SECRET"
"""The path of its URL."""


class Receiver(http.server.BaseHTTPRequestHandler):
    """Stores what is posted, and answers with the status of the server."""

    server: Webhook

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers["Authorization"], json.loads(content)))
        status, location = self.server.answers.pop(0) if self.server.answers else (200, "")
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        text = b"no_service" if status >= 400 else b"ok"
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


class Webhook(http.server.ThreadingHTTPServer):
    def __init__(self, authority: Authority | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, str | None, dict[str, t.Any]]] = []
        self.answers: list[tuple[int, str]] = []
        if authority is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(authority.server)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        scheme = "https" if authority else "http"
        self.place = f"{scheme}://localhost:{self.server_address[1]}"
        self.url = f"{self.place}/{SECRET}"


@contextlib.contextmanager
def webhook(authority: Authority | None = None) -> Iterator[Webhook]:
    with Webhook(authority) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
