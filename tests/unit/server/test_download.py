# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Downloads: retries for temporary failures, limits for hostile servers. The clock is simulated."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import subprocess
import sys
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._server import download
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import ServerError
from tests.lab.certificates import make_authority
from tests.lab.livepatch_server import Server, State
from tests.lab.livepatch_server.faults import write_faults

CONTENT = bytes(range(256)) * 1024


class Lab:
    """A server with plain HTTP and one with HTTPS, for one folder."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.authority = make_authority(folder)
        listeners = [socket.create_server(("127.0.0.1", 0)) for _each in range(2)]
        self.http, self.https = (
            f"{scheme}://localhost:{each.getsockname()[1]}/files/a"
            for scheme, each in zip(("http", "https"), listeners, strict=True)
        )
        for listener, certificate in zip(listeners, (None, self.authority.server), strict=True):
            server = Server(listener, certificate, folder)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
        State(folder).put_file("a", CONTENT)

    def fail(self, **fault: t.Any) -> None:
        write_faults(self.folder, [fault] if fault else [])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        yield Lab(tmp_path_factory.mktemp("server"), stack)


@pytest.fixture(autouse=True)
def healthy(lab: Lab) -> None:
    lab.fail()


class Time:
    """A clock that advances with sleeps, and by `step` seconds with every reading."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def clock(self) -> float:
        self.now += self.step
        return self.now


def client(time: Time | None = None, **options: t.Any) -> download.Downloader:
    time = time or Time()
    return download.Downloader(download.DownloadOptions(**options), sleep=time.sleep, clock=time.clock)


def test_pauses_grow_to_ten_seconds_and_end(lab: Lab) -> None:
    time = Time()
    lab.fail(status=503)
    with pytest.raises(download.UnreachableServerError, match="the server answered 503"):
        client(time, retries=7).read(lab.http, 1000)
    assert time.pauses == [0.5, 1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_temporary_failures_are_retried(lab: Lab, status: int) -> None:
    lab.fail(status=status, count=2)
    time = Time()
    assert client(time).read(lab.http, len(CONTENT)) == CONTENT
    assert time.pauses == [0.5, 1]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_permanent_failures_are_not_retried(lab: Lab, status: int) -> None:
    lab.fail(status=status)
    time = Time()
    with pytest.raises(ServerError, match=f"the server answered {status}"):
        client(time).read(lab.http, 1000)
    assert time.pauses == []


def test_an_attempt_with_progress_does_not_count(lab: Lab, tmp_path: Path) -> None:
    time = Time()
    lab.fail(cut=100_000)
    client(time, retries=0).download(lab.http, tmp_path / "a", len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert time.pauses == []


def test_an_attempt_without_progress_counts(lab: Lab, tmp_path: Path) -> None:
    time = Time()
    lab.fail(cut=1000)
    with pytest.raises(download.UnreachableServerError):
        client(time, retries=3).download(lab.http, tmp_path / "a", len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT[:4000]
    assert len(time.pauses) == 3


def test_a_complete_file_is_not_downloaded_again(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    client().download(lab.http, tmp_path / "a", len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_an_oversized_file_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="larger than 1000 bytes"):
        client().read(lab.http, 1000)
    (tmp_path / "a").write_bytes(CONTENT[:900])
    with pytest.raises(ServerError, match="larger than 100 bytes"):
        client().download(lab.http, tmp_path / "a", 1000)
    assert (tmp_path / "a").stat().st_size == 900


def test_a_very_slow_server_times_out(lab: Lab) -> None:
    lab.fail(slow=5_000_000)
    time = Time(step=1000)
    with pytest.raises(download.UnreachableServerError, match=r"the server sent \d+ bytes in \d+ seconds"):
        client(time, retries=0).read(lab.http, len(CONTENT))


def test_an_unchanged_file_is_not_sent(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "a"
    changed, etag = client().download_if_changed(lab.http, path, len(CONTENT), None)
    assert (changed, path.read_bytes()) == (True, CONTENT)
    path.unlink()
    assert client().download_if_changed(lab.http, path, len(CONTENT), etag) == (False, etag)
    assert not path.exists()
    assert client().download_if_changed(lab.http, path, len(CONTENT), '"another"') == (True, etag)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("certificate", ["stranger", "misnamed", "expired"])
def test_an_untrusted_certificate_fails_at_once(lab: Lab, certificate: str) -> None:
    time = Time()
    trusting = client(time, ca_path=str(lab.authority.certificate))
    assert trusting.read(lab.https, len(CONTENT)) == CONTENT
    lab.fail(certificate=certificate)
    with pytest.raises(download.FatalServerError, match="is not trusted"):
        client(time, ca_path=str(lab.authority.certificate)).read(lab.https, len(CONTENT))
    assert time.pauses == []


def test_unreadable_authorities_are_named(lab: Lab) -> None:
    with pytest.raises(download.FatalServerError, match="/nonexistent"):
        client(ca_path="/nonexistent").read(lab.https, 1000)


def test_environment_variables_do_not_change_the_trust(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert client(ca_path=str(lab.authority.certificate)).read(lab.https, len(CONTENT)) == CONTENT


def test_a_redirect_from_https_to_http_fails(lab: Lab) -> None:
    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", lab.http.replace("localhost", "user:made-up@localhost"))
            self.end_headers()

        def log_message(self, *_said: t.Any) -> None:
            """Log nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.authority.server)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(ServerError, match="redirects from HTTPS") as refused:
            client(ca_path=str(lab.authority.certificate)).read(f"https://localhost:{server.server_port}/", 1000)
        server.shutdown()
    assert "made-up" not in str(refused.value)


@pytest.mark.parametrize("url", ["ftp://localhost/", "nonsense", "http://", "http://[1/"])
def test_an_invalid_address_is_an_error(url: str) -> None:
    with pytest.raises(ServerError):
        client(retries=0).read(url, 1000)


def test_messages_contain_no_passwords(lab: Lab) -> None:
    lab.fail(status=404)
    for address in (lab.http, "http://localhost:1/"):
        with pytest.raises(ServerError) as refused:
            client(retries=0).read(address.replace("localhost", "user:made-up@localhost"), 1000)
        assert "made-up" not in str(refused.value)


def test_without_requests_a_download_fails(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    without = client()
    monkeypatch.setitem(sys.modules, "requests.exceptions", None)
    with pytest.raises(LivepatchError, match="needs the Python library requests") as failure:
        without.read(lab.http, 1000)
    assert failure.value.id == "library_missing"


def test_requests_is_imported_for_a_download_only() -> None:
    program = f"import sys, {download.__name__}; sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
