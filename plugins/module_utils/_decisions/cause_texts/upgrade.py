# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a kernel that needs an upgrade, and of an upgrade that fails."""

from __future__ import annotations

from .cause import SET_CLOCK, STEP, Cause

_RUN_AGAIN_TO_COMPLETE = "run the task again, which completes an interrupted run of dpkg first"

KERNEL_TOO_OLD = Cause(
    "kernel_age",
    "the client reports no support status for the kernel, which is {age} months old: patches end after {months} months",
    STEP,
)
KERNEL_END_OF_LIFE = Cause("kernel_end_of_life", "the service has ended its support of this kernel", STEP)
UPGRADE_DATE_PASSED = Cause("upgrade_date_passed", "this kernel has received no patches since {date}", STEP)
KERNEL_UPGRADE_REQUIRED = Cause(
    "kernel_upgrade_required",
    "the service has no more patches for this kernel: only a newer kernel fixes further vulnerabilities",
    STEP,
)
UPGRADE_DUE_SOON = Cause("upgrade_due_soon", "patches for this kernel end on {date}, in {days} days", STEP)

# --- the upgrade itself ---

SERIES_ENDED = Cause(
    "series_ended",
    "the installed metapackages lead to {target}, the client does not report whether {series} is supported, and series"
    " {series} gets no more kernels",
    STEP,
)
UPGRADE_FORCED = Cause("forced", "the task requests the newest kernel (force)")
UPGRADE_REQUIRED_BY_TASK = Cause("required", "the task requires a newer kernel (required)")
KERNEL_RELEASE_UNUSUAL = Cause(
    "kernel_unknown",
    "the release of the running kernel ({release}) contains no series and flavour",
    "set both options, for example series=4.4 and flavour=generic",
)
NO_NEWER_KERNEL = Cause(
    "no_newer_kernel",
    "the archive has {kernel}",
    "check the package sources of the host, or select another series (series){subscription}",
)
NO_APT = Cause("no_apt", "this host has no apt-get", "upgrade its kernel with its own tools")
INSTALLATION_RUNNING = Cause(
    "run_in_progress",
    "an earlier task is installing a kernel on this host at this moment",
    "wait until it has finished, then run the task again",
)
DPKG_INTERRUPTED = Cause(
    "dpkg_interrupted",
    "a run of dpkg on this host was interrupted and is incomplete ({package})",
    "run `dpkg --configure -a` on the host, or set repair: true",
)
KERNEL_HELD = Cause(
    "packages_held",
    "{kernel} is available, but {packages} is held back on this host",
    "run `apt-mark unhold {unhold}`, or exclude this host",
)
BOOT_FULL = Cause(
    "boot_full",
    "/boot has {free} MiB of free space, and a kernel needs about {needed} MiB",
    STEP,
)
APT_BROKEN = Cause(
    "apt_broken",
    "packages on this host have unmet dependencies, so that apt-get installs nothing",
    "run `apt-get -f install` on the host, or set repair: true",
)
APT_BROKEN_STILL = Cause(
    "apt_broken",
    "packages on this host have unmet dependencies, and `apt-get -f install` did not repair them",
    "run `apt-get -f install` on the host, which can also remove packages, then run the task again",
)
IMPOSSIBLE_REQUEST = Cause(
    "impossible_request",
    "the package sources of this host contradict each other; no package is held back",
    "compare the versions of these packages on the host (apt-get update; apt-cache policy), and update or remove the"
    " package source that is behind",
)
PRO_CREDENTIALS = Cause(
    "pro_credentials",
    "the archive of Ubuntu Pro refused the host's credentials: its subscription is missing or has expired",
    "check the subscription on the host with `pro status`, then run `pro refresh`; if that fails, `pro detach` and"
    " `pro attach` with a valid token",
)
MODULE_BUILD_FAILED = Cause(
    "module_build_failed",
    "the third-party kernel module {module} could not be built for the new kernel",
    "update the module or remove it (dkms status; apt-get purge of its package), then run `dpkg --configure -a` on the"
    " host",
)
RUN_LOST = Cause(
    "run_lost",
    "apt-get on the host did not start, or ended without a result, for example because the machine stopped",
    _RUN_AGAIN_TO_COMPLETE,
)
APT_FAILED = Cause("apt_failed", "apt-get failed", "check /var/log/apt/term.log on the host")
APT_LOCKED = Cause(
    "apt_locked",
    "another process holds the lock of apt or dpkg",
    "find the process on the host (ps, unattended-upgrades), and run the task again when it has ended",
)
PACKAGES_HELD = Cause(
    "packages_held", "held packages prevent the installation", "list them on the host: apt-mark showhold"
)
WOULD_REMOVE = Cause(
    "would_remove",
    "apt-get would have to remove packages, which this module never does",
    "run `apt-get -s install` on the host to list the packages",
)
DISK_FULL = Cause("disk_full", "the host's disk is full", f"free disk space, then {_RUN_AGAIN_TO_COMPLETE}")
BOOT_DISK_FULL = Cause(
    "disk_full",
    "/boot is full",
    f"{STEP}; then {_RUN_AGAIN_TO_COMPLETE}",
)
ARCHIVE_UNREACHABLE = Cause(
    "archive_unreachable",
    "the packages could not be downloaded from the archive",
    "check the connection of the host to the archive: apt-get update",
)
ARCHIVE_TOO_NEW = Cause(
    "clock_wrong",
    "by the clock of the host, the package lists of the archive are not valid yet",
    f"{SET_CLOCK}, and run the task again",
)
HOST_READ_ONLY = Cause(
    "file_system_read_only",
    "packages cannot be installed, because a file system of the host is read-only",
    f"find out why (`journalctl -k`, `mount`), and mount it read-write; then {_RUN_AGAIN_TO_COMPLETE}",
)
DPKG_FAILED = Cause(
    "dpkg_failed",
    "a package could not be installed",
    f"check /var/log/apt/term.log on the host, then {_RUN_AGAIN_TO_COMPLETE}",
)
UPGRADE_TIMED_OUT = Cause(
    "upgrade_timed_out",
    "apt-get did not finish within {timeout} s; {state}",
    "run the task again; it waits for the end of apt-get",
)
DPKG_INTERRUPTED_AGAIN = Cause(
    "dpkg_interrupted",
    "dpkg was interrupted, and apt-get installs nothing before its run is completed",
    "run `dpkg --configure -a` on the host, or set repair: true",
)
KERNEL_INCOMPLETE = Cause(
    "kernel_incomplete",
    "{release} is installed, but {files} is missing",
    "run `dpkg-reconfigure linux-image-{release}` on the host; do not reboot before that",
)
KERNEL_DAMAGED = Cause(
    "kernel_incomplete",
    "{release} is installed, but {files} is empty or damaged",
    "free space in /boot if it is full, then run `apt-get install --reinstall linux-image-{release}` and"
    " `update-initramfs -u -k {release}` on the host; do not reboot before that",
)
NO_BOOT_ENTRY = Cause(
    "no_boot_entry",
    "{release} is installed, but neither /boot/grub/grub.cfg nor the link /vmlinuz refers to it",
    "run `update-grub` on the host; do not reboot before that",
)
