# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Compute the next step of a host from its facts: which kernel to boot, and which playbook to run.

A step is an imperative clause for the remedy of a cause. It only names kernels that the policy covers, except those
that must be removed. Names from the host are part of a command only if they match the grammar of kernel names.
"""

from __future__ import annotations

import collections.abc as c
import ipaddress
import re
import shlex

from .._host.apt import KernelPackages, image_release
from .._host.facts import HostFacts
from .._kernel_name import parse_release
from .._package_version import VERSION_LIMIT, version_key
from .cause_texts.cause import UPGRADE_INSTEAD
from .causes import CONTAINER, WSL
from .metapackages import FLAVOURS, metapackage, preferred_row, pro_service, series_number
from .policy import AdmittedSystem, Policy

_MOST_REMOVED = 4
"""Kernels that one step removes. A remedy has at most 500 characters."""

_PLAIN_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]*")
_PATTERN_SIGNS = re.compile(r"^[&!~@-]|[,*?\[\]{}\s]")
"""Signs that Ansible's option --limit does not accept as part of a name."""

_HOST_KEY = re.compile(r"host key verification failed|host identification has changed|host key .{0,80}changed", re.I)
"""Errors of ssh for a host key that is not the expected one."""

_UNSIGNED_SINCE = (4, 17)
"""Since this version, the image packages of the mainline archive are named ``linux-image-unsigned-*``."""

_NAMED_POLICY = "current"
"""The policy of the collection that is not the default, so that a playbook needs its name."""

_SNAP_KEY = "/snap/canonical-livepatch/current/keys/livepatch-kmod.x509"
"""The live patch key in the snap of the client."""

_GRUB_DEFAULT = "GRUB_DEFAULT in /etc/default/grub, run `update-grub`"

_IMAGE_PACKAGES = ("linux-image-", "linux-signed-image-", "linux-modules-extra-")


def playbook(name: str, facts: HostFacts, policy: Policy | None, **variables: object) -> str:
    """Return how to run a playbook of the collection for this host alone, with the policy of its check."""
    host = limit(facts.inventory_name)
    command = f"ansible-playbook kernelops.livepatch.{name}"
    options = "".join(f" -e livepatch_{variable}={value}" for variable, value in variables.items())
    options += policy_option(None if policy is None else policy.name)
    if host is None:
        return f"run `{command}{options}` with --limit for this host only"
    return f"{command} --limit {host}{options}"


def policy_option(name: str | None) -> str:
    """Return the option of a command for a host that was checked with this policy."""
    return f" -e livepatch_policy={name}" if name == _NAMED_POLICY else ""


def connection_step(host: str, error: str) -> str:
    """Return what to do about a connection that failed with this error."""
    if _HOST_KEY.search(error):
        return (
            "find out why the host key is unknown or has changed: another machine can answer in place of the host. "
            "Accept the key in known_hosts only if you expect it, for example after a reinstallation"
        )
    return f"check the connection: ansible {host} -m ansible.builtin.raw -a 'echo ok'"


def limit(host: str | None) -> str | None:
    """Return a name in the inventory as the value of ``--limit`` in a shell; None if no such value is known."""
    if host is None or not host:
        return None
    if _PLAIN_NAME.fullmatch(host) or _is_address(host):
        return host
    if _PATTERN_SIGNS.search(host) or not host.isprintable():
        return None
    # A comma makes Ansible split the value at commas only.
    return shlex.quote(f"{host}," if ":" in host else host)


def limit_of(hosts: c.Iterable[str]) -> str | None:
    """Return hosts as the value of ``--limit`` in a shell, without those whose names have a meaning there."""
    usable = [host for host in hosts if limit(host) is not None]
    if len(usable) < 2:
        return limit(usable[0]) if usable else None
    return shlex.quote(",".join(usable))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def enable_step(facts: HostFacts, policy: Policy | None = None) -> str:
    """Return how to enable the client."""
    command = playbook("enable", facts, policy)
    return f"enable the client: {command}; pass livepatch_token by Ansible Vault or an environment variable"


# --- the kernel ---


