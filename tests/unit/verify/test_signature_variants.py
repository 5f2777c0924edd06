# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Module signatures are accepted and refused as by the Linux kernel.

The results of the kernel are those of a test in which Linux 6.1 loaded modules with these signatures, or follow from
its source (``crypto/asymmetric_keys/``, ``lib/asn1_decoder.c``). The core may be stricter only where the table says so.
"""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust
from tests.lab.live_patches import signing
from tests.lab.live_patches.signing import algorithm, oid, tlv

ACCEPTED, REFUSED, UNSIGNED = "accepted", "refused", "loaded as unsigned"

NOW = dt.datetime.now(dt.timezone.utc)
CONTENT = signing.module()
VENDOR = signing.make_signer("Vendor")
OTHER = signing.make_signer("Other vendor")
CURVE = signing.make_signer("Vendor with a curve", "p384")
EXPIRED = signing.make_signer("Expired", expired=True)
STRANGER = signing.make_signer("Stranger")
LEAF = signing.Signer(
    signing.make_signer("Leaf").key,
    signing.make_certificate(signing.make_signer("Leaf").key, "Leaf", issuer=VENDOR),
)
TRUSTED = trust.TrustAnchors([trust.read_certificate(each.der) for each in (VENDOR, OTHER, CURVE, EXPIRED)])

RSA, WITH_SHA256, PSS = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.10"
SHA256, SHA512, SHA3_512 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.3", "2.16.840.1.101.3.4.2.10"
INFO = signing.signer_info(CONTENT, VENDOR)
STRANGERS = signing.signer_info(CONTENT, STRANGER)
MESSAGE = signing.signed_data(INFO)
ATTRIBUTE = tlv(0x30, oid("1.2.840.113549.1.9.5"), tlv(0x31, tlv(0x17, b"260101000000Z")))
ATTRIBUTES = signing.signed_attributes(CONTENT, "sha512")
FORGED = signing.signer_info(CONTENT + b"!", OTHER)
PKCS7 = b"\0\0\2\0\0\0\0\0"


def signed(*infos: bytes, **form: t.Any) -> bytes:
    return signing.append(CONTENT, signing.signed_data(*(infos or (INFO,)), **form))


def info(signer: signing.Signer = VENDOR, hash_name: str = "sha512", **form: t.Any) -> bytes:
    return signing.signer_info(CONTENT, signer, hash_name, **form)


def trailer(position: int, value: int = 1) -> bytes:
    """Return a module whose trailer has a value in a field that must be zero."""
    fields = bytearray(PKCS7)
    fields[position] = value
    return signing.append(CONTENT, MESSAGE, trailer=bytes(fields))


def long_form(message: bytes) -> bytes:
    """Return the message with one more octet in its outer length than needed."""
    assert message[:2] == b"\x30\x82"
    return b"\x30\x83\0" + message[2:]


def indefinite(message: bytes) -> bytes:
    assert message[:2] == b"\x30\x82"
    return b"\x30\x80" + message[4:] + b"\0\0"


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


VARIANTS: dict[str, tuple[bytes, str, str]] = {
    # --- algorithms
    "RSA, SHA-256": (signing.sign(CONTENT, VENDOR, "sha256"), ACCEPTED, "valid"),
    "RSA, SHA-384": (signing.sign(CONTENT, VENDOR, "sha384"), ACCEPTED, "valid"),
    "RSA, SHA-512": (signing.sign(CONTENT, VENDOR), ACCEPTED, "valid"),
    "RSA without parameters": (signed(info(scheme=algorithm(RSA, null=False))), ACCEPTED, "valid"),
    "digest without parameters": (signed(INFO, digest_algorithms=algorithm(SHA512, null=False)), ACCEPTED, "valid"),
    "ECDSA, SHA-256": (signing.sign(CONTENT, CURVE, "sha256"), ACCEPTED, "valid"),
    "ECDSA, SHA-512": (signing.sign(CONTENT, CURVE), ACCEPTED, "valid"),
    "MD5": (signing.sign(CONTENT, VENDOR, "md5"), ACCEPTED, "unsupported_algorithm"),
    "SHA-1": (signing.sign(CONTENT, VENDOR, "sha1"), ACCEPTED, "unsupported_algorithm"),
    "SHA-224": (signing.sign(CONTENT, VENDOR, "sha224"), ACCEPTED, "unsupported_algorithm"),
    "SHA-3": (signing.sign(CONTENT, VENDOR).replace(oid(SHA512), oid(SHA3_512)), UNSIGNED, "unsupported_algorithm"),
    "sha256WithRSAEncryption": (
        signing.sign(CONTENT, VENDOR, "sha256", hash_in_scheme=True),
        UNSIGNED,
        "unsupported_algorithm",
    ),
    "RSASSA-PSS": (signed(info(scheme=algorithm(PSS))), UNSIGNED, "unsupported_algorithm"),
    # --- digestAlgorithms
    "two digest algorithms": (signed(digest_algorithms=algorithm(SHA512) + algorithm(SHA256)), ACCEPTED, "valid"),
    "another digest algorithm": (signed(digest_algorithms=algorithm(SHA256)), ACCEPTED, "valid"),
    "an unknown digest algorithm": (signed(digest_algorithms=algorithm("1.2.3.4")), ACCEPTED, "valid"),
    "no digest algorithm": (signed(digest_algorithms=b""), REFUSED, "malformed"),
    # --- identifiers and versions
    "version 1, issuer and serial number": (signed(INFO), ACCEPTED, "valid"),
    "version 3, key identifier": (signing.sign(CONTENT, VENDOR, key_identifier=True), ACCEPTED, "valid"),
    "versions 1 and 3": (signed(info(key_identifier=True), version=1), REFUSED, "malformed"),
    "versions 3 and 1": (signed(INFO, version=3), REFUSED, "malformed"),
    "version 3 with issuer": (signed(info(version=b"\3"), version=3), REFUSED, "malformed"),
    "version 1 with key identifier": (signed(info(key_identifier=True, version=b"\1")), REFUSED, "malformed"),
    "version 2": (signed(info(version=b"\2"), version=2), REFUSED, "malformed"),
    "a version of two bytes": (signed(info(version=b"\0\1")), REFUSED, "malformed"),
    # --- signers
    "the trusted signer first": (signed(INFO, STRANGERS), ACCEPTED, "valid"),
    "the trusted signer last": (signed(STRANGERS, INFO), ACCEPTED, "valid"),
    "two trusted signers": (signed(INFO, info(OTHER)), ACCEPTED, "valid"),
    "signers with different digests": (signed(info(STRANGER, "sha256"), INFO), ACCEPTED, "valid"),
    "RSA and ECDSA": (signed(info(CURVE, "sha256"), INFO), ACCEPTED, "valid"),
    "the same signer twice": (signed(INFO, INFO), ACCEPTED, "valid"),
    "only strangers": (signed(STRANGERS, STRANGERS), UNSIGNED, "wrong_signer"),
    "a trusted signer that does not match": (signed(INFO, FORGED), REFUSED, "digest_mismatch"),
    "a second signer with an unknown algorithm": (
        signed(INFO, info(STRANGER, scheme=algorithm(PSS))),
        UNSIGNED,
        "unsupported_algorithm",
    ),
    "a second signer with SHA-1": (signed(INFO, info(STRANGER, "sha1")), ACCEPTED, "unsupported_algorithm"),
    "no signer": (signing.append(CONTENT, signing.signed_data()), REFUSED, "malformed"),
    "a stranger": (signing.sign(CONTENT, STRANGER), UNSIGNED, "wrong_signer"),
    "an expired certificate": (signing.sign(CONTENT, EXPIRED), ACCEPTED, "valid"),
    # --- attributes
    "signed attributes": (signing.sign(CONTENT, VENDOR, attributes=True), REFUSED, "malformed"),
    "signed attributes with key identifier": (
        signing.sign(CONTENT, VENDOR, attributes=True, key_identifier=True),
        REFUSED,
        "malformed",
    ),
    "empty signed attributes": (signed(info(attributes=b"")), REFUSED, "malformed"),
    "signed attributes of one signer": (signed(INFO, info(STRANGER, attributes=ATTRIBUTES)), REFUSED, "malformed"),
    "unsigned attributes": (signed(info(unsigned_attributes=tlv(0xA1, ATTRIBUTE))), ACCEPTED, "valid"),
    "empty unsigned attributes": (signed(info(unsigned_attributes=tlv(0xA1))), REFUSED, "malformed"),
    "malformed unsigned attributes": (signed(info(unsigned_attributes=tlv(0xA1, b"\5\0"))), REFUSED, "malformed"),
    # --- certificates and revocation lists
    "the signer's certificate": (signed(certificates=(VENDOR.der,)), ACCEPTED, "valid"),
    "another certificate": (signed(certificates=(STRANGER.der,)), ACCEPTED, "valid"),
    "a leaf of a trusted issuer": (signed(info(LEAF), certificates=(LEAF.der,)), ACCEPTED, "wrong_signer"),
    "a trusted signer beside a leaf": (
        signed(INFO, info(LEAF), certificates=(LEAF.der, VENDOR.der)),
        ACCEPTED,
        "unsupported_algorithm",
    ),
    "a certificate with another key": (
        signed(
            certificates=(
                signing.Signer(
                    STRANGER.key,
                    signing.make_certificate(STRANGER.key, "Vendor", serial=VENDOR.certificate.serial_number),
                ).der,
            )
        ),
        REFUSED,
        "digest_mismatch",
    ),
    "a stranger whose certificate does not match": (
        signed(INFO, signing.signer_info(CONTENT + b"!", STRANGER), certificates=(STRANGER.der,)),
        REFUSED,
        "digest_mismatch",
    ),
    "a certificate with a changed signature": (
        signed(certificates=(changed(STRANGER.der, len(STRANGER.der) - 1),)),
        REFUSED,
        "malformed",
    ),
    "a certificate that is none": (signed(certificates=(tlv(0x30, b"\5\0"),)), REFUSED, "malformed"),
    "a revocation list": (signed(revocation_lists=tlv(0xA1, tlv(0x30, tlv(0x30)))), REFUSED, "malformed"),
    # --- encoding and sizes
    "bytes after the message": (signing.append(CONTENT, MESSAGE + b"\0" * 5), ACCEPTED, "valid"),
    "attached content": (signed(content=tlv(0xA0, tlv(0x04, CONTENT))), REFUSED, "malformed"),
    "other content type": (
        signing.sign(CONTENT, VENDOR).replace(oid(signing.DATA_OID), oid(RSA)),
        REFUSED,
        "malformed",
    ),
    "a length that is not minimal": (signing.append(CONTENT, long_form(MESSAGE)), REFUSED, "malformed"),
    "an indefinite length": (signing.append(CONTENT, indefinite(MESSAGE)), REFUSED, "malformed"),
    "size 0": (signing.append(CONTENT, MESSAGE, size=0), REFUSED, "malformed"),
    "size too small": (signing.append(CONTENT, MESSAGE, size=len(MESSAGE) - 1), REFUSED, "malformed"),
    "size too large": (signing.append(CONTENT, MESSAGE, size=len(MESSAGE) + 1), REFUSED, "malformed"),
    "size larger than the file": (signing.append(CONTENT, MESSAGE, size=30_000), REFUSED, "truncated"),
    "64 KiB less one byte": (signing.append(CONTENT, MESSAGE.ljust(65_535, b"\0")), ACCEPTED, "valid"),
    "64 KiB": (signing.append(CONTENT, MESSAGE.ljust(65_536, b"\0")), REFUSED, "malformed"),
    # --- the trailer
    "algorithm in the trailer": (trailer(0), REFUSED, "malformed"),
    "hash in the trailer": (trailer(1), REFUSED, "malformed"),
    "PGP in the trailer": (trailer(2, 0), UNSIGNED, "unsupported_algorithm"),
    "X.509 in the trailer": (trailer(2, 1), UNSIGNED, "unsupported_algorithm"),
    "an unknown type in the trailer": (trailer(2, 3), UNSIGNED, "malformed"),
    "length of a signer in the trailer": (trailer(3), REFUSED, "malformed"),
    "length of a key in the trailer": (trailer(4), REFUSED, "malformed"),
    "padding in the trailer, first": (trailer(5), REFUSED, "malformed"),
    "padding in the trailer, last": (trailer(7), REFUSED, "malformed"),
    # --- content
    "no signature": (CONTENT, UNSIGNED, "unsigned"),
    "a changed module": (changed(signing.sign(CONTENT, VENDOR), 200), REFUSED, "digest_mismatch"),
    "a changed signature": (signing.append(CONTENT, changed(MESSAGE, len(MESSAGE) - 1)), REFUSED, "digest_mismatch"),
    "bytes after the mark": (signing.sign(CONTENT, VENDOR) + b"\n", UNSIGNED, "truncated"),
    "signed twice": (signing.sign(signing.sign(CONTENT, STRANGER), VENDOR), ACCEPTED, "valid"),
    "signed twice, last by a stranger": (
        signing.sign(signing.sign(CONTENT, VENDOR), STRANGER),
        UNSIGNED,
        "wrong_signer",
    ),
}

POLICY = {
    "MD5",
    "SHA-1",
    "SHA-224",
    "a second signer with SHA-1",
    "a leaf of a trusted issuer",
    "a trusted signer beside a leaf",
}
"""Signatures that the kernel accepts, and the core does not: weak hashes and chains of certificates."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_judged_as_by_the_kernel(name: str) -> None:
    data, _kernel, verdict = VARIANTS[name]
    found = patch_file.examine(data, "patch.ko", TRUSTED, now=NOW, kernel=None)
    assert found.verdict == verdict, found.reason
    assert found.reason


def test_only_the_policy_differs_from_the_kernel() -> None:
    differing = {
        name for name, (_data, kernel, verdict) in VARIANTS.items() if (kernel == ACCEPTED) != (verdict == "valid")
    }
    assert differing == POLICY
