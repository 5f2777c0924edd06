# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Carries out the steps that the controller has planned, one section each, up to the first that fails; then reports
# the host as the two scripts before it do.
#
# From the controller: lp_steps, the names of the steps; for step N lp_argument_N, lp_value_N and lp_mark_N where it
# needs them; lp_token; lp_ways, what hands the token over, the first choice first; lp_wait, seconds for snapd.
#
# No secret is ever an argument or in the environment of a process, unless the controller asks for the way `cli`: it
# goes from a variable of this shell through a pipe. What programs say is kept back unless they fail, for the client
# prints the machine-token.

lp_run=/run/kernelops-livepatch

# listen COMMAND...: sets lp_said to what it says on both streams, up to a limit, and lp_exit to its exit code.
listen() {
    lp_said=$({
        "$@" 2>&1
        printf '\n@%s %s' "$lp_nonce" "$?"
    } | head -c 65536)
    lp_exit=${lp_said##*"@$lp_nonce "}
    lp_said=${lp_said%"@$lp_nonce "*}
    case $lp_exit in
        '' | *[!0-9]*) lp_exit=1 ;;
    esac
}

# tell: passes on what the last command said, without the token; ends as it did.
tell() {
    if [ "$lp_exit" != 0 ]; then
        while [ -n "$lp_token" ]; do
            case $lp_said in
                *"$lp_token"*) lp_said="${lp_said%%"$lp_token"*}***${lp_said#*"$lp_token"}" ;;
                *) break ;;
            esac
        done
        emit "$lp_said" >&2
    fi
    return "$lp_exit"
}

# has TEXT: whether the last command said it.
has() {
    case $lp_said in
        *"$1"*) return 0 ;;
    esac
    return 1
}

# argument N: sets lp_argument, lp_value and lp_mark to those of the step.
argument() {
    lp_argument=''
    lp_value=''
    lp_mark=''
    eval "lp_argument=\$lp_argument_$1 lp_value=\$lp_value_$1 lp_mark=\$lp_mark_$1"
}

# set_deadline SECONDS, left: a deadline for all that a step does, and the seconds until then in lp_left.
set_deadline() {
    lp_deadline=$(($(date +%s) + $1))
}

left() {
    lp_left=$((lp_deadline - $(date +%s)))
    [ "$lp_left" -gt 0 ]
}

# keep NAME TEXT: writes a file of root's own, whole or not at all.
keep() {
    (
        umask 077
        mkdir -p "$lp_store" && emit "$2
" >"$lp_store/$1.part" && mv -f "$lp_store/$1.part" "$lp_store/$1"
    )
}

# await_daemon: gives a daemon that has just been started time to listen.
await_daemon() {
    set_deadline 20
    while [ ! -S "$lp_socket" ] && left; do
        sleep 1
    done
}

# --- snapd and the snap ---

apt() {
    left || return 124
    listen bounded "$lp_left" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=60 \
        -o Dpkg::Options::=--force-confold "$@"
}

# apt before 1.9.11 does not wait for its lock itself.
apt_patiently() {
    while apt "$@" && [ "$lp_exit" != 0 ] && { has 'get lock' || has 'unable to lock' || has 'Unable to lock'; }; do
        sleep 2
        left || return 124
    done
}

step_snapd() {
    set_deadline 600
    # What matters is whether snapd can be had: a source of packages that is broken may be another's.
    apt_patiently update
    apt_patiently install snapd || return 124
    tell
}

step_seeded() {
    set_deadline "$lp_wait"
    listen bounded "$lp_wait" snap wait system seed.loaded
    # Old snapd has no such command: there the installation itself is tried until it succeeds.
    if [ "$lp_exit" != 0 ] && { has 'nknown command' || has 'not found'; }; then
        return 0
    fi
    tell
}

# snap_patiently ARGUMENT...: tries again while snapd is being set up, or busy with what somebody else began.
snap_patiently() {
    set_deadline "$((lp_wait + 600))"
    lp_seeding=$(($(date +%s) + lp_wait))
    while left; do
        listen bounded "$lp_left" snap "$@"
        if ! has 'too early for operation' && ! has 'change in progress'; then
            tell
            return
        fi
        [ "$(date +%s)" -lt "$lp_seeding" ] || break
        sleep 2
    done
    tell
}

step_install() {
    argument "$1"
    if [ -n "$lp_argument" ]; then
        snap_patiently install "--channel=$lp_argument" canonical-livepatch || return
    else
        snap_patiently install canonical-livepatch || return
    fi
    await_daemon
}

step_refresh() {
    argument "$1"
    snap_patiently refresh "--channel=$lp_argument" canonical-livepatch || return
    await_daemon
}

step_remove() {
    # Without --purge, snapd keeps a copy of the client's data, its machine-token among them.
    listen bounded 300 snap remove --purge canonical-livepatch
    if [ "$lp_exit" != 0 ] && has 'nknown flag'; then
        snap_patiently remove canonical-livepatch || return
    else
        tell || return
    fi
    step_forget
}

step_forget() {
    rm -rf "$lp_store"
}

# --- the client ---

step_mode() {
    argument "$1"
    # Killed between the two, the daemon would go on in its old mode, and nobody would know.
    keep restart "$lp_argument" || return
    mkdir -p "${lp_mode_file%/*}" && printf '%s\n' "$lp_argument" >"$lp_mode_file.part" &&
        mv -f "$lp_mode_file.part" "$lp_mode_file" || return
    listen bounded 60 snap restart canonical-livepatch
    if [ "$lp_exit" != 0 ]; then
        listen bounded 60 systemctl restart snap.canonical-livepatch.canonical-livepatchd
    fi
    tell || return
    rm -f "$lp_store/restart"
    if [ "$lp_argument" != stop ]; then
        await_daemon
    fi
}

