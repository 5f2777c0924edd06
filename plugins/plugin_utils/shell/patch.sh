# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Downloads and applies the newest patch with the client of the host. Then prints the facts of the host with probe.sh,
# which precedes this part, the tasks that block a transition, and the last lines of the logs.
#
# Variables from the controller: lp_refresh (maximum number of seconds for the client, or empty to only print facts),
# lp_locks (names of crash locks to remove first, validated by the controller).

lp_lock_folder=/var/snap/canonical-livepatch/common/locks

# in_transition: succeeds if the kernel shows that tasks are still switching to a patch.
in_transition() {
    for lp_path in /sys/kernel/livepatch/*/transition; do
        lp_transition=
        if [ -r "$lp_path" ]; then
            IFS= read -r lp_transition <"$lp_path"
        fi
        if [ "$lp_transition" = 1 ]; then
            return 0
        fi
    done
    return 1
}

# list_waiting_tasks: prints the state files of tasks, including threads, that have not switched to the new patch yet
# (0). Only processes are listed if there are too many threads for a command line.
list_waiting_tasks() {
    cd /proc || return
    grep -l -s -x 0 [0-9]*/patch_state [0-9]*/task/[0-9]*/patch_state /dev/null 2>/dev/null ||
        grep -l -s -x 0 [0-9]*/patch_state /dev/null
}

# print_tasks: prints the process, the thread and its name for up to 40 of these files.
print_tasks() {
    list_waiting_tasks | head -n 40 | while IFS= read -r lp_path; do
        lp_path=${lp_path%/patch_state}
        lp_name=
        if [ -r "/proc/$lp_path/comm" ]; then
            IFS= read -r lp_name <"/proc/$lp_path/comm"
        fi
        printf '%s %s %.64s\n' "${lp_path%%/*}" "${lp_path##*/}" "$lp_name"
    done
}

# kernel_log: prints the last lines of the kernel log about live patches.
kernel_log() {
    lp_pattern='livepatch|lkp_'
    lp_lines=
    if command -v dmesg >/dev/null; then
        lp_lines=$(bounded 5 dmesg 2>/dev/null | grep -a -E "$lp_pattern" | tail -n 20 | cut -b 1-512)
    fi
    if [ -n "$lp_lines" ]; then
        printf '%s\n' "$lp_lines"
    else
        grep -a -s -E "$lp_pattern" /var/log/kern.log | tail -n 20 | cut -b 1-512
    fi
}

main() {
    find_client
    for lp_lock in $lp_locks; do
        section "removed $lp_lock" rm -f -- "$lp_lock_folder/$lp_lock"
    done
    if [ -n "$lp_refresh" ] && [ -n "$lp_client" ]; then
        section refresh bounded "$lp_refresh" "$lp_client" refresh
    fi
    probe
    if in_transition; then
        section tasks print_tasks
    fi
    section kernel_log kernel_log
    section journal client_log 20
}
