# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Facts about a host, its livepatch client and its kernel. Only reads, without any decisions.
#
# Variables from the controller: lp_server (URL, or empty for the server in the configuration of the client), lp_network
# (1 or empty: test whether the server is reachable), lp_verify (auto: digest and signature of the module file; file:
# the module file; empty: neither), lp_certificate (1 or empty: the certificate in the snap of the client).

lp_access=

# add_files PATH...: prints the access to each path, and adds readable files to lp_files, which files() prints.
add_files() {
    for lp_path in "$@"; do
        case $lp_path in
            # A pattern without a match, or a name that neither a kernel nor a package would use.
            *[!A-Za-z0-9_./+:~-]*) continue ;;
        esac
        check_access "$lp_path"
        printf '%s %s\n' "$lp_access" "$lp_path"
        if [ "$lp_access" = ok ] && [ -f "$lp_path" ]; then
            lp_files="$lp_files $lp_path"
        fi
    done
}

# print_access PATH...: prints the access to each path without reading it.
print_access() {
    for lp_path in "$@"; do
        case $lp_path in
            *[!A-Za-z0-9_./+:~-]*) continue ;;
        esac
        check_access "$lp_path"
        printf '%s %s\n' "$lp_access" "$lp_path"
    done
}

# print_folder_access FOLDER: prints the access to the folder and to its entries.
print_folder_access() {
    print_access "$1" "$1"/*
}

# count_folders FOLDER...: sets lp_count to the number of folders that exist, without starting a process.
count_folders() {
    lp_count=0
    for lp_path in "$@"; do
        if [ -d "$lp_path" ]; then
            lp_count=$((lp_count + 1))
        fi
    done
}

paths() {
    lp_files=
    add_files /etc/os-release /usr/lib/os-release /etc/machine-id
    add_files /proc/version_signature /proc/sys/kernel/osrelease /proc/sys/kernel/version /proc/uptime
    add_files /run/systemd/container /run/container_type /sys/kernel/realtime
    add_files /snap/canonical-livepatch/current/meta/snap.yaml
    add_files /sys/kernel/livepatch/*/enabled /sys/kernel/livepatch/*/transition
    for lp_patch in /sys/kernel/livepatch/*; do
        lp_patch=${lp_patch##*/}
        add_files "/sys/module/$lp_patch/taint" "/sys/module/$lp_patch/srcversion"
    done
    print_access /sys/kernel /sys/kernel/livepatch /sys/firmware/efi /proc/keys
    print_access /.dockerenv /run/.containerenv /proc/sys/fs/binfmt_misc/WSLInterop
    print_access /usr/share/xsessions/*.desktop /usr/share/wayland-sessions/*.desktop
    print_access /etc/apt/sources.list.d/ubuntu-fips-updates.list /etc/apt/sources.list.d/ubuntu-fips-updates.sources
    print_access /etc/apt/sources.list.d/ubuntu-fips.list /etc/apt/sources.list.d/ubuntu-fips.sources
    print_access /snap/bin/canonical-livepatch
    print_folder_access /var/snap/canonical-livepatch/common/locks
    print_access /boot/vmlinuz-*
}

# files: prints all small files in one pass, each line with the name of its file. At most 64 lines of 1,024 bytes are
# printed for each file, so that large files do not take longer.
# shellcheck disable=SC2086 # lp_files is a list of paths without blanks, which add_files() has checked
files() {
    grep -a -s -m 64 '' $lp_files /dev/null | cut -b 1-1024
}

# containers: prints the number of running containers for each runtime. The runtimes use control groups with fixed
# names. Counting these does not need the daemon, which may hang. The folders depend on the version of control groups
# (v1 has one tree for each controller).
containers() {
    [ -r /sys/fs/cgroup ] || return 1
    count_folders /sys/fs/cgroup/system.slice/docker-*.scope /sys/fs/cgroup/docker/*[0-9a-f] \
        /sys/fs/cgroup/systemd/system.slice/docker-*.scope /sys/fs/cgroup/systemd/docker/*[0-9a-f]
    printf 'docker %s\n' "$lp_count"
    count_folders /sys/fs/cgroup/lxc.payload.* /sys/fs/cgroup/systemd/lxc.payload.* /sys/fs/cgroup/systemd/lxc/*
    printf 'lxd %s\n' "$lp_count"
    count_folders /sys/fs/cgroup/machine.slice/libpod-[0-9a-f]*.scope /sys/fs/cgroup/systemd/machine.slice/libpod-[0-9a-f]*.scope
    printf 'podman %s\n' "$lp_count"
}

# container_variable: prints the variable `container` of process 1, for hosts without systemd-detect-virt. No other
# variable leaves the host.
container_variable() {
    tr '\0' '\n' </proc/1/environ | grep '^container='
}

virtualization() {
    if command -v systemd-detect-virt >/dev/null; then
        section virtualization systemd-detect-virt
    else
        empty_section virtualization absent
        check_access /proc/1/environ
        if [ "$lp_access" = ok ]; then
            section container_variable container_variable
        fi
    fi
}

# find_module_file MODULE: sets lp_file to the file that the module was loaded from, or to the empty string, and sets
# lp_access. The client stores it with the metadata of the patch. A file with another name is found by its content.
find_module_file() {
    lp_file=
    lp_others=
    for lp_path in "$lp_payload"/*.ko "$lp_payload"/*/*.ko; do
        case $lp_path in
            */"$1".ko) lp_file=${lp_file:-$lp_path} ;;
            *[!A-Za-z0-9_./+:~-]*) continue ;;
            *) lp_others="$lp_others $lp_path" ;;
        esac
    done
    if [ -z "$lp_file" ] && [ -n "$lp_others" ]; then
        # shellcheck disable=SC2086 # paths without blanks, by the pattern above
        lp_file=$(grep -l -s -F -e "$1" $lp_others | head -n 1)
    fi
    check_access "${lp_file:-$lp_payload/$1.ko}"
    if [ "$lp_access" != ok ] || [ ! -f "$lp_file" ]; then
        lp_file=
    fi
}

