# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The server double: what the lab's hosts and controllers find at `livepatch_server`.

It answers ``GET /`` as the real server's health page does and ``GET /v1/api/kernels/supported`` from a table
(`kernels.yml`). ``requests.jsonl`` gets one line per request: method, path and query, never a body.
``faults.json`` beside it, read at every request, makes it misbehave: ``status`` (answer everything with that code),
``delay_ms``, ``supported`` (answer the kernel question with this value, such as `true` or `null` of old servers).
"""

from __future__ import annotations

import argparse
import http.server
import json
import socket
import ssl
import threading
import time
import typing as t
import urllib.parse
from pathlib import Path

import yaml

TABLE = Path(__file__).parent / "kernels.yml"
HEALTH = "Canonical Livepatch Health service, version v1.14.3"
_QUESTION = ("kernel-version", "flavour", "architecture", "codename", "build-date")


class Kernels:
    """The server's table of kernels: by release, architecture, series and flavour, the word that it answers."""

    def __init__(self, table: Path = TABLE) -> None:
        self._words: dict[tuple[str, str, str, str], str] = {}
        for row in yaml.safe_load(table.read_text(encoding="utf-8")):
            for flavour in row["flavours"]:
                key = (row["codename"], row["architecture"], row["kernel"], flavour)
                self._words[key] = row.get("answer", "supported")

    def supported(self, codename: str, architecture: str, kernel: str, flavour: str) -> str:
        series = ".".join(kernel.split(".")[:2])
        return self._words.get((codename, architecture, series, flavour), "unsupported")


class Server(http.server.ThreadingHTTPServer):
    """An HTTPS server on a socket that already listens."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, certificate: Path, folder: Path) -> None:
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.folder = folder
        self.kernels = Kernels()
        self.log = (folder / "requests.jsonl").open("a", encoding="utf-8", buffering=1)
        self.log_lock = threading.Lock()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)

    def service_actions(self) -> None:
        """End when somebody has removed the lab's folder without taking the lab down."""
        if not self.folder.exists():
            raise SystemExit

    def finish_request(self, request: t.Any, client_address: t.Any) -> None:
        # The handshake belongs to the connection's own thread: a silent peer must not hold up the others.
        request.settimeout(30)
        try:
            with self._tls.wrap_socket(request, server_side=True) as connection:
                super().finish_request(connection, client_address)
        except OSError:
            return


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        with self.server.log_lock:
            entry = {"method": self.command, "path": address.path, "query": query}
            self.server.log.write(json.dumps(entry) + "\n")
        faults = self._faults()
        time.sleep(faults.get("delay_ms", 0) / 1000)
        if "status" in faults:
            self._answer(faults["status"], "text/plain", "the lab was told to fail\n")
        elif address.path == "/":
            self._answer(200, "text/plain", HEALTH)
        elif address.path == "/v1/api/kernels/supported":
            self._answer_kernel(query, faults)
        else:
            self._answer(404, "text/plain", "404 page not found\n")

    def _answer_kernel(self, query: dict[str, str], faults: dict[str, t.Any]) -> None:
        missing = [key for key in _QUESTION if key not in query]
        if missing:
            self._answer(400, "application/json", json.dumps({"error": f"missing {', '.join(missing)}"}))
            return
        word = self.server.kernels.supported(
            query["codename"], query["architecture"], query["kernel-version"], query["flavour"]
        )
        self._answer(200, "application/json", json.dumps({"Supported": faults.get("supported", word)}))

    def _faults(self) -> dict[str, t.Any]:
        try:
            faults: dict[str, t.Any] = json.loads((self.server.folder / "faults.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return faults

    def _answer(self, status: int, kind: str, body: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, *_said: t.Any) -> None:
        """Say nothing: requests are in the log file."""

    def log_error(self, *_said: t.Any) -> None:
        """Say nothing: a peer that goes away is no event."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The lab's server, on a listening socket that is handed over.")
    parser.add_argument("--descriptor", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    with socket.socket(fileno=options.descriptor) as listener:
        Server(listener, options.folder / "server.pem", options.folder).serve_forever(poll_interval=1)


if __name__ == "__main__":
    main()
