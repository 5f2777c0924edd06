# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts that people described in public, as the sections that the script ``probe.sh`` prints on them."""

from __future__ import annotations

import datetime
import json
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import module_name, parse_kernel_name
from tests.samples.answers import ok

NOW = datetime.datetime(2026, 11, 26, 11, 17, tzinfo=datetime.timezone.utc)
"""The time of the check, by the clocks of controller and hosts."""
CODENAMES = {
    "14.04": "trusty",
    "16.04": "xenial",
    "18.04": "bionic",
    "20.04": "focal",
    "22.04": "jammy",
    "24.04": "noble",
    "26.04": "resolute",
}
NOT_ENABLED = "Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the token obtained"
_CLIENT = "/snap/bin/canonical-livepatch"
_SERVERS = ("https://livepatch.canonical.com", "https://livepatch-files.canonical.com")


class Text(t.NamedTuple):
    """The output of ``canonical-livepatch status``: of a status, or of an error on standard error."""

    output: str = ""
    errors: str = ""
    exit_code: int = 0


def says(text: str) -> Text:
    """Return the output of a client that prints an error instead of a status."""
    return Text(errors=text, exit_code=1)


def as_json(
    kernel: str,
    state: str,
    version: str = "",
    *,
    check: str = "checked",
    supported: str | None = "supported",
    checked: datetime.timedelta = datetime.timedelta(minutes=20),
    client: str = "10.8.3",
    others: t.Sequence[dict[str, t.Any]] = (),
    **fields: t.Any,
) -> Text:
    """Return the status of a client 9.5 or newer. `others` are entries before that of the running kernel."""
    entry: dict[str, t.Any] = {
        "Kernel": kernel,
        "Running": True,
        "Livepatch": {"CheckState": check, "State": state, "Version": version},
    }
    if supported is not None:
        entry["Supported"] = supported
    status = {
        "Client-Version": client,
        "Machine-Id": "ef27e450888b6d8cd15cc7c89873c412",
        "Last-Check": (NOW - checked).isoformat(),
        "Status": [*others, entry],
        "tier": "updates",
        **fields,
    }
    return Text(json.dumps(status))


def as_yaml(
    kernel: str,
    state: str,
    version: str = "",
    *,
    check: str = "checked",
    checked: datetime.timedelta = datetime.timedelta(minutes=20),
    client: str = "8.0.2",
) -> Text:
    """Return the status of a client 6 to 9.4, which prints local times with nanoseconds."""
    local = (NOW - checked).astimezone(datetime.timezone(datetime.timedelta(hours=5)))
    return Text(
        f"client-version: {client}\narchitecture: x86_64\nlast-check: {local:%Y-%m-%dT%H:%M:%S}.094602474+05:00\n"
        f"status:\n- kernel: {kernel}\n  running: true\n  livepatch:\n    checkState: {check}\n"
        f'    patchState: {state}\n    version: "{version}"\n    fixes: ""\n'
    )


