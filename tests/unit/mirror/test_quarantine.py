# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the quarantine of a mirror."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.folder import open_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.quarantine import ArchiveFault, Quarantine

FAULT = ArchiveFault("a.tar.bz2", "unsigned", "the module has no signature")


def quarantined(folder: Path, content: bytes, fault: ArchiveFault = FAULT) -> bool:
    path = folder / "received"
    path.write_bytes(content)
    path.chmod(0o644)
    with open_folder(folder) as opened:
        is_new = Quarantine(folder / "quarantine").add(opened, path.name, fault, "00")
    assert not path.exists()
    return is_new


def test_a_file_has_its_reason(tmp_path: Path) -> None:
    assert quarantined(tmp_path, b"content")
    reason = json.loads((tmp_path / "quarantine" / "a.tar.bz2.reason.json").read_text())
    assert reason == {
        "filename": "a.tar.bz2",
        "verdict": "unsigned",
        "reason": "the module has no signature",
        "sha256": hashlib.sha256(b"content").hexdigest(),
        "listed_sha256": "00",
    }


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    quarantined(tmp_path, b"content")
    folder = tmp_path / "quarantine"
    assert (folder.stat().st_mode & 0o777, (folder / "a.tar.bz2").stat().st_mode & 0o777) == (0o700, 0o600)


def test_the_same_file_is_new_once(tmp_path: Path) -> None:
    assert quarantined(tmp_path, b"content")
    assert not quarantined(tmp_path, b"content")
    assert quarantined(tmp_path, b"other content")
    assert quarantined(tmp_path, b"other content", ArchiveFault("a.tar.bz2", "truncated", "it ends too early"))


def test_a_file_is_found_by_its_content(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine")
    assert quarantine.find("a.tar.bz2", "00") is None
    quarantine.remove("a.tar.bz2")
    quarantined(tmp_path, b"content")
    assert quarantine.find("a.tar.bz2", hashlib.sha256(b"content").hexdigest()) == b"content"
    assert quarantine.find("a.tar.bz2", hashlib.sha256(b"other").hexdigest()) is None
    quarantine.remove("a.tar.bz2")
    quarantine.remove("a.tar.bz2")
    assert list((tmp_path / "quarantine").iterdir()) == []
