# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The settings of the livepatch client: which there are, what they may hold, and when two values are the same.

Keys, defaults and limits are those of the client's documentation (Livepatch Client configuration options).
"""

from __future__ import annotations

import base64
import binascii
import collections.abc as c
import dataclasses
import datetime
import hashlib
import re
import typing as t
import urllib.parse

from .._config_file import Location, choice, nearest
from .._server.kernel_support import HOSTED
from .._text import mask_credentials
from .._time import parse_time

SERVER = "remote-server"
CERTIFICATES = "ca-certs"
PROXIES = ("http-proxy", "https-proxy")
PAID_AND_HOSTED = {"cutoff-date": (10, 11, 2), "patch-delay": (10, 11, 2)}
"""Settings that only paid subscribers of the hosted service have, and the first client that knows them."""

_LEAST_INTERVAL = 60
_LOG_LEVELS = ("debug", "info", "notice", "warning", "error")
_LONGEST = 1024
_MOST_CERTIFICATES = 262_144
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f]*")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----\s*")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?[smhdw])+")
_PART = re.compile(r"([0-9.]+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class ConfigError(ValueError):
    """A setting that the client does not have, or a value that it cannot hold; the message names the key."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Setting:
    """`check` turns a value into the text that the client is given; `same` makes of texts with one meaning one."""

    default: str
    check: c.Callable[[object, Location], str]
    same: c.Callable[[str], object] = str


def wanted_config(given: c.Mapping[str, object], now: datetime.datetime) -> dict[str, str]:
    """The settings of a task, checked, in the order in which the client must get them.

    An empty value (or null) stands for the default. Raises `ConfigError`.
    """
    top = Location("config", "", {}, ConfigError)
    for key in given:
        if key not in SETTINGS:
            raise top.below(str(key)).error(
                f"the client has no such setting; {nearest(str(key), SETTINGS, 'settings')}"
            )
    checked = {}
    for key, setting in SETTINGS.items():
        if key in given:
            value, place = given[key], top.below(key)
            empty = value is None or (isinstance(value, str) and not value.strip())
            checked[key] = "" if empty else setting.check(value, place)
            cutoff = parse_time(checked[key]) if key == "cutoff-date" else None
            if cutoff is not None and cutoff >= now:
                raise place.error(f"{checked[key]} is not in the past, and the client takes no other")
    return checked


def effective(key: str, text: str | None) -> str:
    """What a setting amounts to: its text, or the default where it is empty or the client does not have it."""
    return text or SETTINGS[key].default


def same_value(key: str, one: str | None, other: str | None) -> bool:
    """Whether two texts set the same. Credentials in them do not count, for a host does not tell its own."""
    values = []
    for text in (one, other):
        value = mask_credentials(effective(key, text), mask="")
        try:
            values.append(SETTINGS[key].same(value))
        except ValueError:
            values.append(value)
    return values[0] == values[1]


def holds_secret(key: str, text: str) -> bool:
    """Whether a value must be kept off command lines and out of results."""
    return key in PROXIES and mask_credentials(text) != text


def shown(key: str, text: str | None) -> str:
    """A value as it may be shown to anybody."""
    value = effective(key, text)
    if key == CERTIFICATES and value:
        digest = hashlib.sha256(_certificates(value).encode()).hexdigest()
        return f"{value.count('-----BEGIN ')} certificate(s), SHA-256 {digest[:16]}"
    return mask_credentials(value)


def _line(value: object, place: Location) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not _ONE_LINE.fullmatch(value.strip()):
        raise place.error(f"expected one line of text, found {type(value).__name__}")
    return str(value.strip())


def _address(value: object, place: Location, schemes: tuple[str, ...]) -> urllib.parse.SplitResult:
    text = _line(value, place)
    expected = f"expected a URL with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    try:
        address = urllib.parse.urlsplit(text)
        port = address.port
    except ValueError as error:
        raise place.error(f"{expected}: {error}") from None
    if address.scheme not in schemes or not address.hostname or port == 0 or re.search(r"\s", text):
        raise place.error(f"{expected}, found {mask_credentials(text)!r:.80}")
    return address


def _server(value: object, place: Location) -> str:
    address = _address(value, place, ("https", "http"))
    if address.username is not None or address.query or address.fragment:
        raise place.error("the server's URL has no user, no query and no fragment")
    return address.geturl().rstrip("/")


