# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The check before a reboot: whether the boot loader starts the intended kernel, and how to make it do so."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import boot_order
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.boot_order import BootOrder
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import kernel
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import Package
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.boot_loader import BootChoice, choose_entry
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from tests.lab.hosts.grub import UUID, grub_configuration
from tests.samples.facts import a_host

OLD, NEW, MAINLINE = "5.4.0-42-generic", "5.4.0-216-generic", "5.7.7-050707-generic"
FIPS, HWE, CUSTOM = "5.4.0-1021-fips", "5.15.0-46-generic", "5.4.0-999-generic"
ENTRY = f"gnulinux-advanced-{UUID}>gnulinux-{NEW}-advanced-{UUID}"
UNKNOWN = BootChoice(None, problem="/boot/grub/grub.cfg could not be read")


def host(running: str = OLD, **changes: t.Any) -> HostFacts:
    parts = running.rsplit("-", 1)
    identity = kernel.identify(running, None, f"Ubuntu {parts[0]}.1-{parts[1]} 5.4", False, in_container=False)
    return dataclasses.replace(a_host(), kernel=identity, newest_installed=NEW, **changes)


def installed(*releases: str, **more: t.Any) -> dict[str, tuple[Package, ...]]:
    images = {}
    for release in releases:
        version = release.rsplit("-", 1)[0] + (".202007010943" if release == MAINLINE else ".1")
        kinds = ("image-unsigned", "modules") if release == MAINLINE else ("image", "modules")
        images[release] = tuple(Package(f"linux-{kind}-{release}", version, True, False, **more) for kind in kinds)
    return images


IMAGES = installed(OLD, NEW, MAINLINE, FIPS, HWE) | installed(CUSTOM, source="linux-upstream")


def grub(*releases: str, **more: t.Any) -> BootChoice:
    return choose_entry(grub_configuration(releases, **more), "")


def check(choice: BootChoice, images: boot_order.Images | None = IMAGES, *, select: bool = False) -> BootOrder:
    return boot_order.check_boot_order(choice, NEW, host(), images, select=select)


def failure(function: t.Callable[..., object], *arguments: object, **more: object) -> LivepatchError:
    with pytest.raises(LivepatchError) as caught:
        function(*arguments, **more)
    assert caught.value.remedy
    return caught.value


def test_the_intended_kernel_may_be_started() -> None:
    assert check(grub(NEW, OLD)) == BootOrder()
    assert check(grub(MAINLINE, NEW, default=ENTRY)) == BootOrder()
    assert check(BootChoice(NEW, cause="link")) == BootOrder()
    assert check(grub(NEW, OLD), select=True) == BootOrder()


@pytest.mark.parametrize(
    ("starts", "text", "removal"),
    [
        (
            MAINLINE,
            "which Ubuntu did not build",
            f"apt-get purge linux-image-unsigned-{MAINLINE} linux-modules-{MAINLINE}",
        ),
        (CUSTOM, "which Ubuntu did not build", f"apt-get purge linux-image-{CUSTOM} linux-modules-{CUSTOM}"),
        ("5.4.0-300-generic", "which Ubuntu did not build", "rm /boot/*-5.4.0-300-generic && update-grub"),
        (FIPS, "the FIPS kernel", f"apt-get purge linux-image-{FIPS} linux-modules-{FIPS}"),
        (HWE, f"would start {HWE} instead of {NEW} (it is the first entry", f"apt-get purge linux-image-{HWE}"),
    ],
)
def test_another_kernel_prevents_the_reboot(starts: str, text: str, removal: str) -> None:
    error = failure(check, grub(starts, NEW, OLD))
    assert error.id == "boot_order"
    assert starts in error.message
    assert text in error.message
    assert removal in str(error.remedy)
    assert f"GRUB_DEFAULT='{ENTRY}'" in str(error.remedy)
    assert "boot_entry: set" in str(error.remedy)


def test_another_fips_kernel_is_one_of_the_same_kind() -> None:
    newer = "5.4.0-1099-fips"
    error = failure(boot_order.check_boot_order, grub(FIPS, newer), newer, host(), installed(FIPS, newer))
    assert f"would start {FIPS} instead of {newer} (it is the first entry" in error.message


