# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The records of a fleet in a database, and on this controller as long as the database cannot be reached."""

from __future__ import annotations

import dataclasses
import typing as t

from ..._errors import LivepatchError
from ..._record import Reason, Record
from .. import folder_store
from ..document import Attempt, Problem, attempt_of
from . import records
from .address import DatabaseAddress
from .connection import READ_SECONDS, WRITE_SECONDS, is_lost, within
from .local_spool import LocalSpool
from .runs import Run

_PUT_SECONDS = 2 * WRITE_SECONDS


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What became of the documents that waited: `sent` and `waiting` are their numbers, `error` is why some wait."""

    sent: int
    waiting: int
    folder: str
    error: LivepatchError | None


@dataclasses.dataclass(frozen=True)
class PostgresStore:
    """A store in a database. A run that stores documents is added to the runs of the store."""

    address: DatabaseAddress
    run: Run | None = None

    @property
    def spool(self) -> LocalSpool:
        """Return the spool of this controller."""
        return LocalSpool.of(self.address)

    def put(self, record: Record) -> None:
        """Store a record, or keep it in the spool. Raises `LivepatchError` if neither is possible."""
        if not self._reached([record], []):
            self.spool.keep_record(record)

    def note_attempt(
        self, host: str, attempted_at: str, reasons: list[Reason], groups: t.Mapping[str, str] | None = None
    ) -> None:
        """Store a failed attempt, or keep it in the spool. Raises `LivepatchError` if neither is possible."""
        if not self._reached([], [attempt_of(host, attempted_at, reasons, groups)]):
            self.spool.keep_attempt(host, attempted_at, reasons, groups)

    def set_aside(self, host: str) -> None:
        """Raise `OSError`: a record in a database that cannot be reached cannot be hidden."""
        raise OSError(f"the store {self.address} and the spool {self.spool.folder} have no later attempt of {host}")

    def last_record(self, host: str) -> Record | None:
        """Return the stored record of a host; None without one that can be read."""
        try:
            return within(self.address, WRITE_SECONDS, lambda: records.last_record(self.address, host))
        except LivepatchError:
            return self.spool.last_record(host)

    def find(self) -> list[folder_store.Found | records.StoredHost]:
        """Return the hosts of the store, and the files of the spool. A store that cannot be used is a problem."""
        found: list[folder_store.Found | records.StoredHost] = [*self.spool.find()]
        try:
            found += records.find(self.address)
        except LivepatchError as error:
            found.append(Problem("database_unreachable", str(self.address), error.message))
        return found

    def send_waiting(self) -> Delivery:
        """Send the documents of the spool. Nothing raises: what cannot be sent waits for the next run."""
        spool, error = self.spool, None
        sent = 0

        def put(found: list[Record], attempts: list[Attempt]) -> None:
            nonlocal sent
            within(self.address, READ_SECONDS, lambda: records.put(self.address, found, attempts, self.run))
            sent += len(found) + len(attempts)

        try:
            spool.send(put)
            spool.note_up()
        except LivepatchError as failure:
            error = failure
        except OSError as failure:
            error = LivepatchError("files", f"cannot use {spool.folder}: {failure.strerror or failure}")
        return Delivery(sent, len(spool.find()), str(spool.folder), error)

    def _reached(self, found: list[Record], attempts: list[Attempt]) -> bool:
        """Store documents. Return False if the store cannot be used."""
        spool = self.spool
        if spool.is_down():
            return False
        try:
            within(self.address, _PUT_SECONDS, lambda: records.put(self.address, found, attempts, self.run))
        except LivepatchError as error:
            if is_lost(error):
                spool.note_down()
            return False
        return True


def passwords(places: t.Iterable[object]) -> set[str]:
    """Return the passwords in addresses, to mask them."""
    return {place.password for place in places if isinstance(place, DatabaseAddress) and place.password}
