# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The output of `canonical-livepatch`, for each of its five generations.

``texts`` returns every text that the client double can print, by the name of the file that holds it:
``status-text`` (2016), ``status-yaml``, ``status-json``, ``status-humane``, each also with ``-verbose``,
and ``config``, ``version``, ``refusal``, ``daemon-down``, ``not-enabled``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import typing as t

from ..hosts.description import Client, Fix, seconds
from .settings import defaults

_HUMANE_STATES = {
    "unapplied": "✗ patch is not applied",
    "applying": "applying kernel live patch modules",
    "applied": "✓ all applicable kernel live patch modules applied",
    "applied-with-bug": "✗ applied, with a bug reported",
    "apply-failed": "✗ failed to apply kernel live patch modules",
    "nothing-to-apply": "✓ no livepatches available for this kernel yet",
    "kernel-upgrade-required": "✗ a kernel upgrade is required",
}
_HUMANE_SUPPORT = {
    "supported": "✓ kernel series {series} is covered by Livepatch",
    "unsupported": "✗ kernel is not supported by Canonical",
    "kernel-upgrade-required": "✗ livepatch coverage ended; please upgrade the kernel and reboot",
    "kernel-end-of-life": "✗ kernel series {series} is end of life",
}
_NOT_ENABLED = (
    "Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the\n"
    "token obtained from https://ubuntu.com/livepatch.\n"
)


@dataclasses.dataclass(frozen=True)
class Machine:
    """The data of a host that the client reports. `now` is the current time of the lab, with a time zone."""

    kernel: str
    machine: str
    machine_id: str
    machine_token: str
    cloud: str
    server: str
    booted: dt.timedelta
    now: dt.datetime


def texts(client: Client, machine: Machine) -> dict[str, str]:
    """Return every text of this client, by name."""
    generation = client.generation
    status: dict[str, str] = {}
    for verbose in (False, True):
        suffix = "-verbose" if verbose else ""
        if generation == "2016":
            status["status-text" + suffix] = _first_status(client, machine)
            continue
        status["status-yaml" + suffix] = _yaml(_yaml_status(client, machine, verbose=verbose))
        if generation != "6":
            document = _json_status(client, machine, verbose=verbose)
            status["status-json" + suffix] = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            status["status-humane" + suffix] = _humane_status(client, machine, verbose=verbose)
    return status | {
        "config": "".join(f"{key}: {_quoted(value)}\n" for key, value in _settings(client, machine).items()),
        "version": f"canonical-livepatch version {_version(client)}\n",
        "not-enabled": _NOT_ENABLED,
        "daemon-down": _daemon_down(client, machine),
        "refusal": f"{machine.now:%Y/%m/%d %H:%M:%S} cannot use livepatch: your kernel "
        f'"{_release(machine.kernel)}" is not eligible for livepatch updates\n',
    }


def _release(kernel: str) -> str:
    """Return the kernel as in ``uname -r``; the 2018 client uses this name for a kernel that it refuses."""
    return re.sub(r"-(\d+)\.[^-]*-", r"-\1-", kernel)


def _version(client: Client) -> str:
    return f"v{client.version}" if client.generation == "11" else client.version


def _settings(client: Client, machine: Machine) -> dict[str, str]:
    return defaults(client) | {"remote-server": machine.server} | client.settings


def _daemon_down(client: Client, machine: Machine) -> str:
    if client.generation == "2016":
        return (
            "Connection to the daemon failed: Get http://127.0.0.1/status?verbose=false: dial unix "
            "/var/snap/canonical-livepatch/15/livepatchd.sock: connect: no such file or directory\n"
        )
    stamp = f"{machine.now:%Y/%m/%d %H:%M:%S} " if client.generation == "6" else ""
    return (
        f"{stamp}error executing status: cannot connect to the daemon: Get http://127.0.0.1/status: dial unix "
        "/var/snap/canonical-livepatch/current/livepatchd.sock: connect: no such file or directory\n"
    )


def _first_status(client: Client, machine: Machine) -> str:
    mark = " (unsupported)" if client.supported == "unsupported" else ""
    patched = "true" if client.patch_state in ("applied", "nothing-to-apply") else "false"
    return f'kernel: {machine.kernel}{mark}\nfully-patched: {patched}\nversion: "{client.patch_version}"\n'


