#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Report on a fleet from stored records
version_added: 1.0.0
description:
  - Reads the records that M(kernelops.livepatch.patch_info) stored on the controller, shows a table of the hosts,
    writes the report in several formats, and fails if hosts are in a given state or violate a rule.
  - Records from several folders are merged. If a host has several records, the newest one is used.
  - The state of a host is V(no_answer) if its last attempt returned no record, if O(hosts) names it and it has no
    record, or if its record cannot be used. The report then shows when the host was last seen, and its state at that
    time.
  - A file that cannot be used (truncated, malformed, or written by a later version of the collection) is listed in
    RV(problems). The rest of the report is not affected.
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
      - In check mode, the table is shown, but no file is written.
  diff_mode:
    support: none
    details:
      - The files can be very large.
options:
  store:
    description:
      - Folders on the controller that contain records, or addresses of stores in PostgreSQL, such as
        C(postgresql://livepatch@db.example.com/livepatch).
      - A store in PostgreSQL also has the history of the fleet. Records that wait on this controller are sent to it
        first.
      - Relative paths are relative to the directory in which Ansible was started.
    type: list
    elements: path
    required: true
    aliases: [record_dir]
  hosts:
    description:
      - Inventory names of the hosts to report on. A host without a record is reported as V(no_answer).
      - Records of other hosts are ignored. Their number is returned in RV(summary.left_out).
      - By default, the report covers all hosts that have a record.
    type: list
    elements: str
  formats:
    description:
      - Formats of the report. Without O(output_dir), all formats except V(table) are ignored.
      - V(table) is a text table. On the terminal, a fleet of more than 50 hosts is reduced to the hosts that are not
        protected. The file contains all hosts. Omit V(table) if standard output must keep another format, for example
        with a JSON callback.
      - V(json) is one document with the summary, the problems, the records and the hosts without an answer.
      - V(jsonl) has one line of JSON for each host. The state is in C(assessment.state), also without an answer.
      - V(markdown) is for wikis and pull requests.
      - V(html) is a self-contained page with all details of each host. The hosts can be sorted, filtered and searched.
      - V(csv) has one row for each host. Values that a spreadsheet would interpret as a formula start with an
        apostrophe.
      - V(junit) is for the test reports of Jenkins and GitLab. It has one test suite for each rule and one test case
        for each host. If a host gave no answer and does not violate the rule, its test case is skipped.
      - V(sarif) is for code scanning, in version 2.1.0. It has one result for each host that violates a rule.
      - V(prometheus) is for the textfile collector of the Prometheus node exporter.
      - V(openvex) is a folder of OpenVEX documents, which let vulnerability scanners leave out what a live patch fixes.
        The documents are those of the option O(kernelops.livepatch.exposure_info#module:openvex_dir). Keep the folder
        between runs.
      - V(scanner_csv) has one row for each host and vulnerability that is open, unknown or live patched, for scanners
        that do not read OpenVEX.
      - V(openvex) and V(scanner_csv) require O(vulnerability_data).
    type: list
    elements: str
    choices: [table, json, jsonl, markdown, html, csv, junit, sarif, prometheus, openvex, scanner_csv]
    default: [table]
  output_dir:
    description:
      - Folder on the controller for the report files. It is created if it does not exist. It must not be a folder in
        O(store).
      - The file names are C(fleet.txt), C(fleet.json), C(fleet.jsonl), C(fleet.md), C(fleet.html), C(fleet.csv),
        C(fleet.junit.xml), C(fleet.sarif), C(fleet.prom) and C(fleet.scanner.csv). The OpenVEX documents are in the
        folder C(openvex).
      - The file C(summary.txt) has the report in at most 20 lines for mail and chat. The files C(changes.txt) and
        C(changes.json) have what changed since the last report in this folder. The folder C(states) keeps what the next
        comparison needs.
      - A report is compared with the last one of the same kind, which is one with the same O(limit), or one with
        O(hosts), or one of all hosts with a record. A report of the same records is compared with the same earlier one.
      - Each file is replaced atomically, and only if its content differs in more than the time of the report.
      - By default, no file is written.
    type: path
  rules:
    description:
      - Rules to evaluate the records against. This is V(default) for the rules of the collection, the path of a YAML
        file that contains a list of rules, one rule as a mapping, or a list of these. An empty list disables all rules.
      - A rule has the keys C(id), C(expression) and C(message). Optional keys are C(severity) (V(error), V(warning) or
        V(info), by default V(error)), C(scope) (V(host) or V(fleet), by default V(host)) and C(remedy).
      - The C(expression) is a JMESPath expression on the record of a host. It can also use C(state),
        C(hours_since_record), C(hours_since_check), C(days_until_upgrade), C(open_vulnerabilities),
        C(overdue_vulnerabilities), C(unknown_vulnerabilities) and C(open_cves). The rule is violated if the expression
        is true. See the page on rules in the guide.
      - If two rules have the same id, the later one replaces the earlier one.
      - Rules require the Python package jmespath on the controller. If it is missing and no option asks for rules, the
        report is created without rules and a warning is shown.
    type: raw
    default: default
  closed_cves:
    description:
      - CVEs that must be fixed by the live patch on every host. Each CVE becomes a rule of severity V(error), with the
        number of the CVE as its id.
      - The client reports the CVEs that its patch fixes. Clients of the first years do not. With O(notices), a CVE is
        also considered fixed if the notices list it as fixed by the patch of a host that is V(protected), or by the
        kernel itself, unless the client reports it as open.
    type: list
    elements: str
    default: []
  waivers:
    description:
      - YAML file on the controller with waivers, findings that an owner accepts until a date.
      - Each entry has C(reason), C(owner) and C(expires), a date such as V(2026-12-31), and at least one of C(host),
        C(group), C(cve) and C(rule). It covers the findings for which all of these match. A group is one of the
        inventory.
      - A finding that a waiver covers is shown as waived in all formats except V(jsonl), which has no findings, and
        O(fail_on) ignores it. The state of the host does not change.
      - After the date, the findings count again. From 14 days before, the module warns.
    type: path
  group_by:
    description:
      - Groups of the inventory and host variables by which the report shows the hosts, in this order, for example
        V([production, staging, region]).
      - They come from the records. M(kernelops.livepatch.patch_info) and M(kernelops.livepatch.patch) store them with
        the option of the same name. The module warns of a name that no host of the report has.
    type: list
    elements: str
    default: []
  seats:
    description:
      - Number of machines that the token can enable. If more hosts are enabled, the rule C(seats_exceeded) is violated.
      - With V(0), no host may be enabled. By default, this number is unknown, and the rule is never violated.
    type: int
  fail_on:
    description:
      - Conditions that make the task fail after the report is shown and written.
      - Each item is the id of a rule, a severity, or a state. An id matches if the rule is violated. A severity matches
        if any rule of this severity is violated. A state matches if any host is in this state. Violations that
        O(waivers) cover do not count. V(no_answer) is both a state and a rule, and a waiver of the rule covers both.
      - The states are V(no_answer), V(tampered), V(ineligible), V(held_back), V(failed), V(end_of_life),
        V(upgrade_required), V(disabled), V(stale), V(applying), V(unverified), V(exposed), V(protected) and V(unknown).
      - The state V(exposed) and the rules C(vulnerability_open) and C(vulnerability_overdue) need
        O(vulnerability_data). Without it, the task fails, because they would never match.
    type: list
    elements: str
    default: []
  limit:
    description:
      - Pattern to which the run is limited, for example the variable C(ansible_limit). The files are then written to
        the folder C(limited) in O(output_dir), so that the report of a part of the fleet never replaces that of the
        fleet.
      - By default, the report is one of the fleet.
    type: str
  history:
    description:
      - SQLite database file on the controller that stores the history of the fleet. It is created if it does not exist.
      - For each host, only changes of state, kernel and patch are stored, with the first and the last time of each.
        Several reports can write to the same history at the same time. Reporting on the same record again changes
        nothing.
      - The report then shows the states by day and, with O(notices), how long vulnerabilities were open.
    type: path
  retention:
    description:
      - Number of days to keep entries in O(history). Entries that ended earlier are deleted.
      - By default, all entries are kept.
    type: int
  notices:
    description:
      - Livepatch Security Notices in OSV format on the controller, as a folder, an archive or a file. They are used to
        calculate how long the hosts in O(history) were exposed to vulnerabilities, and for O(closed_cves).
      - A host is exposed from the publication of a notice that applies to its kernel until the first record that shows
        the host as V(protected) by a patch or a kernel that fixes the vulnerabilities.
      - If a vulnerability was published before the first record of a host, and is fixed in this record, the time of the
        fix is unknown. Such vulnerabilities are only counted in RV(history.closed_before).
    type: path
  vulnerability_data:
    description:
      - Published vulnerability data, as in M(kernelops.livepatch.exposure_info). Paths are relative to the directory in
        which Ansible was started. With O(notices), the report also shows which live patch fixes a vulnerability.
      - The report then shows the open vulnerabilities of each host. A host that would be V(protected) is V(exposed) if
        at least one of them is open. A host whose vulnerabilities are unknown keeps its state.
      - The task fails if the data cannot be used, so that no host is shown as V(protected) without the evaluation.
      - By default, vulnerabilities are not evaluated.
    type: list
    elements: str
  minimum_priority:
    description:
      - Lowest priority, as Ubuntu assigns it, of the vulnerabilities to evaluate. Vulnerabilities without a priority
        are always evaluated.
    type: str
    choices: [negligible, low, medium, high, critical]
    default: high
  vulnerability_deadlines:
    description:
      - Days within which vulnerabilities must be closed, by priority. After that, an open vulnerability is overdue, and
        the host violates the rule C(vulnerability_overdue).
      - A vulnerability without a priority has the deadline of V(critical).
      - By default, there are no deadlines.
    type: dict
  vulnerability_deadlines_from:
    description:
      - Day from which O(vulnerability_deadlines) count.
      - V(published) is the publication of the vulnerability. One without a date is never overdue.
      - V(fixed) is the publication of its first fix, by the first security notice (USN) for the source package, or by
        the notice of the live patch for the kernel. A vulnerability without a fix is never overdue. If the data has no
        date of the fix, as OSV documents, the publication of the vulnerability counts.
      - V(seen) is the first report in O(history) in which the vulnerability was open on a host. The option requires
        O(history).
    type: str
    choices: [published, fixed, seen]
    default: published
  openvex_author:
    description: Author of the OpenVEX documents, for example V(Fleet security, Example Ltd.).
    type: str
    default: Operator of the fleet
  cache_dir:
    description:
      - Folder on the controller for downloaded and compiled vulnerability data. Only root and the user that runs
        Ansible may be able to write to it.
    type: path
    default: ~/.cache/kernelops.livepatch
  title:
    description: Title of the report.
    type: str
    default: Livepatch report
  notify:
    description:
      - Webhooks, chats and mail addresses that are notified of changes after the report is written. Requires
        O(output_dir).
      - A notification that fails is a warning, and RV(notifications) has its reason. No URL and no password is shown.
      - In check mode, the module shows which notifications would be sent.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description:
          - Kind of the target. V(webhook) gets a JSON document.
          - V(slack) and V(mattermost) are incoming webhooks of these chats. V(teams) is a webhook of Workflows in
            Microsoft Teams, and gets an Adaptive Card.
          - V(mail) sends a mail to an SMTP server.
        type: str
        choices: [webhook, slack, teams, mattermost, mail]
        required: true
      name:
        description: Name of the target in messages. By default, its type and its server.
        type: str
      when:
        description:
          - V(changes) notifies if anything changed since the last report. A first report has no changes.
          - V(failure) notifies if a host lost its protection, if a rule fails or a vulnerability is open since the last
            report, and if O(fail_on) matches.
          - V(always) notifies after each report.
        type: str
        choices: [changes, failure, always]
        default: changes
      required:
        description: Whether the task fails if this notification fails. The report is complete in any case.
        type: bool
        default: false
      timeout:
        description: Seconds in which the server must answer, from V(1) to V(120). A webhook has two attempts.
        type: int
        default: 15
      url:
        description:
          - URL of a webhook, with C(https://) or C(http://). Required except for V(mail).
          - A redirect is followed only within the same server.
        type: str
      authorization:
        description: Value of the HTTP header C(Authorization), for example C(Bearer TOKEN).
        type: str
      host:
        description: SMTP server. Required for V(mail).
        type: str
      port:
        description:
          - Port of the SMTP server. By default V(587) with V(starttls), V(465) with V(tls), and V(25) with V(none).
        type: int
      security:
        description: Encryption of the connection to the SMTP server. With V(none), no password can be used.
        type: str
        choices: [starttls, tls, none]
        default: starttls
      user:
        description: User name at the SMTP server. By default, the module does not log in.
        type: str
      password:
        description: Password at the SMTP server.
        type: str
      from:
        description: Address of the sender. Required for V(mail).
        type: str
      to:
        description: Addresses of the recipients. Required for V(mail).
        type: list
        elements: str
  ca_path:
    description:
      - File (PEM) or folder on the controller with the certificates of authorities that are trusted for O(notify) and
        for O(vulnerability_data). By default, those of the system.
    type: path
  proxy:
    description:
      - URL of an HTTP proxy for webhooks and for O(vulnerability_data). By default, the proxy of the environment.
    type: str
notes:
  - Run this module once for all hosts, with C(run_once) or in a play on C(localhost).
  - Records contain text from the hosts. Control characters, escape sequences, direction overrides, HTML, Markdown and
    formulas in this text are escaped in all formats.
seealso:
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Report on all hosts that have a record
  kernelops.livepatch.fleet_report:
    store: livepatch-records

- name: Merge the records of three controllers and write report files
  kernelops.livepatch.fleet_report:
    store:
      - records/berlin
      - records/lisbon
      - records/oslo
    formats: [table, json, markdown]
    output_dir: livepatch-report
  run_once: true

- name: Fail if a host of this play gave no answer or is in a bad state
  kernelops.livepatch.fleet_report:
    store: livepatch-records
    hosts: "{{ ansible_play_hosts_all }}"
    fail_on: [no_answer, tampered, failed, end_of_life]
  run_once: true

- name: Fail a CI pipeline if a rule of severity error is violated
  kernelops.livepatch.fleet_report:
    store: livepatch-records
    formats: [table, junit, sarif]
    output_dir: livepatch-report
    rules:
      - default
      - id: client_outdated
        severity: warning
        expression: "!starts_with(client.version || '', '10.')"
        message: the client is not version 10
        remedy: snap refresh canonical-livepatch
    closed_cves: [CVE-2024-1086]
    seats: 50
    fail_on: [error]

- name: Accept some findings until a date
  # The file contains for example:
  # - rule: not_protected
  #   group: build_hosts
  #   reason: rebuilt every night
  #   owner: build team
  #   expires: 2026-12-31
  kernelops.livepatch.fleet_report:
    store: livepatch-records
    formats: [table, junit, sarif]
    output_dir: livepatch-report
    waivers: livepatch-waivers.yml
    fail_on: [error]

- name: Keep a history of two years and show how long vulnerabilities were open
  kernelops.livepatch.fleet_report:
    store: livepatch-records
    formats: [html, json]
    output_dir: livepatch-report
    history: livepatch-history.sqlite
    retention: 730
    notices: /srv/osv/lsn

- name: Show open vulnerabilities, and fail if one is older than its deadline
  kernelops.livepatch.fleet_report:
    store: livepatch-records
    formats: [table, html, json]
    output_dir: livepatch-report
    vulnerability_data: /srv/vulnerability-data
    notices: /srv/notices
    vulnerability_deadlines: {critical: 7, high: 30}
    fail_on: [vulnerability_overdue]

- name: Send a message to a chat and a mail if anything changed since the last report
  kernelops.livepatch.fleet_report:
    record_dir: livepatch-records
    formats: [table, html]
    output_dir: livepatch-report
    notify:
      - type: slack
        url: "{{ vault_slack_webhook }}"
      - type: mail
        when: failure
        host: smtp.example.com
        user: livepatch
        password: "{{ vault_smtp_password }}"
        from: livepatch@example.com
        to: [operations@example.com]
  no_log: true

- name: Write documents for vulnerability scanners with the report
  kernelops.livepatch.fleet_report:
    store: livepatch-records
    formats: [table, openvex, scanner_csv]
    output_dir: livepatch-report
    vulnerability_data: /srv/vulnerability-data
    notices: /srv/notices
    openvex_author: Fleet security, Example Ltd.
"""

RETURN = r"""
files:
  description: Paths of the report files, and of the folder for V(openvex), whether or not their content changed. In
    check mode, the files that would be written.
  returned: success, or failure because of O(fail_on)
  type: list
  elements: path
  sample: [/srv/livepatch/livepatch-report/fleet.txt, /srv/livepatch/livepatch-report/fleet.json]
summary:
  description: Figures of the report.
  returned: success, or failure because of O(fail_on)
  type: dict
  contains:
    hosts:
      description: Number of hosts in the report.
      type: int
      sample: 38
    eligible:
      description: Number of hosts that live patches could protect, all except those in the state V(ineligible).
      type: int
      sample: 36
    groups:
      description:
        - Numbers of hosts by key of O(group_by) and group, as C(group), C(hosts), C(eligible) and C(protected).
        - The largest groups come first. Beyond 100 groups, the others are counted as V(others). Hosts without a group
          are V(none).
      type: dict
      sample:
        region:
          - {group: eu, hosts: 30, eligible: 30, protected: 28}
          - {group: none, hosts: 8, eligible: 6, protected: 4}
    states:
      description: Number of hosts in each state. Contains every state.
      type: dict
      sample:
        no_answer: 1
        tampered: 0
        ineligible: 0
        failed: 0
        end_of_life: 2
        upgrade_required: 0
        disabled: 3
        stale: 0
        applying: 0
        unverified: 0
        exposed: 0
        protected: 32
        unknown: 0
    rules:
      description: Number of violations of each rule. Contains every rule.
      type: dict
      sample: {"no_answer": 1, "not_protected": 6, "not_eligible": 2, "patch_tampered": 0, "cloned": 2}
    kernels:
      description: Number of reachable hosts for each kernel, most frequent first. C(kernel) is null if it is unknown.
      type: list
      elements: dict
      sample: [{"kernel": "4.4.0-168.197-generic", "hosts": 37}]
    patch_versions:
      description: Number of reachable hosts for each patch version, most frequent first. C(version) is null for hosts
        without a patch.
      type: list
      elements: dict
      sample: [{"version": "65.1", "hosts": 34}, {"version": null, "hosts": 3}]
    oldest_record:
      description: Time of the oldest record in the report (RFC 3339, UTC). Null if there are no records.
      type: str
      sample: "2026-01-10T06:00:00Z"
    newest_record:
      description: Time of the newest record in the report (RFC 3339, UTC). Null if there are no records.
      type: str
      sample: "2026-01-10T06:02:41Z"
    exposed_containers:
      description: Number of containers that run on kernels that are not protected, as far as containers could be
        counted.
      type: int
      sample: 12
    covered_by_other_policies:
      description: Number of ineligible hosts that another policy covers, by the name of that policy.
      type: dict
      sample: {current: 12}
    waived:
      description: Number of violations of rules that O(waivers) cover. They are not counted in C(rules).
      type: int
      sample: 1
    waivers:
      description: Number of entries in O(waivers) by status, V(active), V(expiring) (within 14 days) or V(expired).
      type: dict
      sample: {active: 1, expiring: 0, expired: 0}
    coverage:
      description: Numbers of hosts by the age of their last record.
      type: dict
      sample: {this_run: 247, last_day: 2, older: 1, none: 0}
      contains:
        this_run:
          description: Hosts with a record of this run.
          type: int
        last_day:
          description: Hosts with a record of the last 24 hours, but not of this run.
          type: int
        older:
          description: Hosts with an older record only.
          type: int
        none:
          description: Hosts without a record.
          type: int
    left_out:
      description: Number of hosts that have a record but are not in O(hosts).
      type: int
      sample: 0
    not_listed:
      description: Number of entries that are missing from RV(summary.kernels) and RV(summary.patch_versions), by key,
        because the result would be too large. Empty for most fleets. The format V(json) has all.
      type: dict
      sample: {}
    vulnerabilities:
      description: Figures of the vulnerabilities. Null without O(vulnerability_data).
      type: dict
      contains:
        hosts_by_status:
          description: Number of hosts by the most urgent status of their vulnerabilities, V(open), V(unknown),
            V(live_patched), V(fixed) or V(not_affected). The sum is RV(summary.hosts).
          type: dict
          sample: {"open": 2, "unknown": 1, "live_patched": 30, "fixed": 5, "not_affected": 0}
        open_cves:
          description: Number of vulnerabilities that are open on a host, by priority. C(unrated) has those without a
            priority.
          type: dict
          sample: {"critical": 1, "high": 4}
        pairs:
          description: Number of pairs of a host and a vulnerability, by priority and status.
          type: dict
          sample: {"critical": {"open": 2, "unknown": 1, "live_patched": 30, "fixed": 5, "not_affected": 0}}
        evaluated:
          description: Number of vulnerabilities that were evaluated.
          type: int
          sample: 412
        oldest_data:
          description: Date of the oldest package data. Null if it is not known.
          type: str
          sample: "2026-01-09"
history:
  description: Figures of the O(history). Null if O(history) is not set.
  returned: success, or failure because of O(fail_on)
  type: dict
  contains:
    begins_at:
      description: Time of the first record in the history (RFC 3339, UTC).
      type: str
      sample: "2025-06-02T01:10:00Z"
    time_to_patch:
      description: How long vulnerabilities were open until they were fixed. Covers all vulnerabilities that were fixed
        since the history began, counted once per host. Null if there are none.
      type: dict
      contains:
        exposures:
          description: Number of fixed vulnerabilities.
          type: int
          sample: 1240
        mean_days:
          description: Mean time until the fix, in days.
          type: float
          sample: 2.13
        p95_days:
          description: 95th percentile of the time until the fix, in days.
          type: float
          sample: 6.04
    open_exposures:
      description: Number of open vulnerabilities, counted once per host. Null without O(notices).
      type: int
      sample: 12
    closed_before:
      description: Number of vulnerabilities that were already fixed in the first record of a host, so that the time of
        the fix is unknown. Null without O(notices).
      type: int
      sample: 310
openvex:
  description: Figures of the OpenVEX documents. Null if V(openvex) is not in O(formats), and without O(output_dir).
  returned: success, or failure because of O(fail_on)
  type: dict
  contains:
    documents:
      description: Number of documents that apply to hosts.
      type: int
      sample: 2
    changed:
      description: Names of the files that changed.
      type: list
      elements: str
      sample: [4.4.0-168.197-generic-patch-65-6f0c7d2b9a31.openvex.json, index.json]
    withdrawn:
      description: Names of the documents that no host in the report supports any more, since this run.
      type: list
      elements: str
      sample: []
    without_document:
      description: Number of hosts without a document, because they have no usable record, or it lacks the packages.
      type: int
      sample: 0
    not_listed:
      description: Number of names that are missing from RV(openvex.changed) and RV(openvex.withdrawn), by key, because
        the result would be too large. C(index.json) has the names of all documents.
      type: dict
      sample: {}
changes:
  description:
    - Changes since the last report, with up to 20 entries of each list, and none in a failure. Null without an earlier
      report to compare with, and without O(output_dir). The file C(changes.json) has up to 1000 entries.
  returned: success, or failure because of O(fail_on) or O(notify)
  type: dict
  contains:
    since:
      description: Time of the earlier report (RFC 3339, UTC).
      type: str
      sample: "2026-01-09T06:02:50Z"
    before:
      description:
        - Numbers of V(protected) hosts, of V(outdated) ones, whose record is older than 24 hours, and of V(eligible)
          ones in the earlier report.
      type: dict
      sample: {"protected": 36, "outdated": 0, "eligible": 38}
    now:
      description: The same numbers in this report.
      type: dict
      sample: {"protected": 35, "outdated": 0, "eligible": 38}
    unprotected:
      description: Hosts that were protected and are not.
      type: dict
      sample:
        number: 1
        first: [{"host": "web-07", "before": "protected", "now": "failed", "reason": "the patch could not be applied"}]
    protected:
      description: Hosts that are protected and were not.
      type: dict
      sample: {"number": 0, "first": []}
    others:
      description: Hosts that changed between other states.
      type: dict
      sample: {"number": 0, "first": []}
    judged_anew:
      description: Hosts whose state changed, and that are evaluated by another policy than before.
      type: dict
      sample: {"number": 0, "first": []}
    new:
      description: Hosts that the earlier report did not have.
      type: dict
      sample: {"number": 0, "first": []}
    gone:
      description: Hosts that only the earlier report had.
      type: dict
      sample: {"number": 0, "first": []}
    kernels:
      description: Changes of kernels, with the number of hosts.
      type: dict
      sample:
        number: 1
        first: [{"before": "4.4.0-168.197-generic", "now": "4.4.0-170.199-generic", "hosts": 3}]
    patches:
      description: Changes of patches, with the number of hosts.
      type: dict
      sample: {"number": 0, "first": []}
    failing:
      description: Rules that are violated and were not.
      type: dict
      sample:
        number: 1
        first: [{"rule": "not_protected", "severity": "error", "before": 0, "now": 1, "waived": 0}]
    passing:
      description: Rules that were violated and are not.
      type: dict
      sample: {"number": 0, "first": []}
    opened:
      description: Vulnerabilities that are open on a host and were not, with O(vulnerability_data).
      type: dict
      sample: {"number": 1, "first": [{"cve": "CVE-2024-1086", "priority": "high", "hosts": 3, "unknown": 0}]}
    closed:
      description: Vulnerabilities that were open on a host and are on none.
      type: dict
      sample: {"number": 0, "first": []}
    undecided:
      description: Vulnerabilities that were open on a host, and are open on none but unknown on some.
      type: dict
      sample: {"number": 0, "first": []}
    notes:
      description: Parts without a comparison, for example because rules or the policy changed.
      type: list
      elements: str
      sample: []
notifications:
  description: What happened to the targets in O(notify).
  returned: success, or failure because of O(fail_on) or O(notify)
  type: list
  elements: dict
  contains:
    name:
      description: Name of the target.
      type: str
      sample: slack hooks.slack.com
    type:
      description: Type of the target.
      type: str
      sample: slack
    status:
      description: V(sent), V(failed), V(not_due), or V(would_send) in check mode.
      type: str
      sample: sent
    reason:
      description: Why it failed or is not due. In check mode, the subject of the message.
      type: str
      sample: nothing changed
    remedy:
      description: What to do if it failed.
      type: str
      sample: check user and password
hosts_by_state:
  description: Names of the hosts in each state. Contains every state. In a fleet of more than about 4000 hosts, only
    the first names, see RV(not_listed).
  returned: success
  type: dict
  sample:
    no_answer: [web-07]
    tampered: []
    ineligible: []
    failed: []
    end_of_life: [db-01, db-02]
    upgrade_required: []
    disabled: [build-01, build-02, build-03]
    stale: []
    applying: []
    unverified: []
    exposed: []
    protected: [web-01, web-02]
    unknown: []
hosts_by_rule:
  description: Names of the hosts that violate each rule. Contains every rule. With more than about 4000 names, only the
    first ones, see RV(not_listed).
  returned: success
  type: dict
  sample:
    no_answer: [web-07]
    patch_tampered: []
    cloned: [build-01, build-02]
waived_by_rule:
  description: Number of violations of each rule that O(waivers) cover. Contains every rule.
  returned: success
  type: dict
  sample: {no_answer: 0, patch_tampered: 0, not_protected: 1}
problems:
  description: Files and folders that could not be used.
  returned: success, or failure because there is no host to report on
  type: list
  elements: dict
  contains:
    id:
      description:
        - V(folder_unreadable), V(file_unreadable), V(invalid_json), V(malformed_record), V(newer_schema), or
          V(record_from_future) for a time of more than five minutes ahead of the controller's clock.
      type: str
      sample: invalid_json
    path:
      description: Path of the file or folder. For V(record_from_future), the name of the file.
      type: str
      sample: /srv/livepatch/livepatch-records/web-07.json
    message:
      description: Description of the problem and its location in the file.
      type: str
      sample: "not a valid record: patch.fixes[3].cve: is missing"
    host:
      description: Name of the host that the file belongs to. Null if it is unknown.
      type: str
      sample: web-07
not_listed:
  description:
    - Number of entries that are missing from RV(hosts_by_state), RV(hosts_by_rule) and RV(problems), by key, because
      the result would be too large for AWX. Empty for most fleets. Use the counts in RV(summary), and the format
      V(json) for all names.
  returned: success
  type: dict
  sample: {}
"""
