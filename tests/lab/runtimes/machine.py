# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine: systemd and its services in namespaces, on the kernel of this machine.

It needs no emulator, so that it starts in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .enter import enter
from .image import built_root

NAME = "runtimes"
"""The name of the machine in its inventory."""
_BOOT = Path(__file__).with_name("boot.sh")
_ENTER = Path(__file__).with_name("enter.py")
_BOOT_SECONDS = 240
_MEMORY = Path("/dev/shm")  # noqa: S108  (a place for files of one run)
_ENOUGH_BYTES = 6 << 30
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
for user in alice bob; do
    useradd -m -s /bin/sh "$user"
    cp /root/tiny.tar "/home/$user"
done
loginctl enable-linger alice
"""


KILL_DOCKER = """\
mkdir -p /run/systemd/system/docker.service.d
printf '[Service]\\nRestart=no\\nExecStart=\\nExecStart=/bin/false\\n' >/run/systemd/system/docker.service.d/lab.conf
systemctl daemon-reload
systemctl kill -s KILL --kill-who=main docker.service
while systemctl is-active --quiet docker.service; do sleep 0.1; done
"""
"""A script that kills the daemon of Docker for good. Its socket stays, and so do the containers."""


class Machine:
    """A running machine. Commands run as root, and each gets an own time limit."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process, self._console = process, console

    def run(self, line: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command line, or a script, with the machine's `sh`."""
        enter_shell = enter(self._process.pid, ["/bin/sh", "-s"])
        return subprocess.run(enter_shell, input=line, capture_output=True, text=True, timeout=timeout, check=False)

    def command_line(self, command: str) -> str:
        """Return the command line that runs a command in the machine, also after a reboot."""
        return f"{sys.executable} -IS {_ENTER} {self._process.pid} {command}"

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


@contextlib.contextmanager
def running_machine() -> Iterator[tuple[Machine, Path]]:
    """Start the machine with the images of containers, and stop it at the end. Raises `UnavailableError`.

    Return it with its inventory, in which its name is `NAME`.
    """
    built = built_root()
    with (
        running_root(built / "root.tar", NAME, ("multi-user.target", "docker.service")) as machine,
        # The path of a socket must be short.
        tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder,
    ):
        machine.read(_IMPORT)
        # The machine has no network but loopback.
        proxy = machine.command_line("busybox nc 127.0.0.1 22")
        yield machine, write_inventory(NAME, proxy, built / "login_key", Path(folder))


def write_inventory(name: str, proxy: str, key: Path, folder: Path) -> Path:
    """Write an inventory of one machine, with ssh through a command in its namespaces, and return its path."""
    known = f"-o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known_hosts"
    variables = {
        "ansible_host": "127.0.0.1",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_args": f"-o ControlMaster=auto -o ControlPersist=600 -o ControlPath={folder}/%r",
        "ansible_ssh_common_args": f"-F none {known} -o ProxyCommand='{proxy}'",
        "ansible_ssh_timeout": 60,
        "ansible_python_interpreter": "/nonexistent/python",
    }
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": {name: variables}}}), encoding="utf-8")
    return inventory


def _find_place() -> Path:
    """Return a folder for the root of a machine: in memory if there is enough, because its files are many and small."""
    disk, flags = Path("/var/tmp"), os.ST_NOEXEC | os.ST_NOSUID  # noqa: S108  (the folder in it has a random name)
    if not os.access(_MEMORY, os.W_OK):
        return disk
    place = os.statvfs(_MEMORY)
    available = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    least = min(place.f_bavail * place.f_frsize, int(available[1]) * 1024 if available else 0)
    return _MEMORY if least >= _ENOUGH_BYTES and not place.f_flag & flags else disk


@contextlib.contextmanager
def running_root(archive: Path, name: str, units: tuple[str, ...]) -> Iterator[Machine]:
    """Start the system in a tar archive, wait until these units of systemd have started, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_find_place()))
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
        # Python takes several times as long for as many files.
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False)


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
