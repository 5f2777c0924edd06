# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The judgement of a real kernel on modules: one start of an emulator for any number of files.

The kernel is that of a Debian package. Only the certificate of the key of its build is replaced, by one of the same
size for a key of the lab, which so becomes the key that the kernel trusts. Certificates that this key has signed are
added to the keyring of secondary trusted keys. The machine has no disk and no network.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
import signal
import struct
import subprocess
import typing as t
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..live_patches.signature_variants import ACCEPTED, REFUSED, UNSIGNED, Judgement
from ..live_patches.signing import Signer
from ..vm.debian_packages import UnavailableError
from .debian_kernel import DebianKernel, find_certificate

MODULE = "crc-itu-t"
"""A small module without dependencies, which can be unloaded."""
_HELPERS = ("sha512_generic",)
"""Modules with algorithms that a kernel may not contain itself."""
_EMULATOR = "qemu-system-x86_64"
_SECONDS = 600
_MEMORY_MB = 768
_ARGUMENTS = "console=ttyS0 panic=-1 rdinit=/init quiet loglevel=1 nokaslr mitigations=off random.trust_cpu=on"
_PADDING_OID = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1")  # an arc for examples: RFC 5612


@dataclasses.dataclass(frozen=True)
class Ruling:
    """The result of the kernel for one module: an error number or 0, the taint flags of the module, its log."""

    error: int
    taint: str
    log: str

    @property
    def judgement(self) -> Judgement:
        if self.error:
            return REFUSED
        return UNSIGNED if "E" in self.taint else ACCEPTED


def judge(
    kernel: DebianKernel, root: Signer, trusted: Sequence[Signer], content: bytes, files: Sequence[bytes], folder: Path
) -> list[Ruling]:
    """Start the kernel, which trusts `root` and the certificates by it, and return its ruling on each file.

    `content` is the module, from which most files differ only at the end. `folder` is for files of this run. Raises
    `UnavailableError`, and `RuntimeError` with the last output of a machine that did not judge all files.
    """
    missing = [tool for tool in (_EMULATOR, "gcc") if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"this machine lacks {', '.join(missing)}")
    nonce = secrets.token_hex(16)
    (folder / "vmlinux").write_bytes(_trusting(kernel.unpack_image(), root))
    helpers = [module for name in _HELPERS if (module := kernel.module(name)) is not None]
    entries = {
        "nonce": nonce.encode(),
        "name": MODULE.replace("-", "_").encode(),
        "content": content,
        "variants": b"".join(_record(content, file) for file in files),
        **{f"helper-{number}": module for number, module in enumerate(helpers)},
        **{f"key-{number}": signer.der for number, signer in enumerate(trusted)},
    }
    (folder / "initrd").write_bytes(_initramfs(_compile_init(folder), entries))
    output = _run(folder)
    return read_rulings(output, nonce, len(files))


def _trusting(image: bytes, root: Signer) -> bytes:
    """Return the kernel with the certificate of a signer in place of that of the key of its build."""
    start, _certificate, der = find_certificate(image)
    replaced = _certificate_of_size(root, len(der))
    return image[:start] + replaced + image[start + len(der) :]


def _certificate_of_size(root: Signer, size: int) -> bytes:
    """Return a certificate of a signer, with an extension that nothing evaluates and that makes it as large."""
    original = root.certificate
    for padding in range(size):
        builder = (
            x509.CertificateBuilder()
            .subject_name(original.subject)
            .issuer_name(original.issuer)
            .public_key(root.key.public_key())
            .serial_number(original.serial_number)
            .not_valid_before(original.not_valid_before_utc)
            .not_valid_after(original.not_valid_after_utc)
            .add_extension(x509.SubjectKeyIdentifier(root.key_id), critical=False)
            .add_extension(x509.UnrecognizedExtension(_PADDING_OID, bytes(padding)), critical=False)
        )
        made = Signer(root.key, builder.sign(root.key, hashes.SHA256()))
        if len(made.der) >= size:
            break
    if len(made.der) != size:
        raise UnavailableError(f"no certificate of the lab has the {size} bytes of that in the kernel")
    return made.der


def _record(content: bytes, file: bytes) -> bytes:
    """Return a file as init.c reads it: the length of what it shares with the content, and the rest."""
    pairs = zip(content, file, strict=False)
    shared = next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(content), len(file)))
    return struct.pack("=II", shared, len(file) - shared) + file[shared:]


def _compile_init(folder: Path) -> bytes:
    source, program = Path(__file__).with_name("init.c"), folder / "init"
    command = ["gcc", "-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise UnavailableError(f"the first program of the machine does not compile: {ended.stderr[-500:]}")
    return program.read_bytes()


def _initramfs(init: bytes, entries: dict[str, bytes]) -> bytes:
    """Return a cpio archive. Source: kernel ``Documentation/driver-api/early-userspace/buffer-format.rst``."""
    archive = bytearray()
    files = [("proc", b"", 0o040755), ("sys", b"", 0o040755), ("init", init, 0o100755)]
    files += [(name, content, 0o100644) for name, content in entries.items()]
    for number, (name, content, mode) in enumerate([*files, ("TRAILER!!!", b"", 0)], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def _run(folder: Path) -> str:
    """Run the machine until it switches itself off, and return what it has written to its console."""
    console = folder / "console"
    command = [
        *(_EMULATOR, "-no-reboot", "-accel", "tcg", "-cpu", "max", "-m", str(_MEMORY_MB)),
        *("-nodefaults", "-display", "none", "-serial", f"file:{console}"),
        *("-kernel", str(folder / "vmlinux"), "-initrd", str(folder / "initrd"), "-append", _ARGUMENTS),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _output, errors = process.communicate(timeout=_SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise RuntimeError(f"the emulator failed: {errors.decode(errors='replace')[-1000:]}")
    return console.read_text(encoding="ascii", errors="replace")


def read_rulings(output: str, nonce: str, count: int) -> list[Ruling]:
    """Read what the machine has written to its console. Raises `RuntimeError` if it did not judge all files."""
    lines = [line.removeprefix(f"{nonce} ") for line in output.splitlines() if line.startswith(f"{nonce} ")]
    rulings: list[Ruling] = []
    for line in lines[:-1]:
        found: t.Any = re.fullmatch(r"([0-9]+) ([0-9]+) \[([A-Z-]*)\] (.*)", line)
        if found is None or int(found[1]) != len(rulings):
            break
        rulings.append(Ruling(int(found[2]), found[3], found[4].strip()))
    if len(rulings) != count or lines[-1:] != [f"end {count}"]:
        raise RuntimeError(f"the machine judged {len(rulings)} of {count} modules. Its last output:\n{output[-2000:]}")
    return rulings
