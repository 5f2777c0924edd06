# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A lock for each drain group, in the record folder, so that two runs never take down two hosts of a group.

The lock is the file ``NAME.drain-group``. It is written before a host is drained, and removed when its containers run
again. A run that is killed leaves the file. Only a later run on the same host takes the lock then, because the
host may still be down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import typing as t
import urllib.parse
from pathlib import Path

from .._decisions import causes
from .._errors import LivepatchError
from .._io import lock_within, open_lock, read_bounded, write_atomically
from .._time import format_time, parse_time

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

    folder: Path
    group: str
    host: str
    run: str
    by: str

    @property
    def path(self) -> Path:
        """The file of the lock."""
        name = urllib.parse.quote(self.group, safe="").replace(".", "%2E")
        if len(name) > _NAME_LIMIT:
            name = hashlib.sha256(self.group.encode()).hexdigest()
        return self.folder / f"{name}{_SUFFIX}"

    def take(self, now: datetime.datetime, until: datetime.datetime) -> Holder | None:
        """Take the lock until a time, or renew it. Return the holder if another host has it, also if its run was lost.

        A later run on the same host takes it over at once: the host still is the only one of its group, and has a lock
        of its own against two runs. The earlier run finds out when it renews. Raises `LivepatchError`
        (``drain_lock_unusable``).
        """
        with self._transaction():
            holder = self._read()
            if holder is not None and holder.host != self.host:
                return holder
            self._write(now if holder is None else holder.since, until)
        return None

    def renew(self, until: datetime.datetime) -> bool:
        """Extend the lock. Return False if the run does not have it. Raises `LivepatchError`."""
        with self._transaction():
            holder = self._read()
            if holder is None or holder.run != self.run:
                return False
            self._write(holder.since, until)
        return True

    def release(self) -> None:
        """Remove the lock, if the run has it. Raises `LivepatchError`."""
        with self._transaction():
            holder = self._read()
            if holder is not None and holder.run == self.run:
                try:
                    self.path.unlink()
                except OSError as error:
                    raise self._unusable(error) from error

    @contextlib.contextmanager
    def _transaction(self) -> t.Iterator[None]:
        """Let other runs wait. Without a file system that has locks, no host is drained."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open_lock(self.folder / _LOCK)
        except OSError as error:
            raise self._unusable(error) from error
        with lock:
            try:
                locked = lock_within(lock.fileno(), _LOCK_SECONDS)
            except OSError as error:
                raise self._unusable(error) from error
            if not locked:
                raise causes.DRAIN_LOCK_UNUSABLE.error("another process holds it", path=self.folder / _LOCK)
            yield

    def _read(self) -> Holder | None:
        try:
            content = json.loads(read_bounded(str(self.path), _LIMIT))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        holder = _holder(content)
        if holder is None or content["group"] != self.group:
            raise causes.DRAIN_LOCK_UNUSABLE.error(f"it does not have the schema {_SCHEMA}", path=self.path)
        return holder

    def _write(self, since: datetime.datetime, until: datetime.datetime) -> None:
        content = {
            "schema": _SCHEMA,
            "group": self.group,
            "host": self.host,
            "run": self.run,
            "by": self.by,
            "since": format_time(since),
            "until": format_time(until),
        }
        try:
            write_atomically(self.path, [f"{json.dumps(content, indent=2)}\n"], durable=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> LivepatchError:
        reason = getattr(error, "strerror", None) or str(error)
        return causes.DRAIN_LOCK_UNUSABLE.error(reason, path=self.path)


def _holder(content: object) -> Holder | None:
    """Return the holder that a file names; None for a file with another schema."""
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        return None
    texts = [content.get(key) for key in ("host", "run", "by", "group")]
    since, until = parse_time(content.get("since")), parse_time(content.get("until"))
    if since is None or until is None or not all(isinstance(text, str) for text in texts):
        return None
    return Holder(content["host"], content["run"], content["by"], since, until)
