# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The tools of a live patch vendor: keys, kernel modules, their signatures, and archives.

Nothing here uses the verification code: DER, CMS and ELF are written from their specifications (ITU-T X.690, RFC 5652,
ELF gABI), so that an error in the reader is not repeated in the writer. The parts are separate functions, so that
tests can also create invalid combinations.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import hashlib
import io
import random
import re
import struct
import tarfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

MARK = b"~Module signature appended~\n"
KERNEL = "4.4.0-168.197-generic"
RELEASE = "4.4.0-168-generic"
PATCH_NAME = "lkp_Ubuntu_4_4_0_168_197_generic_65"
VERMAGIC = "4.4.0-168-generic SMP mod_unload modversions retpoline "
ARCHIVE_NAME = "livepatch-4.4.0-168.197-generic-65.1-amd64.tar.bz2"

MACHINES = {"amd64": 62, "arm64": 183, "s390x": 22}
"""Numbers of architectures in ELF."""

DATA_OID = "1.2.840.113549.1.7.1"
_SIGNED_DATA_OID = "1.2.840.113549.1.7.2"
_CONTENT_TYPE_OID = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST_OID = "1.2.840.113549.1.9.4"
_SIGNING_TIME_OID = "1.2.840.113549.1.9.5"
_RSA_OID = "1.2.840.113549.1.1.1"
_HASH_OIDS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
    "sha3_256": "2.16.840.1.101.3.4.2.8",
    "sha3_384": "2.16.840.1.101.3.4.2.9",
    "sha3_512": "2.16.840.1.101.3.4.2.10",
}
_RSA_WITH_HASH_OIDS = {"sha256": "1.2.840.113549.1.1.11", "sha512": "1.2.840.113549.1.1.13"}
_ECDSA_OIDS = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),  # noqa: S303  (tests check that it is refused)
    "sha1": hashes.SHA1(),  # noqa: S303  (tests check that it is refused)
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}


@dataclasses.dataclass(frozen=True)
class Signer:
    """A private key and the certificate of its public key."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_id(self) -> bytes:
        """Return the SHA-1 of the public key."""
        return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest

    @property
    def spki_sha256(self) -> str:
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(spki).hexdigest()

    def sign(self, data: bytes, hash_name: str) -> bytes:
        """Return a signature of the data, PKCS #1 1.5 or ECDSA."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), _HASHES[hash_name])
        return self.key.sign(data, ec.ECDSA(_HASHES[hash_name]))


@functools.lru_cache
def make_signer(
    name: str,
    kind: str = "rsa",
    *,
    expired: bool = False,
    bits: int = 2048,
    issuer: Signer | None = None,
    claims_key_id: bool = False,
) -> Signer:
    """Return a signer of kind ``rsa``, ``p256``, ``p384`` or ``p521``; the same one for the same arguments.

    With `claims_key_id`, its certificate has the identifier of its key.
    """
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    key = rsa.generate_private_key(65537, bits) if kind == "rsa" else ec.generate_private_key(curves[kind])
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest if claims_key_id else None
    return Signer(key, make_certificate(key, name, expired=expired, issuer=issuer, claimed_key_id=key_id))


def make_certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    name: str,
    *,
    expired: bool = False,
    serial: int | None = None,
    claimed_key_id: bytes | None = None,
    issuer: Signer | None = None,
) -> x509.Certificate:
    """Return a certificate, with a key identifier only if one is given. It is self-signed without an issuer.

    A certificate with an issuer names the key identifier of its issuer's key.
    """
    now = dt.datetime.now(dt.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=20))
        .not_valid_after(now + dt.timedelta(days=-10 if expired else 10))
    )
    if claimed_key_id is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(claimed_key_id), critical=False)
    if issuer is not None:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(authority, critical=False)
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return a DER element."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    encoded = bytearray([first * 40 + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.insert(0, 0x80 | number & 0x7F)
        encoded += bytes(groups)
    return tlv(0x06, bytes(encoded))


def algorithm(dotted: str, *, null: bool = True) -> bytes:
    """Return an AlgorithmIdentifier."""
    return tlv(0x30, oid(dotted), tlv(0x05) if null else b"")


