#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch
short_description: Apply the newest live patch to a host
version_added: 1.0.0
description:
  - Makes the client of a host download and apply the newest live patch, waits until the kernel has switched to it,
    and verifies the signatures of the loaded patches.
  - This takes two round trips. The first one collects facts, the second one refreshes the client and collects facts
    again. While the patch is being applied, the module checks the host again after pauses that grow from 1 to 15
    seconds, so that no connection is kept open for long.
  - A patch counts as applied if the client reports it and the kernel confirms it. The kernel must show the patch as
    enabled. As of Linux 4.12, it must also show that all tasks have switched to the patch. Linux 4.4 does not show this
    transition. There the client waits itself, and the kernel log must not report that the patch was refused.
  - The task succeeds on a host where there is nothing to apply, and on a host whose kernel can no longer be patched.
    RV(patch_state) and RV(record) show these cases.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - cryptography >= 41 on the controller, to verify signatures there
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.probe.answer
  - kernelops.livepatch.probe.groups
  - kernelops.livepatch.trust
attributes:
  check_mode:
    support: full
    details:
      - In check mode, the module only reads. It can only predict a patch that the client knows and has not applied yet.
        Whether the server has a newer patch is unknown without a refresh.
  diff_mode:
    support: full
    details:
      - Shows the version of the patch before and after.
options:
  state:
    description:
      - The only supported state is V(applied). Other values are rejected with an explanation, because a live patch
        cannot be removed from a running kernel.
    type: str
    default: applied
  wait:
    description:
      - Wait until the patch is applied.
      - With V(false), a patch that is not applied yet is not a failure. RV(patch_state) may then be V(applying).
    type: bool
    default: true
  timeout:
    description:
      - Maximum time in seconds for the refresh and the wait together. If the patch is not applied by then, the task
        fails, although the host may still apply it later.
    type: int
    default: 300
  verify:
    description:
      - How to verify the signatures of the loaded patches. An invalid signature is a failure unless the value is
        V(off).
      - V(required) fails unless the signature of every enabled patch is verified, either by the controller or by the
        kernel that loaded it. The controller uses the module file, which the host sends (up to 8 MiB), or else the
        digest of this file.
      - V(best_effort) uses the digest only, and does not fail if a signature cannot be verified.
      - V(off) does not verify signatures.
    type: str
    choices: [required, best_effort, "off"]
    default: required
  clear_crash_lock:
    description:
      - Remove the crash locks of the client for patches of the running kernel before the refresh. The client creates a
        crash lock when the kernel may have crashed because of a patch. It refuses the patch until the lock is removed.
      - Find out why the kernel crashed before you set this option. With V(false), crash locks are reported and stay in
        place.
    type: bool
    default: false
  store:
    description:
      - Folder on the controller, or address of a store in PostgreSQL, for the record of the host, as with
        M(kernelops.livepatch.patch_info). The record is also stored if the task fails.
    type: path
    aliases: [record_dir]
seealso:
  - module: kernelops.livepatch.client
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Apply the newest patch
  kernelops.livepatch.patch:

- name: Apply the newest patch that is signed with your own key
  kernelops.livepatch.patch:
    trusted_certificates: [keys/signing.pem]
    timeout: 900

- name: Start the refresh without waiting for its result
  kernelops.livepatch.patch:
    wait: false
    verify: best_effort

- name: Try again after the cause of a crash was found
  kernelops.livepatch.patch:
    clear_crash_lock: true
"""

RETURN = r"""
previous_version:
  description:
    - Version of the patch that was applied before. Only the major number if the version is only known from the kernel.
      Null if there was no patch.
  returned: when the facts of the host could be collected
  type: str
  sample: "112.1"
version:
  description: Version of the patch that is applied now. In check mode, the predicted version.
  returned: when the facts of the host could be collected
  type: str
  sample: "113.1"
patch_state:
  description: Patch state that the client reports, for example V(applied), V(applying) or V(nothing-to-apply).
  returned: when the facts of the host could be collected
  type: str
  sample: applied
closed_cves:
  description: CVEs that this task fixed. The first clients (2016) do not report CVEs.
  returned: when the facts of the host could be collected
  type: list
  elements: str
  sample: [CVE-2024-50047, CVE-2024-50264]
crash_locks:
  description: Crash locks of the client for patches of the running kernel.
  returned: when the facts of the host could be collected
  type: list
  elements: str
  sample: []
cleared_locks:
  description: Crash locks that were removed because of O(clear_crash_lock).
  returned: when the facts of the host could be collected
  type: list
  elements: str
  sample: []
tasks:
  description: Up to 20 threads that have not switched to the patch yet, with C(pid), C(tid) and C(name).
  returned: when the facts of the host could be collected
  type: list
  elements: dict
  sample: [{"pid": 4711, "tid": 4711, "name": "backupd"}]
round_trips:
  description: Number of scripts that were run on the host.
  returned: when the facts of the host could be collected
  type: int
  sample: 2
record:
  description: Record of the host after the task, as in RV(kernelops.livepatch.patch_info#module:record).
  returned: when the facts of the host could be collected
  type: dict
  sample: {"schema": "kernelops.livepatch/record/1", "host": "web-01"}
record_file:
  description: Path of the stored record.
  returned: when the facts of the host could be collected and O(store) is a folder
  type: str
  sample: livepatch-records/web-01.json
error_id:
  description:
    - Identifier of the error. Among others, V(not_installed), V(not_enabled), V(not_root), V(daemon_down),
      V(check_failed), V(apply_failed), V(applied_with_bug), V(crash_lock), V(not_yet_applied), V(transition_stalled),
      V(refresh_timed_out), V(kernel_disagrees), V(tampered), V(not_verified) and V(no_rollback).
    - All identifiers are listed in the guide, under Troubleshooting.
  returned: failure
  type: str
  sample: transition_stalled
remedy:
  description: How to fix the problem. The text is also part of C(msg).
  returned: failure, if there is something to do
  type: str
  sample: "find the cause of the crash, then run kernelops.livepatch.patch with clear_crash_lock: true (in the playbook,
    -e livepatch_clear_crash_lock=true)"
kernel_log:
  description: Last lines of the kernel log about live patches.
  returned: failure after a refresh
  type: list
  elements: str
  sample: ["[  237.331852] livepatch: enabling patch 'lkp_Ubuntu_4_4_0_168_197_generic_65'"]
journal:
  description: Last lines of the log of the client daemon, without secrets.
  returned: failure after a refresh
  type: list
  elements: str
  sample: ["canonical-livepatch[1039]: Checking with livepatch service."]
"""
