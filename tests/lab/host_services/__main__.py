# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run the services of a lab's hosts: ``python -m tests.lab.host_services --folder DIR``."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from pathlib import Path

from ..hosts.file_tree import LabServer
from ..lab_socket import READY
from .sockets import Listeners, Services


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the services of a lab's hosts. Standard input names them.")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    configuration = json.loads(sys.stdin.buffer.readline())
    authority = options.folder / "server" / "ca.pem"
    lab_server = LabServer(configuration["server"], authority.read_bytes(), configuration["certificate_hash"])
    listeners = Listeners()
    services = Services(options.folder / "services", lab_server, listeners)
    services.add(str(options.folder / "hosts"), configuration["hosts"])
    os.write(1, READY)
    listeners.serve(options.folder / "hosts")


if __name__ == "__main__":
    main()