def upgrade_step(
    facts: HostFacts, policy: Policy | None = None, *, forced: bool = False, within_days: int | None = None
) -> str:
    """Return how to move a host to a newer kernel.

    The playbook upgrades the hosts whose client or age of the kernel asks for it; `forced` is for another reason, and
    `within_days` for a date that is near. Where the policy covers this system with other kernels only, return
    `boot_step`.
    """
    elsewhere = _kernel_of_another_machine(facts)
    if elsewhere is not None:
        return elsewhere
    if policy is not None and _rows(facts, policy) and not (_is_covered(facts, policy) or _is_supported(facts)):
        return boot_step(facts, policy)
    given: dict[str, object] = {"force": "true"} if forced else {}
    if within_days is not None:
        given["within_days"] = within_days
    command = f"upgrade the kernel and reboot: {playbook('upgrade', facts, policy, **given)}"
    above = [name for name in _installed_above(facts, facts.kernel.release) if _is_foreign(name)]
    removal = _removal(facts, above)
    if removal is None and above:
        other = f"remove {_shown(above[0])}, which the boot loader would start after the upgrade"
        command = f"{other}, or select an Ubuntu kernel with {_selection(facts)}; then {command}"
    elif removal is not None:
        command = f"{removal}, because the boot loader would start it after the upgrade; then {command}"
    return f"{command}{subscription(facts)}"


def boot_step(facts: HostFacts, policy: Policy) -> str:
    """Return how a host comes to run a kernel that the policy covers."""
    elsewhere = _kernel_of_another_machine(facts)
    if elsewhere is not None:
        return elsewhere
    if facts.kernel.realtime:
        return _without_realtime(facts, policy)
    if facts.kernel.fips and not facts.fips_updates:
        return _without_certified_fips(facts, policy)
    return _boot(facts, policy)


def refused_step(facts: HostFacts, policy: Policy) -> str:
    """Return the step for a kernel that the service refuses.

    Where the policy covers the kernel, the refusal can be that of an old client, which does not know a newer release,
    or of an old kernel of the line.
    """
    if _kernel_of_another_machine(facts) is not None or not _is_covered(facts, policy):
        return boot_step(facts, policy)
    error = facts.client.error if facts.client is not None else None
    if error is not None and error.id == "platform_unsupported":
        return "refresh the snap of the client, which can be older than the release: snap refresh canonical-livepatch"
    rows = [row for row in _rows(facts, policy) if "generic" in row.flavours]
    # Other flavours belong to a cloud, to FIPS or to a device.
    package = None
    if facts.kernel.flavour == "lowlatency" and rows:
        package = metapackage(rows[0].release, preferred_row(rows, facts.kernel.series).series, "generic")
    if package is None:
        return upgrade_step(facts, policy, forced=True)
    return _with_other(facts, policy, f"if the service refuses this flavour, boot generic (apt-get install {package})")


def release_step(facts: HostFacts, policy: Policy) -> str:
    """Return the step for a release that the policy does not cover."""
    newer = _newer_releases(facts, policy, _wanted_flavour(facts))
    if facts.distribution != "ubuntu" or not newer:
        return f"use a policy that covers this system, or {UPGRADE_INSTEAD}"
    return f"upgrade to a covered Ubuntu LTS release ({newer}), or use a policy that covers this release"


def architecture_step(facts: HostFacts, policy: Policy) -> str:
    """Return the step for an architecture that the policy does not cover on this release."""
    newer = _newer_releases(facts, policy, _wanted_flavour(facts))
    if facts.distribution != "ubuntu" or not newer:
        return UPGRADE_INSTEAD
    return f"upgrade to a release that is covered on {facts.architecture} ({newer}), or {UPGRADE_INSTEAD}"


def other_policy_step(name: str) -> str:
    """Return the step for a host that another policy of the collection covers."""
    return f"use policy '{name}', which covers this system: set livepatch_policy={name}"


def secure_boot_step(facts: HostFacts, policy: Policy) -> str:
    """Return the step for a kernel without the live patch key."""
    first = "" if facts.client_installed else "snap install canonical-livepatch && "
    return _with_other(facts, policy, f"or enroll the key and reboot: {first}mokutil --import {_SNAP_KEY}")


