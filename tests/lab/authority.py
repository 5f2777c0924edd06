# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab's certificate authority, made anew for every lab, and the server's certificate."""

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


@dataclasses.dataclass(frozen=True)
class Authority:
    """Files in PEM: `certificate` to be trusted, `server` with the key and the certificate of the server."""

    certificate: Path
    server: Path

    @property
    def openssl_hash(self) -> str | None:
        """The name under which openssl looks for the certificate in a folder; None where there is no openssl."""
        openssl = shutil.which("openssl")
        if openssl is None:
            return None
        command = [openssl, "x509", "-noout", "-hash", "-in", str(self.certificate)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_authority(directory: Path) -> Authority:
    """Write the two files into a folder, which must exist."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("The lab's certificate authority")
    constraint = x509.BasicConstraints(ca=True, path_length=0)
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
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = (
        _certificate(name, name, key.public_key())
        .add_extension(constraint, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName(SERVER_NAME),
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    )
    server = (
        _certificate(_name(SERVER_NAME), name, server_key.public_key())
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Authority(directory / "ca.pem", directory / "server.pem")
    made.certificate.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    secret = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made.server.touch(mode=0o600)
    made.server.write_bytes(secret + server.public_bytes(serialization.Encoding.PEM))
    return made


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )
