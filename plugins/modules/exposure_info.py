#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs on the host that has the records, usually the controller, which needs Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: exposure_info
short_description: Find out which kernel vulnerabilities are open on the hosts of a fleet
version_added: 2.0.0
description:
  - Evaluates vulnerabilities for each host, from stored records and published vulnerability data. No host is contacted.
  - On a host, a vulnerability is V(not_affected), V(fixed) in the running kernel, V(live_patched), V(open) or
    V(unknown). It is V(live_patched) only if kernel and client confirm that the patch runs, and the last record of the
    host has the state V(protected) or V(exposed).
  - The list of fixes that the client reports for the running kernel has precedence over package data, and package data
    has precedence over notices. Where all of them are silent, the status is V(unknown).
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - requests (for a URL)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.web
attributes:
  check_mode:
    support: full
    details:
      - In check mode, O(output_file) is not written. Everything else is the same.
  diff_mode:
    support: N/A
    details:
      - This module does not change anything on a host.
  platform:
    support: full
    platforms: posix
    details:
      - Requires Python 3.10 or later on the host where it runs. Usually, this is the controller, with C(delegate_to).
options:
  store:
    description:
      - Folders with the records that M(kernelops.livepatch.patch_info) stored, or addresses of stores in PostgreSQL.
    type: list
    elements: path
    required: true
    aliases: [record_dir]
  hosts:
    description:
      - Inventory names of the hosts to evaluate. A host without a usable record is V(unknown).
      - By default, all hosts that have a record.
    type: list
    elements: str
  vulnerability_data:
    description:
      - Published vulnerability data, as paths or as URLs that start with C(https://) or C(http://).
      - A file or a URL is Canonical's data of a release (C(com.ubuntu.xenial.pkg.json), also with C(.xz), C(.bz2) or
        C(.gz)), an archive (tar or zip) of OSV documents, or one OSV document.
      - A folder can have the data of several releases, OSV documents of vulnerabilities (C(UBUNTU-CVE-2024-1086.json)),
        Livepatch Security Notices and archives, also in subfolders. If M(kernelops.livepatch.vulnerability_data) made
        it, all its files must be complete and unchanged.
      - A URL that ends with C(/) is the address of Canonical's data by release. The files for the releases of the hosts
        are downloaded, for example C(com.ubuntu.xenial.pkg.json.xz).
    type: list
    elements: str
    default: ["https://security-metadata.canonical.com/oval/"]
  notices:
    description:
      - Livepatch Security Notices in OSV or raw form, as paths or URLs of folders, archives or files. They can also be
        part of O(vulnerability_data).
      - Without notices, it is unknown which live patch fixes a vulnerability that is open.
    type: list
    elements: str
    default: []
  cve:
    description:
      - Vulnerabilities to evaluate, for example V(CVE-2024-1086).
      - By default, all vulnerabilities of O(minimum_priority) that are open on at least one host, the oldest first.
    type: list
    elements: str
  minimum_priority:
    description:
      - Lowest priority, as Ubuntu assigns it, of the vulnerabilities to evaluate. A vulnerability without a priority is
        always evaluated.
      - It is ignored if O(cve) is set.
    type: str
    choices: [negligible, low, medium, high, critical]
    default: high
  maximum_age:
    description:
      - Age in days above which vulnerability data is refused, because it does not have the newest vulnerabilities.
      - It is the time since the server confirmed the file as current, from the manifest of a folder that
        M(kernelops.livepatch.vulnerability_data) made. Without a manifest, the date of the data counts. Data without
        any date is refused.
      - By default, data of any age is used. RV(data_age_days) has its age.
    type: int
  waivers:
    description:
      - YAML file with waivers, vulnerabilities that an owner accepts until a date. Each entry has C(reason), C(owner)
        and C(expires), a date such as V(2026-12-31), and C(cve), C(host) or C(group), or several of these. Entries for
        a C(rule) are ignored here.
      - Where a waiver covers a vulnerability, its status stays V(open) or V(unknown), and the result has the waiver.
        RV(not_waived) counts the hosts apart.
      - After the date, the waiver has no effect. From 14 days before, the module warns.
    type: path
  groups:
    description: Hosts of each of the groups that O(waivers) names. In a play, this is C(groups).
    type: dict
    default: {}
  output_file:
    description: File for the complete result as JSON. The returned lists are limited.
    type: path
  openvex_dir:
    description:
      - Folder for OpenVEX documents, which let vulnerability scanners leave out what a live patch fixes. It is created
        if it does not exist.
      - There is one document for each set of hosts with the same kernel, installed packages and confirmed live patch.
        The file C(index.json) names the document of each host.
      - A vulnerability is V(not_affected) where the live patch fixes it, V(affected) where it is open, and
        V(under_investigation) where its status is unknown.
      - A document keeps its C(@id). Its C(version) increases with each change, so keep the folder between runs. If no
        host supports a document any more, for example because it booted without the live patch, its statements become
        V(affected).
      - Requires records with the installed packages of the kernel, which release 1 of this collection did not collect.
    type: path
  openvex_author:
    description: Author of the OpenVEX documents, for example V(Fleet security, Example Ltd.).
    type: str
    default: Operator of the fleet
  scanner_csv:
    description:
      - File for a table (CSV) with a row for each host and vulnerability that is open, unknown or live patched, for
        scanners that do not read OpenVEX.
      - Values that a spreadsheet would interpret as a formula start with an apostrophe.
    type: path
  cache_dir:
    description:
      - Folder to cache downloads and compiled data in. A URL is downloaded again if the server reports that the content
        has changed (ETag).
      - Only root and the user that runs the module may be able to write to it. Otherwise, the module fails with
        V(unsafe_folder).
    type: path
    default: ~/.cache/kernelops.livepatch
  timeout:
    description: Maximum time in seconds to wait for data from the server.
    type: int
    default: 30
