# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A real OpenSSH server on loopback, with real sudo and su, with temporary accounts and without Python.

It runs in private mount and process namespaces of this machine. Temporary accounts, sudoers and PAM files are mounted
over those of the machine, which never change. All processes end with the namespace. Namespaces and passwords need root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

_TOOLS = ("sshd", "ssh", "ssh-keygen", "sudo", "su", "unshare", "mount", "openssl")
_START_SECONDS = 60
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/login_key.pub
AuthenticationMethods publickey
UsePAM no
UseDNS no
StrictModes no
PermitUserEnvironment no
PrintMotd no
PrintLastLog no
PidFile none
LogLevel VERBOSE
SetEnv PATH={path}
"""
_SUDOERS = """\
Defaults secure_path="{path}"
Defaults lecture=always
Defaults:terminal requiretty
root ALL=(ALL:ALL) ALL
fleet,terminal ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
_PAM = """\
auth required pam_unix.so nodelay
account required pam_unix.so
session required pam_permit.so
"""
# The shell of the namespaces: mounts the temporary files over those of the machine, then becomes the server.
# Files that a login or an escalation writes (utmp, lastlog, time stamps of sudo) and files below /var are in memory.
# The snaps of the machine are hidden.
_ENTER = """\
set -eu
for name in passwd group shadow gshadow sudoers sudoers.d pam.d; do
    if [ -e "/etc/$name" ]; then mount --bind "$1/etc/$name" "/etc/$name"; fi
done
for path in /run /var /snap; do
    if [ -d "$path" ]; then mount -t tmpfs -o mode=755 none "$path"; fi
done
mkdir -p /run/sshd /var/log /var/lib/sudo /var/lib/dpkg /var/local /var/tmp
for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
    for python in "$folder"/python*; do
        if [ -f "$python" ] && [ -x "$python" ]; then mount --bind "$1/no_program" "$python"; fi
    done
done
exec "$2" -D -E "$1/log" -f "$1/sshd_config"
"""


class UnavailableError(Exception):
    """This machine cannot run the server. The message has the reason."""


@dataclasses.dataclass(frozen=True)
class Sshd:
    """A running server. Accounts: ``fleet`` (sudo asks for `password`), ``terminal`` (sudo wants a terminal),
    ``closed`` (its shell ends every login), ``root`` (by su, with `root_password`).
    """

    port: int
    folder: Path
    password: str
    root_password: str

    @property
    def variables(self) -> dict[str, t.Any]:
        """Variables of the inventory with which Ansible logs in as fleet."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "fleet",
            "ansible_ssh_private_key_file": str(self.folder / "login_key"),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.folder}/known_hosts",
            "ansible_python_interpreter": "/nonexistent/python",
        }

    def commands(self) -> int:
        """Return the number of commands that logins have started."""
        return (self.folder / "log").read_text(encoding="utf-8").count("Starting session: command")


@contextlib.contextmanager
def running(programs: t.Mapping[str, str]) -> t.Iterator[Sshd]:
    """Start the server, and end it with all its processes. Raises `UnavailableError`.

    `programs` are scripts by name, which every account finds on its PATH.
    """
    _demand_namespaces()
    # Not in a folder of pytest, which the accounts cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="sshd-"))
    try:
        sshd = _prepare(folder, programs)
        process = _start(sshd)
        try:
            yield sshd
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder)


def _demand_namespaces() -> None:
    if os.geteuid() != 0:
        raise UnavailableError("a real sshd with temporary accounts needs root, for namespaces and passwords")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_SYSTEM_PATH) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "none", "/run"]
    trial = subprocess.run(command, capture_output=True, text=True, check=False)
    if trial.returncode != 0:
        raise UnavailableError(f"root cannot make namespaces on this machine: {trial.stderr.strip()}")


def _prepare(folder: Path, programs: t.Mapping[str, str]) -> Sshd:
    """Write the files of the server and its accounts into the folder."""
    # Quotes, blanks and shell characters must reach sudo and su unchanged.
    sshd = Sshd(_free_port(), folder, f'it\'s "$made" up {secrets.token_hex(8)}', f"root; & {secrets.token_hex(8)}")
    folder.chmod(0o755)
    for name in ("login_key", "host_key"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
    host_key = (folder / "host_key.pub").read_text(encoding="utf-8")
    _write(folder / "known_hosts", f"[127.0.0.1]:{sshd.port} {host_key}")
    (folder / "programs").mkdir(mode=0o755)
    for name, script in programs.items():
        _write(folder / "programs" / name, script, 0o755)
    path = f"{folder}/programs:{_SYSTEM_PATH}"
    _write(folder / "sshd_config", _SSHD_CONFIG.format(port=sshd.port, folder=folder, path=path))
    _write(folder / "no_program", "")
    _write_accounts(folder, sshd, _SUDOERS.format(path=path))
    return sshd


def _write_accounts(folder: Path, sshd: Sshd, sudoers: str) -> None:
    shell, closed = "/bin/sh", "/usr/sbin/nologin"
    accounts = [("root", 0, shell, sshd.root_password), ("sshd", 901, closed, None)]
    accounts += [("fleet", 4001, shell, sshd.password), ("terminal", 4002, shell, sshd.password)]
    accounts += [("closed", 4003, closed, None)]
    etc = folder / "etc"
    for path in (etc, etc / "sudoers.d", etc / "pam.d", folder / "home"):
        path.mkdir(mode=0o755)
    passwd, group, shadow, gshadow = "", "", "", ""
    for name, number, login_shell, password in accounts:
        home = folder / "home" / name
        home.mkdir(mode=0o700)
        os.chown(home, number, number)
        passwd += f"{name}:x:{number}:{number}::{home}:{login_shell}\n"
        group += f"{name}:x:{number}:\n"
        shadow += f"{name}:{'*' if password is None else _hash(password)}:19000:0:99999:7:::\n"
        gshadow += f"{name}:!::\n"
    _write(etc / "passwd", passwd)
    _write(etc / "group", group)
    _write(etc / "shadow", shadow, 0o600)
    _write(etc / "gshadow", gshadow, 0o600)
    _write(etc / "sudoers", sudoers, 0o440)
    for service in ("sudo", "su", "other"):
        _write(etc / "pam.d" / service, _PAM)


def _hash(password: str) -> str:
    command = ["openssl", "passwd", "-6", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(sshd: Sshd) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers."""
    namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    server = str(shutil.which("sshd", path=_SYSTEM_PATH))
    process = subprocess.Popen(
        [*namespaces, "sh", "-c", _ENTER, "sh", str(sshd.folder), server],
        stdin=subprocess.DEVNULL,
        env={"PATH": _SYSTEM_PATH},
        start_new_session=True,
    )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", sshd.port), timeout=1) as peer:
            if peer.recv(4) == b"SSH-":
                return process
        time.sleep(0.05)
    _end(process)
    raise RuntimeError(f"sshd did not start on port {sshd.port}; see its output above")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the namespaces: their first process ends with its parent, and all others end with it."""
    process.kill()
    process.wait()
