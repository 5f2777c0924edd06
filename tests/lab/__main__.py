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
    parser = argparse.ArgumentParser(prog="lab", description="A fleet of described hosts, each in a sandbox.")
    commands = parser.add_subparsers(dest="command", required=True)
    bring_up = commands.add_parser("up", help="bring a fleet up")
    bring_up.add_argument(
        "--count", type=int, metavar="N", help="N copies of one host, in place of all that are described"
    )
    bring_up.add_argument("--like", default=REPLICATED, metavar="HOST", help="the host to copy (%(default)s)")
    bring_up.add_argument("--writable", action="store_true", help="hosts that can be changed, each copy one of its own")
    bring_up.add_argument("--token", help="a token that the server takes")
    bring_up.add_argument(
        "--seats", type=int, default=5, metavar="N", help="the machines that it enables (%(default)s)"
    )
    take_down = commands.add_parser("down", help="take it down, and remove what it made")
    for command in (bring_up, take_down):
        command.add_argument("--dir", type=Path, required=True, help="the folder of this lab")
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
    """Start the virtual machine and its server, tell how they are reached, and end them when interrupted."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lab-") as folder,
            running_fleet(Path(folder), count=1) as fleet,
            running_machine(fleet.server, fleet.certificate) as machine,
        ):
            fleet.set_tokens({"made-up-token": {}})
            for version in ("1.1", "2.1"):
                fleet.add_patch(*machine.archive(version))
            print("The virtual machine is up, until you interrupt this command. Its inventory, and a way in:")
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
