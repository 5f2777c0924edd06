# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The certificate authority of a lab, which each lab creates, and the certificate of its server."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import shutil
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER_NAME = "livepatch.lab.test"
BEHIND_PROXY_NAME = "behind-proxy.lab.test"
"""A name of the same server that only the lab's proxy can resolve."""
HOSTED_NAMES = ("livepatch.canonical.com", "contracts.canonical.com", "livepatch-files.canonical.com")
"""The hosted services: for clients in their default configuration, these names lead to the same server."""


@dataclasses.dataclass(frozen=True)
class Authority:
    """Files in PEM: the trusted `certificate`, and `server` with the key and the certificate of the server."""

    certificate: Path
    server: Path

    @property
    def openssl_hash(self) -> str | None:
        """Return the file name (without suffix) of the certificate in a folder for openssl; None without openssl."""
        openssl = shutil.which("openssl")
        if openssl is None:
            return None
        command = [openssl, "x509", "-noout", "-hash", "-in", str(self.certificate)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_authority(directory: Path) -> Authority:
    """Write the authority and the server's certificate into an existing folder.

    The folder also gets certificates that clients must reject, each with its key: ``stranger.pem`` (of an untrusted
    authority), ``misnamed.pem`` (for another server) and ``expired.pem``.
    """
    issuer = _Issuer("The lab's certificate authority")
    made = Authority(directory / "ca.pem", directory / "server.pem")
    made.certificate.write_bytes(issuer.certificate.public_bytes(serialization.Encoding.PEM))
    own_names = (SERVER_NAME, BEHIND_PROXY_NAME, *HOSTED_NAMES, "localhost", "127.0.0.1")
    issuer.issue(made.server, own_names)
    issuer.issue(directory / "misnamed.pem", ("another.lab.test",))
    issuer.issue(directory / "expired.pem", own_names, expired=True)
    _Issuer("A stranger's certificate authority").issue(directory / "stranger.pem", own_names)
    return made


class _Issuer:
    """An authority: its key and its self-signed certificate."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self.certificate = (
            _certificate(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, path: Path, names: tuple[str, ...], *, expired: bool = False) -> None:
        """Write a new key and its certificate for a server with these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _certificate(_name(names[0]), self._name, key.public_key(), expired=expired)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.touch(mode=0o600)
        path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=-1 if expired else 30))
    )
