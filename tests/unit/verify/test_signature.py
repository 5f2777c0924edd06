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
@pytest.mark.parametrize("certificates", [False, True], ids=["bare", "certificates"])
def test_every_form_of_a_valid_signature_verifies(
    hash_name: str, kind: str, key_identifier: bool, certificates: bool
) -> None:
    signer = signing.make_signer(f"Vendor {kind}", kind)
    data = signing.sign(
        CONTENT,
        signer,
        hash_name,
        key_identifier=key_identifier,
        certificates=certificates,
    )
    found = examine(data, anchors(STRANGER, signer))
    assert (found.verdict, found.signer, found.hash_algorithm) == ("valid", f"Vendor {kind}", hash_name)
    assert found.key_id == signer.key_id.hex()
    assert examine(data, anchors(STRANGER)).verdict == "wrong_signer"


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
    read = signature.read_signature(signing.sign(CONTENT, VENDOR)[len(CONTENT) :])
    good, bad = hashlib.sha512(CONTENT).digest(), hashlib.sha512(CONTENT + b"!").digest()
    assert signature.verify(read, {"sha512": good}, anchors()).verdict == "valid"
    assert signature.verify(read, {"sha512": bad}, anchors()).verdict == "digest_mismatch"
    assert signature.verify(read, {"sha512": b""}, anchors()).verdict == "digest_mismatch"
    assert signature.verify(read, {"sha512": good[:32]}, anchors()).verdict == "digest_mismatch"


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
    "mark alone": (CONTENT + signing.MARK, "unsupported_algorithm"),
    "nothing but a mark": (signing.MARK, "truncated"),
    "nothing": (b"", "truncated"),
    "something else": (b"#!/bin/sh\n", "malformed"),
    "something else, signed": (signing.sign(b"#!/bin/sh\n", VENDOR), "malformed"),
    "larger than the file": (signing.append(b"", MESSAGE, size=len(MESSAGE) + 1), "truncated"),
    "larger than the message": (signing.append(CONTENT, MESSAGE, size=len(MESSAGE) + 1), "malformed"),
    "of an unknown type": (
        signing.append(CONTENT, MESSAGE, trailer=b"\0\0\3\0\0\0\0\0"),
        "unsupported_algorithm",
    ),
    "smaller than the message": (signing.append(CONTENT, MESSAGE, size=len(MESSAGE) - 1), "malformed"),
    "empty message": (signing.append(CONTENT, b""), "malformed"),
    "huge message": (signing.append(CONTENT, MESSAGE, size=0xFFFFFFFF), "truncated"),
    "PGP": (signing.append(CONTENT, MESSAGE, trailer=bytes(8)), "unsupported_algorithm"),
    "X.509 of old kernels": (signing.append(CONTENT, MESSAGE, trailer=b"\1\4\1\0\0\0\0\0"), "unsupported_algorithm"),
    "constructed key identifier": (
        signing.sign(CONTENT, VENDOR, key_identifier=True).replace(
            b"\x80\x14" + VENDOR.key_id, b"\xa0\x14" + VENDOR.key_id
        ),
        "malformed",
    ),
    "padding used": (signing.append(CONTENT, MESSAGE, trailer=b"\0\0\2\0\0\0\0\1"), "malformed"),
    "key name in the trailer": (signing.append(CONTENT, MESSAGE, trailer=b"\0\0\2\1\1\0\0\0"), "malformed"),
    "SHA-1": (message_of(signing.signer_info(CONTENT, VENDOR, "sha1"), hash_name="sha1"), "unsupported_algorithm"),
    "SHA3": (GOOD.replace(SHA512, SHA3), "unsupported_algorithm"),
    "PSS": (GOOD.replace(RSA, PSS), "unsupported_algorithm"),
    "two parameters": (
        message_of(signing.signer_info(CONTENT, VENDOR, scheme=tlv(0x30, RSA, tlv(0x05) * 2))),
        "malformed",
    ),
    "no signer": (message_of(), "malformed"),
    "versions differ": (message_of(INFO, version=3), "malformed"),
    "content inside": (message_of(INFO, content=tlv(0xA0, tlv(0x04, CONTENT))), "malformed"),
    "no signed data": (GOOD.replace(SIGNED_DATA, DATA), "malformed"),
    "signs no data": (GOOD.replace(DATA, SIGNED_DATA), "malformed"),
    "signed for other content": (message_of(signing.signer_info(CONTENT + b"!", VENDOR)), "digest_mismatch"),
    "attributes left out": (
        message_of(signing.signer_info(tlv(0x31, ATTRIBUTES), VENDOR)),
        "digest_mismatch",
    ),
    "attributes as content": (
        signing.append(
            tlv(0x31, ATTRIBUTES), signing.signed_data(signing.signer_info(CONTENT, VENDOR, attributes=ATTRIBUTES))
        ),
        "malformed",
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


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("PGP", "is PGP, not PKCS#7"),
        ("X.509 of old kernels", "is X.509, not PKCS#7"),
        ("of an unknown type", "is of the unknown type 3, not PKCS#7"),
        ("empty message", "gives 0 bytes as the size"),
    ],
)
def test_a_fault_in_the_trailer_is_named(fault: str, words: str) -> None:
    assert words in examine(FAULTS[fault][0]).reason


