# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of signatures of a digest."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.public_key import HashName, Scheme, made_with
from tests.lab.live_patches import signing

DATA = b"a module"
HASH_NAMES: tuple[HashName, ...] = ("sha256", "sha384", "sha512")
SCHEMES: dict[str, Scheme] = {"rsa": "rsa", "p256": "ecdsa", "p384": "ecdsa", "p521": "ecdsa"}


@pytest.mark.parametrize("name", HASH_NAMES)
@pytest.mark.parametrize("kind", SCHEMES)
def test_only_the_signing_key_matches(kind: str, name: HashName) -> None:
    signer = signing.make_signer("Signer", kind)
    value, digest = signer.sign(DATA, name), hashlib.new(name, DATA).digest()
    for other, scheme in SCHEMES.items():
        keys = {signing.make_signer("Signer", other), signing.make_signer("Other", other)}
        matching = [each for each in keys if made_with(each.key.public_key(), scheme, name, value, digest)]
        assert matching == ([signer] if other == kind else [])


@pytest.mark.parametrize("kind", SCHEMES)
def test_other_digests_and_schemes_do_not_match(kind: str) -> None:
    signer = signing.make_signer("Signer", kind)
    key, value, digest = signer.key.public_key(), signer.sign(DATA, "sha256"), hashlib.sha256(DATA).digest()
    scheme = SCHEMES[kind]
    other: Scheme = "rsa" if scheme == "ecdsa" else "ecdsa"
    assert made_with(key, scheme, "sha256", value, digest)
    assert not made_with(key, other, "sha256", value, digest)
    assert not made_with(key, scheme, "sha256", value, digest[:-1])
    assert not made_with(key, scheme, "sha384", value, hashlib.sha384(DATA).digest())
    assert not made_with(key, scheme, "sha256", value, bytes(32))
    for damaged in (b"", value[:-1], value + b"\0", bytes(len(value))):
        assert not made_with(key, scheme, "sha256", damaged, digest)
