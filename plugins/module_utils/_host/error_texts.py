# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of error texts: who prints them, the id of their cause, and an example of each with its source.

The same words have different causes if different programs print them. A certificate that the client refuses is that of
the livepatch server, and one that snapd refuses is that of the snap store. So the text decides first who can have
printed it (`speakers`), and then the first row of the table that one of them can print counts. Patterns are families
where the wording varies between versions: status codes of HTTP, network errors of Go, errors of certificates.

Texts are on one line, without tokens (`client_status.plain_text`). `_decisions/causes.py` has the message and the
remedy of each id.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .apt import LOCK_EXCEPTIONS, LOCK_TEXTS

Speaker = t.Literal["client", "livepatch_server", "snap_run", "snapd", "store", "pro", "contract_server", "apt", "file"]
"""``snap_run`` is snapd where it prints an error instead of the client that it should start."""


class Example(t.NamedTuple):
    """A text that `tool` printed, with shortened addresses and without tokens, and where it was published."""

    tool: str
    text: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorText:
    """A row: texts of some speakers with the same cause `id`.

    A text that matches `unless` too is another one. `is_status` is True if the client, or ``snap run`` instead of it,
    prints the text in place of a status.
    """

    id: str
    speakers: frozenset[str]
    pattern: re.Pattern[str]
    examples: tuple[Example, ...]
    is_status: bool = False
    unless: re.Pattern[str] | None = None


TEMPORARY = frozenset(
    {
        "apt_locked",
        "contract_server_error",
        "daemon_shutting_down",
        "not_seeded",
        "pro_already_attached",
        "pro_busy",
        "server_error",
        "snap_busy",
        "snapd_restarting",
        "store_error",
    }
)
"""Causes that end without a change by an operator, so that the command can be repeated."""


def speakers(tool: str, text: str) -> frozenset[str]:
    """Return who can have printed a text in the output of ``client``, ``snap``, ``pro``, ``apt`` or ``file``.

    The client quotes its server, snap quotes the store, and pro quotes all the others.
    """
    found = set(_SPEAKERS_OF[tool])
    if tool == "pro":
        found.update(*(_SPEAKERS_OF[quoted] for quoted, mark in _QUOTES.items() if mark.search(text)))
    if "snapd" in found and _STORE_MARK.search(text):
        found.add("store")
    if "pro" in found and _CONTRACT_MARK.search(text):
        found.add("contract_server")
    return frozenset(found)


def find_error(tool: str, text: str, *, status: bool = False) -> tuple[ErrorText, re.Match[str]] | None:
    """Return the first row that a text matches, and the match. With `status`, only rows with `is_status` count."""
    possible = speakers(tool, text)
    for row in ERROR_TEXTS:
        if row.speakers & possible and (row.is_status or not status):
            found = row.pattern.search(text)
            if found and not (row.unless and row.unless.search(text)):
                return row, found
    return None


def _row(
    identifier: str,
    speaking: str,
    alternatives: c.Sequence[str],
    *examples: tuple[str, str, str],
    is_status: bool = False,
    unless: c.Sequence[str] = (),
) -> ErrorText:
    """Build a row. `speaking` lists the speakers; `alternatives` are joined, and compared without case."""
    return ErrorText(
        identifier,
        frozenset(speaking.split()),
        re.compile("|".join(alternatives), re.IGNORECASE),
        tuple(Example(*example) for example in examples),
        is_status,
        re.compile("|".join(unless), re.IGNORECASE) if unless else None,
    )


_SPEAKERS_OF: dict[str, tuple[Speaker, ...]] = {
    "client": ("client", "livepatch_server", "snap_run"),
    "snap": ("snapd",),
    "pro": ("pro",),
    "apt": ("apt",),
    "file": ("file",),
}
_QUOTES = {
    "client": re.compile(
        r"canonical-livepatch['\" ]{1,3}(?:enable|config|disable|status)|unable to (?:enable|configure) livepatch",
        re.IGNORECASE,
    ),
    "snap": re.compile(
        r"unable to install livepatch client|\bsnap (?:install|refresh|wait|set)\b|\bsnapd\b|snap store", re.IGNORECASE
    ),
    "apt": re.compile(r"\bapt(?:-get)?\b|\bdpkg\b", re.IGNORECASE),
}
_STORE_MARK = re.compile(
    r"snapcraft\.io|snapcraftcontent\.com|/v2/snaps/(?:refresh|info|find|download)|\bstore\b|/assertions/"
    r"|unexpected http (?:response|status) code|cannot (?:install|refresh|download|fetch|query) .{0,300}https?://",
    re.IGNORECASE,
)
_CONTRACT_MARK = re.compile(
    r"contracts?[a-z.-]{0,20}\.canonical\.com|contract server|authentication server|canonical servers"
    r"|failed to (?:access|connect to) (?:url:? )?https?://|error connecting to https?://|proxy authentication failed",
    re.IGNORECASE,
)

