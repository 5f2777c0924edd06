# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The kernel that a host gets, the reason, and the result of a run of apt-get, with tables of cases."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import upgrade_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.upgrade_plan import KernelUpgradeError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import kernel
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import (
    InstallRun,
    KernelOnDisk,
    KernelPackages,
    Package,
    read_changes,
    read_kernel_packages,
    read_proof,
    read_run,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from tests.samples.facts import a_host

TODAY = dt.datetime(2026, 1, 10, 6, tzinfo=dt.timezone.utc)


def running(release: str | None, **changes: t.Any) -> HostFacts:
    identity = kernel.identify(release, None, None, signature_absent=True, in_container=False)
    return dataclasses.replace(a_host(), kernel=identity, now=TODAY, **changes)


def found(
    installed: str = "", available: str = "", leads: dict[str, str] | None = None, held: str = "", **changes: t.Any
) -> KernelPackages:
    packages = {
        name: Package(name, "1", installed=True, held=name in held.split())
        for name in (*installed.split(), *held.split())
    }
    values = {"interrupted": (), "boot_free": None, "boot_used": {}, **changes}
    led = {name: (image,) for name, image in (leads or {}).items()}
    return KernelPackages(packages, tuple(available.split()), led, **values)


def plan(facts: HostFacts, packages: KernelPackages, **options: str) -> tuple[str, tuple[str, ...]]:
    wanted = {"series": None, "flavour": None, **options}
    made = upgrade_plan.plan_upgrade(facts, packages, series=wanted["series"], flavour=wanted["flavour"])
    return made.target, made.packages


IMAGES = "linux-image-4.4.0-21-generic linux-image-4.4.0-210-generic linux-image-4.4.0-99-generic"


@pytest.mark.parametrize(
    ("release", "packages", "options", "expected"),
    [
        # The order is numeric: 210 is newer than 99.
        ("4.4.0-21-generic", found(available=IMAGES), {}, ("4.4.0-210-generic", ("linux-image-4.4.0-210-generic",))),
        # A metapackage decides, even if the archive has a newer kernel, and related metapackages are upgraded too.
        (
            "4.4.0-21-generic",
            found(
                "linux-generic linux-image-generic linux-headers-generic linux-headers-4.4.0-21-generic",
                IMAGES,
                {"linux-image-generic": "linux-image-4.4.0-99-generic"},
            ),
            {},
            ("4.4.0-99-generic", ("linux-generic", "linux-headers-generic", "linux-image-generic")),
        ),
        # A metapackage of another series is ignored, unless that series is requested.
        (
            "4.4.0-21-generic",
            found(
                "linux-image-generic-hwe-16.04",
                IMAGES,
                {"linux-image-generic-hwe-16.04": "linux-image-4.15.0-142-generic"},
            ),
            {},
            ("4.4.0-210-generic", ("linux-image-4.4.0-210-generic",)),
        ),
        (
            "4.4.0-21-generic",
            found(
                "linux-image-generic-hwe-16.04",
                IMAGES,
                {"linux-image-generic-hwe-16.04": "linux-image-4.15.0-142-generic"},
            ),
            {"series": "4.15"},
            ("4.15.0-142-generic", ("linux-image-generic-hwe-16.04",)),
        ),
        # The new kernel gets the same packages as the running one, if they exist.
        (
            "4.15.0-20-generic",
            found(
                "linux-image-4.15.0-20-generic linux-modules-extra-4.15.0-20-generic linux-headers-4.15.0-20-generic",
                "linux-image-4.15.0-142-generic linux-image-unsigned-4.15.0-142-generic"
                " linux-modules-extra-4.15.0-142-generic",
            ),
            {},
            (
                "4.15.0-142-generic",
                ("linux-image-4.15.0-142-generic", "linux-modules-extra-4.15.0-142-generic"),
            ),
        ),
        # Kernels of other flavours are ignored.
        (
            "4.15.0-1050-aws",
            found(available="linux-image-4.15.0-142-generic linux-image-4.15.0-1099-aws"),
            {},
            ("4.15.0-1099-aws", ("linux-image-4.15.0-1099-aws",)),
        ),
        (
            "6.1.0-41-cloud-amd64",
            found(
                available="linux-image-6.1.0-42-cloud-amd64 linux-image-6.1.0-43-amd64"
                " linux-image-6.1.0-43-cloud-amd64-dbg"
            ),
            {},
            ("6.1.0-42-cloud-amd64", ("linux-image-6.1.0-42-cloud-amd64",)),
        ),
        ("4.4.0-21-generic", found(available=IMAGES), {"flavour": "lowlatency"}, ("4.4.0-21-generic", ())),
        # The newest kernel is installed, but not running.
        ("4.4.0-21-generic", found("linux-image-4.4.0-210-generic", IMAGES), {}, ("4.4.0-210-generic", ())),
        # There is no newer kernel.
        ("4.4.0-210-generic", found("linux-image-4.4.0-210-generic", IMAGES), {}, ("4.4.0-210-generic", ())),
        ("4.4.0-211-generic", found(available=IMAGES), {}, ("4.4.0-211-generic", ())),
    ],
)
def test_the_plan_matches_the_table(
    release: str, packages: KernelPackages, options: dict[str, str], expected: tuple[str, tuple[str, ...]]
) -> None:
    assert plan(running(release), packages, **options) == expected


@pytest.mark.parametrize("release", [None, "5.10.0", "6.12.43+deb13-amd64"])
def test_a_custom_kernel_needs_series_and_flavour(release: str | None) -> None:
    with pytest.raises(KernelUpgradeError) as caught:
        plan(running(release), found(available=IMAGES))
    assert caught.value.id == "kernel_unknown"


@pytest.mark.parametrize(
    ("packages", "repair", "error"),
    [
        (found(available=IMAGES, interrupted=("x",)), True, None),
        (found(available=IMAGES, interrupted=("x",)), False, "dpkg_interrupted"),
        (found(available=IMAGES, boot_free=100, boot_used={"a": 100, "b": 40}), True, "boot_full"),
        (found(available=IMAGES, boot_free=120, boot_used={"a": 100, "b": 40}), True, None),
        (found(available=IMAGES, boot_free=0), True, None),
        (found(available=IMAGES, held="linux-image-4.4.0-210-generic"), True, None),
    ],
)
def test_obstacles_are_named(packages: KernelPackages, repair: bool, error: str | None) -> None:
    made = upgrade_plan.plan_upgrade(running("4.4.0-21-generic"), packages, series=None, flavour=None)
    if error is None:
        upgrade_plan.check_plan(made, packages, repair=repair)
        return
    with pytest.raises(KernelUpgradeError) as caught:
        upgrade_plan.check_plan(made, packages, repair=repair)
    assert caught.value.id == error
    assert caught.value.remedy


def test_a_held_metapackage_is_named() -> None:
    packages = found(
        "linux-generic", IMAGES, {"linux-image-generic": "linux-image-4.4.0-210-generic"}, "linux-image-generic"
    )
    made = upgrade_plan.plan_upgrade(running("4.4.0-21-generic"), packages, series=None, flavour=None)
    with pytest.raises(KernelUpgradeError, match="linux-image-generic is held back"):
        upgrade_plan.check_plan(made, packages, repair=True)


ENABLED = ClientStatus(enabled=True)


@pytest.mark.parametrize(
    ("client", "within", "force", "expected"),
    [
        (None, 0, False, []),
        (None, 0, True, ["forced"]),
        ({"patch_state": "applied", "supported": "supported"}, 0, False, []),
        ({"patch_state": "kernel-upgrade-required"}, 0, False, ["kernel_upgrade_required"]),
        ({"supported": "kernel-upgrade-required"}, 0, True, ["kernel_upgrade_required"]),
        ({"supported": "kernel-end-of-life"}, 0, False, ["kernel_end_of_life"]),
        ({"patch_state": "applied-with-bug"}, 0, False, ["applied_with_bug"]),
        ({"upgrade_required_by": dt.date(2026, 1, 9)}, 0, False, ["upgrade_date_passed"]),
        ({"upgrade_required_by": dt.date(2026, 1, 10)}, 0, False, ["upgrade_due_soon"]),
        ({"upgrade_required_by": dt.date(2026, 1, 20)}, 9, False, []),
        ({"upgrade_required_by": dt.date(2026, 1, 20)}, 10, False, ["upgrade_due_soon"]),
    ],
)
def test_hosts_that_need_a_kernel_are_found(
    client: dict[str, t.Any] | None, within: int, force: bool, expected: list[str]
) -> None:
    status = None if client is None else dataclasses.replace(ENABLED, **client)
    facts = running("4.4.0-21-generic", client=status)
    reasons = upgrade_plan.reasons_to_upgrade(facts, within_days=within, force=force)
    assert [reason["id"] for reason in reasons] == expected


@pytest.mark.parametrize(
    ("code", "log", "error"),
    [
        (100, "E: Could not get lock /var/lib/dpkg/lock - open (11)", "apt_locked"),
        (100, "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend)", "apt_locked"),
        (2, "dpkg: error: dpkg status database is locked by another process", "apt_locked"),
        (100, "E: Held packages were changed and -y was used", "packages_held"),
        (100, "E: Packages need to be removed but remove is disabled.", "would_remove"),
        (
            100,
            "cp: error writing '/boot/x': No space left on device\nE: Sub-process returned an error code (1)",
            "disk_full",
        ),
        (100, "E: Failed to fetch http://x", "archive_unreachable"),
        (100, "E: Sub-process /usr/bin/dpkg returned an error code (1)", "dpkg_failed"),
        (1, "", "apt_failed"),
    ],
)
def test_failed_runs_have_error_ids(code: int, log: str, error: str) -> None:
    with pytest.raises(KernelUpgradeError) as caught:
        upgrade_plan.check_run(InstallRun("ended", code, log))
    assert caught.value.id == error


def test_successful_and_running_runs_have_no_error() -> None:
    upgrade_plan.check_run(InstallRun("ended", 0, "E: Could not get lock"))
    for state in ("lost", "starting", "absent"):
        with pytest.raises(KernelUpgradeError) as caught:
            upgrade_plan.check_run(InstallRun(t.cast("t.Any", state)))
        assert caught.value.id == "run_lost"


def test_a_complete_kernel_is_verified() -> None:
    upgrade_plan.check_kernel_on_disk(KernelOnDisk((), ("/vmlinuz",)), "r")
    for disk, error in (
        (KernelOnDisk(("/boot/initrd.img-r",), ("/vmlinuz",)), "kernel_incomplete"),
        (KernelOnDisk((), ()), "no_boot_entry"),
    ):
        with pytest.raises(KernelUpgradeError) as caught:
            upgrade_plan.check_kernel_on_disk(disk, "r")
        assert caught.value.id == error


# --- parsers ---


def sections(**texts: str) -> Sections:
    return Sections([Section(name, "ok", text, exit_code=0) for name, text in texts.items()], complete=True)


def test_output_of_apt_and_dpkg_is_parsed() -> None:
    read = read_kernel_packages(
        sections(
            packages="linux-generic 4.4.0.21.22 install ok installed\n"
            "linux-image-generic 4.4.0.21.22 hold ok installed\n"
            "linux-image-4.4.0-19-generic 4.4.0-19.35 deinstall ok config-files\n"
            "linux-image  unknown ok not-installed\n"
            "$(reboot) 1 install ok installed\n",
            available="linux-image-4.4.0-210-generic\n; rm -rf /\n",
            leads="linux-image-generic\n  Depends: linux-image-4.4.0-210-generic\n  Depends: linux-firmware\n"
            " |Depends: crda\n  Recommends: thermald\nlinux-image-virtual\n  Depends: linux-image-4.4.0-99-generic\n",
            interrupted="/var/lib/dpkg/updates/0000\n",
            boot_space="Filesystem 1024-blocks Used Available Capacity Mounted on\n"
            "/dev/vda1 482922 241444 216544 53% /boot\n",
            boot_sizes="6840\t/boot/vmlinuz-4.4.0-21-generic\n36864\t/boot/initrd.img-4.4.0-21-generic\n7 /boot/grub\n",
        )
    )
    assert read is not None
    assert set(read.packages) == {"linux-generic", "linux-image-generic", "linux-image-4.4.0-19-generic"}
    assert (read.packages["linux-image-generic"].held, read.packages["linux-generic"].held) == (True, False)
    assert not read.packages["linux-image-4.4.0-19-generic"].installed
    assert read.available == ("linux-image-4.4.0-210-generic",)
    assert read.leads == {
        "linux-image-generic": ("linux-image-4.4.0-210-generic",),
        "linux-image-virtual": ("linux-image-4.4.0-99-generic",),
    }
    assert read.interrupted == ("/var/lib/dpkg/updates/0000",)
    assert (read.boot_free, read.boot_used) == (216544, {"4.4.0-21-generic": 43704})


def test_a_host_without_apt_is_recognised() -> None:
    assert read_kernel_packages(Sections([Section("packages", "absent")], complete=True)) is None


def test_a_simulation_is_parsed() -> None:
    output = (
        "NOTE: This is only a simulation!\n"
        "Inst linux-image-4.4.0-210-generic (4.4.0-210.242 Ubuntu:16.04/xenial-updates [amd64])\n"
        "Inst linux-generic [4.4.0.21.22] (4.4.0.210.216 Ubuntu:16.04/xenial-updates [amd64]) []\n"
        "Remv linux-old [1.0]\n"
        "Conf linux-generic (4.4.0.210.216 Ubuntu:16.04/xenial-updates [amd64])\n"
    )
    assert [(change.name, change.old, change.new) for change in read_changes(output)] == [
        ("linux-image-4.4.0-210-generic", None, "4.4.0-210.242"),
        ("linux-generic", "4.4.0.21.22", "4.4.0.210.216"),
        ("linux-old", "1.0", None),
    ]


@pytest.mark.parametrize(
    ("text", "state", "code"),
    [
        ("ended 0", "ended", 0),
        ("ended 100", "ended", 100),
        ("ended", "lost", None),
        ("ended x", "lost", None),
        ("running", "running", None),
        ("starting", "starting", None),
        ("lost", "lost", None),
        ("anything else", "lost", None),
    ],
)
def test_a_run_is_parsed(text: str, state: str, code: int | None) -> None:
    run = read_run(sections(run=text, log="end of log"))
    assert (run.state, run.exit_code, run.log) == (state, code, "end of log")


def test_no_run_is_recognised() -> None:
    assert read_run(Sections([Section("run", "absent")], complete=True)).state == "absent"


def test_the_kernels_on_disk_are_parsed() -> None:
    disk = read_proof(
        sections(
            proof="ok /boot/vmlinuz-r\nabsent /boot/initrd.img-r\nok /lib/modules/r/modules.dep\n"
            "absent /boot/grub/grub.cfg\nentry /vmlinuz\n"
        )
    )
    assert disk == KernelOnDisk(("/boot/initrd.img-r",), ("/vmlinuz",))
