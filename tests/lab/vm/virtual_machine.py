# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The running machine: an emulator with a copy of the disk, which persists over reboots."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import emulator
from ..live_patches import signing
from ..ssh_machine import SshMachine
from .debian_packages import Kernel, UnavailableError
from .image import Image, built_image

NAME = "patched"
"""The name of the machine in its inventory."""
POLICY = Path(__file__).parent / "policy.yml"
"""A policy that supports the machine."""
_TOOLS = (*emulator.TOOLS, "busybox")
_MEMORY_MB = 768
_SERVER_ADDRESS = "10.0.2.100"

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
class VirtualMachine(SshMachine):
    """A running machine. `server`: the address of the server double."""

    image: Image
    server: str | None

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
    machine = VirtualMachine(NAME, image.folder, folder, emulator.free_port(), image, server)
    try:
        machine.write_files()
        subprocess.run(
            ["cp", "--sparse=always", "--reflink=auto", str(image.disk), str(folder / "disk.img")], check=True
        )
        process, _accelerator = emulator.boot(functools.partial(_command, machine), folder, machine.port)
        try:
            if certificate is not None:
                machine.write("/etc/ssl/certs/ca-certificates.crt", certificate.read_bytes())
            yield machine
        finally:
            emulator.end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(machine: VirtualMachine, accelerator: str) -> list[str]:
    """Return the command that runs the emulator, and runs it again after each reboot.

    A reboot within one emulator can take minutes, because every byte that the boot loader writes over translated code
    costs a search. Both processes exit together with the process that started them.
    """
    network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{machine.port}-:22"
    if machine.server is not None:
        port = machine.server.rpartition(":")[2].strip("/")
        network += f",guestfwd=tcp:{_SERVER_ADDRESS}:{port}-cmd:busybox nc 127.0.0.1 {port}"
    return [
        *(*emulator.WITH_PARENT, "sh", "-c", 'while "$@"; do :; done', "sh", *emulator.WITH_PARENT),
        *(emulator.EMULATOR, "-no-reboot", *emulator.processor(accelerator)),
        *("-m", str(_MEMORY_MB), "-monitor", "none", *emulator.console_of(machine.folder)),
        *("-drive", f"file={machine.folder}/disk.img,format=raw,if=virtio,cache=unsafe"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=net"),
    ]
