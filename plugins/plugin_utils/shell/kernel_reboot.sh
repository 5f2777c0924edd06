# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# A reboot, and the containers that must run again after it. Comes after probe.sh.
#
# From the controller: lp_task, which is one of
#   look      the probe, the boot, what runs in containers, and what an earlier task has left unfinished
#   drain     the commands lp_pre_1, lp_pre_2, …, then containers are noted and stopped
#   reboot    the users are told lp_message, and the machine goes down after lp_delay seconds, if it still is in boot
#             lp_boot_id
#   alive     the boot, and the kernel
#   restore   what was noted runs again, then the commands lp_post_1, lp_post_2, …
# lp_docker, lp_podman, lp_lxd say what becomes of containers: stop, wait (until they end by themselves), or ignore.
# lp_within is how many seconds draining, or restoring, may take.
#
# The note lies in a folder of root's that survives the reboot: `boot_id` of the boot in which the draining began, and
# `containers`, a line "RUNTIME ID NAME" each in the order in which they start. It goes when all of it runs again.

lp_kept=/var/lib/kernelops-livepatch/kernel_reboot

# /snap/bin is not on the PATH of root under sudo or cron.
PATH=$PATH:/snap/bin

# left: how many seconds are left, at least one. A command gets no more.
left() {
    lp_left=$((lp_deadline - $(date +%s)))
    if [ "$lp_left" -lt 1 ]; then
        lp_left=1
    fi
}

# ask COMMAND...: a question to a runtime, whose daemon may be dead.
ask() {
    bounded 20 "$@"
}

# tell COMMAND...: an order to a runtime.
tell() {
    left
    bounded "$lp_left" "$@"
}

# Newest first is how both list containers; they start in the order in which they came to be.
engine_running() {
    lp_listed=$(ask "$1" ps --no-trunc --format '{{.ID}} {{.Names}}') || return
    printf '%s\n' "$lp_listed" | awk -v runtime="$1" '
        NF { lines[NR] = runtime " " $1 " " $2 }
        END { for (number = NR; number > 0; number--) if (number in lines) print lines[number] }'
}

# Containers that the engine removes as soon as they stop.
engine_vanishing() {
    lp_ids=$(ask "$1" ps -q --no-trunc)
    if [ -n "$lp_ids" ]; then
        # shellcheck disable=SC2086 # a list of identifiers
        ask "$1" inspect --format '{{.HostConfig.AutoRemove}} {{.Name}}' $lp_ids | grep '^true '
    fi
}

# member: sets lp_member to this machine's name in its LXD cluster, empty where there is none.
member() {
    lp_member=$(ask lxc info | awk '
        $1 == "server_clustered:" && $2 == "true" { clustered = 1 }
        $1 == "server_name:" { name = $2 }
        END { if (clustered) print name }')
}

# All versions print tables, and only newer ones anything else. A container with a higher priority starts earlier.
lxd_running() {
    member
    lp_columns=ns,boot.autostart.priority
    if [ -n "$lp_member" ]; then
        printf 'member %s %s\n' "$lp_member" "$lp_member"
        lp_columns=nsL
    fi
    lp_listed=$(ask lxc list -c "$lp_columns") || return
    printf '%s\n' "$lp_listed" | awk -F '|' -v member="$lp_member" '
        {
            gsub(/ /, "")
            if ($3 != "RUNNING") next
            if (member != "" && $4 == member) print 0, "evacuated", $2, $2
            if (member == "") print $4 + 0, "lxd", $2, $2
        }' | sort -s -k 1,1nr | cut -d ' ' -f 2-
}

running() {
    for lp_engine in docker podman; do
        if command -v "$lp_engine" >/dev/null; then
            answer "running $lp_engine" engine_running "$lp_engine"
            answer "vanishing $lp_engine" engine_vanishing "$lp_engine"
        fi
    done
    if command -v lxc >/dev/null; then
        answer "running lxd" lxd_running
    fi
}

# commands KIND: runs lp_KIND_1 and so on, up to the first that fails.
commands() {
    lp_number=1
    while :; do
        eval "lp_command=\${lp_$1_$lp_number-}"
        if [ -z "$lp_command" ]; then
            return 0
        fi
        left
        answer "$1 $lp_number" bounded "$lp_left" sh -c "$lp_command"
        if [ "$lp_exit" != 0 ]; then
            return 1
        fi
        lp_number=$((lp_number + 1))
    done
}

# to_stop: what runs and is to be stopped, in the order in which it starts.
to_stop() {
    for lp_engine in docker podman; do
        eval "lp_policy=\$lp_$lp_engine"
        if [ "$lp_policy" = stop ] && command -v "$lp_engine" >/dev/null; then
            engine_running "$lp_engine"
        fi
    done
    if [ "$lp_lxd" = stop ] && command -v lxc >/dev/null; then
        lxd_running
    fi
}

# keep_note: what an earlier task has noted stays noted, for it may have stopped it.
keep_note() {
    umask 077
    mkdir -p "$lp_kept"
    rm -f "$lp_kept/going"
    if [ ! -e "$lp_kept/boot_id" ]; then
        cat /proc/sys/kernel/random/boot_id >"$lp_kept/boot_id"
    fi
    touch "$lp_kept/containers"
    to_stop >"$lp_kept/running"
    awk '!seen[$0]++' "$lp_kept/containers" "$lp_kept/running" >"$lp_kept/part"
    mv "$lp_kept/part" "$lp_kept/containers"
    sync
}

# stop_all: the last that started stops first. Those of one engine are stopped in one go.
stop_all() {
    lp_failed=0
    awk '{ lines[NR] = $0 } END { for (number = NR; number > 0; number--) print lines[number] }' \
        "$lp_kept/running" >"$lp_kept/backwards"
    while read -r lp_runtime lp_id _; do
        case $lp_runtime in
            lxd) tell lxc stop "$lp_id" </dev/null || lp_failed=1 ;;
            member) tell lxc cluster evacuate "$lp_id" --force </dev/null || lp_failed=1 ;;
        esac
    done <"$lp_kept/backwards"
    for lp_engine in docker podman; do
        lp_ids=$(awk -v runtime="$lp_engine" '$1 == runtime { print $2 }' "$lp_kept/backwards")
        if [ -n "$lp_ids" ]; then
            # shellcheck disable=SC2086 # a list of identifiers
            tell "$lp_engine" stop $lp_ids || lp_failed=1
        fi
    done
    return "$lp_failed"
}

