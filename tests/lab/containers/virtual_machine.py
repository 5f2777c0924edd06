# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine: an emulator that continues from a saved state, in which all daemons and containers run.

The state is that of the emulator with its memory (`migrate`), and belongs to a disk. Both are cached, and neither
changes: each machine has a disk of its own that contains only the changes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .. import debian_root, emulator, ssh_machine
from ..debian_root import cached_folder
from ..ssh_machine import SshMachine
from ..vm import debian_packages
from ..vm.debian_packages import UnavailableError
from . import image

NAME = "containers"
"""The name of the machine in its inventory."""
CACHE = Path(__file__).parents[3] / ".build" / "containers"
_MEMORY_MB = 2048
_PROCESSORS = 2
_PROCESSOR = "Nehalem"
"""An emulator needs a tenth less time without newer instructions."""
_ARGUMENTS = (
    "console=ttyS0 quiet mitigations=off random.trust_cpu=on net.ifnames=0 apparmor=0 audit=0 nowatchdog "
    "rcupdate.rcu_expedited=1 systemd.show_status=0"
)
# The emulator exits at each reboot.
_RESTART = """\
state=$1
shift
if [ -n "$state" ]; then
    "$@" -incoming "exec:cat '$state'" || exit
fi
while "$@"; do :; done
"""
_PREPARE_SECONDS = 900
_SAVE_SECONDS = 300


@contextlib.contextmanager
def running_machine() -> Iterator[SshMachine]:
    """Start the machine from its saved state, and stop it at the end of the context. Raises `UnavailableError`."""
    saved = saved_machine()
    with _folder() as folder:
        machine = SshMachine(NAME, saved, folder, emulator.free_port())
        machine.write_files()
        _make_disk(saved / "changes.qcow2", folder)
        accelerator = (saved / "accelerator").read_text(encoding="ascii")
        process = emulator.start(_command(machine, accelerator, saved / "state"), folder)
        try:
            _wait_until_up(process, machine)
            # The saved clock is that of the time of the build.
            machine.read(f"date -s @{time.time():.0f}")
            yield machine
        finally:
            emulator.end(process)


def saved_machine() -> Path:
    """Return the folder with the disk and the state; build them if they are new. Raises `UnavailableError`."""
    missing = [tool for tool in (*emulator.TOOLS, *image.TOOLS) if shutil.which(tool, path=image.PATH) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    return cached_folder(CACHE, _recipe(), _build)


def _recipe() -> str:
    """Return a digest of everything that the disk and the state are made from."""
    version = subprocess.run([emulator.EMULATOR, "--version"], capture_output=True, check=True).stdout
    # A state that was saved with hardware virtualisation belongs to this kind of processor.
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="ascii"), re.MULTILINE)
    digest = hashlib.sha256(version + repr((kvm, models[:1])).encode())
    folders = (Path(__file__).parent.glob("*.py"), image.GUEST.iterdir(), image.TINY.iterdir(), image.SNAPS.iterdir())
    modules = [Path(str(module.__file__)) for module in (debian_root, emulator, ssh_machine, debian_packages)]
    for path in sorted([*modules, *(path for folder in folders for path in folder)]):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _build(target: Path) -> None:
    """Build the disk, boot it, start the daemons and containers, and save disk and state."""
    image.build_disk(target)
    with _folder() as folder:
        machine = SshMachine(NAME, target, folder, emulator.free_port())
        machine.write_files()
        _make_disk(target / "disk.img", folder)
        process, accelerator = emulator.boot(functools.partial(_command, machine), folder, machine.port)
        try:
            machine.read("sh -x /usr/lib/livepatch-lab/prepare", timeout=_PREPARE_SECONDS)
            _end_login(machine)
            _save(folder / "monitor", target / "state")
        finally:
            emulator.end(process)
        # The path of the disk below is relative to this one, so that the folder can be renamed.
        rebase = ["qemu-img", "rebase", "-u", "-F", "raw", "-b", "disk.img", str(folder / "disk.qcow2")]
        subprocess.run(rebase, check=True, capture_output=True)
        shutil.move(folder / "disk.qcow2", target / "changes.qcow2")
        (target / "accelerator").write_text(accelerator, encoding="ascii")


def _end_login(machine: SshMachine) -> None:
    """End the connection, which the saved machine would wait for."""
    subprocess.run(["ssh", "-F", "none", "-o", f"ControlPath={machine.folder}/own", "-O", "exit", "x"], check=False)


def _make_disk(below: Path, folder: Path) -> None:
    """Create a disk that contains the changes to another one."""
    form = "raw" if below.suffix == ".img" else "qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(below), str(folder / "disk.qcow2")]
    subprocess.run(command, check=True)


def _command(machine: SshMachine, accelerator: str, state: Path | None = None) -> list[str]:
    """Return the command that runs the emulator, from a saved state if there is one, and again after each reboot."""
    network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{machine.port}-:22"
    return [
        *(*emulator.WITH_PARENT, "sh", "-c", _RESTART, "sh", str(state or ""), *emulator.WITH_PARENT),
        *(emulator.EMULATOR, "-no-reboot", "-nodefaults", *emulator.processor(accelerator, _PROCESSOR)),
        *("-smp", str(_PROCESSORS), "-m", str(_MEMORY_MB), *emulator.console_of(machine.folder)),
        *("-monitor", f"unix:{machine.folder}/monitor,server,nowait"),
        *("-kernel", str(machine.keys / "vmlinuz"), "-initrd", str(machine.keys / "initrd.img")),
        *("-append", _ARGUMENTS),
        *("-drive", f"file={machine.folder}/disk.qcow2,format=qcow2,if=virtio,cache=unsafe"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
    ]


def _wait_until_up(process: subprocess.Popen[bytes], machine: SshMachine) -> None:
    deadline = time.monotonic() + _SAVE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if emulator.answers(machine.port):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the virtual machine did not continue. Its last output:\n{emulator.logs(machine.folder)}")


def _save(monitor: Path, state: Path) -> None:
    """Write the state of the machine to a file, at once: it may stand still for as long as this takes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(monitor))
        connection.settimeout(_SAVE_SECONDS)
        _read_prompt(connection)
        for command in (
            "migrate_set_parameter downtime-limit 2000000",
            "migrate_set_parameter max-bandwidth 100G",
            f"migrate exec:cat>'{state}'",
            "info migrate",
        ):
            connection.sendall(f"{command}\n".encode())
            answer = _read_prompt(connection)
    if "completed" not in answer:
        raise RuntimeError(f"the state of the virtual machine was not saved: {answer}")


def _read_prompt(connection: socket.socket) -> str:
    """Return the answer of the monitor."""
    answer = b""
    while not answer.endswith(b"(qemu) "):
        part = connection.recv(65536)
        if not part:
            break
        answer += part
    return answer.decode(errors="replace")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Return a folder for the files of one machine. The path of a socket must be short."""
    folder = Path(tempfile.mkdtemp(prefix="vm-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
