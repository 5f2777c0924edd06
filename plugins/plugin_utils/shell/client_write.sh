# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Performs the steps that the controller has planned, with one section for each, until a step fails. Then prints the
# facts of the host with probe.sh and client_read.sh, which precede this part.
#
# Variables from the controller: lp_steps (names of the steps); lp_argument_N, lp_value_N and lp_fingerprint_N
# (arguments of step N, if it needs them); lp_token; lp_transports (ways to pass the token, in order of preference: curl,
# nc, cli); lp_wait (seconds to wait for snapd).
#
# Secrets are never in the arguments or the environment of a process, unless the controller allows the transport `cli`.
# They are passed from a shell variable through a pipe. The output of programs is only printed if they fail, because the
# client prints its machine-token.

# Other modules have their own folders beside this one.
lp_attach_folder=/run/kernelops-livepatch/client

# capture COMMAND...: runs a command to its end. Sets lp_output to its output on both streams, up to a limit, and lp_exit
# to its exit code. All output is read: a program that writes to a closed pipe is ended. The descriptors 7 and 8 pass the
# output and the exit code, and the command does not get them, because it can start a daemon.
capture() {
    lp_output=$({
        lp_exit=$({
            {
                "$@" 2>&1 7>&- 8>&-
                printf '%s' "$?" >&7
            } | {
                head -c 65536
                cat >/dev/null
            } >&8
        } 7>&1)
        printf '\n@%s %s' "$lp_nonce" "$lp_exit"
    } 8>&1)
    lp_exit=${lp_output##*"@$lp_nonce "}
    lp_output=${lp_output%"
@$lp_nonce "*}
    case $lp_exit in
        '' | *[!0-9]*) lp_exit=1 ;;
    esac
}

# report_result: returns the exit code of the last command. If it failed, prints its output, without the token.
report_result() {
    if [ "$lp_exit" != 0 ]; then
        while [ -n "$lp_token" ]; do
            case $lp_output in
                *"$lp_token"*) lp_output="${lp_output%%"$lp_token"*}***${lp_output#*"$lp_token"}" ;;
                *) break ;;
            esac
        done
        emit "$lp_output" >&2
    fi
    return "$lp_exit"
}

# output_contains TEXT: succeeds if the output of the last command contains the text.
output_contains() {
    case $lp_output in
        *"$1"*) return 0 ;;
    esac
    return 1
}

# load_step N: sets lp_argument, lp_value and lp_fingerprint to the values of step N.
load_step() {
    lp_argument=''
    lp_value=''
    lp_fingerprint=''
    eval "lp_argument=\$lp_argument_$1 lp_value=\$lp_value_$1 lp_fingerprint=\$lp_fingerprint_$1"
}

# set_deadline SECONDS: sets the deadline for all commands of a step.
set_deadline() {
    lp_deadline=$(($(date +%s) + $1))
}

# time_remains: sets lp_remaining to the seconds until the deadline. Fails if there are none.
time_remains() {
    lp_remaining=$((lp_deadline - $(date +%s)))
    [ "$lp_remaining" -gt 0 ]
}

# store_file NAME TEXT: writes a file that only root can read, atomically.
store_file() {
    (
        umask 077
        mkdir -p "$lp_state_folder" && emit "$2
" >"$lp_state_folder/$1.part" && mv -f "$lp_state_folder/$1.part" "$lp_state_folder/$1"
    )
}

