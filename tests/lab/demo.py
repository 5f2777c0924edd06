# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The demonstration: a fleet of described hosts, checked with the command that a user would type.

Run by ``make demo``. Leaves the records and the report in ``demo/``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
from tests.lab.fleet import LabError, running_fleet  # noqa: E402  (the package is found by the line above)

FORKS = 10
CHECK = [
    *("ansible-playbook", "kernelops.livepatch.check", "-i", "lab/inventory.yml", "--forks", str(FORKS)),
    # One host of the lab is unreachable on purpose, and that must not fail the demonstration.
    *("-e", '{"livepatch_fail_on": []}'),
]


def main(folder: str = "demo") -> int:
    """Run it, and leave what it makes in a folder (of the repository, unless its path is absolute)."""
    demo = REPOSITORY / folder
    started = time.monotonic()
    try:
        with running_fleet(demo / "lab") as fleet:
            print(f"{len(fleet.hosts)} described hosts are up, each in a sandbox without Python.", flush=True)
            print(f"\n$ cd demo\n$ {shlex.join(CHECK)}\n", flush=True)
            code = subprocess.run(CHECK, cwd=demo, env=environment(demo) | fleet.variables, check=False).returncode
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if code != 0:
        print(f"demo: the playbook ended with exit code {code}", file=sys.stderr)
        return code
    summary = json.loads((demo / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))["summary"]
    states = ", ".join(f"{hosts} {state}" for state, hosts in summary["states"].items() if hosts)
    print(f"\n{summary['hosts']} hosts in {time.monotonic() - started:.0f} s: {states}.\n\nWhat the run left:\n")
    print("  demo/livepatch-records/    one record a host, for instance xenial-generic.json")
    print("  demo/livepatch-report/     the report: fleet.txt, fleet.json, fleet.md")
    return 0


def environment(demo: Path) -> dict[str, str]:
    """The user's environment, with Ansible kept from a configuration of theirs, and quiet about hosts that are well."""
    configuration = demo / "lab" / "ansible.cfg"
    configuration.write_text("[defaults]\ndisplay_ok_hosts = false\n", encoding="utf-8")
    ours = {
        "ANSIBLE_CALLBACKS_ENABLED": "kernelops.livepatch.fleet_progress",
        "ANSIBLE_CONFIG": str(configuration),
        # Named by the Makefile, or by whoever wants to see an installed collection at work.
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_NOCOWS": "1",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | ours


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