notes:
  - Canonical's vulnerability data is licensed under CC BY-SA 4.0. It is not part of this collection.
seealso:
  - module: kernelops.livepatch.notice_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Find the hosts on which a vulnerability is open
  kernelops.livepatch.exposure_info:
    store: livepatch-records
    vulnerability_data: https://security-metadata.canonical.com/oval/
    notices: /srv/notices
    cve: CVE-2024-1086
  delegate_to: localhost
  run_once: true
  register: exposure

- name: Fail if a host is exposed, or if its exposure is unknown
  ansible.builtin.assert:
    that: exposure.hosts_by_status.open + exposure.hosts_by_status.unknown == 0
    fail_msg: "{{ exposure.lines | join('\n') }}"

- name: Fail if a host is exposed, except where an owner accepts it
  kernelops.livepatch.exposure_info:
    store: livepatch-records
    vulnerability_data: /srv/vulnerability-data
    waivers: livepatch-waivers.yml
    groups: "{{ groups }}"
  delegate_to: localhost
  run_once: true
  register: exposure
  failed_when: exposure.not_waived.open + exposure.not_waived.unknown > 0

- name: List all open vulnerabilities of priority high and critical without internet access
  kernelops.livepatch.exposure_info:
    store: livepatch-records
    vulnerability_data: /srv/vulnerability-data
    output_file: livepatch-report/exposure.json
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
hosts:
  description: Number of hosts.
  returned: success
  type: int
  sample: 3
hosts_by_status:
  description:
    - Number of hosts by their most urgent status. The order is V(open), V(unknown), V(live_patched), V(fixed),
      V(not_affected). The sum is RV(hosts).
  returned: success
  type: dict
  sample: {open: 1, unknown: 1, live_patched: 1, fixed: 0, not_affected: 0}
not_waived:
  description:
    - As RV(hosts_by_status), with the status V(waived) in place of V(open) and V(unknown) for the vulnerabilities that
      O(waivers) cover. In the order, it comes after V(unknown). The sum is RV(hosts), too.
  returned: success
  type: dict
  sample: {open: 0, unknown: 1, waived: 1, live_patched: 1, fixed: 0, not_affected: 0}
