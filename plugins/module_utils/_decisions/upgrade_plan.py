# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whether a host needs another kernel, which one, and whether it got it."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re

from .._host import kernel
from .._host.apt import InstallRun, KernelOnDisk, KernelPackages, image_release
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._record import Reason
from .host_state import end_of_life_reasons, upgrade_required_reasons

_UPGRADE = "upgrade the kernel and reboot"
# Room that a kernel may take more than the largest that is there: images of the same series grow slowly.
_GROWTH = 1.15


class KernelUpgradeError(Exception):
    """The kernel of a host cannot or must not be upgraded. `id` names the cause, `remedy` says what to do."""

    def __init__(self, cause: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.id = cause
        self.remedy = remedy


@dataclasses.dataclass(frozen=True, slots=True)
class UpgradePlan:
    """The kernel that the host shall run, and the packages that bring it: none where it is installed already."""

    target: str
    packages: tuple[str, ...]


def refuse_hosts_without_kernel(facts: HostFacts) -> None:
    """Raise `KernelUpgradeError` for a host whose kernel is not its own, or where only root could do more."""
    if facts.wsl:
        raise KernelUpgradeError(
            "container", "this is WSL, whose kernel Windows provides", "update WSL's kernel from Windows"
        )
    if facts.container is not None:
        raise KernelUpgradeError(
            "container",
            f"this is a container ({facts.container}), and it shares the kernel of its host",
            "name the machine that runs this container as the target: every container on it gains",
        )
    if facts.root is False:
        raise KernelUpgradeError("not_root", "kernels and reboots need root", "run as root: add --become")


def reasons_to_upgrade(facts: HostFacts, *, within_days: int, force: bool) -> list[Reason]:
    """Why the host needs a newer kernel; none where it does not.

    `within_days` also counts a kernel whose patches end so many days from now.
    """
    client = facts.client or ClientStatus(enabled=False)
    today = facts.now.date() if facts.now is not None else None
    reasons = [*end_of_life_reasons(client, today), *upgrade_required_reasons(client)]
    if client.patch_state == "applied-with-bug":
        reasons.append(Reason(id="applied_with_bug", message="the applied patch has a known bug", remedy=_UPGRADE))
    due = client.upgrade_required_by
    if not reasons and due is not None and today is not None and due - today <= datetime.timedelta(within_days):
        message = f"patches for this kernel end on {due.isoformat()}, within {within_days} days"
        reasons.append(Reason(id="upgrade_due_soon", message=message, remedy=_UPGRADE))
    if not reasons and force:
        reasons.append(Reason(id="forced", message="the newest kernel was asked for", remedy=None))
    return reasons


def plan_upgrade(facts: HostFacts, found: KernelPackages, *, series: str | None, flavour: str | None) -> UpgradePlan:
    """Choose the newest kernel of a series and flavour, by default those that run.

    An installed metapackage decides where it leads to such a kernel. Raises `KernelUpgradeError`.
    """
    running = facts.kernel
    series, flavour = series or running.series, flavour or running.flavour
    if running.release is None or series is None or flavour is None:
        raise KernelUpgradeError(
            "kernel_unknown",
            f"the release of the running kernel ({running.release or 'not known'}) names no series and flavour",
            "give both as options, for instance series=4.4 and flavour=generic",
        )

    def newest(releases: c.Iterable[str | None]) -> str | None:
        wanted = (release for release in releases if release is not None and release.startswith(f"{series}."))
        return kernel.newest_release(wanted, flavour)

    installed = newest(image_release(name) for name, package in found.packages.items() if package.installed)
    led = newest(image_release(image) for images in found.leads.values() for image in images)
    offered = led or newest(map(image_release, found.available))
    target = newest((installed, offered, running.release)) or running.release
    if target in (installed, running.release):
        return UpgradePlan(target, ())
    names = _metapackages(found, target) or _of_release(found, target, running.release)
    return UpgradePlan(target, names)


def _metapackages(found: KernelPackages, target: str) -> tuple[str, ...]:
    """The installed metapackages that lead to the target, with those that must move along with them."""
    leading = [name for name, images in found.leads.items() if target in map(image_release, images)]
    suffixes = {name.removeprefix("linux-signed-image-").removeprefix("linux-image-") for name in leading}
    kinds = ("image", "headers", "modules-extra", "signed-image", "signed", "tools", "cloud-tools")
    family = {f"linux-{kind}-{suffix}" for suffix in suffixes for kind in kinds}
    family |= {f"linux-{suffix}" for suffix in suffixes}
    return tuple(sorted(name for name in family if name in found.packages and found.packages[name].installed))


def _of_release(found: KernelPackages, target: str, running: str) -> tuple[str, ...]:
    """The target's image, and its counterparts of what is installed for the running kernel: headers, more drivers."""
    images = [name for name in found.available if image_release(name) == target]
    companions = {
        name.removesuffix(running) + target
        for name, package in found.packages.items()
        if package.installed and name.endswith(f"-{running}") and image_release(name) is None
    }
    return (*sorted(images, key=len)[:1], *sorted(companions & set(found.available)))


def check_plan(chosen: UpgradePlan, found: KernelPackages, *, repair: bool) -> None:
    """Raise `KernelUpgradeError` where the packages of the plan must not be installed."""
    if found.interrupted and not repair:
        raise KernelUpgradeError(
            "dpkg_interrupted",
            f"dpkg was interrupted on this host and has not ended its work ({found.interrupted[0]})",
            "run `dpkg --configure -a` there, or let this module do it (repair)",
        )
    held = held_packages(chosen, found)
    if held:
        raise KernelUpgradeError(
            "packages_held",
            f"{chosen.target} is available, and {', '.join(held)} is held back on this host",
            f"apt-mark unhold {' '.join(held)}, or leave this host out",
        )
    if not chosen.packages or found.boot_free is None or not found.boot_used:
        return
    needed = int(max(found.boot_used.values()) * _GROWTH)
    if found.boot_free < needed:
        raise KernelUpgradeError(
            "boot_full",
            f"/boot has {found.boot_free // 1024} MiB free, and a kernel takes about {needed // 1024 + 1} MiB",
            "remove kernels that are not needed any more: apt-get autoremove --purge",
        )


def held_packages(chosen: UpgradePlan, found: KernelPackages) -> list[str]:
    """Packages that would have to change and that the host's administrator holds back."""
    return [name for name in chosen.packages if name in found.packages and found.packages[name].held]


def check_run(run: InstallRun) -> None:
    """Raise `KernelUpgradeError` with what apt-get and dpkg said, where the run failed."""
    if run.state != "ended":
        raise KernelUpgradeError(
            "run_lost",
            "the run of apt-get ended on the host without a word, as when the machine stops",
            "run again: what dpkg has left is repaired first",
        )
    if run.exit_code == 0:
        return
    for words, cause, message, remedy in _FAILURES:
        if words.search(run.log):
            raise KernelUpgradeError(cause, f"{message}: {_last_words(run.log)}", remedy)
    raise KernelUpgradeError(
        "apt_failed", f"apt-get failed with exit code {run.exit_code}: {_last_words(run.log)}", "see the host's apt log"
    )


_FAILURES = (
    (
        re.compile("ould not get lock|nable to lock|nable to acquire the dpkg|is locked by another"),
        "apt_locked",
        "another run of apt or dpkg kept its lock until the deadline",
        "find it on the host (ps, unattended-upgrades), or give it more time (lock_timeout)",
    ),
    (
        re.compile("Held packages were changed|held broken packages"),
        "packages_held",
        "packages that are held back stand in the way",
        "apt-mark showhold tells which",
    ),
    (
        re.compile("need to be removed"),
        "would_remove",
        "apt-get would have to remove packages, which this module never does",
        "look at `apt-get -s install` on the host",
    ),
    (
        re.compile("No space left on device|enough free space"),
        "disk_full",
        "the host's disk is full",
        "make room, then run again: what dpkg has left is repaired first",
    ),
    (
        re.compile("Failed to fetch|Unable to fetch|Unable to locate package"),
        "archive_unreachable",
        "the package archive did not give the packages",
        "check the way to the archive: apt-get update",
    ),
    (
        re.compile("dpkg: error|returned an error code"),
        "dpkg_failed",
        "a package could not be installed",
        "see the host's /var/log/apt/term.log; run again to repair",
    ),
)


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E:", "dpkg: error"))]
    return " / ".join((telling or lines)[-3:])[-400:] or "no output"


def check_kernel_on_disk(disk: KernelOnDisk, release: str) -> None:
    """Raise `KernelUpgradeError` unless the kernel is whole and the boot loader would find it."""
    if disk.missing:
        raise KernelUpgradeError(
            "kernel_incomplete",
            f"{release} is installed, and {', '.join(disk.missing)} is missing",
            f"on the host: dpkg-reconfigure linux-image-{release}; do not reboot before",
        )
    if not disk.entries:
        raise KernelUpgradeError(
            "no_boot_entry",
            f"{release} is installed, and neither /boot/grub/grub.cfg nor the link /vmlinuz names it",
            "on the host: update-grub; do not reboot before",
        )
