#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_reboot
short_description: Reboot into the newest kernel, with containers stopped before and running after
version_added: 1.0.0
description:
  - Reboots a host that does not run its newest installed kernel, or the one that is named, and waits until it is
    back. A host that runs it already is not touched.
  - Before the reboot, commands of your own are run on the host, and what runs in containers of Docker, Podman and LXD
    is noted on the host and stopped. After it, what was noted runs again, which is checked.
  - The host must come back in another boot, with the kernel that is meant, and its livepatch client must come to
    V(protected). A host that comes back with the old kernel, late, or not at all is a failure.
  - The note of what ran stays on the host until all of it runs again. When the controller is stopped on the way, the
    next run completes what this one began, and does not reboot a second time.
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
      - Tells whether the host would be rebooted, and which containers would be stopped.
  diff_mode:
    support: full
    details:
      - Shows the running kernel before and after.
options:
  kernel:
    description:
      - Release of the kernel that must run, as in C(uname -r). By default the newest installed one of the running
        flavour.
    type: str
  force:
    description: Reboot although that kernel runs already.
    type: bool
    default: false
  pre_commands:
    description:
      - Commands for the host's shell, run as root in this order before containers are stopped. One that fails ends
        the task, and nothing is stopped.
      - A run that completes an earlier one runs them again when the host has not been rebooted yet.
    type: list
    elements: str
    default: []
  post_commands:
    description: Commands for the host's shell, run when the host is back and its containers run again.
    type: list
    elements: str
    default: []
  docker:
    description:
      - What becomes of containers of Docker.
      - With V(stop) they are stopped, and started again after the reboot. A container that Docker removes when it stops
        (C(--rm)) is refused, for it could not run again.
      - With V(wait) the task waits until no container runs.
      - With V(ignore) they are left to Docker.
    type: str
    choices: [stop, wait, ignore]
    default: stop
  podman:
    description: The same for root's containers of Podman.
    type: str
    choices: [stop, wait, ignore]
    default: stop
  lxd:
    description:
      - What becomes of containers of LXD.
      - With V(stop) they are stopped and started again, in the order of C(boot.autostart.priority). A member of a
        cluster is evacuated instead, and restored.
      - With V(ignore) they are left to LXD.
    type: str
    choices: [stop, ignore]
    default: stop
  drain_timeout:
    description:
      - Seconds that stopping all containers may take, and starting them again. When they do not stop in this time,
        all of them are started again, and the task fails without a reboot.
    type: int
    default: 300
  message:
    description: What users who are logged in are told with C(wall). Nobody is told when empty.
    type: str
    default: This machine reboots into a newer kernel.
  delay:
    description: Seconds between that message and the reboot.
    type: int
    default: 3
  reboot_timeout:
    description: Seconds in which the host must be back.
    type: int
    default: 900
  require_protected:
    description:
      - Whether the client must come to V(protected) after the reboot. A host whose client is not enabled is let be.
    type: bool
    default: true
  protected_timeout:
    description: Seconds in which it must come to that.
    type: int
    default: 900
seealso:
  - module: kernelops.livepatch.kernel_upgrade
notes:
  - Runs POSIX shell scripts over the connection's standard input. No Python is needed on the host, and no fact
    gathering.
  - Needs root. A container is refused, for its kernel is that of the machine that runs it.
"""

EXAMPLES = r"""
- name: Reboot into the kernel that was installed
  kernelops.livepatch.kernel_reboot:
  become: true

- name: Take the host out of service around the reboot
  kernelops.livepatch.kernel_reboot:
    message: This machine reboots in a minute.
    delay: 60
    pre_commands: [/usr/local/sbin/leave-pool]
    post_commands: [/usr/local/sbin/join-pool]
    docker: wait
    drain_timeout: 1800
  become: true
"""

RETURN = r"""
rebooted:
  description: Whether this task rebooted the host.
  returned: success
  type: bool
  sample: true
from:
  description: The kernel that ran before.
  returned: success
  type: str
  sample: 4.4.0-168-generic
to:
  description: The kernel that runs now, or would in check mode.
  returned: success
  type: str
  sample: 4.4.0-210-generic
boot_id:
  description: The boot that the host is in.
  returned: success
  type: str
  sample: 1c7c9b3e-43a5-4f3c-9d9b-0a0c5a8f1e52
elapsed:
  description: Seconds from the first command before the reboot until the host was back.
  returned: when it was rebooted
  type: int
  sample: 74
containers:
  description: What was stopped and runs again, or would in check mode, each with C(runtime) and C(name).
  returned: success
  type: list
  elements: dict
  sample:
    - runtime: docker
      name: registry
state:
  description: The state of the host's live patching at last, in the words of P(kernelops.livepatch.patch_info#module).
  returned: when the client must come to protected
  type: str
  sample: protected
error_id:
  description: Name of the cause, as in the guide's page on troubleshooting.
  returned: failure
  type: str
  sample: host_did_not_return
remedy:
  description: What to do about it.
  returned: failure
  type: str
  sample: look at its console; when it is back, the next run of this module completes what this one began
"""
