# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decide how long a host may wait for its patch.

One answer of a host does not show when it began to wait: each hourly check of its client offers the patch again.
Therefore a record keeps the time since which its host waits, and the next check of the host continues from there.
Decision 0023 has the reasons.
"""

from __future__ import annotations

import datetime

from ..._record import Reason
from ..._time import parse_time
from .. import causes
from .evidence import CLOCK_TOLERANCE, Evidence
from .failures import with_log


def applying_reasons(evidence: Evidence) -> list[Reason]:
    """Return why the host waits for its patch; an empty list if it does not, or if it has waited for too long."""
    return [] if _waits_too_long(evidence) else _waiting(evidence)


def applying_too_long(evidence: Evidence) -> list[Reason]:
    """Return the reason if the host has waited for its patch for longer than the limit of the policy."""
    waiting = _waiting(evidence)
    if not waiting or not _waits_too_long(evidence):
        return []
    minutes = int(evidence.policy.applying_limit.total_seconds() // 60)
    return [with_log(evidence, causes.APPLYING_TOO_LONG.reason(waiting[0]["message"], minutes=minutes))]


def waiting_since(evidence: Evidence) -> datetime.datetime | None:
    """Return the time since which the host waits, by the controller's clock; None if it does not wait.

    Without an earlier record, it is the latest time at which the wait can have begun: the last check, or the boot of a
    client that has not checked since.
    """
    if not _waiting(evidence):
        return None
    now, boot = evidence.collected_at, evidence.booted_at
    known = [time for time in (_last_offer(evidence), _earlier(evidence)) if time is not None]
    # Nothing that happened before the boot is still going on. A client that has not checked since waits since the boot.
    earliest = now if boot is None else boot
    since = min(known, default=now if _offers_patch(evidence) else earliest)
    return min(now, since if boot is None else max(since, boot))


def _waiting(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if not evidence.reports_status:
        return []
    if _in_transition(evidence):
        return [causes.IN_TRANSITION.reason()]
    if client.patch_state in ("unapplied", "applying"):
        return [causes.NOT_YET_APPLIED.reason(state=client.patch_state)]
    if client.check_state == "needs-check":
        return [causes.NEEDS_CHECK.reason()]
    if client.check_state == "check-failed":
        return [causes.CHECK_FAILED_AFTER_BOOT.reason()]
    return []


def _in_transition(evidence: Evidence) -> bool:
    return any(patch["enabled"] and patch["transition"] for patch in evidence.patches)


def _offers_patch(evidence: Evidence) -> bool:
    """Return True if the last check of the client has offered the patch for which the host waits."""
    return _in_transition(evidence) or evidence.client.check_state not in ("needs-check", "check-failed")


def _last_offer(evidence: Evidence) -> datetime.datetime | None:
    """Return the time at which the client last saw the patch; None if it is not known, or from a wrong clock."""
    age, skew = evidence.check_age, evidence.clock_skew
    if age is None or skew is None or abs(skew) > CLOCK_TOLERANCE or not _offers_patch(evidence):
        return None
    return evidence.client.last_check if age <= evidence.policy.stale_after else None


def _waits_too_long(evidence: Evidence) -> bool:
    """Return True if the host has waited for longer than the limit.

    The time since the last check of the client is known without an earlier record. Where the last check is too old for
    any statement, the state is ``stale``.
    """
    limit, uptime = evidence.policy.applying_limit, evidence.facts.uptime
    if uptime is not None and uptime <= limit:
        return False
    age = evidence.check_age
    if age is None or not _offers_patch(evidence):
        return True
    since = waiting_since(evidence)
    if _earlier(evidence) is not None and since is not None and evidence.collected_at - since > limit:
        return True
    return limit < age <= max(limit, evidence.policy.stale_after) or age < -CLOCK_TOLERANCE


def _earlier(evidence: Evidence) -> datetime.datetime | None:
    """Return the time since which the host waits according to its earlier record; None if that wait has ended.

    It has ended if the host was not waiting then, or if the kernel has loaded a patch completely in the meantime. A
    patch with a higher version than the one that was not applied does not end it.
    """
    record = evidence.earlier
    if record is None:
        return None
    recorded = record["patch"].get("waiting_since")
    if recorded is None and record["assessment"]["state"] == "applying":
        # A record of a release that did not record the time.
        recorded = record["collected_at"]
    since = None if recorded is None else parse_time(recorded)
    if since is None:
        return None
    then, now = (
        {patch["module"] for patch in patches if patch["enabled"] and not patch["transition"]}
        for patches in (record["kernel_patches"], evidence.patches)
    )
    return since if then == now else None
