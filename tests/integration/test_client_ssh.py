# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `client` over a real sshd with real sudo and su, on a host without Python."""

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
# Puts the client on the PATH, and links the daemon's folders, which are outside of the host.
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
    """The part of the client's daemon that enables the client."""

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

    def log_message(self, *_message: t.Any) -> None:
        """Print nothing."""


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    """Return a separate host for each test, without a client."""
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


def play(sshd: Sshd, folder: Path, *cases: tuple[str, dict[str, t.Any]]) -> tuple[Run, list[dict[str, t.Any]]]:
    """Run the module for each pair of an account and options, at the highest verbosity. Return the results in order."""
    sudo = {"ansible_become": True, "ansible_become_password": sshd.password}
    su = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_password": sshd.root_password}
    inventory = {"all": {"vars": sshd.variables, "hosts": {"by-sudo": sudo, "by-su": su, "no-become": {}}}}
    (folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    usual = {"require_eligible": False, "network": False, "token_transport": "socket"}
    tasks = [
        {"hosts": host, "tasks": [{MODULE: {**usual, **options}, "ignore_errors": True}]} for host, options in cases
    ]
    plays = [{**play, "gather_facts": False} for play in tasks]
    (folder / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
    ansible = Ansible(folder, {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(sshd.folder / "sockets")})
    run = ansible.command("playbook", "play.yml", "-i", "inventory.json", "-vvvvv", "--diff")
    assert [line["host"] for line in run.results] == [host for host, _options in cases], run.output[-3000:]
    return run, [{"kind": line["kind"], **line["result"]} for line in run.results]


def steps(result: dict[str, t.Any]) -> list[str]:
    return [step["id"] for step in result["steps"]]


def test_sudo_with_password_enables_in_two_round_trips(sshd: Sshd, tmp_path: Path) -> None:
    cases = [("by-sudo", {"token": token}) for token in (TOKEN, TOKEN, OTHER)]
    run, (enabled, again, changed) = play(sshd, tmp_path, *cases)
    assert enabled["kind"] == "ok", enabled
    assert (enabled["enabled"], enabled["token_transport"], enabled["version"]) == (True, "socket", "10.8.3")
    assert [steps(result) for result in (enabled, again, changed)] == [["install", "enable"], [], ["disable", "enable"]]
    assert Daemon.given == [TOKEN, OTHER]
    assert sshd.commands() == 2 + 1 + 2
    for secret in (TOKEN, OTHER, MACHINE_TOKEN, sshd.password):
        assert secret not in run.output
        assert secret not in json.dumps(run.results)


def test_su_cannot_pass_secrets(sshd: Sshd, tmp_path: Path) -> None:
    _run, results = play(
        sshd,
        tmp_path,
        ("no-become", {"token": TOKEN}),
        ("by-su", {"token": TOKEN}),
        ("by-sudo", {"token": TOKEN}),
        ("by-su", {"token": TOKEN}),
        ("by-su", {"state": "disabled"}),
    )
    not_root, refused, enabled, unchanged, disabled = results
    assert (not_root["error_id"], "--become" in not_root["remedy"]) == ("not_root", True)
    assert (refused["kind"], refused["error_id"]) == ("ignored", "stdin_unavailable"), refused["msg"]
    assert (enabled["enabled"], Daemon.given) == (True, [TOKEN])
    assert (unchanged["kind"], unchanged["changed"]) == ("ok", False), unchanged
    assert (disabled["kind"], disabled["enabled"]) == ("ok", False), disabled