waivers:
  description: Number of entries in O(waivers) by status, V(active), V(expiring) (within 14 days) or V(expired).
  returned: success
  type: dict
  sample: {active: 1, expiring: 0, expired: 0}
without_data:
  description:
    - Hosts that package data cannot be applied to, by reason. A vulnerability is V(unknown) on them, unless notices or
      the list of the client show more.
  returned: success
  type: list
  elements: dict
  contains:
    reason:
      description: ID of the reason.
      type: str
      returned: always
      sample: no_current_record
    message:
      description: The reason in one sentence.
      type: str
      returned: always
      sample: "the host has no usable record: it gave no answer, or was never checked"
    next_step:
      description: What to do next.
      type: str
      returned: always
      sample: "see the report for the reason, then check the host: ansible-playbook kernelops.livepatch.check --become"
    count:
      description: Number of hosts.
      type: int
      returned: always
      sample: 1
    hosts:
      description: Names of the first 20 hosts.
      type: list
      elements: str
      returned: always
      sample: [db-02]
  sample: []
evaluated:
  description: Number of vulnerabilities that were evaluated.
  returned: success
  type: int
  sample: 1
cves:
  description: Vulnerabilities in O(cve), or those that are open on a host, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    cve:
      description: Number of the vulnerability.
      type: str
      returned: always
      sample: CVE-2024-1086
    priority:
      description: Priority that Ubuntu assigned. Null if it is not known.
      type: str
      returned: always
      sample: high
    published:
      description: Date of publication. Null if it is not known.
      type: str
      returned: always
      sample: "2024-01-31"
    counts:
      description: Number of hosts with each status. The sum is RV(hosts).
      type: dict
      returned: always
      sample: {open: 1, unknown: 1, live_patched: 1, fixed: 0, not_affected: 0}
    not_waived:
      description:
        - As RV(cves[].counts), with the status V(waived) in place of V(open) and V(unknown) where a waiver covers the
          vulnerability. The sum is RV(hosts), too.
      type: dict
      returned: always
      sample: {open: 0, unknown: 1, waived: 1, live_patched: 1, fixed: 0, not_affected: 0}
    waived:
      description: Number of hosts, among those with the status V(open) or V(unknown), where a waiver covers it.
      type: int
      returned: always
      sample: 1
    groups:
      description: Hosts with the same status and next step.
      type: list
      elements: dict
      returned: always
      contains:
        status:
          description: Status of the vulnerability on these hosts.
          type: str
          returned: always
          sample: open
        fix:
          description: What fixes an open vulnerability. V(patch), V(reboot) if a kernel with the fix is installed,
              V(kernel), or V(none). Null for another status.
          type: str
          returned: always
          sample: kernel
        source_package:
          description: Source package of the running kernel. Null if it is not known.
          type: str
          returned: always
          sample: linux
        source_derived:
          description: Whether the source package was derived from the name of the kernel, because the record lacks it.
          type: bool
          returned: always
          sample: true
        fixed_in:
          description: Version of the source package with the fix. Null if none is known.
          type: str
          returned: always
          sample: 4.4.0-251.285
        patch:
          description: Major version of the live patch with the fix. Null if none is known.
          type: str
          returned: always
          sample: "113"
        evidence:
          description: Source of the status, V(client), V(package_data) or V(notice). Null if there is none.
          type: str
          returned: always
          sample: package_data
        reason:
          description: ID of the reason for the status V(unknown). Null for another status.
          type: str
          returned: always
          sample: null
        message:
          description: The reason in one sentence. Null for another status than V(unknown).
          type: str
          returned: always
          sample: null
        state:
          description: State of the hosts, if RV(cves[].groups[].next_step) solves its problem first. Otherwise null.
          type: str
          returned: always
          sample: null
        next_step:
          description: What to do next. Null if nothing is to be done.
          type: str
          returned: always
          sample: "apply live patch 113 or newer: ansible-playbook kernelops.livepatch.patch"
        waived:
          description:
            - The waiver that covers the vulnerability on these hosts, with C(reason), C(owner), C(expires), C(cve),
              C(host), C(group) and C(rule). Null if there is none.
          type: dict
          returned: always
          sample: null
        count:
          description: Number of hosts.
          type: int
          returned: always
          sample: 1
        hosts:
          description: Names of the hosts. In large fleets, only the first ones.
          type: list
          elements: str
          returned: always
          sample: [db-01]
