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
lp_config_file=/var/snap/canonical-livepatch/common/config
lp_kernel_parameters=/proc/cmdline
lp_service=snap.canonical-livepatch.canonical-livepatchd.service

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

# find_owner FOLDER: sets lp_owner to the effective user ID of the process with this folder, or to the empty string.
# shellcheck disable=SC2034 # lp_real is skipped
find_owner() {
    lp_owner=
    if [ -r "$1/status" ]; then
        while read -r lp_key lp_real lp_effective lp_rest; do
            if [ "$lp_key" = Uid: ]; then
                lp_owner=$lp_effective
                return
            fi
        done <"$1/status"
    fi
}

# print_user: prints the effective user ID, as id -u does, but without starting a process if possible.
print_user() {
    find_owner /proc/self
    if [ -n "$lp_owner" ]; then
        printf '%s\n' "$lp_owner"
        return
    fi
    id -u
}

paths() {
    lp_files=
    add_files /etc/os-release /usr/lib/os-release /etc/machine-id
    add_files /proc/version_signature /proc/sys/kernel/osrelease /proc/sys/kernel/version /proc/uptime
    add_files /run/systemd/container /run/container_type /proc/1/cgroup /sys/kernel/realtime
    add_files /snap/canonical-livepatch/current/meta/snap.yaml /var/local/canonical_livepatch_mode
    add_files /run/reboot-required /run/reboot-required.pkgs
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
    # The unit of the daemon, and the link of an enabled unit. These files do not need a process or the system's service
    # manager, which may hang.
    print_access "/etc/systemd/system/$lp_service" "/etc/systemd/system/multi-user.target.wants/$lp_service"
    print_folder_access /var/snap/canonical-livepatch/common/locks
    print_access "$lp_kernel_parameters" /boot /boot/vmlinuz-* /boot/vmlinux-*
    print_access /var/lib/dpkg/info /var/lib/dpkg/info/linux-image-*.list
}

# files: prints all small files in one pass, each line with the name of its file. At most 64 lines are printed for each
# file, so that large files do not take longer. limit_sections() cuts long lines.
# shellcheck disable=SC2086 # lp_files is a list of paths without blanks, which add_files() has checked
files() {
    grep -a -s -m 64 '' $lp_files /dev/null
}

# command_line: prints the parameters of the kernel that set the mode of the client. Others can contain secrets. Words
# after -- are arguments of init.
command_line() {
    lp_line=
    IFS= read -r lp_line <"$lp_kernel_parameters"
    set -f
    for lp_word in $lp_line; do
        case $lp_word in
            --) break ;;
            canonical_livepatch_mode=*) printf '%.64s\n' "$lp_word" ;;
        esac
    done
    set +f
}

# kernel_times: prints the modification times of files from the package of the running kernel, if the text of uname -v,
# which the kernel cuts after 64 characters, does not end in a year.
kernel_times() {
    lp_line=
    lp_release=
    if [ -r /proc/sys/kernel/version ] && [ -r /proc/sys/kernel/osrelease ]; then
        IFS= read -r lp_line </proc/sys/kernel/version
        IFS= read -r lp_release </proc/sys/kernel/osrelease
    fi
    case $lp_line in
        *' '[0-9][0-9][0-9][0-9]) return ;;
    esac
    case $lp_release in
        '' | *[!A-Za-z0-9_.+~-]*) return ;;
    esac
    set --
    for lp_path in /usr/share/doc/linux-image-"$lp_release" /usr/share/doc/linux-image-unsigned-"$lp_release" \
        /usr/share/doc/linux-modules-"$lp_release"; do
        if [ -e "$lp_path/changelog.Debian.gz" ]; then
            set -- "$@" "$lp_path/changelog.Debian.gz"
        fi
    done
    for lp_path in /boot/vmlinuz-"$lp_release" /boot/vmlinux-"$lp_release"; do
        if [ -e "$lp_path" ]; then
            set -- "$@" "$lp_path"
        fi
    done
    if [ $# -gt 0 ] && command -v stat >/dev/null; then
        section kernel_times stat -L -c '%Y %n' "$@"
    fi
}

