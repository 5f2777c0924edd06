# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Where a host stands on the way to its newest patch: there, still moving, or stuck, and what to do.

A host that can have no patch (nothing to apply, or only a newer kernel helps) has arrived, too: no waiting and no
second try would bring it further, and no patch has failed there.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from .._decisions.policy import Policy
from .._host import client_failures
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._host.loaded_patches import SysfsPatch
from .._host.refresh import BlockingTask, RefreshOutput
from .._kernel_name import module_name, parse_lock_name, parse_module_name
from .._record import Record

Phase = t.Literal["arrived", "moving", "stuck"]
Verify = t.Literal["required", "best_effort", "off"]


@dataclasses.dataclass(frozen=True, slots=True)
class PatchProgress:
    """How far a host is. `id` names why it is ``moving`` or ``stuck``, and then there is a `remedy`."""

    phase: Phase
    id: str
    message: str
    remedy: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """What runs: `modules` with their build ids as sysfs shows them (None: it cannot be read), and the version.

    The version is the client's where the kernel bears it out, else the major number that the module's name holds.
    """

    version: str | None
    modules: frozenset[tuple[str, str | None]] | None

    def differs_from(self, other: Running) -> bool:
        """Whether another patch runs. Where the kernel tells on both sides, the client's word does not matter."""
        if self.modules is None or other.modules is None:
            return self.version != other.version
        return self.modules != other.modules


_JOURNAL = "read `journalctl -u snap.canonical-livepatch.canonical-livepatchd` on the host, and run again"
_UPGRADE = "upgrade the kernel and reboot"
_ENABLE = "enable the client with a token: kernelops.livepatch.client"
_AS_ROOT = "run as root: add become"
_ARRIVED_WITHOUT: dict[str, tuple[str, str, str | None]] = {
    "nothing-to-apply": ("nothing_to_apply", "there is nothing to apply for this kernel", None),
    "kernel-upgrade-required": (
        "upgrade_required",
        "this kernel cannot be live patched any further: only a newer kernel helps",
        _UPGRADE,
    ),
}


def running(facts: HostFacts) -> Running:
    """What runs on a host now."""
    client = facts.client
    claimed = client.patch_version if client is not None else None
    if facts.patches is None:
        applied = client is not None and client.patch_state in ("applied", "applied-with-bug")
        return Running(claimed if applied else None, None)
    enabled = [patch for patch in facts.patches if patch.enabled]
    modules = frozenset((patch.module, patch.build_id) for patch in enabled)
    if claimed is not None and _claimed(facts, enabled) is not None:
        return Running(claimed, modules)
    names = filter(None, (parse_module_name(patch.module) for patch in enabled))
    return Running(max((name.major for name in names), key=int, default=None), modules)


def before_refresh(facts: HostFacts) -> PatchProgress | None:
    """What makes it useless to refresh, if anything does."""
    if facts.client_installed is False:
        return PatchProgress("stuck", "not_installed", "the client is not installed", _ENABLE)
    if facts.root is False:
        return PatchProgress("stuck", "not_root", "only root may refresh the client", _AS_ROOT)
    trouble = _client_trouble(facts.client)
    return trouble if trouble is not None and trouble.phase == "stuck" else None


