# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The root of the machine: Debian with systemd, sshd, Docker, Podman, containerd and LXD, cached by its recipe."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from ..debian_root import cached_folder, debian_release, make_root, write_archive
from ..vm.debian_packages import UnavailableError

CACHE = Path(__file__).parents[3] / ".build" / "runtimes"
_GUEST = Path(__file__).parent / "guest"
_TOOLS = ("mmdebstrap", "nsenter", "ssh", "systemd-nspawn", "unshare")
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "procps", "iproute2", "kmod"),
    *("docker.io", "containerd", "runc", "podman", "catatonit", "containernetworking-plugins", "fuse-overlayfs"),
    *("slirp4netns", "uidmap", "netavark", "aardvark-dns", "lxd", "lxd-client", "dnsmasq-base", "iptables"),
    *("nftables", "ca-certificates", "busybox-static", "docker-compose", "openssh-server"),
)
# A container has the capabilities of this machine only, which may lack those for limits of resources. The modules of
# the collection refuse a container, which systemd-detect-virt and /run/systemd/container show.
_FILES = {
    "etc/containers/containers.conf": b'[containers]\npids_limit = 0\n[engine]\nruntime = "runc"\n',
    "etc/hostname": b"runtimes\n",
    "etc/machine-id": b"",
    "etc/ssh/sshd_config.d/lab.conf": b"UseDNS no\nAuthorizedKeysFile /etc/ssh/authorized_keys\n",
    "etc/tmpfiles.d/lab.conf": b"r! /run/systemd/container\n",
}
_PROGRAMS = {"usr/local/bin/systemd-detect-virt": b"#!/bin/sh\necho kvm\n"}


def built_root() -> Path:
    """Return the folder with ``root.tar`` and ``login_key``; build it if it is new. Raises `UnavailableError`."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    if os.geteuid() != 0:
        raise UnavailableError("only root can start a machine with systemd and container runtimes")
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
    tiny = {f"root/tiny/{path.name}": path.read_bytes() for path in sorted(_GUEST.iterdir())}
    write_archive(files, {**_FILES, **login_key}, {**_PROGRAMS, **tiny})
    make_root(folder / "root.tar", _PACKAGES, (f"tar-in {files} /", 'chroot "$1" /bin/sh /root/tiny/pack-images'))
    files.unlink()
