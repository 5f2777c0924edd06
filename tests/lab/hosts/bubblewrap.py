# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The sandboxes: the commands of a host, and the bubblewrap call that starts a command inside it.

A host's root is bound read-write as ``/``. The libraries of this machine are bound read-only. The commands are copies
of those that ``commands.txt`` names, so that every host has the same ones whatever is installed here, and no Python.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from .description import Description
from .file_tree import CLIENT, LAB, PRIVATE

DOUBLES = Path(__file__).parents[1] / "doubles"
_CLIENT_DOUBLE = "canonical-livepatch"
_PRO = "pro"
# Sourced by the doubles; not a command of a host.
_LIBRARY = "call_lab.sh"
_COMMANDS = Path(__file__).parent / "commands.txt"
_WITH_PYTHON = ("python3",)
_RUNTIMES = {"docker", "podman", "lxc"}
# Doubles that behave according to the name of the call.
_ALIASES = {"podman": "docker", "reboot": "systemctl", "shutdown": "systemctl"}
# Folders of each host in addition to its root: the files in which copies differ, and two writable folders.
PRIVATE_FOLDERS = ("lab", "tmp", "home")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SandboxError(Exception):
    """This machine cannot run the sandboxes; the message names the fix."""


def libraries() -> Path:
    """Return the folder of this machine's shared libraries."""
    for library in sorted(Path("/usr/lib").glob(f"{platform.machine()}-linux-gnu*/libc.so.6")):
        return library.parent
    raise SandboxError(f"no libc.so.6 below /usr/lib for {platform.machine()}: the lab needs Debian or Ubuntu")


class CommandFolders:
    """Folders of commands, one for each set of commands; hosts with the same set share one.

    `all` holds every command.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all = folder / "all"
        self.all.mkdir(parents=True)
        copies: dict[Path, Path] = {}
        for name in (*_tools(), *_WITH_PYTHON):
            found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
            if found is None:
                continue
            source = Path(found).resolve()
            if source in copies:
                (self.all / name).hardlink_to(copies[source])
            else:
                copies[source] = self.all / name
                shutil.copyfile(source, self.all / name)
                (self.all / name).chmod(0o755)
        for double in sorted(path for path in DOUBLES.rglob("*") if path.is_file()):
            shutil.copyfile(double, self.all / double.name)
            (self.all / double.name).chmod(0o755)
        for alias, name in _ALIASES.items():
            (self.all / alias).hardlink_to(self.all / name)
        self._made: dict[frozenset[str], Path] = {}

    def for_host(self, host: Description) -> Path:
        """Return the folder that becomes the host's ``/usr/bin``."""
        absent = {_CLIENT_DOUBLE, _LIBRARY, *host.hidden}
        if not host.python:
            absent.update(_WITH_PYTHON)
        if host.snapd is None:
            absent.add("snap")
        if host.pro is None:
            absent.add(_PRO)
        runtimes = {"lxc" if workload.runtime == "lxd" else workload.runtime for workload in host.workloads}
        absent.update(_RUNTIMES - runtimes)
        key = frozenset(absent)
        if key not in self._made:
            commands = self._folder / f"set-{len(self._made)}"
            commands.mkdir()
            for tool in self.all.iterdir():
                if tool.name not in absent:
                    (commands / tool.name).hardlink_to(tool)
            self._made[key] = commands
        return self._made[key]


def _tools() -> list[str]:
    lines = _COMMANDS.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


def add_sandbox_files(root: Path, host: Description, command_folders: CommandFolders) -> None:
    """Add the files that the sandbox needs to a root: mount points, the loader, the client double."""
    shared = libraries()
    mount_points = [shared, *(_python_libraries() if host.python else ())]
    for folder in mount_points:
        (root / folder.relative_to("/")).mkdir(parents=True)
    for device in _DEVICES:
        (root / "dev" / device).touch()
    (root / "usr/lib64").mkdir()
    for folder in ("lib", "lib64"):
        for loader in Path("/", folder).glob("ld-linux*"):
            place = root / "usr" / folder / loader.name
            if not place.is_symlink():
                place.symlink_to(shared / loader.resolve().name)
    for tool in (_LIBRARY, "curl"):
        # The doubles have their own curl: a host may be without one.
        if (command_folders.all / tool).exists():
            (root / LAB / tool).hardlink_to(command_folders.all / tool)
    update_client_command(root, host, command_folders.all)


def update_client_command(root: Path, host: Description, all_commands: Path) -> None:
    """Add the client double if the host has a client, and remove it otherwise."""
    client = root / CLIENT
    if host.client is None or host.client.snap_disabled:
        client.unlink(missing_ok=True)
    elif not client.exists():
        client.hardlink_to(all_commands / _CLIENT_DOUBLE)


def _python_libraries() -> list[Path]:
    found = [*sorted(Path("/usr/lib").glob("python3*")), Path("/usr/share/dpkg")]
    return [folder for folder in found if folder.is_dir()]


def command(host: Description, name: str, folder: Path, commands: Path, *, shared: bool) -> list[str]:
    """Return the call that starts a command in the host of a folder; the command and its arguments follow it.

    A root that several hosts share is bound read-only.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("bwrap is not installed: apt-get install bubblewrap")
    user = "0" if host.login == "root" else "1000"
    home = environment(host)["HOME"]
    words = [bwrap, "--unshare-user", "--uid", user, "--gid", user, "--unshare-pid", "--unshare-ipc"]
    words += ["--unshare-uts", "--hostname", name, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if not host.network:
        words.append("--unshare-net")
    words += ["--ro-bind" if shared else "--bind", str((folder / "root").resolve()), "/"]
    for private, place in zip(PRIVATE_FOLDERS, (PRIVATE, "tmp", home.strip("/")), strict=True):
        words += ["--bind", str(folder / private), f"/{place}"]
    words += ["--ro-bind", str(commands), "/usr/bin"]
    for folder in (libraries(), *(_python_libraries() if host.python else ())):
        words += ["--ro-bind", str(folder), str(folder)]
    for device in _DEVICES:
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    return [*words, "--chdir", home, "--"]


def environment(host: Description) -> dict[str, str]:
    """Return the environment of a session on the host; as with sudo and cron, ``/snap/bin`` is not on PATH."""
    user, home = ("root", "/root") if host.login == "root" else ("ubuntu", "/home/ubuntu")
    return {"PATH": _PATH, "HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
