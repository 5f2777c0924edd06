# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decisions of a kernel upgrade: who needs one, the kernel that is chosen, and the causes of a failure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import upgrade_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.upgrade_plan import UpgradePlan
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt, kernel
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import (
    InstallRun,
    KernelOnDisk,
    KernelPackages,
    Package,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from tests.samples.facts import a_host

TODAY = dt.datetime(2026, 1, 10, 6, tzinfo=dt.timezone.utc)
IMAGES = "linux-image-4.4.0-21-generic linux-image-4.4.0-210-generic linux-image-4.4.0-99-generic"


def running(release: str | None, **changes: t.Any) -> HostFacts:
    """A host that runs a kernel."""
    identity = kernel.identify(release, None, None, signature_absent=True, in_container=False)
    return dataclasses.replace(a_host(), kernel=identity, now=TODAY, **changes)


def found(
    installed: str = "", available: str = "", metapackages: dict[str, str] | None = None, held: str = "", **more: t.Any
) -> KernelPackages:
    """The packages of a host; names are separated by spaces, and a metapackage depends on one image."""
    packages = {
        name: Package(name, "1", installed=True, held=name in held.split())
        for name in (*installed.split(), *held.split())
    }
    fields = {"interrupted": (), "boot_free": None, "boot_used": {}, **more}
    images = {name: (image,) for name, image in (metapackages or {}).items()}
    return KernelPackages(packages, tuple(available.split()), images, **fields)


def plan(facts: HostFacts, packages: KernelPackages, **options: t.Any) -> UpgradePlan:
    return upgrade_plan.plan_upgrade(facts, packages, **{"series": None, "flavour": None, **options})


def failure(function: t.Callable[..., object], *arguments: object, **more: object) -> LivepatchError:
    with pytest.raises(LivepatchError) as caught:
        function(*arguments, **more)
    assert caught.value.message
    assert caught.value.remedy
    return caught.value


# --- who needs another kernel


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"wsl": True}, "container"),
        ({"container": "lxc"}, "container"),
        ({"root": False}, "not_root"),
        ({}, None),
        ({"root": None}, None),
    ],
)
def test_a_kernel_needs_a_machine_and_root(changes: dict[str, t.Any], expected: str | None) -> None:
    if expected is None:
        upgrade_plan.refuse_hosts_without_kernel(a_host(**changes))
    else:
        assert failure(upgrade_plan.refuse_hosts_without_kernel, a_host(**changes)).id == expected


@pytest.mark.parametrize(
    ("client", "within", "force", "expected"),
    [
        (None, 0, False, []),
        (None, 30, False, []),
        (None, 0, True, ["forced"]),
        ({"patch_state": "applied", "supported": "supported"}, 30, False, []),
        ({"patch_state": "applied", "supported": "supported"}, 30, True, ["forced"]),
        ({"patch_state": "kernel-upgrade-required"}, 0, False, ["kernel_upgrade_required"]),
        ({"supported": "kernel-upgrade-required"}, 0, True, ["kernel_upgrade_required"]),
        ({"supported": "kernel-end-of-life"}, 0, False, ["kernel_end_of_life"]),
        ({"patch_state": "applied-with-bug"}, 0, False, ["applied_with_bug"]),
        ({"patch_state": "applied-with-bug"}, 0, True, ["applied_with_bug"]),
        ({"upgrade_required_by": dt.date(2026, 1, 9)}, 0, False, ["upgrade_date_passed"]),
        ({"upgrade_required_by": dt.date(2026, 1, 10)}, 0, False, ["upgrade_due_soon"]),
        ({"upgrade_required_by": dt.date(2026, 1, 20)}, 9, False, []),
        ({"upgrade_required_by": dt.date(2026, 1, 20)}, 10, False, ["upgrade_due_soon"]),
    ],
)
def test_reasons_for_an_upgrade(client: dict[str, t.Any] | None, within: int, force: bool, expected: list[str]) -> None:
    status = None if client is None else ClientStatus(enabled=True, **client)
    facts = running("4.4.0-21-generic", client=status)
    reasons = upgrade_plan.reasons_to_upgrade(facts, within_days=within, force=force)
    assert [reason["id"] for reason in reasons] == expected


