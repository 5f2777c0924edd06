# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine: an emulator with a copy of the disk, which persists over reboots."""

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
"""The name of the machine in its inventory."""
POLICY = Path(__file__).parent / "policy.yml"
"""A policy that supports the machine."""
_EMULATOR = "qemu-system-x86_64"
_TOOLS = (_EMULATOR, "busybox", "setpriv", "ssh")
_MEMORY_MB = 768
_SERVER_ADDRESS = "10.0.2.100"
_BOOT_SECONDS = 600
_ANSWER_SECONDS = 20
# With working hardware virtualisation, the kernel writes to the console within two seconds.
_KVM_SECONDS = 6

# Resets the kernel and the client to their state after the start: unpatched and not enabled.
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
    """A running machine. `port`: the port of its sshd on loopback. `server`: the address of the server double."""

    image: Image
    folder: Path
    port: int
    server: str | None

    @property
    def variables(self) -> dict[str, t.Any]:
        """Return inventory variables with which Ansible logs in as root."""
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
        """Return the inventory with this machine only."""
        return self.folder / "inventory.json"

    @property
    def _options(self) -> list[str]:
        known = f"UserKnownHostsFile={self.folder}/known_hosts"
        return ["-F", "none", "-o", known, "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"]

    def run(self, line: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command line as root, with the machine's `sh`."""
        return subprocess.run(
            [*self._login, "/bin/sh -c " + shlex.quote(line)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def read(self, line: str, timeout: float = 300) -> str:
        """Run a command line that must succeed, and return its output without the last newline."""
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
        """Return a command line that logs in as root."""
        return shlex.join(self._login)

    @property
    def _login(self) -> list[str]:
        control = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", f"ControlPath={self.folder}/own"]
        key = ["-i", str(self.image.login_key), "-p", str(self.port), "-o", "ConnectTimeout=60"]
        return ["ssh", *self._options, *control, *key, "root@127.0.0.1"]

    @property
    def kernel(self) -> Kernel:
        """Return the running kernel."""
        release = self.read("uname -r")
        (kernel,) = (each for each in self.image.kernels if each.release == release)
        return kernel

    def insert(self, version: str, signer: str = "lab", wait: int = 30) -> None:
        """Insert a patch without the client, and wait at most `wait` seconds for the end of its transition."""
        patch = self.image.patch(self.kernel, version, signer)
        target, transition = f"/root/{patch.name}", f"/sys/kernel/livepatch/{patch.stem}/transition"
        self.write(target, patch.read_bytes())
        self.read(f"insmod {target} && rm {target}")
        self.read(f"timeout {wait} sh -c 'while [ $(cat {transition}) = 1 ]; do sleep 0.2; done'")

    def archive(self, version: str, signer: str = "lab", kernel: Kernel | None = None) -> tuple[str, bytes]:
        """Return name and content of a patch archive, by default for the running kernel."""
        kernel = kernel or self.kernel
        patch = self.image.patch(kernel, version, signer)
        meta = f"kernel: {kernel.full}\nversion: {version}\n".encode()
        packed = signing.archive({"meta": meta, patch.name: patch.read_bytes()})
        return f"livepatch-{kernel.full}-{version}-amd64.tar.bz2", packed

    def commands(self) -> list[str]:
        """Return every call of a double since the last start or reset, one per line."""
        return self.read("cat /run/livepatch-lab/commands").splitlines()

    def reset(self) -> None:
        """Reset the machine to unpatched and not enabled. The taint flags stay until a reboot."""
        self.read(_RESET)


@contextlib.contextmanager
def running_machine(server: str | None = None, certificate: Path | None = None) -> Iterator[VirtualMachine]:
    """Start the machine, and stop it at the end of the context. Raises `UnavailableError`.

    `server` is the address of a server double on this machine's loopback, and `certificate` its trusted authority. The
    virtual machine can reach it under the same name and port, and nothing else outside.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    image = built_image()
    # The path of a socket must be short, so this is not a folder of pytest.
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
    """Start the emulator, with hardware virtualisation if that works, and wait until sshd answers."""
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
    logs = "".join(
        path.read_text(encoding="utf-8", errors="replace")[-2000:]
        for path in (machine.folder / "emulator.log", console)
        if path.exists()
    )
    raise RuntimeError(f"the virtual machine did not start. Its last output:\n{logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the emulator and the process that restarts it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _emulator(machine: VirtualMachine, accelerator: str) -> list[str]:
    """Return the command that runs the emulator, and runs it again after each reboot.

    A reboot within one emulator can take minutes, because every byte that the boot loader writes over translated code
    costs a search. Both processes exit together with the process that started them.
    """
    network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{machine.port}-:22"
    if machine.server is not None:
        port = machine.server.rpartition(":")[2].strip("/")
        network += f",guestfwd=tcp:{_SERVER_ADDRESS}:{port}-cmd:busybox nc 127.0.0.1 {port}"
    with_parent = ("setpriv", "--pdeathsig", "KILL", "--")
    return [
        *(*with_parent, "sh", "-c", 'while "$@"; do :; done', "sh", *with_parent),
        *(_EMULATOR, "-no-reboot", "-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max"),
        *("-m", str(_MEMORY_MB), "-display", "none", "-monitor", "none"),
        *("-chardev", f"file,id=console,path={machine.folder}/console.log,append=on", "-serial", "chardev:console"),
        *("-drive", f"file={machine.folder}/disk.img,format=raw,if=virtio,cache=unsafe"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=net"),
    ]


def _answers(port: int) -> bool:
    # The timeout is long: each attempt costs the machine a process, and a busy machine needs seconds to answer.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS) as peer:
        return peer.recv(4) == b"SSH-"
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
