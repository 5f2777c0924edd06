# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Output format of all scripts of this collection. The output consists of sections, on standard output, standard error
# or both. A section starts and ends with a boundary line, which contains a nonce that the controller creates for each
# call. Programs on the host do not know the nonce in advance, so they cannot forge a boundary line.
#
# The controller puts assignments of variables (lp_*) before this file, and the parts of the script with main() after
# it. Strict POSIX: the sections must be the same with dash, busybox ash, bash and mksh.

LC_ALL=C
export LC_ALL
# An element of PATH that is empty or does not begin with / is below the current folder, where another user could put
# programs.
case ":$PATH:" in
*:[!/]*)
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export PATH
    ;;
esac
: "${lp_nonce:?}"

# boundary WORD...: prints a boundary line on both streams. The leading newline ends an incomplete last line.
boundary() {
    lp_boundary="
@$lp_nonce $*
"
    emit "$lp_boundary"
    emit "$lp_boundary" >&2
}

# emit TEXT: prints a text that must not appear in the process list. In mksh, printf is an external program.
emit() {
    if [ -n "$KSH_VERSION" ]; then
        print -rn -- "$1"
    else
        printf '%s' "$1"
    fi
}

# bounded SECONDS COMMAND...: runs a command with a time limit, if the host has timeout(1).
bounded() {
    if [ -n "$lp_timeout" ]; then
        timeout -k 2 "$@"
    else
        shift
        "$@"
    fi
}

# exec_bounded SECONDS COMMAND...: does the same, but replaces the shell, as part of a pipeline, to save a process.
exec_bounded() {
    if [ -n "$lp_timeout" ]; then
        exec timeout -k 2 "$@"
    fi
    shift
    exec "$@"
}

# detach COMMAND...: runs a command in a session of its own, in the background. It gets none of the descriptors of this
# script (3, 4, and 9 for a lock), so that the answer does not wait for its end. With systemd, it also gets a scope:
# logind can be configured to kill all processes of a login at its end (KillUserProcesses). Podman must not take the scope
# for a service.
detach() {
    lp_scope=
    if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null &&
        bounded 10 systemd-run --no-ask-password --quiet --scope true </dev/null >/dev/null 2>&1 3>&- 4>&- 9>&-; then
        lp_scope='systemd-run --no-ask-password --quiet --scope env -u INVOCATION_ID'
    fi
    # shellcheck disable=SC2086 # words of a command
    $lp_scope setsid "$@" </dev/null >/dev/null 2>&1 3>&- 4>&- 9>&- &
}

# section NAME COMMAND...: prints a section with the output and the exit code of a command. Sets lp_exit to this code.
# shellcheck disable=SC2034 # lp_exit is read by the parts that follow
section() {
    lp_name=$1
    shift
    boundary "section $lp_name"
    "$@"
    lp_exit=$?
    boundary "end $lp_name ok $lp_exit"
}

# empty_section NAME STATUS: prints a section without content. The status is absent or denied.
empty_section() {
    boundary "section $1"
    boundary "end $1 $2"
}

