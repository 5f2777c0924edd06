# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Module signatures: every form of the signing tools verifies, and nothing else does."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, signature, trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.der import Der, DerError
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.patch_file import PatchFile
from tests.lab.live_patches import signing
from tests.lab.live_patches.signing import oid, tlv

NOW = dt.datetime.now(dt.timezone.utc)
CONTENT = signing.module()
VENDOR = signing.make_signer("Vendor")
STRANGER = signing.make_signer("Stranger")
HASH_NAMES = ("sha256", "sha384", "sha512")


def anchors(*signers: signing.Signer) -> trust.TrustAnchors:
    return trust.TrustAnchors([trust.read_certificate(signer.der) for signer in signers or (VENDOR,)])


def examine(data: bytes, trusted: trust.TrustAnchors | None = None) -> PatchFile:
    return patch_file.examine(data, "patch.ko", trusted or anchors(), now=NOW, kernel=None)


def message_of(*signer_infos: bytes, hash_name: str = "sha512", version: int = 1, content: bytes = b"") -> bytes:
    message = signing.signed_data(*signer_infos, hash_name=hash_name, version=version, content=content)
    return signing.append(CONTENT, message)


@pytest.mark.parametrize("hash_name", HASH_NAMES)
@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
@pytest.mark.parametrize("key_identifier", [False, True], ids=["issuer", "key-identifier"])
@pytest.mark.parametrize("attributes", [False, True], ids=["plain", "attributes"])
@pytest.mark.parametrize("certificates", [False, True], ids=["bare", "certificates"])
def test_every_form_of_a_valid_signature_verifies(
    hash_name: str, kind: str, key_identifier: bool, attributes: bool, certificates: bool
) -> None:
    signer = signing.make_signer(f"Vendor {kind}", kind)
    data = signing.sign(
        CONTENT,
        signer,
        hash_name,
        key_identifier=key_identifier,
        attributes=attributes,
        certificates=certificates,
    )
    found = examine(data, anchors(STRANGER, signer))
    assert (found.verdict, found.signer, found.hash_algorithm) == ("valid", f"Vendor {kind}", hash_name)
    assert found.key_id == signer.key_id.hex()
    assert examine(data, anchors(STRANGER)).verdict == "wrong_signer"


@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_an_rsa_scheme_may_name_the_hash(hash_name: str) -> None:
    assert examine(signing.sign(CONTENT, VENDOR, hash_name, hash_in_scheme=True)).valid


def test_a_key_identifier_may_come_from_the_certificate() -> None:
    claimed = bytes(range(20))
    certificate = signing.make_certificate(VENDOR.key, "Vendor", claimed_key_id=claimed)
    data = signing.sign(CONTENT, VENDOR, key_identifier=True).replace(VENDOR.key_id, claimed)
    claiming = signing.Signer(VENDOR.key, certificate)
    found = examine(data, anchors(claiming))
    assert found.valid
    assert found.key_id == VENDOR.key_id.hex(), "as computed, not as claimed"


def test_an_expired_certificate_is_informational() -> None:
    expired = signing.make_signer("Expired", expired=True)
    assert examine(signing.sign(CONTENT, expired), anchors(expired)).certificate_expired is True
    assert examine(signing.sign(CONTENT, expired), anchors(expired)).valid
    assert examine(signing.sign(CONTENT, VENDOR)).certificate_expired is False


def test_equal_names_do_not_confuse_certificates() -> None:
    twin = signing.Signer(
        STRANGER.key,
        signing.make_certificate(STRANGER.key, "Vendor", serial=VENDOR.certificate.serial_number),
    )
    for trusted in (anchors(VENDOR, twin), anchors(twin, VENDOR)):
        found = examine(signing.sign(CONTENT, VENDOR), trusted)
        assert (found.verdict, found.key_id) == ("valid", VENDOR.key_id.hex())
    assert examine(signing.sign(CONTENT, VENDOR), anchors(twin)).verdict == "digest_mismatch"


