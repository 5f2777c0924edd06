# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Kernel upgrades and reboots: the hosts that need them, the packages, and the obstacles."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import reboot_plan, upgrade_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.reboot_plan import (
    KernelRebootError,
    RebootPlan,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.upgrade_plan import (
    KernelUpgradeError,
    UpgradePlan,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import (
    InstallRun,
    KernelOnDisk,
    KernelPackages,
    Package,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import Container, Runtime, Unfinished
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.kernel import identify
from tests.samples.facts import NOW, a_client, a_host, a_kernel, a_patch, shipped, without_client

RUNNING, NEWER = "4.4.0-210-generic", "4.4.0-215-generic"
BOOT, LATER = "0c5a3d2e-1111-2222-3333-444455556666", "9c5a3d2e-1111-2222-3333-444455556666"


def reboot_error(function: t.Callable[..., object], *arguments: object, **more: object) -> str:
    with pytest.raises(KernelRebootError) as caught:
        function(*arguments, **more)
    assert str(caught.value)
    assert caught.value.remedy
    return caught.value.id


def upgrade_error(function: t.Callable[..., object], *arguments: object, **more: object) -> str:
    with pytest.raises(KernelUpgradeError) as caught:
        function(*arguments, **more)
    assert str(caught.value)
    assert caught.value.remedy
    return caught.value.id


# --- reboots


@pytest.mark.parametrize(
    ("newest", "unfinished", "kernel", "force", "expected"),
    [
        (RUNNING, None, None, False, RebootPlan("nothing", RUNNING)),
        (None, None, None, False, RebootPlan("nothing", RUNNING)),
        (NEWER, None, None, False, RebootPlan("reboot", NEWER)),
        (NEWER, None, RUNNING, False, RebootPlan("nothing", RUNNING)),
        (RUNNING, None, NEWER, False, RebootPlan("reboot", NEWER)),
        (RUNNING, None, None, True, RebootPlan("reboot", RUNNING)),
        (RUNNING, Unfinished(LATER, ()), None, True, RebootPlan("finish", RUNNING, rebooted_before=True)),
        (NEWER, Unfinished(LATER, ()), None, False, RebootPlan("finish", NEWER, rebooted_before=True)),
        (NEWER, Unfinished(BOOT, ()), None, False, RebootPlan("reboot", NEWER)),
        (RUNNING, Unfinished(BOOT, ()), None, False, RebootPlan("finish", RUNNING)),
        (RUNNING, Unfinished(None, ()), None, False, RebootPlan("finish", RUNNING)),
    ],
)
def test_each_host_gets_the_right_reboot_plan(
    newest: str | None, unfinished: Unfinished | None, kernel: str | None, force: bool, expected: RebootPlan
) -> None:
    facts = a_host(newest_installed=newest)
    assert reboot_plan.plan_reboot(facts, BOOT, unfinished, kernel=kernel, force=force) == expected


def test_missing_facts_prevent_a_reboot() -> None:
    unknown = identify(None, None, None, signature_absent=False, in_container=False)
    for facts, boot in ((a_host(), None), (a_host(kernel=unknown), BOOT)):
        assert reboot_error(reboot_plan.plan_reboot, facts, boot, None, kernel=None, force=True) == "boot_unknown"


@pytest.mark.parametrize(
    ("runtime", "policy", "counted", "expected"),
    [
        (Runtime(True, (), ()), "stop", 3, None),
        (Runtime(False, (), ()), "stop", 3, "runtime_unresponsive"),
        (Runtime(False, (), ()), "wait", 3, "runtime_unresponsive"),
        (Runtime(False, (), ()), "stop", 0, None),
        (Runtime(False, (), ()), "ignore", 3, None),
        (Runtime(True, (), ("build",)), "stop", 3, "containers_would_vanish"),
        (Runtime(True, (), ("build",)), "wait", 3, None),
        (Runtime(True, (), ("build",)), "ignore", 3, None),
    ],
)
def test_containers_that_would_be_lost_prevent_a_reboot(
    runtime: Runtime, policy: str, counted: int, expected: str | None
) -> None:
    arguments = (a_host(containers={"docker": counted}), {"docker": runtime}, {"docker": policy})
    if expected is None:
        reboot_plan.refuse_undrainable(*arguments)
    else:
        assert reboot_error(reboot_plan.refuse_undrainable, *arguments) == expected


def test_a_host_must_return_with_kernel_and_containers() -> None:
    reboot_plan.check_kernel(NEWER, NEWER)
    assert reboot_error(reboot_plan.check_kernel, RUNNING, NEWER) == "old_kernel"
    assert reboot_error(reboot_plan.check_kernel, None, NEWER) == "old_kernel"
    reboot_plan.check_containers([], "")
    with pytest.raises(KernelRebootError, match=r"web \(docker\), db \(lxd\)\. no such image"):
        reboot_plan.check_containers([Container("docker", "web"), Container("lxd", "db")], "no such\n image ")


def test_protection_after_a_reboot_ignores_eligibility() -> None:
    mint = {"os_release": {"ID": "linuxmint"}}
    assert reboot_plan.protection(a_host(**mint), shipped("launch"))["state"] == "protected"
    tampered = a_host(patches=(a_patch(taint="OEK"),))
    assert reboot_plan.protection(tampered, shipped("launch"))["state"] != "protected"
    assert reboot_plan.protection(without_client(), shipped("launch"))["state"] == "disabled"


# --- upgrades


def packages(
    *installed: str, available: tuple[str, ...] = (), held: tuple[str, ...] = (), **more: t.Any
) -> KernelPackages:
    known = {name: Package(name, "1", installed=True, held=name in held) for name in installed}
    fields = {"leads": {}, "interrupted": (), "boot_free": None, "boot_used": {}, **more}
    return KernelPackages(packages=known, available=available, **fields)


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
def test_an_upgrade_requires_root_and_a_machine(changes: dict[str, t.Any], expected: str | None) -> None:
    if expected is None:
        upgrade_plan.refuse_hosts_without_kernel(a_host(**changes))
    else:
        assert upgrade_error(upgrade_plan.refuse_hosts_without_kernel, a_host(**changes)) == expected


@pytest.mark.parametrize(
    ("client", "within", "force", "expected"),
    [
        ({}, 30, False, []),
        ({}, 30, True, ["forced"]),
        ({"patch_state": "applied-with-bug"}, 0, True, ["applied_with_bug"]),
        ({"upgrade_required_by": NOW.date() + datetime.timedelta(30)}, 30, False, ["upgrade_due_soon"]),
        ({"upgrade_required_by": NOW.date() + datetime.timedelta(31)}, 30, False, []),
    ],
)
def test_the_reason_for_an_upgrade_is_named(
    client: dict[str, t.Any], within: int, force: bool, expected: list[str]
) -> None:
    facts = a_host(client=a_client(**client))
    assert [each["id"] for each in upgrade_plan.reasons_to_upgrade(facts, within_days=within, force=force)] == expected


def test_the_clients_support_status_is_a_reason() -> None:
    for client in ({"patch_state": "kernel-upgrade-required"}, {"supported": "kernel-end-of-life"}):
        assert upgrade_plan.reasons_to_upgrade(a_host(client=a_client(**client)), within_days=0, force=False)
    assert upgrade_plan.reasons_to_upgrade(without_client(), within_days=30, force=False) == []


def plan(found: KernelPackages, **options: t.Any) -> UpgradePlan:
    return upgrade_plan.plan_upgrade(a_host(), found, **{"series": None, "flavour": None, **options})


META = {"linux-image-generic": (f"linux-image-{NEWER}",)}


def test_a_metapackage_selects_the_newest_kernel() -> None:
    found = packages(
        "linux-generic",
        "linux-image-generic",
        "linux-headers-generic",
        "linux-tools-lowlatency",
        f"linux-image-{RUNNING}",
        available=("linux-image-4.4.0-999-generic",),
        leads=META,
    )
    assert plan(found) == UpgradePlan(NEWER, ("linux-generic", "linux-headers-generic", "linux-image-generic"))


def test_without_a_metapackage_the_same_packages_are_installed() -> None:
    found = packages(
        f"linux-image-{RUNNING}",
        f"linux-headers-{RUNNING}",
        f"linux-modules-extra-{RUNNING}",
        available=(
            f"linux-image-unsigned-{NEWER}",
            f"linux-image-{NEWER}",
            f"linux-headers-{NEWER}",
            "linux-image-4.4.0-300-lowlatency",
            "linux-image-4.15.0-300-generic",
        ),
    )
    assert plan(found) == UpgradePlan(NEWER, (f"linux-image-{NEWER}", f"linux-headers-{NEWER}"))
    assert plan(found, series="4.15").target == "4.15.0-300-generic"
    assert plan(found, flavour="lowlatency").target == "4.4.0-300-lowlatency"


def test_an_installed_newest_kernel_needs_no_installation() -> None:
    assert plan(packages(f"linux-image-{NEWER}", available=(f"linux-image-{NEWER}",))) == UpgradePlan(NEWER, ())
    assert plan(packages()) == UpgradePlan(RUNNING, ())
    assert plan(packages(available=("linux-image-4.4.0-100-generic",))) == UpgradePlan(RUNNING, ())


def test_a_kernel_without_series_needs_options() -> None:
    own = a_host(kernel=identify("mine", None, None, signature_absent=True, in_container=False))
    assert upgrade_error(upgrade_plan.plan_upgrade, own, packages(), series=None, flavour=None) == "kernel_unknown"


def check(found: KernelPackages, names: tuple[str, ...] = ("linux-image-generic",), *, repair: bool = False) -> None:
    upgrade_plan.check_plan(UpgradePlan(NEWER, names), found, repair=repair)


def test_obstacles_of_an_installation_are_named() -> None:
    check(packages("linux-image-generic"))
    assert upgrade_error(check, packages("linux-image-generic", interrupted=("x",))) == "dpkg_interrupted"
    check(packages("linux-image-generic", interrupted=("x",)), repair=True)
    held = packages("linux-image-generic", held=("linux-image-generic",))
    assert upgrade_error(check, held) == "packages_held"
    assert upgrade_plan.held_packages(UpgradePlan(NEWER, ("a", "linux-image-generic")), held) == ["linux-image-generic"]
    full = packages(boot_free=113, boot_used={RUNNING: 100, "older": 50})
    assert upgrade_error(check, full) == "boot_full"
    check(full, names=())
    check(packages(boot_free=116, boot_used={RUNNING: 100}))
    check(packages(boot_free=0, boot_used={}))


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("E: Could not get lock /var/lib/dpkg/lock", "apt_locked"),
        ("E: Held packages were changed and -y was used", "packages_held"),
        ("E: Packages need to be removed but remove is disabled.", "would_remove"),
        ("dpkg: error processing: No space left on device", "disk_full"),
        ("E: Failed to fetch http://archive.example.com/x", "archive_unreachable"),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)", "dpkg_failed"),
        ("something else", "apt_failed"),
        ("", "apt_failed"),
    ],
)
def test_errors_of_apt_select_the_error_id(log: str, expected: str) -> None:
    assert upgrade_error(upgrade_plan.check_run, InstallRun("ended", 100, log)) == expected
    upgrade_plan.check_run(InstallRun("ended", 0, log))
    assert upgrade_error(upgrade_plan.check_run, InstallRun("lost", log=log)) == "run_lost"


def test_the_message_quotes_the_end_of_apt() -> None:
    run = InstallRun("ended", 100, "Reading\nE: one\n\nDone\nE: two\nE: three\nE: four\nbye")
    with pytest.raises(KernelUpgradeError, match=r"exit code 100: E: two / E: three / E: four$"):
        upgrade_plan.check_run(run)
    with pytest.raises(KernelUpgradeError, match=r"exit code 1: no output$"):
        upgrade_plan.check_run(InstallRun("ended", 1, " \n"))


def test_a_kernel_needs_all_files_and_an_entry() -> None:
    upgrade_plan.check_kernel_on_disk(KernelOnDisk((), ("/vmlinuz",)), NEWER)
    half, lost = KernelOnDisk((f"/boot/initrd.img-{NEWER}",), ("/vmlinuz",)), KernelOnDisk((), ())
    assert upgrade_error(upgrade_plan.check_kernel_on_disk, half, NEWER) == "kernel_incomplete"
    assert upgrade_error(upgrade_plan.check_kernel_on_disk, lost, NEWER) == "no_boot_entry"


def test_kernels_are_grouped_by_series_and_flavour() -> None:
    assert (a_kernel().series, a_kernel().flavour) == ("4.4", "generic")
