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

from .._decisions.policy import Policy
from .._errors import LivepatchError
from .._host import client_failures
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._host.loaded_patches import SysfsPatch
from .._host.refresh import BlockingTask, RefreshOutput
from .._kernel_name import module_name, parse_lock_name, parse_module_name
from .._record import Record

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


_DAEMON = "snap.canonical-livepatch.canonical-livepatchd"
_READ_JOURNAL = f"read `journalctl -u {_DAEMON}` on the host, and run the task again"
_UPGRADE = "upgrade the kernel and reboot"
_ENABLE = "enable the client with a token: kernelops.livepatch.client"
_AS_ROOT = "run as root: add --become"
_DONE_WITHOUT_PATCH: dict[str, tuple[str, str, str | None]] = {
    "nothing-to-apply": ("nothing_to_apply", "there is nothing to apply for this kernel", None),
    "kernel-upgrade-required": (
        "upgrade_required",
        "this kernel cannot be live patched any further: only a newer kernel helps",
        _UPGRADE,
    ),
}
_FAILURES_WITH_TEXTS = frozenset(
    {
        "daemon_down",
        "permission_denied",
        "not_eligible_kernel",
        "platform_unsupported",
        "apparmor",
        "interface_not_connected",
    }
)


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


def refresh_obstacle(facts: HostFacts) -> PatchProgress | None:
    """Return why a refresh cannot succeed on this host, None if it can."""
    if facts.client_installed is False:
        return PatchProgress("failed", "not_installed", "the client is not installed", _ENABLE)
    if facts.root is False:
        return PatchProgress("failed", "not_root", "only root can refresh the client", _AS_ROOT)
    problem = _client_problem(facts.client)
    return problem if problem is not None and problem.phase == "failed" else None


def judge_progress(facts: HostFacts, refresh: RefreshOutput, policy: Policy) -> PatchProgress:
    """Judge a host after a refresh of its client."""
    client = facts.client
    problem = _client_problem(client)
    if problem is not None or client is None:
        return problem or PatchProgress("failed", "unreadable_output", "the client reports no status", _READ_JOURNAL)
    if refresh.failure is not None:
        return PatchProgress("failed", refresh.failure.id, refresh.failure.message, refresh.failure.remedy)
    if refresh.timed_out:
        return PatchProgress("pending", "refresh_timed_out", "the client did not complete its refresh", _READ_JOURNAL)
    if client.patch_state in ("apply-failed", "applied-with-bug"):
        return _patch_failure(client.patch_state, facts, refresh)
    if client.check_state == "check-failed":
        return _check_failure(facts, refresh, policy)
    if client.patch_state in _DONE_WITHOUT_PATCH:
        return PatchProgress("done", *_DONE_WITHOUT_PATCH[client.patch_state])
    if client.patch_state in ("unapplied", "applying") or client.check_state == "needs-check":
        return _pending(facts, f"the client reports {client.patch_state or client.check_state}")
    if client.patch_state != "applied":
        message = f"the client reports the unknown patch state {client.patch_state or '(none)'}"
        remedy = "upgrade the collection, or run `canonical-livepatch status` on the host"
        return PatchProgress("failed", "client_words_unknown", message, remedy)
    return _applied(facts, client, refresh)


def at_deadline(progress: PatchProgress, tasks: c.Sequence[BlockingTask], seconds: int) -> PatchProgress:
    """Return the progress when the time is up: a pending host has failed. `tasks` block the transition."""
    if progress.phase != "pending":
        return progress
    if progress.id == "in_transition":
        names = ", ".join(dict.fromkeys(f"{task.name or 'an unnamed task'} ({task.pid})" for task in tasks))
        blocked = f"; it is blocked by {names}" if names else ""
        return PatchProgress(
            "failed",
            "transition_stalled",
            f"the kernel did not move all tasks to the patch within {seconds} s{blocked}",
            "wait until these tasks end, or restart them; the kernel then completes the transition without another"
            " refresh, and running the task again confirms it",
        )
    message = f"{progress.message}, and this did not change within {seconds} s"
    return PatchProgress("failed", progress.id, message, progress.remedy)


