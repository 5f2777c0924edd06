# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Trust anchors: Canonical by its pin, others by certificate or pin."""

from __future__ import annotations

import base64
import datetime as dt
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.loaded_patches import LIVE_PATCH_KEY_IDS
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import canonical_key, patch_file, trust
from tests.lab.live_patches import signing

NOW = dt.datetime.now(dt.timezone.utc)
CONTENT = signing.module()
VENDOR = signing.make_signer("Vendor")
OTHER = signing.make_signer("Other")
VENDOR_CERTIFICATE = trust.read_certificate(VENDOR.der)
OTHER_CERTIFICATE = trust.read_certificate(OTHER.der)


def verdict(anchors: trust.TrustAnchors, **form: t.Any) -> str:
    data = signing.sign(CONTENT, VENDOR, **form)
    return patch_file.examine(data, "patch.ko", anchors, now=NOW, kernel=None).verdict


def test_the_built_in_certificates_have_the_pinned_keys() -> None:
    found = trust.read_certificates(canonical_key.CERTIFICATES)
    assert [(each.subject, each.key_id, each.spki_sha256, each.not_after) for each in found] == [
        (
            "Canonical Ltd. Live Patch Signing",
            "14df34d1a87cf37625abec039ef2bf521249b969",
            "0e081aad8fffab90f29fc950292ecd835a287ec186d27a761d04a21708f4986d",
            dt.datetime(2026, 7, 16, 23, 41, 27, tzinfo=dt.timezone.utc),
        ),
        (
            "Canonical Ltd. Live Patch Signing 2025 Kmod",
            "d541cef61dc7e793b7eb7e899970a2eef0b5dc8c",
            "b4fc4bea7c3b5b5cb8f4b116039417510b06c0d0cac24435269c466c04969743",
            dt.datetime(2050, 5, 16, 9, 7, 40, tzinfo=dt.timezone.utc),
        ),
    ]
    assert [each.spki_sha256 for each in found] == list(canonical_key.PINS)
    assert trust.canonical_anchors().key_ids == LIVE_PATCH_KEY_IDS
    assert not trust.canonical_anchors().unmet_pins


def test_signatures_name_the_2025_key_by_its_serial_number() -> None:
    _old, new = trust.read_certificates(canonical_key.CERTIFICATES)
    serials = {signer[1].hex() for signer in new.signer_ids if isinstance(signer, tuple)}
    assert serials == {"4777266dae6c5773eb80e296dd2693ffe9f5625d"}


@pytest.mark.parametrize(
    ("certificates", "pins", "expected"),
    [
        pytest.param([], None, "wrong_signer", id="canonical alone"),
        pytest.param([VENDOR_CERTIFICATE], None, "valid", id="in addition to canonical"),
        pytest.param([OTHER_CERTIFICATE], None, "wrong_signer", id="another in addition to canonical"),
        pytest.param([VENDOR_CERTIFICATE], [], "valid", id="certificates alone"),
        pytest.param([], [], "wrong_signer", id="no one"),
        pytest.param([VENDOR_CERTIFICATE], [VENDOR.spki_sha256], "valid", id="pinned"),
        pytest.param([], [VENDOR.spki_sha256], "no_certificate", id="pinned without certificate"),
        pytest.param([OTHER_CERTIFICATE], [OTHER.spki_sha256], "wrong_signer", id="another pinned"),
        pytest.param([], [*canonical_key.PINS], "wrong_signer", id="canonical pinned"),
    ],
)
def test_the_options_define_the_trust(
    certificates: list[trust.Certificate], pins: list[str] | None, expected: str
) -> None:
    assert verdict(trust.operator_anchors(certificates, pins)) == expected


def test_canonical_is_trusted_unless_pins_are_given() -> None:
    for key_id in LIVE_PATCH_KEY_IDS:
        canonical = bytes.fromhex(key_id)
        assert trust.operator_anchors([VENDOR_CERTIFICATE], None).find(canonical, [])
        assert not trust.operator_anchors([VENDOR_CERTIFICATE], []).find(canonical, [])
        assert not trust.operator_anchors([VENDOR_CERTIFICATE], [VENDOR.spki_sha256]).find(canonical, [])


def test_an_unpinned_certificate_is_an_error() -> None:
    with pytest.raises(trust.TrustError, match=f"'Other' has a key that is not pinned: {OTHER.spki_sha256}"):
        trust.operator_anchors([VENDOR_CERTIFICATE, OTHER_CERTIFICATE], [VENDOR.spki_sha256])


