# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Parse what apt and dpkg report about a host's kernels, and the state of a run of apt-get.

The formats are those of dpkg-query(1), apt-cache(8), apt-get(8), df(1) and du(1) in the C locale.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .._kernel_name import parse_release
from .error_texts.apt import LOCK_EXCEPTIONS, LOCK_TEXTS
from .sections import Sections

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")
"""A package name (Debian policy 5.6.1). No other text is passed to the shell of a host."""

_IMAGE = re.compile(r"linux-(?:signed-)?image-(?:unsigned-)?(?P<release>[0-9][0-9A-Za-z.+~-]{1,63})")
_ACTION = re.compile(r"(?P<verb>Inst|Remv) (?P<name>\S+)(?: \[(?P<old>[^]\s]+)\])?(?: \((?P<new>\S+))?")
_UBUNTU_MAINTAINER = re.compile(r"@(?:[a-z0-9-]+\.){0,4}(?:ubuntu|canonical)\.com>?$", re.IGNORECASE)
_OWN_SOURCE = re.compile(r"linux-upstream|linux-[0-9].*")
"""Source packages of ``make deb-pkg`` (kernel ``scripts/package/mkdebian``)."""
_TIMESTAMP = re.compile(r"(?<![0-9])[0-9]{8,}")
_KERNEL_STARTS = ("4d5a", "7f454c46", "1f8b", "28b52ffd", "fd377a585a00", "04224d18", "02214c18")
"""First bytes of kernel images: an EFI program (x86, arm64, riscv), ELF (ppc64el), or compressed (arm64, riscv)."""
_S390_START = "0200001860000050"
"""Bytes 8 to 15 of a kernel image for s390x (file(1))."""
_X86_HEADER = re.compile("55aa[0-9a-f]{4}48647253")
"""Bytes 510 to 517 of a kernel image for x86: the end of the boot sector, and the signature ``HdrS``."""
_INITRD_STARTS = (
    "303730373031",  # cpio, also with the microcode in front of a compressed part
    "303730373032",
    "1f8b",  # gzip
    "04224d18",  # lz4
    "02214c18",  # lz4, the format that the kernel reads
    "28b52ffd",  # zstd
    "fd377a585a00",  # xz
    "5d0000",  # lzma
    "425a68",  # bzip2
    "894c5a4f",  # lzo
)
"""First bytes of initial ramdisks."""
_NUMBER = re.compile(r"[0-9]{1,15}")
_MOST_DEPENDENCIES = 64
_BOOT_FILE = re.compile(
    r"(?P<size>[0-9]{1,15})\s+/boot/(?:vmlinuz|initrd\.img|System\.map|config)-(?P<release>\S{1,64})"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """A package in dpkg's database. `held` is true after ``apt-mark hold``.

    `source` is the name of its source package.
    """

    name: str
    version: str
    installed: bool
    held: bool
    source: str | None = None
    maintainer: str | None = None

    def foreign(self, *, ubuntu: bool) -> bool:
        """Return True if the package is a kernel image that the distribution did not build.

        Builds of the mainline archive have Ubuntu's maintainer, and a time in their version
        (``5.7.7-050707.202007010943``). On an Ubuntu host, a package of Ubuntu has a version that begins with that of
        the kernel (``5.4.0-216.236`` for ``5.4.0-216-generic``), and a maintainer at Ubuntu or Canonical.
        """
        release = image_release(self.name)
        name = parse_release(release) if release is not None else None
        if name is None:
            # A release in another form (``6.1.0-43-amd64``, ``5.15.0-xanmod1``) is not in the form of Ubuntu's.
            return release is not None and ubuntu
        if name.foreign or (self.source is not None and _OWN_SOURCE.fullmatch(self.source)):
            return True
        if not ubuntu:
            return False
        if _TIMESTAMP.search(self.version) or not self.version.startswith(name.package_version):
            return True
        return bool(self.maintainer) and not _UBUNTU_MAINTAINER.search(self.maintainer or "")


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A package that apt-get would change: `old` is None for a new package, `new` for a removed one."""

    name: str
    old: str | None
    new: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class KernelPackages:
    """The kernel packages of a host and its archive.

    `metapackages` has the installed metapackages, each with the images on which its newest version depends.
    `interrupted` has what dpkg reports about an interrupted run. `held` has all held packages. `boot_free` and the
    values of `boot_used`, by kernel release, are kibibytes.
    """

    packages: c.Mapping[str, Package]
    available: tuple[str, ...]
    metapackages: c.Mapping[str, tuple[str, ...]]
    interrupted: tuple[str, ...]
    boot_free: int | None
    boot_used: c.Mapping[str, int]
    held: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class InstallRun:
    """A run of apt-get on the host: `state` is ``absent``, ``starting``, ``running``, ``lost`` or ``ended``.

    A ``lost`` run stopped without an exit code, for example because the machine stopped.
    """

    state: t.Literal["absent", "starting", "running", "lost", "ended"]
    exit_code: int | None = None
    log: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class KernelOnDisk:
    """The files of one kernel: those that are missing, and the `entries` that refer a boot loader to it.

    `damaged` has the files that are empty, that do not have the format of a kernel or of an initial ramdisk, or that
    differ from the checksum in their package.
    """

    missing: tuple[str, ...]
    entries: tuple[str, ...]
    damaged: tuple[str, ...] = ()


def image_release(package: str) -> str | None:
    """Return the kernel release of an image package: ``linux-image-4.4.0-21-generic`` → ``4.4.0-21-generic``."""
    match = _IMAGE.fullmatch(package)
    return match["release"] if match else None


def without_waits(output: str) -> str:
    """Return an output without the lines by which apt, since 1.9.11, reports a wait for a lock before it continues."""
    return "\n".join(line for line in output.split("\n") if not line.lower().startswith("waiting for"))


def reports_lock(output: str) -> bool:
    """Return True if apt or dpkg failed because another process holds the lock."""
    folded = without_waits(output).lower()
    return any(text in folded for text in LOCK_TEXTS) and not any(text in folded for text in LOCK_EXCEPTIONS)


def lists_are_refreshed(output: str, exit_code: int | None) -> bool:
    """Return True if ``apt-get update`` has refreshed all package lists.

    If a server does not answer, apt-get only warns and ends with 0, and the old lists stay.
    """
    return exit_code == 0 and "Some index files failed to download" not in output


def read_images(sections: Sections) -> dict[str, tuple[Package, ...]] | None:
    """Return the installed packages of each kernel with an image package, by release.

    Return None if the host has no dpkg, or its answer is incomplete.
    """
    section = sections.get("packages")
    if section is None or section.status != "ok" or section.exit_code != 0 or section.cut:
        return None
    installed = [package for package in _packages(section.output) if package.installed]
    releases = dict.fromkeys(filter(None, (image_release(package.name) for package in installed)))
    return {
        release: tuple(package for package in installed if package.name.endswith(f"-{release}")) for release in releases
    }


def read_kernel_packages(sections: Sections) -> KernelPackages | None:
    """Parse the kernel packages of a host; None if the host has no apt-get."""
    section = sections.get("packages")
    if section is None or section.status == "absent":
        return None
    packages = {package.name: package for package in _packages(section.output)}
    return KernelPackages(
        packages=packages,
        available=tuple(line for line in _lines(sections, "available") if PACKAGE.fullmatch(line)),
        metapackages=_metapackages(_lines(sections, "metapackages"), packages),
        interrupted=tuple(line[:200] for line in _lines(sections, "interrupted")[:10]),
        boot_free=_free(_lines(sections, "boot_space")),
        boot_used=_used(_lines(sections, "boot_sizes")),
        held=tuple(line for line in _lines(sections, "held")[:100] if PACKAGE.fullmatch(line)),
    )


def read_run(sections: Sections) -> InstallRun:
    """Parse the state of the run of apt-get."""
    words = (sections.output("run") or "absent").split()
    log = sections["log"].output if "log" in sections else ""
    match words:
        case ["ended", code] if _NUMBER.fullmatch(code):
            return InstallRun("ended", int(code), log)
        case ["running" | "starting" | "lost" as state]:
            return InstallRun(state, log=log)
        case ["absent"]:
            return InstallRun("absent")
        case _:
            return InstallRun("lost", log=log)


def read_changes(simulation: str) -> list[Change]:
    """Parse the output of ``apt-get -s``."""
    changes = []
    for match in filter(None, map(_ACTION.match, simulation.splitlines())):
        new = match["new"] if match["verb"] == "Inst" else None
        changes.append(Change(match["name"], match["old"], new))
    return changes


def read_kernel_on_disk(sections: Sections) -> KernelOnDisk:
    """Parse the list of files of a kernel. A file whose content was not read counts as damaged."""
    words = [line.partition(" ") for line in _lines(sections, "kernel_files")]
    access = {path: word for word, _blank, path in words if word in ("ok", "absent", "denied") and "grub" not in path}
    intact = {path for word, _blank, rest in words if word == "content" for path in _intact_file(rest.split())}
    altered = {rest.split()[0] for word, _blank, rest in words if word == "checksum" and _differs(rest.split())}
    damaged = {path for path, word in access.items() if word == "ok" and (path not in intact or path in altered)}
    missing = tuple(path for path, word in access.items() if word != "ok")
    return KernelOnDisk(missing, tuple(path for word, _blank, path in words if word == "entry"), tuple(sorted(damaged)))


def _intact_file(words: list[str]) -> list[str]:
    """Return the path of a file if its size and its first bytes are those of its kind."""
    if len(words) != 4 or not _NUMBER.fullmatch(words[1]) or int(words[1]) == 0:
        return []
    path, head, signature = words[0], words[2][1:], words[3][1:]
    if "/vmlinuz-" in path:
        valid = head.startswith(_KERNEL_STARTS) or head[16:].startswith(_S390_START)
        valid = valid or _X86_HEADER.fullmatch(signature) is not None
    elif "/initrd.img-" in path:
        valid = head.startswith(_INITRD_STARTS)
    else:
        valid = True
    return [path] if valid and head.strip("0") else []


def _differs(words: list[str]) -> bool:
    return len(words) == 3 and words[1] != words[2]


def _lines(sections: Sections, name: str) -> list[str]:
    section = sections.get(name)
    return [line.strip() for line in section.output.splitlines() if line.strip()] if section else []


def _packages(text: str) -> c.Iterator[Package]:
    for line in text.splitlines():
        words = line.split(maxsplit=6)
        # A package without a version is not installed and never was.
        if len(words) < 5 or not PACKAGE.fullmatch(words[0]):
            continue
        source, maintainer = (*words[5:], None, None)[:2]
        installed, held = words[4] == "installed", words[2] == "hold"
        yield Package(words[0], words[1], installed, held, source, maintainer[:200] if maintainer else None)


def _metapackages(lines: list[str], packages: c.Mapping[str, Package]) -> dict[str, tuple[str, ...]]:
    """Return the images of each installed metapackage, also those that it has through another metapackage.

    A metapackage that has been replaced depends on its successor (``linux-image-oem-20.04``).
    """
    depends: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        relation, colon, target = line.partition(": ")
        if not colon and PACKAGE.fullmatch(line):
            name = line
            depends.setdefault(name, [])
        elif name and relation.lstrip("|") == "Depends" and PACKAGE.fullmatch(target):
            depends[name].append(target)
    installed = (name for name in depends if name in packages and packages[name].installed)
    images = {name: tuple(dict.fromkeys(_images(name, depends))) for name in installed}
    return {name: found for name, found in images.items() if found}


def _images(name: str, depends: c.Mapping[str, list[str]]) -> c.Iterator[str]:
    """Yield the images in the order of the dependencies. A host can name any number of packages."""
    seen: set[str] = set()
    left = [name]
    while left and len(seen) < _MOST_DEPENDENCIES:
        target = left.pop()
        if image_release(target):
            yield target
        elif target not in seen:
            seen.add(target)
            left += reversed(depends.get(target, [])[:_MOST_DEPENDENCIES])


def _free(lines: list[str]) -> int | None:
    words = lines[1].split() if len(lines) > 1 else []
    return int(words[3]) if len(words) > 3 and _NUMBER.fullmatch(words[3]) else None


def _used(lines: list[str]) -> dict[str, int]:
    used: dict[str, int] = {}
    for match in filter(None, map(_BOOT_FILE.fullmatch, lines)):
        used[match["release"]] = used.get(match["release"], 0) + int(match["size"])
    return used
