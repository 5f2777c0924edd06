# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a reboot that does not take place, or that boots another kernel."""

from __future__ import annotations

from .cause import Cause

BOOT_UNKNOWN = Cause(
    "boot_unknown", "the running kernel or the boot id of the host cannot be read", "check /proc on the host"
)
RUNTIME_UNRESPONSIVE = Cause(
    "runtime_unresponsive",
    "{count} containers of {runtime} run on this host, but {runtime} does not answer",
    "restart the daemon of {runtime}, or do not stop its containers ({runtime}: ignore)",
)
RUNTIME_UNCOUNTED = Cause(
    "runtime_unresponsive",
    "{runtime} does not answer, and its containers could not be counted",
    "restart the daemon of {runtime}, or do not stop its containers ({runtime}: ignore)",
)
CONTAINERS_UNLISTED = Cause(
    "containers_unlisted",
    "{count} containers of {runtime} run on this host, but {runtime} lists only {listed} of them",
    "stop the others on the host (of another daemon or project, or of Incus or LXC beside LXD), or do not stop any "
    "({runtime}: ignore)",
)
KUBERNETES_RUNNING = Cause(
    "kubernetes_running",
    "{count} containers of Kubernetes run on this host, and this module does not stop them",
    "drain the node (kubectl drain NODE --ignore-daemonsets), then allow those that stay (allow_running: [kubernetes])",
)
CONTAINERD_RUNNING = Cause(
    "containerd_running",
    "{count} containers of containerd, which neither Docker nor Kubernetes started, run on this host, and this module "
    "does not stop them",
    "stop them on the host (nerdctl stop, ctr task kill), or allow that the reboot ends them "
    "(allow_running: [containerd])",
)
ROOTLESS_RUNNING = Cause(
    "rootless_running",
    "{count} containers of users without root privileges run on this host, and this module does not stop them "
    "(user IDs: {users})",
    "stop them as these users, or allow that the reboot ends them (allow_running: [rootless])",
)
CONTAINERS_NOT_NOTED = Cause(
    "drain_failed",
    "a container runtime stopped listing its containers, so none was stopped",
    "find the runtime that does not answer: docker ps, podman ps, lxc list",
)
CONTAINERS_WOULD_VANISH = Cause(
    "containers_would_vanish",
    "{runtime} removes these containers when they stop (--rm), so they could not be started again: {containers}",
    "wait until they end ({runtime}: wait), or accept their loss ({runtime}: ignore)",
)
CONTAINERS_STOP_LATE = Cause(
    "stop_timeout_too_long",
    "{runtime} waits longer for these containers to stop than drain_timeout ({seconds} s), and would kill them after"
    " that: {containers}",
    "set drain_timeout to more than {longest} s, or reduce the stop timeout of the containers",
)
RESTART_RUNNING = Cause(
    "run_in_progress",
    "another run of this module is stopping or starting containers on this host",
    "wait until it has finished, then run the task again",
)
DRAIN_GROUP_BUSY = Cause(
    "drain_group_busy",
    "host {host} of the drain group {group} is down for a reboot since {since}, by a run of {by}",
    "wait until that run has finished, then run the task again",
)
DRAIN_GROUP_LOST = Cause(
    "drain_group_busy",
    "host {host} of the drain group {group} has been drained since {since}, and the run of {by} was lost before its"
    " containers ran again",
    "run the playbook on {host} to complete its reboot; or, if its containers run: {removal}",
)
DRAIN_LOCK_TAKEN = Cause(
    "drain_lock_lost",
    "the lock of the drain group {group} was removed or taken by another run, so the host was not rebooted",
    "run the task again",
)
DRAIN_LOCK_UNUSABLE = Cause(
    "drain_lock_unusable",
    "the lock {path} of the drain group cannot be used",
    "use a record folder that the user who runs Ansible can write to, on a file system with locks; remove a damaged"
    " file only if all containers of the group run",
)
DRAIN_EXPIRED = Cause(
    "drain_expired",
    "the host was not rebooted, because it has started its containers again {seconds} s after they were stopped",
    "run the task again, with a larger `restore_after` if the controller is slow",
)
KERNEL_GONE = Cause(
    "kernel_files_missing",
    "files of the kernel to boot are missing or empty ({files}), so the host was not rebooted",
    "install its packages again on the host: apt-get install --reinstall linux-image-{release}",
)
PACKAGES_CHANGING = Cause(
    "packages_changing",
    "a program on the host is changing packages, and a reboot would interrupt it (process IDs: {processes})",
    "run the task again when it has finished; to find the program on the host: ps -fp {processes}",
)
SHUTDOWN_BLOCKED = Cause(
    "shutdown_blocked",
    "programs on the host block a shutdown: {programs}",
    "run the task again when they have finished; to list them on the host: systemd-inhibit --list",
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
CONTAINERS_UNSTOPPED = Cause(
    "drain_failed",
    "these containers did not stop within drain_timeout: {containers}; the others were started again",
    "find out on the host why they do not stop, and start them if they stop later; the host was not rebooted",
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
KERNEL_UNSIGNED = Cause(
    "kernel_unsigned",
    "Secure Boot is enabled, and {release} is installed from the package {package}, whose image is not signed",
    "install the signed image on the host: apt-get install linux-image-{release}",
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
BOOT_MENU_BROKEN = Cause(
    "boot_order",
    "the configuration of the boot loader, /boot/grub/grub.cfg, is incomplete, so it might start no kernel",
    "create it again on the host, with free space in /boot: update-grub",
)
KEXEC_LOADED = Cause(
    "boot_order",
    "a kernel is loaded for kexec, and the next reboot could start it instead of {intended}",
    "unload it on the host: kexec -u",
)
BOOT_ENTRY_NOT_SET = Cause(
    "boot_entry_not_set",
    "grub-reboot could not select the entry of {intended} for the next boot",
    "check on the host whether GRUB can write /boot/grub/grubenv: grub-editenv list; the host was not rebooted",
)
WINDOW_CLOSED = Cause(
    "window_closed",
    "the maintenance window is closed ({window}; frozen dates: {freeze})",
    "run the task again when the window is open; the host was not rebooted",
)
WINDOW_UNUSABLE = Cause(
    "window_unusable", "the maintenance window cannot be used", "correct the option `window` or `freeze`"
)
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
