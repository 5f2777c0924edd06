#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Starts the network: sh start.sh FOLDER SSHD COMMAND...
#
# It runs in namespaces of its own for mounts, processes and the network, so that the network of the machine and /run
# never change, and everything ends with it. COMMAND... creates the interfaces near, here, and far, in the namespace
# router, and prints a line. Each line of FOLDER/hosts is the number of a host, its address, and "off" if its server is
# not started.
#
#   this namespace          router                      host-1, host-2, …
#   10.78.0.1 near ──── far 10.78.0.2, bridge ── v1 ──── eth0 10.77.x.y with a server on port 22
set -eu
folder=$1
server=$2
shift 2

mount -t tmpfs -o mode=755 none /run
mkdir /run/sshd
ip netns add router
ip -n router link set lo up
ip -n router link add name bridge type bridge
ip -n router addr add 10.77.255.254/16 dev bridge
ip -n router link set bridge up
ip netns exec router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'

while read -r number address state; do
    host=host-$number
    ip netns add "$host"
    ip -n "$host" -batch - <<END
link set lo up
link add name eth0 type veth peer name v$number netns router
addr add $address/16 dev eth0
link set eth0 up
route add default via 10.77.255.254
END
    ip -n router -batch - <<END
link set v$number master bridge
link set v$number up
END
    if [ "$state" != off ]; then
        # Returns when the server listens.
        ip netns exec "$host" "$server" -E "$folder/log.$number" -f "$folder/sshd_config.$number"
    fi
done <"$folder/hosts"

ip link set lo up
mkfifo "$folder/created"
# shellcheck disable=SC2094 # the interfaces are configured when the command reports that they exist
{
    read -r _ <"$folder/created"
    ip addr add 10.78.0.1/32 dev near
    ip link set near up
    ip route add 10.77.0.0/16 dev near src 10.78.0.1
    ip -n router addr add 10.78.0.2/32 dev far
    ip -n router link set far up
    ip -n router route add 10.78.0.1/32 dev far
    echo ready
} &
exec "$@" >"$folder/created"
