# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Evaluate the facts of a host against a policy: a list of checks and a verdict.

A check whose facts are missing is ``unknown``, never ``pass``.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re
import typing as t
import urllib.parse

from .._host import loaded_patches
from .._host.client_status import stale_platform
from .._host.facts import HostFacts, ServerReachability
from .._record import Check, CheckStatus, Eligibility, EligibilityVerdict, Reason
from .._text import mask_credentials
from . import causes, next_steps
from .cause_texts.cause import Cause
from .policy import AdmittedSystem, Policy

FIXED_BY_CLIENT = frozenset({"snapd", "snapd_seeded"})
"""Checks that do not prevent enabling: the module `client` installs and upgrades snapd, and waits for it."""

# Kernels built since this date contain Canonical's live patch key (Ubuntu Pro documentation on Secure Boot).
_KEY_BUILT_IN_SINCE = datetime.datetime(2021, 4, 1, tzinfo=datetime.timezone.utc)

_CLOCK_TOLERANCE = datetime.timedelta(minutes=5)

_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,5}")
_DISTRIBUTIONS = {"ubuntu": "Ubuntu"}


@dataclasses.dataclass(frozen=True, slots=True)
class KernelSupport:
    """The server's answer for a kernel: `state` is one of `SUPPORT_STATES`, or None with the `reason`."""

    state: str | None
    reason: str = ""


def assess_eligibility(
    facts: HostFacts,
    policy: Policy,
    kernel_support: KernelSupport | None = None,
    *,
    collected_at: datetime.datetime,
    alternative: Policy | None = None,
) -> Eligibility:
    """Evaluate a host against a policy.

    `kernel_support` is the server's answer for the running kernel. Without it, the status of the client counts.
    `collected_at` is the time by the controller's clock. Ages are computed with it, because the clock of a host can be
    wrong. `alternative` is another policy, which the checks name if it covers a system that this policy refuses.
    """
    facts = dataclasses.replace(facts, asked_at=collected_at)
    # A container comes first, because the other checks then describe the machine that runs it.
    checks = [
        _container(facts),
        *_system_checks(facts, policy, kernel_support, collected_at),
        *_host_checks(facts, policy, kernel_support, collected_at),
    ]
    if alternative is not None and _covers_instead(checks, facts, alternative, kernel_support, collected_at):
        checks = _with_alternative(checks, policy, alternative)
    return Eligibility(policy=policy.name, verdict=_verdict(checks), checks=checks)


def _verdict(checks: c.Sequence[Check]) -> EligibilityVerdict:
    statuses = {check["status"] for check in checks}
    if "fail" in statuses:
        return "ineligible"
    return "unknown" if "unknown" in statuses else "eligible"


def _passed(identifier: str, message: str, *, found: str | None = None, required: str | None = None) -> Check:
    return Check(id=identifier, status="pass", found=found, required=required, message=message, remedy=None)


def _unmet(
    status: CheckStatus,
    reason: Reason,
    *,
    identifier: str | None = None,
    found: str | None = None,
    required: str | None = None,
) -> Check:
    """Return a check that is not passed. Its id is that of the reason unless another one is given."""
    return Check(
        id=identifier or reason["id"],
        status=status,
        found=found,
        required=required,
        message=reason["message"],
        remedy=reason["remedy"],
    )


# --- the systems of the policy: each check narrows the rows for the next one ---


class _Criterion(t.NamedTuple):
    """A value by which a policy selects systems.

    `covered` returns the values of a row. `step` returns the next step of a host with another value. Where the policy
    lets the service decide, `by_service` criteria do not refuse a kernel that the service supports.
    """

    refused: Cause
    unknown: Cause
    covered: c.Callable[[AdmittedSystem], c.Sequence[str]]
    step: c.Callable[[HostFacts, Policy], str] | None = None
    by_service: bool = False


