# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One module with many signatures: those that tools write, unusual ones, and damaged ones.

The unit tests compare the verdicts of the core with this table. The tests with the mark ``oracle`` let Linux kernels
load the same files, and so prove the column with the judgement of the kernel.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import typing as t

from . import signing
from .signing import Signer, algorithm, oid, tlv

Judgement = t.Literal["accepted", "unsigned", "refused"]
"""The result of the kernel: loaded as signed, loaded with the taint flag ``E``, or not loaded."""

ACCEPTED: Judgement = "accepted"
UNSIGNED: Judgement = "unsigned"
REFUSED: Judgement = "refused"


JUDGEMENTS: dict[str, Judgement] = {
    "valid": ACCEPTED,
    "unsigned": UNSIGNED,
    "wrong_signer": UNSIGNED,
    "unsupported_algorithm": UNSIGNED,
    "malformed": REFUSED,
    "truncated": REFUSED,
    "digest_mismatch": REFUSED,
}
"""The judgement of the kernel that corresponds to a verdict of the core."""


class Outcome(t.NamedTuple):
    """The judgement of Linux (6.12; 6.1 for MD5, which 6.12 does not know), and the verdict of the core."""

    kernel: Judgement
    verdict: str


VALID = Outcome(ACCEPTED, "valid")
NOT_SIGNED = Outcome(UNSIGNED, "unsigned")
UNTRUSTED = Outcome(UNSIGNED, "wrong_signer")
UNSUPPORTED = Outcome(UNSIGNED, "unsupported_algorithm")
MALFORMED = Outcome(REFUSED, "malformed")
MISMATCH = Outcome(REFUSED, "digest_mismatch")
TOO_SHORT = Outcome(REFUSED, "truncated")
# With these, the core differs from the kernel: see DIFFERENCES.
NOT_JUDGED = Outcome(ACCEPTED, "unsupported_algorithm")
NOT_TRUSTED = Outcome(ACCEPTED, "wrong_signer")
NOT_EXAMINED = Outcome(REFUSED, "wrong_signer")
FOUND_BY_KEY = Outcome(UNSIGNED, "valid")
CUT = Outcome(UNSIGNED, "truncated")

Variants = dict[str, tuple[bytes, Outcome]]

DIFFERENCES = {
    "only SHA-256, SHA-384 and SHA-512 are judged": {
        *("MD5", "SHA-1", "SHA-224", "SHA3-256", "SHA3-384", "SHA3-512", "ECDSA, SHA-1"),
        *("SHA-1 by a stranger", "SHA-1 by a stranger, first"),
    },
    "keys are trusted, not issuers": {
        *("a leaf of a trusted issuer", "a leaf and its trusted issuer", "the certificate of a leaf"),
    },
    "a trusted key has its identifier also where its certificate does not name it": {
        "key identifier that no certificate names",
    },
    "certificates in a message are examined only after a trusted key has verified the module": {
        *("a stranger with a certificate that is none", "a stranger with a certificate that does not match"),
    },
    "signed attributes with the tag of a sequence are not judged, because their values decide": {
        "signed attributes as a sequence",
    },
    "a module with bytes behind it that are no signature is reported as truncated": {
        *("a byte after the mark", "bytes after the mark", "the last byte of the mark is missing", "a changed mark"),
    },
}
"""The variants on which the core deliberately differs from the kernel, by the reason: see decision 0022."""

WITH_ECDSA = {
    *("ECDSA, P-256, SHA-256", "ECDSA, P-256, SHA-512", "ECDSA, P-384, SHA-256", "ECDSA, P-384, SHA-384"),
    *("ECDSA, P-384, SHA-512", "ECDSA, P-521, SHA-512", "ECDSA with parameters", "ECDSA, key identifier"),
    *("ECDSA with the name of another hash", "ECDSA with the name of SHA-1", "ECDSA, SHA-1", "RSA and ECDSA"),
    "the certificate of a signer with ECDSA",
}
"""The variants that a kernel without ECDSA refuses."""

# The kernel that judges trusts one key of the lab in place of the key of its build. This key signs the certificates of
# the others, so that they can be added to the trusted keys. It is small, because its certificate must be.
ROOT = signing.make_signer("Root", bits=1024, claims_key_id=True)
VENDOR = signing.make_signer("Vendor", issuer=ROOT, claims_key_id=True)
OTHER = signing.make_signer("Other vendor", issuer=ROOT, claims_key_id=True)
EXPIRED = signing.make_signer("Expired", issuer=ROOT, claims_key_id=True, expired=True)
UNNAMED = signing.make_signer("Vendor without a key identifier", issuer=ROOT)
CURVE = signing.make_signer("Vendor with a curve", "p384", issuer=ROOT, claims_key_id=True)
SMALL_CURVE = signing.make_signer("Vendor with a small curve", "p256", issuer=ROOT, claims_key_id=True)
LARGE_CURVE = signing.make_signer("Vendor with a large curve", "p521", issuer=ROOT, claims_key_id=True)
TRUSTED = (VENDOR, OTHER, EXPIRED, UNNAMED, CURVE, SMALL_CURVE, LARGE_CURVE)
"""The signers that the core and the kernel trust."""
STRANGER = signing.make_signer("Stranger")
LEAF = signing.make_signer("Leaf", issuer=VENDOR)

