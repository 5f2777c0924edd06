# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# How every script of this collection answers: in sections, on one stream or on both, between boundary lines
# that carry a nonce which the controller made for this one call. Nothing on the host can know the nonce
# beforehand, so nothing on the host can forge a boundary.
#
# The controller puts assignments of the variables lp_* before this text, and the script's main() after it.
# Strict POSIX: dash, busybox ash, bash and mksh must all give the same sections.

LC_ALL=C
export LC_ALL
: "${lp_nonce:?}"

# mark WORDS: one boundary line on both streams. The leading newline ends a last line that had none.
mark() {
    printf '\n@%s %s\n' "$lp_nonce" "$*"
    printf '\n@%s %s\n' "$lp_nonce" "$*" >&2
}

# emit TEXT: prints what nobody may see among the arguments of a process. For mksh, printf is a program of its own.
emit() {
    if [ -n "$KSH_VERSION" ]; then
        print -rn -- "$1"
    else
        printf '%s' "$1"
    fi
}

# bounded SECONDS COMMAND...: a command that cannot hang for longer, where the host has timeout(1).
bounded() {
    if [ -n "$lp_timeout" ]; then
        timeout -k 2 "$@"
    else
        shift
        "$@"
    fi
}

# exec_bounded SECONDS COMMAND...: the same as a part of a pipeline, which it becomes, and so spares a process.
exec_bounded() {
    if [ -n "$lp_timeout" ]; then
        exec timeout -k 2 "$@"
    fi
    shift
    exec "$@"
}

# answer NAME COMMAND...: one section with what the command says, and how it ended, which is also in lp_exit.
# shellcheck disable=SC2034 # lp_exit is read by the scripts that come after this text
answer() {
    lp_name=$1
    shift
    mark "section $lp_name"
    "$@"
    lp_exit=$?
    mark "end $lp_name ok $lp_exit"
}

# missing NAME STATUS: a section without an answer, and why: absent, denied.
missing() {
    mark "section $1"
    mark "end $1 $2"
}

# access PATH: sets lp_access to ok, denied or absent. A file below a folder that cannot be entered is
# denied, not absent: who may not look does not know.
# shellcheck disable=SC2034 # lp_access is read by the scripts that come after this text
access() {
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

# limit BYTES BYTES: passes each section up to the first size, a file (base64) up to the second, and says where it cut.
# Tokens end here, and so do the names and passwords in addresses of proxies: no secret that the client prints leaves the
# host. Only ever the end of a pipeline, for it becomes awk.
limit() {
    exec awk -v mark="@$lp_nonce " -v usual="$1" -v large="$2" '
        BEGIN { most = usual }
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

# run BYTES BYTES: main, with what it says on both streams. A terminal (lp_terminal) has one stream and would mix the
# two: there the second follows the first.
run() {
    lp_timeout=
    if command -v timeout >/dev/null; then
        lp_timeout=1
    fi
    if [ -n "$lp_terminal" ]; then
        { lp_errors=$(streams "$@" 2>&1); } 4>&1
        printf '%s\n' "$lp_errors"
    else
        streams "$@" 4>&1
    fi
}

# streams BYTES BYTES: main, with its output limited to descriptor 4 and its errors, apart, to descriptor 2. What main
# starts cannot read the script from stdin.
streams() {
    {
        {
            mark "begin 1"
            main
            mark "done"
        } </dev/null 2>&1 1>&3 | limit "$@" >&2
    } 3>&1 | limit "$@" >&4
}
