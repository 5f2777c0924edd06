# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# What a host is, and what its livepatch client and its kernel say. Reads only, decides nothing.
#
# From the controller: lp_server (URL, or empty: what the client is configured with), lp_network (1 or empty),
# lp_verify (auto: what a signature needs of the module's file; file: the file itself; empty: neither),
# lp_certificate (1: also the certificate that the client's snap brings).

lp_access=

# offer PATH...: says of each path whether it can be read, and keeps those that can for the reading at the end.
offer() {
    for lp_path in "$@"; do
        case $lp_path in
            # A glob that found nothing, or a name that no kernel and no package gives.
            *[!A-Za-z0-9_./+:~-]*) continue ;;
        esac
        access "$lp_path"
        printf '%s %s\n' "$lp_access" "$lp_path"
        if [ "$lp_access" = ok ] && [ -f "$lp_path" ]; then
            lp_files="$lp_files $lp_path"
        fi
    done
}

# note PATH...: says whether each path is there, and never reads it.
note() {
    for lp_path in "$@"; do
        case $lp_path in
            *[!A-Za-z0-9_./+:~-]*) continue ;;
        esac
        access "$lp_path"
        printf '%s %s\n' "$lp_access" "$lp_path"
    done
}

# entries FOLDER: the folder itself, then what lies in it.
entries() {
    note "$1" "$1"/*
}

# present FOLDER/PATTERN...: how many of these exist, counted without starting anything.
present() {
    lp_count=0
    for lp_path in "$@"; do
        if [ -d "$lp_path" ]; then
            lp_count=$((lp_count + 1))
        fi
    done
}

paths() {
    lp_files=
    offer /etc/os-release /usr/lib/os-release /etc/machine-id
    offer /proc/version_signature /proc/sys/kernel/osrelease /proc/sys/kernel/version /proc/uptime
    offer /run/systemd/container /run/container_type /sys/kernel/realtime
    offer /snap/canonical-livepatch/current/meta/snap.yaml
    offer /sys/kernel/livepatch/*/enabled /sys/kernel/livepatch/*/transition
    for lp_patch in /sys/kernel/livepatch/*; do
        lp_patch=${lp_patch##*/}
        offer "/sys/module/$lp_patch/taint" "/sys/module/$lp_patch/srcversion"
    done
    note /sys/kernel /sys/kernel/livepatch /sys/firmware/efi /proc/keys
    note /.dockerenv /run/.containerenv /proc/sys/fs/binfmt_misc/WSLInterop
    note /usr/share/xsessions/*.desktop /usr/share/wayland-sessions/*.desktop
    note /etc/apt/sources.list.d/ubuntu-fips-updates.list /etc/apt/sources.list.d/ubuntu-fips-updates.sources
    note /snap/bin/canonical-livepatch
    entries /var/snap/canonical-livepatch/common/locks
    note /boot/vmlinuz-*
}

# One reading for all the small files, each line under the name of its file: at most 64 lines of 1,024 bytes
# each, so that a file of any size costs the same.
# shellcheck disable=SC2086 # lp_files is a list of paths that offer() has held against a pattern without blanks
files() {
    grep -a -s -m 64 '' $lp_files /dev/null | cut -b 1-1024
}

# Each runtime puts its containers in control groups of a fixed name. Counting those needs no daemon, so it
# cannot hang on a dead one. The folders differ by control group version (v1 has one tree per controller).
containers() {
    [ -r /sys/fs/cgroup ] || return 1
    present /sys/fs/cgroup/system.slice/docker-*.scope /sys/fs/cgroup/docker/*[0-9a-f] \
        /sys/fs/cgroup/systemd/system.slice/docker-*.scope /sys/fs/cgroup/systemd/docker/*[0-9a-f]
    printf 'docker %s\n' "$lp_count"
    present /sys/fs/cgroup/lxc.payload.* /sys/fs/cgroup/systemd/lxc.payload.* /sys/fs/cgroup/systemd/lxc/*
    printf 'lxd %s\n' "$lp_count"
    present /sys/fs/cgroup/machine.slice/libpod-[0-9a-f]*.scope /sys/fs/cgroup/systemd/machine.slice/libpod-[0-9a-f]*.scope
    printf 'podman %s\n' "$lp_count"
}

# The word of the running process 1, for hosts without systemd-detect-virt. Only the one variable leaves the host.
container_variable() {
    tr '\0' '\n' </proc/1/environ | grep '^container='
}

virtualization() {
    if command -v systemd-detect-virt >/dev/null; then
        answer virtualization systemd-detect-virt
    else
        missing virtualization absent
        access /proc/1/environ
        if [ "$lp_access" = ok ]; then
            answer container_variable container_variable
        fi
    fi
}

# locate MODULE: sets lp_file to the file that the module was loaded from, or to nothing, and lp_access. The client
# keeps it beside what describes the patch; where it is named in another way, its content names it.
locate() {
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
    access "${lp_file:-$lp_payload/$1.ko}"
    if [ "$lp_access" != ok ] || [ ! -f "$lp_file" ]; then
        lp_file=
    fi
}

# module NAME: the running module's build id, and what its signature needs of its file: the build id that the file
# has behind its header, the bytes behind the module, and the digest of the module before them. The section headers
# are the last part of a module, so the header says where it ends. Bytes are hexadecimal.
module() {
    lp_note=/sys/module/$1/notes/.note.gnu.build-id
    if [ ! -r "$lp_note" ]; then
        lp_note=
    fi
    lp_file=
    if [ -n "$lp_verify" ]; then
        locate "$1"
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
        trailer "$@"
    fi
}

# trailer BYTE...: of lp_file, which begins with these bytes. Nothing is said of files of other kinds than 64 bits,
# little-endian, and of what is larger than any module.
trailer() {
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
    # The digest that the signature is over, by the identifier of its algorithm (2.16.840.1.101.3.4.2).
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

# content PATH: a whole file, if it is none of the largest.
content() {
    head -c 8388609 "$1" | base64
}

modules() {
    lp_payload=/var/snap/canonical-livepatch/common/payload
    lp_left=4
    for lp_patch in /sys/kernel/livepatch/*; do
        lp_patch=${lp_patch##*/}
        if [ "$lp_left" = 0 ] || [ ! -e "/sys/kernel/livepatch/$lp_patch" ]; then
            return
        fi
        lp_left=$((lp_left - 1))
        answer "module $lp_patch" module "$lp_patch"
        if [ -n "$lp_file" ] && [ "$lp_verify" = file ]; then
            answer "file $lp_patch" content "$lp_file"
        fi
    done
    lp_path=/snap/canonical-livepatch/current/keys/livepatch-kmod.x509
    if [ -n "$lp_certificate" ] && [ -r "$lp_path" ]; then
        answer certificate base64 "$lp_path"
    fi
}

