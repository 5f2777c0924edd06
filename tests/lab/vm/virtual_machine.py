# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The machine while it runs: an emulator with a copy of the disk that outlasts every reboot."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ..live_patches import signing
from .debian_packages import Kernel, UnavailableError
from .image import Image, built_image

NAME = "patched"
"""The machine in its inventory."""
POLICY = Path(__file__).parent / "policy.yml"
"""A policy that admits the machine."""
_EMULATOR = "qemu-system-x86_64"
_TOOLS = (_EMULATOR, "busybox", "setpriv", "ssh")
_MEMORY_MB = 768
_SERVER_ADDRESS = "10.0.2.100"
_BOOT_SECONDS = 600
_GREETING_SECONDS = 20
# With working hardware virtualisation the kernel speaks within two seconds; where it does not work, never.
_KVM_SECONDS = 6

# Puts the kernel and the client back to where they were after the start: unpatched, and not enabled.
_RESET = """\
echo wake >/proc/lab_sleep
for patch in /sys/kernel/livepatch/*; do
    if [ -d "$patch" ]; then echo 0 >"$patch/enabled"; fi
done
tries=0
while [ -n "$(ls /sys/kernel/livepatch)" ] && [ $tries -lt 60 ]; do
    sleep 0.5
    tries=$((tries + 1))
done
for module in /sys/module/lkp_*; do
    if [ -d "$module" ]; then rmmod "${module##*/}"; fi
done
/snap/bin/canonical-livepatch disable >/dev/null
rm -rf /var/snap/canonical-livepatch/common /var/lib/livepatch-lab
mkdir -p /var/snap/canonical-livepatch/common
: >/run/livepatch-lab/commands
[ -z "$(ls /sys/kernel/livepatch)" ]
"""


