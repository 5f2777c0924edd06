# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decide before a reboot whether the boot loader will start the intended kernel.

GRUB starts the newest kernel, also if Ubuntu did not build it. Such a kernel has no live patches, and with Secure Boot
it may not start at all. Therefore nothing is rebooted while another kernel than the intended one would start.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import shlex

from .._errors import LivepatchError
from .._host import kernel
from .._host.apt import Package
from .._host.boot_loader import BootChoice, Cause
from .._host.facts import HostFacts
from .._kernel_name import parse_release
from . import causes

Images = c.Mapping[str, tuple[Package, ...]]
"""The installed packages of each kernel, by its release."""

_UNSIGNED = "linux-image-unsigned-"
_CAUSES: dict[Cause, str] = {
    "next_entry": "next_entry of /boot/grub/grubenv selects it",
    "saved_entry": "saved_entry of /boot/grub/grubenv selects it",
    "default": "GRUB_DEFAULT selects it",
    "order": "it is the first entry in the boot menu, which is sorted by version",
    "link": "the link /vmlinuz leads to it",
    "kexec": "it is loaded for kexec",
}


@dataclasses.dataclass(frozen=True, slots=True)
class BootOrder:
    """The result of the check: a `warning`, and the `entry` that must be selected for the next boot."""

    warning: str | None = None
    entry: str | None = None


def is_foreign(release: str, images: Images | None, *, ubuntu: bool) -> bool:
    """Return True if it is known that the distribution did not build a kernel.

    An image in /boot that no package owns is foreign. `images` is None if the packages are not known.
    """
    name = parse_release(release)
    if name is not None and name.foreign:
        return True
    if images is None:
        return False
    if release not in images:
        return True
    return all(package.foreign(ubuntu=ubuntu) for package in images[release] if _is_image(package, release))


def based_on_ubuntu(facts: HostFacts) -> bool:
    """Return True for Ubuntu, and for distributions that use its kernels."""
    return "ubuntu" in (facts.distribution, *(facts.os_release.get("ID_LIKE") or "").split())


def packages_show_origin(facts: HostFacts, running: c.Iterable[Package]) -> bool:
    """Return True if versions and maintainers of packages show who built a kernel on this host.

    They do not if ``/proc/version_signature`` proves that Ubuntu built the running kernel, and `running`, its packages,
    do not look like those of Ubuntu.
    """
    proven = facts.kernel.origin == "ubuntu" and any(package.foreign(ubuntu=True) for package in running)
    return based_on_ubuntu(facts) and not proven


def _shows_origin(facts: HostFacts, images: Images | None) -> bool:
    running = (images or {}).get(facts.kernel.release or "", ())
    return packages_show_origin(
        facts, (package for package in running if _is_image(package, facts.kernel.release or ""))
    )


def newest_own_kernel(facts: HostFacts, images: Images | None) -> str | None:
    """Return the newest installed kernel of the running flavour that the distribution built."""
    if images is None:
        return facts.newest_installed
    ubuntu = _shows_origin(facts, images)
    own = [release for release in images if not is_foreign(release, images, ubuntu=ubuntu)]
    return kernel.newest_release(own, facts.kernel.flavour)


def refuse_foreign_kernel(
    intended: str, facts: HostFacts, images: Images | None, *, running: str | None = None
) -> None:
    """Raise `LivepatchError` (``foreign_kernel``) for a kernel that is installed and that Ubuntu did not build.

    A kernel that is neither installed nor `running` can be one that will be installed (check mode).
    """
    name = parse_release(intended)
    known = name is not None and name.foreign
    if known or (
        intended in (running, *(images or ())) and is_foreign(intended, images, ubuntu=_shows_origin(facts, images))
    ):
        raise causes.FOREIGN_KERNEL.error(release=intended)


def refuse_unsigned_kernel(intended: str, facts: HostFacts, images: Images | None) -> None:
    """Raise `LivepatchError` (``kernel_unsigned``) for another kernel that Secure Boot would not start."""
    if facts.secure_boot is not True or intended == facts.kernel.release:
        return
    found = [package.name for package in (images or {}).get(intended, ()) if _is_image(package, intended)]
    if found and all(name == f"{_UNSIGNED}{intended}" for name in found):
        raise causes.KERNEL_UNSIGNED.error(release=intended, package=found[0])


