# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Filter that plans the waves in which hosts are enabled."""

from __future__ import annotations

DOCUMENTATION = r"""
name: enable_waves
short_description: Plan the waves in which hosts are enabled
version_added: 2.0.0
description:
  - Takes the names of hosts on which M(kernelops.livepatch.patch_info) was run with a registered result, and those that
    get a seat. Returns the hosts with a seat, the canaries first, divided into waves.
  - Hosts whose client is not enabled come before the others, because they show whether the token can be used.
positional: _input, hostvars, granted
options:
  _input:
    description: Names of all hosts that were checked.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars). For each host, the registered result is used.
    type: dict
    required: true
  granted:
    description: Registered result of M(kernelops.livepatch.seat_plan), or a list of the hosts that get a seat.
    type: raw
    required: true
  check:
    description: Name of the variable that contains the registered result.
    type: str
    default: livepatch_enable_check
  canaries:
    description:
      - Number of hosts to enable first, in a separate wave, or their names, as a list or separated by commas.
      - A name that is not in the input, and a host that gets no seat, are errors.
    type: raw
    default: 1
  serial:
    description: Size of a wave, as a number or a percentage, or a list of sizes. The last size of a list is repeated.
    type: raw
    default: 100%
"""

EXAMPLES = r"""
- name: Check the hosts
  kernelops.livepatch.patch_info:
    store: livepatch-records
  become: true
  register: livepatch_enable_check

- name: Plan the seats
  kernelops.livepatch.seat_plan:
    store: livepatch-records
    seats: 50
  check_mode: true
  register: seats
  run_once: true
  delegate_to: localhost

- name: Plan the waves
  ansible.builtin.set_fact:
    waves: "{{ ansible_play_hosts_all | kernelops.livepatch.enable_waves(hostvars, seats, canaries='web-01') }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: Waves of the run.
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
    plan:
      description: A line for each wave, with the number of its hosts and the first of their names.
      type: list
      elements: str
"""

import typing as t
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.host_list import HostListError, read_hosts
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import (
    Candidate,
    WavesError,
    describe_waves,
    plan_waves,
    read_canaries,
)


def enable_waves(
    names: Iterable[str],
    hostvars: Mapping[str, Mapping[str, t.Any]],
    granted: Mapping[str, t.Any] | Iterable[str],
    check: str = "livepatch_enable_check",
    canaries: t.Any = 1,
    serial: t.Any = "100%",
) -> dict[str, t.Any]:
    """Divide the hosts with a seat into waves. Raises `AnsibleFilterError`."""
    hosts = [str(name) for name in names]
    try:
        seated = _granted(granted) if isinstance(granted, Mapping) else [str(name) for name in granted]
        unfit = dict.fromkeys(set(hosts) - set(seated), "gets no seat")
        ordered = sorted(seated, key=lambda name: _is_enabled(hostvars[name].get(check) or {}))
        first = read_canaries(canaries, hosts, unfit)
        waves = plan_waves([Candidate(name) for name in ordered], canaries=first, serial=serial, groups_down={})
    except (HostListError, WavesError) as error:
        raise AnsibleFilterError(f"enable_waves: {error}") from error
    return {"order": list(waves.order), "sizes": list(waves.sizes), "plan": describe_waves(waves)}


def _granted(plan: Mapping[str, t.Any]) -> list[str]:
    """Return the granted hosts of a seat plan, whose result has a file with them in a large fleet."""
    file = plan.get("granted_file")
    return read_hosts(str(file)) if file else [str(name) for name in plan.get("granted") or ()]


def _is_enabled(result: Mapping[str, t.Any]) -> bool:
    """Return True if the client was enabled at the check, from its registered result."""
    return bool(((result.get("record") or {}).get("client") or {}).get("enabled"))


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"enable_waves": enable_waves}
