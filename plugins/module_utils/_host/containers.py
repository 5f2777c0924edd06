# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Count the running containers of a host, and parse those that a reboot stops and starts again."""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import re

from .sections import Sections

_LINE = re.compile(
    r"(?P<runtime>docker|podman|unit|swarm|lxd|evacuated|member) (?P<id>[\w.:@\\-]{1,256}) "
    r"(?P<name>[^\s\x00-\x1f]{1,256})(?: paused)?"
)
_GROUP = re.compile(r"group (?P<pause>pause|-) (?P<path>[\w.:@\\/-]{1,1024})", re.ASCII)
_TASK = re.compile(r"task [\w.-]{1,128} (?P<id>[\w.-]{1,128})", re.ASCII)
_MONITOR = re.compile(
    r"monitor (?P<pause>pause|-) (?P<runtime>docker|podman) (?P<user>[1-9][0-9]{0,9}) (?P<id>[0-9a-f]{12}|-)", re.ASCII
)
# The names of the control groups of containers. Identifiers of 64 digits are cut to 12. Names differ with the driver of
# control groups (systemd, cgroupfs). The monitor of a container (conmon) has a group with another name.
_ID = "[0-9a-f]{12}"
_RUNTIME_BY_NAME = {
    "kubernetes": re.compile(rf"(?:cri-containerd|crio)-{_ID}(?:\.scope)?"),
    "podman": re.compile(rf"libpod-(?:payload-)?{_ID}(?:\.scope)?"),
    "containerd": re.compile(rf"nerdctl-{_ID}\.scope"),
    "docker": re.compile(rf"docker-{_ID}\.scope"),
}
_IN_POD = re.compile(rf"(?!crio-conmon-).*{_ID}(?:\.scope)?")
_USER = re.compile(r"user@(?P<user>[1-9][0-9]{0,9})\.service")
_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AUTO_REMOVED = re.compile(r"true /?(\S{1,256})")
_STOP_LIMIT = re.compile(r"([0-9]{1,9}) (\S{1,256})", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerCounts:
    """The number of running containers. A runtime that is missing in `running` could not be counted.

    `running` is by runtime: ``docker``, ``podman``, ``lxd`` (with Incus and LXC), ``kubernetes`` (containers in pods,
    without the one that keeps the namespaces of a pod), and ``containerd`` for all others of containerd. Containers
    within containers are not counted. `rootless` has the part of these numbers that users without root privileges run,
    by runtime and user ID.
    """

    running: c.Mapping[str, int]
    rootless: c.Mapping[str, c.Mapping[int, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """A container. `handled_as` is how it is stopped and started.

    It is ``docker``, ``swarm`` for a task of a Docker swarm, ``podman``, ``unit`` for a container of Podman in a
    systemd unit, ``lxd``, or ``evacuated`` for one on a member of an LXD cluster.
    """

    handled_as: str
    name: str

    @property
    def runtime(self) -> str:
        """Return the runtime: ``docker``, ``podman`` or ``lxd``."""
        return {"swarm": "docker", "unit": "podman", "evacuated": "lxd"}.get(self.handled_as, self.handled_as)


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime.

    `answers` is false if its daemon does not answer. The containers in `auto_removed` are removed on stop.
    `stop_limits` has the seconds after which the runtime kills containers that do not stop, by name. Containers with
    the default are missing in it.
    """

    answers: bool
    running: tuple[Container, ...]
    auto_removed: tuple[str, ...]
    stop_limits: c.Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class SavedContainers:
    """The list that an interrupted run left on the host: the containers that ran, and the boot id at that time."""

    boot_id: str | None
    containers: tuple[Container, ...]


def read_boot_id(sections: Sections, name: str = "boot_id") -> str | None:
    """Parse the kernel's ``/proc/sys/kernel/random/boot_id``, which changes with every boot."""
    output = sections.output(name) or ""
    return output if _BOOT_ID.fullmatch(output) else None


def count_containers(sections: Sections) -> ContainerCounts | None:
    """Count containers by control groups, by processes that watch over those of users, and by the state of containerd.

    Return None if these could not be read completely.
    """
    text = sections.output("containers")
    if text is None or sections["containers"].cut:
        return None
    lines = text.splitlines()
    if "more" in lines:
        return None
    tasks = [match["id"] for match in map(_TASK.fullmatch, lines) if match]
    running = collections.Counter(docker=0, podman=0, lxd=0, kubernetes=0)
    if "containerd denied" not in lines:
        running["containerd"] = len(tasks)
    rootless: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    monitors = [match for match in map(_MONITOR.fullmatch, lines) if match]
    owners = {match["id"]: int(match["user"]) for match in monitors}
    grouped: set[str] = set()
    of_containerd = {task[:12] for task in tasks}
    for group in filter(None, map(_GROUP.fullmatch, lines)):
        *parents, name = group["path"].split("/")
        identifier = name.removesuffix(".scope")[-12:]
        grouped.add(identifier)
        runtime = "containerd" if name in of_containerd else _runtime_of(parents, name)
        if runtime is None or (group["pause"] == "pause" and runtime in ("kubernetes", "podman")):
            continue
        match = next(filter(None, map(_USER.fullmatch, parents)), None)
        # In a unit with User=, a container can have a control group that does not show the user.
        owner = owners.get(identifier) if name.startswith("libpod-payload-") else None
        user = int(match["user"]) if match else owner
        if user is not None:
            rootless[runtime][user] += 1
        # The state of containerd shows the containers of root.
        if runtime != "containerd" or (user is not None and runtime in running):
            running[runtime] += 1
    for monitor in monitors:
        if monitor["pause"] == "-" and monitor["id"] not in grouped:
            rootless[monitor["runtime"]][int(monitor["user"])] += 1
            running[monitor["runtime"]] += 1
    return ContainerCounts(dict(running), {name: dict(users) for name, users in rootless.items()})


def _runtime_of(parents: list[str], name: str) -> str | None:
    """Return the runtime that created a control group, or None if the group is not a container."""
    if any("kubepods" in parent for parent in parents):
        return "kubernetes" if _IN_POD.fullmatch(name) else None
    if name.startswith("lxc.payload.") or parents[-1:] in (["lxc"], ["lxc.payload"]):
        return "lxd"
    for runtime, pattern in _RUNTIME_BY_NAME.items():
        if pattern.fullmatch(name):
            return runtime
    # With the driver cgroupfs, Docker uses the name alone. A group without a parent is that of a plugin.
    return "docker" if parents and re.fullmatch(_ID, name) else None


def read_containers(text: str) -> tuple[Container, ...]:
    """Parse lines ``RUNTIME ID NAME``. Members of a cluster, and containers for the namespaces of pods, are skipped."""
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
        answers = section.status == "ok" and section.exit_code == 0
        auto_removed = tuple(match[1] for match in _match_lines(sections, f"auto_removed {name}", _AUTO_REMOVED))
        limits = {match[2]: int(match[1]) for match in _match_lines(sections, f"stop_limits {name}", _STOP_LIMIT)}
        runtimes[name] = Runtime(answers, read_containers(section.output), auto_removed, limits)
    return runtimes


def _match_lines(sections: Sections, name: str, pattern: re.Pattern[str]) -> c.Iterator[re.Match[str]]:
    text = sections[name].output if name in sections else ""
    return filter(None, (pattern.fullmatch(line.strip()) for line in text.splitlines()))


def read_saved_containers(sections: Sections) -> SavedContainers | None:
    """Parse the list that an interrupted run saved; None if there is none."""
    section = sections.get("saved_boot_id")
    if section is None or section.exit_code != 0:
        return None
    listed = sections["saved"].output if "saved" in sections else ""
    return SavedContainers(read_boot_id(sections, "saved_boot_id"), read_containers(listed))
