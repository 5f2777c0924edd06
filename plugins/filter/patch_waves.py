# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Filter that plans the waves in which hosts are patched."""

from __future__ import annotations

DOCUMENTATION = r"""
name: patch_waves
short_description: Plan the waves in which hosts are patched
version_added: 2.0.0
description:
  - Takes the names of hosts on which M(kernelops.livepatch.patch_info) was run with a registered result. Returns the
    hosts whose client is enabled, the canaries first, divided into waves.
positional: _input, hostvars
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
  check:
    description: Name of the variable that contains the registered result.
    type: str
    default: livepatch_patch_check
  canaries:
    description:
      - Number of hosts to patch first, in a separate wave, or their names, as a list or separated by commas.
      - A name that is not in the input, and a host whose client is not enabled, are errors.
    type: raw
    default: 1
  serial:
    description: Size of a wave, as a number or a percentage, or a list of sizes. The last size of a list is repeated.
    type: raw
    default: [10%, 100%]
"""

EXAMPLES = r"""
- name: Check the hosts
  kernelops.livepatch.patch_info:
  become: true
  register: livepatch_patch_check

- name: Plan the waves
  ansible.builtin.set_fact:
    waves: "{{ ansible_play_hosts_all | kernelops.livepatch.patch_waves(hostvars, canaries='web-01,web-02') }}"
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

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import (
    Candidate,
    WavesError,
    describe_waves,
    plan_waves,
    read_canaries,
)


def patch_waves(
    names: Iterable[str],
    hostvars: Mapping[str, Mapping[str, t.Any]],
    check: str = "livepatch_patch_check",
    canaries: t.Any = 1,
    serial: t.Any = ("10%", "100%"),
) -> dict[str, t.Any]:
    """Divide the enabled hosts into waves. Raises `AnsibleFilterError`."""
    hosts = {str(name): _unfit(hostvars[name].get(check) or {}) for name in names}
    unfit = {name: reason for name, reason in hosts.items() if reason is not None}
    enabled = [Candidate(name) for name in hosts if name not in unfit]
    try:
        waves = plan_waves(enabled, canaries=read_canaries(canaries, hosts, unfit), serial=serial, groups_down={})
    except WavesError as error:
        raise AnsibleFilterError(f"patch_waves: {error}") from error
    return {"order": list(waves.order), "sizes": list(waves.sizes), "plan": describe_waves(waves)}


def _unfit(result: Mapping[str, t.Any]) -> str | None:
    """Return why a host cannot be patched, from the registered result of its check; None if its client is enabled."""
    record = result.get("record")
    if not record or result.get("failed") or result.get("unreachable"):
        return "could not be checked"
    return None if (record.get("client") or {}).get("enabled") else "is not enabled"


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"patch_waves": patch_waves}
