#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: eligibility_info
short_description: Tell whether a host may have Canonical Livepatch
version_added: 1.0.0
description:
  - Holds a host against a policy, with one check for each rule, and says what was found, what is required and what to
    do.
  - A check that cannot be made is V(unknown) with the reason, and never V(pass).
  - The checks are C(distribution), C(release), C(architecture), C(kernel_series), C(flavour), C(kernel_age) (where the
    policy has a limit), C(kernel_origin), C(kernel_livepatch), C(kernel_conflict), C(kernel_supported) (where the
    service or the client has a word), C(container), C(snapd), C(snapd_seeded), C(privileges), C(secure_boot),
    C(network) and C(desktop).
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.info_module
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.probe.looks
seealso:
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Hold the hosts against the rules of the launch
  kernelops.livepatch.eligibility_info:
  register: livepatch

- name: Stop where Livepatch cannot be had today, and say why
  kernelops.livepatch.eligibility_info:
    policy: current
  register: livepatch
  failed_when: livepatch.verdict == 'ineligible'

- name: Admit the kernels of one's own choice
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
  description: Whether every check passed, warnings aside.
  returned: success
  type: bool
  sample: false
verdict:
  description: V(eligible), V(ineligible) when a check failed, V(unknown) when a check could not be made.
  returned: success
  type: str
  sample: ineligible
policy:
  description: Name of the policy.
  returned: success
  type: str
  sample: launch
checks:
  description: One entry for each rule.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Name of the rule.
      type: str
      sample: kernel_series
    status:
      description: V(pass), V(fail), V(warn) (does not decide), or V(unknown).
      type: str
      sample: fail
    found:
      description: What the host has. Null where it could not be found out.
      type: str
      sample: "4.15"
    required:
      description: What the policy wants.
      type: str
      sample: "4.4"
    message:
      description: The outcome in a sentence.
      type: str
      sample: the kernel series 4.15 is not admitted
    remedy:
      description: What to do. Null where there is nothing to do.
      type: str
      sample: install and boot a covered series, for instance the release's GA kernel
system:
  description: The host itself, as RV(kernelops.livepatch.patch_info#module:record.system) describes it.
  returned: success
  type: dict
  sample:
    distribution: ubuntu
    release: "16.04"
    architecture: amd64
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
