# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Over a thousand modules of Debian's kernel for clouds, which this collection and its tests have not made.

Each is signed with a key that was made for that build and thrown away; its certificate is in the kernel's image.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, signature, trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.public_key import HashName
from tests.lab.kernel_judge.debian_kernel import downloaded_kernel, find_certificate
from tests.lab.live_patches import signing
from tests.lab.vm.debian_packages import UnavailableError

pytestmark = pytest.mark.debian

HASH_NAMES: tuple[HashName, ...] = ("sha256", "sha384", "sha512")

NOW = dt.datetime.now(dt.timezone.utc)
STRANGER = signing.make_signer("Stranger")


@dataclasses.dataclass(frozen=True)
class SignedModules:
    """The modules of a kernel, and the certificate of their signer from the image."""

    release: str
    modules: list[Path]
    certificate: x509.Certificate

    @property
    def anchors(self) -> trust.TrustAnchors:
        return trust.TrustAnchors([trust.read_certificate(self.certificate.public_bytes(serialization.Encoding.DER))])


@pytest.fixture(scope="module")
def kernel() -> SignedModules:
    try:
        found = downloaded_kernel()
        _position, certificate, _der = find_certificate(found.unpack_image())
    except UnavailableError as reason:
        pytest.skip(str(reason))
    return SignedModules(found.release, found.modules, certificate)


def test_every_module_of_the_kernel_verifies(kernel: SignedModules) -> None:
    anchors = kernel.anchors
    assert len(kernel.modules) > 1000
    build_ids = set()
    for path in kernel.modules:
        found = patch_file.examine(path.read_bytes(), path.name, anchors, now=NOW, kernel=kernel.release)
        assert (found.verdict, found.kernel) == ("valid", kernel.release), path.name
        build_ids.add(found.build_id)
    assert len(build_ids - {None}) == len(kernel.modules)


def test_no_module_verifies_with_another_key(kernel: SignedModules) -> None:
    impostor = (
        x509.CertificateBuilder()
        .subject_name(kernel.certificate.subject)
        .issuer_name(kernel.certificate.issuer)
        .serial_number(kernel.certificate.serial_number)
        .public_key(STRANGER.key.public_key())
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
        .sign(STRANGER.key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    same_name = trust.TrustAnchors([trust.read_certificate(impostor)])
    other_name = trust.canonical_anchors()
    for path in kernel.modules:
        data = path.read_bytes()
        assert patch_file.examine(data, path.name, same_name, now=NOW, kernel=None).verdict == "digest_mismatch"
        assert patch_file.examine(data, path.name, other_name, now=NOW, kernel=None).verdict == "wrong_signer"


def test_every_flipped_bit_is_noticed(kernel: SignedModules) -> None:
    """In each module, 16 bits of the content and every eighth bit of the signature are flipped.

    Some bits before the value of the signature decide nothing in the kernel either: the signature remains the same.
    """
    anchors = kernel.anchors
    for number, path in enumerate(kernel.modules[:: len(kernel.modules) // 100][:100]):
        data = path.read_bytes()
        content, block = signature.split_module(data)
        digests = {name: signature.digest(content, name) for name in HASH_NAMES}
        original = signature.read_signature(block)
        for bit in range(number % 8, len(block) * 8, 8):
            accepted = _accepted(_flipped(block, bit), digests, anchors)
            assert accepted in (None, original), f"{path.name}, bit {bit} of the signature"
        for bit in range(number, len(content) * 8, len(content) // 2):
            found = patch_file.examine(_flipped(data, bit), path.name, anchors, now=NOW, kernel=None)
            assert not found.valid, f"{path.name}, bit {bit}"


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _accepted(
    block: bytes, digests: dict[HashName, bytes], anchors: trust.TrustAnchors
) -> signature.ModuleSignature | None:
    try:
        read = signature.read_signature(block)
    except PatchFileError:
        return None
    return read if signature.verify(read, digests, anchors).verdict == "valid" else None