_DISTRIBUTION = _Criterion(causes.DISTRIBUTION, causes.DISTRIBUTION_UNKNOWN, lambda row: [row.distribution])
_DERIVATIVE = _DISTRIBUTION._replace(refused=causes.DISTRIBUTION_DERIVED)
_RELEASE = _Criterion(
    causes.RELEASE, causes.RELEASE_UNKNOWN, lambda row: [row.release], next_steps.release_step, by_service=True
)
_ARCHITECTURE = _Criterion(
    causes.ARCHITECTURE, causes.ARCHITECTURE_UNKNOWN, lambda row: [row.architecture], next_steps.architecture_step
)
_MIXED_ARCHITECTURE = _ARCHITECTURE._replace(refused=causes.ARCHITECTURE_32_BIT)
_SERIES = _Criterion(
    causes.KERNEL_SERIES, causes.KERNEL_SERIES_UNKNOWN, lambda row: [row.series], next_steps.boot_step, by_service=True
)
_FLAVOUR = _Criterion(
    causes.FLAVOUR, causes.FLAVOUR_UNKNOWN, lambda row: row.flavours, next_steps.boot_step, by_service=True
)


def _system_checks(
    facts: HostFacts, policy: Policy, kernel_support: KernelSupport | None, collected_at: datetime.datetime
) -> c.Iterator[Check]:
    is_derivative = "ubuntu" in facts.os_release.get("ID_LIKE", "").split()
    is_mixed = facts.architecture == "i386" and facts.machine == "x86_64"
    criteria = (
        (_DERIVATIVE if is_derivative else _DISTRIBUTION, facts.distribution),
        (_RELEASE, facts.release),
        (_MIXED_ARCHITECTURE if is_mixed else _ARCHITECTURE, facts.architecture),
        (_SERIES, facts.kernel.series),
        (_FLAVOUR, facts.kernel.flavour),
    )
    supported = policy.service_decides and _is_reported_supported(facts, kernel_support)
    rows: c.Sequence[AdmittedSystem] = policy.systems
    matched = True
    for criterion, found in criteria:
        kept = [row for row in rows if found in criterion.covered(row)]
        yield _system_check(criterion, found, rows, facts, policy, supported=supported)
        matched = matched and bool(kept)
        # If no row covers the value, all rows are kept, so that the next check can still be evaluated.
        rows = kept or rows
    if matched:
        yield from _age_check(facts, rows, policy, _support_state(facts, kernel_support), collected_at)


def _system_check(
    criterion: _Criterion,
    found: str | None,
    rows: c.Sequence[AdmittedSystem],
    facts: HostFacts,
    policy: Policy,
    *,
    supported: bool,
) -> Check:
    """Return the check of one value against the rows. `supported` is true if the service supports the kernel."""
    values = [value for row in rows for value in criterion.covered(row)]
    required, identifier = " or ".join(dict.fromkeys(values)), criterion.refused.id
    if found is None:
        return _unmet("unknown", criterion.unknown.reason(), required=required)
    if found in values:
        return _passed(identifier, f"{found} is covered by policy '{policy.name}'", found=found, required=required)
    if supported and criterion.by_service:
        message = f"{found} is not listed in policy '{policy.name}', but the service supports the running kernel"
        return _passed(identifier, message, found=found, required=required)
    distribution = facts.distribution or "release"
    reason = criterion.refused.reason(
        found=found,
        required=required,
        policy=policy.name,
        distribution=_DISTRIBUTIONS.get(distribution, distribution),
        step=criterion.step(facts, policy) if criterion.step else None,
    )
    return _unmet("fail", reason, found=found, required=required)


def _is_reported_supported(facts: HostFacts, kernel_support: KernelSupport | None) -> bool:
    """Return True if the server, or else the client, reports that the service supports exactly the running kernel."""
    if kernel_support is not None and kernel_support.state is not None:
        return kernel_support.state == "supported"
    client, running = facts.client, facts.kernel.full
    return client is not None and running is not None and client.kernel == running and client.supported == "supported"


_OF_THE_POLICY = frozenset({"release", "kernel_series", "flavour"})
"""Checks that another policy can decide differently."""
_OF_THE_SETUP = frozenset({*FIXED_BY_CLIENT, "secure_boot", "network"})
"""Checks that can fail on a host that is eligible once it has been set up."""


