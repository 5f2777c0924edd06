# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts that each have a network namespace, an address and a real OpenSSH server, and a link to them.

Their addresses exist in these namespaces only. The network of the machine, its accounts and its files do not change.
All processes end with the first one. This needs root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lab.fleet import Fleet

_HERE = Path(__file__).parent
_TOOLS = ("ip", "nsenter", "sshd", "ssh-keygen", "unshare")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SSHD_CONFIG = """\
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/login_key.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
ForceCommand {folder}/command.{number}
PidFile none
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
PrintLastLog no
"""
_FIRST_PART = 2000
"""Bytes of its answer that a host sends before it disappears. The answer of a check is longer."""


class UnavailableError(Exception):
    """This machine cannot run the network. The message has the reason."""


@dataclasses.dataclass(frozen=True)
class Link:
    """A link to all hosts: its round trip in milliseconds, and the part of the packets that it loses, in percent."""

    round_trip: float = 0
    loss: float = 0


@dataclasses.dataclass(frozen=True)
class SshHost:
    """A host. A login runs `command`, a shell script that finds the requested command in ``SSH_ORIGINAL_COMMAND``."""

    command: str
    serves: bool = True

    @classmethod
    def of_lab(cls, fleet: Fleet, name: str, *, serves: bool = True) -> SshHost:
        """Return a host that answers as a host of the lab does."""
        return cls(f"exec {_session(fleet, name)}", serves)

    @classmethod
    def that_stops(cls, fleet: Fleet, name: str) -> SshHost:
        """Return a host of the lab that sends the first part of its answer, and then waits: see `Network.stopped`."""
        first = f"{_session(fleet, name)} | head -c {_FIRST_PART}"
        return cls(f'{first}\necho "$livepatch_lab_host" >"$livepatch_lab_stopped"\nexec sleep 600')


def _session(fleet: Fleet, name: str) -> str:
    folder = fleet.root(name).parent
    session = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    # The connection plugin of the lab writes this file for each command.
    uptime = max(0.0, (folder / "session.json").stat().st_mtime - session["booted_at"])
    (folder / "lab" / "uptime").write_text(f"{uptime:.2f} {uptime:.2f}\n", encoding="ascii")
    variables = [f"{key}={value}" for key, value in session["environment"].items()]
    # The server of the lab listens on loopback of the machine. Only the logins use the network of the namespaces.
    words = ["nsenter", "--net=@machine@", "--", "env", "-i", *variables, *session["command"]]
    return f'{shlex.join(words)} /bin/sh -c "$SSH_ORIGINAL_COMMAND"'


