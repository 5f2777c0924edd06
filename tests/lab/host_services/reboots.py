# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reboots of a host: the shutdown, the boot, and the kernel that the boot loader starts."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import threading
import time
import uuid
from pathlib import Path

from ..holds import stop_at
from ..hosts.current_host import CurrentHost
from ..hosts.description import Apt, Client, Description, seconds
from ..hosts.file_tree import kernel_releases, newest, release_of
from ..hosts.kernel_names import identify
from .apt import with_apt
from .jobs import Jobs

_GONE_ON_BOOT = ("run/kernelops-livepatch",)


class Reboots:
    """The reboots of one host."""

    def __init__(self, current: CurrentHost, jobs: Jobs) -> None:
        self._current = current
        self._jobs = jobs

    def reboot(self, _body: str) -> str:
        """Shut down now. The boot follows in the background."""
        if not self._current.describe().reboot.ignored:
            threading.Thread(target=self._down_and_up, daemon=True).start()
        return ""

    def select(self, entry: str) -> str:
        """Run ``grub-reboot``: select the entry of the next boot."""
        self._current.change(
            lambda host: dataclasses.replace(host, grub=dataclasses.replace(host.grub, next_entry=entry.strip()))
        )
        return ""

    def _down_and_up(self) -> None:
        reboot = self._current.describe().reboot
        self._set_session(unreachable=True)
        self._jobs.kill_all()
        if not reboot.returns:
            return
        time.sleep(seconds(reboot.down))
        private = self._current.folder / "lab"
        stop_at(private, "boot")
        self._current.change(booted)
        for path in _GONE_ON_BOOT:
            shutil.rmtree(self._current.root / path, ignore_errors=True)
        (private / "boot_id").write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        with (private / "boots").open("a", encoding="ascii") as boots:
            boots.write(f"{identify(self._current.describe().kernel).release}\n")
        self._set_session(unreachable=False, booted_at=time.time())
        stop_at(private, "boot done")

    def _session(self) -> dict[str, list[str]]:
        session: dict[str, list[str]] = json.loads(self._session_file().read_text(encoding="utf-8"))
        return session

    def _session_file(self) -> Path:
        return self._current.folder / "session.json"

    def _set_session(self, **changes: bool | float) -> None:
        part = self._current.folder / "session.json.part"
        part.write_text(json.dumps({**self._session(), **changes}), encoding="utf-8")
        part.replace(self._session_file())


def booted(host: Description) -> Description:
    """Return the host after a reboot: with the kernel that the boot loader starts, and without a live patch."""
    apt = host.apt or Apt()
    running = identify(host.kernel).release
    fulls = {release_of(full): full for full in apt.kernels}
    releases = [release for release in kernel_releases(host) if release in fulls or release == running]
    chosen = _selected(host, releases) if host.reboot.into == "newest" else running
    host = dataclasses.replace(host, grub=dataclasses.replace(host.grub, next_entry=""))
    kernel = dataclasses.replace(host.kernel, booted="0s")
    if chosen != running and apt.fault != "grub":
        others = tuple(release for release in kernel_releases(host) if release != chosen)
        kernel = dataclasses.replace(kernel, full=fulls[chosen], also_installed=others)
        if host.kernel.full is not None:
            host = with_apt(host, kernels=(*apt.kernels, host.kernel.full))
        if host.client is not None and host.client.enabled:
            host = dataclasses.replace(host, client=_client_on_new_kernel(host))
    workloads = tuple(
        dataclasses.replace(workload, running=workload.running and workload.restarts) for workload in host.workloads
    )
    return dataclasses.replace(host, kernel=kernel, module=None, workloads=workloads)


def _selected(host: Description, releases: list[str]) -> str:
    """Return the kernel of the entry that GRUB starts. An entry of a kernel contains its release."""
    default = host.grub.saved_entry if host.grub.default == "${saved_entry}" else host.grub.default
    entry = host.grub.next_entry or default
    named = [release for release in releases if re.search(rf"(?:^|[- ]){re.escape(release)}(?:$|[- ])", entry)]
    return named[0] if named else newest(releases)


def _client_on_new_kernel(host: Description) -> Client:
    client = host.client or Client()
    supported = None if client.supported is None else "supported"
    due = None if client.upgrade_required_in is None else 300
    fresh = dataclasses.replace(
        client, patch_version="", fixes=(), supported=supported, upgrade_required_in=due, last_check="0s"
    )
    if host.reboot.protects:
        return dataclasses.replace(fresh, check_state="checked", patch_state="nothing-to-apply")
    return dataclasses.replace(fresh, check_state="needs-check", patch_state="unapplied")
