# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Verify the signature of a digest with a public key: RSA (PKCS #1, 1.5) or ECDSA.

Trust anchors cannot be made without `cryptography`, so it is available to every caller of this module.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

HashName = t.Literal["sha256", "sha384", "sha512"]
Scheme = t.Literal["rsa", "ecdsa"]

_DIGEST_SIZES: dict[HashName, int] = {"sha256": 32, "sha384": 48, "sha512": 64}


def made_with(key: CertificatePublicKeyTypes, scheme: Scheme, name: HashName, value: bytes, digest: bytes) -> bool:
    """Return True if `value` is the signature of the digest, with this scheme and hash algorithm, by this key."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    if len(digest) != _DIGEST_SIZES[name]:
        return False
    hashed = utils.Prehashed(_algorithm(name))
    try:
        if scheme == "rsa" and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, digest, padding.PKCS1v15(), hashed)
        elif scheme == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(value, digest, ec.ECDSA(hashed))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _algorithm(name: HashName) -> hashes.HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    algorithms: dict[HashName, hashes.HashAlgorithm] = {
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
    return algorithms[name]
