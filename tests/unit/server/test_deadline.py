# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the time limit of a step, with servers that keep a connection busy."""

from __future__ import annotations

import socket
import time

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._server.deadline import (
    Deadline,
    OpenSockets,
    StalledError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
    UnreachableServerError,
)

from .hostile_server import serving

SECONDS = 0.3
PATIENCE = 20.0
"""Without a deadline, the servers below hold a client for much longer."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "drip"),
    [
        pytest.param(OK + b"X-Slow: ", b"x", id="header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="100-continue"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, b"HTTP/1.1 100 Continue\r\n\r\n", id="flood"),
        pytest.param(b"", b"H", id="status"),
        pytest.param(CHUNKED, b"0", id="chunk-size"),
        pytest.param(CHUNKED + b"1\r\nx\r\n0\r\n", b"Trailer: x\r\n", id="trailers"),
        pytest.param(OK + b"Content-Length: 100000\r\n\r\n", b"x", id="body"),
        pytest.param(OK + b"Connection: close\r\n\r\n", b"x", id="body-until-close"),
    ],
)
def test_a_server_cannot_hold_an_attempt(answer: bytes, drip: bytes) -> None:
    started = time.monotonic()
    with serving(answer, drip) as server, pytest.raises(UnreachableServerError):
        Downloader(DownloadOptions(timeout=SECONDS, retries=0)).read(server.url, 1 << 20)
    assert time.monotonic() - started < PATIENCE


def test_a_proxy_cannot_hold_an_attempt() -> None:
    started = time.monotonic()
    with serving(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n") as proxy:
        options = DownloadOptions(timeout=SECONDS, retries=0, proxy=proxy.url)
        with pytest.raises(UnreachableServerError, match=r"did not answer completely within 0\.3 seconds"):
            Downloader(options).read("https://livepatch.example.com/", 1000)
    assert proxy.requests[0].startswith(b"CONNECT livepatch.example.com:443 ")
    assert time.monotonic() - started < PATIENCE


def test_redirects_share_the_time_of_an_attempt() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 1000000\r\n\r\n"
    with serving(redirect, b"x") as server, pytest.raises(Exception, match="redirects more than 5 times"):
        Downloader(DownloadOptions(timeout=PATIENCE, retries=0)).read(server.url, 1000)
    assert len(server.requests) == 6


def test_a_step_in_time_has_no_error() -> None:
    with Deadline(PATIENCE, OpenSockets()) as deadline:
        for _each in range(2):
            with deadline.step():
                pass
        with pytest.raises(KeyError), deadline.step():
            raise KeyError
    assert not deadline.expired


def test_a_late_step_ends_its_reads() -> None:
    one, other = socket.socketpair()
    sockets = OpenSockets()
    sockets.add(one)
    with one, other, Deadline(SECONDS, sockets) as deadline:
        with pytest.raises(StalledError), deadline.step():
            assert one.recv(1) == b""
        assert deadline.expired


def test_a_socket_opened_too_late_is_shut_down() -> None:
    sockets = OpenSockets()
    late, other = socket.socketpair()
    first, peer = socket.socketpair()
    sockets.add(first)
    with (
        late,
        other,
        first,
        peer,
        Deadline(SECONDS, sockets) as deadline,
        pytest.raises(StalledError),
        deadline.step(),
    ):
        first.recv(1)
        sockets.add(late)
        assert late.recv(1) == b""
