# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The setup of the client on a host, apart from its status: its files, its mode, its channel, tools for its socket.

The sections are those of ``client_read.sh``, and ``command_line`` of the probe. No conclusions are drawn here: a value
that could not be read is ``None``.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import hashlib
import itertools
import json
import re

from .sections import Sections

MACHINE_TOKEN = "/var/snap/canonical-livepatch/common/machine-token"  # noqa: S105  (a path)
MODES = ("normal", "no-apply", "no-refresh", "stop")
DEFAULT_MODE = "normal"

_FINGERPRINT = re.compile(r"([a-z-]{1,32}) ([0-9a-f]{32}) ([0-9a-f]{64})")
_RISKS = ("stable", "candidate", "beta", "edge")
_TRUNCATED = "…"


@dataclasses.dataclass(frozen=True, slots=True)
class SecretFingerprint:
    """A salted SHA-256 of a secret that this collection has set on the host: enough to recognise it, no more."""

    salt: str
    digest: str

    def matches(self, secret: str) -> bool:
        return self == fingerprint_of(secret, self.salt)

    def __str__(self) -> str:
        return f"{self.salt} {self.digest}"


def fingerprint_of(secret: str, salt: str) -> SecretFingerprint:
    """Return the fingerprint of a secret. `salt` is 32 random hexadecimal digits, new for each host and secret."""
    return SecretFingerprint(salt, hashlib.sha256(f"{salt}{secret}".encode()).hexdigest())


@dataclasses.dataclass(frozen=True, slots=True)
class ProStatus:
    """Ubuntu Pro on the host. `attached` is None if its client reports no status (versions before 27 cannot)."""

    installed: bool
    attached: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ClientSetup:
    """The setup of the client on a host.

    `registered` is True if the machine-token exists, which is the case exactly while the client is enabled. `mode` is
    the content of the mode file, which the daemon reads when it starts; `kernel_mode` is the mode on the kernel command
    line, None without one. `restart_due` is True if the daemon has not started since the file was written.
    `fingerprints` belong to the secrets set by this collection, by name. `tools` can use
    the daemon's socket, in order of preference. `channel` has the form ``latest/stable``. `pro` is ``None`` if Ubuntu
    Pro was not queried. `snap_disabled` is True if the snap is installed but has no command, because it is disabled.
    """

    registered: bool | None = None
    mode: str | None = None
    kernel_mode: str | None = None
    restart_due: bool = False
    fingerprints: c.Mapping[str, SecretFingerprint] = dataclasses.field(default_factory=dict)
    tools: tuple[str, ...] = ()
    channel: str | None = None
    pro: ProStatus | None = None
    snap_disabled: bool = False

    @property
    def effective_mode(self) -> str | None:
        """The mode of the daemon: an operator who sets it on the kernel command line wants it for every boot."""
        return self.kernel_mode or self.mode


def read_client_setup(sections: Sections) -> ClientSetup:
    """Parse the sections of the setup. Never raises, whatever the host sent."""
    files = _files(sections)
    return ClientSetup(
        registered={"ok": True, "absent": False}.get(files.get(MACHINE_TOKEN, "")),
        mode=_mode(sections),
        kernel_mode=_kernel_mode(sections.output("command_line") or ""),
        restart_due=sections.output("client_restart") is not None,
        fingerprints=_fingerprints(sections),
        tools=tuple(tool for tool in (sections.output("client_tools") or "").split() if tool in ("curl", "nc")),
        channel=_channel(sections.output("client_snap") or ""),
        pro=_pro(sections),
        snap_disabled=sections.output("client_snap_disabled") is not None,
    )


def channel_name(channel: str) -> str:
    """Return a channel with its track and its risk: ``stable`` is ``latest/stable``, ``10.x`` is ``10.x/stable``."""
    track, slash, rest = channel.partition("/")
    if track in _RISKS:
        return f"latest/{channel}"
    return f"{track}/{rest}" if slash else f"{track}/stable"


def _files(sections: Sections) -> dict[str, str]:
    section = sections.get("client_files")
    lines = (line.partition(" ") for line in (section.output.splitlines() if section else ()))
    return {path: access for access, _blank, path in lines}


def _mode(sections: Sections) -> str | None:
    """Return the daemon's mode. A missing or empty file means the default mode."""
    section = sections.get("client_mode")
    if section is None or section.status not in ("ok", "absent"):
        return None
    return section.output.strip()[:32] or DEFAULT_MODE


def _kernel_mode(parameters: str) -> str | None:
    """Return the mode on the kernel command line. The last parameter counts; an unknown mode has no effect."""
    values = [word.partition("=")[2].strip("\"'") for word in parameters.split()]
    return values[-1] if values and values[-1] in MODES else None


def _fingerprints(sections: Sections) -> dict[str, SecretFingerprint]:
    lines = (sections.output("client_fingerprints") or "").splitlines()
    found = (_FINGERPRINT.fullmatch(line) for line in lines)
    return {match[1]: SecretFingerprint(match[2], match[3]) for match in found if match}


def _channel(table: str) -> str | None:
    """Return the tracked channel from the table of ``snap list``. Older snapd omits it; a long one is truncated."""
    lines = [line.split() for line in table.splitlines()]
    for header, row in itertools.pairwise(lines):
        if "Tracking" in header and row[:1] == ["canonical-livepatch"] and len(row) > header.index("Tracking"):
            channel = row[header.index("Tracking")]
            return None if channel == "-" or _TRUNCATED in channel else channel_name(channel)
    return None


def _pro(sections: Sections) -> ProStatus | None:
    section = sections.get("client_pro")
    if section is None:
        return None
    if section.status == "absent":
        return ProStatus(installed=False)
    try:
        status = json.loads(section.output[section.output.index("{") :])
        return ProStatus(True, status["attached"] is True)
    except (ValueError, LookupError, TypeError, RecursionError):
        return ProStatus(installed=True)
