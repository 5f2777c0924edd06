# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A lock for each drain group, in the store, so that two runs never take down two hosts of a group.

In a folder, the lock is the file ``NAME.drain-group``, in a database a row. It is written before a host is drained, and
removed when its containers run again. A run that is killed leaves it. Only a later run on the same host takes the lock
then, because the host may still be down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import shlex
import typing as t
import urllib.parse
from pathlib import Path

from .._decisions import causes
from .._errors import LivepatchError
from .._io import lock_within, make_folder, open_lock, read_bounded, write_atomically
from .._time import format_time, parse_time
from .postgresql import locks
from .postgresql.address import DatabaseAddress, StorePlace

_SUFFIX = ".drain-group"  # not .json, which is the suffix of records
_LOCK = "drain-groups.lock"
_LOCK_SECONDS = 60.0
_LIMIT = 64 << 10
_NAME_LIMIT = 200
_SCHEMA = "kernelops.livepatch/drain-lock/1"


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """A host that may be drained. `run` identifies the run of the module, and `by` is its user and controller.

    The run has the lock since `since`. It renews the lock before `until`, and is lost otherwise.
    """

    host: str
    run: str
    by: str
    since: datetime.datetime
    until: datetime.datetime


@dataclasses.dataclass(frozen=True)
class DrainLock:
    """The lock of a drain group for one run of the module on a host."""

    place: StorePlace
    group: str
    host: str
    run: str
    by: str

    @property
    def removal(self) -> str:
        """Return the command that removes the lock."""
        if isinstance(self.place, DatabaseAddress):
            return locks.removal(self.place, self.group)
        return f"rm {shlex.quote(str(lock_path(self.place, self.group)))}"

    def take(self, now: datetime.datetime, until: datetime.datetime) -> Holder | None:
        """Take the lock until a time, or renew it. Return the holder if another host has it, also if its run was lost.

        A later run on the same host takes it over at once: the host still is the only one of its group, and has a lock
        of its own against two runs. The earlier run finds out when it renews. Raises `LivepatchError`
        (``drain_lock_unusable``).
        """
        with self._locked() as entry:
            holder = _holder_in(entry)
            if holder is not None and holder.host != self.host:
                return holder
            entry.write(self.host, self.run, self.by, now if holder is None else holder.since, until)
        return None

    def renew(self, until: datetime.datetime) -> bool:
        """Extend the lock. Return False if the run does not have it. Raises `LivepatchError`."""
        with self._locked() as entry:
            holder = _holder_in(entry)
            if holder is None or holder.run != self.run:
                return False
            entry.write(self.host, self.run, self.by, holder.since, until)
        return True

    def release(self) -> None:
        """Remove the lock, if the run has it. Raises `LivepatchError`."""
        with self._locked() as entry:
            holder = _holder_in(entry)
            if holder is not None and holder.run == self.run:
                entry.remove()

    def _locked(self) -> contextlib.AbstractContextManager[_LockFile | locks.GroupRow]:
        if isinstance(self.place, DatabaseAddress):
            return locks.lock_row(self.place, self.group)
        return _lock_file(self.place, self.group)


def lock_path(folder: Path, group: str) -> Path:
    """Return the file of the lock of a group."""
    name = urllib.parse.quote(group, safe="").replace(".", "%2E")
    if len(name) > _NAME_LIMIT:
        name = hashlib.sha256(group.encode()).hexdigest()
    return folder / f"{name}{_SUFFIX}"


@contextlib.contextmanager
def _lock_file(folder: Path, group: str) -> t.Iterator[_LockFile]:
    """Let other runs wait. Without a file system that has locks, no host is drained."""
    file = _LockFile(lock_path(folder, group), group)
    try:
        make_folder(folder)
        lock = open_lock(folder / _LOCK)
    except OSError as error:
        raise file.unusable(error) from error
    with lock:
        try:
            locked = lock_within(lock.fileno(), _LOCK_SECONDS)
        except OSError as error:
            raise file.unusable(error) from error
        if not locked:
            raise causes.DRAIN_LOCK_UNUSABLE.error("another process holds it", path=folder / _LOCK)
        yield file


@dataclasses.dataclass(frozen=True)
class _LockFile:
    """The file of a lock, while no other run can use it."""

    path: Path
    group: str

    def read(self) -> tuple[str, str, str, datetime.datetime, datetime.datetime] | None:
        """Return host, run, user, begin and end of the holder; None if the group is free."""
        try:
            content = json.loads(read_bounded(str(self.path), _LIMIT))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise self.unusable(error) from error
        holder = _holder(content)
        if holder is None or content["group"] != self.group:
            raise causes.DRAIN_LOCK_UNUSABLE.error(f"it does not have the schema {_SCHEMA}", path=self.path)
        return holder

    def write(self, host: str, run: str, by: str, since: datetime.datetime, until: datetime.datetime) -> None:
        """Store the holder."""
        content = {
            "schema": _SCHEMA,
            "group": self.group,
            "host": host,
            "run": run,
            "by": by,
            "since": format_time(since),
            "until": format_time(until),
        }
        try:
            write_atomically(self.path, [f"{json.dumps(content, indent=2)}\n"], durable=True)
        except OSError as error:
            raise self.unusable(error) from error

    def remove(self) -> None:
        """Release the group."""
        try:
            self.path.unlink()
        except OSError as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> LivepatchError:
        """Return the error of a file that cannot be used."""
        reason = getattr(error, "strerror", None) or str(error)
        return causes.DRAIN_LOCK_UNUSABLE.error(reason, path=self.path)


def _holder_in(entry: _LockFile | locks.GroupRow) -> Holder | None:
    found = entry.read()
    return None if found is None else Holder(*found)


def _holder(content: object) -> tuple[str, str, str, datetime.datetime, datetime.datetime] | None:
    """Return the holder that a file names; None for a file with another schema."""
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        return None
    texts = [content.get(key) for key in ("host", "run", "by", "group")]
    since, until = parse_time(content.get("since")), parse_time(content.get("until"))
    if since is None or until is None or not all(isinstance(text, str) for text in texts):
        return None
    return content["host"], content["run"], content["by"], since, until
