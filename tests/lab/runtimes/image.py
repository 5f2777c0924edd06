# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The root of the machine: Debian with systemd, Docker, Podman, containerd and LXD, cached until its recipe changes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

from ..debian_root import cached_folder, debian_release, make_root
from ..vm.debian_packages import UnavailableError

CACHE = Path(__file__).parents[3] / ".build" / "runtimes"
_GUEST = Path(__file__).parent / "guest"
_TOOLS = ("mmdebstrap", "nsenter", "systemd-nspawn", "unshare")
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "procps", "iproute2", "kmod"),
    *("docker.io", "containerd", "runc", "podman", "catatonit", "containernetworking-plugins", "fuse-overlayfs"),
    *("slirp4netns", "uidmap", "netavark", "aardvark-dns", "lxd", "lxd-client", "dnsmasq-base", "iptables"),
    *("nftables", "ca-certificates", "busybox-static"),
)
# A container has the capabilities of this machine only, which may lack those for limits of resources.
_FILES = {
    "etc/containers/containers.conf": b'[containers]\npids_limit = 0\n[engine]\nruntime = "runc"\n',
    "etc/hostname": b"runtimes\n",
    "etc/machine-id": b"",
}


def built_root() -> Path:
    """Return the root as a tar archive; build it if its recipe is new. Raises `UnavailableError`."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    if os.geteuid() != 0:
        raise UnavailableError("only root can start a machine with systemd and container runtimes")
    return cached_folder(CACHE, _recipe(), _build) / "root.tar"


def _recipe() -> str:
    digest = hashlib.sha256(debian_release().encode())
    for path in sorted([Path(__file__), Path(__file__).parents[1] / "debian_root.py", *_GUEST.iterdir()]):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _build(folder: Path) -> None:
    files = folder / "files.tar"
    with tarfile.open(files, "w") as tar:
        for name, content in _FILES.items():
            _add(tar, name, content, 0o644)
        for path in sorted(_GUEST.iterdir()):
            _add(tar, f"root/tiny/{path.name}", path.read_bytes(), 0o755)
    make_root(folder / "root.tar", _PACKAGES, (f"tar-in {files} /", 'chroot "$1" /bin/sh /root/tiny/pack-images'))
    files.unlink()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
