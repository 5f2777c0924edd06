#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch
short_description: Bring a host to its newest live patch
version_added: 1.0.0
description:
  - Tells the client of a host to fetch and apply the newest patch now, waits until the kernel has moved to it, and
    verifies what runs.
  - Takes two round trips, one that looks and one that refreshes and looks again. While the patch is on its way, it
    looks again after pauses that grow from 1 to 15 seconds, so that no connection is held open for long.
  - The patch is applied when the client says so and the kernel bears it out. It must show the client's patch enabled
    and, from Linux 4.12 on, with no task left to move. On 4.4, which shows no transition, the client waits itself,
    and the kernel's log must not say that the patch was refused.
  - A host for which there is nothing to apply, or whose kernel cannot be patched any further, is no failure. It has all
    that live patching can give, and RV(patch_state) and RV(record) tell.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - cryptography >= 41 on the controller, to verify signatures there
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.trust
attributes:
  check_mode:
    support: full
    details:
      - Check mode only reads. It foresees a patch that the client has been told of and has not applied. Whether the
        server has a newer one, only a refresh can tell.
  diff_mode:
    support: full
    details:
      - The difference is the version of the patch.
options:
  state:
    description:
      - V(applied) is the only state. There is no rollback, as a patch cannot be taken out of a running kernel. Whatever
        else is asked for is refused, with that explanation.
    type: str
    default: applied
  wait:
    description:
      - Wait until the patch is applied. Without, RV(patch_state) may be V(applying), and what is still to come is no
        failure.
    type: bool
    default: true
  timeout:
    description:
      - Seconds for the refresh and the wait together. What is not applied then is a failure, though the host may get
        there later.
    type: int
    default: 300
  verify:
    description:
      - With V(required), somebody must have verified the signature of every patch that runs. That is the controller,
        which has the file of the module sent (up to 8 MiB), or else its digest, or the kernel that loaded it.
      - With V(best_effort), a digest is enough, and it is no failure when nobody could verify a signature.
      - A signature that fails is a failure in both cases. With V(off), no signature is looked at.
    type: str
    choices: [required, best_effort, "off"]
    default: required
  clear_crash_lock:
    description:
      - Remove the client's crash locks for patches of the running kernel first. The client makes one when the kernel
        may have crashed over a patch, and refuses that patch while it is there.
      - Find out why the kernel crashed before. Without this, a lock is reported, and stays.
    type: bool
    default: false
  record_dir:
    description:
      - Folder on the controller in which the record is stored, as with M(kernelops.livepatch.patch_info), also when the
        task fails.
    type: path
seealso:
  - module: kernelops.livepatch.client
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Bring the host to its newest patch
  kernelops.livepatch.patch:

- name: The same where the signer is your own, with more time
  kernelops.livepatch.patch:
    trusted_certificates: [keys/signing.pem]
    timeout: 900

- name: Start it, and see later
  kernelops.livepatch.patch:
    wait: false
    verify: best_effort

- name: Try again after a crash has been looked into
  kernelops.livepatch.patch:
    clear_crash_lock: true
"""

RETURN = r"""
previous_version:
  description:
    - Version of the patch that ran before. The major number alone where only the kernel knows of it, and null where
      none ran.
  returned: when the host was looked at
  type: str
  sample: "112.1"
version:
  description: Version of the patch that runs now, or that check mode foresees.
  returned: when the host was looked at
  type: str
  sample: "113.1"
patch_state:
  description: The patch state in the client's own word, such as V(applied), V(applying) or V(nothing-to-apply).
  returned: when the host was looked at
  type: str
  sample: applied
closed_cves:
  description: Vulnerabilities that this run has closed. The first clients (2016) do not name any.
  returned: when the host was looked at
  type: list
  elements: str
  sample: [CVE-2024-50047, CVE-2024-50264]
crash_locks:
  description: The client's crash locks for patches of the running kernel.
  returned: when the host was looked at
  type: list
  elements: str
  sample: []
cleared_locks:
  description: Those that O(clear_crash_lock) has removed.
  returned: when the host was looked at
  type: list
  elements: str
  sample: []
tasks:
  description: Up to 20 threads that have not moved to the patch yet, with C(pid), C(tid) and C(name).
  returned: when the host was looked at
  type: list
  elements: dict
  sample: [{"pid": 4711, "tid": 4711, "name": "backupd"}]
round_trips:
  description: How often the host was asked.
  returned: when the host was looked at
  type: int
  sample: 2
record:
  description: The record of the host as it is now, as of M(kernelops.livepatch.patch_info).
  returned: when the host was looked at
  type: dict
  sample: {"schema": "kernelops.livepatch/record/1", "host": "web-01"}
record_file:
  description: Where the record was stored.
  returned: when the host was looked at, with O(record_dir)
  type: str
  sample: livepatch-records/web-01.json
error_id:
  description:
    - A name for what went wrong, among them V(not_installed), V(not_enabled), V(not_root), V(daemon_down),
      V(check_failed), V(apply_failed), V(applied_with_bug), V(crash_lock), V(not_yet_applied), V(transition_stalled),
      V(refresh_timed_out), V(kernel_disagrees), V(tampered), V(not_verified) and V(no_rollback).
  returned: failure
  type: str
  sample: transition_stalled
remedy:
  description: What to do about it. It is part of C(msg), too.
  returned: failure, where there is something to do
  type: str
  sample: find out why the kernel crashed; then run again with clear_crash_lock=true
kernel_log:
  description: The last lines of the kernel's log about live patches.
  returned: failure after a refresh
  type: list
  elements: str
  sample: ["[  237.331852] livepatch: enabling patch 'lkp_Ubuntu_4_4_0_168_197_generic_65'"]
journal:
  description: The last lines of the client's daemon, without secrets.
  returned: failure after a refresh
  type: list
  elements: str
  sample: ["canonical-livepatch[1039]: Checking with livepatch service."]
"""