_CODE = (
    r"\b(?:status|code|http(?:/[0-9.]{{1,3}})?|response|error|returned|https?://[^ ]{{1,300}})[ :=(\"]{{1,4}}"
    r"(?:(?:status|code|http|error)[ :=(]{{1,3}}){{0,2}}(?:{})\b"
)
_UNAVAILABLE = (
    _CODE.format("5[0-9][0-9]|408|425|429"),
    (
        r"internal server error|bad gateway|gateway time-?out|service (?:is )?(?:temporarily )?unavailable"
        r"|too many requests|rate limit|(?<!resource )temporarily unavailable|server overloaded"
    ),
)
"""Answers of a server that works again later, or that limits the number of requests."""
_PROXY = (
    _CODE.format("407"),
    r"proxy authentication (?:required|failed)|proxyconnect|socks connect|is not working\. not setting as proxy",
)
_REFUSED = (_CODE.format("40[0-69]|4[1-9][0-9]"), r"\bforbidden\b", r"access denied by server")
_CLOCK = (
    r"certificate has expired or is not yet valid",
    r"current time [^ ]{1,40} is (?:before|after)",
    r"certificate (?:is )?(?:not yet valid|has expired|expired)",
)
_OTHER_NAME = (
    r"certificate is (?:not )?valid for",
    r"cannot validate certificate for",
    r"doesn't contain any ip sans",
    r"hostname .{1,100} doesn't match",
)
_UNTRUSTED = (
    r"x509:",
    r"signed by unknown authority",
    r"certificate (?:verify|verification) failed",
    r"certificate_verify_failed",
    r"cannot verify certificate",
    r"failed to verify certificate",
    r"self[- ]signed certificate",
    r"tls: (?:unknown|bad) certificate",
)
_UNREACHABLE = (
    r"dial (?:tcp|udp)",
    r"no such host|server misbehaving|name resolution|name or service not known|could not resolve",
    r"connection (?:refused|reset|timed out)|reset by peer|broken pipe",
    r"network is (?:unreachable|down)|no route to host|host is (?:down|unreachable)|network error",
    r"i/o timeout|deadline exceeded|timeout exceeded|handshake timeout|client\.timeout|timeout awaiting|timed out",
    r"cannot send request|couldn't send req|server communication failed|request cancell?ed",
    r"unexpected eof|: eof\b|malformed http|first record does not look like a tls handshake|tls: handshake failure",
    r"server gave http response to https client",
    r"cannot assign requested address",
)
_DIAL = r"dial unix (?![^ ]{0,100}/snapd(?:-snap)?\.socket)[^ ]{1,200} (?:connect: )?"

