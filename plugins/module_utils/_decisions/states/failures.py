# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Find out why a client, its check or its patch failed.

One failure often causes others: a client that cannot apply its patch also reports a failed check. Only the cause is a
reason. All sources are used: the status, the network check, the journal of the daemon, and the release of the host.
"""

from __future__ import annotations

import collections.abc as c
import re

from ..._host.client_status import ClientError
from ..._host.error_texts.table import find_error
from ..._kernel_name import parse_lock_name
from ..._package_version import VERSION_LIMIT, version_key
from ..._record import Reason
from .. import causes
from ..cause_texts.cause import DAEMON, REFRESH, RUN_AGAIN
from ..next_steps import enable_step, refused_step, secure_boot_step, upgrade_step
from .evidence import Evidence

_NOT_A_FAILURE = frozenset({"permission_denied", "not_eligible_kernel", "platform_unsupported", "unreadable_output"})
"""Errors of the client that do not show that it has failed. The eligibility checks judge its refusals of a host."""
_REGISTRATION_REFUSED = frozenset({"bad_token", "machine_token_invalid"})
_CONNECTION_REFUSED = frozenset({"clock_wrong", "proxy_failed", "seats_used_up", "tls_untrusted", "tls_wrong_name"})
"""Errors in the journal with which a check fails, although the host itself can reach the server."""
_PLATFORM_REFUSED = {
    "not_eligible_kernel": "",
    "platform_unsupported": "refresh the snap of the client, which can be too old: snap refresh canonical-livepatch",
}
"""Refusals of the system of the host in the journal, with their next step; without one, it depends on the kernel."""
_OF_THE_HOST = frozenset(
    {"apparmor", "crash_lock", "disk_full", "file_system_read_only", "interface_not_connected", "tainted_modules"}
)
"""Errors in the journal for which the host is the cause, whatever the client was doing."""
_KEY_MISSING = re.compile(r"required key not available|key was rejected by service", re.IGNORECASE)
"""The errors with which a kernel refuses a module whose key it does not have: ENOKEY and EKEYREJECTED."""

_LIKE_A_STATUS = re.compile(r"[{}]|client-version|last-check|patchstate|fully-patched", re.IGNORECASE)
_ENDS = re.compile(
    r"\bexiting\b|\b(?:is|not) supported\b|start request repeated too quickly|scheduled restart job", re.IGNORECASE
)
"""Lines of a daemon that refuses to run, and of systemd when it starts the daemon again and again."""
_NOISE = re.compile(
    r"systemd\[[0-9]+\]: |Scheduled restart job|Start request repeated|Main process exited|Failed with result"
    r"|Started Service|Stopped Service|hold-?off time over|Unit entered failed state",
    re.IGNORECASE,
)
_QUOTED = 120  # characters
_EVIDENCE_LINES = 5


def failed_reasons(evidence: Evidence) -> list[Reason]:
    """Return why the client, its check or its patch has failed; an empty list if none has."""
    client = evidence.client
    if evidence.stale_refusal is not None:
        return [causes.PLATFORM_STALE.reason(evidence.stale_refusal[:_QUOTED])]
    locks = [lock for lock in evidence.facts.crash_locks if _lock_counts(lock, evidence)]
    reasons = _patch(evidence, locked=bool(locks)) if client.error is None else _client(evidence, client.error)
    reasons.extend(causes.CRASH_LOCK.reason(f"lock {lock}") for lock in locks)
    if not reasons and client.check_state == "check-failed" and not in_grace(evidence):
        reasons.append(check_reason(evidence))
    return reasons


def _patch(evidence: Evidence, *, locked: bool) -> list[Reason]:
    """Return why the patch failed. A client that refuses a locked patch reports it as failed."""
    facts, state = evidence.facts, evidence.client.patch_state
    if state == "applied-with-bug":
        return [with_log(evidence, causes.APPLIED_WITH_BUG.reason(step=upgrade_step(facts, evidence.policy)))]
    if state != "apply-failed":
        return []
    check = evidence.check("secure_boot")
    if (check is not None and check["status"] == "fail") or any(map(_KEY_MISSING.search, facts.client_log)):
        return [with_log(evidence, causes.KEY_MISSING.reason(step=secure_boot_step(facts, evidence.policy)))]
    if locked:
        return []
    fault = causes.CLIENT_FAILURES.get(_fault_of_host(evidence))
    reason = causes.APPLY_FAILED.reason() if fault is None else fault.reason()
    return [with_log(evidence, _followed_by(reason, REFRESH))]


def _followed_by(reason: Reason, step: str) -> Reason:
    """Return a reason whose remedy ends with another step than to repeat a task."""
    return {**reason, "remedy": str(reason["remedy"]).replace(f", {RUN_AGAIN}", f"; then {step}")}


def _client(evidence: Evidence, error: ClientError) -> list[Reason]:
    fault = causes.CLIENT_FAILURES.get(_fault_of_host(evidence)) if error.id == "daemon_down" else None
    if fault is not None:
        return [with_log(evidence, _followed_by(fault.reason(), f"restart the daemon: systemctl restart {DAEMON}"))]
    if error.id == "daemon_down":
        ends = any(map(_ENDS.search, evidence.facts.client_log))
        return [with_log(evidence, (causes.DAEMON_ENDS if ends else causes.DAEMON_DOWN).reason())]
    if error.id == "unreadable_output" and error.text and not _LIKE_A_STATUS.search(error.text):
        known = find_error("client", error.text)
        if known is not None and not known[0].is_status and known[0].id in causes.CLIENT_FAILURES:
            return [with_log(evidence, causes.CLIENT_FAILURES[known[0].id].reason(error.text[:_QUOTED]))]
        # Another program printed it in place of the client, which cannot be run.
        return [causes.UNREADABLE_OUTPUT.reason(error.text[:_QUOTED])]
    if error.id in _NOT_A_FAILURE or error.id not in causes.CLIENT_ERRORS:
        return []
    return [with_log(evidence, causes.CLIENT_ERRORS[error.id].reason())]


def with_log(evidence: Evidence, reason: Reason) -> Reason:
    """Return a reason with the last line that the daemon wrote itself, and with its last lines as evidence."""
    log = evidence.facts.client_log
    if not log:
        return reason
    last = next((line for line in reversed(log) if not _NOISE.search(line)), log[-1])
    said = last if len(last) <= _QUOTED else f"{last[: _QUOTED - 1]}…"
    message = f"{reason['message']}; the last words in its journal: {said}"
    return {**reason, "message": message, "evidence": list(log[-_EVIDENCE_LINES:])}


def check_reason(evidence: Evidence) -> Reason:
    """Return why the client could not ask its server, by the network check of the host and the client's journal."""
    network = evidence.check("network")
    if network is not None and network["status"] == "fail" and network["remedy"] is not None:
        return causes.CHECK_WITHOUT_NETWORK.reason(problem=network["message"], remedy=network["remedy"])
    fault = causes.CLIENT_FAILURES.get(_fault_of_host(evidence))
    if fault is not None:
        problem = causes.CHECK_WITHOUT_NETWORK.reason(
            problem=fault.message, remedy=str(fault.remedy).removesuffix(f", {RUN_AGAIN}")
        )
        return with_log(evidence, problem)
    last = _last_error(evidence)
    if last in _REGISTRATION_REFUSED:
        step = enable_step(evidence.facts, evidence.policy)
        return with_log(evidence, causes.CHECK_NOT_ACCEPTED.reason(step=step))
    if last in _PLATFORM_REFUSED:
        remedy = _PLATFORM_REFUSED[last] or refused_step(evidence.facts, evidence.policy)
        message = causes.CLIENT_FAILURES[last].message
        return with_log(evidence, causes.CHECK_WITHOUT_NETWORK.reason(problem=message, remedy=remedy))
    if last in _CONNECTION_REFUSED:
        cause = causes.CLIENT_FAILURES[last].reason()
        problem = causes.CHECK_WITHOUT_NETWORK.reason(problem=cause["message"], remedy=cause["remedy"])
        return with_log(evidence, problem)
    # An answer of the server also shows that the host reaches it.
    if last != "server_error" and (network is None or network["status"] != "pass"):
        return with_log(evidence, causes.CHECK_FAILED.reason())
    if last == "server_unreachable" or (last is None and _not_checked_since_boot(evidence)):
        return with_log(evidence, causes.CHECK_BEFORE_NETWORK.reason())
    return with_log(evidence, causes.CHECK_REFUSED.reason())