def _with_other(facts: HostFacts, policy: Policy, other: str) -> str:
    """Return the step to upgrade the kernel, another step, and what the upgrade needs."""
    needs = subscription(facts)
    return f"{upgrade_step(facts, policy, forced=True).removesuffix(needs)}; {other}{needs}"


def _kernel_of_another_machine(facts: HostFacts) -> str | None:
    """Return the step of a container, whose kernel is that of the machine that runs it."""
    if facts.wsl:
        return WSL.remedy
    return None if facts.container is None else CONTAINER.remedy


def _boot(facts: HostFacts, policy: Policy) -> str:
    rows = _rows(facts, policy)
    if not rows:
        return release_step(facts, policy)
    target = _installed_target(facts, policy)
    if target is not None:
        return _start(facts, target)
    flavour = _wanted_flavour(facts)
    rows = [row for row in rows if flavour in row.flavours]
    if not rows:
        return _other_flavour(facts, policy, flavour)
    return _install(facts, preferred_row(rows, facts.kernel.series), flavour)


def _without_realtime(facts: HostFacts, policy: Policy) -> str:
    target = _installed_target(facts, policy)
    rows = [row for row in _rows(facts, policy) if "generic" in row.flavours]
    if target is not None:
        boot = _start(facts, target)
    elif rows:
        # A realtime kernel comes from Ubuntu Pro, so the host has a subscription.
        boot = _install(facts, preferred_row(rows, facts.kernel.series), "generic").removesuffix(subscription(facts))
    else:
        boot = "boot a kernel that the policy covers"
    condition = "if the host does not need the realtime kernel"
    return f"{condition}, run `pro disable realtime-kernel`, then {boot}; otherwise {UPGRADE_INSTEAD}"


def _without_certified_fips(facts: HostFacts, policy: Policy) -> str:
    """Return the step for a FIPS kernel without updates, also for one that is left after `pro disable fips`."""
    updates = f"run `pro enable fips-updates` and reboot, or {UPGRADE_INSTEAD}"
    if not _covers(_rows(facts, policy), facts.kernel.series, facts.kernel.flavour):
        updates = UPGRADE_INSTEAD
    target = _installed_target(facts, policy)
    if facts.fips_certified or target is None:
        return updates
    if facts.fips_certified is None:
        return f"if the host must use FIPS, {updates}; otherwise run `pro disable fips`, then {_start(facts, target)}"
    return _start(facts, target)


def _install(facts: HostFacts, row: AdmittedSystem, flavour: str) -> str:
    package = metapackage(row.release, row.series, flavour)
    if package is None:
        host = limit(facts.inventory_name) or "HOST"
        options = f"'force=true series={row.series} flavour={flavour}'"
        command = f"ansible {host} --become -m kernelops.livepatch.kernel_upgrade -a {options}"
    else:
        command = f"apt-get install {package}"
    command = f"install a covered kernel: {command}; then"
    above = [name for name in _installed(facts) if _sorts_above(name, row.series, flavour)]
    removal = _removal(facts, above)
    if _boots_from_outside(facts):
        end = "let the virtual machine boot from its disk (GRUB), because the running kernel is not in /boot"
    elif removal is not None:
        end = f"{removal}, and reboot"
    elif above:
        end = f"select it with {_selection(facts)}, and reboot"
    else:
        end = "reboot"
    return f"{command} {end}{subscription(facts)}"


def subscription(facts: HostFacts) -> str:
    """Return what the installation of a kernel needs on a release without standard support."""
    service = pro_service(facts.release, facts.asked_at) if facts.distribution == "ubuntu" else None
    if service is None:
        return ""
    return (
        f"; since {service.since}, Ubuntu {facts.release} gets kernels only from Ubuntu Pro: first run `pro attach` and"
        f" `pro enable {service.name}`, unless `pro status` shows it as enabled"
    )


def _selection(facts: HostFacts) -> str:
    """Return how to select the kernel that the boot loader starts: IBM Z has no GRUB."""
    return "the links in /boot, run `zipl`" if facts.architecture == "s390x" else _GRUB_DEFAULT


