# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The doubles of `snap`, `systemctl` and `journalctl` answer as the real ones, on the machine of `test_snapd.py`.

One host of the lab and the machine go through the same states. In each, both get the same questions.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Description
from tests.lab.runtimes.machine import Machine
from tests.lab.snapd.machine import CLIENT

pytestmark = pytest.mark.snapd

HOST, USER_HOST = "install-11", "not-root"
SNAP, SERVICE = "canonical-livepatch", "canonical-livepatch.canonical-livepatchd"
UNIT = f"snap.{SERVICE}"
MODE = "/var/local/canonical_livepatch_mode"
CHANGES = (
    *(f"snap {verb} {SNAP}" for verb in ("install", "refresh", "enable", "disable", "restart", "start", "stop")),
    *(f"snap restart {SERVICE}", "snap install /root/missing.snap", f"snap remove --purge {SNAP}"),
)
STATE = (f"systemctl is-active {UNIT}", f"systemctl is-active --quiet {UNIT}.service", f"snap list {SNAP}")
ABSENT = (
    *STATE,
    *(f"snap {verb} {SNAP}" for verb in ("enable", "disable", "restart", "start", "stop", "remove")),
    *(f"systemctl {verb} {UNIT}" for verb in ("start", "stop", "restart", "reset-failed")),
    *(f"snap restart {SERVICE}", "snap restart other", "snap restart other.daemon"),
    *("snap version", "snap wait system seed.loaded", "snap frobnicate", "snap list --frobnicate", "snap install"),
)
RUNNING = (
    *STATE,
    *(f"snap install {SNAP}", f"snap install --channel=edge {SNAP}", f"snap enable {SNAP}"),
    *(f"snap restart {SNAP}.other", "snap restart", f"snap start {SNAP}", f"systemctl start {UNIT}"),
    *(f"snap restart {SNAP}", *STATE, f"snap restart {SERVICE}", *STATE),
    *(f"systemctl reset-failed {UNIT}", f"systemctl restart {UNIT}"),
    *(f"systemctl {verb} other.service" for verb in ("is-active", "start", "stop", "restart", "reset-failed")),
    "journalctl -q --no-pager -o cat -n 5 -u other.service",
    # A service that does not run is only restarted by its own name.
    *(f"snap stop {SNAP}", *STATE, f"snap restart {SNAP}", *STATE, f"snap restart {SERVICE}", *STATE),
    *(f"snap stop --disable {SNAP}", f"systemctl stop {UNIT}", *STATE, f"snap start --enable {SNAP}", *STATE),
)
# The daemon ends at once, until systemd refuses to start it.
STOPPED = f"""
    echo stop >{MODE}
    snap restart {SNAP}
    until [ "$(systemctl is-active {UNIT})" = failed ]; do sleep 0.2; done
"""
LIMITED = (
    *STATE,
    *(f"snap restart {SNAP}", *STATE, f"snap restart {SERVICE}", f"snap start {SNAP}"),
    *(f"systemctl start {UNIT}", f"systemctl restart {UNIT}.service", f"systemctl stop {UNIT}", *STATE),
    f"journalctl -q --no-pager -o cat -n 9 -u {UNIT}.service | grep -e quickly -e start-limit | sort -u",
    *(f"systemctl reset-failed {UNIT}", *STATE, f"echo normal >{MODE}; snap restart {SNAP}", *STATE),
    *(f"snap restart {SERVICE}", *STATE),
)
DISABLED = (
    *(f"snap disable {SNAP}", *STATE, f"snap disable {SNAP}", f"snap install {SNAP}", f"snap refresh {SNAP}"),
    *(f"snap restart {SNAP}", f"snap restart {SERVICE}", f"snap start {SNAP}", f"snap stop {SNAP}"),
    *(f"systemctl {verb} {UNIT}" for verb in ("start", "stop", "restart", "reset-failed")),
    f"test -e /snap/bin/{SNAP} || test -e /snap/{SNAP}/current || test -e /var/snap/{SNAP}/current",
    *(f"snap enable {SNAP}", *STATE),
)
WITHOUT_SNAPD = (*CHANGES, "timeout 1 snap version", f"timeout 1 snap list {SNAP}", *STATE[:2])
OF_A_USER = (
    *CHANGES[:-2],
    *(f"systemctl {verb} {UNIT}" for verb in ("restart", "reset-failed", "is-active")),
    *("snap version", f"snap list {SNAP}"),
)


