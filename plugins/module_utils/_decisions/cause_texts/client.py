# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes in the client, its patch, and the settings with which it withholds patches."""

from __future__ import annotations

from .cause import AS_ROOT, DAEMON, READ_JOURNAL, STEP, Cause

_CHECK_NETWORK = (
    "check the network, and the client's settings https-proxy and ca-certs; then refresh the client:"
    " canonical-livepatch refresh"
)

NOT_INSTALLED = Cause(
    "not_installed",
    "the client is not installed",
    STEP,
)
NOT_ENABLED = Cause(
    "not_enabled",
    "the client is not enabled",
    STEP,
)
NOT_ENABLED_ANY_MORE = Cause(
    "not_enabled",
    "the client was disabled by another process in the meantime",
    "enable the client with the playbook kernelops.livepatch.enable",
)
APPLY_FAILED = Cause(
    "apply_failed",
    "the client could not apply its patch",
    f"{READ_JOURNAL}, then refresh the client: canonical-livepatch refresh",
)
APPLIED_WITH_BUG = Cause("applied_with_bug", "the applied patch has a known bug", STEP)
KEY_MISSING = Cause(
    "secure_boot",
    "the client could not apply its patch, because the kernel only accepts modules of keys that it knows, and does not"
    " contain the live patch key",
    STEP,
)
CRASH_LOCK = Cause(
    "crash_lock",
    "the client refuses a patch because the kernel may have crashed with it before",
    "find the cause of the crash, then run kernelops.livepatch.patch with clear_crash_lock: true (in the playbook, -e"
    " livepatch_clear_crash_lock=true)",
)
CHECK_FAILED = Cause("check_failed", "the client could not ask the server for the newest patch", _CHECK_NETWORK)
CHECK_REFUSED = Cause(
    "check_failed",
    "the client could not ask the server for the newest patch, although the host can reach the server: the server is in"
    " trouble, or refuses this machine",
    f"{READ_JOURNAL}, wait some minutes, and refresh the client: canonical-livepatch refresh; if the check still"
    " fails, disable the client and enable it again with kernelops.livepatch.client",
)
CHECK_BEFORE_NETWORK = Cause(
    "check_failed",
    "the client could not ask the server for the newest patch, although the host can reach the server now: its network"
    " or name service was not available to the client",
    f"refresh the client: canonical-livepatch refresh; if this fails, {READ_JOURNAL}",
)
CHECK_NOT_ACCEPTED = Cause(
    "check_failed",
    "the client could not ask the server for the newest patch: the server does not accept its registration any more",
    "disable the client on the host (canonical-livepatch disable), then {step}",
)
CHECK_WITHOUT_NETWORK = Cause(
    "check_failed",
    "the client could not ask the server for the newest patch: {problem}",
    "{remedy}; then refresh the client: canonical-livepatch refresh",
)
CHECK_FAILED_AFTER_BOOT = Cause(
    "check_failed_after_boot",
    "the first check after boot failed, which is normal before the network is up; the client tries again",
    "wait some minutes, then run the check again",
)
NEEDS_CHECK = Cause(
    "needs_check",
    "the client has not asked the server for a patch yet",
    "refresh the client: canonical-livepatch refresh",
)
CHECK_TOO_OLD = Cause(
    "check_too_old", "the last successful check of the client was on {time} UTC, {age} ago", _CHECK_NETWORK
)
CHECK_IN_FUTURE = Cause(
    "check_in_future",
    "the last check of the client is dated {time} UTC, which is in the future",
    "correct the clock of the host (timedatectl set-ntp true), then refresh the client: canonical-livepatch refresh",
)
CHECK_TIME_UNKNOWN = Cause(
    "check_time_unknown",
    "the client does not report when it last asked the server for a patch",
    "refresh the client (canonical-livepatch refresh); if it still reports no time, install a newer one: snap refresh"
    " canonical-livepatch",
)
APPLYING_TOO_LONG = Cause(
    "applying_too_long",
    "the newest patch is still not applied after more than {minutes} minutes",
    f"{READ_JOURNAL}, then apply the patch with kernelops.livepatch.patch, which names what blocks it",
)
IN_TRANSITION = Cause(
    "in_transition",
    "the kernel is still moving tasks to the patch",
    "wait; kernelops.livepatch.patch lists the tasks that block the transition",
)
TRANSITION_STALLED = Cause(
    "transition_stalled",
    "the kernel did not move all tasks to the patch within {seconds} s{blocked}",
    "wait until these tasks end, or restart them; the kernel then completes the transition without another refresh, and"
    " running the task again confirms it",
)
NOT_YET_APPLIED = Cause(
    "not_yet_applied",
    "the patch is not applied yet: the client reports {state}",
    f"wait, or refresh the client: canonical-livepatch refresh; to see its progress, {READ_JOURNAL}",
)
KERNEL_DISAGREES = Cause(
    "kernel_disagrees",
    "the client reports patch {version} as applied, but the kernel does not show it",
    "refresh the client: canonical-livepatch refresh; if this repeats, reboot the host",
)
KERNEL_NOT_READABLE = Cause(
    "kernel_not_readable",
    "the client reports patch {version} as applied, but the host's sysfs could not be read",
    AS_ROOT,
)
PATCHES_NOT_READABLE = Cause(
    "kernel_not_readable", "the loaded live patches could not be read from the host's sysfs", AS_ROOT
)
FOREIGN_PATCH = Cause(
    "foreign_patch",
    "the live patch {module} is loaded, and the client does not report it",
    "find out who loaded the module; if it is not yours, reboot the host: a live patch cannot be removed from a running"
    " kernel",
)
OTHER_KERNEL = Cause(
    "other_kernel",
    "the client reports on {reported}, and {running} is running",
    f"refresh the client: canonical-livepatch refresh; if this repeats, restart its daemon: systemctl restart {DAEMON}",
)
KERNEL_OF_OTHER_RELEASE = Cause(
    "kernel_of_other_release",
    "the running kernel is of Ubuntu {other}, and the host has Ubuntu {release}, as before the first reboot after an"
    " upgrade: that there is nothing to apply proves nothing",
    STEP,
)
SUPPORT_MISSING = Cause(
    "support_unknown",
    "the client reports no support status for the kernel",
    "refresh the client (canonical-livepatch refresh), or set livepatch_ask_server: true",
)
KERNEL_AGE_NOT_KNOWN = Cause(
    "support_unknown",
    "the client reports no support status for the kernel, and the age of the kernel is unknown",
    "install a newer client, which reports it (snap refresh canonical-livepatch), or set livepatch_ask_server: true",
)
APPLIED = Cause("applied", "patch {version} is applied")
NOTHING_TO_APPLY = Cause("nothing_to_apply", "there is nothing to apply for this kernel")
CLIENT_WORDS_UNKNOWN = Cause(
    "client_words_unknown",
    "the client reports {states}, which is not a known healthy status",
    "upgrade the collection, or run `canonical-livepatch status` on the host",
)
ENABLED_THOUGH_INELIGIBLE = Cause(
    "enabled_though_ineligible",
    "the client is enabled on this host, although the policy refuses the host",
    "if the host stays as it is, disable the client (canonical-livepatch disable), or add this system to the policy",
)

