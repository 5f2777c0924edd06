# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of apt and dpkg of all Ubuntu releases, and the cause that each of them shows."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.apt_failures import (
    apt_failure,
    last_errors,
)

DPKG_ENDED = "\nE: Sub-process /usr/bin/dpkg returned an error code (1)"
TEXTS = {
    "apt_locked": [
        "E: Could not get lock /var/lib/dpkg/lock - open (11: Resource temporarily unavailable)",
        (
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)\n"
            "N: Be aware that removing the lock file is not a solution and may break your system.\n"
            "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?"
        ),
        "E: Unable to lock directory /var/lib/apt/lists/",
        "dpkg: error: dpkg status database is locked by another process",
        "dpkg: error: dpkg frontend is locked by another process",
        "dpkg: error: dpkg database lock was locked by another process with pid 99",
        (
            "E: Could not get lock /var/cache/apt/archives/lock - open (11: Resource temporarily unavailable)\n"
            "E: Unable to lock directory /var/cache/apt/archives/"
        ),
        "E: Unable to lock the administration directory (/var/lib/dpkg/), is another process using it?",
        "Error: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 2912 (apt-get)",
        "dpkg: error: dpkg frontend lock was locked by another process with pid 4602\n"
        "Note: removing the lock file is always wrong, can damage the locked area" + DPKG_ENDED,
    ],
    "disk_full": [
        "dracut[E]: Creation of /boot/initrd.img-6.11.0-9-generic failed: No space left on device" + DPKG_ENDED,
        "pigz: abort: write error on <stdout> (No space left on device)\nE: mkinitramfs failure cpio 141" + DPKG_ENDED,
        "gzip: stdout: No space left on device\nE: mkinitramfs failure cpio 141 gzip 1" + DPKG_ENDED,
        "Error 24 : Write error : cannot write compressed block \nE: mkinitramfs failure cpio 141 lz4 -9 -l 24"
        "\ndpkg: error processing package linux-firmware (--configure):" + DPKG_ENDED,
        "Error 24 : Write error : cannot write compressed block" + DPKG_ENDED,
        "zstd: error 70 : Write error : cannot write block : No space left on device" + DPKG_ENDED,
        "xz: (stdout): Write error: No space left on device\ncpio: Broken pipe" + DPKG_ENDED,
        "E: mkinitramfs failure find 141 cpio 141 lzma 1" + DPKG_ENDED,
        "cp: error writing '/boot/initrd.img-5.4.0-216-generic.new': No space left on device" + DPKG_ENDED,
        "dpkg: error processing archive linux-image_1_amd64.deb (--unpack):\n cannot copy extracted data for"
        " './boot/vmlinuz-5.4.0-216-generic' to '/boot/vmlinuz-5.4.0-216-generic.dpkg-new': failed to write"
        " (No space left on device)" + DPKG_ENDED,
        "depmod: ERROR: fopen '/lib/modules/x/modules.dep': No space left on device" + DPKG_ENDED,
        "update-initramfs: Generating /boot/initrd.img-6.8.0-60-generic\n"
        "cp: error writing '/var/tmp/mkinitramfs_xQ2/usr/lib/firmware/a.bin': No space left on device" + DPKG_ENDED,
        "cat: write error: file system full" + DPKG_ENDED,
        "E: You don't have enough free space in /var/cache/apt/archives/.",
        "E: Failed to fetch http://archive.example.com/x  Error writing to file - write (28: No space left on device)",
    ],
    "apt_broken": [
        (
            "You might want to run 'apt-get -f install' to correct these:\n"
            "The following packages have unmet dependencies:\n"
            " linux-generic : Depends: linux-headers-generic (= 1) but 2 is to be installed\n"
            "E: Unmet dependencies. Try 'apt-get -f install' with no packages (or specify a solution)."
        ),
        "E: Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution).",
        "You might want to run 'apt --fix-broken install' to correct these.",
        "Error: Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution).",
        "Correcting dependencies... failed.\nE: Unable to correct dependencies",
        "E: The package linux-image-1 needs to be reinstalled, but I can't find an archive for it.",
    ],
    "impossible_request": [
        (
            "The following packages have unmet dependencies:\n"
            " linux-generic : Depends: linux-headers-generic (= 3.19.0.20.19)"
            " but 3.19.0.22.21 is to be installed\nE: Unable to correct problems, you have held broken packages."
        ),
        "E: Error, pkgProblemResolver::Resolve generated breaks, this may be caused by held packages.",
        (
            "Some packages could not be installed. This may mean that you have\nrequested an impossible situation\n"
            "The following packages have unmet dependencies:\n a : Depends: b but it is not installable\n"
            "E: Broken packages"
        ),
        (
            "Unsatisfied dependencies:\n linux-generic : Depends: linux-image-generic (= 6.8.0-60.63) but 6.8.0-59.61"
            " is to be installed\nError: Unable to correct problems, you have held broken packages."
        ),
        "E: Unable to satisfy dependencies. Reached two conflicting assignments:\n   1. linux-generic is selected",
    ],
    "packages_held": ["E: Held packages were changed and -y was used without --allow-change-held-packages."],
    "would_remove": ["E: Packages need to be removed but remove is disabled."],
    "pro_credentials": [
        (
            "E: Failed to fetch https://esm.ubuntu.com/infra/ubuntu/pool/l/linux.deb  401  Unauthorized [IP: 192.0.2.4]"
            "\nE: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?"
        ),
        "E: Failed to fetch https://esm.ubuntu.com/ubuntu/pool/main/l/linux/linux.deb  HttpError401",
        "E: Failed to fetch https://esm.ubuntu.com/ubuntu/dists/trusty/main/binary-amd64/Packages  HttpError403",
        (
            "Err:7 https://esm.ubuntu.com/fips/ubuntu xenial InRelease\n  403  Forbidden [IP: 192.0.2.4 443]\n"
            "E: The repository 'https://esm.ubuntu.com/fips/ubuntu xenial InRelease' is not signed."
        ),
        "W: 403 Forbidden while fetching from esm.ubuntu.com, does the machine have a valid contract?",
    ],
    "archive_unreachable": [
        "E: Failed to fetch http://archive.example.com/x  Could not resolve 'archive.example.com'",
        "E: Failed to fetch http://archive.example.com/x  404  Not Found [IP: 192.0.2.1 80]",
        "E: Failed to fetch http://proxy.example.com/x  403  Forbidden",
        "E: Unable to locate package linux-image-x",
        "E: There were unauthenticated packages and -y was used without --allow-unauthenticated",
        "Error: Failed to fetch http://archive.example.com/x  503  Service Unavailable",
        "E: Package 'linux-image-x' has no installation candidate",
        "E: Failed to fetch https://esm.ubuntu.com/x  407  Proxy Authentication Required",
        "E: Failed to fetch https://esm.ubuntu.com/x  Could not connect to esm.ubuntu.com:443",
        "E: Release file for http://archive.example.com/InRelease is expired (invalid since 20d 1h 2min 3s).",
        "Error: Couldn't find any package by glob 'linux-image-4.4.0-1-generic'",
        "E: The repository 'http://archive.example.com/ubuntu mantic Release' no longer has a Release file.",
    ],
    "file_system_read_only": [
        (
            "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (30: Read-only file system)\n"
            "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?"
        ),
        "dpkg: error: unable to access the dpkg database directory /var/lib/dpkg: Read-only file system",
        "rm: cannot remove '/boot/initrd.img-5.4.0-216-generic': Read-only file system" + DPKG_ENDED,
    ],
    "dpkg_interrupted": [
        "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
        "E: dpkg was interrupted, you must manually run 'sudo dpkg --configure -a' to correct the problem.",
    ],
    "module_build_failed": [
        "Building module:\nERROR (dkms apport): kernel package linux-headers-5.4.0-216-generic is not supported\n"
        "Error! Bad return status for module build on kernel: 5.4.0-216-generic (x86_64)\n"
        "Consult /var/lib/dkms/nvidia/470.82.00/build/make.log for more information." + DPKG_ENDED,
        "dkms autoinstall on 6.8.0-60-generic/x86_64 failed for nvidia(10)\n"
        "Error! One or more modules failed\nrun-parts: /etc/kernel/postinst.d/dkms exited with return code 11"
        + DPKG_ENDED,
    ],
    "dpkg_failed": [
        "Killed\nE: Sub-process /usr/bin/dpkg received signal 9.",
        "E: Sub-process /usr/bin/dpkg exited unexpectedly",
        "dpkg: unrecoverable fatal error, aborting:\n files list file for package 'x' is missing final newline",
        "Your Ubuntu Pro subscription has expired\ndpkg: error processing package x (--configure):" + DPKG_ENDED,
        DPKG_ENDED,
        "dpkg: error processing package linux-image-x (--configure):\n installed linux-image-x package"
        " post-installation script subprocess returned error exit status 1" + DPKG_ENDED,
    ],
    "apt_failed": ["something else", "", "E: Invalid operation"],
}


