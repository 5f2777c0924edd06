# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Targets of notifications: webhooks of chats and others, and mail. Their URLs and passwords are secrets."""

from __future__ import annotations

import base64
import collections.abc as c
import dataclasses
import difflib
import re
import typing as t
import urllib.parse

from .._errors import LivepatchError
from .._text import visible

WEBHOOKS = ("webhook", "slack", "teams", "mattermost")
MAIL = "mail"
TYPES = (*WEBHOOKS, MAIL)
CONDITIONS = ("changes", "failure", "always")
SECURITIES = ("starttls", "tls", "none")

MOST_TARGETS = 20
TIMEOUT = 15
_LONGEST_TIMEOUT = 120
_PORTS = {"starttls": 587, "tls": 465, "none": 25}

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,255}")
_HOST = re.compile(r"[0-9A-Za-z._:\[\]-]{1,255}")
_SECRET_PART = 5  # characters from which on a part of a URL is hidden
_MASK = "***"

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "type": {"type": "str", "choices": list(TYPES), "required": True},
    "name": {"type": "str"},
    "when": {"type": "str", "choices": list(CONDITIONS), "default": "changes"},
    "required": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": TIMEOUT},
    "url": {"type": "str", "no_log": True},
    "authorization": {"type": "str", "no_log": True},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "security": {"type": "str", "choices": list(SECURITIES), "default": "starttls"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "from": {"type": "str"},
    "to": {"type": "list", "elements": "str"},
}
"""Options of one target in the module."""

_COMMON = {"type", "name", "when", "required", "timeout"}
_OF_WEBHOOKS = {"url", "authorization"}
_OF_MAIL = {"host", "port", "security", "user", "password", "from", "to"}


@dataclasses.dataclass(frozen=True, repr=False)
class Target:
    """A target with valid options. It has no `repr`, because that would show its secrets."""

    type: str
    name: str
    when: str
    required: bool
    timeout: int
    url: str = ""
    authorization: str = ""
    host: str = ""
    port: int = 0
    security: str = "starttls"
    user: str = ""
    password: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()

    def hide(self, text: str) -> str:
        """Return a text without the secrets of the target: the URL except its server, and what is sent to log in."""
        if self.url:
            place = urllib.parse.urlsplit(self.url)
            text = text.replace(self.url, f"{place.scheme}://{place.netloc.rpartition('@')[2]}/{_MASK}")
        for secret in self._secrets():
            text = text.replace(secret, _MASK)
        return text

    def _secrets(self) -> list[str]:
        found = {self.password, self.authorization, *self.authorization.split()[1:], self.url}
        url = urllib.parse.urlsplit(self.url)
        found |= {url.path, url.query, url.fragment, f"{url.path}?{url.query}"}
        parts = [*url.path.split("/"), *re.split(r"[&=]", url.query), url.fragment, url.username, url.password]
        found |= {part for part in parts if part and len(part) >= _SECRET_PART}
        found |= {*_sent(self.user, self.password), *_sent(url.username, url.password)}
        found |= {urllib.parse.unquote(part) for part in found}
        return sorted(found - {"", "/", "?", "/?"}, key=len, reverse=True)


def _sent(user: str | None, password: str | None) -> c.Iterator[str]:
    """Yield the forms in which HTTP and SMTP send a user and a password: a server can repeat them in its answer."""
    if user and password:
        user, password = urllib.parse.unquote(user), urllib.parse.unquote(password)
        for text in (f"{user}:{password}", f"\0{user}\0{password}", password):
            yield base64.b64encode(text.encode(errors="backslashreplace")).decode("ascii")


def target_faults(value: object) -> list[str]:
    """Return what is wrong with a list of targets. No text has a secret."""
    if not isinstance(value, (list, tuple)):
        return ["expected a list of targets, each a mapping with type"]
    if len(value) > MOST_TARGETS:
        return [f"there are {len(value)} targets, and at most {MOST_TARGETS} are allowed"]
    return [f"target {number}: {fault}" for number, entry in enumerate(value, 1) for fault in _faults(entry)]


def parse_targets(value: c.Sequence[c.Mapping[str, t.Any]]) -> tuple[Target, ...]:
    """Return the targets of an option. Raises `LivepatchError` (``options_invalid``)."""
    given = [{key: each for key, each in entry.items() if each is not None} for entry in value]
    # The module fills in the defaults of all types.
    given = [
        {key: each for key, each in entry.items() if key != "security" or entry["type"] == MAIL} for entry in given
    ]
    faults = target_faults(given)
    if faults:
        raise LivepatchError("options_invalid", f"notify: {'; '.join(faults)}", "correct the targets in notify")
    return tuple(map(_target, given))