# move_state: moves the files of release 1.0, which are in the folder that all modules share.
move_state() {
    for lp_path in "$lp_shared_folder"/*.mark "$lp_shared_folder/restart"; do
        if [ -f "$lp_path" ]; then
            (umask 077 && mkdir -p "$lp_state_folder" && mv -f "$lp_path" "$lp_state_folder/")
        fi
    done
}

# wait_for_daemon: waits until a daemon that was just started accepts connections. The socket of the one before it can
# still exist.
wait_for_daemon() {
    set_deadline 20
    find_client
    while time_remains; do
        if [ -S "$lp_socket" ]; then
            capture bounded "$lp_remaining" "$lp_client" config
            # Every version of the client names the socket that it cannot connect to.
            output_contains 'dial unix' || return 0
        fi
        sleep 1
    done
}

# --- snapd and the snap ---

# run_apt ARGUMENT...: runs apt-get and waits for its end until the deadline. It is never ended, because that would leave
# dpkg interrupted: after the deadline it continues, and the next attempt waits for its lock.
run_apt() {
    time_remains || return 124
    # An earlier attempt may still be running, and writes its exit code to another file.
    lp_apt=$lp_state_folder/apt.$$
    (umask 077 && mkdir -p "$lp_state_folder" && rm -f "$lp_state_folder"/apt.* && : >"$lp_apt.log") || return
    (
        # With exec, because mksh would keep copies of the descriptors, and the controller would wait for their end.
        exec </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&-
        trap '' HUP
        DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=60 -o Dpkg::Options::=--force-confold "$@" \
            >"$lp_apt.log" 2>&1
        printf '%s\n' "$?" >"$lp_apt.part" && mv -f "$lp_apt.part" "$lp_apt.exit"
    ) &
    while [ ! -e "$lp_apt.exit" ]; do
        time_remains || return 124
        sleep 1
    done
    read -r lp_exit <"$lp_apt.exit"
    lp_output=$(head -c 65536 "$lp_apt.log")
    rm -f "$lp_apt.exit" "$lp_apt.log"
}

# run_apt_when_unlocked ARGUMENT...: repeats apt-get while its lock is held. Before 1.9.11, apt does not wait for the
# lock.
run_apt_when_unlocked() {
    while run_apt "$@" && [ "$lp_exit" != 0 ] && reports_lock "$lp_output"; do
        sleep 2
        time_remains || return 124
    done
}

step_snapd() {
    set_deadline 600
    # A failed update is ignored: the broken package source may not be the one that provides snapd.
    run_apt_when_unlocked update
    run_apt_when_unlocked install snapd || return 124
    report_result
}

step_seeded() {
    set_deadline "$lp_wait"
    capture bounded "$lp_wait" snap wait system seed.loaded
    # Old versions of snapd lack this command. There, the installation itself is repeated until it succeeds.
    if [ "$lp_exit" != 0 ] && { output_contains 'nknown command' || output_contains 'not found'; }; then
        return 0
    fi
    report_result
}

# run_snap_until_ready ARGUMENT...: repeats snap while snapd is being set up or is busy with another change.
run_snap_until_ready() {
    set_deadline "$((lp_wait + 600))"
    lp_seed_deadline=$(($(date +%s) + lp_wait))
    while time_remains; do
        capture bounded "$lp_remaining" snap "$@"
        if ! output_contains 'too early for operation' && ! output_contains 'change in progress'; then
            report_result
            return
        fi
        [ "$(date +%s)" -lt "$lp_seed_deadline" ] || break
        sleep 2
    done
    report_result
}

step_install() {
    load_step "$1"
    if [ -n "$lp_argument" ]; then
        run_snap_until_ready install "--channel=$lp_argument" canonical-livepatch || return
    else
        run_snap_until_ready install canonical-livepatch || return
    fi
    wait_for_daemon
}

# The assertions tell snapd who published the snap in a file, and its digest.
step_acknowledge() {
    load_step "$1"
    run_snap_until_ready ack "$lp_argument"
}

step_install_file() {
    load_step "$1"
    run_snap_until_ready install "$lp_argument" || return
    wait_for_daemon
}

step_snap_enable() {
    run_snap_until_ready enable canonical-livepatch || return
    wait_for_daemon
}

step_refresh() {
    load_step "$1"
    run_snap_until_ready refresh "--channel=$lp_argument" canonical-livepatch || return
    wait_for_daemon
}

step_remove() {
    # Without --purge, snapd keeps a copy of the data of the client, including its machine-token.
    capture bounded 300 snap remove --purge canonical-livepatch
    if [ "$lp_exit" != 0 ] && output_contains 'nknown flag'; then
        run_snap_until_ready remove canonical-livepatch || return
    else
        report_result || return
    fi
    step_forget
}

step_forget() {
    rm -rf "$lp_state_folder" || return
    # Other modules can have folders there.
    rmdir "$lp_shared_folder" 2>/dev/null || :
}

# --- the client ---

restart_daemon() {
    lp_service=snap.canonical-livepatch.canonical-livepatchd
    # In mode stop, the daemon ends each time that systemd starts it, until systemd refuses to start it for a while.
    capture bounded 60 systemctl reset-failed "$lp_service"
    # Given only the name of the snap, snapd does not start a service that has ended.
    capture bounded 60 snap restart canonical-livepatch.canonical-livepatchd
    if [ "$lp_exit" != 0 ]; then
        capture bounded 60 systemctl restart "$lp_service"
    fi
}

step_mode() {
    load_step "$1"
    # If this script is killed before the restart, this file shows that the daemon still runs in its old mode.
    store_file restart "$lp_argument" || return
    mkdir -p "${lp_mode_file%/*}" && printf '%s\n' "$lp_argument" >"$lp_mode_file.part" &&
        mv -f "$lp_mode_file.part" "$lp_mode_file" || return
    restart_daemon
    report_result || return
    rm -f "$lp_state_folder/restart"
    if [ "$lp_argument" != stop ]; then
        wait_for_daemon
    fi
}

set_from_stdin() {
    emit "$lp_value" | bounded 60 "$lp_client" config "$lp_argument=@stdin"
}

step_config() {
    load_step "$1"
    find_client
    case $lp_argument:$lp_value in
        # A value with several lines or with a password (which has a fingerprint) is never passed as an argument.
        ca-certs:?*) capture set_from_stdin ;;
        *)
            if [ -n "$lp_fingerprint" ]; then
                capture set_from_stdin
            else
                capture bounded 60 "$lp_client" config "$lp_argument=$lp_value"
            fi
            ;;
    esac
    report_result || return
    if [ -n "$lp_fingerprint" ]; then
        store_file "$lp_argument.mark" "$lp_fingerprint"
    else
        rm -f "$lp_state_folder/$lp_argument.mark"
    fi
}

step_disable() {
    find_client
    capture bounded 60 "$lp_client" disable
    report_result || return
    rm -f "$lp_state_folder/token.mark"
}

step_adopt() {
    load_step "$1"
    store_file token.mark "$lp_fingerprint"
}

# enable_by_curl, enable_by_nc: pass the token to the socket of the daemon, in the configuration of curl or in a request
# for nc. Set lp_exit to 9 if the daemon does not provide this request.
send_token_by_curl() {
    # The status is the last line, so that text from the daemon cannot be mistaken for it.
    emit "url = \"http://localhost/enable?auth-token=$lp_token\"
" | bounded 100 curl -q -s -S -K - -X PUT --unix-socket "$lp_socket" --max-time 95 -w '\nstatus %{http_code}\n'
}

enable_by_curl() {
    capture send_token_by_curl
    case $lp_exit in
        28) lp_exit=124 ;;
        7) lp_exit=9 ;;
        0)
            read_http_status "${lp_output##*status }"
            lp_output=${lp_output%status *}
            ;;
    esac
}

send_token_by_nc() {
    lp_return=$(printf '\r')
    emit "PUT /enable?auth-token=$lp_token HTTP/1.0$lp_return
Host: localhost$lp_return
Content-Length: 0$lp_return
$lp_return
" | bounded 95 nc -U "$lp_socket"
}

enable_by_nc() {
    capture send_token_by_nc
    case $lp_output in
        HTTP/1.?' '*)
            lp_output=${lp_output#* }
            read_http_status "$lp_output"
            ;;
        *) [ "$lp_exit" = 124 ] || lp_exit=9 ;;
    esac
}

# read_http_status STATUS...: sets lp_exit according to the HTTP status of the daemon.
read_http_status() {
    case $1 in
        2[0-9][0-9]*) lp_exit=0 ;;
        404* | 405*) lp_exit=9 ;;
        *) lp_exit=1 ;;
    esac
}

enable_by_cli() {
    find_client
    capture bounded 100 "$lp_client" enable "$lp_token"
}

step_enable() {
    load_step "$1"
    # The fingerprint is stored first, and only used if the client is enabled. So the token of an enabled client is
    # always known.
    store_file token.mark "$lp_fingerprint" || return
    lp_output="the daemon's socket does not exist"
    lp_exit=9
    for lp_transport in $lp_transports; do
        if [ "$lp_transport" = cli ] || [ -S "$lp_socket" ]; then
            "enable_by_$lp_transport"
        fi
        if [ "$lp_exit" != 9 ]; then
            break
        fi
    done
    if [ "$lp_exit" = 0 ]; then
        printf 'transport %s\n' "$lp_transport"
    elif [ "$lp_exit" != 124 ]; then
        # After a timeout the daemon may still succeed.
        rm -f "$lp_state_folder/token.mark"
    fi
    report_result
}

# --- Ubuntu Pro ---

# attach_to_pro: passes the token through a named pipe in place of a file, so that it is never written to disk, even if
# a process is killed. At most, the empty pipe is left behind until the next run.
attach_to_pro() {
    rm -rf "$lp_attach_folder"
    (umask 077 && mkdir -p "$lp_attach_folder" && mkfifo "$lp_attach_folder/attach") || return
    # Opening a named pipe blocks until the other end is opened, so the time is limited even if this shell is killed.
    # shellcheck disable=SC2016 # sh expands this, from its own argument
    emit "{\"token\": \"$lp_token\", \"enable_services\": [\"livepatch\"]}
" | bounded 300 sh -c 'exec cat >"$1"' sh "$lp_attach_folder/attach" &
    lp_writer=$!
    bounded 300 "$lp_pro_client" attach --attach-config "$lp_attach_folder/attach"
    lp_exit=$?
    kill "$lp_writer" 2>/dev/null
    rm -rf "$lp_attach_folder"
    return "$lp_exit"
}

step_pro_attach() {
    load_step "$1"
    find_pro
    store_file token.mark "$lp_fingerprint" || return
    trap 'rm -rf "$lp_attach_folder"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
    capture attach_to_pro
    trap - EXIT HUP INT TERM PIPE
    if [ "$lp_exit" != 0 ] && [ "$lp_exit" != 124 ]; then
        rm -f "$lp_state_folder/token.mark"
    fi
    report_result
}

step_pro_enable() {
    find_pro
    capture bounded 300 "$lp_pro_client" enable livepatch --assume-yes
    # Some versions fail if the service is enabled already. The facts after the steps show if the client is.
    if output_contains 'Livepatch is already enabled'; then
        lp_exit=0
    fi
    report_result
}

step_pro_disable() {
    find_pro
    capture bounded 120 "$lp_pro_client" disable livepatch --assume-yes
    report_result
}

main() {
    move_state
    lp_number=0
    for lp_step in $lp_steps; do
        lp_number=$((lp_number + 1))
        boundary "section step $lp_number"
        "step_$lp_step" "$lp_number"
        lp_exit=$?
        boundary "end step $lp_number ok $lp_exit"
        if [ "$lp_exit" != 0 ]; then
            break
        fi
    done
    probe
    client_read
}
