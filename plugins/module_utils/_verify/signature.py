# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The signature of a kernel module: the trailer, the PKCS#7 message before it, and its verification.

A signed module is ``<module><PKCS#7 in DER><trailer of 12 bytes><mark>`` (kernel ``include/linux/module_signature.h``).
The message is CMS SignedData (RFC 5652) over the module, detached. The forms that the kernel and signing tools write
are accepted: one signer, named by issuer and serial number or by key identifier, with or without signed attributes and
certificates. Bytes that no signature covers must have the one expected form.

The signature covers a digest of the module, so it can be verified without the module: `read_signature` and `verify`
need only the bytes behind the module, and the digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import typing as t

from .der import INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, Der, DerError, context
from .file_verdict import FileVerdict, PatchFileError
from .trust import Certificate, SignerId, TrustAnchors

MARK = b"~Module signature appended~\n"
SIGNATURE_LIMIT = 1 << 16
"""Bytes of a PKCS#7 message. One without certificates is 700 bytes, each certificate adds some 1,500."""

HashName = t.Literal["sha256", "sha384", "sha512"]
_Scheme = t.Literal["rsa", "ecdsa"]

_TRAILER = struct.Struct(">BBBBB3sI")
_PKCS7 = 2
_OLD_FORMATS = {0: "PGP", 1: "X.509"}

_DATA = bytes.fromhex("2a864886f70d010701")  # 1.2.840.113549.1.7.1
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")  # 1.2.840.113549.1.9.3
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")  # 1.2.840.113549.1.9.4

