# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the certificates in a message: the kernel refuses those that contradict each other."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.embedded import read_embedded
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from tests.lab.live_patches import signing

ROOT = signing.make_signer("Root")
OTHER = signing.make_signer("Other")
NONE = trust.TrustAnchors()
KEY = signing.make_signer("Leaf").key


def named(signer: signing.Signer, name: str) -> signing.Signer:
    """Return the signer with a certificate that claims its key identifier."""
    return signing.Signer(signer.key, signing.make_certificate(signer.key, name, claimed_key_id=signer.key_id))


def verdict(*certificates: bytes, anchors: trust.TrustAnchors = NONE) -> str:
    try:
        read_embedded(certificates, anchors)
    except PatchFileError as error:
        assert "certificate in the signature" in error.reason
        return error.verdict
    return "valid"


NAMED_ROOT = named(ROOT, "Root")
LEAF = signing.make_certificate(KEY, "Leaf", issuer=NAMED_ROOT)
LEAF_DER = signing.Signer(KEY, LEAF).der
FORGED = signing.make_certificate(KEY, "Leaf", issuer=signing.Signer(OTHER.key, NAMED_ROOT.certificate))


def test_certificates_are_read() -> None:
    root, leaf = read_embedded([NAMED_ROOT.der, LEAF_DER], NONE)
    assert root.signer_id in trust.read_certificate(NAMED_ROOT.der).signer_ids
    assert (root.subject_id, root.authority) == (ROOT.key_id, None)
    assert (leaf.subject_id, leaf.authority) == (None, ROOT.key_id)
    assert leaf.public_key == KEY.public_key()


def test_certificates_without_their_issuer_are_accepted() -> None:
    assert verdict() == "valid"
    assert verdict(ROOT.der, OTHER.der) == "valid"
    assert verdict(LEAF_DER) == "valid"
    assert verdict(LEAF_DER, NAMED_ROOT.der) == "valid"


@pytest.mark.parametrize("certificate", [ROOT.der, NAMED_ROOT.der])
def test_a_self_signed_certificate_must_match_its_key(certificate: bytes) -> None:
    assert verdict(certificate[:-1] + bytes([certificate[-1] ^ 1])) == "malformed"


def test_a_key_of_another_kind_is_not_judged() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Edwards")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    validity = (dt.datetime(2026, 1, 1), dt.datetime(2036, 1, 1))
    dated = builder.not_valid_before(validity[0]).not_valid_after(validity[1]).serial_number(1)
    assert verdict(dated.sign(key, None).public_bytes(serialization.Encoding.DER)) == "unsupported_algorithm"


def test_an_embedded_issuer_must_have_signed() -> None:
    impostor = named(OTHER, "Root")
    claims_root = signing.make_certificate(OTHER.key, "Root", claimed_key_id=ROOT.key_id)
    assert verdict(LEAF_DER, signing.Signer(OTHER.key, claims_root).der) == "malformed"
    assert verdict(LEAF_DER, impostor.der) == "valid", "another key identifier"


def test_an_issuer_with_another_name_is_not_judged() -> None:
    assert verdict(LEAF_DER, named(ROOT, "Another name").der) == "unsupported_algorithm"


def test_an_issuer_that_is_trusted_is_not_judged() -> None:
    anchors = trust.TrustAnchors([trust.read_certificate(NAMED_ROOT.der)])
    assert verdict(LEAF_DER, anchors=anchors) == "unsupported_algorithm"
    assert verdict(NAMED_ROOT.der, anchors=anchors) == "valid"


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (b"", "malformed"),
        (b"\x30\x00", "malformed"),
        (ROOT.der[:-1], "malformed"),
        (ROOT.der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020131"), 1), "unsupported_algorithm"),
    ],
)
def test_a_damaged_certificate_is_refused(damaged: bytes, expected: str) -> None:
    assert verdict(damaged) == expected