def test_packages_may_be_unknown() -> None:
    error = failure(check, grub(MAINLINE, NEW), None)
    assert "which Ubuntu did not build" in error.message
    assert f"dpkg --purge linux-image-unsigned-{MAINLINE}" in str(error.remedy)
    # Without packages, only the name shows who built a kernel.
    assert "which Ubuntu did not build" not in failure(check, grub(CUSTOM, NEW), None).message


@pytest.mark.parametrize(
    ("environment", "cause", "remedy"),
    [
        (f"saved_entry=gnulinux-{OLD}", "it is the first entry", "grub-set-default"),
        (f"saved_entry=1>Ubuntu, with Linux {OLD}", "saved_entry of", f"grub-set-default '{ENTRY}'"),
        (f"next_entry=1>Ubuntu, with Linux {OLD}", "next_entry of", "grub-editenv - unset next_entry"),
    ],
)
def test_a_stored_entry_is_named(environment: str, cause: str, remedy: str) -> None:
    first = OLD if "first" in cause else NEW
    choice = choose_entry(grub_configuration([first, NEW, OLD], default="${saved_entry}"), environment)
    error = failure(check, choice)
    assert cause in error.message
    assert remedy in str(error.remedy) or "first" in cause


def test_a_fixed_default_is_named() -> None:
    error = failure(check, grub(NEW, OLD, default=f"Advanced options for Ubuntu>Ubuntu, with Linux {OLD}"))
    assert "GRUB_DEFAULT selects it" in error.message


def test_a_kernel_without_an_entry_needs_a_new_menu() -> None:
    assert "update-grub" in str(failure(check, grub(OLD)).remedy)
    assert failure(check, grub(OLD), select=True).id == "boot_order"


def test_an_entry_without_a_kernel_is_named() -> None:
    choice = choose_entry("menuentry 'Windows' {\n chainloader +1\n}\n" + grub_configuration([NEW]), "")
    assert "the entry 'Windows' instead" in failure(check, choice).message


@pytest.mark.parametrize("environment", ["next_entry=1>1", f"saved_entry=1>Ubuntu, with Linux {NEW} (recovery mode)"])
def test_the_recovery_mode_is_never_booted(environment: str) -> None:
    choice = choose_entry(grub_configuration([NEW, OLD], default="${saved_entry}"), environment)
    assert f"the entry 'Ubuntu, with Linux {NEW} (recovery mode)' instead" in failure(check, choice).message
    assert check(choice, select=True) == BootOrder(entry=ENTRY)


def test_the_entry_can_be_selected_for_one_boot() -> None:
    for starts in (MAINLINE, FIPS, HWE):
        assert check(grub(starts, NEW), select=True) == BootOrder(entry=ENTRY)


def test_check_mode_predicts_the_order() -> None:
    for choice in (grub(OLD), BootChoice(OLD, cause="link"), UNKNOWN):
        assert boot_order.check_boot_order(choice, NEW, host(), installed(OLD), planned=True) == BootOrder()
    for choice in (grub(MAINLINE, OLD), grub(HWE, OLD), grub(OLD, default="1>0")):
        with pytest.raises(LivepatchError, match="instead of"):
            boot_order.check_boot_order(choice, NEW, host(), IMAGES, planned=True)
    # The menu has a kernel of another flavour in the same version, or begins with another system.
    windows = "menuentry 'Windows' {\n chainloader +1\n}\n" + grub_configuration([OLD])
    for choice in (grub(NEW.replace("generic", "lowlatency"), OLD), choose_entry(windows, "")):
        with pytest.raises(LivepatchError, match="instead"):
            boot_order.check_boot_order(choice, NEW, host(), IMAGES, planned=True)


def test_a_link_leads_to_another_kernel() -> None:
    error = failure(check, BootChoice(OLD, cause="link"))
    assert "the link /vmlinuz leads to it" in error.message
    assert f"ln -sf boot/vmlinuz-{NEW} /vmlinuz" in str(error.remedy)


def test_an_unknown_order_is_a_warning() -> None:
    order = check(UNKNOWN, installed(OLD, NEW, HWE))
    assert order.warning is not None
    assert "could not be read" in order.warning


