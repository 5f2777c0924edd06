# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decide if a host must reboot, and verify its kernel, containers and client after the reboot."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re
import shlex
import typing as t

from .._errors import LivepatchError
from .._host.containers import Runtime, SavedContainers, read_containers
from .._host.facts import HostFacts
from .._host.sections import Sections
from .._record import Assessment, Eligibility
from . import causes
from .boot_order import Images, newest_own_kernel, refuse_foreign_kernel, refuse_unsigned_kernel
from .host_state import assess
from .patch_verification import verified_patches
from .policy import Policy
from .states.evidence import Evidence

_NO_RUNTIME = Runtime(answers=True, running=(), auto_removed=())
"""A runtime whose command is not installed."""
_OBSTACLE = re.compile(r"dpkg (?P<process>[0-9]{1,10})|inhibitor (?P<program>\S{1,64})")
Step = t.Literal["nothing", "reboot", "finish"]


@dataclasses.dataclass(frozen=True, slots=True)
class RebootPlan:
    """The work to do. `intended` is the kernel that must run at the end.

    ``finish`` completes an interrupted run: the machine has rebooted already, or does not need to, and its containers
    must be started again. `rebooted_before` is true if the interrupted run has rebooted the machine.
    """

    step: Step
    intended: str
    rebooted_before: bool = False


def plan_reboot(
    facts: HostFacts,
    boot_id: str | None,
    saved: SavedContainers | None,
    images: Images | None = None,
    *,
    kernel: str | None,
    force: bool,
) -> RebootPlan:
    """Decide what to do. Raises `LivepatchError` (``boot_unknown``, ``foreign_kernel``, ``kernel_unsigned``).

    Without `kernel`, the newest of the installed `images` that the distribution built is intended.

    A host that an interrupted run has rebooted is not rebooted again, even with `force`. The boot id shows this.
    """
    running = facts.kernel.release
    if running is None or boot_id is None:
        raise causes.BOOT_UNKNOWN.error()
    if kernel is not None:
        refuse_foreign_kernel(kernel, facts, images)
    intended = kernel or newest_own_kernel(facts, images) or running
    if saved is not None and saved.boot_id not in (None, boot_id):
        return RebootPlan("finish", intended, rebooted_before=True)
    if force or running != intended:
        refuse_foreign_kernel(intended, facts, images, running=running)
        refuse_unsigned_kernel(intended, facts, images)
        return RebootPlan("reboot", intended)
    return RebootPlan("nothing" if saved is None else "finish", intended)


def refuse_undrainable(
    facts: HostFacts,
    runtimes: c.Mapping[str, Runtime],
    policies: c.Mapping[str, str],
    allowed: c.Collection[str] = (),
    *,
    drain_timeout: int,
) -> None:
    """Raise `LivepatchError` if a container would be lost, or cannot be stopped as its policy requires.

    `allowed` has the kinds of containers that may run although they are not stopped: ``kubernetes``, ``containerd``
    and ``rootless``. `drain_timeout` is in seconds.
    """
    counts = facts.containers or {}
    by_user = {runtime: sum(users.values()) for runtime, users in facts.rootless_containers.items()}
    _refuse_undrained(counts, by_user, facts, allowed)
    for name, policy in policies.items():
        if policy == "ignore":
            continue
        counted = counts.get(name, 0) - by_user.get(name, 0)
        # LXC, and a daemon in a snap or in a container, may have no command on the host.
        runtime = runtimes.get(name, _NO_RUNTIME)
        if not runtime.answers and facts.containers is None:
            raise causes.RUNTIME_UNCOUNTED.error(runtime=name)
        if not runtime.answers and counted:
            raise causes.RUNTIME_UNRESPONSIVE.error(count=counted, runtime=name)
        if counted > len(runtime.running):
            raise causes.CONTAINERS_UNLISTED.error(count=counted, runtime=name, listed=len(runtime.running))
        if policy == "stop":
            _refuse_unsafe_stop(name, runtime, drain_timeout)


def _refuse_unsafe_stop(name: str, runtime: Runtime, drain_timeout: int) -> None:
    """Raise `LivepatchError` for containers that a stop would remove, or that would stop after a failed drain.

    The daemon of Docker completes a stop, although the command that waits for it has ended.
    """
    if runtime.auto_removed:
        names = ", ".join(runtime.auto_removed)
        raise causes.CONTAINERS_WOULD_VANISH.error(runtime=name, containers=names)
    late = {each: limit for each, limit in runtime.stop_limits.items() if limit >= drain_timeout}
    if late:
        names = ", ".join(f"{each} ({limit} s)" for each, limit in late.items())
        values = {"runtime": name, "seconds": drain_timeout, "containers": names, "longest": max(late.values())}
        raise causes.CONTAINERS_STOP_LATE.error(**values)


def _refuse_undrained(
    counts: c.Mapping[str, int], by_user: c.Mapping[str, int], facts: HostFacts, allowed: c.Collection[str]
) -> None:
    """Raise `LivepatchError` for running containers of a kind that this module never stops."""
    pods, others = (counts.get(name, 0) - by_user.get(name, 0) for name in ("kubernetes", "containerd"))
    if pods > 0 and "kubernetes" not in allowed:
        raise causes.KUBERNETES_RUNNING.error(count=pods)
    if others > 0 and "containerd" not in allowed:
        raise causes.CONTAINERD_RUNNING.error(count=others)
    if by_user and "rootless" not in allowed:
        users = sorted({user for numbers in facts.rootless_containers.values() for user in numbers})
        names = ", ".join(map(str, users))
        raise causes.ROOTLESS_RUNNING.error(count=sum(by_user.values()), users=names)