# find_hierarchy: sets lp_groups to the folder of control groups that holds those of all processes. In version 1, each
# controller has a hierarchy; that of systemd has no controller. A host without control groups has none.
find_hierarchy() {
    lp_groups=
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        lp_groups=/sys/fs/cgroup
        return
    fi
    for lp_path in systemd pids memory cpu,cpuacct cpu; do
        if [ -r "/sys/fs/cgroup/$lp_path" ]; then
            lp_groups=/sys/fs/cgroup/$lp_path
            return
        fi
    done
}

# find_processes PATH: sets lp_content to "empty" for a control group without processes, which the runtime of a container
# that has ended may leave behind, and to "pause" if the only process is one that does nothing, which keeps the namespaces
# of a pod of Podman or Kubernetes. Otherwise sets it to "-". crun creates a group "container" below that of Podman. Only
# version 2 shows whether a group and the groups below it have processes.
find_processes() {
    lp_content=-
    if [ -r "$1/cgroup.events" ]; then
        while read -r lp_key lp_value; do
            if [ "$lp_key $lp_value" = "populated 0" ]; then
                lp_content=empty
                return
            fi
        done <"$1/cgroup.events"
    fi
    for lp_procs in "$1/cgroup.procs" "$1/container/cgroup.procs"; do
        if [ -r "$lp_procs" ]; then
            lp_process=
            lp_second=
            { read -r lp_process && read -r lp_second; } <"$lp_procs" 2>/dev/null
            if [ -n "$lp_process" ] && [ -z "$lp_second" ] && [ -r "/proc/$lp_process/comm" ]; then
                read -r lp_comm <"/proc/$lp_process/comm"
                case $lp_comm in
                    pause | catatonit) lp_content=pause ;;
                esac
            fi
        fi
    done
}

# print_container_group PATH: prints a line "group pause|- PATH" for the control group of a container. Of an identifier
# of 64 digits, the first 12 are printed, as the runtimes do.
print_container_group() {
    find_processes "$1"
    if [ "$lp_content" = empty ]; then
        return
    fi
    lp_path=${1#"$lp_groups/"}
    lp_suffix=
    case $lp_path in
        *.scope) lp_suffix=.scope ;;
    esac
    lp_path=${lp_path%.scope}
    # shellcheck disable=SC2254 # a pattern
    case $lp_path in
        *$lp_id) lp_path=${lp_path%????????????????????????????????????????????????????} ;;
    esac
    printf 'group %s %s%s\n' "$lp_content" "$lp_path" "$lp_suffix"
}

