# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The signature of a kernel module: the trailer, the PKCS#7 message before it, and its verification.

A signed module is ``<module><PKCS#7 in DER><trailer of 12 bytes><mark>`` (kernel ``include/linux/module_signature.h``).
The message is CMS SignedData (RFC 5652) over the module, detached. It is accepted and refused as by the Linux kernel
(``crypto/asymmetric_keys/pkcs7_*.c``): decision 0022 has the rules and the deliberate differences.

The signature covers a digest of the module, so it can be verified without the module: `read_signature` and `verify`
need only the bytes behind the module, and the digest.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import hashlib
import struct
import typing as t

from .der import INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, Der, DerError, context
from .embedded import read_embedded
from .file_verdict import FileVerdict, PatchFileError
from .public_key import HashName, Scheme, made_with
from .trust import Certificate, SignerId, TrustAnchors

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

MARK = b"~Module signature appended~\n"
SIGNATURE_LIMIT = (1 << 16) - 1
"""Bytes of a PKCS#7 message, as in the kernel. One without certificates is 700 bytes, each adds some 1,500."""

_TRAILER = struct.Struct(">BBBBB3sI")
_FOOTER = _TRAILER.size + len(MARK)
_PKCS7 = 2
_OLD_FORMATS = {0: "PGP", 1: "X.509"}

_NAMED_SIGNERS = 2
"""Signers that a reason names. A message can have hundreds."""

_DATA = bytes.fromhex("2a864886f70d010701")  # 1.2.840.113549.1.7.1
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_AUTHENTICODE = bytes.fromhex("2b060104018237020104")  # 1.3.6.1.4.1.311.2.1.4

