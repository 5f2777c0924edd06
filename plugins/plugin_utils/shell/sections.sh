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
# An empty element of PATH means the current folder, where another user could put programs.
case ":$PATH:" in
*::*)
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
# not help, as in LOCK_TEXTS and LOCK_EXCEPTIONS of _host/apt.py.
lp_lock_texts='could not get lock
unable to lock directory
unable to lock the download directory
is another process using it
locked by another
held by process
open (11: resource temporarily unavailable
lock: resource temporarily unavailable
another process is using the packaging system'
lp_lock_exceptions='are you root
permission denied
read-only file system'

# reports_lock TEXT: succeeds if the output of a command contains one of the first texts and none of the others. Since
# 1.9.11, apt reports its wait for a lock ("Waiting for cache lock: …"), and then continues.
reports_lock() {
    emit "$1" | grep -v '^Waiting for' | grep -q -i -F -e "$lp_lock_texts" &&
        ! emit "$1" | grep -q -i -F -e "$lp_lock_exceptions"
}

# limit_sections BYTES FILE_BYTES: copies each section up to the first limit, and a section with a file (base64) up to
# the second one. Reports a truncated section with the boundary line "cut". Removes tokens, and user names and passwords
# in URLs, so that no secret that the client prints leaves the host. Replaces the shell with awk, so it must be the last
# command of a pipeline.
limit_sections() {
    # Every user of the host can see arguments, so the nonce is passed in the environment.
    lp_mark="@$lp_nonce "
    export lp_mark
    exec awk -v usual="$1" -v large="$2" '
        BEGIN { mark = ENVIRON["lp_mark"]; most = usual }
        index($0, mark) == 1 {
            used = 0
            cut = 0
            file = index($0, mark "section file ") == 1
            most = file ? large : usual
            print
            next
        }
        cut { next }
        {
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
        }'
}

# run BYTES FILE_BYTES: calls main and prints its output on both streams. A terminal (lp_terminal) has only one stream
# and would mix them, so there standard error is printed after standard output.
run() {
    lp_timeout=
    if command -v timeout >/dev/null; then
        lp_timeout=1
    fi
    if [ -n "$lp_terminal" ]; then
        { lp_errors=$(run_streams "$@" 2>&1); } 4>&1
        printf '%s\n' "$lp_errors"
    else
        run_streams "$@" 4>&1
    fi
}

# run_streams BYTES FILE_BYTES: calls main and applies the limits to its output (to descriptor 4) and, separately, to
# its errors (to descriptor 2). Standard input is empty, so that no program can read the script from it.
run_streams() {
    {
        {
            boundary "begin 1"
            main
            boundary "done"
        } </dev/null 2>&1 1>&3 | limit_sections "$@" >&2
    } 3>&1 | limit_sections "$@" >&4
}
