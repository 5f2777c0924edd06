# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# A reboot, and the containers that must run again after it. Follows probe.sh.
#
# Variables from the controller: lp_task, which is one of
#   look      print the probe, the boot ID, the running containers, the state of an unfinished reboot, and what shows
#             which kernel will start: the packages of kernels, and the configuration of the boot loader
#   drain     run the commands lp_pre_1, lp_pre_2, …, then save the list of running containers and stop them
#   reboot    send lp_message to the users and reboot after lp_delay seconds, unless the boot ID differs from lp_boot_id.
#             With lp_boot_entry, an entry of GRUB's menu is selected for this boot
#   alive     print the boot ID and the kernel release
#   restore   start the saved containers, then run the commands lp_post_1, lp_post_2, …
#   timer     do the same after lp_restore_after seconds, if no controller has continued until then. This task runs on
#             the host, without a controller, from the file timer.lp_timer in the state folder
# lp_docker, lp_podman and lp_lxd are the policies for containers: stop, wait (until they end by themselves) or ignore.
# lp_within is the maximum number of seconds for draining or restoring. lp_later is the script of the task timer, and
# lp_restore_after is 0 for no timer.
#
# The state is kept in a folder that only root can read and that survives the reboot. It contains `boot_id`, the boot ID
# when draining began, and `containers`, with a line "RUNTIME ID NAME" for each container in the order in which they are
# started. `timer` contains the name of the timer that may start the containers. The folder is removed when all containers
# run again.

lp_state_folder=/var/lib/kernelops-livepatch/kernel_reboot
lp_lock=/run/kernelops-livepatch/kernel_reboot.lock

# /snap/bin is not on the PATH of root under sudo or cron.
PATH=$PATH:/snap/bin

# set_remaining: sets lp_remaining to the seconds until the deadline, but at least 1.
set_remaining() {
    lp_remaining=$((lp_deadline - $(date +%s)))
    if [ "$lp_remaining" -lt 1 ]; then
        lp_remaining=1
    fi
}

# query_runtime COMMAND...: runs a read-only command of a container runtime, whose daemon may hang.
query_runtime() {
    bounded 20 "$@"
}

# control_runtime COMMAND...: runs a command of a container runtime that changes something, until the deadline.
control_runtime() {
    set_remaining
    bounded "$lp_remaining" "$@" 9>&-
}

# list_running ENGINE: prints a line "ENGINE ID NAME" for each running container. Both engines list the newest container
# first. Here the oldest one is first, because containers are started in the order of their creation.
list_running() {
    lp_output=$(query_runtime "$1" ps --no-trunc --format '{{.ID}} {{.Names}}') || return
    printf '%s\n' "$lp_output" | awk -v runtime="$1" '
        NF { lines[NR] = runtime " " $1 " " $2 }
        END { for (number = NR; number > 0; number--) if (number in lines) print lines[number] }'
}

# list_auto_removed ENGINE: prints the running containers that the engine removes when they stop.
list_auto_removed() {
    lp_ids=$(query_runtime "$1" ps -q --no-trunc)
    if [ -n "$lp_ids" ]; then
        # shellcheck disable=SC2086 # a list of identifiers
        query_runtime "$1" inspect --format '{{.HostConfig.AutoRemove}} {{.Name}}' $lp_ids | grep '^true '
    fi
}

