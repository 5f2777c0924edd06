# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The server's listeners for HTTP and HTTPS: connections, the log, and the faults that concern bytes.

``requests.jsonl`` gets one line per request: method, path and query, the ``auth_token`` of a body, and the ``range`` of
a Range header. Other parts of a body are not logged.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import struct
import threading
import time
import typing as t
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from ..holds import held_requests, stop_at
from .answers import CONTRACT, Answer, Answers, Request
from .faults import CERTIFICATES, Fault, Faults
from .state import State

_BODY_LIMIT = 1 << 20
_PIECE = 1 << 18
_PIECES_A_SECOND = 20
"""The number of writes per second for a slow body."""


class Server(http.server.ThreadingHTTPServer):
    """A server on a listening socket, with TLS if it has a certificate (PEM, with its key)."""

    daemon_threads = True

    def __init__(
        self, listener: socket.socket, certificate: Path | None, folder: Path, faults: Faults | None = None
    ) -> None:
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.folder = folder
        self.answers = Answers(State(folder))
        # Two listeners of one server share their counts.
        self.faults = faults or Faults(folder)
        self._log = os.open(folder / "requests.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        if certificate is not None:
            # A folder with the valid certificate alone has no wrong ones to use.
            paths: dict[str | None, Path] = {name: certificate.with_name(f"{name}.pem") for name in CERTIFICATES}
            for name, path in {**paths, None: certificate}.items():
                if path.exists():
                    self._contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    self._contexts[name].load_cert_chain(path)

    @property
    def scheme(self) -> str:
        return "https" if self._contexts else "http"

    def log(self, entry: dict[str, t.Any]) -> None:
        """Add a line with one write, because the listeners and their threads share the file."""
        os.write(self._log, json.dumps(entry).encode() + b"\n")

    def service_actions(self) -> None:
        """Exit when the lab's folder was removed; refuse connections while a fault requires that."""
        if not self.folder.exists():
            raise SystemExit
        if not self.faults.refuses():
            return
        # On Linux this stops listening and keeps the port reserved.
        self.socket.shutdown(socket.SHUT_RDWR)
        while self.faults.refuses():
            if not self.folder.exists():
                raise SystemExit
            time.sleep(0.02)
        self.socket.listen(1024)

    def finish_request(self, request: t.Any, client_address: t.Any) -> None:
        # The handshake runs in the thread of the connection: a silent peer must not block others.
        request.settimeout(30)
        try:
            if not self._contexts:
                super().finish_request(request, client_address)
                return
            context = self._contexts[self.faults.of_connection().get("certificate")]
            with context.wrap_socket(request, server_side=True) as connection:
                super().finish_request(connection, client_address)
        except OSError:
            return


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        request = Request(
            method=self.command,
            path=address.path,
            query=dict(urllib.parse.parse_qsl(address.query)),
            headers=self.headers,  # type: ignore[arg-type]  # a message has the only method of a mapping that is used
            body=self._body(),
            base=f"{self.server.scheme}://{self.headers.get('Host', 'localhost')}",
        )
        self._log(request)
        self._hold(request)
        fault = self.server.faults.of_request(request.method, request.path)
        time.sleep(fault.get("delay_ms", 0) / 1000)
        if fault.get("reset"):
            # Without lingering, the peer gets a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionResetError
        if "status" in fault:
            self._send(Answer(fault["status"], body=b"fault of the lab\n"), fault)
        else:
            self._send(self.server.answers.answer(request, fault), fault)

    def _hold(self, request: Request) -> None:
        """Stop where a test holds requests like this one, and note the holds that begin within the answer."""
        self._sent = 0
        self._stops: list[tuple[int, str]] = []
        for name, wanted in held_requests(self.server.folder).items():
            if request.path.startswith(wanted["path"]) and request.method == (wanted["method"] or request.method):
                self._stops.append((wanted["after"], name))
        self._write(b"")

    def _write(self, data: bytes) -> None:
        """Write a part of a body, and stop at every hold that begins within it."""
        for after, name in sorted(self._stops):
            if after <= self._sent + len(data):
                head, data = data[: after - self._sent], data[after - self._sent :]
                self.wfile.write(head)
                self._sent += len(head)
                self._stops.remove((after, name))
                stop_at(self.server.folder, name)
        self.wfile.write(data)
        self._sent += len(data)

    def _body(self) -> dict[str, t.Any]:
        size = int(self.headers.get("Content-Length") or 0)
        if size > _BODY_LIMIT:
            raise ConnectionAbortedError
        try:
            body = json.loads(self.rfile.read(size) or b"{}")
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    def _log(self, request: Request) -> None:
        entry: dict[str, t.Any] = {"method": request.method, "path": request.path, "query": request.query}
        if "auth-token" in request.body:
            entry["auth_token"] = request.body["auth-token"]
        if request.path == CONTRACT:
            entry["auth_token"] = request.machine_token
        if request.headers.get("Range"):
            entry["range"] = request.headers["Range"]
        self.server.log(entry)

    def _send(self, answer: Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        if answer.status != 304:
            self.send_header("Content-Length", str(max(0, answer.length + fault.get("length", 0))))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if {"cut", "length"} & set(fault):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        left = fault.get("cut", answer.length)
        pieces = _pieces(answer, fault["slow"] // _PIECES_A_SECOND or 1 if "slow" in fault else _PIECE)
        for number, piece in enumerate(pieces):
            if "slow" in fault:
                time.sleep(1 / _PIECES_A_SECOND)
            sent = bytes([piece[0] ^ 1]) + piece[1:] if fault.get("spoil") and number == 0 else piece
            self._write(sent[:left])
            left -= len(sent[:left])
        if "cut" in fault:
            raise ConnectionAbortedError

    def log_request(self, *_message: t.Any) -> None:
        """Log nothing here: requests are in the log file."""

    def log_error(self, *_message: t.Any) -> None:
        """Log nothing: a closed connection is normal."""


def _pieces(answer: Answer, size: int) -> Iterator[bytes]:
    if isinstance(answer.body, bytes):
        for start in range(0, len(answer.body), size):
            yield answer.body[start : start + size]
        return
    left = answer.length
    with answer.body.open("rb") as file:
        file.seek(answer.start)
        while left and (piece := file.read(min(size, left))):
            yield piece
            left -= len(piece)


def serve_in_thread(server: Server) -> None:
    """Serve in a new thread until the process exits."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