# --- a setting withholds patches ---

WITHHELD_BY_MODE_FILE = Cause(
    "mode_withholds",
    "the client's mode is {mode}, set in /var/local/canonical_livepatch_mode: {effect}",
    "set `client_mode: normal` in the role kernelops.livepatch.client, or run on the host: echo normal >"
    # By the name of the service: given only that of the snap, snapd does not start a service that has ended.
    " /var/local/canonical_livepatch_mode && snap restart canonical-livepatch.canonical-livepatchd",
)
WITHHELD_BY_COMMAND_LINE = Cause(
    "mode_withholds",
    "the client's mode is {mode}, set on the kernel command line: {effect}",
    "remove `canonical_livepatch_mode={mode}` from {place}, and reboot the host",
)
MODE_UNKNOWN = Cause(
    "mode_unknown",
    "the client has an unknown mode ({mode}), so it may not apply patches",
    "set `client_mode: normal` in the role kernelops.livepatch.client, or delete /var/local/canonical_livepatch_mode,"
    " and canonical_livepatch_mode on the kernel command line",
)
MODE_NOT_READABLE = Cause(
    "mode_unknown",
    "the mode of the client could not be read, so it is not known whether it applies patches",
    AS_ROOT,
)
SETTINGS_NOT_READABLE = Cause(
    "settings_unknown",
    "the client did not report its settings, so it is not known whether one of them withholds patches",
    "run the check again; if this repeats, run `canonical-livepatch config` on the host, which lists the settings",
)
SERVICE_DISABLED = Cause(
    "service_disabled",
    "the service of the client's snap is disabled (snap stop --disable)",
    "run `snap start --enable canonical-livepatch` on the host",
)
PATCHES_EXCLUDED = Cause(
    "patches_excluded",
    "the client's setting {setting} withholds patches",
    "clear the setting on the host: canonical-livepatch config {key}=",
)
CHECKS_DISABLED = Cause(
    "checks_disabled",
    "the client's setting check-interval is {interval}, so it never asks the server for patches",
    "reset the setting on the host: canonical-livepatch config check-interval=",
)
