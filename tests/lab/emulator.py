# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Emulators (QEMU): the process that starts one again after each reboot, and the wait for the sshd in it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import process_end

EMULATOR = "qemu-system-x86_64"
TOOLS = (EMULATOR, "setpriv", "ssh")
"""The programs that every virtual machine needs."""
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
"""A prefix of a command that ends together with the process that started it."""
_BOOT_SECONDS = 600
_ANSWER_SECONDS = 20
# With working hardware virtualisation, the kernel writes to the console within two seconds.
_KVM_SECONDS = 6


def processor(accelerator: str, emulated: str = "max") -> tuple[str, ...]:
    """Return the options that select the accelerator and the processor, which is `emulated` without a real one."""
    return ("-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else emulated)


def console_of(folder: Path) -> tuple[str, ...]:
    """Return the options that write the console of the machine to ``console.log`` in a folder."""
    device = f"file,id=console,path={folder}/console.log,append=on"
    return ("-display", "none", "-chardev", device, "-serial", "chardev:console")


def boot(command: Callable[[str], list[str]], folder: Path, port: int) -> tuple[subprocess.Popen[bytes], str]:
    """Start a machine, with hardware virtualisation if that works, and wait until its sshd answers on a port.

    `command` returns the command for an accelerator, which writes the console to ``console.log`` in `folder`. Return
    the process and the accelerator. Raises `RuntimeError` with the last output of a machine that does not start.
    """
    console = folder / "console.log"
    for accelerator in ("kvm", "tcg"):
        if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            continue
        console.unlink(missing_ok=True)
        process = start(command(accelerator), folder)
        try:
            if _wait(process, console, port, _KVM_SECONDS if accelerator == "kvm" else _BOOT_SECONDS):
                return process, accelerator
        except BaseException:
            end(process)
            raise
        end(process)
    raise RuntimeError(f"the virtual machine did not start. Its last output:\n{logs(folder)}")


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a new process group. Its errors are in ``emulator.log`` in a folder."""
    with (folder / "emulator.log").open("wb") as errors:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )


def _wait(process: subprocess.Popen[bytes], console: Path, port: int, silent_seconds: float) -> bool:
    """Wait for sshd. Return False if the process ends, or if it writes nothing to the console within a time."""
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < _BOOT_SECONDS:
        silent = not console.exists() or console.stat().st_size == 0
        if silent and time.monotonic() - started > silent_seconds:
            break
        if not silent and answers(port):
            return True
        time.sleep(0.2)
    return False


def answers(port: int) -> bool:
    """Return True if an sshd answers on a port of this machine's loopback."""
    # The timeout is long: each attempt costs the machine a process, and a busy machine needs seconds to answer.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS) as peer:
        return peer.recv(4) == b"SSH-"
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the emulator and the process that restarts it, and wait until both have released their files."""
    # The emulator needs time to return its memory before it unlocks its disk.
    process_end.kill(list(_group(process.pid)))
    process.wait()


def _group(leader: int) -> Iterator[int]:
    """Return the processes of a group."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, ProcessLookupError):
            if os.getpgid(int(folder.name)) == leader:
                yield int(folder.name)


def logs(folder: Path) -> str:
    """Return the last output of a machine and of its emulator."""
    return "".join(
        path.read_text(encoding="utf-8", errors="replace")[-2000:]
        for path in (folder / "emulator.log", folder / "console.log")
        if path.exists()
    )


def free_port() -> int:
    """Return a free port of this machine's loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
