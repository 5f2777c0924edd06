# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""HTTP downloads with retries, resume and limits of size, time and speed.

The part of a file that was received stays where it is written. The next attempt, also that of a later run, asks for the
rest only. Whether the parts are of one and the same file is not checked here: the caller must know the hash of the
file.

Nothing is decompressed: limits apply to the bytes that are received and stored. Redirects are followed by `Downloader`
itself, which does not read their bodies.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import http.client
import os
import threading
import time
import typing as t
import urllib.parse
from pathlib import Path

from .._errors import LivepatchError, require
from .._io import open_for_writing
from .._text import mask_credentials, visible
from .deadline import Deadline, OpenSockets, StalledError, make_session
from .redirects import REDIRECT_LIMIT, RedirectError, is_same_server, redirect_target

if t.TYPE_CHECKING:
    import requests

_CONNECT_SECONDS = 15.0
_CHUNK = 1 << 18
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_MINIMUM_SPEED = 1024
"""Bytes a second, on average. A slower server counts as silent."""

_PROGRESS = 1 << 16
"""Bytes that an attempt must receive so that it does not count as failed."""

_TRANSIENT = frozenset({408, 425, 429})
_KEEP_METHOD = frozenset({307, 308})
"""Redirects after which a client sends the same method and content (RFC 9110, section 15.4)."""

_REASON_BYTES = 200


class ServerError(LivepatchError):
    """A server gave no usable answer. The message names the server and what happened."""

    def __init__(self, message: str) -> None:
        super().__init__("server", message, "check the server, the proxy and the certificates, then run the task again")


class FatalServerError(ServerError):
    """No further attempt can succeed, whatever the file: the options are wrong, or it is another server."""


class UnreachableServerError(ServerError):
    """Every attempt failed, and those for the next file may fail too."""


class _TransientError(Exception):
    """This attempt failed, and the next one may not."""


@dataclasses.dataclass(frozen=True, slots=True)
class DownloadOptions:
    """Options of the connection to a server. `retries` is the number of attempts after the first.

    `timeout` is in seconds. It limits the time from the connection to the headers of the answer, with all redirects,
    and then the time to wait for the next bytes.

    `ca_path` is a file of certificates in PEM, or a folder as openssl has them; ``None`` for the authorities of the
    system. `proxy` may hold a user and a password; ``None`` for the proxy of the environment.
    """

    ca_path: str | None = None
    proxy: str | None = None
    timeout: float = 30.0
    retries: int = 4