def describe(
    release: str,
    kernel: str,
    status: Text | None = None,
    *,
    built: str | None = "Mon May 04 10:00:00 UTC 2026",
    package_time: int | None = None,
    installed: t.Sequence[str] = (),
    own_image: bool = True,
    loaded: str | None = None,
    signature: bool = True,
    os_release: t.Mapping[str, str] | None = None,
    architecture: str = "amd64",
    virtualization: str = "kvm",
    uptime: datetime.timedelta = datetime.timedelta(days=9),
    ahead: datetime.timedelta = datetime.timedelta(0),
    command_line: str = "",
    config: str | None = None,
    journal: str = "",
    network: t.Literal["reached", "refused", "files refused"] = "reached",
    secure_boot: bool = False,
    keys: bool = True,
    livepatch: bool = True,
    files: t.Mapping[str, str] | None = None,
    paths: t.Sequence[str] = (),
    snapd: str | None = "snap 2.63\nsnapd 2.63",
) -> HostFacts:
    """Return the facts of a host.

    `kernel` is the full name of an Ubuntu kernel, or without `signature` the release of another one. `status` is what
    its client prints, None for a host without one. `built` is the date in ``uname -v``, and None if it was cut;
    `package_time` is that of the package of the kernel. `installed` are the other kernels in /boot, which has the
    running kernel only with `own_image`. `loaded` is the version of a live patch that the kernel shows, and `livepatch`
    is false for a kernel that supports none. `keys` is false for a kernel without the live patch key. `ahead` is the
    time by which the clock of the host is ahead. `files` have contents, and `paths` only exist.
    """
    name = parse_kernel_name(kernel)
    running = name.release if name is not None and signature else kernel
    content = {
        "/etc/os-release": "\n".join(f'{key}="{value}"' for key, value in (os_release or ubuntu(release)).items()),
        "/proc/sys/kernel/osrelease": running,
        "/proc/sys/kernel/version": f"#1-Ubuntu SMP {built}" if built else "#1-Ubuntu SMP PREEMPT_DYNAMIC Mon Jan 5 1",
        "/proc/uptime": f"{uptime.total_seconds():.2f} 1.00",
        **(files or {}),
    }
    if signature:
        content["/proc/version_signature"] = f"Ubuntu {kernel} {running.partition('-')[0]}"
    content |= _loaded(kernel, loaded) if loaded else {}
    images = [f"/boot/vmlinuz-{each}" for each in dict.fromkeys((*((running,) if own_image else ()), *installed))]
    present = [*content, *images, "/boot", "/proc/cmdline", "/sys/kernel", *paths]
    present += ["/sys/kernel/livepatch"] * livepatch + [_CLIENT] * (status is not None)
    present += ["/sys/firmware/efi"] * secure_boot
    sections = [
        ok("user", "0"),
        ok("clock", str(int((NOW + ahead).timestamp()))),
        ok("paths", "\n".join(f"ok {path}" for path in present)),
        ok("files", "\n".join(f"{path}:{line}" for path, text in content.items() for line in text.split("\n"))),
        ok("command_line", command_line),
        ok("machine", _MACHINES.get(architecture, architecture)),
        ok("architecture", architecture),
        ok("containers", "docker 0\nlxd 0\npodman 0"),
        ok("virtualization", virtualization, 1 if virtualization == "none" else 0),
        ok("keys", _KEY if keys else ""),
        *([ok("mokutil", "SecureBoot enabled")] if secure_boot else []),
        *([ok("kernel_times", f"{package_time} /boot/vmlinuz-{running}")] if package_time else []),
        *_client(status, config, journal),
        Section("snapd", "absent", "", "") if snapd is None else ok("snapd", snapd),
        *_network(network),
    ]
    return read_facts(Sections(sections, complete=True), inventory_name="host1")


_MACHINES = {"amd64": "x86_64", "i386": "x86_64", "arm64": "aarch64", "ppc64el": "ppc64le"}
_KEY = (
    "14df34d1 I------     1 perm 1f030000     0     0 asymmetri Canonical Ltd. Live Patch Signing:"
    " 14df34d1a87cf37625abec039ef2bf521249b969: X509.rsa 1249b969 []"
)


def ubuntu(release: str) -> dict[str, str]:
    """Return the os-release of a release of Ubuntu. That of 14.04 has no codename."""
    codename = CODENAMES.get(release)
    named = {"VERSION_CODENAME": codename} if codename and release != "14.04" else {}
    return {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": release, **named}


def _loaded(kernel: str, version: str) -> dict[str, str]:
    module = module_name(kernel, version)
    found = {f"/sys/kernel/livepatch/{module}/enabled": "1", f"/sys/module/{module}/taint": "OK"}
    return found if kernel.startswith("4.4.") else {**found, f"/sys/kernel/livepatch/{module}/transition": "0"}


def _client(status: Text | None, config: str | None, journal: str) -> list[Section]:
    if status is None:
        return [Section("status", "absent", "", "")]
    found = [ok("status json", status.output, status.exit_code, status.errors)]
    if status.exit_code:
        found.append(ok("status plain", status.output, status.exit_code, status.errors))
    found.append(ok("config", config or 'remote-server: "https://livepatch.canonical.com"'))
    return [*found, ok("client_log", journal)] if journal else found


def _network(network: str) -> list[Section]:
    refused = {"reached": (), "refused": _SERVERS, "files refused": _SERVERS[1:]}[network]
    return [
        ok(name, f"url {url}\nproxy no\ntool curl\n", 7 if url in refused else 0)
        for name, url in zip(("network", "network files"), _SERVERS, strict=True)
    ]
