# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `client` with the real snapd, in a machine with systemd, without a store and without a network.

The tests run in this order, on one machine: a client that is not installed, one that is, snapd that is stopped.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.lab.runtimes.machine import Machine
from tests.lab.snapd.machine import CLIENT, NAME, TOKEN

pytestmark = pytest.mark.snapd

MODULE = "kernelops.livepatch.client"
COMMON: dict[str, t.Any] = {"network": False, "require_eligible": False, "token": TOKEN}
SERVICE = "snap.canonical-livepatch.canonical-livepatchd.service"
# snapd reads it, and misses the assertions that it depends on.
ASSERTION = """\
type: snap-revision
authority-id: canonical
snap-sha3-384: QlqR0uAWEAWF5Nwnzj5kqmmwFslYPu1IL16MKtLKhwhv0kpBv5wKZ_axf_nf_2cL
snap-id: pYVQrBcKmBa0mZ4CCN7ExT6jH8rY1hza
snap-size: 4096
snap-revision: 5
developer-id: canonical
timestamp: 2020-01-01T00:00:00.0Z
sign-key-sha3-384: BWDEoaqyr25nF5SNCvEv2v7QnM9QsfCc0PBMYD_i2NGSQ32EF2d4D0hqUel3m8ul

AcLBXAQAAQoABgUCWYuXiAAKCRAdLQyY+/mCiST0D/0XGQauzV2bbTEy6DkrR1jlNbI6x8vfIdS8
"""


@pytest.fixture
def machine(snapd_machine: tuple[Machine, Path]) -> Machine:
    return snapd_machine[0]


@pytest.fixture
def client(tmp_path: Path, snapd_machine: tuple[Machine, Path]) -> Client:
    return Client(Ansible(tmp_path, {"ANSIBLE_INVENTORY": str(snapd_machine[1])}, timeout=900))