@pytest.mark.parametrize(("bits", "accepted"), [(1024, False), (2047, False), (2048, True)])
def test_a_short_rsa_key_is_never_trusted(tmp_path: Path, bits: int, accepted: bool) -> None:
    signer = signing.make_signer("Weak", bits=bits)
    (tmp_path / "weak.pem").write_bytes(signer.pem)
    pinned = trust.TrustAnchors(pins=[signer.spki_sha256])
    certificate = trust.read_certificate(signer.der)
    found = pinned.find(bytes.fromhex(certificate.key_id), [signer.der])
    if accepted:
        trust.read_anchors([str(tmp_path / "weak.pem")], None)
        assert found == [certificate]
        return
    for pins in (None, [], [signer.spki_sha256]):
        with pytest.raises(trust.TrustError, match=f"an RSA key of {bits} bits, and must have at least 2048"):
            trust.read_anchors([str(tmp_path / "weak.pem")], pins)
    assert found == []


def test_a_certificate_in_the_signature_needs_a_pin() -> None:
    assert verdict(trust.TrustAnchors(pins=[VENDOR.spki_sha256]), certificates=True) == "valid"
    assert verdict(trust.TrustAnchors(pins=[OTHER.spki_sha256]), certificates=True) == "no_certificate"
    assert verdict(trust.operator_anchors([OTHER_CERTIFICATE], None), certificates=True) == "wrong_signer"


def test_another_signers_pinned_certificate_is_not_used() -> None:
    anchors = trust.TrustAnchors(pins=[VENDOR.spki_sha256])
    message = signing.signed_data(signing.signer_info(CONTENT, OTHER), certificates=(VENDOR.der,))
    found = patch_file.examine(signing.append(CONTENT, message), "patch.ko", anchors, now=NOW, kernel=None)
    assert (found.verdict, found.signer) == ("no_certificate", None)


def test_a_forged_certificate_with_pinned_key_fails() -> None:
    forged = signing.make_certificate(VENDOR.key, "Other", serial=OTHER.certificate.serial_number)
    info = signing.signer_info(CONTENT, OTHER)
    message = signing.signed_data(info, certificates=(signing.Signer(VENDOR.key, forged).der,))
    anchors = trust.TrustAnchors(pins=[VENDOR.spki_sha256])
    found = patch_file.examine(signing.append(CONTENT, message), "patch.ko", anchors, now=NOW, kernel=None)
    assert found.verdict == "digest_mismatch"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x30\x00",
        VENDOR.der[:-1],
        VENDOR.der[:40] + bytes(len(VENDOR.der) - 40),
        VENDOR.der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020131"), 1),
    ],
    ids=["empty", "empty sequence", "cut", "zeros", "unknown version"],
)
def test_a_damaged_certificate_in_the_signature_is_ignored(damaged: bytes) -> None:
    anchors = trust.TrustAnchors(pins=[VENDOR.spki_sha256])
    assert anchors.find(VENDOR.key_id, [damaged]) == []
    assert anchors.find(VENDOR.key_id, [damaged, VENDOR.der])


def test_offered_certificates_need_a_pin() -> None:
    anchors = trust.TrustAnchors(pins=[OTHER.spki_sha256], offered=[VENDOR_CERTIFICATE, OTHER_CERTIFICATE])
    assert verdict(anchors) == "wrong_signer"


def test_pem_and_der_files_are_accepted() -> None:
    text = b"# the keys of our patches\n" + VENDOR.pem + b"\n" + OTHER.pem
    assert [found.subject for found in trust.read_certificates(text)] == ["Vendor", "Other"]
    assert trust.read_certificates(VENDOR.der) == [VENDOR_CERTIFICATE]


_WITH_UNKNOWN_VERSION = VENDOR.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x22", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        VENDOR.der[:-1],
        VENDOR.der + b"\0",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        VENDOR.pem[:-40],
        b"\x30\x80",
        _WITH_UNKNOWN_VERSION,
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(_WITH_UNKNOWN_VERSION) + b"-----END CERTIFICATE-----\n",
    ],
)
def test_an_invalid_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(trust.TrustError, match="certificate"):
        trust.read_certificates(data)


@pytest.mark.parametrize("pin", ["", "14df34d1", "g" * 64, "0" * 63, "0" * 65, "é" * 64])
def test_an_invalid_pin_is_refused(pin: str) -> None:
    with pytest.raises(trust.TrustError, match="64 hexadecimal digits"):
        trust.parse_pin(pin)


def test_a_pin_may_have_the_openssl_format() -> None:
    written = ":".join(canonical_key.PINS[0][at : at + 2].upper() for at in range(0, 64, 2))
    assert trust.parse_pin(f" {written}\n") == canonical_key.PINS[0]


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("hello", encoding="utf-8")
    with pytest.raises(trust.TrustError, match=r"text\.pem: this is not a usable X\.509 certificate"):
        trust.read_anchors([str(tmp_path / "text.pem")], None)
    with pytest.raises(trust.CertificateFileError, match=r"absent\.pem cannot be read: No such file"):
        trust.read_anchors([str(tmp_path / "absent.pem")], None)


def test_a_missing_cryptography_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(LivepatchError, match="needs the Python library cryptography 41 or newer") as caught:
        trust.TrustAnchors()
    assert caught.value.id == "library_missing"