# print_container_groups FOLDER: prints these lines for the control groups below a folder with names that container
# runtimes use. Groups inside such a group are skipped, because they belong to the container or to containers in it.
# Below libpod_parent, an identifier alone is that of a pod. Every user can create groups, so their number and depth are
# limited. Starts no process.
print_container_groups() {
    for lp_path in "$1"/*/; do
        lp_path=${lp_path%/}
        lp_remaining=$((lp_remaining - 1))
        if [ "$lp_remaining" -lt 0 ]; then
            return
        fi
        # shellcheck disable=SC2254 # a pattern
        case $lp_path in
            *[!A-Za-z0-9_.:,@/\\-]*) continue ;;
            */libpod_parent/$lp_id) ;;
            *$lp_id | *$lp_id.scope | */lxc.payload[./]* | */lxc/*)
                print_container_group "$lp_path"
                continue
                ;;
        esac
        if [ "$lp_depth" -lt 12 ]; then
            lp_depth=$((lp_depth + 1))
            print_container_groups "$lp_path"
            lp_depth=$((lp_depth - 1))
        fi
    done
}

# print_containerd_tasks: prints the access to the state of containerd, and a line "task NAMESPACE ID" for each running
# container that neither Docker nor Kubernetes started. Such a container can have any control group.
print_containerd_tasks() {
    check_access /run/containerd/io.containerd.runtime.v2.task
    if [ "$lp_access" = absent ]; then
        check_access /run/containerd/io.containerd.runtime.v1.linux
    fi
    printf 'containerd %s\n' "$lp_access"
    for lp_path in /run/containerd/io.containerd.runtime.v[12].*/*/*/init.pid; do
        lp_member=${lp_path%/init.pid}
        lp_space=${lp_member%/*}
        lp_space=${lp_space##*/}
        lp_member=${lp_member##*/}
        case $lp_space/$lp_member in
            moby/* | plugins.moby/* | k8s.io/* | *[!A-Za-z0-9_./-]*) continue ;;
        esac
        lp_process=
        if [ -r "$lp_path" ]; then
            read -r lp_process <"$lp_path"
        fi
        # A container that has ended keeps its state until it is deleted.
        if [ -n "$lp_process" ] && [ -d "/proc/$lp_process" ]; then
            printf 'task %s %s\n' "$lp_space" "$lp_member"
        fi
    done
}

# print_monitors: prints a line "monitor pause|- RUNTIME USER ID" for each process that watches over a container of a user
# without root privileges. Such a container has no separate control group if systemd manages none for the user, as in a
# unit with User=. A process in the control group of a container belongs to a container in this one, and is skipped.
# Every user can start processes with these names, so their number is limited. Starts no process if there is none.
print_monitors() {
    for lp_path in /proc/[0-9]*/comm; do
        lp_comm=
        # The process may have ended.
        { read -r lp_comm <"$lp_path"; } 2>/dev/null
        case $lp_comm in
            conmon | containerd-shim) ;;
            *) continue ;;
        esac
        lp_path=${lp_path%/comm}
        find_owner "$lp_path"
        case $lp_owner in
            '' | 0 | *[!0-9]*) continue ;;
        esac
        lp_remaining=$((lp_remaining - 100))
        if [ "$lp_remaining" -lt 0 ]; then
            return
        fi
        if is_nested "$lp_path"; then
            continue
        fi
        lp_line=$(tr '\0' ' ' <"$lp_path/cmdline" 2>/dev/null)
        lp_content=-
        case $lp_line in
            *' -c '*)
                lp_runtime=podman
                lp_member=${lp_line#* -c }
                lp_space=${lp_line#* -n }
                # shellcheck disable=SC2254 # a pattern
                case ${lp_space%% *} in
                    ${lp_digits}[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-infra) lp_content=pause ;;
                esac
                ;;
            *)
                lp_runtime=docker
                lp_member=${lp_line#* -id }
                ;;
        esac
        lp_member=${lp_member%% *}
        # shellcheck disable=SC2254 # a pattern
        case $lp_member in
            $lp_id) lp_member=${lp_member%????????????????????????????????????????????????????} ;;
            *) lp_member=- ;;
        esac
        printf 'monitor %s %s %s %s\n' "$lp_content" "$lp_runtime" "$lp_owner" "$lp_member"
    done
}

