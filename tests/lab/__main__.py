# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab's command line: ``python -m tests.lab up --dir DIR``, ``… down --dir DIR``, ``… vm``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from .fleet import PLUGINS, REPLICATED, LabError, down, running_fleet, up
from .hosts.description import DescriptionError
from .vm.debian_packages import UnavailableError
from .vm.virtual_machine import NAME, POLICY, running_machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description="Manage a fleet of described hosts, each in a sandbox.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start a fleet")
    start.add_argument(
        "--count", type=int, metavar="N", help="start N copies of one host instead of the described hosts"
    )
    start.add_argument("--like", default=REPLICATED, metavar="HOST", help="the host to copy (%(default)s)")
    start.add_argument("--writable", action="store_true", help="writable hosts; each copy has its own root")
    start.add_argument("--token", help="a token that the server accepts")
    start.add_argument(
        "--seats", type=int, default=5, metavar="N", help="the number of seats of the token (%(default)s)"
    )
    stop = commands.add_parser("down", help="stop the fleet and remove its files")
    for command in (start, stop):
        command.add_argument("--dir", type=Path, required=True, help="the folder of the lab")
    commands.add_parser("vm", help="start the virtual machine, until interrupted")
    options = parser.parse_args()
    if options.command == "vm":
        return run_machine()
    if options.command == "down":
        down(options.dir)
        return 0
    try:
        fleet = up(options.dir, options.count, options.like, writable=options.writable)
        if options.token:
            fleet.set_tokens({options.token: {"seats": options.seats, "tier": "updates"}})
    except (LabError, DescriptionError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    print(f"{len(fleet.hosts)} hosts are up. Their inventory and their server:")
    print(f"  export ANSIBLE_CONNECTION_PLUGINS={PLUGINS}")
    print(f"  ansible -i {fleet.inventory} all -m ansible.builtin.raw -a 'uname -a'")
    print(f"  {fleet.server} (trust {fleet.certificate})")
    return 0


def run_machine() -> int:
    """Start the virtual machine and its server, print their addresses, and stop them when interrupted."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lab-") as folder,
            running_fleet(Path(folder), count=1) as fleet,
            running_machine(fleet.server, fleet.certificate) as machine,
        ):
            fleet.set_tokens({"made-up-token": {}})
            for version in ("1.1", "2.1"):
                fleet.add_patch(*machine.archive(version))
            print("The virtual machine is up until you interrupt this command. Its inventory and a login command:")
            print(f"  ansible -i {machine.inventory} {NAME} -m ansible.builtin.raw -a 'cat /proc/version_signature'")
            print(f"  {machine.login}")
            print(f"Its policy is {POLICY}, its server {fleet.server} knows made-up-token and has a patch.", flush=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    except (LabError, UnavailableError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
