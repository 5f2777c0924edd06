# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A comparison of verifying a module's signature, including its parsing, with the RSA operation alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import signature, trust
from tests.lab.live_patches import signing

ROUNDS = 15
TIMES = 400
GOAL = 1.5


def signature_lines() -> Iterator[tuple[str, float, str, bool, str]]:
    """Return the name of the measurement, the figure, its goal, True if the goal is reached, and details.

    The key is RSA-4096 with SHA-512, as Canonical signs. Neither side computes the digest of the module.
    """
    signer = signing.make_signer("Bench", bits=4096)
    public_key = signer.key.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    content, block = signature.split_module(signing.sign(signing.module(), signer))
    (info,) = signature.read_signature(block).signers
    value, digest = info.value, signature.digest(content, "sha512")
    anchors = trust.TrustAnchors([trust.read_certificate(signer.der)])

    def verify() -> None:
        assert signature.verify(signature.read_signature(block), {"sha512": digest}, anchors).verdict == "valid"

    def bare() -> None:
        public_key.verify(value, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA512()))

    pairs = [(_microseconds(verify), _microseconds(bare)) for _round in range(ROUNDS)]
    ratio = statistics.median(ours / alone for ours, alone in pairs)
    ours, alone = (statistics.median(side) for side in zip(*pairs, strict=True))
    detail = f"{ours:.0f} µs against {alone:.0f} µs"
    yield "one signature / the bare RSA-4096 operation", ratio, f"<= {GOAL}", ratio <= GOAL, detail


def _microseconds(function: Callable[[], None]) -> float:
    started = time.process_time()
    for _time in range(TIMES):
        function()
    return (time.process_time() - started) / TIMES * 1e6
