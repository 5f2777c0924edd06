# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# What the module `client` must know of a host beside what the probe tells. Reads only, decides nothing.
#
# From the controller: lp_channel (1 or empty: say which channel the snap tracks), lp_pro (1 or empty: ask Ubuntu Pro).

# Root's own: what this collection has set, as salted digests, and a note while the daemon must be restarted.
lp_store=/var/lib/kernelops-livepatch
lp_mode_file=/var/local/canonical_livepatch_mode
lp_socket=/var/snap/canonical-livepatch/current/livepatchd-priv.sock

# marks: the digests, a line each: name, salt, digest.
marks() {
    for lp_path in "$lp_store"/*.mark; do
        [ -r "$lp_path" ] || continue
        lp_mark=
        IFS= read -r lp_mark <"$lp_path"
        lp_path=${lp_path##*/}
        printf '%s %.120s\n' "${lp_path%.mark}" "$lp_mark"
    done
}

mode() {
    lp_mark=
    IFS= read -r lp_mark <"$lp_mode_file"
    printf '%.32s\n' "$lp_mark"
}

# tools: what can speak to a socket. curl can since 7.40, where its makers built that in; of the netcats OpenBSD's.
tools() {
    case $(bounded 5 curl -q --version 2>/dev/null) in
        *UnixSockets*) printf 'curl\n' ;;
    esac
    case $(bounded 5 nc -h 2>&1 </dev/null) in
        *OpenBSD*-*U*) printf 'nc\n' ;;
    esac
}

# find_pro: sets lp_pro_client to the command of Ubuntu Pro, or to nothing.
find_pro() {
    lp_pro_client=
    for lp_name in pro ua; do
        if [ -z "$lp_pro_client" ] && command -v "$lp_name" >/dev/null; then
            lp_pro_client=$lp_name
        fi
    done
}

client_read() {
    answer client_files note /var/snap/canonical-livepatch/common/machine-token
    if [ -r "$lp_mode_file" ]; then
        answer client_mode mode
    else
        access "$lp_mode_file"
        missing client_mode "$lp_access"
    fi
    if [ -e "$lp_store/restart" ]; then
        answer client_restart printf 'due\n'
    fi
    answer client_marks marks
    answer client_tools tools
    if [ -n "$lp_channel" ] && [ -n "$lp_client" ]; then
        answer client_snap bounded 5 snap list canonical-livepatch
    fi
    if [ -n "$lp_pro" ]; then
        find_pro
        if [ -n "$lp_pro_client" ]; then
            answer client_pro bounded 30 "$lp_pro_client" status --format json
        else
            missing client_pro absent
        fi
    fi
}

# shellcheck disable=SC2317 # reached where no script comes after this one
main() {
    probe
    client_read
}
