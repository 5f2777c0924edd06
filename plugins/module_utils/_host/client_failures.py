# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What goes wrong when a host's client is installed, configured or enabled: each known text under one name.

The texts are those that clients of 2016 to 2024, snapd, apt and Ubuntu Pro have been seen to print; the client's own
for a used-up token is not published, so every wording that speaks of a limit of machines counts. A text that nobody
knows is passed on as it is, without what looks like a token.
"""

from __future__ import annotations

import dataclasses
import re

from .apt import LOCK_TEXTS
from .client_status import STATUS_ERRORS, plain_text

_TEXT_LIMIT = 300


@dataclasses.dataclass(frozen=True, slots=True)
class ClientFailure:
    """A failure under its name. `message` says what happened, with the host's own words, `remedy` what to do."""

    id: str
    message: str
    remedy: str


def explain(tool: str, said: str, *, timed_out: bool = False) -> ClientFailure:
    """Name a failure by what was said. `tool` is ``client``, ``snap``, ``apt`` or ``pro``: who said it.

    Text that the daemon or the server quotes may stand in any of them, so all are held against all that is known.
    """
    text = plain_text(said)
    for cause, pattern in (*_CAUSES, *STATUS_ERRORS, *_BROAD_CAUSES):
        found = pattern.search(text)
        if found:
            shown = text[0 if found.end() <= _TEXT_LIMIT else found.start() :][:_TEXT_LIMIT]
            return _failure(cause, shown)
    if timed_out:
        return _failure("timed_out", text[:_TEXT_LIMIT])
    return _failure(f"{tool}_failed", text[:_TEXT_LIMIT])


def failure(cause: str, detail: str = "") -> ClientFailure:
    """The failure of that name, where it is not known by a text."""
    return _failure(cause, detail)


def _failure(cause: str, detail: str) -> ClientFailure:
    message, remedy = _WORDS[cause]
    return ClientFailure(cause, f"{message}: {detail}" if detail else message, remedy)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_CAUSES = (
    # What the server says of a token comes first: its status (403) stands in the same text.
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
    ("socket_unavailable", _pattern(r"the daemon's socket is not there")),
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
"""Causes whose words also stand in the texts of others, which are therefore tried first."""

_RUN_AGAIN = "and run again"
_WORDS = {
    "bad_token": (
        "the server does not know this token",
        "check that the token is a Livepatch token, and one of the server that `remote-server` names",
    ),
    "machine_token_invalid": (
        "the server no longer knows this machine's registration",
        "enable the machine anew: state disabled, then state enabled with the token",
    ),
    "seats_used_up": (
        "the token has no seat left for this machine",
        "disable the client on a machine that no longer needs it, or use a token with more seats",
    ),
    "already_enabled": (
        "the client is enabled already, by somebody else in the meantime",
        "run again; if it stays so, use state disabled first",
    ),
    "no_key": ("the client was given no token", "give `token`"),
    "not_enabled": ("the client is not enabled", "use state enabled with a token"),
    "not_eligible_kernel": (
        "the client refuses this kernel",
        "install and boot a kernel that Livepatch covers: kernelops.livepatch.eligibility_info says which",
    ),
    "platform_unsupported": (
        "the client refuses this release of Ubuntu",
        "move to a covered Ubuntu LTS release, or patch this host by kernel upgrade and reboot",
    ),
    "tls_untrusted": (
        "the server's certificate is not trusted",
        "set `ca-certs` in `config` to the authority of the server, or of the proxy that inspects TLS",
    ),
    "server_unreachable": (
        "the server cannot be reached from the host",
        f"open port 443 to the server, or set `https-proxy` in `config`, {_RUN_AGAIN}",
    ),
    "server_error": ("the server is in trouble", "wait until the server is well, and run again"),
    "server_refused": ("the server refused the request", "see what it says, and check the token and `remote-server`"),
    "registration_failed": (
        "the client could not register with the server, and does not say why",
        "check the token, `remote-server` and the way to the server; the daemon's journal may say more",
    ),
    "daemon_down": (
        "the client's daemon does not answer",
        "systemctl restart snap.canonical-livepatch.canonical-livepatchd, and read its journal",
    ),
    "daemon_shutting_down": ("the client's daemon is shutting down", "wait a minute, and run again"),
    "permission_denied": ("the client's daemon may not be spoken to", "run as root: add --become"),
    "interface_not_connected": (
        "the snap may not load modules into the kernel",
        f"snap connect canonical-livepatch:kernel-module-control, {_RUN_AGAIN}",
    ),
    "apparmor": (
        "AppArmor keeps the client from running",
        "usual in nested containers: enable Livepatch on the machine below",
    ),
    "crash_lock": (
        "the client suspects the patch of an earlier crash of the kernel",
        "find the cause, remove the lock that is named, and run `canonical-livepatch refresh`",
    ),
    "setting_refused": (
        "the client refuses a setting",
        "correct `config`, or leave out what this client does not know",
    ),
    "client_failed": ("the client failed", "see what it says, and the daemon's journal"),
    "not_seeded": (
        "snapd has not finished setting itself up",
        "run again later or raise `wait_seeded`; `snap changes` on the host says what it waits for",
    ),
    "snapd_down": ("snapd does not answer", "systemctl restart snapd on the host, and run again"),
    "snapd_too_old": (
        "the archive has no snapd that is new enough",
        "enable the release's -updates pocket in the host's apt sources, and run again",
    ),
    "snapd_not_in_archive": (
        "the host's apt sources have no snapd",
        "enable the release's main and -updates pockets in the host's apt sources",
    ),
    "snap_busy": ("snapd is still busy with this snap", "wait for it (`snap changes`), and run again"),
    "channel_unknown": (
        "the snap has no such channel",
        "correct `channel`: `snap info canonical-livepatch` lists them",
    ),
    "store_unreachable": (
        "the snap store cannot be reached from the host",
        "open port 443 to the store, or set snapd's proxy: snap set system proxy.https=…",
    ),
    "snap_failed": ("snapd failed", "see what it says; `snap changes` on the host lists its steps"),
    "apt_locked": ("another process holds apt's lock", "wait until it has ended, and run again"),
    "apt_failed": ("apt-get failed", "see what it says, and put the host's packages right"),
    "socket_unavailable": (
        "the token cannot be handed over by the daemon's socket",
        "start the client's daemon, or accept the token on a command line: token_transport: cli",
    ),
    "pro_missing": (
        "the host has no Ubuntu Pro client that can attach",
        "install ubuntu-pro-client (ubuntu-advantage-tools 27 or newer)",
    ),
    "pro_token_invalid": (
        "Ubuntu Pro does not know this token",
        "check the token: a Pro token comes from https://ubuntu.com/pro and begins with C",
    ),
    "pro_already_attached": (
        "the machine is attached to Ubuntu Pro already, by somebody else in the meantime",
        "run again",
    ),
    "pro_failed": ("the Ubuntu Pro client failed", "see what it says, and /var/log/ubuntu-advantage.log on the host"),
    "file_failed": (
        "a file of this collection cannot be written on the host",
        "see what it says: room, rights, mounts",
    ),
    "timed_out": ("it took too long and was ended", "check the server and the way to it, and run again"),
    "interrupted": (
        "the host's answer broke off",
        "run again: what was done stays done, and what is missing is done then",
    ),
    "not_confirmed": (
        "every step ended well, and yet the host does not show it",
        "look at `canonical-livepatch status` and the daemon's journal on the host",
    ),
}
