# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""All witnesses, one word: the state of a host, why, and what to do next.

Three witnesses are heard: the client, the kernel's sysfs, and the signature of the loaded module. The rules stand
in the order of `_record.STATES`; the first that matches decides.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime

from .._host import client_status
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._kernel_name import module_name, parse_lock_name
from .._record import Assessment, Eligibility, KernelPatch, Reason, State
from .patch_verification import PatchFault
from .policy import Policy

_SOON = datetime.timedelta(days=30)

_UPGRADE = "upgrade the kernel and reboot"
_ENABLE = "enable the client with a token: canonical-livepatch enable"
_LOCKS = "/var/snap/canonical-livepatch/common/locks"


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one host when it is judged. `faults` are what speaks against its loaded patches."""

    facts: HostFacts
    policy: Policy
    eligibility: Eligibility
    patches: c.Sequence[KernelPatch]
    faults: c.Sequence[PatchFault] = ()

    @property
    def client(self) -> ClientStatus:
        return self.facts.client or _NO_CLIENT

    @property
    def kernel_shows_patch(self) -> bool:
        """The kernel itself lists the client's patch for this kernel as enabled, and not in transition."""
        full = self.facts.kernel.full or self.client.kernel
        return any(
            patch["enabled"] and not patch["transition"] and self._is_clients_patch(patch["module"], full)
            for patch in self.patches
        )

    def _is_clients_patch(self, module: str, full: str | None) -> bool:
        version = self.client.patch_version
        return full is not None and version is not None and module == module_name(full, version)


_NO_CLIENT = client_status.ClientStatus(enabled=False)


def assess(evidence: Evidence) -> Assessment:
    """Judge a host that answered."""
    for state, rule in _RULES:
        reasons = rule(evidence)
        if reasons:
            return Assessment(
                state=state,
                reasons=[*reasons, *_reminders(evidence, state)],
                reboot_needed=_reboot_needed(evidence, state),
            )
    return Assessment(state="unknown", reasons=_unknown(evidence), reboot_needed=None)


def _reason(identifier: str, message: str, remedy: str | None = None) -> Reason:
    return Reason(id=identifier, message=message, remedy=remedy)


def _tampered(evidence: Evidence) -> list[Reason]:
    return [_reason(fault.id, fault.message, fault.remedy) for fault in evidence.faults]


def _ineligible(evidence: Evidence) -> list[Reason]:
    enabled = evidence.client.enabled
    # An enabled host once reached the server: that it does not now is trouble, and no reason to refuse it.
    reasons = [
        _reason(check["id"], check["message"], check["remedy"])
        for check in evidence.eligibility["checks"]
        if check["status"] == "fail" and not (enabled and check["id"] == "network")
    ]
    if reasons and enabled:
        reasons.append(
            _reason(
                "enabled_though_ineligible",
                "the client is enabled on this host all the same",
                "canonical-livepatch disable, or admit the host in the policy",
            )
        )
    return reasons