def signed_attributes(content: bytes, hash_name: str) -> bytes:
    """Return the content of a SET of the usual attributes: content type, signing time, message digest."""
    digest = hashlib.new(hash_name, content).digest()
    attributes = [
        tlv(0x30, oid(_CONTENT_TYPE_OID), tlv(0x31, oid(DATA_OID))),
        tlv(0x30, oid(_SIGNING_TIME_OID), tlv(0x31, tlv(0x17, b"260101000000Z"))),
        tlv(0x30, oid(_MESSAGE_DIGEST_OID), tlv(0x31, tlv(0x04, digest))),
    ]
    return b"".join(sorted(attributes))


def signer_info(
    content: bytes,
    signer: Signer,
    hash_name: str = "sha512",
    *,
    key_identifier: bool = False,
    attributes: bytes | None = None,
    hash_in_scheme: bool = False,
    unsigned_attributes: bytes = b"",
    scheme: bytes | None = None,
    version: bytes | None = None,
    digest: bytes | None = None,
    value: bytes | None = None,
) -> bytes:
    """Return a SignerInfo over the content, or over the attributes (the content of a SET) if given.

    `scheme` and `digest` (AlgorithmIdentifiers), `version` and `value` replace what belongs to the signer and the hash.
    """
    if value is None:
        value = signer.sign(content if attributes is None else tlv(0x31, attributes), hash_name)
    certificate = signer.certificate
    serial = certificate.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    issuer_and_serial = tlv(0x30, certificate.issuer.public_bytes(), tlv(0x02, number))
    if scheme is not None:
        pass
    elif isinstance(signer.key, rsa.RSAPrivateKey):
        scheme = algorithm(_RSA_WITH_HASH_OIDS[hash_name] if hash_in_scheme else _RSA_OID)
    else:
        scheme = algorithm(_ECDSA_OIDS[hash_name], null=False)
    return tlv(
        0x30,
        tlv(0x02, version or (b"\3" if key_identifier else b"\1")),
        tlv(0x80, signer.key_id) if key_identifier else issuer_and_serial,
        algorithm(_HASH_OIDS[hash_name]) if digest is None else digest,
        b"" if attributes is None else tlv(0xA0, attributes),
        scheme,
        tlv(0x04, value),
        unsigned_attributes,
    )


def signed_data(
    *signer_infos: bytes,
    hash_name: str = "sha512",
    version: int = 1,
    certificates: tuple[bytes, ...] = (),
    content: bytes = b"",
    digest_algorithms: bytes | None = None,
    revocation_lists: bytes = b"",
) -> bytes:
    """Return a ContentInfo with SignedData. `digest_algorithms` is the content of their set."""
    if digest_algorithms is None:
        digest_algorithms = algorithm(_HASH_OIDS[hash_name])
    return tlv(
        0x30,
        oid(_SIGNED_DATA_OID),
        tlv(
            0xA0,
            tlv(
                0x30,
                tlv(0x02, bytes([version])),
                tlv(0x31, digest_algorithms),
                tlv(0x30, oid(DATA_OID), content),
                tlv(0xA0, *certificates) if certificates else b"",
                revocation_lists,
                tlv(0x31, *signer_infos),
            ),
        ),
    )


def append(content: bytes, message: bytes, *, trailer: bytes = b"\0\0\2\0\0\0\0\0", size: int | None = None) -> bytes:
    """Return a signed module: content, message, trailer (without the size, which follows it) and mark."""
    return content + message + trailer + struct.pack(">I", len(message) if size is None else size) + MARK


def sign(
    content: bytes,
    signer: Signer,
    hash_name: str = "sha512",
    *,
    key_identifier: bool = False,
    attributes: bool = False,
    certificates: bool = False,
    hash_in_scheme: bool = False,
) -> bytes:
    """Return a signed module, in one of the forms that signing tools write."""
    info = signer_info(
        content,
        signer,
        hash_name,
        key_identifier=key_identifier,
        attributes=signed_attributes(content, hash_name) if attributes else None,
        hash_in_scheme=hash_in_scheme,
    )
    message = signed_data(
        info,
        hash_name=hash_name,
        version=3 if key_identifier else 1,
        certificates=(signer.der,) if certificates else (),
    )
    return append(content, message)


