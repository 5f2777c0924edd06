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
# lp_kernel is the kernel into which drain and reboot prepare a reboot. Both wait until no program changes packages or
# blocks a shutdown, at most lp_within seconds, before they begin.
# lp_docker, lp_podman and lp_lxd are the policies for containers: stop, wait (until they end by themselves) or ignore.
# lp_within is the maximum number of seconds for draining or restoring. lp_later is the script of the task timer, and
# lp_restore_after is 0 for no timer.
#
# The state is kept in a folder that only root can read and that survives the reboot. It contains `boot_id`, the boot ID
# when draining began, and `containers`, with a line "RUNTIME ID NAME [paused]" for each container in the order in which
# they are started. Tasks of a Docker swarm (RUNTIME is swarm) are neither stopped nor started: the swarm does both. `timer` contains the name of the timer that may start the containers. The folder is removed when all
# containers run again.

lp_state_folder=/var/lib/kernelops-livepatch/kernel_reboot
lp_lock=/run/kernelops-livepatch/kernel_reboot.lock

# Writes all data to the disks, for at most 60 seconds. sync waits for every mounted file system, and cannot be killed
# while one of them does not answer. It is then left behind, without the descriptors of this script, so that the answer
# does not wait for its end. The text is evaluated, because a detached shell has no functions.
# shellcheck disable=SC2016 # the variables of the shell that evaluates it
lp_flush='
    sync </dev/null >/dev/null 2>&1 3>&- 4>&- 9>&- &
    lp_sync=$!
    lp_left=60
    while kill -0 "$lp_sync" 2>/dev/null && [ "$lp_left" -gt 0 ]; do
        sleep 1
        lp_left=$((lp_left - 1))
    done'

# /snap/bin is not on the PATH of root under sudo or cron.
PATH=$PATH:/snap/bin

# Incus is a fork of LXD with the same commands.
lp_lxc=
for lp_command in incus lxc; do
    if command -v "$lp_command" >/dev/null; then
        lp_lxc=$lp_command
    fi
done

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

# find_engines: sets lp_engines to the installed ones of Docker and Podman. The package podman-docker has a command docker
# that runs Podman.
find_engines() {
    lp_engines=
    if command -v docker >/dev/null; then
        case $(query_runtime docker --version 2>/dev/null) in
            podman*) ;;
            *) lp_engines=docker ;;
        esac
    fi
    if command -v podman >/dev/null; then
        lp_engines="$lp_engines podman"
    fi
}

# unit_runs UNIT: succeeds if a systemd unit is active.
unit_runs() {
    command -v systemctl >/dev/null && query_runtime systemctl is-active --quiet "$1"
}

# runs_podman UNIT: succeeds if a unit is an active service of Podman. The name comes from a label of a container, which an
# image can set: it could be the name of any unit of the host.
runs_podman() {
    case $1 in
        -* | *[!A-Za-z0-9_.:@\\-]*) return 1 ;;
        *.service) unit_runs "$1" || return ;;
        *) return 1 ;;
    esac
    case $(query_runtime systemctl show --property=ExecStart "$1" 2>/dev/null) in
        '' | *podman*) ;;
        *) return 1 ;;
    esac
}

# find_unit PROCESS NAME LABEL: sets lp_unit to the active systemd unit that a container of Podman belongs to, or to the
# empty string. The label names it if the unit created the container. If it only starts it, the process that watches over
# the container is in the control group of the unit, whose main process is this one, or a command podman with the name of
# the container. Other services can have such processes, too: podman-restart.service, or one that runs jobs.
find_unit() {
    lp_unit=
    if runs_podman "$3"; then
        lp_unit=$3
        return
    fi
    lp_group=
    if [ -r "/proc/$1/cgroup" ]; then
        lp_group=$(grep -m 1 -E -e '^0::/.*[.]service' -e ':name=systemd:/.*[.]service' "/proc/$1/cgroup")
    fi
    lp_group=${lp_group%.service*}
    lp_group=${lp_group##*/}
    case $lp_group in
        '' | *[!A-Za-z0-9_.:@\\-]*) ;;
        *)
            lp_main=$(query_runtime systemctl show -p MainPID "$lp_group.service")
            lp_main=${lp_main#MainPID=}
            if [ -r "/proc/$lp_main/cmdline" ]; then
                case " $(tr '\0' ' ' <"/proc/$lp_main/cmdline") " in
                    *podman*[\ =]"$2 "*) lp_main=$1 ;;
                esac
            fi
            if [ "$lp_main" = "$1" ]; then
                lp_unit=$lp_group.service
            fi
            ;;
    esac
}

