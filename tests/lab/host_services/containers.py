# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The containers of a host, as docker, podman and lxc stop and start them."""

from __future__ import annotations

import dataclasses

from ..hosts.current_host import CurrentHost
from ..hosts.description import Description, Workload


class ContainerError(Exception):
    """A container runtime refuses; the text is what its command prints."""

    status = 400


class Containers:
    """The containers of one host."""

    def __init__(self, current: CurrentHost) -> None:
        self._current = current

    def stop(self, names: str) -> str:
        """Stop containers by name; those that vanish are removed."""
        return self._set_running(names.split(), running=False)

    def start(self, names: str) -> str:
        return self._set_running(names.split(), running=True)

    def evacuate(self, _body: str) -> str:
        """Stop the containers of this cluster member, as if the other members ran them."""
        return self._set_running(self._names("lxd"), running=False)

    def restore(self, _body: str) -> str:
        return self._set_running(self._names("lxd"), running=True)

    def _names(self, runtime: str) -> list[str]:
        return [workload.name for workload in self._current.describe().workloads if workload.runtime == runtime]

    def _set_running(self, names: list[str], *, running: bool) -> str:
        def update(host: Description) -> Description:
            known = {workload.name for workload in host.workloads}
            for name in names:
                if name not in known:
                    raise ContainerError(f"No such container: {name}")
            changed = tuple(
                dataclasses.replace(workload, running=running) if workload.name in names else workload
                for workload in host.workloads
            )
            kept = tuple(workload for workload in changed if running or not _vanished(workload, names))
            return dataclasses.replace(host, workloads=kept)

        self._current.change(update)
        return "".join(f"{name}\n" for name in names)


def _vanished(workload: Workload, names: list[str]) -> bool:
    return workload.vanishes and workload.name in names
