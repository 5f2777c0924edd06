# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Trust anchors: certificates that are trusted as they are, and pins of public keys.

A pin is the SHA-256 of a SubjectPublicKeyInfo in DER. A certificate from any source can be used if its key hashes to a
pin. Dates and names of a certificate decide nothing: the kernel does not check those of a module's signer either
(kernel ``crypto/asymmetric_keys/``).
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import functools
import hashlib
import re
import typing as t

from .._errors import LivepatchError, require
from .._io import read_bounded
from . import canonical_key
from .der import INTEGER, SEQUENCE, Der, DerError, context

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

OLDEST_CRYPTOGRAPHY = 41
"""The oldest major version of `cryptography` with which all tests pass."""

CERTIFICATE_FILE_LIMIT = 1 << 20
"""Bytes of a file of certificates. Those of one signer are 2 KB."""

_SMALLEST_RSA_BITS = 2048
"""Shorter keys can be broken: NIST SP 800-131A disallows them since 2014."""

SignerId: t.TypeAlias = "bytes | tuple[bytes, bytes]"
"""The name of a signer in a signature: a key identifier, or the contents of the issuer's name and serial number."""

_PIN = re.compile("[0-9a-f]{64}")
_PEM = b"-----BEGIN CERTIFICATE-----"


class TrustError(LivepatchError):
    """The trust options cannot be used. The message names the certificate or pin."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "trust_unusable",
            f"the trust options cannot be used: {reason}",
            "correct trusted_certificates or trusted_spki_sha256, or leave both out to trust Canonical's keys",
        )


class CertificateFileError(TrustError):
    """A file of trusted certificates cannot be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """A signer's certificate.

    `key_id` is the SHA-1 of the public key as computed, in hex; `signer_ids` are the names that a signature can have
    for this certificate. `not_after` is aware.
    """

    subject: str
    key_id: str
    spki_sha256: str
    signer_ids: frozenset[SignerId]
    not_after: dt.datetime
    public_key: CertificatePublicKeyTypes

    def expired(self, now: dt.datetime) -> bool:
        """Return True if the certificate has expired at this (aware) time."""
        return now > self.not_after


class TrustAnchors:
    """The trusted certificates, found by the name of the signer in a signature."""

    def __init__(
        self, trusted: c.Iterable[Certificate] = (), pins: c.Iterable[str] = (), offered: c.Iterable[Certificate] = ()
    ) -> None:
        """Trust each of `trusted`, and of the `offered` those whose key hashes to one of the `pins`.

        Raises `TrustError` for an invalid pin, and `LivepatchError` (``library_missing``) without `cryptography`.
        """
        _library("cryptography")
        self._pins = frozenset(parse_pin(pin) for pin in pins)
        certificates = [*trusted, *(certificate for certificate in offered if certificate.spki_sha256 in self._pins)]
        self._certificates = certificates
        self._by_signer: dict[SignerId, list[Certificate]] = {}
        for certificate in certificates:
            for signer in certificate.signer_ids:
                self._by_signer.setdefault(signer, []).append(certificate)
        self.unmet_pins = self._pins - {certificate.spki_sha256 for certificate in certificates}

    @property
    def key_ids(self) -> frozenset[str]:
        """The key identifiers (SHA-1, hex) of the trusted certificates."""
        return frozenset(certificate.key_id for certificate in self._certificates)

    @property
    def digest(self) -> str:
        """A SHA-256 of all trusted certificates and pins: the same for the same trust."""
        certificates = sorted([each.spki_sha256, *sorted(map(repr, each.signer_ids))] for each in self._certificates)
        return hashlib.sha256(repr((certificates, sorted(self._pins))).encode()).hexdigest()

    def with_offered(self, certificate: Certificate) -> TrustAnchors:
        """Return the same trust anchors with one more certificate, from any source, that a pin may name."""
        return TrustAnchors(self._certificates, self._pins, [certificate])

    def find(self, signer: SignerId, embedded: c.Iterable[bytes]) -> list[Certificate]:
        """Return the trusted certificates of this signer. Those `embedded` in a signature must be pinned."""
        known = self._by_signer.get(signer)
        if known is not None or not self.unmet_pins:
            return known or []
        return [found for der in embedded if (found := self._pinned(der)) is not None and signer in found.signer_ids]

    def _pinned(self, der: bytes) -> Certificate | None:
        """Read a certificate from an unknown source, if its key is pinned. Nothing else of it is parsed before that."""
        try:
            _issuer, _serial, spki = parse_parts(der)
            if hashlib.sha256(spki).hexdigest() not in self.unmet_pins:
                return None
            certificate = read_certificate(der)
            check_strength(certificate)
            return certificate
        except (DerError, TrustError):
            return None


def canonical_anchors() -> TrustAnchors:
    """Return trust in the keys with which Canonical signs live patches. Raises ``library_missing``."""
    return TrustAnchors(pins=canonical_key.PINS, offered=_canonical_certificates())


