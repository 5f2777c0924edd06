# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Assess a host: its state, the reasons, and whether it needs a reboot.

The assessment compares three sources: the client, the kernel's sysfs, and the signature of the loaded module. The
rules have the order of `_record.STATES`; the first rule that returns reasons decides.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime

from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._kernel_name import module_name, parse_lock_name
from .._record import Assessment, Check, Eligibility, KernelPatch, Reason, State
from . import causes, next_steps
from .patch_verification import VerifiedPatch
from .policy import Policy

_SOON = datetime.timedelta(days=30)
_NO_CLIENT = ClientStatus(enabled=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known about a host."""

    facts: HostFacts
    policy: Policy
    eligibility: Eligibility
    verified: c.Sequence[VerifiedPatch]

    @property
    def patches(self) -> list[KernelPatch]:
        return [each.patch for each in self.verified]

    @property
    def client(self) -> ClientStatus:
        return self.facts.client or _NO_CLIENT

    @property
    def kernel_shows_patch(self) -> bool:
        """The kernel lists the patch that the client reports as enabled, and its transition is complete."""
        return any(patch["enabled"] and not patch["transition"] for patch in self.reported_patches)

    @property
    def reported_patches(self) -> list[KernelPatch]:
        """The patches of the kernel that have the name of the one that the client reports: one or none."""
        full, version = self.facts.kernel.full or self.client.kernel, self.client.patch_version
        if full is None or version is None:
            return []
        return [patch for patch in self.patches if patch["module"] == module_name(full, version)]


def assess(evidence: Evidence) -> Assessment:
    """Return the assessment of a host that sent facts."""
    for state, rule in _RULES:
        reasons = rule(evidence)
        if reasons:
            return Assessment(
                state=state,
                reasons=[*reasons, *_reminders(evidence, state)],
                reboot_needed=_reboot_needed(evidence, state),
            )
    return Assessment(state="unknown", reasons=_unknown(evidence), reboot_needed=None)


def _reason_of(check: Check) -> Reason:
    return Reason(id=check["id"], message=check["message"], remedy=check["remedy"])


def _tampered(evidence: Evidence) -> list[Reason]:
    return [each.fault for each in evidence.verified if each.fault is not None]


def _ineligible(evidence: Evidence) -> list[Reason]:
    enabled = evidence.client.enabled
    # An enabled host has reached the server before. A failed network check does not make it ineligible.
    reasons = [
        _reason_of(check)
        for check in evidence.eligibility["checks"]
        if check["status"] == "fail" and not (enabled and check["id"] == "network")
    ]
    if reasons and enabled:
        reasons.append(causes.ENABLED_THOUGH_INELIGIBLE.reason())
    return reasons


def _failed(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    reasons = []
    if client.error is not None and client.error.id in _CLIENT_FAILURES:
        reasons.append(causes.CLIENT_ERRORS[client.error.id].reason())
    if client.patch_state in _PATCH_FAILURES:
        step = next_steps.upgrade_step(evidence.facts, evidence.policy)
        reasons.append(_PATCH_FAILURES[client.patch_state].reason(step=step))
    reasons.extend(
        causes.CRASH_LOCK.reason(f"lock {lock}") for lock in evidence.facts.crash_locks if _lock_counts(lock, evidence)
    )
    if client.check_state == "check-failed" and not _in_grace(evidence):
        reasons.append(causes.CHECK_FAILED.reason())
    return reasons


_CLIENT_FAILURES = frozenset({"daemon_down", "timed_out", "apparmor", "interface_not_connected", "not_executable"})
_PATCH_FAILURES = {"apply-failed": causes.APPLY_FAILED, "applied-with-bug": causes.APPLIED_WITH_BUG}


def _lock_counts(lock: str, evidence: Evidence) -> bool:
    """Return False for a lock of another kernel, and for one of a patch that the applied patch has replaced."""
    client, full = evidence.client, evidence.facts.kernel.full
    module = parse_lock_name(lock)
    if full is not None and (module is None or not module.is_for(full)):
        return False
    applied_another = client.patch_state == "applied" and not lock.endswith(f"_{client.patch_version}")
    return not applied_another


def _in_grace(evidence: Evidence) -> bool:
    uptime = evidence.facts.uptime
    return uptime is not None and uptime <= evidence.policy.check_grace


def _end_of_life(evidence: Evidence) -> list[Reason]:
    step = next_steps.upgrade_step(evidence.facts, evidence.policy)
    return end_of_life_reasons(evidence.client, _today(evidence.facts), step)


def end_of_life_reasons(client: ClientStatus, today: datetime.date | None, step: str) -> list[Reason]:
    """Return why the running kernel gets no more patches; an empty list if it gets them, or if this is unknown.

    `step` is how to upgrade the kernel.
    """
    if client.supported == "kernel-end-of-life":
        return [causes.KERNEL_END_OF_LIFE.reason(step=step)]
    due = client.upgrade_required_by
    if due is not None and today is not None and due < today:
        return [causes.UPGRADE_DATE_PASSED.reason(date=due.isoformat(), step=step)]
    return []


def _today(facts: HostFacts) -> datetime.date | None:
    return facts.now.date() if facts.now is not None else None


def _upgrade_required(evidence: Evidence) -> list[Reason]:
    return upgrade_required_reasons(evidence.client, next_steps.upgrade_step(evidence.facts, evidence.policy))


def upgrade_required_reasons(client: ClientStatus, step: str) -> list[Reason]:
    """Return the reason if the client reports that only a newer kernel helps, else an empty list.

    `step` is how to upgrade the kernel.
    """
    if "kernel-upgrade-required" in (client.patch_state, client.supported):
        return [causes.KERNEL_UPGRADE_REQUIRED.reason(step=step)]
    return []


def _disabled(evidence: Evidence) -> list[Reason]:
    if evidence.eligibility["verdict"] != "eligible":
        return []
    if evidence.facts.client_installed is False:
        return [causes.NOT_INSTALLED.reason(step=next_steps.enable_step(evidence.facts, evidence.policy))]
    if evidence.client.enabled is False:
        return [causes.NOT_ENABLED.reason(step=next_steps.enable_step(evidence.facts, evidence.policy))]
    return []


def _stale(evidence: Evidence) -> list[Reason]:
    last, now = evidence.client.last_check, evidence.facts.now
    if not evidence.client.enabled or last is None or now is None or now - last <= evidence.policy.stale_after:
        return []
    return [causes.CHECK_TOO_OLD.reason(time=f"{last:%Y-%m-%d %H:%M}", age=_age(now - last))]


def _age(span: datetime.timedelta) -> str:
    return f"{span.days} days" if span.days >= 2 else f"{int(span.total_seconds() // 3600)} hours"


def _applying(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if any(patch["enabled"] and patch["transition"] for patch in evidence.patches):
        return [causes.IN_TRANSITION.reason()]
    if client.patch_state in ("unapplied", "applying"):
        return [causes.NOT_YET_APPLIED.reason(state=client.patch_state)]
    if client.check_state == "needs-check":
        return [causes.NEEDS_CHECK.reason()]
    if client.check_state == "check-failed":
        return [causes.CHECK_FAILED_AFTER_BOOT.reason()]
    return []


def _unverified(evidence: Evidence) -> list[Reason]:
    doubts = [each.doubt for each in evidence.verified if each.doubt is not None]
    if doubts:
        return doubts
    client = evidence.client
    if client.patch_state != "applied" or not _is_healthy(client) or evidence.kernel_shows_patch:
        return []
    if evidence.facts.patches is None:
        return [causes.KERNEL_NOT_READABLE.reason(version=client.patch_version)]
    return [causes.KERNEL_DISAGREES.reason(version=client.patch_version)]


def _protected(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if not client.enabled or not _is_healthy(client):
        return []
    if client.patch_state == "applied":
        levels = {patch["verification"]["level"] for patch in evidence.reported_patches if patch["enabled"]}
        sources = next((text for level, text in _AGREEMENT.items() if level in levels), "client and kernel agree")
        gaps = [each.gap for each in evidence.verified if each.gap is not None]
        return [causes.APPLIED.reason(sources, version=client.patch_version), *gaps]
    if client.patch_state == "nothing-to-apply" and _reports_running_kernel(evidence):
        return [causes.NOTHING_TO_APPLY.reason()]
    return []


_AGREEMENT = {
    "file": "client, kernel and signature agree",
    "digest": "client, kernel and signature agree",
    "kernel": "client and kernel agree, and the kernel accepted the signature",
}


def _is_healthy(client: ClientStatus) -> bool:
    """Return True if check and support state are known to be good. Old clients do not report them."""
    return client.check_state in ("checked", None) and client.supported in ("supported", None)


def _reports_running_kernel(evidence: Evidence) -> bool:
    running, reported = evidence.facts.kernel.full, evidence.client.kernel
    return running is None or reported is None or running == reported


_RULES: tuple[tuple[State, c.Callable[[Evidence], list[Reason]]], ...] = (
    ("tampered", _tampered),
    ("ineligible", _ineligible),
    ("failed", _failed),
    ("end_of_life", _end_of_life),
    ("upgrade_required", _upgrade_required),
    ("disabled", _disabled),
    ("stale", _stale),
    ("applying", _applying),
    ("unverified", _unverified),
    ("protected", _protected),
)


def _unknown(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    reasons = []
    if client.error is not None:
        detail = "" if client.error.id == "permission_denied" else client.error.text
        reasons.append(causes.CLIENT_ERRORS[client.error.id].reason(detail))
    elif client.enabled:
        states = ", ".join(filter(None, (client.check_state, client.patch_state, client.supported)))
        reasons.append(causes.CLIENT_WORDS_UNKNOWN.reason(states=states or "no state"))
    reasons.extend(_reason_of(check) for check in evidence.eligibility["checks"] if check["status"] == "unknown")
    if not evidence.facts.complete:
        reasons.append(causes.ANSWER_CUT_SHORT.reason())
    return reasons or [causes.NOTHING_KNOWN.reason()]


def _reminders(evidence: Evidence, state: State) -> list[Reason]:
    """Return reasons that did not decide the state, but need attention."""
    reasons = []
    due, today = evidence.client.upgrade_required_by, _today(evidence.facts)
    if state not in ("end_of_life", "upgrade_required") and due is not None and today is not None:
        left = due - today
        if datetime.timedelta(0) <= left <= _SOON:
            step = next_steps.upgrade_step(evidence.facts, evidence.policy, within_days=_SOON.days)
            reasons.append(causes.UPGRADE_DUE_SOON.reason(date=due.isoformat(), days=left.days, step=step))
    if state != "ineligible":
        reasons.extend(
            _reason_of(check)
            for check in evidence.eligibility["checks"]
            if check["id"] == "network" and check["status"] in ("fail", "warn")
        )
    return reasons


def _reboot_needed(evidence: Evidence, state: State) -> bool | None:
    """Return True if a reboot is needed. A patched kernel needs none, even if a newer kernel is installed."""
    if state in ("tampered", "end_of_life", "upgrade_required") or evidence.client.patch_state == "applied-with-bug":
        return True
    if state == "protected":
        return False
    running, newest = evidence.facts.kernel.release, evidence.facts.newest_installed
    return None if running is None or newest is None else running != newest