_HASHES: dict[bytes, HashName] = {
    bytes.fromhex("608648016503040201"): "sha256",  # 2.16.840.1.101.3.4.2.1
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
# The kernel uses the digest algorithm of the signer, also where the identifier names another hash.
_SCHEMES: dict[bytes, Scheme] = {
    bytes.fromhex("2a864886f70d010101"): "rsa",  # 1.2.840.113549.1.1.1, rsaEncryption
    bytes.fromhex("2a8648ce3d0401"): "ecdsa",  # 1.2.840.10045.4.1, with SHA-1
    bytes.fromhex("2a8648ce3d040301"): "ecdsa",  # 1.2.840.10045.4.3.1, with SHA-224
    bytes.fromhex("2a8648ce3d040302"): "ecdsa",
    bytes.fromhex("2a8648ce3d040303"): "ecdsa",
    bytes.fromhex("2a8648ce3d040304"): "ecdsa",
}


@dataclasses.dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signature in a message, not yet verified: the name of the signer, the algorithms, and the value."""

    signer: SignerId
    hash_algorithm: HashName
    scheme: Scheme
    value: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleSignature:
    """The content of a message: one or more signatures, and the embedded certificates in DER."""

    signers: tuple[SignerInfo, ...]
    certificates: tuple[bytes, ...] = ()

    @property
    def hash_algorithms(self) -> frozenset[HashName]:
        """The algorithms of the digests that `verify` needs."""
        return frozenset(info.hash_algorithm for info in self.signers)


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureResult:
    """The result of a verification.

    `certificate` is the trusted one that the signature names, or ``None``. `hash_algorithm` is that of its signature.
    """

    verdict: FileVerdict
    reason: str
    certificate: Certificate | None
    hash_algorithm: HashName | None = None


def split_module(data: bytes) -> tuple[memoryview, bytes]:
    """Split a signed module into the signed content and the bytes behind it (message, trailer and mark).

    Raises `PatchFileError`: ``unsigned`` without a mark at the end, ``truncated`` if the file is smaller than its
    signature, ``malformed`` and ``unsupported_algorithm`` for an invalid trailer.
    """
    if not data.endswith(MARK):
        raise PatchFileError("unsigned", "the module has no signature")
    size = len(data) - _FOOTER - _message_size(data)
    return memoryview(data)[:size], data[size:]


def read_signature(block: bytes) -> ModuleSignature:
    """Read the bytes behind a module: PKCS#7 message, trailer and mark, nothing more. Raises `PatchFileError`."""
    if not block.endswith(MARK):
        raise PatchFileError("unsigned", "no signature was found")
    size = _message_size(block)
    if size != len(block) - _FOOTER:
        raise PatchFileError("malformed", "the size of the signature differs from the one in the trailer")
    try:
        return _read_message(block[:size])
    except DerError as error:
        raise PatchFileError("malformed", f"the signature is malformed: {error}") from error


def digest(content: bytes | memoryview, name: HashName) -> bytes:
    """Return the digest of a module without its signature, for `verify`."""
    return hashlib.new(name, content).digest()


def verify(signature: ModuleSignature, digests: c.Mapping[HashName, bytes], anchors: TrustAnchors) -> SignatureResult:
    """Verify the signatures over a module, given by its digests (for all `signature.hash_algorithms`).

    One signature by a trusted key is enough. A second one that names a trusted key must match too, as in the kernel.
    The verdict is ``valid``, ``wrong_signer``, ``no_certificate``, ``digest_mismatch`` or, because of certificates in
    the message, ``malformed`` or ``unsupported_algorithm``.
    """
    result: SignatureResult | None = None
    for info in signature.signers:
        certificates = anchors.find(info.signer, signature.certificates)
        if not certificates:
            continue
        content_digest = digests[info.hash_algorithm]
        signed_by = next((each for each in certificates if _was_made_with(each.public_key, info, content_digest)), None)
        if signed_by is None:
            reason = "the signature does not match: the module was changed, or signed with another key than it names"
            return SignatureResult("digest_mismatch", reason, certificates[0], info.hash_algorithm)
        result = result or SignatureResult("valid", f"signed by {signed_by.subject}", signed_by, info.hash_algorithm)
    if result is None:
        return _unknown_signer(signature, anchors)
    try:
        _check_embedded(signature, digests, anchors)
    except PatchFileError as fault:
        return SignatureResult(fault.verdict, fault.reason, result.certificate, result.hash_algorithm)
    return result


def _check_embedded(signature: ModuleSignature, digests: c.Mapping[HashName, bytes], anchors: TrustAnchors) -> None:
    """Raise `PatchFileError` if the kernel refuses the message because of the certificates in it.

    The kernel verifies each signature whose certificate is in the message with that certificate first.
    """
    embedded = read_embedded(signature.certificates, anchors)
    for info in signature.signers:
        own = next((each for each in embedded if each.signer_id == info.signer), None)
        if own is not None and not _was_made_with(own.public_key, info, digests[info.hash_algorithm]):
            reason = "a signature does not match the certificate in the message that it names"
            raise PatchFileError("digest_mismatch", reason)


def _was_made_with(key: CertificatePublicKeyTypes, info: SignerInfo, content_digest: bytes) -> bool:
    return made_with(key, info.scheme, info.hash_algorithm, info.value, content_digest)


def _message_size(data: bytes) -> int:
    """Return the size of the message, from the trailer before the mark. The checks have the order of the kernel."""
    if len(data) < _FOOTER:
        raise PatchFileError("truncated", "the file is smaller than the trailer of a signature")
    algorithm, hash_, id_type, signer, key_id, padding_, size = _TRAILER.unpack_from(data, len(data) - _FOOTER)
    if size > len(data) - _FOOTER:
        raise PatchFileError("truncated", "the file is smaller than its own signature")
    if id_type != _PKCS7:
        found = _OLD_FORMATS.get(id_type, f"of the unknown type {id_type}")
        raise PatchFileError("unsupported_algorithm", f"the signature is {found}, not PKCS#7")
    if algorithm or hash_ or signer or key_id or padding_ != b"\0\0\0":
        raise PatchFileError("malformed", "the trailer has values that no PKCS#7 signature has")
    if not 0 < size <= SIGNATURE_LIMIT:
        raise PatchFileError("malformed", f"the trailer gives {size} bytes as the size of the signature")
    return int(size)


def _read_message(message: bytes) -> ModuleSignature:
    """Read ContentInfo and SignedData: RFC 5652, 3 and 5.1.

    As in the kernel, the first fault decides, and bytes behind the message are ignored.
    """
    info = Der(message).enter(SEQUENCE)
    _expect(info.value(OBJECT_IDENTIFIER) == _SIGNED_DATA, "it is not SignedData")
    explicit = info.enter(context(0))
    signed = explicit.enter(SEQUENCE)
    version = signed.value(INTEGER)
    # The kernel does not compare these with the algorithms of the signatures, so unknown ones are accepted.
    for algorithm in _elements(signed.enter(SET, SEQUENCE), "it names no digest algorithm"):
        _algorithm(algorithm)
    plain, detached = _read_content(signed.enter(SEQUENCE))
    certificates = _read_certificates(signed)
    signers = [_read_signer(each, version) for each in _elements(signed.enter(SET, SEQUENCE), "it has no signer")]
    for element in (signed, explicit, info):
        element.finish()
    # The kernel finds these faults when it verifies the message.
    _expect(plain, "it signs something other than plain data")
    _expect(detached, "it contains what it signs")
    _expect(not any(attributes for _info, attributes in signers), "it has signed attributes, which the kernel refuses")
    return ModuleSignature(tuple(info for info, _attributes in signers), certificates)


def _read_content(content: Der) -> tuple[bool, bool]:
    """Read the type of what is signed. Return True if it is plain data, and True if it is not in the message."""
    content_type = content.value(OBJECT_IDENTIFIER)
    _expect(content_type in (_DATA, _AUTHENTICODE), "it signs something other than plain data")
    detached = not content.more()
    if not detached:
        data = content.enter(context(0))
        data.skip()
        data.finish()
    content.finish()
    return content_type == _DATA, detached


def _elements(elements: Der, fault_of_none: str) -> c.Iterator[Der]:
    """Yield readers of the sequences in a set, which must not be empty."""
    _expect(elements.more(), fault_of_none)
    while elements.more():
        yield elements.enter(SEQUENCE)


def _read_signer(signer: Der, signed_version: bytes) -> tuple[SignerInfo, bool]:
    """Read a SignerInfo (RFC 5652, 5.3), and return True with it if it has signed attributes."""
    version = signer.value(INTEGER)
    _expect(version == signed_version, "its versions do not agree")
    identity = _read_identity(signer, version)
    hash_algorithm = _HASHES.get(_algorithm(signer.enter(SEQUENCE)))
    if hash_algorithm is None:
        raise PatchFileError("unsupported_algorithm", "the digest is none of SHA-256, SHA-384 and SHA-512")
    signed_attributes = signer.at(context(0))
    if signed_attributes:
        _check_attributes(signer.enter(context(0)))
    elif signer.at(context(2)):
        raise PatchFileError("unsupported_algorithm", "it has signed attributes of a form that is not evaluated")
    scheme = _SCHEMES.get(_algorithm(signer.enter(SEQUENCE)))
    if scheme is None:
        reason = "the signature algorithm is neither rsaEncryption nor ECDSA, and the kernel verifies no other"
        raise PatchFileError("unsupported_algorithm", reason)
    value = signer.value(OCTET_STRING)
    if signer.at(context(1), context(3)):
        _check_attributes(signer.enter(context(1), context(3)))
    signer.finish()
    return SignerInfo(identity, hash_algorithm, scheme, value), signed_attributes


def _read_identity(signer: Der, version: bytes) -> SignerId:
    """Return the signer's name. The version must match its form: 1 or 3, as the kernel requires too."""
    if version == b"\x03":
        return signer.value(context(0, constructed=False))
    _expect(version == b"\x01", "its version is neither 1 nor 3")
    names = signer.enter(SEQUENCE)
    issuer, serial = names.value(SEQUENCE), names.value(INTEGER)
    names.finish()
    _check_name(Der(issuer))
    return issuer, serial


def _check_name(name: Der) -> None:
    """Check the form of a distinguished name (X.501), as the kernel does."""
    while name.more():
        for attribute in _elements(name.enter(SET), "a part of the issuer's name is empty"):
            attribute.value(OBJECT_IDENTIFIER)
            attribute.skip()
            attribute.finish()


def _read_certificates(signed: Der) -> tuple[bytes, ...]:
    """Return the certificates of a message. The kernel also takes the parts of a revocation list for certificates."""
    found: list[bytes] = []
    if signed.at(context(0), context(2)):
        elements = signed.enter(context(0), context(2))
        if elements.more_of_any():
            found += _certificates(elements)
    if signed.at(context(1), context(3)):
        for elements in _elements(signed.enter(context(1), context(3)), "it has no revocation list"):
            _expect(elements.more(), "a revocation list is empty")
            found += _certificates(elements)
    return tuple(found)


def _certificates(elements: Der) -> c.Iterator[bytes]:
    while elements.more():
        yield elements.encoded(SEQUENCE)


def _check_attributes(attributes: Der) -> None:
    """Check the form of attributes, as the kernel does. Their values decide nothing."""
    for attribute in _elements(attributes, "its set of attributes is empty"):
        attribute.value(OBJECT_IDENTIFIER)
        values = attribute.enter(SET)
        attribute.finish()
        _expect(values.more(), "an attribute has no value")
        while values.more():
            values.skip()


def _algorithm(algorithm: Der) -> bytes:
    """Return the identifier of an AlgorithmIdentifier. The kernel ignores the parameters."""
    identifier = algorithm.value(OBJECT_IDENTIFIER)
    if algorithm.more_of_any():
        algorithm.skip()
    algorithm.finish()
    return identifier


def _expect(condition: bool, fault: str) -> None:
    if not condition:
        raise DerError(fault)


def _unknown_signer(signature: ModuleSignature, anchors: TrustAnchors) -> SignatureResult:
    if anchors.unmet_pins:
        pins = ", ".join(sorted(anchors.unmet_pins))
        reason = f"the certificate of the pinned key {pins} is missing: specify it as a trusted certificate"
        return SignatureResult("no_certificate", reason, None, signature.signers[0].hash_algorithm)
    named = " and ".join(_named(info.signer) for info in signature.signers[:_NAMED_SIGNERS])
    reason = f"the signature names a signer that is not trusted, with {named}"
    return SignatureResult("wrong_signer", reason, None, signature.signers[0].hash_algorithm)


def _named(signer: SignerId) -> str:
    return f"key identifier {signer[:32].hex()}" if isinstance(signer, bytes) else f"serial number {signer[1].hex()}"
