# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Levels of verification: the witness that decides about a loaded patch, and cases that are not tampering."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import hashlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.patch_verification import (
    VerifiedPatch,
    verified_patches,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.loaded_patches import (
    CONTENT_LIMIT,
    KernelKey,
    ModuleFile,
    SysfsPatch,
    decode_file,
    parse_report,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from tests.lab.live_patches import signing
from tests.samples.facts import KEY, KEY_2025, MODULE, NOW, a_host, a_patch, shipped

BUILD_ID = "ab" * 20
SIGNER = signing.make_signer("Vendor")
STRANGER = signing.make_signer("Stranger")
VENDOR_KEY = KernelKey("Vendor", SIGNER.key_id.hex(), "X509.rsa")
NOT_TAINTED, TAINTED = "OK", "OEK"


def anchors(**changes: t.Any) -> trust.TrustAnchors:
    return trust.TrustAnchors(**{"trusted": [trust.read_certificate(SIGNER.der)], **changes})


def module(build_id: str = BUILD_ID, **parts: t.Any) -> bytes:
    parts = {"srcversion": a_patch().srcversion, **parts}
    return signing.module(name=MODULE, build_id=bytes.fromhex(build_id), **parts)


SIGNED = signing.sign(module(), SIGNER)


def by_content(content: bytes) -> ModuleFile:
    return ModuleFile("ok", "/payload/livepatch.ko", content=content)


def by_digest(content: bytes, hash_name: str = "sha512") -> ModuleFile:
    """Return the part of a module that a host sends; the header defines its end."""
    end = len(module())
    value = hashlib.new(hash_name, content[:end]).digest()
    return ModuleFile("ok", "/payload/livepatch.ko", content[64:100], content[end:], (hash_name, value))


def verify(
    file: ModuleFile | None, *keys: KernelKey, trusted: trust.TrustAnchors | None = None, **patch: t.Any
) -> VerifiedPatch:
    (verified,) = verified_patches(
        [a_patch(file=file, **patch)], keys, claimed=MODULE, anchors=anchors() if trusted is None else trusted
    )
    return verified


def outcome(verified: VerifiedPatch) -> tuple[str, str, str | None]:
    kept = verified.patch["verification"]
    return kept["level"], kept["result"], verified.fault["id"] if verified.fault else None


FORMS = {"digest": by_digest, "file": by_content}
CHANGED = SIGNED[:200] + bytes([SIGNED[200] ^ 1]) + SIGNED[201:]


@pytest.mark.parametrize("level", FORMS)
def test_a_valid_signature_and_build_id_verify(level: str) -> None:
    verified = verify(FORMS[level](SIGNED), taint=TAINTED)
    assert outcome(verified) == (level, "verified", None)
    kept = verified.patch["verification"]
    assert (kept["signer"], kept["key_id"]) == ("Vendor", SIGNER.key_id.hex())
    assert kept["sha512"] == hashlib.sha512(module()).hexdigest()


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_other_algorithms_verify(hash_name: str, kind: str) -> None:
    signer = signing.make_signer("Other", kind)
    file = by_digest(signing.sign(module(), signer, hash_name), hash_name)
    verified = verify(file, trusted=trust.TrustAnchors([trust.read_certificate(signer.der)]))
    assert outcome(verified) == ("digest", "verified", None)
    assert (verified.patch["verification"]["sha512"] is None) == (hash_name != "sha512")


@pytest.mark.parametrize("level", FORMS)
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (module(), "signature_failed"),
        (CHANGED, "signature_failed"),
        (SIGNED[:-1], "signature_failed"),
        (SIGNED[:-600], "signature_failed"),
        (SIGNED[:-200] + bytes(160) + SIGNED[-40:], "signature_failed"),
        (signing.append(module(), b"\x30\x00"), "signature_failed"),
        (signing.sign(module(), STRANGER), "wrong_signer"),
        (signing.sign(module("cd" * 20), SIGNER), "build_id_differs"),
    ],
    ids=["unsigned", "changed", "cut", "cut in the signature", "damaged", "malformed", "stranger", "another build"],
)
@pytest.mark.parametrize("taint", [TAINTED, NOT_TAINTED])
def test_a_failed_verification_is_tampering(level: str, content: bytes, fault: str, taint: str) -> None:
    verified = verify(FORMS[level](content), VENDOR_KEY if taint == NOT_TAINTED else KEY, taint=taint)
    assert outcome(verified) == (level, "failed", fault)
    assert verified.fault is not None
    assert MODULE in verified.fault["message"]
    assert verified.fault["remedy"]


