# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Verify a loaded patch by the best source that is available.

The signature of the module's file takes precedence over the result of the kernel, and that over the client's report. A
source that gives no result (no file, no certificate, an algorithm that is not supported) is skipped. The first source
with a result decides.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import hashlib

from .._elf import build_id
from .._host.loaded_patches import (
    LIVE_PATCH_KEY_ID,
    SECOND_LIVE_PATCH_KEY_ID,
    KernelKey,
    ModuleFile,
    SysfsPatch,
)
from .._record import KernelPatch, Reason, Verification, VerificationLevel
from .._verify import patch_file, signature, trust
from .._verify.file_verdict import FileVerdict, PatchFileError
from . import causes


@dataclasses.dataclass(frozen=True, slots=True)
class VerifiedPatch:
    """A loaded patch as the record contains it. `fault` is the reason why it cannot be trusted, or None."""

    patch: KernelPatch
    fault: Reason | None


@dataclasses.dataclass(frozen=True, slots=True)
class _FileResult:
    """The verification of a module's file. `level` is the level that a valid signature reaches."""

    verdict: FileVerdict
    reason: str
    level: VerificationLevel
    signer: str | None
    key_id: str | None
    sha512: str | None
    build_id: str | None


def verified_patches(
    patches: c.Iterable[SysfsPatch],
    kernel_keys: c.Sequence[KernelKey] | None,
    *,
    claimed: str | None,
    anchors: trust.TrustAnchors | None = None,
) -> list[VerifiedPatch]:
    """Verify each loaded patch.

    `claimed` is the module that the client reports as applied. Without `anchors`, only the kernel's result counts.
    """
    return [_verified(patch, kernel_keys, patch.module == claimed, anchors) for patch in patches]


def _verified(
    patch: SysfsPatch,
    kernel_keys: c.Sequence[KernelKey] | None,
    claimed: bool,
    anchors: trust.TrustAnchors | None,
) -> VerifiedPatch:
    key_ids = anchors.key_ids if anchors is not None else frozenset({LIVE_PATCH_KEY_ID})
    by_kernel = _by_kernel(patch, kernel_keys, key_ids, claimed=claimed)
    by_file = _by_file(patch, anchors) if anchors is not None and patch.file is not None else None
    if by_file is None or not _is_conclusive(by_file, patch, kernel_keys):
        verification, fault = by_kernel, _kernel_fault(patch.module) if by_kernel["result"] == "failed" else None
    else:
        fault = _file_fault(patch, by_file) or _contradiction(patch, kernel_keys, by_file)
        verification = Verification(
            level=by_file.level,
            result="failed" if fault else "verified",
            signer=by_file.signer,
            key_id=by_file.key_id,
            sha512=by_file.sha512,
        )
    recorded = KernelPatch(
        module=patch.module,
        enabled=patch.enabled,
        transition=patch.transition,
        build_id=patch.build_id,
        taint=patch.taint,
        verification=verification,
    )
    return VerifiedPatch(recorded, fault)


def _by_kernel(
    patch: SysfsPatch, kernel_keys: c.Sequence[KernelKey] | None, key_ids: c.Collection[str], *, claimed: bool
) -> Verification:
    """Return the result of the kernel, which verifies a module when it loads it, if it contains the key.

    Taint E then means that the signature is not valid. A kernel without the key sets E for every live patch, so there E
    proves nothing. Source: kernel documentation, admin-guide/tainted-kernels and admin-guide/module-signing.
    """
    key = next((key for key in kernel_keys or () if key.key_id in key_ids), None)
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


def _kernel_fault(module: str) -> Reason:
    return causes.SIGNATURE_FAILED_IN_KERNEL.reason(module=module)


def _by_file(patch: SysfsPatch, anchors: trust.TrustAnchors) -> _FileResult | None:
    """Return the verification of the file; ``None`` if there is no file, or if it is incomplete."""
    file = patch.file
    if file is None or file.access != "ok":
        return None
    return _by_digest(file, anchors) if file.content is None else _by_content(file.content, patch, anchors)