_HASHES: dict[bytes, HashName] = {
    bytes.fromhex("608648016503040201"): "sha256",  # 2.16.840.1.101.3.4.2.1
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
_DIGEST_SIZES: dict[HashName, int] = {"sha256": 32, "sha384": 48, "sha512": 64}

# The hash that an identifier names too; None where the signer's digest algorithm is used.
_SCHEMES: dict[bytes, tuple[_Scheme, HashName | None]] = {
    bytes.fromhex("2a864886f70d010101"): ("rsa", None),  # 1.2.840.113549.1.1.1, rsaEncryption
    bytes.fromhex("2a864886f70d01010b"): ("rsa", "sha256"),
    bytes.fromhex("2a864886f70d01010c"): ("rsa", "sha384"),
    bytes.fromhex("2a864886f70d01010d"): ("rsa", "sha512"),
    bytes.fromhex("2a8648ce3d040302"): ("ecdsa", "sha256"),  # 1.2.840.10045.4.3.2
    bytes.fromhex("2a8648ce3d040303"): ("ecdsa", "sha384"),
    bytes.fromhex("2a8648ce3d040304"): ("ecdsa", "sha512"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleSignature:
    """The content of a signature, not yet verified.

    `signed_attributes` is their DER as it was signed, `message_digest` the digest of the module in them; both are
    ``None`` if the signature is over the module itself. `certificates` are those embedded in the message, in DER.
    """

    signer: SignerId
    hash_algorithm: HashName
    scheme: _Scheme
    value: bytes
    signed_attributes: bytes | None
    message_digest: bytes | None
    certificates: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureResult:
    """The result of a verification. `certificate` is the trusted one that the signature names, or ``None``."""

    verdict: FileVerdict
    reason: str
    certificate: Certificate | None


def split_module(data: bytes) -> tuple[memoryview, bytes]:
    """Split a signed module into the signed content and the bytes behind it (message, trailer and mark).

    Raises `PatchFileError`: ``unsigned`` without a mark at the end, ``truncated`` if the file is smaller than its
    signature, ``malformed`` and ``unsupported_algorithm`` for an invalid trailer.
    """
    if not data.endswith(MARK):
        raise PatchFileError("unsigned", "the module has no signature")
    footer = _TRAILER.size + len(MARK)
    size = len(data) - footer - _message_size(data)
    if size < 0:
        raise PatchFileError("truncated", "the file is smaller than its own signature")
    return memoryview(data)[:size], data[size:]


def read_signature(block: bytes) -> ModuleSignature:
    """Read the bytes behind a module: PKCS#7 message, trailer and mark, nothing more. Raises `PatchFileError`."""
    if not block.endswith(MARK):
        raise PatchFileError("unsigned", "no signature was found")
    size = _message_size(block)
    if size != len(block) - _TRAILER.size - len(MARK):
        raise PatchFileError("malformed", "the size of the signature differs from the one in the trailer")
    try:
        return _read_message(block[:size])
    except DerError as error:
        raise PatchFileError("malformed", f"the signature is malformed: {error}") from error


def digest(content: bytes | memoryview, name: HashName) -> bytes:
    """Return the digest of a module without its signature, for `verify`."""
    return hashlib.new(name, content).digest()


def verify(signature: ModuleSignature, content_digest: bytes, anchors: TrustAnchors) -> SignatureResult:
    """Verify the signature over a module, given by its digest (with `signature.hash_algorithm`).

    The verdict is ``valid``, ``wrong_signer``, ``no_certificate`` or ``digest_mismatch``.
    """
    certificates = anchors.find(signature.signer, signature.certificates)
    if not certificates:
        return _unknown_signer(signature.signer, anchors)
    if signature.message_digest not in (None, content_digest):
        reason = "the module is not the one that was signed: its digest differs"
        return SignatureResult("digest_mismatch", reason, certificates[0])
    for certificate in certificates:
        if _was_made_with(certificate, signature, content_digest):
            return SignatureResult("valid", f"signed by {certificate.subject}", certificate)
    reason = "the signature does not match: the module was changed, or signed with another key than the signature names"
    return SignatureResult("digest_mismatch", reason, certificates[0])


def _message_size(data: bytes) -> int:
    """Return the size of the message, from the trailer before the mark."""
    footer = _TRAILER.size + len(MARK)
    if len(data) < footer:
        raise PatchFileError("truncated", "the file is smaller than the trailer of a signature")
    algorithm, hash_, id_type, signer, key_id, padding_, size = _TRAILER.unpack_from(data, len(data) - footer)
    if not 0 < size <= SIGNATURE_LIMIT:
        raise PatchFileError("malformed", f"the trailer gives {size} bytes as the size of the signature")
    if id_type in _OLD_FORMATS:
        raise PatchFileError("unsupported_algorithm", f"the signature is {_OLD_FORMATS[id_type]}, not PKCS#7")
    if id_type != _PKCS7 or algorithm or hash_ or signer or key_id or padding_ != b"\0\0\0":
        raise PatchFileError("malformed", "the trailer has values that no PKCS#7 signature has")
    return int(size)


def _read_message(message: bytes) -> ModuleSignature:
    """Read ContentInfo and SignedData: RFC 5652, 3 and 5.1."""
    outer = Der(message)
    info = outer.enter(SEQUENCE)
    outer.finish()
    _expect(info.value(OBJECT_IDENTIFIER) == _SIGNED_DATA, "it is not SignedData")
    explicit = info.enter(context(0))
    info.finish()
    signed = explicit.enter(SEQUENCE)
    explicit.finish()

    version = signed.value(INTEGER)
    digest_algorithms = signed.enter(SET)
    digest_algorithm = _algorithm(digest_algorithms.enter(SEQUENCE))
    digest_algorithms.finish()
    content = signed.enter(SEQUENCE)
    _expect(content.value(OBJECT_IDENTIFIER) == _DATA, "it signs something other than plain data")
    content.finish()  # a module signature is detached
    certificates = _read_certificates(signed.enter(context(0))) if signed.at(context(0)) else ()
    signers = signed.enter(SET)
    signed.finish()
    signer = signers.enter(SEQUENCE)
    signers.finish()
    return _read_signer(signer, version, digest_algorithm, certificates)


def _read_signer(
    signer: Der, signed_version: bytes, signed_digest_algorithm: bytes, certificates: tuple[bytes, ...]
) -> ModuleSignature:
    """Read the one SignerInfo: RFC 5652, 5.3."""
    version = signer.value(INTEGER)
    _expect(version == signed_version, "its versions do not agree")
    identity = _read_identity(signer, version)
    digest_algorithm = _algorithm(signer.enter(SEQUENCE))
    _expect(digest_algorithm == signed_digest_algorithm, "its digest algorithms do not agree")
    attributes = signer.encoded(context(0)) if signer.at(context(0)) else None
    signature_algorithm = _algorithm(signer.enter(SEQUENCE))
    value = signer.value(OCTET_STRING)
    signer.finish()

    hash_algorithm = _HASHES.get(digest_algorithm)
    if hash_algorithm is None:
        raise PatchFileError("unsupported_algorithm", "the digest is none of SHA-256, SHA-384 and SHA-512")
    if signature_algorithm not in _SCHEMES:
        raise PatchFileError("unsupported_algorithm", "the signature is neither RSA (PKCS #1, 1.5) nor ECDSA")
    scheme, named_hash = _SCHEMES[signature_algorithm]
    _expect(named_hash in (None, hash_algorithm), "its signature and its digest use different algorithms")
    return ModuleSignature(
        signer=identity,
        hash_algorithm=hash_algorithm,
        scheme=scheme,
        value=value,
        # They are signed as a SET (RFC 5652, 5.4), and sent with another tag.
        signed_attributes=bytes([SET]) + attributes[1:] if attributes else None,
        message_digest=_message_digest(Der(attributes).enter(context(0))) if attributes else None,
        certificates=certificates,
    )


def _read_identity(signer: Der, version: bytes) -> SignerId:
    """Return the signer's name. The version must match its form: 1 or 3, as the kernel requires too."""
    if version == b"\x03":
        return signer.value(context(0, constructed=False))
    _expect(version == b"\x01", "its version is neither 1 nor 3")
    names = signer.enter(SEQUENCE)
    issuer, serial = names.encoded(SEQUENCE), names.value(INTEGER)
    names.finish()
    return issuer, serial


def _read_certificates(elements: Der) -> tuple[bytes, ...]:
    found = []
    while elements.more():
        found.append(elements.encoded(SEQUENCE))
    return tuple(found)


def _algorithm(algorithm: Der) -> bytes:
    """Return the identifier of an AlgorithmIdentifier. No supported algorithm has parameters other than NULL."""
    identifier = algorithm.value(OBJECT_IDENTIFIER)
    if algorithm.at(NULL):
        _expect(algorithm.value(NULL) == b"", "a NULL is not empty")
    elif algorithm.more():
        raise PatchFileError("unsupported_algorithm", "an algorithm has parameters that are not supported")
    algorithm.finish()
    return identifier


def _message_digest(attributes: Der) -> bytes:
    """Return the digest in the signed attributes, which must name plain data as content: RFC 5652, 5.3 and 11."""
    found: dict[bytes, Der] = {}
    while attributes.more():
        attribute = attributes.enter(SEQUENCE)
        kind = attribute.value(OBJECT_IDENTIFIER)
        _expect(kind not in found, "it has a signed attribute twice")
        found[kind] = attribute.enter(SET)
        attribute.finish()
    _expect(_CONTENT_TYPE in found and _MESSAGE_DIGEST in found, "its signed attributes are not complete")
    _expect(found[_CONTENT_TYPE].value(OBJECT_IDENTIFIER) == _DATA, "its signed attributes name another content")
    digest = found[_MESSAGE_DIGEST].value(OCTET_STRING)
    found[_CONTENT_TYPE].finish()
    found[_MESSAGE_DIGEST].finish()
    return digest


def _expect(condition: bool, fault: str) -> None:
    if not condition:
        raise DerError(fault)


def _unknown_signer(signer: SignerId, anchors: TrustAnchors) -> SignatureResult:
    if anchors.unmet_pins:
        pins = ", ".join(sorted(anchors.unmet_pins))
        reason = f"the certificate of the pinned key {pins} is missing: specify it as a trusted certificate"
        return SignatureResult("no_certificate", reason, None)
    named = f"key identifier {signer[:32].hex()}" if isinstance(signer, bytes) else f"serial number {signer[1].hex()}"
    return SignatureResult("wrong_signer", f"the signature names a signer that is not trusted, with {named}", None)


def _was_made_with(certificate: Certificate, signature: ModuleSignature, digest: bytes) -> bool:
    """Return True if the signature over the attributes, or else over the digest, was made with this key."""
    # Trust anchors cannot be made without the library.
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    if len(digest) != _DIGEST_SIZES[signature.hash_algorithm]:
        return False
    algorithms: dict[HashName, hashes.HashAlgorithm] = {
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
    algorithm = algorithms[signature.hash_algorithm]
    signed = digest if signature.signed_attributes is None else signature.signed_attributes
    hashed = utils.Prehashed(algorithm) if signature.signed_attributes is None else algorithm
    key = certificate.public_key
    try:
        if signature.scheme == "rsa" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature.value, signed, padding.PKCS1v15(), hashed)
        elif signature.scheme == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature.value, signed, ec.ECDSA(hashed))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
