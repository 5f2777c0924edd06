# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whether a host must reboot, and whether it came back as it should."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from .._host.containers import Container, Runtime, Unfinished
from .._host.facts import HostFacts
from .._record import Assessment, Eligibility
from .host_state import Evidence, assess
from .patch_verification import verified_patches
from .policy import Policy

Step = t.Literal["nothing", "reboot", "finish"]


class KernelRebootError(Exception):
    """A host cannot be rebooted, or did not come back as it should. `id` names the cause, `remedy` says what to do."""

    def __init__(self, cause: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.id = cause
        self.remedy = remedy


@dataclasses.dataclass(frozen=True, slots=True)
class RebootPlan:
    """What is to be done. `intended` is the kernel that must run in the end.

    ``finish`` completes what an earlier task has begun: the machine has rebooted, or need not any more, and its
    containers must run again.
    """

    step: Step
    intended: str
    rebooted_before: bool = False


def plan_reboot(
    facts: HostFacts, boot_id: str | None, unfinished: Unfinished | None, *, kernel: str | None, force: bool
) -> RebootPlan:
    """Decide what to do. Raises `KernelRebootError` where the host does not say enough to know.

    A host that an earlier task has rebooted is not rebooted again, even with `force`: the boot id tells.
    """
    running = facts.kernel.release
    if running is None or boot_id is None:
        raise KernelRebootError(
            "boot_unknown",
            "the host does not say which kernel runs, or which boot it is in",
            "look at the host's /proc",
        )
    intended = kernel or facts.newest_installed or running
    if unfinished is not None and unfinished.boot_id not in (None, boot_id):
        return RebootPlan("finish", intended, rebooted_before=True)
    if force or running != intended:
        return RebootPlan("reboot", intended)
    return RebootPlan("nothing" if unfinished is None else "finish", intended)


def refuse_undrainable(facts: HostFacts, runtimes: c.Mapping[str, Runtime], policies: c.Mapping[str, str]) -> None:
    """Raise `KernelRebootError` where a container would be lost, or cannot be stopped as the policy wants."""
    for name, runtime in runtimes.items():
        policy = policies[name]
        if policy == "ignore":
            continue
        counted = (facts.containers or {}).get(name, 0)
        if not runtime.answers and counted:
            raise KernelRebootError(
                "runtime_unresponsive",
                f"{counted} containers of {name} run on this host, and {name} does not answer",
                f"restart {name}'s daemon, or leave its containers to it ({name}: ignore)",
            )
        if policy == "stop" and runtime.vanishing:
            raise KernelRebootError(
                "containers_would_vanish",
                f"{name} removes {', '.join(runtime.vanishing)} as soon as it stops (--rm), so it could not run again",
                f"wait for its end ({name}: wait), or let it go ({name}: ignore)",
            )


def check_kernel(running: str | None, intended: str) -> None:
    """Raise `KernelRebootError` where another kernel came up."""
    if running != intended:
        raise KernelRebootError(
            "old_kernel",
            f"the host came back with {running or 'a kernel that is not known'}, and not with {intended}",
            "look at its boot loader: grub-editenv list, /etc/default/grub (GRUB_DEFAULT), update-grub",
        )


def check_containers(wanting: c.Sequence[Container], said: str) -> None:
    """Raise `KernelRebootError` where what ran before does not run again."""
    if wanting:
        names = ", ".join(f"{container.name} ({container.runtime})" for container in wanting)
        raise KernelRebootError(
            "containers_not_restored",
            f"these ran before and do not run again: {names}. {' '.join(said.split())[-300:]}".strip(),
            "start them on the host; the next run of this module tries again, without a reboot",
        )


def protection(facts: HostFacts, policy: Policy) -> Assessment:
    """Judge the host by what its client and its kernel say, whether or not a policy admits it.

    `policy` gives the times after which a word counts as old.
    """
    admitted = Eligibility(policy=policy.name, verdict="eligible", checks=[])
    verified = verified_patches(facts.patches or (), facts.carried_keys, claimed=None)
    faults = [each.fault for each in verified if each.fault is not None]
    return assess(Evidence(facts, policy, admitted, [each.patch for each in verified], faults))