# check_access PATH: sets lp_access to ok, denied or absent. A file below a folder that cannot be entered is denied, not
# absent, because it is unknown whether it exists.
# shellcheck disable=SC2034 # lp_access is read by the parts that follow
check_access() {
    if [ -r "$1" ]; then
        lp_access=ok
    elif [ -e "$1" ]; then
        lp_access=denied
    else
        lp_parent=${1%/*}
        while [ -n "$lp_parent" ] && [ ! -e "$lp_parent" ]; do
            lp_parent=${lp_parent%/*}
        done
        lp_access=absent
        if [ -n "$lp_parent" ] && [ ! -x "$lp_parent" ]; then
            lp_access=denied
        fi
    fi
}

# Parts of the messages of apt and dpkg while another process holds their lock, and parts of those for which waiting does
# not help, as in LOCK_TEXTS and LOCK_EXCEPTIONS of _host/error_texts/apt.py.
lp_lock_texts='could not get lock
unable to lock directory
unable to lock the download directory
is another process using it
locked by another
lock was locked by
held by process
open (11: resource temporarily unavailable
lock: resource temporarily unavailable
another process is using the packaging system'
lp_lock_exceptions='are you root
permission denied
read-only file system
open (2: no such file
open (28: no space left'

# reports_lock TEXT: succeeds if the output of a command contains one of the first texts and none of the others. Since
# 1.9.11, apt reports its wait for a lock ("Waiting for cache lock: …"), and then continues.
reports_lock() {
    emit "$1" | grep -v '^Waiting for' | grep -q -i -F -e "$lp_lock_texts" &&
        ! emit "$1" | grep -q -i -F -e "$lp_lock_exceptions"
}

# A part can set these to regular expressions, to continue with second_look() after main(): if a section whose boundary
# matches lp_watched has a line that matches lp_alarm, or no line that matches lp_sign.
lp_watched=
lp_alarm=
lp_sign=

# Parts can replace it.
# shellcheck disable=SC2317 # reached if lp_watched is set
second_look() {
    :
}

# limit_sections BYTES FILE_BYTES: copies each section up to the first limit, and a section with a file (base64) up to
# the second one. Reports a truncated section with the boundary line "cut". Cuts the lines of the section "files" after
# 1,024 bytes, so that a long line does not displace the next file. Removes tokens, and user names and passwords in
# URLs, so that no secret that the client prints leaves the host. Removes the boundary line "done", and exits with 1
# without this line, and with 3 if there is a reason for second_look(). Replaces the shell with awk, so it must be the
# last command of a pipeline.
limit_sections() {
    # Every user of the host can see arguments, so the nonce is passed in the environment.
    lp_mark="@$lp_nonce "
    export lp_mark
    exec awk -v usual="$1" -v large="$2" -v watched="$lp_watched" -v alarm="$lp_alarm" -v sign="$lp_sign" '
        BEGIN { mark = ENVIRON["lp_mark"]; most = usual }
        index($0, mark) == 1 {
            if ($0 == mark "done") { complete = 1; next }
            used = 0
            cut = 0
            file = index($0, mark "section file ") == 1
            narrow = $0 == mark "section files"
            most = file ? large : usual
            watching = watched != "" && $0 ~ watched
            asked += watching
            print
            next
        }
        cut { next }
        {
            if (narrow) { $0 = substr($0, 1, 1024) }
            if (watching) { alarmed += $0 ~ alarm; signs += $0 ~ sign }
            used += length($0) + 1
            if (used > most) { cut = 1; print mark "cut"; next }
            if (file) { print; next }
            if ($0 ~ /[Tt][Oo][Kk][Ee][Nn]/) {
                gsub(/[Tt][Oo][Kk][Ee][Nn]" *: *"[^"]*"/, "token\": \"removed\"")
                gsub(/[Tt][Oo][Kk][Ee][Nn] *[:=] *"?[^" ]+"?/, "token: removed")
            }
            if (index($0, "@")) {
                gsub(/:\/\/[^ "]*@/, "://removed@")
            }
            print
        }
        END { exit !complete ? 1 : asked && (alarmed || !signs) ? 3 : 0 }'
}

# run BYTES FILE_BYTES: calls main and prints its output on both streams. A terminal (lp_terminal) has only one stream
# and would mix them, so there standard error is printed after standard output.
run() {
    lp_timeout=
    if command -v timeout >/dev/null; then
        lp_timeout=1
    fi
    if [ -n "$lp_terminal" ]; then
        { lp_errors=$(run_parts "$@" 2>&1); } 4>&1
        printf '%s\n' "$lp_errors"
    else
        run_parts "$@" 4>&1
    fi
}

# run_parts BYTES FILE_BYTES: calls main, and second_look if there is a reason. The boundary line "done" is printed if
# main reached its end.
run_parts() {
    boundary "begin 1" >&4
    run_streams main "$@"
    case $? in
        0) ;;
        3) run_streams second_look "$@" ;;
        *) return ;;
    esac
    boundary "done" >&4
}

# run_streams FUNCTION BYTES FILE_BYTES: calls a function and applies the limits to its output (to descriptor 4) and,
# separately, to its errors (to descriptor 2). Standard input is empty, so that no program can read the script from it.
run_streams() {
    lp_function=$1
    shift
    {
        {
            "$lp_function"
            boundary "done"
        } </dev/null 2>&1 1>&3 | limit_sections "$@" >&2
    } 3>&1 | limit_sections "$@" >&4
}
