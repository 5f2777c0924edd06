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
  - Takes the names of hosts on which M(kernelops.livepatch.patch_info), and M(kernelops.livepatch.kernel_upgrade) in
    check mode, were run with registered results. Returns the hosts that must be upgraded, in order and divided into
    waves.
  - A host is selected by its state. A host whose patches end soon, or whose metapackages have moved to a newer series,
    is also selected, unless it is V(ineligible).
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
    description: The variable C(hostvars). For each host, C(drain_group) and the registered results are used.
    type: dict
    required: true
  check:
    description: Name of the variable that contains the registered result of M(kernelops.livepatch.patch_info).
    type: str
    default: livepatch_upgrade_check
    version_added: 2.0.0
  look:
    description: Name of the variable that contains the registered result of M(kernelops.livepatch.kernel_upgrade).
    type: str
    default: livepatch_upgrade_look
  states:
    description: States of the hosts to upgrade, as a list or separated by commas.
    type: list
    elements: str
    default: [upgrade_required, end_of_life]
    version_added: 2.0.0
  force:
    description: Select every host.
    type: bool
    default: false
    version_added: 2.0.0
  canaries:
    description:
      - Number of hosts to upgrade first, in a separate wave, or their names, as a list or separated by commas.
      - A name that is not in the input, and a host that could not be checked, are errors.
    type: raw
    default: 1
  serial:
    description: Size of a wave, as a number or a percentage, or a list of sizes. The last size of a list is repeated.
    type: raw
    default: 1
"""

EXAMPLES = r"""
- name: Check the hosts
  kernelops.livepatch.patch_info:
  become: true
  register: livepatch_upgrade_check

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
    plan:
      description: A line for each host in the waves, with its wave, its state, its running and its new kernel, and the
        reason for the upgrade.
      type: list
      elements: str
    groups:
      description: Names of the checked hosts of each drain group. Groups C(1) and C("1") are the same group.
      type: dict
    by_state:
      description: Names of the hosts that their state selects. Their clients need not report why.
      type: list
      elements: str
    left_out:
      description: Reasons why hosts wait for another host, by host name.
      type: dict
    not_selected:
      description: Hosts that need a newer kernel, but have another state, by host name.
      type: dict
    not_checked:
      description: Hosts that could not be checked, with the reason, by host name.
      type: dict
    not_listed:
      description: Number of entries that are missing from V(plan), V(left_out), V(not_selected) and V(not_checked), by
        key, because the result of a task that shows them would be too large for AWX. Empty for most fleets.
      type: dict
"""

import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.upgrades import (
    UPGRADED_STATES,
    CheckedHost,
    plan_upgrades,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import WavesError
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.result_limits import (
    ENTRIES,
    limit_lists,
)


def upgrade_waves(
    names: Iterable[str],
    hostvars: Mapping[str, Mapping[str, t.Any]],
    look: str = "livepatch_upgrade_look",
    canaries: t.Any = 1,
    serial: t.Any = 1,
    check: str = "livepatch_upgrade_check",
    states: Sequence[str] | str = UPGRADED_STATES,
    force: bool = False,
) -> dict[str, t.Any]:
    """Divide hosts into waves. Raises `AnsibleFilterError`."""
    hosts = [_checked(str(name), hostvars[name], check, look) for name in names]
    try:
        run = plan_upgrades(hosts, states=states, force=force, canaries=canaries, serial=serial)
    except WavesError as error:
        raise AnsibleFilterError(f"upgrade_waves: {error}") from error
    groups: dict[str, list[str]] = {}
    for host in hosts:
        if host.drain_group is not None:
            groups.setdefault(host.drain_group, []).append(host.name)
    # Plays select hosts with the other values. These are shown, in the result of a task.
    reasons: dict[str, Mapping[str, str]] = {
        "left_out": run.waves.left_out,
        "not_selected": run.not_selected,
        "not_checked": {host.name: host.failure for host in hosts if host.failure is not None},
    }
    shown = {"plan": list(run.plan), **{name: list(of_hosts.items()) for name, of_hosts in reasons.items()}}
    limited = limit_lists(shown, dict.fromkeys(shown, ENTRIES))
    found = {
        "order": list(run.waves.order),
        "sizes": list(run.waves.sizes),
        "by_state": list(run.by_state),
        "groups": groups,
        **limited,
        **{name: dict(limited[name]) for name in reasons},
    }
    # Reasons and kernels are texts of hosts. Before ansible-core 2.19, a variable with such a text would be evaluated.
    unsafe: dict[str, t.Any] = wrap_var(found)
    return unsafe


def _checked(name: str, variables: Mapping[str, t.Any], check: str, look: str) -> CheckedHost:
    """Return a host from the registered results of its tasks."""
    group, seen = variables.get("drain_group"), variables.get(look) or {}
    failed = not seen or seen.get("unreachable") or seen.get("failed")
    assessment = ((variables.get(check) or {}).get("record") or {}).get("assessment") or {}
    reasons = assessment.get("reasons") or [{}]
    return CheckedHost(
        name=name,
        drain_group=None if group is None else str(group),
        state=assessment.get("state"),
        reason=reasons[0].get("message"),
        running=seen.get("from"),
        target=seen.get("to"),
        needs=tuple(str(reason.get("id")) for reason in seen.get("reasons") or ()),
        unfinished=bool(seen.get("unfinished")) and not failed,
        failure=str(seen.get("msg") or "the host was not checked") if failed else None,
    )


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"upgrade_waves": upgrade_waves}