set_from_input() {
    emit "$lp_value" | bounded 60 "$lp_client" config "$lp_argument=@stdin"
}

step_config() {
    argument "$1"
    find_client
    case $lp_argument:$lp_value in
        # Of several lines, or with a password in it (which is what the mark is for): never an argument.
        ca-certs:?*) listen set_from_input ;;
        *)
            if [ -n "$lp_mark" ]; then
                listen set_from_input
            else
                listen bounded 60 "$lp_client" config "$lp_argument=$lp_value"
            fi
            ;;
    esac
    tell || return
    if [ -n "$lp_mark" ]; then
        keep "$lp_argument.mark" "$lp_mark"
    else
        rm -f "$lp_store/$lp_argument.mark"
    fi
}

step_disable() {
    find_client
    listen bounded 60 "$lp_client" disable
    tell || return
    rm -f "$lp_store/token.mark"
}

step_adopt() {
    argument "$1"
    keep token.mark "$lp_mark"
}

# by_curl, by_nc: hand the token over, in curl's configuration, or in a request of our own. They set lp_exit to 9 where
# the daemon has no such door.
ask_by_curl() {
    # The status comes last, so that no text of the daemon can be taken for it.
    emit "url = \"http://localhost/enable?auth-token=$lp_token\"
" | bounded 100 curl -q -s -S -K - -X PUT --unix-socket "$lp_socket" --max-time 95 -w '\nstatus %{http_code}\n'
}

by_curl() {
    listen ask_by_curl
    case $lp_exit in
        28) lp_exit=124 ;;
        7) lp_exit=9 ;;
        0)
            judge "${lp_said##*status }"
            lp_said=${lp_said%status *}
            ;;
    esac
}

ask_by_nc() {
    lp_return=$(printf '\r')
    emit "PUT /enable?auth-token=$lp_token HTTP/1.0$lp_return
Host: localhost$lp_return
Content-Length: 0$lp_return
$lp_return
" | bounded 95 nc -U "$lp_socket"
}

by_nc() {
    listen ask_by_nc
    case $lp_said in
        HTTP/1.?' '*)
            lp_said=${lp_said#* }
            judge "$lp_said"
            ;;
        *) [ "$lp_exit" = 124 ] || lp_exit=9 ;;
    esac
}

# judge STATUS...: sets lp_exit by the daemon's HTTP status.
judge() {
    case $1 in
        2[0-9][0-9]*) lp_exit=0 ;;
        404* | 405*) lp_exit=9 ;;
        *) lp_exit=1 ;;
    esac
}

by_cli() {
    find_client
    listen bounded 100 "$lp_client" enable "$lp_token"
}

step_enable() {
    argument "$1"
    # Kept before, and looked at only where the client is enabled: there is no moment at which it is enabled and
    # nobody knows with what.
    keep token.mark "$lp_mark" || return
    lp_said="the daemon's socket is not there"
    lp_exit=9
    for lp_way in $lp_ways; do
        if [ "$lp_way" = cli ] || [ -S "$lp_socket" ]; then
            "by_$lp_way"
        fi
        if [ "$lp_exit" != 9 ]; then
            break
        fi
    done
    if [ "$lp_exit" = 0 ]; then
        printf 'way %s\n' "$lp_way"
    elif [ "$lp_exit" != 124 ]; then
        # After a timeout the daemon may still succeed.
        rm -f "$lp_store/token.mark"
    fi
    tell
}

# --- Ubuntu Pro ---

# attach: the file with the token is a pipe with a name, so that it is never on a disk, whoever is killed when. Only
# the empty pipe can stay behind, until the next time.
attach() {
    rm -rf "$lp_run"
    (umask 077 && mkdir "$lp_run" && mkfifo "$lp_run/attach") || return
    # Who opens such a pipe waits for the other end: not for ever, though this shell be killed.
    # shellcheck disable=SC2016 # sh expands this, from its own argument
    emit "{\"token\": \"$lp_token\", \"enable_services\": [\"livepatch\"]}
" | bounded 300 sh -c 'exec cat >"$1"' sh "$lp_run/attach" &
    lp_writer=$!
    bounded 300 "$lp_pro_client" attach --attach-config "$lp_run/attach"
    lp_exit=$?
    kill "$lp_writer" 2>/dev/null
    rm -rf "$lp_run"
    return "$lp_exit"
}

step_pro_attach() {
    argument "$1"
    find_pro
    keep token.mark "$lp_mark" || return
    trap 'rm -rf "$lp_run"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
    listen attach
    trap - EXIT HUP INT TERM PIPE
    if [ "$lp_exit" != 0 ] && [ "$lp_exit" != 124 ]; then
        rm -f "$lp_store/token.mark"
    fi
    tell
}

step_pro_enable() {
    find_pro
    listen bounded 300 "$lp_pro_client" enable livepatch --assume-yes
    tell
}

step_pro_disable() {
    find_pro
    listen bounded 120 "$lp_pro_client" disable livepatch --assume-yes
    tell
}

main() {
    lp_number=0
    for lp_step in $lp_steps; do
        lp_number=$((lp_number + 1))
        mark "section step $lp_number"
        "step_$lp_step" "$lp_number"
        lp_exit=$?
        mark "end step $lp_number ok $lp_exit"
        if [ "$lp_exit" != 0 ]; then
            break
        fi
    done
    probe
    client_read
}
