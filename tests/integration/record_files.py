# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Files of records, as the modules write them."""

from __future__ import annotations

import hashlib
import json
import typing as t
import urllib.parse
from collections.abc import Mapping
from pathlib import Path


def write_record(folder: Path, record: Mapping[str, t.Any]) -> Path:
    """Write the last record of a host, and remove the note of an earlier failed attempt."""
    note_of(folder, record["host"]).unlink(missing_ok=True)
    return _write(folder / f"{_stem(record['host'])}.json", record)


def write_attempt(folder: Path, host: str, attempted_at: str, *reasons: Mapping[str, t.Any]) -> Path:
    """Write the note of an attempt that gave no record. The last record of the host stays."""
    note = {"schema": "kernelops.livepatch/attempt/1", "host": host, "attempted_at": attempted_at, "reasons": reasons}
    return _write(note_of(folder, host), note)


def note_of(folder: Path, host: str) -> Path:
    """Return the file of a failed attempt on a host."""
    return folder / f"{_stem(host)}.unreachable.json"


def _write(path: Path, document: Mapping[str, t.Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _stem(host: str) -> str:
    stem = urllib.parse.quote(host, safe="", errors="surrogatepass")
    # Another name that is as safe and distinct: the modules read any.
    return stem if len(stem) <= 200 else f"long-{hashlib.sha256(stem.encode()).hexdigest()}"