def _errors(evidence: Evidence) -> c.Iterator[str]:
    """Yield the ids of the known errors in the journal of the client, the last one first."""
    found = (find_error("client", line) for line in reversed(evidence.facts.client_log))
    return (error[0].id for error in found if error is not None)


def _last_error(evidence: Evidence) -> str | None:
    return next(_errors(evidence), None)


def _fault_of_host(evidence: Evidence) -> str:
    """Return the last error in the journal for which the host is the cause; empty without one."""
    return next((error for error in _errors(evidence) if error in _OF_THE_HOST), "")


def _not_checked_since_boot(evidence: Evidence) -> bool:
    last, boot = evidence.client.last_check, evidence.booted_at
    return last is not None and boot is not None and last < boot


def _lock_counts(lock: str, evidence: Evidence) -> bool:
    """Return False for a lock of another kernel, and for one of a patch that the applied patch has replaced.

    A lock of a newer patch withholds it from the host.
    """
    client, full = evidence.client, evidence.facts.kernel.full
    module = parse_lock_name(lock)
    if full is not None and (module is None or not module.is_for(full)):
        return False
    if client.patch_state != "applied" or module is None:
        return True
    return version_key(lock.rpartition("_")[2]) >= version_key((client.patch_version or "")[:VERSION_LIMIT])


def in_grace(evidence: Evidence) -> bool:
    """Return True shortly after boot, while a failed check is normal."""
    uptime = evidence.facts.uptime
    return uptime is not None and uptime <= evidence.policy.check_grace