def test_a_digest_and_the_signature_are_sufficient() -> None:
    for attributes in (False, True):
        data = signing.sign(CONTENT, VENDOR, attributes=attributes)
        read = signature.read_signature(data[len(CONTENT) :])
        good, bad = hashlib.sha512(CONTENT).digest(), hashlib.sha512(CONTENT + b"!").digest()
        assert signature.verify(read, good, anchors()).verdict == "valid"
        assert signature.verify(read, bad, anchors()).verdict == "digest_mismatch"
        assert signature.verify(read, b"", anchors()).verdict == "digest_mismatch"
        assert signature.verify(read, good[:32], anchors()).verdict == "digest_mismatch"


DATA, SIGNED_DATA = oid("1.2.840.113549.1.7.1"), oid("1.2.840.113549.1.7.2")
INFO = signing.signer_info(CONTENT, VENDOR)
GOOD = signing.sign(CONTENT, VENDOR)
MESSAGE = signing.signed_data(INFO)
ATTRIBUTES = signing.signed_attributes(CONTENT, "sha512")
RSA, PSS = oid("1.2.840.113549.1.1.1"), oid("1.2.840.113549.1.1.10")
SHA512, SHA3 = oid("2.16.840.1.101.3.4.2.3"), oid("2.16.840.1.101.3.4.2.10")
IMPOSTOR = signing.Signer(STRANGER.key, VENDOR.certificate)
EC_IMPOSTOR = signing.Signer(signing.make_signer("EC", "p256").key, VENDOR.certificate)

FAULTS = {
    "no signature": (CONTENT, "unsigned"),
    "mark alone": (CONTENT + signing.MARK, "malformed"),
    "nothing but a mark": (signing.MARK, "truncated"),
    "nothing": (b"", "truncated"),
    "something else": (b"#!/bin/sh\n", "malformed"),
    "something else, signed": (signing.sign(b"#!/bin/sh\n", VENDOR), "malformed"),
    "larger than the file": (signing.append(b"", MESSAGE, size=len(MESSAGE) + 1), "truncated"),
    "larger than the message": (signing.append(CONTENT, MESSAGE, size=len(MESSAGE) + 1), "malformed"),
    "smaller than the message": (signing.append(CONTENT, MESSAGE, size=len(MESSAGE) - 1), "malformed"),
    "empty message": (signing.append(CONTENT, b""), "malformed"),
    "huge message": (signing.append(CONTENT, MESSAGE, size=0xFFFFFFFF), "malformed"),
    "PGP": (signing.append(CONTENT, MESSAGE, trailer=bytes(8)), "unsupported_algorithm"),
    "X.509 of old kernels": (signing.append(CONTENT, MESSAGE, trailer=b"\1\4\1\0\0\0\0\0"), "unsupported_algorithm"),
    "padding used": (signing.append(CONTENT, MESSAGE, trailer=b"\0\0\2\0\0\0\0\1"), "malformed"),
    "key name in the trailer": (signing.append(CONTENT, MESSAGE, trailer=b"\0\0\2\1\1\0\0\0"), "malformed"),
    "SHA-1": (message_of(signing.signer_info(CONTENT, VENDOR, "sha1"), hash_name="sha1"), "unsupported_algorithm"),
    "SHA3": (GOOD.replace(SHA512, SHA3), "unsupported_algorithm"),
    "PSS": (GOOD.replace(RSA, PSS), "unsupported_algorithm"),
    "parameters": (
        GOOD.replace(tlv(0x30, RSA, tlv(0x05)), tlv(0x30, RSA, tlv(0x04))),
        "unsupported_algorithm",
    ),
    "two signers": (message_of(INFO, INFO), "malformed"),
    "no signer": (message_of(), "malformed"),
    "digest algorithms differ": (message_of(INFO, hash_name="sha256"), "malformed"),
    "scheme and digest differ": (
        signing.sign(CONTENT, VENDOR, hash_in_scheme=True).replace(
            oid("1.2.840.113549.1.1.13"), oid("1.2.840.113549.1.1.11")
        ),
        "malformed",
    ),
    "versions differ": (message_of(INFO, version=3), "malformed"),
    "content inside": (message_of(INFO, content=tlv(0xA0, tlv(0x04, CONTENT))), "malformed"),
    "no signed data": (GOOD.replace(SIGNED_DATA, DATA), "malformed"),
    "signs no data": (GOOD.replace(DATA, SIGNED_DATA), "malformed"),
    "unsigned attributes": (
        message_of(signing.signer_info(CONTENT, VENDOR, unsigned_attributes=tlv(0xA1, ATTRIBUTES))),
        "malformed",
    ),
    "no attributes among attributes": (message_of(signing.signer_info(CONTENT, VENDOR, attributes=b"")), "malformed"),
    "attributes twice": (
        message_of(signing.signer_info(CONTENT, VENDOR, attributes=ATTRIBUTES + ATTRIBUTES)),
        "malformed",
    ),
    "attributes for other content": (
        message_of(
            signing.signer_info(CONTENT, VENDOR, attributes=signing.signed_attributes(CONTENT + b"!", "sha512"))
        ),
        "digest_mismatch",
    ),
    "attributes that name other content": (
        message_of(signing.signer_info(CONTENT, VENDOR, attributes=ATTRIBUTES.replace(DATA, SIGNED_DATA))),
        "malformed",
    ),
    "signed for other content": (message_of(signing.signer_info(CONTENT + b"!", VENDOR)), "digest_mismatch"),
    "attributes left out": (
        message_of(signing.signer_info(tlv(0x31, ATTRIBUTES), VENDOR)),
        "digest_mismatch",
    ),
    "attributes as content": (
        signing.append(
            tlv(0x31, ATTRIBUTES), signing.signed_data(signing.signer_info(CONTENT, VENDOR, attributes=ATTRIBUTES))
        ),
        "digest_mismatch",
    ),
    "a stranger with the vendor's name": (
        message_of(signing.signer_info(CONTENT, IMPOSTOR)),
        "digest_mismatch",
    ),
    "a stranger": (signing.sign(CONTENT, STRANGER), "wrong_signer"),
    "an unknown signer with a certificate": (signing.sign(CONTENT, STRANGER, certificates=True), "wrong_signer"),
    "another scheme than the key's": (
        message_of(signing.signer_info(CONTENT, EC_IMPOSTOR)),
        "digest_mismatch",
    ),
}


