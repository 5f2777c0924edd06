#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: eligibility_info
short_description: Check whether a host is eligible for Canonical Livepatch
version_added: 1.0.0
description:
  - Evaluates a host against a policy, which defines the systems that are eligible for Livepatch. There is one check for
    each rule. It returns the value found on the host, the value that the policy requires, and the next step.
  - With a policy that sets C(service_decides), such as V(current), the checks C(release), C(kernel_series) and
    C(flavour) pass for a kernel that the service reports as supported.
  - A check that cannot be performed has the status V(unknown) with the reason, and never V(pass).
  - The checks are C(distribution), C(release), C(architecture), C(kernel_series), C(flavour), C(kernel_age) (if the
    policy sets a limit), C(kernel_origin), C(kernel_livepatch), C(kernel_conflict), C(kernel_supported) (if the server
    or the client reports the support status), C(container), C(snapd), C(snapd_seeded), C(privileges), C(secure_boot),
    C(network), C(desktop), and C(other_policy) (if policy V(launch) refuses a system that policy V(current) covers).
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.info_module
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.probe.answer
  - kernelops.livepatch.probe.looks
seealso:
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Check the hosts against the policy of the launch in 2016
  kernelops.livepatch.eligibility_info:
  register: livepatch

- name: Fail on hosts that Canonical Livepatch does not cover
  kernelops.livepatch.eligibility_info:
    policy: current
  register: livepatch
  failed_when: livepatch.verdict == 'ineligible'

- name: Check the hosts against an inline policy
  kernelops.livepatch.eligibility_info:
    policy:
      name: our-servers
      systems:
        - release: "18.04"
          architecture: amd64
          kernel: "4.15"
          flavours: [generic]
"""

RETURN = r"""
eligible:
  description: Whether every check passed. Warnings are ignored.
  returned: success
  type: bool
  sample: false
verdict:
  description:
    - V(ineligible) if a check failed, otherwise V(unknown) if a check could not be performed, otherwise V(eligible).
  returned: success
  type: str
  sample: ineligible
policy:
  description: Name of the policy.
  returned: success
  type: str
  sample: launch
checks:
  description: Results of the checks, one for each rule.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
      sample: kernel_series
    status:
      description: V(pass), V(fail), V(warn) or V(unknown). A warning does not affect the verdict.
      type: str
      sample: fail
    found:
      description: Value found on the host. Null if it could not be determined.
      type: str
      sample: "4.15"
    required:
      description: Value that the policy requires.
      type: str
      sample: "4.4"
    message:
      description: Result of the check in one sentence.
      type: str
      sample: kernel series 4.15 is not covered by policy 'launch' for this host
    remedy:
      description: Next step. Null if there is nothing to do.
      type: str
      sample: "install a covered kernel: apt-get install linux-generic-lts-xenial; then reboot"
system:
  description: Description of the host, as in RV(kernelops.livepatch.patch_info#module:record.system).
  returned: success
  type: dict
  sample:
    distribution: ubuntu
    release: "16.04"
    architecture: amd64
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
