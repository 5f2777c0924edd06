# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Judge the progress of a host towards its newest patch: done, pending or failed, and the next step.

A host that cannot get a patch (nothing to apply, or only a newer kernel helps) is done too: neither a wait nor a
second run would change it, and no patch has failed there.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from .._decisions import causes, next_steps
from .._decisions.policy import Policy
from .._errors import LivepatchError
from .._host.client_status import ClientStatus
from .._host.error_texts.table import TEMPORARY
from .._host.facts import HostFacts
from .._host.loaded_patches import SysfsPatch
from .._host.refresh import BlockingTask, RefreshOutput
from .._kernel_name import module_name, parse_lock_name, parse_module_name
from .._record import Reason, Record

Phase = t.Literal["done", "pending", "failed"]
Verify = t.Literal["required", "best_effort", "off"]


@dataclasses.dataclass(frozen=True, slots=True)
class PatchProgress:
    """The progress of a host. `id` names the cause; a ``pending`` or ``failed`` host has a `remedy`."""

    phase: Phase
    id: str
    message: str
    remedy: str | None = None

    def as_error(self, **details: t.Any) -> LivepatchError:
        return LivepatchError(self.id, self.message, self.remedy, **details)


@dataclasses.dataclass(frozen=True, slots=True)
class RunningPatches:
    """The live patches that run: `modules` with their build ids from sysfs (None if it cannot be read).

    `version` is the client's version of the patch if the kernel confirms it, else the major number in the name of the
    module, or None.
    """

    version: str | None
    modules: frozenset[tuple[str, str | None]] | None

    def differs_from(self, other: RunningPatches) -> bool:
        """Return True if another patch runs. The versions decide only if a kernel does not list its modules."""
        if self.modules is None or other.modules is None:
            return self.version != other.version
        return self.modules != other.modules


def running_patches(facts: HostFacts) -> RunningPatches:
    """Return the live patches that run on a host."""
    client = facts.client
    reported = client.patch_version if client is not None else None
    if facts.patches is None:
        applied = client is not None and client.patch_state in ("applied", "applied-with-bug")
        return RunningPatches(reported if applied else None, None)
    enabled = [patch for patch in facts.patches if patch.enabled]
    modules = frozenset((patch.module, patch.build_id) for patch in enabled)
    if reported is not None and _reported_patch(facts, enabled) is not None:
        return RunningPatches(reported, modules)
    names = filter(None, (parse_module_name(patch.module) for patch in enabled))
    return RunningPatches(max((name.major for name in names), key=int, default=None), modules)


def _progress(phase: Phase, reason: Reason) -> PatchProgress:
    return PatchProgress(phase, reason["id"], reason["message"], reason["remedy"])


def refresh_obstacle(facts: HostFacts, policy: Policy) -> PatchProgress | None:
    """Return why a refresh cannot succeed on this host, None if it can."""
    if facts.client_installed is False:
        return _progress("failed", causes.NOT_INSTALLED.reason(step=next_steps.enable_step(facts, policy)))
    if facts.root is False:
        return _progress("failed", causes.NOT_ROOT.reason(action="a refresh of the client"))
    problem = _client_problem(facts, policy)
    return problem if problem is not None and problem.phase == "failed" else None


def judge_progress(facts: HostFacts, refresh: RefreshOutput, policy: Policy) -> PatchProgress:
    """Judge a host after a refresh of its client."""
    client = facts.client
    problem = _client_problem(facts, policy)
    if problem is not None or client is None:
        return problem or _progress("failed", causes.UNREADABLE_OUTPUT.reason())
    if refresh.failure is not None:
        cause = causes.CLIENT_FAILURES[refresh.failure.id]
        return _progress("failed", cause.reason(refresh.failure.text))
    if refresh.timed_out:
        return _progress("pending", causes.REFRESH_TIMED_OUT.reason())
    if client.patch_state in ("apply-failed", "applied-with-bug"):
        return _patch_failure(client.patch_state, facts, refresh, policy)
    if client.check_state == "check-failed":
        return _check_failure(facts, refresh, policy)
    if client.patch_state == "nothing-to-apply":
        return _progress("done", causes.NOTHING_TO_APPLY.reason())
    if client.patch_state == "kernel-upgrade-required":
        return _progress("done", causes.KERNEL_UPGRADE_REQUIRED.reason(step=next_steps.upgrade_step(facts, policy)))
    if client.patch_state in ("unapplied", "applying") or client.check_state == "needs-check":
        return _pending(facts, client)
    if client.patch_state != "applied":
        return _progress("failed", causes.CLIENT_WORDS_UNKNOWN.reason(states=client.patch_state or "no patch state"))
    return _applied(facts, client, refresh)


def at_deadline(progress: PatchProgress, tasks: c.Sequence[BlockingTask], seconds: int) -> PatchProgress:
    """Return the progress when the time is up: a pending host has failed. `tasks` block the transition."""
    if progress.phase != "pending":
        return progress
    if progress.id == "in_transition":
        names = ", ".join(dict.fromkeys(f"{task.name or 'an unnamed task'} ({task.pid})" for task in tasks))
        blocked = f"; it is blocked by {names}" if names else ""
        return _progress("failed", causes.TRANSITION_STALLED.reason(seconds=seconds, blocked=blocked))
    message = f"{progress.message}, and this did not change within {seconds} s"
    return PatchProgress("failed", progress.id, message, progress.remedy)