@dataclasses.dataclass(frozen=True, slots=True)
class FileVersion:
    """Marks of the content at a URL: the ETag, and the time of the last change as the server writes it."""

    etag: str | None = None
    modified: str | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """Return the headers with which a server sends the content only if it is another one."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


class Downloader:
    """An HTTP client for several threads. Each thread has its own connections.

    `sleep` waits for some seconds and `clock` returns seconds. Every method raises `ServerError`, or `LivepatchError`
    (``library_missing``) without the library ``requests``.
    """

    def __init__(
        self,
        options: DownloadOptions,
        *,
        sleep: c.Callable[[float], object] = time.sleep,
        clock: c.Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._sleep = sleep
        self._clock = clock
        self._thread = threading.local()

    def read(self, url: str, limit: int) -> bytes:
        """Return the content at a URL, at most `limit` bytes."""
        return self.read_dated(url, limit)[0]

    def read_dated(self, url: str, limit: int) -> tuple[bytes, str | None]:
        """Return the content at a URL, at most `limit` bytes, and its ``Last-Modified``, if the server sends one."""

        def attempt() -> tuple[bytes, str | None]:
            with self._get(url, {}) as answer:
                self._expect(answer.response, url, 200)
                return b"".join(self._chunks(answer, url, limit)), answer.response.headers.get("Last-Modified")

        return self._with_retries(url, attempt, lambda: 0)

    def download_if_changed(self, url: str, path: Path, limit: int, etag: str | None) -> tuple[bool, str | None]:
        """Write the content at a URL to a file, unless its ETag is still `etag`.

        Return whether it has changed, and its ETag, ``None`` where the server sends none.
        """

        def attempt() -> tuple[bool, str | None]:
            with self._get(url, {"If-None-Match": etag} if etag else {}) as answer:
                if answer.response.status_code == 304 and etag:
                    return False, etag
                self._expect(answer.response, url, 200)
                with open_for_writing(path) as file:
                    file.writelines(self._chunks(answer, url, limit))
                return True, answer.response.headers.get("ETag")

        return self._with_retries(url, attempt, lambda: 0)

    def has_changed(self, url: str, known: FileVersion) -> bool:
        """Return True unless the content at a URL is still this version. The content is not read."""

        def attempt() -> bool:
            with self._get(url, known.conditions) as answer:
                if answer.response.status_code == 304 and known.conditions:
                    return False
                self._expect(answer.response, url, 200)
                return True

        return self._with_retries(url, attempt, lambda: 0)

    def download_newer(
        self,
        url: str,
        file: t.BinaryIO,
        limit: int,
        known: FileVersion,
        part: str | None,
        begin: c.Callable[[FileVersion], object],
    ) -> FileVersion | None:
        """Write the content at a URL to a file, unless it is still the version `known`: then return ``None``.

        `file` is open for reading and writing. What it has is continued if it is a part of the version with the ETag
        `part`, and discarded otherwise. `begin` is called with the version of each new content, before that is written.
        """
        etag = part

        def size() -> int:
            return file.seek(0, os.SEEK_END)

        def attempt() -> FileVersion | None:
            nonlocal etag
            present = size()
            ranges = _ranges(present, etag)
            with self._get(url, {**known.conditions, **ranges}) as answer:
                response = answer.response
                if response.status_code == 304 and known.conditions:
                    return None
                if response.status_code == 416 and ranges:
                    file.truncate(0)
                    raise _TransientError("the server does not have the rest of the file")
                self._expect(response, url, 200, *((206,) if ranges else ()))
                version = FileVersion(response.headers.get("ETag"), response.headers.get("Last-Modified"))
                if response.status_code == 206:
                    _expect_rest(response, url, present)
                else:
                    begin(version)
                    etag = version.etag
                    file.truncate(0)
                    present = file.seek(0)
                file.writelines(self._chunks(answer, url, limit - present))
                file.flush()
                return version

        return self._with_retries(url, attempt, size)

    def download(self, url: str, file: t.BinaryIO, limit: int) -> None:
        """Write the content at a URL to a file that is open for reading and writing. It is continued at its end."""

        def size() -> int:
            return file.seek(0, os.SEEK_END)

        def attempt() -> None:
            present = size()
            with self._get(url, {"Range": f"bytes={present}-"} if present else {}) as answer:
                response = answer.response
                if response.status_code == 416 and present:
                    # Nothing follows what is present. If that is not all of the file, its hash shows it.
                    return
                self._expect(response, url, 200, 206)
                if response.status_code == 206:
                    if not response.headers.get("Content-Range", "").startswith(f"bytes {present}-"):
                        raise ServerError(_plain(f"the server of {url} sent other bytes than those from {present} on"))
                else:
                    file.truncate(0)
                    present = file.seek(0)
                file.writelines(self._chunks(answer, url, limit - present))
                file.flush()

        self._with_retries(url, attempt, size)

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """Send bytes to a URL. The content of the answer is read only if the server refuses them, and then in part.

        After an attempt without an answer, they are sent again: a server can get them twice. A redirect is followed
        only if it keeps the method, and within the server, because the content is not for another one.
        """

        def attempt() -> None:
            with self._get(url, headers, body) as answer:
                status = answer.response.status_code
                if status >= 500 or status in _TRANSIENT:
                    raise _TransientError(f"the server answered {status}")
                if not 200 <= status < 300:
                    raise ServerError(
                        _plain(f"cannot send to {url}: the server answered {status}{self._reason(answer)}")
                    )

        self._with_retries(url, attempt, lambda: 0, doing="send to")

    def _reason(self, answer: _Answer) -> str:
        """Return the begin of a refusal, which often is its reason."""
        with contextlib.suppress(_TransientError, StalledError):
            text = " ".join(self._read_chunk(answer)[:_REASON_BYTES].decode(errors="replace").split())
            return f" ({text})" if text else ""
        return ""

    def _with_retries(
        self, url: str, attempt: c.Callable[[], _Result], size: c.Callable[[], int], *, doing: str = "download"
    ) -> _Result:
        left = self._options.retries
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = size()
            try:
                return attempt()
            except (_TransientError, StalledError) as error:
                if size() - before >= _PROGRESS:
                    left, pause = self._options.retries, _FIRST_PAUSE_SECONDS
                    continue
                if left == 0:
                    raise UnreachableServerError(_plain(f"cannot {doing} {url}: {error}")) from error
            except OSError as error:
                raise ServerError(_plain(f"cannot store {url}: {error.strerror or error}")) from error
            left -= 1
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    @contextlib.contextmanager
    def _get(self, url: str, headers: dict[str, str], body: bytes | None = None) -> c.Iterator[_Answer]:
        """Request a URL, or send a body to it, and follow redirects. The answer is closed at the end of the block."""
        session, sockets = self._session()
        with Deadline(self._options.timeout, sockets) as deadline:
            with deadline.step():
                response = self._follow(session, url, headers, body)
            with response:
                yield _Answer(response, deadline)

    def _follow(
        self, session: requests.Session, url: str, headers: dict[str, str], body: bytes | None
    ) -> requests.Response:
        current = url
        for _redirect in range(REDIRECT_LIMIT + 1):
            response = self._request(session, current, headers, url, body)
            if not response.is_redirect:
                return response
            # Closed without reading: the body of a redirect can be of any size.
            response.close()
            try:
                current = redirect_target(current, response.headers["Location"])
            except RedirectError as error:
                raise ServerError(_plain(f"the server of {url} {error}")) from error
            if body is not None and not (response.status_code in _KEEP_METHOD and is_same_server(url, current)):
                # The path can be a secret of another server.
                place = urllib.parse.urlsplit(current)
                text = (
                    f"the server of {url} redirects to {place.scheme}://{place.netloc}, where the content is not sent"
                )
                raise ServerError(_plain(text))
        raise ServerError(_plain(f"the server of {url} redirects more than {REDIRECT_LIMIT} times"))

    def _request(
        self, session: requests.Session, url: str, headers: dict[str, str], first_url: str, body: bytes | None
    ) -> requests.Response:
        """Request a URL to which `first_url` leads. The credentials of `first_url` are for its server only."""
        exceptions = require("requests.exceptions", "a download")
        transport_error = require("urllib3.exceptions", "a download").HTTPError
        options = self._options
        try:
            # Given with the request, because a variable of the environment would override the session's own.
            return session.request(
                "GET" if body is None else "POST",
                url,
                data=body,
                headers={"Accept-Encoding": "identity", **headers},
                auth=_authorization(url, first_url),
                stream=True,
                allow_redirects=False,
                timeout=(min(_CONNECT_SECONDS, options.timeout), options.timeout),
                verify=_authorities(options.ca_path),
                proxies={"http": options.proxy, "https": options.proxy} if options.proxy else None,
            )
        except exceptions.SSLError as error:
            if "certificate" in str(error).lower():
                raise FatalServerError(_plain(f"the certificate of {url} is not trusted: {error}")) from error
            raise _TransientError(_plain(str(error))) from error
        except exceptions.ProxyError as error:
            if "407" in str(error):
                raise FatalServerError(_plain(f"the proxy for {url} requires a user and a password")) from error
            raise _TransientError(_plain(str(error))) from error
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            raise _TransientError(_plain(str(error))) from error
        # With a wrong certificate file, requests raises a plain OSError.
        except (exceptions.RequestException, transport_error, OSError, ValueError) as error:
            raise FatalServerError(_plain(f"cannot request {url}: {error}")) from error

    def _session(self) -> tuple[requests.Session, OpenSockets]:
        if not hasattr(self._thread, "session"):
            sockets = OpenSockets()
            self._thread.session = make_session(sockets), sockets
        session: tuple[requests.Session, OpenSockets] = self._thread.session
        return session

    def _expect(self, response: requests.Response, url: str, *statuses: int) -> None:
        status = response.status_code
        if status >= 500 or status in _TRANSIENT:
            raise _TransientError(f"the server answered {status}")
        if status not in statuses:
            raise ServerError(_plain(f"cannot download {url}: the server answered {status}"))

    def _chunks(self, answer: _Answer, url: str, limit: int) -> c.Iterator[bytes]:
        length = answer.response.headers.get("Content-Length", "")
        announced = int(length) if length.isdecimal() and len(length) < 20 else 0
        if announced > limit:
            raise ServerError(_plain(f"the content of {url} is larger than {limit} bytes"))
        started, received = self._clock(), 0
        while chunk := self._read_chunk(answer):
            received += len(chunk)
            if received > limit:
                raise ServerError(_plain(f"the content of {url} is larger than {limit} bytes"))
            elapsed = self._clock() - started
            yield chunk
            if elapsed > self._options.timeout and received < elapsed * _MINIMUM_SPEED:
                raise _TransientError(f"the server sent {received} bytes in {elapsed:.0f} seconds")
        if received < announced:
            # An old urllib3 takes the end of a connection for the end of the content.
            raise _TransientError(f"the server sent {received} of {announced} bytes")

    def _read_chunk(self, answer: _Answer) -> bytes:
        """Return the next bytes as they were sent, nothing at the end."""
        transport_error = require("urllib3.exceptions", "a download").HTTPError
        raw = answer.response.raw
        try:
            with answer.deadline.step():
                # Bytes received before a connection breaks must be kept, so no read may wait for more than is
                # available. An old urllib3 waits for all: for as many as the slowest server sends within the time.
                if hasattr(raw, "read1"):
                    chunk: bytes = raw.read1(_CHUNK, decode_content=False)
                else:
                    amount = max(1, int(self._options.timeout * _MINIMUM_SPEED))
                    chunk = raw.read(min(_CHUNK, amount), decode_content=False)
                return chunk
        except (transport_error, http.client.HTTPException, OSError, ValueError) as error:
            raise _TransientError(_plain(str(error))) from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to a request, and the time limit for each read of its content."""

    response: requests.Response
    deadline: Deadline


