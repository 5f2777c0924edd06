# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The proxy in front of the server: tunnels for HTTPS (CONNECT), forwarded requests for plain HTTP.

Every target is on loopback, whatever its name, so the proxy reaches servers that a host cannot resolve.
``proxy.jsonl`` gets a line per request: ``method``, ``target`` and ``authorized``. ``proxy.json`` may hold the ``user``
and the ``password`` that it requires.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import socketserver
import urllib.parse
from pathlib import Path

_HEAD_LIMIT = 1 << 16
_REFUSED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=lab\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy on a listening socket."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, folder: Path) -> None:
        super().__init__(listener.getsockname(), Tunnel, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.folder = folder
        self.log = (folder / "proxy.jsonl").open("a", encoding="utf-8", buffering=1)

    def accepts(self, head: str) -> bool:
        """Return True if the head of a request holds the required name and password, if any."""
        try:
            wanted = json.loads((self.folder / "proxy.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return True
        credentials = base64.b64encode(f"{wanted['user']}:{wanted['password']}".encode()).decode()
        return f"proxy-authorization: basic {credentials}".lower() in head.lower()


class Tunnel(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        self.request.settimeout(60)
        try:
            self._handle()
        except OSError:
            return

    def _handle(self) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.request.recv(_HEAD_LIMIT)
            if not piece or len(received) > _HEAD_LIMIT:
                return
            received += piece
        lines, _end, rest = received.partition(b"\r\n\r\n")
        head = lines.decode("latin-1")
        method, target, _version = head.partition("\r\n")[0].split(" ")
        authorized = self.server.accepts(head)
        self.server.log.write(json.dumps({"method": method, "target": target, "authorized": authorized}) + "\n")
        if not authorized:
            self.request.sendall(_REFUSED)
            return
        address = urllib.parse.urlsplit(f"//{target}" if method == "CONNECT" else target)
        with socket.create_connection(("127.0.0.1", address.port or 80)) as peer:
            if method == "CONNECT":
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                peer.sendall(_forwarded_head(head, address).encode("latin-1"))
            if rest:
                peer.sendall(rest)
            self._carry(peer)

    def _carry(self, peer: socket.socket) -> None:
        other = {self.request: peer, peer: self.request}
        while True:
            for side in select.select(list(other), [], [])[0]:
                data = side.recv(_HEAD_LIMIT)
                if not data:
                    return
                other[side].sendall(data)


def _forwarded_head(head: str, address: urllib.parse.SplitResult) -> str:
    """Return the head of a request for the server: one request per connection, without headers for the proxy."""
    first, *fields = head.split("\r\n")
    method, _target, version = first.split(" ")
    path = urllib.parse.urlunsplit(("", "", address.path or "/", address.query, ""))
    kept = [field for field in fields if not field.lower().startswith(("proxy-", "connection:"))]
    return "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])
