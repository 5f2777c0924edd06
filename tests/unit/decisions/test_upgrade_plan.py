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
from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import parse_release
from tests.samples.facts import a_host

TODAY = dt.datetime(2026, 1, 10, 6, tzinfo=dt.timezone.utc)
IMAGES = "linux-image-4.4.0-21-generic linux-image-4.4.0-210-generic linux-image-4.4.0-99-generic"


def running(release: str | None, *, ubuntu: bool = True, upload: str = "1", **changes: t.Any) -> HostFacts:
    """A host that runs a kernel, which Ubuntu built or not."""
    parts = (release or "").rsplit("-", 1)
    signature = f"Ubuntu {parts[0]}.{upload}-{parts[1]} 4.4" if ubuntu and len(parts) == 2 else None
    identity = kernel.identify(release, None, signature, signature_absent=True, in_container=False)
    return dataclasses.replace(a_host(), kernel=identity, now=TODAY, **changes)


def found(
    installed: str = "", available: str = "", metapackages: dict[str, str] | None = None, held: str = "", **more: t.Any
) -> KernelPackages:
    """The packages of a host; names are separated by spaces, and a metapackage depends on one image."""
    packages = {
        name: Package(name, _version(name), installed=True, held=name in held.split())
        for name in (*installed.split(), *held.split())
    }
    fields = {"interrupted": (), "boot_free": None, "boot_used": {}, **more}
    images = {name: (image,) for name, image in (metapackages or {}).items()}
    return KernelPackages(packages, tuple(available.split()), images, **fields)


def _version(name: str) -> str:
    """The version of a package of Ubuntu, by its name."""
    release = parse_release(apt.image_release(name) or "")
    return f"{release.package_version}.1" if release is not None else "1"


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


def test_a_reason_names_the_days_that_are_left() -> None:
    facts = running("4.4.0-21-generic", client=ClientStatus(enabled=True, upgrade_required_by=dt.date(2026, 1, 20)))
    (reason,) = upgrade_plan.reasons_to_upgrade(facts, within_days=10, force=False)
    assert reason["message"] == "patches for this kernel end on 2026-01-20, in 10 days"


@pytest.mark.parametrize(
    ("options", "needed"),
    [({}, False), ({"force": True}, False), ({"required": True}, True), ({"force": True, "required": True}, True)],
)
def test_a_forced_upgrade_is_not_a_needed_one(options: dict[str, bool], needed: bool) -> None:
    found = upgrade_plan.reasons_to_upgrade(
        running("4.4.0-21-generic"), **{"within_days": 0, "force": False, **options}
    )
    assert len(found) == bool(options)
    assert upgrade_plan.is_needed(found) is needed


# --- the kernel that is chosen


