# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Readers of untrusted input, each with valid inputs and a function that reads any input.

A function raises `AcceptedForgeryError`, or an exception that is not in `errors`, if the reader has a fault.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import datetime as dt
import io
import tempfile
import typing as t
import zipfile
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt, boot_loader, client_status, sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import read_client_setup
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import read_refresh_output
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.folder import open_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import read_index
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import read_list
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import cve_history, folder_store, history_db
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.grants import read_seat_grants
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.reader import RecordReader
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Sighting
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import lines_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import history
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import FORMATS
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import Downloader, DownloadOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.kernel_support import (
    KernelQuestion,
    ask_kernel_supported,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.archive import unpack_module
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.file_verdict import PatchFileError
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.signature import split_module
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import notice_files
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.data_files import DataFiles
from tests.fuzz.operator_files import OPERATOR_TARGETS
from tests.fuzz.stored_files import STORED_TARGETS
from tests.fuzz.target import ALIASES, AcceptedForgeryError, Target, json_bytes
from tests.lab.live_patches import signing
from tests.samples import answers, mirror, notices, vulnerabilities
from tests.samples.facts import MODULE as MODULE_NAME
from tests.samples.facts import shipped
from tests.samples.records import make_record as sample_record
from tests.samples.reports import a_report
from tests.unit.server.hostile_server import serving

NONCE = "5e" * 16
NOW = dt.datetime(2026, 3, 1, 4, 0, tzinfo=dt.timezone.utc)
VENDOR = signing.make_signer("Vendor")
ANCHORS = trust.TrustAnchors([trust.read_certificate(VENDOR.der)])
CONTENT = signing.module()
MODULE = signing.sign(CONTENT, VENDOR)
RECORD_LIMIT = 66_000
_COLLECTOR = Collector(collection="2.0.0", ansible_core="2.19.0")
_POLICIES = (shipped("launch"), shipped("current"))


# --- hosts ---


def answer_text(parts: c.Iterable[sections.Section]) -> bytes:
    """Return an answer as a host sends it."""
    lines = [f"\n@{NONCE} begin 1\n"]
    for each in parts:
        lines += [f"\n@{NONCE} section {each.name}\n", each.output, f"\n@{NONCE} end {each.name} ok {each.exit_code}\n"]
    return "".join([*lines, f"\n@{NONCE} done\n"]).encode()


def read_answer(data: bytes, folder: Path) -> None:
    """Read an answer as all tasks do, and build a record."""
    text = data.decode("utf-8", "surrogateescape")
    found = sections.parse(text, text[::-1], NONCE)
    facts = read_facts(found, inventory_name="web1")
    for read in (
        read_client_setup,
        read_refresh_output,
        apt.read_kernel_packages,
        apt.read_run,
        apt.read_kernel_on_disk,
    ):
        read(found)
    boot_loader.read_boot_choice(found)
    apt.read_changes(text)
    for policy in _POLICIES:
        record = make_record(
            "web1", facts, policy, collector=_COLLECTOR, collected_at=NOW, answered_at=NOW, anchors=ANCHORS
        )
        path = folder_store.store(folder, record)
        if path.stat().st_size > RECORD_LIMIT:
            raise AcceptedForgeryError(f"a record has {path.stat().st_size} bytes")
        if isinstance(RecordReader().read(str(folder), path.name), folder_store.Problem):
            raise AcceptedForgeryError("a stored record cannot be read")


def read_status(data: bytes, _folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    for stdout, stderr in ((text, ""), ("", text)):
        client_status.parse_status([client_status.StatusOutput(stdout, stderr, 0, False)])
    client_status.parse_config(text)


# --- signatures and archives ---


def read_module_file(data: bytes, _folder: Path) -> None:
    found = patch_file.examine(data, "patch.ko", ANCHORS, now=NOW, kernel=None)
    if found.valid and bytes(split_module(data)[0]) != CONTENT:
        raise AcceptedForgeryError("a changed module is valid")


def read_archive(data: bytes, _folder: Path) -> None:
    found = patch_file.examine(data, signing.ARCHIVE_NAME, ANCHORS, now=NOW, kernel=None)
    if found.valid and bytes(split_module(unpack_module(data))[0]) != CONTENT:
        raise AcceptedForgeryError("an archive with a changed module is valid")


def read_certificates(data: bytes, _folder: Path) -> None:
    trust.read_certificates(data)


# --- servers ---


def download(data: bytes, folder: Path) -> None:
    """Send these bytes as the answer to each request."""
    with serving(data) as server:
        downloader = Downloader(DownloadOptions(timeout=0.5, retries=0))
        question = KernelQuestion("4.4", "generic", "amd64", "xenial", "2020-01-01T01:01:01Z")
        with contextlib.suppress(LivepatchError):
            if len(downloader.read(server.url, 1 << 16)) > 1 << 16:
                raise AcceptedForgeryError("a download exceeds its limit")
        with contextlib.suppress(LivepatchError), (folder / "download").open("w+b") as file:
            downloader.download(server.url, file, 1 << 16)
        with contextlib.suppress(LivepatchError):
            ask_kernel_supported(downloader, server.url, question)
    if (folder / "download").stat().st_size > 1 << 16:
        raise AcceptedForgeryError("a file exceeds its limit")


def _response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


# --- files that name patches and vulnerabilities ---


def read_patch_list(data: bytes, _folder: Path) -> None:
    read_list(data)


def read_mirror_index(data: bytes, folder: Path) -> None:
    (folder / "index.json").write_bytes(data)
    (folder / "index.json").chmod(0o600)
    with open_folder(folder) as opened:
        read_index(opened)


def read_package_data(data: bytes, folder: Path) -> None:
    _read_data(data, folder, "com.ubuntu.xenial.pkg.json")


def read_osv(data: bytes, folder: Path) -> None:
    _read_data(data, folder, "osv.json")


def read_osv_archive(data: bytes, folder: Path) -> None:
    _read_data(data, folder, "osv.zip")


def _read_data(data: bytes, folder: Path, name: str) -> None:
    (folder / name).write_bytes(data)
    files = DataFiles(folder / "cache", Downloader(DownloadOptions()))
    try:
        files.open([str(folder / name)], [("16.04", "")])
    finally:
        for path in (folder / "cache").glob("*"):
            path.unlink()


def read_notice_files(data: bytes, folder: Path) -> None:
    (folder / "notices.json").write_bytes(data)
    notice_files.read_notices(folder / "notices.json")


# --- files of the controller ---


def read_record(data: bytes, folder: Path) -> None:
    """Read a record, and render the report about it in every format."""
    (folder / "web1.json").write_bytes(data)
    document = RecordReader().read(str(folder), "web1.json")
    report = a_report(document)
    for each in FORMATS.values():
        for chunk in each.render(report):
            chunk.encode("utf-8")


def read_grants(data: bytes, folder: Path) -> None:
    (folder / "seats.granted").write_bytes(data)
    read_seat_grants([folder])


def read_history(data: bytes, folder: Path) -> None:
    path = folder / "history.db"
    path.write_bytes(data)
    try:
        with contextlib.suppress(LivepatchError):
            history_db.read_spans(path)
        with contextlib.suppress(LivepatchError):
            history.build_cve_history(*cve_history.read_counts(path))
        history_db.add_sightings(path, [_SIGHTING])
        cve_history.add_counts(path, _COUNTS._replace(at=_COUNTS.at + 1), {})
    finally:
        (folder / "history.db-journal").unlink(missing_ok=True)


_SIGHTING = Sighting("web1", 1_700_000_000_000_000, Kind("protected", "4.4.0-168-generic", "16.04", "65.1", ()))


_COUNTS = cve_history.CveCounts(_SIGHTING.at, 2, 0, {"high": 1})


def _history() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.db")
        history_db.add_sightings(path, [_SIGHTING, _SIGHTING._replace(host="web2")])
        cve_history.add_counts(path, _COUNTS, {"CVE-2031-1001": "high"})
        return path.read_bytes()


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _stored(record: t.Mapping[str, object]) -> bytes:
    return b"{\n" + b",\n".join(b"  " + line for line in lines_of(record)) + b"\n}\n"


_OSV = vulnerabilities.osv_cve(
    "CVE-2031-1001", vulnerabilities.osv_row("Ubuntu:Pro:16.04:LTS", "linux", "4.4.0-200.232", "4.4.0-13.29")
)
_RAW = vulnerabilities.raw_notice("0101-1", {"xenial": {"linux": vulnerabilities.raw_row("lkp_x", "4.4.0-13.29")}})
_YAML_STATUS = b"""\
client-version: 9.4.2
architecture: x86_64
last-check: 2026-03-01T03:20:00.123456789+02:00
boot-time: 2026-02-01T03:20:00Z
uptime: 100h0m0s
status:
- kernel: 4.4.0-210.242-generic
  running: true
  livepatch:
    checkState: checked
    patchState: applied
    version: "113.1"
    fixes: |-
      * CVE-2016-0758 LP: #1581202
      * CVE-2016-3713 (unpatched)
"""
_LINES_STATUS = b'kernel: 4.4.0-38.57-generic\nfully-patched: true\nversion: "12.2"\n'
_CONFIG = b'http-proxy: "http://u:p@proxy:3128"\nca-certs: |\n  -----BEGIN CERTIFICATE-----\nlog-level: "warning"\n'
_LISTED = [{"filename": mirror.name_of(version), "hash": "ab" * 32, "tier": "stable"} for version in ("65.1", "66.1")]
_PROBES = (
    answers.probe(livepatch=answers.APPLYING),
    answers.probe(livepatch=answers.PROTECTED, installed=(answers.NEW,)),
    answers.probe(),
)
_IMAGE = f"linux-image-{answers.NEW}"
_OTHERS = [
    answers.ok(name, text)
    for name, text in {
        "client_snap": "Name Version Rev Tracking Publisher Notes\ncanonical-livepatch 10.8.3 95 latest/stable c -",
        "client_pro": '{"attached": true}',
        "client_fingerprints": f"token {'5e' * 16} {'ab' * 32}",
        "client_tools": "curl\nnc",
        "config": 'http-proxy: "http://u:p@proxy:3128"\nlog-level: warning',
        "refresh": "Before refresh:",
        "tasks": "1 1 sh",
        "packages": f"{_IMAGE} 4.4.0-215.248 install ok installed linux Ubuntu Kernel Team <k@u>",
        "available": _IMAGE,
        "metapackages": f"linux-image-generic\n  Depends: {_IMAGE}",
        "boot_space": "Filesystem 1024-blocks Used Available Capacity Mounted\n/dev/sda1 1000 10 990 1% /boot",
        "boot_sizes": f"7000\t/boot/vmlinuz-{answers.NEW}",
        "run": "ended 0",
        "kernel_files": f"ok /boot/vmlinuz-{answers.NEW}\ncontent /boot/vmlinuz-{answers.NEW} 7 x4d5a x55aa",
        "boot_loader": "ok /boot/grub/grub.cfg\nlink /vmlinuz boot/vmlinuz-4.4.0-215-generic",
        "grub_cfg": "set default=0\nmenuentry 'Ubuntu' --id 'a' {\n linux /vmlinuz-4.4.0-215-generic\n}",
        "grub_env": "saved_entry=0>1",
        "running docker": "0123456789ab registry",
        "saved": "docker registry",
        "kernel_config": "/boot/config-4.4.0-210-generic:CONFIG_LIVEPATCH=y",
        "kernel_times": "1618563477 /boot/vmlinuz-4.4.0-210-generic",
        "network livepatch": "HTTP/1.1 200 OK",
        f"module {MODULE_NAME}": f"note 00\nfile ok /x\ndigest sha512 {'ab' * 64}\ntrailer {'00' * 40}",
        "keys": "0b4f1c8a I------ 1 perm 1f030000 0 0 asymmetri Canonical: 14df34d1: X509.rsa 1249b969 []",
    }.items()
]

TARGETS: dict[str, Target] = {
    "answer": Target(
        tuple(answer_text([*probe, *_OTHERS]) for probe in _PROBES),
        read_answer,
        (LivepatchError, sections.NoAnswerError),
    ),
    "status": Target(
        (_YAML_STATUS, _LINES_STATUS, _CONFIG, *(each[-1].output.encode() for each in _PROBES[:2])), read_status, ()
    ),
    "module": Target(
        (MODULE, signing.sign(CONTENT, VENDOR, key_identifier=True, certificates=True)), read_module_file, ()
    ),
    "archive": Target(
        tuple(signing.patch_archive(MODULE, packing=each) for each in ("bz2", "gz", "xz")),
        read_archive,
        (PatchFileError,),
    ),
    "certificate": Target((VENDOR.der, VENDOR.pem), read_certificates),
    "http": Target(
        (
            _response(
                "200 OK", b'{"Supported": "supported"}', "ETag: x", "Last-Modified: Sun, 01 Mar 2026 04:00:00 GMT"
            ),
            _response("206 Partial Content", b"abc", "Content-Range: bytes 0-2/3"),
            _response("302 Found", b"x" * 100, "Location: /b"),
            _response("200 OK", b"3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            _response("503 Service Unavailable", b"", "Retry-After: 1"),
        ),
        download,
        (),
    ),
    "list": Target(
        (json_bytes(_LISTED), json_bytes({"patches": _LISTED}).replace(b'"', b"'"), ALIASES), read_patch_list
    ),
    "index": Target(
        (mirror.index_of(mirror.mirrored("65.1")).text().encode(),), read_mirror_index, (LivepatchError, OSError)
    ),
    "package_data": Target(
        (
            json_bytes(
                vulnerabilities.release_data({"linux": vulnerabilities.package({"CVE-2031-1001": None}, "4.4.0-1.1")})
            ),
        ),
        read_package_data,
    ),
    "osv": Target((json_bytes(_OSV), json_bytes(notices.notice()), json_bytes([_OSV, _RAW])), read_osv),
    "osv_archive": Target(
        (
            _zip({"a.json": json_bytes(_OSV), "b.json": json_bytes(notices.notice())}),
            signing.archive({"a.json": json_bytes(_OSV)}, packing="xz"),
        ),
        read_osv_archive,
    ),
    "notices": Target(
        (json_bytes(notices.notice()), json_bytes(_RAW)), read_notice_files, (LivepatchError, notice_files.NoticeError)
    ),
    "record": Target(
        (
            _stored(sample_record()),
            _stored(sample_record(state="failed")),
            json_bytes(
                {
                    "schema": "kernelops.livepatch/attempt/1",
                    "host": "web1",
                    "attempted_at": "2026-01-10T06:00:00Z",
                    "reasons": [],
                }
            ),
        ),
        read_record,
        (),
    ),
    "grants": Target(
        (json_bytes({"schema": "kernelops.livepatch/grants/1", "granted": {"web1": "2026-01-10T06:00:00Z"}}),),
        read_grants,
    ),
    "history": Target((_history(),), read_history),
    **OPERATOR_TARGETS,
    **STORED_TARGETS,
}
