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

from ..hosts.file_tree import Surroundings
from ..lab_socket import READY
from .sockets import Listeners, Services


def main() -> None:
    parser = argparse.ArgumentParser(description="The services of a lab's hosts. The hosts come on standard input.")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    said = json.loads(sys.stdin.buffer.readline())
    authority = options.folder / "server" / "ca.pem"
    around = Surroundings(said["server"], authority.read_bytes(), said["authority_hash"])
    listeners = Listeners()
    services = Services(options.folder / "services", around, listeners)
    services.add(str(options.folder / "hosts"), said["hosts"])
    os.write(1, READY)
    listeners.serve(options.folder / "hosts")


if __name__ == "__main__":
    main()