@pytest.mark.parametrize(("expected", "log"), [(id_, log) for id_, logs in TEXTS.items() for log in logs])
def test_texts_of_apt_and_dpkg(expected: str, log: str) -> None:
    error = apt_failure(log, 100)
    assert (error.id, bool(error.remedy)) == (expected, True)


def test_a_full_boot_partition_is_named() -> None:
    for log in TEXTS["disk_full"][:10]:
        assert "/boot is full" in apt_failure(log, 100).message, log
    for log in TEXTS["disk_full"][10:]:
        assert "/boot is full" not in apt_failure(log, 100).message, log


def test_an_impossible_request_quotes_its_dependencies() -> None:
    log = TEXTS["impossible_request"][0]
    error = apt_failure(log, 100)
    assert "linux-generic : Depends: linux-headers-generic (= 3.19.0.20.19) but 3.19.0.22.21" in error.message
    held = apt_failure(log, 100, held=["linux-headers-generic"])
    assert (held.id, "linux-headers-generic" in held.message) == ("packages_held", True)


def test_the_module_that_was_not_built_is_named() -> None:
    first, second = TEXTS["module_build_failed"]
    assert "module nvidia/470.82.00 could" in apt_failure(first, 100).message
    assert "module nvidia could" in apt_failure(second, 100).message


def test_the_last_errors_are_in_the_message() -> None:
    log = "Reading\nE: one\n\nDone\nE: two\nE: three\nE: four\nbye"
    assert apt_failure(log, 100).message.endswith("exit code 100: E: two / E: three / E: four")
    assert last_errors(" \n") == "no output"


@pytest.mark.parametrize("log", ["a\n" * 200_000, "E: /boot" * 30_000, "esm.ubuntu.com " * 20_000, "401\n " * 50_000])
def test_a_long_log_is_read_quickly(log: str) -> None:
    assert apt_failure(log[-20_000:], 100).id
