# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A disk that a BIOS starts: GRUB, followed by one partition with a file system. Nothing is mounted or installed."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

GRUB = Path("/usr/lib/grub/i386-pc")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PARTITION_START = 1 << 20
_SECTOR = 512
_LINUX_PARTITION = 0x83
_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "linux", "loadenv", "test", "echo", "reboot")


def fill_partition(disk: Path, root: Path, size: int) -> list[str]:
    """Return the command that creates a disk of `size` bytes, whose partition has the files of a folder."""
    kilobytes = (size - PARTITION_START) // 1024
    options = ("-E", f"offset={PARTITION_START},lazy_itable_init=0", "-m", "0")
    return ["mke2fs", "-q", "-t", "ext4", "-d", str(root), *options, str(disk), f"{kilobytes}k"]


def write_boot_loader(disk: Path, work: Path, size: int) -> None:
    """Write GRUB to a disk. It reads ``/boot/grub/grub.cfg`` of the partition."""
    core = work / "core.img"
    command = ["grub-mkimage", "--format=i386-pc", "--prefix=(hd0,msdos1)/boot/grub", f"--output={core}", *_MODULES]
    subprocess.run(command, check=True, env={**os.environ, "PATH": SYSTEM_PATH})
    with disk.open("r+b") as file:
        file.write(_boot_sector(size))
        file.write(core.read_bytes())


def _boot_sector(size: int) -> bytes:
    """Return GRUB's first sector, which loads the following ones, with the partition table.

    Source: GRUB's ``grub-core/boot/i386/pc/boot.S``.
    """
    start, sectors = PARTITION_START // _SECTOR, (size - PARTITION_START) // _SECTOR
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", _LINUX_PARTITION, b"\xfe\xff\xff", start, sectors)
    return (GRUB / "boot.img").read_bytes()[:446] + entry + bytes(48) + b"\x55\xaa"
