# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Kernel packages and runs of apt-get, as a host prints them, and the texts of a lock of apt or dpkg."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt, client_failures
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import (
    Change,
    InstallRun,
    KernelOnDisk,
    Package,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section
from tests.samples.answers import answer, ok

SHELL = Path(__file__).parents[3] / "plugins" / "plugin_utils" / "shell"


PACKAGES = [
    ok(
        "packages",
        "linux-image-4.4.0-210-generic 4.4.0-210.242 install ok installed\n"
        "linux-image-generic 4.4.0.210.216 hold ok installed\n"
        "linux-headers-generic 4.4.0.210.216 deinstall ok config-files\n"
        "linux-image  unknown ok not-installed\n"
        "$(reboot) 1 install ok installed\n",
    ),
    ok("available", "linux-image-4.4.0-215-generic\n\n; rm -rf /\nnot a name\n"),
    ok(
        "metapackages",
        "linux-image-generic\n  Depends: linux-image-4.4.0-215-generic\n"
        " |Depends: linux-image-4.4.0-216-generic\n  Depends: linux-firmware\n |Depends: crda\n"
        "  Recommends: linux-image-9\nlinux-image-virtual\n  Depends: linux-image-4.4.0-99-generic\n",
    ),
    ok("interrupted", "/var/lib/dpkg/updates/0000\n"),
    ok(
        "boot_space",
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 482922 241444 216544 53% /boot\n",
    ),
    ok(
        "boot_sizes",
        "6840\t/boot/vmlinuz-4.4.0-21-generic\n36864\t/boot/initrd.img-4.4.0-21-generic\n7 /boot/grub\n",
    ),
]


def test_kernel_packages_are_read() -> None:
    found = apt.read_kernel_packages(answer(*PACKAGES))
    assert found is not None
    assert list(found.packages) == ["linux-image-4.4.0-210-generic", "linux-image-generic", "linux-headers-generic"]
    assert found.packages["linux-image-generic"] == Package("linux-image-generic", "4.4.0.210.216", True, True)
    assert not found.packages["linux-image-4.4.0-210-generic"].held
    assert not found.packages["linux-headers-generic"].installed
    assert found.available == ("linux-image-4.4.0-215-generic",)
    assert found.metapackages == {
        "linux-image-generic": ("linux-image-4.4.0-215-generic", "linux-image-4.4.0-216-generic"),
        "linux-image-virtual": ("linux-image-4.4.0-99-generic",),
    }
    assert found.interrupted == ("/var/lib/dpkg/updates/0000",)
    assert (found.boot_free, found.boot_used) == (216544, {"4.4.0-21-generic": 43704})


def test_missing_output_is_unknown() -> None:
    found = apt.read_kernel_packages(answer(ok("packages"), ok("boot_space", "Filesystem\n? ? ? lots\n")))
    assert found is not None
    assert (found.packages, found.boot_free, found.boot_used, found.metapackages) == ({}, None, {}, {})


@pytest.mark.parametrize("sections", [[], [Section("packages", "absent")]])
def test_a_host_may_have_no_apt(sections: list[Section]) -> None:
    assert apt.read_kernel_packages(answer(*sections)) is None


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ended 0", InstallRun("ended", 0, "log")),
        ("ended 100", InstallRun("ended", 100, "log")),
        ("running", InstallRun("running", log="log")),
        ("starting", InstallRun("starting", log="log")),
        ("lost", InstallRun("lost", log="log")),
        ("absent", InstallRun("absent")),
        ("", InstallRun("absent")),
        ("ended", InstallRun("lost", log="log")),
        ("ended soon", InstallRun("lost", log="log")),
        ("rm -rf", InstallRun("lost", log="log")),
    ],
)
def test_states_of_a_run(output: str, expected: InstallRun) -> None:
    assert apt.read_run(answer(ok("run", output), ok("log", "log"))) == expected


def test_a_host_without_a_run() -> None:
    assert apt.read_run(answer(Section("run", "absent"))) == InstallRun("absent")


def test_changes_of_a_simulation() -> None:
    output = (
        "NOTE: This is only a simulation!\n"
        "Inst linux-image-4.4.0-210-generic (4.4.0-210.242 Ubuntu:16.04/xenial-updates [amd64])\n"
        "Inst linux-generic [4.4.0.21.22] (4.4.0.210.216 Ubuntu:16.04/xenial-updates [amd64]) []\n"
        "Remv linux-old [1.0]\n"
        "Conf linux-generic (4.4.0.210.216 Ubuntu:16.04/xenial-updates [amd64])\n"
    )
    assert apt.read_changes(output) == [
        Change("linux-image-4.4.0-210-generic", None, "4.4.0-210.242"),
        Change("linux-generic", "4.4.0.21.22", "4.4.0.210.216"),
        Change("linux-old", "1.0", None),
    ]


def test_files_of_a_kernel() -> None:
    output = (
        "ok /boot/vmlinuz-r\nabsent /boot/initrd.img-r\nok /lib/modules/r/modules.dep\n"
        "absent /boot/grub/grub.cfg\nentry /vmlinuz\n"
    )
    assert apt.read_kernel_on_disk(answer(ok("kernel_files", output))) == KernelOnDisk(
        ("/boot/initrd.img-r",), ("/vmlinuz",)
    )


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("linux-image-4.4.0-21-generic", "4.4.0-21-generic"),
        ("linux-image-unsigned-5.4.0-1-kvm", "5.4.0-1-kvm"),
        ("linux-signed-image-4.4.0-21-generic", "4.4.0-21-generic"),
        ("linux-image-generic", None),
        ("linux-headers-4.4.0-21-generic", None),
    ],
)
def test_the_release_of_an_image(package: str, release: str | None) -> None:
    assert apt.image_release(package) == release


# --- the lock of apt and dpkg

LOCKED = [
    "E: Could not get lock /var/lib/dpkg/lock - open (11: Resource temporarily unavailable)",
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)",
    "E: Unable to lock the administration directory (/var/lib/dpkg/), is another process using it?",
    "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
    "dpkg: error: dpkg status database is locked by another process",
    "dpkg: error: dpkg frontend is locked by another process",
    "dpkg: error: dpkg frontend lock was locked by another process with pid 4602\nNote: removing the lock file …",
]
NOT_LOCKED = [
    "",
    "Reading package lists...",
    "E: Unable to lock the administration directory (/var/lib/dpkg/), are you root?",
    "E: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied)",
    "E: Sub-process /usr/bin/dpkg returned an error code (1)",
]


def shell_reports_lock(output: str) -> bool:
    """Call the function of the shell parts."""
    script = f"lp_nonce=0\n{(SHELL / 'sections.sh').read_text('utf-8')}\nreports_lock"
    return subprocess.run(["/bin/sh", "-c", script], input=output.encode(), check=False).returncode == 0


@pytest.mark.parametrize(
    ("output", "expected"), [*((text, True) for text in LOCKED), *((text, False) for text in NOT_LOCKED)]
)
def test_locks_are_recognised_alike_everywhere(output: str, expected: bool) -> None:
    assert apt.reports_lock(output) is expected
    assert shell_reports_lock(output) is expected
    assert (client_failures.recognise("apt", output).id == "apt_locked") is expected


def test_the_shell_has_the_same_lock_texts() -> None:
    assignments = {
        path.name: re.findall(r"^lp_lock_texts='([^']*)'$", path.read_text("utf-8"), re.MULTILINE)
        for path in SHELL.glob("*.sh")
    }
    assert {name: texts for name, texts in assignments.items() if texts} == {"sections.sh": ["\n".join(apt.LOCK_TEXTS)]}