def _authorization(url: str, first_url: str) -> t.Any:
    """Return the credentials of the first URL for the server of that URL only, in the form of requests."""
    user, password = require("requests.utils", "a download").get_auth_from_url(first_url)
    if (user or password) and is_same_server(first_url, url):
        return require("requests.auth", "a download").HTTPBasicAuth(user, password)
    # Without any object, requests would use the credentials of a netrc file.
    return lambda request: request


def _authorities(ca_path: str | None) -> str:
    """Return the trusted certificates: a file or a folder, also those of the environment, as in requests.

    Before 2.28, requests verifies nothing if the variable ``CURL_CA_BUNDLE`` is empty and it has to find them itself.
    """
    given = ca_path or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return given or str(require("requests.certs", "a download").where())


_Result = t.TypeVar("_Result")


def _ranges(present: int, etag: str | None) -> dict[str, str]:
    """Return the headers that ask for the rest of a file; none without the bytes of a known version."""
    # Only a strong ETag identifies the bytes.
    if present > 0 and etag is not None and etag.startswith('"'):
        return {"Range": f"bytes={present}-", "If-Range": etag}
    return {}


def _expect_rest(response: requests.Response, url: str, present: int) -> None:
    """Raise `ServerError` for an answer with other bytes than those that were requested."""
    if not response.headers.get("Content-Range", "").startswith(f"bytes {present}-"):
        raise ServerError(_plain(f"the server of {url} sent other bytes than those from {present} on"))


def _plain(text: str) -> str:
    """Return a message on one line, without the credentials of its URLs."""
    return visible(" ".join(mask_credentials(text).split()))
