# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whether a host may have Livepatch: facts held against a policy, one check a rule.

A check that cannot be made is ``unknown`` with the reason, never ``pass``.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re
import typing as t

from .._host import loaded_patches
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._record import Check, CheckStatus, Eligibility, EligibilityVerdict
from .._text import mask_credentials
from .policy import AdmittedSystem, Policy

FIXED_BY_CLIENT = frozenset({"snapd", "snapd_seeded"})
"""Checks that keep no host from being enabled: the module client installs snapd, upgrades it, and waits for it."""

# Kernels built from this day on carry Canonical's live patch key (Ubuntu Pro documentation on Secure Boot).
_KEY_BUILT_IN_SINCE = datetime.datetime(2021, 4, 1, tzinfo=datetime.timezone.utc)

_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,5}")
_SNAP_KEY = "/snap/canonical-livepatch/current/keys/livepatch-kmod.x509"
_RUN_AS_ROOT = "run as root: add --become"
_UPGRADE = "upgrade the kernel and reboot"


def assess_eligibility(facts: HostFacts, policy: Policy, service_word: KernelSupport | None = None) -> Eligibility:
    """Hold a host against a policy.

    `service_word` is what the service said of this kernel when it was asked; without it the client's word counts.
    """
    # The container comes first: where it fails, it is the reason, whatever else does.
    checks = [_container(facts), *_system_checks(facts, policy), *_host_checks(facts, policy, service_word)]
    return Eligibility(policy=policy.name, verdict=_verdict(checks), checks=checks)


@dataclasses.dataclass(frozen=True, slots=True)
class KernelSupport:
    """The service's own answer for a kernel: `word` as it says it, None with a `reason` where it gave none."""

    word: str | None
    reason: str = ""


def _verdict(checks: c.Sequence[Check]) -> EligibilityVerdict:
    statuses = {check["status"] for check in checks}
    if "fail" in statuses:
        return "ineligible"
    return "unknown" if "unknown" in statuses else "eligible"


def _check(
    identifier: str,
    status: CheckStatus,
    message: str,
    *,
    found: str | None = None,
    required: str | None = None,
    remedy: str | None = None,
) -> Check:
    return Check(id=identifier, status=status, found=found, required=required, message=message, remedy=remedy)


# --- what the policy's rows say: each rule narrows the rows that the next one is held against ---


def _system_checks(facts: HostFacts, policy: Policy) -> c.Iterator[Check]:
    rows: c.Sequence[AdmittedSystem] = policy.systems
    rows, check = _narrow(rows, "distribution", facts.distribution, lambda row: [row.distribution], _DISTRIBUTION_WORDS)
    yield _with_derivative(check, facts)
    rows, check = _narrow(rows, "release", facts.release, lambda row: [row.release], _RELEASE_WORDS)
    yield check
    rows, check = _narrow(rows, "architecture", facts.architecture, lambda row: [row.architecture], _ARCHITECTURE_WORDS)
    yield _with_machine(check, facts)
    rows, check = _narrow(rows, "kernel_series", facts.kernel.series, lambda row: [row.series], _SERIES_WORDS)
    yield check
    rows, check = _narrow(rows, "flavour", facts.kernel.flavour, lambda row: row.flavours, _FLAVOUR_WORDS)
    yield check
    if check["status"] == "pass":
        yield from _age_check(facts, rows)


class _Words(t.NamedTuple):
    """How a rule speaks: of what, and what to do when it refuses."""

    subject: str
    source: str
    remedy: str


_DISTRIBUTION_WORDS = _Words(
    "the distribution", "/etc/os-release", "Livepatch is for Ubuntu itself: patch by kernel upgrade and reboot"
)
_RELEASE_WORDS = _Words(
    "the release", "/etc/os-release", "move to a covered Ubuntu LTS release, or admit this one in a policy"
)
_ARCHITECTURE_WORDS = _Words(
    "the architecture", "`dpkg --print-architecture`", "patch this host by kernel upgrade and reboot"
)
_SERIES_WORDS = _Words(
    "the kernel series", "`uname -r`", "install and boot a covered series, for instance the release's GA kernel"
)
_FLAVOUR_WORDS = _Words(
    "the kernel flavour", "`uname -r`", "install and boot a covered flavour, for instance linux-image-generic"
)


