#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
# boot.sh ROOT GROUP NAME: boots the system in a folder, in a mount namespace of its own (unshare --mount). It gets the control groups of version 2, below GROUP, also where this machine uses version 1.
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$2"
echo $$ >"/sys/fs/cgroup/$2/cgroup.procs"
# systemd-nspawn removes its folder only from a temporary file system.
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY
# This exit code means that the system in the folder reboots.
code=133
while [ "$code" = 133 ]; do
    code=0
    systemd-nspawn --quiet --register=no --keep-unit --directory="$1" --machine="$3" --private-network \
        --capability=all --system-call-filter='@default @known' --bind=/dev/fuse --boot || code=$?
done
exit "$code"
