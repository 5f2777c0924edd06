# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Verify a loaded patch by the best source that is available.

The signature of the module's file takes precedence over the result of the kernel, and that over the client's report.
Without a file, the kernel's result counts. A file whose signature cannot be judged (a certificate is missing, the
algorithm is not supported) proves nothing, and the kernel's result about it is not taken as proof either: a patch that
is signed in this form is neither verified nor tampered with. Decision 0022 has the reasons.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import hashlib

from .._elf import build_id
from .._host.loaded_patches import (
    LIVE_PATCH_KEY_IDS,
    KernelKey,
    ModuleFile,
    SysfsPatch,
    has_key,
)
from .._record import KernelPatch, Reason, Verification, VerificationLevel
from .._verify import patch_file, signature, trust
from .._verify.file_verdict import FileVerdict, PatchFileError
from . import causes


@dataclasses.dataclass(frozen=True, slots=True)
class VerifiedPatch:
    """A loaded patch as the record contains it.

    `fault` is the proof that it cannot be trusted, `doubt` the reason why it is not confirmed, and `gap` names a
    comparison that was not possible for a verified patch. Each is None if it does not apply.
    """

    patch: KernelPatch
    fault: Reason | None = None
    doubt: Reason | None = None
    gap: Reason | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _KernelResult:
    """The result of the kernel, which verifies a module when it loads it.

    `accepted` is None if it is unknown. `keys_complete` is true if the kernel is known to have every trusted key, so
    that it would have accepted each of them.
    """

    accepted: bool | None
    keys_complete: bool


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
    srcversion: str | None = None

    @property
    def judged(self) -> bool:
        """Return True if the signature is known to be valid or not."""
        return self.verdict not in ("unsupported_algorithm", "no_certificate")


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
    kernel = _by_kernel(patch, kernel_keys, anchors)
    file = _by_file(patch, anchors) if anchors is not None else None
    unknown: VerificationLevel = "client" if claimed else "none"
    if file is not None and file.judged:
        return _judged_by_file(patch, kernel_keys, file)
    if file is None and kernel.accepted:
        return VerifiedPatch(_recorded(patch, "kernel", "verified"))
    if file is None and kernel.accepted is False and kernel.keys_complete:
        fault = causes.SIGNATURE_FAILED_IN_KERNEL.reason(module=patch.module)
        return VerifiedPatch(_recorded(patch, "kernel", "failed"), fault)
    doubt = None
    if kernel.accepted is False:
        detail = file.reason if file is not None else "the kernel does not have every trusted key"
        doubt = causes.SIGNATURE_NOT_CONFIRMED.reason(detail, module=patch.module)
    return VerifiedPatch(_recorded(patch, unknown, "not_checked"), doubt=doubt)


def _judged_by_file(patch: SysfsPatch, kernel_keys: c.Sequence[KernelKey] | None, file: _FileResult) -> VerifiedPatch:
    fault = _file_fault(patch, file) or _contradiction(patch, kernel_keys, file)
    recorded = _recorded(patch, file.level, "failed" if fault else "verified", file)
    return VerifiedPatch(recorded, fault, gap=None if fault else _gap(patch, file))


def _recorded(patch: SysfsPatch, level: VerificationLevel, result: str, file: _FileResult | None = None) -> KernelPatch:
    """Return the patch as the record contains it. Only a file names its signer."""
    return KernelPatch(
        module=patch.module,
        enabled=patch.enabled,
        transition=patch.transition,
        build_id=patch.build_id,
        taint=patch.taint,
        verification=Verification(
            level=level,
            result=result,
            signer=file.signer if file else None,
            key_id=file.key_id if file else None,
            sha512=file.sha512 if file else None,
        ),
    )


def _by_kernel(
    patch: SysfsPatch, kernel_keys: c.Sequence[KernelKey] | None, anchors: trust.TrustAnchors | None
) -> _KernelResult:
    """Return the result of the kernel. It is unknown for a kernel without any of the trusted keys.

    Taint E then means that no key of the kernel signed the module, and its absence that one of them did; the kernel
    does not report which. A kernel without the keys sets E for every live patch, so there E proves nothing. Source:
    kernel documentation, admin-guide/tainted-kernels and admin-guide/module-signing.
    """
    key_ids = anchors.key_ids if anchors is not None else LIVE_PATCH_KEY_IDS
    if patch.taint is None or not has_key(kernel_keys, key_ids):
        return _KernelResult(accepted=None, keys_complete=False)
    known = anchors is None or not anchors.unmet_pins
    complete = known and all(has_key(kernel_keys, {key_id}) for key_id in key_ids)
    return _KernelResult(accepted="E" not in patch.taint, keys_complete=complete)


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
        srcversion=examined.srcversion,
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
    """Verify the signature of a digest. Return ``None`` if a signature uses another hash algorithm than the host."""
    try:
        before, block = signature.split_module(file.trailer or b"")
        if len(before):
            # The module does not end where its header says, so the digest is not that of the signed content.
            return None
        signed = signature.read_signature(block)
    except PatchFileError as fault:
        return signature.SignatureResult(fault.verdict, fault.reason, None)
    digests = {name: file.digest[1] for name in signed.hash_algorithms if file.digest and name == file.digest[0]}
    return signature.verify(signed, digests, anchors) if digests.keys() == signed.hash_algorithms else None


def _file_fault(patch: SysfsPatch, result: _FileResult) -> Reason | None:
    """Return why the file shows that the patch cannot be trusted; None if it does not."""
    if result.verdict == "wrong_signer":
        return causes.WRONG_SIGNER.reason(module=patch.module, reason=result.reason)
    if result.verdict != "valid":
        return causes.SIGNATURE_FAILED_IN_FILE.reason(module=patch.module, verdict=result.verdict, reason=result.reason)
    if None not in (patch.build_id, result.build_id) and patch.build_id != result.build_id:
        return causes.BUILD_ID_DIFFERS.reason(module=patch.module, running=patch.build_id, file=result.build_id)
    if None not in (patch.srcversion, result.srcversion) and patch.srcversion != result.srcversion:
        return causes.SRCVERSION_DIFFERS.reason(module=patch.module, running=patch.srcversion, file=result.srcversion)
    return None


def _gap(patch: SysfsPatch, result: _FileResult) -> Reason | None:
    """Return the reason why the build IDs of the running module and of its file were not compared."""
    missing = [
        place
        for place, value in (("the running module", patch.build_id), ("its file", result.build_id))
        if value is None
    ]
    if not missing:
        return None
    return causes.BUILD_ID_MISSING.reason(module=patch.module, places=" and ".join(missing))


def _contradiction(patch: SysfsPatch, kernel_keys: c.Sequence[KernelKey] | None, result: _FileResult) -> Reason | None:
    """Return a fault if the kernel contains the key that signed the file, but did not accept the signature."""
    carried = result.key_id is not None and has_key(kernel_keys, {result.key_id})
    if carried and "E" in (patch.taint or ""):
        return causes.SIGNATURE_FAILED_IN_KERNEL.reason(module=patch.module)
    return None
