# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The demonstration: a fleet of described hosts, checked, enabled and evaluated with the commands of a user.

``make demo`` runs it, and ``make demo-shell`` starts the same fleet for a shell in which its commands can be repeated.
Both write to ``demo/``. Its own hosts are in hosts.yml. The hosts of the lab are in the second inventory.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import json
import lzma
import os
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY))
from tests.lab.fleet import Fleet, LabError, running_fleet  # noqa: E402  (found by the path above)
from tests.lab.hosts.description import HOST_DESCRIPTIONS, load_descriptions  # noqa: E402  (found by the path above)
from tests.lab.live_patches import module_files, signing  # noqa: E402  (found by the path above)
from tests.samples.notices import affected, notice  # noqa: E402  (found by the path above)
from tests.samples.vulnerabilities import package, release_data  # noqa: E402  (found by the path above)

FORKS = 10
FREE_SEATS = 3
TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"
GROUPS = {
    "production": "*-prod-*",
    "staging": "*-stage-*",
    **{role: f"{role}-*" for role in ("web", "app", "db", "kube", "batch", "ledger", "ci")},
}
"""The groups of the first inventory, by a pattern of host names."""

CVE = "CVE-2024-26924"
"""A vulnerability that the clients of most hosts list as fixed by their live patch. The data about it is made up."""

FIXED_IN = {
    "xenial": "4.4.0-262.296",
    "bionic": "4.15.0-213.224",
    "focal": "5.4.0-199.219",
    "jammy": "5.15.0-123.133",
    "noble": "6.8.0-47.47",
}
OPTIONS = """\
# The demonstration goes on when hosts need a person. A real run would fail, and name them.
livepatch_fail_on: []
livepatch_exposure_fail_on: []

# All LTS releases. The default policy has only those of the first release of Canonical Livepatch.
livepatch_policy: current

livepatch_report_formats: [table, json, markdown, html]
livepatch_vulnerability_data: vulnerability-data
livepatch_waivers: waivers.yml
livepatch_openvex_dir: livepatch-openvex

# A made-up vendor signs the patches of the lab. Without this line, they would not count as Canonical's.
livepatch_trusted_certificates: [vendor.pem]
"""
CHECK = ("check", "-i", "inventory.yml", "-e", "@options.yml")
ENABLE = ("enable", "-i", "inventory.yml", "-e", "@options.yml", "-e", "@secrets.yml", "--limit", "web-prod-13,ci")
EXPOSURE = ("exposure", "-i", "inventory.yml", "-e", "@options.yml", "-e", f"cve={CVE}")
REPORT = ("report", "-i", "inventory.yml", "-e", "@options.yml")
FOLDERS = '{"livepatch_record_dir": "oddities/records", "livepatch_report_dir": "oddities/report"}'
ODDITIES = ("check", "-i", "oddities.yml", "-e", "@options.yml", "-e", FOLDERS)
"""The arguments of ansible-playbook for each part, in the folder of the demonstration."""


class DemoError(Exception):
    """A playbook failed; the message names it."""


def main() -> int:
    """Run the demonstration, or a shell with its fleet."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("what", choices=("run", "shell"), nargs="?", default="run")
    parser.add_argument("--dir", default="demo", help="the folder of the results, relative to the repository")
    options = parser.parse_args()
    demo = REPOSITORY / options.dir
    try:
        with running_fleet(demo / "lab", further=[Path(__file__).parent], writable=True) as fleet:
            print(f"{len(fleet.hosts)} described hosts are up, each in a sandbox without Python.", flush=True)
            prepare(demo, fleet)
            return open_shell(demo, fleet) if options.what == "shell" else show(demo, fleet)
    except (LabError, DemoError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def prepare(demo: Path, fleet: Fleet) -> None:
    """Publish a patch, and write the inventories, the options, the token, and made-up vulnerability data."""
    fleet.set_tokens({TOKEN: {"seats": FREE_SEATS, "tier": "updates"}})
    new_host = fleet.hosts["ci-stage-01"].kernel.full or ""
    fleet.add_patch(*signing.patch_for(new_host, "107.1", module_files.vendor()), fixes=[CVE])
    (demo / "vendor.pem").write_bytes(module_files.vendor().pem)
    own = [name for name in fleet.hosts if name not in load_descriptions(HOST_DESCRIPTIONS)]
    clients = [fleet.hosts[name].client for name in own if not fleet.hosts[name].faults.unreachable]
    seats = sum(client is not None and client.enabled for client in clients) + FREE_SEATS
    variables = json.loads(fleet.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    groups = {group: {"hosts": dict.fromkeys(fnmatch.filter(own, pattern))} for group, pattern in GROUPS.items()}
    write(demo / "inventory.yml", {"all": {"vars": variables, "children": groups}})
    others = {"hosts": dict.fromkeys(name for name in fleet.hosts if name not in own)}
    write(demo / "oddities.yml", {"all": {"vars": variables, "children": {"oddities": others}}})
    (demo / "options.yml").write_text(OPTIONS, encoding="utf-8")
    (demo / "secrets.yml").touch(mode=0o600)
    write(demo / "secrets.yml", {"livepatch_token": TOKEN, "livepatch_seats": seats})
    write_vulnerabilities(demo / "vulnerability-data")
    in_a_month = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=30)
    waiver = {"cve": CVE, "host": "batch-prod-06", "reason": "retired next month", "owner": "batch team"}
    write(demo / "waivers.yml", [{**waiver, "expires": in_a_month.isoformat()}])


def write(path: Path, content: t.Any) -> None:
    """Write plain data as JSON, which is valid YAML."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_vulnerabilities(data: Path) -> None:
    """Write one made-up vulnerability in the published formats: package data of each release, and a notice."""
    data.mkdir(exist_ok=True)
    yesterday = f"{datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
    for release, fixed in FIXED_IN.items():
        content = release_data({"linux": package({CVE: fixed}, fixed)}, release=release, published=yesterday)
        packed = lzma.compress(json.dumps(content).encode(), preset=0)
        (data / f"com.ubuntu.{release}.pkg.json.xz").write_bytes(packed)
    found = notice("0107-1", affected(version="107", fixed=FIXED_IN["xenial"]), upstream=[f"UBUNTU-{CVE}"])
    write(data / "LSN-0107-1.json", found)