def _shown(release: str) -> str:
    return f"the kernel {release}" if _PLAIN_NAME.fullmatch(release) else "the other kernels in /boot"


def _boots_from_outside(facts: HostFacts) -> bool:
    """Return True if the running kernel is not in /boot: the platform of the virtual machine provides it."""
    installed = facts.installed_kernels
    return facts.kernel.origin == "custom" and installed is not None and facts.kernel.release not in installed


def _sorts_above(release: str, series: str, flavour: str) -> bool:
    """Return True if GRUB can prefer an installed kernel to a new one of this series and flavour.

    The ABI numbers of FIPS and cloud kernels are higher than those of others, and versions of the mainline archive too.
    """
    name = parse_release(release)
    key, target = _series_key(release), series_number(series)
    return key > target or (key == target and (name is None or name.foreign or name.flavour != flavour))


def _start(facts: HostFacts, target: str) -> str:
    """Return how the boot loader comes to start an installed kernel: GRUB starts the one with the highest version."""
    if _boots_from_outside(facts):
        return (
            f"let the virtual machine boot from its disk (GRUB), which has the covered kernel {target}, because its"
            " kernel is not in /boot"
        )
    above = _installed_above(facts, target)
    if not above:
        return f"reboot: the covered kernel {target} is installed"
    removal = _removal(facts, above)
    if removal is not None:
        return f"{removal}, because the boot loader starts it instead of {target}, which is installed; then reboot"
    if facts.architecture == "s390x":
        links = f"/boot/vmlinuz to vmlinuz-{target} and /boot/initrd.img to initrd.img-{target}"
        return f"start {target}, which is installed: link {links}, run `zipl`, and reboot"
    entry = f'GRUB_DEFAULT="Advanced options for Ubuntu>Ubuntu, with Linux {target}"'
    return f"start {target}, which is installed: set {entry} in /etc/default/grub, run `update-grub`, and reboot"


def _removal(facts: HostFacts, releases: c.Sequence[str]) -> str | None:
    """Return the command that removes kernels; None if there are none, too many, or one without a known package."""
    self_built = facts.kernel.release if facts.kernel.origin == "custom" else None
    packages = [None if release == self_built else _image_package(release) for release in releases]
    if not packages or len(packages) > _MOST_REMOVED or None in packages:
        return None
    return f"run `apt-get purge {' '.join(filter(None, packages))}` on the host"


def _image_package(release: str) -> str | None:
    """Return the package of a kernel image of Ubuntu or of its mainline archive."""
    name = parse_release(release)
    if name is None or name.flavour.removesuffix("-fips") not in FLAVOURS | {"fips"}:
        return None
    unsigned = name.mainline and series_number(name.series or "0") >= _UNSIGNED_SINCE
    return f"linux-image-unsigned-{release}" if unsigned else f"linux-image-{release}"


def _other_flavour(facts: HostFacts, policy: Policy, flavour: str) -> str:
    newer = _newer_releases(facts, policy, flavour)
    if newer:
        return f"upgrade to a release whose kernels of flavour {flavour} are covered ({newer}), or {UPGRADE_INSTEAD}"
    return f"{UPGRADE_INSTEAD}: policy '{policy.name}' covers no kernel of flavour {flavour} for this release"


# --- the facts ---


def _rows(facts: HostFacts, policy: Policy) -> list[AdmittedSystem]:
    """Return the rows of the policy for this system, whatever its kernel is."""
    system = (facts.distribution, facts.release, facts.architecture)
    return [row for row in policy.systems if (row.distribution, row.release, row.architecture) == system]


def _covers(rows: c.Iterable[AdmittedSystem], series: str | None, flavour: str | None) -> bool:
    return any(row.series == series and flavour in row.flavours for row in rows)


def _is_covered(facts: HostFacts, policy: Policy) -> bool:
    kernel = facts.kernel
    fits = (
        kernel.origin not in ("mainline", "custom") and not kernel.realtime and (facts.fips_updates or not kernel.fips)
    )
    return fits and _covers(_rows(facts, policy), kernel.series, kernel.flavour)


