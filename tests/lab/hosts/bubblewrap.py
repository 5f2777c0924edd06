# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The sandboxes: the commands that a host has, and the bubblewrap call that starts one inside it.

A host's root is bound read-write as ``/``; the machine lends its libraries, read-only, and copies of the commands
named below, so that every host has the same ones whatever is installed here, and none has a Python.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from .description import Description
from .file_tree import CLIENT, LAB, OWN

DOUBLES = Path(__file__).parents[1] / "doubles"
_CLIENT_DOUBLE = "canonical-livepatch"
_PRO = "pro"
# Sourced by the doubles, no command of a host.
_LIBRARY = "call_lab.sh"
_COMMANDS = Path(__file__).parent / "commands.txt"
_WITH_PYTHON = ("python3",)
_RUNTIMES = {"docker", "podman", "lxc"}
# Doubles that look at the name by which they are called.
_ALIASES = {"podman": "docker", "reboot": "systemctl", "shutdown": "systemctl"}
# What each host has for itself, beside its root: the files in which copies differ, and two places to write.
OWN_FOLDERS = ("lab", "tmp", "home")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SandboxError(Exception):
    """This machine cannot run the sandboxes; the message says what to do."""


def libraries() -> Path:
    """The folder of this machine's own shared libraries."""
    for library in sorted(Path("/usr/lib").glob(f"{platform.machine()}-linux-gnu*/libc.so.6")):
        return library.parent
    raise SandboxError(f"no libc.so.6 below /usr/lib for {platform.machine()}: the lab needs a Debian or an Ubuntu")


class Toolboxes:
    """Folders of commands, one for each set that some host has; hosts with the same set share one.

    `stock` holds all of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stock = folder / "stock"
        self.stock.mkdir(parents=True)
        copies: dict[Path, Path] = {}
        for name in (*_tools(), *_WITH_PYTHON):
            found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
            if found is None:
                continue
            source = Path(found).resolve()
            if source in copies:
                (self.stock / name).hardlink_to(copies[source])
            else:
                copies[source] = self.stock / name
                shutil.copyfile(source, self.stock / name)
                (self.stock / name).chmod(0o755)
        for double in sorted(path for path in DOUBLES.rglob("*") if path.is_file()):
            shutil.copyfile(double, self.stock / double.name)
            (self.stock / double.name).chmod(0o755)
        for alias, double in _ALIASES.items():
            (self.stock / alias).hardlink_to(self.stock / double)
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
            box = self._folder / f"box-{len(self._made)}"
            box.mkdir()
            for tool in self.stock.iterdir():
                if tool.name not in absent:
                    (box / tool.name).hardlink_to(tool)
            self._made[key] = box
        return self._made[key]


def _tools() -> list[str]:
    lines = _COMMANDS.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


def fit_root(root: Path, host: Description, toolboxes: Toolboxes) -> None:
    """Add to a written root what the sandbox needs: mount points, the loader, the client double."""
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
        # The doubles' own way to the lab: a host may be without curl, and they are not.
        if (toolboxes.stock / tool).exists():
            (root / LAB / tool).hardlink_to(toolboxes.stock / tool)
    fit_client(root, host, toolboxes.stock)


def fit_client(root: Path, host: Description, stock: Path) -> None:
    """Put the client double where the host has one, and take it away where it has none."""
    client = root / CLIENT
    if host.client is None:
        client.unlink(missing_ok=True)
    elif not client.exists():
        client.hardlink_to(stock / _CLIENT_DOUBLE)


def _python_libraries() -> list[Path]:
    found = [*sorted(Path("/usr/lib").glob("python3*")), Path("/usr/share/dpkg")]
    return [folder for folder in found if folder.is_dir()]


def command(host: Description, name: str, folder: Path, toolbox: Path, *, shared: bool) -> list[str]:
    """The call that starts a command in the host whose folder is given; the command's own words follow it.

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
    for own, place in zip(OWN_FOLDERS, (OWN, "tmp", home.strip("/")), strict=True):
        words += ["--bind", str(folder / own), f"/{place}"]
    words += ["--ro-bind", str(toolbox), "/usr/bin"]
    for folder in (libraries(), *(_python_libraries() if host.python else ())):
        words += ["--ro-bind", str(folder), str(folder)]
    for device in _DEVICES:
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    return [*words, "--chdir", home, "--"]


def environment(host: Description) -> dict[str, str]:
    """What a session on the host starts with; as with sudo and cron, ``/snap/bin`` is not on PATH."""
    user, home = ("root", "/root") if host.login == "root" else ("ubuntu", "/home/ubuntu")
    return {"PATH": _PATH, "HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
