# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decide if a host needs another kernel, choose it, and verify that it is installed."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re

from .._host import kernel
from .._host.apt import InstallRun, KernelOnDisk, KernelPackages, image_release, reports_lock
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._record import Reason
from . import causes
from .host_state import end_of_life_reasons, upgrade_required_reasons
from .next_steps import free_boot_step, upgrade_step

# A new kernel may need more space than the largest installed one: images of one series grow slowly.
_GROWTH = 1.15


@dataclasses.dataclass(frozen=True, slots=True)
class UpgradePlan:
    """The kernel that the host should run, and the packages to install: none if this kernel is installed already."""

    target: str
    packages: tuple[str, ...]


def refuse_hosts_without_kernel(facts: HostFacts) -> None:
    """Raise `LivepatchError` for a host that uses the kernel of another machine, and for a login other than root."""
    if facts.wsl:
        raise causes.WSL.error()
    if facts.container is not None:
        raise causes.CONTAINER.error(kind=facts.container)
    if facts.root is False:
        raise causes.NOT_ROOT.error(action="a kernel upgrade or a reboot")


def reasons_to_upgrade(facts: HostFacts, *, within_days: int, force: bool) -> list[Reason]:
    """Return the reasons why the host needs a newer kernel; an empty list if it needs none.

    A kernel whose patches end in at most `within_days` days needs to be replaced, too.
    """
    client = facts.client or ClientStatus(enabled=False)
    today = facts.now.date() if facts.now is not None else None
    step = upgrade_step(facts)
    reasons = [*end_of_life_reasons(client, today, step), *upgrade_required_reasons(client, step)]
    if client.patch_state == "applied-with-bug":
        reasons.append(causes.APPLIED_WITH_BUG.reason(step=upgrade_step(facts)))
    due = client.upgrade_required_by
    if not reasons and due is not None and today is not None and due - today <= datetime.timedelta(within_days):
        step = upgrade_step(facts, within_days=within_days)
        reasons.append(causes.UPGRADE_DUE_SOON.reason(date=due.isoformat(), days=(due - today).days, step=step))
    if not reasons and force:
        reasons.append(causes.UPGRADE_FORCED.reason())
    return reasons


def plan_upgrade(facts: HostFacts, found: KernelPackages, *, series: str | None, flavour: str | None) -> UpgradePlan:
    """Choose the newest kernel of a series and flavour, by default the running ones.

    An installed metapackage of this series and flavour decides; without one, the newest available image is chosen.
    Raises `LivepatchError` (``kernel_unknown``).
    """
    running = facts.kernel
    series, flavour = series or running.series, flavour or running.flavour
    if running.release is None or series is None or flavour is None:
        raise causes.KERNEL_RELEASE_UNUSUAL.error(release=running.release or "unknown")

    def newest(releases: c.Iterable[str | None]) -> str | None:
        candidates = (release for release in releases if release is not None and release.startswith(f"{series}."))
        return kernel.newest_release(candidates, flavour)

    installed = newest(image_release(name) for name, package in found.packages.items() if package.installed)
    by_metapackage = newest(image_release(image) for images in found.metapackages.values() for image in images)
    available = by_metapackage or newest(map(image_release, found.available))
    target = newest((installed, available, running.release)) or running.release
    if target in (installed, running.release):
        return UpgradePlan(target, ())
    names = _metapackages_of(found, target) or _packages_of_release(found, target, running.release)
    return UpgradePlan(target, names)


def _metapackages_of(found: KernelPackages, target: str) -> tuple[str, ...]:
    """Return the installed metapackages that depend on the target, and those that are upgraded together with them."""
    dependent = [name for name, images in found.metapackages.items() if target in map(image_release, images)]
    suffixes = {name.removeprefix("linux-signed-image-").removeprefix("linux-image-") for name in dependent}
    kinds = ("image", "headers", "modules-extra", "signed-image", "signed", "tools", "cloud-tools")
    family = {f"linux-{kind}-{suffix}" for suffix in suffixes for kind in kinds}
    family |= {f"linux-{suffix}" for suffix in suffixes}
    return tuple(sorted(name for name in family if name in found.packages and found.packages[name].installed))


def _packages_of_release(found: KernelPackages, target: str, running: str) -> tuple[str, ...]:
    """Return the image of the target, and the packages that the running kernel also has: headers, extra modules."""
    images = [name for name in found.available if image_release(name) == target]
    companions = {
        name.removesuffix(running) + target
        for name, package in found.packages.items()
        if package.installed and name.endswith(f"-{running}") and image_release(name) is None
    }
    return (*sorted(images, key=len)[:1], *sorted(companions & set(found.available)))


def check_plan(plan: UpgradePlan, found: KernelPackages, *, repair: bool, running: str | None = None) -> None:
    """Raise `LivepatchError` if the packages of the plan must not be installed. `running` is the running kernel."""
    if found.interrupted and not repair:
        raise causes.DPKG_INTERRUPTED.error(package=found.interrupted[0])
    held = held_packages(plan, found)
    if held:
        raise causes.KERNEL_HELD.error(kernel=plan.target, packages=", ".join(held), unhold=" ".join(held))
    if not plan.packages or found.boot_free is None or not found.boot_used:
        return
    needed = int(max(found.boot_used.values()) * _GROWTH)
    if found.boot_free < needed:
        step = free_boot_step(found, running)
        raise causes.BOOT_FULL.error(free=found.boot_free // 1024, needed=needed // 1024 + 1, step=step)


def held_packages(plan: UpgradePlan, found: KernelPackages) -> list[str]:
    """Return the packages of the plan that are held on the host (``apt-mark hold``)."""
    return [name for name in plan.packages if name in found.packages and found.packages[name].held]


def check_run(run: InstallRun) -> None:
    """Raise `LivepatchError` with the output of apt-get and dpkg if the run failed."""
    if run.state != "ended":
        raise causes.RUN_LOST.error()
    if run.exit_code == 0:
        return
    for is_cause, cause in _FAILURES:
        if is_cause(run.log):
            raise cause.error(_last_errors(run.log))
    raise causes.APT_FAILED.error(f"exit code {run.exit_code}: {_last_errors(run.log)}")


_FAILURES: tuple[tuple[c.Callable[[str], object], causes.Cause], ...] = (
    (reports_lock, causes.APT_LOCKED),
    (re.compile("Held packages were changed|held broken packages").search, causes.PACKAGES_HELD),
    (re.compile("need to be removed").search, causes.WOULD_REMOVE),
    (re.compile("No space left on device|enough free space").search, causes.DISK_FULL),
    (
        re.compile("Failed to fetch|Unable to fetch|Unable to locate package").search,
        causes.ARCHIVE_UNREACHABLE,
    ),
    (re.compile("dpkg: error|returned an error code").search, causes.DPKG_FAILED),
)
"""Causes of a failed run: the first one whose text is in the log applies."""


def _last_errors(log: str) -> str:
    """Return the last error messages of a log, or its last lines if there are none."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg: error"))]
    return " / ".join((errors or lines)[-3:])[-400:] or "no output"


def check_kernel_on_disk(disk: KernelOnDisk, release: str) -> None:
    """Raise `LivepatchError` unless all files of the kernel are present and the boot loader refers to it."""
    if disk.missing:
        raise causes.KERNEL_INCOMPLETE.error(release=release, files=", ".join(disk.missing))
    if not disk.entries:
        raise causes.NO_BOOT_ENTRY.error(release=release)
