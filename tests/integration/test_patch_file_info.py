# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `patch_file_info`, with files that the lab and openssl have signed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.integration.conftest import Ansible
from tests.integration.module_runner import ModuleRunner
from tests.lab.live_patches import signing

MODULE = "kernelops.livepatch.patch_file_info"
VENDOR = signing.make_signer("Vendor", bits=4096)
STRANGER = signing.make_signer("Stranger")
EXPIRED = signing.make_signer("Expired", "p256", expired=True)
CONTENT = signing.module()
RETURNED = {
    "valid",
    "verdict",
    "reason",
    "signer",
    "key_id",
    "hash_algorithm",
    "build_id",
    "srcversion",
    "vermagic",
    "kernel",
    "version",
    "certificate_expired",
    "sha256",
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with certificates and patches."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in {
        "vendor.der": VENDOR.der,
        "vendor.pem": VENDOR.pem,
        "several.pem": STRANGER.pem + EXPIRED.pem + VENDOR.pem,
        "stranger.pem": STRANGER.pem,
        "patch.ko": signing.sign(CONTENT, VENDOR),
        "expired.ko": signing.sign(CONTENT, EXPIRED, "sha384", key_identifier=True, attributes=True),
        "unsigned.ko": CONTENT,
        "cut.ko": signing.sign(CONTENT, VENDOR)[:-5],
        "forged.ko": signing.sign(CONTENT, signing.Signer(STRANGER.key, VENDOR.certificate)),
        "weak.ko": signing.sign(CONTENT, VENDOR, "sha1"),
        "brings-certificate.ko": signing.sign(CONTENT, VENDOR, certificates=True),
        signing.ARCHIVE_NAME: signing.patch_archive(signing.sign(CONTENT, VENDOR)),
        "no-certificate.pem": b"hello\n",
    }.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleRunner]:
    runner = ModuleRunner("patch_file_info")
    yield runner
    runner.close()


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    return Ansible(tmp_path, {})


