# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Kernel packages, and the run of apt-get that installs them. Follows probe.sh.
#
# Variables from the controller: lp_task, which is one of
#   look      print the probe, and the state of kernel packages according to apt and dpkg
#   refresh   download the package lists, and print the state of kernel packages
#   simulate  print what apt-get would do for lp_packages
#   start     do the same, then start the run, detached from this connection
#   wait      wait up to lp_wait seconds for the end of the run, then print its state, and the files of lp_release
# lp_lock_wait is the maximum number of seconds to wait for a lock of apt or dpkg. With lp_repair (1 or empty), an
# interrupted run of dpkg is completed first, and missing dependencies are installed.
#
# The run continues if the connection is lost, because apt-get must not be interrupted. Its files are in a folder below
# /run that only root can read, so that they do not survive a reboot. The run creates the files `begun` and `exit`, and
# holds the lock on the file `lock`.

lp_run_folder=/run/kernelops-livepatch/kernel_upgrade
lp_reboot_folder=/var/lib/kernelops-livepatch/kernel_reboot

# The run is not interactive: packages must not ask questions, show changelogs or suggest to restart services.
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1

# retry_while_locked COMMAND...: repeats a command while another process holds a lock of apt or dpkg, until lp_deadline
# (in seconds since the epoch). Before 1.9.11, apt does not wait for the lock.
retry_while_locked() {
    while :; do
        lp_output=$("$@" 2>&1)
        lp_code=$?
        if [ "$lp_code" = 0 ] || [ "$(date +%s)" -ge "$lp_deadline" ] || ! reports_lock "$lp_output"; then
            break
        fi
        sleep 5
    done
    printf '%s\n' "$lp_output"
    return "$lp_code"
}

# list_metapackages: prints the installed packages that can be metapackages for kernels (linux-generic, linux-image-aws,
# linux-fips). Their names do not contain a version.
list_metapackages() {
    # shellcheck disable=SC2016 # these are dpkg's variables
    dpkg-query -W -f '${Package} ${Status}\n' 'linux-*' |
        while read -r lp_package _ _ lp_status; do
            case $lp_package:$lp_status in
                *-[0-9]*.[0-9]*-[0-9]*:* | *-dbg:* | *-extra-*:*) ;;
                linux-headers-* | linux-modules-* | linux-tools-* | linux-cloud-tools-* | linux-firmware* | linux-libc-dev* | \
                    linux-base* | linux-source* | linux-doc*) ;;
                *:installed) printf '%s\n' "$lp_package" ;;
            esac
        done
}

# list_metapackage_targets: prints the packages that the installed metapackages depend on, and the same for metapackages
# among these: a metapackage that has been replaced depends on its successor.
list_metapackage_targets() {
    lp_names=$(list_metapackages)
    lp_remaining=4
    while [ -n "$lp_names" ] && [ "$lp_remaining" -gt 0 ]; do
        # shellcheck disable=SC2086 # a list of names
        lp_output=$(apt-cache depends $lp_names)
        emit "$lp_output
"
        lp_names=$(emit "$lp_output" | sed -n 's/^[ |]*Depends: \(linux-[a-z][a-z0-9.+-]*\)$/\1/p' |
            grep -v -e '-[0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*-[0-9]' -e '^linux-firmware' | sort -u)
        lp_remaining=$((lp_remaining - 1))
    done
}

# list_available: prints all packages whose names contain a kernel release, installed or not.
list_available() {
    for lp_package in linux-image- linux-modules-extra- linux-headers-; do
        apt-cache pkgnames "$lp_package"
    done | grep -e '^linux-[a-z-]*-[0-9][0-9.]*-'
}

# list_interrupted: prints what an interrupted run of dpkg has left unfinished.
list_interrupted() {
    for lp_path in /var/lib/dpkg/updates/[0-9]*; do
        if [ -e "$lp_path" ]; then
            printf '%s\n' "$lp_path"
        fi
    done
    bounded 60 dpkg --audit
}

# list_held: prints the packages that apt must not change (apt-mark hold), also those that have nothing to do with kernels.
list_held() {
    # shellcheck disable=SC2016 # these are dpkg's variables
    dpkg-query -W -f '${Status} ${Package}\n' | sed -n 's/^hold [a-z]* [a-z-]* //p'
}

