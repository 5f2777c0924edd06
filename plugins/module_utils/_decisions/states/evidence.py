# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Everything that is known about a host, and what follows from it.

Four sources describe a host: its client, the kernel's sysfs, the signature of the loaded module, and the policy with
the support status of the kernel. Times are compared with the clock of the controller, because a host's can be wrong.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re

from ..._host.client_status import ClientStatus, stale_platform
from ..._host.facts import HostFacts
from ..._kernel_name import module_name
from ..._record import Check, Eligibility, KernelPatch, Record, State
from ..patch_verification import VerifiedPatch
from ..policy import Policy

CLOCK_TOLERANCE = datetime.timedelta(minutes=5)
"""The clocks of host and controller may differ by this much. It includes the time that an answer takes."""

_NO_CLIENT = ClientStatus(enabled=False)
_REFUSAL = re.compile(r"\b(?:is|not) supported\b|\bunsupported\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known about a host.

    `collected_at` is the time by the controller's clock when the host was asked, `answered_at` when it had answered.
    `earlier` is the last record of the host before this answer, if it is known.
    """

    facts: HostFacts
    policy: Policy
    eligibility: Eligibility
    verified: c.Sequence[VerifiedPatch]
    collected_at: datetime.datetime
    answered_at: datetime.datetime | None = None
    earlier: Record | None = None

    @property
    def client(self) -> ClientStatus:
        return self.facts.client or _NO_CLIENT

    @property
    def reports_status(self) -> bool:
        """Return True if the client is enabled and reports its status."""
        return self.client.enabled is True and self.client.error is None

    def check(self, identifier: str) -> Check | None:
        """Return the result of a check of the policy, or None if it was not made."""
        return next((check for check in self.eligibility["checks"] if check["id"] == identifier), None)

    # --- loaded patches ---

    @property
    def patches(self) -> list[KernelPatch]:
        return [each.patch for each in self.verified]

    @property
    def claimed(self) -> list[VerifiedPatch]:
        """The loaded patches with the name of the one that the client reports for the running kernel: one or none."""
        full, version = self.facts.kernel.full, self.client.patch_version
        if full is None or version is None:
            return []
        return [each for each in self.verified if each.patch["module"] == module_name(full, version)]

    @property
    def kernel_shows_patch(self) -> bool:
        """The kernel lists the patch that the client reports as enabled, and its transition is complete."""
        return any(each.patch["enabled"] and not each.patch["transition"] for each in self.claimed)

    @property
    def foreign(self) -> list[KernelPatch]:
        """Enabled patches that the client does not report, and whose file has no trusted signature.

        The kernel's acceptance is not sufficient: it accepts the keys of other programs too, such as a MOK.
        """
        if not self.reports_status:
            return []
        claimed = [] if self.client.patch_state == "nothing-to-apply" else self.claimed
        return [
            each.patch
            for each in self.verified
            if each not in claimed and each.patch["enabled"] is not False and not _signed(each.patch)
        ]

    # --- time ---

    @property
    def clock_skew(self) -> datetime.timedelta | None:
        """The time by which the clock of the host is ahead of the controller's; None if the host sent no time."""
        now, answered_at = self.facts.now, self.answered_at or self.collected_at
        if now is None:
            return None
        # The host read its clock, which it reports in whole seconds, between these two times.
        earliest = self.collected_at.replace(microsecond=0)
        return now - min(max(now, earliest), max(answered_at, earliest))

    @property
    def check_age(self) -> datetime.timedelta | None:
        """The time since the last check of the client; negative if its time is in the future."""
        last = self.client.last_check
        return None if last is None else self.collected_at - last

    @property
    def booted_at(self) -> datetime.datetime | None:
        """The time of the boot by the controller's clock; None if the uptime is unknown."""
        uptime = self.facts.uptime
        return None if uptime is None else self.collected_at - uptime

    @property
    def today(self) -> datetime.date:
        return self.collected_at.astimezone(datetime.timezone.utc).date()

    @property
    def kernel_months(self) -> int | None:
        """The age of the running kernel in months; None if its build date is unknown or in the future."""
        built = self.facts.kernel.build_date
        if built is None or built > self.collected_at + CLOCK_TOLERANCE:
            return None
        age = max(self.collected_at - built, datetime.timedelta(0))
        return age.days * 12 // 365

    @property
    def policy_months(self) -> int | None:
        """The age in months at which the running kernel gets no more patches; None if the policy does not state it."""
        facts = self.facts
        system = (facts.distribution, facts.release, facts.architecture, facts.kernel.series)
        stated = (
            row.upgrade_within_months
            for row in self.policy.systems
            if system == (row.distribution, row.release, row.architecture, row.series)
            and facts.kernel.flavour in row.flavours
        )
        return max((months for months in stated if months is not None), default=None)

    # --- support ---

    @property
    def support(self) -> frozenset[str]:
        """The support states of the running kernel that client and server report; empty if neither reports one."""
        check = self.check("kernel_supported")
        reported = (self.client.supported, check["found"] if check is not None else None)
        return frozenset(state for state in reported if state is not None)

    @property
    def stale_refusal(self) -> str | None:
        """The text by which the client refuses a release of Ubuntu that the host no longer runs; None without one.

        The text is the answer of the client, or a line in the journal of a daemon that does not answer, or whose check
        has failed.
        """
        error = self.client.error
        failed = self.client.check_state == "check-failed" if error is None else error.id == "daemon_down"
        lines = self.facts.client_log if failed else ()
        texts = ("" if error is None else error.text, *(line for line in lines if _REFUSAL.search(line)))
        return next((text for text in texts if stale_platform(text, self.facts.release)), None)


def _signed(patch: KernelPatch) -> bool:
    return patch["verification"]["level"] in ("file", "digest") and patch["verification"]["result"] == "verified"


_PATCH_MAY_RUN: frozenset[State] = frozenset(
    {"protected", "exposed", "held_back", "end_of_life", "upgrade_required", "stale", "ineligible"}
)
"""States that leave no doubt about the patch itself."""


def shows_running_patch(record: Record) -> bool:
    """Return True if a record shows that the patch whose fixes it lists is the one that runs.

    The client must report it as applied for the running kernel, and the kernel must list it as enabled and complete,
    without a failed verification.
    """
    patch, full = record["patch"], record["system"]["kernel"]["full"]
    if record["assessment"]["state"] not in _PATCH_MAY_RUN or patch["state"] != "applied":
        return False
    if full is None or patch["version"] is None or patch.get("kernel", full) != full:
        return False
    module = module_name(full, patch["version"])
    shown = [each for each in record["kernel_patches"] if each["module"] == module]
    return bool(shown) and all(
        each["enabled"] is True and not each["transition"] and each["verification"]["result"] != "failed"
        for each in shown
    )
