#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Report on a fleet from the records of its hosts
version_added: 1.0.0
description:
  - Reads the records that M(kernelops.livepatch.patch_info) stored, shows them as a table, writes them as files, and
    fails where hosts are in a state that must not be.
  - Several folders are merged. The newest record of a host counts.
  - A host is V(unreachable) when its last attempt gave no answer, when it has no record although it is expected, and
    when its record cannot be used. The report then says when, and in which state, it was last seen.
  - A file that cannot be used (cut off, malformed, written by a later version of the collection) is named among the
    problems, and the rest is still reported.
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
      - In check mode the table is shown, and no file is written.
  diff_mode:
    support: none
    details:
      - The files can be as large as the fleet.
options:
  record_dir:
    description:
      - Folders with records on the controller.
      - Relative paths begin in the folder that Ansible was started in.
    type: list
    elements: path
    required: true
  hosts:
    description:
      - The hosts to report on, by their names in the inventory. One that has no record is V(unreachable).
      - Records of other hosts are left out, and counted in RV(summary.left_out).
      - By default the report is on every host that the folders know of.
    type: list
    elements: str
  formats:
    description:
      - What to make of the records.
      - V(table) is for people. It is shown on the terminal, where a fleet of more than 200 hosts is cut to those that
        are not protected. Written to a file, it is whole. Leave it out where standard output must stay in another
        form, as with a JSON callback.
      - V(json) is one document with the summary, the problems, the records, and the hosts that are unreachable.
      - V(jsonl) is one line of JSON for each host. The state is in C(assessment.state) also for one that is
        unreachable.
      - V(markdown) is for pages and pull requests.
      - V(html) is one page for people that loads nothing, to be sorted, filtered and searched, with all that is known
        of each host.
      - V(csv) is a row for each host, for spreadsheets and databases. A value that a spreadsheet would take for a
        formula begins with an apostrophe.
      - V(junit) is for the test pages of Jenkins and GitLab, with a suite for each rule and a case for each host in it.
        A case of a host that is unreachable is skipped where the host does not break the rule.
      - V(sarif) is for code scanning pages, in version 2.1.0, with a result for each host that breaks a rule.
      - V(prometheus) is for the textfile collector of the node exporter.
    type: list
    elements: str
    choices: [table, json, jsonl, markdown, html, csv, junit, sarif, prometheus]
    default: [table]
  output_dir:
    description:
      - Folder on the controller in which the report is written, as C(fleet.txt), C(fleet.json), C(fleet.jsonl),
        C(fleet.md), C(fleet.html), C(fleet.csv), C(fleet.junit.xml), C(fleet.sarif) and C(fleet.prom). It is made where
        it does not exist, and must not be a folder of records.
      - Each file is replaced as a whole, and only when something in it other than the time of the report is new.
      - Without this no file is written.
    type: path
  rules:
    description:
      - Rules that the records are held against. V(default) for those that are shipped, the path of a YAML file with a
        list of rules, one rule as a mapping, or a list of all these. An empty list is for no rules.
      - A rule has the keys C(id), C(expression), C(message), and optionally C(severity) (V(error), V(warning) or
        V(info), by default V(error)), C(scope) (V(host) or V(fleet), by default V(host)) and C(remedy).
      - The C(expression) is one of JMESPath. It sees the record, and beside it C(state), C(hours_since_record),
        C(hours_since_check) and C(days_until_upgrade). Where it is true, the rule is broken. The guide on rules tells
        more.
      - Of two rules with the same id, the later one counts.
      - Rules need the Python package jmespath on the controller. Where it is missing, a report that does not ask for
        rules is made without them, with a warning.
    type: raw
    default: default
  closed_cves:
    description:
      - CVEs that must be closed on every host by its live patch. Each is a rule of severity V(error) with the number
        of the CVE as its id.
      - A client says which CVEs its patch closes, and those of the first years do not. With O(notices), a CVE also
        counts as closed where they show it for the kernel and the patch of a host that is V(protected), or for a kernel
        that has the fix itself, unless the client says that it is open.
    type: list
    elements: str
    default: []
  seats:
    description:
      - How many hosts may be enabled. The rule C(seats_exceeded) is broken where there are more.
      - By default this is not known, and the rule holds.
    type: int
  fail_on:
    description:
      - By what the task fails, after everything is shown and written. Each is the id of a rule that is broken, a
        severity, for all rules that have it, or a state that a host is in,
        V(unreachable), V(tampered),
        V(ineligible), V(failed), V(end_of_life), V(upgrade_required), V(disabled), V(stale), V(applying),
        V(unverified), V(protected) or V(unknown).
    type: list
    elements: str
    default: []
  history:
    description:
      - File on the controller that keeps what became of the fleet, an SQLite database. It is made where it does not
        exist.
      - Of each host only changes of its state, kernel and patch are kept, with the first and the last time of each. Two
        reports may write one history at the same time, and to report on a record again changes nothing.
      - The report then shows the states by day and, with O(notices), how long vulnerabilities were open.
    type: path
  retention:
    description:
      - Of the O(history), what ended more than so many days ago is dropped.
      - By default all is kept.
    type: int
  notices:
    description:
      - Livepatch Security Notices on the controller, in the form of OSV, as a folder, an archive or a file. With them
        the report tells for how long hosts of the O(history) were exposed to which vulnerabilities, and O(closed_cves)
        rests on more than what clients say.
      - A host is exposed from the publication of a notice that is for its kernel until the first record that shows it
        V(protected) by a patch, or a kernel, that closes the notice.
      - A vulnerability that the first record of a host already shows as closed, and that was published before, is only
        counted in RV(history.closed_before), for nobody knows when it was closed.
    type: path
