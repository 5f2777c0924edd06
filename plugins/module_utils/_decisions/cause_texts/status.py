# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a client that reports no status."""

from __future__ import annotations

from .cause import AS_ROOT, DAEMON, READ_JOURNAL, Cause

_REINSTALL = (
    "run kernelops.livepatch.client with `reinstall: true` and the token, or the playbook kernelops.livepatch.enable"
    " with `-e livepatch_reinstall=true`"
)

_CHECK_SHOWS_STEP = (
    "run `ansible-playbook kernelops.livepatch.check`, which shows the next step for the release and kernel of the host"
)

DAEMON_DOWN = Cause(
    "daemon_down",
    "the client's daemon does not answer",
    f"restart the daemon (`systemctl restart {DAEMON}`); if it ends again, {READ_JOURNAL}, and install its snap"
    f" again: {_REINSTALL}",
)
CLIENT_TIMED_OUT = Cause(
    "timed_out",
    "the client did not answer in time",
    f"restart its daemon: systemctl restart {DAEMON}",
)
PERMISSION_DENIED = Cause("permission_denied", "access to the client's daemon is denied", AS_ROOT)
APPARMOR = Cause(
    "apparmor",
    "AppArmor prevents the client from running",
    "in a nested container, enable Livepatch on the machine that runs the container; otherwise read `journalctl -k`",
)
INTERFACE_NOT_CONNECTED = Cause(
    "interface_not_connected",
    "the snap of the client is not allowed to load kernel modules",
    "run `snap connect canonical-livepatch:kernel-module-control` on the host",
)
NOT_EXECUTABLE = Cause(
    "not_executable",
    "the client cannot be started",
    f"repair its snap (snap refresh canonical-livepatch), or install it again: {_REINSTALL}",
)
NOT_ELIGIBLE_KERNEL = Cause(
    "not_eligible_kernel",
    "the client does not support this kernel",
    _CHECK_SHOWS_STEP,
)
PLATFORM_UNSUPPORTED = Cause(
    "platform_unsupported",
    "the client does not support this release of Ubuntu",
    _CHECK_SHOWS_STEP,
)
PLATFORM_STALE = Cause(
    "platform_stale",
    "the snap of the client is stale: it refuses this host because it takes it for another release of Ubuntu",
    f"{_REINSTALL}; this runs `snap remove --purge canonical-livepatch` and `snap install canonical-livepatch`, and"
    " enables the client again",
)
DAEMON_ENDS = Cause(
    "daemon_ends",
    "the client's daemon ends each time it is started",
    "refresh the snap (`snap refresh canonical-livepatch`); if this does not help, remove it"
    " (`snap remove --purge canonical-livepatch`), install it again, and enable the client",
)
TAINTED_MODULES = Cause(
    "tainted_modules",
    "the kernel has loaded modules that are unsigned or not from the Ubuntu archive, and the client refuses it",
    "find these modules on the host (`grep '(' /proc/modules`), remove their drivers, and reboot",
)
DAEMON_SHUTTING_DOWN = Cause(
    "daemon_shutting_down", "the client's daemon is shutting down", "wait a minute, and run the task again"
)
SNAPD_KERNEL_UNSUPPORTED = Cause(
    "snapd_kernel_unsupported",
    "snapd does not run with this kernel",
    f"boot a kernel of series 4.4 or newer; {_CHECK_SHOWS_STEP}",
)
SNAPD_RESTARTING = Cause(
    "snapd_restarting", "snapd is restarting", "wait until it has restarted, and run the task again"
)
NOT_SEEDED = Cause(
    "not_seeded",
    "snapd has not finished its initialization",
    "run the task again later or increase `wait_seeded`; `snap changes` on the host shows the progress",
)
UNREADABLE_OUTPUT = Cause(
    "unreadable_output",
    "the output of the client could not be read",
    "run `canonical-livepatch status` on the host; if it prints no status, repair the snap: snap refresh"
    " canonical-livepatch",
)
SNAPD_DOWN = Cause("snapd_down", "snapd does not answer", "run `systemctl restart snapd` on the host")

CLIENT_ERRORS = {
    cause.id: cause
    for cause in (
        DAEMON_DOWN,
        CLIENT_TIMED_OUT,
        PERMISSION_DENIED,
        APPARMOR,
        INTERFACE_NOT_CONNECTED,
        NOT_EXECUTABLE,
        NOT_ELIGIBLE_KERNEL,
        PLATFORM_UNSUPPORTED,
        PLATFORM_STALE,
        TAINTED_MODULES,
        DAEMON_SHUTTING_DOWN,
        SNAPD_KERNEL_UNSUPPORTED,
        SNAPD_DOWN,
        SNAPD_RESTARTING,
        NOT_SEEDED,
        UNREADABLE_OUTPUT,
    )
}
"""The causes of a client that reports no status, by the id of its `ClientError`."""
