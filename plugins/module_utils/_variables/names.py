# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Names of variables: those that no playbook and no role has."""

from __future__ import annotations

import collections.abc as c

from .faults import Fault, nearest

PREFIX = "livepatch_"
"""Begin of the names of all variables of the playbooks. It is reserved for them."""

SET_BY_PLUGINS = frozenset(
    f"{PREFIX}{name}" for name in ("state", "collected_at", "kernel", "patch_version", "reboot_needed", "record")
)
"""Variables of hosts that the inventory plugin sets."""

SET_BY_PLAYBOOKS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("enable_check", "enable_failure", "enable_granted", "enable_hosts", "enable_max_fail"),
        *(
            "enable_seats",
            "enable_waves",
            "exposure",
            "exposure_counts",
            "exposure_failing",
            "patch_check",
            "report",
            "transfer",
        ),
        "vulnerability_files",
        *(
            "patch_failure",
            "patch_hosts",
            "patch_max_fail",
            "patch_waves",
            "upgrade_begins",
            "upgrade_check",
            "upgrade_failure",
            "upgrade_hosts",
        ),
        *("upgrade_look", "upgrade_lost", "upgrade_max_fail", "upgrade_waves"),
    )
)
"""Results and facts of the playbooks. A run of several playbooks has those of the earlier ones."""

OF_THE_RULEBOOK = frozenset(f"{PREFIX}webhook_{name}" for name in ("authorization", "host", "port"))
"""Variables of the rulebook `livepatch_alerts`. They can be in the same file as those of the playbooks."""

_SURELY_MEANT = 0.8


def unknown_variables(found: c.Mapping[str, str | None], known: c.Collection[str]) -> list[Fault]:
    """Return a fault for each name with the prefix of the playbooks that is not known.

    `found` has the names, each with a host that has it, or None.
    """
    strangers = sorted(name for name in found if name.startswith(PREFIX) and name not in known)
    return [Fault(name, _unknown(name, PREFIX, known), found[name]) for name in strangers]


def misspelt_variables(found: c.Iterable[str], known: c.Collection[str], prefix: str) -> list[Fault]:
    """Return a fault for each name that is similar to a variable of a role.

    The prefix of a role is an ordinary word, so that other roles and plays can have variables with it.
    """
    faults = []
    suffixes = [name.removeprefix(prefix) for name in known]
    for name in sorted(found):
        if name.startswith(prefix) and name not in known:
            near = nearest(name.removeprefix(prefix), suffixes, cutoff=_SURELY_MEANT)
            if near is not None:
                faults.append(Fault(name, f"the role has no such variable; did you mean {prefix}{near}?"))
    return faults


def _unknown(name: str, prefix: str, known: c.Collection[str]) -> str:
    # The common prefix would make all names similar.
    near = nearest(name.removeprefix(prefix), [each.removeprefix(prefix) for each in known])
    hint = f"; did you mean {prefix}{near}?" if near else f"; the prefix {prefix} is reserved for the collection"
    return f"there is no such variable{hint}"
