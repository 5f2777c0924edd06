# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Groups of a fleet that a report shows: groups of the inventory, and values of host variables.

Of several groups of the inventory, a host belongs to the first one that contains it. They are the values of one key,
`INVENTORY`. Each host variable is a key of its own.
"""

from __future__ import annotations

import collections.abc as c
import re

from .._record import limit_text

INVENTORY = "group"
"""The key of the groups of the inventory."""

MOST_NAMES = 50
"""The option may have this many names, which include the groups of the inventory."""

MOST_VARIABLES = 8
_LONGEST_VALUE = 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def name_fault(names: c.Sequence[str]) -> str | None:
    """Return what is wrong with the names, or None."""
    if len(names) > MOST_NAMES:
        return f"it has {len(names)} names, and {MOST_NAMES} are possible"
    wrong = next((name for name in names if not name.strip() or len(name) > _LONGEST_VALUE), None)
    return None if wrong is None else f"{wrong!r:.80} is neither a group of the inventory nor a host variable"


def host_groups(
    names: c.Iterable[str], of_host: c.Collection[str], inventory: c.Container[str], value_of: c.Callable[[str], object]
) -> dict[str, str]:
    """Return the groups of a host by key.

    `of_host` are the groups of the inventory that contain the host, `inventory` all groups. `value_of` returns the
    value of a host variable, None without one. A value that is no text, number or truth value is left out.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if name in inventory:
            if name in of_host:
                found.setdefault(INVENTORY, limit_text(name, _LONGEST_VALUE))
        elif _NAME.fullmatch(name) and name != INVENTORY and len(found.keys() - {INVENTORY}) < MOST_VARIABLES:
            value = value_of(name)
            if isinstance(value, (str, int, float)) and str(value).strip():
                found[name] = limit_text(str(value).strip(), _LONGEST_VALUE)
    return found


def shown_keys(names: c.Sequence[str], recorded: c.Iterable[c.Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """Return the keys that a report with these names shows, and the names of which no host has been recorded."""
    keys: set[str] = set()
    values: set[str] = set()
    for groups in recorded:
        keys.update(groups)
        values.update(filter(None, [groups.get(INVENTORY)]))
    shown = [name if name in keys and name != INVENTORY else INVENTORY if name in values else None for name in names]
    unknown = [name for name, key in zip(names, shown, strict=True) if key is None]
    return list(dict.fromkeys(filter(None, shown))), unknown
