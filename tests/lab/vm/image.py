# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The disk of the machine and its keys and modules, cached until the kernels or the files of this folder change.

Nothing is mounted: `mmdebstrap` creates the root, a small Debian with the older of two kernels installed, and `mke2fs`
creates its file system. The disk boots with GRUB, so that a reboot is real: firmware, boot loader, and the kernel that
the menu of the boot loader names first.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import os
import platform
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

from .. import ssh_machine
from ..hosts.kernel_names import module_name
from .debian_packages import Kernel, UnavailableError, download, find_kernels, make_archive
from .grub_disk import GRUB, SYSTEM_PATH, fill_partition, write_boot_loader
from .kernel_modules import SUPPORT, make_keys, make_modules, unpack_headers

CACHE = Path(__file__).parents[3] / ".build" / "vm"
_HERE = Path(__file__).parent
_TOOLS = ("gcc", "grub-mkimage", "make", "mke2fs", "mmdebstrap", "openssl", "ssh-keygen", "strip", "tar")
_PACKAGES = (
    *("busybox-static", "bzip2", "curl", "grub2-common", "iproute2", "kmod", "linux-base", "openssh-server"),
    *("openssl", "procps", "sudo", "sysvinit-core"),
)
_PROGRAMS = ("boot", "halt", "initrd-init", "kernel-hook", "livepatchd")
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_ARCHIVE = "srv/archive"
_DISK_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class Image:
    """A built image. `kernels`: the installed kernel, and the newer one in its package archive."""

    folder: Path
    kernels: tuple[Kernel, Kernel]

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    def certificate(self, signer: str = "lab") -> Path:
        """Return the certificate file (PEM) of a signer of patches."""
        return self.folder / "keys" / f"{signer}.pem"

    def patch(self, kernel: Kernel, version: str, signer: str = "lab") -> Path:
        """Return the module file of a patch. `signer` may also be ``unsigned``."""
        return self.folder / "modules" / kernel.release / signer / f"{module_name(kernel.full, version)}.ko"


def built_image() -> Image:
    """Return the image; build it if its recipe is new. Raises `UnavailableError`."""
    _check_tools()
    kernels = find_kernels()
    CACHE.mkdir(parents=True, exist_ok=True)
    image = Image(CACHE / _recipe(kernels), kernels)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.folder.is_dir():
            for leftover in CACHE.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover)
            part = Image(image.folder.with_suffix(".part"), kernels)
            part.folder.mkdir()
            _build(part)
            part.folder.rename(image.folder)
    return image


def _check_tools() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=SYSTEM_PATH) is None]
    if os.geteuid() != 0 and shutil.which("fakeroot") is None:
        missing.append("fakeroot")
    if not (GRUB / "boot.img").is_file():
        missing.append("GRUB for a BIOS (grub-pc-bin)")
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")


