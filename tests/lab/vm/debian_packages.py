# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The kernels of the machine: the packages of two Debian kernels, and the archive with the newer one."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

METAPACKAGE = "linux-image-cloud-amd64"
_IMAGE = re.compile(r"linux-image-(?P<version>[0-9]+\.[0-9]+\.[0-9]+)-(?P<abi>[0-9]+)-cloud-amd64")
_TOOLS = ("apt-cache", "apt-get", "dpkg-deb")


class UnavailableError(Exception):
    """This machine cannot run or build the virtual machine; the message names the reason."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A Debian cloud kernel, with additional names like those of an Ubuntu kernel."""

    release: str
    """The release in ``uname -r``: ``6.1.0-56-cloud-amd64``."""
    package_version: str
    """The version of its package: ``6.1.192-2``."""

    @property
    def upstream(self) -> str:
        return self.package_version.partition("-")[0]

    @property
    def full(self) -> str:
        """Return the name that the client and the patch archives use: ``6.1.0-56.192-cloud-amd64``."""
        version, abi, flavour = self.release.split("-", 2)
        return f"{version}-{abi}.{self.upstream.rpartition('.')[2]}-{flavour}"

    @property
    def signature(self) -> str:
        """Return the content of ``/proc/version_signature``."""
        return f"Ubuntu {self.full} {self.upstream}"


def find_kernels() -> tuple[Kernel, Kernel]:
    """Return the two newest kernels of one version in the archive, older first. Raises `UnavailableError`."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}, which is needed to download Debian kernels")
    named = re.search(rf"Depends: {_IMAGE.pattern}$", _ask("apt-cache", "depends", METAPACKAGE), re.MULTILINE)
    if named is None:
        raise UnavailableError(f"apt has no package {METAPACKAGE}: run apt-get update, on a machine with Debian")
    names = _ask("apt-cache", "pkgnames", f"linux-image-{named['version']}-").split()
    numbers = sorted((int(match["abi"]) for match in map(_IMAGE.fullmatch, names) if match), reverse=True)
    found: list[Kernel] = []
    for number in numbers:
        release = f"{named['version']}-{number}-cloud-amd64"
        image, headers = (_version(f"linux-{part}-{release}") for part in ("image", "headers"))
        if image is not None and headers == image:
            found.append(Kernel(release, image))
        if len(found) == 2:
            return found[1], found[0]
    raise UnavailableError(f"apt has fewer than two cloud kernels {named['version']} with headers")


def download(kernels: tuple[Kernel, Kernel], folder: Path) -> None:
    """Download the packages of these kernels, of their headers and of their build tools into a folder."""
    names = [f"linux-kbuild-{kernels[0].release.rpartition('.0-')[0]}"]
    for kernel in kernels:
        common = f"linux-headers-{kernel.release.removesuffix('-cloud-amd64')}-common"
        names += [f"linux-image-{kernel.release}", f"linux-headers-{kernel.release}", common]
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *names]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise UnavailableError(f"the kernel packages could not be downloaded: {ended.stderr.strip()[-300:]}")


def make_archive(kernels: tuple[Kernel, Kernel], downloaded: Path, archive: Path) -> None:
    """Create the package archive for the machine's `apt-get`.

    The kernel packages are those of Debian. The lab builds the metapackages, one per kernel as in Ubuntu, and a package
    that replaces the tools for initial ramdisks and for the menu of the boot loader.
    """
    archive.mkdir()
    for kernel in kernels:
        for package in downloaded.glob(f"linux-image-{kernel.release}_*.deb"):
            package.rename(archive / package.name)
        depends = f"linux-image-{kernel.release} (= {kernel.package_version})"
        _make_package(archive, METAPACKAGE, kernel.package_version, {"Depends": depends})
    hooks = {f"etc/kernel/{part}.d/livepatch-lab": _HOOK for part in ("postinst", "postrm")}
    _make_package(archive, "livepatch-lab-boot", "1", {"Provides": "linux-initramfs-tool"}, hooks)
    paragraphs = [_paragraph(package) for package in sorted(archive.glob("*.deb"))]
    (archive / "Packages").write_text("\n".join(paragraphs), encoding="utf-8")


_HOOK = '#!/bin/sh\nexec /usr/lib/livepatch-lab/kernel-hook "$@"\n'


def _make_package(
    archive: Path, name: str, version: str, fields: dict[str, str], files: dict[str, str] | None = None
) -> None:
    """Build a package without documentation. `files` are programs by path."""
    tree = archive / "tree"
    for path, content in (files or {}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content, encoding="utf-8")
        (tree / path).chmod(0o755)
    control = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "The lab <lab@livepatch.test>",
        **fields,
        "Description": "a package of the lab",
    }
    (tree / "DEBIAN").mkdir(parents=True)
    text = "".join(f"{key}: {value}\n" for key, value in control.items())
    (tree / "DEBIAN" / "control").write_text(text, encoding="utf-8")
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(archive / f"{name}_{version}_amd64.deb")]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tree)


def _paragraph(package: Path) -> str:
    """Return the paragraph of a package in the index of an archive."""
    control = _ask("dpkg-deb", "--field", str(package)).rstrip("\n")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    return f"{control}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"


def _version(package: str) -> str | None:
    found = re.search(r"^Version: (\S+)$", _ask("apt-cache", "show", "--no-all-versions", package), re.MULTILINE)
    return found[1] if found else None


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
