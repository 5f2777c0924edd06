# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A time limit for each step of an HTTP request, whatever the server sends during the step.

The timeouts of the HTTP libraries apply to single reads of a socket. A server that sends one byte at a time, or answers
``100 Continue`` without end, never exceeds them. Here, a thread shuts the socket down when the step takes too long.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import socket
import threading
import time
import types
import typing as t
import weakref

from .._errors import require

if t.TYPE_CHECKING:
    import requests

_PURPOSE = "a download"
_REPEAT_SECONDS = 0.2


class StalledError(Exception):
    """A step of a request took too long."""


class OpenSockets:
    """The sockets of a session."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[t.Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, opened: t.Any) -> None:
        with self._lock:
            self._sockets.add(opened)

    def shut_down(self) -> None:
        """End all reads and writes. The sockets are not closed, because another thread uses them."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            # TLS in the TLS of a proxy is an object with a socket. The method of SSLSocket would not be thread-safe.
            opened = getattr(each, "socket", each)
            if isinstance(opened, socket.socket):
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)


class Deadline:
    """Limits the time of each step of an attempt. A context manager; `expired` is true after a step took too long."""

    def __init__(self, seconds: float, sockets: OpenSockets) -> None:
        self.expired = False
        self._seconds = seconds
        self._sockets = sockets
        self._end: float | None = None
        self._finished = threading.Event()

    def __enter__(self) -> Deadline:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._finished.set()

    @contextlib.contextmanager
    def step(self) -> c.Iterator[None]:
        """Limit the time of a block. Raises `StalledError`, also instead of an error that the time limit causes."""
        self._end = time.monotonic() + self._seconds
        try:
            yield
        except Exception as error:
            if self.expired:
                raise self._stalled() from error
            raise
        finally:
            self._end = None
        if self.expired:
            # The end of the data can be the effect of the shut-down.
            raise self._stalled()

    def _stalled(self) -> StalledError:
        return StalledError(f"the server did not answer completely within {self._seconds:g} seconds")

    def _watch(self) -> None:
        wait = self._seconds
        while not self._finished.wait(wait):
            end = self._end
            wait = self._seconds if end is None else end - time.monotonic()
            if wait <= 0 or self.expired:
                self.expired = True
                self._sockets.shut_down()
                # A socket that is opened after this moment must be shut down too.
                wait = _REPEAT_SECONDS


def make_session(sockets: OpenSockets) -> requests.Session:
    """Return a session that registers its sockets, and neither follows redirects nor reads `netrc` files.

    Raises `LivepatchError` (``library_missing``).
    """
    session: requests.Session = require("requests", _PURPOSE).Session()
    # Requests reads the body of each redirect, without a limit, also if it does not follow redirects.
    session.resolve_redirects = lambda *_arguments, **_options: iter(())  # type: ignore[method-assign]  # see above
    for scheme in ("http://", "https://"):
        _watch_connections(session.get_adapter(scheme), sockets)
    return session


def _watch_connections(adapter: t.Any, sockets: OpenSockets) -> None:
    """Make an adapter of requests register the sockets of its connections, also of those to proxies."""
    _watch_pools(adapter.poolmanager, sockets)
    make_proxy_manager = adapter.proxy_manager_for

    def proxy_manager_for(proxy: str, **options: t.Any) -> t.Any:
        is_new = proxy not in adapter.proxy_manager
        manager = make_proxy_manager(proxy, **options)
        if is_new:
            _watch_pools(manager, sockets)
        return manager

    adapter.proxy_manager_for = proxy_manager_for


def _watch_pools(manager: t.Any, sockets: OpenSockets) -> None:
    manager.pool_classes_by_scheme = {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": _watched(pool.ConnectionCls, sockets)})
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _watched(connection: t.Any, sockets: OpenSockets) -> type:
    """Return a subclass of a connection whose attribute ``sock`` registers each socket."""

    def get(self: t.Any) -> t.Any:
        return self.__dict__.get("sock")

    def put(self: t.Any, opened: t.Any) -> None:
        self.__dict__["sock"] = opened
        if opened is not None:
            sockets.add(opened)

    return type(connection.__name__, (connection,), {"sock": property(get, put)})
