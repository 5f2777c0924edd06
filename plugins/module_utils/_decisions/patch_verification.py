# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""How far a loaded patch is verified, by the best witness there is.

The signature of the module's file comes before the kernel's word, and that before the client's. A witness that cannot
speak (no file, no certificate, an algorithm that nobody here knows) leaves the word to the next; one that speaks
against the patch decides.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import hashlib
import typing as t

from .._elf import build_id
from .._host.loaded_patches import (
    LIVE_PATCH_KEY_ID,
    SECOND_LIVE_PATCH_KEY_ID,
    CarriedKey,
    ModuleFile,
    SysfsPatch,
)
from .._record import KernelPatch, Verification, VerificationLevel
from .._verify import patch_file, signature, trust
from .._verify.file_verdict import FileVerdict, PatchFileError

FaultId = t.Literal["signature_failed", "wrong_signer", "build_id_differs"]

_ISOLATE = "isolate the host, find out who loaded the module, and reboot: a patch cannot be taken out otherwise"
_ISOLATE_UNLESS_OURS = (
    "when this key is a newer one of the vendor's, or your own, name it in trusted_spki_sha256 or"
    f" trusted_certificates; else {_ISOLATE}"
)


@dataclasses.dataclass(frozen=True, slots=True)
class PatchFault:
    """Why a loaded patch is not what it should be."""

    id: FaultId
    message: str
    remedy: str = _ISOLATE


@dataclasses.dataclass(frozen=True, slots=True)
class VerifiedPatch:
    """A loaded patch as it is kept, with what speaks against it."""

    patch: KernelPatch
    fault: PatchFault | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Examined:
    """What the file of a module says. `level` is that which a good signature reaches."""

    verdict: FileVerdict
    reason: str
    level: VerificationLevel
    signer: str | None
    key_id: str | None
    sha512: str | None
    build_id: str | None


def verified_patches(
    patches: c.Iterable[SysfsPatch],
    carried_keys: c.Sequence[CarriedKey] | None,
    *,
    claimed: str | None,
    anchors: trust.TrustAnchors | None = None,
) -> list[VerifiedPatch]:
    """Each loaded patch with its verification.

    `claimed` is the module that the client says it applied; without `anchors` no signature is verified here.
    """
    return [_verified(patch, carried_keys, patch.module == claimed, anchors) for patch in patches]


def _verified(
    patch: SysfsPatch,
    carried_keys: c.Sequence[CarriedKey] | None,
    claimed: bool,
    anchors: trust.TrustAnchors | None,
) -> VerifiedPatch:
    key_ids = anchors.key_ids if anchors is not None else frozenset({LIVE_PATCH_KEY_ID})
    by_kernel = _by_kernel(patch, carried_keys, key_ids, claimed=claimed)
    by_file = _by_file(patch, anchors) if anchors is not None and patch.file is not None else None
    if by_file is None or not _speaks(by_file, patch, carried_keys):
        verification, fault = by_kernel, _kernel_fault(patch.module) if by_kernel["result"] == "failed" else None
    else:
        fault = _file_fault(patch, by_file) or _contradiction(patch, carried_keys, by_file)
        verification = Verification(
            level=by_file.level,
            result="failed" if fault else "verified",
            signer=by_file.signer,
            key_id=by_file.key_id,
            sha512=by_file.sha512,
        )
    kept = KernelPatch(
        module=patch.module,
        enabled=patch.enabled,
        transition=patch.transition,
        build_id=patch.build_id,
        taint=patch.taint,
        verification=verification,
    )
    return VerifiedPatch(kept, fault)


def _by_kernel(
    patch: SysfsPatch, carried_keys: c.Sequence[CarriedKey] | None, key_ids: c.Collection[str], *, claimed: bool
) -> Verification:
    """The kernel verified the module when it loaded it, if it carries the key: then taint E tells the result.

    A kernel without the key taints every live patch with E, so there the flag proves nothing. Source: kernel
    documentation, admin-guide/tainted-kernels and admin-guide/module-signing.
    """
    key = next((key for key in carried_keys or () if key.key_id in key_ids), None)
    if key is None or patch.taint is None:
        level: VerificationLevel = "client" if claimed else "none"
        return Verification(level=level, result="not_checked", signer=None, key_id=None, sha512=None)
    failed = "E" in patch.taint
    return Verification(
        level="kernel",
        result="failed" if failed else "verified",
        signer=None if failed else key.subject,
        key_id=None if failed else key.key_id,
        sha512=None,
    )