def _proxy(value: object, place: Location) -> str:
    return _address(value, place, ("http", "https", "socks5")).geturl()


def _pem(value: object, place: Location) -> str:
    if not isinstance(value, str) or len(value) > _MOST_CERTIFICATES:
        raise place.error("expected certificates in PEM, as text")
    if "PRIVATE KEY-----" in value:
        raise place.error("this holds a private key; give the authority's certificate alone")
    blocks = _CERTIFICATE.findall(value)
    if not blocks or _CERTIFICATE.sub("", value).strip():
        raise place.error(
            "expected certificates in PEM and nothing else, from -----BEGIN CERTIFICATE----- on; for a file on the "
            "controller use lookup('ansible.builtin.file', …)"
        )
    for number, block in enumerate(blocks, 1):
        try:
            content = base64.b64decode("".join(block.split()), validate=True)
        except (ValueError, binascii.Error):
            content = b""
        # A certificate is an ASN.1 SEQUENCE (RFC 5280, 4.1).
        if content[:1] != b"\x30":
            raise place.error(f"certificate {number} is damaged")
    return f"{_certificates(value)}\n"


def _certificates(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines() if line.strip())


def _duration(units: str) -> c.Callable[[object, Location], str]:
    def check(value: object, place: Location) -> str:
        text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if text == "0":
            return text
        if not _DURATION.fullmatch(text) or set(re.findall("[a-z]", text)) - set(units):
            raise place.error(
                f"expected a duration such as 12{units[0]}, in the units {', '.join(units)}, found {value!r:.80}"
            )
        return text

    return check


def _dial_timeout(value: object, place: Location) -> str:
    text = _duration("smh")(value, place)
    if _length(text) <= 0:
        raise place.error("expected a duration of more than nothing")
    return text


def _length(text: str) -> float:
    """The seconds of a duration such as ``1m30s``. Raises `ValueError` for anything else."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def _interval(value: object, place: Location) -> str:
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not re.fullmatch("[0-9]{1,7}", text) or 0 < int(text) < _LEAST_INTERVAL:
        raise place.error(f"expected minutes, at least {_LEAST_INTERVAL}, or 0 for never; found {value!r:.80}")
    return str(int(text))


def _log_level(value: object, place: Location) -> str:
    return choice(value.strip().lower() if isinstance(value, str) else value, place, _LOG_LEVELS)


def _boolean(value: object, place: Location) -> str:
    word = str(value).strip().lower()
    if not isinstance(value, (bool, str)) or word not in ("true", "false", "yes", "no"):
        raise place.error(f"expected true or false, found {value!r:.80}")
    return "true" if word in ("true", "yes") else "false"


def _cutoff(value: object, place: Location) -> str:
    if isinstance(value, datetime.datetime):
        # YAML makes this of what is not quoted, in UTC where it takes the zone away.
        value = value.isoformat() if value.tzinfo else f"{value.isoformat()}Z"
    text = re.sub(r"^([0-9-]{10}) ", r"\1T", str(value).strip())
    if parse_time(text) is None:
        raise place.error(f"expected a time such as 2024-10-01T12:00:00Z (RFC 3339), found {text!r:.80}")
    return text


def _same_server(text: str) -> object:
    return text.rstrip("/").lower()


SETTINGS: t.Final[dict[str, _Setting]] = {
    # Setting the server contacts it: the way to it and the trust in it come before.
    "http-proxy": _Setting("", _proxy, _same_server),
    "https-proxy": _Setting("", _proxy, _same_server),
    "no-proxy": _Setting("", _line),
    CERTIFICATES: _Setting("", _pem, _certificates),
    "dial-timeout": _Setting("12s", _dial_timeout, _length),
    "check-interval": _Setting("60", _interval),
    "log-level": _Setting("warning", _log_level, str.lower),
    "tls-patch-download": _Setting("false", _boolean, str.lower),
    SERVER: _Setting(HOSTED, _server, _same_server),
    "cutoff-date": _Setting("", _cutoff, lambda text: parse_time(text) or text),
    "patch-delay": _Setting("0", _duration("smhdw"), _length),
}
"""Every setting, in the order in which the client must get them."""
