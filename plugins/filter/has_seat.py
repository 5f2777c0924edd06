# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Filter that returns whether a seat plan grants a host a seat."""

from __future__ import annotations

DOCUMENTATION = r"""
name: has_seat
short_description: Return whether a host is granted a seat
version_added: 2.0.0
description:
  - Takes the registered result of M(kernelops.livepatch.seat_plan) and the name of a host.
  - Also finds hosts of large fleets, of which RV(kernelops.livepatch.seat_plan#module:granted) has only the first ones.
positional: _input, host
options:
  _input:
    description: Registered result of M(kernelops.livepatch.seat_plan). Without a plan, no host has a seat.
    type: dict
    required: true
  host:
    description: Inventory name of the host.
    type: str
    required: true
notes:
  - The complete list of a large fleet is in a file on the controller, which is removed at the end of the run. Plan the
    seats in the run that uses them.
"""

EXAMPLES = r"""
- name: Plan the seats for the hosts of this play
  kernelops.livepatch.seat_plan:
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  delegate_to: localhost
  register: seat_plan

- name: Enable the hosts that get a seat
  kernelops.livepatch.client:
    token: "{{ livepatch_token }}"
  become: true
  when: seat_plan | kernelops.livepatch.has_seat(inventory_hostname)
"""

RETURN = r"""
_value:
  description: True if the plan grants the host a seat.
  type: bool
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.host_list import HostListError, has_host


def has_seat(plan: Mapping[str, t.Any], host: str) -> bool:
    """Return True if a seat plan grants the host a seat. Raises `AnsibleFilterError`."""
    if host in (plan.get("granted") or ()):
        return True
    file = plan.get("granted_file")
    if not file:
        return False
    try:
        return has_host(str(file), str(host))
    except HostListError as error:
        raise AnsibleFilterError(f"has_seat: {error}") from error


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"has_seat": has_seat}