notes:
  - Use it once for all hosts, with C(run_once) or in a play on C(localhost).
  - Control characters, escape sequences, direction overrides, HTML, Markdown and formulas that a host may have put
    into its record show as text in every format, and do nothing.
seealso:
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Show every host that has a record
  kernelops.livepatch.fleet_report:
    record_dir: livepatch-records

- name: Merge what three controllers have collected, for people and for machines
  kernelops.livepatch.fleet_report:
    record_dir:
      - records/berlin
      - records/lisbon
      - records/oslo
    formats: [table, json, markdown]
    output_dir: livepatch-report
  run_once: true

- name: Fail when a host of this play is broken or gave no answer
  kernelops.livepatch.fleet_report:
    record_dir: livepatch-records
    hosts: "{{ ansible_play_hosts_all }}"
    fail_on: [unreachable, tampered, failed, end_of_life]
  run_once: true

- name: Fail a pipeline where a rule of severity error is broken, with results for its pages
  kernelops.livepatch.fleet_report:
    record_dir: livepatch-records
    formats: [table, junit, sarif]
    output_dir: livepatch-report
    rules:
      - default
      - id: client_outdated
        severity: warning
        expression: "!starts_with(client.version || '', '10.')"
        message: the client is not of version 10
        remedy: snap refresh canonical-livepatch
    closed_cves: [CVE-2024-1086]
    seats: 50
    fail_on: [error]

- name: Keep a history for two years, and tell how long vulnerabilities were open
  kernelops.livepatch.fleet_report:
    record_dir: livepatch-records
    formats: [html, json]
    output_dir: livepatch-report
    history: livepatch-history.sqlite
    retention: 730
    notices: /srv/osv/lsn
"""

RETURN = r"""
files:
  description: The files that hold the report, written now or found as they should be. In check mode those that would.
  returned: success, and failure by O(fail_on)
  type: list
  elements: path
  sample: [/srv/livepatch/livepatch-report/fleet.txt, /srv/livepatch/livepatch-report/fleet.json]