left_out:
  description: Number of vulnerabilities that are missing from RV(cves), because the result would be too large.
  returned: success
  type: int
  sample: 0
lines:
  description: Summary for people, at most 200 lines.
  returned: success
  type: list
  elements: str
  sample: ["3 hosts, 1 vulnerability: 1 open, 1 unknown, 1 live_patched.", "Oldest package data: 2031-06-01."]
openvex:
  description: Figures of the documents in O(openvex_dir). Null if O(openvex_dir) is not set.
  returned: success
  type: dict
  contains:
    documents:
      description: Number of documents that apply to hosts.
      type: int
      returned: always
      sample: 2
    changed:
      description: Names of the files that changed.
      type: list
      elements: str
      returned: always
      sample: [4.4.0-168.197-generic-patch-65-6f0c7d2b9a31.openvex.json, index.json]
    withdrawn:
      description: Names of the documents that no evaluated host supports any more, since this run.
      type: list
      elements: str
      returned: always
      sample: []
    without_document:
      description: Number of hosts without a document, because they have no usable record, or it lacks the packages.
      type: int
      returned: always
      sample: 0
    not_listed:
      description: Number of names that are missing from RV(openvex.changed) and RV(openvex.withdrawn), by key, because
        the result would be too large. C(index.json) has the names of all documents.
      type: dict
      returned: always
      sample: {}
oldest_record:
  description: Time of the oldest record that was evaluated (RFC 3339, UTC). Null if there is none.
  returned: success
  type: str
  sample: "2026-01-10T06:00:00Z"
sources:
  description: The vulnerability data that was used.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file or folder.
      type: str
      returned: always
      sample: com.ubuntu.xenial.pkg.json.xz
    sha256:
      description: Digest of name and content.
      type: str
      returned: always
      sample: 0d5f0cbd6ac0b9d1a9d2b9e8a4e7b5d0c1f2a3b4c5d6e7f8091a2b3c4d5e6f70
    releases:
      description: Ubuntu releases with package data.
      type: list
      elements: str
      returned: always
      sample: ["16.04"]
    published:
      description: Date of the package data. Null if it is not known.
      type: str
      returned: always
      sample: "2026-01-09"
    cves:
      description: Number of kernel vulnerabilities.
      type: int
      returned: always
      sample: 6012
    notices:
      description: Number of Livepatch Security Notices.
      type: int
      returned: always
      sample: 0
    newest_notice:
      description: Time of publication of the newest notice. Null without notices.
      type: str
      returned: always
      sample: null
    checked_at:
      description: Time at which the server confirmed the file as current. Null if it is not known.
      type: str
      returned: always
      sample: "2026-01-09T05:00:00Z"
data_age_days:
  description:
    - Age of the oldest data in whole days, as for O(maximum_age). Null if the age of any data is not known.
  returned: success
  type: int
  sample: 1
unreadable:
  description: Documents, or parts of them, that cannot be parsed. At most 100 are returned.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file, relative to its source.
      type: str
      returned: always
      sample: osv/lsn/LSN-0113-1.json
    reason:
      description: Description of the problem.
      type: str
      returned: always
      sample: invalid JSON
  sample: []
