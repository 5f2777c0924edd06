#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_variables
short_description: Check the variables of a playbook or role before a host is contacted
version_added: 2.0.0
description:
  - Checks all variables of a playbook of this collection, and fails with all faults at once. The playbooks call it
    first, so that a typing error ends the run before any host is contacted, and counts for no host.
  - The names and types are those of the role P(kernelops.livepatch.playbook_defaults#role). A variable whose name
    begins with C(livepatch_) and that no playbook has is a fault, wherever it is defined. The inventory of the run is
    checked too.
  - Values of types are accepted as Ansible accepts them for options of modules. Numbers, booleans and lists can be
    texts, as with C(-e name=value).
  - Values that need a variable that only a host has are checked when they are used.
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
      - The module changes nothing.
  diff_mode:
    support: none
    details:
      - The module changes nothing.
options:
  playbook:
    description:
      - Playbook whose variables are checked. Exactly one of O(playbook) and O(role) is required.
    type: str
    choices: [check, enable, exposure, patch, report, store, upgrade, vulnerability_data]
  role:
    description:
      - Role whose variables are checked. Only the names are checked, because Ansible checks the values. The prefix of a
        role is an ordinary word, so that only names that are similar to a variable of the role are faults.
    type: str
    choices: [client, eligibility, kernel_upgrade, mirror, patch, report]
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Check the variables of the playbook check
  kernelops.livepatch.validate_variables:
    playbook: check
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
error_id:
  description: V(variables_invalid). The message C(msg) has one line for each fault.
  returned: failure
  type: str
  sample: variables_invalid
remedy:
  description: Next step.
  returned: failure
  type: str
  sample: "correct them: the page on variables in the guide lists the variables"
"""