def _recipe(kernels: tuple[Kernel, Kernel]) -> str:
    """Return a digest of everything that the image is made from."""
    digest = hashlib.sha256(repr((kernels, _release())).encode())
    modules = [_HERE / f"{name}.py" for name in ("image", "grub_disk", "kernel_modules", "debian_packages")]
    for path in sorted([*modules, *_HERE.glob("guest/*"), *_HERE.glob("kernel/*")]):
        digest.update(f"{path.relative_to(_HERE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _release() -> str:
    """Return the Debian release of this machine, because its compiler matches its kernels."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")


def _build(image: Image) -> None:
    work = image.folder / "work"
    for folder in (work, work / "packages", work / "headers", image.folder / "keys", image.folder / "modules"):
        folder.mkdir()
    download(image.kernels, work / "packages")
    make_keys(image.folder / "keys")
    unpack_headers(work / "packages", work / "headers")
    for kernel in image.kernels:
        make_modules(kernel, work / "headers", image.folder / "keys", image.folder / "modules" / kernel.release)
    make_archive(image.kernels, work / "packages", work / "archive")
    ssh_machine.make_keys(image.folder)
    _write_files(image, work / "files.tar")
    _make_root(image, work)
    _make_disk(image.disk, work)
    shutil.rmtree(work)


def _write_files(image: Image, target: Path) -> None:
    """Write the lab's additions to the root of Debian, as a tar archive of files that belong to root."""
    lab, guest = "usr/lib/livepatch-lab", _HERE / "guest"
    snap = "snap/canonical-livepatch/current"
    files: list[tuple[str, bytes, int]] = [
        *((f"{lab}/{name}", (guest / name).read_bytes(), 0o755) for name in _PROGRAMS),
        ("etc/inittab", (guest / "inittab").read_bytes(), 0o644),
        ("etc/os-release.lab", (guest / "os-release").read_bytes(), 0o644),
        ("etc/hostname", b"patched\n", 0o644),
        ("etc/hosts", b"127.0.0.1 localhost patched\n10.0.2.100 livepatch.lab.test\n", 0o644),
        (f"{lab}/machine-id", hashlib.md5(b"patched").hexdigest().encode() + b"\n", 0o644),  # noqa: S324  (not a secret)
        ("etc/sudoers.d/fleet", b"fleet ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440),
        ("etc/ssh/sshd_config", (guest / "sshd_config").read_bytes(), 0o644),
        ("etc/ssh/ssh_host_ed25519_key", (image.folder / "host_key").read_bytes(), 0o600),
        ("etc/ssh/ssh_host_ed25519_key.pub", (image.folder / "host_key.pub").read_bytes(), 0o644),
        ("etc/ssh/authorized_keys", (image.folder / "login_key.pub").read_bytes(), 0o644),
        ("etc/apt/sources.list", f"deb [trusted=yes] file:/{_ARCHIVE} ./\n".encode(), 0o644),
        ("etc/dpkg/dpkg.cfg.d/lab", "".join(f"path-exclude {each}\n" for each in _EXCLUDED).encode(), 0o644),
        (f"{snap}/keys/livepatch-kmod.x509", (image.folder / "keys" / "lab.der").read_bytes(), 0o644),
        ("snap/bin/canonical-livepatch", (guest / "canonical-livepatch").read_bytes(), 0o755),
        ("usr/bin/snap", (guest / "snap").read_bytes(), 0o755),
    ]
    for kernel in image.kernels:
        modules = image.folder / "modules" / kernel.release
        target_folder = f"{lab}/modules/{kernel.release}"
        files += [(f"{target_folder}/{name}.ko", (modules / f"{name}.ko").read_bytes(), 0o644) for name in SUPPORT]
        files.append((f"{target_folder}/signature", kernel.signature.encode() + b"\n", 0o644))
    with tarfile.open(target, "w") as tar:
        for name, content, mode in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))


def _make_root(image: Image, work: Path) -> None:
    """Create the root as ``root.tar``: Debian, the lab's files, and the older kernel, installed with `apt-get`."""
    older = image.kernels[0]
    install = f"apt-get install --yes --quiet livepatch-lab-boot linux-image-cloud-amd64={older.package_version}"
    steps = "\n".join(
        [
            "set -e",
            "mv /etc/os-release.lab /etc/os-release",
            "useradd --create-home --shell /bin/sh fleet",
            "rm -f /etc/apt/sources.list.d/* /etc/ssh/ssh_host_rsa* /etc/ssh/ssh_host_ecdsa*",
            "mkdir -p /var/snap/canonical-livepatch/common",
            # The lab has its own menu, because GRUB cannot find the disk of a folder.
            "rm -f /etc/kernel/*/zz-update-grub",
            "apt-get update --quiet",
            f"DEBIAN_FRONTEND=noninteractive {install}",
            "apt-get clean",
            "grub-editenv /boot/grub/grubenv create",
        ]
    )
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}"),
        *(f"--dpkgopt=path-exclude={each}" for each in _EXCLUDED),
        f"--customize-hook=copy-in {work / 'archive'} /srv",
        f"--customize-hook=tar-in {work / 'files.tar'} /",
        f"--customize-hook=chroot \"$1\" /bin/sh -c '{steps}'",
        *(_release(), str(work / "root.tar")),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}")


def _make_disk(disk: Path, work: Path) -> None:
    """Create the disk: the boot loader, followed by one partition with the root."""
    fill = shlex.join(fill_partition(disk, Path("root"), _DISK_BYTES))
    script = (
        "mkdir root && tar --extract --preserve-permissions --file root.tar --directory root --exclude './dev/*' && "
        + fill
    )
    # Without root privileges, only fakeroot knows the owners of the files, so one instance runs both commands.
    owners = [] if os.geteuid() == 0 else ["fakeroot"]
    subprocess.run(
        [*owners, "sh", "-c", script],
        cwd=work,
        check=True,
        env={**os.environ, "PATH": SYSTEM_PATH},
    )
    write_boot_loader(disk, work, _DISK_BYTES)