summary:
  description: The figures of the report.
  returned: success, and failure by O(fail_on)
  type: dict
  contains:
    hosts:
      description: Number of hosts in the report.
      type: int
      sample: 38
    states:
      description: Number of hosts in each state. Every state is there.
      type: dict
      sample:
        unreachable: 1
        tampered: 0
        ineligible: 0
        failed: 0
        end_of_life: 2
        upgrade_required: 0
        disabled: 3
        stale: 0
        applying: 0
        unverified: 0
        protected: 32
        unknown: 0
    rules:
      description: How often each rule is broken. Every rule is there.
      type: dict
      sample: {"no_answer": 1, "not_protected": 6, "not_eligible": 2, "patch_tampered": 0, "cloned": 2}
    kernels:
      description: >-
        Number of reachable hosts on each kernel, the most frequent first. A C(kernel) that is not known is null.
      type: list
      elements: dict
      sample: [{"kernel": "4.4.0-168.197-generic", "hosts": 37}]
    patch_versions:
      description: >-
        Number of reachable hosts on each patch version, the most frequent first. Null where there is no patch.
      type: list
      elements: dict
      sample: [{"version": "65.1", "hosts": 34}, {"version": null, "hosts": 3}]
    oldest_record:
      description: When the oldest record of the report was collected (RFC 3339, UTC). Null where there is no record.
      type: str
      sample: "2026-01-10T06:00:00Z"
    newest_record:
      description: When the newest record of the report was collected (RFC 3339, UTC). Null where there is no record.
      type: str
      sample: "2026-01-10T06:02:41Z"
    exposed_containers:
      description: How many containers run on kernels that are not protected, where they could be counted.
      type: int
      sample: 12
    left_out:
      description: Number of hosts that have records in the folders and are not in O(hosts).
      type: int
      sample: 0
history:
  description: The figures of the O(history). Null without one.
  returned: success, and failure by O(fail_on)
  type: dict
  contains:
    begins_at:
      description: When the first record that it knows of was collected (RFC 3339, UTC).
      type: str
      sample: "2025-06-02T01:10:00Z"
    time_to_patch:
      description: >-
        How long vulnerabilities were open on hosts, over all that were closed since the history begins, each counted
        host by host. Null where there is none.
      type: dict
      contains:
        exposures:
          description: How many.
          type: int
          sample: 1240
        mean_days:
          description: Their mean, in days.
          type: float
          sample: 2.13
        p95_days:
          description: Their 95th percentile, in days.
          type: float
          sample: 6.04
    open_exposures:
      description: How many vulnerabilities are open, counted host by host. Null without O(notices).
      type: int
      sample: 12
    closed_before:
      description: >-
        How many vulnerabilities the first record of a host showed as closed, so that nobody knows since when. Null
        without O(notices).
      type: int
      sample: 310
hosts_by_state:
  description: Names of the hosts in each state. Every state is there.
  returned: success
  type: dict
  sample:
    unreachable: [web-07]
    tampered: []
    ineligible: []
    failed: []
    end_of_life: [db-01, db-02]
    upgrade_required: []
    disabled: [build-01, build-02, build-03]
    stale: []
    applying: []
    unverified: []
    protected: [web-01, web-02]
    unknown: []
hosts_by_rule:
  description: Names of the hosts that break each rule. Every rule is there.
  returned: success
  type: dict
  sample:
    no_answer: [web-07]
    patch_tampered: []
    cloned: [build-01, build-02]
problems:
  description: What could not be used of the folders.
  returned: success, and failure because there is no host to report on
  type: list
  elements: dict
  contains:
    id:
      description: V(folder_unreadable), V(file_unreadable), V(invalid_json), V(malformed_record) or V(newer_schema).
      type: str
      sample: invalid_json
    path:
      description: The file or folder.
      type: str
      sample: /srv/livepatch/livepatch-records/web-07.json
    message:
      description: What is wrong with it, and where in it.
      type: str
      sample: "this is no record: patch.fixes[3].cve: is missing"
    host:
      description: The host that it would have told of. Null where that is not known.
      type: str
      sample: web-07
"""
