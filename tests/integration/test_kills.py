# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Runs that are killed at any moment: nothing is lost or half written, nothing is locked, and the next run succeeds.

The moments are random within the usual duration of a run, because the named points at which a double can stop are those
that other tests already use. ``KILLS`` in the environment is the number of runs to kill, ``KILLS_SEED`` repeats a test.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import json
import os
import random
import sqlite3
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Workload
from tests.lab.live_patches import signing
from tests.samples.records import make_record

from .conftest import Ansible
from .record_files import write_record
from .upgrading import LIKE, NEW, Hosts

pytestmark = pytest.mark.kills

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("KILLS_SEED", str(random.randrange(1 << 32))))  # noqa: S311  (not a secret)
KINDS = ("check", "report", "mirror", "enable", "upgrade")
AT_ONCE = 5
"""Runs that are killed one after the other, before the next one must succeed."""

RECORDS, REPORT = "livepatch-records", "livepatch-report"
CHECKED = ["xenial-generic", "stale", "not-enabled", "i386", "unreachable", "enable-10"]
COPIES = 3
SEATS = 2
TOKEN = "c0ffee00c0ffee00c0ffee00c0ffee00"
VENDOR = signing.make_signer("Vendor")
PATCHES = dict(
    signing.patch_for("4.4.0-168.197-generic", version, VENDOR, size=60_000) for version in ("64.1", "65.1", "66.1")
)
RUNNING = ["database", "registry"]


@dataclasses.dataclass
class Work:
    """A kind of run in a folder: the words of its command, and what must be true after it has succeeded.

    `assert_complete` also gives the next run the whole work again.
    """

    ansible: Ansible
    words: list[str]
    assert_complete: t.Callable[[], None]
    seconds: float = 0.0
    """How long the last run took that was not killed."""

    def run(self) -> None:
        """Run to the end."""
        started = time.monotonic()
        run = self.ansible.command(*self.words)
        assert run.code == 0, run.output
        self.seconds = time.monotonic() - started
        self.assert_complete()

    def kill(self, chance: random.Random) -> bool:
        """Kill a run at a random moment. Return False if it had succeeded before."""
        started = time.monotonic()
        with self.ansible.start(*self.words) as run:
            with contextlib.suppress(Exception):
                run.process.wait(chance.uniform(0.1, self.seconds))
            code = run.process.poll()
        if code is None:
            return True
        assert code == 0, run.log.read_text("utf-8")
        self.seconds = time.monotonic() - started
        return False


# --- the kinds


@contextlib.contextmanager
def checking(folder: Path, lab: Fleet) -> Iterator[Work]:
    with lab.with_hosts(folder / "lab", only=CHECKED) as fleet:
        ansible = Ansible(folder, fleet.variables)

        def complete() -> None:
            assert report_hosts(folder) == set(CHECKED)

        yield Work(ansible, playbook("check", livepatch_fail_on=[], livepatch_network=False), complete)


@contextlib.contextmanager
def reporting(folder: Path, _lab: Fleet) -> Iterator[Work]:
    formats = ["table", "json", "jsonl", "markdown", "html", "csv", "junit", "sarif", "prometheus"]
    options = {"livepatch_fail_on": [], "livepatch_report_formats": formats, "livepatch_history": "history.db"}
    names = [f"web{number}" for number in range(200)]

    def write() -> None:
        now = f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        for name in names:
            write_record(folder / RECORDS, make_record(name, collected_at=now))

    def complete() -> None:
        assert report_hosts(folder) == set(names)
        # The next reports have something to write.
        write()

    write()
    yield Work(Ansible(folder, {}), playbook("report", **options), complete)


