# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the parts of a script use each other's variables, and the controller's
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Packages of kernels, and the run of apt-get that installs one. Comes after probe.sh.
#
# From the controller: lp_task, which is one of
#   look      the probe, and what apt and dpkg say of kernels
#   refresh   the lists of packages fetched anew, and what apt and dpkg then say
#   simulate  what apt-get would do for lp_packages
#   start     the same, and then the run begins, apart from this connection
#   wait      how the run goes, at most lp_wait seconds later, and what stands on disk of the kernel lp_release
# lp_lock_wait is how many seconds another one's lock is waited for; lp_repair (1 or empty) first ends what an
# interrupted dpkg has left.
#
# The run outlives the connection: apt-get is never ended half-way. It lives in a folder of root's below /run, so that
# no reboot can leave one behind: `begun` and `exit` are written by it, and `lock` is held for as long as it lives.

lp_run=/run/kernelops-livepatch/kernel_upgrade
lp_unfinished=/var/lib/kernelops-livepatch/kernel_reboot

# Nobody is there to answer a question, or to see which services a restart would help.
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1

# patiently COMMAND...: the command, again and again while another one holds the locks of apt or dpkg, as apt before
# 1.9.11 cannot wait by itself. lp_deadline is in seconds since the epoch.
patiently() {
    while :; do
        lp_said=$("$@" 2>&1)
        lp_code=$?
        case $lp_code:$lp_said in
            0:*) break ;;
            *'ould not get lock'* | *'nable to lock'* | *'nable to acquire the dpkg'* | *'is locked by another'*)
                if [ "$(date +%s)" -lt "$lp_deadline" ]; then
                    sleep 5
                    continue
                fi
                ;;
        esac
        break
    done
    printf '%s\n' "$lp_said"
    return "$lp_code"
}

# Metapackages of kernels that are installed: those whose name holds no version.
metapackages() {
    # shellcheck disable=SC2016 # these are dpkg's variables
    dpkg-query -W -f '${Package} ${Status}\n' 'linux-image-*' 'linux-signed-image-*' | while read -r lp_package _ _ lp_word; do
        case $lp_package:$lp_word in
            *-[0-9]*.[0-9]*-[0-9]*:* | *-dbg:* | *-extra-*:*) ;;
            *:installed) printf '%s\n' "$lp_package" ;;
        esac
    done
}

# The kernels to which the installed metapackages lead.
leads() {
    lp_names=$(metapackages)
    if [ -n "$lp_names" ]; then
        # shellcheck disable=SC2086 # a list of names
        apt-cache depends $lp_names
    fi
}

# Packages that carry a kernel release in their name, whether installed or not.
available() {
    for lp_package in linux-image- linux-modules-extra- linux-headers-; do
        apt-cache pkgnames "$lp_package"
    done | grep -e '^linux-[a-z-]*-[0-9][0-9.]*-'
}

# What dpkg has begun and not ended.
interrupted() {
    for lp_path in /var/lib/dpkg/updates/[0-9]*; do
        if [ -e "$lp_path" ]; then
            printf '%s\n' "$lp_path"
        fi
    done
    bounded 60 dpkg --audit
}

boot_sizes() {
    du -k /boot/vmlinuz-* /boot/initrd.img-* /boot/System.map-* /boot/config-*
}

apt_state() {
    if ! command -v apt-get >/dev/null; then
        missing packages absent
        return
    fi
    # shellcheck disable=SC2016 # these are dpkg's variables
    answer packages dpkg-query -W -f '${Package} ${Version} ${Status}\n' 'linux-*'
    answer available available
    answer leads leads
    answer interrupted interrupted
    answer boot_space df -Pk /boot
    answer boot_sizes boot_sizes
}

# run_state: ended CODE, running, starting, or lost (ended without a word, as when the power fails).
run_state() {
    if [ ! -d "$lp_run" ]; then
        missing run absent
        return
    fi
    mark "section run"
    lp_state=running
    if [ ! -e "$lp_run/begun" ]; then
        lp_state=starting
    elif flock -n "$lp_run/lock" true; then
        lp_state=lost
    fi
    # Looked for last: a run that ends at this moment has not been lost.
    if [ -e "$lp_run/exit" ]; then
        read -r lp_code <"$lp_run/exit"
        lp_state="ended $lp_code"
    fi
    printf '%s\n' "$lp_state"
    mark "end run ok 0"
    if [ -r "$lp_run/log" ]; then
        answer log tail -c 20000 "$lp_run/log"
    fi
}

