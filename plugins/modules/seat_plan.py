#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: seat_plan
short_description: Decide which hosts may use the seats of a token
version_added: 1.0.0
description:
  - A token enables only so many machines. This module grants its seats to hosts, from the records that
    M(kernelops.livepatch.patch_info) stored, so that never more hosts are enabled than there are seats.
  - Hosts that hold a seat already come first, then the others in the order in which they are given.
  - All records in the folders count, also of hosts that are not in this run. A host holds a seat when it is enabled as
    last seen. It may hold one, and is counted, when its client could not say, when its record cannot be used, and when
    a seat was granted to it and it has not been looked at since, as after a run that was interrupted.
  - A host gets no seat when it cannot be reached, has no record, is not eligible, or has the same machine identity as
    another host, which the service would take for the same machine.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.controller
attributes:
  check_mode:
    support: full
    details:
      - In check mode the plan is the same, and no grant is noted.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing on any host.
options:
  record_dir:
    description:
      - Folders with the records of all hosts that use the token. The grants are noted in the first of them, in the file
        C(seats.granted), until a record of the host is newer.
      - Where a fleet has several tokens, keep a folder for each.
    type: list
    elements: path
    required: true
  hosts:
    description:
      - The hosts that want a seat, by their names in the inventory, in the order in which they get one.
      - By default every host that the folders know of, by name.
    type: list
    elements: str
  priority:
    description:
      - Hosts that come before the others of O(hosts), in this order. Those that are not in O(hosts) get no seat by it.
      - A host that holds a seat keeps it all the same.
    type: list
    elements: str
    default: []
  seats:
    description:
      - How many machines the token enables.
      - By default the number that the O(policy) has for the free tier.
    type: int
  policy:
    description:
      - The policy that has the number of seats, V(launch), V(current), a file or a mapping. See
        O(kernelops.livepatch.patch_info#module:policy).
      - Whether a host is eligible is what its record says, under the policy that it was checked with.
    type: raw
    default: launch
  require_eligible:
    description: Deny hosts that are not eligible, or not known to be.
    type: bool
    default: true
  show:
    description:
      - Show the plan as a table on the terminal. Switch it off where standard output must stay in another form, as with
        a JSON callback.
    type: bool
    default: true
notes:
  - Use it once for all hosts, with C(run_once) or in a play on C(localhost), after
    M(kernelops.livepatch.patch_info) has looked at the hosts that want a seat.
  - Plans on one folder of records wait for each other. Two controllers that share a token know nothing of each other's
    records, so that both may grant the last seat. The server then refuses one of the hosts.
  - The plan never disables a host, also where more are enabled than there are seats.
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Plan the seats of the free tier for the hosts of this play
  kernelops.livepatch.seat_plan:
    record_dir: livepatch-records
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  delegate_to: localhost
  register: seat_plan

- name: Databases first, 50 seats
  kernelops.livepatch.seat_plan:
    record_dir: livepatch-records
    hosts: "{{ ansible_play_hosts_all }}"
    priority: "{{ groups['databases'] }}"
    seats: 50
  run_once: true
  delegate_to: localhost
  register: seat_plan

- name: Who would get a seat, of all hosts that were ever checked
  kernelops.livepatch.seat_plan:
    record_dir: livepatch-records
    seats: 5
  check_mode: true
  run_once: true
"""

RETURN = r"""
granted:
  description:
    - The hosts that may be enabled, those that hold a seat already first. Never more than there are seats.
  returned: success
  type: list
  elements: str
  sample: [web-01, db-01, db-02]
denied:
  description: The hosts that want a seat and get none, in the order of O(hosts).
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host.
      type: str
      sample: web-02
    id:
      description:
        - V(seats_used_up) or, for a host that is enabled all the same, V(seats_exceeded).
        - V(ineligible) or V(eligibility_unknown), by its record.
        - V(cloned), when it has the machine identity of another host.
        - V(unreachable), V(no_record) or V(record_unusable), when there is nothing new to judge it by.
      type: str
      sample: seats_used_up
    message:
      description: Why.
      type: str
      sample: all 3 seats are taken by web-01, db-01 and db-02
    remedy:
      description: What to do. Null where nothing is known to help.
      type: str
      sample: disable a host that can do without, or get more seats
in_use:
  description:
    - The hosts that hold a seat now, or may hold one, before anything is enabled. Also those that are not in O(hosts).
    - Hosts with the same machine identity hold one seat together.
  returned: success
  type: list
  elements: str
  sample: [web-01]
seats:
  description: How many machines the token enables.
  returned: success
  type: int
  sample: 3
free:
  description: The seats that are left when all that are granted are taken.
  returned: success
  type: int
  sample: 0
problems:
  description: Files of records that cannot be used. Their hosts are counted as holding a seat.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: V(file_unreadable), V(invalid_json), V(malformed_record) or V(newer_schema).
      type: str
      sample: invalid_json
    path:
      description: The file.
      type: str
      sample: /srv/livepatch/livepatch-records/web-07.json
    message:
      description: What is wrong with it, and where in it.
      type: str
      sample: "this is no record: patch.fixes[3].cve: is missing"
    host:
      description: The host that it would have told of.
      type: str
      sample: web-07
"""
