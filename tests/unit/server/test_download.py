# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Downloads: retries for temporary failures, limits for hostile servers. The clock is simulated."""

from __future__ import annotations

import base64
import contextlib
import gzip
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

from .hostile_server import serving

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


def fetch(downloader: download.Downloader, url: str, path: Path, limit: int) -> None:
    """Continue a file."""
    path.touch()
    with path.open("r+b") as file:
        downloader.download(url, file, limit)


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
    fetch(client(time, retries=0), lab.http, tmp_path / "a", len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert time.pauses == []


def test_an_attempt_without_progress_counts(lab: Lab, tmp_path: Path) -> None:
    time = Time()
    lab.fail(cut=1000)
    with pytest.raises(download.UnreachableServerError):
        fetch(client(time, retries=3), lab.http, tmp_path / "a", len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT[:4000]
    assert len(time.pauses) == 3


def test_a_complete_file_is_not_downloaded_again(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    fetch(client(), lab.http, tmp_path / "a", len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_an_oversized_file_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="larger than 1000 bytes"):
        client().read(lab.http, 1000)
    (tmp_path / "a").write_bytes(CONTENT[:900])
    with pytest.raises(ServerError, match="larger than 100 bytes"):
        fetch(client(), lab.http, tmp_path / "a", 1000)
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


def test_no_variable_switches_verification_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """In old versions of requests, the empty variable does, unless the certificates are given."""
    import requests

    given = []

    def request(_session: object, *_arguments: object, **options: t.Any) -> t.NoReturn:
        given.append(options["verify"])
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "request", request)
    for value in ("", "/etc/private"):
        monkeypatch.setenv("CURL_CA_BUNDLE", value)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        with pytest.raises(ServerError):
            client(retries=0).read("https://localhost/", 1)
    assert given == [requests.certs.where(), "/etc/private"]


def test_environment_variables_do_not_change_the_trust(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert client(ca_path=str(lab.authority.certificate)).read(lab.https, len(CONTENT)) == CONTENT


def test_a_redirect_from_https_to_http_fails(lab: Lab) -> None:
    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", plain.url.replace("localhost", "user:made-up@localhost"))
            self.end_headers()

        def log_message(self, *_said: t.Any) -> None:
            """Log nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.authority.server)
    with serving(b"") as plain, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(ServerError, match="redirects from HTTPS") as refused:
            client(ca_path=str(lab.authority.certificate)).read(f"https://localhost:{server.server_port}/", 1000)
        server.shutdown()
    assert "made-up" not in str(refused.value)
    assert plain.requests == [], "the request is not even made"


def redirect_to(url: str, *, body: bytes = b"", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        url.encode(),
        headers,
        len(body),
        body,
    )


def answer(body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)


def test_redirects_are_followed_to_their_end() -> None:
    with serving(answer(b"content")) as last, serving(redirect_to(last.url)) as first:
        assert client().read(first.url, 1000) == b"content"


def test_endless_redirects_are_an_error() -> None:
    with serving(redirect_to("/again")) as server:
        with pytest.raises(ServerError, match="redirects more than 5 times"):
            client().read(server.url, 1000)
        assert len(server.requests) == 6


def test_the_body_of_a_redirect_is_not_read() -> None:
    body = bytes(256 << 20)
    with (
        serving(answer(b"content")) as last,
        serving(redirect_to(last.url, body=body, headers=b"Content-Encoding: gzip\r\n")) as first,
    ):
        assert client().read(first.url, 1000) == b"content"
        # As much as the buffers of the kernel hold.
        assert first.sent < len(body) // 2


def test_compressed_content_is_not_decompressed() -> None:
    bomb = gzip.compress(bytes(10 << 20))
    with serving(answer(bomb, b"Content-Encoding: gzip\r\n")) as server:
        assert client().read(server.url, len(bomb)) == bomb
        assert b"Accept-Encoding: identity\r\n" in server.requests[0]


def test_credentials_are_sent_to_their_server_only() -> None:
    token = b"Authorization: Basic " + base64.b64encode(b"user:made-up")
    with serving(answer(b"content")) as last, serving(redirect_to(last.url)) as first:
        client().read(first.url.replace("localhost", "user:made-up@localhost"), 1000)
        assert token in first.requests[0]
        assert b"Authorization" not in last.requests[0]


def test_a_redirect_cannot_add_credentials() -> None:
    with serving(answer(b"content")) as last:
        with serving(redirect_to(last.url.replace("localhost", "user:made-up@localhost"))) as first:
            client().read(first.url, 1000)
        assert b"Authorization" not in last.requests[0]


def test_netrc_files_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login user password made-up\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(answer(b"content")) as last, serving(redirect_to(last.url)) as first:
        client().read(first.url, 1000)
        assert b"Authorization" not in first.requests[0] + last.requests[0]


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"content")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert client().read("http://livepatch.example.com/list", 1000) == b"content"
        assert proxy.requests[0].startswith(b"GET http://livepatch.example.com/list ")


def test_other_bytes_than_the_requested_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123")
    partial = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nab"
    with serving(partial) as server, pytest.raises(ServerError, match="sent other bytes than those from 4 on"):
        fetch(client(), server.url.replace("localhost", "user:made-up@localhost"), tmp_path / "a", 1000)
    assert (tmp_path / "a").read_bytes() == b"0123"


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[1/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\n\r\n",
    ],
)
def test_a_malformed_answer_is_a_server_error(head: bytes) -> None:
    with serving(head) as server, pytest.raises(ServerError):
        client(retries=0).read(server.url, 1000)


def test_messages_have_no_control_characters() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: ftp://a/\x1b[2J\x9b\r\n\r\n"
    with serving(head) as server, pytest.raises(ServerError) as refused:
        client(retries=0).read(server.url, 1000)
    assert str(refused.value).isprintable()


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


class Target:
    """A file that is downloaded, with what the downloader reports about it."""

    def __init__(self, path: Path, content: bytes = b"") -> None:
        self.path = path
        self.path.write_bytes(content)
        self.begun: list[download.FileVersion] = []

    def update(
        self,
        url: str,
        known: download.FileVersion | None = None,
        part: str | None = None,
        limit: int = len(CONTENT),
        **options: t.Any,
    ) -> download.FileVersion | None:
        with self.path.open("r+b") as file:
            known = known or download.FileVersion()
            return client(**options).download_newer(url, file, limit, known, part, self.begun.append)


def test_a_newer_file_is_downloaded_once(lab: Lab, tmp_path: Path) -> None:
    target = Target(tmp_path / "a")
    version = target.update(lab.http)
    assert version is not None
    assert (target.path.read_bytes(), target.begun) == (CONTENT, [version])
    assert target.update(lab.http, version) is None
    assert client().has_changed(lab.http, version) is False
    assert client().has_changed(lab.http, download.FileVersion('"another"')) is True
    assert target.update(lab.http, download.FileVersion('"another"')) == version


def test_an_interrupted_file_is_continued(lab: Lab, tmp_path: Path) -> None:
    target = Target(tmp_path / "a")
    lab.fail(cut=50_000)
    with pytest.raises(ServerError):
        target.update(lab.http, retries=0)
    received = target.path.stat().st_size
    assert 0 < received <= 50_000
    lab.fail()
    version = target.update(lab.http, part=target.begun[0].etag)
    assert target.path.read_bytes() == CONTENT
    assert len(target.begun) == 1, "the rest belongs to the same content"
    assert version is not None


@pytest.mark.parametrize("part", [None, '"of another file"', 'W/"weak"'])
def test_a_part_of_another_file_is_discarded(lab: Lab, tmp_path: Path, part: str | None) -> None:
    target = Target(tmp_path / "a", b"something else")
    target.update(lab.http, part=part)
    assert target.path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_discarded(lab: Lab, tmp_path: Path) -> None:
    target = Target(tmp_path / "a")
    version = target.update(lab.http)
    assert version is not None
    target.path.write_bytes(CONTENT + b"more")
    target.update(lab.http, part=version.etag)
    assert target.path.read_bytes() == CONTENT


def test_a_newer_file_has_a_limit(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="larger than 1000 bytes"):
        Target(tmp_path / "a").update(lab.http, limit=1000)


def test_the_time_of_a_change_replaces_a_missing_etag() -> None:
    assert download.FileVersion(None, "Mon, 01 Jan 2031 00:00:00 GMT").conditions == {
        "If-Modified-Since": "Mon, 01 Jan 2031 00:00:00 GMT"
    }
    assert download.FileVersion('"1"', "Mon, 01 Jan 2031 00:00:00 GMT").conditions == {"If-None-Match": '"1"'}
    assert download.FileVersion().conditions == {}