def _target(entry: c.Mapping[str, t.Any]) -> Target:
    security = entry.get("security", "starttls")
    address = entry.get("host") or urllib.parse.urlsplit(entry.get("url", "")).hostname or ""
    recipients = entry.get("to", ())
    return Target(
        type=entry["type"],
        name=visible(str(entry.get("name") or f"{entry['type']} {address}")),
        when=entry.get("when", "changes"),
        required=bool(entry.get("required", False)),
        timeout=int(entry.get("timeout", TIMEOUT)),
        url=entry.get("url", ""),
        authorization=entry.get("authorization", ""),
        host=entry.get("host", ""),
        port=int(entry.get("port") or _PORTS[security]),
        security=security,
        user=entry.get("user", ""),
        password=str(entry.get("password", "")),
        sender=entry.get("from", ""),
        recipients=tuple(recipients.split(",") if isinstance(recipients, str) else recipients),
    )


def _faults(entry: object) -> c.Iterator[str]:
    if not isinstance(entry, dict):
        yield "expected a mapping with type"
        return
    kind = entry.get("type")
    if kind not in TYPES:
        yield f"type is missing; use one of {', '.join(TYPES)}" if kind is None else _choice("type", kind, TYPES)
        return
    known = _COMMON | (_OF_MAIL if kind == MAIL else _OF_WEBHOOKS)
    strangers = [str(key) for key in entry if key not in known]
    yield from (_stranger(key, kind, known) for key in strangers)
    for name, choices in (("when", CONDITIONS), ("security", SECURITIES)):
        if name in known and entry.get(name, choices[0]) not in choices:
            yield _choice(name, entry[name], choices)
    yield from _number("timeout", entry.get("timeout", TIMEOUT), _LONGEST_TIMEOUT)
    if str(entry.get("required", False)).lower() not in ("true", "false", "yes", "no", "on", "off", "0", "1"):
        yield "required is neither true nor false"
    yield from _mail_faults(entry) if kind == MAIL else _webhook_faults(entry)


def _stranger(key: str, kind: str, known: c.Collection[str]) -> str:
    if key in ARGUMENTS:
        return f"{key} has no meaning for the type {kind}"
    near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"there is no key {visible(key)!r:.40}{f'; did you mean {near[0]!r}?' if near else ''}"


def _choice(name: str, value: object, choices: c.Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name} is {visible(str(value))!r:.40}, and must be one of {', '.join(choices)}{hint}"


def _number(name: str, value: object, most: int) -> c.Iterator[str]:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
        yield f"{name} is not a whole number from 1 to {most}"


def _webhook_faults(entry: dict[str, t.Any]) -> c.Iterator[str]:
    url = entry.get("url")
    if not url:
        yield "url is missing"
    elif not _is_url(url):
        yield "url is not a URL with https:// or http://, and a host (its value is a secret and not shown)"
    if not _is_line(entry.get("authorization", "")):
        yield "authorization is not one line of text"


def _is_url(value: object) -> bool:
    try:
        url = urllib.parse.urlsplit(str(value))
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and _is_line(value)
    except ValueError:
        return False


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and (not value or value.isprintable())


def _mail_faults(entry: dict[str, t.Any]) -> c.Iterator[str]:
    host = entry.get("host")
    if not host or not _HOST.fullmatch(str(host)):
        yield f"host is {'missing' if not host else 'not the name of a server'}"
    if "port" in entry:
        yield from _number("port", entry["port"], 65_535)
    recipients = entry.get("to") or []
    recipients = recipients.split(",") if isinstance(recipients, str) else recipients
    for name, addresses in (("from", [entry.get("from")]), ("to", recipients or [None])):
        for address in addresses if isinstance(addresses, (list, tuple)) else [addresses]:
            if not address:
                yield f"{name} is missing"
            elif not _ADDRESS.fullmatch(str(address)) or not str(address).isascii():
                yield f"{name} has {visible(str(address))!r:.60}, which is not an address such as team@example.com"
    if bool(entry.get("user")) != bool(entry.get("password")):
        yield "user and password are used together, and one of them is missing"
    if entry.get("user") and entry.get("security") == "none":
        yield "security is none, so that the password would be sent unencrypted; use starttls or tls"