# print_module NAME: prints the build ID of the loaded module, and the parts of its file that are needed to verify the
# signature: the build ID after the file header, the bytes after the module, and the digest of the module itself. The
# section headers are the last part of a module, so the file header shows where the module ends. Bytes are hexadecimal.
print_module() {
    lp_note=/sys/module/$1/notes/.note.gnu.build-id
    if [ ! -r "$lp_note" ]; then
        lp_note=
    fi
    lp_file=
    if [ -n "$lp_verify" ]; then
        find_module_file "$1"
        printf 'file %s %s\n' "$lp_access" "$lp_file"
    fi
    if [ -z "$lp_note$lp_file" ]; then
        return
    fi
    # shellcheck disable=SC2046,SC2086 # words of two digits; two paths without blanks, one of which may be missing
    set -- $(od -An -v -tx1 -N 148 $lp_note $lp_file)
    lp_bytes=
    while [ $# -gt 0 ] && [ "$1${2-}${3-}${4-}" != 7f454c46 ]; do
        lp_bytes=$lp_bytes$1
        shift
    done
    printf 'note %s\n' "$lp_bytes"
    if [ -n "$lp_file" ] && [ "$lp_verify" != file ]; then
        print_signature "$@"
    fi
}

# print_signature BYTE...: prints the signature and the digest of lp_file, which begins with these bytes. Prints nothing
# for files that are not 64-bit little-endian, and for files that are larger than any module.
print_signature() {
    if [ $# -lt 64 ] || [ "$5$6" != 0201 ] || [ "${45}${46}${47}${48}" != 00000000 ]; then
        return
    fi
    lp_size=$((0x${44}${43}${42}${41} + 0x${60}${59} * 0x${62}${61}))
    if [ "$lp_size" -lt 64 ] || [ "$lp_size" -gt 67108864 ]; then
        return
    fi
    shift 64
    lp_bytes=
    for lp_byte in "$@"; do
        lp_bytes=$lp_bytes$lp_byte
    done
    printf 'built %s\n' "$lp_bytes"
    # shellcheck disable=SC2046 # words of two digits
    set -- $(od -An -v -tx1 -j "$lp_size" -N 4097 "$lp_file")
    if [ $# -gt 4096 ]; then
        return
    fi
    printf trailer
    printf '%s' ' ' "$@"
    # The signature contains the object identifier of the digest algorithm (2.16.840.1.101.3.4.2.x).
    lp_digest=sha512
    case "$*" in
        *'60 86 48 01 65 03 04 02 03'*) ;;
        *'60 86 48 01 65 03 04 02 02'*) lp_digest=sha384 ;;
        *'60 86 48 01 65 03 04 02 01'*) lp_digest=sha256 ;;
    esac
    if command -v "${lp_digest}sum" >/dev/null; then
        printf '\ndigest %s ' "$lp_digest"
        head -c "$lp_size" "$lp_file" | "${lp_digest}sum"
    fi
}

