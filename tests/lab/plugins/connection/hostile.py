# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connection plugin of the lab: it plays a host that controls every byte of its answers."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hostile
short_description: Play a hostile host
description:
  - Nothing is executed. The plugin takes the nonce from the script, and returns the answer of a scenario.
author:
  - The kernelops.livepatch contributors
options:
  scenario:
    description: The name of the scenario.
    type: str
    required: true
    vars:
      - name: hostile_scenario
"""

import json
import re
import subprocess

from ansible.plugins.connection import ConnectionBase

_NONCE = re.compile(rb"^lp_nonce=([0-9a-f]+)$", re.MULTILINE)
_MEGABYTE = 1 << 20
_RELEASE = (
    b"/proc/sys/kernel/osrelease:4.4.0-168-generic\n/proc/version_signature:Ubuntu 4.4.0-168.197-generic 4.4.197\n"
)
_SNAPD = b"snap    2.54.3\nsnapd   2.54.3+16.04\n"
_FACTS = {b"user": b"0", b"clock": b"1772337600", b"machine": b"x86_64", b"architecture": b"amd64", b"snapd": _SNAPD}
_PATHS = b"ok /etc/os-release\nok /etc/machine-id\nok /proc/sys/kernel/osrelease\nok /proc/version_signature"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e".encode()


def _status(**livepatch: object) -> bytes:
    entry = {"kernel": "4.4.0-168.197-generic", "running": True, "livepatch": {"state": "applied", **livepatch}}
    return json.dumps({"client-version": "10.0", "status": [entry]}).encode()


def _fixes(count: int) -> list[dict[str, object]]:
    return [{"name": f"CVE-2016-{number:06}", "patched": True} for number in range(count)]


def _os_release(value: bytes) -> dict[bytes, bytes]:
    return {b"paths": _PATHS, b"files": _RELEASE + b"/etc/os-release:ID=" + value}


_SECTIONS = {
    "machine_id": {b"paths": _PATHS, b"files": _RELEASE + b"/etc/machine-id:\xff\xfe\x80"},
    "fixes": {b"status json": _status(version="65.1", fixes=_fixes(200_000))},
    "many_fixes": {b"status json": _status(version="65.1", fixes=_fixes(5_000))},
    "paths": {b"paths": b"ok /sys/kernel/livepatch/x/enabled\n" * (_MEGABYTE // 2)},
    "escapes": {b"status json": ESCAPES, b"machine": ESCAPES, b"virtualization": ESCAPES},
    "future": {b"clock": b"99999999999", b"paths": _PATHS, b"files": _RELEASE},
    "os_release": _os_release(b"'" + b"x" * _MEGABYTE),
    "os_release_escapes": _os_release(b'"' + b'\\"' * _MEGABYTE),
    "deep_json": {b"status json": b'{"status":' * 20_000, b"config": b"[" * 100_000},
    "nul": {b"machine": b"\x00" * 1000, b"files": b"\x00", b"status json": b"\x00{\x00}"},
    "wide": {b"architecture": b"a" * 250_000, b"machine": b"m" * 250_000, b"virtualization": b"v" * 250_000},
}
"""Sections that replace those of `_FACTS`, by scenario."""

SCENARIOS = (
    *_SECTIONS,
    "exit_code",
    "forged",
    "no_end",
    "duplicates",
    "crlf",
    "wrong_nonce",
    "empty",
    "endless",
    "refusal",
    "silent",
)


def _boundary(nonce: bytes, words: bytes) -> bytes:
    return b"\n@" + nonce + b" " + words + b"\n"


def _answer(nonce: bytes, sections: dict[bytes, bytes], code: bytes = b"0", end: bytes = b"done") -> bytes:
    return b"".join(
        [
            _boundary(nonce, b"begin 1"),
            *(
                _boundary(nonce, b"section " + name) + text + _boundary(nonce, b"end " + name + b" ok " + code)
                for name, text in sections.items()
            ),
            _boundary(nonce, end),
        ]
    )


def _reply(scenario: str, nonce: bytes) -> tuple[int, bytes, bytes]:
    """Return exit code, output and errors."""
    facts = {**_FACTS, **_SECTIONS.get(scenario, {})}
    answer = _answer(nonce, facts)
    match scenario:
        case "exit_code":
            answer = _answer(nonce, facts, code=b"9" * 5000)
        case "forged":
            other = _answer(b"0" * len(nonce), {b"status json": _status(version="65.1", **{"check-state": "checked"})})
            answer = _answer(nonce, {b"machine": other})
        case "no_end":
            answer = _answer(nonce, facts, end=b"section status json")
        case "duplicates":
            answer += answer * 20
        case "crlf":
            answer = answer.replace(b"\n", b"\r\n")
        case "wrong_nonce":
            answer = _answer(b"0" * len(nonce), facts)
        case "empty":
            answer = b""
        case "endless":
            answer += b"x" * (32 * _MEGABYTE)
        case "refusal":
            return 255 - 1, b"\xff" * _MEGABYTE, ESCAPES * 10_000
        case "silent":
            # Like the plugins of Ansible without a context, which would wait for the process after an exception.
            subprocess.Popen(["/bin/sleep", "600"]).wait()
    return 0, answer, b"\x00\xff" + ESCAPES


class Connection(ConnectionBase):
    """A connection to a hostile host."""

    transport = "hostile"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Return the answer of the scenario to a script."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        found = _NONCE.search(in_data or b"")
        if found is None:
            raise AssertionError("this is not a script of the collection")
        return _reply(self.get_option("scenario"), found[1])

    def put_file(self, in_path: str, out_path: str) -> None:
        raise NotImplementedError

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._connected = False

    def reset(self) -> None:
        self.close()
