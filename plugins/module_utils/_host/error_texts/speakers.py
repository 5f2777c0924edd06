# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Who can have printed a text."""

from __future__ import annotations

import re

from .row import Speaker

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
    r"|unexpected http (?:response|status) code|\bdownload snap\b|fetch and check assertions"
    r"|cannot (?:install|refresh|download|fetch|query) .{0,300}https?://",
    re.IGNORECASE,
)
_CONTRACT_MARK = re.compile(
    r"contracts?[a-z.-]{0,20}\.canonical\.com|contract server|authentication server|canonical servers"
    r"|failed to (?:access|connect to) (?:url:? )?https?://|reading ssl ca cert"
    r"|error connecting to https?://|proxy authentication failed",
    re.IGNORECASE,
)


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
