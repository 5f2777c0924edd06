# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The demonstration: a fleet of described hosts, checked, enabled and evaluated with the commands of a user.

``make demo`` runs it. It writes the records and the reports to ``demo/``.
"""

from __future__ import annotations

import datetime
import json
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
from tests.lab.fleet import Fleet, LabError, running_fleet  # noqa: E402  (path above)
from tests.samples.notices import affected, notice  # noqa: E402  (path above)
from tests.samples.vulnerabilities import package, release_data  # noqa: E402  (path above)

FORKS = 10
SEATS = 3
# One host of the lab is unreachable on purpose, which must not fail the demonstration.
CHECK: dict[str, t.Any] = {"livepatch_fail_on": [], "livepatch_report_formats": ["table", "json", "markdown", "html"]}
# Hosts with a separate token, and so with a separate folder of records.
ENABLE: dict[str, t.Any] = {
    "livepatch_hosts": "not-installed:not-enabled:not-enabled-2016:not-seeded:i386:lxd-container:unreachable",
    "livepatch_seats": SEATS,
    "livepatch_record_dir": "enabled/records",
    "livepatch_report_dir": "enabled/report",
    "livepatch_fail_on": [],
}
TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"
CVE = "CVE-2024-26924"
"""A vulnerability that the clients of the lab list as fixed by their live patch. The data about it is made up."""

FIXED_IN = "4.4.0-262.296"
EXPOSURE: dict[str, t.Any] = {
    "livepatch_vulnerability_data": "vulnerability-data",
    "livepatch_waivers": "livepatch-waivers.yml",
    "livepatch_openvex_dir": "livepatch-openvex",
    "livepatch_exposure_fail_on": [],
}


class DemoError(Exception):
    """A playbook failed; the message names it."""


def main(folder: str = "demo") -> int:
    """Run the demonstration. Its results are in `folder`, below the repository unless the path is absolute."""
    demo = REPOSITORY / folder
    try:
        with running_fleet(demo / "lab", writable=True) as fleet:
            print(f"{len(fleet.hosts)} described hosts are up, each in a sandbox without Python.", flush=True)
            check(demo, fleet)
            enable(demo, fleet)
            exposure(demo, fleet)
    except (LabError, DemoError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print("\nResults of the runs:\n")
    print("  demo/livepatch-records/    one record per host, for example xenial-generic.json")
    print("  demo/livepatch-report/     the report: fleet.html (open it in a browser), fleet.txt, fleet.json, fleet.md")
    print("  demo/enabled/              records and report of the hosts that requested a seat")
    print("  demo/livepatch-openvex/    documents for vulnerability scanners")
    print(f"\nThe report as a page: {(demo / 'livepatch-report' / 'fleet.html').as_uri()}")
    return 0


def check(demo: Path, fleet: Fleet) -> None:
    """Show the eligible hosts, the protected hosts, and the next steps."""
    started = time.monotonic()
    run(demo, fleet, "check", "-e", json.dumps(CHECK))
    summary = json.loads((demo / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))["summary"]
    states = ", ".join(f"{hosts} {state}" for state, hosts in summary["states"].items() if hosts)
    print(f"\n{summary['hosts']} hosts in {time.monotonic() - started:.0f} s: {states}.", flush=True)


def enable(demo: Path, fleet: Fleet) -> None:
    """Show the hosts that get a seat, and the reasons of the others."""
    fleet.set_tokens({TOKEN: {"seats": SEATS, "tier": "updates"}})
    secrets = demo / "lab" / "secrets.yml"
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps({"livepatch_token": TOKEN}), encoding="utf-8")
    shutil.rmtree(demo / "enabled", ignore_errors=True)
    run(demo, fleet, "enable", "-e", "@lab/secrets.yml", "-e", json.dumps(ENABLE))
    machines = sum(machine["auth_token"] == TOKEN for machine in fleet.machines().values())
    print(f"\nThe server has enabled {machines} machines with the token.", flush=True)


def exposure(demo: Path, fleet: Fleet) -> None:
    """Show a vulnerability that is open, live patched or waived, from the records of the check."""
    data = demo / "vulnerability-data"
    data.mkdir(exist_ok=True)
    kernels = package({CVE: FIXED_IN}, "4.4.0-38.57", "4.4.0-261.295", FIXED_IN)
    content = json.dumps(release_data({"linux": kernels}, published="2026-01-10T00:00:00")).encode()
    (data / "com.ubuntu.xenial.pkg.json.xz").write_bytes(lzma.compress(content, preset=0))
    found = notice("0107-1", affected(version="107", fixed=FIXED_IN), upstream=[f"UBUNTU-{CVE}"])
    (data / "LSN-0107-1.json").write_text(json.dumps(found), encoding="utf-8")
    day = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=30)
    waiver = {"cve": CVE, "host": "upgradable", "reason": "retired next month", "owner": "web team"}
    (demo / "livepatch-waivers.yml").write_text(json.dumps([{**waiver, "expires": day.isoformat()}]), encoding="utf-8")
    # The result is that of a task, which the other runs do not display.
    shown = {"ANSIBLE_DISPLAY_OK_HOSTS": "true"}
    run(demo, fleet, "exposure", "-e", f"cve={CVE}", "-e", json.dumps(EXPOSURE), variables=shown)


def run(demo: Path, fleet: Fleet, playbook: str, *words: str, variables: dict[str, str] | None = None) -> None:
    """Show a command and run it. Raises `DemoError`."""
    base = ("ansible-playbook", f"kernelops.livepatch.{playbook}", "-i", "lab/inventory.yml", "--forks", str(FORKS))
    command = [*base, *words]
    print(f"\n$ cd demo\n$ {shlex.join(command)}\n", flush=True)
    given = environment(demo) | fleet.variables | (variables or {})
    code = subprocess.run(command, cwd=demo, env=given, check=False).returncode
    if code != 0:
        raise DemoError(f"the playbook {playbook} ended with exit code {code}")


def environment(demo: Path) -> dict[str, str]:
    """Return the user's environment without their Ansible configuration; protected hosts are not displayed."""
    configuration = demo / "lab" / "ansible.cfg"
    configuration.write_text("[defaults]\ndisplay_ok_hosts = false\ndisplay_skipped_hosts = false\n", encoding="utf-8")
    ours = {
        "ANSIBLE_CALLBACKS_ENABLED": "kernelops.livepatch.fleet_progress",
        "ANSIBLE_CONFIG": str(configuration),
        # Set by the Makefile, or by a user who wants to run an installed collection.
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_NOCOWS": "1",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | ours


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