# find_cluster_member: sets lp_member to the name of this machine in its LXD cluster, or to the empty string.
find_cluster_member() {
    lp_member=$(query_runtime lxc info | awk '
        $1 == "server_clustered:" && $2 == "true" { clustered = 1 }
        $1 == "server_name:" { name = $2 }
        END { if (clustered) print name }')
}

# list_running_lxd: does the same for LXD. All versions of LXD can print tables, only newer ones other formats.
# Containers with a higher priority are started earlier.
list_running_lxd() {
    find_cluster_member
    lp_columns=ns,boot.autostart.priority
    if [ -n "$lp_member" ]; then
        printf 'member %s %s\n' "$lp_member" "$lp_member"
        lp_columns=nsL
    fi
    lp_output=$(query_runtime lxc list -c "$lp_columns") || return
    printf '%s\n' "$lp_output" | awk -F '|' -v member="$lp_member" '
        {
            gsub(/ /, "")
            if ($3 != "RUNNING") next
            if (member != "" && $4 == member) print 0, "evacuated", $2, $2
            if (member == "") print $4 + 0, "lxd", $2, $2
        }' | sort -s -k 1,1nr | cut -d ' ' -f 2-
}

running_containers() {
    for lp_engine in docker podman; do
        if command -v "$lp_engine" >/dev/null; then
            section "running $lp_engine" list_running "$lp_engine"
            section "auto_removed $lp_engine" list_auto_removed "$lp_engine"
        fi
    done
    if command -v lxc >/dev/null; then
        section "running lxd" list_running_lxd
    fi
}

# run_commands KIND: runs lp_KIND_1, lp_KIND_2, … until a command fails.
run_commands() {
    lp_number=1
    while :; do
        eval "lp_command=\${lp_$1_$lp_number-}"
        if [ -z "$lp_command" ]; then
            return 0
        fi
        set_remaining
        section "$1 $lp_number" bounded "$lp_remaining" sh -c "$lp_command" 9>&-
        if [ "$lp_exit" != 0 ]; then
            return 1
        fi
        lp_number=$((lp_number + 1))
    done
}

# list_to_stop: prints the running containers that must be stopped, in the order in which they are started.
list_to_stop() {
    for lp_engine in docker podman; do
        eval "lp_policy=\$lp_$lp_engine"
        if [ "$lp_policy" = stop ] && command -v "$lp_engine" >/dev/null; then
            list_running "$lp_engine"
        fi
    done
    if [ "$lp_lxd" = stop ] && command -v lxc >/dev/null; then
        list_running_lxd
    fi
}

# save_containers: adds the running containers to the saved ones. An earlier task may already have stopped some of them.
save_containers() {
    umask 077
    mkdir -p "$lp_state_folder"
    rm -f "$lp_state_folder/going"
    if [ ! -e "$lp_state_folder/boot_id" ]; then
        cat /proc/sys/kernel/random/boot_id >"$lp_state_folder/boot_id"
    fi
    touch "$lp_state_folder/containers"
    list_to_stop >"$lp_state_folder/running"
    awk '!seen[$0]++' "$lp_state_folder/containers" "$lp_state_folder/running" >"$lp_state_folder/part"
    mv "$lp_state_folder/part" "$lp_state_folder/containers"
    sync
}

# stop_containers: stops containers in reverse order. All containers of an engine are stopped with one command.
stop_containers() {
    lp_failed=0
    awk '{ lines[NR] = $0 } END { for (number = NR; number > 0; number--) print lines[number] }' \
        "$lp_state_folder/running" >"$lp_state_folder/backwards"
    while read -r lp_runtime lp_id _; do
        case $lp_runtime in
            lxd) control_runtime lxc stop "$lp_id" </dev/null || lp_failed=1 ;;
            member) control_runtime lxc cluster evacuate "$lp_id" --force </dev/null || lp_failed=1 ;;
        esac
    done <"$lp_state_folder/backwards"
    for lp_engine in docker podman; do
        lp_ids=$(awk -v runtime="$lp_engine" '$1 == runtime { print $2 }' "$lp_state_folder/backwards")
        if [ -n "$lp_ids" ]; then
            # shellcheck disable=SC2086 # a list of identifiers
            control_runtime "$lp_engine" stop $lp_ids || lp_failed=1
        fi
    done
    return "$lp_failed"
}

# wait_until_stopped ENGINE: waits until no container of the engine is running.
wait_until_stopped() {
    while [ -n "$(query_runtime "$1" ps -q)" ]; do
        if [ "$(date +%s)" -ge "$lp_deadline" ]; then
            list_running "$1"
            return 1
        fi
        sleep 2
    done
}

# take_lock: waits until no other run stops or starts containers, at most until the deadline. A drain whose connection was
# lost is such a run. This shell holds the lock on descriptor 9 until its end. Its commands do not inherit the descriptor,
# because they can start background processes.
take_lock() {
    # Every user who can open the file can lock it.
    lp_umask=$(umask)
    umask 077
    mkdir -p "${lp_lock%/*}"
    exec 9>"$lp_lock"
    umask "$lp_umask"
    # mksh closes descriptors above 2 for its commands, unless they are redirected.
    while ! flock -n 8 8>&9; do
        if [ "$(date +%s)" -ge "$lp_deadline" ]; then
            return 1
        fi
        sleep 1
    done
}

