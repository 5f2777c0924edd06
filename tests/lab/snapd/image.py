# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The root of the machine: Debian with systemd, snapd, sshd and the lab's snaps, cached until its recipe changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from ..debian_root import cached_folder, debian_release, make_root, write_archive
from ..vm.debian_packages import UnavailableError

CACHE = Path(__file__).parents[3] / ".build" / "snapd"
_GUEST = Path(__file__).parent / "guest"
_RELEASE = "bookworm"
_TOOLS = ("mmdebstrap", "nsenter", "ssh", "systemd-nspawn", "unshare")
_PACKAGES = (
    *("apparmor", "ca-certificates", "curl", "dbus", "fuse3", "iproute2", "kmod", "libpam-systemd"),
    *("netcat-openbsd", "openssh-server", "procps", "python3", "snapd", "squashfuse", "systemd", "systemd-sysv"),
)
_FILES = {
    "etc/hostname": b"snapd\n",
    "etc/machine-id": b"",
    # Nothing answers there, so that the store is unreachable at once.
    "etc/resolv.conf": b"nameserver 127.0.0.1\n",
    "etc/ssh/sshd_config.d/lab.conf": b"UsePAM no\nUseDNS no\nAuthorizedKeysFile /etc/ssh/authorized_keys\n",
}
# There are no devices, so no daemon of udev runs that snapd could ask to read its rules again.
_FINISH = """\
ln -s /bin/true /usr/local/sbin/udevadm
sh /usr/lib/livepatch-lab/pack-snaps
"""


def built_root() -> Path:
    """Return the folder with ``root.tar`` and ``login_key``; build it if it is new. Raises `UnavailableError`."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    if debian_release() != _RELEASE:
        raise UnavailableError(f"the base of the snaps is made of packages of Debian {_RELEASE}")
    if os.geteuid() != 0:
        raise UnavailableError("only root can start a machine with systemd and snapd")
    if "fuse" not in Path("/proc/filesystems").read_text(encoding="utf-8").split():
        raise UnavailableError("the kernel of this machine has no FUSE, which snapd mounts snaps with")
    return cached_folder(CACHE, _recipe(), _build)


def _recipe() -> str:
    digest = hashlib.sha256(debian_release().encode())
    for path in sorted([Path(__file__), Path(__file__).parents[1] / "debian_root.py", *_GUEST.iterdir()]):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _build(folder: Path) -> None:
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(folder / "login_key")]
    subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
    files = folder / "files.tar"
    login_key = {"etc/ssh/authorized_keys": (folder / "login_key.pub").read_bytes()}
    programs = {f"usr/lib/livepatch-lab/{path.name}": path.read_bytes() for path in sorted(_GUEST.iterdir())}
    write_archive(files, {**_FILES, **login_key}, programs)
    make_root(folder / "root.tar", _PACKAGES, (f"tar-in {files} /", f"chroot \"$1\" /bin/sh -e -c '{_FINISH}'"))
    files.unlink()
