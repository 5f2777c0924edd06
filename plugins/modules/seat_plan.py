#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: seat_plan
short_description: Plan which hosts can use the seats of a token
version_added: 1.0.0
description:
  - Grants the seats of a Livepatch token to hosts, so that no more hosts are enabled than the token allows. A seat is
    one machine that the token can enable.
  - The plan is based on the records that M(kernelops.livepatch.patch_info) stored on the controller.
  - Hosts that already have a seat are granted it first. The other hosts follow in the given order.
  - All records in O(store) count, also those of hosts that are not part of this run. A host has a seat if its last
    record shows it as enabled. A host is also counted if it might have a seat. This is the case if its client could not
    report whether it is enabled, if its record cannot be used, or if a seat was granted to it and no newer record
    exists, for example after an interrupted run.
  - A host is denied a seat if it is unreachable, has no record, is not eligible, or has the same machine ID as another
    host, because the livepatch service treats hosts with the same machine ID as one machine.
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
      - In check mode, the module returns the same plan, but does not store the granted seats.
  diff_mode:
    support: N/A
    details:
      - This module does not change anything on a host.
options:
  store:
    description:
      - Folders on the controller with the records of all hosts that use the token. The granted seats are stored in the
        first folder, in the file C(seats.granted). A granted seat is removed from this file when the host has a newer
        record.
      - Or the address of a store in PostgreSQL. Several controllers that use it at the same time never grant more seats
        than there are.
      - If a fleet has several tokens, use a separate folder or database for each token.
    type: list
    elements: path
    required: true
    aliases: [record_dir]
  hosts:
    description:
      - Inventory names of the hosts that need a seat, in the order in which seats are granted.
      - By default, all hosts that have a record, in alphabetical order.
    type: list
    elements: str
  priority:
    description:
      - Hosts that are granted a seat before the other hosts in O(hosts), in this order. Names that are not in O(hosts)
        are ignored.
      - Hosts that already have a seat still come first.
    type: list
    elements: str
    default: []
  seats:
    description:
      - Number of machines that the token can enable.
      - By default, the number of the free tier in O(policy).
    type: int
  policy:
    description:
      - Policy that provides the default of O(seats). This is V(launch), V(current), a file or a mapping. See
        O(kernelops.livepatch.patch_info#module:policy).
      - The eligibility of a host is read from its record. It depends on the policy that was used to create the record.
    type: raw
    default: launch
  require_eligible:
    description: Deny a seat to hosts that are not eligible or whose eligibility is unknown.
    type: bool
    default: true
  show:
    description:
      - Show the plan as a table on the terminal. Use V(false) if standard output must keep another format, for example
        with a JSON callback.
    type: bool
    default: true
notes:
  - Run this module once for all hosts, with C(run_once) or in a play on C(localhost), after
    M(kernelops.livepatch.patch_info) has stored the records of the hosts.
  - Runs that use the same folder wait for each other. Two controllers that share a token do not know each other's
    records. Both can grant the last seat, and the livepatch server then refuses one of the hosts.
  - The module never disables a host, even if more hosts are enabled than there are seats.
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Plan the seats of the free tier for the hosts of this play
  kernelops.livepatch.seat_plan:
    store: livepatch-records
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  delegate_to: localhost
  register: seat_plan

- name: Plan 50 seats and start with the databases
  kernelops.livepatch.seat_plan:
    store: livepatch-records
    hosts: "{{ ansible_play_hosts_all }}"
    priority: "{{ groups['databases'] }}"
    seats: 50
  run_once: true
  delegate_to: localhost
  register: seat_plan

- name: Show which hosts would get one of 5 seats
  kernelops.livepatch.seat_plan:
    store: livepatch-records
    seats: 5
  check_mode: true
  run_once: true
"""

RETURN = r"""
granted:
  description:
    - Hosts that can be enabled, starting with those that already have a seat. Never more than there are seats.
    - A result with more than about 4,000 hosts has only the first ones. Select hosts with the filter
      P(kernelops.livepatch.has_seat#filter), which finds all of them.
  returned: success
  type: list
  elements: str
  sample: [web-01, db-01, db-02]
granted_file:
  description:
    - File on the controller with all granted hosts, for the filter P(kernelops.livepatch.has_seat#filter). Ansible
      removes it at the end of the run.
    - Null if RV(granted) has all hosts.
  returned: success
  type: str
  sample: null
denied:
  description: Hosts in O(hosts) that do not get a seat, in the order of O(hosts).
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: Name of the host.
      type: str
      sample: web-02
    id:
      description:
        - V(seats_used_up), or V(seats_exceeded) for a host that is enabled although there is no seat left.
        - V(ineligible) or V(eligibility_unknown), according to the record.
        - V(cloned) if the host has the same machine ID as another host.
        - V(unreachable), V(no_record) or V(record_unusable) if there is no current record.
      type: str
      sample: seats_used_up
    message:
      description: Explanation in one sentence.
      type: str
      sample: all 3 seats are taken by web-01, db-01 and db-02
    remedy:
      description: Next step. Null if there is none.
      type: str
      sample: disable a host that does not need Livepatch, or get more seats
in_use:
  description:
    - Hosts that have, or might have, a seat before anything is enabled. Includes hosts that are not in O(hosts).
    - Hosts with the same machine ID use one seat together.
  returned: success
  type: list
  elements: str
  sample: [web-01]
seats:
  description: Number of machines that the token can enable.
  returned: success
  type: int
  sample: 3
free:
  description: Number of seats that remain after all granted seats are used.
  returned: success
  type: int
  sample: 0
problems:
  description: Record files that cannot be used. Their hosts are counted as if they had a seat.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: V(file_unreadable), V(invalid_json), V(malformed_record) or V(newer_schema).
      type: str
      sample: invalid_json
    path:
      description: Path of the file.
      type: str
      sample: /srv/livepatch/livepatch-records/web-07.json
    message:
      description: Description of the problem and its location in the file.
      type: str
      sample: "not a valid record: patch.fixes[3].cve: is missing"
    host:
      description: Name of the host that the file belongs to.
      type: str
      sample: web-07
not_listed:
  description:
    - Number of entries that are missing from RV(granted), RV(denied), RV(in_use) and RV(problems), by key, because the
      result would be too large for AWX. Empty for most fleets.
  returned: success
  type: dict
  sample: {}
"""
