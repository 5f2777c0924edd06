# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Sessions of a database: time limits, and the errors of psycopg as errors of this collection."""

from __future__ import annotations

import collections.abc as c
import contextlib
import re
import typing as t

from ..._decisions import causes
from ..._errors import LivepatchError, require
from ..._interruption import DeadlineError, call_within
from .address import DatabaseAddress

_CONNECT_SECONDS = 5
WRITE_SECONDS = 10.0
READ_SECONDS = 300.0
_LOCK_SECONDS = 60.0
_PURPOSE = "a store in PostgreSQL"
_T = t.TypeVar("_T")

_CONNECTION_FAILED = re.compile(r"^connection (?:is bad|failed): ")
_LIBPQ_QUESTION = " Is the server running "

Database: t.TypeAlias = t.Any
"""A connection of psycopg, which publishes no types where it is not installed."""


def library() -> t.Any:
    """Return psycopg. Raises `LivepatchError` (``library_missing``)."""
    return require("psycopg", _PURPOSE, minimum=3)


@contextlib.contextmanager
def session(address: DatabaseAddress, *, seconds: float = WRITE_SECONDS) -> c.Iterator[Database]:
    """Open a connection on which a statement may take this long. Each statement outside a transaction is one.

    Raises `LivepatchError`, also for errors of statements.
    """
    psycopg = library()
    with _errors(address), _connect(psycopg, address) as database:
        # Not as a parameter of the connection, which a connection pool may refuse.
        database.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false), "
            "set_config('timezone', 'UTC', false)",
            (f"{seconds * 1000:.0f}", f"{_LOCK_SECONDS * 1000:.0f}"),
        )
        yield database


def within(address: DatabaseAddress, seconds: float, call: c.Callable[[], _T]) -> _T:
    """Call a function that uses a database, and interrupt it if the server does not answer. Raises `LivepatchError`."""
    try:
        return call_within(seconds, call)
    except DeadlineError as error:
        raise causes.STORE_UNREACHABLE.error(f"there is no answer after {seconds:.0f} s", store=address) from error


def _connect(psycopg: t.Any, address: DatabaseAddress) -> t.Any:
    given = psycopg.conninfo.conninfo_to_dict(address.url)
    defaults = {
        "application_name": "kernelops.livepatch",
        "client_encoding": "utf8",
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": int(WRITE_SECONDS * 1000),
    }
    # Without prepared statements, a connection pool may give each transaction another server process.
    return psycopg.connect(**{**defaults, **given}, autocommit=True, prepare_threshold=None)


def _reason(error: Exception) -> str:
    """Return the text of an error in one line, without what libpq and psycopg add to a failed connection."""
    text = _CONNECTION_FAILED.sub("", " ".join(str(error).split()))
    return text.split(_LIBPQ_QUESTION)[0].rstrip()


@contextlib.contextmanager
def _errors(address: DatabaseAddress) -> c.Iterator[None]:
    psycopg = library()
    try:
        yield
    except psycopg.Error as error:
        detail = _reason(error)
        if address.password:
            detail = detail.replace(address.password, "***")
        lost = isinstance(error, psycopg.OperationalError) and not isinstance(error, psycopg.errors.QueryCanceled)
        # An error of the connection has no code, and one of a server that stops has a code of class 57.
        lost = lost and (error.sqlstate is None or error.sqlstate[:2] in ("08", "53", "57"))
        cause = causes.STORE_UNREACHABLE if lost else causes.STORE_REFUSED
        raise cause.error(detail, store=address) from error


def is_lost(error: LivepatchError) -> bool:
    """Return True for the error of a server that cannot be reached: the next statement would wait too."""
    return error.id == causes.STORE_UNREACHABLE.id