def show(demo: Path, fleet: Fleet) -> int:
    """Run every part, and print where the results are and how to begin with another fleet."""
    print(f"\nThe commands run in {demo}. The file options.yml contains:\n\n{OPTIONS}", end="", flush=True)
    parts = (
        ("Check a fleet: which hosts are protected, and what a person has to do.", CHECK),
        (f"Enable the hosts without the client. There are {FREE_SEATS} free seats for 4 hosts.", ENABLE),
        (f"Is the fleet exposed to {CVE}? From the records, without a connection to a host.", EXPOSURE),
        ("The report of the whole fleet, with the hosts that were enabled.", REPORT),
        ("A second inventory: every oddity that the tests of this project know.", ODDITIES),
    )
    for title, words in parts:
        print(f"\n=== {title}", flush=True)
        run(demo, fleet, words)
    machines = sum(machine["auth_token"] == TOKEN for machine in fleet.machines().values())
    print(f"\nThe server has enabled {machines} machines with the token. Results of the runs, in {demo}:\n")
    print("  livepatch-records/   one record per host, for example web-prod-01.json")
    print("  livepatch-report/    the report: fleet.html (open it in a browser), fleet.txt, fleet.json, fleet.md")
    print("  livepatch-openvex/   documents for vulnerability scanners")
    print("  oddities/            records and report of the second inventory")
    print("\nFor your own fleet:\n")
    print("  ansible-galaxy collection install kernelops.livepatch")
    print("  ansible-playbook kernelops.livepatch.check -i inventory.yml --become -e livepatch_policy=current")
    print("  ansible-playbook kernelops.livepatch.vulnerability_data -e livepatch_releases=jammy,noble")
    print(f"\nThe report as a page: {(demo / 'livepatch-report' / 'fleet.html').as_uri()}")
    return 0


def run(demo: Path, fleet: Fleet, words: tuple[str, ...]) -> None:
    """Show a command and run it. Raises `DemoError`."""
    command = ["ansible-playbook", f"kernelops.livepatch.{words[0]}", *words[1:], "--forks", str(FORKS)]
    print(f"\n$ {shlex.join(command)}\n", flush=True)
    # A line for each host that is well would hide the report. The result of `exposure` is that of a task.
    given = environment(demo, fleet) | {"ANSIBLE_DISPLAY_OK_HOSTS": str(words[0] == "exposure")}
    code = subprocess.run(command, cwd=demo, env=given, check=False).returncode
    if code != 0:
        raise DemoError(f"the playbook {words[0]} ended with exit code {code}")


def open_shell(demo: Path, fleet: Fleet) -> int:
    """Start the user's shell in the folder of the demonstration. The fleet is stopped when it ends."""
    print("\nCommands for this shell. The fleet runs until you leave it.\n")
    for words in (CHECK, ENABLE, EXPOSURE, REPORT, ODDITIES):
        print(f"  {shlex.join(['ansible-playbook', f'kernelops.livepatch.{words[0]}', *words[1:]])}")
    print("  ansible web -m ansible.builtin.raw -a '/snap/bin/canonical-livepatch status'\n", flush=True)
    given = {**environment(demo, fleet), "ANSIBLE_INVENTORY": "inventory.yml"}
    return subprocess.run([os.environ.get("SHELL", "/bin/sh")], cwd=demo, env=given, check=False).returncode


def environment(demo: Path, fleet: Fleet) -> dict[str, str]:
    """Return the user's environment without their Ansible configuration."""
    configuration = demo / "lab" / "ansible.cfg"
    configuration.write_text("[defaults]\ndisplay_skipped_hosts = false\n", encoding="utf-8")
    ours = {
        "ANSIBLE_CALLBACKS_ENABLED": "kernelops.livepatch.fleet_progress",
        "ANSIBLE_CONFIG": str(configuration),
        # Set by the Makefile, or by a user who wants to run an installed collection.
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_NOCOWS": "1",
    }
    users = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return users | fleet.variables | ours


if __name__ == "__main__":
    raise SystemExit(main())