def order_failure(sections: Sections | None, intended: str, *, restore_after: int) -> LivepatchError | None:
    """Return the error of a reboot that was not ordered: the host is not ready, or its entry could not be selected.

    Raises `LivepatchError` if another run is stopping or starting containers.
    """
    if sections is None:
        return None
    refuse_parallel_run(sections)
    obstacle = _obstacle(sections)
    if obstacle is not None:
        return obstacle
    drained, entry = sections.get("drained"), sections.get("boot_entry")
    if drained is not None and drained.exit_code != 0:
        return causes.DRAIN_EXPIRED.error(seconds=restore_after)
    if entry is not None and entry.exit_code != 0:
        return causes.BOOT_ENTRY_NOT_SET.error(shortened(entry.output, entry.errors), intended=intended)
    return None


def drain_failure(sections: Sections | None) -> LivepatchError | None:
    """Return the error that ended a drain; None if the drain succeeded. `sections` is None for an incomplete answer."""
    if sections is None:
        return causes.DRAIN_LOST.error()
    failure = _obstacle(sections) or command_failure(sections, "pre")
    if failure is not None:
        return failure
    for name in ("docker", "podman"):
        wait = sections.get(f"ended {name}")
        if wait is not None and wait.exit_code != 0:
            named = ", ".join(container.name for container in read_containers(wait.output))
            running = named or f"unknown, because {name} does not answer"
            return causes.CONTAINERS_DID_NOT_END.error(runtime=name, containers=running)
    note = sections.get("note")
    if note is not None and note.exit_code != 0:
        return causes.CONTAINERS_NOT_NOTED.error(shortened(note.output, note.errors))
    stop = sections.get("stop")
    if stop is not None and stop.exit_code != 0:
        output = shortened(stop.output, stop.errors)
        unstopped = read_containers(sections.output("unstopped") or "")
        if unstopped:
            names = ", ".join(container.name for container in unstopped)
            return causes.CONTAINERS_UNSTOPPED.error(shortened(stop.errors), containers=names)
        return causes.DRAIN_FAILED.error(output or "the command did not end in time")
    return None


def _obstacle(sections: Sections) -> LivepatchError | None:
    """Return the error of a host that must not be rebooted now: its kernel is gone, or a program must not be ended."""
    missing, obstacles = sections.get("missing_files"), sections.get("obstacles")
    if missing is not None and missing.exit_code != 0:
        files = missing.output.split()
        release = next((path.partition("-")[2] for path in files if path.startswith("/boot/")), "RELEASE")
        return causes.KERNEL_GONE.error(files=shortened(missing.output), release=shlex.quote(release))
    if obstacles is None or obstacles.exit_code == 0:
        return None
    found = list(filter(None, map(_OBSTACLE.fullmatch, obstacles.output.splitlines())))
    processes = ",".join(dict.fromkeys(match["process"] for match in found if match["process"]))
    if processes:
        return causes.PACKAGES_CHANGING.error(processes=processes)
    programs = ", ".join(dict.fromkeys(match["program"] for match in found)) or "unknown"
    return causes.SHUTDOWN_BLOCKED.error(programs=programs)


def command_failure(sections: Sections, kind: str) -> LivepatchError | None:
    """Return the error of the first of ``pre_commands`` or ``post_commands`` that failed."""
    for name, section in sections.items():
        if name.startswith(f"{kind} ") and section.exit_code != 0:
            cause = causes.PRE_COMMAND_FAILED if kind == "pre" else causes.POST_COMMAND_FAILED
            output = shortened(section.output, section.errors) or "no output"
            return cause.error(output, number=name.split()[1], exit_code=section.exit_code)
    return None


def shortened(*texts: str) -> str:
    """Return the end of texts in one line."""
    return " ".join(" ".join(texts).split())[-300:]


def check_kernel(running: str | None, intended: str) -> None:
    """Raise `LivepatchError` if another kernel was booted."""
    if running != intended:
        raise causes.OLD_KERNEL.error(booted=running or "an unknown kernel", intended=intended)


def refuse_parallel_run(sections: Sections) -> None:
    """Raise `LivepatchError` if another run of the module is stopping or starting containers."""
    lock = sections.get("lock")
    if lock is not None and lock.exit_code != 0:
        raise causes.RESTART_RUNNING.error()


def restore_failure(sections: Sections) -> LivepatchError | None:
    """Return the error if a container that ran before is not running, or a command after the reboot failed."""
    not_running = read_containers(sections.output("not_running") or "")
    if not_running:
        names = ", ".join(f"{container.name} ({container.runtime})" for container in not_running)
        output = shortened(sections.output("start_output") or "")
        return causes.CONTAINERS_NOT_RESTORED.error(output, containers=names)
    return command_failure(sections, "post")


def assess_protection(facts: HostFacts, policy: Policy, now: datetime.datetime) -> Assessment:
    """Assess the host by its client and its kernel, even if the policy refuses it.

    `policy` supplies the time limits, and `now` is the time by the controller's clock.
    """
    admitted = Eligibility(policy=policy.name, verdict="eligible", checks=[])
    verified = verified_patches(facts.patches or (), facts.kernel_keys, claimed=None)
    return assess(Evidence(facts, policy, admitted, verified, now))
