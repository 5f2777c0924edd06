#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: record_store
short_description: Prepare a store in PostgreSQL, import records into it, and export them
version_added: 2.0.0
description:
  - Creates or upgrades the tables of a store in PostgreSQL, imports folders of records and a history, and exports all
    records as JSON Lines.
  - Every step can be repeated. A record that the store already has, or that is older than the one in the store, changes
    nothing.
  - Records that wait on this controller, because the store could not be reached, are sent to it.
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
      - In check mode, the module returns the same numbers, and changes nothing.
  diff_mode:
    support: N/A
    details:
      - The records of a fleet are too many to show.
options:
  store:
    description:
      - Address of a store in PostgreSQL, such as C(postgresql://livepatch@db.example.com/livepatch). The role needs the
        right to create a schema, at least when a version of the collection uses the store for the first time.
      - For an export only, this can also be a folder of records.
    type: path
    required: true
  import_folders:
    description:
      - Folders of records to import, with failed attempts and granted seats. The locks of drain groups are not
        imported, so no run of the playbook C(upgrade) may be in progress.
    type: list
    elements: path
    default: []
  import_history:
    description: History to import, an SQLite file of the option O(kernelops.livepatch.fleet_report#module:history).
    type: path
  export_file:
    description: File for the export. Each line is a record or a failed attempt in JSON.
    type: path
seealso:
  - module: kernelops.livepatch.fleet_report
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Create the tables, and import the records and the history of this controller
  kernelops.livepatch.record_store:
    store: postgresql://livepatch_owner@db.example.com/livepatch
    import_folders: [livepatch-records]
    import_history: livepatch-history.sqlite
  delegate_to: localhost
  run_once: true

- name: Export all records
  kernelops.livepatch.record_store:
    store: postgresql:///?service=livepatch
    export_file: /srv/livepatch/records.jsonl
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
schema:
  description: Version of the schema before and after the task, V(0) without a schema. V(null) for a folder.
  returned: success
  type: dict
  contains:
    before:
      description: Version that was found.
      type: int
      returned: success
      sample: 0
    after:
      description: Version that this version of the collection uses.
      type: int
      returned: success
      sample: 1
imported:
  description: Numbers of what was imported and is new in the store.
  returned: success
  type: dict
  contains:
    records:
      description: Records that the store did not have.
      type: int
      returned: success
      sample: 250
    attempts:
      description: Failed attempts that the store did not have.
      type: int
      returned: success
      sample: 3
    grants:
      description: Granted seats that the store did not have.
      type: int
      returned: success
      sample: 0
    hosts_in_history:
      description: Hosts in O(import_history), known or not.
      type: int
      returned: success
      sample: 253
    problems:
      description: The first 100 files that could not be used, each with C(id), C(path), C(message) and C(host).
      type: list
      elements: dict
      returned: success
exported:
  description: Number of lines in O(export_file). V(null) without it.
  returned: success
  type: int
  sample: 253
waiting:
  description: Number of records that still wait on this controller.
  returned: success
  type: int
  sample: 0
"""