def _narrow(
    rows: c.Sequence[AdmittedSystem],
    identifier: str,
    found: str | None,
    admitted_by: c.Callable[[AdmittedSystem], c.Sequence[str]],
    words: _Words,
) -> tuple[c.Sequence[AdmittedSystem], Check]:
    """Hold one value against the rows that are left; refused rows stay, so that the next rule still says something."""
    required = " or ".join(dict.fromkeys(value for row in rows for value in admitted_by(row)))
    if found is None:
        message = f"{words.subject} could not be determined"
        return rows, _check(
            identifier, "unknown", message, required=required, remedy=f"look at {words.source} on the host"
        )
    kept = [row for row in rows if found in admitted_by(row)]
    if kept:
        message = f"{words.subject} {found} is admitted"
        return kept, _check(identifier, "pass", message, found=found, required=required)
    message = f"{words.subject} {found} is not admitted"
    return rows, _check(identifier, "fail", message, found=found, required=required, remedy=words.remedy)


def _with_derivative(check: Check, facts: HostFacts) -> Check:
    if check["status"] == "fail" and "ubuntu" in facts.os_release.get("ID_LIKE", "").split():
        check["message"] = f"{check['found']} is a derivative of Ubuntu, and derivatives are not covered"
    return check


def _with_machine(check: Check, facts: HostFacts) -> Check:
    if check["status"] == "fail" and facts.architecture == "i386" and facts.machine == "x86_64":
        check["message"] = "the userland is 32-bit (i386) on a 64-bit kernel, which counts as i386"
        check["remedy"] = "reinstall the host as amd64"
    return check


def _age_check(facts: HostFacts, rows: c.Sequence[AdmittedSystem]) -> c.Iterator[Check]:
    """A kernel gets patches for some months after it was built; a policy without such a number has no such rule."""
    months = max((row.upgrade_within_months for row in rows if row.upgrade_within_months is not None), default=None)
    built, now = facts.kernel.build_date, facts.now
    if months is None or built is None or now is None:
        return
    age = (now - built).days * 12 // 365
    found, required = f"{age} months", f"at most {months} months"
    if age <= months:
        yield _check("kernel_age", "pass", f"the kernel was built {age} months ago", found=found, required=required)
    else:
        yield _check(
            "kernel_age",
            "warn",
            f"the kernel was built {age} months ago, and patches for it may have stopped after {months}",
            found=found,
            required=required,
            remedy=_UPGRADE,
        )


# --- what any host must bring, whatever the policy's rows ---


def _host_checks(facts: HostFacts, policy: Policy, service_word: KernelSupport | None) -> c.Iterator[Check]:
    yield _kernel_origin(facts)
    yield _kernel_livepatch(facts)
    yield _kernel_conflict(facts)
    yield from _kernel_supported(facts, service_word)
    yield _snapd(facts, policy.snapd_minimum)
    if facts.snapd.seeded is not None:
        yield _seeded(facts.snapd.seeded)
    yield _privileges(facts)
    yield _secure_boot(facts)
    if facts.reach is not None:
        yield _network(facts, policy)
    yield _desktop(facts)


def _kernel_origin(facts: HostFacts) -> Check:
    kernel = facts.kernel
    required = "a kernel built by Ubuntu"
    if kernel.origin == "ubuntu":
        return _check("kernel_origin", "pass", "the kernel was built by Ubuntu", found=kernel.full, required=required)
    if kernel.origin == "unknown":
        return _check(
            "kernel_origin",
            "unknown",
            f"who built the kernel could not be determined: {kernel.origin_reason}",
            found=kernel.release,
            required=required,
            remedy="check /proc/version_signature on the host",
        )
    return _check(
        "kernel_origin",
        "fail",
        f"the kernel was not built by Ubuntu ({kernel.origin}): {kernel.origin_reason}",
        found=kernel.release,
        required=required,
        remedy="install and boot Ubuntu's own kernel: apt-get install linux-image-generic",
    )


def _kernel_livepatch(facts: HostFacts) -> Check:
    required = "a kernel with CONFIG_LIVEPATCH"
    if facts.livepatch_in_kernel is None:
        return _check(
            "kernel_livepatch",
            "unknown",
            "whether the kernel can be live patched could not be determined",
            required=required,
            remedy="check that /sys is mounted on the host",
        )
    if facts.livepatch_in_kernel:
        return _check("kernel_livepatch", "pass", "the kernel can be live patched", found="yes", required=required)
    return _check(
        "kernel_livepatch",
        "fail",
        "the kernel was built without live patching",
        found="no /sys/kernel/livepatch",
        required=required,
        remedy="install and boot Ubuntu's own kernel: apt-get install linux-image-generic",
    )


