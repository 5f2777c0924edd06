# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One host as a machine: what runs on it apart from a session, its containers, and how it goes down and comes up."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import shutil
import subprocess
import threading
import time
import uuid
from pathlib import Path

from .apt import with_apt
from .hosts.current_host import Present
from .hosts.description import Apt, Client, Description, Workload, seconds
from .hosts.file_tree import kernel_releases, newest, release_of
from .hosts.kernel_names import identify

# A sandbox dies with the thread that started it (PR_SET_PDEATHSIG), and the thread of a request soon ends.
_STARTER = concurrent.futures.ThreadPoolExecutor(max_workers=1)
_GONE_ON_BOOT = ("run/kernelops-livepatch",)


class MachineError(Exception):
    """A container runtime refuses; the text is what its command prints."""

    status = 400


class Machine:
    """One host. Its operations come one at a time."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._lock = threading.RLock()
        self._jobs: list[subprocess.Popen[bytes]] = []

    # Processes that outlive the session that started them.

    def start(self, argv: str) -> str:
        """Run a command (its words, each ended by a NUL) in a sandbox of its own, as ``setsid`` lets it go on."""
        session = self._session()
        process = _STARTER.submit(
            subprocess.Popen,
            [*session["command"], *argv.split("\0")[:-1]],
            env=session["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ).result()
        with self._lock:
            self._jobs = [job for job in self._jobs if job.poll() is None]
            self._jobs.append(process)
        return ""

    # Containers.

    def stop_containers(self, names: str) -> str:
        """Stop some by their names; those that vanish are gone then."""
        return self._set_running(names.split(), running=False)

    def start_containers(self, names: str) -> str:
        return self._set_running(names.split(), running=True)

    def evacuate(self, _body: str) -> str:
        """Let the cluster's other members run the containers of this one."""
        return self._set_running(self._names("lxd"), running=False)

    def take_back(self, _body: str) -> str:
        return self._set_running(self._names("lxd"), running=True)

    def _names(self, runtime: str) -> list[str]:
        return [workload.name for workload in self._present.look().workloads if workload.runtime == runtime]

    def _set_running(self, names: list[str], *, running: bool) -> str:
        def become(host: Description) -> Description:
            known = {workload.name for workload in host.workloads}
            for name in names:
                if name not in known:
                    raise MachineError(f"No such container: {name}")
            changed = tuple(
                dataclasses.replace(workload, running=running) if workload.name in names else workload
                for workload in host.workloads
            )
            kept = tuple(workload for workload in changed if running or not _vanished(workload, names))
            return dataclasses.replace(host, workloads=kept)

        with self._lock:
            self._present.change(become)
        return "".join(f"{name}\n" for name in names)

    # Reboots.

    def reboot(self, _body: str) -> str:
        """Go down now. What follows happens by itself."""
        if not self._present.look().reboot.ignored:
            threading.Thread(target=self._down_and_up, daemon=True).start()
        return ""

    def _down_and_up(self) -> None:
        said = self._present.look().reboot
        self._set_session(unreachable=True)
        with self._lock:
            for job in self._jobs:
                job.kill()
                job.wait()
        if not said.returns:
            return
        time.sleep(seconds(said.down))
        with self._lock:
            self._present.change(booted)
        for path in _GONE_ON_BOOT:
            shutil.rmtree(self._present.root / path, ignore_errors=True)
        own = self._present.folder / "lab"
        (own / "boot_id").write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        with (own / "boots").open("a", encoding="ascii") as boots:
            boots.write(f"{identify(self._present.look().kernel).release}\n")
        self._set_session(unreachable=False, booted_at=time.time())

    def _session(self) -> dict[str, list[str]]:
        said: dict[str, list[str]] = json.loads(self._session_file().read_text(encoding="utf-8"))
        return said

    def _session_file(self) -> Path:
        return self._present.folder / "session.json"

    def _set_session(self, **changes: bool | float) -> None:
        part = self._present.folder / "session.json.part"
        part.write_text(json.dumps({**self._session(), **changes}), encoding="utf-8")
        part.replace(self._session_file())


def _vanished(workload: Workload, names: list[str]) -> bool:
    return workload.vanishes and workload.name in names


def booted(host: Description) -> Description:
    """The host after a reboot: another kernel where its boot loader starts one, and no patch in it yet."""
    apt = host.apt or Apt()
    running = identify(host.kernel).release
    fulls = {release_of(full): full for full in apt.kernels}
    releases = [release for release in kernel_releases(host) if release in fulls or release == running]
    chosen = newest(releases) if host.reboot.into == "newest" else running
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