RSA, PSS = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"
ECDSA_SHA1, ECDSA_SHA256 = "1.2.840.10045.4.1", "1.2.840.10045.4.3.2"
SHA256, SHA512 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.3"
_AUTHENTICODE = "1.3.6.1.4.1.311.2.1.4"
_TIME = tlv(0x30, oid("1.2.840.113549.1.9.5"), tlv(0x31, tlv(0x17, b"260101000000Z")))
_PKCS7 = b"\0\0\2\0\0\0\0\0"


class _Tool:
    """Signs one module in every form."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.own = self.info()
        self.strangers = self.info(STRANGER)
        self.message = signing.signed_data(self.own)

    def info(self, signer: Signer = VENDOR, hash_name: str = "sha512", **form: t.Any) -> bytes:
        return signing.signer_info(self.content, signer, hash_name, **form)

    def forged(self, signer: Signer) -> bytes:
        """Return the signature of another module."""
        return signing.signer_info(self.content + b"!", signer)

    def signed(self, *infos: bytes, **form: t.Any) -> bytes:
        return self.with_message(signing.signed_data(*(infos or (self.own,)), **form))

    def sign(self, signer: Signer = VENDOR, hash_name: str = "sha512", **form: t.Any) -> bytes:
        return signing.sign(self.content, signer, hash_name, **form)

    def with_message(self, message: bytes, **form: t.Any) -> bytes:
        return signing.append(self.content, message, **form)

    def with_trailer(self, position: int, value: int = 1, **form: t.Any) -> bytes:
        """Return a module whose trailer has a value in a field that must be zero, or 2 for the type."""
        fields = bytearray(_PKCS7)
        fields[position] = value
        return self.with_message(self.message, trailer=bytes(fields), **form)


def make_variants(content: bytes) -> Variants:
    """Return a module with this content in all variants, by name."""
    tool = _Tool(content)
    groups = (
        *(_algorithms, _weak_algorithms, _parameters, _digest_algorithms, _versions, _signers, _mixed_signers),
        *(
            _attributes,
            _certificates,
            _sets_of_certificates,
            _chains,
            _messages,
            _encodings,
            _lengths,
            _indefinite_lengths,
            _sizes,
            _trailers,
            _contents,
        ),
    )
    made = [group(tool) for group in groups]
    variants = {name: variant for group in made for name, variant in group.items()}
    assert len(variants) == sum(map(len, made)), "each name is that of one variant"
    return variants


def _algorithms(tool: _Tool) -> Variants:
    other_hash = tool.signed(tool.info(CURVE, scheme=algorithm(ECDSA_SHA256, null=False)))
    weak_hash = tool.signed(tool.info(CURVE, scheme=algorithm(ECDSA_SHA1, null=False)))
    return {
        "RSA, SHA-256": (tool.sign(VENDOR, "sha256"), VALID),
        "RSA, SHA-384": (tool.sign(VENDOR, "sha384"), VALID),
        "RSA, SHA-512": (tool.sign(VENDOR), VALID),
        "ECDSA, P-256, SHA-256": (tool.sign(SMALL_CURVE, "sha256"), VALID),
        "ECDSA, P-256, SHA-512": (tool.sign(SMALL_CURVE), VALID),
        "ECDSA, P-384, SHA-256": (tool.sign(CURVE, "sha256"), VALID),
        "ECDSA, P-384, SHA-384": (tool.sign(CURVE, "sha384"), VALID),
        "ECDSA, P-384, SHA-512": (tool.sign(CURVE), VALID),
        "ECDSA, P-521, SHA-512": (tool.sign(LARGE_CURVE), VALID),
        "ECDSA with parameters": (tool.signed(tool.info(CURVE, scheme=algorithm("1.2.840.10045.4.3.4"))), VALID),
        "ECDSA with the name of another hash": (other_hash, VALID),
        "ECDSA with the name of SHA-1": (weak_hash, VALID),
        "a scheme other than that of the key": (tool.signed(tool.info(scheme=algorithm(ECDSA_SHA256))), MISMATCH),
        "RSASSA-PSS": (tool.signed(tool.info(scheme=algorithm(PSS))), UNSUPPORTED),
        "sha256WithRSAEncryption": (tool.sign(VENDOR, "sha256", hash_in_scheme=True), UNSUPPORTED),
        "sha512WithRSAEncryption": (tool.sign(VENDOR, hash_in_scheme=True), UNSUPPORTED),
        "an unknown scheme": (tool.signed(tool.info(scheme=algorithm("1.2.3.4"))), UNSUPPORTED),
        "an unknown digest": (tool.signed(tool.info(digest=algorithm("1.2.3.4"))), UNSUPPORTED),
        "the name of another digest": (tool.signed(tool.info(digest=algorithm(SHA256))), MISMATCH),
    }


def _weak_algorithms(tool: _Tool) -> Variants:
    return {
        "MD5": (tool.sign(VENDOR, "md5"), NOT_JUDGED),
        "SHA-1": (tool.sign(VENDOR, "sha1"), NOT_JUDGED),
        "SHA-224": (tool.sign(VENDOR, "sha224"), NOT_JUDGED),
        "ECDSA, SHA-1": (tool.signed(tool.info(CURVE, "sha1", scheme=algorithm(ECDSA_SHA1, null=False))), NOT_JUDGED),
        "SHA3-256": (tool.sign(VENDOR, "sha3_256"), NOT_JUDGED),
        "SHA3-384": (tool.sign(VENDOR, "sha3_384"), NOT_JUDGED),
        "SHA3-512": (tool.sign(VENDOR, "sha3_512"), NOT_JUDGED),
    }


def _parameters(tool: _Tool) -> Variants:
    """Parameters of algorithms. Tools write NULL or nothing."""
    rsa, sha512 = algorithm(RSA, null=False), algorithm(SHA512, null=False)
    text, twice = tlv(0x04, b"text"), tlv(0x05) * 2

    def with_parameters(dotted: str, parameters: bytes) -> bytes:
        return tlv(0x30, oid(dotted), parameters)

    return {
        "RSA without parameters": (tool.signed(tool.info(scheme=rsa)), VALID),
        "a digest without parameters": (tool.signed(tool.info(digest=sha512)), VALID),
        "a listed digest without parameters": (tool.signed(digest_algorithms=sha512), VALID),
        "nothing with parameters": (tool.signed(tool.info(scheme=rsa, digest=sha512), digest_algorithms=sha512), VALID),
        "RSA with other parameters": (tool.signed(tool.info(scheme=with_parameters(RSA, text))), VALID),
        "a digest with other parameters": (tool.signed(tool.info(digest=with_parameters(SHA512, text))), VALID),
        "a listed digest with other parameters": (tool.signed(digest_algorithms=with_parameters(SHA512, text)), VALID),
        "a NULL that is not empty": (tool.signed(tool.info(scheme=with_parameters(RSA, tlv(0x05, b"\0")))), VALID),
        "RSA with two parameters": (tool.signed(tool.info(scheme=with_parameters(RSA, twice))), MALFORMED),
        "a digest with two parameters": (tool.signed(tool.info(digest=with_parameters(SHA512, twice))), MALFORMED),
    }


def _digest_algorithms(tool: _Tool) -> Variants:
    """The list of digest algorithms of a message."""
    sha256, sha512, unknown = algorithm(SHA256), algorithm(SHA512), algorithm("1.2.3.4")
    return {
        "two digest algorithms": (tool.signed(digest_algorithms=sha512 + sha256), VALID),
        "the same digest algorithm twice": (tool.signed(digest_algorithms=sha512 * 2), VALID),
        "another digest algorithm": (tool.signed(digest_algorithms=sha256), VALID),
        "an unknown digest algorithm": (tool.signed(digest_algorithms=unknown), VALID),
        "ten digest algorithms": (tool.signed(digest_algorithms=sha512 + unknown * 9), VALID),
        "no digest algorithm": (tool.signed(digest_algorithms=b""), MALFORMED),
        "a digest algorithm without identifier": (tool.signed(digest_algorithms=tlv(0x30)), MALFORMED),
        "an identifier in place of a digest algorithm": (tool.signed(digest_algorithms=oid(SHA512)), MALFORMED),
    }


def _versions(tool: _Tool) -> Variants:
    named = tool.info(key_identifier=True)
    return {
        "version 1, issuer and serial number": (tool.signed(tool.own), VALID),
        "version 3, key identifier": (tool.sign(VENDOR, key_identifier=True), VALID),
        "version 3 with certificate": (tool.sign(VENDOR, key_identifier=True, certificates=True), VALID),
        "ECDSA, key identifier": (tool.sign(CURVE, key_identifier=True), VALID),
        "key identifier of a stranger": (tool.sign(STRANGER, key_identifier=True), UNTRUSTED),
        "key identifier that no certificate names": (tool.sign(UNNAMED, key_identifier=True), FOUND_BY_KEY),
        "issuer of a certificate without key identifier": (tool.sign(UNNAMED), VALID),
        "versions 1 and 3": (tool.signed(named, version=1), MALFORMED),
        "versions 3 and 1": (tool.signed(tool.own, version=3), MALFORMED),
        "version 3 with issuer": (tool.signed(tool.info(version=b"\3"), version=3), MALFORMED),
        "version 1 with key identifier": (tool.signed(tool.info(key_identifier=True, version=b"\1")), MALFORMED),
        "signers of versions 1 and 3": (tool.signed(tool.own, named), MALFORMED),
        "signers of versions 3 and 1": (tool.signed(named, tool.own, version=3), MALFORMED),
        "two key identifiers": (tool.signed(tool.info(STRANGER, key_identifier=True), named, version=3), VALID),
        "version 0": (tool.signed(tool.info(version=b"\0"), version=0), MALFORMED),
        "version 2": (tool.signed(tool.info(version=b"\2"), version=2), MALFORMED),
        "version 5": (tool.signed(tool.info(version=b"\5"), version=5), MALFORMED),
        "a version of two bytes": (tool.signed(tool.info(version=b"\0\1")), MALFORMED),
    }


def _signers(tool: _Tool) -> Variants:
    own, strangers = tool.own, tool.strangers
    return {
        "the trusted signer first": (tool.signed(own, strangers), VALID),
        "the trusted signer last": (tool.signed(strangers, own), VALID),
        "the trusted signer between": (tool.signed(strangers, own, strangers), VALID),
        "two trusted signers": (tool.signed(own, tool.info(OTHER)), VALID),
        "the same signer twice": (tool.signed(own, own), VALID),
        "twenty signers": (tool.signed(*[strangers] * 19, own), VALID),
        "signers with different digests": (tool.signed(tool.info(STRANGER, "sha256"), own), VALID),
        "one signer with two digests": (tool.signed(tool.info(VENDOR, "sha256"), own), VALID),
        "only strangers": (tool.signed(strangers, strangers), UNTRUSTED),
        "a stranger": (tool.sign(STRANGER), UNTRUSTED),
        "a stranger with a curve": (tool.sign(signing.make_signer("Stranger", "p256")), UNTRUSTED),
        "a stranger with the name of the vendor": (
            tool.signed(tool.info(Signer(STRANGER.key, VENDOR.certificate))),
            MISMATCH,
        ),
        "a stranger whose signature does not match": (tool.signed(tool.forged(STRANGER)), UNTRUSTED),
        "a stranger whose signature does not match, first": (tool.signed(tool.forged(STRANGER), own), VALID),
        "the issuer of the certificates": (tool.signed(tool.info(LEAF)), UNTRUSTED),
        "an expired certificate": (tool.sign(EXPIRED), VALID),
        "a signer with an expired certificate, last": (tool.signed(strangers, tool.info(EXPIRED)), VALID),
        "a trusted signer that does not match": (tool.signed(own, tool.forged(OTHER)), MISMATCH),
        "a trusted signer that does not match, first": (tool.signed(tool.forged(OTHER), own), MISMATCH),
        "no signer": (tool.with_message(signing.signed_data()), MALFORMED),
        "an empty signer": (tool.signed(tlv(0x30)), MALFORMED),
    }


def _mixed_signers(tool: _Tool) -> Variants:
    """A trusted signer beside one whose algorithms or form the kernel does not know."""
    own = tool.own
    pss = tool.info(STRANGER, scheme=algorithm(PSS))
    attributes = signing.signed_attributes(tool.content, "sha512")
    with_attributes = tool.info(scheme=algorithm(PSS), attributes=attributes)
    damaged = tool.info(scheme=algorithm(PSS), unsigned_attributes=tlv(0xA1))
    return {
        "RSA and ECDSA": (tool.signed(tool.info(CURVE, "sha256"), own), VALID),
        "an unknown scheme first": (tool.signed(pss, own), UNSUPPORTED),
        "an unknown scheme last": (tool.signed(own, pss), UNSUPPORTED),
        "an unknown scheme, then a damaged signer": (tool.signed(pss, tlv(0x30)), UNSUPPORTED),
        "a damaged signer, then an unknown scheme": (tool.signed(tlv(0x30), pss), MALFORMED),
        "an unknown scheme with signed attributes": (tool.signed(with_attributes), UNSUPPORTED),
        "an unknown scheme in a damaged signer": (tool.signed(damaged), UNSUPPORTED),
        "an unknown scheme, and an extra element": (
            tool.with_message(_with_extra(signing.signed_data(pss))),
            UNSUPPORTED,
        ),
        "signed attributes, then an unknown scheme": (tool.signed(tool.info(attributes=attributes), pss), UNSUPPORTED),
        "an unknown scheme, then a damaged element": (tool.signed(pss, b"\x30\x05"), UNSUPPORTED),
        "an unknown scheme, then another element": (tool.signed(pss, tlv(0x05)), UNSUPPORTED),
        "SHA-1 by a stranger": (tool.signed(own, tool.info(STRANGER, "sha1")), NOT_JUDGED),
        "SHA-1 by a stranger, first": (tool.signed(tool.info(STRANGER, "sha1"), own), NOT_JUDGED),
        "signed attributes of a stranger": (tool.signed(own, tool.info(STRANGER, attributes=attributes)), MALFORMED),
        "signed attributes of a stranger, first": (
            tool.signed(tool.info(STRANGER, attributes=attributes), own),
            MALFORMED,
        ),
    }


def _with_extra(message: bytes) -> bytes:
    """Return the message with an element more in its outermost sequence."""
    assert message[:2] == b"\x30\x82"
    return tlv(0x30, message[4:], tlv(0x05))


def _attributes(tool: _Tool) -> Variants:
    attributes = signing.signed_attributes(tool.content, "sha512")
    nothing = tlv(0x30, oid("1.2.840.113549.1.9.5"), tlv(0x31))

    def unsigned(*each: bytes) -> bytes:
        return tool.signed(tool.info(unsigned_attributes=tlv(0xA1, *each)))

    return {
        "signed attributes": (tool.sign(VENDOR, attributes=True), MALFORMED),
        "signed attributes with key identifier": (tool.sign(VENDOR, attributes=True, key_identifier=True), MALFORMED),
        "signed attributes with ECDSA": (tool.sign(CURVE, attributes=True), MALFORMED),
        "signed attributes with certificate": (tool.sign(VENDOR, attributes=True, certificates=True), MALFORMED),
        "signed attributes of a stranger only": (tool.sign(STRANGER, attributes=True), MALFORMED),
        "signed attributes and sha256WithRSAEncryption": (
            tool.sign(VENDOR, "sha256", attributes=True, hash_in_scheme=True),
            UNSUPPORTED,
        ),
        "signed attributes as a sequence": (tool.signed(_with_sequence(tool, attributes)), NOT_JUDGED),
        "one signed attribute": (tool.signed(tool.info(attributes=_TIME)), MALFORMED),
        "empty signed attributes": (tool.signed(tool.info(attributes=b"")), MALFORMED),
        "attributes as content": (
            signing.append(tool.content + tlv(0x31, attributes), signing.signed_data(tool.info(attributes=attributes))),
            MALFORMED,
        ),
        "unsigned attributes as a sequence": (tool.signed(tool.info(unsigned_attributes=tlv(0xA3, _TIME))), VALID),
        "an unsigned attribute": (unsigned(_TIME), VALID),
        "two unsigned attributes": (unsigned(_TIME, tlv(0x30, oid("1.2.3.4"), tlv(0x31, tlv(0x04), tlv(0x05)))), VALID),
        "empty unsigned attributes": (unsigned(), MALFORMED),
        "an unsigned attribute without value": (unsigned(nothing), MALFORMED),
        "malformed unsigned attributes": (unsigned(tlv(0x05)), MALFORMED),
        "unsigned attributes twice": (tool.signed(tool.info(unsigned_attributes=tlv(0xA1, _TIME) * 2)), MALFORMED),
    }


def _certificates(tool: _Tool) -> Variants:
    same_name = signing.make_certificate(
        STRANGER.key, "Vendor", serial=VENDOR.certificate.serial_number, issuer=Signer(STRANGER.key, ROOT.certificate)
    )
    damaged = _changed(STRANGER.der, len(STRANGER.der) - 1)

    def with_certificates(*certificates: bytes) -> bytes:
        return tool.signed(certificates=certificates)

    return {
        "the certificate of the signer": (with_certificates(VENDOR.der), VALID),
        "the certificate of another signer": (with_certificates(OTHER.der), VALID),
        "the certificate of an expired signer": (tool.sign(EXPIRED, certificates=True), VALID),
        "the certificate of a signer with ECDSA": (tool.sign(CURVE, certificates=True), VALID),
        "the certificate of a stranger": (with_certificates(STRANGER.der), VALID),
        "a certificate twice": (with_certificates(VENDOR.der, VENDOR.der), VALID),
        "ten certificates": (with_certificates(*[STRANGER.der] * 9, VENDOR.der), VALID),
        "a stranger with certificate": (tool.sign(STRANGER, certificates=True), UNTRUSTED),
        "a stranger whose certificate does not match": (
            tool.signed(tool.own, tool.forged(STRANGER), certificates=(STRANGER.der,)),
            MISMATCH,
        ),
        "a certificate with another key": (with_certificates(Signer(STRANGER.key, same_name).der), MISMATCH),
        "a certificate with another kind of key": (with_certificates(_with_curve()), MISMATCH),
        "a certificate with a changed signature": (with_certificates(damaged), MALFORMED),
        "a certificate that is none": (with_certificates(tlv(0x30, b"\5\0")), MALFORMED),
        "an empty certificate": (with_certificates(tlv(0x30)), MALFORMED),
        "a stranger with a certificate that is none": (
            tool.signed(tool.strangers, certificates=(tlv(0x30),)),
            NOT_EXAMINED,
        ),
        "a stranger with a certificate that does not match": (
            tool.signed(tool.forged(STRANGER), certificates=(STRANGER.der,)),
            NOT_EXAMINED,
        ),
    }


def _sets_of_certificates(tool: _Tool) -> Variants:
    return {
        "certificates as a sequence": (_with_set(tool, tlv(0xA2, VENDOR.der)), VALID),
        "an empty list of certificates": (_with_set(tool, tlv(0xA0)), VALID),
        "an empty revocation list": (_with_set(tool, tlv(0xA1)), MALFORMED),
        "a revocation list with a certificate": (_with_set(tool, tlv(0xA1, tlv(0x30, STRANGER.der))), VALID),
        "a revocation list without content": (_with_set(tool, tlv(0xA1, tlv(0x30))), MALFORMED),
        "revocation lists as a sequence": (_with_set(tool, tlv(0xA3, tlv(0x30, STRANGER.der))), VALID),
        "a revocation list": (_with_set(tool, tlv(0xA1, tlv(0x30, tlv(0x30)))), MALFORMED),
    }


def _with_set(tool: _Tool, encoded: bytes) -> bytes:
    return tool.signed(revocation_lists=encoded)


def _with_curve() -> bytes:
    """Return a certificate with the name of the vendor's, and a key of another kind."""
    key = signing.make_signer("Stranger", "p256").key
    number = VENDOR.certificate.serial_number
    return Signer(key, signing.make_certificate(key, "Vendor", serial=number, issuer=Signer(key, ROOT.certificate))).der


