# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What apt and dpkg say of a host's kernels, and how a run of apt-get goes. Nothing is concluded here.

The shapes are those of dpkg-query(1), apt-cache(8), apt-get(8), df(1) and du(1) in the C locale.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .sections import Sections

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")
"""A name of a package (Debian policy 5.6.1). Nothing else goes back to a host's shell."""

_IMAGE = re.compile(r"linux-(?:signed-)?image-(?:unsigned-)?(?P<release>[0-9][0-9A-Za-z.+~-]{1,63})")
_ACTION = re.compile(r"(?P<verb>Inst|Remv) (?P<name>\S+)(?: \[(?P<old>[^]\s]+)\])?(?: \((?P<new>\S+))?")
_NUMBER = re.compile(r"[0-9]{1,15}")
_BOOT_FILE = re.compile(
    r"(?P<size>[0-9]{1,15})\s+/boot/(?:vmlinuz|initrd\.img|System\.map|config)-(?P<release>\S{1,64})"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """A package that dpkg knows of. `held` is the mark of ``apt-mark hold``."""

    name: str
    version: str
    installed: bool
    held: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What apt-get would do with a package: `old` is None for a new one, `new` for one that goes."""

    name: str
    old: str | None
    new: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class KernelPackages:
    """Kernels as packages.

    `leads` holds, for each installed metapackage, the images on which its candidate depends. `boot_free` and the
    values of `boot_used`, by kernel release, are kibibytes.
    """

    packages: c.Mapping[str, Package]
    available: tuple[str, ...]
    leads: c.Mapping[str, tuple[str, ...]]
    interrupted: tuple[str, ...]
    boot_free: int | None
    boot_used: c.Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class InstallRun:
    """A run of apt-get on the host: `state` is ``absent``, ``starting``, ``running``, ``lost`` or ``ended``."""

    state: t.Literal["absent", "starting", "running", "lost", "ended"]
    exit_code: int | None = None
    log: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class KernelOnDisk:
    """What stands on disk of one kernel; `entries` are the places that name it to a boot loader."""

    missing: tuple[str, ...]
    entries: tuple[str, ...]


def image_release(package: str) -> str | None:
    """The kernel release of an image's package: ``linux-image-4.4.0-21-generic`` → ``4.4.0-21-generic``."""
    match = _IMAGE.fullmatch(package)
    return match["release"] if match else None


def read_kernel_packages(sections: Sections) -> KernelPackages | None:
    """Read what the script's apt_state reported; None where the host has no apt-get."""
    section = sections.get("packages")
    if section is None or section.status == "absent":
        return None
    return KernelPackages(
        packages={package.name: package for package in _packages(section.output)},
        available=tuple(line for line in _lines(sections, "available") if PACKAGE.fullmatch(line)),
        leads=_leads(_lines(sections, "leads")),
        interrupted=tuple(line[:200] for line in _lines(sections, "interrupted")[:10]),
        boot_free=_free(_lines(sections, "boot_space")),
        boot_used=_used(_lines(sections, "boot_sizes")),
    )


def read_run(sections: Sections) -> InstallRun:
    """Read how the run goes."""
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
    """Read what ``apt-get -s`` would do."""
    changes = []
    for match in filter(None, map(_ACTION.match, simulation.splitlines())):
        new = match["new"] if match["verb"] == "Inst" else None
        changes.append(Change(match["name"], match["old"], new))
    return changes


def read_proof(sections: Sections) -> KernelOnDisk:
    """Read what is on disk of the kernel that was asked for."""
    words = [line.partition(" ") for line in _lines(sections, "proof")]
    missing = tuple(path for word, _blank, path in words if word in ("absent", "denied") and "grub" not in path)
    return KernelOnDisk(missing, tuple(path for word, _blank, path in words if word == "entry"))


def _lines(sections: Sections, name: str) -> list[str]:
    section = sections.get(name)
    return [line.strip() for line in section.output.splitlines() if line.strip()] if section else []


def _packages(text: str) -> c.Iterator[Package]:
    for line in text.splitlines():
        words = line.split()
        # A package that dpkg only knows by name has no version.
        if len(words) != 5 or not PACKAGE.fullmatch(words[0]):
            continue
        yield Package(words[0], words[1], installed=words[4] == "installed", held=words[2] == "hold")


def _leads(lines: list[str]) -> dict[str, tuple[str, ...]]:
    leads: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in lines:
        relation, colon, target = line.partition(": ")
        if not colon and PACKAGE.fullmatch(line):
            name = line
        elif name and relation.lstrip("|") == "Depends" and image_release(target):
            leads[name] = (*leads.get(name, ()), target)
    return leads


def _free(lines: list[str]) -> int | None:
    words = lines[1].split() if len(lines) > 1 else []
    return int(words[3]) if len(words) > 3 and _NUMBER.fullmatch(words[3]) else None


def _used(lines: list[str]) -> dict[str, int]:
    used: dict[str, int] = {}
    for match in filter(None, map(_BOOT_FILE.fullmatch, lines)):
        used[match["release"]] = used.get(match["release"], 0) + int(match["size"])
    return used
