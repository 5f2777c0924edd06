# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Host names as text of a database, which has neither NUL nor parts of surrogate pairs."""

from __future__ import annotations

import json

_ENCODED = '"'


def host_key(host: str) -> str:
    """Return the text for a host: its name, or JSON for a name that a database cannot store. Distinct for each host."""
    if host.startswith(_ENCODED) or "\0" in host or any("\ud800" <= character <= "\udfff" for character in host):
        return json.dumps(host)
    return host


def host_of(key: str) -> str:
    """Return the host of a text from `host_key`. A text that others have stored, and that is no key, is the host."""
    if not key.startswith(_ENCODED):
        return key
    try:
        return str(json.loads(key))
    except ValueError:
        return key