def module(
    *,
    name: str = PATCH_NAME,
    vermagic: str | None = VERMAGIC,
    srcversion: str | None = "0C7D2E3B0F6F2A1D9B8E4C5",
    build_id: bytes = bytes(range(20)),
    name_in_modinfo: bool = True,
    bits: int = 64,
    order: str = "<",
    text: bytes = b"",
    livepatch: str | None = "Y",
    machine: int = MACHINES["amd64"],
) -> bytes:
    """Return a module whose only code is `text`: an ELF file with the sections that identify it."""
    modinfo = {"license": "GPL", "vermagic": vermagic, "srcversion": srcversion, "livepatch": livepatch}
    if name_in_modinfo:
        modinfo["name"] = name
    strings = b"".join(f"{key}={value}".encode() + b"\0" for key, value in modinfo.items() if value is not None)
    note = struct.pack(f"{order}III", 4, len(build_id), 3) + b"GNU\0" + build_id
    structure = bytes(24 if bits == 64 else 12) + name.encode().ljust(56, b"\0") + bytes(64)
    code = {".text": text} if text else {}
    return elf(
        # The kernel's build writes the build id first.
        {".note.gnu.build-id": note, **code, ".modinfo": strings, ".gnu.linkonce.this_module": structure},
        bits=bits,
        order=order,
        machine=machine,
    )


def elf(
    sections: dict[str, bytes],
    *,
    bits: int = 64,
    order: str = "<",
    kind: int = 1,
    machine: int = MACHINES["amd64"],
) -> bytes:
    """Return an ELF file (`kind` 1 is relocatable) with these sections and one of type NOBITS."""
    names = b"\0"
    entries = [(0, 0, 0, 0)]
    body = bytearray(64 if bits == 64 else 52)
    for name, content in [*sections.items(), (".bss", b""), (".shstrtab", b"")]:
        at = len(names)
        names += name.encode() + b"\0"
        type_ = {".shstrtab": 3, ".bss": 8}.get(name, 1)
        stored = names if name == ".shstrtab" else content
        entries.append((at, type_, len(body), 1 << 20 if name == ".bss" else len(stored)))
        body += stored
    body += bytes(-len(body) % 8)
    table = b"".join(_section_header(entry, bits, order) for entry in entries)
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if bits == 64 else "I"
    sizes = (64, 0, 0, 64) if bits == 64 else (52, 0, 0, 40)
    header = ident + struct.pack(
        f"{order}HHI3{word}IHHHHHH", kind, machine, 1, 0, 0, len(body), 0, *sizes, len(entries), len(entries) - 1
    )
    return header + bytes(body[len(header) :]) + table


def _section_header(entry: tuple[int, int, int, int], bits: int, order: str) -> bytes:
    name, type_, offset, size = entry
    word = "Q" if bits == 64 else "I"
    return struct.pack(f"{order}II4{word}II2{word}", name, type_, 0, 0, offset, size, 0, 0, 1, 0)


def archive(
    files: dict[str, bytes],
    *,
    packing: str = "bz2",
    form: int = tarfile.GNU_FORMAT,
    extra: tuple[tarfile.TarInfo, ...] = (),
) -> bytes:
    """Return a tar archive with these files, followed by the headers in `extra`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{packing}", format=form) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in extra:
            tar.addfile(entry)
    return buffer.getvalue()


def patch_for(
    kernel: str, version: str, signer: Signer, *, architecture: str = "amd64", size: int = 0, packing: str = "bz2"
) -> tuple[str, bytes]:
    """Return name and content of the archive of a patch for a kernel (``4.4.0-168.197-generic``).

    The archive is like those of the service. Its module is signed, its name contains the kernel and the version, and
    its build id is unique. It contains `size` additional bytes that cannot be compressed.
    """
    base, _dot, rest = kernel.rpartition(".")
    _upload, _dash, flavour = rest.partition("-")
    seed = f"{kernel} {version} {architecture}".encode()
    content = module(
        name=f"lkp_Ubuntu_{re.sub('[^0-9A-Za-z]', '_', kernel)}_{version.partition('.')[0]}",
        vermagic=f"{base}-{flavour} SMP mod_unload modversions ",
        build_id=hashlib.sha1(seed, usedforsecurity=False).digest(),
        machine=MACHINES[architecture],
        text=random.Random(seed).randbytes(size),  # noqa: S311  (not a secret)
    )
    meta = f"kernel: {kernel}\nversion: {version}\n".encode()
    packed = archive({"meta": meta, "livepatch.ko": sign(content, signer)}, packing=packing)
    return f"livepatch-{kernel}-{version}-{architecture}.tar.{packing}", packed


def patch_archive(module_file: bytes, *, packing: str = "bz2") -> bytes:
    """Return an archive like those of the service: metadata and the module."""
    return archive({"meta": b"version: 65.1\n", f"{PATCH_NAME}.ko": module_file}, packing=packing)
