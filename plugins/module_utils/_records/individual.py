# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Split the JSON text of a section into what similar hosts have in common, and the values that each host has alone.

A fleet has few kinds of systems and clients, but each host has its machine ID and its times. Without these values,
the sections of similar hosts are equal, and each kind has to be parsed only once.
"""

from __future__ import annotations

import typing as t

# Keys whose values differ from host to host, by the beginning of their section, in the order in which records have
# them. All values are texts or null.
_KEYS = {'"system"': ('"machine_id_sha256"', '"booted_at"'), '"client"': ('"last_check"',)}
_BEGINNING = len('"system"')
_NULL = "null"


class SplitSection(t.NamedTuple):
    """The texts of a section around its individual values, and these values by their keys."""

    common: tuple[str, ...]
    individual: dict[str, str | None]


def split_section(text: str) -> SplitSection | None:
    """Split a section, given as ``"key": value``.

    Return None if it has no individual values, has them in another form, or might have their keys within a string.
    """
    keys = _KEYS.get(text[:_BEGINNING])
    # In text without a backslash, quotation marks only delimit strings, so that a match is a whole string.
    if keys is None or "\\" in text:
        return None
    common: list[str] = []
    individual: dict[str, str | None] = {}
    rest = text
    for key in keys:
        before, _found, rest = rest.partition(f"{key}: ")
        value: str | None = None
        if rest.startswith('"'):
            value, _quote, rest = rest[1:].partition('"')
        elif rest.startswith(_NULL):
            rest = rest[len(_NULL) :]
        else:
            return None
        if text.count(key) != 1 or (value is not None and not value.isprintable()):
            return None
        common.append(before)
        individual[key[1:-1]] = value
    return SplitSection((*common, rest), individual)
