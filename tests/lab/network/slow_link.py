# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A link between two network namespaces that delays packets and loses some of them.

``slow_link.py NEAR FAR NAMESPACE DELAY LOSS``: creates the TUN interface NEAR in its own namespace and FAR in another
one, prints a line when both exist, and passes packets between them, in order, until its input ends. DELAY is in
milliseconds and LOSS in percent, for each direction. The kernel can do the same (``tc netem``), but the kernels of many
virtual machines and containers lack that module, and every one has TUN. Lost packets are the same in each run.
"""

from __future__ import annotations

import collections
import fcntl
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_PACKET = 65536


def create(name: str) -> int:
    """Create a TUN interface and return its descriptor, which stays valid when the interface changes its namespace."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return descriptor


class Direction:
    """Packets on their way from one interface to the other. All have the same delay, so the oldest one is due first."""

    def __init__(self, source: int, target: int, delay: float, loss: float) -> None:
        self.source = source
        self._target, self._delay, self._loss = target, delay, loss
        self._waiting: collections.deque[tuple[float, bytes]] = collections.deque()
        self._chance = random.Random(1)  # noqa: S311  (the same losses in each run)

    def receive(self) -> None:
        """Take every packet that the interface has."""
        while True:
            try:
                packet = os.read(self.source, _PACKET)
            except BlockingIOError:
                return
            if self._chance.random() >= self._loss:
                self._waiting.append((time.monotonic() + self._delay, packet))

    def send_due(self) -> float | None:
        """Pass on what is due. Return the seconds until the next packet is due, or None."""
        while self._waiting:
            left = self._waiting[0][0] - time.monotonic()
            if left > 0:
                return left
            packet = self._waiting.popleft()[1]
            try:
                os.write(self._target, packet)
            except OSError:
                continue  # the queue of the interface is full, or it is down: the packet is lost, as on a real link
        return None


def main() -> None:
    near_name, far_name, namespace, delay, loss = sys.argv[1:]
    # This is the first process of its process namespace. The kernel removes the children that it inherits.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    near, far = create(near_name), create(far_name)
    move = ["ip", "link", "set", far_name, "netns", namespace]
    # The exit code is lost, because the kernel removes the process. The interface is used next, which fails without it.
    subprocess.Popen(move).wait()
    print("created", flush=True)
    one_way = float(delay) / 1000, float(loss) / 100
    directions = {near: Direction(near, far, *one_way), far: Direction(far, near, *one_way)}
    while True:
        due = [left for direction in directions.values() if (left := direction.send_due()) is not None]
        readable = select.select([*directions, 0], [], [], min(due, default=None))[0]
        if 0 in readable:
            return  # the test has ended, even if it was killed
        for source in readable:
            directions[source].receive()


if __name__ == "__main__":
    main()