class Client:
    """The module, run on the machine with different options in one play."""

    def __init__(self, ansible: Ansible) -> None:
        self._ansible = ansible

    def each(self, *options: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        return self._ansible.each(MODULE, NAME, [{**COMMON, **each} for each in options])


def outcomes(results: list[dict[str, t.Any]]) -> list[tuple[str | None, list[str]]]:
    """Return the error of each result, and its completed steps."""
    return [(found.get("error_id"), [step["id"] for step in found.get("steps", [])]) for found in results]


def services(machine: Machine) -> str:
    return " ".join(machine.read("snap services canonical-livepatch | tail -1").split()[1:3])


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """The machine with the client's snap, which has no assertion, and without the files of the collection."""
    if machine.run("snap list canonical-livepatch").returncode != 0:
        machine.read(f"snap install --dangerous {CLIENT}", timeout=300)
    return machine


@pytest.fixture
def limited(installed: Machine) -> Iterator[Machine]:
    """The machine, on which the limit of five starts counts those of an hour, so that it never depends on the speed."""
    folder = f"/run/systemd/system/{SERVICE}.d"
    setting = "[Unit]\\nStartLimitIntervalSec=3600\\n"
    installed.read(f"mkdir -p {folder}; printf '{setting}' >{folder}/limit.conf; systemctl daemon-reload")
    yield installed
    installed.read(f"rm -r {folder}; systemctl daemon-reload; systemctl reset-failed {SERVICE}")


def test_a_client_comes_from_a_store_or_a_signed_file(client: Client, machine: Machine) -> None:
    """Nothing of these can succeed here, and each failure is recognised by the words of the real snapd."""
    machine.read(f"printf garbage >/root/bad.assert; cat >/root/alone.assert <<'END'\n{ASSERTION}END")
    found = client.each(
        {"state": "present"},
        {"state": "present", "snap_file": CLIENT},
        {"state": "present", "snap_file": "/root/missing.snap"},
        {"state": "present", "snap_file": CLIENT, "snap_assertion": "/root/bad.assert"},
        {"state": "present", "snap_file": CLIENT, "snap_assertion": "/root/alone.assert"},
        {"state": "present", "snap_file": CLIENT, "snap_assertion": "/root/missing.assert"},
        {"state": "disabled"},
        {"state": "absent"},
    )
    assert outcomes(found) == [
        ("store_unreachable", []),
        ("snap_unsigned", []),
        ("snap_file_missing", []),
        ("assertion_refused", []),
        ("assertion_refused", []),
        ("snap_file_missing", []),
        (None, []),
        (None, []),
    ]
    assert [each.get("failed_step") for each in found[:6]] == ["install", *["install_file"] * 2, *["acknowledge"] * 3]
    assert machine.run("snap list canonical-livepatch").returncode == 1


def test_a_client_is_configured_enabled_changed_and_disabled(client: Client, limited: Machine) -> None:
    """In mode `stop`, systemd reaches its limit of starts, and refuses all others."""
    found = client.each(
        {"state": "present"},
        {"config": {"check-interval": 120}},
        {"config": {"check-interval": 120}},
        {"mode": "no-apply"},
        {"mode": "stop"},
        {"mode": "normal"},
        {"token": "another-token"},
        {"channel": "edge"},
    )
    assert outcomes(found) == [
        (None, []),
        (None, ["config", "enable"]),
        (None, []),
        (None, ["mode"]),
        (None, ["mode"]),
        (None, ["mode"]),
        ("bad_token", ["disable"]),
        (None, ["enable"]),
    ]
    assert found[1]["token_transport"] == "socket"
    assert (found[1]["version"], found[1]["enabled"]) == ("10.8.3", True)
    assert services(limited) == "enabled active"
    assert limited.read(f"systemctl is-active {SERVICE}") == "active"
    (disabled, again) = client.each({"state": "disabled"}, {"state": "disabled"})
    assert outcomes([disabled, again]) == [(None, ["disable"]), (None, [])]


def test_a_disabled_snap_is_enabled_again(client: Client, installed: Machine) -> None:
    """`snap disable` removes the command, and `snap install` then only says that the snap is installed."""
    (before,) = client.each({})
    assert outcomes([before])[0][0] is None
    installed.read("snap disable canonical-livepatch", timeout=300)
    found = client.each({"state": "present", "token": None}, {})
    assert outcomes(found) == [(None, ["snap_enable"]), (None, [])]
    assert services(installed) == "enabled active"


def test_a_service_that_is_stopped_is_a_failure(client: Client, installed: Machine) -> None:
    installed.read("snap stop --disable canonical-livepatch", timeout=300)
    (stopped,) = client.each({})
    assert stopped["error_id"] == "daemon_down"
    installed.read("snap start --enable canonical-livepatch", timeout=300)
    (started,) = client.each({})
    assert (started.get("error_id"), started["enabled"]) == (None, True)


def test_changes_fail_at_once_while_snapd_is_stopped(client: Client, installed: Machine) -> None:
    installed.read("systemctl stop snapd.socket snapd.service")
    try:
        present, changed, absent = client.each({}, {"mode": "no-apply"}, {"state": "absent"})
    finally:
        installed.read("systemctl start snapd.socket snapd.service", timeout=300)
    # The service manager restarts the daemon without snapd.
    assert outcomes([present, changed]) == [(None, []), (None, ["mode"])]
    assert (absent["kind"], absent["error_id"]) == ("ignored", "snapd_down")


def test_a_client_is_removed_also_if_its_snap_is_disabled(client: Client, installed: Machine) -> None:
    installed.read("snap disable canonical-livepatch", timeout=300)
    absent, again = client.each({"state": "absent"}, {"state": "absent"})
    assert outcomes([absent, again]) == [(None, ["snap_enable", "disable", "remove"]), (None, [])]
    assert installed.run("ls /snap/canonical-livepatch /var/snap/canonical-livepatch").stdout == ""
    assert installed.run(f"systemctl cat {SERVICE}").returncode == 1