# wait_for_end ENGINE: until no container of the engine runs.
wait_for_end() {
    while [ -n "$(ask "$1" ps -q)" ]; do
        if [ "$(date +%s)" -ge "$lp_deadline" ]; then
            engine_running "$1"
            return 1
        fi
        sleep 2
    done
}

drain() {
    commands pre || return
    for lp_engine in docker podman; do
        eval "lp_policy=\$lp_$lp_engine"
        if [ "$lp_policy" = wait ] && command -v "$lp_engine" >/dev/null; then
            answer "ended $lp_engine" wait_for_end "$lp_engine"
            if [ "$lp_exit" != 0 ]; then
                return
            fi
        fi
    done
    answer note keep_note
    answer stop stop_all
    answer kept cat "$lp_kept/containers"
}

# wanting: what was noted and does not run.
wanting() {
    for lp_engine in docker podman; do
        if grep -q "^$lp_engine " "$lp_kept/containers"; then
            engine_running "$lp_engine"
        fi
    done >"$lp_kept/running"
    if grep -q -e '^lxd ' -e '^member ' "$lp_kept/containers"; then
        ask lxc list -c ns | awk -F '|' '
            { gsub(/ /, "") }
            $3 == "RUNNING" { print "lxd", $2, $2; print "evacuated", $2, $2 }' >>"$lp_kept/running"
    fi
    # The first file may be empty, so that counting lines does not tell the two apart.
    awk -v running="$lp_kept/running" '
        FILENAME == running { runs[$1 " " $2] = 1; next }
        $1 != "member" && !runs[$1 " " $2]' "$lp_kept/running" "$lp_kept/containers"
}

# The members of a cluster take back what they gave away, and do it once.
take_back() {
    awk '$1 == "member" { print $2 }' "$lp_kept/containers" >"$lp_kept/members"
    while read -r lp_id; do
        tell lxc cluster restore "$lp_id" --force </dev/null
    done <"$lp_kept/members"
}

start_all() {
    wanting >"$lp_kept/wanting"
    while read -r lp_runtime lp_id _; do
        case $lp_runtime in
            docker | podman) tell "$lp_runtime" start "$lp_id" </dev/null ;;
            lxd) tell lxc start "$lp_id" </dev/null ;;
        esac
    done <"$lp_kept/wanting" >"$lp_kept/said" 2>&1
}

restore() {
    if [ ! -d "$lp_kept" ]; then
        missing wanting absent
    else
        touch "$lp_kept/containers"
        answer members take_back
        # The runtimes may come up after the way in does.
        while :; do
            start_all
            wanting >"$lp_kept/wanting"
            if [ ! -s "$lp_kept/wanting" ] || [ "$(date +%s)" -ge "$lp_deadline" ]; then
                break
            fi
            sleep 3
        done
        answer wanting cat "$lp_kept/wanting"
        if [ -s "$lp_kept/wanting" ]; then
            answer said cat "$lp_kept/said"
            return
        fi
    fi
    commands post || return
    rm -rf "$lp_kept"
}

# Each way down is tried after the one before it has failed. The last one works without any program. A machine that has
# rebooted since it was looked at, as when two controllers work on it, is let be.
go_down() {
    read -r lp_now </proc/sys/kernel/random/boot_id
    if [ "$lp_now" != "$lp_boot_id" ]; then
        printf 'another boot\n'
        return
    fi
    if [ -n "$lp_message" ] && command -v wall >/dev/null; then
        printf '%s\n' "$lp_message" | wall
    fi
    # shellcheck disable=SC2016 # the inner shell's own variables
    setsid sh -c '
        : >"$2"
        sleep "$1"
        sync
        systemctl reboot || shutdown -r now || reboot -f || {
            echo s >/proc/sysrq-trigger
            echo b >/proc/sysrq-trigger
        }' reboot "$lp_delay" "$lp_kept/going" </dev/null >/dev/null 2>&1 &
    lp_left=60
    while [ ! -e "$lp_kept/going" ] && [ "$lp_left" -gt 0 ]; do
        sleep 1
        lp_left=$((lp_left - 1))
    done
}

boot() {
    answer boot_id cat /proc/sys/kernel/random/boot_id
}

main() {
    lp_deadline=$(($(date +%s) + lp_within))
    case $lp_task in
        look)
            probe
            boot
            answer kept_boot_id cat "$lp_kept/boot_id"
            answer kept cat "$lp_kept/containers"
            running
            ;;
        drain) drain ;;
        reboot) answer down go_down ;;
        alive)
            boot
            answer release cat /proc/sys/kernel/osrelease
            ;;
        restore) restore ;;
    esac
}
