# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Settings of the Livepatch client: keys, defaults, valid values, and comparison of values.

Keys, defaults and limits follow the client's documentation (Livepatch Client configuration options).
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
from .._errors import LivepatchError
from .._server.kernel_support import HOSTED
from .._text import mask_credentials, mask_url
from .._time import parse_time

SERVER = "remote-server"
CERTIFICATES = "ca-certs"
PROXIES = ("http-proxy", "https-proxy")
PAID_AND_HOSTED = {"cutoff-date": (10, 11, 2), "patch-delay": (10, 11, 2)}
"""Settings for paid subscribers of the hosted service, and the first version of the client that has them."""

_SHORTEST_INTERVAL = 60
_LOG_LEVELS = ("debug", "info", "notice", "warning", "error")
_LONGEST_LINE = 1024
_LONGEST_CERTIFICATES = 262_144
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f]*")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----\s*")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?[smhdw])+")
_PART = re.compile(r"([0-9.]+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclasses.dataclass(frozen=True, slots=True)
class _Setting:
    """A setting of the client.

    `parse` validates a value and returns it as text for the client. `normalize` maps texts with the same meaning to
    equal values; it may raise `ValueError`.
    """

    default: str
    parse: c.Callable[[object, Location], str]
    normalize: c.Callable[[str], object] = str


def parse_config(given: c.Mapping[str, object], now: datetime.datetime) -> dict[str, str]:
    """Validate settings and return them as text, in the order in which the client must receive them.

    An empty value or null means the default. Raises `LivepatchError` (``config_invalid``) with the key in its message.
    """
    top = Location("config", "", {}, _invalid)
    for key in given:
        if key not in SETTINGS:
            raise top.below(str(key)).error(
                f"the client has no such setting; {nearest(str(key), SETTINGS, 'settings')}"
            )
    parsed = {}
    for key, setting in SETTINGS.items():
        if key in given:
            value, place = given[key], top.below(key)
            empty = value is None or (isinstance(value, str) and not value.strip())
            parsed[key] = "" if empty else setting.parse(value, place)
            cutoff = parse_time(parsed[key]) if key == "cutoff-date" else None
            if cutoff is not None and cutoff >= now:
                raise place.error(f"{parsed[key]} is not in the past, as the client requires")
    return parsed


def _invalid(message: str) -> LivepatchError:
    remedy = "correct `config`; the documentation of kernelops.livepatch.client lists the settings"
    return LivepatchError("config_invalid", message, remedy)


def effective(key: str, text: str | None) -> str:
    """Return the effective value: the text, or the default if the text is empty or the client has no value."""
    return text or SETTINGS[key].default


def same_value(key: str, one: str | None, other: str | None) -> bool:
    """Return True if two texts have the same meaning, apart from credentials, which hosts do not reveal."""
    values = []
    for text in (one, other):
        value = _mask(key, effective(key, text), mask="")
        try:
            values.append(SETTINGS[key].normalize(value))
        except ValueError:
            values.append(value)
    return values[0] == values[1]


def holds_secret(key: str, text: str) -> bool:
    """Return True if a value must not appear on command lines or in results."""
    return _mask(key, text) != text


def masked(key: str, text: str | None) -> str:
    """Return the effective value for results: without credentials, certificates as a digest."""
    value = effective(key, text)
    if key == CERTIFICATES and value:
        digest = hashlib.sha256(_certificates(value).encode()).hexdigest()
        return f"{value.count('-----BEGIN ')} certificate(s), SHA-256 {digest[:16]}"
    return _mask(key, value)


def _mask(key: str, text: str, mask: str = "***@") -> str:
    """Mask credentials: settings for proxies can hold passwords with any signs, and other settings any text."""
    return mask_url(text, mask) if key in (*PROXIES, "no-proxy") else mask_credentials(text, mask)


def _line(value: object, place: Location) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_LINE or not _ONE_LINE.fullmatch(value.strip()):
        raise place.error(f"expected one line of text, found {type(value).__name__}")
    return str(value.strip())


def _address(value: object, place: Location, schemes: tuple[str, ...]) -> urllib.parse.SplitResult:
    text = _line(value, place)
    expected = f"expected a URL with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    try:
        address = urllib.parse.urlsplit(text)
        usable = address.scheme in schemes and address.hostname and address.port != 0 and not re.search(r"\s", text)
    # The error quotes a part of the URL, which can be a part of the password.
    except ValueError:
        usable = False
    if not usable:
        escape = "; in a user name or password, write @ / # ? and blanks as %40 %2F %23 %3F %20" if "@" in text else ""
        raise place.error(f"{expected}, found {mask_url(text)!r:.80}{escape}")
    return address


def _server(value: object, place: Location) -> str:
    address = _address(value, place, ("https", "http"))
    if address.username is not None or address.query or address.fragment:
        raise place.error("expected a URL without user, query and fragment")
    return address.geturl().rstrip("/")


def _proxy(value: object, place: Location) -> str:
    return _address(value, place, ("http", "https", "socks5")).geturl()


def _no_proxy(value: object, place: Location) -> str:
    text = _line(value, place)
    if "@" in text:
        raise place.error("expected names of hosts, addresses or networks, without a user and a password")
    return text


def _pem(value: object, place: Location) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_CERTIFICATES:
        raise place.error("expected certificates in PEM, as text")
    if "PRIVATE KEY-----" in value:
        raise place.error("contains a private key; use only the certificate of the authority")
    blocks = _CERTIFICATE.findall(value)
    if not blocks or _CERTIFICATE.sub("", value).strip():
        raise place.error(
            "expected only certificates in PEM, beginning with -----BEGIN CERTIFICATE-----; to read a file on the "
            "controller, use lookup('ansible.builtin.file', …)"
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
        raise place.error("expected a duration greater than zero")
    return text


def _length(text: str) -> float:
    """Return the seconds of a duration such as ``1m30s``. Raises `ValueError` for anything else."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def _interval(value: object, place: Location) -> str:
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not re.fullmatch("[0-9]{1,7}", text) or 0 < int(text) < _SHORTEST_INTERVAL:
        raise place.error(f"expected minutes, at least {_SHORTEST_INTERVAL}, or 0 for never, found {value!r:.80}")
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
        # YAML parses an unquoted time. It drops the time zone after converting to UTC.
        value = value.isoformat() if value.tzinfo else f"{value.isoformat()}Z"
    text = re.sub(r"^([0-9-]{10}) ", r"\1T", str(value).strip())
    if parse_time(text) is None:
        raise place.error(f"expected a time such as 2024-10-01T12:00:00Z (RFC 3339), found {text!r:.80}")
    return text


def _normal_server(text: str) -> object:
    return text.rstrip("/").lower()


SETTINGS: t.Final[dict[str, _Setting]] = {
    # Setting the server contacts it, so proxies and certificates come first.
    "http-proxy": _Setting("", _proxy, _normal_server),
    "https-proxy": _Setting("", _proxy, _normal_server),
    "no-proxy": _Setting("", _no_proxy),
    CERTIFICATES: _Setting("", _pem, _certificates),
    "dial-timeout": _Setting("12s", _dial_timeout, _length),
    "check-interval": _Setting("60", _interval),
    "log-level": _Setting("warning", _log_level, str.lower),
    "tls-patch-download": _Setting("false", _boolean, str.lower),
    SERVER: _Setting(HOSTED, _server, _normal_server),
    "cutoff-date": _Setting("", _cutoff, lambda text: parse_time(text) or text),
    "patch-delay": _Setting("0", _duration("smhdw"), _length),
}
"""All settings, in the order in which the client must receive them."""