# proof RELEASE: which of the parts of a kernel are there, and what names it to the boot loader.
proof() {
    mark "section proof"
    note "/boot/vmlinuz-$1" "/boot/initrd.img-$1" "/lib/modules/$1/modules.dep" /boot/grub/grub.cfg
    if grep -q -s -F "vmlinuz-$1" /boot/grub/grub.cfg; then
        printf 'entry /boot/grub/grub.cfg\n'
    fi
    for lp_path in /vmlinuz /boot/vmlinuz; do
        case $(readlink "$lp_path") in
            *"vmlinuz-$1") printf 'entry %s\n' "$lp_path" ;;
        esac
    done
    mark "end proof ok 0"
}

# The run itself. It keeps what the packages bring where an operator has not, removes nothing, and its exit code is
# the last thing that it writes.
run_text() {
    cat <<'END'
lp_run=$1
lp_deadline=$(($(date +%s) + $2))
lp_repair=$3
shift 3
exec >"$lp_run/log" 2>&1
: >"$lp_run/begun"
ended() {
    printf '%s\n' "$1" >"$lp_run/exit.part"
    mv "$lp_run/exit.part" "$lp_run/exit"
    exit
}
patiently() {
    while :; do
        "$@" >"$lp_run/step" 2>&1
        lp_code=$?
        cat "$lp_run/step"
        [ "$lp_code" != 0 ] || return 0
        grep -q -e 'ould not get lock' -e 'nable to lock' -e 'nable to acquire the dpkg' -e 'is locked by another' \
            "$lp_run/step" || return "$lp_code"
        [ "$(date +%s)" -lt "$lp_deadline" ] || return "$lp_code"
        sleep 5
    done
}
if [ -n "$lp_repair" ]; then
    patiently dpkg --force-confdef --force-confold --configure -a || ended "$?"
fi
patiently apt-get -y -q --no-remove -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    -o Dpkg::Use-Pty=0 install "$@"
ended "$?"
END
}

# start: the run, unless there is one. What an ended one left is swept away.
start() {
    umask 077
    mkdir -p "${lp_run%/*}"
    if [ -d "$lp_run" ] && [ ! -e "$lp_run/exit" ] && ! flock -n "$lp_run/lock" true; then
        printf 'busy\n'
        return 1
    fi
    rm -rf "$lp_run"
    if ! mkdir "$lp_run"; then
        printf 'busy\n'
        return 1
    fi
    : >"$lp_run/lock"
    run_text >"$lp_run/run"
    # A session of its own, so that nothing that ends this one reaches it.
    # shellcheck disable=SC2086 # a list of names
    setsid flock -n -o "$lp_run/lock" sh "$lp_run/run" "$lp_run" "$lp_lock_wait" "$lp_repair" $lp_packages \
        </dev/null >/dev/null 2>&1 &
    lp_left=60
    while [ ! -e "$lp_run/begun" ] && [ "$lp_left" -gt 0 ]; do
        sleep 1
        lp_left=$((lp_left - 1))
    done
    printf 'started\n'
}

wait_for_run() {
    lp_left=$lp_wait
    while [ "$lp_left" -gt 0 ] && [ ! -e "$lp_run/exit" ]; do
        sleep 1
        lp_left=$((lp_left - 1))
    done
}

main() {
    lp_deadline=$(($(date +%s) + lp_lock_wait))
    case $lp_task in
        look)
            probe
            answer unfinished note "$lp_unfinished"
            run_state
            apt_state
            ;;
        refresh)
            answer refresh patiently bounded 300 apt-get -q update
            apt_state
            ;;
        simulate | start)
            mark "section simulation"
            # shellcheck disable=SC2086 # a list of names
            apt-get -s -q --no-remove install $lp_packages
            lp_code=$?
            mark "end simulation ok $lp_code"
            # What dpkg has left undone may fail the simulation, and is done first in the run.
            case $lp_task:$lp_code:$lp_repair in
                start:0:* | start:*:1) answer start start ;;
            esac
            ;;
        wait)
            wait_for_run
            run_state
            if [ -n "$lp_release" ]; then
                proof "$lp_release"
            fi
            ;;
    esac
}
