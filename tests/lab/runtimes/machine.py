# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine: systemd and its services in namespaces, on the kernel of this machine.

It needs no emulator, so that it starts in seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .image import built_root

_BOOT = Path(__file__).with_name("boot.sh")
_BOOT_SECONDS = 240
# The kernel is that of this machine: sync would write the data of all its file systems.
_IMPORT = """\
ln -s /bin/true /usr/local/sbin/sync
docker import -c 'CMD ["/bin/good"]' /root/tiny.tar tiny:1
podman import -c 'CMD ["/bin/good"]' /root/tiny.tar localhost/tiny:1
docker save tiny:1 -o /root/tiny-docker.tar
for space in default k8s.io; do ctr -n "$space" images import /root/tiny-docker.tar; done
lxc storage create default dir </dev/null
lxc profile device add default root disk path=/ pool=default
lxc image import /root/tiny-lxd.tar.gz --alias tiny
useradd -m -s /bin/sh alice
loginctl enable-linger alice
"""


class Machine:
    """A running machine. Commands run as root, and each gets an own time limit."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process, self._console = process, console

    def run(self, line: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command line, or a script, with the machine's `sh`."""
        enter = self.command_line("/bin/sh -s").split()
        return subprocess.run(enter, input=line, capture_output=True, text=True, timeout=timeout, check=False)

    def command_line(self, command: str) -> str:
        """Return the command line that runs a command in the machine. Raises `LookupError` if it does not run."""
        return f"nsenter -t {self._leader()} -m -u -i -n -p -C -- {command}"

    def read(self, line: str, timeout: float = 120) -> str:
        """Run a command line that must succeed, and return its output without the last newline."""
        ended = self.run(f"set -e\n{line}", timeout)
        if ended.returncode != 0:
            raise RuntimeError(f"{line!r} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
        return ended.stdout.rstrip("\n")

    def wait_until_up(self, units: Iterable[str]) -> None:
        """Wait until these units of systemd have started."""
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(LookupError, RuntimeError, subprocess.TimeoutExpired):
                self.read(f"systemctl is-active --quiet {' '.join(units)}")
                return
            time.sleep(0.5)
        raise RuntimeError(f"the machine did not start: {self._console.read_text(errors='replace')[-2000:]}")

    def _leader(self) -> int:
        """Return the process ID of its systemd. Raises `LookupError`."""
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name, parent, _group = _identify(path)
                if name == "systemd" and _identify(path.with_name(parent))[2] == str(self._process.pid):
                    return int(path.name)
        raise LookupError("systemd does not run")


def _identify(process: Path) -> tuple[str, str, str]:
    """Return the name of a process, the process ID of its parent, and its process group. Raises `OSError`."""
    name, _bracket, rest = (process / "stat").read_text(errors="replace").rpartition(")")
    _state, parent, group, *_others = rest.split()
    return name.partition("(")[2], parent, group


@contextlib.contextmanager
def running_machine() -> Iterator[Machine]:
    """Start the machine with the images of containers, and stop it at the end. Raises `UnavailableError`."""
    with running_root(built_root(), "runtimes", ("multi-user.target", "docker.service")) as machine:
        machine.read(_IMPORT)
        yield machine


@contextlib.contextmanager
def running_root(archive: Path, name: str, units: tuple[str, ...]) -> Iterator[Machine]:
    """Start the system in a tar archive, wait until these units of systemd have started, and stop it at the end."""
    # The layers of containers need a file system on a disk.
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/var/tmp"))
    root, console, group = folder / "root", folder / "console.log", f"livepatch-lab-{name}-{os.getpid()}"
    try:
        root.mkdir()
        subprocess.run(["tar", "-C", str(root), "-xpf", str(archive), "--exclude=./dev/*"], check=True)
        with console.open("wb") as output:
            process = subprocess.Popen(
                ["unshare", "--mount", "/bin/sh", str(_BOOT), str(root), group, name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            machine = Machine(process, console)
            machine.wait_until_up(units)
            yield machine
        finally:
            _end(group)
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(group: str) -> None:
    """End all processes of the machine, which outlive the one that started it, and remove its control groups."""
    script = """
        umount -R /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        cd "/sys/fs/cgroup/$1"
        echo 1 >cgroup.kill
        while grep -q 'populated 1' cgroup.events; do sleep 0.1; done
        find . -mindepth 1 -depth -type d -exec rmdir {} +
        rmdir "/sys/fs/cgroup/$1"
    """
    subprocess.run(["unshare", "--mount", "/bin/sh", "-e", "-c", script, "sh", group], timeout=60, check=True)
