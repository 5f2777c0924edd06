# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Find which hosts hold a seat, from the records of all hosts and from the seats granted since these records.

A seat is granted before its host is enabled. If a run is killed between the two, it is unknown whether the host was
enabled, because its record is older. The record folder therefore also holds the file ``seats.granted`` with the hosts
that were granted a seat, and when. A grant counts until the host has a newer record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import typing as t
from pathlib import Path

from .._decisions import causes
from .._errors import LivepatchError
from .._fleet.seats import KnownHost, known_from_record
from .._io import lock_within, open_lock, read_bounded, write_atomically
from .._record import Reason
from .._time import format_time, parse_time, sort_key
from . import store
from .document import Document, FailedAttempt, Problem
from .postgresql import grants as database_grants
from .postgresql.address import DatabaseAddress, StorePlace
from .postgresql.grants import DatabaseLedger
from .spool import as_line

_FILE = "seats.granted"  # not .json, which is the suffix of records
_LOCK = "seats.lock"
_LOCK_SECONDS = 60.0
_LIMIT = 256 << 20
"""Bytes of the file: a million hosts."""

_CLOCK_TOLERANCE = dt.timedelta(minutes=5)
_SCHEMA = "kernelops.livepatch/grants/1"


class SeatGrantsError(LivepatchError):
    """The folders do not show which hosts hold a seat."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__("records_unusable", message, remedy)


@contextlib.contextmanager
def lock_grants(place: StorePlace, seconds: float = _LOCK_SECONDS) -> t.Iterator[Path | DatabaseLedger]:
    """Let other plans on this store wait, so that two plans at the same time never grant the same seat.

    The result is where the plan stores its grants. Raises `LivepatchError`.
    """
    if isinstance(place, DatabaseAddress):
        with database_grants.lock_ledger(place) as ledger:
            yield ledger
    else:
        with _lock_folder(place, seconds):
            yield place


@contextlib.contextmanager
def _lock_folder(record_dir: Path, seconds: float) -> t.Iterator[None]:
    """Lock a folder of records.

    The lock is a file of its own: every user who can read the folder could lock the folder itself.
    """
    try:
        lock = open_lock(record_dir / _LOCK)
    except OSError as error:
        raise SeatGrantsError(
            f"the record folder {record_dir} cannot be opened: {error.strerror}",
            "name the folder in which kernelops.livepatch.patch_info stores records, or run the check playbook first; "
            "the user who runs Ansible needs write access to it",
        ) from error
    with lock:
        if not _is_locked(lock, seconds):
            raise SeatGrantsError(
                f"another process has held the lock {record_dir / _LOCK} for {seconds:g} seconds",
                f"wait until other runs that grant seats have finished; to find them: fuser {record_dir / _LOCK}",
            )
        yield


def _is_locked(lock: t.BinaryIO, seconds: float) -> bool:
    try:
        return lock_within(lock.fileno(), seconds)
    except OSError:
        # Some network file systems have no locks. There, as with two controllers, only the server limits the seats.
        return True


@dataclasses.dataclass
class SeatGrants:
    """Seats as the folders show them. `problems` are files that could not be used; `grants` are times by host."""

    hosts: dict[str, KnownHost]
    problems: list[Problem]
    grants: dict[str, str]

    def grant(self, ledger: Path | DatabaseLedger, hosts: t.Iterable[str], now: str) -> None:
        """Store that these hosts are about to be enabled. Grants older than the record of their host are dropped."""
        grants = {**self.grants, **dict.fromkeys(hosts, now)}
        if isinstance(ledger, DatabaseLedger):
            ledger.write(grants)
            return
        path = ledger / _FILE
        if not grants and not path.exists():
            return
        lines = ",\n".join(f"  {as_line(host)}: {as_line(time)}" for host, time in grants.items())
        try:
            write_atomically(path, [f'{{"schema": {as_line(_SCHEMA)}, "granted": {{\n{lines}\n}}}}\n'], durable=True)
        except OSError as error:
            raise SeatGrantsError(
                f"the granted seats cannot be written to {path}: {error.strerror}; without this file, an interrupted "
                "run could grant a seat twice, so nothing was granted",
                "give the user who runs Ansible write access to that folder, and room on its disk",
            ) from error


def read_seat_grants(places: t.Sequence[StorePlace], now: dt.datetime | None = None) -> SeatGrants:
    """Read which hosts hold a seat. Raises `LivepatchError`.

    A file that cannot be used is a problem, and its host counts as one that may hold a seat. A folder that cannot be
    read is an error, because it can hide any number of hosts. With `now`, a document that is dated later is a problem
    too, of a controller whose clock was wrong, and a grant that is dated later counts from now on.
    """
    hosts, seen_at, problems = _hosts(_without_future(store.load(places), now))
    for problem in problems:
        if problem.host is None:
            raise SeatGrantsError(
                f"{problem.path}: {problem.message}; the number of seats in use is unknown",
                "make the store readable for the user who runs Ansible, or run the check playbook first",
            )
    grants: dict[str, str] = {}
    for place in places:
        stored = (
            database_grants.read_grants(place) if isinstance(place, DatabaseAddress) else _read_grants(place / _FILE)
        )
        for host, granted in stored.items():
            time = format_time(now, exact=True) if now is not None and sort_key(granted) > now else granted
            grants[host] = max(time, grants.get(host, ""), key=sort_key)
    pending = {host: time for host, time in grants.items() if sort_key(seen_at.get(host)) <= sort_key(time)}
    for host in pending:
        hosts[host] = dataclasses.replace(
            hosts.get(host) or KnownHost(host, failure=causes.GRANTED_WITHOUT_RECORD.reason()), holds_seat=True
        )
    return SeatGrants(hosts, problems, pending)


def _without_future(documents: t.Iterable[Document], now: dt.datetime | None) -> t.Iterator[Document]:
    """Yield the documents, and a problem in place of each that is dated in the future."""
    for document in documents:
        if isinstance(document, Problem):
            yield document
            continue
        if isinstance(document, FailedAttempt):
            host, time = document.host, document.attempted_at
        else:
            host, time = document.record["host"], document.record["collected_at"]
        if now is None or sort_key(time) <= now + _CLOCK_TOLERANCE:
            yield document
        else:
            cause = causes.RECORD_FROM_FUTURE
            yield Problem(cause.id, f"the record of {host}", f"it is dated {time}, in the future", host)


def _hosts(documents: t.Iterable[Document]) -> tuple[dict[str, KnownHost], dict[str, str], list[Problem]]:
    """Return each host by its newest document, the times of the records, and the problems."""
    hosts: dict[str, KnownHost] = {}
    seen_at: dict[str, str] = {}
    attempts: dict[str, FailedAttempt] = {}
    problems: list[Problem] = []
    for document in documents:
        if isinstance(document, Problem):
            problems.append(document)
        elif isinstance(document, FailedAttempt):
            known = attempts.get(document.host)
            if known is None or sort_key(document.attempted_at) >= sort_key(known.attempted_at):
                attempts[document.host] = document
        else:
            record = document.record
            host = record["host"]
            if host not in seen_at or sort_key(record["collected_at"]) > sort_key(seen_at[host]):
                hosts[host] = known_from_record(record)
                seen_at[host] = record["collected_at"]
    for problem in problems:
        if problem.host is None:
            continue
        if problem.host not in hosts:
            hosts[problem.host] = KnownHost(problem.host, holds_seat=True, failure=_unusable(problem))
        elif problem.id == causes.RECORD_FROM_FUTURE.id:
            # It can be newer than the record that counts.
            hosts[problem.host] = dataclasses.replace(hosts[problem.host], holds_seat=True)
    for host, attempt in attempts.items():
        # Storing a record removes the note of an earlier attempt: with equal times, the note is the later one.
        if sort_key(attempt.attempted_at) >= sort_key(seen_at.get(host)):
            hosts[host] = dataclasses.replace(hosts.get(host) or KnownHost(host), failure=_unreachable(attempt))
    return hosts, seen_at, problems


def _unreachable(attempt: FailedAttempt) -> Reason:
    reason = attempt.reasons[0] if attempt.reasons else causes.NO_ANSWER.reason()
    remedy = reason["remedy"] or causes.NO_ANSWER.remedy
    return causes.UNREACHABLE.reason(reason=reason["message"], remedy=remedy)


def _unusable(problem: Problem) -> Reason:
    if problem.id == causes.RECORD_FROM_FUTURE.id:
        return causes.RECORD_FROM_FUTURE.reason(path=problem.path)
    return causes.RECORD_UNUSABLE.reason(problem.message, path=problem.path)


def _read_grants(path: Path) -> dict[str, str]:
    try:
        document = json.loads(read_bounded(str(path), _LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    granted = document.get("granted") if isinstance(document, dict) and document.get("schema") == _SCHEMA else None
    if not isinstance(granted, dict) or not all(parse_time(time) for time in granted.values()):
        raise _unreadable(path, f"it does not have the schema {_SCHEMA}")
    return granted


def _unreadable(path: Path, why: str) -> SeatGrantsError:
    return SeatGrantsError(
        f"the granted seats in {path} cannot be read: {why}",
        "run the check playbook on all hosts, so that their records are new, then remove this file",
    )