GA = {"linux-image-generic": "linux-image-4.4.0-210-generic"}
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
        # A metapackage leads to another series. If there are several, one of the running series is preferred.
        (
            "4.13.0-37-generic",
            found("linux-image-generic-hwe-16.04", IMAGES, HWE),
            {},
            "4.15.0-142-generic",
            "linux-image-generic-hwe-16.04",
        ),
        (
            "4.13.0-37-generic",
            found("linux-image-generic linux-image-generic-hwe-16.04", IMAGES, {**GA, **HWE}),
            {},
            "4.15.0-142-generic",
            "linux-image-generic-hwe-16.04",
        ),
        (
            "4.4.0-21-generic",
            found("linux-image-generic linux-image-generic-hwe-16.04", IMAGES, {**GA, **HWE}),
            {},
            "4.4.0-210-generic",
            "linux-image-generic",
        ),
        (
            "4.4.0-21-generic",
            found("linux-image-generic-hwe-16.04", IMAGES, HWE),
            {"series": "4.4"},
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


def test_a_line_does_not_replace_the_running_kernel() -> None:
    line = {"series": "4.4", "flavour": "generic"}
    assert failure(plan, running(None), found(available=IMAGES), **line).id == "kernel_unknown"


def test_each_image_of_a_metapackage_counts() -> None:
    images = ("linux-image-6.8.0-90-generic", "linux-image-5.7.7-050707-generic", "linux-image-5.15.0-100-generic")
    packages = dataclasses.replace(found(), metapackages={"linux-image-generic": images})
    assert plan(running("5.15.0-50-generic"), packages).target == "5.15.0-100-generic"
    assert plan(running("5.15.0-50-generic"), packages, series="5.15").target == "5.15.0-100-generic"
    mainline = dataclasses.replace(packages, metapackages={"linux-image-generic": images[1:2]})
    lead = upgrade_plan.leading_release(running("5.7.0-10-generic"), mainline, series=None, flavour=None)
    assert lead is None, "Ubuntu did not build this image"


# --- the line of a host


def image(release: str, version: str = "", **more: t.Any) -> Package:
    name = f"linux-image-{release}"
    return Package(name, version or _version(name), installed=True, held=False, **more)


def with_images(packages: KernelPackages, *images: Package) -> KernelPackages:
    return dataclasses.replace(packages, packages={**packages.packages, **{each.name: each for each in images}})


def test_a_mainline_kernel_is_no_target() -> None:
    packages = found(
        "linux-image-generic linux-image-unsigned-5.4.23-050423-generic linux-image-5.4.0-42-generic",
        "linux-image-5.4.0-216-generic linux-image-unsigned-5.4.23-050423-generic",
        {"linux-image-generic": "linux-image-5.4.0-216-generic"},
    )
    assert plan(running("5.4.0-42-generic"), packages) == UpgradePlan("5.4.0-216-generic", ("linux-image-generic",))
    without_metapackage = dataclasses.replace(packages, metapackages={})
    assert plan(running("5.4.0-42-generic"), without_metapackage).target == "5.4.0-216-generic"


@pytest.mark.parametrize(
    "foreign",
    [
        image("5.3.0-7629-generic", "5.3.0-7629.31~1581628854~19.10~e9b46b8"),
        image("5.3.0-99-generic", "5.3.0-99-1", source="linux-upstream"),
        image("5.3.0-99-generic", "5.3.0-99.1", source="linux-5.3.0"),
        image("5.3.0-99-generic", "1"),
        image("5.3.0-99-generic", maintainer="Somebody <kernels@example.com>"),
        image("5.3.0-99-generic", maintainer="Somebody <kernels@notubuntu.com>"),
    ],
)
def test_the_package_shows_who_built_a_kernel(foreign: Package) -> None:
    packages = with_images(found(available=f"{foreign.name} linux-image-5.3.0-50-generic"), foreign)
    assert plan(running("5.3.0-40-generic"), packages).target == "5.3.0-50-generic"


def test_packages_of_ubuntu_count() -> None:
    team = "Canonical Kernel Team <kernel-team@lists.canonical.com>"
    for own in (
        image("5.3.0-99-generic", "5.3.0-99.1~18.04.1", source="linux-signed-hwe", maintainer=team),
        image("5.3.0-99-generic", "5.3.0-99.1+fips2", maintainer="Ubuntu Kernel Team <kernel-team@lists.ubuntu.com>"),
    ):
        packages = with_images(found(available="linux-image-5.3.0-50-generic"), own)
        assert plan(running("5.3.0-40-generic"), packages) == UpgradePlan("5.3.0-99-generic", ())


def test_a_mainline_kernel_leads_back_even_with_a_package() -> None:
    """The mainline archive has packages too, whose maintainer and version can be any."""
    leads = {"linux-image-generic-hwe-20.04": "linux-image-5.15.0-46-generic"}
    names = "linux-image-generic-hwe-20.04 linux-image-5.15.0-46-generic linux-image-5.19.0-051900-generic"
    packages = found(names, metapackages=leads)
    assert plan(running("5.19.0-051900-generic", ubuntu=False), packages) == UpgradePlan("5.15.0-46-generic", ())


def test_a_foreign_kernel_leads_back_to_the_metapackage() -> None:
    leads = {"linux-image-generic-hwe-20.04": "linux-image-5.15.0-46-generic"}
    packages = found("linux-image-generic-hwe-20.04 linux-image-5.15.0-46-generic", metapackages=leads)
    for release in ("5.19.0-051900-generic", "5.19.0-50-generic", "5.15.90-mine", "6.1.0-xanmod1"):
        assert plan(running(release, ubuntu=False), packages) == UpgradePlan("5.15.0-46-generic", ()), release


def test_a_fips_kernel_that_was_left_behind() -> None:
    leads = {"linux-image-generic": "linux-image-4.15.0-212-generic"}
    packages = found(
        "linux-image-generic linux-image-4.15.0-212-generic linux-image-4.15.0-1011-fips",
        "linux-image-4.15.0-1011-fips linux-image-4.15.0-212-generic",
        leads,
    )
    host = running("4.15.0-1011-fips")
    assert plan(host, packages) == UpgradePlan("4.15.0-212-generic", ())
    with_fips = dataclasses.replace(
        packages, metapackages={**packages.metapackages, "linux-image-fips": ("linux-image-4.15.0-1099-fips",)}
    )
    assert plan(host, with_fips).target == "4.15.0-1099-fips"


@pytest.mark.parametrize(
    ("release", "metapackages", "available", "target"),
    [
        # A cloud's kernels roll to another series.
        ("5.15.0-1080-aws", {"linux-image-aws": "linux-image-6.8.0-1020-aws"}, "", "6.8.0-1020-aws"),
        ("6.5.0-14-generic", {"linux-image-generic-hwe-22.04": "linux-image-6.8.0-90-generic"}, "", "6.8.0-90-generic"),
        (
            "6.5.0-14-generic",
            {"linux-image-generic-hwe-22.04-edge": "linux-image-6.8.0-90-generic"},
            "linux-image-6.5.0-44-generic",
            "6.8.0-90-generic",
        ),
        # The metapackage of a flavour leads to another flavour.
        (
            "6.8.0-50-lowlatency",
            {"linux-image-lowlatency-hwe-24.04": "linux-image-6.17.0-9-generic"},
            "linux-image-6.8.0-60-lowlatency",
            "6.17.0-9-generic",
        ),
        # A metapackage that depends on the image itself.
        ("4.4.0-1002-fips", {"linux-fips": "linux-image-4.4.0-1090-fips"}, "", "4.4.0-1090-fips"),
        # Flavours with longer names have metapackages of their own, which are not those of the running one.
        (
            "5.15.0-1050-azure",
            {
                "linux-image-azure": "linux-image-5.15.0-1080-azure",
                "linux-image-azure-fips": "linux-image-5.15.0-1090-azure-fips",
                "linux-image-azure-fde": "linux-image-5.15.0-1095-azure-fde",
            },
            "",
            "5.15.0-1080-azure",
        ),
        (
            "5.15.0-1050-azure-fips",
            {
                "linux-image-azure": "linux-image-5.15.0-1095-azure",
                "linux-image-azure-fips": "linux-image-5.15.0-1090-azure-fips",
            },
            "",
            "5.15.0-1090-azure-fips",
        ),
        (
            "6.8.0-50-generic",
            {
                "linux-image-generic": "linux-image-6.8.0-90-generic",
                "linux-image-generic-64k": "linux-image-6.8.0-95-generic-64k",
            },
            "",
            "6.8.0-90-generic",
        ),
        (
            "6.8.0-1010-ibm",
            {"linux-image-ibm-gt": "linux-image-6.8.0-1090-ibm-gt"},
            "linux-image-6.8.0-1020-ibm",
            "6.8.0-1020-ibm",
        ),
        # The lines of a cloud: -edge, -lts-NN.NN and one series, of which that of the running series counts.
        (
            "6.8.0-1010-aws",
            {
                "linux-image-aws-edge": "linux-image-6.17.0-1005-aws",
                "linux-image-aws-lts-24.04": "linux-image-6.8.0-1040-aws",
                "linux-image-aws-6.14": "linux-image-6.14.0-1020-aws",
            },
            "",
            "6.8.0-1040-aws",
        ),
        ("5.15.0-1030-gke", {"linux-image-gke-5.15": "linux-image-5.15.0-1080-gke"}, "", "5.15.0-1080-gke"),
        ("6.5.0-1010-oem", {"linux-image-oem-22.04d": "linux-image-6.5.0-1027-oem"}, "", "6.5.0-1027-oem"),
        ("6.1.0-1010-oem", {"linux-image-oem-22.04c": "linux-image-6.8.0-90-generic"}, "", "6.8.0-90-generic"),
        (
            "5.15.0-50-generic",
            {"linux-image-virtual-hwe-22.04": "linux-image-6.8.0-90-generic"},
            "",
            "6.8.0-90-generic",
        ),
        # The series of another flavour has ended.
        ("6.0.0-1021-oem", {"linux-image-generic-hwe-22.04": "linux-image-6.8.0-90-generic"}, "", "6.8.0-90-generic"),
        # A flavour with its own newer kernel is kept.
        (
            "5.15.0-1050-aws",
            {"linux-image-virtual": "linux-image-5.15.0-100-generic"},
            "linux-image-5.15.0-1080-aws",
            "5.15.0-1080-aws",
        ),
        ("5.15.0-1050-aws", {"linux-image-virtual": "linux-image-5.15.0-100-generic"}, "", "5.15.0-1050-aws"),
        # From HWE back to GA.
        ("6.8.0-50-generic", {"linux-image-generic": "linux-image-5.15.0-160-generic"}, "", "5.15.0-160-generic"),
        # The metapackage of another flavour leads to the running version, and nothing newer has the running flavour.
        (
            "5.15.0-160-lowlatency",
            {"linux-image-generic": "linux-image-5.15.0-160-generic"},
            "linux-image-5.15.0-160-lowlatency",
            "5.15.0-160-generic",
        ),
        # A newer kernel of the same series, for example from proposed.
        ("5.15.0-161-generic", {"linux-image-generic": "linux-image-5.15.0-160-generic"}, "", "5.15.0-161-generic"),
    ],
)
def test_the_installed_metapackage_defines_the_target(
    release: str, metapackages: dict[str, str], available: str, target: str
) -> None:
    assert plan(running(release), found(" ".join(metapackages), available, metapackages)).target == target


@pytest.mark.parametrize(
    ("client", "release", "expected"),
    [
        ({}, "4.13.0-37-generic", ["series_ended"]),
        ({"supported": "unknown"}, "4.13.0-37-generic", ["series_ended"]),
        ({"supported": "supported"}, "4.13.0-37-generic", []),
        ({"enabled": False}, "4.13.0-37-generic", []),
        ({}, "4.15.0-20-generic", []),
        ({}, "4.18.0-20-generic", []),
    ],
)
def test_a_series_that_has_ended(client: dict[str, t.Any], release: str, expected: list[str]) -> None:
    status = ClientStatus(**{"enabled": True, "patch_state": "nothing-to-apply", **client})
    packages = found("linux-image-generic-hwe-16.04", "", HWE)
    reason = upgrade_plan.series_ended_reason(running(release, client=status), packages)
    assert [reason["id"] for reason in (reason,) if reason] == expected


def test_a_series_without_a_successor_has_not_ended() -> None:
    status = ClientStatus(enabled=True, patch_state="nothing-to-apply")
    assert upgrade_plan.series_ended_reason(running("4.13.0-37-generic", client=status), found()) is None
    packages = found("linux-image-generic-hwe-16.04", "", HWE)
    assert upgrade_plan.series_ended_reason(running(None, client=status), packages) is None


def test_foreign_kernels_that_start_first_are_named() -> None:
    mainline = "linux-image-unsigned-5.7.7-050707-generic"
    packages = found(f"linux-base linux-image-5.4.0-42-generic linux-image-4.1.0-040100-generic {mainline}")
    first = upgrade_plan.sorted_before("5.4.0-216-generic", running("5.4.0-42-generic"), packages)
    assert first == ["5.7.7-050707-generic"]


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
        (found(available=IMAGES, boot_free=229, boot_used={"a": 200}), True, None),
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


def test_a_full_boot_is_described_in_mebibytes() -> None:
    packages = found(available=IMAGES, boot_free=1100 * 1024, boot_used={"a": 1200 * 1024 + 100})
    made = plan(running("4.4.0-21-generic"), packages)
    error = failure(upgrade_plan.check_plan, made, packages, repair=False)
    assert error.message == "/boot has 1100 MiB of free space, and a kernel needs about 1381 MiB"


def test_an_interrupted_run_of_dpkg_is_described() -> None:
    packages = found(available=IMAGES, interrupted=("linux-base", "another"))
    made = plan(running("4.4.0-21-generic"), packages)
    assert "(linux-base)" in failure(upgrade_plan.check_plan, made, packages, repair=False).message


def test_a_failed_run_names_the_held_packages() -> None:
    run = InstallRun("ended", 100, "E: Unable to correct problems, you have held broken packages.")
    packages = found("linux-base", held="linux-image-generic")
    packages = dataclasses.replace(packages, held=("libc6", "linux-image-generic"))
    error = upgrade_plan.run_failure(run, packages, None)
    assert (error.id, "libc6, linux-image-generic: E: Unable" in error.message) == ("packages_held", True)
    assert "linux-base" not in error.message


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


def test_a_failed_run_has_its_cause() -> None:
    packages = found("linux-image-4.4.0-21-generic linux-image-4.4.0-99-generic linux-image-4.4.0-210-generic")
    old = ("4.4.0-21-generic",)
    upgrade_plan.check_run(InstallRun("ended", 0, "E: Unmet dependencies."), packages, *old)
    run = InstallRun("ended", 100, "E: Unmet dependencies. Try 'apt --fix-broken install' with no packages")
    error = failure(upgrade_plan.check_run, run, packages, *old)
    assert (error.id, upgrade_plan.can_be_repaired(error)) == ("apt_broken", True)
    still = failure(upgrade_plan.check_run, run, packages, *old, repaired=True)
    assert (still.id, "did not repair" in still.message) == ("apt_broken", True)
    removing = InstallRun("ended", 100, "E: Packages need to be removed but remove is disabled.")
    assert failure(upgrade_plan.check_run, removing, packages, *old).id == "would_remove"
    assert failure(upgrade_plan.check_run, removing, packages, *old, repaired=True).id == "apt_broken"
    full = InstallRun("ended", 100, "E: mkinitramfs failure cpio 141 lz4 -9 -l 24")
    assert "dpkg --purge linux-image-4.4.0-99-generic" in str(
        failure(upgrade_plan.check_run, full, packages, *old).remedy
    )


@pytest.mark.parametrize("state", ["lost", "starting", "absent"])
def test_a_run_without_a_result_is_lost(state: t.Any) -> None:
    assert failure(upgrade_plan.check_run, InstallRun(state), found(), None).id == "run_lost"


def test_an_installed_kernel_must_be_bootable() -> None:
    upgrade_plan.check_kernel_on_disk(KernelOnDisk((), ("/vmlinuz",)), "r")
    incomplete = KernelOnDisk(("/boot/initrd.img-r",), ("/vmlinuz",))
    assert failure(upgrade_plan.check_kernel_on_disk, incomplete, "r").id == "kernel_incomplete"
    damaged = failure(upgrade_plan.check_kernel_on_disk, KernelOnDisk((), ("/vmlinuz",), ("/boot/vmlinuz-r",)), "r")
    assert (damaged.id, "/boot/vmlinuz-r is empty or damaged" in damaged.message) == ("kernel_incomplete", True)
    assert failure(upgrade_plan.check_kernel_on_disk, KernelOnDisk((), ()), "r").id == "no_boot_entry"