@contextlib.contextmanager
def mirroring(folder: Path, lab: Fleet) -> Iterator[Work]:
    with lab.with_hosts(folder / "lab", only=["xenial-generic"]) as fleet:
        entries = [
            {"filename": name, "hash": fleet.add_patch(name, archive, tier="stable")}
            for name, archive in PATCHES.items()
        ]
        (folder / "patches.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
        (folder / "vendor.pem").write_bytes(VENDOR.pem)
        fleet.set_faults(path="/v1/patches/", slow=200_000)
        ansible = Ansible(folder, fleet.variables)
        options = {
            "dest": str(folder / "mirror"),
            "server": fleet.server.replace("livepatch.lab.test", "localhost"),
            "list": str(folder / "patches.yaml"),
            "ca_path": str(fleet.certificate),
            "trusted_certificates": [str(folder / "vendor.pem")],
        }
        task = {"name": "Synchronize the mirror", "kernelops.livepatch.patch_mirror": options}
        play = {"name": "Play", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
        (folder / "mirror.yml").write_text(json.dumps([play]), encoding="utf-8")

        def complete() -> None:
            served = {path.name: path.read_bytes() for path in (folder / "mirror").glob("livepatch-*")}
            assert served == PATCHES
            # The next run has to download one of them again.
            next((folder / "mirror").glob("livepatch-*")).unlink()

        yield Work(ansible, ["playbook", "mirror.yml"], complete)


@contextlib.contextmanager
def enabling(folder: Path, lab: Fleet) -> Iterator[Work]:
    with lab.with_hosts(folder / "lab", COPIES, "not-installed") as fleet:
        fleet.set_tokens({TOKEN: {"seats": 100, "tier": "updates"}})
        options = {"livepatch_token": TOKEN, "livepatch_seats": SEATS, "livepatch_fail_on": []}

        def complete() -> None:
            machines = [machine for machine in fleet.machines().values() if machine["auth_token"] == TOKEN]
            assert len(machines) == SEATS
            for name in fleet.hosts:
                fleet.reset(name)
            fleet.state.set_machines({})
            for path in (folder / RECORDS).iterdir():
                path.unlink()

        yield Work(Ansible(folder, fleet.variables), playbook("enable", livepatch_network=False, **options), complete)


@contextlib.contextmanager
def upgrading(folder: Path, lab: Fleet) -> Iterator[Work]:
    workloads = (Workload("registry"), Workload("database", runtime="lxd"))
    with lab.with_hosts(folder / "lab", 2, LIKE) as fleet:
        hosts = Hosts(fleet, itertools.cycle(fleet.hosts))
        names: list[str] = []

        def take() -> list[str]:
            names[:] = [hosts.take(workloads=workloads) for _each in range(2)]
            options = {"livepatch_hosts": names, "livepatch_serial": 2, "livepatch_canary": 0, "livepatch_delay": 0}
            return playbook("upgrade", livepatch_network=False, **options)

        def complete() -> None:
            for name in names:
                assert (hosts.kernel(name), hosts.running(name)) == (NEW, RUNNING), name
                fleet.reset(name)
            work.words = take()

        work = Work(Ansible(folder, fleet.variables), take(), complete)
        yield work


WORKS = {"check": checking, "report": reporting, "mirror": mirroring, "enable": enabling, "upgrade": upgrading}


def playbook(name: str, **extra: t.Any) -> list[str]:
    return ["playbook", f"kernelops.livepatch.{name}", "-e", json.dumps(extra)]


# --- what must be true at any time


def report_hosts(folder: Path) -> set[str]:
    """Return the hosts of the report in JSON. It is complete, whenever it is read."""
    report = json.loads((folder / REPORT / "fleet.json").read_text(encoding="utf-8"))
    return {each["host"] for each in (*report["records"], *report["unreachable"])}


def hosts_with_documents(folder: Path) -> set[str]:
    """Return the hosts that have a record or a failed attempt. Each file is complete."""
    found = set()
    for path in (folder / RECORDS).glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["schema"].startswith("kernelops.livepatch/"), path
        found.add(document["host"])
    return found


def assert_whole(folder: Path) -> None:
    """Assert that every file that the collection has written is old or new, and not half of one."""
    hosts_with_documents(folder)
    if (folder / REPORT / "fleet.json").exists():
        report_hosts(folder)
    if (folder / "history.db").exists():
        with contextlib.closing(sqlite3.connect(folder / "history.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for path in (folder / "mirror").glob("livepatch-*"):
        assert path.read_bytes() == PATCHES[path.name]
    for path in (*folder.glob("mirror/index.json"), *folder.glob(f"{RECORDS}/seats.granted")):
        json.loads(path.read_text(encoding="utf-8"))


def unfinished(folder: Path) -> list[Path]:
    """Return the unfinished files of killed runs, and make them two days old."""
    found = [path for part in (RECORDS, REPORT, "mirror") for path in (folder / part).glob(".*.tmp")]
    for path in found:
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_loses_nothing(kind: str, tmp_path: Path, lab_processes: Fleet) -> None:
    chance = random.Random(f"{SEED} {kind}")  # noqa: S311  (not a secret)
    wanted = KILLS // len(KINDS)
    killed, ended, left = 0, 0, 0
    with WORKS[kind](tmp_path, lab_processes) as work:
        work.run()
        while killed < wanted:
            for _each in range(min(AT_ONCE, wanted - killed)):
                before = hosts_with_documents(tmp_path)
                interrupted = work.kill(chance)
                assert_whole(tmp_path)
                assert before <= hosts_with_documents(tmp_path), f"a record was lost (seed {SEED})"
                if interrupted:
                    killed += 1
                else:
                    ended += 1
                    work.assert_complete()
            assert ended <= 2 * wanted + AT_ONCE, "most runs had ended before they were killed"
            left += len(unfinished(tmp_path))
            work.run()
            assert unfinished(tmp_path) == [], "a later run removes old unfinished files"
    print(f"\n{kind}: {killed} runs were killed, {ended} had ended before, {left} unfinished files, seed {SEED}")