def _covers_instead(
    checks: c.Sequence[Check],
    facts: HostFacts,
    alternative: Policy,
    kernel_support: KernelSupport | None,
    collected_at: datetime.datetime,
) -> bool:
    """Return True if the host is refused for its system only, and the alternative policy covers this system."""
    failed = {check["id"] for check in checks if check["status"] == "fail"}
    if not failed & _OF_THE_POLICY or failed - _OF_THE_POLICY - _OF_THE_SETUP:
        return False
    by_alternative = _system_checks(facts, alternative, kernel_support, collected_at)
    return all(check["status"] == "pass" or check["id"] == "kernel_age" for check in by_alternative)


def _with_alternative(checks: c.Sequence[Check], policy: Policy, alternative: Policy) -> list[Check]:
    """Return the checks with the alternative policy as the next step, and one more check that reports count."""
    step = next_steps.other_policy_step(alternative.name)
    named = [
        Check(**{**check, "remedy": step}) if check["status"] == "fail" and check["id"] in _OF_THE_POLICY else check
        for check in checks
    ]
    reason = causes.OTHER_POLICY.reason(policy=alternative.name, step=step)
    return [*named, _unmet("warn", reason, found=policy.name, required=alternative.name)]


def _age_check(
    facts: HostFacts,
    rows: c.Sequence[AdmittedSystem],
    policy: Policy,
    state: str | None,
    collected_at: datetime.datetime,
) -> c.Iterator[Check]:
    """Compare the age of the kernel with the months in the policy, after which a kernel gets no more patches.

    There is no such check without these months. If the age is unknown, the support state that the service reports is
    better evidence.
    """
    months = max((row.upgrade_within_months for row in rows if row.upgrade_within_months is not None), default=None)
    if months is None:
        return
    required = f"at most {months} months"
    built = facts.kernel.build_date
    if built is None or built > collected_at + _CLOCK_TOLERANCE:
        yield _age_by_state(facts, policy, state, required)
        return
    age = max((collected_at - built).days, 0) * 12 // 365
    found = f"{age} months"
    if age <= months:
        yield _passed("kernel_age", f"the kernel is {age} months old", found=found, required=required)
    else:
        reason = causes.KERNEL_AGE.reason(
            age=age, months=months, step=next_steps.upgrade_step(facts, policy, forced=True)
        )
        yield _unmet("warn", reason, found=found, required=required)


def _age_by_state(facts: HostFacts, policy: Policy, state: str | None, required: str) -> Check:
    """Return the check for a kernel whose age is not known, by its support state."""
    built = facts.kernel.build_date
    problem = "its build date is unknown" if built is None else f"its build date {built:%Y-%m-%d} is in the future"
    if state == "supported":
        message = f"the service supports this kernel; {problem}"
        return _passed("kernel_age", message, found=state, required=required)
    if state in ("kernel-upgrade-required", "kernel-end-of-life"):
        step = next_steps.upgrade_step(facts, policy, forced=True)
        reason = causes.KERNEL_AGE_BY_STATE.reason(problem=problem, state=state, step=step)
        return _unmet("warn", reason, found=state, required=required)
    return _unmet("unknown", causes.KERNEL_AGE_UNKNOWN.reason(problem=problem), required=required)


# --- conditions that do not depend on the systems of the policy ---


def _host_checks(
    facts: HostFacts, policy: Policy, kernel_support: KernelSupport | None, collected_at: datetime.datetime
) -> c.Iterator[Check]:
    yield _kernel_origin(facts, policy)
    yield _kernel_livepatch(facts, policy)
    yield _kernel_conflict(facts, policy)
    yield from _kernel_supported(facts, policy, kernel_support)
    yield _snapd(facts, policy.snapd_minimum)
    if facts.snapd.seeded is not None:
        yield _seeded(facts.snapd.seeded)
    yield _privileges(facts)
    yield _secure_boot(facts, policy)
    if facts.reachability:
        yield _network(facts, policy, collected_at)
    yield _desktop(facts)