@dataclasses.dataclass(frozen=True)
class VirtualMachine:
    """A machine that runs. `port`: of its sshd, on loopback. `server`: what its client asks, as it knows it."""

    image: Image
    folder: Path
    port: int
    server: str | None

    @property
    def variables(self) -> dict[str, t.Any]:
        """Variables of an inventory with which Ansible logs in as root."""
        sockets = f"-o ControlMaster=auto -o ControlPersist=600 -o ControlPath={self.folder}/ansible-%r"
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.image.login_key),
            "ansible_ssh_args": sockets,
            "ansible_ssh_common_args": " ".join(self._options),
            "ansible_ssh_timeout": 60,
            "ansible_python_interpreter": "/nonexistent/python",
        }

    @property
    def inventory(self) -> Path:
        """The inventory of this machine alone."""
        return self.folder / "inventory.json"

    @property
    def _options(self) -> list[str]:
        known = f"UserKnownHostsFile={self.folder}/known_hosts"
        return ["-F", "none", "-o", known, "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"]

    def run(self, line: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a line as root, by the machine's own `sh`."""
        return subprocess.run(
            [*self._login, "/bin/sh -c " + shlex.quote(line)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def read(self, line: str, timeout: float = 300) -> str:
        """What a line that must succeed prints, without the end of its last line."""
        ended = self.run(line, timeout)
        if ended.returncode != 0:
            raise RuntimeError(f"{line!r} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
        return ended.stdout.rstrip("\n")

    def write(self, path: str, content: bytes) -> None:
        """Write a file in the machine."""
        line = f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat >{shlex.quote(path)}"
        subprocess.run([*self._login, line], input=content, capture_output=True, timeout=300, check=True)

    @property
    def login(self) -> str:
        """A command line that logs in as root."""
        return shlex.join(self._login)

    @property
    def _login(self) -> list[str]:
        control = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", f"ControlPath={self.folder}/own"]
        key = ["-i", str(self.image.login_key), "-p", str(self.port), "-o", "ConnectTimeout=60"]
        return ["ssh", *self._options, *control, *key, "root@127.0.0.1"]

    @property
    def kernel(self) -> Kernel:
        """The kernel that runs now."""
        release = self.read("uname -r")
        (kernel,) = (each for each in self.image.kernels if each.release == release)
        return kernel

    def insert(self, version: str, signer: str = "lab", wait: int = 30) -> None:
        """Insert a patch into the kernel without the client, and wait so many seconds until every task uses it."""
        patch = self.image.patch(self.kernel, version, signer)
        there, transition = f"/root/{patch.name}", f"/sys/kernel/livepatch/{patch.stem}/transition"
        self.write(there, patch.read_bytes())
        self.read(f"insmod {there} && rm {there}")
        self.read(f"timeout {wait} sh -c 'while [ $(cat {transition}) = 1 ]; do sleep 0.2; done'")

    def archive(self, version: str, signer: str = "lab", kernel: Kernel | None = None) -> tuple[str, bytes]:
        """Name and content of the archive of a patch, by default for the running kernel, as the service has it."""
        kernel = kernel or self.kernel
        patch = self.image.patch(kernel, version, signer)
        meta = f"kernel: {kernel.full}\nversion: {version}\n".encode()
        packed = signing.archive({"meta": meta, patch.name: patch.read_bytes()})
        return f"livepatch-{kernel.full}-{version}-amd64.tar.bz2", packed

    def commands(self) -> list[str]:
        """Every call of a double since the last start or reset, a line each."""
        return self.read("cat /run/livepatch-lab/commands").splitlines()

    def reset(self) -> None:
        """Put the machine back to unpatched and not enabled. Its taints stay, for they only go with a reboot."""
        self.read(_RESET)


@contextlib.contextmanager
def running_machine(server: str | None = None, certificate: Path | None = None) -> Iterator[VirtualMachine]:
    """Start the machine, and end it. Raises `UnavailableError`.

    `server` is the address of a server double on this machine's loopback, and `certificate` whom to trust for it: the
    one thing outside that the machine can reach, under the same name and port.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    image = built_image()
    # Not pytest's own folder: the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="vm-"))
    machine = VirtualMachine(image, folder, _free_port(), server)
    try:
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{machine.port} {image.host_key}", encoding="utf-8")
        inventory = {"all": {"hosts": {NAME: machine.variables}}}
        machine.inventory.write_text(json.dumps(inventory), encoding="utf-8")
        subprocess.run(
            ["cp", "--sparse=always", "--reflink=auto", str(image.disk), str(folder / "disk.img")], check=True
        )
        process = _start(machine)
        try:
            if certificate is not None:
                machine.write("/etc/ssl/certs/ca-certificates.crt", certificate.read_bytes())
            yield machine
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(machine: VirtualMachine) -> subprocess.Popen[bytes]:
    """Start the emulator and wait until sshd answers: with hardware virtualisation where that works."""
    console = machine.folder / "console.log"
    for accelerator in ("kvm", "tcg"):
        if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            continue
        console.unlink(missing_ok=True)
        process = subprocess.Popen(
            _emulator(machine, accelerator),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(machine.folder / "emulator.log").open("wb"),
            start_new_session=True,
        )
        try:
            started = time.monotonic()
            while process.poll() is None and time.monotonic() - started < _BOOT_SECONDS:
                silent = not console.exists() or console.stat().st_size == 0
                if silent and accelerator == "kvm" and time.monotonic() - started > _KVM_SECONDS:
                    break
                if not silent and _answers(machine.port):
                    return process
                time.sleep(0.2)
        except BaseException:
            _end(process)
            raise
        _end(process)
    said = "".join(
        path.read_text(encoding="utf-8", errors="replace")[-2000:]
        for path in (machine.folder / "emulator.log", console)
        if path.exists()
    )
    raise RuntimeError(f"the virtual machine did not start. What it said last:\n{said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the emulator and what starts it again."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _emulator(machine: VirtualMachine, accelerator: str) -> list[str]:
    """The command that emulates the machine, and does so again after each reboot.

    A reboot within one emulator can take minutes: where it has translated code, every byte that the boot loader writes
    costs it a search. Both processes end when the one that started them does.
    """
    network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{machine.port}-:22"
    if machine.server is not None:
        port = machine.server.rpartition(":")[2].strip("/")
        network += f",guestfwd=tcp:{_SERVER_ADDRESS}:{port}-cmd:busybox nc 127.0.0.1 {port}"
    mortal = ("setpriv", "--pdeathsig", "KILL", "--")
    return [
        *(*mortal, "sh", "-c", 'while "$@"; do :; done', "sh", *mortal),
        *(_EMULATOR, "-no-reboot", "-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max"),
        *("-m", str(_MEMORY_MB), "-display", "none", "-monitor", "none"),
        *("-chardev", f"file,id=console,path={machine.folder}/console.log,append=on", "-serial", "chardev:console"),
        *("-drive", f"file={machine.folder}/disk.img,format=raw,if=virtio,cache=unsafe"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=net"),
    ]


def _answers(port: int) -> bool:
    # Patience: each attempt costs the machine a process, and a busy one may need seconds to greet.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_GREETING_SECONDS) as peer:
        return peer.recv(4) == b"SSH-"
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