def _chains(tool: _Tool) -> Variants:
    """Signers that are trusted through their issuer. The core trusts keys only."""
    leaf = tool.info(LEAF)
    return {
        "a leaf of a trusted issuer": (tool.signed(leaf, certificates=(LEAF.der,)), NOT_TRUSTED),
        "a leaf and its trusted issuer": (tool.signed(leaf, certificates=(LEAF.der, VENDOR.der)), NOT_TRUSTED),
        "a trusted signer beside a leaf": (tool.signed(tool.own, leaf, certificates=(LEAF.der, VENDOR.der)), VALID),
        "the certificate of a leaf": (tool.signed(certificates=(LEAF.der,)), NOT_JUDGED),
    }


def _messages(tool: _Tool) -> Variants:
    signed_data, data = oid("1.2.840.113549.1.7.2"), oid(signing.DATA_OID)
    attached = tlv(0xA0, tlv(0x04, tool.content[:500]))
    pss = tool.info(scheme=algorithm(PSS))
    return {
        "attached content": (tool.signed(content=attached), MALFORMED),
        "empty attached content": (tool.signed(content=tlv(0xA0, tlv(0x04))), MALFORMED),
        "attached nothing": (tool.signed(content=tlv(0xA0)), MALFORMED),
        "other content type": (tool.with_message(tool.message.replace(data, oid(RSA))), MALFORMED),
        "content type of Authenticode": (tool.with_message(_with_content_type(tool.message, _AUTHENTICODE)), MALFORMED),
        "other type of message": (tool.with_message(tool.message.replace(signed_data, data)), MALFORMED),
        "no message": (tool.with_message(tlv(0x30, signed_data)), MALFORMED),
        "an empty sequence": (tool.with_message(tlv(0x30)), MALFORMED),
        "text in place of a message": (tool.with_message(b"text"), MALFORMED),
        "an extra element after the message": (tool.with_message(_with_extra(tool.message)), MALFORMED),
        "two messages": (tool.with_message(tool.message * 2), VALID),
        "two messages, the first by a stranger": (
            tool.with_message(signing.signed_data(tool.strangers) + tool.message),
            UNTRUSTED,
        ),
        "an extra element in a signer": (tool.signed(tool.info(unsigned_attributes=tlv(0x05))), MALFORMED),
        "attached content with an unknown scheme": (tool.signed(pss, content=attached), UNSUPPORTED),
        "Authenticode with an unknown scheme": (
            tool.with_message(_with_content_type(signing.signed_data(pss), _AUTHENTICODE)),
            UNSUPPORTED,
        ),
        "a name with an empty part": (tool.signed(_renamed(tool.own, tlv(0x31))), MALFORMED),
    }