def verification_failure(record: Record, verify: Verify) -> PatchProgress | None:
    """Return the failure if the verification of the loaded patches does not satisfy `verify`."""
    if verify == "off":
        return None
    enabled = [patch for patch in record["kernel_patches"] if patch["enabled"]]
    if any(patch["verification"]["result"] == "failed" for patch in record["kernel_patches"]):
        reason = record["assessment"]["reasons"][0]
        return _progress("failed", causes.TAMPERED.reason(reason=reason["message"], remedy=reason["remedy"]))
    missing = [patch["module"] for patch in enabled if patch["verification"]["result"] != "verified"]
    if verify == "required" and missing:
        return _progress("failed", causes.NOT_VERIFIED.reason(modules=", ".join(missing)))
    return None


def closed_cves(before: ClientStatus | None, after: ClientStatus | None) -> list[str]:
    """Return the CVEs that are fixed after but not before."""
    closed = {fix.cve for fix in before.fixes if fix.patched} if before is not None else set()
    return sorted({fix.cve for fix in after.fixes if fix.patched} - closed) if after is not None else []


def expected_version(facts: HostFacts) -> str | None:
    """Return the version that a refresh would apply, None if the host does not know of an unapplied patch."""
    client = facts.client
    if client is None or client.patch_state not in ("unapplied", "applying", "apply-failed"):
        return None
    return client.patch_version


def locks_of_kernel(facts: HostFacts) -> tuple[str, ...]:
    """Return the crash locks for patches of the running kernel. If its full name is unknown, return all."""
    full = facts.kernel.full
    locks = ((lock, parse_lock_name(lock)) for lock in facts.crash_locks)
    return tuple(lock for lock, module in locks if module is not None and (full is None or module.is_for(full)))


def _client_problem(facts: HostFacts, policy: Policy) -> PatchProgress | None:
    """Return the problem of a client that reports no status."""
    client = facts.client
    if client is None:
        return None
    if client.error is not None:
        # The client does not answer while it applies a patch, and not while its daemon or snapd restarts.
        phase: Phase = "pending" if client.error.id in (*TEMPORARY, "timed_out") else "failed"
        return _progress(phase, causes.CLIENT_ERRORS[client.error.id].reason(client.error.text))
    if client.enabled is False:
        return _progress("failed", causes.NOT_ENABLED.reason(step=next_steps.enable_step(facts, policy)))
    return None


def _patch_failure(patch_state: str, facts: HostFacts, refresh: RefreshOutput, policy: Policy) -> PatchProgress:
    if patch_state == "applied-with-bug":
        return _progress("failed", causes.APPLIED_WITH_BUG.reason(step=next_steps.upgrade_step(facts, policy)))
    locks = locks_of_kernel(facts)
    if locks:
        return _progress("failed", causes.CRASH_LOCK.reason(f"lock {', '.join(locks)}"))
    return _progress("failed", causes.APPLY_FAILED.reason(_last_line(refresh.journal, "cannot apply", "failed")))


def _check_failure(facts: HostFacts, refresh: RefreshOutput, policy: Policy) -> PatchProgress:
    """Return the progress after a failed check. Shortly after boot, the client tries again by itself."""
    just_booted = facts.uptime is not None and facts.uptime <= policy.check_grace
    reason = causes.CHECK_FAILED.reason(_last_line(refresh.journal, "check failed", "status"))
    return _progress("pending" if just_booted else "failed", reason)


def _last_line(lines: c.Sequence[str], *words: str) -> str:
    """Return the last line that contains one of the words, or the empty string."""
    return next((line for line in reversed(lines) if any(word in line.lower() for word in words)), "")


def _applied(facts: HostFacts, client: ClientStatus, refresh: RefreshOutput) -> PatchProgress:
    """Judge a host whose client reports ``applied``: the kernel must confirm it if its sysfs can be read."""
    applied = _progress("done", causes.APPLIED.reason(version=client.patch_version))
    if facts.patches is None:
        return applied
    if any(patch.enabled and patch.transition for patch in facts.patches):
        return _pending(facts, client)
    patch = _reported_patch(facts, [patch for patch in facts.patches if patch.enabled])
    if patch is None:
        return _progress("pending", causes.KERNEL_DISAGREES.reason(version=client.patch_version))
    if patch.transition is None and _refused_by_kernel(patch.module, refresh.kernel_log):
        # A kernel without this attribute reports the failure only in its log.
        return _progress("failed", causes.APPLY_FAILED.reason(f"according to the kernel's log ({patch.module})"))
    return applied


def _pending(facts: HostFacts, client: ClientStatus) -> PatchProgress:
    if any(patch.enabled and patch.transition for patch in facts.patches or ()):
        return _progress("pending", causes.IN_TRANSITION.reason())
    return _progress("pending", causes.NOT_YET_APPLIED.reason(state=client.patch_state or client.check_state))


def _reported_patch(facts: HostFacts, enabled: c.Iterable[SysfsPatch]) -> SysfsPatch | None:
    """Return the loaded patch that the client reports."""
    client = facts.client
    full = facts.kernel.full or (client.kernel if client is not None else None)
    if client is None or client.patch_version is None or full is None:
        return None
    name = module_name(full, client.patch_version)
    return next((patch for patch in enabled if patch.module == name), None)


def _refused_by_kernel(module: str, kernel_log: c.Sequence[str]) -> bool:
    """Return True if the last line of the kernel's log about the module is a failure to enable it."""
    lines = [line for line in kernel_log if f"enable patch '{module}'" in line or f"enabling patch '{module}'" in line]
    return bool(lines) and "failed to enable" in lines[-1]