@pytest.mark.parametrize("form", [{}, {"key_identifier": True}], ids=["issuer", "key-identifier"])
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_flipped_bit_is_accepted_only_where_nothing_depends_on_it(kind: str, form: dict[str, bool]) -> None:
    """As in the kernel, these are the list of digest algorithms, parameters of algorithms, and some bits of tags."""
    signer = signing.make_signer(f"Vendor {kind}", kind)
    data = signing.sign(CONTENT, signer, **form)
    trusted = anchors(signer)
    original = signature.read_signature(data[len(CONTENT) :])
    behind = range(len(CONTENT) * 8, len(data) * 8)
    sampled = range(0, len(CONTENT) * 8, 53)
    accepted = set()
    for bit in [*behind, *sampled]:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        if examine(bytes(changed), trusted).valid:
            accepted.add(bit // 8)
            assert signature.read_signature(bytes(changed[len(CONTENT) :])) == original
    identifier = data.index(SHA512, len(CONTENT))
    assert accepted >= set(range(identifier + 2, identifier + len(SHA512)))
    assert len(accepted) < 30


def test_every_truncation_has_a_verdict() -> None:
    verdicts = {examine(GOOD[:size]).verdict for size in range(len(CONTENT))}
    assert verdicts == {"truncated"}
    assert examine(GOOD[: len(CONTENT)]).verdict == "unsigned"
    verdicts = {examine(GOOD[:size]).verdict for size in range(len(CONTENT) + 1, len(GOOD))}
    assert verdicts == {"truncated"}


def test_a_file_without_its_beginning_is_invalid() -> None:
    assert {examine(GOOD[start:]).valid for start in range(1, len(GOOD))} == {False}


FORMS: list[dict[str, bool]] = [{}, {"certificates": True}, {"key_identifier": True}]
ORIGINALS = [signing.sign(CONTENT, VENDOR, **form)[len(CONTENT) :] for form in FORMS]
NAMED, PINNED = anchors(), trust.TrustAnchors(pins=[VENDOR.spki_sha256])


def test_a_malformed_name_in_a_certificate_is_not_judged() -> None:
    original = signing.sign(CONTENT, VENDOR, certificates=True)[len(CONTENT) :]
    changed = bytearray(original)
    changed[122:124] = b"\x00\x00"
    assert not examine(CONTENT + bytes(changed)).valid


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ORIGINALS), st.data())
def test_a_changed_signature_is_accepted_only_with_the_same_value(original: bytes, data: st.DataObject) -> None:
    """What no signature covers may change. The signer, the algorithms and the value of the signature may not."""
    block = bytearray(original)
    for _change in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(block)))
        end = data.draw(st.integers(start, min(len(block), start + 8)))
        block[start:end] = data.draw(st.binary(max_size=8))
    for trusted in (NAMED, PINNED):
        if examine(CONTENT + bytes(block), trusted).valid:
            accepted = signature.read_signature(bytes(block)).signers
            assert accepted == signature.read_signature(original).signers


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.binary(max_size=64))
def test_no_bytes_crash_the_parser(message: bytes, behind: bytes) -> None:
    for block in (signing.append(b"", message), signing.append(b"", message) + behind, message):
        assert not examine(CONTENT + block, NAMED).valid
        with pytest.raises(PatchFileError):
            signature.read_signature(block)


# --- limits


@pytest.mark.parametrize("size", [1, signature.SIGNATURE_LIMIT])
def test_messages_up_to_the_limit_are_split(size: int) -> None:
    assert signature.SIGNATURE_LIMIT == 65535
    content, block = signature.split_module(signing.append(CONTENT, b"m" * size))
    assert (bytes(content), block[:size]) == (CONTENT, b"m" * size)
    content, _block = signature.split_module(signing.append(b"", b"m" * size))
    assert bytes(content) == b""


def test_oversized_and_empty_messages_are_refused() -> None:
    with pytest.raises(PatchFileError, match="65536 bytes as the size"):
        signature.split_module(signing.append(CONTENT, b"m" * (signature.SIGNATURE_LIMIT + 1)))
    only_trailer = signing.append(b"", b"m")[1:]
    with pytest.raises(PatchFileError, match="smaller than its own signature"):
        signature.split_module(only_trailer)
    with pytest.raises(PatchFileError, match="smaller than the trailer"):
        signature.split_module(only_trailer[1:])


def test_an_unknown_signer_is_named() -> None:
    read = signature.read_signature(signature.split_module(signing.sign(CONTENT, STRANGER))[1])
    (info,) = read.signers

    def reason(*signers: trust.SignerId) -> str:
        infos = tuple(dataclasses.replace(info, signer=signer) for signer in signers)
        return signature.verify(dataclasses.replace(read, signers=infos), {}, anchors()).reason

    assert reason(b"\xab" * 40).endswith(f"key identifier {'ab' * 32}")
    assert reason((b"issuer", b"\x01\x02")).endswith("serial number 0102")
    assert reason(b"\1", b"\2", b"\3").endswith("key identifier 01 and key identifier 02")


def test_the_scheme_must_match_the_key() -> None:
    signer = signing.make_signer("Elliptic", "p256")
    content, block = signature.split_module(signing.sign(CONTENT, signer))
    read = signature.read_signature(block)
    good = {"sha512": signature.digest(content, "sha512")}
    assert signature.verify(read, good, anchors(signer)).verdict == "valid"
    other = dataclasses.replace(read, signers=(dataclasses.replace(read.signers[0], scheme="rsa"),))
    assert signature.verify(other, good, anchors(signer)).verdict == "digest_mismatch"
