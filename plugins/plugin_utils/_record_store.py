# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Folders of records on the controller.

A folder holds ``<host>.json``, the last record of a host, and, when a later attempt gave no answer,
``<host>.unreachable.json``, which says when and why. Both are replaced atomically, so that a run that
is killed loses nothing that it had collected, and a reader never meets half a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import typing as t
from pathlib import Path
from urllib.parse import quote, unquote

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import (
    NewerSchemaError,
    Reason,
    Record,
    RecordError,
    validate,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import (
    ATTEMPT_SCHEMA,
    Attempt,
    Document,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.spool import as_line
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._atomic_file import (
    TEMPORARY_PREFIX,
    write_atomically,
)

_RECORD_SUFFIX = ".json"
_NOTE_SUFFIX = ".unreachable.json"
_LONGEST_STEM = 200  # with a suffix still below 255 bytes, the longest name that common file systems take


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")


class RecordStoreError(Exception):
    """A folder of records cannot be used. The message says what, where, why and what to do."""


def store(record_dir: Path, record: Record) -> Path:
    """Make this the last record of its host, and drop the note of an earlier failed attempt."""
    path = record_dir / f"{_stem(record['host'])}{_RECORD_SUFFIX}"
    _write(path, record, f"the record of host {record['host']}")
    note = record_dir / f"{_stem(record['host'])}{_NOTE_SUFFIX}"
    try:
        note.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(f"Cannot remove the outdated note {note}", error) from error
    return path


def note_unreachable(record_dir: Path, host: str, attempted_at: str, reasons: list[Reason]) -> Path:
    """Note that the host gave no answer at that time (RFC 3339, UTC). Its last record stays."""
    path = record_dir / f"{_stem(host)}{_NOTE_SUFFIX}"
    note = {"schema": ATTEMPT_SCHEMA, "host": host, "attempted_at": attempted_at, "reasons": reasons}
    _write(path, note, f"the note that host {host} gave no answer")
    return path


def load(record_dirs: t.Sequence[Path]) -> t.Iterator[Document]:
    """Read all that these folders hold: records, failed attempts, and a problem for all that cannot be used.

    Nothing raises: one bad file or folder never hides the rest. A host can occur several times.
    """
    for record_dir in record_dirs:
        try:
            with os.scandir(record_dir) as entries:
                names = sorted(entry.name for entry in entries if _may_be_document(entry))
        except OSError as error:
            yield Problem("folder_unreadable", str(record_dir), f"this folder cannot be read: {_why(error)}")
            continue
        for name in names:
            yield _read(record_dir / name)


def _may_be_document(entry: os.DirEntry[str]) -> bool:
    # Only plain files: opening a pipe would wait for ever.
    return entry.name.endswith(_RECORD_SUFFIX) and not entry.name.startswith(TEMPORARY_PREFIX) and entry.is_file()


def _read(path: Path) -> Document:
    host = unquote(path.name.removesuffix(_NOTE_SUFFIX).removesuffix(_RECORD_SUFFIX))
    try:
        content = path.read_bytes()
        document = _DECODER.decode(content.decode("utf-8"))
        if isinstance(document, dict) and document.get("schema") == ATTEMPT_SCHEMA:
            return _attempt(document)
        record = validate(document)
        _check_time(record["collected_at"], "collected_at")
    except OSError as error:
        return Problem("file_unreadable", str(path), f"this file cannot be read: {_why(error)}", host)
    except NewerSchemaError as error:
        return Problem(
            "newer_schema",
            str(path),
            f"{error}; upgrade kernelops.livepatch on this controller",
            host,
        )
    except RecordError as error:
        return Problem("malformed_record", str(path), f"this is no record: {error}", host)
    except (ValueError, RecursionError) as error:
        return Problem("invalid_json", str(path), f"this file is cut off or no JSON: {error}", host)
    return Recorded(record, _one_line(content, record))


def _one_line(content: bytes, record: Record) -> bytes:
    # Line ends in JSON text stand between tokens only, so that taking them out is enough, where no character needs
    # an escape; that saves half of the time of a large report.
    if content.isascii() and b"\x7f" not in content:
        return content.translate(None, b"\r\n")
    return as_line(record).encode("ascii")


def _attempt(document: dict[str, t.Any]) -> Attempt:
    host, attempted_at, reasons = (document.get(key) for key in ("host", "attempted_at", "reasons"))
    if not isinstance(host, str):
        raise RecordError("host", "expected str")
    _check_time(attempted_at, "attempted_at")
    if not isinstance(reasons, list) or not all(_is_reason(reason) for reason in reasons):
        raise RecordError("reasons", "expected a list of reasons with id, message and remedy")
    return Attempt(host, t.cast("str", attempted_at), reasons)


def _is_reason(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("message"), str)
        and isinstance(value.get("remedy"), (str, type(None)))
    )


def _check_time(value: object, place: str) -> None:
    # Records are compared by their times, so a time in another form could make an old record win.
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise RecordError(place, f"expected an RFC 3339 time in UTC with a Z, found {value!r:.80}")


def _refuse_constant(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits:.40} is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _stem(host: str) -> str:
    """Name a host in a file name: safe, and of one host only.

    Percent-encoded; also where the plain name would hide the file (a leading dot) or read as a note.
    """
    stem = quote(host, safe="", errors="surrogatepass")
    if stem.startswith("."):
        stem = f"%2E{stem[1:]}"
    if stem.endswith(".unreachable"):
        stem = f"{stem.removesuffix('.unreachable')}%2Eunreachable"
    if len(stem) > _LONGEST_STEM:
        digest = hashlib.sha256(stem.encode()).hexdigest()
        stem = f"{stem[: _LONGEST_STEM - len(digest) - 1]}~{digest}"
    return stem


def _write(path: Path, document: t.Mapping[str, object], what: str) -> None:
    # A line a section: to be read and compared by people, and quickly made the one line that a report wants.
    sections = ",\n".join(f"  {as_line(key)}: {as_line(section)}" for key, section in document.items())
    try:
        write_atomically(path, ["{\n", sections, "\n}\n"])
    except OSError as error:
        raise _unusable(f"Cannot write {what} to {path}", error) from error


def _unusable(what: str, error: OSError) -> RecordStoreError:
    return RecordStoreError(
        f"{what}: {_why(error)}. "
        "Give the user who runs Ansible write access to that folder, and room on its disk, "
        "or choose another record_dir."
    )
