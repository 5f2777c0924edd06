# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Count the hosts of each group of a report: protected ones, of those that are eligible."""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses

MOST_GROUPS = 100
"""Groups of one key that are counted apart. The smallest ones beyond this are counted together, as `OTHERS`."""

NONE = "none"
"""The group of hosts without a group."""

OTHERS = "others"


@dataclasses.dataclass(slots=True)
class GroupCount:
    """The hosts of one group. Hosts that no setting makes eligible (`ineligible`) are not counted as eligible."""

    group: str
    hosts: int = 0
    eligible: int = 0
    protected: int = 0

    def add(self, other: GroupCount) -> None:
        """Add the numbers of another group."""
        self.hosts += other.hosts
        self.eligible += other.eligible
        self.protected += other.protected


def count_groups(hosts_of_groups: c.Iterable[tuple[str | None, str]]) -> list[GroupCount]:
    """Return the numbers of each group, from the group and the condition of each host (`summary.protection`).

    The largest groups come first, and hosts without a group last.
    """
    counts: dict[str, GroupCount] = {}
    states = collections.Counter(hosts_of_groups)
    missing = GroupCount(NONE)
    for (group, state), hosts in states.items():
        count = missing if group is None else counts.setdefault(group, GroupCount(group))
        eligible = 0 if state == "ineligible" else hosts
        count.add(GroupCount(count.group, hosts, eligible, hosts if state == "protected" else 0))
    ordered = sorted(counts.values(), key=lambda each: (-each.hosts, each.group))
    others = GroupCount(OTHERS)
    for each in ordered[MOST_GROUPS:]:
        others.add(each)
    return [*ordered[:MOST_GROUPS], *(each for each in (others, missing) if each.hosts)]