def _with_content_type(message: bytes, dotted: str) -> bytes:
    """Return the message with another content type, whose size may differ."""
    outer = 4 + len(oid("1.2.840.113549.1.7.2"))
    content = message[outer + 4 + 4 :]
    assert message[outer : outer + 2] == b"\xa0\x82"
    assert message[outer + 4 : outer + 6] == b"\x30\x82"
    content = content.replace(tlv(0x30, oid(signing.DATA_OID)), tlv(0x30, oid(dotted)))
    return tlv(0x30, oid("1.2.840.113549.1.7.2"), tlv(0xA0, tlv(0x30, content)))


def _renamed(info: bytes, part: bytes) -> bytes:
    """Return a SignerInfo whose issuer has one more part in its name."""
    name = ROOT.certificate.subject.public_bytes()
    serial = VENDOR.certificate.serial_number
    number = tlv(0x02, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    old, new = tlv(0x30, name, number), tlv(0x30, tlv(0x30, name[2:], part), number)
    assert old in info
    return tlv(0x30, info[4:].replace(old, new))


def _encodings(tool: _Tool) -> Variants:
    own, message = tool.own, tool.message
    listed = tlv(0x31, algorithm(SHA512))
    padded = tool.info(value=b"\0" + VENDOR.sign(tool.content, "sha512"))
    short = tool.info(value=VENDOR.sign(tool.content, "sha512")[:-1])
    value = b"\x04\x82\x01\x00"
    return {
        "a sequence in place of a set": (tool.with_message(_once(message, listed, b"\x30" + listed[1:])), VALID),
        "a sequence of signers in place of a set": (
            tool.with_message(_once(message, tlv(0x31, own), tlv(0x30, own))),
            VALID,
        ),
        "a message without the bit of a constructed element": (tool.with_message(b"\x10" + message[1:]), VALID),
        "a signer without the bit of a constructed element": (tool.signed(b"\x10" + own[1:]), VALID),
        "a scheme without the bit of a constructed element": (
            tool.signed(tool.info(scheme=b"\x10" + algorithm(RSA)[1:])),
            VALID,
        ),
        "a signature in constructed form": (tool.signed(_once(own, value, b"\x24" + value[1:])), MALFORMED),
        "a signature with a leading zero": (tool.signed(padded), MISMATCH),
        "a signature that is too short": (tool.signed(short), MISMATCH),
        "an empty signature": (tool.signed(tool.info(value=b"")), MISMATCH),
        "a tag of two bytes": (tool.signed(digest_algorithms=tlv(0x30, oid(SHA512), b"\x1f\x05\0")), MALFORMED),
        "a tag of two bytes in an attribute": (
            tool.signed(tool.info(unsigned_attributes=tlv(0xA1, tlv(0x30, oid("1.2.3.4"), tlv(0x31, b"\x1f\x05\0"))))),
            MALFORMED,
        ),
    }


def _lengths(tool: _Tool) -> Variants:
    """Lengths that DER does not allow. The kernel reads BER."""
    sha512, rsa, message = algorithm(SHA512), algorithm(RSA), tool.message

    def with_listed(encoded: bytes) -> bytes:
        return tool.signed(digest_algorithms=encoded)

    def with_scheme(encoded: bytes) -> bytes:
        return tool.signed(tool.info(scheme=encoded))

    return {
        "a length in three bytes": (tool.with_message(b"\x30\x83\0" + message[2:]), MALFORMED),
        "a short length in one byte more": (with_listed(b"\x30\x81" + sha512[1:]), VALID),
        "a short length in two bytes more": (with_listed(b"\x30\x82\0" + sha512[1:]), VALID),
        "a short length in three bytes more": (with_listed(b"\x30\x83\0\0" + sha512[1:]), MALFORMED),
        "a length of a scheme in one byte more": (with_scheme(b"\x30\x81" + rsa[1:]), VALID),
        "a length of an identifier in one byte more": (
            with_scheme(tlv(0x30, b"\6\x81" + oid(RSA)[1:], tlv(0x05))),
            VALID,
        ),
        "a length of a name in one byte more": (tool.signed(_with_long_name(tool.own)), VALID),
        "a length of more bytes than there are": (with_listed(b"\x30\x82"), MALFORMED),
    }


def _indefinite_lengths(tool: _Tool) -> Variants:
    sha512, bare, message = algorithm(SHA512), algorithm(SHA512, null=False), tool.message
    own = _indefinite(tool.own)

    def with_listed(encoded: bytes) -> bytes:
        return tool.signed(digest_algorithms=encoded)

    return {
        "an indefinite length": (tool.with_message(_indefinite(message)), VALID),
        "an indefinite length without a mark": (tool.with_message(_indefinite(message)[:-2]), MALFORMED),
        "an indefinite length with half a mark": (tool.with_message(_indefinite(message)[:-1]), MALFORMED),
        "an indefinite length with another mark": (tool.with_message(_indefinite(message)[:-1] + b"\1"), MALFORMED),
        "an indefinite length of a digest": (with_listed(_indefinite(sha512)), VALID),
        "an indefinite length of a scheme": (tool.signed(tool.info(scheme=_indefinite(algorithm(RSA)))), VALID),
        "an indefinite length without parameters": (with_listed(_indefinite(bare)), MALFORMED),
        "an indefinite length of parameters": (
            with_listed(tlv(0x30, oid(SHA512), _indefinite(tlv(0x30, tlv(0x05))))),
            VALID,
        ),
        "an indefinite length of a primitive element": (
            with_listed(tlv(0x30, oid(SHA512), b"\x04\x80\0\0")),
            MALFORMED,
        ),
        "an indefinite length of a signer": (tool.signed(own), VALID),
        "an indefinite length of certificates": (_with_set(tool, _indefinite(tlv(0xA0, VENDOR.der))), VALID),
        "an indefinite length of no certificates": (_with_set(tool, b"\xa0\x80\0\0"), MALFORMED),
        "an indefinite length of attributes": (
            tool.signed(tool.info(unsigned_attributes=_indefinite(tlv(0xA1, _indefinite(_TIME))))),
            VALID,
        ),
        "indefinite lengths within each other": (
            tool.with_message(_indefinite(signing.signed_data(own, digest_algorithms=_indefinite(sha512)))),
            VALID,
        ),
    }


def _indefinite(element: bytes) -> bytes:
    """Return the element with an indefinite length."""
    octets = element[1] - 0x80 if element[1] >= 0x80 else 0
    return element[:1] + b"\x80" + element[2 + octets :] + b"\0\0"


def _with_long_name(info: bytes) -> bytes:
    """Return a SignerInfo with a longer length of the name of its issuer."""
    name = ROOT.certificate.subject.public_bytes()
    serial = VENDOR.certificate.serial_number
    number = tlv(0x02, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    return tlv(0x30, _once(info[4:], tlv(0x30, name, number), tlv(0x30, b"\x30\x81" + name[1:], number)))


def _with_sequence(tool: _Tool, attributes: bytes) -> bytes:
    """Return a SignerInfo that signs the content, and has attributes in the form of a sequence."""
    scheme = algorithm(RSA)
    value = tlv(0x04, VENDOR.sign(tool.content, "sha512"))
    return tlv(0x30, _once(tool.own[4:], scheme + value, tlv(0xA2, tlv(0x30, attributes)) + scheme + value))


def _once(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def _sizes(tool: _Tool) -> Variants:
    message = tool.message
    return {
        "bytes after the message": (tool.with_message(message + b"\0" * 5), VALID),
        "text after the message": (tool.with_message(message + b"text"), VALID),
        "a byte before the message": (tool.with_message(b"\0" + message), MALFORMED),
        "the last byte of the message is missing": (tool.with_message(message[:-1]), MALFORMED),
        "an empty message": (tool.with_message(b""), MALFORMED),
        "size 0": (tool.with_message(message, size=0), MALFORMED),
        "size 1": (tool.with_message(message, size=1), MALFORMED),
        "size too small": (tool.with_message(message, size=len(message) - 1), MALFORMED),
        "size too large": (tool.with_message(message, size=len(message) + 1), MALFORMED),
        "size larger than the file": (tool.with_message(message, size=60_000), TOO_SHORT),
        "the largest size": (tool.with_message(message, size=0xFFFFFFFF), TOO_SHORT),
        "size of the whole file": (signing.append(b"", message), MISMATCH),
        "64 KiB less one byte": (tool.with_message(message.ljust(65_535, b"\0")), VALID),
        "64 KiB": (tool.with_message(message.ljust(65_536, b"\0")), MALFORMED),
        "100 KiB": (tool.with_message(message.ljust(102_400, b"\0")), MALFORMED),
    }


def _trailers(tool: _Tool) -> Variants:
    return {
        "algorithm in the trailer": (tool.with_trailer(0), MALFORMED),
        "hash in the trailer": (tool.with_trailer(1), MALFORMED),
        "PGP in the trailer": (tool.with_trailer(2, 0), UNSUPPORTED),
        "X.509 in the trailer": (tool.with_trailer(2, 1), UNSUPPORTED),
        "an unknown type in the trailer": (tool.with_trailer(2, 3), UNSUPPORTED),
        "the largest type in the trailer": (tool.with_trailer(2, 255), UNSUPPORTED),
        "PGP of size 0": (tool.with_trailer(2, 0, size=0), UNSUPPORTED),
        "PGP larger than the file": (tool.with_trailer(2, 0, size=60_000), TOO_SHORT),
        "an old type with a hash": (tool.with_message(tool.message, trailer=b"\1\4\1\0\0\0\0\0"), UNSUPPORTED),
        "length of a signer in the trailer": (tool.with_trailer(3), MALFORMED),
        "length of a key in the trailer": (tool.with_trailer(4), MALFORMED),
        "padding in the trailer, first": (tool.with_trailer(5), MALFORMED),
        "padding in the trailer, second": (tool.with_trailer(6), MALFORMED),
        "padding in the trailer, last": (tool.with_trailer(7), MALFORMED),
    }


def _contents(tool: _Tool) -> Variants:
    good, content = tool.sign(), tool.content
    twice = signing.sign(tool.sign(STRANGER), VENDOR)
    return {
        "no signature": (content, NOT_SIGNED),
        "a mark alone": (content + signing.MARK, UNSUPPORTED),
        "nothing but a mark": (signing.MARK, TOO_SHORT),
        "nothing but a signature": (good[len(content) :], MISMATCH),
        "text": (b"#!/bin/sh\n", MALFORMED),
        "signed text": (signing.sign(b"#!/bin/sh\n", VENDOR), MALFORMED),
        "a changed module": (_changed(good, 200), MISMATCH),
        "a module with a byte more": (signing.append(content + b"\0", tool.message), MISMATCH),
        "a changed signature": (tool.with_message(_changed(tool.message, len(tool.message) - 1)), MISMATCH),
        "the signature of another module": (tool.signed(tool.forged(VENDOR)), MISMATCH),
        "a byte after the mark": (good + b"\n", CUT),
        "bytes after the mark": (good + b"text", CUT),
        "the last byte of the mark is missing": (good[:-1], CUT),
        "a changed mark": (_changed(good, len(good) - 2), CUT),
        "signed twice": (twice, VALID),
        "signed twice, last by a stranger": (signing.sign(good, STRANGER), UNTRUSTED),
        "signed twice, first by a damaged signature": (signing.sign(tool.signed(tool.forged(VENDOR)), VENDOR), VALID),
        "compressed with xz": (lzma.compress(good), MALFORMED),
        "compressed with gzip": (gzip.compress(good), MALFORMED),
        "compressed with bzip2": (bz2.compress(good), MALFORMED),
        "compressed with zstd": (b"\x28\xb5\x2f\xfd" + good, MISMATCH),
        "compressed, then signed": (signing.sign(gzip.compress(content), VENDOR), MALFORMED),
    }


def _changed(data: bytes, at: int) -> bytes:
    """Return the data with one bit changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