def verification_failure(record: Record, verify: Verify) -> PatchProgress | None:
    """Return the failure if the verification of the loaded patches does not satisfy `verify`."""
    if verify == "off":
        return None
    enabled = [patch for patch in record["kernel_patches"] if patch["enabled"]]
    if any(patch["verification"]["result"] == "failed" for patch in record["kernel_patches"]):
        reason = record["assessment"]["reasons"][0]
        return PatchProgress("failed", "tampered", reason["message"], reason["remedy"])
    missing = [patch["module"] for patch in enabled if patch["verification"]["result"] != "verified"]
    if verify == "required" and missing:
        return PatchProgress(
            "failed",
            "not_verified",
            f"the signature of {', '.join(missing)} could not be verified: no module file or no certificate of its"
            " signer is available, and the kernel does not hold the key",
            "run as root, and add the signer's certificate to trusted_certificates; or accept unverified patches with"
            " verify: best_effort",
        )
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


def _client_problem(client: ClientStatus | None) -> PatchProgress | None:
    """Return the problem of a client that reports no status."""
    if client is None:
        return None
    if client.error is not None:
        if client.error.id == "timed_out":
            # The client does not answer while it applies a patch.
            return PatchProgress("pending", "timed_out", "the client does not answer", _READ_JOURNAL)
        if client.error.id in _FAILURES_WITH_TEXTS:
            failure = client_failures.failure(client.error.id)
            return PatchProgress("failed", failure.id, failure.message, failure.remedy)
        message = f"the output of the client could not be read: {client.error.text}"
        return PatchProgress("failed", client.error.id, message, _READ_JOURNAL)
    if client.enabled is False:
        return PatchProgress("failed", "not_enabled", "the client is not enabled", _ENABLE)
    return None


def _patch_failure(patch_state: str, facts: HostFacts, refresh: RefreshOutput) -> PatchProgress:
    if patch_state == "applied-with-bug":
        return PatchProgress("failed", "applied_with_bug", "the applied patch has a known bug", _UPGRADE)
    locks = locks_of_kernel(facts)
    if locks:
        return PatchProgress(
            "failed",
            "crash_lock",
            f"the client refuses a patch that may have crashed the kernel before (lock {', '.join(locks)})",
            "find the cause of the crash, then run the task again with clear_crash_lock: true",
        )
    reason = _last_line(refresh.journal, "cannot apply", "failed")
    return PatchProgress("failed", "apply_failed", f"the client could not apply its patch{reason}", _READ_JOURNAL)


def _check_failure(facts: HostFacts, refresh: RefreshOutput, policy: Policy) -> PatchProgress:
    """Return the progress after a failed check. Shortly after boot, the client tries again by itself."""
    just_booted = facts.uptime is not None and facts.uptime <= policy.check_grace
    reason = _last_line(refresh.journal, "check failed", "status")
    return PatchProgress(
        "pending" if just_booted else "failed",
        "check_failed",
        f"the client could not ask the server for the newest patch{reason}",
        "check the network, the proxy settings and ca-certs, and run the task again",
    )


def _last_line(lines: c.Sequence[str], *words: str) -> str:
    """Return the last line that contains one of the words, formatted as the end of a message."""
    return next((f": {line}" for line in reversed(lines) if any(word in line.lower() for word in words)), "")


def _applied(facts: HostFacts, client: ClientStatus, refresh: RefreshOutput) -> PatchProgress:
    """Judge a host whose client reports ``applied``: the kernel must confirm it if its sysfs can be read."""
    message = f"patch {client.patch_version} is applied"
    if facts.patches is None:
        return PatchProgress("done", "applied", message)
    if any(patch.enabled and patch.transition for patch in facts.patches):
        return _pending(facts, message)
    patch = _reported_patch(facts, [patch for patch in facts.patches if patch.enabled])
    if patch is None:
        message = f"the client reports patch {client.patch_version} as applied, but the kernel does not show it"
        remedy = "run the task again; if this repeats, reboot the host"
        return PatchProgress("pending", "kernel_disagrees", message, remedy)
    if patch.transition is None and _refused_by_kernel(patch.module, refresh.kernel_log):
        # A kernel without this attribute reports the failure only in its log.
        message = f"the kernel failed to enable {patch.module}, according to its log"
        return PatchProgress("failed", "apply_failed", message, _READ_JOURNAL)
    return PatchProgress("done", "applied", message)


def _pending(facts: HostFacts, message: str) -> PatchProgress:
    if any(patch.enabled and patch.transition for patch in facts.patches or ()):
        message = "the kernel is still moving tasks to the patch"
        return PatchProgress("pending", "in_transition", message, "wait, and run the task again")
    return PatchProgress("pending", "not_yet_applied", message, _READ_JOURNAL)


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