class Network:
    """A running network. `prefix` are words that make a command run at the near end of the link."""

    def __init__(self, folder: Path, leader: int, addresses: Mapping[str, str]) -> None:
        self._folder, self._leader = folder, leader
        self._numbers = {name: number for number, name in enumerate(addresses, 1)}
        self._addresses = addresses
        self.prefix = ("nsenter", f"--net=/proc/{leader}/ns/net", "--")

    @property
    def inventory(self) -> dict[str, t.Any]:
        """Return an inventory in which Ansible reaches the hosts as root, over ssh."""
        variables = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._folder / "login_key"),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self._folder}/known_hosts",
            "ansible_python_interpreter": "/nonexistent/python",
        }
        hosts = {name: {"ansible_host": address} for name, address in self._addresses.items()}
        return {"all": {"vars": variables, "hosts": hosts}}

    @property
    def sockets(self) -> Path:
        """Return the folder for the sockets of connections that ssh keeps open."""
        return self._folder / "sockets"

    def address(self, name: str) -> str:
        return self._addresses[name]

    def stopped(self) -> Iterator[str]:
        """Yield the name of each host that stops within its answer, at that moment."""
        names = list(self._numbers)
        # Open for reading and writing, so that it does not end when the only writer has closed it.
        with open(os.open(self._folder / "stopped", os.O_RDWR), "rb", buffering=0) as fifo:
            while True:
                yield names[int(fifo.readline()) - 1]

    def cut(self, name: str) -> None:
        """Cut a host off: packets to it and from it disappear without a notice."""
        self._run(f"ip -n router link set v{self._numbers[name]} down")

    def kill(self, name: str) -> None:
        """Kill all processes of a host, whose kernel then closes the connections."""
        self._run(f"ip netns pids host-{self._numbers[name]} | xargs -r kill -9")

    def freeze(self, name: str) -> None:
        """Stop all processes of a host, whose kernel still answers."""
        self._run(f"ip netns pids host-{self._numbers[name]} | xargs -r kill -STOP")

    def _run(self, line: str) -> None:
        enter = ["nsenter", "-t", str(self._leader), "--mount", "--pid", "--net", "--", "/bin/sh", "-c", line]
        subprocess.run(enter, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def running_network(hosts: Mapping[str, SshHost], link: Link) -> Iterator[Network]:
    """Start the hosts, and end them with all their processes. Raises `UnavailableError`."""
    _demand_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="network-"))
    try:
        addresses = {name: f"10.77.{number // 250}.{number % 250 + 1}" for number, name in enumerate(hosts, 1)}
        _write_files(folder, hosts, addresses)
        process = _start(folder, link)
        try:
            yield Network(folder, _child_of(process.pid), addresses)
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _demand_namespaces() -> None:
    if os.geteuid() != 0:
        raise UnavailableError("hosts with a network of their own need root")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_SYSTEM_PATH) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    trials = {
        "root cannot make namespaces on this machine": "mount -t tmpfs none /run",
        "this kernel has no interfaces of type veth": "ip link add name v1 type veth peer name v2",
        "this kernel has no bridges": "ip link add name bridge type bridge",
        "this kernel has no interfaces of type TUN": "ip tuntap add mode tun name near",
    }
    for reason, line in trials.items():
        command = ["unshare", "--mount", "--net", "sh", "-c", line]
        trial = subprocess.run(command, capture_output=True, text=True, check=False)
        if trial.returncode != 0:
            raise UnavailableError(f"{reason}: {trial.stderr.strip()}")


def _write_files(folder: Path, hosts: Mapping[str, SshHost], addresses: Mapping[str, str]) -> None:
    folder.chmod(0o755)
    (folder / "sockets").mkdir()
    (folder / "machine").touch()
    os.mkfifo(folder / "stopped")
    for name in ("login_key", "host_key"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
    host_key = (folder / "host_key.pub").read_text(encoding="utf-8")
    (folder / "known_hosts").write_text(f"10.77.* {host_key}", encoding="utf-8")
    rows = []
    for number, (name, host) in enumerate(hosts.items(), 1):
        config = _SSHD_CONFIG.format(address=addresses[name], folder=folder, number=number)
        (folder / f"sshd_config.{number}").write_text(config, encoding="utf-8")
        head = f"#!/bin/sh\nlivepatch_lab_host={number} livepatch_lab_stopped={folder}/stopped\n"
        command = folder / f"command.{number}"
        command.write_text(f"{head}{host.command.replace('@machine@', f'{folder}/machine')}\n", encoding="utf-8")
        command.chmod(0o755)
        rows.append(f"{number} {addresses[name]} {'on' if host.serves else 'off'}\n")
    (folder / "hosts").write_text("".join(rows), encoding="ascii")


def _start(folder: Path, link: Link) -> subprocess.Popen[bytes]:
    """Start the namespaces, and return when all servers listen."""
    namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # The network of the machine stays reachable through this file.
    keep = 'mount --bind /proc/self/ns/net "$1/machine"; exec unshare --net sh "$0" "$@"'
    server = str(shutil.which("sshd", path=_SYSTEM_PATH))
    each_way = [str(link.round_trip / 2), str(link.loss)]
    program = [sys.executable, str(_HERE / "slow_link.py"), "near", "far", "router", *each_way]
    process = subprocess.Popen(
        [*namespaces, "sh", "-c", keep, str(_HERE / "start.sh"), str(folder), server, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": _SYSTEM_PATH},
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        if process.stdout.readline() != b"ready\n":
            process.kill()
            process.wait()
            raise RuntimeError("the network did not start; see its output above")
    return process


def _child_of(pid: int) -> int:
    """Return the first process in the namespaces."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