drain() {
    section lock take_lock
    if [ "$lp_exit" != 0 ]; then
        return
    fi
    run_commands pre || return
    for lp_engine in docker podman; do
        eval "lp_policy=\$lp_$lp_engine"
        if [ "$lp_policy" = wait ] && command -v "$lp_engine" >/dev/null; then
            section "ended $lp_engine" wait_until_stopped "$lp_engine"
            if [ "$lp_exit" != 0 ]; then
                return
            fi
        fi
    done
    section note save_containers
    # The first timer is for a drain that is killed. The second one starts when the last container has stopped.
    arm_timer stopping
    section stop stop_containers
    arm_timer stopped
    section saved cat "$lp_state_folder/containers"
}

# arm_timer PHASE: starts a process that starts the saved containers again when the time is over. Timers that were armed
# before do nothing, because `timer` has another name. The process gets a session of its own, so that it outlives this one.
arm_timer() {
    if [ "$lp_restore_after" = 0 ]; then
        rm -f "$lp_state_folder/timer"
        return
    fi
    lp_umask=$(umask)
    umask 077
    lp_timer=$(date +%s).$$.$1
    emit "lp_timer=$lp_timer
$lp_later" >"$lp_state_folder/timer.$lp_timer"
    printf '%s\n' "$lp_timer" >"$lp_state_folder/timer.part"
    mv "$lp_state_folder/timer.part" "$lp_state_folder/timer"
    umask "$lp_umask"
    detach sh "$lp_state_folder/timer.$lp_timer"
}

# timer_counts: succeeds if the timer lp_timer was armed last, and its time is not over.
timer_counts() {
    [ -r "$lp_state_folder/timer" ] && read -r lp_output <"$lp_state_folder/timer" && [ "$lp_output" = "$lp_timer" ]
}

# same_boot: succeeds if the machine has not rebooted since draining began. cmp -s compares sizes, and files of /proc have
# none.
same_boot() {
    read -r lp_current_boot </proc/sys/kernel/random/boot_id &&
        read -r lp_output <"$lp_state_folder/boot_id" && [ "$lp_output" = "$lp_current_boot" ]
}

# wait_for_controller: starts the saved containers if the controller was lost before the reboot, or if the reboot did not
# happen. A machine that goes down starts none.
wait_for_controller() {
    sleep "$lp_restore_after"
    # A drain that is still running holds the lock, and arms the next timer.
    lp_deadline=$(($(date +%s) + 2 * lp_within + 60))
    if ! timer_counts || ! take_lock || ! timer_counts || ! same_boot; then
        return
    fi
    if [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then
        return
    fi
    # A controller that is only late must not reboot the machine after this.
    rm -f "$lp_state_folder/timer"
    lp_deadline=$(($(date +%s) + lp_within))
    restore_saved
}

# list_missing: prints the saved containers that are not running.
list_missing() {
    for lp_engine in docker podman; do
        if grep -q "^$lp_engine " "$lp_state_folder/containers"; then
            list_running "$lp_engine"
        fi
    done >"$lp_state_folder/running"
    if grep -q -e '^lxd ' -e '^member ' "$lp_state_folder/containers"; then
        query_runtime lxc list -c ns | awk -F '|' '
            { gsub(/ /, "") }
            $3 == "RUNNING" { print "lxd", $2, $2; print "evacuated", $2, $2 }' >>"$lp_state_folder/running"
    fi
    # The files are distinguished by name, not by line numbers, because the first one can be empty.
    awk -v running="$lp_state_folder/running" '
        FILENAME == running { runs[$1 " " $2] = 1; next }
        $1 != "member" && !runs[$1 " " $2]' "$lp_state_folder/running" "$lp_state_folder/containers"
}

# restore_members: makes the cluster members take back the containers that were evacuated. This is done once.
restore_members() {
    awk '$1 == "member" { print $2 }' "$lp_state_folder/containers" >"$lp_state_folder/members"
    while read -r lp_id; do
        control_runtime lxc cluster restore "$lp_id" --force </dev/null
    done <"$lp_state_folder/members"
}

start_missing() {
    list_missing >"$lp_state_folder/not_running"
    while read -r lp_runtime lp_id _; do
        case $lp_runtime in
            docker | podman) control_runtime "$lp_runtime" start "$lp_id" </dev/null ;;
            lxd) control_runtime lxc start "$lp_id" </dev/null ;;
        esac
    done <"$lp_state_folder/not_running" >"$lp_state_folder/start_output" 2>&1
}

restore() {
    section lock take_lock
    if [ "$lp_exit" = 0 ]; then
        restore_saved
    fi
}

