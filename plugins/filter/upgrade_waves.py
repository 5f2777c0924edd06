# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Waves of hosts, for playbooks."""

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_waves
short_description: Put hosts into waves of an upgrade
version_added: 1.0.0
description:
  - Takes the names of hosts at which P(kernelops.livepatch.kernel_upgrade#module) has looked in check mode, and returns
    those that must be upgraded, in order and by wave.
  - Hosts on which an earlier run has begun and not ended come first, then the canaries, then the others.
  - Two hosts with the same value of their variable C(drain_group) are never in one wave. A host is left out while
    another one of its group did not answer, or failed.
positional: _input, hostvars
options:
  _input:
    description: Names of all hosts at which was looked.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts. Of each host, C(drain_group) and the result of the look count.
    type: dict
    required: true
  look:
    description: Name of the variable in which the result of the look was registered.
    type: str
    default: livepatch_upgrade_look
  canaries:
    description: How many hosts come first, alone, or the names of those that do.
    type: raw
    default: 1
  serial:
    description: Size of a wave, as a number or a percentage, or a list of sizes whose last one repeats.
    type: raw
    default: 1
"""

EXAMPLES = r"""
- name: Plan the waves
  ansible.builtin.set_fact:
    waves: "{{ ansible_play_hosts_all | kernelops.livepatch.upgrade_waves(hostvars, serial='10%') }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The waves.
  type: dict
  contains:
    order:
      description: Names of the hosts, in the order of the waves.
      type: list
      elements: str
    sizes:
      description: How many of them each wave holds, for the keyword C(serial).
      type: list
      elements: int
    left_out:
      description: Why a host is in no wave, by its name.
      type: dict
"""

import typing as t
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.waves import (
    Candidate,
    WavesError,
    plan_waves,
)


def upgrade_waves(
    names: Iterable[str],
    hostvars: Mapping[str, Mapping[str, t.Any]],
    look: str = "livepatch_upgrade_look",
    canaries: t.Any = 1,
    serial: t.Any = 1,
) -> dict[str, t.Any]:
    """Put hosts into waves. Raises `AnsibleFilterError`."""
    candidates, groups_down = [], {}
    for name in names:
        variables = hostvars[name]
        group = variables.get("drain_group")
        seen = variables.get(look) or {}
        if not seen or seen.get("unreachable") or seen.get("failed"):
            if group is not None:
                groups_down[str(group)] = str(name)
        elif seen.get("needed") or seen.get("unfinished"):
            candidates.append(
                Candidate(str(name), None if group is None else str(group), unfinished=bool(seen.get("unfinished")))
            )
    first = [str(name) for name in canaries] if isinstance(canaries, (list, tuple)) else canaries
    try:
        number = int(first) if not isinstance(first, list) else first
        waves = plan_waves(candidates, canaries=number, serial=serial, groups_down=groups_down)
    except (WavesError, ValueError) as error:
        raise AnsibleFilterError(f"upgrade_waves: {error}") from error
    return {"order": list(waves.order), "sizes": list(waves.sizes), "left_out": dict(waves.left_out)}


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, t.Any]:
        return {"upgrade_waves": upgrade_waves}
