# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A simulated host that answers the scripts of the tasks `client` and `patch` with sections."""

from __future__ import annotations

import collections.abc as c
import copy
import dataclasses
import json
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import MACHINE_TOKEN
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import RunScript

KERNEL = "4.4.0-210.242-generic"
LOCK = "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1"
OTHER_LOCK = "livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2"
_DATA = "/var/snap/canonical-livepatch/common"
_FILES = {
    "/etc/os-release": 'ID=ubuntu\nVERSION_ID="16.04"\nVERSION_CODENAME=xenial',
    "/proc/version_signature": f"Ubuntu {KERNEL} 4.4.262",
    "/proc/sys/kernel/osrelease": "4.4.0-210-generic",
    "/proc/sys/kernel/version": "#242-Ubuntu SMP Fri Apr 16 09:57:56 UTC 2021",
}
_NOT_ENABLED = "Machine is not enabled. Please run 'sudo canonical-livepatch enable'"


def section(name: str, output: str = "", exit_code: int = 0, errors: str = "") -> Section:
    """Return the section of a command that ended."""
    return Section(name, "ok", output, errors, exit_code=exit_code)


@dataclasses.dataclass
class ClientHost:
    """An Ubuntu 16.04 server with snapd. It executes the steps of plans, and reports its state as sections.

    `loaded` is the major number of the loaded patch, `transition` the file of that name (None: the kernel has none).
    `slow_answers` is the number of answers in which the client is too slow to report its settings.
    `errors` is what the client prints instead of a status, and `release` that of Ubuntu. `faults` has the output of the
    next failures of each step.
    """

    user: str = "0"
    release: str = "16.04"
    uptime: int = 40 * 86400
    installed: bool = True
    snap_disabled: bool = False
    enabled: bool = True
    version: str = "10.8.3"
    check_state: str = "checked"
    patch_state: str = "applied"
    patch_version: str = "113.1"
    fixes: c.Mapping[str, bool] = dataclasses.field(default_factory=dict)
    errors: str = ""
    loaded: str | None = "113"
    transition: str | None = None
    locks: tuple[str, ...] = ()
    config: dict[str, str] = dataclasses.field(default_factory=dict)
    mode: str = "normal"
    kernel_mode: str = ""
    channel: str = "latest/stable"
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    tools: tuple[str, ...] = ("curl", "nc")
    attached: bool = False
    slow_answers: int = 0
    network: Section | None = None
    token: str | None = None
    """The token that the client was last enabled with."""
    faults: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    performed: list[str] = dataclasses.field(default_factory=list)

    # --- sections ---

    def answer(self, *more: Section, complete: bool = True) -> Sections:
        return Sections([*more, *self.probe(), *self.setup()], complete=complete)

    def probe(self) -> c.Iterator[Section]:
        """Yield the sections of ``probe.sh``."""
        os_release = _FILES["/etc/os-release"].replace("16.04", self.release)
        files = {**_FILES, "/etc/os-release": os_release, "/proc/uptime": f"{self.uptime}.25 1.00", **self._sysfs()}
        paths = [f"ok {path}" for path in (*files, "/sys/kernel/livepatch")]
        paths += [f"ok {_DATA}/locks/{lock}" for lock in self.locks]
        paths.append(f"{'ok' if self.installed else 'absent'} /snap/bin/canonical-livepatch")
        yield section("user", self.user)
        yield section("clock", "1772337600")
        yield section("paths", "\n".join(paths))
        yield section("files", "\n".join(f"{path}:{line}" for path, text in files.items() for line in text.split("\n")))
        yield section("machine", "x86_64")
        yield section("architecture", "amd64")
        yield section("containers", "docker 0")
        yield section("virtualization", "kvm")
        yield section("snapd", "snap    2.58\nsnapd   2.58\nseries  16")
        yield section("seeded")
        if self.network is not None:
            yield self.network
        if self.installed:
            yield self._status()
            settings = "\n".join(f'{key}: "{value}"' for key, value in self.config.items())
            if self.slow_answers > 0:
                self.slow_answers -= 1
                yield Section("config", "timeout")
            else:
                yield section("config", settings or 'log-level: "warning"')
        else:
            yield Section("status", "absent")

    def _sysfs(self) -> dict[str, str]:
        if self.loaded is None:
            return {}
        folder = f"/sys/kernel/livepatch/lkp_Ubuntu_4_4_0_210_242_generic_{self.loaded}"
        transition = {} if self.transition is None else {f"{folder}/transition": self.transition}
        return {f"{folder}/enabled": "1", f"{folder.replace('kernel/livepatch', 'module')}/taint": "OK", **transition}

    def _status(self) -> Section:
        if self.errors:
            return section("status json", "", 1, self.errors)
        if not self.enabled:
            return section("status json", "", 1, _NOT_ENABLED)
        livepatch = {
            "CheckState": self.check_state,
            "State": self.patch_state,
            "Version": self.patch_version,
            "Fixes": [{"Name": cve, "Patched": patched} for cve, patched in self.fixes.items()],
        }
        entry = {"Kernel": KERNEL, "Running": True, "Livepatch": livepatch, "Supported": "supported"}
        status = {
            "Client-Version": self.version,
            "Last-Check": "2026-03-01T03:40:00Z",
            "Status": [entry],
            "tier": "stable",
        }
        return section("status json", json.dumps(status))

    def setup(self) -> c.Iterator[Section]:
        """Yield the sections of the setup: ``command_line`` of the probe, and those of ``client_read.sh``."""
        yield section("client_files", f"{'ok' if self.installed and self.enabled else 'absent'} {MACHINE_TOKEN}")
        if self.snap_disabled:
            yield section("client_snap_disabled", "disabled")
        yield section("client_mode", self.mode)
        yield section("command_line", self.kernel_mode)
        lines = (f"{name} {text}" for name, text in self.fingerprints.items())
        yield section("client_fingerprints", "\n".join(lines))
        yield section("client_tools", "\n".join(self.tools))
        table = f"Name Version Rev Tracking Publisher Notes\ncanonical-livepatch {self.version} 95 {self.channel} c -"
        yield section("client_snap", table if self.installed else "")
        yield section("client_pro", json.dumps({"attached": self.attached}))

    # --- scripts ---

    def script(self, command: RunScript) -> Sections:
        """Answer a script. Steps of a plan are executed first."""
        return self.answer(*self.execute(command.variables))

    def execute(self, variables: c.Mapping[str, str]) -> list[Section]:
        """Execute the steps of a plan and return a section for each."""
        sections = []
        for number, step in enumerate(variables.get("steps", "").split(), 1):
            self.performed.append(step)
            if self.faults.get(step):
                return [*sections, section(f"step {number}", "", 1, self.faults[step].pop(0))]
            output = getattr(self, f"_{step}")(number, variables) or ""
            sections.append(section(f"step {number}", output))
        return sections

    def _seeded(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        """Nothing to wait for."""

    _forget = _snapd = _acknowledge = _seeded

    def _snap_enable(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        self.installed, self.snap_disabled = True, False

    def _install_file(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        self.installed, self.enabled = True, False

    def _install(self, number: int, variables: c.Mapping[str, str]) -> None:
        self.installed, self.enabled = True, False
        self.channel = variables[f"argument_{number}"] or self.channel

    def _refresh(self, number: int, variables: c.Mapping[str, str]) -> None:
        self.channel = variables[f"argument_{number}"]

    def _remove(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        self.installed = self.enabled = False
        self.fingerprints, self.errors = {}, ""

    def _mode(self, number: int, variables: c.Mapping[str, str]) -> None:
        self.mode = variables[f"argument_{number}"]

    def _config(self, number: int, variables: c.Mapping[str, str]) -> None:
        key, value = variables[f"argument_{number}"], variables[f"value_{number}"]
        fingerprint = variables.get(f"fingerprint_{number}")
        self.fingerprints.pop(key, None)
        if fingerprint:
            self.fingerprints[key] = fingerprint
            value = f"http://removed@{value.partition('@')[2]}"
        self.config[key] = value

    def _enable(self, number: int, variables: c.Mapping[str, str]) -> str:
        self._pro_attach(number, variables)
        self.attached = False
        return f"transport {variables['transports'].split()[0]}"

    def _adopt(self, number: int, variables: c.Mapping[str, str]) -> None:
        self.fingerprints["token"] = variables[f"fingerprint_{number}"]

    def _pro_attach(self, number: int, variables: c.Mapping[str, str]) -> None:
        self.enabled = self.attached = True
        self.token = variables["token"]
        self._adopt(number, variables)

    def _pro_enable(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        self.enabled = True

    def _disable(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        self.enabled = False
        self.fingerprints.pop("token", None)

    def _pro_disable(self, _number: int, _variables: c.Mapping[str, str]) -> None:
        self.enabled = False

    def change(self, **changes: t.Any) -> ClientHost:
        """Return a copy with changes."""
        return dataclasses.replace(copy.deepcopy(self), **changes)