def _kernel_fault(module: str) -> PatchFault:
    message = f"the loaded patch {module} does not carry a valid signature of the live patch key"
    return PatchFault("signature_failed", message)


def _by_file(patch: SysfsPatch, anchors: trust.TrustAnchors) -> _Examined | None:
    """What the file's signature says; ``None`` when there is no file, or not enough of it."""
    file = patch.file
    if file is None or file.access != "ok":
        return None
    return _by_digest(file, anchors) if file.content is None else _by_content(file.content, patch, anchors)


def _by_content(content: bytes, patch: SysfsPatch, anchors: trust.TrustAnchors) -> _Examined:
    examined = patch_file.examine(content, "", anchors, now=dt.datetime.now(dt.timezone.utc), kernel=None)
    try:
        signed: bytes | memoryview = signature.split_module(content)[0]
    except PatchFileError:
        signed = content
    # Without both build ids nothing ties the file to the module in memory, as with the digest.
    tied = patch.build_id is not None and examined.build_id is not None
    return _Examined(
        verdict=examined.verdict,
        reason=examined.reason,
        level="file" if tied or not examined.valid else "digest",
        signer=examined.signer,
        key_id=examined.key_id,
        sha512=hashlib.sha512(signed).hexdigest(),
        build_id=examined.build_id,
    )


def _by_digest(file: ModuleFile, anchors: trust.TrustAnchors) -> _Examined | None:
    if file.trailer is None:
        return None
    digest = file.digest[1] if file.digest else None
    verified = _verify_digest(file, anchors)
    if verified is None:
        return None
    signer = verified.certificate
    return _Examined(
        verdict=verified.verdict,
        reason=verified.reason,
        level="digest",
        signer=signer.subject if signer else None,
        key_id=signer.key_id if signer else None,
        sha512=digest.hex() if digest and file.digest and file.digest[0] == "sha512" else None,
        build_id=build_id(file.built),
    )


def _verify_digest(file: ModuleFile, anchors: trust.TrustAnchors) -> signature.SignatureResult | None:
    """Verify a signature over a digest. ``None`` when the host sent another digest than the signature is over."""
    try:
        before, block = signature.split_module(file.trailer or b"")
        if len(before):
            # The module does not end where its header says, so the digest is not of what was signed.
            return None
        signed = signature.read_signature(block)
    except PatchFileError as fault:
        return signature.SignatureResult(fault.verdict, fault.reason, None)
    if file.digest is None or file.digest[0] != signed.hash_algorithm:
        return None
    return signature.verify(signed, file.digest[1], anchors)


def _speaks(examined: _Examined, patch: SysfsPatch, carried_keys: c.Sequence[CarriedKey] | None) -> bool:
    """Whether the signature tells anything. It does not where it cannot be judged here.

    That is so, too, for a signer who is not trusted, when the kernel carries Canonical's second key and took the
    module: then it may be the signer, and the kernel has verified what cannot be verified here.
    """
    if examined.verdict in ("unsupported_algorithm", "no_certificate"):
        return False
    taken = patch.taint is not None and "E" not in patch.taint
    second_key = any(key.key_id == SECOND_LIVE_PATCH_KEY_ID for key in carried_keys or ())
    return not (examined.verdict == "wrong_signer" and taken and second_key)


def _file_fault(patch: SysfsPatch, examined: _Examined) -> PatchFault | None:
    """What the file says against the module."""
    if examined.verdict == "wrong_signer":
        message = f"the loaded patch {patch.module} is not signed by a trusted key: {examined.reason}"
        return PatchFault("wrong_signer", message, _ISOLATE_UNLESS_OURS)
    if examined.verdict != "valid":
        message = f"the file of the loaded patch {patch.module} fails its signature ({examined.verdict})"
        return PatchFault("signature_failed", f"{message}: {examined.reason}")
    if None not in (patch.build_id, examined.build_id) and patch.build_id != examined.build_id:
        message = f"the patch {patch.module} that runs is not the file that the host holds: its build ID is"
        return PatchFault("build_id_differs", f"{message} {patch.build_id}, that of the file {examined.build_id}")
    return None


def _contradiction(
    patch: SysfsPatch, carried_keys: c.Sequence[CarriedKey] | None, examined: _Examined
) -> PatchFault | None:
    """A kernel that carries the very key that signed the file must have taken the module as signed."""
    carried = any(key.key_id == examined.key_id for key in carried_keys or ())
    return _kernel_fault(patch.module) if carried and "E" in (patch.taint or "") else None