def judge_progress(facts: HostFacts, watch: RefreshOutput, policy: Policy) -> PatchProgress:
    """How far a host is after its client was told to refresh."""
    client = facts.client
    trouble = _client_trouble(client)
    if trouble is not None or client is None:
        return trouble or PatchProgress("stuck", "unreadable_output", "the client gave no status", _JOURNAL)
    if watch.refused is not None:
        return PatchProgress("stuck", watch.refused.id, watch.refused.message, watch.refused.remedy)
    if watch.timed_out:
        return PatchProgress("moving", "refresh_timed_out", "the client did not end its refresh", _JOURNAL)
    if client.patch_state in ("apply-failed", "applied-with-bug"):
        return _failed(client.patch_state, facts, watch)
    if client.check_state == "check-failed":
        young = facts.uptime is not None and facts.uptime <= policy.check_grace
        remedy = "check the way to the server (network, proxy, ca-certs), and run again"
        return PatchProgress("moving" if young else "stuck", "check_failed", _check_failed(watch), remedy)
    if client.patch_state in _ARRIVED_WITHOUT:
        return PatchProgress("arrived", *_ARRIVED_WITHOUT[client.patch_state])
    if client.patch_state in ("unapplied", "applying") or client.check_state == "needs-check":
        return _moving(facts, f"the client says {client.patch_state or client.check_state}")
    if client.patch_state != "applied":
        message = f"the client says {client.patch_state or 'nothing'}, which is not known to be good"
        return PatchProgress("stuck", "client_words_unknown", message, "upgrade the collection, or look at the host")
    return _applied(facts, client, watch)


def too_late(progress: PatchProgress, tasks: c.Sequence[BlockingTask], seconds: int) -> PatchProgress:
    """The same when there is no time left: who is still moving is stuck."""
    if progress.phase != "moving":
        return progress
    within = f"within {seconds} s"
    if progress.id == "in_transition":
        names = ", ".join(dict.fromkeys(f"{task.name or 'a task without a name'} ({task.pid})" for task in tasks))
        held = f"; it is held up by {names}" if names else ""
        return PatchProgress(
            "stuck",
            "transition_stalled",
            f"the kernel did not move every task to the patch {within}{held}",
            "let these tasks come to their end or restart them: the kernel goes on by itself, and running again then"
            " confirms it",
        )
    return PatchProgress("stuck", progress.id, f"{progress.message}, and that did not change {within}", progress.remedy)


def verified(record: Record, verify: Verify) -> PatchProgress | None:
    """What the verification of the patches that run comes to, if it is to stop the host."""
    if verify == "off":
        return None
    enabled = [patch for patch in record["kernel_patches"] if patch["enabled"]]
    if any(patch["verification"]["result"] == "failed" for patch in record["kernel_patches"]):
        reason = record["assessment"]["reasons"][0]
        return PatchProgress("stuck", "tampered", reason["message"], reason["remedy"])
    missing = [patch["module"] for patch in enabled if patch["verification"]["result"] != "verified"]
    if verify == "required" and missing:
        return PatchProgress(
            "stuck",
            "not_verified",
            f"nobody has verified the signature of {', '.join(missing)}: neither was its file to be had and its signer"
            " known, nor does the kernel carry the key",
            "run as root; give the signer's certificate in trusted_certificates; or be content with what can be had"
            " (verify=best_effort)",
        )
    return None


def closed_cves(before: ClientStatus | None, after: ClientStatus | None) -> list[str]:
    """The vulnerabilities that are closed now and were not."""
    closed = {fix.cve for fix in before.fixes if fix.patched} if before is not None else set()
    return sorted({fix.cve for fix in after.fixes if fix.patched} - closed) if after is not None else []


def expected_version(facts: HostFacts) -> str | None:
    """The version that a refresh would bring, as far as the host knows: one that its client still has to apply."""
    client = facts.client
    if client is None or client.patch_state not in ("unapplied", "applying", "apply-failed"):
        return None
    return client.patch_version


def locks_of_kernel(facts: HostFacts) -> tuple[str, ...]:
    """The crash locks that are for patches of the running kernel; where its full name is not known, all."""
    full = facts.kernel.full
    locks = ((lock, parse_lock_name(lock)) for lock in facts.crash_locks)
    return tuple(lock for lock, module in locks if module is not None and (full is None or module.is_for(full)))