def _kernel_conflict(facts: HostFacts) -> Check:
    kernel = facts.kernel
    found, required = kernel.flavour, "no realtime kernel, no FIPS-certified kernel"
    if kernel.realtime:
        return _check(
            "kernel_conflict",
            "fail",
            "Livepatch does not work with the realtime kernel",
            found=found,
            required=required,
            remedy="boot another flavour, or patch this host by kernel upgrade and reboot",
        )
    if kernel.release is None:
        message = "the kind of the kernel could not be determined"
        return _check("kernel_conflict", "unknown", message, required=required, remedy="look at `uname -r` on the host")
    if not kernel.fips or facts.fips_updates:
        message = "the kernel is of no kind that conflicts"
        return _check("kernel_conflict", "pass", message, found=found, required=required)
    return _check(
        "kernel_conflict",
        "fail",
        "Livepatch conflicts with FIPS-certified kernels, and nothing here says that this one is from fips-updates",
        found=found,
        required=required,
        remedy="use fips-updates (pro enable fips-updates), or patch by kernel upgrade and reboot",
    )


def _kernel_supported(facts: HostFacts, service_word: KernelSupport | None) -> c.Iterator[Check]:
    """The service's own word: asked from the controller, else what the client was last told. Silent without either."""
    required = "a kernel that the service supports"
    word = service_word.word if service_word is not None else None
    word = word or _clients_word(facts.client)
    if word is None:
        if service_word is not None:
            yield _check("kernel_supported", "unknown", service_word.reason, required=required)
        return
    status, message, remedy = _SERVICE_WORDS.get(
        word, ("unknown", "the service does not know this kernel", "check the kernel against the service's list")
    )
    yield _check("kernel_supported", status, message, found=word, required=required, remedy=remedy)


_SERVICE_WORDS: dict[str, tuple[CheckStatus, str, str | None]] = {
    "supported": ("pass", "the service supports this kernel", None),
    "kernel-upgrade-required": ("warn", "the service has no more patches for this kernel", _UPGRADE),
    "kernel-end-of-life": ("warn", "the service has ended its support of this kernel", _UPGRADE),
    "unsupported": ("fail", "the service does not support this kernel", "install and boot a covered kernel"),
}


def _clients_word(client: ClientStatus | None) -> str | None:
    if client is None:
        return None
    refused = client.error is not None and client.error.id in ("not_eligible_kernel", "platform_unsupported")
    return "unsupported" if refused else client.supported


def _container(facts: HostFacts) -> Check:
    required = "a physical or virtual machine"
    if facts.wsl:
        return _check(
            "container",
            "fail",
            "this is WSL, whose kernel Windows provides",
            found="wsl",
            required=required,
            remedy="update WSL's kernel from Windows",
        )
    if facts.container is not None:
        return _check(
            "container",
            "fail",
            f"this is a container ({facts.container}), and it shares the kernel of its host",
            found=facts.container,
            required=required,
            remedy="patch the machine that runs this container: every container on it gains",
        )
    if not facts.container_known:
        return _check(
            "container",
            "unknown",
            "whether this is a container could not be determined",
            required=required,
            remedy=_RUN_AS_ROOT,
        )
    return _check("container", "pass", "this is a machine of its own", found=facts.virtualization, required=required)


def _snapd(facts: HostFacts, minimum: str) -> Check:
    snapd, required = facts.snapd, f"{minimum} or newer"
    if not snapd.installed:
        return _check(
            "snapd",
            "fail",
            "snapd is not installed",
            found="not installed",
            required=required,
            remedy="apt-get install snapd",
        )
    numbers = version_numbers(snapd.version)
    if not numbers:
        return _check(
            "snapd",
            "unknown",
            "snapd is installed and does not say its version",
            found=snapd.version,
            required=required,
            remedy="check `snap version` and `systemctl status snapd` on the host",
        )
    if numbers < version_numbers(minimum):
        return _check(
            "snapd",
            "fail",
            f"snapd {snapd.version} is too old",
            found=snapd.version,
            required=required,
            remedy="apt-get install --only-upgrade snapd",
        )
    if snapd.answers is False:
        return _check(
            "snapd",
            "warn",
            "snapd is installed and its daemon does not answer",
            found=snapd.version,
            required=required,
            remedy="systemctl restart snapd",
        )
    return _check("snapd", "pass", f"snapd {snapd.version} is new enough", found=snapd.version, required=required)


