# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Rules for redirects of a server: the schemes that it may name, and the servers that receive credentials."""

from __future__ import annotations

import urllib.parse

REDIRECT_LIMIT = 5

_DEFAULT_PORTS = {"http": 80, "https": 443}


class RedirectError(Exception):
    """A redirect that is not followed. The message completes the sentence "the server ..."."""


def redirect_target(url: str, location: str) -> str:
    """Return the URL to which a server redirects, without credentials. Raises `RedirectError`.

    A redirect from HTTPS to another scheme is refused before a request is made, and so is a scheme other than HTTP.
    """
    try:
        target = urllib.parse.urlsplit(urllib.parse.urljoin(url, location))
        host = target.hostname
        # The port is parsed when it is read.
        port = target.port
    except ValueError as error:
        raise RedirectError("redirects to an invalid URL") from error
    if url.startswith("https:") and target.scheme != "https":
        raise RedirectError(f"redirects from HTTPS to {target.geturl()}")
    if target.scheme not in _DEFAULT_PORTS or not host:
        raise RedirectError(f"redirects to {target.geturl()}, which is not an HTTP URL")
    host = f"[{host}]" if ":" in host else host
    return target._replace(netloc=host if port is None else f"{host}:{port}", fragment="").geturl()


def is_same_server(url: str, other: str) -> bool:
    """Return True if the credentials for one URL may be sent to the other: same host, port and scheme.

    The same host with HTTPS instead of HTTP, both with their default ports, is the same server.
    """
    one, two = _server(url), _server(other)
    return one == two or (one[1:] == ("http", 80) and two == (one[0], "https", 443))


def _server(url: str) -> tuple[str | None, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.scheme, parts.port or _DEFAULT_PORTS.get(parts.scheme)