problems:
  description: Record files that cannot be used. Their hosts are V(unknown). At most 100 are returned.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: V(file_unreadable), V(invalid_json), V(malformed_record), V(newer_schema) or V(folder_unreadable).
      type: str
      returned: always
      sample: invalid_json
    path:
      description: Path of the file.
      type: str
      returned: always
      sample: /srv/livepatch/livepatch-records/web-07.json
    message:
      description: Description of the problem.
      type: str
      returned: always
      sample: "this file is truncated or not JSON"
    host:
      description: Name of the host that the file belongs to. Null if it is not known.
      type: str
      returned: always
      sample: web-07
  sample: []
fetched:
  description: Whether data was downloaded in this run. V(false) if the cache is up to date, and for paths.
  returned: success
  type: bool
  sample: false
error_id:
  description: Identifier of the error.
  returned: failure
  type: str
  sample: vulnerability_data_unusable
remedy:
  description: How to fix the problem.
  returned: failure
  type: str
  sample: Name Canonical's data of a release, or OSV documents in a folder or an archive.
"""

import collections.abc as c
import datetime
import itertools
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waivers, load_waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import (
    file_error,
    has_content,
    write_atomically,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import limit_text
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.newest import NewestRecords, newest_records
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    is_database,
    store_place,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.store import passwords
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.store import load
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.fleet_exposure import (
    FleetExposure,
    evaluate_fleet,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners import scanner_csv
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.host_proof import (
    HostProof,
    host_proof,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.openvex import (
    DEFAULT_AUTHOR,
    vex_documents,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.vex_folder import (
    VexFigures,
    update_folder,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.state_steps import (
    StateStep,
    step_of_record,
    step_of_state,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.result_limits import (
    ENTRIES,
    limit_lists,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import Downloader, DownloadOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import user_and_password, visible_values
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import parse_time
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.data_files import DataFiles
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.exposure import (
    release_and_realm,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import VulnerabilityIndex
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import CVE, PRIORITIES

HOSTED_DATA = "https://security-metadata.canonical.com/oval/"
_MOST_PROBLEMS = 100
_WITHOUT_INTERNET = (
    "Without internet access, run ansible-playbook kernelops.livepatch.vulnerability_data on another machine, and name "
    "its folder in vulnerability_data"
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "store": {"type": "list", "elements": "path", "required": True, "aliases": ["record_dir"]},
    "hosts": {"type": "list", "elements": "str"},
    "vulnerability_data": {"type": "list", "elements": "str", "default": [HOSTED_DATA]},
    "notices": {"type": "list", "elements": "str", "default": []},
    "cve": {"type": "list", "elements": "str"},
    "minimum_priority": {"type": "str", "choices": list(PRIORITIES), "default": "high"},
    "waivers": {"type": "path"},
    "groups": {"type": "dict", "default": {}},
    "maximum_age": {"type": "int"},
    "output_file": {"type": "path"},
    "openvex_dir": {"type": "path"},
    "openvex_author": {"type": "str", "default": DEFAULT_AUTHOR},
    "scanner_csv": {"type": "path"},
    "cache_dir": {"type": "path", "default": "~/.cache/kernelops.livepatch"},
    "proxy": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
}


def chosen_cves(given: list[str] | None) -> list[str] | None:
    """Return the vulnerabilities that the option names. Raises `LivepatchError`."""
    if given is None:
        return None
    cves = [cve.strip().upper() for cve in given]
    wrong = next((cve for cve in cves if not CVE.fullmatch(cve)), None)
    if wrong is not None or not cves:
        shown = "an empty list" if wrong is None else repr(wrong[:64])
        message = f"the option cve contains {shown}, which is not the number of a vulnerability"
        raise LivepatchError("bad_option", message, "use numbers such as CVE-2024-1086, or omit the option")
    return cves


def read_records(options: dict[str, t.Any]) -> NewestRecords[tuple[HostProof, StateStep | None]]:
    """Return the evidence of each host, and the step of its state.

    Raises `LivepatchError` without any host, and if a folder cannot be read.
    """
    places = [store_place(place) for place in options["store"]]
    now = datetime.datetime.now(datetime.timezone.utc)
    records = newest_records(
        load(places), options["hosts"], now, lambda record: (host_proof(record), step_of_record(record))
    )
    hidden = next((problem for problem in records.problems if problem.host is None), None)
    if hidden is not None or not (records.records or records.missing):
        why = f"{hidden.path}: {hidden.message}" if hidden else f"no record in {', '.join(map(str, places))}"
        raise LivepatchError(
            "nothing_to_report",
            f"there is no host to evaluate: {why}",
            "name the folder in which kernelops.livepatch.patch_info stores records, or run the check playbook first",
        )
    return records


def read_waivers(options: dict[str, t.Any]) -> Waivers | None:
    """Return the waivers. Raises `LivepatchError`."""
    if options["waivers"] is None:
        return None
    today = datetime.datetime.now(datetime.timezone.utc).date()
    wrong = next((name for name, hosts in options["groups"].items() if not isinstance(hosts, list)), None)
    if wrong is not None:
        message = f"the option groups has no list of hosts for {wrong!r:.80}"
        raise LivepatchError("bad_option", message, 'use the hosts of each group, in a play: "{{ groups }}"')
    return load_waivers(Path(options["waivers"]), today, groups=options["groups"])


def data_age(sources: list[dict[str, t.Any]], now: datetime.datetime, limit: int | None) -> int | None:
    """Return the age of the oldest data in days; ``None`` if it is not known. Raises `LivepatchError` for old data."""
    ages: list[int | None] = []
    for source in sources:
        time = parse_time(source["checked_at"] or source["published"] or source["newest_notice"], date_only=True)
        age = None if time is None else max(0, (now - time).days)
        if limit is not None and (age is None or age > limit):
            found = "its age is not known" if age is None else f"it is {age} days old"
            raise LivepatchError(
                "vulnerability_data_old",
                f"the vulnerability data {source['name']} is refused: {found}, and maximum_age is {limit} days",
                "download newer data: ansible-playbook kernelops.livepatch.vulnerability_data",
            )
        ages.append(age)
    known = [age for age in ages if age is not None]
    return max(known) if known and len(known) == len(ages) else None


def write_file(path: str | None, render: c.Callable[[], c.Iterable[str]], *, check_mode: bool) -> bool:
    """Write a file if it differs, and return True if it does. Raises `OSError`."""
    if path is None or has_content(Path(path), render()):
        return False
    if not check_mode:
        write_atomically(Path(path), render())
    return True


def write_openvex(
    options: dict[str, t.Any], exposure: FleetExposure, proofs: NewestRecords[HostProof], *, check_mode: bool
) -> VexFigures | None:
    """Write the OpenVEX documents that differ, and return their figures. Raises `LivepatchError` and `OSError`."""
    if options["openvex_dir"] is None:
        return None
    folder, author = Path(options["openvex_dir"]), options["openvex_author"]
    documents = vex_documents(proofs.records, proofs.missing, exposure.indexes, exposure.chosen, author)
    return update_folder(folder, documents, check_mode=check_mode)


def write_results(
    options: dict[str, t.Any], exposure: FleetExposure, proofs: NewestRecords[HostProof], *, check_mode: bool
) -> dict[str, t.Any]:
    """Write all files that differ. Raises `LivepatchError` and `OSError`."""

    def table() -> c.Iterator[str]:
        return scanner_csv.render(proofs.records, proofs.missing, exposure.indexes, exposure.chosen, exposure.waivers)

    changed = write_file(options["output_file"], exposure.document, check_mode=check_mode)
    changed |= write_file(options["scanner_csv"], table, check_mode=check_mode)
    openvex = write_openvex(options, exposure, proofs, check_mode=check_mode)
    limited = limit_lists(openvex, {"changed": ENTRIES, "withdrawn": ENTRIES}) if openvex else None
    return {"changed": changed or bool(openvex and openvex["changed"]), "openvex": limited}


def run(options: dict[str, t.Any], *, check_mode: bool, warn: c.Callable[[str], object]) -> dict[str, t.Any]:
    """Return the result of the module. Raises `LivepatchError`."""
    cves = chosen_cves(options["cve"])
    waivers = read_waivers(options)
    for sentence in waivers.warnings() if waivers else ():
        warn(sentence)
    found = read_records(options)
    proofs = found.converted(lambda kept: kept[0])
    records = proofs.converted(lambda proof: proof.evidence)
    downloader = Downloader(DownloadOptions(options["ca_path"], options["proxy"], options["timeout"]))
    now = datetime.datetime.now(datetime.timezone.utc)
    files = DataFiles(Path(options["cache_dir"]), downloader, now)
    releases = {place for each in records.records.values() if (place := release_and_realm(each)) is not None}
    try:
        data = files.open([*options["vulnerability_data"], *options["notices"]], releases)
        age = data_age(data.sources, now, options["maximum_age"])
        exposure = evaluate_fleet(
            records, data.indexes, cves, options["minimum_priority"], waivers, steps_of_states(found)
        )
        written = write_results(options, exposure, proofs, check_mode=check_mode)
    except LivepatchError as error:
        if error.id == "server":
            error.remedy = f"{error.remedy}. {_WITHOUT_INTERNET}"
        raise
    except OSError as error:
        remedy = "check that the data exists and is readable, and that cache_dir and the files to write are writable"
        raise file_error(error, options["output_file"] or options["cache_dir"], remedy) from error
    return {
        **written,
        **result_of(exposure, age, records.oldest),
        "data_age_days": age,
        "oldest_record": records.oldest,
        "sources": data.sources,
        "unreadable": unreadable_notices(data.indexes),
        "problems": [problem.as_dict() for problem in records.problems[:_MOST_PROBLEMS]],
        "fetched": data.downloaded,
    }


def steps_of_states(found: NewestRecords[tuple[HostProof, StateStep | None]]) -> dict[str, StateStep]:
    """Return the steps of the hosts whose state asks for one before their vulnerabilities can be closed."""
    failed = ((host, step_of_state(host, "no_answer", reasons)) for host, reasons in found.failures.items())
    recorded = ((host, step) for host, (_proof, step) in found.records.items())
    return {host: step for host, step in (*failed, *recorded) if step is not None}


def result_of(exposure: FleetExposure, age: int | None, oldest: str | None) -> dict[str, t.Any]:
    """Return the keys of the result that describe the fleet. `age` is that of the data, `oldest` of the records."""
    entries, left_out = exposure.entries()
    return {
        "hosts": exposure.hosts,
        "hosts_by_status": exposure.hosts_by_status,
        "not_waived": exposure.not_waived,
        "waivers": exposure.waivers_by_status(),
        "without_data": exposure.without_data,
        "evaluated": exposure.evaluated,
        "cves": entries,
        "left_out": left_out,
        "lines": exposure.lines(entries, age, oldest),
    }


def unreadable_notices(indexes: c.Iterable[VulnerabilityIndex]) -> list[dict[str, str]]:
    """Return the first notices that could not be read, each with its reason."""
    unreadable = (each for index in indexes for each in index.notices.unreadable)
    return [
        {"name": limit_text(each.name), "reason": limit_text(each.reason)}
        for each in itertools.islice(unreadable, _MOST_PROBLEMS)
    ]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.no_log_values |= passwords(DatabaseAddress(each) for each in module.params["store"] if is_database(each))
    # These options are shown with -vvv. Their credentials are masked there, and in the result.
    given = (*module.params["vulnerability_data"], *module.params["notices"])
    module.no_log_values.update(filter(None, map(user_and_password, given)))
    try:
        result = run(module.params, check_mode=module.check_mode, warn=module.warn)
    except LivepatchError as error:
        module.fail_json(**visible_values(error.as_result()))
    module.exit_json(**visible_values(result))


if __name__ == "__main__":
    main()
