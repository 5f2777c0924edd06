# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whom to believe: certificates that are trusted as they are, and pins of public keys.

A pin is the SHA-256 of a SubjectPublicKeyInfo in DER. A certificate from anywhere may be used once its key hashes to
a pin. Dates and names of a certificate decide nothing: the kernel does not look at those of a module's signer either
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

from .._errors import LivepatchError
from .._io import read_bounded
from . import canonical_key
from .der import BIT_STRING, INTEGER, SEQUENCE, Der, DerError, context

try:
    import cryptography
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
except ImportError as error:
    _MISSING: ImportError | None = error
else:
    _MISSING = None

OLDEST_CRYPTOGRAPHY = 41
"""The oldest major version of `cryptography` with which all tests pass."""

CERTIFICATE_FILE_LIMIT = 1 << 20
"""Bytes of a file of certificates. Those of one signer are 2 KB."""

SignerId: t.TypeAlias = "bytes | tuple[bytes, bytes]"
"""How a signature names its signer: a key identifier, or the issuer's name in DER with the serial number's bytes."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """A signer's certificate.

    `key_id` is the SHA-1 of the public key as computed, in hex; `signer_ids` is every way in which a signature can
    name this certificate. `not_after` is aware.
    """

    subject: str
    key_id: str
    spki_sha256: str
    signer_ids: frozenset[SignerId]
    not_after: dt.datetime
    public_key: CertificatePublicKeyTypes

    def expired(self, now: dt.datetime) -> bool:
        """Whether its time is over at this (aware) moment."""
        return now > self.not_after


class TrustAnchors:
    """The certificates that count, found by the name that a signature gives its signer."""

    def __init__(
        self, trusted: c.Iterable[Certificate] = (), pins: c.Iterable[str] = (), offered: c.Iterable[Certificate] = ()
    ) -> None:
        """Trust each of `trusted`, and of the `offered` those whose key hashes to one of the `pins`.

        Raises `TrustError` for a pin that is none, and when the library `cryptography` is missing or too old.
        """
        _require_cryptography()
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
        """The key identifiers (SHA-1, hex) of the certificates that count."""
        return frozenset(certificate.key_id for certificate in self._certificates)

    def with_offered(self, certificate: Certificate) -> TrustAnchors:
        """The same trust, where one more certificate is at hand, of any origin."""
        return TrustAnchors(self._certificates, self._pins, [certificate])

    def find(self, signer: SignerId, embedded: c.Iterable[bytes]) -> list[Certificate]:
        """The trusted certificates of this signer; of those `embedded` in a signature only what is pinned counts."""
        known = self._by_signer.get(signer)
        if known is not None or not self.unmet_pins:
            return known or []
        return [found for der in embedded if (found := self._pinned(der)) is not None and signer in found.signer_ids]

    def _pinned(self, der: bytes) -> Certificate | None:
        """Read a certificate of unknown origin, if its key is pinned. Nothing else of it is touched before that."""
        try:
            _issuer, _serial, spki = _parts(der)
            pinned = hashlib.sha256(spki).hexdigest() in self.unmet_pins
            return read_certificate(der) if pinned else None
        except (DerError, TrustError):
            return None


def canonical_anchors() -> TrustAnchors:
    """Trust in the key that Canonical signs live patches with. Raises `TrustError` without `cryptography`."""
    return TrustAnchors(pins=[canonical_key.SPKI_SHA256], offered=_canonical_certificates())


def operator_anchors(certificates: c.Sequence[Certificate], pins: c.Collection[str] | None) -> TrustAnchors:
    """Trust as an operator asks for it.

    Without pins (``None``), each certificate is trusted as it is, beside Canonical's key. With an empty collection, the
    certificates alone are trusted. With pins, they alone decide, and a certificate whose key none of them names is
    an error: `TrustError`.
    """
    canonical = _canonical_certificates()
    if pins is None:
        return TrustAnchors(certificates, pins=[canonical_key.SPKI_SHA256], offered=canonical)
    if not pins:
        return TrustAnchors(certificates)
    wanted = {parse_pin(pin) for pin in pins}
    for certificate in certificates:
        if certificate.spki_sha256 not in wanted:
            raise TrustError(
                f"the certificate of {certificate.subject!r} has a key that is not pinned: {certificate.spki_sha256}"
            )
    return TrustAnchors(pins=wanted, offered=[*certificates, *canonical])


@functools.cache
def _canonical_certificates() -> tuple[Certificate, ...]:
    return tuple(read_certificates(canonical_key.CERTIFICATE))


def parse_pin(text: str) -> str:
    """A pin in its one form, 64 hexadecimal digits in lower case; colons are dropped. Raises `TrustError`."""
    pin = text.strip().replace(":", "").lower()
    if not _PIN.fullmatch(pin):
        raise TrustError(f"{text!r} is no SHA-256 of a public key: it must have 64 hexadecimal digits")
    return pin


def read_certificates(data: bytes) -> list[Certificate]:
    """The certificates of a file: one in DER, or one or more in PEM. Raises `TrustError`."""
    _require_cryptography()
    if _PEM not in data:
        return [read_certificate(data)]
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TrustError(f"the PEM data holds no certificate that can be read: {error}") from error
    return [read_certificate(each.public_bytes(serialization.Encoding.DER)) for each in found]


def read_certificate(der: bytes) -> Certificate:
    """Read one certificate in DER. Raises `TrustError`."""
    _require_cryptography()
    try:
        issuer, serial, spki = _parts(der)
        key_bits = _key_bits(spki)
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        subject = str(names[0].value) if names else certificate.subject.rfc4514_string()
        claimed = _claimed_key_identifier(certificate)
        public_key = certificate.public_key()
        not_after = _not_after(certificate)
    # cryptography has errors of its own for some faults, without a common base, and other ones in each version.
    except Exception as error:
        raise TrustError(f"this is no X.509 certificate that can be used: {error}") from error
    # RFC 5280, 4.2.1.2 (1): the identifier by which the kernel lists a key, and which SHA-1 is not trusted for.
    key_id = hashlib.sha1(key_bits, usedforsecurity=False)
    return Certificate(
        subject=subject,
        key_id=key_id.hexdigest(),
        spki_sha256=hashlib.sha256(spki).hexdigest(),
        signer_ids=frozenset({(issuer, serial), key_id.digest(), claimed or key_id.digest()}),
        not_after=not_after,
        public_key=public_key,
    )


def _require_cryptography() -> None:
    if _MISSING is not None:
        raise TrustError(
            f"verifying needs the Python package cryptography, {OLDEST_CRYPTOGRAPHY} or newer: {_MISSING}"
        ) from _MISSING
    if int(cryptography.__version__.partition(".")[0]) < OLDEST_CRYPTOGRAPHY:
        raise TrustError(
            f"verifying needs the Python package cryptography, {OLDEST_CRYPTOGRAPHY} or newer,"
            f" and here is {cryptography.__version__}"
        )


def _parts(der: bytes) -> tuple[bytes, bytes, bytes]:
    """Issuer (DER), serial number (content) and SubjectPublicKeyInfo (DER) of a certificate: RFC 5280, 4.1."""
    fields = Der(der).enter(SEQUENCE).enter(SEQUENCE)
    if fields.at(context(0)):
        fields.encoded(context(0))
    serial = fields.value(INTEGER)
    fields.encoded(SEQUENCE)  # the algorithm of the certificate's own signature
    issuer = fields.encoded(SEQUENCE)
    fields.encoded(SEQUENCE)  # validity
    fields.encoded(SEQUENCE)  # subject
    return issuer, serial, fields.encoded(SEQUENCE)


def _key_bits(spki: bytes) -> bytes:
    """The public key itself, without the count of unused bits before it."""
    fields = Der(spki).enter(SEQUENCE)
    fields.encoded(SEQUENCE)
    return fields.value(BIT_STRING)[1:]


def _claimed_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """A signature may name its signer by what the certificate claims. It only serves to find the certificate."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _not_after(certificate: x509.Certificate) -> dt.datetime:
    # cryptography before 42 knows only the form without a time zone, which is UTC and deprecated since.
    aware: dt.datetime | None = getattr(certificate, "not_valid_after_utc", None)
    return aware or certificate.not_valid_after.replace(tzinfo=dt.timezone.utc)


def read_anchors(paths: c.Iterable[str], pins: c.Collection[str] | None) -> TrustAnchors:
    """The trust that is asked for (see `operator_anchors`).

    Raises `TrustError`, which names the file.
    """
    certificates = []
    for path in paths:
        try:
            certificates += read_certificates(read_bounded(path, CERTIFICATE_FILE_LIMIT))
        except OSError as error:
            raise TrustError(f"{path} cannot be read: {error.strerror}") from error
        except TrustError as error:
            raise TrustError(f"{path}: {error.reason}") from error
    return operator_anchors(certificates, pins)


def read_named(path: str, limit: int) -> bytes:
    """Read a file, or raise `OSError` with the path in its message."""
    try:
        return read_bounded(path, limit)
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
