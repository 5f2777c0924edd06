#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_info
short_description: Collect the Livepatch state of a host
version_added: 1.0.0
description:
  - Collects facts about a host in one round trip and returns them as one record. The record contains the system, the
    eligibility for Livepatch, the status that the client reports, the live patches that the kernel has loaded, and an
    assessment of all this with the state of the host and the reasons for it.
  - The status of the client, the state of the kernel in sysfs and the signature of the loaded module are independent
    sources. A host is only V(protected) if they agree.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.info_module
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.probe.answer
  - kernelops.livepatch.probe.groups
  - kernelops.livepatch.probe.looks
  - kernelops.livepatch.trust
requirements:
  - cryptography >= 41 on the controller, to verify signatures there
options:
  verify:
    description:
      - How to verify the live patches that the kernel has loaded. The result is in
        RV(record.kernel_patches[].verification).
      - V(auto) verifies the signature from the digest of the module file and the signature block at the end of this
        file. The host sends both, about 2 KB, in the same round trip. If they are missing or cannot be verified, the
        state of the kernel is used, and then the status of the client. This also applies if C(cryptography) is not
        installed on the controller and the trust options have their defaults.
      - V(file) verifies the complete module file, which the host sends (up to 8 MiB).
      - V(off) only uses the state of the kernel and the status of the client.
    type: str
    choices: [auto, file, "off"]
    default: auto
  store:
    description:
      - Folder on the controller to store the record in, as C(<host>.json). It is created if it does not exist.
      - Or the address of a store in PostgreSQL, such as C(postgresql://livepatch@db.example.com/livepatch). If
        it cannot be reached, the record waits in a folder on the controller, and the next run sends it.
      - The record is written atomically as soon as the host has answered. It is also written in check mode.
      - If the host does not answer, its last record is kept, and the file C(<host>.unreachable.json) is written with
        the time and the reason.
    type: path
    aliases: [record_dir]
  return_record:
    description:
      - Whether RV(record) is in the result, or only RV(state). V(false) needs O(store).
      - Ansible keeps the results of all hosts in memory until the task has ended for all of them. Without records,
        a check of 10,000 hosts needs 200 MB less.
      - A record that cannot be stored is always in the result.
    type: bool
    default: true
    version_added: 2.0.0
seealso:
  - module: kernelops.livepatch.eligibility_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Collect the Livepatch state of the host
  kernelops.livepatch.patch_info:
    policy: current
  register: livepatch

- name: Fail unless the running kernel is protected
  ansible.builtin.assert:
    that: livepatch.record.assessment.state == 'protected'
    fail_msg: "{{ livepatch.record.assessment.reasons[0].message }}"

- name: Verify the complete module file with your own signing certificate
  kernelops.livepatch.patch_info:
    verify: file
    trusted_certificates: [keys/signing.pem]

- name: Store a record of each host of a large fleet for reports
  kernelops.livepatch.patch_info:
    store: livepatch-records
    return_record: false
"""

RETURN = r"""
record:
  description: Record of the host, in the schema C(kernelops.livepatch/record/1). Unknown values are null.
  returned: success, if O(return_record=true)
  type: dict
  contains:
    schema:
      description: Name and version of the schema. Later versions of the collection may add keys without changing it.
      type: str
      sample: kernelops.livepatch/record/1
    host:
      description: Inventory name of the host.
      type: str
      sample: web-01
    collected_at:
      description: Time when the facts were collected (RFC 3339, UTC, clock of the controller).
      type: str
      sample: "2026-03-01T04:00:12Z"
    clock_skew_seconds:
      description: Seconds by which the clock of the host is ahead of the controller's; negative if it is behind. It
        is 0 if the host's time is between those of question and answer. Null if the host did not report its time.
      type: int
      sample: 0
    collector:
      description: Versions of this collection (C(collection)) and of ansible-core (C(ansible_core)).
      type: dict
      sample: {"collection": "2.0.0", "ansible_core": "2.19.4"}
    system:
      description: Description of the host.
      type: dict
      contains:
        distribution:
          description: C(ID) in os-release.
          type: str
          sample: ubuntu
        release:
          description: C(VERSION_ID) in os-release.
          type: str
          sample: "16.04"
        codename:
          description: Codename of the release.
          type: str
          sample: xenial
        architecture:
          description: Architecture of the userland, as in dpkg.
          type: str
          sample: amd64
        groups:
          description: Groups of the host by key, as O(group_by) names them. Absent if it has none.
          type: dict
          sample: {"group": "production", "region": "eu"}
        virtualization:
          description: Type of virtual machine or container, V(wsl), or V(none).
          type: str
          sample: kvm
        containers:
          description:
            - Number of running containers that share the kernel of the host, for C(docker), C(podman), C(lxd) (with
              Incus and LXC), C(kubernetes) (containers in pods) and C(containerd) (all others of containerd).
              Containers of users without root privileges are included, and containers within containers are not.
            - V(null) if the containers could not be counted.
          type: dict
          sample: {"docker": 12, "lxd": 0, "podman": 0, "kubernetes": 0, "containerd": 0}
        machine_id_sha256:
          description: SHA-256 of the machine ID. Hosts with the same value are clones.
          type: str
          sample: 1f2a9e5c1b6f0f6f7ac3b2f1f5f7a1c9e2ab8d1c3b5a7e9d0c2f4a6b8d0e1f3a
        secure_boot:
          description: Whether Secure Boot is enabled.
          type: bool
          sample: false
        kernel:
          description: Running kernel.
          type: dict
          contains:
            release:
              description: Release, as printed by C(uname -r).
              type: str
              sample: 4.4.0-168-generic
            full:
              description: Full name with the upload number, which the livepatch service uses for the kernel.
              type: str
              sample: 4.4.0-168.197-generic
            series:
              description: Major and minor version.
              type: str
              sample: "4.4"
            flavour:
              description: Flavour.
              type: str
              sample: generic
            origin:
              description: V(ubuntu), V(mainline), V(custom) or V(unknown).
              type: str
              sample: ubuntu
            build_date:
              description: Build time.
              type: str
              sample: "2019-11-05T17:24:25Z"
            booted_at:
              description: Boot time (clock of the host).
              type: str
              sample: "2026-01-14T07:31:02Z"
            newest_installed:
              description: Release of the newest installed kernel of the same flavour. Kernels whose name shows that
                Ubuntu did not build them do not count.
              type: str
              sample: 4.4.0-168-generic
            source_package:
              description: Source package of the running kernel, from the packages that are installed on the host. Null
                if it is not known. Records of release 1.0 do not have this key and the next three.
              type: str
              sample: linux
            source_version:
              description: Version of this source package. It belongs to the installed package, which can be newer than
                the kernel that runs.
              type: str
              sample: 4.4.0-168.197
            packages:
              description: Installed packages of kernels (images, modules, headers and tools), each with C(name) and
                C(version). Those of the running kernel come first, and at most 128 are listed.
              type: list
              elements: dict
              sample: [{"name": "linux-image-4.4.0-168-generic", "version": "4.4.0-168.197"}]
            packages_problem:
              description: Why the packages are not known, V(no_dpkg), V(dpkg_failed), or V(kernel_without_package) if
                no package of the host contains the running kernel. Null if they are known.
              type: str
              sample: null
    eligibility:
      description: Eligibility under the policy. The keys C(policy), C(verdict) and C(checks) are those of
        M(kernelops.livepatch.eligibility_info).
      type: dict
      sample: {"policy": "launch", "verdict": "eligible", "checks": []}
    client:
      description: Livepatch client.
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
          description: Generation of the client, V(2016), V(6), V(9.5), V(10) or V(11).
          type: str
          sample: "10"
        enabled:
          description: Whether the client is enabled.
          type: bool
          sample: true
        tier:
          description: Tier from which the client gets patches.
          type: str
          sample: updates
        server:
          description: Livepatch server in the configuration of the client.
          type: str
          sample: https://livepatch.canonical.com
        check_state:
          description: Check state that the client reports, V(checked), V(needs-check) or V(check-failed).
          type: str
          sample: checked
        last_check:
          description: Time of the last check for patches (clock of the host).
          type: str
          sample: "2026-03-01T03:18:44Z"
        mode:
          description: Mode of the client's daemon, C(value), and its C(source), V(file), V(kernel_command_line) or
            V(default). If both are set, the one that withholds more patches. Both keys are null if this is unknown.
            Records of release 1.0 do not have this key.
          type: dict
          sample: {"value": "normal", "source": "default"}
        blocking:
          description: Settings of the client that withhold patches, C(options), and the notices that they exclude,
            C(excluded_notices), as the client reports them (10.15.0 and newer). C(cutoff_date) is the value of the
            setting. Records of release 1.0 do not have this key.
          type: dict
          sample: {"options": [], "excluded_notices": [], "cutoff_date": null}
        recent_log:
          description: Last lines of the log of the client's daemon, without tokens. Empty unless the client reports no
            status or a failure. Records of release 1.0 do not have this key.
          type: list
          elements: str
          sample: []
    patch:
      description: Status that the client reports for the running kernel.
      type: dict
      contains:
        state:
          description: Patch state that the client reports.
          type: str
          sample: applied
        version:
          description: Version of the patch.
          type: str
          sample: "113.1"
        fixes:
          description: CVEs that the patch fixes, each with C(cve) and C(patched).
          type: list
          elements: dict
          sample: [{"cve": "CVE-2024-50047", "patched": true}]
        support:
          description: Support status of the kernel that the service reports.
          type: str
          sample: supported
        kernel:
          description: Kernel that the client reports on. It is the running kernel, unless the status is outdated.
          type: str
          sample: 4.4.0-168.197-generic
        upgrade_required_by:
          description: Date by which the kernel must be upgraded to continue to get patches.
          type: str
          sample: "2026-06-23"
        waiting_since:
          description:
            - Time since which the host waits for its patch, by the clock of the controller. Null if it does not wait.
            - It is kept from check to check in the records of O(store), and limits the time in state V(applying).
          type: str
          sample: "2026-03-01T03:20:00Z"
    kernel_patches:
      description: Live patches that the kernel has loaded.
      type: list
      elements: dict
      contains:
        module:
          description: Name of the kernel module.
          type: str
          sample: lkp_Ubuntu_4_4_0_168_197_generic_113
        enabled:
          description: Whether the patch is enabled in the kernel.
          type: bool
          sample: true
        transition:
          description: Whether tasks are still switching to the patch. Null on kernels that do not show it, such as 4.4.
          type: bool
          sample: false
        build_id:
          description: Build ID of the module in memory.
          type: str
          sample: 5d41402abc4b2a76b9719d911017c592a1b2c3d4
        taint:
          description: Letters of the taint flags of the module.
          type: str
          sample: OK
        verification:
          description:
            - Verification of the signature, with C(level), C(result), C(signer), C(key_id) and C(sha512).
            - The level is V(file) if the controller verified the complete module file and the loaded module has the
              same build ID. It is V(digest) if the controller verified the signature from a digest that the host sent.
            - The level is V(kernel) if the kernel holds a trusted key and verified the module when it was loaded. The
              signer is then unknown, because any key in the kernel's keyrings may have made the signature.
              It is V(client) if the patch is only confirmed by the status of the client, and V(none) if nothing
              confirms it.
            - The result is V(verified), V(failed), or V(not_checked) if the signature could not be verified. V(failed)
              makes the state of the host V(tampered).
            - C(signer) and C(key_id) are null for the level V(kernel), and if no trusted key made the signature.
            - C(sha512) is the digest of the module without its signature, if it is known.
          type: dict
          sample: {"level": "digest", "result": "verified", "signer": "Canonical Ltd. Live Patch Signing",
                   "key_id": "14df34d1a87cf37625abec039ef2bf521249b969", "sha512": "5b41…"}
    assessment:
      description: Assessment of the host.
      type: dict
      contains:
        state:
          description:
            - State of the host. If several of the following states apply, the first one is returned.
            - V(no_answer) if there is no record of this run. This state is only used in reports.
            - V(tampered) if the signature of a loaded patch is invalid, or the loaded module is not the one in the
              file.
            - V(ineligible) if the policy refuses the host for a cause that no setting of the host can change.
            - V(held_back) if a setting of the host withholds patches, such as the mode of the client, a disabled
              service, a cut-off date or a delay.
            - V(failed) if the client could not apply a patch or check for patches, if it does not run, or if it did not
              apply a patch within the limit of the policy.
            - V(end_of_life) if the kernel no longer gets patches.
            - V(upgrade_required) if only a newer kernel contains the fixes.
            - V(disabled) if the client is not enabled or not installed.
            - V(stale) if the last successful check for patches is too old.
            - V(applying) if a patch is being applied, or if the host was just booted.
            - V(unverified) if the client reports an applied patch, but no other source confirms it, if the kernel did
              not accept the signature of a patch whose signer is unknown, or if a patch is loaded that the client does
              not report.
            - V(protected) if a patch is applied and confirmed, or if there is nothing to apply for a kernel that is
              known to be supported. Status, time and kernel must all be known.
            - V(unknown) otherwise.
          type: str
          sample: protected
        reasons:
          description: Reasons for the state, each with C(id), C(message) and C(remedy). The deciding reason is the
            first one. C(evidence) has lines that the host wrote itself, such as the last ones of the client's journal,
            if there are any.
          type: list
          elements: dict
          sample:
            - id: applied
              message: "patch 113.1 is applied: client, kernel and signature agree"
              remedy: null
        reboot_needed:
          description: Whether the host needs a reboot. A protected host does not, even if a newer kernel is installed.
            Null if this is unknown.
          type: bool
          sample: false
state:
  description: State of the host, as in RV(record.assessment.state).
  returned: success, if O(return_record=false)
  type: str
  sample: protected
record_file:
  description: Path of the stored record.
  returned: success, if O(store) is a folder
  type: str
  sample: livepatch-records/web-01.json
error_id:
  description: Identifier of the error.
  returned: failure
  type: str
  sample: become_password_missing
remedy:
  description: How to fix the problem. The text is also part of C(msg).
  returned: failure to run on the host
  type: str
  sample: use --ask-become-pass, or set ansible_become_password
"""
