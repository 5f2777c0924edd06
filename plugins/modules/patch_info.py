#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_info
short_description: Tell everything about a host's live patches
version_added: 1.0.0
description:
  - Looks at a host in one round trip and returns one record, with what the host is, whether it may have Livepatch, what
    its client says, what its kernel shows, and the conclusion from all of it in one word with reasons.
  - The client's word, the kernel's sysfs and the signature of the loaded module are separate witnesses. A host is
    V(protected) only when they agree.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.info_module
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.probe.looks
  - kernelops.livepatch.trust
requirements:
  - cryptography >= 41 on the controller, to verify signatures there
options:
  verify:
    description:
      - How to verify the live patches that the kernel has loaded. See RV(record.kernel_patches[].verification).
      - V(auto) has the host send the digest of the file that a patch was loaded from, and the signature that follows
        the module in it, some 2 KB in the same round trip. Where that cannot be had, or not be judged, the kernel's own
        word counts, and then the client's. So it is where C(cryptography) is not on the controller and nobody but
        Canonical is to be trusted.
      - V(file) has the host send the whole file, of up to 8 MiB, instead.
      - V(off) leaves it to the kernel and the client.
    type: str
    choices: [auto, file, "off"]
    default: auto
  record_dir:
    description:
      - Folder on the controller in which the record is stored, as C(<host>.json). It is made where it does not exist.
      - A record is stored as soon as its host has answered, by renaming a finished file. Check mode stores it, too, for
        the record is what this module reports.
      - When the host gives no answer, its last record stays, and a note C(<host>.unreachable.json) says when and why.
    type: path
seealso:
  - module: kernelops.livepatch.eligibility_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Look at the host
  kernelops.livepatch.patch_info:
    policy: current
  register: livepatch

- name: Stop unless the running kernel is protected
  ansible.builtin.assert:
    that: livepatch.record.assessment.state == 'protected'
    fail_msg: "{{ livepatch.record.assessment.reasons[0].message }}"

- name: Verify the file of the running patch on the controller, against a signer of your own
  kernelops.livepatch.patch_info:
    verify: file
    trusted_certificates: [keys/signing.pem]

- name: Keep a record of each host for reports
  kernelops.livepatch.patch_info:
    record_dir: livepatch-records
