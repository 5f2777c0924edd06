# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Files over HTTP: patient with a server that stumbles, bounded with one that lies.

What was received of a file stays where it is written, and the next attempt asks for the rest only, also that of a
later run. Whether the pieces are of one and the same file is not known here: who asks for a file must know its hash.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import threading
import time
import typing as t
from pathlib import Path

from .._text import mask_credentials
from .kernel_support import ServerError

try:
    import requests
    import urllib3
    from requests import exceptions
except ImportError as error:
    _MISSING: ImportError | None = error
else:
    _MISSING = None

_CONNECT_SECONDS = 15.0
_PIECE = 1 << 18
_BUFFER = 1 << 16
"""Bytes that are lost when the process is killed, of what has come."""

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_SLOWEST = 1024
"""Bytes a second. Who sends less, on an average, is taken for silent."""

_PROGRESS = 1 << 16
"""Bytes that an attempt must bring so that it does not count as one in vain."""

_TRANSIENT = frozenset({408, 425, 429})


class FatalServerError(ServerError):
    """Trying again is of no use, for this file or another: the server is not the one that it must be."""


class UnreachableServerError(ServerError):
    """Every attempt was in vain, and the next file may fare no better."""


class _TransientError(Exception):
    """This attempt failed, and the next one may not."""


@dataclasses.dataclass(frozen=True, slots=True)
class WebOptions:
    """How to reach a server. `timeout` is in seconds of silence, `retries` counts attempts in vain after the first.

    `ca_path` is a file of certificates in PEM, or a folder as openssl has them; ``None`` for the usual authorities.
    `proxy` may hold a name and a password. ``None`` leaves it to the environment.
    """

    ca_path: str | None = None
    proxy: str | None = None
    timeout: float = 30.0
    retries: int = 4


class Web:
    """A client for several threads, each with connections of its own. Every method raises `ServerError`.

    `sleep` waits for some seconds and `clock` tells seconds.
    """

    def __init__(
        self,
        options: WebOptions,
        *,
        sleep: c.Callable[[float], object] = time.sleep,
        clock: c.Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._sleep = sleep
        self._clock = clock
        self._own = threading.local()

    def read(self, url: str, limit: int) -> bytes:
        """What is at an address, at most so many bytes."""

        def attempt() -> bytes:
            with self._get(url, {}) as response:
                self._expect(response, url, 200)
                return b"".join(self._pieces(response, url, limit))

        return self._patiently(url, attempt, lambda: 0)

    def copy(self, url: str, path: Path, limit: int, etag: str | None) -> tuple[bool, str | None]:
        """Write what is at an address to a file, unless it is what it was (`etag`).

        Tells whether it has changed, and its ETag, if the server gives one.
        """

        def attempt() -> tuple[bool, str | None]:
            with self._get(url, {"If-None-Match": etag} if etag else {}) as response:
                if response.status_code == 304 and etag:
                    return False, etag
                self._expect(response, url, 200)
                with path.open("wb", buffering=_BUFFER) as file:
                    file.writelines(self._pieces(response, url, limit))
                return True, response.headers.get("ETag")

        return self._patiently(url, attempt, lambda: 0)

    def fetch(self, url: str, path: Path, limit: int) -> None:
        """Write what is at an address to a file, or to its end what the file lacks."""

        def size() -> int:
            return path.stat().st_size if path.exists() else 0

        def attempt() -> None:
            begun = size()
            with self._get(url, {"Range": f"bytes={begun}-"} if begun else {}) as response:
                if response.status_code == 416 and begun:
                    # There is nothing behind what is there. If that is not all of it, its hash will tell.
                    return
                self._expect(response, url, 200, 206)
                partial = response.status_code == 206
                if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
                    raise ServerError(f"{url} was asked for its bytes from {begun} on and sent others")
                with path.open("ab" if partial else "wb", buffering=_BUFFER) as file:
                    for piece in self._pieces(response, url, limit - (begun if partial else 0)):
                        file.write(piece)

        self._patiently(url, attempt, size)

    def _patiently(self, url: str, attempt: c.Callable[[], _Result], size: c.Callable[[], int]) -> _Result:
        left = self._options.retries
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = size()
            try:
                return attempt()
            except _TransientError as error:
                if size() - before >= _PROGRESS:
                    left, pause = self._options.retries, _FIRST_PAUSE_SECONDS
                    continue
                if left == 0:
                    raise UnreachableServerError(_plain(f"{url} cannot be fetched: {error}")) from error
            except OSError as error:
                raise ServerError(_plain(f"{url} cannot be kept: {error.strerror or error}")) from error
            left -= 1
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        if _MISSING is not None:
            raise FatalServerError(f"fetching needs the Python package requests: {_MISSING}") from _MISSING
        try:
            # Given with the request, since a variable of the environment would come before the session's own.
            response = self._session().get(
                url,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=(_CONNECT_SECONDS, self._options.timeout),
                verify=self._options.ca_path or True,
                proxies={"http": self._options.proxy, "https": self._options.proxy} if self._options.proxy else None,
            )
        except exceptions.SSLError as error:
            if "certificate" in str(error).lower():
                raise FatalServerError(_plain(f"the certificate of {url} is not trusted: {error}")) from error
            raise _TransientError(_plain(str(error))) from error
        except exceptions.ProxyError as error:
            if "407" in str(error):
                raise FatalServerError(
                    _plain(f"the proxy on the way to {url} asks for a name and a password")
                ) from error
            raise _TransientError(_plain(str(error))) from error
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            raise _TransientError(_plain(str(error))) from error
        # With a wrong certificate file, requests raises a plain OSError.
        except (exceptions.RequestException, OSError, ValueError) as error:
            raise FatalServerError(_plain(f"{url} cannot be asked for: {error}")) from error
        if url.startswith("https:") and any(not hop.url.startswith("https:") for hop in [*response.history, response]):
            response.close()
            raise ServerError(f"{url} leads away from HTTPS, to {_plain(response.url)}")
        return response

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
        session: requests.Session = self._own.session
        return session

    def _expect(self, response: requests.Response, url: str, *statuses: int) -> None:
        status = response.status_code
        if status >= 500 or status in _TRANSIENT:
            raise _TransientError(f"the server answered {status}")
        if status not in statuses:
            raise ServerError(_plain(f"{url} cannot be fetched: the server answered {status}"))

    def _pieces(self, response: requests.Response, url: str, limit: int) -> c.Iterator[bytes]:
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and len(announced) < 20 and int(announced) > limit:
            raise ServerError(_plain(f"{url} is larger than {limit} bytes"))
        # Whatever has come before a connection breaks is to be kept, so no read may wait for more than is there.
        read = getattr(response.raw, "read1", response.raw.read)
        begun, received = self._clock(), 0
        try:
            while piece := read(_PIECE, decode_content=False):
                received += len(piece)
                if received > limit:
                    raise ServerError(_plain(f"{url} is larger than {limit} bytes"))
                took = self._clock() - begun
                yield piece
                if took > self._options.timeout and received < took * _SLOWEST:
                    raise _TransientError(f"the server sent {received} bytes in {took:.0f} seconds")
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(_plain(str(error))) from error


_Result = t.TypeVar("_Result")


def _plain(text: str) -> str:
    """Return a message on one line, without the credentials of its URLs."""
    return " ".join(mask_credentials(text).split())
