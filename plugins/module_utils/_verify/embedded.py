# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The certificates in a PKCS#7 message.

They make nothing trusted, but the kernel parses all of them and refuses a message in which one contradicts another
(kernel ``crypto/asymmetric_keys/pkcs7_verify.c`` and ``x509_public_key.c``). They are examined only where a trusted key
made the signature. A case in which the result of the kernel is not certain is ``unsupported_algorithm``: the file is
then not judged.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from .der import DerError
from .file_verdict import PatchFileError
from .trust import SignerId, TrustAnchors, parse_parts

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_UNJUDGED = "a certificate in the signature cannot be judged: "


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddedCertificate:
    """A certificate in a message. `signer_id` is issuer and serial number, as a signature names them.

    `authority` and `subject_id` are the key identifiers of the issuer and of the key that it claims, or ``None``.
    `names_itself` is True if issuer and subject have the same name.
    """

    signer_id: SignerId
    public_key: CertificatePublicKeyTypes
    subject_id: bytes | None
    authority: bytes | None
    names_itself: bool
    certificate: x509.Certificate


def read_embedded(encoded: c.Iterable[bytes], anchors: TrustAnchors) -> list[EmbeddedCertificate]:
    """Read the certificates of a message and compare them with each other.

    Raises `PatchFileError`: ``malformed`` for a signature of a certificate that the kernel refuses,
    ``unsupported_algorithm`` if this is not certain.
    """
    embedded = [_read(der) for der in encoded]
    for each in embedded:
        issuer = _issuer(each, embedded)
        if issuer is not None:
            _check_signature(each, issuer)
        elif each.authority is not None and anchors.find(each.authority, ()):
            raise PatchFileError("unsupported_algorithm", f"{_UNJUDGED}it names a trusted key as its issuer")
    return embedded


def _read(der: bytes) -> EmbeddedCertificate:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        issuer, serial, _spki = parse_parts(der)
        certificate = x509.load_der_x509_certificate(der)
        subject_id = authority = None
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.SubjectKeyIdentifier):
                subject_id = extension.value.digest
            elif isinstance(extension.value, x509.AuthorityKeyIdentifier):
                if extension.value.authority_cert_serial_number is not None:
                    raise ValueError("it names its issuer by a serial number")
                authority = extension.value.key_identifier
        public_key = certificate.public_key()
        if not isinstance(public_key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
            raise ValueError("its key is neither RSA nor ECDSA")
        # cryptography parses the names only here, and a malformed name is an exception like the others.
        names_itself = certificate.issuer == certificate.subject
        return EmbeddedCertificate((issuer, serial), public_key, subject_id, authority, names_itself, certificate)
    except DerError as error:
        raise PatchFileError("malformed", f"a certificate in the signature is malformed: {error}") from error
    # cryptography raises various exceptions without a common base, and other ones in each version.
    except Exception as error:
        raise PatchFileError("unsupported_algorithm", f"{_UNJUDGED}{error}") from error


def _issuer(certificate: EmbeddedCertificate, embedded: c.Iterable[EmbeddedCertificate]) -> EmbeddedCertificate | None:
    """Return the certificate of the key with which the kernel verifies a certificate of the message."""
    if certificate.names_itself and certificate.authority in (None, certificate.subject_id):
        return certificate
    if certificate.authority is None:
        return None
    return next((each for each in embedded if each.subject_id == certificate.authority), None)


def _check_signature(certificate: EmbeddedCertificate, issuer: EmbeddedCertificate) -> None:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.certificate.verify_directly_issued_by(issuer.certificate)
    except InvalidSignature as error:
        reason = "a certificate in the signature is not signed by its issuer"
        raise PatchFileError("malformed", reason) from error
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise PatchFileError("unsupported_algorithm", f"{_UNJUDGED}{error}") from error
