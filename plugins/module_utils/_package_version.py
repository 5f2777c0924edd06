# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The order of package versions: Debian Policy Manual, 5.6.12. Kernel packages have no epoch."""

from __future__ import annotations

import re
import typing as t

VERSION_LIMIT = 128
"""Characters of a version."""

VersionKey: t.TypeAlias = "tuple[tuple[int | tuple[int, ...], ...], ...]"
_PART = re.compile(r"([^0-9]*)([0-9]*)")


def version_key(version: str) -> VersionKey:
    """Return a key by which versions (``4.4.0-168.197~16.04.1``) sort. Raises `ValueError` beyond `VERSION_LIMIT`."""
    if len(version) > VERSION_LIMIT:
        raise ValueError("the version is too long")
    upstream, dash, revision = version.rpartition("-")
    return (_key(upstream), _key(revision)) if dash else (_key(revision), _key(""))


def _key(text: str) -> tuple[int | tuple[int, ...], ...]:
    key: list[int | tuple[int, ...]] = []
    for letters, digits in _PART.findall(text):
        # The 0 is the end of the letters: a tilde sorts before it, everything else behind.
        key += (*map(_order, letters), 0), int(digits or 0)
    return tuple(key)


def _order(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 0x110000