NO_WITNESS = {
    "not asked for": None,
    "absent": ModuleFile("absent"),
    "denied": ModuleFile("denied"),
    "nothing of it": ModuleFile("ok", "/payload/livepatch.ko"),
    "no digest": ModuleFile("ok", "/p.ko", b"", SIGNED[len(module()) :], None),
    "another digest": ModuleFile("ok", "/p.ko", b"", SIGNED[len(module()) :], ("sha256", bytes(32))),
    "ends elsewhere": ModuleFile("ok", "/p.ko", b"", b"\0" * 8 + SIGNED[len(module()) :], ("sha512", bytes(64))),
}
NOT_JUDGED = {
    "SHA-1": signing.sign(module(), SIGNER, "sha1"),
    "SHA-3": SIGNED.replace(signing.oid("2.16.840.1.101.3.4.2.3"), signing.oid("2.16.840.1.101.3.4.2.10")),
    "sha512WithRSAEncryption": signing.sign(module(), SIGNER, hash_in_scheme=True),
    "another form": signing.append(module(), b"\x30\x00", trailer=b"\0\0\1\0\0\0\0\0"),
}


@pytest.mark.parametrize("why", NO_WITNESS)
def test_without_a_usable_file_the_kernel_decides(why: str) -> None:
    file = NO_WITNESS[why]
    accepted = verify(file, VENDOR_KEY, taint=NOT_TAINTED)
    assert outcome(accepted) == ("kernel", "verified", None)
    kept = accepted.patch["verification"]
    assert (kept["signer"], kept["key_id"], kept["sha512"]) == (None, None, None), "any key of the kernel signed it"
    assert outcome(verify(file, VENDOR_KEY, taint=TAINTED)) == ("kernel", "failed", "signature_failed")
    assert outcome(verify(file, taint=TAINTED)) == ("client", "not_checked", None)
    assert outcome(verify(file, taint=NOT_TAINTED)) == ("client", "not_checked", None)


@pytest.mark.parametrize("level", FORMS)
@pytest.mark.parametrize("form", NOT_JUDGED)
def test_a_signature_that_is_not_judged_decides_nothing(form: str, level: str) -> None:
    file = FORMS[level](NOT_JUDGED[form])
    for keys in ((), (KEY,), (VENDOR_KEY,), (VENDOR_KEY, KEY, KEY_2025)):
        for taint in (NOT_TAINTED, TAINTED, None):
            verified = verify(file, *keys, taint=taint)
            assert outcome(verified) == ("client", "not_checked", None)
            doubtful = VENDOR_KEY in keys and taint == TAINTED
            assert (verified.doubt is not None) == doubtful


def test_a_missing_key_of_the_kernel_is_no_proof() -> None:
    """The signer may be the trusted key that the kernel does not have."""
    (verified,) = verified_patches([a_patch(taint=TAINTED)], [KEY], claimed=MODULE)
    assert outcome(verified) == ("client", "not_checked", None)
    assert verified.doubt is not None
    assert verified.doubt["id"] == "signature_not_confirmed"
    (verified,) = verified_patches([a_patch(taint=TAINTED)], [KEY, KEY_2025], claimed=MODULE)
    assert outcome(verified) == ("kernel", "failed", "signature_failed")


def test_a_key_that_a_user_may_have_added_proves_nothing() -> None:
    forged = [dataclasses.replace(key, certain=False) for key in (KEY, KEY_2025)]
    for taint in (TAINTED, NOT_TAINTED):
        (verified,) = verified_patches([a_patch(taint=taint)], forged, claimed=MODULE)
        assert outcome(verified) == ("client", "not_checked", None)
        assert verified.doubt is None
    signed = verify(by_digest(SIGNED), dataclasses.replace(VENDOR_KEY, certain=False), taint=TAINTED)
    assert outcome(signed) == ("digest", "verified", None)


def test_a_pin_without_certificate_proves_nothing() -> None:
    pinned = trust.TrustAnchors(pins=[SIGNER.spki_sha256])
    for form in FORMS.values():
        for taint in (TAINTED, NOT_TAINTED):
            assert outcome(verify(form(SIGNED), trusted=pinned, taint=taint)) == ("client", "not_checked", None)
    # The missing certificate may be the signer's, so the kernel's result about the other key is no proof.
    partly = anchors(pins=[STRANGER.spki_sha256])
    verified = verify(by_digest(signing.sign(module(), STRANGER)), VENDOR_KEY, trusted=partly, taint=TAINTED)
    assert outcome(verified) == ("client", "not_checked", None)
    assert verified.doubt is not None