_FORUM = "ubuntuforums.org"
_PRO = "canonical/ubuntu-pro-client, uaclient/messages"
_DAEMON_ROWS = (
    _row(
        "interface_not_connected",
        "client snap_run",
        [r"kernel-module-control interface not connected"],
        ("client", "Snappy kernel-module-control interface not connected!", f"{_FORUM} 2016-10-19"),
        is_status=True,
    ),
    _row(
        "permission_denied",
        "client snapd",
        [rf"{_DIAL}permission denied", r"access denied \(try with sudo\)"],
        (
            "client",
            (
                "error executing config: cannot connect to the daemon: Put http://127.0.0.1/config: dial unix"
                " /var/snap/canonical-livepatch/95/livepatchd-priv.sock: connect: permission denied"
            ),
            "in the form of the clients of 2019",
        ),
        ("snap", "error: access denied (try with sudo)", "snapd"),
        is_status=True,
    ),
    _row(
        "daemon_down",
        "client",
        [
            r"(?:connection|connect) to the daemon failed|cannot connect to the daemon",
            rf"{_DIAL}(?:no such file or directory|connection refused)",
            r"/livepatchd(?:-priv)?\.sock: .{0,40}(?:reset|refused|broken pipe|eof\b)",
        ],
        (
            "client",
            (
                "Connection to the daemon failed: Get http://127.0.0.1/status?verbose=false: dial unix"
                " /var/snap/canonical-livepatch/15/livepatchd.sock: connect: no such file or directory"
            ),
            f"{_FORUM} 2016-10-19",
        ),
        (
            "client",
            (
                'error executing enable: cannot connect to the daemon: Put "http://127.0.0.1/enable": dial unix'
                " /var/snap/canonical-livepatch/95/livepatchd-priv.sock: connect: connection refused"
            ),
            "in the form of current clients",
        ),
        is_status=True,
    ),
    _row(
        "daemon_shutting_down",
        "client",
        [r"daemon (?:is )?shutting down"],
        ("client", "error executing config: livepatchd error: daemon shutting down", f"{_FORUM} 57040215723"),
        is_status=True,
    ),
    _row(
        "not_eligible_kernel",
        "client livepatch_server",
        [
            r"not eligible for livepatch",
            r"unsupported kernel",
            r"\bkernel\b(?!-| module)[^:;]{0,80}?\b(?:is|are) (?:not (?:supported|covered)|unsupported)\b",
            r"\bkernel \"?[0-9][^ ]{1,100} (?:not supported|unsupported)|not supported by livepatch",
            r"kernel needs apparmor .{0,20}compatibility patch",
        ],
        (
            "client",
            'cannot use livepatch: your kernel "4.15.0-1010-kvm" is not eligible for livepatch updates',
            "canonical/ubuntu-pro-client, tests/fakes.py",
        ),
        ("client", "error executing enable: unsupported kernel", "ERROR_MSG_MAP of canonical/ubuntu-pro-client"),
        ("client", "your kernel 4.15.0-9-kvm is not supported", "in the form of the clients of 2018"),
        (
            "pro",
            "Unable to enable Livepatch: Your running kernel is not supported by Livepatch.",
            "ERROR_MSG_MAP of canonical/ubuntu-pro-client",
        ),
        ("client", "Kernel needs AppArmor 2.4 compatibility patch", f"{_FORUM} 2016-10-21"),
        is_status=True,
    ),
    _row(
        "platform_unsupported",
        "client livepatch_server",
        [
            r"platform .{1,100}? (?:is )?(?:not supported|unsupported)",
            r"only ubuntu .{1,60}? (?:is|are) supported",
            r"\b(?:release|distribution|series|ubuntu [0-9.]{4,8}(?: lts)?)\b.{0,60}? is not supported",
            r"unsupported (?:platform|release|distribution|series|ubuntu)|not supported on (?:this|ubuntu)",
        ],
        ("client", "livepatchd error: The platform Ubuntu 22.10 is not supported.", f"{_FORUM} 2024-05-27"),
        ("client", "Only Ubuntu 16.04 LTS is supported, exiting.", f"{_FORUM} 2017-02-23"),
        is_status=True,
    ),
    _row(
        "tainted_modules",
        "client",
        [r"tainted modules?|modules? .{0,30}\btaint(?:s|ed|ing)? the kernel"],
        ("client", "System contains non-livepatch tainted modules.", "canonical/livepatch-docs"),
        is_status=True,
    ),
    _row(
        "apparmor",
        "client snap_run snapd",
        [r"apparmor|aa_change_onexec"],
        (
            "client",
            (
                "cannot change apparmor hat of the support process for mount namespace capture. errmsg: Operation not"
                " permitted"
            ),
            "canonical/ubuntu.com#1034",
        ),
        ("client", "aa_change_onexec failed with -1. errmsg: No such file or directory", "canonical/snapd#2489"),
        is_status=True,
    ),
)