@pytest.mark.matrix
@pytest.mark.parametrize("words", [(), ("--check", "--diff")], ids=["run", "check"])
def test_an_archive_is_verified(ansible: Ansible, files: Path, words: tuple[str, ...]) -> None:
    path = files / signing.ARCHIVE_NAME
    run = ansible.task(
        MODULE,
        "localhost",
        *words,
        path=str(path),
        trusted_certificates=[str(files / "vendor.pem")],
        kernel=signing.KERNEL,
        require_valid=True,
    )
    result = run.result("localhost")
    assert result["kind"] == "ok"
    assert result["changed"] is False
    assert {key: result[key] for key in RETURNED} == {
        "valid": True,
        "verdict": "valid",
        "reason": "signed by Vendor",
        "signer": "Vendor",
        "key_id": VENDOR.key_id.hex(),
        "hash_algorithm": "sha512",
        "build_id": bytes(range(20)).hex(),
        "srcversion": "0C7D2E3B0F6F2A1D9B8E4C5",
        "vermagic": signing.VERMAGIC,
        "kernel": signing.KERNEL,
        "version": "65.1",
        "certificate_expired": False,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


VERDICTS: list[tuple[str, list[str], dict[str, t.Any], str]] = [
    ("patch.ko", ["vendor.der"], {}, "valid"),
    ("patch.ko", ["several.pem"], {"trusted_spki_sha256": []}, "valid"),
    ("patch.ko", ["vendor.der"], {"trusted_spki_sha256": [VENDOR.spki_sha256]}, "valid"),
    ("patch.ko", [], {}, "wrong_signer"),
    ("patch.ko", ["stranger.pem"], {}, "wrong_signer"),
    ("patch.ko", [], {"trusted_spki_sha256": [VENDOR.spki_sha256]}, "no_certificate"),
    ("brings-certificate.ko", [], {"trusted_spki_sha256": [VENDOR.spki_sha256]}, "valid"),
    ("brings-certificate.ko", [], {}, "wrong_signer"),
    ("patch.ko", ["vendor.der"], {"kernel": "4.4.0-21.37-generic"}, "not_for_this_kernel"),
    ("unsigned.ko", ["vendor.der"], {}, "unsigned"),
    ("cut.ko", ["vendor.der"], {}, "truncated"),
    ("forged.ko", ["vendor.der"], {}, "digest_mismatch"),
    ("weak.ko", ["vendor.der"], {}, "unsupported_algorithm"),
    ("vendor.pem", ["vendor.der"], {}, "malformed"),
]


def test_only_required_validity_fails(module: ModuleRunner, ansible: Ansible, files: Path) -> None:
    cases = [
        {"path": str(files / name), "trusted_certificates": [str(files / each) for each in certificates], **options}
        for name, certificates, options, _verdict in VERDICTS
    ]
    results = [module.run(ansible, case) for case in cases]
    expected = [("ok", verdict, verdict == "valid") for *_case, verdict in VERDICTS]
    assert [(result["kind"], result["verdict"], result["valid"]) for result in results] == expected
    assert all(set(result) >= RETURNED for result in results)
    required = [module.run(ansible, {**case, "require_valid": True}) for case in cases]
    assert [result["kind"] for result in required] == ["ok" if valid else "failed" for *_result, valid in expected]
    for case, result, failed in zip(cases, results, required, strict=True):
        assert {key: failed[key] for key in RETURNED} == {key: result[key] for key in RETURNED}
        if not result["valid"]:
            assert failed["msg"].startswith(f"{case['path']} is {result['verdict']}: {result['reason']}. Do not use ")
            assert failed["error_id"] == "patch_not_valid"


def test_an_expired_certificate_is_reported_only(module: ModuleRunner, ansible: Ansible, files: Path) -> None:
    options = {"path": str(files / "expired.ko"), "trusted_certificates": [str(files / "several.pem")]}
    result = module.run(ansible, options)
    assert (result["valid"], result["signer"], result["certificate_expired"]) == (True, "Expired", True)


FAILURES: list[tuple[str, list[str], list[str] | None, str]] = [
    ("missing.ko", [], None, "missing.ko: No such file or directory"),
    (".", [], None, "not a regular file"),
    ("pipe", [], None, "pipe: not a regular file"),
    ("large.ko", [], None, "large.ko: the file is larger than 64 MiB"),
    ("patch.ko", ["missing.pem"], None, "missing.pem cannot be read"),
    ("patch.ko", ["no-certificate.pem"], None, "no-certificate.pem: this is not a usable X.509 certificate"),
    ("patch.ko", ["large.ko"], None, "large.ko cannot be read: the file is larger than 1 MiB"),
    ("patch.ko", [], ["14df34d1"], "'14df34d1' is not the SHA-256 of a public key"),
    (
        "patch.ko",
        ["stranger.pem"],
        [VENDOR.spki_sha256],
        f"'Stranger' has a key that is not pinned: {STRANGER.spki_sha256}",
    ),
]


def test_unusable_files_and_keys_are_named(module: ModuleRunner, ansible: Ansible, files: Path) -> None:
    os.mkfifo(files / "pipe")
    with (files / "large.ko").open("wb") as file:
        file.truncate((64 << 20) + 1)
    cases = [
        {
            "path": str(files / name),
            "trusted_certificates": [str(files / each) for each in certificates],
            "trusted_spki_sha256": pins,
        }
        for name, certificates, pins, _message in FAILURES
    ]
    results = [module.run(ansible, case) for case in cases]
    assert [result["kind"] for result in results] == ["failed"] * len(cases)
    missing = [(message, result["msg"]) for result, (*_case, message) in zip(results, FAILURES, strict=True)]
    assert [pair for pair in missing if pair[0] not in pair[1]] == []


OPENSSL_FORMS = {
    "like sign-file of the kernel": ["-noattr", "-nocerts", "-md", "sha512"],
    "key identifier": ["-noattr", "-nocerts", "-keyid", "-md", "sha256"],
    "attributes and certificates": ["-md", "sha384"],
}


def test_files_signed_by_openssl_are_valid(module: ModuleRunner, ansible: Ansible, files: Path) -> None:
    cases = []
    for kind in ("rsa", "p384"):
        signer = signing.make_signer(f"openssl {kind}", kind)
        # openssl names a signer by key identifier only when the certificate claims one.
        certificate = signing.make_certificate(signer.key, f"openssl {kind}", claimed_key_id=signer.key_id)
        secret = signer.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (files / "signer.key").write_bytes(secret)
        trusted = files / f"{kind}.pem"
        trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        for name, form in OPENSSL_FORMS.items():
            words = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-in", "unsigned.ko", *form]
            keys = ["-signer", str(trusted), "-inkey", "signer.key"]
            message = subprocess.run([*words, *keys], cwd=files, check=True, capture_output=True).stdout
            path = files / f"{kind} {name}.ko"
            path.write_bytes(signing.append(CONTENT, message))
            cases.append({"path": str(path), "trusted_certificates": [str(trusted)]})
    for case in cases:
        result = module.run(ansible, case)
        assert result["verdict"] == "valid", f"{case['path']}: {result['reason']}"
        assert result["signer"].startswith("openssl ")
