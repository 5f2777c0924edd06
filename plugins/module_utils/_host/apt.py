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

from .sections import Sections

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")
"""A package name (Debian policy 5.6.1). No other text is passed to the shell of a host."""

LOCK_TEXTS = ("could not get lock", "is another process using it", "locked by another process")
"""Parts of the messages of apt and dpkg while another process holds their lock, in lower case.

apt: ``Could not get lock /var/lib/dpkg/lock-frontend``, ``Unable to acquire the dpkg frontend lock (…), is another
process using it?``. dpkg: ``… is locked by another process``, since Ubuntu 22.04 ``… was locked by another process with
pid 1234``. A lock that fails for another reason (``are you root?``) is not in the list, because waiting does not help.
The function ``reports_lock`` of ``shell/sections.sh`` has the same list.
"""

_IMAGE = re.compile(r"linux-(?:signed-)?image-(?:unsigned-)?(?P<release>[0-9][0-9A-Za-z.+~-]{1,63})")
_ACTION = re.compile(r"(?P<verb>Inst|Remv) (?P<name>\S+)(?: \[(?P<old>[^]\s]+)\])?(?: \((?P<new>\S+))?")
_NUMBER = re.compile(r"[0-9]{1,15}")
_BOOT_FILE = re.compile(
    r"(?P<size>[0-9]{1,15})\s+/boot/(?:vmlinuz|initrd\.img|System\.map|config)-(?P<release>\S{1,64})"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """A package in dpkg's database. `held` is true after ``apt-mark hold``."""

    name: str
    version: str
    installed: bool
    held: bool


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
    `interrupted` has what dpkg reports about an interrupted run. `boot_free` and the values of `boot_used`, by kernel
    release, are kibibytes.
    """

    packages: c.Mapping[str, Package]
    available: tuple[str, ...]
    metapackages: c.Mapping[str, tuple[str, ...]]
    interrupted: tuple[str, ...]
    boot_free: int | None
    boot_used: c.Mapping[str, int]


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
    """The files of one kernel: those that are missing, and the `entries` that refer a boot loader to it."""

    missing: tuple[str, ...]
    entries: tuple[str, ...]


def image_release(package: str) -> str | None:
    """Return the kernel release of an image package: ``linux-image-4.4.0-21-generic`` → ``4.4.0-21-generic``."""
    match = _IMAGE.fullmatch(package)
    return match["release"] if match else None


def reports_lock(output: str) -> bool:
    """Return True if apt or dpkg failed because another process holds the lock."""
    folded = output.lower()
    return any(text in folded for text in LOCK_TEXTS)


def read_kernel_packages(sections: Sections) -> KernelPackages | None:
    """Parse the kernel packages of a host; None if the host has no apt-get."""
    section = sections.get("packages")
    if section is None or section.status == "absent":
        return None
    return KernelPackages(
        packages={package.name: package for package in _packages(section.output)},
        available=tuple(line for line in _lines(sections, "available") if PACKAGE.fullmatch(line)),
        metapackages=_metapackages(_lines(sections, "metapackages")),
        interrupted=tuple(line[:200] for line in _lines(sections, "interrupted")[:10]),
        boot_free=_free(_lines(sections, "boot_space")),
        boot_used=_used(_lines(sections, "boot_sizes")),
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
    """Parse the list of files of a kernel."""
    words = [line.partition(" ") for line in _lines(sections, "kernel_files")]
    missing = tuple(path for word, _blank, path in words if word in ("absent", "denied") and "grub" not in path)
    return KernelOnDisk(missing, tuple(path for word, _blank, path in words if word == "entry"))


def _lines(sections: Sections, name: str) -> list[str]:
    section = sections.get(name)
    return [line.strip() for line in section.output.splitlines() if line.strip()] if section else []


def _packages(text: str) -> c.Iterator[Package]:
    for line in text.splitlines():
        words = line.split()
        # A package without a version is not installed and never was.
        if len(words) != 5 or not PACKAGE.fullmatch(words[0]):
            continue
        yield Package(words[0], words[1], installed=words[4] == "installed", held=words[2] == "hold")


def _metapackages(lines: list[str]) -> dict[str, tuple[str, ...]]:
    metapackages: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in lines:
        relation, colon, target = line.partition(": ")
        if not colon and PACKAGE.fullmatch(line):
            name = line
        elif name and relation.lstrip("|") == "Depends" and image_release(target):
            metapackages[name] = (*metapackages.get(name, ()), target)
    return metapackages


def _free(lines: list[str]) -> int | None:
    words = lines[1].split() if len(lines) > 1 else []
    return int(words[3]) if len(words) > 3 and _NUMBER.fullmatch(words[3]) else None


def _used(lines: list[str]) -> dict[str, int]:
    used: dict[str, int] = {}
    for match in filter(None, map(_BOOT_FILE.fullmatch, lines)):
        used[match["release"]] = used.get(match["release"], 0) + int(match["size"])
    return used