# is_nested FOLDER: succeeds if the process with this folder is in the control group of a container. That of conmon has
# the identifier of the container that it watches over, and that of a pod has the one of the pod.
is_nested() {
    [ -r "$1/cgroup" ] || return 1
    while read -r lp_line; do
        lp_line=${lp_line%/libpod-conmon-*.scope}/
        # shellcheck disable=SC2254 # patterns
        case $lp_line in
            */libpod_parent/*) ;;
            */lxc.payload[./]* | */lxc/* | *[/-]$lp_id/* | *[/-]$lp_id.scope/*) return 0 ;;
        esac
    done <"$1/cgroup"
    return 1
}

# containers: prints what shows the running containers of each runtime, without asking a daemon, which may hang.
containers() {
    find_hierarchy
    if [ -z "$lp_groups" ]; then
        return 1
    fi
    lp_digits='[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
    lp_id=$lp_digits$lp_digits$lp_digits$lp_digits$lp_digits$lp_digits$lp_digits$lp_digits
    lp_remaining=20000
    lp_depth=1
    print_container_groups "$lp_groups"
    if [ "$lp_remaining" -ge 0 ]; then
        lp_remaining=20000
        print_monitors
    fi
    if [ "$lp_remaining" -lt 0 ]; then
        printf 'more\n'
    fi
    print_containerd_tasks
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

# --- slow questions, which are asked at the same time ---
#
# They are the members of one pipeline. The first member is snapd. The second one prints the status of the client at
# once. Each of the others holds its answer back, and prints it when its standard input ends, which is when the member
# before it has printed its own. So the sections have a fixed order, and no question waits for a reader. Descriptor 5 is
# the output of the script.

# copy_lines: copies standard input without starting a process. Sets lp_copied if it has lines.
copy_lines() {
    lp_copied=
    while IFS= read -r lp_line; do
        lp_copied=1
        emit "$lp_line
"
    done
}

lp_snapd_info=/usr/lib/snapd/info

ask_snapd() {
    if [ -n "$lp_snap" ]; then
        exec_bounded 5 snap version
    fi
}

# shellcheck disable=SC2034 # lp_idle is skipped
# read_uptime: sets lp_uptime to the seconds since boot. Unlike the clock, they never jump.
read_uptime() {
    lp_uptime=
    if [ -r /proc/uptime ]; then
        read -r lp_uptime lp_idle </proc/uptime
        lp_uptime=${lp_uptime%%.*}
    fi
    case $lp_uptime in
        '' | *[!0-9]*) lp_uptime=0 ;;
    esac
}

# ask_status: prints the status of the client. Clients before 9.5 do not support --format; their default output is
# structured. The option --verbose is never used, because it shows the machine-token. Both calls share one time limit,
# and a client that has reached it is not asked again.
ask_status() {
    read_uptime
    lp_start=$lp_uptime
    section "status json" bounded 9 "$lp_client" status --format json
    case $lp_exit in
        0 | 124 | 137 | 143) return ;;
    esac
    read_uptime
    lp_left=$((lp_start + 9 - lp_uptime))
    if [ "$lp_left" -gt 0 ]; then
        section "status plain" bounded "$lp_left" "$lp_client" status
    fi
}

# print_stopped_snapd: prints what `snap version` prints if snapd does not answer, but only after 25 seconds. Standard
# input is the file of the package that contains its version.
print_stopped_snapd() {
    while IFS= read -r lp_line; do
        case $lp_line in
            VERSION=*) printf 'snap %.64s\nsnapd unavailable\n' "${lp_line#VERSION=}" ;;
        esac
    done
}

# ask_local: prints the answers of the client and of snapd, whose version is on standard input.
ask_local() {
    {
        if [ -n "$lp_client" ]; then
            ask_status </dev/null
        else
            empty_section status absent
        fi
        if [ -z "$lp_snap" ]; then
            empty_section snapd absent
        else
            # Seeding is only relevant for a client that is not installed yet, and this command can use its full limit.
            if [ -z "$lp_client" ]; then
                section seeded bounded 3 snap wait system seed.loaded </dev/null
            fi
            boundary "section snapd"
            copy_lines
            if [ -z "$lp_copied" ] && [ -r "$lp_snapd_info" ]; then
                print_stopped_snapd <"$lp_snapd_info"
            fi
            boundary "end snapd ok"
        fi
    } >&5
}

# connect URL: connects to a server with lp_tool, and replaces the shell. Before 7.87, curl waits for the resolver after
# its time limit, so the resolver has one, too.
# shellcheck disable=SC2016 # bash expands these, from its own arguments
connect() {
    RES_OPTIONS='timeout:2 attempts:2'
    export RES_OPTIONS
    case $lp_tool in
        curl) exec curl -q -s -S -o /dev/null --max-time 8 -- "$1" ;;
        wget) exec_bounded 10 wget -q -O /dev/null -T 8 -t 1 -- "$1" ;;
        openssl)
            exec_bounded 8 openssl s_client -connect "$lp_host:$lp_port" -servername "$lp_host" \
                -verify_hostname "$lp_host"
            ;;
        bash) exec_bounded 8 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$lp_host" "$lp_port" ;;
        *) exit 1 ;;
    esac
}

# ask_server NAME URL: prints the section NAME with the result of a connection, when standard input ends.
ask_server() {
    split_url "$2"
    lp_answer=$(connect "$2" 2>&1 </dev/null)
    lp_exit=$?
    while read -r lp_line; do :; done
    {
        boundary "section $1"
        printf 'url %s\nproxy %s\ntool %s\n' "$2" "${lp_proxy:+yes}" "$lp_tool"
        emit "$lp_answer"
        boundary "end $1 ok $lp_exit"
    } >&5
}

# split_url URL: sets lp_host, lp_port, and lp_proxy to the proxy for this URL.
split_url() {
    lp_proxy=$https_proxy
    lp_port=443
    case $1 in
        http://*)
            lp_proxy=$http_proxy
            lp_port=80
            ;;
    esac
    lp_host=${1#*://}
    lp_host=${lp_host%%/*}
    lp_host=${lp_host##*@}
    case $lp_host in
        *:*) lp_port=${lp_host##*:} ;;
    esac
    lp_host=${lp_host%:*}
}

# read_config: sets lp_config to the configuration of the client, from standard input. Reads at most 5,000 lines and
# 256 KiB, because the shell keeps them in memory.
read_config() {
    lp_config=
    lp_count=0
    while IFS= read -r lp_line && [ "$lp_count" -lt 5000 ] && [ "${#lp_config}" -lt 262144 ]; do
        lp_count=$((lp_count + 1))
        lp_config="$lp_config$lp_line
"
    done
    lp_config=$lp_config$lp_line
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

# find_network: sets lp_tool to the first network tool of the host, and the proxies. A proxy is passed in the
# environment, never on a command line, because its URL can contain a password. The variables are exported, because dash
# of Ubuntu 20.04 and older does not pass assignments before a function call to commands.
find_network() {
    read_setting remote-server
    lp_url=${lp_server:-${lp_setting:-https://livepatch.canonical.com}}
    read_setting https-proxy
    https_proxy=${lp_setting:-${https_proxy:-$HTTPS_PROXY}}
    read_setting http-proxy
    http_proxy=${lp_setting:-$http_proxy}
    read_setting no-proxy
    no_proxy=${lp_setting:-${no_proxy:-$NO_PROXY}}
    export https_proxy http_proxy no_proxy
    split_url "$lp_url"
    if command -v curl >/dev/null; then
        lp_tool=curl
    elif command -v wget >/dev/null; then
        lp_tool=wget
    elif [ -z "$lp_proxy" ] && command -v openssl >/dev/null; then
        lp_tool=openssl
    elif [ -z "$lp_proxy" ] && command -v bash >/dev/null; then
        lp_tool=bash
    else
        lp_tool=none
    fi
}

# ask_questions: asks the slow questions. The configuration of the client is on standard input. If the client does not
# answer, its server and its proxy are those in its file.
ask_questions() {
    if [ -n "$lp_client" ]; then
        read_config
        boundary "section config"
        emit "$lp_config"
        if [ "$lp_count" -ge 5000 ] || [ "${#lp_config}" -ge 262144 ]; then
            boundary "cut"
        fi
        boundary "end config ok"
    fi
    exec </dev/null
    if [ -z "$lp_config" ] && [ -r "$lp_config_file" ]; then
        read_config <"$lp_config_file"
    fi
    if [ -z "$lp_network" ]; then
        { ask_snapd 2>/dev/null | ask_local; } 5>&1
        return
    fi
    find_network
    # The hosted service has two servers: one answers clients, the other one has the patches.
    case $lp_host in
        livepatch.canonical.com)
            lp_files_url=https://livepatch-files.canonical.com
            if [ "$lp_port" != 443 ]; then
                lp_files_url=$lp_files_url:$lp_port
            fi
            {
                ask_snapd 2>/dev/null | ask_local | ask_server network "$lp_url" |
                    ask_server "network files" "$lp_files_url"
            } 5>&1
            ;;
        *) { ask_snapd 2>/dev/null | ask_local | ask_server network "$lp_url"; } 5>&1 ;;
    esac
}

slow_questions() {
    lp_config=
    lp_snap=
    if command -v snap >/dev/null; then
        lp_snap=1
    fi
    if [ -n "$lp_client" ]; then
        # The other questions depend on the configuration, so a client that does not answer gets less time here.
        exec_bounded 4 "$lp_client" config 2>/dev/null | ask_questions
    else
        ask_questions
    fi
}

# client_log LINES: prints the last lines of the log of the client's daemon.
client_log() {
    if command -v journalctl >/dev/null; then
        bounded 2 journalctl -q --no-pager -o cat -n "$1" -u "$lp_service" | cut -b 1-1024
    else
        grep -a -s -F canonical-livepatch /var/log/syslog | tail -n "$1" | cut -b 1-1024
    fi
}

# second_look: prints the log of the daemon if the client reports no status, or a failure. Without a machine-token and
# with a running daemon, the client is not enabled, which is not a failure.
# shellcheck disable=SC2034 # limit_sections() uses it
lp_watched='section status (json|plain)$'
# shellcheck disable=SC2034 # limit_sections() uses it
lp_alarm='check-failed|apply-failed|applied-with-bug'
# shellcheck disable=SC2034 # limit_sections() uses it
lp_sign='[Cc]lient-[Vv]ersion|fully-patched|is not enabled'
# shellcheck disable=SC2317 # run_parts() calls it
second_look() {
    check_access /var/snap/canonical-livepatch/common/machine-token
    if [ "$lp_access" = absent ]; then
        for lp_path in /sys/fs/cgroup/*/"$lp_service" /sys/fs/cgroup/systemd/*/"$lp_service"; do
            if [ -e "$lp_path" ]; then
                return
            fi
        done
    fi
    section client_log client_log 5
}

# packages: prints the packages of kernels, each with its state, version, source package and the version of the latter,
# and the architecture of the userland, which is that of dpkg. The pattern selects names with a version, such as
# linux-image-4.4.0-168-generic. The list is sorted, so that dpkg comes first. The architecture of the machine is printed
# if it can differ or the first one is unknown.
# shellcheck disable=SC2016 # dpkg-query expands these
packages() {
    lp_architecture=
    if command -v dpkg-query >/dev/null; then
        lp_packages=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version} ${source:Package} ${source:Version} ${Architecture}\n' \
            dpkg 'linux-*-[0-9]*.[0-9]*')
        lp_exit=$?
        boundary "section kernel_packages"
        emit "$lp_packages"
        boundary "end kernel_packages ok $lp_exit"
        case $lp_packages in
            ii*' dpkg '*)
                lp_architecture=${lp_packages%%
*}
                lp_architecture=${lp_architecture##* }
                ;;
        esac
    else
        empty_section kernel_packages absent
    fi
    if [ -z "$lp_architecture" ] && command -v dpkg >/dev/null; then
        lp_architecture=$(dpkg --print-architecture)
    fi
    if [ -n "$lp_architecture" ]; then
        boundary "section architecture"
        printf '%s\n' "$lp_architecture"
        boundary "end architecture ok 0"
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
    section user print_user
    section clock date +%s
    section paths paths
    section files files
    kernel_times
    if [ -r "$lp_kernel_parameters" ]; then
        section command_line command_line
    fi
    check_access /proc/sys/kernel/osrelease
    if [ "$lp_access" != ok ]; then
        section release uname -r
        section version uname -v
    fi
    packages
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
    slow_questions
}

# Another part can follow and replace main(). The last definition is used.
# shellcheck disable=SC2317 # reached if no other part follows
main() {
    probe
}