def _by_content(content: bytes, patch: SysfsPatch, anchors: trust.TrustAnchors) -> _FileResult:
    examined = patch_file.examine(content, "", anchors, now=dt.datetime.now(dt.timezone.utc), kernel=None)
    try:
        signed: bytes | memoryview = signature.split_module(content)[0]
    except PatchFileError:
        signed = content
    # Without both build IDs, the file cannot be matched to the module in memory, as with the digest.
    matched = patch.build_id is not None and examined.build_id is not None
    return _FileResult(
        verdict=examined.verdict,
        reason=examined.reason,
        level="file" if matched or not examined.valid else "digest",
        signer=examined.signer,
        key_id=examined.key_id,
        sha512=hashlib.sha512(signed).hexdigest(),
        build_id=examined.build_id,
    )


def _by_digest(file: ModuleFile, anchors: trust.TrustAnchors) -> _FileResult | None:
    if file.trailer is None:
        return None
    digest = file.digest[1] if file.digest else None
    verified = _verify_digest(file, anchors)
    if verified is None:
        return None
    signer = verified.certificate
    return _FileResult(
        verdict=verified.verdict,
        reason=verified.reason,
        level="digest",
        signer=signer.subject if signer else None,
        key_id=signer.key_id if signer else None,
        sha512=digest.hex() if digest and file.digest and file.digest[0] == "sha512" else None,
        build_id=build_id(file.built),
    )


def _verify_digest(file: ModuleFile, anchors: trust.TrustAnchors) -> signature.SignatureResult | None:
    """Verify the signature of a digest. Return ``None`` if the signature uses another hash algorithm than the host."""
    try:
        before, block = signature.split_module(file.trailer or b"")
        if len(before):
            # The module does not end where its header says, so the digest is not that of the signed content.
            return None
        signed = signature.read_signature(block)
    except PatchFileError as fault:
        return signature.SignatureResult(fault.verdict, fault.reason, None)
    if file.digest is None or file.digest[0] != signed.hash_algorithm:
        return None
    return signature.verify(signed, file.digest[1], anchors)


def _is_conclusive(result: _FileResult, patch: SysfsPatch, kernel_keys: c.Sequence[KernelKey] | None) -> bool:
    """Return False if the signature cannot be judged here.

    This includes an untrusted signer if the kernel contains Canonical's second key and accepted the module: that key,
    which has no pin here, may be the signer, and the kernel has verified it.
    """
    if result.verdict in ("unsupported_algorithm", "no_certificate"):
        return False
    accepted = patch.taint is not None and "E" not in patch.taint
    second_key = any(key.key_id == SECOND_LIVE_PATCH_KEY_ID for key in kernel_keys or ())
    return not (result.verdict == "wrong_signer" and accepted and second_key)


def _file_fault(patch: SysfsPatch, result: _FileResult) -> Reason | None:
    """Return why the file shows that the patch cannot be trusted; None if it does not."""
    if result.verdict == "wrong_signer":
        return causes.WRONG_SIGNER.reason(module=patch.module, reason=result.reason)
    if result.verdict != "valid":
        return causes.SIGNATURE_FAILED_IN_FILE.reason(module=patch.module, verdict=result.verdict, reason=result.reason)
    if None not in (patch.build_id, result.build_id) and patch.build_id != result.build_id:
        return causes.BUILD_ID_DIFFERS.reason(module=patch.module, running=patch.build_id, file=result.build_id)
    return None


def _contradiction(patch: SysfsPatch, kernel_keys: c.Sequence[KernelKey] | None, result: _FileResult) -> Reason | None:
    """Return a fault if the kernel contains the key that signed the file, but did not accept the signature."""
    carried = any(key.key_id == result.key_id for key in kernel_keys or ())
    return _kernel_fault(patch.module) if carried and "E" in (patch.taint or "") else None
