# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The configuration of the client: its keys by version, and their valid values."""

from __future__ import annotations

import datetime as dt
import re
import ssl
import urllib.parse
from collections.abc import Callable

from ..certificates import HOSTED_NAMES
from ..hosts.description import Client

HOSTED = f"https://{HOSTED_NAMES[0]}"
"""The default server of a client. In the lab, this name leads to the server of the lab."""
_LEVELS = ("debug", "info", "warning", "error")


def defaults(client: Client) -> dict[str, str]:
    """Return every key that this client knows, with its default value."""
    known = {
        "http-proxy": "",
        "https-proxy": "",
        "no-proxy": "",
        "remote-server": HOSTED,
        "ca-certs": "",
        "check-interval": "60",
    }
    if client.numbers >= (6,):
        known |= {"dial-timeout": "12s", "log-level": "warning", "tls-patch-download": "false"}
    if client.numbers >= (10, 11, 2):
        known |= {"cutoff-date": "", "patch-delay": "0"}
    return known


def setting_error(client: Client, key: str, value: str) -> str | None:
    """Return the error of the client for this key and value; None if it accepts them. An empty value clears a key."""
    if key not in defaults(client):
        return f'unknown configuration key "{key}"'
    if value and not _VALIDATORS[key](value):
        return f'invalid value for "{key}"'
    return None


def needs_payment(client: Client, key: str) -> bool:
    """Return True if the key requires a paid subscription that this enabled client does not have."""
    return key in ("cutoff-date", "patch-delay") and client.enabled and client.tier == "updates"


def duration(text: str) -> float | None:
    """Return the seconds of a Go duration such as ``12s`` or ``1m30s``; None for other texts."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:digits], rest[digits:]
        unit = next((unit for unit in units if rest.startswith(unit)), None)
        if unit is None or not number or number.count(".") > 1:
            return None
        total += float(number) * units[unit]
        rest = rest[len(unit) :]
    return total if text else None


def _is_address(*schemes: str) -> Callable[[str], bool]:
    def is_valid(value: str) -> bool:
        try:
            address = urllib.parse.urlsplit(value)
            return address.scheme in schemes and bool(address.hostname) and (address.port or 1) > 0
        except ValueError:
            return False

    return is_valid


def _is_certificates(value: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=value)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _is_interval(value: str) -> bool:
    return value.isdecimal() and (int(value) == 0 or int(value) >= 60)


def _is_past(value: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", value):
        return False
    try:
        moment = dt.datetime.fromisoformat(re.sub(r"\.\d+", "", value.upper().replace("Z", "+00:00")))
    except ValueError:
        return False
    return moment < dt.datetime.now(dt.timezone.utc)


_VALIDATORS: dict[str, Callable[[str], bool]] = {
    "http-proxy": _is_address("http", "https", "socks5"),
    "https-proxy": _is_address("http", "https", "socks5"),
    "no-proxy": lambda value: "\n" not in value,
    "remote-server": _is_address("http", "https"),
    "ca-certs": _is_certificates,
    "dial-timeout": lambda value: duration(value) is not None,
    "check-interval": _is_interval,
    "log-level": lambda value: value in _LEVELS,
    "tls-patch-download": lambda value: value in ("true", "false"),
    "cutoff-date": _is_past,
    "patch-delay": lambda value: re.fullmatch(r"0|(\d+[smhdw])+", value) is not None,
}