@pytest.mark.parametrize(("data", "verdict"), [pytest.param(*case, id=name) for name, case in FAULTS.items()])
def test_each_fault_has_a_verdict(data: bytes, verdict: str) -> None:
    found = examine(data)
    assert (found.verdict, found.valid) == (verdict, False)
    assert found.reason


@pytest.mark.parametrize("form", [{}, {"attributes": True, "key_identifier": True}], ids=["plain", "attributes"])
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_every_flipped_bit_is_detected(kind: str, form: dict[str, bool]) -> None:
    signer = signing.make_signer(f"Vendor {kind}", kind)
    data = signing.sign(CONTENT, signer, **form)
    trusted = anchors(signer)
    behind = range(len(CONTENT) * 8, len(data) * 8)
    sampled = range(0, len(CONTENT) * 8, 53)
    for bit in [*behind, *sampled]:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert not examine(bytes(changed), trusted).valid, f"bit {bit}"


def test_every_truncation_has_a_verdict() -> None:
    verdicts = {examine(GOOD[:size]).verdict for size in range(len(CONTENT))}
    assert verdicts == {"truncated"}
    assert examine(GOOD[: len(CONTENT)]).verdict == "unsigned"
    verdicts = {examine(GOOD[:size]).verdict for size in range(len(CONTENT) + 1, len(GOOD))}
    assert verdicts == {"truncated"}


def test_a_file_without_its_beginning_is_invalid() -> None:
    assert {examine(GOOD[start:]).valid for start in range(1, len(GOOD))} == {False}