secure_boot() {
    lp_variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    if [ -r "$lp_variable" ]; then
        answer secure_boot_variable od -An -v -tx1 "$lp_variable"
    elif [ -e /sys/firmware/efi ] && command -v mokutil >/dev/null; then
        answer mokutil bounded 5 mokutil --sb-state
    fi
}

snapd() {
    if ! command -v snap >/dev/null; then
        missing snapd absent
        return
    fi
    answer snapd bounded 5 snap version
    # Seeding matters only to what is not installed yet, and asking may take all of its time.
    if [ -z "$lp_client" ]; then
        answer seeded bounded 3 snap wait system seed.loaded
    fi
}

# Clients before 9.5 know no --format; what they print by default is data. Never --verbose: it shows the
# machine-token.
client() {
    lp_config=
    if [ -z "$lp_client" ]; then
        missing status absent
        return
    fi
    mark "section status json"
    bounded 15 "$lp_client" status --format json
    lp_exit=$?
    mark "end status json ok $lp_exit"
    if [ "$lp_exit" != 0 ]; then
        answer "status plain" bounded 15 "$lp_client" status
    fi
    mark "section config"
    lp_config=$(exec_bounded 10 "$lp_client" config | head -c 262144)
    emit "$lp_config
"
    mark "end config ok"
}

# setting KEY: sets lp_setting to the value of that key in the client's configuration.
setting() {
    lp_setting=
    case $lp_config in
        *"$1: \""*)
            lp_setting=${lp_config#*"$1: \""}
            lp_setting=${lp_setting%%\"*}
            ;;
    esac
}

# network: reaches for the server with whatever the host has. A proxy goes by the environment, never by a command
# line: its address may hold a password. It is exported, for what stands before the call of a function reaches no
# command with the dash of Ubuntu 20.04 and older.
network() {
    setting remote-server
    lp_url=${lp_server:-${lp_setting:-https://livepatch.canonical.com}}
    setting https-proxy
    https_proxy=${lp_setting:-${https_proxy:-$HTTPS_PROXY}}
    setting http-proxy
    http_proxy=${lp_setting:-$http_proxy}
    setting no-proxy
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
    mark "section network"
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
    mark "end network ok $?"
}

# architecture: of the userland, and of the machine where the two may differ or the first cannot be had.
architecture() {
    lp_architecture=
    if command -v dpkg >/dev/null; then
        lp_architecture=$(dpkg --print-architecture)
        mark "section architecture"
        printf '%s\n' "$lp_architecture"
        mark "end architecture ok $?"
    fi
    case $lp_architecture in
        i386 | '') answer machine uname -m ;;
    esac
}

# find_client: sets lp_client to the client's command, or to nothing.
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
    answer user id -u
    answer clock date +%s
    answer paths paths
    answer files files
    access /proc/sys/kernel/osrelease
    if [ "$lp_access" != ok ]; then
        answer release uname -r
        answer version uname -v
    fi
    architecture
    answer containers containers
    virtualization
    modules
    secure_boot
    if [ -r /proc/keys ]; then
        answer keys grep -s -m 256 asymmetri /proc/keys
    fi
    if [ ! -e /sys/kernel/livepatch ]; then
        answer kernel_config grep -s -m 1 CONFIG_LIVEPATCH /boot/config-* /dev/null
    fi
    snapd
    client
    if [ -n "$lp_network" ]; then
        network
    fi
}

# A script that comes after this one may do more: the last main() counts.
# shellcheck disable=SC2317 # this one is reached where none comes
main() {
    probe
}