def _kernel_origin(facts: HostFacts, policy: Policy) -> Check:
    kernel = facts.kernel
    required = "a kernel built by Ubuntu"
    if kernel.origin == "ubuntu":
        return _passed("kernel_origin", "the kernel was built by Ubuntu", found=kernel.full, required=required)
    if kernel.origin == "unknown" and kernel.full is not None and kernel.release is not None:
        step = next_steps.boot_step(facts, policy)
        reason = causes.KERNEL_NOT_OF_ARCHIVE.reason(evidence=kernel.origin_reason, step=step)
        return _unmet("unknown", reason, found=kernel.full, required=required)
    if kernel.origin == "unknown":
        reason = causes.KERNEL_ORIGIN_UNKNOWN.reason(evidence=kernel.origin_reason)
        return _unmet("unknown", reason, found=kernel.release, required=required)
    reason = causes.KERNEL_ORIGIN.reason(
        origin=kernel.origin, evidence=kernel.origin_reason, step=next_steps.boot_step(facts, policy)
    )
    return _unmet("fail", reason, found=kernel.release, required=required)


def _kernel_livepatch(facts: HostFacts, policy: Policy) -> Check:
    required = "a kernel with CONFIG_LIVEPATCH"
    if facts.livepatch_in_kernel is None:
        return _unmet("unknown", causes.KERNEL_LIVEPATCH_UNKNOWN.reason(), required=required)
    if facts.livepatch_in_kernel:
        return _passed("kernel_livepatch", "the kernel supports live patching", found="yes", required=required)
    reason = causes.KERNEL_LIVEPATCH.reason(step=next_steps.boot_step(facts, policy))
    return _unmet("fail", reason, found="no /sys/kernel/livepatch", required=required)


def _kernel_conflict(facts: HostFacts, policy: Policy) -> Check:
    kernel = facts.kernel
    found, required = kernel.flavour, "no realtime kernel, no FIPS-certified kernel"
    if kernel.realtime:
        reason = causes.KERNEL_REALTIME.reason(step=next_steps.boot_step(facts, policy))
        return _unmet("fail", reason, found=found, required=required)
    if kernel.release is None:
        return _unmet("unknown", causes.KERNEL_CONFLICT_UNKNOWN.reason(), required=required)
    if not kernel.fips or facts.fips_updates:
        message = "the kernel is neither a realtime kernel nor FIPS-certified"
        return _passed("kernel_conflict", message, found=found, required=required)
    reason = causes.KERNEL_FIPS.reason(step=next_steps.boot_step(facts, policy))
    return _unmet("fail", reason, found=found, required=required)


def _kernel_supported(facts: HostFacts, policy: Policy, kernel_support: KernelSupport | None) -> c.Iterator[Check]:
    """Check the support state that the server reports, or else the client. Without either, there is no check."""
    required = "a kernel that the service supports"
    state = _support_state(facts, kernel_support)
    if state is None:
        if kernel_support is not None:
            reason = causes.SUPPORT_NOT_REPORTED.reason(kernel_support.reason)
            yield _unmet("unknown", reason, required=required)
    elif state == "supported":
        yield _passed("kernel_supported", "the service supports this kernel", found=state, required=required)
    else:
        status, cause = _UNSUPPORTED.get(state, ("unknown", causes.KERNEL_NOT_KNOWN))
        find_step = next_steps.refused_step if status == "fail" else next_steps.upgrade_step
        reason = cause.reason(step=find_step(facts, policy))
        yield _unmet(status, reason, identifier="kernel_supported", found=state, required=required)


_UNSUPPORTED: dict[str, tuple[CheckStatus, Cause]] = {
    "kernel-upgrade-required": ("warn", causes.KERNEL_UPGRADE_REQUIRED),
    "kernel-end-of-life": ("warn", causes.KERNEL_END_OF_LIFE),
    "unsupported": ("fail", causes.KERNEL_UNSUPPORTED),
}
"""Status and cause by the support state of a kernel."""


def _support_state(facts: HostFacts, kernel_support: KernelSupport | None) -> str | None:
    """Return the support state that the server reports, or else the client."""
    return (kernel_support.state if kernel_support is not None else None) or _support_from_client(facts)