def test_a_pinned_key_allows_the_hosts_certificate() -> None:
    def levels(certificate: bytes | None) -> tuple[str, str]:
        host = a_host(patches=(a_patch(file=by_digest(SIGNED)),), kernel_keys=(), certificate=certificate)
        record = make_record(
            "web-01",
            host,
            shipped("launch"),
            collector=Collector(collection="1.0.0", ansible_core="2.19.0"),
            collected_at=NOW,
            anchors=trust.TrustAnchors(pins=[SIGNER.spki_sha256]),
        )
        kept = record["kernel_patches"][0]["verification"]
        return kept["level"], kept["result"]

    assert levels(SIGNER.der) == ("digest", "verified")
    assert levels(STRANGER.der) == ("client", "not_checked")
    assert levels(b"no certificate") == ("client", "not_checked")
    assert levels(None) == ("client", "not_checked")


@pytest.mark.parametrize("taint", [TAINTED, NOT_TAINTED, None])
@pytest.mark.parametrize("keys", [(), (KEY,), (KEY, KEY_2025), (VENDOR_KEY, KEY, KEY_2025)])
def test_an_untrusted_signer_is_never_verified(keys: tuple[KernelKey, ...], taint: str | None) -> None:
    """Even if the kernel accepted the module: any key in its keyrings may have signed it."""
    for level, form in FORMS.items():
        verified = verify(form(signing.sign(module(), STRANGER)), *keys, taint=taint)
        assert outcome(verified) == (level, "failed", "wrong_signer")
        kept = verified.patch["verification"]
        assert (kept["signer"], kept["key_id"]) == (None, None)


@pytest.mark.parametrize("level", FORMS)
def test_one_of_several_signers_is_enough(level: str) -> None:
    infos = [signing.signer_info(module(), signer) for signer in (STRANGER, SIGNER)]
    content = signing.append(module(), signing.signed_data(*infos))
    assert outcome(verify(FORMS[level](content), taint=NOT_TAINTED)) == (level, "verified", None)


def test_one_digest_cannot_judge_two_algorithms() -> None:
    infos = [signing.signer_info(module(), STRANGER, "sha256"), signing.signer_info(module(), SIGNER)]
    content = signing.append(module(), signing.signed_data(*infos))
    assert outcome(verify(by_content(content))) == ("file", "verified", None)
    assert outcome(verify(by_digest(content))) == ("client", "not_checked", None)


def test_a_tainting_kernel_contradicts_a_valid_file() -> None:
    assert outcome(verify(by_digest(SIGNED), VENDOR_KEY, taint=TAINTED)) == ("digest", "failed", "signature_failed")
    # Canonical's key in the kernel is no evidence about a module that another trusted key signed.
    assert outcome(verify(by_digest(SIGNED), KEY, taint=TAINTED)) == ("digest", "verified", None)


@pytest.mark.parametrize("missing", ["running", "file"])
def test_a_missing_build_id_gives_level_digest(missing: str) -> None:
    content = signing.sign(module() if missing == "running" else module(""), SIGNER)
    patch = {"build_id": None} if missing == "running" else {}
    verified = verify(by_content(content), **patch)
    assert outcome(verified) == ("digest", "verified", None)
    assert verified.gap is not None
    assert verified.gap["id"] == "build_id_missing"
    assert {"running": "the running module", "file": "its file"}[missing] in verified.gap["message"]
    assert verify(by_content(SIGNED)).gap is None


@pytest.mark.parametrize("build_id", [BUILD_ID, None])
def test_another_srcversion_is_tampering(build_id: str | None) -> None:
    content = signing.sign(module(srcversion="A" * 23), SIGNER)
    same = verify(by_content(content), build_id=build_id, srcversion="A" * 23)
    assert outcome(same) == ("file" if build_id else "digest", "verified", None)
    other = verify(by_content(content), build_id=build_id, srcversion="B" * 23)
    assert outcome(other)[1:] == ("failed", "srcversion_differs")
    for running, filed in ((None, "A" * 23), ("B" * 23, None)):
        content = signing.sign(module(srcversion=filed), SIGNER)
        assert outcome(verify(by_content(content), srcversion=running))[1] == "verified"


