# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `client` over a real sshd with real sudo, on a host without Python, with a daemon on a socket."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import threading
import typing as t
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible, Run
from tests.integration.sshd import Sshd, UnavailableError, running

pytestmark = pytest.mark.matrix

MODULE = "kernelops.livepatch.client"
TOKEN = "5b1e7a90c2d34f68a7b9c0d1e2f3a4b5"
OTHER = "6c2f8b01d3e45079b8cad1e2f3a4b5c6"
MACHINE_TOKEN = "7d309c12e4f5618ac9dbe2f3a4b5c6d7"
# It puts the client on the PATH, and links the daemon's folders, which the test has outside.
SNAP = """\
#!/bin/sh
folder=$(cd "$(dirname "$0")/.." && pwd)
case $1 in
    version) printf 'snap    2.61.4\\nsnapd   2.61.4\\nseries  16\\n' ;;
    wait) ;;
    install)
        mkdir -p /var/snap/canonical-livepatch
        ln -s "$folder/client/current" /var/snap/canonical-livepatch/current
        ln -s "$folder/client/common" /var/snap/canonical-livepatch/common
        ln -s "$folder/programs/livepatch-of-the-snap" "$folder/programs/canonical-livepatch"
        ;;
    *) exit 1 ;;
esac
"""
CLIENT = """\
#!/bin/sh
token=/var/snap/canonical-livepatch/common/machine-token
case $* in
    "status --format json")
        if [ ! -e "$token" ]; then
            echo "Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the token" >&2
            exit 1
        fi
        echo '{"Client-Version": "10.8.3", "Status": [{"Kernel": "4.4.0-168.197-generic", "Running": true,
            "Livepatch": {"CheckState": "checked", "State": "nothing-to-apply"}}]}'
        ;;
    config) echo 'remote-server: "https://livepatch.canonical.com"' ;;
    disable) echo "Successfully disabled device. Removed machine-token: $(cat "$token")"; rm "$token" ;;
    *) exit 2 ;;
esac
"""


class Daemon(http.server.BaseHTTPRequestHandler):
    """The client's daemon, as far as it enables."""

    given: t.ClassVar[list[str]] = []
    folder: t.ClassVar[Path]

    def do_PUT(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        assert address.path == "/enable"
        self.given.append(urllib.parse.parse_qs(address.query)["auth-token"][0])
        (self.folder / "common" / "machine-token").write_text(MACHINE_TOKEN, encoding="ascii")
        body = f"Successfully enabled device. Using machine-token: {MACHINE_TOKEN}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_said: t.Any) -> None:
        """Say nothing."""


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    """A host of its own for each test, without a client."""
    programs = {"snap": SNAP, "livepatch-of-the-snap": CLIENT}
    with contextlib.ExitStack() as stack:
        try:
            sshd = stack.enter_context(running(programs))
        except UnavailableError as reason:
            pytest.skip(str(reason))
        folder = sshd.folder / "client"
        for part in ("current", "common"):
            (folder / part).mkdir(parents=True)
        Daemon.given, Daemon.folder = [], folder
        server = socketserver.UnixStreamServer(str(folder / "current" / "livepatchd-priv.sock"), Daemon)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        yield sshd


def operator(sshd: Sshd, folder: Path) -> t.Callable[..., Run]:
    sudo = {"ansible_become": True, "ansible_become_password": sshd.password}
    su = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_password": sshd.root_password}
    inventory = {"all": {"vars": sshd.variables, "hosts": {"by-sudo": sudo, "by-su": su, "no-become": {}}}}
    (folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    ansible = Ansible(folder, {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(sshd.folder / "sockets")})

    def run(host: str, **options: t.Any) -> Run:
        given = {"require_eligible": False, "network": False, "token_transport": "socket", **options}
        return ansible.task(MODULE, host, "-i", "inventory.json", "-vvvvv", "--diff", **given)

    return run


def test_sudo_with_a_password_enables_in_two_round_trips_and_tells_no_secret(sshd: Sshd, tmp_path: Path) -> None:
    run = operator(sshd, tmp_path)
    trips = sshd.commands()
    enabled = run("by-sudo", token=TOKEN)
    result = enabled.result("by-sudo")
    assert result["kind"] == "ok", enabled.output[-3000:]
    assert [step["id"] for step in result["steps"]] == ["install", "enable"]
    assert (result["enabled"], result["token_transport"], result["version"]) == (True, "socket", "10.8.3")
    assert Daemon.given == [TOKEN]
    assert sshd.commands() - trips == 2
    again = run("by-sudo", token=TOKEN)
    assert (again.result("by-sudo")["changed"], sshd.commands() - trips) == (False, 3)
    changed = run("by-sudo", token=OTHER)
    assert [step["id"] for step in changed.result("by-sudo")["steps"]] == ["disable", "enable"]
    assert Daemon.given == [TOKEN, OTHER]
    for seen in (enabled, again, changed):
        for secret in (TOKEN, OTHER, MACHINE_TOKEN, sshd.password):
            assert secret not in seen.output
            assert secret not in json.dumps(seen.results)


def test_su_gives_no_secret_a_way_and_does_what_needs_none(sshd: Sshd, tmp_path: Path) -> None:
    run = operator(sshd, tmp_path)
    refused = run("by-su", token=TOKEN).result("by-su")
    assert (refused["kind"], refused["error_id"]) == ("failed", "stdin_unavailable"), refused["msg"]
    assert Daemon.given == []
    assert run("by-sudo", token=TOKEN).result("by-sudo")["enabled"] is True
    unchanged = run("by-su", token=TOKEN).result("by-su")
    assert (unchanged["kind"], unchanged["changed"]) == ("ok", False), unchanged["msg"]
    disabled = run("by-su", state="disabled").result("by-su")
    assert (disabled["kind"], disabled["enabled"]) == ("ok", False), disabled["msg"]


def test_who_is_not_root_is_told_so(sshd: Sshd, tmp_path: Path) -> None:
    result = operator(sshd, tmp_path)("no-become", token=TOKEN).result("no-become")
    assert (result["kind"], result["error_id"]) == ("failed", "not_root")
    assert "--become" in result["remedy"]