FORMS: list[dict[str, bool]] = [{}, {"attributes": True}, {"certificates": True}, {"key_identifier": True}]
PINNED = trust.TrustAnchors(pins=[VENDOR.spki_sha256])


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FORMS), st.data())
def test_no_changed_signature_is_accepted_or_crashes(form: dict[str, bool], data: st.DataObject) -> None:
    """Certificates inside a signature are not signed, so they may change: only a pinned key makes them trusted."""
    original = signing.sign(CONTENT, VENDOR, **form)[len(CONTENT) :]
    block = bytearray(original)
    for _change in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(block)))
        end = data.draw(st.integers(start, min(len(block), start + 8)))
        block[start:end] = data.draw(st.binary(max_size=8))
    for trusted in (anchors(), PINNED):
        if examine(CONTENT + bytes(block), trusted).valid and bytes(block) != original:
            assert form == {"certificates": True}
            assert _without_certificates(bytes(block)) == _without_certificates(original)


def _without_certificates(block: bytes) -> signature.ModuleSignature:
    return dataclasses.replace(signature.read_signature(block), certificates=())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.binary(max_size=64))
def test_no_bytes_crash_the_parser(message: bytes, behind: bytes) -> None:
    for block in (signing.append(b"", message), signing.append(b"", message) + behind, message):
        assert not examine(CONTENT + block).valid
        with pytest.raises(PatchFileError):
            signature.read_signature(block)


@pytest.mark.parametrize(
    "encoded", ["", "30", "3080", "308000", "308100", "30820001aa", "3084ffffffff", "308500000000aa", "3001", "0400"]
)
def test_only_canonical_der_is_accepted(encoded: str) -> None:
    with pytest.raises(DerError):
        Der(bytes.fromhex(encoded)).value(0x30)


@given(st.binary(max_size=70_000))
@settings(max_examples=50, deadline=None)
def test_der_elements_of_any_size_are_parsed(content: bytes) -> None:
    reader = Der(tlv(0x04, content) + tlv(0x02, b"1"))
    assert reader.value(0x04) == content
    assert reader.more()
    assert reader.value(0x02) == b"1"
    reader.finish()


# --- limits


@pytest.mark.parametrize("size", [1, signature.SIGNATURE_LIMIT])
def test_messages_up_to_the_limit_are_split(size: int) -> None:
    assert signature.SIGNATURE_LIMIT == 65536
    content, block = signature.split_module(signing.append(CONTENT, b"m" * size))
    assert (bytes(content), block[:size]) == (CONTENT, b"m" * size)
    content, _block = signature.split_module(signing.append(b"", b"m" * size))
    assert bytes(content) == b""


def test_oversized_and_empty_messages_are_refused() -> None:
    with pytest.raises(PatchFileError, match="65537 bytes as the size"):
        signature.split_module(signing.append(CONTENT, b"m" * (signature.SIGNATURE_LIMIT + 1)))
    only_trailer = signing.append(b"", b"m")[1:]
    with pytest.raises(PatchFileError, match="smaller than its own signature"):
        signature.split_module(only_trailer)
    with pytest.raises(PatchFileError, match="smaller than the trailer"):
        signature.split_module(only_trailer[1:])


def test_an_unknown_signer_is_named() -> None:
    read = signature.read_signature(signature.split_module(signing.sign(CONTENT, STRANGER))[1])
    long = dataclasses.replace(read, signer=b"\xab" * 40)
    assert signature.verify(long, b"", anchors()).reason.endswith(f"key identifier {'ab' * 32}")
    serial = dataclasses.replace(read, signer=(b"issuer", b"\x01\x02"))
    assert signature.verify(serial, b"", anchors()).reason.endswith("serial number 0102")


def test_the_scheme_must_match_the_key() -> None:
    signer = signing.make_signer("Elliptic", "p256")
    content, block = signature.split_module(signing.sign(CONTENT, signer))
    read = signature.read_signature(block)
    good = signature.digest(content, read.hash_algorithm)
    assert signature.verify(read, good, anchors(signer)).verdict == "valid"
    other = dataclasses.replace(read, scheme="rsa")
    assert signature.verify(other, good, anchors(signer)).verdict == "digest_mismatch"