class Both:
    """A host of the lab, and the machine."""

    def __init__(self, lab: Fleet, machine: Machine) -> None:
        self._lab, self._machine = lab, machine

    def differences(self, state: str, questions: t.Iterable[str], *, user: bool = False) -> list[str]:
        """Ask both, in this order, and return the questions with different answers."""
        found = []
        for question in questions:
            line = f"LC_ALL=C; export LC_ALL; {question}"
            double = self._lab.run(USER_HOST if user else HOST, line)
            real = self._machine.run(f"cd /; exec runuser -u nobody -- sh -c '{line}'" if user else line)
            answers = [
                comparable(question, double.returncode, double.stdout.decode(), double.stderr.decode()),
                comparable(question, real.returncode, real.stdout, real.stderr),
            ]
            if answers[0] != answers[1]:
                found.append(f"{state}: {question}\n  double {answers[0]}\n  real   {answers[1]}")
        return found

    def become(self, line: str, double: str | None = None) -> None:
        """Change the state of both, with one command line or with one for each."""
        self._machine.read(line, timeout=300)
        done = self._lab.run(HOST, line if double is None else double)
        assert done.returncode == 0, done

    def stop_snapd(self) -> None:
        self._machine.read("systemctl stop snapd.socket snapd.service")
        self._lab.change(HOST, without_snapd)

    def start_snapd(self) -> None:
        self._machine.read("systemctl start snapd.socket snapd.service", timeout=300)


def without_snapd(host: Description) -> Description:
    assert host.snapd is not None
    return dataclasses.replace(host, snapd=dataclasses.replace(host.snapd, running=False))


def comparable(question: str, code: int, output: str, errors: str) -> tuple[int, t.Any, str]:
    """Return an answer without names and numbers that differ: of tables, the titles, and the columns and last words."""
    # snapd adds the log of a change that failed, if it has recorded it in time.
    output = re.sub(r"^\d{4}-\d\d-\d\dT\S+ INFO .*\n+", "", output, flags=re.MULTILINE)
    rows = [line.split() for line in output.splitlines()]
    if "snap version" in question and rows:
        # The fourth row begins with the name of the distribution.
        return code, [row[0] for row in rows[:3] + rows[4:]], errors
    if "snap list" in question:
        return code, [rows[:1], [(len(row), row[-1]) for row in rows[1:]]], errors
    return code, output, errors


@pytest.fixture
def both(tmp_path: Path, lab_processes: Fleet, snapd_machine: tuple[Machine, Path]) -> Iterator[Both]:
    machine = snapd_machine[0]
    machine.read(f"snap remove --purge {SNAP}; rm -f {MODE}", timeout=300)
    # The limit counts the starts of an hour, so that nothing depends on the speed.
    folder = f"/run/systemd/system/{UNIT}.service.d"
    machine.read(f"mkdir -p {folder}; printf '[Unit]\\nStartLimitIntervalSec=3600\\n' >{folder}/limit.conf")
    with lab_processes.with_hosts(tmp_path / "lab", only=[HOST, USER_HOST]) as lab:
        yield Both(lab, machine)
    machine.read(f"rm -r {folder}; systemctl daemon-reload")


def test_snap_and_systemctl_answer_alike_in_each_state(both: Both) -> None:
    """In one test, because the states follow each other."""
    different = both.differences("absent", ABSENT)
    both.become(f"snap install --dangerous {CLIENT}", f"snap install {SNAP}")
    different += both.differences("running", RUNNING)
    different += both.differences("of a user", OF_A_USER, user=True)
    both.become(f"systemctl reset-failed {UNIT}; {STOPPED}")
    different += both.differences("limited", LIMITED)
    both.become(f"systemctl reset-failed {UNIT}")
    different += both.differences("disabled", DISABLED)
    both.stop_snapd()
    try:
        different += both.differences("without snapd", WITHOUT_SNAPD)
    finally:
        both.start_snapd()
    assert not different, "\n".join(different)
