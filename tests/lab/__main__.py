# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab's command line: ``python -m tests.lab up --dir DIR``, ``python -m tests.lab down --dir DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .descriptions import DescriptionError
from .fleet import PLUGINS, REPLICATED, LabError, down, up


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description="A fleet of described hosts, each in a sandbox.")
    commands = parser.add_subparsers(dest="command", required=True)
    bring_up = commands.add_parser("up", help="bring a fleet up")
    bring_up.add_argument(
        "--count", type=int, metavar="N", help="N copies of one host, in place of all that are described"
    )
    bring_up.add_argument("--like", default=REPLICATED, metavar="HOST", help="the host to copy (%(default)s)")
    take_down = commands.add_parser("down", help="take it down, and remove what it made")
    for command in (bring_up, take_down):
        command.add_argument("--dir", type=Path, required=True, help="the folder of this lab")
    options = parser.parse_args()
    if options.command == "down":
        down(options.dir)
        return 0
    try:
        fleet = up(options.dir, options.count, options.like)
    except (LabError, DescriptionError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    print(f"{len(fleet.hosts)} hosts are up. Their inventory and their server:")
    print(f"  export ANSIBLE_CONNECTION_PLUGINS={PLUGINS}")
    print(f"  ansible -i {fleet.inventory} all -m ansible.builtin.raw -a 'uname -a'")
    print(f"  {fleet.server} (trust {fleet.certificate})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
