# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The disk of the machine: Debian 13 with its kernel, systemd, container runtimes and snapd. Nothing is mounted."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from ..debian_root import make_root, write_archive
from ..ssh_machine import make_keys
from ..vm.grub_disk import SYSTEM_PATH as PATH

RELEASE = "trixie"
GUEST = Path(__file__).parent / "guest"
TINY = Path(__file__).parents[1] / "runtimes" / "guest"
"""The files of the containers, which are those of the machine without an emulator."""
SNAPS = Path(__file__).parents[1] / "snapd" / "guest"
TOOLS = ("mke2fs", "mmdebstrap", "qemu-img", "ssh-keygen", "tar")
_LAB = "usr/lib/livepatch-lab"
_DISK = "4G"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "procps", "iproute2", "kmod"),
    *("openssh-server", "linux-image-cloud-amd64", "xz-utils", "busybox-static", "ca-certificates", "uidmap"),
    *("docker.io", "docker-cli", "docker-compose", "containerd", "runc", "rootlesskit", "slirp4netns", "iptables"),
    *("podman", "crun", "catatonit", "netavark", "fuse-overlayfs", "incus-base", "incus-client"),
    *("snapd", "apparmor", "squashfs-tools", "python3", "netcat-openbsd"),
)
_FILES = {
    "etc/containerd/config.toml": b'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
    # Containers have no network, so that the daemon needs neither a bridge nor rules of a firewall.
    "etc/docker/daemon.json": b'{"bridge": "none", "iptables": false, "ip6tables": false}\n',
    "etc/fstab": b"/dev/vda / ext4 rw,noatime 0 0\n",
    "etc/hostname": b"containers\n",
    "etc/hosts": b"127.0.0.1 localhost containers\n",
    "etc/machine-id": b"6c1f8e0f4b7d4d5f9a3c2b1e0d9f8a7b\n",
    # Nothing answers there, so that the store is unreachable at once.
    "etc/resolv.conf": b"nameserver 127.0.0.1\n",
    "etc/ssh/sshd_config.d/lab.conf": b"UsePAM no\nUseDNS no\nAuthorizedKeysFile /etc/ssh/authorized_keys\n",
    # The wait for sshd is a number of connections without a login.
    "etc/ssh/sshd_config.d/wait.conf": b"PerSourcePenalties no\n",
    "etc/systemd/journald.conf.d/lab.conf": b"[Journal]\nStorage=volatile\n",
    # Everything is slow in an emulator.
    "etc/systemd/system.conf.d/lab.conf": b"[Manager]\nDefaultTimeoutStartSec=10min\nDefaultTimeoutStopSec=60s\n",
}
# The lab has its own initial ramdisk, which is smaller, and created in less time.
_NO_RAMDISK = (
    'chroot "$1" dpkg-divert --quiet --local --rename --add /usr/sbin/update-initramfs; '
    'ln -s /bin/true "$1/usr/sbin/update-initramfs"'
)


def build_disk(folder: Path) -> None:
    """Create ``disk.img``, ``vmlinuz``, ``initrd.img`` and the keys in a folder. Raises `UnavailableError`."""
    make_keys(folder)
    files = {
        **_FILES,
        "etc/ssh/authorized_keys": (folder / "login_key.pub").read_bytes(),
        "etc/ssh/ssh_host_ed25519_key.pub": (folder / "host_key.pub").read_bytes(),
        "etc/ssh/ssh_host_ed25519_key": (folder / "host_key").read_bytes(),
    }
    programs = {f"{_LAB}/{path.name}": path.read_bytes() for path in (*SNAPS.iterdir(), *GUEST.iterdir())}
    programs |= {f"root/tiny/{path.name}": path.read_bytes() for path in TINY.iterdir()}
    archive, root = folder / "files.tar", folder / "root.tar"
    write_archive(archive, files, programs)
    hooks = (f"tar-in {archive} /", f'chroot "$1" /bin/sh /{_LAB}/finish-root')
    make_root(root, _PACKAGES, hooks, early_hooks=(_NO_RAMDISK,), release=RELEASE)
    script = """
        mkdir root
        tar --extract --preserve-permissions --file root.tar --directory root --exclude './dev/*'
        cp root/boot/vmlinuz-* vmlinuz
        cp root/boot/initrd.img-* initrd.img
    """
    fill = ("mke2fs", "-q", "-t", "ext4", "-d", "root", "-E", "lazy_itable_init=0", "-m", "0", "disk.img", _DISK)
    # Without root privileges, only fakeroot knows the owners of the files, so one instance runs all commands.
    owners = [] if os.geteuid() == 0 else ["fakeroot"]
    command = [*owners, "sh", "-e", "-c", f"{script}\n{shlex.join(fill)}"]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PATH": PATH})
    for leftover in (archive, root):
        leftover.unlink()
    subprocess.run(["rm", "-rf", "--", str(folder / "root")], check=True)
