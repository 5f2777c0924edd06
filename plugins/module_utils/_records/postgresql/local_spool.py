# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documents that wait on this controller because their store cannot be reached.

The spool of a store is a folder of records. It has at most one record and one failed attempt of each host, and it never
uses the last of the disk. The next run sends its content to the store. A folder that another user could have written is
never used, because the records in it could be made up.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import hashlib
import os
import time
from pathlib import Path

from ..._decisions import causes
from ..._io import (
    UnsafeFolderError,
    check_owned,
    expand_user,
    lock_within,
    make_own_folder,
    open_for_writing,
    open_lock,
)
from ..._record import Reason, Record
from .. import folder_store
from ..document import Attempt, FailedAttempt, Problem, Recorded, attempt_of
from .address import DatabaseAddress

_VARIABLE = "LIVEPATCH_SPOOL_DIR"
_DEFAULT = "~/.local/state/kernelops.livepatch/spool"
_LOCK = "spool.lock"
_LOCK_SECONDS = 60.0
_DOWN = "store.down"
_DOWN_SECONDS = 30.0
_ROOM = 64 << 20
"""Bytes of the disk that the spool leaves free."""
_AT_ONCE = 500


@dataclasses.dataclass(frozen=True)
class LocalSpool:
    """The spool of one store, in its own folder."""

    folder: Path

    @classmethod
    def of(cls, address: DatabaseAddress, environment: c.Mapping[str, str] | None = None) -> LocalSpool:
        """Return the spool of a store, in the folder that the environment variable LIVEPATCH_SPOOL_DIR names."""
        name = hashlib.sha256(str(address).encode()).hexdigest()[:16]
        folder = (os.environ if environment is None else environment).get(_VARIABLE) or _DEFAULT
        return cls(expand_user(folder).absolute() / name)

    def keep_record(self, record: Record) -> None:
        """Store a record until it can be sent. Raises `LivepatchError`."""
        with self._errors(record["host"]), self._locked():
            folder_store.store(self.folder, record)

    def keep_attempt(
        self, host: str, attempted_at: str, reasons: list[Reason], groups: c.Mapping[str, str] | None = None
    ) -> None:
        """Store a failed attempt until it can be sent. Raises `LivepatchError`."""
        with self._errors(host), self._locked():
            folder_store.note_attempt(self.folder, host, attempted_at, reasons, groups)

    def find(self) -> list[folder_store.Found]:
        """Return the files that wait; none without a spool. A folder that another user can change is a problem."""
        try:
            check_owned(self.folder.stat(), str(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            return [Problem("folder_unreadable", str(self.folder), f"this folder cannot be read: {error.strerror}")]
        except UnsafeFolderError as error:
            return [Problem(error.id, str(self.folder), f"{error.message}; {error.remedy}")]
        return folder_store.find([self.folder])

    def last_record(self, host: str) -> Record | None:
        """Return the record of a host that waits; None without one."""
        safe = not any(isinstance(each, Problem) for each in self.find())
        return folder_store.last_record(self.folder, host) if safe else None

    def send(self, put: c.Callable[[list[Record], list[Attempt]], object]) -> int:
        """Send what waits, and remove it. Return the number of documents.

        Raises what `put` raises, `UnsafeFolderError` and `OSError`.
        """
        found = self.find()
        if found:
            make_own_folder(self.folder)
        sent, names = 0, [each for each in found if not isinstance(each, Problem)]
        for begin in range(0, len(names), _AT_ONCE):
            # A run that is writing a newer document of a host waits: it would be removed without having been sent.
            with self._locked():
                sent += self._send_part(names[begin : begin + _AT_ONCE], put)
        return sent

    def is_down(self, now: float | None = None) -> bool:
        """Return True if the store could not be reached a short time ago: the next host need not wait for it too."""
        with contextlib.suppress(OSError, UnsafeFolderError):
            check_owned(self.folder.stat(), str(self.folder))
            age = (time.time() if now is None else now) - (self.folder / _DOWN).stat().st_mtime
            return 0 <= age < _DOWN_SECONDS
        return False

    def note_down(self) -> None:
        """Remember that the store cannot be reached now."""
        with contextlib.suppress(OSError, UnsafeFolderError):
            make_own_folder(self.folder)
            open_for_writing(self.folder / _DOWN).close()

    def note_up(self) -> None:
        """Remember that the store can be reached."""
        with contextlib.suppress(OSError):
            (self.folder / _DOWN).unlink(missing_ok=True)

    def _send_part(self, part: list[tuple[str, str]], put: c.Callable[[list[Record], list[Attempt]], object]) -> int:
        documents = list(zip(part, folder_store.read(part), strict=True))
        records = [each.record for _name, each in documents if isinstance(each, Recorded)]
        attempts = [
            attempt_of(each.host, each.attempted_at, each.reasons, each.groups)
            for _name, each in documents
            if isinstance(each, FailedAttempt)
        ]
        put(records, attempts)
        for (folder, name), document in documents:
            if isinstance(document, (Recorded, FailedAttempt)):
                Path(folder, name).unlink(missing_ok=True)
        return len(records) + len(attempts)

    @contextlib.contextmanager
    def _locked(self) -> c.Iterator[None]:
        make_own_folder(self.folder)
        disk = os.statvfs(self.folder)
        if disk.f_blocks and disk.f_bavail * disk.f_frsize < _ROOM:
            raise OSError(f"the disk has less than {_ROOM >> 20} MiB left")
        with open_lock(self.folder / _LOCK) as lock:
            if not lock_within(lock.fileno(), _LOCK_SECONDS):
                raise OSError("another process has locked it")
            yield

    @contextlib.contextmanager
    def _errors(self, host: str) -> c.Iterator[None]:
        try:
            yield
        except (OSError, UnsafeFolderError) as error:
            reason = error.message if isinstance(error, UnsafeFolderError) else error.strerror or str(error)
            raise causes.STORE_SPOOL_FULL.error(reason, host=host, path=self.folder) from error
