# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Readers of files that an earlier run, or another controller, has written, and the documents made of them."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.drain_lock import DrainLock, lock_path
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.folder_store import load
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.newest import newest_records
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners import scanner_csv
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.host_proof import host_proof
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.openvex import vex_documents
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.vex_folder import update_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import (
    IndexFormatError,
    dump_index,
    load_index,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.offline.manifest import (
    DataFile,
    manifest_text,
    read_manifest,
)
from tests.fuzz.target import AcceptedForgeryError, Target, json_bytes
from tests.samples import proofs

_NOW = dt.datetime(2026, 3, 1, 4, 0, tzinfo=dt.timezone.utc)
_INDEX = proofs.an_index()
_DIGEST = "ab" * 32
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PATCHED, _UNPATCHED = proofs.a_record("web1"), proofs.a_record("web2", patched=False)


def read_proofs(data: bytes, folder: Path) -> None:
    """Read a record, and make the documents for scanners from it."""
    (folder / "web1.json").write_bytes(data)
    found = newest_records(load([folder]), None, _NOW, host_proof)
    documents = vex_documents(found.records, found.missing, [_INDEX], proofs.CVES, "an author")
    for document in documents.documents:
        if "/" in document.name or not document.name.isprintable():
            raise AcceptedForgeryError(f"a document has the name {document.name!r}")
        json.dumps(document.content).encode()
    table = "".join(scanner_csv.render(found.records, found.missing, [_INDEX], proofs.CVES, Waivers()))
    for row in csv.reader(table.splitlines()):
        if len(row) != len(scanner_csv.COLUMNS) or any(cell.startswith(_FORMULA) for cell in row):
            raise AcceptedForgeryError(f"a row of the table is {row!s:.200}")


def read_openvex(data: bytes, folder: Path) -> None:
    """Replace the document of an earlier run, which is then changed or withdrawn."""
    vex = folder / "vex"
    path = vex / _VEX.documents[0].name
    try:
        for documents in (_VEX, _WITHOUT_VEX):
            vex.mkdir(exist_ok=True)
            path.write_bytes(data)
            update_folder(vex, documents, check_mode=False)
            _assert_not_older(data, path.read_bytes())
    finally:
        for each in vex.glob("*"):
            each.unlink()


def _assert_not_older(before: bytes, after: bytes) -> None:
    old, new = json.loads(before)["version"], json.loads(after)["version"]
    if before != after and not new > old:
        raise AcceptedForgeryError(f"version {new} follows {old}")


def read_data_manifest(data: bytes, folder: Path) -> None:
    (folder / "vulnerability-data.manifest").write_bytes(data)
    found = read_manifest(folder)
    manifest_text(found or {})


def read_index(data: bytes, _folder: Path) -> None:
    load_index(data, _DIGEST)


def read_drain_lock(data: bytes, folder: Path) -> None:
    lock = DrainLock(folder, "web", "web1", "run", "a controller")
    lock_path(folder, "web").write_bytes(data)
    lock.take(_NOW, _NOW)
    lock.renew(_NOW)
    lock.release()


_VEX, _WITHOUT_VEX = (
    vex_documents(proofs.proofs(record), (), [_INDEX], proofs.CVES, "an author") for record in (_PATCHED, _UNPATCHED)
)
_MANIFEST = {"com.ubuntu.xenial.pkg.json.xz": DataFile("https://example.com/a", _DIGEST, 5, "2026-01-01T00:00:00Z")}

STORED_TARGETS: dict[str, Target] = {
    "scanners": Target((json_bytes(_PATCHED), json_bytes(_UNPATCHED)), read_proofs, ()),
    "openvex": Target((json_bytes({**_VEX.documents[0].content, "version": 3}),), read_openvex),
    "manifest": Target((manifest_text(_MANIFEST).encode(),), read_data_manifest),
    "compiled": Target((dump_index(_INDEX, _DIGEST).encode(),), read_index, (IndexFormatError,)),
    "drain_lock": Target(
        (
            json_bytes(
                {
                    "schema": "kernelops.livepatch/drain-lock/1",
                    "group": "web",
                    "host": "web1",
                    "run": "run",
                    "by": "a controller",
                    "since": "2026-03-01T00:00:00Z",
                    "until": "2026-03-01T04:00:00Z",
                }
            ),
        ),
        read_drain_lock,
    ),
}