def _times(client: Client, machine: Machine) -> tuple[str, str, str, int]:
    """Return last check, boot time and uptime in the format of this generation, and the uptime in seconds."""
    uptime = int(machine.booted.total_seconds())
    hours, rest = divmod(uptime, 3600)
    minutes, remainder = divmod(rest, 60)
    duration = f"{hours}h{minutes}m{remainder}s" if hours else f"{minutes}m{remainder}s" if minutes else f"{remainder}s"
    checked = machine.now - dt.timedelta(seconds=seconds(client.last_check))
    booted = machine.now - machine.booted
    if client.generation == "6":
        zone = dt.timezone(dt.timedelta(hours=-7))
        return f"{checked.astimezone(zone):%Y-%m-%dT%H:%M:%S}.094602474-07:00", _rfc3339(booted, zone), duration, uptime
    zone = dt.timezone(dt.timedelta(hours=1 if client.generation == "10" else 0))
    return _rfc3339(checked, zone), _rfc3339(booted, dt.timezone.utc), duration, uptime


def _rfc3339(moment: dt.datetime, zone: dt.timezone) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")


def _upgrade_date(client: Client, machine: Machine) -> str | None:
    if client.upgrade_required_in is None:
        return None
    return f"{machine.now + dt.timedelta(days=client.upgrade_required_in):%Y-%m-%d}"


def _architecture(client: Client, machine: Machine) -> str:
    return "amd64" if client.generation in ("10", "11") and machine.machine == "x86_64" else machine.machine


def _fix_line(fix: Fix, generation: str) -> str:
    bug = f"{':' if generation != '6' else ''} LP: #{fix.bug}" if fix.bug else ""
    return f"* {fix.cve}{bug}{'' if fix.patched else ' (unpatched)'}"


def _yaml_status(client: Client, machine: Machine, *, verbose: bool) -> dict[str, t.Any]:
    checked, booted, uptime, _seconds = _times(client, machine)
    newer = client.generation in ("10", "11")
    fixes = "\n".join(_fix_line(fix, client.generation) for fix in client.fixes)
    entries = [
        {
            "kernel": machine.kernel,
            "running": True,
            "livepatch": {
                "checkState": client.check_state,
                "patchState": client.patch_state,
                "version": client.patch_version,
                **({"fixes": fixes} if fixes or client.generation == "6" else {}),
            },
            **({"supported": client.supported, "upgradeRequiredDate": _upgrade_date(client, machine)} if newer else {}),
        }
    ]
    others = [
        {
            "kernel": other.kernel,
            "running": False,
            "livepatch": {"checkState": "checked", "patchState": other.patch_state, "version": other.patch_version},
        }
        for other in client.other_kernels
    ]
    return {
        "client-version": _version(client),
        **({"machine-id": machine.machine_id} if newer or verbose else {}),
        **({"machine-token": machine.machine_token} if verbose else {}),
        "architecture": _architecture(client, machine),
        "cpu-model": "Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz",
        "last-check": checked,
        "boot-time": booted,
        "uptime": uptime,
        "status": others + entries,
        **({"tier": client.tier, "cloud-enabled": _cloud(machine)} if newer else {}),
    }


def _cloud(machine: Machine) -> dict[str, t.Any]:
    return {"cloud-enabled": bool(machine.cloud), "cloud": machine.cloud, "region": "", "az": ""}


