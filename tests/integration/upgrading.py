# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the tests of upgrades and reboots share: hosts that each test makes what it needs, and what became of them."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Apt, Description, Reboot, Workload

from .shells import SHELLS

OLD, NEW = "4.4.0-261-generic", "4.4.0-262-generic"
LIKE = "upgradable-container-host"
"""The host of the lab that all of these are copies of: it has every runtime of containers."""


@dataclasses.dataclass
class Hosts:
    """A fleet of copies, handed out one after the other."""

    fleet: Fleet
    names: Iterator[str]

    def next(
        self,
        become: Callable[[Description], Description] | None = None,
        *,
        workloads: tuple[Workload, ...] = (),
        reboot: Reboot | None = None,
        **apt: t.Any,
    ) -> str:
        """A host that no test has used, with these containers, that way to reboot, and such an apt."""
        name = next(self.names)

        def prepare(host: Description) -> Description:
            packages = dataclasses.replace(host.apt or Apt(), **apt)
            host = dataclasses.replace(host, workloads=workloads, apt=packages, reboot=reboot or host.reboot)
            return become(host) if become is not None else host

        self.fleet.change(name, prepare)
        return name

    def change(self, name: str, **fields: t.Any) -> None:
        def changed(host: Description) -> Description:
            return dataclasses.replace(host, **fields)

        self.fleet.change(name, changed)

    def running(self, name: str) -> list[str]:
        """The containers that run on a host now."""
        return sorted(workload.name for workload in self.fleet.current(name).describe().workloads if workload.running)

    def kernel(self, name: str) -> str:
        """The kernel that runs on a host now."""
        return self.fleet.run(name, "uname -r").stdout.decode().strip()

    def said(self, name: str, beginning: str) -> list[str]:
        """The commands of a host that began so."""
        return [command for command in self.fleet.commands(name) if command.startswith(beginning)]

    def has_done(self, name: str, request: str) -> bool:
        """Whether the lab has done for the host what one of its commands asked for."""
        done = self.fleet.root(name).parent / "lab" / "done"
        return done.exists() and request in done.read_text("ascii").splitlines()

    def reboots(self, name: str) -> int:
        """How often the host was told to reboot."""
        return len(self.said(name, "systemctl reboot"))


def with_new_kernel(host: Description) -> Description:
    """The host after the new kernel was installed."""
    return dataclasses.replace(host, kernel=dataclasses.replace(host.kernel, also_installed=(NEW,)))


def set_reachable(fleet: Fleet, name: str, reachable: bool) -> None:
    """Cut the way to a host, or mend it."""
    session = fleet.root(name).parent / "session.json"
    said = json.loads(session.read_text(encoding="utf-8"))
    part = session.with_suffix(".test")
    part.write_text(json.dumps({**said, "unreachable": not reachable}), encoding="utf-8")
    part.replace(session)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def with_tools_of_the_host(script: str, shell: str) -> str:
    """The script as a host runs it that has busybox for its shell: its other tools are those of every Ubuntu.

    Debian's busybox prefers its own applets to what is on PATH, and some of them know less.
    """
    if shell != "busybox":
        return script
    tools = ("df", "flock", "setsid", "wall")
    return "".join(f'{tool}() {{ /usr/bin/{tool} "$@"; }}\n' for tool in tools) + script


def shell_on(fleet: Fleet, name: str, shell: str, source: Path) -> str:
    """Give a host a shell of this machine, and return the command that starts it there."""
    program, _blank, options = SHELLS[shell].partition(" ")
    place = fleet.root(name).parent / "tmp" / program
    if not place.exists():
        place.write_bytes(source.read_bytes())
        place.chmod(0o755)
    return f"/tmp/{program} {options}".strip()  # noqa: S108  (the host's own)