boot_sizes() {
    du -k /boot/vmlinuz-* /boot/initrd.img-* /boot/System.map-* /boot/config-*
}

apt_state() {
    if ! command -v apt-get >/dev/null; then
        empty_section packages absent
        return
    fi
    # shellcheck disable=SC2016 # these are dpkg's variables
    section packages dpkg-query -W -f '${Package} ${Version} ${Status} ${source:Package} ${Maintainer}\n' 'linux-*'
    section held list_held
    section available list_available
    section metapackages list_metapackage_targets
    section interrupted list_interrupted
    section boot_space df -Pk /boot
    section boot_sizes boot_sizes
}

# run_state: prints the state of the run: ended CODE, running, starting, or lost (ended without an exit code, for
# example after a power failure).
run_state() {
    if [ ! -d "$lp_run_folder" ]; then
        empty_section run absent
        return
    fi
    boundary "section run"
    lp_state=running
    if [ ! -e "$lp_run_folder/begun" ]; then
        lp_state=starting
    elif flock -n "$lp_run_folder/lock" true; then
        lp_state=lost
    fi
    # This is checked last, because a run that ends at this moment is not lost.
    if [ -e "$lp_run_folder/exit" ]; then
        read -r lp_code <"$lp_run_folder/exit"
        lp_state="ended $lp_code"
    fi
    printf '%s\n' "$lp_state"
    boundary "end run ok 0"
    if [ -r "$lp_run_folder/log" ]; then
        section log tail -c 20000 "$lp_run_folder/log"
    fi
}

# print_content PATH: prints the size of a file and, in hexadecimal, the bytes that show its format: the first 64, and 8
# bytes in which a kernel of x86 has its signature (Linux boot protocol).
print_content() {
    if [ -f "$1" ] && [ -r "$1" ]; then
        printf 'content %s %s x%s x%s\n' "$1" "$(wc -c <"$1" | tr -d ' ')" \
            "$(od -An -v -tx1 -N 64 "$1" | tr -d ' \n')" "$(od -An -v -tx1 -j 510 -N 8 "$1" 2>/dev/null | tr -d ' \n')"
    fi
}

# print_checksum RELEASE: prints the checksum of the image, and the one that its package has.
print_checksum() {
    for lp_package in "linux-image-$1" "linux-image-unsigned-$1"; do
        lp_path=/var/lib/dpkg/info/$lp_package.md5sums
        lp_expected=$(sed -n "s|^\([0-9a-f]\{32\}\)  *boot/vmlinuz-$1\$|\1|p" "$lp_path" 2>/dev/null)
        if [ -n "$lp_expected" ] && [ -r "/boot/vmlinuz-$1" ]; then
            lp_output=$(md5sum <"/boot/vmlinuz-$1")
            printf 'checksum %s %s %s\n' "/boot/vmlinuz-$1" "$lp_expected" "${lp_output%% *}"
            return
        fi
    done
}

# kernel_files RELEASE: prints which files of a kernel exist, what they contain, and which boot loader entries refer to it.
kernel_files() {
    boundary "section kernel_files"
    print_access "/boot/vmlinuz-$1" "/boot/initrd.img-$1" "/lib/modules/$1/modules.dep" /boot/grub/grub.cfg
    for lp_file in "/boot/vmlinuz-$1" "/boot/initrd.img-$1" "/lib/modules/$1/modules.dep"; do
        print_content "$lp_file"
    done
    print_checksum "$1"
    if grep -q -s -F "vmlinuz-$1" /boot/grub/grub.cfg; then
        printf 'entry /boot/grub/grub.cfg\n'
    fi
    for lp_path in /vmlinuz /boot/vmlinuz; do
        case $(readlink "$lp_path") in
            *"vmlinuz-$1") printf 'entry %s\n' "$lp_path" ;;
        esac
    done
    boundary "end kernel_files ok 0"
}

