# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decide if a host needs another kernel, choose it, and verify that it is installed."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime

from .._errors import LivepatchError
from .._host import kernel
from .._host.apt import InstallRun, KernelOnDisk, KernelPackages, image_release
from .._host.client_status import ClientStatus
from .._host.facts import HostFacts
from .._kernel_name import KernelName, parse_release, series_of
from .._record import Reason
from . import causes
from .apt_failures import apt_failure, last_errors
from .boot_order import packages_show_origin
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


def reasons_to_upgrade(facts: HostFacts, *, within_days: int, force: bool, required: bool = False) -> list[Reason]:
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
    if not reasons and required:
        reasons.append(causes.UPGRADE_REQUIRED_BY_TASK.reason())
    if not reasons and force:
        reasons.append(causes.UPGRADE_FORCED.reason())
    return reasons


def is_needed(reasons: c.Iterable[Reason]) -> bool:
    """Return True if only a newer kernel helps. With `force` alone, the newest kernel is sufficient."""
    return any(reason["id"] != causes.UPGRADE_FORCED.id for reason in reasons)


def series_ended_reason(facts: HostFacts, found: KernelPackages) -> Reason | None:
    """Return a reason if the installed metapackages have moved to a newer series (16.04 HWE: 4.13 to 4.15).

    The client must be enabled, and must not report whether it supports the kernel. Older clients never report this.
    """
    client, running = facts.client, facts.kernel
    if client is None or client.enabled is not True or client.supported not in (None, "unknown"):
        return None
    lead = leading_release(facts, found, series=None, flavour=None)
    if lead is None or running.release is None or series_of(lead) == running.series or _older(lead, running.release):
        return None
    return causes.SERIES_ENDED.reason(target=lead, series=running.series, step=upgrade_step(facts))


def leading_release(facts: HostFacts, found: KernelPackages, *, series: str | None, flavour: str | None) -> str | None:
    """Return the kernel to which the installed metapackages of the host's line lead; None if there are none.

    The line is that of the metapackages for the running flavour. They can lead to another series. If several of them
    are installed, one that leads to the running series is preferred, and then the newest. A metapackage for another
    flavour counts if the running kernel is not one to keep (Ubuntu did not build it, or it is a FIPS kernel without its
    metapackage), or if the archive has no newer kernel of the running flavour.
    """
    running = facts.kernel
    leads: dict[str, KernelName] = {}
    own: set[str] = set()
    wanted = flavour or running.flavour
    for metapackage, images in found.metapackages.items():
        for release in filter(None, map(image_release, images)):
            name = parse_release(release)
            if name is None or name.foreign or (series is not None and name.series != series):
                continue
            leads[release] = name
            if name.flavour == wanted or (flavour is None and _leads_from(metapackage, wanted, name.flavour)):
                own.add(release)
    if own:
        of_series = [release for release in own if leads[release].series == (series or running.series)]
        return max(of_series or own, key=lambda release: leads[release].age)
    if not leads or flavour is not None:
        return None
    newest = max(leads, key=lambda release: leads[release].age)
    name = parse_release(running.release or "")
    if name is None or name.fips or _foreign_runs(facts, found):
        return newest
    available = kernel.newest_release(_releases(found.available, name.series), name.flavour)
    newer = available is not None and _older(running.release or "", available)
    return None if newer or _older(newest, running.release or "") else newest


def plan_upgrade(facts: HostFacts, found: KernelPackages, *, series: str | None, flavour: str | None) -> UpgradePlan:
    """Choose the kernel to which the installed metapackages lead; without one, the newest of the running series.

    `series` and `flavour` select another line. A kernel that the distribution did not build is never chosen.
    Raises `LivepatchError` (``kernel_unknown``).
    """
    running = facts.kernel
    lead = parse_release(leading_release(facts, found, series=series, flavour=flavour) or "")
    if lead is not None:
        series, flavour = lead.series, lead.flavour
    else:
        series, flavour = series or running.series, flavour or running.flavour
    if running.release is None or series is None or flavour is None:
        raise causes.KERNEL_RELEASE_UNUSUAL.error(release=running.release or "unknown")
    own = _own_images(facts, found)
    foreign = {image_release(name) for name in found.packages} - own
    available = [lead.release] if lead is not None else _releases(found.available, series)
    candidates = {*_releases_of(own, series), *(release for release in available if release not in foreign)}
    if series_of(running.release) == series and not _foreign_runs(facts, found):
        candidates.add(running.release)
    target = kernel.newest_release(candidates, flavour) or running.release
    if target in (*own, running.release):
        return UpgradePlan(target, ())
    names = _metapackages_of(found, target) or _packages_of_release(found, target, running.release)
    return UpgradePlan(target, names)