# print_file PATH: prints a file in base64. The limit is one byte larger than the largest accepted file.
print_file() {
    head -c 8388609 "$1" | base64
}

modules() {
    lp_payload=/var/snap/canonical-livepatch/common/payload
    lp_remaining=4
    for lp_patch in /sys/kernel/livepatch/*; do
        lp_patch=${lp_patch##*/}
        if [ "$lp_remaining" = 0 ] || [ ! -e "/sys/kernel/livepatch/$lp_patch" ]; then
            return
        fi
        lp_remaining=$((lp_remaining - 1))
        section "module $lp_patch" print_module "$lp_patch"
        if [ -n "$lp_file" ] && [ "$lp_verify" = file ]; then
            section "file $lp_patch" print_file "$lp_file"
        fi
    done
    lp_path=/snap/canonical-livepatch/current/keys/livepatch-kmod.x509
    if [ -n "$lp_certificate" ] && [ -r "$lp_path" ]; then
        section certificate base64 "$lp_path"
    fi
}

secure_boot() {
    lp_variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    if [ -r "$lp_variable" ]; then
        section secure_boot_variable od -An -v -tx1 "$lp_variable"
    elif [ -e /sys/firmware/efi ] && command -v mokutil >/dev/null; then
        section mokutil bounded 5 mokutil --sb-state
    fi
}

# print_keys: prints the public keys in the keyrings of the kernel. The description of a key can contain line ends, so
# that a user can imitate such a line. Lines of other keys are left out only if they are root's: the controller counts no
# key behind another line. The listing is limited by its size in bytes, like every section.
print_keys() {
    lp_start='^[0-9a-f]\{8\} [A-Za-z-]\{7\}  *[0-9][0-9]*  *[0-9a-z][0-9a-z]* [0-9a-f]\{8\}  *0  *[0-9][0-9]* '
    grep -a -s -v -e "${lp_start}keyring " -e "${lp_start}user " -e "${lp_start}logon " -e "${lp_start}blacklist" /proc/keys
}

snapd() {
    if ! command -v snap >/dev/null; then
        empty_section snapd absent
        return
    fi
    section snapd bounded 5 snap version
    # Seeding is only relevant for a client that is not installed yet, and this command can use its full time limit.
    if [ -z "$lp_client" ]; then
        section seeded bounded 3 snap wait system seed.loaded
    fi
}

# client: prints the status and the configuration of the client. Clients before 9.5 do not support --format; their
# default output is structured. The option --verbose is never used, because it shows the machine-token.
client() {
    lp_config=
    if [ -z "$lp_client" ]; then
        empty_section status absent
        return
    fi
    boundary "section status json"
    bounded 15 "$lp_client" status --format json
    lp_exit=$?
    boundary "end status json ok $lp_exit"
    if [ "$lp_exit" != 0 ]; then
        section "status plain" bounded 15 "$lp_client" status
    fi
    boundary "section config"
    lp_config=$(exec_bounded 10 "$lp_client" config | head -c 262144)
    emit "$lp_config
"
    boundary "end config ok"
}

