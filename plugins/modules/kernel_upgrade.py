#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_upgrade
short_description: Install a newer kernel if live patches cannot protect the running one
version_added: 1.0.0
description:
  - Checks whether the running kernel must be replaced, and installs a newer kernel with C(apt-get) if so.
  - A host needs a newer kernel if the livepatch service has ended its support for the running kernel, if the client
    reports that the kernel must be upgraded, if the date until which the kernel gets patches has passed, or if the
    applied patch has a known bug.
    A host also needs one if the client is enabled but does not report whether it supports the kernel, and the
    installed metapackages have moved to a newer series.
  - The new kernel is the one to which the installed metapackages lead, for example C(linux-image-generic-hwe-22.04) or
    C(linux-image-aws). It can be of another series than the running kernel. The metapackage and its companion packages
    are upgraded. Without a metapackage, the newest image of the running series and flavour is installed, together with
    the headers and extra modules if they are installed for the running kernel.
  - A kernel that Ubuntu did not build, such as a mainline build, is never chosen. The name, the version, the source and
    the maintainer of its package show this.
  - C(apt-get) runs detached from the connection and is never interrupted. It continues if the connection drops or the
    controller is stopped, and the next run of the module waits for it to finish. It does not ask questions, keeps
    modified configuration files, and never removes packages.
  - After the installation, the module verifies that the kernel image, the initial ramdisk and the modules are present
    and not empty, that image and ramdisk have a valid format, that the image has the checksum of its package, and that
    the GRUB configuration or the link C(/vmlinuz) refers to the new kernel.
  - The host is not rebooted. See M(kernelops.livepatch.kernel_reboot).
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe.answer
attributes:
  check_mode:
    support: full
    details:
      - In check mode, the module returns what C(apt-get) would do with the package lists that are on the host. The
        lists are not refreshed.
  diff_mode:
    support: full
    details:
      - Shows the packages with their versions before and after.
options:
  force:
    description: Install the newest kernel even if the host does not need one.
    type: bool
    default: false
  required:
    description:
      - Install a newer kernel for a reason that the client of the host does not report, for example the age of its
        kernel.
      - Unlike with O(force), the task fails if the package sources have no newer kernel.
    type: bool
    default: false
    version_added: 2.0.0
  within_days:
    description: Also upgrade a kernel that gets patches for no more than this number of days.
    type: int
    default: 0
  series:
    description:
      - Series of the new kernel, for example V(4.15). By default, the series to which the installed metapackages lead.
    type: str
  flavour:
    description:
      - Flavour of the new kernel, for example V(lowlatency). By default, the running flavour, or the flavour to which
        the installed metapackages lead if none of them is for the running one.
    type: str
  repair:
    description:
      - Complete an interrupted run of dpkg (C(dpkg --configure -a)) before the new kernel is installed, and install
        missing dependencies (C(apt-get -f install)) if C(apt-get) refuses to install anything else. Packages are never
        removed for this.
      - With V(false), the task fails on such a host.
    type: bool
    default: true
  lock_timeout:
    description:
      - Maximum time in seconds to wait while another process holds the lock of apt or dpkg. Each step that needs the
        lock waits separately.
    type: int
    default: 600
  timeout:
    description:
      - Maximum time in seconds to wait for C(apt-get). After this time the task fails, but C(apt-get) continues on the
        host.
    type: int
    default: 3600
seealso:
  - module: kernelops.livepatch.kernel_reboot
  - module: kernelops.livepatch.patch_info
notes:
  - Runs POSIX shell scripts through the standard input of the connection. No Python and no fact gathering are needed on
    the host.
  - Requires root privileges, and a host with C(apt-get). The task fails on a host that is a container, because a
    container uses the kernel of the machine that runs it.
"""

EXAMPLES = r"""
- name: Upgrade kernels whose patches end within a month
  kernelops.livepatch.kernel_upgrade:
    within_days: 30
  become: true
  register: upgrade

- name: Reboot if another kernel was installed
  kernelops.livepatch.kernel_reboot:
  become: true
  when: upgrade.reboot_needed

- name: Move the host to a newer kernel series
  kernelops.livepatch.kernel_upgrade:
    series: "4.15"
    force: true
  become: true
"""

RETURN = r"""
needed:
  description: Whether the host needs a newer kernel, or O(force) or O(required) is set.
  returned: success
  type: bool
  sample: true
reasons:
  description: Reasons why a newer kernel is needed, each with C(id), C(message) and C(remedy).
  returned: success
  type: list
  elements: dict
  sample:
    - id: kernel_upgrade_required
      message: "the service has no more patches for this kernel: only a newer kernel fixes further vulnerabilities"
      remedy: "upgrade the kernel and reboot: ansible-playbook kernelops.livepatch.upgrade --limit web-1"
from:
  description: Release of the running kernel.
  returned: success
  type: str
  sample: 4.4.0-168-generic
to:
  description: Release of the kernel to run next. This is the running kernel if no upgrade is needed.
  returned: success
  type: str
  sample: 4.4.0-210-generic
reboot_needed:
  description: Whether a reboot is needed to run the kernel in RV(to).
  returned: success
  type: bool
  sample: true
packages:
  description: Packages that C(apt-get) installed or upgraded. In check mode, the packages that it would install or
    upgrade. C(old) is null for a new package.
  returned: success
  type: list
  elements: dict
  sample:
    - name: linux-image-4.4.0-210-generic
      old: null
      new: 4.4.0-210.242
repaired:
  description: Whether an interrupted run of dpkg was completed, or missing dependencies were installed.
  returned: when packages are installed
  type: bool
  sample: false
unfinished:
  description: Whether a reboot that an earlier run of M(kernelops.livepatch.kernel_reboot) started has not been
    completed on this host.
  returned: success
  type: bool
  sample: false
error_id:
  description: Identifier of the error. All identifiers are listed in the guide, under Troubleshooting.
  returned: failure
  type: str
  sample: packages_held
remedy:
  description: How to fix the problem. The text is also part of C(msg).
  returned: failure
  type: str
  sample: run `apt-mark unhold linux-image-generic`, or exclude this host
"""
