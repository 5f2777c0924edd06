# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Examine the file of a patch, a module or an archive: its signature, its kernel and its version."""

from __future__ import annotations

import dataclasses
import datetime as dt

from .._tar import is_compressed
from .archive import ArchiveName, parse_archive_name, unpack_module
from .file_verdict import FileVerdict, PatchFileError
from .module import ModuleFacts, read_module
from .public_key import HashName
from .signature import SignatureResult, digest, read_signature, split_module, verify
from .trust import TrustAnchors

_COMPRESSED_MODULE = (".ko.bz2", ".ko.gz", ".ko.xz", ".ko.zst")

FILE_LIMIT = 64 << 20
"""Bytes of a file that is examined: a module, or a compressed archive."""

_MACHINES = {"amd64": 62, "arm64": 183, "armhf": 40, "i386": 3, "ppc64el": 21, "riscv64": 243, "s390x": 22}
"""Numbers in ELF of Ubuntu's architectures. Source: elf.h, ``EM_…``."""


@dataclasses.dataclass(frozen=True, slots=True)
class PatchFile:
    """The result of an examination. Unknown values are ``None``.

    `signer`, `key_id` (SHA-1 of the public key, in hex) and `certificate_expired` are those of the trusted certificate
    that the signature names. `kernel` is the full name where it is known, else the release; `version` the version of
    the patch by the name of the archive, or its major number by the module. All other facts are proven only if the file
    is ``valid``.
    """

    verdict: FileVerdict
    reason: str
    signer: str | None = None
    key_id: str | None = None
    certificate_expired: bool | None = None
    hash_algorithm: HashName | None = None
    build_id: str | None = None
    srcversion: str | None = None
    vermagic: str | None = None
    kernel: str | None = None
    version: str | None = None

    @property
    def valid(self) -> bool:
        """Return True if the file has no fault."""
        return self.verdict == "valid"


def examine(data: bytes, name: str, anchors: TrustAnchors, *, now: dt.datetime, kernel: str | None) -> PatchFile:
    """Examine the content of a file. `name` is that of the file, without folders; `now` is aware.

    The patch must be for `kernel` (a full name or a release), if one is given, and for the kernel and of the version in
    the name of its archive. The module of such an archive must be a live patch, and for the architecture in that name.
    The first fault decides: of the archive, the signature, the module, its kernel and its identity.
    """
    archive = None
    module = data
    if name.endswith(_COMPRESSED_MODULE):
        return PatchFile("malformed", "the module is compressed, and the kernel loads such a file only after unpacking")
    if is_compressed(data):
        archive = parse_archive_name(name)
        try:
            module = unpack_module(data)
        except PatchFileError as fault:
            return PatchFile(fault.verdict, fault.reason)
    facts, damage = _read(module)
    verification = _verify(module, anchors)
    verdict, reason = verification.verdict, verification.reason
    if verdict == "unsigned" and facts and facts.extent < len(module):
        verdict, reason = "truncated", "the bytes behind the module are not a complete signature"
    elif verdict in ("unsigned", "valid") and damage:
        verdict, reason = damage.verdict, damage.reason
    elif verdict == "valid" and facts:
        verdict, reason = _mismatch(facts, archive, kernel) or (verdict, reason)
    certificate = verification.certificate
    return PatchFile(
        verdict=verdict,
        reason=reason,
        signer=certificate.subject if certificate else None,
        key_id=certificate.key_id if certificate else None,
        certificate_expired=certificate.expired(now) if certificate else None,
        hash_algorithm=verification.hash_algorithm,
        build_id=facts.build_id if facts else None,
        srcversion=facts.srcversion if facts else None,
        vermagic=facts.vermagic if facts else None,
        kernel=archive.kernel if archive else facts.kernel if facts else None,
        version=archive.version if archive else facts.patch_major if facts else None,
    )


def _read(module: bytes) -> tuple[ModuleFacts | None, PatchFileError | None]:
    """Return the facts of a module, or the fault for which it has none."""
    try:
        return read_module(module), None
    except PatchFileError as fault:
        return None, fault


def _verify(module: bytes, anchors: TrustAnchors) -> SignatureResult:
    try:
        content, block = split_module(module)
        signature = read_signature(block)
    except PatchFileError as fault:
        return SignatureResult(fault.verdict, fault.reason, None)
    digests = {name: digest(content, name) for name in signature.hash_algorithms}
    return verify(signature, digests, anchors)


def _mismatch(facts: ModuleFacts, archive: ArchiveName | None, kernel: str | None) -> tuple[FileVerdict, str] | None:
    """Return the verdict for a module that does not match the requested kernel or the name of its archive."""
    built_for = facts.kernel or "an unnamed kernel"
    if kernel is not None and not facts.is_for(kernel):
        return "not_for_this_kernel", f"the module is for {built_for}, not for {kernel}"
    if archive is not None and not facts.is_for(archive.kernel):
        return (
            "not_for_this_kernel",
            f"the name of the archive has the kernel {archive.kernel}, and its module is for {built_for}",
        )
    fault = _identity_fault(facts, archive) if archive is not None else None
    return ("malformed", fault) if fault else None


def _identity_fault(facts: ModuleFacts, archive: ArchiveName) -> str | None:
    """Return the fault of a module that is not the live patch that the name of its archive promises.

    A trusted key can also sign other modules. The signed name of a live patch holds its kernel and its major version,
    so an old patch under a new name, which would reopen vulnerabilities, is found.
    """
    if not facts.is_live_patch:
        return "the module is not a live patch: it has no livepatch=Y"
    if facts.patch_major is None:
        return "the module does not have the name of a live patch, which holds its kernel and version"
    if facts.patch_major != archive.version.partition(".")[0]:
        return f"the name of the archive has version {archive.version}, and its module {facts.patch_major}"
    if facts.machine != _MACHINES.get(archive.architecture):
        return f"the module is not for the architecture {archive.architecture} of the archive's name"
    return None
