# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of causes: each problem of a host with its id, its message and its remedy.

The table has the causes that more than one part of the collection reports, and all reasons of states and of checks.
An error that only one function raises has its text there. `docs/guide/troubleshooting.md` lists every id.

``{name}`` in a text is a placeholder. The code that finds the cause supplies the value, which can depend on the facts
of the host or on the policy. A cause has one text; two causes may share an id.
"""

from __future__ import annotations

import dataclasses

from .._errors import LivepatchError
from .._record import Reason


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """A problem. `message` is one sentence, `remedy` an imperative sentence; both can have placeholders."""

    id: str
    message: str
    remedy: str | None = None

    def reason(self, detail: str = "", /, **values: object) -> Reason:
        """Return the cause as a reason. `detail` is added to the message; `values` replace the placeholders."""
        message = self.message.format(**values)
        return Reason(
            id=self.id,
            message=f"{message}: {detail}" if detail else message,
            remedy=None if self.remedy is None else self.remedy.format(**values),
        )

    def error(self, detail: str = "", /, **values: object) -> LivepatchError:
        """Return the cause as the error that ends a task. The arguments are those of `reason`."""
        reason = self.reason(detail, **values)
        return LivepatchError(reason["id"], reason["message"], reason["remedy"])


_DAEMON = "snap.canonical-livepatch.canonical-livepatchd"
_AS_ROOT = "run the task as root: add --become, or set become: true"
UPGRADE_INSTEAD = "patch this host with kernel upgrades and reboots"
_STEP = "{step}"
"""The remedy of a cause whose next step depends on the host: `next_steps` computes it."""
_CHECK_SHOWS_STEP = (
    "run `ansible-playbook kernelops.livepatch.check`, which shows the next step for the release and kernel of the host"
)
_RUN_AGAIN_TO_COMPLETE = "run the task again, which completes an interrupted run of dpkg first"
_READ_JOURNAL = f"read `journalctl -u {_DAEMON}` on the host"
_CHECK_NETWORK = (
    "check the network, and the client's settings https-proxy and ca-certs; then refresh the client:"
    " canonical-livepatch refresh"
)
_OPEN_NETWORK = "open port 443 to the server, or set https-proxy in the client's config"
_TRUST_AUTHORITY = "set ca-certs in the client's config to the authority of the server, or of a proxy that inspects TLS"
_ALLOW_COMMAND_LINE = "allow the token on a command line with token_transport: cli"
_REINSTALL = "run kernelops.livepatch.client with `reinstall: true` and the token"
_FREE_A_SEAT = "disable a host that does not need Livepatch, or get more seats"
_ISOLATE = (
    "isolate the host, find out who loaded the module, and reboot: a live patch cannot be removed from a running kernel"
)

# --- the client reports no status ---

DAEMON_DOWN = Cause(
    "daemon_down",
    "the client's daemon does not answer",
    f"restart the daemon (`systemctl restart {_DAEMON}`); if it ends again, {_READ_JOURNAL}, and install its snap"
    f" again: {_REINSTALL}",
)
CLIENT_TIMED_OUT = Cause(
    "timed_out",
    "the client did not answer in time",
    f"restart its daemon: systemctl restart {_DAEMON}",
)
PERMISSION_DENIED = Cause("permission_denied", "access to the client's daemon is denied", _AS_ROOT)
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
NO_STATUS = Cause(
    "no_status",
    "the client cannot be run, and this text was printed instead of its status",
    "run `snap changes` and `canonical-livepatch status` on the host; then repair the snap: snap refresh"
    " canonical-livepatch",
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
    "run `canonical-livepatch status` on the host",
)

# --- a task ended before it had a result ---

HOST_TIMED_OUT = Cause(
    "timed_out",
    "the host did not complete its answer within {seconds} s",
    "run the command `true` on the host with the same connection, and look for a program or a mount that hangs",
)
TASK_TIMED_OUT = Cause(
    "timed_out",
    "the task was ended by its time limit before the host had answered",
    "increase `timeout` of the task, or look for a program or a mount that hangs on the host",
)
TASK_ENDED = Cause("interrupted", "the task was ended before the host had answered", "run the task again")
RECORD_TRUNCATED = Cause(
    "record_truncated",
    "the answer of the host is too large for a record, and entries are missing from it",
    "run `canonical-livepatch status` on the host, and find out why its output is so large",
)
INTERNAL_ERROR = Cause(
    "internal_error",
    "the answer of the host caused an unexpected error in this collection ({place})",
    "run the task again with -vvv, and report the error with its traceback",
)

# --- a task cannot change the host, or was interrupted ---

NOT_ROOT = Cause("not_root", "the task does not run as root on the host, and {action} needs root", _AS_ROOT)
INTERRUPTED = Cause("interrupted", "the answer of the host is incomplete", "run the task again; it continues its work")
PRO_MISSING = Cause(
    "pro_missing",
    "the host has no Ubuntu Pro client that answers `pro status --format json`",
    "install ubuntu-pro-client (ubuntu-advantage-tools 27 or newer), or use `via: livepatch`",
)
MODE_STOP = Cause(
    "mode_stop",
    "the client's mode is stop: its daemon does not run and accepts no commands",
    "set `mode` to normal, or to no-apply to withhold patches",
)
MODE_ON_COMMAND_LINE = Cause(
    "mode_on_command_line",
    "the kernel command line of the host sets the client's mode to {mode} (canonical_livepatch_mode={mode}){conflict}",
    "remove canonical_livepatch_mode from GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, run"
    " `update-grub` and reboot; or set `mode` to {mode}",
)
NOT_CONFIRMED = Cause(
    "not_confirmed",
    "all steps succeeded, but the host does not show the result",
    f"run `canonical-livepatch status` on the host, and {_READ_JOURNAL}",
)

REFRESH_TIMED_OUT = Cause(
    "refresh_timed_out",
    "the client did not complete its refresh",
    f"{_READ_JOURNAL}, and run the task again",
)

NOT_ELIGIBLE = Cause("not_eligible", "the host is not eligible: {reasons}", "{remedy}")
PRO_ATTACHED_OTHERWISE = Cause(
    "pro_attached_otherwise",
    "the machine is attached to Ubuntu Pro with another token, which its other services also use",
    "to change the token, run `pro detach` on the host first",
)
SOCKET_WITHOUT_TOOL = Cause(
    "socket_unavailable",
    "the host has no curl or nc that supports the daemon's socket",
    f"install curl on the host, or {_ALLOW_COMMAND_LINE}",
)

# --- the client and its patch ---

NOT_INSTALLED = Cause(
    "not_installed",
    "the client is not installed",
    _STEP,
)
NOT_ENABLED = Cause(
    "not_enabled",
    "the client is not enabled",
    _STEP,
)
NOT_ENABLED_ANY_MORE = Cause(
    "not_enabled",
    "the client was disabled by another process in the meantime",
    "enable the client with the playbook kernelops.livepatch.enable",
)
APPLY_FAILED = Cause(
    "apply_failed",
    "the client could not apply its patch",
    f"{_READ_JOURNAL}, then refresh the client: canonical-livepatch refresh",
)
APPLIED_WITH_BUG = Cause("applied_with_bug", "the applied patch has a known bug", _STEP)
CRASH_LOCK = Cause(
    "crash_lock",
    "the client refuses a patch because the kernel may have crashed with it before",
    "find the cause of the crash, then run kernelops.livepatch.patch with clear_crash_lock: true",
)
CHECK_FAILED = Cause("check_failed", "the client could not ask the server for the newest patch", _CHECK_NETWORK)
CHECK_REFUSED = Cause(
    "check_failed",
    "the client could not ask the server for the newest patch, although the host can reach the server: the server is in"
    " trouble, or refuses this machine",
    f"{_READ_JOURNAL}, wait some minutes, and refresh the client: canonical-livepatch refresh; if the check still"
    " fails, disable the client and enable it again with kernelops.livepatch.client",
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
    "install a newer client, which reports it: snap refresh canonical-livepatch",
)
APPLYING_TOO_LONG = Cause(
    "applying_too_long",
    "the newest patch is still not applied after more than {minutes} minutes",
    f"{_READ_JOURNAL}, then apply the patch with kernelops.livepatch.patch, which names what blocks it",
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
    f"wait, or refresh the client: canonical-livepatch refresh; to see its progress, {_READ_JOURNAL}",
)
KERNEL_DISAGREES = Cause(
    "kernel_disagrees",
    "the client reports patch {version} as applied, but the kernel does not show it",
    "refresh the client: canonical-livepatch refresh; if this repeats, reboot the host",
)
KERNEL_NOT_READABLE = Cause(
    "kernel_not_readable",
    "the client reports patch {version} as applied, but the host's sysfs could not be read",
    _AS_ROOT,
)
PATCHES_NOT_READABLE = Cause(
    "kernel_not_readable", "the loaded live patches could not be read from the host's sysfs", _AS_ROOT
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
    "refresh the client: canonical-livepatch refresh; if this repeats, restart its daemon:"
    f" systemctl restart {_DAEMON}",
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
    "disable the client (canonical-livepatch disable), or add this system to the policy",
)

# --- a setting withholds patches ---

WITHHELD_BY_MODE_FILE = Cause(
    "mode_withholds",
    "the client's mode is {mode}, set in /var/local/canonical_livepatch_mode: {effect}",
    "set `client_mode: normal` in the role kernelops.livepatch.client, or run on the host: echo normal >"
    " /var/local/canonical_livepatch_mode && snap restart canonical-livepatch",
)
WITHHELD_BY_COMMAND_LINE = Cause(
    "mode_withholds",
    "the client's mode is {mode}, set on the kernel command line: {effect}",
    "remove `canonical_livepatch_mode={mode}` from GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT in"
    " /etc/default/grub, run `update-grub`, and reboot the host",
)
MODE_UNKNOWN = Cause(
    "mode_unknown",
    "the client has an unknown mode ({mode}), so it may not apply patches",
    "set `client_mode: normal` in the role kernelops.livepatch.client, or delete /var/local/canonical_livepatch_mode,"
    " and canonical_livepatch_mode on the kernel command line",
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

# --- the kernel needs an upgrade ---

KERNEL_TOO_OLD = Cause(
    "kernel_age",
    "the client reports no support status for the kernel, which is {age} months old: patches end after {months} months",
    _STEP,
)
KERNEL_END_OF_LIFE = Cause("kernel_end_of_life", "the service has ended its support of this kernel", _STEP)
UPGRADE_DATE_PASSED = Cause("upgrade_date_passed", "this kernel has received no patches since {date}", _STEP)
KERNEL_UPGRADE_REQUIRED = Cause(
    "kernel_upgrade_required",
    "the service has no more patches for this kernel: only a newer kernel fixes further vulnerabilities",
    _STEP,
)
UPGRADE_DUE_SOON = Cause("upgrade_due_soon", "patches for this kernel end on {date}, in {days} days", _STEP)

# --- the upgrade of a kernel ---

SERIES_ENDED = Cause(
    "series_ended",
    "the installed metapackages lead to {target}, the client does not report whether {series} is supported, and series"
    " {series} gets no more kernels",
    _STEP,
)
UPGRADE_FORCED = Cause("forced", "the task requests the newest kernel (force)")
KERNEL_RELEASE_UNUSUAL = Cause(
    "kernel_unknown",
    "the release of the running kernel ({release}) contains no series and flavour",
    "set both options, for example series=4.4 and flavour=generic",
)
NO_NEWER_KERNEL = Cause(
    "no_newer_kernel",
    "the archive has {kernel}",
    "check the package sources of the host, or select another series (series)",
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
    _STEP,
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
    f"{_STEP}; then {_RUN_AGAIN_TO_COMPLETE}",
)
ARCHIVE_UNREACHABLE = Cause(
    "archive_unreachable",
    "the packages could not be downloaded from the archive",
    "check the connection of the host to the archive: apt-get update",
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

# --- the reboot ---

BOOT_UNKNOWN = Cause(
    "boot_unknown", "the running kernel or the boot id of the host cannot be read", "check /proc on the host"
)
RUNTIME_UNRESPONSIVE = Cause(
    "runtime_unresponsive",
    "{count} containers of {runtime} run on this host, but {runtime} does not answer",
    "restart the daemon of {runtime}, or do not stop its containers ({runtime}: ignore)",
)
CONTAINERS_WOULD_VANISH = Cause(
    "containers_would_vanish",
    "{runtime} removes these containers when they stop (--rm), so they could not be started again: {containers}",
    "wait until they end ({runtime}: wait), or accept their loss ({runtime}: ignore)",
)
RESTART_RUNNING = Cause(
    "run_in_progress",
    "another run of this module is stopping or starting containers on this host",
    "wait until it has finished, then run the task again",
)
PRE_COMMAND_FAILED = Cause(
    "pre_command_failed",
    "command {number} of pre_commands ended with exit code {exit_code}",
    "run the command on the host; nothing has been stopped",
)
POST_COMMAND_FAILED = Cause(
    "post_command_failed",
    "command {number} of post_commands ended with exit code {exit_code}",
    "run the task again; it repeats the command without another reboot",
)
CONTAINERS_DID_NOT_END = Cause(
    "containers_did_not_end",
    "containers of {runtime} are still running at the end of drain_timeout: {containers}",
    "increase drain_timeout, or stop the containers ({runtime}: stop)",
)
DRAIN_LOST = Cause(
    "drain_failed",
    "the connection was lost while containers were being stopped",
    "run the task again; it completes the reboot",
)
DRAIN_FAILED = Cause(
    "drain_failed",
    "containers could not be stopped within drain_timeout, and were started again",
    "find the container on the host that does not stop; the host was not rebooted",
)
REBOOT_DID_NOT_HAPPEN = Cause(
    "reboot_did_not_happen",
    "the host is still in the same boot {seconds} s after the reboot command",
    "find the job that delays the reboot on the host: systemctl list-jobs",
)
HOST_DID_NOT_RETURN = Cause(
    "host_did_not_return",
    "the host did not come back within {seconds} s after the reboot command",
    "check its console; when the host is back, run the task again to complete the work",
)
HOST_STOPPED_ANSWERING = Cause(
    "host_did_not_return", "the host no longer answers", "check its console, then run the task again"
)
FOREIGN_KERNEL = Cause(
    "foreign_kernel",
    "{release} is not a kernel that Ubuntu built, and this module never boots into one",
    "install a kernel of Ubuntu with kernelops.livepatch.kernel_upgrade (force: true), and set `kernel` to it",
)
FOREIGN_KERNEL_FIRST = Cause(
    "boot_order",
    "the next boot would start {starts}, which Ubuntu did not build and Livepatch cannot patch, instead of {intended}"
    " ({cause})",
    "remove {starts}: {removal}; or make GRUB start {intended}: {selection}",
)
FIPS_KERNEL_FIRST = Cause(
    "boot_order",
    "the next boot would start the FIPS kernel {starts} instead of {intended} ({cause})",
    "if the host no longer uses FIPS, remove {starts}: {removal}; or make GRUB start {intended}: {selection}",
)
OTHER_KERNEL_FIRST = Cause(
    "boot_order",
    "the next boot would start {starts} instead of {intended} ({cause})",
    "make GRUB start {intended}: {selection}; or remove {starts} if it is not used: {removal}; or upgrade this host to"
    " {starts} with its series and flavour",
)
OTHER_ENTRY_FIRST = Cause(
    "boot_order",
    "the next boot would start the entry {entry} instead of {intended} ({cause})",
    "make GRUB start {intended}: {selection}",
)
BOOT_ORDER_UNKNOWN = Cause(
    "boot_order",
    "it is not known which kernel the boot loader would start ({problem}), and Ubuntu did not build {foreign}",
    "remove {foreign}: {removal}; then check which kernel the boot loader starts",
)
BOOT_ENTRY_NOT_SET = Cause(
    "boot_entry_not_set",
    "grub-reboot could not select the entry of {intended} for the next boot",
    "check on the host whether GRUB can write /boot/grub/grubenv: grub-editenv list; the host was not rebooted",
)
WINDOW_CLOSED = Cause(
    "window_closed",
    "the maintenance window {window} is closed",
    "run the task again when the window is open; the host was not rebooted",
)
WINDOW_UNUSABLE = Cause("window_unusable", "the maintenance window cannot be used", "correct the option `window`")
OLD_KERNEL = Cause(
    "old_kernel",
    "the host booted {booted} instead of {intended}",
    "check the boot loader of the host: grub-editenv list, /etc/default/grub (GRUB_DEFAULT), update-grub",
)
CONTAINERS_NOT_RESTORED = Cause(
    "containers_not_restored",
    "these containers ran before the reboot, but are not running: {containers}",
    "start them on the host, or run the task again; it starts them without a reboot",
)

# --- a loaded patch fails verification ---

SIGNATURE_FAILED_IN_KERNEL = Cause(
    "signature_failed", "the loaded patch {module} does not have a valid signature of the live patch key", _ISOLATE
)
SIGNATURE_FAILED_IN_FILE = Cause(
    "signature_failed",
    "the signature of the file of the loaded patch {module} is not valid ({verdict}): {reason}",
    _ISOLATE,
)
WRONG_SIGNER = Cause(
    "wrong_signer",
    "the loaded patch {module} is not signed by a trusted key: {reason}",
    "if this key is a newer one of Canonical or your own, add it to trusted_spki_sha256 or trusted_certificates;"
    f" otherwise {_ISOLATE}",
)
BUILD_ID_DIFFERS = Cause(
    "build_id_differs",
    "the running patch {module} is not the file on the host: its build ID is {running}, and that of the file {file}",
    _ISOLATE,
)

TAMPERED = Cause("tampered", "{reason}", "{remedy}")
NOT_VERIFIED = Cause(
    "not_verified",
    "the signature of {modules} could not be verified: no module file or no certificate of its signer is available, and"
    " the kernel does not contain the key",
    "run the task as root, and add the signer's certificate to trusted_certificates; or accept unverified patches with"
    " verify: best_effort",
)
SRCVERSION_DIFFERS = Cause(
    "srcversion_differs",
    "the running patch {module} is not the file on the host: its srcversion is {running}, and that of the file {file}",
    _ISOLATE,
)
SIGNATURE_NOT_CONFIRMED = Cause(
    "signature_not_confirmed",
    "the kernel did not accept the signature of the loaded patch {module}, and it is not known who signed it",
    "verify the file of the patch (livepatch_verify=file) with the certificates of all trusted keys",
)
BUILD_ID_MISSING = Cause(
    "build_id_missing",
    "the running patch {module} was not compared with its file by build ID, because {places} shows none",
    "verify the complete file: livepatch_verify=file",
)

# --- too few facts ---

ANSWER_CUT_SHORT = Cause(
    "answer_cut_short", "the answer of the host is incomplete, so some facts are unknown", "run the check again"
)
CLOCK_SKEW = Cause(
    "clock_skew",
    "the clock of the host is {span} {direction} the controller's, so its times prove nothing",
    "correct the clock of the host (timedatectl set-ntp true), or that of the controller, and run the check again",
)
CLOCK_UNKNOWN = Cause(
    "clock_unknown", "the host did not report its time, so its clock could not be compared", "run the check again"
)
REBOOT_REQUESTED = Cause(
    "reboot_requested",
    "packages that are not the kernel request a reboot: {packages}",
    "reboot the host when it is convenient",
)
NOTHING_KNOWN = Cause(
    "nothing_known", "the host sent too few facts to determine its state", "run the check again as root"
)

NO_ANSWER = Cause("no_answer", "the host gave no answer", "check that the host runs and is reachable")
NO_RECORD = Cause("no_record", "this host has no record", "run the check playbook on the host")
RECORD_FROM_FUTURE = Cause(
    "record_from_future",
    "the record of the host is dated in the future",
    "correct the clock of the controller that stored it, then run the check playbook on the host, or remove {path} if"
    " the host no longer exists",
)
RECORD_UNUSABLE = Cause(
    "record_unusable",
    "the record of the host cannot be used",
    "run the check playbook on the host, or remove {path} if the host no longer exists",
)

# --- no seat for a host ---

SEATS_USED_UP = Cause("seats_used_up", "{seats_taken}", _FREE_A_SEAT)
SEATS_EXCEEDED = Cause("seats_exceeded", "the host is or may be enabled, but {seats_taken}", _FREE_A_SEAT)
CLONED = Cause(
    "cloned",
    "{hosts} have the same machine identity: the server counts them as one machine, and each can take over the"
    " registration of the others",
    "give each host its own identity (empty /etc/machine-id, then run systemd-machine-id-setup), and check it again; if"
    " one is the old name of another, remove its record",
)
INELIGIBLE = Cause("ineligible", "{reasons}", "{remedy}")
ELIGIBILITY_UNKNOWN = Cause("eligibility_unknown", "the host may be ineligible: {reasons}", "{remedy}")
UNREACHABLE = Cause("unreachable", "the host could not be checked: {reason}", "{remedy}")
GRANTED_WITHOUT_RECORD = Cause(
    "no_record", "the host was granted a seat, but has no record since then", "check the host again"
)

# --- checks: the system and the policy ---

WSL = Cause("container", "this host is WSL, and Windows provides its kernel", "update the WSL kernel from Windows")
CONTAINER = Cause(
    "container",
    "this host is a container ({kind}), and uses the kernel of the machine that runs it",
    "manage the machine that runs this container instead; this also protects its other containers",
)
CONTAINER_UNKNOWN = Cause("container", "it could not be determined if this host is a container", _AS_ROOT)
DISTRIBUTION = Cause(
    "distribution",
    "the distribution {found} is not covered by policy '{policy}'",
    f"{UPGRADE_INSTEAD}: Livepatch is only for Ubuntu itself",
)
DISTRIBUTION_DERIVED = Cause(
    "distribution",
    "{found} is a derivative of Ubuntu, and Livepatch does not cover derivatives",
    f"{UPGRADE_INSTEAD}, or install Ubuntu",
)
DISTRIBUTION_UNKNOWN = Cause(
    "distribution", "the distribution could not be determined", "check ID in /etc/os-release on the host"
)
RELEASE = Cause(
    "release",
    "{distribution} {found} is not covered by policy '{policy}'",
    _STEP,
)
RELEASE_UNKNOWN = Cause(
    "release", "the release could not be determined", "check VERSION_ID in /etc/os-release on the host"
)
ARCHITECTURE = Cause(
    "architecture",
    "the architecture {found} is not covered by policy '{policy}'",
    _STEP,
)
ARCHITECTURE_32_BIT = Cause(
    "architecture",
    "the userland is 32-bit (i386) on a 64-bit kernel, and counts as i386",
    "reinstall the host as amd64",
)
ARCHITECTURE_UNKNOWN = Cause(
    "architecture",
    "the architecture could not be determined",
    "run `dpkg --print-architecture` on the host",
)
KERNEL_SERIES = Cause(
    "kernel_series",
    "kernel series {found} is not covered by policy '{policy}' for this host",
    _STEP,
)
KERNEL_SERIES_UNKNOWN = Cause(
    "kernel_series", "the kernel series could not be determined", "check the output of `uname -r` on the host"
)
FLAVOUR = Cause(
    "flavour",
    "kernel flavour {found} is not covered by policy '{policy}' for this host",
    _STEP,
)
FLAVOUR_UNKNOWN = Cause(
    "flavour", "the kernel flavour could not be determined", "check the end of the output of `uname -r` on the host"
)
KERNEL_AGE = Cause(
    "kernel_age",
    "the kernel is {age} months old, and kernels receive patches for about {months} months",
    _STEP,
)
KERNEL_AGE_BY_STATE = Cause(
    "kernel_age",
    "the age of the kernel is unknown ({problem}), and the service reports its support state as {state}",
    _STEP,
)
KERNEL_AGE_UNKNOWN = Cause(
    "kernel_age",
    "the age of the kernel could not be checked: {problem}",
    "set ask_server: true, so that the server is asked if it supports this kernel",
)

OTHER_POLICY = Cause("other_policy", "policy '{policy}' covers this system, which this policy refuses", _STEP)

# --- checks: the kernel ---

KERNEL_ORIGIN = Cause("kernel_origin", "the kernel was not built by Ubuntu ({origin}): {evidence}", _STEP)
KERNEL_ORIGIN_UNKNOWN = Cause(
    "kernel_origin",
    "it could not be determined if Ubuntu built the kernel: {evidence}",
    "check /proc/version_signature on the host",
)
KERNEL_LIVEPATCH = Cause("kernel_livepatch", "the kernel was built without support for live patching", _STEP)
KERNEL_LIVEPATCH_UNKNOWN = Cause(
    "kernel_livepatch",
    "it could not be determined if the kernel supports live patching",
    "check that /sys is mounted on the host",
)
KERNEL_REALTIME = Cause(
    "kernel_conflict",
    "Livepatch does not support the realtime kernel",
    _STEP,
)
KERNEL_FIPS = Cause(
    "kernel_conflict",
    "Livepatch conflicts with FIPS-certified kernels, and the host does not use fips-updates",
    _STEP,
)
KERNEL_CONFLICT_UNKNOWN = Cause(
    "kernel_conflict",
    "the type of the kernel could not be determined",
    "check that `uname -r` prints a release on the host",
)
KERNEL_UNSUPPORTED = Cause("kernel_supported", "the service does not support this kernel", _STEP)
KERNEL_NOT_KNOWN = Cause(
    "kernel_supported",
    "the service does not know this kernel",
    "check that the kernel is in Canonical's list of supported kernels",
)
SUPPORT_NOT_REPORTED = Cause(
    "kernel_supported",
    "the server did not report if it supports this kernel",
    "check `server` and the controller's network, proxy and certificates; or set ask_server: false",
)

# --- checks: the rest of the host ---

SNAPD_MISSING = Cause("snapd", "snapd is not installed", "install it on the host: apt-get install snapd")
SNAPD_OUTDATED = Cause(
    "snapd", "snapd {version} is too old", "upgrade it on the host: apt-get install --only-upgrade snapd"
)
SNAPD_VERSION_UNKNOWN = Cause(
    "snapd",
    "snapd is installed, but its version could not be determined",
    "check `snap version` and `systemctl status snapd` on the host",
)
SNAPD_DOWN = Cause("snapd_down", "snapd does not answer", "run `systemctl restart snapd` on the host")
SNAPD_SEEDED = Cause(
    "snapd_seeded",
    "snapd is still initializing, as it does after the first boot, and installs no snaps until it has finished",
    "wait until it has finished: snap wait system seed.loaded",
)
PRIVILEGES = Cause("privileges", "the check did not run as root, so some facts are unknown", _AS_ROOT)
SECURE_BOOT = Cause(
    "secure_boot",
    "Secure Boot is enabled, and this kernel does not contain the live patch key",
    _STEP,
)
SECURE_BOOT_UNKNOWN = Cause(
    "secure_boot", "it could not be determined if Secure Boot is enabled", "run `mokutil --sb-state` on the host"
)
SECURE_BOOT_KEYS_UNKNOWN = Cause(
    "secure_boot", "Secure Boot is enabled, and the keys in the kernel could not be listed", _AS_ROOT
)
NETWORK_UNREACHABLE = Cause(
    "network",
    "the host cannot reach {server} ({tool})",
    "open port {port} to {hosts}, or set https-proxy in the client's config",
)
NETWORK_PROXY_REFUSES = Cause(
    "network",
    "the host cannot reach {server} through its proxy ({tool})",
    "allow the proxy to connect to {hosts} on port {port}, or correct https-proxy in the client's config",
)
NETWORK_UNTRUSTED = Cause("network", "the host does not trust the certificate of {server} ({tool})", _TRUST_AUTHORITY)
NETWORK_UNKNOWN = Cause(
    "network",
    "the network could not be checked: {problem}",
    "install curl on the host, or set network: false",
)
DESKTOP = Cause(
    "desktop",
    "this host has a desktop; Livepatch is intended for servers, and desktops should be upgraded and rebooted",
    "upgrade and reboot this host regularly, unless its uptime matters",
)

# --- failures of a step or a refresh, recognised by the output of the command ---

_READ_OUTPUT = "read the quoted output"
_RUN_AGAIN = "and run the task again"
_WAIT_FOR_SERVER = f"wait until it works again, {_RUN_AGAIN}, or increase `retry_timeout`"
_SET_CLOCK = "compare the clock of the host (`date -u`) with the real time, and set it: timedatectl set-ntp true"
_SYSTEM_AUTHORITIES = "if the clock is right, update the package ca-certificates on the host"
_COMMAND_FAILURES = (
    Cause(
        "bad_token",
        "the server does not accept this token",
        "get a valid Livepatch token of the server in `remote-server` (of the hosted service:"
        " https://ubuntu.com/livepatch), and set `token`",
    ),
    Cause(
        "machine_token_invalid",
        "the server does not know the registration of this machine any more",
        "enable the client again: use state disabled, then state enabled with the token",
    ),
    Cause(
        "seats_used_up",
        "the token has no free seat for this machine",
        "disable the client on a machine that does not need it, or use a token with more seats",
    ),
    Cause(
        "already_enabled",
        "the client has been enabled by another process in the meantime",
        "run the task again; if this repeats, use state disabled first",
    ),
    Cause("no_key", "the client received no token", "set `token`"),
    Cause(
        "server_unreachable",
        "the host cannot reach the server, according to the client",
        f"{_OPEN_NETWORK}, {_RUN_AGAIN}",
    ),
    Cause("tls_untrusted", "the certificate of the server is not trusted", _TRUST_AUTHORITY),
    Cause(
        "tls_wrong_name",
        "the certificate of the server is for another name",
        "set remote-server in `config` to a name in the server's certificate, or replace the certificate",
    ),
    Cause(
        "clock_wrong",
        "by the clock of the host, the certificate of the server is not valid yet or has expired",
        f"{_SET_CLOCK}; if the clock is right, renew the server's certificate",
    ),
    Cause(
        "proxy_failed",
        "the proxy refuses the connection or does not answer",
        "check the address, the user name and the password of the proxy: https-proxy in the client's config, `snap get"
        " system proxy`, or https_proxy in `pro config show`",
    ),
    Cause("server_error", "the server is reachable, but reports an internal error", _WAIT_FOR_SERVER),
    Cause(
        "server_refused",
        "the server refused the request",
        f"{_READ_OUTPUT}, and check the token and `remote-server`",
    ),
    Cause(
        "registration_failed",
        "the client could not register with the server and gives no reason",
        f"check the token, `remote-server` and the network, and {_READ_JOURNAL}",
    ),
    Cause(
        "setting_refused",
        "the client refuses a setting",
        "correct `config`, or remove the settings that this version of the client does not have",
    ),
    Cause("client_failed", "the client failed", f"{_READ_OUTPUT}, and {_READ_JOURNAL}"),
    Cause(
        "snapd_too_old",
        "the package archive has no snapd that is new enough",
        f"enable the release's -updates pocket in the host's apt sources, {_RUN_AGAIN}",
    ),
    Cause(
        "snapd_not_in_archive",
        "the host's apt sources have no snapd",
        "enable the release's main and -updates pockets in the host's apt sources",
    ),
    Cause(
        "dpkg_interrupted",
        "snapd cannot be installed, because an earlier run of dpkg was interrupted",
        f"run `dpkg --configure -a` on the host, {_RUN_AGAIN}",
    ),
    Cause(
        "disk_full",
        "a disk of the host is full",
        f"free disk space on the host (`df -h`), {_RUN_AGAIN}",
    ),
    Cause(
        "snap_busy",
        "snapd is busy with another change of this snap",
        f"wait until it is finished (`snap changes`), {_RUN_AGAIN}",
    ),
    Cause(
        "channel_unknown",
        "the snap has no such channel",
        "correct `channel`: `snap info canonical-livepatch` lists the channels",
    ),
    Cause(
        "no_client_for_architecture",
        "there is no client for the architecture of this host",
        f"{UPGRADE_INSTEAD}; `dpkg --print-architecture` shows the architecture",
    ),
    Cause(
        "store_unreachable",
        "the host cannot reach the snap store",
        "open port 443 to the store, or set a proxy for snapd: `snap set system proxy.https=URL`",
    ),
    Cause(
        "store_tls_untrusted",
        "snapd does not trust the certificate of the snap store",
        f"{_SET_CLOCK}; {_SYSTEM_AUTHORITIES}, and add the authority of a proxy that inspects TLS: `snap set system"
        " store-certs.proxy=CERTIFICATE`",
    ),
    Cause("store_error", "the snap store is reachable, but reports an internal error", _WAIT_FOR_SERVER),
    Cause(
        "store_refused",
        "the snap store refused the request",
        f"{_READ_OUTPUT}, and check the store proxy of snapd: `snap get system proxy.store`",
    ),
    Cause("snap_failed", "snapd failed", f"{_READ_OUTPUT}; `snap changes` on the host lists the steps"),
    Cause(
        "socket_unavailable",
        "the daemon's socket, which must receive the token, is not available",
        f"start the client's daemon, or {_ALLOW_COMMAND_LINE}",
    ),
    Cause(
        "file_failed",
        "a file of this collection cannot be written on the host",
        f"{_READ_OUTPUT}, and check free space, permissions and mounts below /var/lib",
    ),
    Cause(
        "timed_out",
        "the command took too long and was ended",
        f"check the server and the network, {_RUN_AGAIN}",
    ),
)

_ATTACH_AGAIN = (
    "run `pro refresh` on the host; if this does not help, run `pro detach`, and set `token` to a valid token"
)
_PRO_DASHBOARD = "https://ubuntu.com/pro/dashboard"
_PRO_CAUSES = (
    Cause(
        "pro_token_invalid",
        "Ubuntu Pro does not know this token",
        f"check the token: a Pro token is listed on {_PRO_DASHBOARD} and begins with C",
    ),
    Cause(
        "pro_token_expired",
        "the Ubuntu Pro subscription of the token is not valid at this time",
        f"renew the subscription on {_PRO_DASHBOARD}, or set `token` to one of a valid subscription; on an attached"
        " machine, run `pro detach` first",
    ),
    Cause(
        "pro_already_attached",
        "the machine has been attached to Ubuntu Pro by another process in the meantime",
        "run the task again",
    ),
    Cause(
        "pro_not_attached",
        "this machine has no Ubuntu Pro subscription",
        "set `token` to a Pro token, which attaches the machine",
    ),
    Cause(
        "pro_not_entitled",
        "the Ubuntu Pro subscription does not include Livepatch for this machine",
        f"add Livepatch to the subscription on {_PRO_DASHBOARD}, or use `via: livepatch` with a Livepatch token",
    ),
    Cause(
        "pro_busy",
        "another operation of Ubuntu Pro is in progress on the host",
        f"wait until it is finished (`pro status --wait`), {_RUN_AGAIN}, or increase `retry_timeout`",
    ),
    Cause(
        "pro_kernel_refused",
        "Ubuntu Pro does not enable Livepatch for the running kernel",
        "upgrade the Ubuntu Pro client, whose list of kernels can be old (apt-get install --only-upgrade"
        " ubuntu-pro-client ubuntu-advantage-tools), or boot a kernel of a listed flavour",
    ),
    Cause(
        "container",
        "Ubuntu Pro does not enable Livepatch in a container, which uses the kernel of the machine that runs it",
        "enable Livepatch on the machine that runs this container; on WSL, update the WSL kernel from Windows",
    ),
    Cause(
        "kernel_conflict",
        "Ubuntu Pro does not enable Livepatch together with a FIPS-certified or realtime kernel",
        f"instead of fips, use fips-updates (pro enable fips-updates); otherwise boot another kernel flavour, or"
        f" {UPGRADE_INSTEAD}",
    ),
    Cause(
        "pro_reboot_required",
        "Ubuntu Pro enables Livepatch only after a reboot of this host, for example after an upgrade of Ubuntu",
        f"reboot the host, {_RUN_AGAIN}",
    ),
    Cause(
        "pro_refused",
        "Ubuntu Pro refuses to enable Livepatch on this host",
        f"{_READ_OUTPUT}; kernelops.livepatch.eligibility_info lists the requirements",
    ),
    Cause(
        "contract_server_unreachable",
        "the host cannot reach the contract server of Ubuntu Pro",
        "open port 443 to contracts.canonical.com, or set a proxy (`pro config set https_proxy=URL`); also check the"
        " clock and the package ca-certificates of the host",
    ),
    Cause(
        "contract_server_error",
        "the contract server of Ubuntu Pro is reachable, but reports an internal error",
        _WAIT_FOR_SERVER,
    ),
    Cause(
        "contract_server_refused",
        "the contract server of Ubuntu Pro refused the request",
        f"{_READ_OUTPUT}; {_ATTACH_AGAIN}",
    ),
    Cause(
        "pro_tls_untrusted",
        "Ubuntu Pro does not trust the certificate of its contract server",
        f"{_SET_CLOCK}; {_SYSTEM_AUTHORITIES}",
    ),
    Cause(
        "pro_failed",
        "the Ubuntu Pro client failed",
        f"{_READ_OUTPUT}, and /var/log/ubuntu-advantage.log on the host",
    ),
)
PRO_REFUSALS = {
    cause.id: cause
    for cause in (
        Cause("bad_token", "the server does not accept the token that Ubuntu Pro passes", _ATTACH_AGAIN),
        Cause("server_refused", "the server refused the machine, which Ubuntu Pro registers", _ATTACH_AGAIN),
        Cause(
            "registration_failed",
            "the client could not register with the token that Ubuntu Pro passes, and gives no reason",
            f"{_READ_JOURNAL}; {_ATTACH_AGAIN}",
        ),
    )
}
"""Causes whose remedy differs if Ubuntu Pro, and not the task, gave the client its token."""


def command_failure(identifier: str, tool: str) -> Cause:
    """Return the cause of a failed step or refresh: the id of its `ClientFailure`, and the tool that printed it."""
    through_pro = PRO_REFUSALS.get(identifier) if tool == "pro" else None
    return through_pro or CLIENT_FAILURES[identifier]


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

CLIENT_FAILURES = {
    cause.id: cause
    for cause in (
        *CLIENT_ERRORS.values(),
        NOT_ENABLED_ANY_MORE,
        CRASH_LOCK,
        INTERRUPTED,
        APT_LOCKED,
        APT_FAILED,
        ARCHIVE_UNREACHABLE,
        *_COMMAND_FAILURES,
        *_PRO_CAUSES,
    )
}
"""The causes of a failed step or refresh, by the id of its `ClientFailure`."""