def _support_from_client(facts: HostFacts) -> str | None:
    """Return the support state that the client reports, None without one for the running kernel.

    A stale client that refuses another release than that of the host says nothing about the kernel.
    """
    client, running = facts.client, facts.kernel.full
    if client is None or (client.kernel is not None and running is not None and client.kernel != running):
        return None
    if client.error is None or client.error.id not in ("not_eligible_kernel", "platform_unsupported"):
        return client.supported
    return None if stale_platform(client.error.text, facts.release) else "unsupported"


def _container(facts: HostFacts) -> Check:
    required = "a physical or virtual machine"
    if facts.wsl:
        return _unmet("fail", causes.WSL.reason(), found="wsl", required=required)
    if facts.container is not None:
        reason = causes.CONTAINER.reason(kind=facts.container)
        return _unmet("fail", reason, found=facts.container, required=required)
    if not facts.container_known:
        return _unmet("unknown", causes.CONTAINER_UNKNOWN.reason(), required=required)
    return _passed("container", "this host is not a container", found=facts.virtualization, required=required)


def _snapd(facts: HostFacts, minimum: str) -> Check:
    snapd, required = facts.snapd, f"{minimum} or newer"
    if not snapd.installed:
        return _unmet("fail", causes.SNAPD_MISSING.reason(), found="not installed", required=required)
    numbers = version_numbers(snapd.version)
    if not numbers:
        reason = causes.SNAPD_VERSION_UNKNOWN.reason()
        return _unmet("unknown", reason, found=snapd.version, required=required)
    if numbers < version_numbers(minimum):
        reason = causes.SNAPD_OUTDATED.reason(version=snapd.version)
        return _unmet("fail", reason, found=snapd.version, required=required)
    if snapd.answers is False:
        reason = causes.SNAPD_DOWN.reason()
        return _unmet("warn", reason, identifier="snapd", found=snapd.version, required=required)
    return _passed("snapd", f"snapd {snapd.version} is new enough", found=snapd.version, required=required)


def version_numbers(version: str | None) -> tuple[int, ...]:
    """Return the leading numbers of a version: 2.15.2ubuntu1 is (2, 15, 2). Anything else is empty."""
    match = _VERSION.match(version or "")
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def _seeded(seeded: bool) -> Check:
    if seeded:
        return _passed("snapd_seeded", "snapd is initialized", found="seeded", required="seeded")
    return _unmet("warn", causes.SNAPD_SEEDED.reason(), found="not seeded", required="seeded")


def _privileges(facts: HostFacts) -> Check:
    if facts.root:
        return _passed("privileges", "the check ran as root", found="root", required="root")
    found = None if facts.root is None else "not root"
    return _unmet("unknown", causes.PRIVILEGES.reason(), found=found, required="root")


def _secure_boot(facts: HostFacts, policy: Policy) -> Check:
    required = "a kernel that trusts the live patch key"
    if facts.secure_boot is False:
        return _passed("secure_boot", "Secure Boot is disabled", found="off", required=required)
    carried = loaded_patches.has_key(facts.kernel_keys, loaded_patches.LIVE_PATCH_KEY_IDS)
    if carried:
        message = "the kernel contains the live patch key"
        return _passed("secure_boot", message, found="key carried", required=required)
    built = facts.kernel.build_date
    if built is not None and built >= _KEY_BUILT_IN_SINCE and facts.kernel.origin == "ubuntu":
        message = "Ubuntu kernels of this build date contain the live patch key"
        return _passed("secure_boot", message, found=f"built {built:%Y-%m-%d}", required=required)
    if facts.secure_boot is None:
        return _unmet("unknown", causes.SECURE_BOOT_UNKNOWN.reason(), required=required)
    if carried is None:
        return _unmet("unknown", causes.SECURE_BOOT_KEYS_UNKNOWN.reason(), found="on", required=required)
    return _unmet(
        "fail",
        causes.SECURE_BOOT.reason(step=next_steps.secure_boot_step(facts, policy)),
        found="on, no key",
        required=required,
    )


