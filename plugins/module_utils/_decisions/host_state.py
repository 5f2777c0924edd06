# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Assess a host: its state, the reasons, and whether it needs a reboot.

The rules have the order of `_record.STATES`; the first rule that returns reasons decides. A host is protected only if
every source that applies confirms it: `doubts` returns what is missing. Decision 0023 has the reasons.
"""

from __future__ import annotations

import collections.abc as c
import datetime

from .._host.client_status import ClientStatus
from .._kernel_name import parse_kernel_name
from .._record import Assessment, Check, Reason, State
from . import causes, next_steps
from .policy import DEFAULT_MONTHS
from .states.evidence import CLOCK_TOLERANCE, Evidence
from .states.failures import check_reason, failed_reasons
from .states.held_back import held_back_reasons
from .states.waiting import applying_reasons, applying_too_long

_SOON = datetime.timedelta(days=30)
_UNCHANGEABLE = frozenset(
    {
        "distribution",
        "release",
        "architecture",
        "container",
        "kernel_origin",
        "kernel_series",
        "flavour",
        "kernel_livepatch",
        "kernel_conflict",
        "kernel_supported",
    }
)
"""Checks that no setting of the host can change. A host that fails another one can be enabled after a step."""
_OF_THE_KERNEL = ("kernel_series", "flavour", "kernel_livepatch", "kernel_supported")
_SHADOWS: dict[str, tuple[str, ...]] = {
    # The kernel of a container is that of another machine, and Livepatch covers no other distribution at all.
    "container": tuple(_UNCHANGEABLE - {"container"}),
    "distribution": tuple(_UNCHANGEABLE - {"container", "distribution"}),
    "release": ("kernel_series", "flavour"),
    "architecture": ("kernel_series", "flavour"),
    "kernel_origin": _OF_THE_KERNEL,
    "kernel_series": ("kernel_livepatch", "kernel_supported"),
    "flavour": ("kernel_supported",),
    "kernel_conflict": ("flavour", "kernel_supported"),
}
"""Checks that fail because another one fails, by the other one. They are no reasons of their own."""
_REPORTING_SUPPORT = _WITHHOLDING = ("10", "11")
"""Generations of the client that report the support status of the kernel, and have settings that withhold patches."""
_IDENTITY = frozenset(
    {"distribution", "release", "architecture", "container", "kernel_series", "flavour", "kernel_conflict"}
)
"""Checks that show which system the client protects, apart from the origin of the kernel."""
_SETTLED = ("applied", "nothing-to-apply")
"""States of a patch that need no further action of the client."""
_MODES = ("normal", "stop", "no-apply", "no-refresh")


def assess(evidence: Evidence) -> Assessment:
    """Return the assessment of a host that sent facts."""
    decided: tuple[State, list[Reason]] = ("unknown", [])
    for state, rule in _RULES:
        reasons = rule(evidence)
        if reasons:
            decided = (state, reasons)
            break
    state, reasons = decided
    reasons = reasons or _unknown(evidence)
    reminders = [reason for reason in _reminders(evidence, state) if reason not in reasons]
    return Assessment(state=state, reasons=[*reasons, *reminders], reboot_needed=_reboot_needed(evidence, state))


def _reason_of(check: Check) -> Reason:
    return Reason(id=check["id"], message=check["message"], remedy=check["remedy"])


def _tampered(evidence: Evidence) -> list[Reason]:
    return [each.fault for each in evidence.verified if each.fault is not None]


def _ineligible(evidence: Evidence) -> list[Reason]:
    failed = {check["id"]: check for check in evidence.eligibility["checks"] if _refuses_for_good(check)}
    shadows = {shadow for cause in failed for shadow in _SHADOWS.get(cause, ())}
    reasons = [_reason_of(check) for identifier, check in failed.items() if identifier not in shadows]
    if reasons and evidence.client.enabled and failed.keys() != {"kernel_supported"}:
        other = evidence.check("other_policy")
        cause = causes.ENABLED_THOUGH_INELIGIBLE.reason()
        reasons.append(cause if other is None else {**cause, "remedy": other["remedy"]})
    return reasons


def _refuses_for_good(check: Check) -> bool:
    return check["status"] == "fail" and check["id"] in _UNCHANGEABLE


def _end_of_life(evidence: Evidence) -> list[Reason]:
    step = next_steps.upgrade_step(evidence.facts, evidence.policy)
    if "kernel-end-of-life" in evidence.support:
        return [causes.KERNEL_END_OF_LIFE.reason(step=step)]
    reasons = end_of_life_reasons(evidence.client, evidence.today, step)
    if reasons or evidence.support or not evidence.reports_status or evidence.client.patch_state not in _SETTLED:
        return reasons
    months = _months(evidence)
    age = evidence.kernel_months
    if months is None or age is None or age <= months:
        return []
    return [causes.KERNEL_TOO_OLD.reason(age=age, months=months, step=step)]


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


def _months(evidence: Evidence) -> int | None:
    """Return the age at which the running kernel gets no more patches; None if an applied patch shows that it does.

    A policy without an interval says nothing about a kernel for which the service has provided a patch.
    """
    months = evidence.policy_months
    if months is None and evidence.client.patch_state != "applied":
        return DEFAULT_MONTHS
    return months


def _upgrade_required(evidence: Evidence) -> list[Reason]:
    step = next_steps.upgrade_step(evidence.facts, evidence.policy)
    if "kernel-upgrade-required" in evidence.support:
        return [causes.KERNEL_UPGRADE_REQUIRED.reason(step=step)]
    return upgrade_required_reasons(evidence.client, step)


def upgrade_required_reasons(client: ClientStatus, step: str) -> list[Reason]:
    """Return the reason if the client reports that only a newer kernel helps, else an empty list.

    `step` is how to upgrade the kernel.
    """
    if "kernel-upgrade-required" in (client.patch_state, client.supported):
        return [causes.KERNEL_UPGRADE_REQUIRED.reason(step=step)]
    return []


def _disabled(evidence: Evidence) -> list[Reason]:
    if evidence.facts.client_installed is False:
        missing = causes.NOT_INSTALLED
    elif evidence.client.enabled is False and evidence.facts.client is not None:
        missing = causes.NOT_ENABLED
    else:
        return []
    steps = [_reason_of(check) for check in evidence.eligibility["checks"] if check["status"] == "fail"]
    if not steps and evidence.eligibility["verdict"] == "unknown":
        return []
    return [*steps, missing.reason(step=next_steps.enable_step(evidence.facts, evidence.policy))]


def _stale(evidence: Evidence) -> list[Reason]:
    last = evidence.client.last_check
    if not evidence.client.enabled or last is None:
        return []
    age = evidence.collected_at - last
    if age <= evidence.policy.stale_after:
        return []
    reason = causes.CHECK_TOO_OLD.reason(time=f"{last:%Y-%m-%d %H:%M}", age=_span(age))
    return [{**reason, "remedy": check_reason(evidence)["remedy"]}]


def _span(span: datetime.timedelta) -> str:
    if span < datetime.timedelta(hours=2):
        return f"{int(span.total_seconds() // 60)} minutes"
    return f"{span.days} days" if span.days >= 2 else f"{int(span.total_seconds() // 3600)} hours"


def _unverified(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    reasons = [each.doubt for each in evidence.verified if each.doubt is not None]
    if client.patch_state == "applied" and not evidence.kernel_shows_patch:
        unread = evidence.facts.patches is None
        cause = causes.KERNEL_NOT_READABLE if unread else causes.KERNEL_DISAGREES
        reasons.append(cause.reason(version=client.patch_version))
    reasons.extend(causes.FOREIGN_PATCH.reason(module=patch["module"]) for patch in evidence.foreign)
    return reasons


def _protected(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if not evidence.reports_status or doubts(evidence):
        return []
    if client.patch_state == "applied":
        levels = {each.patch["verification"]["level"] for each in evidence.claimed if each.patch["enabled"]}
        sources = next((text for level, text in _AGREEMENT.items() if level in levels), "client and kernel agree")
        gaps = [each.gap for each in evidence.claimed if each.gap is not None]
        return [causes.APPLIED.reason(sources, version=client.patch_version), *gaps]
    return [causes.NOTHING_TO_APPLY.reason()]


_AGREEMENT = {
    "file": "client, kernel and signature agree",
    "digest": "client, kernel and signature agree",
    "kernel": "client and kernel agree, and the kernel accepted the signature",
}


def doubts(evidence: Evidence) -> list[Reason]:
    """Return why an enabled host cannot be called protected; an empty list if all evidence is there."""
    return [
        *_status_doubts(evidence),
        *_kernel_doubts(evidence),
        *_time_doubts(evidence),
        *_support_doubts(evidence),
    ]


def _status_doubts(evidence: Evidence) -> c.Iterator[Reason]:
    client, mode = evidence.client, evidence.facts.mode
    # The client of 2016 does not report a check state.
    known_check = client.check_state == "checked" or (client.check_state is None and client.generation == "2016")
    if not known_check or client.patch_state not in _SETTLED or not evidence.support <= {"supported"}:
        states = ", ".join(filter(None, (client.check_state, client.patch_state, *sorted(evidence.support))))
        yield causes.CLIENT_WORDS_UNKNOWN.reason(states=states or "no state")
    if mode is None:
        yield causes.MODE_NOT_READABLE.reason()
    elif mode.value not in _MODES:
        yield causes.MODE_UNKNOWN.reason(mode=mode.value)
    if evidence.facts.config is None and client.generation in _WITHHOLDING:
        yield causes.SETTINGS_NOT_READABLE.reason()
    if not evidence.facts.complete:
        yield causes.ANSWER_CUT_SHORT.reason()


def _kernel_doubts(evidence: Evidence) -> c.Iterator[Reason]:
    kernel, reported = evidence.facts.kernel, evidence.client.kernel
    # The full name is also in /proc/version_signature, which alone does not show that this kernel runs.
    running = None if kernel.release is None else kernel.full
    if running is None or running != reported:
        yield causes.OTHER_KERNEL.reason(reported=reported or "no kernel", running=running or "an unknown kernel")
    if evidence.facts.patches is None:
        yield causes.PATCHES_NOT_READABLE.reason()
    checks = evidence.eligibility["checks"]
    yield from (_reason_of(check) for check in checks if check["id"] in _IDENTITY and check["status"] == "unknown")
    if evidence.client.patch_state == "nothing-to-apply":
        yield from _build_doubts(evidence)


def _build_doubts(evidence: Evidence) -> c.Iterator[Reason]:
    """Yield why it means nothing that no patch exists: the service has patches for other builds than this kernel."""
    facts = evidence.facts
    origin = evidence.check("kernel_origin")
    if origin is not None and origin["status"] == "unknown":
        yield _reason_of(origin)
    name = parse_kernel_name(facts.kernel.full or "")
    other = None if name is None else name.ubuntu_release
    if other is not None and facts.release is not None and other != facts.release:
        step = next_steps.upgrade_step(facts, evidence.policy, forced=True)
        yield causes.KERNEL_OF_OTHER_RELEASE.reason(other=other, release=facts.release, step=step)


def _time_doubts(evidence: Evidence) -> c.Iterator[Reason]:
    age, skew = evidence.check_age, evidence.clock_skew
    if skew is None:
        yield causes.CLOCK_UNKNOWN.reason()
    elif abs(skew) > CLOCK_TOLERANCE:
        yield _skewed(skew)
    if age is None:
        yield causes.CHECK_TIME_UNKNOWN.reason()
    elif age < -CLOCK_TOLERANCE:
        yield causes.CHECK_IN_FUTURE.reason(time=f"{evidence.client.last_check:%Y-%m-%d %H:%M}")


def _skewed(skew: datetime.timedelta) -> Reason:
    direction = "ahead of" if skew > datetime.timedelta(0) else "behind"
    return causes.CLOCK_SKEW.reason(span=_span(abs(skew)), direction=direction)


def _support_doubts(evidence: Evidence) -> c.Iterator[Reason]:
    """Without a support status, only the age of the kernel shows that it gets patches."""
    if evidence.support:
        return
    if evidence.client.generation in _REPORTING_SUPPORT:
        yield causes.SUPPORT_MISSING.reason()
    elif _months(evidence) is not None and evidence.kernel_months is None:
        yield causes.KERNEL_AGE_NOT_KNOWN.reason()


_RULES: tuple[tuple[State, c.Callable[[Evidence], list[Reason]]], ...] = (
    ("tampered", _tampered),
    ("ineligible", _ineligible),
    ("held_back", held_back_reasons),
    ("failed", failed_reasons),
    ("failed", applying_too_long),
    ("end_of_life", _end_of_life),
    ("upgrade_required", _upgrade_required),
    ("disabled", _disabled),
    ("stale", _stale),
    ("applying", applying_reasons),
    ("unverified", _unverified),
    ("protected", _protected),
)


def _unknown(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    reasons = []
    if client.error is not None:
        detail = "" if client.error.id == "permission_denied" else client.error.text
        reasons.append(causes.CLIENT_ERRORS.get(client.error.id, causes.UNREADABLE_OUTPUT).reason(detail))
    elif client.enabled:
        reasons.extend(doubts(evidence))
    unknown = (_reason_of(check) for check in evidence.eligibility["checks"] if check["status"] == "unknown")
    reasons.extend(reason for reason in unknown if reason not in reasons)
    cut_short = causes.ANSWER_CUT_SHORT.reason()
    if not evidence.facts.complete and cut_short not in reasons:
        reasons.append(cut_short)
    return reasons or [causes.NOTHING_KNOWN.reason()]


def _reminders(evidence: Evidence, state: State) -> list[Reason]:
    """Return reasons that did not decide the state, but need attention."""
    reasons = []
    due = evidence.client.upgrade_required_by
    if state not in ("end_of_life", "upgrade_required") and due is not None:
        left = due - evidence.today
        if datetime.timedelta(0) <= left <= _SOON:
            step = next_steps.upgrade_step(evidence.facts, evidence.policy, within_days=_SOON.days)
            reasons.append(causes.UPGRADE_DUE_SOON.reason(date=due.isoformat(), days=left.days, step=step))
    if state != "ineligible":
        reasons.extend(
            _reason_of(check)
            for check in evidence.eligibility["checks"]
            if check["id"] == "network" and check["status"] in ("fail", "warn")
        )
    skew = evidence.clock_skew
    if skew is not None and abs(skew) > CLOCK_TOLERANCE:
        reasons.append(_skewed(skew))
    others = [name for name in evidence.facts.reboot_packages or () if not name.startswith("linux-")]
    if others:
        reasons.append(causes.REBOOT_REQUESTED.reason(packages=", ".join(others)))
    return reasons


def _reboot_needed(evidence: Evidence, state: State) -> bool | None:
    """Return True if a reboot is needed. A patched kernel needs none, even if a newer kernel is installed."""
    if state in ("tampered", "end_of_life", "upgrade_required") or evidence.client.patch_state == "applied-with-bug":
        return True
    if state == "protected":
        return False
    if state == "unknown":
        return None
    running, newest = evidence.facts.kernel.release, evidence.facts.newest_installed
    return None if running is None or newest is None else running != newest
