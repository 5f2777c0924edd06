# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a host has of the client beside its status: its files, its daemon's socket, and what can speak to that.

The sections are those of ``client_read.sh``. Nothing is concluded here: what could not be read is ``None``.
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

_MARK = re.compile(r"([a-z-]{1,32}) ([0-9a-f]{32}) ([0-9a-f]{64})")
_RISKS = ("stable", "candidate", "beta", "edge")
_CUT_OFF = "…"


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A secret that this collection has set on the host, as a salted SHA-256: enough to know it again, no more."""

    salt: str
    digest: str

    def fits(self, secret: str) -> bool:
        return self == mark_of(secret, self.salt)

    def __str__(self) -> str:
        return f"{self.salt} {self.digest}"


def mark_of(secret: str, salt: str) -> Mark:
    """The mark of a secret. `salt` is 32 hexadecimal digits, made anew for each host and secret."""
    return Mark(salt, hashlib.sha256(f"{salt}{secret}".encode()).hexdigest())


@dataclasses.dataclass(frozen=True, slots=True)
class ProStatus:
    """Ubuntu Pro on the host. `attached` is None where its client gives no status, as those before 27 do."""

    installed: bool
    attached: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ClientState:
    """The client's files and its surroundings.

    `registered`: whether the machine-token is there, which the client has exactly while it is enabled. `mode` is the
    word in the mode file, which the daemon reads when it starts; `restart_due` says that it has not started since.
    `tools` can speak to the daemon's socket, the best first. `channel` has the form ``latest/stable``. `pro` is
    ``None`` where it was not asked for.
    """

    registered: bool | None = None
    mode: str | None = None
    restart_due: bool = False
    marks: c.Mapping[str, Mark] = dataclasses.field(default_factory=dict)
    tools: tuple[str, ...] = ()
    channel: str | None = None
    pro: ProStatus | None = None


def read_client_state(sections: Sections) -> ClientState:
    """Turn the sections of ``client_read.sh`` into facts. Total: no answer makes it fail."""
    files = _files(sections)
    return ClientState(
        registered={"ok": True, "absent": False}.get(files.get(MACHINE_TOKEN, "")),
        mode=_mode(sections),
        restart_due=sections.output("client_restart") is not None,
        marks=_marks(sections),
        tools=tuple(tool for tool in (sections.output("client_tools") or "").split() if tool in ("curl", "nc")),
        channel=_channel(sections.output("client_snap") or ""),
        pro=_pro(sections),
    )


def channel_name(word: str) -> str:
    """A channel with its track and its risk: ``stable`` is ``latest/stable``, ``10.x`` is ``10.x/stable``."""
    track, slash, rest = word.partition("/")
    if track in _RISKS:
        return f"latest/{word}"
    return f"{track}/{rest}" if slash else f"{track}/stable"


def _files(sections: Sections) -> dict[str, str]:
    section = sections.get("client_files")
    lines = (line.partition(" ") for line in (section.output.splitlines() if section else ()))
    return {path: access for access, _blank, path in lines}


def _mode(sections: Sections) -> str | None:
    """The daemon's mode; without a file, and with an empty one, it is the normal one."""
    section = sections.get("client_mode")
    if section is None or section.status not in ("ok", "absent"):
        return None
    return section.output.strip()[:32] or DEFAULT_MODE


def _marks(sections: Sections) -> dict[str, Mark]:
    found = (_MARK.fullmatch(line) for line in (sections.output("client_marks") or "").splitlines())
    return {match[1]: Mark(match[2], match[3]) for match in found if match}


def _channel(table: str) -> str | None:
    """The tracked channel in the table of ``snap list``; older snapd does not show it, and a long one not whole."""
    lines = [line.split() for line in table.splitlines()]
    for header, row in itertools.pairwise(lines):
        if "Tracking" in header and row[:1] == ["canonical-livepatch"] and len(row) > header.index("Tracking"):
            word = row[header.index("Tracking")]
            return None if word == "-" or _CUT_OFF in word else channel_name(word)
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
