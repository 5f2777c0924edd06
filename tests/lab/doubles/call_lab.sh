# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# For doubles that change their host: the way to the lab's process, which does what a daemon does in life. It has a
# curl of its own, since the host may have none.

# hold_point POINT: stops while a test holds this point (holds.py).
hold_point() {
    lab_hold="/run/livepatch-lab/holds/$1"
    [ -p "$lab_hold/release" ] || return 0
    # A hold may end at any moment, and its files with it.
    {
        printf '\n' >"$lab_hold/arrived"
        read -r _
    } <"$lab_hold/release"
} 2>/dev/null

# call_lab PATH POINT: sends standard input to the lab, and stops at POINT before that and at "POINT done" after it. Sets
# lab_answer, and lab_code: 200, what was refused, or 000.
# shellcheck disable=SC2034 # the doubles read what this sets
call_lab() {
    lab_socket=/run/livepatch-lab/lab.sock
    [ -S "$lab_socket" ] || { echo "lab: this host is a copy of another, and cannot be changed" >&2; exit 64; }
    [ -z "${2-}" ] || hold_point "$2"
    lab_answer=$(/usr/lib/livepatch-lab/curl -q -s -X PUT --unix-socket "$lab_socket" --data-binary @- \
        -H 'Expect:' -w '\n%{http_code}' "http://lab$1")
    lab_code=${lab_answer##*"
"}
    lab_answer=${lab_answer%"
"*}
    [ -z "${2-}" ] || hold_point "$2 done"
}