# read_setting KEY: sets lp_setting to the value of a key in the configuration of the client.
read_setting() {
    lp_setting=
    case $lp_config in
        *"$1: \""*)
            lp_setting=${lp_config#*"$1: \""}
            lp_setting=${lp_setting%%\"*}
            ;;
    esac
}

# network: tests whether the server is reachable with the first tool that the host has. A proxy is passed in the
# environment, never on a command line, because its URL can contain a password. The variables are exported, because dash
# of Ubuntu 20.04 and older does not pass assignments before a function call to commands.
network() {
    read_setting remote-server
    lp_url=${lp_server:-${lp_setting:-https://livepatch.canonical.com}}
    read_setting https-proxy
    https_proxy=${lp_setting:-${https_proxy:-$HTTPS_PROXY}}
    read_setting http-proxy
    http_proxy=${lp_setting:-$http_proxy}
    read_setting no-proxy
    no_proxy=${lp_setting:-${no_proxy:-$NO_PROXY}}
    export https_proxy http_proxy no_proxy
    lp_proxy=$https_proxy
    lp_port=443
    case $lp_url in
        http://*)
            lp_proxy=$http_proxy
            lp_port=80
            ;;
    esac
    lp_host=${lp_url#*://}
    lp_host=${lp_host%%/*}
    case $lp_host in
        *:*) lp_port=${lp_host##*:} ;;
    esac
    lp_host=${lp_host%:*}
    boundary "section network"
    printf 'url %s\n' "$lp_url"
    printf 'proxy %s\n' "${lp_proxy:+yes}"
    if command -v curl >/dev/null; then
        printf 'tool curl\n'
        curl -q -s -S -o /dev/null --max-time 8 -w 'http %{http_code}\n' -- "$lp_url"
    elif command -v wget >/dev/null; then
        printf 'tool wget\n'
        bounded 10 wget -q -O /dev/null -T 8 -t 1 -- "$lp_url"
    elif [ -n "$lp_proxy" ]; then
        printf 'tool none\n'
        false
    elif command -v openssl >/dev/null; then
        printf 'tool openssl\n'
        bounded 8 openssl s_client -connect "$lp_host:$lp_port" -servername "$lp_host" -verify_hostname "$lp_host"
    elif command -v bash >/dev/null; then
        printf 'tool bash\n'
        # shellcheck disable=SC2016 # bash expands these, from its own arguments
        bounded 8 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$lp_host" "$lp_port"
    else
        printf 'tool none\n'
        false
    fi
    boundary "end network ok $?"
}

# architecture: prints the architecture of the userland, and of the machine if it can differ or the first one is
# unknown.
architecture() {
    lp_architecture=
    if command -v dpkg >/dev/null; then
        lp_architecture=$(dpkg --print-architecture)
        boundary "section architecture"
        printf '%s\n' "$lp_architecture"
        boundary "end architecture ok $?"
    fi
    case $lp_architecture in
        i386 | '') section machine uname -m ;;
    esac
}

# find_client: sets lp_client to the command of the client, or to the empty string.
find_client() {
    # /snap/bin is not on the PATH of root under sudo or cron.
    lp_client=/snap/bin/canonical-livepatch
    if [ ! -x "$lp_client" ]; then
        lp_client=
        if command -v canonical-livepatch >/dev/null; then
            lp_client=canonical-livepatch
        fi
    fi
}

probe() {
    find_client
    section user id -u
    section clock date +%s
    section paths paths
    section files files
    check_access /proc/sys/kernel/osrelease
    if [ "$lp_access" != ok ]; then
        section release uname -r
        section version uname -v
    fi
    architecture
    section containers containers
    virtualization
    modules
    secure_boot
    if [ -r /proc/keys ]; then
        section keys print_keys
    fi
    if [ ! -e /sys/kernel/livepatch ]; then
        section kernel_config grep -s -m 1 CONFIG_LIVEPATCH /boot/config-* /dev/null
    fi
    snapd
    client
    if [ -n "$lp_network" ]; then
        network
    fi
}

# Another part can follow and replace main(). The last definition is used.
# shellcheck disable=SC2317 # reached if no other part follows
main() {
    probe
}