# inspect_running ENGINE: prints a line "CREATED ID AUTO_REMOVED PAUSED INFRA PROCESS LIMIT SERVICE DEPENDENCIES NAME
# [LABEL]" for each running container. PROCESS is the one of Podman that watches over the container. LIMIT is "/" and the
# seconds after which Docker kills a container that does not stop, if it is not the usual 10. SERVICE is "PROJECT/SERVICE"
# for a container of Compose, and otherwise "/". DEPENDENCIES is "/" and a list "SERVICE:CONDITION:RESTART,…", which only
# version 2 of Compose sets. Characters of labels other than letters and digits are encoded as in URLs.
# LABEL is quoted, because it can be any text: for Podman the unit of the container, for Docker its task in a swarm. Docker
# gives the template null for a label or labels that a container does not have.
# Podman lists paused containers on request only. A container may end between both commands, so they are repeated once.
inspect_running() {
    lp_status=
    lp_label='{{with .Config.Labels}}{{with index . "com.docker.compose'
    lp_end='"}}{{urlquery .}}{{end}}{{end}}'
    lp_service="$lp_label.project$lp_end/$lp_label.service$lp_end /$lp_label.depends_on$lp_end {{.Name}}"
    lp_fields='{{.Id}} {{.HostConfig.AutoRemove}} {{.State.Paused}}'
    case $1 in
        podman)
            lp_status='--filter status=running --filter status=paused'
            lp_fields="{{.Created.UnixNano}} $lp_fields {{.IsInfra}} {{.State.ConmonPid}} / $lp_service"
            lp_label=PODMAN_SYSTEMD_UNIT
            ;;
        *)
            lp_fields="{{.Created}} $lp_fields false - /{{with index .Config \"StopTimeout\"}}{{.}}{{end}} $lp_service"
            lp_label=com.docker.swarm.task.id
            ;;
    esac
    lp_fields="$lp_fields {{with .Config.Labels}}{{with index . \"$lp_label\"}}{{printf \"%q\" .}}{{end}}{{end}}"
    # shellcheck disable=SC2086 # options and identifiers
    for lp_attempt in first second; do
        lp_ids=$(query_runtime "$1" ps -q --no-trunc $lp_status) || return
        if [ -z "$lp_ids" ]; then
            return
        fi
        if lp_output=$(query_runtime "$1" inspect --type container --format "$lp_fields" $lp_ids); then
            break
        elif [ "$lp_attempt" = second ]; then
            return 1
        fi
    done
    emit "$lp_output
"
}

# order_services: copies lines of inspect_running that are sorted by creation, with each container of Compose after the
# containers of the services that it depends on. One that was created again is younger than those that depend on it.
order_services() {
    awk '
        { lines[NR] = $0; service[NR] = $8; left[$8]++ }
        function waits(number,    fields, project, names, count, position, name) {
            split(lines[number], fields, " ")
            project = fields[8]
            sub(/[/].*/, "/", project)
            count = split(substr(fields[9], 2), names, /%2C/)
            for (position = 1; position <= count; position++) {
                name = names[position]
                sub(/%3A.*/, "", name)
                if (name != "" && left[project name] > 0) return 1
            }
            return 0
        }
        END {
            for (printed = 0; printed < NR; printed++) {
                oldest = 0
                chosen = 0
                for (number = 1; number <= NR && !chosen; number++) {
                    if (done[number]) continue
                    if (!oldest) oldest = number
                    if (!waits(number)) chosen = number
                }
                if (!chosen) chosen = oldest
                done[chosen] = 1
                left[service[chosen]]--
                print lines[chosen]
            }
        }'
}

