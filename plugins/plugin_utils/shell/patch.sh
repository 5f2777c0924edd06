# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Fetches and applies the newest patch with the host's client, and reports the host as the script before it does, with
# what holds a transition up and what the logs say.
#
# From the controller: lp_refresh (seconds that the client may take, or empty: only look), lp_locks (names of crash
# locks to remove first, checked by the controller).

lp_lock_folder=/var/snap/canonical-livepatch/common/locks

# in_transition: whether the kernel shows that tasks are still moving to a patch.
in_transition() {
    for lp_path in /sys/kernel/livepatch/*/transition; do
        lp_moving=
        if [ -r "$lp_path" ]; then
            IFS= read -r lp_moving <"$lp_path"
        fi
        if [ "$lp_moving" = 1 ]; then
            return 0
        fi
    done
    return 1
}

# waiting: the files of tasks that have not moved to the new patch yet (0), threads included. Where there are more
# threads than a command line holds, the processes have to do.
waiting() {
    cd /proc || return
    grep -l -s -x 0 [0-9]*/patch_state [0-9]*/task/[0-9]*/patch_state /dev/null 2>/dev/null ||
        grep -l -s -x 0 [0-9]*/patch_state /dev/null
}

# tasks: of up to 40 such files: the process, the thread, and its name.
tasks() {
    waiting | head -n 40 | while IFS= read -r lp_path; do
        lp_path=${lp_path%/patch_state}
        lp_name=
        if [ -r "/proc/$lp_path/comm" ]; then
            IFS= read -r lp_name <"/proc/$lp_path/comm"
        fi
        printf '%s %s %.64s\n' "${lp_path%%/*}" "${lp_path##*/}" "$lp_name"
    done
}

# kernel_log: the last lines of the kernel's log about live patches.
kernel_log() {
    lp_words='livepatch|lkp_'
    lp_lines=
    if command -v dmesg >/dev/null; then
        lp_lines=$(bounded 5 dmesg 2>/dev/null | grep -a -E "$lp_words" | tail -n 20 | cut -b 1-512)
    fi
    if [ -n "$lp_lines" ]; then
        printf '%s\n' "$lp_lines"
    else
        grep -a -s -E "$lp_words" /var/log/kern.log | tail -n 20 | cut -b 1-512
    fi
}

# journal: the last lines of the client's daemon.
journal() {
    if command -v journalctl >/dev/null; then
        bounded 10 journalctl -q --no-pager -o cat -n 20 -u snap.canonical-livepatch.canonical-livepatchd | cut -b 1-1024
    else
        grep -a -s -F canonical-livepatch /var/log/syslog | tail -n 20 | cut -b 1-1024
    fi
}

main() {
    find_client
    for lp_lock in $lp_locks; do
        answer "removed $lp_lock" rm -f -- "$lp_lock_folder/$lp_lock"
    done
    if [ -n "$lp_refresh" ] && [ -n "$lp_client" ]; then
        answer refresh bounded "$lp_refresh" "$lp_client" refresh
    fi
    probe
    if in_transition; then
        answer tasks tasks
    fi
    answer kernel_log kernel_log
    answer journal journal
}
