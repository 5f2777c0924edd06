# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What runs in containers on a host, and what was noted before it was stopped. Nothing is concluded here."""

from __future__ import annotations

import dataclasses
import re

from .sections import Sections

_LINE = re.compile(
    r"(?P<runtime>docker|podman|lxd|evacuated|member) (?P<id>[\w.-]{1,128}) (?P<name>[^\s\x00-\x1f]{1,256})"
)
_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VANISHING = re.compile(r"true /?(\S{1,256})")


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """A container. `runtime` is ``docker``, ``podman``, ``lxd``, or ``evacuated`` on a member of an LXD cluster."""

    runtime: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime on the host: `answers` is false when its daemon does not; `vanishing` go when they stop."""

    answers: bool
    running: tuple[Container, ...]
    vanishing: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Unfinished:
    """What an earlier task left: the boot in which its draining began, and what it noted as running then."""

    boot_id: str | None
    containers: tuple[Container, ...]


def read_boot_id(sections: Sections, name: str = "boot_id") -> str | None:
    """The kernel's ``/proc/sys/kernel/random/boot_id``, new with every boot."""
    said = sections.output(name) or ""
    return said if _BOOT_ID.fullmatch(said) else None


def read_containers(text: str) -> tuple[Container, ...]:
    """Read lines ``RUNTIME ID NAME``. A member of a cluster is no container."""
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(
        Container(match["runtime"], match["name"]) for match in found if match and match["runtime"] != "member"
    )


def read_runtimes(sections: Sections) -> dict[str, Runtime]:
    """Read each runtime that the host has, by name."""
    runtimes = {}
    for name in ("docker", "podman", "lxd"):
        section = sections.get(f"running {name}")
        if section is None:
            continue
        vanishing = sections[f"vanishing {name}"].output if f"vanishing {name}" in sections else ""
        names = (_VANISHING.fullmatch(line.strip()) for line in vanishing.splitlines())
        answers = section.status == "ok" and section.exit_code == 0
        vanishes = tuple(match[1] for match in names if match)
        runtimes[name] = Runtime(answers, read_containers(section.output), vanishes)
    return runtimes


def read_unfinished(sections: Sections) -> Unfinished | None:
    """Read the note of an earlier task; None where it has left none."""
    section = sections.get("kept_boot_id")
    if section is None or section.exit_code != 0:
        return None
    kept = sections["kept"].output if "kept" in sections else ""
    return Unfinished(read_boot_id(sections, "kept_boot_id"), read_containers(kept))