"""

RETURN = r"""
record:
  description: The record, in the schema C(kernelops.livepatch/record/1). What is not known is null.
  returned: success
  type: dict
  contains:
    schema:
      description: Name and version of the schema. Later versions of the collection may add keys to it.
      type: str
      sample: kernelops.livepatch/record/1
    host:
      description: Name of the host in the inventory.
      type: str
      sample: web-01
    collected_at:
      description: When the host was looked at (RFC 3339, UTC, the controller's clock).
      type: str
      sample: "2026-03-01T04:00:12Z"
    collector:
      description: Versions of this C(collection) and of C(ansible_core).
      type: dict
      sample: {"collection": "1.0.0", "ansible_core": "2.19.4"}
    system:
      description: What the host is.
      type: dict
      contains:
        distribution:
          description: The ID of os-release.
          type: str
          sample: ubuntu
        release:
          description: The VERSION_ID of os-release.
          type: str
          sample: "16.04"
        codename:
          description: The release's codename.
          type: str
          sample: xenial
        architecture:
          description: Architecture of the userland, as dpkg spells it.
          type: str
          sample: amd64
        virtualization:
          description: Kind of virtual machine or container, V(wsl), or V(none).
          type: str
          sample: kvm
        containers:
          description: Running containers that share this kernel, counted for C(docker), C(lxd) and C(podman).
          type: dict
          sample: {"docker": 12, "lxd": 0, "podman": 0}
        machine_id_sha256:
          description: SHA-256 of the machine ID, by which clones are found.
          type: str
          sample: 1f2a9e5c1b6f0f6f7ac3b2f1f5f7a1c9e2ab8d1c3b5a7e9d0c2f4a6b8d0e1f3a
        secure_boot:
          description: Whether Secure Boot is on.
          type: bool
          sample: false
        kernel:
          description: The running kernel.
          type: dict
          contains:
            release:
              description: What C(uname -r) says.
              type: str
              sample: 4.4.0-168-generic
            full:
              description: The name with upload number, under which the service knows the kernel.
              type: str
              sample: 4.4.0-168.197-generic
            series:
              description: Major and minor version.
              type: str
              sample: "4.4"
            flavour:
              description: The flavour.
              type: str
              sample: generic
            origin:
              description: V(ubuntu), V(mainline), V(custom) or V(unknown).
              type: str
              sample: ubuntu
            build_date:
              description: When it was built.
              type: str
              sample: "2019-11-05T17:24:25Z"
            booted_at:
              description: When the host was started (the host's clock).
              type: str
              sample: "2026-01-14T07:31:02Z"
            newest_installed:
              description: Release of the newest installed kernel of the same flavour.
              type: str
              sample: 4.4.0-168-generic
    eligibility:
      description: What the policy says, with C(policy), C(verdict) and C(checks) as of
        M(kernelops.livepatch.eligibility_info).
      type: dict
      sample: {"policy": "launch", "verdict": "eligible", "checks": []}
    client:
      description: The client.
      type: dict
      contains:
        installed:
          description: Whether the client is installed.
          type: bool
          sample: true
        snapd_version:
          description: Version of snapd.
          type: str
          sample: "2.58"
        version:
          description: Version of the client.
          type: str
          sample: 10.8.3
        generation:
          description: Which generation of clients it belongs to, V(2016), V(6), V(9.5), V(10) or V(11).
          type: str
          sample: "10"
        enabled:
          description: Whether it is enabled.
          type: bool
          sample: true
        tier:
          description: The tier from which it gets patches.
          type: str
          sample: updates
        server:
          description: The server that it is configured with.
          type: str
          sample: https://livepatch.canonical.com
        check_state:
          description: V(checked), V(needs-check) or V(check-failed).
          type: str
          sample: checked
        last_check:
          description: When it last checked (the host's clock).
          type: str
          sample: "2026-03-01T03:18:44Z"
    patch:
      description: What the client says of the running kernel.
      type: dict
      contains:
        state:
          description: The patch state in the client's own word.
          type: str
          sample: applied
        version:
          description: Version of the patch.
          type: str
          sample: "113.1"
        fixes:
          description: Vulnerabilities that the patch closes, each with C(cve) and C(patched).
          type: list
          elements: dict
          sample: [{"cve": "CVE-2024-50047", "patched": true}]
        support:
          description: Whether the service supports the kernel, in its own word.
          type: str
          sample: supported
        upgrade_required_by:
          description: The day by which the kernel must be upgraded to go on getting patches.
          type: str
          sample: "2026-06-23"
    kernel_patches:
      description: Live patches that the kernel shows.
      type: list
      elements: dict
      contains:
        module:
          description: Name of the module.
          type: str
          sample: lkp_Ubuntu_4_4_0_168_197_generic_113
        enabled:
          description: Whether the kernel has it enabled.
          type: bool
          sample: true
        transition:
          description: Whether tasks are still moving over to it. Null on kernels that do not show it, such as 4.4.
          type: bool
          sample: false
        build_id:
          description: The build ID of the module in memory.
          type: str
          sample: 5d41402abc4b2a76b9719d911017c592a1b2c3d4
        taint:
          description: The letters of its taint flags.
          type: str
          sample: OK
        verification:
          description:
            - How far its signature is verified, with C(level), C(result), C(signer), C(key_id) and C(sha512).
            - At level V(file), the controller has verified the signature of the whole file, and the module that runs
              has the file's build ID. At level V(digest), it has verified the signature of what the host says it holds.
            - At level V(kernel) the kernel carries the live patch key and checked the module itself when it was loaded.
              At level V(client) only the client vouches for it.
            - The result is V(verified), V(failed), or V(not_checked) where no signature could be judged. One that has
              V(failed) makes the host V(tampered).
            - The C(sha512) is that of the module without its signature, where the host or the file gave it.
          type: dict
          sample: {"level": "kernel", "result": "verified", "signer": "Canonical Ltd. Live Patch Signing",
                   "key_id": "14df34d1a87cf37625abec039ef2bf521249b969", "sha512": null}
    assessment:
      description: The conclusion.
      type: dict
      contains:
        state:
          description:
            - One of V(unreachable), V(tampered), V(ineligible), V(failed), V(end_of_life), V(upgrade_required),
              V(disabled), V(stale), V(applying), V(unverified), V(protected) and V(unknown). The first that holds is
              given.
          type: str
          sample: protected
        reasons:
          description: Each with C(id), C(message) and C(remedy), the one that decided first.
          type: list
          elements: dict
          sample:
            - id: applied
              message: "patch 113.1 is applied: client, kernel and signature agree"
              remedy: null
        reboot_needed:
          description: Whether a reboot is needed for the sake of the kernel.
          type: bool
          sample: false
record_file:
  description: Where the record was stored.
  returned: success, with O(record_dir)
  type: str
  sample: livepatch-records/web-01.json
error_id:
  description: A name for what went wrong.
  returned: failure
  type: str
  sample: become_password_missing
remedy:
  description: What to do about it. It is part of C(msg), too.
  returned: failure to run on the host
  type: str
  sample: give the password with --ask-become-pass or ansible_become_password
"""
