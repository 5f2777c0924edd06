# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Prepare a store, import folders and a history into it, and export its records (module `record_store`)."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t
from pathlib import Path

from ... import _io
from ..._errors import LivepatchError
from ..._record import Record
from ..._records import grants, store
from ..._records.document import Attempt, FailedAttempt, Problem, Recorded, attempt_of
from ..._records.history_store import FileHistory
from ..._records.postgresql import records, schema
from ..._records.postgresql.address import DatabaseAddress, StorePlace
from ..._records.postgresql.grants import import_grants
from ..._records.postgresql.history import DatabaseHistory
from ..._records.spans import Sighting
from ..._records.spool import as_line
from ..commands import Task
from .delivery import send_waiting

_MOST_PROBLEMS = 100


@dataclasses.dataclass(frozen=True)
class TransferOptions:
    """Options of the module. The import and the export are optional."""

    place: StorePlace
    import_folders: tuple[Path, ...]
    import_history: Path | None
    export_file: Path | None
    check_mode: bool

    def __post_init__(self) -> None:
        """Raise `LivepatchError` (``options_invalid``) for an import into a folder."""
        if (self.import_folders or self.import_history) and not isinstance(self.place, DatabaseAddress):
            raise LivepatchError(
                "options_invalid",
                f"records can be imported into a store in PostgreSQL only, and {self.place} is a folder",
                "set store to the address of a database, such as postgresql://livepatch@db.example.com/livepatch",
            )


def transfer_records(options: TransferOptions) -> Task[dict[str, t.Any]]:
    """Prepare the store, then import, then export. Check mode writes nothing."""
    place, before, waiting = options.place, None, 0
    imported: dict[str, t.Any] = {"records": 0, "attempts": 0, "grants": 0, "hosts_in_history": 0, "problems": []}
    changed = False
    if isinstance(place, DatabaseAddress):
        before = schema.migrate(place, keep=not options.check_mode)
        changed = before < len(schema.MIGRATIONS)
        if not options.check_mode:
            waiting = yield from send_waiting([place])
        if options.import_folders:
            imported |= _import_folders(place, options)
        if options.import_history is not None:
            stored, imported["hosts_in_history"] = _import_history(place, options.import_history, options)
            changed = changed or stored
        changed = changed or any(imported[name] for name in ("records", "attempts", "grants"))
    exported, written = _export(options) if options.export_file is not None else (None, False)
    return {
        "changed": changed or written,
        "schema": None if before is None else {"before": before, "after": len(schema.MIGRATIONS)},
        "imported": imported,
        "exported": exported,
        "waiting": waiting,
    }


def _import_folders(place: DatabaseAddress, options: TransferOptions) -> dict[str, t.Any]:
    """Import records, failed attempts and grants. Files that cannot be used are problems."""
    found: list[Record] = []
    attempts: list[Attempt] = []
    problems: list[Problem] = []
    for document in store.load(options.import_folders):
        if isinstance(document, Recorded):
            found.append(document.record)
        elif isinstance(document, FailedAttempt):
            attempts.append(attempt_of(document.host, document.attempted_at, document.reasons, document.groups))
        else:
            problems.append(document)
    hidden = next((problem for problem in problems if problem.host is None), None)
    if hidden is not None:
        raise LivepatchError(
            "records_unusable",
            f"{hidden.path}: {hidden.message}; nothing was imported",
            "name a folder in which kernelops.livepatch.patch_info stored records",
        )
    keep = not options.check_mode
    pending = grants.read_seat_grants(options.import_folders).grants
    stored, noted = records.put(place, found, attempts, None, keep=keep)
    return {
        "records": stored,
        "attempts": noted,
        "grants": import_grants(place, pending, keep=keep),
        "problems": [problem.as_dict() for problem in problems[:_MOST_PROBLEMS]],
    }


def _import_history(place: DatabaseAddress, path: Path, options: TransferOptions) -> tuple[bool, int]:
    """Import a history. Return True if anything is new, and the number of its hosts."""
    if not path.exists():
        message = f"there is no history {path}"
        raise LivepatchError("history_unusable", message, "name the file that livepatch_history had")
    known = FileHistory(path)
    spans = known.read_spans()
    ends = (
        Sighting(host, at, span.kind) for host, of_host in spans for span in of_host for at in (span.begin, span.end)
    )
    stored = DatabaseHistory(place, keep=not options.check_mode).import_all(ends, *known.read_counts())
    return stored, len(spans)


def _export(options: TransferOptions) -> tuple[int, bool]:
    """Write all documents as JSON Lines. Return their number, and True if the file differs."""
    path, count = t.cast("Path", options.export_file), 0

    def lines() -> c.Iterator[str]:
        nonlocal count
        count = 0
        for document in store.load([options.place]):
            if isinstance(document, Problem):
                if document.host is None:
                    raise LivepatchError("records_unusable", document.message, "correct this, then export again")
                continue
            count += 1
            yield f"{as_line(_as_mapping(document))}\n"

    try:
        differs = not _io.has_content(path, lines())
        if differs:
            # The comparison ends at the first difference, so a check reads the rest to count it.
            for _line in lines() if options.check_mode else ():
                pass
            if not options.check_mode:
                _io.write_atomically(path, lines())
    except OSError as error:
        raise _io.file_error(error, str(path), "choose a file that the user who runs Ansible may write") from error
    return count, differs


def _as_mapping(document: Recorded | FailedAttempt) -> Record | Attempt:
    if isinstance(document, Recorded):
        return document.record
    return attempt_of(document.host, document.attempted_at, document.reasons, document.groups)
