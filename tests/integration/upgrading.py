# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts for the tests of kernel upgrades and reboots: a fleet of copies, of which each test takes some."""

from __future__ import annotations

import dataclasses
import json
import shutil
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Apt, Description, Reboot, Workload

from .shells import SHELLS

OLD, NEW = "4.4.0-261-generic", "4.4.0-262-generic"
LIKE = "upgradable-container-host"
"""The described host that all of them are copies of. It has every container runtime."""
AT_ONCE = Reboot(down="0s")
"""A reboot that takes no longer than the doubles need."""


@dataclasses.dataclass
class Hosts:
    """A fleet of copies. `take` returns a host that no other test uses."""

    fleet: Fleet
    names: Iterator[str]

    def take(
        self,
        update: Callable[[Description], Description] | None = None,
        *,
        workloads: tuple[Workload, ...] = (),
        reboot: Reboot = AT_ONCE,
        **apt: t.Any,
    ) -> str:
        """Return an unused host with these containers, this reboot, and an apt with these fields."""
        name = next(self.names)

        def prepare(host: Description) -> Description:
            packages = dataclasses.replace(host.apt or Apt(), **apt)
            host = dataclasses.replace(host, workloads=workloads, apt=packages, reboot=reboot)
            return update(host) if update is not None else host

        self.fleet.change(name, prepare)
        return name

    def change(self, name: str, **fields: t.Any) -> None:
        """Replace fields of the description of a host."""

        def changed(host: Description) -> Description:
            return dataclasses.replace(host, **fields)

        self.fleet.change(name, changed)

    def change_apt(self, name: str, **fields: t.Any) -> None:
        """Replace fields of the apt of a host."""
        self.fleet.change(
            name, lambda host: dataclasses.replace(host, apt=dataclasses.replace(host.apt or Apt(), **fields))
        )

    def running(self, name: str) -> list[str]:
        """Return the running containers of a host."""
        workloads = self.fleet.current(name).describe().workloads
        return sorted(workload.name for workload in workloads if workload.running)

    def kernel(self, name: str) -> str:
        """Return the running kernel of a host."""
        return self.fleet.run(name, "uname -r").stdout.decode().strip()

    def kernels(self, name: str) -> list[str]:
        """Return the kernels in ``/boot`` of a host."""
        return sorted(path.name.partition("-")[2] for path in (self.fleet.root(name) / "boot").glob("vmlinuz-*"))

    def commands(self, name: str, *beginnings: str) -> list[str]:
        """Return the calls of doubles on a host that begin with one of the texts."""
        return [command for command in self.fleet.commands(name) if command.startswith(beginnings)]

    def reboots(self, name: str) -> int:
        """Return how often the host was ordered to reboot."""
        return len(self.commands(name, "systemctl reboot"))

    def file(self, name: str, path: str) -> Path:
        """Return a file of a host, by its path in the root folder, as a path of this machine."""
        return self.fleet.root(name) / path

    def home(self, name: str) -> Path:
        """Return the folder ``/root`` of a host."""
        return self.fleet.root(name).parent / "home"

    def break_command(self, name: str, command: str, broken: bool = True) -> None:
        """Make a command of a host fail at once, or work again."""
        path = self.file(name, f"usr/local/bin/{command}")
        if broken:
            path.write_text("#!/bin/sh\necho 'the daemon does not run' >&2\nexit 1\n", encoding="ascii")
            path.chmod(0o755)
        else:
            path.unlink()

    def with_shells(self, take: Callable[[], str]) -> dict[str, str]:
        """Return a host for each of `SHELLS` that this machine has, with this shell as its ``/bin/sh``."""
        found = {}
        for shell in SHELLS:
            program = shutil.which(shell)
            if program is not None:
                found[shell] = take()
                self._use_shell(found[shell], Path(program), shell)
        return found

    def _use_shell(self, name: str, source: Path, shell: str) -> None:
        folder = self.fleet.root(name).parent
        program = folder / "tmp" / shell
        program.write_bytes(source.read_bytes())
        program.chmod(0o755)
        if shell == "busybox":
            program = folder / "tmp" / "sh"
            program.write_text(_BUSYBOX, encoding="ascii")
            program.chmod(0o755)
        session = folder / "session.json"
        content = json.loads(session.read_text(encoding="utf-8"))
        at = content["command"].index("--chdir")
        content["command"][at:at] = ["--ro-bind", str(program), "/usr/bin/sh"]
        session.write_text(json.dumps(content), encoding="utf-8")


# Debian's busybox prefers its applets to the commands on PATH, and some of them have fewer options. Scripts from the
# controller get functions that call the commands of the host. Files, such as the doubles, are run by dash.
_BUSYBOX = """\
#!/tmp/busybox ash
df() { /usr/bin/df "$@"; }
flock() { /usr/bin/flock "$@"; }
setsid() { /usr/bin/setsid "$@"; }
wall() { /usr/bin/wall "$@"; }
case $1 in
    -c)
        text=$2
        shift 2
        [ $# -eq 0 ] || shift
        eval "$text"
        ;;
    -s) eval "$(cat)" ;;
    *) exec /usr/bin/dash "$@" ;;
esac
"""


def with_new_kernel(host: Description) -> Description:
    """Return the host after the new kernel was installed."""
    return dataclasses.replace(host, kernel=dataclasses.replace(host.kernel, also_installed=(NEW,)))