def _json_status(client: Client, machine: Machine, *, verbose: bool) -> dict[str, t.Any]:
    checked, booted, _uptime, uptime = _times(client, machine)
    newer = client.generation in ("10", "11")
    entry: dict[str, t.Any] = {
        "Kernel": machine.kernel,
        "Running": True,
        "Livepatch": {
            "CheckState": client.check_state,
            "State": client.patch_state,
            "Version": client.patch_version,
            **({"Fixes": [_json_fix(fix) for fix in client.fixes]} if client.fixes else {}),
        },
    }
    if newer:
        entry |= {"Supported": client.supported, "UpgradeRequiredDate": _upgrade_date(client, machine)}
    others = [
        {
            "Kernel": other.kernel,
            "Running": False,
            "Livepatch": {"CheckState": "checked", "State": other.patch_state, "Version": other.patch_version},
        }
        for other in client.other_kernels
    ]
    document: dict[str, t.Any] = {
        "Client-Version": _version(client),
        "Machine-Id": machine.machine_id,
        **({"Machine-Token": machine.machine_token} if verbose else {}),
        "Architecture": _architecture(client, machine),
        "CPU-Model": "Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz",
        "Last-Check": checked,
        "Boot-Time": booted,
        "Uptime": str(uptime),
        "Status": [*others, entry],
    }
    if newer:
        document |= {"tier": client.tier, "Cloud-Enabled": _cloud_json(machine)}
    if client.numbers >= (10, 15) and client.blocking_options:
        document |= {
            "Blocking-Options": list(client.blocking_options),
            "Using-Cutoff-Date": "cutoff-date" in client.blocking_options,
            "Excluded-LSNs": list(client.excluded_notices),
        }
    if client.generation == "11":
        document["Fixed-CVEs"] = {
            "Timestamp": checked,
            "Kernel-Package-Fixes": {},
            "Installed-Kernels": [machine.kernel],
            "Patched-CVEs": [fix.cve.lower() for fix in client.fixes if fix.patched],
            "Digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        }
    return document


def _cloud_json(machine: Machine) -> dict[str, t.Any]:
    return {"Cloud-Enabled": bool(machine.cloud), "Cloud": machine.cloud, "Region": "", "AZ": ""}


def _json_fix(fix: Fix) -> dict[str, t.Any]:
    return {"Name": fix.cve.lower(), "Description": "", "Bug": fix.bug or "", "Patched": fix.patched}


def _humane_status(client: Client, machine: Machine, *, verbose: bool) -> str:
    age = seconds(client.last_check)
    lines = [
        f"last check: {age // 60} minutes ago" if age >= 120 else f"last check: {age} seconds ago",
        f"kernel: {machine.kernel}",
        f"server check-in: {'failed' if client.check_state == 'check-failed' else 'succeeded'}",
    ]
    if client.supported is not None:
        series = ".".join(machine.kernel.split(".")[:2])
        lines.append(
            "kernel state: " + _HUMANE_SUPPORT.get(client.supported, client.supported).replace("{series}", series)
        )
    lines.append("patch state: " + _HUMANE_STATES.get(client.patch_state, client.patch_state))
    if client.patch_version:
        lines.append(f"patch version: {client.patch_version}")
    if client.generation in ("10", "11"):
        free = " (Free usage; This machine beta tests new patches.)" if client.tier == "updates" else ""
        lines.append(f"tier: {client.tier}{free}")
        lines.append(f"machine id: {machine.machine_id}")
    if verbose:
        lines += [f"client version: {_version(client)}", f"machine token: {machine.machine_token}"]
    return "\n".join(lines) + "\n"


_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9 ()@._/-]*|\d{4}-\d\d-\d\dT[0-9:.+-]+Z?|\d+[hms][0-9hms]*|\d+\.\d+\.\d+(-[0-9a-z.~+-]+)?"
)
_RESERVED = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def _yaml(value: dict[str, t.Any], indent: str = "") -> str:
    """Write a mapping as the client does: plain scalars without quotes, text of several lines as a literal block."""
    lines: list[str] = []
    for key, member in value.items():
        if isinstance(member, dict):
            lines.append(f"{indent}{key}:\n{_yaml(member, indent + '  ')}")
        elif isinstance(member, list):
            lines.append(f"{indent}{key}:\n")
            for item in member:
                text = _yaml(item, indent + "  ")
                lines.append(f"{indent}- {text[len(indent) + 2 :]}")
        elif isinstance(member, str) and re.fullmatch(r"[\x20-\x7e]+(\n[\x20-\x7e]+)*", member) and key == "fixes":
            block = "".join(f"{indent}  {line}\n" for line in member.split("\n"))
            lines.append(f"{indent}{key}: |-\n{block}")
        else:
            lines.append(f"{indent}{key}: {_yaml_scalar(member)}\n")
    return "".join(lines)


def _yaml_scalar(value: str | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED else _quoted(value)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