# --- the kernel that is chosen


HWE = {"linux-image-generic-hwe-16.04": "linux-image-4.15.0-142-generic"}


@pytest.mark.parametrize(
    ("release", "packages", "options", "target", "names"),
    [
        # Releases are compared as numbers: 210 is newer than 99.
        ("4.4.0-21-generic", found(available=IMAGES), {}, "4.4.0-210-generic", "linux-image-4.4.0-210-generic"),
        # A metapackage decides, even if the archive has a newer image. Its family is upgraded with it.
        (
            "4.4.0-21-generic",
            found(
                "linux-generic linux-image-generic linux-headers-generic linux-tools-lowlatency"
                " linux-headers-4.4.0-21-generic",
                IMAGES,
                {"linux-image-generic": "linux-image-4.4.0-99-generic"},
            ),
            {},
            "4.4.0-99-generic",
            "linux-generic linux-headers-generic linux-image-generic",
        ),
        # A metapackage of another series does not count, unless this series is selected.
        (
            "4.4.0-21-generic",
            found("linux-image-generic-hwe-16.04", IMAGES, HWE),
            {},
            "4.4.0-210-generic",
            "linux-image-4.4.0-210-generic",
        ),
        (
            "4.4.0-21-generic",
            found("linux-image-generic-hwe-16.04", IMAGES, HWE),
            {"series": "4.15"},
            "4.15.0-142-generic",
            "linux-image-generic-hwe-16.04",
        ),
        # The packages that the running kernel has in addition to its image, if the archive has them for the new one.
        (
            "4.15.0-20-generic",
            found(
                "linux-image-4.15.0-20-generic linux-modules-extra-4.15.0-20-generic linux-headers-4.15.0-20-generic",
                "linux-image-4.15.0-142-generic linux-image-unsigned-4.15.0-142-generic"
                " linux-modules-extra-4.15.0-142-generic",
            ),
            {},
            "4.15.0-142-generic",
            "linux-image-4.15.0-142-generic linux-modules-extra-4.15.0-142-generic",
        ),
        # Another flavour is another kernel.
        (
            "4.15.0-1050-aws",
            found(available="linux-image-4.15.0-142-generic linux-image-4.15.0-1099-aws"),
            {},
            "4.15.0-1099-aws",
            "linux-image-4.15.0-1099-aws",
        ),
        (
            "6.1.0-41-cloud-amd64",
            found(
                available="linux-image-6.1.0-42-cloud-amd64 linux-image-6.1.0-43-amd64"
                " linux-image-6.1.0-43-cloud-amd64-dbg"
            ),
            {},
            "6.1.0-42-cloud-amd64",
            "linux-image-6.1.0-42-cloud-amd64",
        ),
        (
            "4.4.0-21-generic",
            found(available=f"{IMAGES} linux-image-4.4.0-300-lowlatency"),
            {"flavour": "lowlatency"},
            "4.4.0-300-lowlatency",
            "linux-image-4.4.0-300-lowlatency",
        ),
        ("4.4.0-21-generic", found(available=IMAGES), {"flavour": "lowlatency"}, "4.4.0-21-generic", ""),
        # Installed, but not running.
        ("4.4.0-21-generic", found("linux-image-4.4.0-210-generic", IMAGES), {}, "4.4.0-210-generic", ""),
        # Nothing newer.
        ("4.4.0-210-generic", found("linux-image-4.4.0-210-generic", IMAGES), {}, "4.4.0-210-generic", ""),
        ("4.4.0-211-generic", found(available=IMAGES), {}, "4.4.0-211-generic", ""),
        ("4.4.0-211-generic", found(), {}, "4.4.0-211-generic", ""),
    ],
)
def test_the_chosen_kernel(
    release: str, packages: KernelPackages, options: dict[str, str], target: str, names: str
) -> None:
    assert plan(running(release), packages, **options) == UpgradePlan(target, tuple(names.split()))


@pytest.mark.parametrize("release", [None, "mine", "5.10.0", "6.12.43+deb13-amd64"])
def test_series_and_flavour_may_be_unknown(release: str | None) -> None:
    assert failure(plan, running(release), found(available=IMAGES)).id == "kernel_unknown"