# print_run: prints the script of the run. It keeps configuration files that the operator has modified, removes no
# package, and writes its exit code last.
print_run() {
    cat <<'END'
lp_run_folder=$1
lp_deadline=$(($(date +%s) + $2))
lp_repair=$3
lp_lock_texts=$4
lp_lock_exceptions=$5
shift 5
exec >"$lp_run_folder/log" 2>&1
: >"$lp_run_folder/begun"
finish_run() {
    printf '%s\n' "$1" >"$lp_run_folder/exit.part"
    mv "$lp_run_folder/exit.part" "$lp_run_folder/exit"
    exit
}
locked() {
    grep -v '^Waiting for' "$lp_run_folder/step" | grep -q -i -F -e "$lp_lock_texts" &&
        ! grep -q -i -F -e "$lp_lock_exceptions" "$lp_run_folder/step"
}
retry_while_locked() {
    while :; do
        "$@" >"$lp_run_folder/step" 2>&1
        lp_code=$?
        if [ "$lp_code" = 0 ] || [ "$(date +%s)" -ge "$lp_deadline" ] || ! locked; then
            cat "$lp_run_folder/step"
            return "$lp_code"
        fi
        # The log must not show a lock as the cause of a later failure.
        printf 'Another process uses apt or dpkg.\n'
        sleep 5
    done
}
install_packages() {
    retry_while_locked apt-get -y -q --no-remove -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@"
}
step_reports() {
    [ -n "$lp_repair" ] && grep -q -i "$@" "$lp_run_folder/step"
}
if [ -n "$lp_repair" ]; then
    retry_while_locked dpkg --force-confdef --force-confold --configure -a
    lp_code=$?
    [ "$lp_code" = 0 ] || step_reports -e 'dependency problems' || finish_run "$lp_code"
fi
install_packages install "$@"
lp_code=$?
if [ "$lp_code" != 0 ] && step_reports -e '^E: Unmet dependencies' -e '^Error: Unmet dependencies' -e 'fix-broken install' -e 'apt-get -f install'; then
    install_packages -f install || finish_run "$?"
    install_packages install "$@"
    lp_code=$?
fi
finish_run "$lp_code"
END
}

# start_run: starts the run, unless a run is active. Removes the files of a run that has ended.
start_run() {
    umask 077
    mkdir -p "${lp_run_folder%/*}"
    if [ -d "$lp_run_folder" ] && [ ! -e "$lp_run_folder/exit" ] && ! flock -n "$lp_run_folder/lock" true; then
        printf 'busy\n'
        return 1
    fi
    rm -rf "$lp_run_folder"
    if ! mkdir "$lp_run_folder"; then
        printf 'busy\n'
        return 1
    fi
    : >"$lp_run_folder/lock"
    print_run >"$lp_run_folder/run"
    # The run gets a separate session, so that the end of this session does not affect it.
    # shellcheck disable=SC2086 # a list of names
    detach flock -n -o "$lp_run_folder/lock" \
        sh "$lp_run_folder/run" "$lp_run_folder" "$lp_lock_wait" "$lp_repair" "$lp_lock_texts" \
        "$lp_lock_exceptions" $lp_packages
    lp_remaining=60
    while [ ! -e "$lp_run_folder/begun" ] && [ "$lp_remaining" -gt 0 ]; do
        sleep 1
        lp_remaining=$((lp_remaining - 1))
    done
    printf 'started\n'
}

wait_for_run() {
    lp_remaining=$lp_wait
    while [ "$lp_remaining" -gt 0 ] && [ ! -e "$lp_run_folder/exit" ]; do
        sleep 1
        lp_remaining=$((lp_remaining - 1))
    done
}

main() {
    lp_deadline=$(($(date +%s) + lp_lock_wait))
    case $lp_task in
        look)
            probe
            section unfinished print_access "$lp_reboot_folder"
            run_state
            apt_state
            ;;
        refresh)
            section refresh retry_while_locked bounded 300 apt-get -q update
            apt_state
            ;;
        simulate | start)
            boundary "section simulation"
            # shellcheck disable=SC2086 # a list of names
            apt-get -s -q --no-remove install $lp_packages
            lp_code=$?
            boundary "end simulation ok $lp_code"
            # An interrupted run of dpkg can make the simulation fail. The run completes it first.
            case $lp_task:$lp_code:$lp_repair in
                start:0:* | start:*:1) section start start_run ;;
            esac
            ;;
        wait)
            wait_for_run
            run_state
            if [ -n "$lp_release" ]; then
                kernel_files "$lp_release"
            fi
            ;;
    esac
}