_SNAPD_ROWS = (
    _row(
        "snapd_kernel_unsupported",
        "snapd snap_run apt",
        [
            r"reboot into an? [0-9.]{1,8} kernel",
            r"cannot perform readlinkat\(\) on the mount namespace",
            r"does not fully support snapd|squashfs .{0,60}(?:unknown filesystem|not supported)",
        ],
        ("snap", "error: you need to reboot into a 4.4 kernel to start using snapd", "canonical/ubuntu-pro-client#30"),
        (
            "client",
            "cannot perform readlinkat() on the mount namespace file descriptor of the init process",
            "canonical/ubuntu-pro-client#312",
        ),
        is_status=True,
    ),
    _row(
        "not_seeded",
        "snapd snap_run",
        [r"too early for operation|not yet seeded|device not (?:fully )?seeded"],
        (
            "snap",
            "error: too early for operation, device not yet seeded or device model not acknowledged",
            "canonical/snapd",
        ),
        is_status=True,
    ),
    _row(
        "snapd_restarting",
        "snapd snap_run",
        [
            r"(?:snapd|daemon|system) is (?:about to |being )?(?:restart|reboot|stopp|shut)",
            r"waiting for (?:snapd|the system) to restart",
        ],
        ("snap", "error: cannot communicate with server: daemon is restarting", "canonical/snapd, client/errors.go"),
        is_status=True,
    ),
    _row(
        "snapd_down",
        "snapd snap_run pro",
        [
            r"cannot communicate with server|could not reach the snapd api|exceeded while waiting for response",
            r"dial unix [^ ]{0,100}/snapd(?:-snap)?\.socket",
        ],
        (
            "snap",
            (
                'error: cannot communicate with server: Post "http://localhost/v2/snaps/canonical-livepatch": dial unix'
                " /run/snapd.socket: connect: no such file or directory"
            ),
            "arakasi72/rtinst#572",
        ),
        ("pro", "Could not reach the SNAPD API", _PRO),
        is_status=True,
    ),
    _row(
        "not_executable",
        "snap_run",
        [
            r"snap-confine|snap-exec|snap-update-ns|snap-discard-ns|snap-seccomp",
            r"cannot find (?:installed snap|current revision)|cannot locate base snap|cannot snap-exec",
            r'snap "?[^ ]{1,60} is not installed|(?<!no )\bsnap run\b',
            r"internal error, please report: running",
            r"mount namespace|user[- ]data directory|is not a snap cgroup|dropping privs did not work",
            r"cannot open path of the current working directory|home directories outside of /home|/run/snapd/lock",
            r"canonical-livepatch[^ ]{0,2}: (?:command )?(?:not found|no such file|permission denied|cannot execute)",
            r"canonical-livepatch[^ ]{0,2}: input/output error|failed to run command .{0,40}canonical-livepatch",
            r"error while loading shared libraries|exec format error",
        ],
        (
            "client",
            (
                "/snap/core/10773/usr/lib/snapd/snap-confine: error while loading shared libraries: libudev.so.1:"
                " failed to map segment from shared object"
            ),
            "canonical/ubuntu-pro-client#1490",
        ),
        (
            "client",
            (
                "cannot find installed snap canonical-livepatch at revision 95: missing file"
                " /snap/canonical-livepatch/95/meta/snap.yaml"
            ),
            "canonical/snapd",
        ),
        ("client", 'error: snap "canonical-livepatch" is not installed', "canonical/snapd"),
        (
            "client",
            'internal error, please report: running "canonical-livepatch" failed: cannot find installed snap',
            "canonical/snapd, cmd/snap/main.go",
        ),
        ("client", "sh: 1: /snap/bin/canonical-livepatch: not found", "dash"),
        is_status=True,
    ),
    _row(
        "snapd_too_old",
        "snapd",
        [r"assumes unsupported features", r"please (?:upgrade|update) snapd"],
        (
            "snap",
            'error: snap "canonical-livepatch" assumes unsupported features: snapd2.15 (try to upgrade snapd)',
            "canonical/snapd",
        ),
    ),
    _row(
        "snap_busy",
        "snapd",
        [r"changes? in progress|conflicting change|snap .{1,80} is busy|has running (?:apps|hooks)"],
        ("snap", 'error: snap "canonical-livepatch" has "install-snap" change in progress', "canonical/snapd"),
        ("snap", 'error: snap "canonical-livepatch" has "auto-refresh" change in progress', "canonical/snapd"),
    ),
    _row(
        "channel_unknown",
        "snapd store",
        [
            r"no snap revision (?:available|on)|not available on .{1,60} but is available|invalid .{0,30}channel",
            r"channel .{1,60} (?:not found|does not exist)|not available as specified",
        ],
        (
            "snap",
            (
                'error: snap "canonical-livepatch" is not available on 9.x/stable but is available to install on the'
                " following channels:"
            ),
            "canonical/snapd",
        ),
    ),
    _row(
        "no_client_for_architecture",
        "snapd store pro",
        [
            r'snap "?[^ ]{1,60} not found|\bsnap not found|no snap found|name-not-found',
            r"not available (?:for|on) (?:this )?(?:platform|architecture)|supported (?:platforms|architectures) are",
        ],
        ("snap", 'error: snap "canonical-livepatch" not found', "canonical/ubuntu-pro-client#93"),
        ("pro", "Livepatch is not available for platform s390x. Supported platforms are: amd64.", _PRO),
    ),
)