def version_numbers(version: str | None) -> tuple[int, ...]:
    """The leading numbers of a version: 2.15.2ubuntu1 is (2, 15, 2); what is no version is empty."""
    match = _VERSION.match(version or "")
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def _seeded(seeded: bool) -> Check:
    if seeded:
        return _check("snapd_seeded", "pass", "snapd has been set up", found="seeded", required="seeded")
    return _check(
        "snapd_seeded",
        "warn",
        "snapd is still setting itself up, as it does on a first boot, and installs nothing until then",
        found="not seeded",
        required="seeded",
        remedy="wait for it: snap wait system seed.loaded",
    )


def _privileges(facts: HostFacts) -> Check:
    if facts.root:
        return _check("privileges", "pass", "checked as root", found="root", required="root")
    return _check(
        "privileges",
        "unknown",
        "not checked as root: what only root may read or do is unknown",
        found=None if facts.root is None else "not root",
        required="root",
        remedy=_RUN_AS_ROOT,
    )


def _secure_boot(facts: HostFacts) -> Check:
    required = "a kernel that trusts the live patch key"
    if facts.secure_boot is False:
        return _check("secure_boot", "pass", "Secure Boot is off", found="off", required=required)
    carried = facts.carried_keys
    if carried is not None and any(key.key_id == loaded_patches.LIVE_PATCH_KEY_ID for key in carried):
        return _check(
            "secure_boot", "pass", "the kernel carries the live patch key", found="key carried", required=required
        )
    built = facts.kernel.build_date
    if built is not None and built >= _KEY_BUILT_IN_SINCE and facts.kernel.origin == "ubuntu":
        message = "the kernel is new enough to carry the live patch key"
        return _check("secure_boot", "pass", message, found=f"built {built:%Y-%m-%d}", required=required)
    if facts.secure_boot is None:
        return _check(
            "secure_boot",
            "unknown",
            "whether Secure Boot is on could not be determined",
            required=required,
            remedy="check `mokutil --sb-state` on the host",
        )
    if carried is None:
        return _check(
            "secure_boot",
            "unknown",
            "Secure Boot is on, and the keys of the kernel cannot be listed",
            found="on",
            required=required,
            remedy=_RUN_AS_ROOT,
        )
    return _check(
        "secure_boot",
        "fail",
        "Secure Boot is on, and this kernel does not carry the live patch key",
        found="on, no key",
        required=required,
        remedy=f"upgrade the kernel, or enrol the key: mokutil --import {_SNAP_KEY}",
    )


def _network(facts: HostFacts, policy: Policy) -> Check:
    reach = t.cast("t.Any", facts.reach)
    target = mask_credentials(reach.url)
    way = f"{reach.tool} through the proxy" if reach.by_proxy else reach.tool
    words: dict[str, t.Any] = {"found": None, "required": f"{target} reachable"}
    if reach.outcome == "reached":
        return _check("network", "pass", f"{target} answers ({way})", **{**words, "found": "reached"})
    if reach.outcome in ("no_tool", "unclear"):
        return _check(
            "network",
            "unknown",
            "the host has no curl, wget, openssl or bash to try with"
            if reach.outcome == "no_tool"
            else f"{way} gave no clear answer",
            **words,
            remedy="install curl on the host, or set network: false",
        )
    problem = "certificate not trusted" if reach.outcome == "untrusted" else "not reached"
    words["found"] = problem
    detail = f": {mask_credentials(reach.detail)}" if reach.detail else ""
    if reach.outcome == "untrusted" and (facts.config or {}).get("ca-certs"):
        return _check("network", "pass", f"{target} answers; the client has its own ca-certs for it", **words)
    if _client_checked_recently(facts, policy):
        message = f"{target}: {problem} ({way}){detail}; yet the client's own last check succeeded"
        return _check("network", "warn", message, **words)
    return _check(
        "network",
        "fail",
        f"{target}: {problem} ({way}){detail}",
        **words,
        remedy="set the client's ca-certs to the server's authority"
        if reach.outcome == "untrusted"
        else "open port 443 to the server, or set the client's https-proxy",
    )


def _client_checked_recently(facts: HostFacts, policy: Policy) -> bool:
    """The client's own success is better evidence of a way to the server than a try by another tool."""
    client = facts.client
    if client is None or client.check_state != "checked" or client.last_check is None or facts.now is None:
        return False
    return facts.now - client.last_check <= policy.stale_after


def _desktop(facts: HostFacts) -> Check:
    if not facts.desktop:
        return _check("desktop", "pass", "no desktop session is installed", found="server")
    return _check(
        "desktop",
        "warn",
        "this host has a desktop: Livepatch is meant for servers, and a desktop is better upgraded and rebooted",
        found="desktop",
        remedy="upgrade and reboot as usual, unless uptime matters here",
    )