# ask_engine ENGINE: sets lp_listed to lines "RUNTIME ID NAME running|paused kept|removed /[LIMIT]", in the order in which
# the containers are started: the oldest one first, but after those that it depends on. RUNTIME is docker, podman, infra for
# the container of Podman that keeps the namespaces of a pod, swarm for a task of a Docker swarm, or unit: such a container
# belongs to an active systemd unit, which starts it again, so ID is the unit. That of a pod is pod_unit, and so is the
# one that keeps a unit of `podman kube play` active. Docker prints times without trailing zeros. An ID never begins like
# an option.
ask_engine() {
    lp_hex='[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
    lp_output=$(inspect_running "$1") || return
    lp_listed=$(
        emit "$lp_output
" | awk 'NF > 9 && $2 ~ /^[0-9A-Za-z][0-9A-Za-z_.-]*$/ { sub(/Z$/, "", $1); print }' | sort -s -k 1,1 | order_services |
            while read -r lp_created lp_id lp_removed lp_paused lp_infra lp_process lp_limit \
                lp_service lp_needed lp_label lp_unit; do
                lp_runtime=$1
                lp_state=running
                case $lp_infra/$lp_paused in
                    true/*) lp_runtime=infra ;;
                    */true) lp_state=paused ;;
                esac
                lp_unit=${lp_unit#\"}
                lp_unit=${lp_unit%\"}
                case $1:$lp_unit in
                    podman:*) find_unit "$lp_process" "$lp_label" "$lp_unit" ;;
                    docker:) ;;
                    *)
                        lp_runtime=swarm
                        lp_state=running
                        lp_unit=
                        ;;
                esac
                if [ -n "$lp_unit" ]; then
                    lp_id=$lp_unit
                    lp_removed=false
                    # shellcheck disable=SC2254 # a pattern
                    case $lp_infra/$lp_label in
                        true/* | */$lp_hex$lp_hex$lp_hex-service) lp_runtime=pod_unit ;;
                        *) lp_runtime=unit ;;
                    esac
                fi
                case $lp_removed in
                    true) lp_removed=removed ;;
                    *) lp_removed=kept ;;
                esac
                printf '%s %s %s %s %s %s\n' "$lp_runtime" "$lp_id" "${lp_label#/}" "$lp_state" "$lp_removed" "$lp_limit"
            done
    )
}

# list_running ENGINE: prints these lines without their last words, and without the state running. Keeps them in lp_listed.
list_running() {
    lp_listed=
    ask_engine "$1" || return
    emit "$lp_listed
" | awk 'NF == 6 { print $1, $2, $3 ($4 == "paused" ? " paused" : "") }'
}

# list_auto_removed: prints the containers in lp_listed that the engine removes when they stop.
list_auto_removed() {
    emit "$lp_listed
" | awk '$5 == "removed" { print "true", $3 }'
}

# find_cluster_member: sets lp_member to the name of this machine in its LXD cluster, or to the empty string.
find_cluster_member() {
    lp_member=$(query_runtime "$lp_lxc" info | awk '
        $1 == "server_clustered:" && $2 == "true" { clustered = 1 }
        $1 == "server_name:" { name = $2 }
        END { if (clustered) print name }')
}

# list_running_lxd: prints these lines for LXD or Incus. All versions of LXD can print tables, only newer ones other formats.
# Containers with a higher priority are started earlier.
list_running_lxd() {
    find_cluster_member
    lp_columns=ns,boot.autostart.priority
    if [ -n "$lp_member" ]; then
        printf 'member %s %s\n' "$lp_member" "$lp_member"
        lp_columns=nsL
    fi
    lp_output=$(query_runtime "$lp_lxc" list -c "$lp_columns") || return
    printf '%s\n' "$lp_output" | awk -F '|' -v member="$lp_member" '
        {
            gsub(/ /, "")
            if ($3 != "RUNNING") next
            if (member != "" && $4 == member) print 0, "evacuated", $2, $2
            if (member == "") print $4 + 0, "lxd", $2, $2
        }' | sort -s -k 1,1nr | cut -d ' ' -f 2-
}

# list_stop_limits: prints a line "LIMIT NAME" for each container in lp_listed that may take longer to stop than usual.
list_stop_limits() {
    emit "$lp_listed
" | awk '$1 == "docker" && $6 ~ /^[/][0-9]/ { print substr($6, 2), $3 }'
}

running_containers() {
    find_engines
    for lp_engine in $lp_engines; do
        section "running $lp_engine" list_running "$lp_engine"
        section "auto_removed $lp_engine" list_auto_removed
        section "stop_limits $lp_engine" list_stop_limits
    done
    if [ -n "$lp_lxc" ]; then
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
    lp_failed=0
    find_engines
    for lp_engine in $lp_engines; do
        eval "lp_policy=\$lp_$lp_engine"
        if [ "$lp_policy" = stop ]; then
            list_running "$lp_engine" || lp_failed=1
        fi
    done
    if [ "$lp_lxd" = stop ] && [ -n "$lp_lxc" ]; then
        list_running_lxd || lp_failed=1
    fi
    return "$lp_failed"
}

# save_containers: adds the running containers to the saved ones. An earlier task may already have stopped some of them.
# Fails if a runtime does not list them.
save_containers() {
    umask 077
    mkdir -p "$lp_state_folder"
    rm -f "$lp_state_folder/going"
    if [ ! -e "$lp_state_folder/boot_id" ]; then
        cat /proc/sys/kernel/random/boot_id >"$lp_state_folder/boot_id"
    fi
    touch "$lp_state_folder/containers"
    list_to_stop >"$lp_state_folder/running" || return
    awk '!seen[$0]++' "$lp_state_folder/containers" "$lp_state_folder/running" >"$lp_state_folder/part"
    mv "$lp_state_folder/part" "$lp_state_folder/containers"
    eval "$lp_flush"
}

# stop_batch ENGINE RUNTIME: stops all noted containers of an engine, with one command. A container that has ended and was
# removed makes the command fail, and Podman then stops none of the others. So it is repeated once for those that run.
stop_batch() {
    lp_ids=$(awk -v runtime="$2" '$1 == runtime { print $2 }' "$lp_state_folder/backwards")
    for lp_attempt in first second; do
        # shellcheck disable=SC2086 # a list of identifiers
        if [ -z "$lp_ids" ] || control_runtime "$1" stop $lp_ids; then
            return
        fi
        # Podman does not list a container that it has waited for until the deadline.
        query_runtime "$1" ps -q >/dev/null || break
        # shellcheck disable=SC2086 # a list of identifiers
        lp_output=$(query_runtime "$1" inspect --type container --format '{{.State.Status}} {{.Id}}' $lp_ids |
            grep -v -E -e '^(created|configured|exited|stopped|dead|removing) ')
        lp_wanted=$lp_ids
        lp_ids=
        for lp_id in $lp_wanted; do
            case $lp_output in
                *"$lp_id"*) lp_ids="$lp_ids $lp_id" ;;
            esac
        done
    done
    if [ -n "$lp_ids" ]; then
        lp_failed=1
    fi
}

