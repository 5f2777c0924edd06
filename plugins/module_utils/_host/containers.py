# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Parse the running containers of a host, and the list of containers that an interrupted reboot saved."""

from __future__ import annotations

import dataclasses
import re

from .sections import Sections

_LINE = re.compile(
    r"(?P<runtime>docker|podman|lxd|evacuated|member) (?P<id>[\w.-]{1,128}) (?P<name>[^\s\x00-\x1f]{1,256})"
)
_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AUTO_REMOVED = re.compile(r"true /?(\S{1,256})")


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """A container. `runtime` is ``docker``, ``podman``, ``lxd``, or ``evacuated`` for a member of an LXD cluster."""

    runtime: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime. `answers` is false if its daemon does not answer; `auto_removed` are removed on stop."""

    answers: bool
    running: tuple[Container, ...]
    auto_removed: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SavedContainers:
    """The list that an interrupted run left on the host: the containers that ran, and the boot id at that time."""

    boot_id: str | None
    containers: tuple[Container, ...]


def read_boot_id(sections: Sections, name: str = "boot_id") -> str | None:
    """Parse the kernel's ``/proc/sys/kernel/random/boot_id``, which changes with every boot."""
    output = sections.output(name) or ""
    return output if _BOOT_ID.fullmatch(output) else None


def read_containers(text: str) -> tuple[Container, ...]:
    """Parse lines ``RUNTIME ID NAME``. Lines of cluster members are skipped."""
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(
        Container(match["runtime"], match["name"]) for match in found if match and match["runtime"] != "member"
    )


def read_runtimes(sections: Sections) -> dict[str, Runtime]:
    """Parse the runtimes of the host, by name."""
    runtimes = {}
    for name in ("docker", "podman", "lxd"):
        section = sections.get(f"running {name}")
        if section is None:
            continue
        listed = sections[f"auto_removed {name}"].output if f"auto_removed {name}" in sections else ""
        names = (_AUTO_REMOVED.fullmatch(line.strip()) for line in listed.splitlines())
        answers = section.status == "ok" and section.exit_code == 0
        auto_removed = tuple(match[1] for match in names if match)
        runtimes[name] = Runtime(answers, read_containers(section.output), auto_removed)
    return runtimes


def read_saved_containers(sections: Sections) -> SavedContainers | None:
    """Parse the list that an interrupted run saved; None if there is none."""
    section = sections.get("saved_boot_id")
    if section is None or section.exit_code != 0:
        return None
    listed = sections["saved"].output if "saved" in sections else ""
    return SavedContainers(read_boot_id(sections, "saved_boot_id"), read_containers(listed))