def check_boot_order(
    choice: BootChoice,
    intended: str,
    facts: HostFacts,
    images: Images | None,
    *,
    select: bool = False,
    planned: bool = False,
) -> BootOrder:
    """Return what to do before the reboot. Raises `LivepatchError` if another kernel would start (``boot_order``).

    With `select`, the entry of the intended kernel is selected for the next boot instead, if there is one. A `planned`
    kernel is not installed yet (check mode): its installation adds it to the menu, sorted by version.
    """
    if choice.cause == "kexec":
        raise causes.KEXEC_LOADED.error(intended=intended)
    if choice.broken:
        raise causes.BOOT_MENU_BROKEN.error()
    entry = choice.menu.get(intended)
    if planned and entry is None and (select or _will_be_first(choice, intended)):
        return BootOrder()
    if choice.release == intended and choice.problem is None:
        return BootOrder()
    if select and entry is not None:
        return BootOrder(entry=entry)
    if choice.problem is not None:
        return BootOrder(warning=_unknown_order(choice.problem, intended, facts, images))
    raise _other_kernel(choice, intended, facts, images)


def _will_be_first(choice: BootChoice, intended: str) -> bool:
    """Return True if a kernel will start once it is installed."""
    if choice.cause == "link" or choice.problem is not None:
        return True
    starts, target = parse_release(choice.release or ""), parse_release(intended)
    if choice.cause != "order" or starts is None or target is None:
        return False
    return starts.age < target.age


def _unknown_order(problem: str, intended: str, facts: HostFacts, images: Images | None) -> str:
    ubuntu = _shows_origin(facts, images)
    present = dict.fromkeys((*(images or ()), *(facts.installed_kernels or ())))
    foreign = [release for release in present if is_foreign(release, images, ubuntu=ubuntu)]
    if foreign:
        removal = "; ".join(_removal(release, images) for release in foreign)
        raise causes.BOOT_ORDER_UNKNOWN.error(problem=problem, foreign=", ".join(foreign), removal=removal)
    return f"It is not known whether the boot loader starts {intended}: {problem}."


def _other_kernel(choice: BootChoice, intended: str, facts: HostFacts, images: Images | None) -> LivepatchError:
    cause = _CAUSES[choice.cause or "order"]
    selection = _selection(choice, intended)
    starts = choice.release
    if starts is None:
        entry = repr(choice.entry)
        return causes.OTHER_ENTRY_FIRST.error(entry=entry, intended=intended, cause=cause, selection=selection)
    name, target = parse_release(starts), parse_release(intended)
    kind = causes.OTHER_KERNEL_FIRST
    if is_foreign(starts, images, ubuntu=_shows_origin(facts, images)):
        kind = causes.FOREIGN_KERNEL_FIRST
    elif name is not None and name.fips and not (target is not None and target.fips):
        kind = causes.FIPS_KERNEL_FIRST
    removal = _removal(starts, images)
    return kind.error(starts=starts, intended=intended, cause=cause, removal=removal, selection=selection)


def _removal(release: str, images: Images | None) -> str:
    """Return the command that removes a kernel."""
    if images is None:
        return f"dpkg --purge linux-image-unsigned-{release}"
    packages = [package.name for package in images.get(release, ())]
    if packages:
        return f"apt-get purge {' '.join(packages)}"
    return f"rm /boot/*-{shlex.quote(release)} && update-grub"


def _selection(choice: BootChoice, intended: str) -> str:
    """Return the commands that make GRUB start a kernel."""
    if choice.cause == "link":
        return f"ln -sf boot/vmlinuz-{intended} /vmlinuz"
    if choice.cause == "next_entry":
        return "grub-editenv - unset next_entry"
    entry = choice.menu.get(intended)
    if entry is None:
        return "update-grub, because the boot menu has no entry for it"
    if choice.cause == "saved_entry":
        return f"grub-set-default {shlex.quote(entry)}, or boot_entry: set for the next boot only"
    default = f"GRUB_DEFAULT={shlex.quote(entry)}"
    return f"set {default} in /etc/default/grub and run update-grub, or boot_entry: set for the next boot only"


def _is_image(package: Package, release: str) -> bool:
    return "image" in package.name and package.name.endswith(f"-{release}") and "-extra-" not in package.name