_STORE_ROWS = (
    _row(
        "store_tls_untrusted",
        "store",
        [*_CLOCK, *_OTHER_NAME, *_UNTRUSTED],
        (
            "snap",
            (
                'error: cannot refresh: cannot refresh snap-declaration for "core18": Get'
                " https://api.snapcraft.io/api/v1/snaps/assertions/snap-declaration/16/x?max-format=4: x509:"
                " certificate has expired or is not yet valid"
            ),
            "canonical/snapd#8814",
        ),
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": Post https://api.snapcraft.io/v2/snaps/refresh: x509:'
                " certificate signed by unknown authority"
            ),
            "in the form of snapd",
        ),
        (
            "pro",
            (
                "Unable to install Livepatch client: Failed running command '/usr/bin/snap install canonical-livepatch'"
                ' [exit(1)]. Message: error: cannot install "canonical-livepatch": Post'
                ' "https://api.snapcraft.io/v2/snaps/refresh": tls: failed to verify certificate: x509: certificate has'
                " expired or is not yet valid: current time 2016-02-11T16:28:04Z is before 2024-01-01T00:00:00Z"
            ),
            "in the form of Pro and snapd",
        ),
    ),
    _row(
        "store_error",
        "store",
        [*_UNAVAILABLE],
        (
            "snap",
            (
                "error: cannot refresh: cannot query the store for updates: got unexpected HTTP status code 503 via"
                " POST"
                ' to "https://api.snapcraft.io/v2/snaps/refresh"'
            ),
            "canonical/snapcraft.io#4157",
        ),
        (
            "snap",
            (
                'error: cannot perform the following tasks: - Download snap "canonical-livepatch" (95) from channel'
                ' "stable" (received an unexpected http response code (502) when trying to download'
                " https://api.snapcraft.io/api/v1/snaps/download/x.snap)"
            ),
            "canonical/snapd, store/errors.go",
        ),
        ("snap", "error: too many requests to the snap store", "in the form of snapd"),
    ),
    _row(
        "proxy_failed",
        "store livepatch_server contract_server pro",
        [*_PROXY],
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": Post https://api.snapcraft.io/v2/snaps/refresh: Proxy'
                " Authentication Required"
            ),
            "Go, net/http",
        ),
        (
            "client",
            (
                'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed:'
                " proxyconnect tcp: dial tcp 192.0.2.7:3128: connect: connection refused"
            ),
            "Go, net/http",
        ),
        ("pro", "Proxy authentication failed", _PRO),
    ),
    _row(
        "store_refused",
        "store",
        [*_REFUSED, r"invalid credentials|you need to log in|unauthori[sz]ed"],
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": got unexpected HTTP status code 403 via POST to'
                ' "https://api.snapcraft.io/v2/snaps/refresh"'
            ),
            "in the form of snapd",
        ),
    ),
    _row(
        "disk_full",
        "snapd snap_run pro apt file client",
        [r"no space left on device|disk quota exceeded|not enough (?:free )?(?:disk )?space|disk is full"],
        ("snap", "error: cannot perform the following tasks: - Copy snap data (no space left on device)", "Linux"),
        ("file", "sh: printf: write error: No space left on device", "Linux"),
    ),
    _row(
        "store_unreachable",
        "store",
        [
            *_UNREACHABLE,
            r"unable to contact (?:the )?snap store|cannot (?:contact|reach|connect to) (?:the )?(?:snap )?store",
            r"store is .{0,20}offline|persistent network error",
        ],
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": Post https://api.snapcraft.io/v2/snaps/refresh: dial tcp:'
                " lookup api.snapcraft.io on [::1]:53: read: connection refused"
            ),
            "conjure-up/conjure-up#1542",
        ),
        ("snap", "error: unable to contact snap store", "canonical/microcloud#217"),
        (
            "snap",
            (
                'error: cannot refresh snap-declaration for "core": Get'
                " https://api.snapcraft.io/api/v1/snaps/assertions/x:"
                " net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting"
                " headers)"
            ),
            "nextcloud-snap/nextcloud-snap#851",
        ),
    ),
)

_APT_ROWS = (
    _row(
        "apt_locked",
        "apt pro",
        [*map(re.escape, LOCK_TEXTS), r"another process is running apt"],
        ("apt", "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (apt-get)", "apt"),
        ("apt", "dpkg: error: dpkg frontend lock was locked by another process with pid 1234", "dpkg"),
        ("pro", "APT install failed. Another process is running APT.", _PRO),
        unless=[*map(re.escape, LOCK_EXCEPTIONS)],
    ),
    _row(
        "snapd_not_in_archive",
        "apt",
        [r"unable to locate package|has no installation candidate"],
        ("apt", "E: Unable to locate package snapd", "apt"),
    ),
    _row(
        "dpkg_interrupted",
        "apt",
        [r"dpkg was interrupted|dpkg --configure -a"],
        (
            "apt",
            "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
            "apt",
        ),
    ),
    _row(
        "archive_unreachable",
        "apt",
        [r"(?:failed|unable) to fetch|could not (?:resolve|connect)|unable to connect|temporary failure resolving"],
        (
            "apt",
            (
                "E: Failed to fetch http://archive.example.com/ubuntu/pool/main/s/snapd/snapd_2.58_amd64.deb  Could not"
                " connect to archive.example.com:80"
            ),
            "apt",
        ),
    ),
)