# stop_containers: stops containers in reverse order. A paused container cannot end before it is resumed. A container
# that keeps the namespaces of a pod is stopped after the others.
stop_containers() {
    lp_failed=0
    awk '{ lines[NR] = $0 } END { for (number = NR; number > 0; number--) print lines[number] }' \
        "$lp_state_folder/running" >"$lp_state_folder/backwards"
    while read -r lp_runtime lp_id _ lp_state; do
        case $lp_runtime/$lp_state in
            lxd/*) control_runtime "$lp_lxc" stop "$lp_id" </dev/null || lp_failed=1 ;;
            member/*) control_runtime "$lp_lxc" cluster evacuate "$lp_id" --force </dev/null || lp_failed=1 ;;
            unit/* | pod_unit/*) control_runtime systemctl stop "$lp_id" </dev/null || lp_failed=1 ;;
            */paused) control_runtime "$lp_runtime" unpause "$lp_id" </dev/null ;;
        esac
    done <"$lp_state_folder/backwards"
    stop_batch docker docker
    stop_batch podman podman
    stop_batch podman infra
    return "$lp_failed"
}

# wait_until_stopped ENGINE: waits until no container of the engine is running or paused. An engine that does not answer
# may have some. The container that keeps the namespaces of a pod does not end by itself.
wait_until_stopped() {
    while :; do
        if lp_running=$(list_running "$1"); then
            lp_running=$(emit "$lp_running
" | grep -v -e '^infra ' -e '^pod_unit ' -e '^$')
            if [ -z "$lp_running" ]; then
                return
            fi
        fi
        if [ "$(date +%s)" -ge "$lp_deadline" ]; then
            emit "$lp_running
"
            return 1
        fi
        sleep 2
    done
}

# list_unstopped: prints the noted containers that have not stopped. Podman lists one that it waits for, as long as this
# takes, neither as running nor as stopped.
list_unstopped() {
    list_missing >"$lp_state_folder/not_running"
    grep -v -x -F -f "$lp_state_folder/not_running" "$lp_state_folder/containers" | grep -v -e '^docker ' -e '^podman '
    for lp_engine in docker podman; do
        lp_ids=$(awk -v runtime="$lp_engine" '$1 == runtime { print $2 }' "$lp_state_folder/containers")
        if [ -n "$lp_ids" ]; then
            # shellcheck disable=SC2086 # a list of identifiers
            query_runtime "$lp_engine" inspect --type container --format '{{.State.Status}} {{.Id}} {{.Name}}' $lp_ids |
                awk -v runtime="$lp_engine" '
                    $1 ~ /^(running|paused|restarting|stopping)$/ { sub("^/", "", $3); print runtime, $2, $3 }'
        fi
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

# list_missing_files: prints the files of the kernel lp_kernel that are missing or empty, and fails if there are any. A
# host whose running kernel has no such file needs none. The kernel may have been removed since it was chosen.
list_missing_files() {
    lp_failed=0
    lp_running=$(uname -r)
    for lp_file in /boot/vmlinuz- /boot/vmlinux- /boot/initrd.img- /lib/modules/; do
        lp_rest=
        if [ "$lp_file" = /lib/modules/ ]; then
            lp_rest=/modules.dep
        fi
        if [ -e "$lp_file$lp_running$lp_rest" ] && [ ! -s "$lp_file$lp_kernel$lp_rest" ]; then
            printf '%s\n' "$lp_file$lp_kernel$lp_rest"
            lp_failed=1
        fi
    done
    return "$lp_failed"
}

# has_open PID PATH: succeeds if a process has a file open. Inodes are distinct on one file system only.
has_open() {
    for lp_path in "/proc/$1/fd"/*; do
        # shellcheck disable=SC3013 # all of these shells have -ef
        if [ "$lp_path" -ef "$2" ]; then
            return 0
        fi
    done
    return 1
}

# list_obstacles: prints what a reboot would interrupt: "dpkg PID" for a process that holds a lock of dpkg, and
# "inhibitor NAME" for a program that blocks a shutdown (systemd-inhibit). The locks of dpkg are those of fcntl, which the
# kernel lists by inode. Before 240, systemd-inhibit prints a line for each value.
list_obstacles() {
    for lp_file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock; do
        # shellcheck disable=SC2012 # a known name, and busybox may have no stat
        lp_inode=$(ls -i "$lp_file" 2>/dev/null | awk '{ print $1 }')
        awk -v inode="${lp_inode:-none}" '
            $2 == "POSIX" && $6 ~ (":" inode "$") { print $5 }' /proc/locks 2>/dev/null |
            while read -r lp_process; do
                if has_open "$lp_process" "$lp_file"; then
                    printf 'dpkg %s\n' "$lp_process"
                fi
            done
    done | sort -u
    if command -v systemd-inhibit >/dev/null; then
        query_runtime systemd-inhibit --list --no-pager --no-legend 2>/dev/null | awk '
            $1 == "Who:" { name = $2; what = "" }
            $1 == "What:" { what = ":" $2 ":" }
            $1 == "Mode:" && $2 == "block" && what ~ /:shutdown:/ { print "inhibitor", name }
            $NF == "block" && $1 !~ /:$/ {
                for (number = 2; number < NF; number++)
                    if (":" $number ":" ~ /^:([a-z-]+:)*shutdown:/) { print "inhibitor", $1; next }
            }'
    fi
}

# wait_for_obstacles: waits until there are none, at most until the deadline. Prints those that are left.
wait_for_obstacles() {
    while lp_output=$(list_obstacles) && [ -n "$lp_output" ]; do
        if [ "$(date +%s)" -ge "$lp_deadline" ]; then
            printf '%s\n' "$lp_output"
            return 1
        fi
        sleep 2
    done
}

# can_reboot: succeeds if the kernel lp_kernel is complete, and a reboot would interrupt nothing.
can_reboot() {
    if [ -z "$lp_kernel" ]; then
        return
    fi
    section missing_files list_missing_files
    if [ "$lp_exit" = 0 ]; then
        section obstacles wait_for_obstacles
    fi
    return "$lp_exit"
}

drain() {
    section lock take_lock
    if [ "$lp_exit" != 0 ]; then
        return
    fi
    can_reboot || return
    run_commands pre || return
    find_engines
    for lp_engine in $lp_engines; do
        eval "lp_policy=\$lp_$lp_engine"
        if [ "$lp_policy" = wait ]; then
            section "ended $lp_engine" wait_until_stopped "$lp_engine"
            if [ "$lp_exit" != 0 ]; then
                return
            fi
        fi
    done
    section note save_containers
    if [ "$lp_exit" != 0 ]; then
        return
    fi
    # The first timer is for a drain that is killed. The second one starts when the last container has stopped.
    arm_timer stopping
    section stop stop_containers
    lp_stopped=$lp_exit
    arm_timer stopped
    if [ "$lp_stopped" != 0 ]; then
        section unstopped list_unstopped
    fi
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

# list_missing: prints the saved containers that are not running. A container that was created again has another
# identifier and the same name.
list_missing() {
    if grep -q '^docker ' "$lp_state_folder/containers"; then
        list_running docker
    fi >"$lp_state_folder/running"
    if grep -q '^podman ' "$lp_state_folder/containers"; then
        list_running podman
    fi >>"$lp_state_folder/running"
    awk '$1 ~ /unit$/ { print $1, $2 }' "$lp_state_folder/containers" >"$lp_state_folder/units"
    while read -r lp_runtime lp_unit; do
        if unit_runs "$lp_unit"; then
            printf '%s %s -\n' "$lp_runtime" "$lp_unit"
        fi
    done <"$lp_state_folder/units" >>"$lp_state_folder/running"
    if grep -q -e '^lxd ' -e '^member ' "$lp_state_folder/containers"; then
        query_runtime "$lp_lxc" list -c ns | awk -F '|' '
            { gsub(/ /, "") }
            $3 == "RUNNING" { print "lxd", $2, $2; print "evacuated", $2, $2 }' >>"$lp_state_folder/running"
    fi
    # The files are distinguished by name, not by line numbers, because the first one can be empty.
    awk -v running="$lp_state_folder/running" '
        FILENAME == running { runs[$1 " " $2] = 1; named[($1 == "unit" ? "podman" : $1) " " $3] = 1; next }
        $1 != "member" && $1 != "swarm" && !runs[$1 " " $2] && !($1 !~ /unit$/ && named[$1 " " $3])' \
        "$lp_state_folder/running" "$lp_state_folder/containers"
}

# restore_members: makes the cluster members take back the containers that were evacuated. This is done once.
restore_members() {
    awk '$1 == "member" { print $2 }' "$lp_state_folder/containers" >"$lp_state_folder/members"
    while read -r lp_id; do
        control_runtime "$lp_lxc" cluster restore "$lp_id" --force </dev/null
    done <"$lp_state_folder/members"
}

start_missing() {
    list_missing >"$lp_state_folder/not_running"
    while read -r lp_runtime lp_id _; do
        case $lp_runtime in
            docker | podman) control_runtime "$lp_runtime" start "$lp_id" </dev/null ;;
            infra) control_runtime podman start "$lp_id" </dev/null ;;
            unit | pod_unit) control_runtime systemctl start "$lp_id" </dev/null ;;
            lxd) control_runtime "$lp_lxc" start "$lp_id" </dev/null ;;
        esac
    done <"$lp_state_folder/not_running" >"$lp_state_folder/start_output" 2>&1
}

# pause_again: pauses the containers that were paused. One that a failed drain did not resume is still paused.
pause_again() {
    awk '$4 == "paused" { print $1, $2 }' "$lp_state_folder/containers" >"$lp_state_folder/paused"
    while read -r lp_runtime lp_id; do
        control_runtime "$lp_runtime" pause "$lp_id" </dev/null
    done <"$lp_state_folder/paused" >/dev/null 2>&1
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
            # A pod that was created again has another container for its namespaces.
            list_missing | grep -v -e '^infra ' -e '^pod_unit ' >"$lp_state_folder/not_running"
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
        pause_again
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

# boot_loader_places: prints what shows which boot loader counts: whether GRUB has a configuration, the links to the kernel,
# the boot loader that has started the host, which names itself in an EFI variable (in UTF-16), and whether a reboot would
# bypass it with kexec.
boot_loader_places() {
    print_access /boot/grub/grub.cfg
    lp_path=/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
    if [ -r "$lp_path" ]; then
        printf 'loader %s\n' "$(tr -cd 'A-Za-z0-9 .-' <"$lp_path" | cut -b 1-64)"
    fi
    if [ "$(cat /sys/kernel/kexec_loaded 2>/dev/null)" = 1 ]; then
        printf 'kexec loaded\n'
    fi
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
        eval "$3"
        systemctl reboot || shutdown -r now || reboot -f || {
            echo s >/proc/sysrq-trigger
            echo b >/proc/sysrq-trigger
        }' reboot "$lp_delay" "$lp_state_folder/going" "$lp_flush"
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
            if [ "$lp_exit" = 0 ] && can_reboot; then
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
