# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Functions of the doubles that change their host: requests to the host services, which do the work of real daemons. The
# doubles have their own curl, because the host may lack one.

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

# call_lab PATH POINT: sends standard input to the lab, and sets lab_answer and lab_code: 200, the status of a refusal,
# or 000. It stops at POINT before the request, and at "POINT done" after it.
# shellcheck disable=SC2034 # the doubles read what this sets
call_lab() {
    lab_socket=/run/livepatch-lab/lab.sock
    [ -S "$lab_socket" ] || { echo "lab: this host is a read-only copy" >&2; exit 64; }
    [ -z "${2-}" ] || hold_point "$2"
    lab_answer=$(/usr/lib/livepatch-lab/curl -q -s -X PUT --unix-socket "$lab_socket" --data-binary @- \
        -H 'Expect:' -w '\n%{http_code}' "http://lab$1")
    lab_code=${lab_answer##*"
"}
    lab_answer=${lab_answer%"
"*}
    [ -z "${2-}" ] || hold_point "$2 done"
}