def operator_anchors(certificates: c.Sequence[Certificate], pins: c.Collection[str] | None) -> TrustAnchors:
    """Return the trust anchors for the options of an operator.

    Without pins (``None``), each certificate is trusted as it is, in addition to Canonical's keys. With an empty
    collection, only the certificates are trusted. With pins, only these keys are trusted, and a certificate with
    another key is an error: `TrustError`.
    """
    for certificate in certificates:
        check_strength(certificate)
    canonical = _canonical_certificates()
    if pins is None:
        return TrustAnchors(certificates, pins=canonical_key.PINS, offered=canonical)
    if not pins:
        return TrustAnchors(certificates)
    wanted = {parse_pin(pin) for pin in pins}
    for certificate in certificates:
        if certificate.spki_sha256 not in wanted:
            raise TrustError(
                f"the certificate of {certificate.subject!r} has a key that is not pinned: {certificate.spki_sha256}"
            )
    return TrustAnchors(pins=wanted, offered=[*certificates, *canonical])


def check_strength(certificate: Certificate) -> None:
    """Raise `TrustError` for a certificate with an RSA key that is too short to trust."""
    rsa = _library("cryptography.hazmat.primitives.asymmetric.rsa")
    key = certificate.public_key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA_BITS:
        raise TrustError(
            f"the certificate of {certificate.subject!r} has an RSA key of {key.key_size} bits, and must have at least "
            f"{_SMALLEST_RSA_BITS}"
        )


@functools.cache
def _canonical_certificates() -> tuple[Certificate, ...]:
    return tuple(read_certificates(canonical_key.CERTIFICATES))


def parse_pin(text: str) -> str:
    """Return a pin in its canonical form, 64 hexadecimal digits in lower case without colons. Raises `TrustError`."""
    pin = text.strip().replace(":", "").lower()
    if not _PIN.fullmatch(pin):
        raise TrustError(f"{text!r} is not the SHA-256 of a public key: it must have 64 hexadecimal digits")
    return pin


def read_certificates(data: bytes) -> list[Certificate]:
    """Read the certificates of a file: one in DER, or one or more in PEM. Raises `TrustError`."""
    if _PEM not in data:
        return [read_certificate(data)]
    try:
        found = _library("cryptography.x509").load_pem_x509_certificates(data)
    # cryptography raises various exceptions without a common base, such as InvalidVersion.
    except Exception as error:
        raise TrustError(f"the PEM data holds no readable certificate: {error}") from error
    encoding = _library("cryptography.hazmat.primitives.serialization").Encoding.DER
    return [read_certificate(each.public_bytes(encoding)) for each in found]


def read_certificate(der: bytes) -> Certificate:
    """Read one certificate in DER. Raises `TrustError`."""
    x509 = _library("cryptography.x509")
    try:
        issuer, serial, spki = parse_parts(der)
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        subject = str(names[0].value) if names else certificate.subject.rfc4514_string()
        claimed = _claimed_key_identifier(certificate)
        public_key = certificate.public_key()
        # RFC 5280, 4.2.1.2 (1): the identifier by which the kernel lists a key, and which SHA-1 is not trusted for.
        key_id = x509.SubjectKeyIdentifier.from_public_key(public_key).digest
        not_after = _not_after(certificate)
    # cryptography raises various exceptions without a common base, and other ones in each version.
    except Exception as error:
        raise TrustError(f"this is not a usable X.509 certificate: {error}") from error
    return Certificate(
        subject=subject,
        key_id=key_id.hex(),
        spki_sha256=hashlib.sha256(spki).hexdigest(),
        signer_ids=frozenset({(issuer, serial), key_id, claimed or key_id}),
        not_after=not_after,
        public_key=public_key,
    )


def _library(module: str) -> t.Any:
    return require(module, "verifying a signature", minimum=OLDEST_CRYPTOGRAPHY)


def parse_parts(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Return issuer (content), serial number (content) and SubjectPublicKeyInfo (DER) of a certificate: RFC 5280, 4.1.

    Signatures name the issuer by these bytes, and an embedded certificate must not be parsed further before its key is
    known to be pinned.
    """
    fields = Der(der).enter(SEQUENCE).enter(SEQUENCE)
    if fields.at(context(0)):
        fields.encoded(context(0))
    serial = fields.value(INTEGER)
    fields.encoded(SEQUENCE)  # the algorithm of the certificate's own signature
    issuer = fields.value(SEQUENCE)
    fields.encoded(SEQUENCE)  # validity
    fields.encoded(SEQUENCE)  # subject
    return issuer, serial, fields.encoded(SEQUENCE)


def _claimed_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """Return the key identifier that the certificate claims. It only serves to find the certificate."""
    x509 = _library("cryptography.x509")
    try:
        identifier: bytes = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None
    return identifier


def _not_after(certificate: x509.Certificate) -> dt.datetime:
    # cryptography before 42 has only the form without a time zone, which is UTC and deprecated since.
    aware: dt.datetime | None = getattr(certificate, "not_valid_after_utc", None)
    return aware or certificate.not_valid_after.replace(tzinfo=dt.timezone.utc)


def read_anchors(paths: c.Iterable[str], pins: c.Collection[str] | None) -> TrustAnchors:
    """Return the trust anchors for certificates in files and pins (see `operator_anchors`).

    Raises `TrustError`, as `CertificateFileError` for a file that cannot be read; both name the file.
    """
    certificates = []
    for path in paths:
        try:
            certificates += read_certificates(read_bounded(path, CERTIFICATE_FILE_LIMIT))
        except OSError as error:
            raise CertificateFileError(f"{path} cannot be read: {error.strerror}") from error
        except TrustError as error:
            raise TrustError(f"{path}: {error.reason}") from None
    return operator_anchors(certificates, pins)
