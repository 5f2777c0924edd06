# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Failures of commands that install, configure, enable or refresh a client, recognised by their output.

The patterns match the output of clients of 2016 to 2024, snapd, apt and Ubuntu Pro. The client's text for a used-up
token is not published, so every text about a limit of machines counts. `_decisions/causes.py` has message and remedy
for each id.
"""

from __future__ import annotations

import dataclasses
import re

from .apt import LOCK_TEXTS, reports_lock
from .client_status import STATUS_ERRORS, plain_text

_TEXT_LIMIT = 300


@dataclasses.dataclass(frozen=True, slots=True)
class ClientFailure:
    """A failure: its id, and up to 300 characters of the output on one line, with tokens removed."""

    id: str
    text: str = ""


def recognise(tool: str, output: str, *, timed_out: bool = False) -> ClientFailure:
    """Return the failure that an output describes. `tool` printed it: ``client``, ``snap``, ``apt``, ``pro``, ``file``.

    Every tool can quote the daemon or the server, so the output is compared with all known texts. Without a known text,
    the id is ``timed_out`` or names the tool.
    """
    text = plain_text(output)
    for cause, pattern in (*_CAUSES, *STATUS_ERRORS, *_BROAD_CAUSES):
        found = pattern.search(text)
        if found and (cause != "apt_locked" or reports_lock(output)):
            return ClientFailure(cause, text[0 if found.end() <= _TEXT_LIMIT else found.start() :][:_TEXT_LIMIT])
    return ClientFailure("timed_out" if timed_out else f"{tool}_failed", text[:_TEXT_LIMIT])


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_CAUSES = (
    # The server's text about a token comes first, because its status (403) is part of the same text.
    ("bad_token", _pattern(r"unknown auth-?token|invalid auth-?token")),
    ("machine_token_invalid", _pattern(r"invalid machine[ -]token")),
    (
        "seats_used_up",
        _pattern(
            r"(?:machine|device|client|seat)s?\b.{0,40}\blimit\b|\blimit\b.{0,40}\b(?:machine|device|client|seat)s?\b"
            r"|too many (?:machine|device|client)s|maximum number of (?:machine|device|client)s"
        ),
    ),
    ("already_enabled", _pattern(r"machine-token already exists")),
    ("no_key", _pattern(r"no key provided")),
    (
        "pro_token_invalid",
        _pattern(r"invalid token\. see https?://|attach.{0,60}(?:invalid|expired) (?:contract )?token"),
    ),
    ("pro_already_attached", _pattern(r"this machine is already attached")),
    ("crash_lock", _pattern(r"may have caused kernel crash|lock file .{1,300} already exists")),
    ("not_seeded", _pattern(r"too early for operation|not yet seeded")),
    ("snapd_down", _pattern(r"cannot communicate with server|dial unix [^ ]{0,100}/snapd(?:-snap)?\.socket")),
    ("snapd_too_old", _pattern(r"assumes unsupported features")),
    ("snap_busy", _pattern(r"change in progress")),
    (
        "channel_unknown",
        _pattern(r"no snap revision (?:available|on)|not available on .{1,60} but is available|invalid .{0,30}channel"),
    ),
    ("apt_locked", _pattern("|".join(map(re.escape, LOCK_TEXTS)))),
    ("snapd_not_in_archive", _pattern(r"unable to locate package|has no installation candidate")),
    ("socket_unavailable", _pattern(r"the daemon's socket does not exist")),
    ("daemon_shutting_down", _pattern(r"daemon shutting down")),
    (
        "tls_untrusted",
        _pattern(r"x509:|certificate signed by unknown authority|certificate (?:verify|verification) failed"),
    ),
    (
        "store_unreachable",
        _pattern(r"/v2/snaps/|api\.snapcraft\.io|cannot (?:install|refresh) .{0,200}(?:dial tcp|no such host)"),
    ),
)
_BROAD_CAUSES = (
    ("server_error", _pattern(r"\b(?:status|code:?) 5[0-9][0-9]\b|503 service unavailable|service unavailable")),
    (
        "server_unreachable",
        _pattern(
            r"dial tcp|no such host|connection refused|connection reset|network is unreachable|no route to host"
            r"|i/o timeout|context deadline exceeded|timeout exceeded|cannot send request|couldn't send req"
            r"|unexpected eof|: eof\b|proxyconnect|timeout awaiting|malformed http|server communication failed"
        ),
    ),
    ("server_refused", _pattern(r"\bstatus(?: code:?)? 4[0-9][0-9]\b")),
    ("registration_failed", _pattern(r"failed to register client|could not retrieve client information")),
    ("not_enabled", _pattern(r"machine is not enabled")),
    (
        "setting_refused",
        _pattern(r"executing config|unknown (?:config|key|setting)|invalid (?:config|key|setting|value)"),
    ),
)
"""Causes whose patterns also match texts of other causes. They are tried last."""
