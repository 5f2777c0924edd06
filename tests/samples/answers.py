# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Answers of hosts to the scripts of tasks: the sections that a script prints."""

from __future__ import annotations

import json

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections

OLD, NEW = "4.4.0-210-generic", "4.4.0-215-generic"
"""The running kernel of a host, and a newer one."""
_SIGNATURES = {
    OLD: "Ubuntu 4.4.0-210.242-generic 4.4.262",
    NEW: "Ubuntu 4.4.0-215.248-generic 4.4.262",
}
PROTECTED = {"CheckState": "checked", "State": "nothing-to-apply", "Version": ""}
APPLYING = {"CheckState": "checked", "State": "applying", "Version": "113.1"}
UPGRADE_REQUIRED = {"CheckState": "checked", "State": "kernel-upgrade-required", "Version": ""}
"""Values of ``Livepatch`` in the status of the client."""


CLOCK = 1772337600
"""The clock of the host: 2026-03-01T04:00:00Z."""


def ok(name: str, output: str = "", exit_code: int = 0, errors: str = "") -> Section:
    """Return a section of a command that ended."""
    return Section(name, "ok", output, errors, exit_code=exit_code)


def answer(*sections: Section, complete: bool = True) -> Sections:
    """Return an answer with these sections."""
    return Sections(sections, complete=complete)


def probe(
    kernel: str = OLD,
    livepatch: dict[str, str] | None = None,
    installed: tuple[str, ...] = (),
    user: str = "0",
    clock: int = CLOCK,
    last_check: str = "2026-03-01T03:20:00Z",
) -> list[Section]:
    """Return the sections of ``probe.sh`` on an Ubuntu 16.04 server. Without `livepatch`, the client is not enabled."""
    files = {
        "/etc/os-release": 'ID=ubuntu\nVERSION_ID="16.04"\nVERSION_CODENAME=xenial',
        "/proc/sys/kernel/osrelease": kernel,
        "/proc/sys/kernel/version": "#242-Ubuntu SMP Fri Apr 16 09:57:56 UTC 2021",
        "/proc/version_signature": _SIGNATURES[kernel],
        "/proc/uptime": "93784.25 180000.00",
    }
    kernels = dict.fromkeys((kernel, *installed))
    paths = [*files, *(f"/boot/vmlinuz-{release}" for release in kernels), "/sys/kernel/livepatch"]
    return [
        ok("user", user),
        ok("clock", str(clock)),
        ok("paths", "\n".join(f"ok {path}" for path in [*paths, "/snap/bin/canonical-livepatch"])),
        ok("files", "\n".join(f"{path}:{line}" for path, text in files.items() for line in text.splitlines())),
        ok("machine", "x86_64"),
        ok("architecture", "amd64"),
        ok("containers", "docker 2\nlxd 0\npodman 0"),
        ok("virtualization", "kvm"),
        ok("keys"),
        ok("command_line"),
        ok("config", 'log-level: "warning"'),
        _status(kernel, livepatch, last_check),
    ]


def _status(kernel: str, livepatch: dict[str, str] | None, last_check: str) -> Section:
    if livepatch is None:
        return ok("status json", "", 1, "Machine is not enabled. Please run 'sudo canonical-livepatch enable'")
    full = _SIGNATURES[kernel].split()[1]
    entry = {"Kernel": full, "Running": True, "Livepatch": livepatch, "Supported": "supported"}
    status = {
        "Client-Version": "10.8.3",
        "Machine-Id": "9f86d081884c7d659a2feaa0c55ad015",
        "Architecture": "amd64",
        "Last-Check": last_check,
        "Status": [entry],
        "tier": "updates",
    }
    return ok("status json", json.dumps(status))
