#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_upgrade
short_description: Install the newest kernel of the same series and flavour where one is needed
version_added: 1.0.0
description:
  - Looks at a host and, where live patches do not help any more, installs a newer kernel with C(apt-get). A host
    needs one when the service has ended its support of the running kernel, when the client says that the kernel must
    be upgraded, when the date until which it is patched has passed, or when the applied patch has a known bug.
  - The new kernel is the newest of the series and the flavour that run. Where a metapackage is installed that leads
    to such a kernel, it is upgraded with what belongs to it; otherwise the image is installed, with the headers and
    the additional modules that the running kernel has as well.
  - C(apt-get) runs apart from the connection, and is never ended half-way. When the connection drops, or the
    controller is stopped, it goes on, and the next run waits for its end. It asks no questions, keeps configuration
    files as they are, and never removes a package.
  - In the end the image, the initial ramdisk and the modules must be there, and GRUB's configuration or the link
    C(/vmlinuz) must name the kernel.
  - The host is not rebooted. See P(kernelops.livepatch.kernel_reboot#module).
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - Tells what C(apt-get) would do, from the lists of packages as they are on the host.
  diff_mode:
    support: full
    details:
      - Shows the packages with their versions before and after.
options:
  force:
    description: Install the newest kernel also where none is needed.
    type: bool
    default: false
  within_days:
    description: Also upgrade a kernel whose patches end within so many days.
    type: int
    default: 0
  series:
    description: Series of the new kernel, for instance V(4.15). By default the one that runs.
    type: str
  flavour:
    description: Flavour of the new kernel, for instance V(lowlatency). By default the one that runs.
    type: str
  repair:
    description:
      - End what an interrupted dpkg has left (C(dpkg --configure -a)) before the new kernel is installed.
      - Without this, such a host fails.
    type: bool
    default: true
  lock_timeout:
    description: Seconds to wait for another run of apt or dpkg, each time that its lock stands in the way.
    type: int
    default: 600
  timeout:
    description:
      - Seconds after which the task gives up waiting for the end of C(apt-get), which goes on.
    type: int
    default: 3600
seealso:
  - module: kernelops.livepatch.kernel_reboot
  - module: kernelops.livepatch.patch_info
notes:
  - Runs POSIX shell scripts over the connection's standard input. No Python is needed on the host, and no fact
    gathering.
  - Needs root, and a host that has C(apt-get). A container is refused, for its kernel is that of the machine that
    runs it.
"""

EXAMPLES = r"""
- name: Upgrade kernels whose patches end within a month
  kernelops.livepatch.kernel_upgrade:
    within_days: 30
  become: true
  register: upgrade

- name: Reboot where another kernel was installed
  kernelops.livepatch.kernel_reboot:
  become: true
  when: upgrade.reboot_needed

- name: Move a host to the newer series of its release
  kernelops.livepatch.kernel_upgrade:
    series: "4.15"
    force: true
  become: true
"""

RETURN = r"""
needed:
  description: Whether the host needs another kernel, or one was forced.
  returned: success
  type: bool
  sample: true
reasons:
  description: Why it does, each with C(id), C(message) and C(remedy).
  returned: success
  type: list
  elements: dict
  sample:
    - id: kernel_upgrade_required
      message: "this kernel cannot be live patched any further: only a newer kernel helps"
      remedy: upgrade the kernel and reboot
from:
  description: The running kernel.
  returned: success
  type: str
  sample: 4.4.0-168-generic
to:
  description: The kernel that is to run; the running one where nothing is to be done.
  returned: success
  type: str
  sample: 4.4.0-210-generic
reboot_needed:
  description: Whether a reboot is needed for that.
  returned: success
  type: bool
  sample: true
packages:
  description: What C(apt-get) did, or would do in check mode. C(old) is null for a new package.
  returned: success
  type: list
  elements: dict
  sample:
    - name: linux-image-4.4.0-210-generic
      old: null
      new: 4.4.0-210.242
repaired:
  description: Whether something that dpkg had left was ended first.
  returned: when packages are installed
  type: bool
  sample: false
unfinished:
  description: Whether a reboot that an earlier run began has not been completed on this host.
  returned: success
  type: bool
  sample: false
error_id:
  description: Name of the cause, as in the guide's page on troubleshooting.
  returned: failure
  type: str
  sample: packages_held
remedy:
  description: What to do about it.
  returned: failure
  type: str
  sample: apt-mark unhold linux-image-generic, or leave this host out
"""