def test_without_anchors_no_signature_is_verified() -> None:
    (verified,) = verified_patches([a_patch(file=by_digest(CHANGED))], [KEY], claimed=None)
    assert outcome(verified) == ("kernel", "verified", None)


def test_a_doubt_makes_the_host_unverified() -> None:
    host = a_host(patches=(a_patch(taint=TAINTED),), kernel_keys=(KEY,))
    assessment = record_of(host)["assessment"]
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("unverified", "signature_not_confirmed")


def test_a_missing_build_id_is_a_reason() -> None:
    host = a_host(patches=(a_patch(file=by_digest(SIGNED), build_id=None),))
    assessment = record_of(host, anchors())["assessment"]
    assert assessment["state"] == "protected"
    assert [reason["id"] for reason in assessment["reasons"]] == ["applied", "build_id_missing"]


def test_the_reason_names_the_sources_of_the_reported_patch() -> None:
    def message(*patches: SysfsPatch, keys: tuple[KernelKey, ...] = ()) -> str:
        assessment = record_of(a_host(patches=patches, kernel_keys=keys), anchors())["assessment"]
        assert assessment["state"] == "protected"
        return assessment["reasons"][0]["message"]

    signed = a_patch(file=by_digest(SIGNED))
    assert message(signed).endswith("client, kernel and signature agree")
    assert message(a_patch()).endswith("client and kernel agree")
    assert message(a_patch(), keys=(VENDOR_KEY,)).endswith(
        "client and kernel agree, and the kernel accepted the signature"
    )
    # The signature of another patch is no evidence for the reported one.
    other = dataclasses.replace(signed, module="other")
    assert message(a_patch(), other).endswith("client and kernel agree")


def record_of(host: HostFacts, trusted: trust.TrustAnchors | None = None) -> Record:
    collector = Collector(collection="1.0.0", ansible_core="2.19.0")
    return make_record("web-01", host, shipped("launch"), collector=collector, collected_at=NOW, anchors=trusted)


def test_a_tampered_patch_decides_the_state() -> None:
    host = a_host(patches=(a_patch(file=by_digest(signing.sign(module(), STRANGER))),))
    record = make_record(
        "web-01",
        host,
        shipped("launch"),
        collector=Collector(collection="1.0.0", ansible_core="2.19.0"),
        collected_at=dt.datetime.now(dt.timezone.utc),
        anchors=anchors(),
    )
    assert record["assessment"]["state"] == "tampered"
    reason = record["assessment"]["reasons"][0]
    assert reason["id"] == "wrong_signer"
    assert "trusted_spki_sha256" in (reason["remedy"] or "")


# --- the module report of a host ---


def test_a_module_report_is_parsed() -> None:
    text = "file ok /payload/livepatch.ko\nnote 0400\nbuilt 00ff\ntrailer 0102\ndigest sha512 " + "ab" * 64 + "  -\n"
    report = parse_report(text)
    assert report.note == "0400"
    assert report.file == ModuleFile(
        "ok", "/payload/livepatch.ko", b"\0\xff", b"\1\2", ("sha512", bytes.fromhex("ab" * 64)), None
    )


@pytest.mark.parametrize(
    "line",
    [
        "digest sha512 " + "ab" * 32,
        "digest md5 " + "ab" * 16,
        "digest sha512 " + "xy" * 64,
        "trailer abc",
        "trailer " + "00" * 8193,
        "built zz",
    ],
)
def test_malformed_values_are_unknown(line: str) -> None:
    assert parse_report(f"file ok /p.ko\n{line}\n").file == ModuleFile("ok", "/p.ko")


@pytest.mark.parametrize("content", ["", "%%%%", "QUJ", "Q" * 5])
def test_invalid_base64_is_no_file(content: str) -> None:
    assert decode_file(content) is None


def test_a_too_large_file_is_ignored() -> None:
    assert decode_file(base64.b64encode(bytes(CONTENT_LIMIT)).decode()) is not None
    assert decode_file(base64.b64encode(bytes(CONTENT_LIMIT + 1)).decode()) is None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["file ok", "file", "note", "built", "trailer", "digest sha512"]), st.text())),
    st.binary(max_size=300) | st.none(),
)
def test_no_report_crashes_or_verifies(lines: list[tuple[str, str]], content: bytes | None) -> None:
    sent = None if content is None else base64.b64encode(content).decode()
    report = parse_report("\n".join(f"{key} {value}" for key, value in lines), sent)
    assert outcome(verify(report.file))[1] != "verified"
