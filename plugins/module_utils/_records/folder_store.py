# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Store and find records in folders on the controller.

A folder holds ``<host>.json``, the last record of a host, and, when a later attempt gave no answer,
``<host>.unreachable.json``, which says when and why. Both are replaced atomically, so that a run that
is killed loses nothing that it had collected, and a reader never meets half a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import typing as t
from pathlib import Path
from urllib.parse import quote

from .._errors import LivepatchError
from .._io import TEMPORARY_PREFIX, write_atomically
from .._record import Reason, Record
from .document import Document, Problem, Recorded, attempt_of
from .reader import NOTE_SUFFIX, RECORD_SUFFIX, RecordReader, why
from .spool import document_text

_OUTDATED_SUFFIX = ".outdated"
_LONGEST_STEM = 200  # with a suffix still below 255 bytes, the longest name that common file systems take


Found: t.TypeAlias = tuple[str, str] | Problem
"""The folder and name of a file, or the reason why a folder cannot be read."""


class RecordStoreError(LivepatchError):
    """A folder of records cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "record_not_stored",
            message,
            "give the user who runs Ansible write access to that folder, and room on its disk, or choose another "
            "record_dir",
        )


@dataclasses.dataclass(frozen=True)
class FolderStore:
    """A store in a folder."""

    folder: Path

    def put(self, record: Record) -> str:
        """Store the last record of a host. Return the path of its file."""
        return str(store(self.folder, record))

    def note_attempt(
        self, host: str, attempted_at: str, reasons: list[Reason], groups: t.Mapping[str, str] | None = None
    ) -> None:
        """Store a failed attempt."""
        note_attempt(self.folder, host, attempted_at, reasons, groups)

    def set_aside(self, host: str) -> None:
        """Rename the record of a host."""
        set_aside(self.folder, host)

    def last_record(self, host: str) -> Record | None:
        """Return the stored record of a host."""
        return last_record(self.folder, host)

    def find(self) -> list[Found]:
        """Return the files to read."""
        return find([self.folder])


def store(record_dir: Path, record: Record) -> Path:
    """Store the last record of a host, and remove the note of an earlier failed attempt."""
    path = record_dir / record_name(record["host"])
    _write(path, record, f"the record of host {record['host']}")
    note = record_dir / note_name(record["host"])
    try:
        note.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(f"Cannot remove the outdated note {note}", error) from error
    return path


def last_record(record_dir: Path, host: str) -> Record | None:
    """Return the stored record of a host; None without one that can be read."""
    document = RecordReader().read(str(record_dir), record_name(host))
    return document.record if isinstance(document, Recorded) and document.record["host"] == host else None


def note_attempt(
    record_dir: Path, host: str, attempted_at: str, reasons: list[Reason], groups: t.Mapping[str, str] | None = None
) -> Path:
    """Store a failed attempt at a time (RFC 3339, UTC), with the groups of the host. Its last record stays."""
    path = record_dir / note_name(host)
    _write(path, attempt_of(host, attempted_at, reasons, groups), f"the note that host {host} gave no answer")
    return path


def set_aside(record_dir: Path, host: str) -> None:
    """Rename the record of a host, so that no report shows it. This needs no space on the disk. Raises `OSError`."""
    path = record_dir / record_name(host)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}{_OUTDATED_SUFFIX}"))


def record_name(host: str) -> str:
    """Return the name of the file with the record of a host."""
    return f"{_stem(host)}{RECORD_SUFFIX}"


def note_name(host: str) -> str:
    """Return the name of the file with the last failed attempt of a host."""
    return f"{_stem(host)}{NOTE_SUFFIX}"


def load(record_dirs: t.Sequence[Path]) -> t.Iterator[Document]:
    """Read the folders: records, failed attempts, and a problem for each file or folder that cannot be used.

    Nothing raises: one bad file or folder never hides the rest. A host can occur several times.
    """
    return read(find(record_dirs))


def find(record_dirs: t.Sequence[Path]) -> list[Found]:
    """Find the files to read in these folders."""
    found: list[Found] = []
    for record_dir in record_dirs:
        folder = str(record_dir)
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if _may_be_document(entry))
        except OSError as error:
            found.append(Problem("folder_unreadable", folder, f"this folder cannot be read: {why(error)}"))
            continue
        found += [(folder, name) for name in names]
    return found


def read(found: t.Iterable[Found]) -> t.Iterator[Document]:
    """Read files that `find` returned."""
    reader = RecordReader()
    for each in found:
        yield each if isinstance(each, Problem) else reader.read(*each)


def _may_be_document(entry: os.DirEntry[str]) -> bool:
    # Only regular files: opening a pipe would wait without limit.
    return entry.name.endswith(RECORD_SUFFIX) and not entry.name.startswith(TEMPORARY_PREFIX) and entry.is_file()


def _stem(host: str) -> str:
    """Return the stem of the file name of a host: safe, and distinct for each host.

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
    try:
        write_atomically(path, [document_text(document)], durable=True)
    except OSError as error:
        raise _unusable(f"Cannot write {what} to {path}", error) from error


def _unusable(what: str, error: OSError) -> RecordStoreError:
    return RecordStoreError(f"{what}: {why(error)}")
