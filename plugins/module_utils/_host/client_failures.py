# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Failures while a client is installed, configured, enabled or refreshed: each known text has one id.

The patterns match the output of clients of 2016 to 2024, snapd, apt and Ubuntu Pro. The client's text for a used-up
token is not published, so every text about a limit of machines counts. An unknown text is quoted, with anything that
looks like a token removed.
"""

from __future__ import annotations

import dataclasses
import re

from .._errors import LivepatchError
from .apt import LOCK_TEXTS
from .client_status import STATUS_ERRORS, plain_text

_TEXT_LIMIT = 300


@dataclasses.dataclass(frozen=True, slots=True)
class ClientFailure:
    """A failure with its id. `message` includes the text from the host; `remedy` is an imperative sentence."""

    id: str
    message: str
    remedy: str

    def as_error(self) -> LivepatchError:
        return LivepatchError(self.id, self.message, self.remedy)


def explain(tool: str, output: str, *, timed_out: bool = False) -> ClientFailure:
    """Return the failure that an output describes. `tool` printed it: ``client``, ``snap``, ``apt``, ``pro``, ``file``.

    Every tool can quote the daemon or the server, so the output is compared with all known texts.
    """
    text = plain_text(output)
    for cause, pattern in (*_CAUSES, *STATUS_ERRORS, *_BROAD_CAUSES):
        found = pattern.search(text)
        if found:
            shown = text[0 if found.end() <= _TEXT_LIMIT else found.start() :][:_TEXT_LIMIT]
            return failure(cause, shown)
    if timed_out:
        return failure("timed_out", text[:_TEXT_LIMIT])
    return failure(f"{tool}_failed", text[:_TEXT_LIMIT])


def failure(cause: str, detail: str = "") -> ClientFailure:
    """Return the failure with this id. `detail` is added to its message."""
    message, remedy = _TEXTS[cause]
    return ClientFailure(cause, f"{message}: {detail}" if detail else message, remedy)


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

_DAEMON = "snap.canonical-livepatch.canonical-livepatchd"
_READ_MESSAGE = "read the quoted output"
_TEXTS = {
    "bad_token": (
        "the server does not know this token",
        "check that the token is a Livepatch token of the server in `remote-server`",
    ),
    "machine_token_invalid": (
        "the server does not know the registration of this machine any more",
        "enable the client again: use state disabled, then state enabled with the token",
    ),
    "seats_used_up": (
        "the token has no free seat for this machine",
        "disable the client on a machine that does not need it, or use a token with more seats",
    ),
    "already_enabled": (
        "the client has been enabled by another process in the meantime",
        "run the task again; if this repeats, use state disabled first",
    ),
    "no_key": ("the client received no token", "set `token`"),
    "not_enabled": ("the client is not enabled", "use state enabled with a token"),
    "not_eligible_kernel": (
        "the client does not support this kernel",
        "install and boot a kernel that Livepatch covers; kernelops.livepatch.eligibility_info lists the requirements",
    ),
    "platform_unsupported": (
        "the client does not support this release of Ubuntu",
        "upgrade to a covered Ubuntu LTS release, or patch this host with kernel upgrades and reboots",
    ),
    "tls_untrusted": (
        "the certificate of the server is not trusted",
        "set `ca-certs` in `config` to the authority of the server, or of the proxy that inspects TLS",
    ),
    "server_unreachable": (
        "the host cannot reach the server",
        "open port 443 to the server, or set `https-proxy` in `config`, and run the task again",
    ),
    "server_error": (
        "the server reported an internal error",
        "wait until the server works again, and run the task again",
    ),
    "server_refused": (
        "the server refused the request",
        f"{_READ_MESSAGE}, and check the token and `remote-server`",
    ),
    "registration_failed": (
        "the client could not register with the server and gives no reason",
        f"check the token, `remote-server` and the network, and read `journalctl -u {_DAEMON}` on the host",
    ),
    "daemon_down": (
        "the client's daemon does not answer",
        f"restart the daemon (`systemctl restart {_DAEMON}`) and read its journal",
    ),
    "daemon_shutting_down": ("the client's daemon is shutting down", "wait a minute, and run the task again"),
    "permission_denied": ("access to the client's daemon is denied", "run as root: add --become"),
    "interface_not_connected": (
        "the snap is not allowed to load kernel modules",
        "run `snap connect canonical-livepatch:kernel-module-control` on the host, and run the task again",
    ),
    "apparmor": (
        "AppArmor prevents the client from running",
        "in a nested container, enable Livepatch on the machine that runs the container; else read `journalctl -k`",
    ),
    "crash_lock": (
        "the client refuses a patch because the kernel may have crashed with it before",
        "find the cause of the crash, remove the named lock, and run `canonical-livepatch refresh`",
    ),
    "setting_refused": (
        "the client refuses a setting",
        "correct `config`, or remove the settings that this version of the client does not have",
    ),
    "client_failed": ("the client failed", f"{_READ_MESSAGE}, and `journalctl -u {_DAEMON}` on the host"),
    "not_seeded": (
        "snapd has not finished its initialization",
        "run the task again later or increase `wait_seeded`; `snap changes` on the host shows the progress",
    ),
    "snapd_down": ("snapd does not answer", "run `systemctl restart snapd` on the host, and run the task again"),
    "snapd_too_old": (
        "the package archive has no snapd that is new enough",
        "enable the release's -updates pocket in the host's apt sources, and run the task again",
    ),
    "snapd_not_in_archive": (
        "the host's apt sources have no snapd",
        "enable the release's main and -updates pockets in the host's apt sources",
    ),
    "snap_busy": (
        "snapd is busy with another change of this snap",
        "wait until it is finished (`snap changes`), and run the task again",
    ),
    "channel_unknown": (
        "the snap has no such channel",
        "correct `channel`: `snap info canonical-livepatch` lists the channels",
    ),
    "store_unreachable": (
        "the host cannot reach the snap store",
        "open port 443 to the store, or set a proxy for snapd: `snap set system proxy.https=URL`",
    ),
    "snap_failed": ("snapd failed", f"{_READ_MESSAGE}; `snap changes` on the host lists the steps"),
    "apt_locked": ("another process holds apt's lock", "wait until it has ended, and run the task again"),
    "apt_failed": ("apt-get failed", f"{_READ_MESSAGE}, and repair the host's packages"),
    "socket_unavailable": (
        "the daemon's socket, which must receive the token, is not available",
        "start the client's daemon, or allow the token on a command line with token_transport: cli",
    ),
    "pro_missing": (
        "the host has no Ubuntu Pro client that answers `pro status --format json`",
        "install ubuntu-pro-client (ubuntu-advantage-tools 27 or newer), or use `via: livepatch`",
    ),
    "pro_token_invalid": (
        "Ubuntu Pro does not know this token",
        "check the token: a Pro token is listed on https://ubuntu.com/pro and begins with C",
    ),
    "pro_already_attached": (
        "the machine has been attached to Ubuntu Pro by another process in the meantime",
        "run the task again",
    ),
    "pro_failed": (
        "the Ubuntu Pro client failed",
        f"{_READ_MESSAGE}, and /var/log/ubuntu-advantage.log on the host",
    ),
    "file_failed": (
        "a file of this collection cannot be written on the host",
        f"{_READ_MESSAGE}, and check free space, permissions and mounts below /var/lib",
    ),
    "timed_out": (
        "the command took too long and was ended",
        "check the server and the network, and run the task again",
    ),
    "interrupted": (
        "the answer of the host is incomplete",
        "run the task again: completed steps are kept, and the missing ones are done then",
    ),
    "not_confirmed": (
        "all steps succeeded, but the host does not show the result",
        f"read `canonical-livepatch status` and `journalctl -u {_DAEMON}` on the host",
    ),
}
"""Message and remedy by id."""
