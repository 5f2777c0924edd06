# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Facts about a host that the module `client` needs in addition to the probe. Only reads, without any decisions.
#
# Variables from the controller: lp_channel (1 or empty: print the channel that the snap tracks), lp_pro (1 or empty:
# query Ubuntu Pro).

# State of this collection, for root only: fingerprints of secrets (*.mark), and the file `restart`, which exists while
# the daemon must be restarted.
lp_shared_folder=/var/lib/kernelops-livepatch
lp_state_folder=$lp_shared_folder/client
lp_mode_file=/var/local/canonical_livepatch_mode
lp_socket=/var/snap/canonical-livepatch/current/livepatchd-priv.sock

# print_fingerprints: prints a line for each secret, with name, salt and digest.
print_fingerprints() {
    # Release 1.0 stored them in the folder that all modules share. A fingerprint there is newer if it exists twice.
    for lp_path in "$lp_state_folder"/*.mark "$lp_shared_folder"/*.mark; do
        [ -r "$lp_path" ] || continue
        lp_line=
        IFS= read -r lp_line <"$lp_path"
        lp_path=${lp_path##*/}
        printf '%s %.120s\n' "${lp_path%.mark}" "$lp_line"
    done
}

print_mode() {
    lp_line=
    IFS= read -r lp_line <"$lp_mode_file"
    printf '%.32s\n' "$lp_line"
}

# print_socket_tools: prints the tools that support Unix sockets: curl since 7.40, unless this was disabled when it was
# built, and the OpenBSD version of nc.
print_socket_tools() {
    case $(bounded 5 curl -q --version 2>/dev/null) in
        *UnixSockets*) printf 'curl\n' ;;
    esac
    case $(bounded 5 nc -h 2>&1 </dev/null) in
        *OpenBSD*-*U*) printf 'nc\n' ;;
    esac
}

# find_pro: sets lp_pro_client to the command of the Ubuntu Pro client, or to the empty string.
find_pro() {
    lp_pro_client=
    for lp_name in pro ua; do
        if [ -z "$lp_pro_client" ] && command -v "$lp_name" >/dev/null; then
            lp_pro_client=$lp_name
        fi
    done
}

client_read() {
    section client_files print_access /var/snap/canonical-livepatch/common/machine-token
    if [ -r "$lp_mode_file" ]; then
        section client_mode print_mode
    else
        check_access "$lp_mode_file"
        empty_section client_mode "$lp_access"
    fi
    if [ -e "$lp_state_folder/restart" ] || [ -e "$lp_shared_folder/restart" ]; then
        section client_restart printf 'due\n'
    fi
    # `snap disable` removes the command and keeps the folder with the revisions.
    if [ -z "$lp_client" ] && [ -d /snap/canonical-livepatch ]; then
        section client_snap_disabled printf 'disabled\n'
    fi
    section client_fingerprints print_fingerprints
    section client_tools print_socket_tools
    if [ -n "$lp_channel" ] && [ -n "$lp_client" ]; then
        section client_snap bounded 5 snap list canonical-livepatch
    fi
    if [ -n "$lp_pro" ]; then
        find_pro
        if [ -n "$lp_pro_client" ]; then
            section client_pro bounded 30 "$lp_pro_client" status --format json
        else
            empty_section client_pro absent
        fi
    fi
}

# shellcheck disable=SC2317 # reached if no other part follows
main() {
    probe
    client_read
}