def _is_supported(facts: HostFacts) -> bool:
    """Return True if the client reports that the service supports the kernel, which the policy may not list yet."""
    return facts.client is not None and facts.client.supported == "supported"


def _wanted_flavour(facts: HostFacts) -> str:
    """Return the flavour that the host should have: its own, without FIPS where no service provides it."""
    flavour = facts.kernel.flavour or "generic"
    if facts.kernel.fips and not facts.fips_updates:
        flavour = flavour.removesuffix("fips").removesuffix("-") or "generic"
    known = flavour in FLAVOURS or flavour.removesuffix("-fips") in FLAVOURS | {"fips"}
    return flavour if known or facts.kernel.origin == "ubuntu" else "generic"


def _installed_target(facts: HostFacts, policy: Policy) -> str | None:
    """Return the newest installed kernel that the policy covers, other than the running one."""
    rows, running = _rows(facts, policy), facts.kernel.release
    flavour = "generic" if facts.kernel.realtime else _wanted_flavour(facts)
    candidates = [
        release
        for release in _installed(facts)
        if (name := parse_release(release)) is not None
        and not name.foreign
        and name.flavour == flavour
        and _covers(rows, name.series, flavour)
        and release != running
    ]
    if running is not None and _is_covered(facts, policy):
        # An older kernel has no advantage over a running one that is covered too.
        candidates = [release for release in candidates if version_key(release) > version_key(running)]
    return max(candidates, key=version_key, default=None)


def _installed(facts: HostFacts) -> list[str]:
    """Return the releases of the installed kernels and of the running one, the newest first."""
    found = {*(facts.installed_kernels or ()), *filter(None, (facts.kernel.release,))}
    return sorted((name for name in found if len(name) <= VERSION_LIMIT), key=version_key, reverse=True)


def _installed_above(facts: HostFacts, release: str | None) -> list[str]:
    """Return the installed kernels that GRUB prefers to a release. GRUB sorts them by version, not by flavour."""
    if release is None or len(release) > VERSION_LIMIT:
        return []
    return [name for name in _installed(facts) if version_key(name) > version_key(release)]


def _is_foreign(release: str) -> bool:
    name = parse_release(release)
    return name is None or name.foreign


def _series_key(release: str) -> tuple[int, ...]:
    match = re.match(r"([0-9]{1,6})\.([0-9]{1,6})", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _newer_releases(facts: HostFacts, policy: Policy, flavour: str) -> str:
    """Return the releases newer than that of the host whose kernels of a flavour the policy covers on its machine."""
    releases = {
        row.release
        for row in policy.systems
        if _is_newer(row.release, facts.release)
        and facts.architecture in (None, row.architecture)
        and flavour in row.flavours
    }
    return " or ".join(sorted(releases, key=series_number))


def _is_newer(release: str, than: str | None) -> bool:
    if than is None or not re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,4})*", than):
        return True
    return series_number(release) > series_number(than)


# --- a full /boot ---


def free_boot_step(found: KernelPackages, running: str | None) -> str:
    """Return how to make room in /boot: by removing installed kernels that are neither running nor the newest.

    apt-get refuses to work while a run of dpkg is interrupted. dpkg itself then removes packages.
    """
    installed = [name for name, package in found.packages.items() if package.installed]
    releases = {release for name in installed if (release := image_release(name)) and len(release) <= VERSION_LIMIT}
    removable = [release for release in sorted(releases, key=version_key)[:-1] if release != running]
    if not removable or running is None:
        return "remove files that no kernel needs (ls -l /boot), because all installed kernels are needed"
    packages = [name for name in installed if _is_part_of(name, removable[:_MOST_REMOVED])]
    command = "dpkg --purge" if found.interrupted else "apt-get purge"
    return f"remove kernels that are neither running nor the newest: {command} {' '.join(sorted(packages))}"


def _is_part_of(package: str, releases: c.Sequence[str]) -> bool:
    """Return True for the image of a release, and for a package of modules, which depends on the image."""
    return package.startswith(_IMAGE_PACKAGES) and any(package.endswith(f"-{release}") for release in releases)