restore_saved() {
    if [ ! -d "$lp_state_folder" ]; then
        empty_section not_running absent
    else
        touch "$lp_state_folder/containers"
        section members restore_members
        # The container runtimes can start later than the SSH daemon.
        while :; do
            start_missing
            list_missing >"$lp_state_folder/not_running"
            if [ ! -s "$lp_state_folder/not_running" ] || [ "$(date +%s)" -ge "$lp_deadline" ]; then
                break
            fi
            sleep 3
        done
        section not_running cat "$lp_state_folder/not_running"
        if [ -s "$lp_state_folder/not_running" ]; then
            section start_output cat "$lp_state_folder/start_output"
            return
        fi
    fi
    run_commands post || return
    rm -rf "$lp_state_folder"
}

# grub_configuration: prints the lines of the configuration of GRUB that define its menu and its default entry. GRUB reads
# custom.cfg at the end of grub.cfg.
grub_configuration() {
    grep -h -s -E -e '^[[:space:]]*(menuentry|submenu|linux|module|set[[:space:]]+default=|default=|if|fi|})' \
        -e '[{][[:space:]]*$' /boot/grub/grub.cfg /boot/grub/custom.cfg | cut -b 1-1024
}

boot_loader_places() {
    print_access /boot/grub/grub.cfg
    for lp_path in /vmlinuz /boot/vmlinuz; do
        if [ -L "$lp_path" ]; then
            printf 'link %s %s\n' "$lp_path" "$(readlink "$lp_path")"
        fi
    done
}

boot_loader() {
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016 # these are dpkg's variables
        section packages dpkg-query -W -f '${Package} ${Version} ${Status} ${source:Package} ${Maintainer}\n' 'linux-*'
    fi
    section boot_loader boot_loader_places
    section grub_cfg grub_configuration
    if [ -r /boot/grub/grubenv ]; then
        section grub_env head -c 4096 /boot/grub/grubenv
    fi
}

# select_boot_entry: makes GRUB start lp_boot_entry in the next boot, and proves it.
select_boot_entry() {
    grub-reboot "$lp_boot_entry" && grep -a -q -F -x -e "next_entry=$lp_boot_entry" /boot/grub/grubenv
}

# keep_drained: succeeds if the timer has not started the containers again. The timer then waits for the reboot.
keep_drained() {
    if [ "$lp_restore_after" = 0 ]; then
        return
    fi
    [ -e "$lp_state_folder/timer" ] || return
    arm_timer rebooting
}

# order_reboot: starts the reboot in the background. Each method is tried if the one before it failed. The last method
# does not need an external program. A machine that has been rebooted in the meantime, for example by a second
# controller, is not rebooted again.
order_reboot() {
    read -r lp_current_boot </proc/sys/kernel/random/boot_id
    if [ "$lp_current_boot" != "$lp_boot_id" ]; then
        printf 'another boot\n'
        return
    fi
    if [ -n "$lp_message" ] && command -v wall >/dev/null; then
        printf '%s\n' "$lp_message" | wall
    fi
    # shellcheck disable=SC2016 # the inner shell's own variables
    detach sh -c '
        : >"$2"
        sleep "$1"
        sync
        systemctl reboot || shutdown -r now || reboot -f || {
            echo s >/proc/sysrq-trigger
            echo b >/proc/sysrq-trigger
        }' reboot "$lp_delay" "$lp_state_folder/going"
    lp_remaining=60
    while [ ! -e "$lp_state_folder/going" ] && [ "$lp_remaining" -gt 0 ]; do
        sleep 1
        lp_remaining=$((lp_remaining - 1))
    done
}

boot_id_section() {
    section boot_id cat /proc/sys/kernel/random/boot_id
}

main() {
    lp_deadline=$(($(date +%s) + lp_within))
    case $lp_task in
        look)
            probe
            boot_id_section
            section saved_boot_id cat "$lp_state_folder/boot_id"
            section saved cat "$lp_state_folder/containers"
            running_containers
            boot_loader
            ;;
        drain) drain ;;
        reboot)
            section lock take_lock
            if [ "$lp_exit" = 0 ]; then
                section drained keep_drained
            fi
            if [ "$lp_exit" = 0 ] && [ -n "$lp_boot_entry" ]; then
                section boot_entry select_boot_entry
            fi
            if [ "$lp_exit" = 0 ]; then
                section down order_reboot
            fi
            ;;
        alive)
            boot_id_section
            section release cat /proc/sys/kernel/osrelease
            ;;
        restore) restore ;;
        timer) wait_for_controller ;;
    esac
}
