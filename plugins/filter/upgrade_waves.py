# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Filter that plans the waves of a kernel upgrade."""

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_waves
short_description: Plan the waves of a kernel upgrade
version_added: 1.0.0
description:
  - Takes the names of hosts on which M(kernelops.livepatch.kernel_upgrade) was run in check mode with a registered
    result. Returns the hosts that must be upgraded, in order and divided into waves.
  - Hosts with an unfinished upgrade from an earlier run come first, then the canaries, then the other hosts.
  - Hosts with the same value of the variable C(drain_group) are never in the same wave. A host is left out if another
    host of its drain group is unreachable or failed.
positional: _input, hostvars
options:
  _input:
    description: Names of all hosts that were checked.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars). For each host, C(drain_group) and the registered result are used.
    type: dict
    required: true
  look:
    description: Name of the variable that contains the registered result.
    type: str
    default: livepatch_upgrade_look
  canaries:
    description:
      - Number of hosts to upgrade first, in a separate wave, or their names, as a list or separated by commas.
      - A name that is not in the inventory is an error.
    type: raw
    default: 1
  serial:
    description: Size of a wave, as a number or a percentage, or a list of sizes. The last size of a list is repeated.
    type: raw
    default: 1
"""

EXAMPLES = r"""
- name: Check which hosts need a newer kernel
  kernelops.livepatch.kernel_upgrade:
  become: true
  check_mode: true
  register: livepatch_upgrade_look

- name: Plan the waves of the upgrade
  ansible.builtin.set_fact:
    waves: "{{ ansible_play_hosts_all | kernelops.livepatch.upgrade_waves(hostvars, serial='10%') }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: Waves of the upgrade.
  type: dict
  contains:
    order:
      description: Names of the hosts in the order of the waves.
      type: list
      elements: str
    sizes:
      description: Number of hosts in each wave. Use it as the value of the keyword C(serial).
      type: list
      elements: int
    kernels:
      description: Running and new kernel of each host in the waves, and the reasons for its upgrade.
      type: dict
    left_out:
      description: Reasons why hosts are left out, by host name.
      type: dict
"""

import typing as t
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import (
    Candidate,
    WavesError,
    plan_waves,
    read_canaries,
)


def upgrade_waves(
    names: Iterable[str],
    hostvars: Mapping[str, Mapping[str, t.Any]],
    look: str = "livepatch_upgrade_look",
    canaries: t.Any = 1,
    serial: t.Any = 1,
) -> dict[str, t.Any]:
    """Divide hosts into waves. Raises `AnsibleFilterError`."""
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
    try:
        first = read_canaries(canaries, hostvars)
        waves = plan_waves(candidates, canaries=first, serial=serial, groups_down=groups_down)
    except WavesError as error:
        raise AnsibleFilterError(f"upgrade_waves: {error}") from error
    kernels = {name: _kernels(hostvars[name].get(look) or {}) for name in waves.order}
    return {
        "order": list(waves.order),
        "sizes": list(waves.sizes),
        "kernels": kernels,
        "left_out": dict(waves.left_out),
    }


def _kernels(seen: Mapping[str, t.Any]) -> str:
    """Return the kernels of a host before and after its upgrade, and why it needs one."""
    reasons = ", ".join(str(reason.get("id")) for reason in seen.get("reasons") or ())
    return f"{seen.get('from')} to {seen.get('to')}: {reasons or 'an unfinished reboot'}"


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"upgrade_waves": upgrade_waves}
