# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Kernel packages and runs of apt-get, as a host prints them, and the texts of a lock of apt or dpkg."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt, client_failures
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import (
    Change,
    InstallRun,
    KernelOnDisk,
    Package,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.error_texts.apt import (
    LOCK_EXCEPTIONS,
    LOCK_TEXTS,
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
        "linux-image-virtual 4.4.0.210.216 install ok installed\n"
        "linux-image-oem 4.4.0.210.216 install ok installed linux-meta"
        " Ubuntu Kernel Team <kernel-team@lists.ubuntu.com>\n"
        "$(reboot) 1 install ok installed\n",
    ),
    ok("available", "linux-image-4.4.0-215-generic\n\n; rm -rf /\nnot a name\n"),
    ok(
        "metapackages",
        "linux-image-generic\n  Depends: linux-image-4.4.0-215-generic\n"
        " |Depends: linux-image-4.4.0-216-generic\n  Depends: linux-firmware\n |Depends: crda\n"
        "  Recommends: linux-image-9\nlinux-image-virtual\n  Depends: linux-image-4.4.0-99-generic\n"
        "linux-image-oem\n  Depends: linux-image-generic-hwe-16.04\nlinux-image-generic-hwe-16.04\n"
        "  Depends: linux-image-4.15.0-142-generic\n  Depends: linux-image-oem\n",
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
    assert list(found.packages)[:3] == ["linux-image-4.4.0-210-generic", "linux-image-generic", "linux-headers-generic"]
    assert found.packages["linux-image-oem"].source == "linux-meta"
    assert found.packages["linux-image-oem"].maintainer == "Ubuntu Kernel Team <kernel-team@lists.ubuntu.com>"
    assert found.packages["linux-image-generic"] == Package("linux-image-generic", "4.4.0.210.216", True, True)
    assert not found.packages["linux-image-4.4.0-210-generic"].held
    assert not found.packages["linux-headers-generic"].installed
    assert found.available == ("linux-image-4.4.0-215-generic",)
    assert found.metapackages == {
        "linux-image-generic": ("linux-image-4.4.0-215-generic", "linux-image-4.4.0-216-generic"),
        "linux-image-virtual": ("linux-image-4.4.0-99-generic",),
        # It has been replaced by a metapackage that is not installed.
        "linux-image-oem": ("linux-image-4.15.0-142-generic",),
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


BZIMAGE = "content /boot/vmlinuz-r 8388608 x4d5aea0700c00789 x55aaeb6648647253"
INITRD = "content /boot/initrd.img-r 30000000 x3037303730313030303030303030 x00"
MODULES = "content /lib/modules/r/modules.dep 500000 x6b65726e656c2f x"
PRESENT = "ok /boot/vmlinuz-r\nok /boot/initrd.img-r\nok /lib/modules/r/modules.dep\nentry /vmlinuz\n"


def test_files_of_a_kernel() -> None:
    output = (
        "ok /boot/vmlinuz-r\nabsent /boot/initrd.img-r\ndenied /lib/modules/r/modules.dep\n"
        f"absent /boot/grub/grub.cfg\n{BZIMAGE}\nentry /vmlinuz\n"
    )
    assert apt.read_kernel_on_disk(answer(ok("kernel_files", output))) == KernelOnDisk(
        ("/boot/initrd.img-r", "/lib/modules/r/modules.dep"), ("/vmlinuz",)
    )


@pytest.mark.parametrize(
    ("line", "damaged"),
    [
        (BZIMAGE, None),
        ("content /boot/vmlinuz-r 9000 x1f8b0800 x", None),
        ("content /boot/vmlinuz-r 9000 x7f454c46 x", None),
        ("content /boot/vmlinuz-r 9000 x000a0000000000000200001860000050 x", None),
        ("content /boot/vmlinuz-r 9000 xfc31c08ed8 x55aaeb6648647253", None),
        ("content /boot/vmlinuz-r 0 x x", "/boot/vmlinuz-r"),
        ("content /boot/vmlinuz-r 9000 x0000000000000000 x0000000000000000", "/boot/vmlinuz-r"),
        ("content /boot/vmlinuz-r 9000 x3c68746d6c3e x", "/boot/vmlinuz-r"),
        (f"{BZIMAGE}\nchecksum /boot/vmlinuz-r aa bb", "/boot/vmlinuz-r"),
        (f"{BZIMAGE}\nchecksum /boot/vmlinuz-r aa aa", None),
        *((f"content /boot/initrd.img-r 900 x{start}0000 x", None) for start in ("1f8b", "02214c18", "28b52ffd")),
        ("content /boot/initrd.img-r 900 xfd377a585a00 x", None),
        ("content /boot/initrd.img-r 0 x x", "/boot/initrd.img-r"),
        ("content /boot/initrd.img-r 2048 x000000000000 x", "/boot/initrd.img-r"),
        ("content /lib/modules/r/modules.dep 0 x x", "/lib/modules/r/modules.dep"),
    ],
)
def test_the_content_of_kernel_files(line: str, damaged: str | None) -> None:
    path = line.split()[1]
    others = [other for other in (BZIMAGE, INITRD, MODULES) if other.split()[1] != path]
    disk = apt.read_kernel_on_disk(answer(ok("kernel_files", PRESENT + "\n".join([*others, line]))))
    assert (disk.missing, disk.damaged) == ((), (damaged,) if damaged else ())


def test_content_that_was_not_read_is_damaged() -> None:
    disk = apt.read_kernel_on_disk(answer(ok("kernel_files", f"{PRESENT}{BZIMAGE}\n{MODULES}\n")))
    assert disk.damaged == ("/boot/initrd.img-r",)


def test_packages_of_each_installed_image() -> None:
    listed = (
        "linux-image-unsigned-5.7.7-050707-generic 5.7.7-050707.202007010943 install ok installed linux K <k@u.com>\n"
        "linux-modules-5.7.7-050707-generic 5.7.7-050707.202007010943 install ok installed linux K <k@ubuntu.com>\n"
        "linux-image-5.4.0-1-generic 5.4.0-1.1 deinstall ok config-files linux-signed K <k@ubuntu.com>\n"
    )
    images = apt.read_images(answer(ok("packages", listed)))
    assert images is not None
    assert {release: [each.name for each in packages] for release, packages in images.items()} == {
        "5.7.7-050707-generic": [
            "linux-image-unsigned-5.7.7-050707-generic",
            "linux-modules-5.7.7-050707-generic",
        ]
    }
    for unknown in (ok("packages", "", 127), Section("packages", "absent"), Section("packages", "lost", listed)):
        assert apt.read_images(answer(unknown)) is None


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
    "dpkg: error: dpkg database lock was locked by another process with pid 77",
    (
        "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (packagekitd)\n"
        "E: Unable to lock directory /var/lib/apt/lists/"
    ),
    "E: Unable to lock directory /var/cache/apt/archives/",
    "E: Unable to lock the download directory",
    (
        'debconf: DbDriver "config": /var/cache/debconf/config.dat is locked by another process: Resource temporarily'
        " unavailable"
    ),
    "dpkg: error: unable to access the dpkg database lock: Resource temporarily unavailable",
    "dpkg: error: dpkg frontend lock was locked by another process with pid 4602\nNote: removing the lock file …",
    "dpkg: error: dpkg database lock was locked by apt-get process with pid 99\nNote: removing the lock file …",
    "Error: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (aptd)",
    "E: Could not get lock /var/cache/debconf/config.dat - open (11: Resource temporarily unavailable)",
]
NOT_LOCKED = [
    "",
    "Reading package lists...",
    "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (apt)\nE: other",
    (
        "E: Could not open lock file /var/lib/apt/lists/lock - open (13: Permission denied)\n"
        "E: Unable to lock directory /var/lib/apt/lists/"
    ),
    "E: Could not open lock file /var/lib/dpkg/lock - open (30: Read-only file system)",
    "E: Failed to fork - fork (11: Cannot allocate memory)",
    "E: Unable to lock the administration directory (/var/lib/dpkg/), are you root?",
    "E: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied)",
    "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    "E: Could not get lock /var/lib/dpkg/lock - open (2: No such file or directory)",
    "E: Could not get lock /var/lib/dpkg/lock-frontend - open (28: No space left on device)",
]


def shell_reports_lock(output: str) -> bool:
    """Call the function of the shell parts."""
    script = f'lp_nonce=0\n{(SHELL / "sections.sh").read_text("utf-8")}\nreports_lock "$1"'
    return subprocess.run(["/bin/sh", "-c", script, "sh", output], check=False).returncode == 0


@pytest.mark.parametrize(
    ("output", "expected"), [*((text, True) for text in LOCKED), *((text, False) for text in NOT_LOCKED)]
)
def test_locks_are_recognised_alike_everywhere(output: str, expected: bool) -> None:
    assert apt.reports_lock(output) is expected
    assert shell_reports_lock(output) is expected
    assert (client_failures.recognise("apt", output).id == "apt_locked") is expected


def test_the_shell_has_the_same_lock_texts() -> None:
    for name, texts in (("lp_lock_texts", LOCK_TEXTS), ("lp_lock_exceptions", LOCK_EXCEPTIONS)):
        assignments = {
            path.name: re.findall(rf"^{name}='([^']*)'$", path.read_text("utf-8"), re.MULTILINE)
            for path in SHELL.glob("*.sh")
        }
        assert {file: found for file, found in assignments.items() if found} == {"sections.sh": ["\n".join(texts)]}


@pytest.mark.parametrize("last", ["linux-m3999", "linux-m0", "linux-image-5.4.0-42-generic"])
def test_any_number_of_dependencies_is_read_at_once(last: str) -> None:
    names = [f"linux-m{number}" for number in range(4000)]
    listed = "".join(f"{name} 1.0 install ok installed linux-meta\n" for name in names)
    chain = "".join(f"{name}\n  Depends: {after}\n" for name, after in zip(names, [*names[1:], last], strict=True))
    started = time.process_time()
    found = apt.read_kernel_packages(answer(ok("packages", listed), ok("metapackages", chain)))
    assert time.process_time() - started < 2
    assert found is not None
    assert len(found.metapackages) == (63 if "image" in last else 0)