def _failed(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    reasons = []
    if client.error is not None and client.error.id in _CLIENT_FAILURES:
        message, remedy = _CLIENT_FAILURES[client.error.id]
        reasons.append(_reason(client.error.id, message, remedy))
    if client.patch_state in _PATCH_FAILURES:
        message, remedy = _PATCH_FAILURES[client.patch_state]
        reasons.append(_reason(client.patch_state.replace("-", "_"), message, remedy))
    reasons.extend(
        _reason(
            "crash_lock",
            f"the client refuses a patch that may have crashed the kernel before (lock {lock})",
            f"find out why the kernel crashed, then remove {_LOCKS}/{lock} and refresh",
        )
        for lock in evidence.facts.crash_locks
        if _lock_counts(lock, evidence)
    )
    if client.check_state == "check-failed" and not _in_grace(evidence):
        reasons.append(
            _reason(
                "check_failed",
                "the client's last check with the server failed",
                "check the way to the server (network, proxy, ca-certs), then: canonical-livepatch refresh",
            )
        )
    return reasons


_CLIENT_FAILURES = {
    "daemon_down": (
        "the client's daemon does not answer",
        "systemctl restart snap.canonical-livepatch.canonical-livepatchd",
    ),
    "timed_out": (
        "the client did not answer in time",
        "systemctl restart snap.canonical-livepatch.canonical-livepatchd",
    ),
    "apparmor": ("AppArmor keeps the client from running", "check the host's AppArmor and its log (journalctl -k)"),
    "interface_not_connected": (
        "the client may not load modules: its snap interface is not connected",
        "snap connect canonical-livepatch:kernel-module-control",
    ),
    "not_executable": ("the client cannot be started", "snap refresh canonical-livepatch"),
}
_PATCH_FAILURES = {
    "apply-failed": (
        "the client could not apply its patch",
        "read `journalctl -u snap.canonical-livepatch.canonical-livepatchd`, then: canonical-livepatch refresh",
    ),
    "applied-with-bug": ("the applied patch has a known bug", _UPGRADE),
}


def _lock_counts(lock: str, evidence: Evidence) -> bool:
    """A lock for another kernel, or for another patch than the one that is applied, is only a remnant."""
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
    return end_of_life_reasons(evidence.client, _today(evidence.facts))


def end_of_life_reasons(client: ClientStatus, today: datetime.date | None) -> list[Reason]:
    """Why the running kernel gets no patches any more; none where it does, or where that is not known."""
    if client.supported == "kernel-end-of-life":
        return [_reason("kernel_end_of_life", "the service has ended its support of this kernel", _UPGRADE)]
    if client.upgrade_required_by is not None and today is not None and client.upgrade_required_by < today:
        message = f"this kernel has had no patches since {client.upgrade_required_by.isoformat()}"
        return [_reason("upgrade_date_passed", message, _UPGRADE)]
    return []


def _today(facts: HostFacts) -> datetime.date | None:
    return facts.now.date() if facts.now is not None else None


def _upgrade_required(evidence: Evidence) -> list[Reason]:
    return upgrade_required_reasons(evidence.client)


def upgrade_required_reasons(client: ClientStatus) -> list[Reason]:
    """Why only a newer kernel helps, in the client's word."""
    if "kernel-upgrade-required" in (client.patch_state, client.supported):
        message = "this kernel cannot be live patched any further: only a newer kernel helps"
        return [_reason("kernel_upgrade_required", message, _UPGRADE)]
    return []


def _disabled(evidence: Evidence) -> list[Reason]:
    if evidence.eligibility["verdict"] != "eligible":
        return []
    if evidence.facts.client_installed is False:
        remedy = "install the client (snap install canonical-livepatch) and enable it with a token"
        return [_reason("not_installed", "eligible, and the client is not installed", remedy)]
    if evidence.client.enabled is False:
        return [_reason("not_enabled", "eligible, and the client is not enabled", _ENABLE)]
    return []


def _stale(evidence: Evidence) -> list[Reason]:
    last, now = evidence.client.last_check, evidence.facts.now
    if not evidence.client.enabled or last is None or now is None or now - last <= evidence.policy.stale_after:
        return []
    message = f"the client last reached the server on {last:%Y-%m-%d %H:%M} UTC, {_age(now - last)} ago"
    return [_reason("check_too_old", message, "check the way to the server, then: canonical-livepatch refresh")]


def _age(span: datetime.timedelta) -> str:
    return f"{span.days} days" if span.days >= 2 else f"{int(span.total_seconds() // 3600)} hours"


def _applying(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if any(patch["enabled"] and patch["transition"] for patch in evidence.patches):
        message = "the kernel is still moving tasks over to the patch"
        return [_reason("in_transition", message, "wait; tasks that hold it up show in /proc/<pid>/patch_state")]
    if client.patch_state in ("unapplied", "applying"):
        remedy = "wait, or: canonical-livepatch refresh"
        return [_reason("not_yet_applied", f"the patch is {client.patch_state}", remedy)]
    if client.check_state == "needs-check":
        return [_reason("needs_check", "the client has not checked with the server yet", "canonical-livepatch refresh")]
    if client.check_state == "check-failed":
        message = "the first check after boot failed, as it does before the network is up; the client tries again"
        return [_reason("check_failed_after_boot", message, "wait some minutes, then check again")]
    return []


def _unverified(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if client.patch_state != "applied" or not _words_known(client) or evidence.kernel_shows_patch:
        return []
    if evidence.facts.patches is None:
        message = f"the client says that patch {client.patch_version} is applied; the kernel's sysfs could not be read"
        return [_reason("kernel_not_readable", message, "run as root: add --become")]
    message = f"the client says that patch {client.patch_version} is applied; the kernel does not show it"
    return [_reason("kernel_disagrees", message, "canonical-livepatch refresh; if it stays so, reboot")]


def _protected(evidence: Evidence) -> list[Reason]:
    client = evidence.client
    if not client.enabled or not _words_known(client):
        return []
    if client.patch_state == "applied":
        levels = {patch["verification"]["level"] for patch in evidence.patches if patch["enabled"]}
        witnesses = "client, kernel and signature agree" if levels & _SIGNATURE_LEVELS else "client and kernel agree"
        return [_reason("applied", f"patch {client.patch_version} is applied: {witnesses}")]
    if client.patch_state == "nothing-to-apply" and _speaks_of_this_kernel(evidence):
        return [_reason("nothing_to_apply", "there is nothing to apply for this kernel")]
    return []


_SIGNATURE_LEVELS = {"file", "digest", "kernel"}


def _words_known(client: ClientStatus) -> bool:
    """Only words that are known to be good count as good; old clients leave some of them out."""
    return client.check_state in ("checked", None) and client.supported in ("supported", None)


def _speaks_of_this_kernel(evidence: Evidence) -> bool:
    full, said = evidence.facts.kernel.full, evidence.client.kernel
    return full is None or said is None or full == said


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
    if client.error is not None and client.error.id == "permission_denied":
        reasons.append(_reason(client.error.id, "the client answers only root here", "run as root: add --become"))
    elif client.error is not None:
        message = f"the client's answer could not be understood: {client.error.text}"
        reasons.append(_reason(client.error.id, message, "run `canonical-livepatch status` on the host"))
    if client.enabled and client.error is None:
        said = ", ".join(filter(None, (client.check_state, client.patch_state, client.supported))) or "nothing"
        message = f"the client says {said}, which this version of the collection does not know to be good"
        reasons.append(_reason("client_words_unknown", message, "upgrade the collection, or look at the host"))
    reasons.extend(
        _reason(check["id"], check["message"], check["remedy"])
        for check in evidence.eligibility["checks"]
        if check["status"] == "unknown"
    )
    if not evidence.facts.complete:
        reasons.append(_reason("answer_cut_short", "the host's answer broke off", "run the check again"))
    return reasons or [_reason("nothing_known", "the host gave too little to judge it", "run the check again as root")]


def _reminders(evidence: Evidence, state: State) -> list[Reason]:
    """What an operator should know besides the reason that decided."""
    reasons = []
    due, today = evidence.client.upgrade_required_by, _today(evidence.facts)
    if state not in ("end_of_life", "upgrade_required") and due is not None and today is not None:
        left = due - today
        if datetime.timedelta(0) <= left <= _SOON:
            message = f"patches for this kernel end on {due.isoformat()}, in {left.days} days"
            reasons.append(_reason("upgrade_due_soon", message, _UPGRADE))
    if state != "ineligible":
        reasons.extend(
            _reason(check["id"], check["message"], check["remedy"])
            for check in evidence.eligibility["checks"]
            if check["id"] == "network" and check["status"] in ("fail", "warn")
        )
    return reasons


def _reboot_needed(evidence: Evidence, state: State) -> bool | None:
    """A running kernel that is patched needs no reboot, even where a newer one is installed."""
    if state in ("tampered", "end_of_life", "upgrade_required") or evidence.client.patch_state == "applied-with-bug":
        return True
    if state == "protected":
        return False
    running, newest = evidence.facts.kernel.release, evidence.facts.newest_installed
    return None if running is None or newest is None else running != newest
