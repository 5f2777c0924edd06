# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The verification of a patch archive in the daemon: hash, content, signature.

Written from the formats, without the code with which the project verifies patches.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import struct
import tarfile

_MARK = b"~Module signature appended~\n"
_NOTE = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)


class PayloadError(Exception):
    """The archive is unusable; the text is the message that the daemon logs."""


@dataclasses.dataclass(frozen=True)
class Payload:
    """The kernel module of an archive: the file and its metadata."""

    content: bytes
    name: str
    release: str
    build_id: str
    srcversion: str


def open_payload(archive: bytes, sha256: str, certificate: bytes | None) -> Payload:
    """Compare an archive with its hash and return its only module, which must be signed.

    With a `certificate` (DER), its key must have made the signature; without one, any signature is accepted.
    """
    if hashlib.sha256(archive).hexdigest() != sha256:
        raise PayloadError("payload checksum does not match")
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            files = [tar.extractfile(member) for member in tar if member.isfile() and member.name.endswith(".ko")]
            modules = [file.read() for file in files if file is not None]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise PayloadError(f"cannot unpack payload: {error}") from error
    if len(modules) != 1:
        raise PayloadError(f"payload holds {len(modules)} modules")
    content = modules[0]
    _verify(content, certificate)
    note = _NOTE.search(content)
    if note is None:
        raise PayloadError("payload holds no kernel module")
    return Payload(
        content=content,
        name=_modinfo(content, "name"),
        release=_modinfo(content, "vermagic").partition(" ")[0],
        build_id=note[1].hex(),
        srcversion=_modinfo(content, "srcversion"),
    )


def _verify(content: bytes, certificate: bytes | None) -> None:
    """Verify the signature of a module: RSA with SHA-512, without attributes, as the service signs."""
    if not content.endswith(_MARK):
        raise PayloadError("cannot verify module: no signature")
    if certificate is None:
        return
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = x509.load_der_x509_certificate(certificate).public_key()
    unmarked = content[: -len(_MARK)]
    (size,) = struct.unpack(">I", unmarked[-4:])
    signed, message = unmarked[: -12 - size], unmarked[-12 - size : -12]
    try:
        assert isinstance(key, rsa.RSAPublicKey)
        # The signature is the last element of the message.
        key.verify(message[-key.key_size // 8 :], signed, padding.PKCS1v15(), hashes.SHA512())
    except InvalidSignature as error:
        raise PayloadError("cannot verify module: bad signature") from error


def _modinfo(content: bytes, key: str) -> str:
    found = re.search(rb"\0?" + key.encode() + rb"=([^\0]*)\0", content)
    return found[1].decode(errors="replace") if found is not None else ""
