# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Addresses of stores: a folder, or a PostgreSQL database as a URL of libpq."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t
import urllib.parse
from pathlib import Path

from ..._errors import LivepatchError
from ..._io import expand_user
from ..._text import mask_url, user_and_password

_SCHEMES = ("postgresql", "postgres")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>//)?")
_PORT = re.compile(r"[0-9]{1,5}")
_SECRETS = ("password", "sslpassword")
_REMEDY = (
    "use a folder, or an address such as postgresql://livepatch@db.example.com/livepatch or "
    "postgresql:///?service=livepatch"
)
_PARAMETERS = frozenset(
    (
        *("application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname", "gssencmode"),
        *("gssdelegation", "gsslib", "host", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle"),
        *("keepalives_interval", "krbsrvname", "load_balance_hosts", "options", "passfile", "port", "require_auth"),
        *("requirepeer", "service", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert"),
        *("sslcertmode", "sslcompression", "sslcrl", "sslcrldir", "sslkey", "sslmode", "sslnegotiation"),
        *("sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout", "user"),
    )
)
"""Parameters of libpq that an address may have. A password belongs to the environment or to a file."""


@dataclasses.dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """The URL of a database. As text it has no password."""

    url: str = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return self.url if self.password is None else mask_url(self.url)

    @property
    def password(self) -> str | None:
        """Return the password in the URL, to mask it, also if the URL has a fault."""
        try:
            found = urllib.parse.urlsplit(self.url).password
        except ValueError:
            found = user_and_password(self.url).partition(":")[2]
        return urllib.parse.unquote(found) if found else None


StorePlace: t.TypeAlias = Path | DatabaseAddress
"""Where a store is: its folder, absolute, or its database."""


def is_database(text: str) -> bool:
    """Return True for the address of a database, also for one with a fault, and False for a folder."""
    match = _URL.match(text)
    return match is not None and (match["scheme"].lower() in _SCHEMES or match["slashes"] is not None)


def store_place(text: str) -> StorePlace:
    """Return where a store is. Raises `LivepatchError` (``options_invalid``) for a URL that cannot be used."""
    if not is_database(text):
        return expand_user(text).absolute()
    fault = address_fault(text)
    if fault is not None:
        raise LivepatchError("options_invalid", fault, _REMEDY)
    return DatabaseAddress(text)


def address_fault(url: str) -> str | None:
    """Return what is wrong with the URL of a database. The text never has a password."""
    shown = repr(mask_url(url).partition("?")[0])
    scheme = url.partition(":")[0]
    if scheme.lower() not in _SCHEMES:
        return f"there is no store with the scheme {scheme}: {shown} is neither a folder nor postgresql://"
    if not url.startswith(f"{scheme}://") or scheme not in _SCHEMES:
        return f"{shown} does not begin with postgresql://"
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return f"{shown} has a blank; write it as %20"
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return f"{shown} is not a URL"
    if parts.fragment or "#" in url:
        return f"{shown} has a part after #; write # in a password as %23"
    return _hosts_fault(parts.netloc, shown) or _query_fault(parts.query, shown)


def _hosts_fault(netloc: str, shown: str) -> str | None:
    for host in netloc.rpartition("@")[2].split(","):
        _name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if colon and port and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
            return f"{shown} has a port that is not a number from 1 to 65535"
    if len(netloc.split("@")) > 2:
        return f"{shown} has more than one @; write @ in a password as %40"
    return None


def _query_fault(query: str, shown: str) -> str | None:
    for pair in query.split("&") if query else ():
        name = urllib.parse.unquote(pair.partition("=")[0])
        if name in _SECRETS:
            return f"{shown} has a {name} in its parameters; use the variable PGPASSWORD or the file ~/.pgpass instead"
        if name not in _PARAMETERS:
            near = difflib.get_close_matches(name, _PARAMETERS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"{shown} has a parameter that libpq does not know: {name!r:.40}{hint}"
    return None
