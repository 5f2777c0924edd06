# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run the server on listening sockets that are inherited as descriptors."""

from __future__ import annotations

import argparse
import socket
import threading
from pathlib import Path

from .proxy import Proxy
from .server import Server, serve_in_thread


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the lab's server and its proxy.")
    for name in ("https", "http", "proxy"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="DESCRIPTOR")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    secure = Server(socket.socket(fileno=options.https), options.folder / "server.pem", options.folder)
    serve_in_thread(Server(socket.socket(fileno=options.http), None, options.folder, secure.faults))
    proxy = Proxy(socket.socket(fileno=options.proxy), options.folder)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    secure.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