def _own_images(facts: HostFacts, found: KernelPackages) -> set[str]:
    """Return the installed kernels that the distribution built."""
    running = (package for name, package in found.packages.items() if image_release(name) == facts.kernel.release)
    ubuntu = packages_show_origin(facts, running)
    return {
        release
        for release, package in ((image_release(name), package) for name, package in found.packages.items())
        if release is not None and package.installed and not package.foreign(ubuntu=ubuntu)
    }


def sorted_before(target: str, facts: HostFacts, found: KernelPackages) -> list[str]:
    """Return the installed kernels that GRUB sorts before the target although Ubuntu did not build them."""
    own = _own_images(facts, found)
    installed = (image_release(name) for name, package in found.packages.items() if package.installed)
    foreign = dict.fromkeys(release for release in installed if release is not None and release not in own)
    return [release for release in foreign if _older(target, release)]


def _foreign_runs(facts: HostFacts, found: KernelPackages) -> bool:
    """Return True if the distribution did not build the running kernel."""
    if facts.kernel.origin == "mainline":
        return True
    # Only kernels of Ubuntu have /proc/version_signature. On other distributions, the package decides.
    return facts.kernel.origin == "custom" and facts.kernel.release not in _own_images(facts, found)


def _leads_from(metapackage: str, flavour: str | None, to: str) -> bool:
    """Return True if a metapackage of a flavour leads to another one, as ``linux-image-lowlatency-hwe-24.04`` does.

    A flavour with a longer name, such as ``azure-fips`` or ``generic-64k``, has metapackages of its own.
    """
    if flavour is None or to.startswith(f"{flavour}-"):
        return False
    return f"{_suffix(metapackage)}-".startswith(f"{flavour}-")


def _suffix(metapackage: str) -> str:
    """Return the line that a metapackage names: ``generic-hwe-20.04`` of ``linux-image-generic-hwe-20.04``."""
    return metapackage.removeprefix("linux-").removeprefix("signed-").removeprefix("image-")


def _releases(packages: c.Iterable[str], series: str | None) -> list[str]:
    return _releases_of(filter(None, map(image_release, packages)), series)


def _releases_of(releases: c.Iterable[str], series: str | None) -> list[str]:
    return [release for release in releases if series_of(release) == series]


def _older(release: str, other: str) -> bool:
    """Return True if the first release is older than the second one; kernels in another form are not compared."""
    first, second = parse_release(release), parse_release(other)
    return first is not None and second is not None and first.age < second.age


def _metapackages_of(found: KernelPackages, target: str) -> tuple[str, ...]:
    """Return the installed metapackages that depend on the target, and those that are upgraded together with them."""
    dependent = [name for name, images in found.metapackages.items() if target in map(image_release, images)]
    suffixes = set(map(_suffix, dependent))
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


def check_run(
    run: InstallRun, found: KernelPackages | None = None, running: str | None = None, *, repaired: bool = False
) -> None:
    """Raise `LivepatchError` with the output of apt-get and dpkg if the run failed.

    `found` has the packages before the run. `repaired` is true for a run that tried to install missing dependencies.
    """
    if run.state != "ended":
        raise causes.RUN_LOST.error()
    if run.exit_code == 0:
        return
    failure = run_failure(run, found, running)
    if repaired and failure.id in (causes.APT_BROKEN.id, causes.WOULD_REMOVE.id):
        raise causes.APT_BROKEN_STILL.error(last_errors(run.log))
    raise failure


def run_failure(run: InstallRun, found: KernelPackages | None, running: str | None) -> LivepatchError:
    """Return the error of a run, or of its simulation, that failed. `found` is None if the packages are not known."""
    if found is None:
        return apt_failure(run.log, run.exit_code)
    held = dict.fromkeys((*found.held, *(package.name for package in found.packages.values() if package.held)))
    # A failed run leaves packages that are not configured, so that only dpkg removes others.
    free_boot = free_boot_step(dataclasses.replace(found, interrupted=("this run",)), running)
    return apt_failure(run.log, run.exit_code, held=tuple(held), free_boot=free_boot)


def can_be_repaired(error: LivepatchError) -> bool:
    """Return True if ``dpkg --configure -a`` and ``apt-get -f install`` remove the cause of an error."""
    return error.id in (causes.APT_BROKEN.id, causes.DPKG_INTERRUPTED_AGAIN.id)


def check_kernel_on_disk(disk: KernelOnDisk, release: str) -> None:
    """Raise `LivepatchError` unless all files of the kernel are present and the boot loader refers to it."""
    if disk.missing:
        raise causes.KERNEL_INCOMPLETE.error(release=release, files=", ".join(disk.missing))
    if disk.damaged:
        raise causes.KERNEL_DAMAGED.error(release=release, files=", ".join(disk.damaged))
    if not disk.entries:
        raise causes.NO_BOOT_ENTRY.error(release=release)
