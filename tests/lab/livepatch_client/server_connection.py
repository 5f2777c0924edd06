# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The connection of a host's livepatch daemon to its server: real HTTPS with the host's trust, names and proxies.

Error texts are those of Go's network library, because operators and parsers meet those.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import ipaddress
import json
import re
import socket
import ssl
import typing as t
import urllib.parse
from pathlib import Path

from ..certificates import HOSTED_NAMES
from ..hosts.description import Client, Description
from ..hosts.file_tree import CERTIFICATES
from .settings import duration

_ANSWER_SECONDS = 30
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_CERTIFICATE_ERRORS = {
    10: "x509: certificate has expired or is not yet valid",
    62: "x509: certificate is not valid for the name of the server",
}


class UnreachableError(Exception):
    """The server did not answer; the text is the cause as Go writes it. `tls` is true if the server is not trusted."""

    def __init__(self, cause: str, *, tls: bool = False) -> None:
        super().__init__(cause)
        self.tls = tls


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer of a server, with any status."""

    status: int
    content: bytes

    @property
    def document(self) -> dict[str, t.Any]:
        """Return the content as a JSON object; an empty one if it is something else."""
        try:
            content = json.loads(self.content)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


@dataclasses.dataclass(frozen=True)
class HostNetwork:
    """The network access of a host. `hosted` is the address of the hosted service, as host and port."""

    online: bool
    names: dict[str, str]
    certificates: str
    settings: dict[str, str]
    hosted: tuple[str, int]
    dial_seconds: float

    def request(self, method: str, url: str, body: dict[str, t.Any] | None = None, token: str | None = None) -> Answer:
        """Send a request to a server and return the answer. Raises `UnreachableError`."""
        address = urllib.parse.urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UnreachableError(f'unsupported protocol scheme "{address.scheme}"')
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        path = urllib.parse.urlunsplit(("", "", address.path or "/", address.query, ""))
        try:
            connection = http.client.HTTPConnection(address.hostname, address.port)
            connection.sock = self._open(address)
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.read())
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as error:
            cause = _CERTIFICATE_ERRORS.get(error.verify_code, "x509: certificate signed by unknown authority")
            raise UnreachableError(cause, tls=True) from error
        except ssl.SSLEOFError as error:
            raise UnreachableError("EOF") from error
        except ssl.SSLError as error:
            raise UnreachableError(f"remote error: tls: {error.reason}", tls=True) from error
        except TimeoutError as error:
            raise UnreachableError("net/http: timeout awaiting response headers") from error
        except (http.client.IncompleteRead, ConnectionError) as error:
            raise UnreachableError("unexpected EOF") from error
        except (http.client.HTTPException, OSError) as error:
            raise UnreachableError(f"malformed HTTP response: {error}") from error

    def _open(self, address: urllib.parse.SplitResult) -> socket.socket:
        """Return a connected socket for requests to the server."""
        name = address.hostname or ""
        port = address.port or (443 if address.scheme == "https" else 80)
        proxy = self._proxy(address.scheme, name)
        if proxy is None:
            plain = self._dial(name, port)
        else:
            plain = self._dial(proxy.hostname or "", proxy.port or 3128)
            if address.scheme == "https":
                _tunnel(plain, proxy, f"{name}:{port}")
        plain.settimeout(_ANSWER_SECONDS)
        if address.scheme == "http":
            return plain
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.certificates:
            context.load_verify_locations(cadata=self.certificates)
        return context.wrap_socket(plain, server_hostname=name)

    def _proxy(self, scheme: str, name: str) -> urllib.parse.SplitResult | None:
        proxy = self.settings.get(f"{scheme}-proxy", "")
        excluded = [part.strip() for part in self.settings.get("no-proxy", "").split(",") if part.strip()]
        if not proxy or any(name == part or name.endswith(f".{part.lstrip('.')}") for part in excluded):
            return None
        address = urllib.parse.urlsplit(proxy)
        if address.scheme != "http":
            raise UnreachableError(f"proxyconnect tcp: the lab has no proxies of scheme {address.scheme}")
        return address

    def _dial(self, name: str, port: int) -> socket.socket:
        place = (self._address(name), port)
        if name in HOSTED_NAMES and port == 443:
            place = self.hosted
        try:
            return socket.create_connection(place, timeout=self.dial_seconds)
        except TimeoutError as error:
            raise UnreachableError(f"dial tcp {place[0]}:{place[1]}: i/o timeout") from error
        except OSError as error:
            raise UnreachableError(f"dial tcp {place[0]}:{place[1]}: connect: connection refused") from error

    def _address(self, name: str) -> str:
        """Resolve a name with the files of the host: no request leaves this machine."""
        found = self.names.get(name, name) if self.online else name
        try:
            local = ipaddress.ip_address(found).is_loopback
        except ValueError:
            cause = f"dial tcp: lookup {name} on 127.0.0.53:53: no such host"
            raise UnreachableError(cause) from None
        if not local or not self.online:
            raise UnreachableError(f"dial tcp {found}: connect: network is unreachable")
        return found


def _tunnel(plain: socket.socket, proxy: urllib.parse.SplitResult, target: str) -> None:
    """Open a tunnel through a proxy."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        user = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode()}")
    plain.sendall("\r\n".join([*lines, "", ""]).encode())
    received = b""
    while b"\r\n\r\n" not in received and len(received) < 65536:
        part = plain.recv(1)
        if not part:
            break
        received += part
    status = received.split(b"\r\n", 1)[0].decode(errors="replace").split(" ", 1)[-1]
    if not status.startswith("200"):
        raise UnreachableError(f"proxyconnect tcp: {status}" if status else "proxyconnect tcp: EOF")


def host_network(host: Description, client: Client, root: Path, server: str) -> HostNetwork:
    """Return the network access that a host has at this moment."""
    names: dict[str, str] = {}
    for line in (root / "etc/hosts").read_text(encoding="utf-8", errors="replace").splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        names |= dict.fromkeys(aliases, address)
    names |= dict.fromkeys(HOSTED_NAMES, "127.0.0.1")
    trusted = (root / CERTIFICATES).read_text(encoding="utf-8", errors="replace")
    return HostNetwork(
        online=host.network,
        names=names,
        certificates="\n".join(_CERTIFICATE.findall(f"{trusted}\n{client.settings.get('ca-certs', '')}")),
        settings=client.settings,
        hosted=("127.0.0.1", urllib.parse.urlsplit(server).port or 443),
        dial_seconds=duration(client.settings.get("dial-timeout", "12s")) or 12,
    )