_PRO_ROWS = (
    _row(
        "pro_busy",
        "pro",
        [
            r"operation in progress|unable to perform: |lock (?:is |was )?(?:already )?held",
            r"another (?:pro |ua )?(?:instance|operation|process|command) (?:is )?(?:in progress|running|already)",
        ],
        ("pro", "Unable to perform: pro enable. Operation in progress: pro attach (pid:4321)", _PRO),
    ),
    _row(
        "pro_already_attached",
        "pro",
        [r"this machine is already attached"],
        ("pro", "This machine is already attached to 'somebody'", _PRO),
    ),
    _row(
        "already_enabled",
        "client livepatch_server pro",
        [r"machine-token already exists", r"livepatch is already enabled"],
        (
            "client",
            (
                "2018/08/23 09:05:17 error executing enable: Machine-token already exists! Please use 'disable' to"
                " delete existing machine-token."
            ),
            f"{_FORUM} 2018-08-23",
        ),
        ("pro", "Livepatch is already enabled - nothing to do. See: sudo pro status", _PRO),
    ),
    _row(
        "pro_not_attached",
        "pro",
        [r"not attached to an ubuntu|when unattached|need an ubuntu (?:pro|advantage) subscription"],
        ("pro", "This machine is not attached to an Ubuntu Pro subscription. See https://ubuntu.com/pro", _PRO),
        ("pro", "To use 'livepatch' you need an Ubuntu Pro subscription", _PRO),
    ),
    _row(
        "pro_tls_untrusted",
        "contract_server",
        [*_CLOCK, *_OTHER_NAME, *_UNTRUSTED],
        (
            "pro",
            (
                "Failed to access URL: https://contracts.canonical.com/v1/context/machines/token Cannot verify"
                " certificate"
                ' of server Please install "ca-certificates" and try again.'
            ),
            _PRO,
        ),
    ),
    _row(
        "pro_token_expired",
        "pro contract_server",
        [
            r"subscription (?:has )?expired|expired token|(?:token|contract)\b.{0,80}\bexpired|subscription is expired",
            r"\bcontract\b.{0,80}(?:not effective until|never been effective)|attach denied",
        ],
        ("pro", "Expired token or contract. To obtain a new token visit: https://ubuntu.com/pro/dashboard", _PRO),
        ("pro", 'Attach denied: Contract "c1" expired on May 07, 2025 Visit https://ubuntu.com/pro', _PRO),
        ("pro", "*Your Ubuntu Pro subscription has EXPIRED* Renew your subscription at https://ubuntu.com/pro", _PRO),
    ),
    _row(
        "pro_token_invalid",
        "pro contract_server",
        [
            r"invalid token\. see https?://|\btoken (?:is )?(?:not valid|invalid)|magic attach token",
            r"attach.{0,60}(?:invalid|unknown) (?:contract )?token",
        ],
        ("pro", "Invalid token. See https://ubuntu.com/pro/dashboard", _PRO),
    ),
    _row(
        "pro_not_entitled",
        "pro contract_server",
        [r"not entitled to|does not include|only allowed on the ubuntu|only valid for releases"],
        (
            "pro",
            "This subscription is not entitled to Livepatch View your subscription at: https://ubuntu.com/pro",
            _PRO,
        ),
        (
            "pro",
            (
                "Attach failed. Attaching to this contract is only allowed on the Ubuntu 22.04 LTS (Jammy Jellyfish)"
                " and previous releases."
            ),
            _PRO,
        ),
    ),
    _row(
        "pro_kernel_refused",
        "pro",
        [
            r"not available for (?:the |this )?(?:running )?kernel|supported flavou?rs are|minimum kernel version",
            r"\bkernel\b.{0,100}not covered by livepatch",
        ],
        (
            "pro",
            "Livepatch is not available for kernel 5.4.0-1056-azure. Supported flavors are: generic, lowlatency.",
            "canonical/ubuntu-pro-client#1817",
        ),
        ("pro", "Livepatch is not available for kernel 4.15.0-20. Minimum kernel version required: 4.4.", _PRO),
    ),
    _row(
        "container",
        "pro",
        [r"(?:cannot|can't) (?:install|enable|use) .{1,40} (?:on|in) (?:an? )?(?:lxd? )?(?:container|wsl)"],
        ("pro", "Cannot install Livepatch on a container.", _PRO),
        ("pro", "Cannot install Livepatch on WSL.", "canonical/ubuntu-pro-client, 31"),
    ),
    _row(
        "kernel_conflict",
        "pro",
        [
            r"\bfips\b.{0,120}\blivepatch\b|\blivepatch\b.{0,120}\bfips\b",
            r"real-?time.{0,120}\blivepatch\b|\blivepatch\b.{0,120}real-?time",
        ],
        ("pro", "Cannot enable Livepatch when FIPS is enabled.", "canonical/ubuntu-pro-client#1301"),
        ("pro", "Livepatch cannot be enabled while running the official FIPS certified kernel.", _PRO),
        ("pro", "Livepatch does not currently cover the Real-time kernel.", _PRO),
        ("pro", "Cannot enable Livepatch when Real-time kernel is enabled.", _PRO),
    ),
    _row(
        "platform_unsupported",
        "pro",
        [r"not available (?:for|on) (?:ubuntu|series|release|this (?:ubuntu|series|release))|non-lts release"],
        ("pro", "Livepatch is not available for Ubuntu 25.04 (Plucky Puffin).", _PRO),
    ),
    _row(
        "pro_reboot_required",
        "pro",
        [r"requires? a (?:system )?reboot|reboot (?:is )?required"],
        ("pro", "Livepatch coverage requires a system reboot across LTS upgrade.", _PRO),
    ),
    _row(
        "pro_refused",
        "pro",
        [
            r"not available (?:for|on) |does not support being enabled",
            r"cannot (?:install|enable) livepatch|livepatch cannot be",
        ],
        ("pro", "Livepatch is not available for CPU vendor arm. Supported CPU vendors are: intel, amd.", _PRO),
    ),
    _row(
        "contract_server_error",
        "contract_server",
        [*_UNAVAILABLE],
        ("pro", "Error connecting to https://contracts.canonical.com/v1/context/machines/token: 503 sorry", _PRO),
        ("pro", "Error connecting to https://contracts.canonical.com/v1/x: 429 too many requests", _PRO),
    ),
)