def _client_trouble(client: ClientStatus | None) -> PatchProgress | None:
    if client is None:
        return None
    if client.error is not None:
        if client.error.id == "timed_out":
            # It answers nobody while it applies a patch.
            return PatchProgress("moving", "timed_out", "the client does not answer", _JOURNAL)
        failure = client_failures.failure(client.error.id) if client.error.id in _NAMED_ERRORS else None
        message = failure.message if failure else f"the client's answer could not be understood: {client.error.text}"
        return PatchProgress("stuck", client.error.id, message, failure.remedy if failure else _JOURNAL)
    if client.enabled is False:
        return PatchProgress("stuck", "not_enabled", "the client is not enabled", _ENABLE)
    return None


_NAMED_ERRORS = frozenset(
    {
        "daemon_down",
        "permission_denied",
        "not_eligible_kernel",
        "platform_unsupported",
        "apparmor",
        "interface_not_connected",
    }
)


def _failed(patch_state: str, facts: HostFacts, watch: RefreshOutput) -> PatchProgress:
    if patch_state == "applied-with-bug":
        return PatchProgress("stuck", "applied_with_bug", "the applied patch has a known bug", _UPGRADE)
    locks = locks_of_kernel(facts)
    if locks:
        return PatchProgress(
            "stuck",
            "crash_lock",
            f"the client refuses a patch that may have crashed the kernel before (lock {', '.join(locks)})",
            "find out why the kernel crashed; then run again with clear_crash_lock=true",
        )
    why = _last(watch.journal, "cannot apply", "failed")
    return PatchProgress("stuck", "apply_failed", f"the client could not apply its patch{why}", _JOURNAL)


def _check_failed(watch: RefreshOutput) -> str:
    return f"the client could not ask the server for the newest patch{_last(watch.journal, 'check failed', 'status')}"


def _last(lines: c.Sequence[str], *words: str) -> str:
    """The last line that holds one of the words, to be put behind a message."""
    return next((f": {line}" for line in reversed(lines) if any(word in line.lower() for word in words)), "")


def _applied(facts: HostFacts, client: ClientStatus, watch: RefreshOutput) -> PatchProgress:
    """The client says applied: the kernel must bear it out, as far as it can be asked."""
    message = f"patch {client.patch_version} is applied"
    if facts.patches is None:
        return PatchProgress("arrived", "applied", message)
    if any(patch.enabled and patch.transition for patch in facts.patches):
        return _moving(facts, message)
    patch = _claimed(facts, [patch for patch in facts.patches if patch.enabled])
    if patch is None:
        message = f"the client says that patch {client.patch_version} is applied, and the kernel does not show it"
        return PatchProgress("moving", "kernel_disagrees", message, "run again; if it stays so, reboot")
    if patch.transition is None and _refused_by_kernel(patch.module, watch.kernel_log):
        # A kernel that shows no transition tells of it in its log.
        message = f"the kernel's log says that it did not take {patch.module}"
        return PatchProgress("stuck", "apply_failed", message, _JOURNAL)
    return PatchProgress("arrived", "applied", message)


def _moving(facts: HostFacts, message: str) -> PatchProgress:
    if any(patch.enabled and patch.transition for patch in facts.patches or ()):
        message = "the kernel is still moving tasks over to the patch"
        return PatchProgress("moving", "in_transition", message, "wait, and run again")
    return PatchProgress("moving", "not_yet_applied", message, _JOURNAL)


def _claimed(facts: HostFacts, enabled: c.Iterable[SysfsPatch]) -> SysfsPatch | None:
    """The loaded patch that the client speaks of."""
    client = facts.client
    full = facts.kernel.full or (client.kernel if client is not None else None)
    if client is None or client.patch_version is None or full is None:
        return None
    name = module_name(full, client.patch_version)
    return next((patch for patch in enabled if patch.module == name), None)


def _refused_by_kernel(module: str, kernel_log: c.Sequence[str]) -> bool:
    """Whether the last that the kernel's log says of the module is that enabling it failed."""
    lines = [line for line in kernel_log if f"enable patch '{module}'" in line or f"enabling patch '{module}'" in line]
    return bool(lines) and "failed to enable" in lines[-1]
