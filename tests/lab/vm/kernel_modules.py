# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Kernel modules, compiled with the headers of a kernel and signed with the tool of the kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ..hosts.kernel_names import module_name
from .debian_packages import Kernel

PATCHES = ("1.1", "2.1", "3.1")
"""Versions of the live patch. All replace /proc/cmdline; 3.1 also replaces the function behind /proc/lab_sleep."""
SIGNERS = ("lab", "stranger")
"""The keys: the one that patches must be signed with, and another one."""
SUPPORT = ("lab_sleep", "lab_signature")
"""Modules that the machine loads when it starts."""

_SOURCES = Path(__file__).parent / "kernel"


def make_keys(folder: Path) -> None:
    """Create the keys of all signers: ``<signer>.key``, ``<signer>.pem`` and ``<signer>.der`` (DER)."""
    for signer in SIGNERS:
        subject = f"/CN=Live patch signing of {signer}"
        key, certificate = folder / f"{signer}.key", folder / f"{signer}.pem"
        command = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:4096", "-nodes", "-sha512", "-days", "36500"]
        command += ["-subj", subject, "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        command = ["openssl", "x509", "-in", str(certificate), "-outform", "DER", "-out", str(folder / f"{signer}.der")]
        subprocess.run(command, check=True, capture_output=True)


def unpack_headers(downloaded: Path, folder: Path) -> None:
    """Unpack the packages of the headers without installing them."""
    for package in [*downloaded.glob("linux-headers-*.deb"), *downloaded.glob("linux-kbuild-*.deb")]:
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    # The makefiles refer to each other by their installed paths.
    for makefile in folder.glob("usr/src/linux-headers-*-amd64/Makefile"):
        text = makefile.read_text(encoding="utf-8")
        makefile.write_text(text.replace("include /usr/src/", f"include {folder}/usr/src/"), encoding="utf-8")


def make_modules(kernel: Kernel, headers: Path, keys: Path, folder: Path) -> None:
    """Build all modules for a kernel.

    `folder` gets the modules of `SUPPORT`, and the patches in ``unsigned/`` and in one folder per signer.
    """
    build = folder / "build"
    build.mkdir(parents=True)
    for name in SUPPORT:
        shutil.copy(_SOURCES / f"{name}.c", build)
    objects, flags = [*SUPPORT], []
    for version in PATCHES:
        name = module_name(kernel.full, version)
        shutil.copy(_SOURCES / "livepatch.c", build / f"{name}.c")
        sleep = " -DLAB_SLEEP" if version == PATCHES[-1] else ""
        objects.append(name)
        flags.append(f"CFLAGS_{name}.o := '-DLAB_TEXT=\"{patched_text(version)}\"'{sleep}\n")
    listed = " ".join(f"{name}.o" for name in objects)
    (build / "Kbuild").write_text(f"obj-m := {listed}\n{''.join(flags)}", encoding="utf-8")
    _compile(headers / "usr" / "src" / f"linux-headers-{kernel.release}", build)
    for name in SUPPORT:
        (build / f"{name}.ko").rename(folder / f"{name}.ko")
    (sign_file,) = headers.glob("usr/lib/linux-kbuild-*/scripts/sign-file")
    _sign_patches(sign_file, keys, folder)
    shutil.rmtree(build)


def patched_text(version: str) -> str:
    """Return the content of /proc/cmdline, without the newline, while this patch is applied."""
    return f"live patch {version} of the lab"


def _compile(tree: Path, build: Path) -> None:
    command = ["make", "-C", str(tree), f"M={build}", "CC=gcc", "modules"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"the modules do not compile:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}")
    for module in build.glob("*.ko"):
        subprocess.run(["strip", "--strip-debug", str(module)], check=True)


def _sign_patches(sign_file: Path, keys: Path, folder: Path) -> None:
    for signer in ("unsigned", *SIGNERS):
        (folder / signer).mkdir()
    for module in (folder / "build").glob("lkp_*.ko"):
        shutil.copy(module, folder / "unsigned")
        for signer in SIGNERS:
            key, certificate = keys / f"{signer}.key", keys / f"{signer}.pem"
            target = folder / signer / module.name
            command = [str(sign_file), "sha512", str(key), str(certificate), str(module), str(target)]
            subprocess.run(command, check=True)