_CLIENT_ROWS = (
    # The server's text about a token comes first, because its status (403) is part of the same text.
    _row(
        "seats_used_up",
        "client livepatch_server",
        [
            r"\b(?:machine|device|client|seat)s?\b.{0,40}(?<!rate )(?<!time )\blimit\b",
            r"(?<!rate )(?<!time )\blimit\b.{0,40}\b(?:machine|device|client|seat)s?\b",
            r"too many (?:machine|device|client|seat)s|maximum number of (?:machine|device|client|seat)s",
            r"no (?:free |more )?seats?\b",
        ],
        (
            "client",
            (
                "bad server status 403 (URL: https://livepatch.example.com/api/machine-tokens):"
                ' {"error": "machine limit reached for this token"}'
            ),
            "made up: the text is not published",
        ),
        ("client", "too many machines are registered with this token", "made up: the text is not published"),
    ),
    _row(
        "machine_token_invalid",
        "client livepatch_server",
        [
            r"(?:invalid|unknown|expired|revoked) machine[ -]token",
            r"machine[ -]token (?:is )?(?:invalid|unknown|expired|revoked|not (?:valid|found))",
            r"unknown machine\b|machine (?:is )?not (?:found|registered)",
        ],
        (
            "client",
            (
                "Bad server status code: 403. URL: https://livepatch.example.com/api/machine/xxx"
                ' {"error": "Invalid Machine Token"}'
            ),
            "juju4/ansible-harden",
        ),
    ),
    _row(
        "bad_token",
        "client livepatch_server contract_server",
        [
            r"(?:unknown|invalid|expired|revoked) auth-?token",
            r"auth-?token .{0,20}\b(?:invalid|unknown|expired|revoked|not (?:valid|found))",
            r"\bunauthori[sz]ed\b",
            _CODE.format("401"),
        ],
        (
            "client",
            (
                "2019/06/14 16:23:17 error executing enable: cannot enable machine: bad server status 403 (URL:"
                ' https://livepatch.example.com/api/machine-tokens): {"error": "Unknown Auth-Token"}'
            ),
            f"{_FORUM} 2019-06-14",
        ),
        ("client", "Could not retrieve client information.: unauthorized", f"{_FORUM} 2022-11-11"),
        (
            "pro",
            (
                "Unable to enable Livepatch: Failed running command '/snap/bin/canonical-livepatch enable <REDACTED>'"
                " [exit(1)]. Message: Could not retrieve client information.: unauthorized"
            ),
            "canonical/ubuntu-pro-client#3385",
        ),
        ("pro", "Unable to enable Livepatch: Invalid Auth-Token provided to livepatch.", "canonical/ubuntu-pro-client"),
        (
            "pro",
            'Error connecting to https://contracts.canonical.com/v1/x: 401 {"code": "unauthorized"}',
            _PRO,
        ),
    ),
    _row(
        "no_key",
        "client",
        [r"no key provided"],
        ("client", "2019/06/14 16:22:40 error executing enable: No key provided.", f"{_FORUM} 2019-06-14"),
    ),
    _row(
        "crash_lock",
        "client",
        [r"may have caused kernel crash|lock file .{1,300} already exists"],
        (
            "client",
            (
                "during refresh: cannot apply patches: lock file"
                ' "/var/snap/canonical-livepatch/common/locks/livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2" already'
                " exists"
            ),
            f"{_FORUM} 2019-08-20",
        ),
    ),
    _row(
        "socket_unavailable",
        "client",
        [r"the daemon's socket does not exist"],
        ("client", "the daemon's socket does not exist", "shell/client_write.sh"),
    ),
    _row(
        "clock_wrong",
        "client livepatch_server",
        [*_CLOCK],
        (
            "client",
            (
                "error executing enable: cannot enable machine: Post"
                ' "https://livepatch.example.com/api/machine-tokens":'
                " x509: certificate has expired or is not yet valid: current time 2016-02-11T16:28:04Z is before"
                " 2024-01-01T00:00:00Z"
            ),
            "Go, crypto/x509",
        ),
        (
            "client",
            (
                "Couldn't send req: Post https://livepatch.example.com/api/machine-tokens: x509: certificate has"
                " expired or is not yet valid. Server communication failed."
            ),
            "Go, crypto/x509",
        ),
    ),
    _row(
        "tls_wrong_name",
        "client livepatch_server",
        [*_OTHER_NAME],
        (
            "client",
            (
                'livepatchd error: cannot use remote server: Get "https://192.0.2.1/": x509: cannot validate'
                " certificate for 192.0.2.1 because it doesn't contain any IP SANs"
            ),
            "Go, crypto/x509",
        ),
    ),
    _row(
        "tls_untrusted",
        "client livepatch_server",
        [*_UNTRUSTED],
        (
            "client",
            (
                "2018/09/03 18:29:16 error executing enable: Couldn't send req: Post"
                " https://livepatch.example.com/api/machine-tokens: x509: certificate signed by unknown authority."
                " Server communication failed."
            ),
            f"{_FORUM} 2018-09-03",
        ),
    ),
    _row(
        "server_error",
        "client livepatch_server",
        [*_UNAVAILABLE],
        (
            "client",
            (
                'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed: bad'
                " server status 503: sorry"
            ),
            "canonical/ubuntu.com#14625",
        ),
        (
            "client",
            "Bad server status code: 500. URL: https://livepatch.example.com/api/machine-tokens",
            f"{_FORUM} 2020-08-30",
        ),
        ("client", "livepatch check failed: 502 Bad Gateway", "canonical/ubuntu.com#14716"),
    ),
    _row(
        "server_refused",
        "client livepatch_server",
        [*_REFUSED],
        (
            "client",
            "bad server status 403 (URL: https://livepatch.example.com/api/machine-tokens): no",
            "in the form of the clients of 2019",
        ),
    ),
    _row(
        "contract_server_refused",
        "contract_server",
        [*_REFUSED],
        ("pro", "Error connecting to https://contracts.canonical.com/v1/x: 404 not found", _PRO),
    ),
    _row(
        "contract_server_unreachable",
        "contract_server",
        [*_UNREACHABLE, r"authentication server|failed to (?:access|connect to)|canonical servers"],
        (
            "pro",
            "Failed to connect to authentication server Check your Internet connection and try again.",
            "canonical/ubuntu-pro-client#2786",
        ),
        (
            "pro",
            (
                "Failed to connect to https://contracts.canonical.com/v1/context/machines/token [Errno -3] Temporary"
                " failure in name resolution"
            ),
            _PRO,
        ),
    ),
    _row(
        "server_unreachable",
        "client livepatch_server",
        [*_UNREACHABLE],
        (
            "client",
            (
                "2019/06/14 09:38:08 error executing enable: cannot enable machine: cannot send request: Post"
                " https://livepatch.example.com/api/machine-tokens: dial tcp: lookup livepatch.example.com on [::1]:53:"
                " dial udp [::1]:53: connect: cannot assign requested address"
            ),
            f"{_FORUM} 2019-06-14",
        ),
        (
            "client",
            (
                'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed: Post'
                ' "https://livepatch.example.com/v1/client/x": dial tcp 192.0.2.1:443: i/o timeout'
            ),
            "Go, net",
        ),
    ),
    _row(
        "registration_failed",
        "client livepatch_server",
        [r"failed to register client|could not retrieve client information"],
        (
            "client",
            'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed',
            f"{_FORUM} 2022-06-09",
        ),
        (
            "client",
            (
                "Could not retrieve client information.: GET request to"
                ' "https://livepatch.example.com/v1/client/x/info" failed'
            ),
            f"{_FORUM} 2022-06-09",
        ),
    ),
    _row(
        "server_unreachable",
        "client livepatch_server",
        [r'\b(?:GET|POST|PUT|DELETE) request to "?https?://[^ ]{1,300} failed'],
        (
            "client",
            (
                "livepatch check failed: POST request to"
                ' "https://livepatch.example.com/v1/client/x/updates" failed, retrying in 30s.'
            ),
            f"{_FORUM} 2022-07-02",
        ),
    ),
    _row(
        "not_enabled",
        "client",
        [r"machine is not enabled"],
        (
            "client",
            "Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the token obtained",
            "canonical/ubuntu-pro-client, features/livepatch.feature",
        ),
    ),
    _row(
        "setting_refused",
        "client livepatch_server",
        [r"executing config|unknown (?:config|key|setting)|invalid (?:config|key|setting|value)"],
        (
            "client",
            'error executing config: unknown configuration key "log-level"',
            "in the form of the clients of 2016",
        ),
    ),
)

ERROR_TEXTS = (*_SNAPD_ROWS[:4], *_DAEMON_ROWS, *_SNAPD_ROWS[4:], *_STORE_ROWS, *_APT_ROWS, *_PRO_ROWS, *_CLIENT_ROWS)
"""All rows, in the order in which they are compared with a text."""