def _network(facts: HostFacts, policy: Policy, collected_at: datetime.datetime) -> Check:
    """Check that the host reaches each server that the client needs. The server with the worst result decides."""
    trusted = bool((facts.config or {}).get("ca-certs"))
    required = f"{_names(facts.reachability)} reachable"
    unreached = [each for each in facts.reachability if each.outcome == "refused"]
    untrusted = [each for each in facts.reachability if each.outcome == "untrusted"]
    unclear = [each for each in facts.reachability if each.outcome in ("no_tool", "unclear")]
    if unreached:
        reason, found = _unreachable(unreached, facts.reachability), "not reached"
        if len(unreached) < len(facts.reachability):
            found = f"{_names(unreached)} not reached"
    elif untrusted and not trusted:
        detail = mask_credentials(untrusted[0].detail)
        reason = causes.NETWORK_UNTRUSTED.reason(detail, server=_names(untrusted), tool=_tool(untrusted[0]))
        found = "certificate not trusted"
    elif unclear:
        missing = "the host has none of curl, wget, openssl and bash"
        unsure = f"the result of {_tool(unclear[0])} is not clear"
        problem = missing if unclear[0].outcome == "no_tool" else unsure
        return _unmet("unknown", causes.NETWORK_UNKNOWN.reason(problem=problem), required=required)
    elif untrusted:
        message = f"{_names(facts.reachability)} answers, and the client trusts the authorities in its setting ca-certs"
        return _passed("network", message, found="certificate not trusted", required=required)
    else:
        verb = "answers" if len(facts.reachability) == 1 else "answer"
        message = f"{_names(facts.reachability)} {verb} ({_tool(facts.reachability[0])})"
        return _passed("network", message, found="reached", required=required)
    if not _client_checked_recently(facts, policy, collected_at):
        return _unmet("fail", reason, found=found, required=required)
    # A check proves that the first server is reachable; the patches are on the other one.
    remedy = reason["remedy"] if facts.reachability[0] not in (*unreached, *untrusted) else None
    reason = Reason(id="network", message=f"{reason['message']}; but the client's last check succeeded", remedy=remedy)
    return _unmet("warn", reason, found=found, required=required)


def _unreachable(unreached: c.Sequence[ServerReachability], servers: c.Sequence[ServerReachability]) -> Reason:
    """Return the reason for servers that are not reached. The remedy has every server that the client needs."""
    first = unreached[0]
    cause = causes.NETWORK_PROXY_REFUSES if first.by_proxy else causes.NETWORK_UNREACHABLE
    hosts, ports = zip(*(_address(each.url) for each in servers), strict=True)
    return cause.reason(
        mask_credentials(first.detail),
        server=_names(unreached),
        tool=first.tool,
        port=" and ".join(dict.fromkeys(ports)),
        hosts=" and ".join(dict.fromkeys(hosts)),
    )


def _address(url: str) -> tuple[str, str]:
    """Return the name and the port of a URL that a host sent, which can be any text."""
    port = "80" if url.startswith("http:") else "443"
    try:
        address = urllib.parse.urlsplit(url)
        return address.hostname or "the server", port if address.port is None else str(address.port)
    except ValueError:
        return "the server", port


def _names(servers: c.Sequence[ServerReachability]) -> str:
    return " and ".join(mask_credentials(each.url) for each in servers)


def _tool(server: ServerReachability) -> str:
    return f"{server.tool} through the proxy" if server.by_proxy else server.tool


def _client_checked_recently(facts: HostFacts, policy: Policy, collected_at: datetime.datetime) -> bool:
    """Return True if the client reached the server itself, which is better evidence than the attempt of a tool."""
    client = facts.client
    if client is None or client.check_state != "checked" or client.last_check is None:
        return False
    return collected_at - client.last_check <= policy.stale_after


def _desktop(facts: HostFacts) -> Check:
    if not facts.desktop:
        return _passed("desktop", "no desktop session is installed", found="server")
    return _unmet("warn", causes.DESKTOP.reason(), found="desktop")