def test_an_unknown_order_with_a_foreign_kernel_is_refused() -> None:
    error = failure(check, UNKNOWN)
    assert (error.id, MAINLINE in error.message, CUSTOM in error.message) == ("boot_order", True, True)
    assert f"apt-get purge linux-image-unsigned-{MAINLINE}" in str(error.remedy)
    # An image in /boot that no package owns.
    facts = host(installed_kernels=(OLD, NEW, "6.1.0-own"))
    error = failure(boot_order.check_boot_order, UNKNOWN, NEW, facts, installed(OLD, NEW), select=False)
    assert "6.1.0-own" in error.message


# --- the intended kernel


def test_the_newest_kernel_is_one_of_ubuntu() -> None:
    assert boot_order.newest_own_kernel(host(), installed(OLD, NEW, MAINLINE)) == NEW
    assert boot_order.newest_own_kernel(host(), installed(OLD, MAINLINE)) == OLD
    assert boot_order.newest_own_kernel(host(), IMAGES) == HWE
    assert boot_order.newest_own_kernel(host(), None) == NEW
    custom = installed(OLD, NEW) | installed("5.4.0-998-generic", maintainer="Me <me@example.com>")
    assert boot_order.newest_own_kernel(host(), custom) == NEW


def test_a_foreign_kernel_is_no_target() -> None:
    for release, images in ((MAINLINE, None), (MAINLINE, IMAGES), (CUSTOM, IMAGES)):
        error = failure(boot_order.refuse_foreign_kernel, release, host(), images)
        assert (error.id, release in error.message) == ("foreign_kernel", True)
    for release in (NEW, FIPS, "5.4.0-300-generic"):
        boot_order.refuse_foreign_kernel(release, host(), IMAGES)


def test_a_proven_kernel_shows_that_packages_prove_nothing() -> None:
    """A host with Ubuntu's kernels in the packages of somebody else."""
    repacked = installed(OLD, NEW, maintainer="Vendor <kernels@example.com>")
    assert boot_order.newest_own_kernel(host(), repacked) == NEW
    assert boot_order.newest_own_kernel(host(), {**repacked, **installed(MAINLINE)}) == NEW
    boot_order.refuse_foreign_kernel(NEW, host(), repacked)
    assert boot_order.newest_own_kernel(host(running="5.4.0-9-generic"), repacked) is None


def test_other_distributions_build_their_own_kernels() -> None:
    debian = host(os_release={"ID": "debian"})
    mint = host(os_release={"ID": "linuxmint", "ID_LIKE": "ubuntu debian"})
    assert (boot_order.based_on_ubuntu(debian), boot_order.based_on_ubuntu(mint)) == (False, True)
    package = Package(
        "linux-image-6.1.0-41-cloud-amd64", "6.1.158-1", True, False, "linux-signed-amd64", "D <d@debian.org>"
    )
    images = {"6.1.0-41-cloud-amd64": (package,)}
    for facts, foreign in ((debian, False), (mint, True)):
        ubuntu = boot_order.based_on_ubuntu(facts)
        assert boot_order.is_foreign("6.1.0-41-cloud-amd64", images, ubuntu=ubuntu) is foreign


@pytest.mark.parametrize(
    ("secure_boot", "kinds", "is_refused"),
    [
        (True, ("image-unsigned", "modules"), True),
        (True, ("image", "modules"), False),
        (True, ("image", "image-unsigned"), False),
        (True, ("modules",), False),
        (False, ("image-unsigned",), False),
        (None, ("image-unsigned",), False),
    ],
)
def test_secure_boot_starts_signed_kernels_only(
    secure_boot: bool | None, kinds: tuple[str, ...], is_refused: bool
) -> None:
    images = {NEW: tuple(Package(f"linux-{kind}-{NEW}", "5.4.0-216.1", True, False) for kind in kinds)}
    facts = host(secure_boot=secure_boot)
    if is_refused:
        error = failure(boot_order.refuse_unsigned_kernel, NEW, facts, images)
        assert (error.id, f"linux-image-{NEW}" in str(error.remedy)) == ("kernel_unsigned", True)
    else:
        boot_order.refuse_unsigned_kernel(NEW, facts, images)
    # A kernel that runs has been started.
    boot_order.refuse_unsigned_kernel(NEW, host(NEW, secure_boot=secure_boot), images)


def test_a_broken_menu_is_never_booted() -> None:
    choice = BootChoice(None, problem="it is incomplete", broken=True)
    for select in (True, False):
        error = failure(check, choice, installed(OLD, NEW), select=select)
        assert (error.id, "update-grub" in str(error.remedy)) == ("boot_order", True)