# --- what prevents an installation


@pytest.mark.parametrize(
    ("packages", "repair", "expected"),
    [
        (found(available=IMAGES), False, None),
        (found(available=IMAGES, interrupted=("x",)), True, None),
        (found(available=IMAGES, interrupted=("x",)), False, "dpkg_interrupted"),
        (found(available=IMAGES, boot_free=100, boot_used={"a": 100, "b": 40}), True, "boot_full"),
        (found(available=IMAGES, boot_free=113, boot_used={"a": 100, "b": 50}), True, "boot_full"),
        (found(available=IMAGES, boot_free=116, boot_used={"a": 100}), True, None),
        (found(available=IMAGES, boot_free=0), True, None),
        # Nothing is installed.
        (found("linux-image-4.4.0-210-generic", boot_free=0, boot_used={"a": 100}), True, None),
        (found(available=IMAGES, held="linux-image-4.4.0-210-generic"), True, None),
    ],
)
def test_plans_that_must_not_be_installed(packages: KernelPackages, repair: bool, expected: str | None) -> None:
    made = plan(running("4.4.0-21-generic"), packages)
    if expected is None:
        upgrade_plan.check_plan(made, packages, repair=repair)
    else:
        assert failure(upgrade_plan.check_plan, made, packages, repair=repair).id == expected


def test_a_held_metapackage_is_named() -> None:
    packages = found(
        "linux-generic", IMAGES, {"linux-image-generic": "linux-image-4.4.0-210-generic"}, "linux-image-generic"
    )
    made = plan(running("4.4.0-21-generic"), packages)
    assert upgrade_plan.held_packages(made, packages) == ["linux-image-generic"]
    error = failure(upgrade_plan.check_plan, made, packages, repair=True)
    assert (error.id, "linux-image-generic is held back" in error.message) == ("packages_held", True)
    assert "apt-mark unhold linux-image-generic" in str(error.remedy)


# --- what a run resulted in


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        *((100, f"E: {text.capitalize()}", "apt_locked") for text in apt.LOCK_TEXTS),
        (100, "E: Held packages were changed and -y was used", "packages_held"),
        (100, "E: Packages need to be removed but remove is disabled.", "would_remove"),
        (
            100,
            "cp: error writing '/boot/x': No space left on device\nE: Sub-process returned an error code",
            "disk_full",
        ),
        (100, "dpkg: error processing: No space left on device", "disk_full"),
        (100, "E: Failed to fetch http://archive.example.com/x", "archive_unreachable"),
        (100, "E: Sub-process /usr/bin/dpkg returned an error code (1)", "dpkg_failed"),
        (100, "something else", "apt_failed"),
        (1, "", "apt_failed"),
    ],
)
def test_causes_of_a_failed_run(code: int, log: str, expected: str) -> None:
    assert failure(upgrade_plan.check_run, InstallRun("ended", code, log)).id == expected
    upgrade_plan.check_run(InstallRun("ended", 0, log))


@pytest.mark.parametrize("state", ["lost", "starting", "absent"])
def test_a_run_without_a_result_is_lost(state: t.Any) -> None:
    assert failure(upgrade_plan.check_run, InstallRun(state)).id == "run_lost"


def test_the_last_errors_are_in_the_message() -> None:
    run = InstallRun("ended", 100, "Reading\nE: one\n\nDone\nE: two\nE: three\nE: four\nbye")
    assert failure(upgrade_plan.check_run, run).message.endswith("exit code 100: E: two / E: three / E: four")
    assert failure(upgrade_plan.check_run, InstallRun("ended", 1, " \n")).message.endswith("exit code 1: no output")


def test_an_installed_kernel_must_be_bootable() -> None:
    upgrade_plan.check_kernel_on_disk(KernelOnDisk((), ("/vmlinuz",)), "r")
    incomplete = KernelOnDisk(("/boot/initrd.img-r",), ("/vmlinuz",))
    assert failure(upgrade_plan.check_kernel_on_disk, incomplete, "r").id == "kernel_incomplete"
    assert failure(upgrade_plan.check_kernel_on_disk, KernelOnDisk((), ()), "r").id == "no_boot_entry"
