# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `patch_file_info`, with files that the lab and openssl have signed."""

from __future__ import annotations

import functools
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
VENDOR, STRANGER, EXPIRED = "Vendor", "Stranger", "Expired"
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


@functools.cache
def signer(name: str) -> signing.Signer:
    """Return a signer. Not made before a test needs it: a key of 4096 bits takes a second."""
    if name == EXPIRED:
        return signing.make_signer(name, "p256", expired=True)
    return signing.make_signer(name, bits=4096 if name == VENDOR else 2048)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with certificates and patches."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in {
        "vendor.der": signer(VENDOR).der,
        "vendor.pem": signer(VENDOR).pem,
        "several.pem": signer(STRANGER).pem + signer(EXPIRED).pem + signer(VENDOR).pem,
        "stranger.pem": signer(STRANGER).pem,
        "patch.ko": signing.sign(CONTENT, signer(VENDOR)),
        "expired.ko": signing.sign(CONTENT, signer(EXPIRED), "sha384", key_identifier=True),
        "unsigned.ko": CONTENT,
        "cut.ko": signing.sign(CONTENT, signer(VENDOR))[:-5],
        "forged.ko": signing.sign(CONTENT, signing.Signer(signer(STRANGER).key, signer(VENDOR).certificate)),
        "weak.ko": signing.sign(CONTENT, signer(VENDOR), "sha1"),
        "brings-certificate.ko": signing.sign(CONTENT, signer(VENDOR), certificates=True),
        signing.ARCHIVE_NAME: signing.patch_archive(signing.sign(CONTENT, signer(VENDOR))),
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
        "key_id": signer(VENDOR).key_id.hex(),
        "hash_algorithm": "sha512",
        "build_id": bytes(range(20)).hex(),
        "srcversion": "0C7D2E3B0F6F2A1D9B8E4C5",
        "vermagic": signing.VERMAGIC,
        "kernel": signing.KERNEL,
        "version": "65.1",
        "certificate_expired": False,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


PINNED = {"trusted_spki_sha256": "the key of the vendor"}
VERDICTS: list[tuple[str, list[str], dict[str, t.Any], str]] = [
    ("patch.ko", ["vendor.der"], {}, "valid"),
    ("patch.ko", ["several.pem"], {"trusted_spki_sha256": []}, "valid"),
    ("patch.ko", ["vendor.der"], PINNED, "valid"),
    ("patch.ko", [], {}, "wrong_signer"),
    ("patch.ko", ["stranger.pem"], {}, "wrong_signer"),
    ("patch.ko", [], PINNED, "no_certificate"),
    ("brings-certificate.ko", [], PINNED, "valid"),
    ("brings-certificate.ko", [], {}, "wrong_signer"),
    ("patch.ko", ["vendor.der"], {"kernel": "4.4.0-21.37-generic"}, "not_for_this_kernel"),
    ("unsigned.ko", ["vendor.der"], {}, "unsigned"),
    ("cut.ko", ["vendor.der"], {}, "truncated"),
    ("forged.ko", ["vendor.der"], {}, "digest_mismatch"),
    ("weak.ko", ["vendor.der"], {}, "unsupported_algorithm"),
    ("vendor.pem", ["vendor.der"], {}, "malformed"),
]


def test_only_required_validity_fails(module: ModuleRunner, ansible: Ansible, files: Path) -> None:
    pinned = {"trusted_spki_sha256": [signer(VENDOR).spki_sha256]}
    cases = [
        {
            "path": str(files / name),
            "trusted_certificates": [str(files / each) for each in certificates],
            **(pinned if options is PINNED else options),
        }
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
    messages = [message for *_case, message in FAILURES]
    cases.append(
        {
            "path": str(files / "patch.ko"),
            "trusted_certificates": [str(files / "stranger.pem")],
            "trusted_spki_sha256": [signer(VENDOR).spki_sha256],
        }
    )
    messages.append(f"'Stranger' has a key that is not pinned: {signer(STRANGER).spki_sha256}")
    results = [module.run(ansible, case) for case in cases]
    assert [result["kind"] for result in results] == ["failed"] * len(cases)
    pairs = [(message, result["msg"]) for message, result in zip(messages, results, strict=True)]
    assert [pair for pair in pairs if pair[0] not in pair[1]] == []


OPENSSL_FORMS = {
    "like sign-file of the kernel": (["-noattr", "-nocerts", "-md", "sha512"], "valid"),
    "key identifier": (["-noattr", "-nocerts", "-keyid", "-md", "sha256"], "valid"),
    "certificates": (["-noattr", "-md", "sha384"], "valid"),
    # The kernel refuses the default of openssl.
    "attributes and certificates": (["-md", "sha384"], "malformed"),
}


def test_files_of_openssl_are_judged_as_by_the_kernel(module: ModuleRunner, ansible: Ansible, files: Path) -> None:
    cases = []
    for kind in ("rsa", "p384"):
        own = signing.make_signer(f"openssl {kind}", kind)
        # openssl names a signer by key identifier only when the certificate claims one.
        certificate = signing.make_certificate(own.key, f"openssl {kind}", claimed_key_id=own.key_id)
        secret = own.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (files / "signer.key").write_bytes(secret)
        trusted = files / f"{kind}.pem"
        trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        for name, (form, verdict) in OPENSSL_FORMS.items():
            words = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-in", "unsigned.ko", *form]
            keys = ["-signer", str(trusted), "-inkey", "signer.key"]
            message = subprocess.run([*words, *keys], cwd=files, check=True, capture_output=True).stdout
            path = files / f"{kind} {name}.ko"
            path.write_bytes(signing.append(CONTENT, message))
            cases.append(({"path": str(path), "trusted_certificates": [str(trusted)]}, verdict))
    for case, verdict in cases:
        result = module.run(ansible, case)
        assert result["verdict"] == verdict, f"{case['path']}: {result['reason']}"
        assert (result["signer"] or "").startswith("openssl ") == (verdict == "valid")
