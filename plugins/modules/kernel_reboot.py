#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_reboot
short_description: Reboot into the newest installed kernel and restore running containers
version_added: 1.0.0
description:
  - Reboots a host into its newest installed kernel, or into the kernel in O(kernel), and waits until the host is back.
    A host that already runs this kernel is not rebooted.
  - The module first determines which kernel the boot loader will start, from the GRUB configuration and environment
    block, or from the link C(/vmlinuz). If this is another kernel, the task fails with RV(error_id=boot_order), names
    that kernel, and stops nothing. A kernel that Ubuntu did not build is never booted. If the choice of the boot loader
    cannot be determined, the module warns, and it fails if a kernel is installed that Ubuntu did not build.
  - A host is not rebooted if files of the intended kernel are missing or empty, a process holds a lock of C(dpkg), or a
    program blocks a shutdown (C(systemd-inhibit)). The module waits for these programs, before it stops containers for
    at most O(drain_timeout), and before the reboot for at most one minute.
  - Before the reboot, the module runs O(pre_commands), stores a list of the running Docker, Podman and LXD containers
    on the host, and stops them. After the reboot, it starts these containers again, verifies that they run, and runs
    O(post_commands).
  - The task succeeds if the host comes back, runs the intended kernel and, with O(require_protected), reaches the state
    V(protected). It fails if the host comes back with another kernel, too late, or not at all.
  - The list of containers stays on the host until all of them run again. If the controller is interrupted, the next run
    of the module completes the work and does not reboot the host a second time.
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
      - In check mode, the module returns whether it would reboot the host, and the containers that it would stop.
  diff_mode:
    support: full
    details:
      - Shows the running kernel before and after.
options:
  kernel:
    description:
      - Release of the kernel that must run, as printed by C(uname -r).
      - By default, this is the newest installed kernel of the running flavour that Ubuntu built.
    type: str
  force:
    description: Reboot even if the intended kernel is already running.
    type: bool
    default: false
  boot_entry:
    description:
      - How to handle a host whose boot loader would start another kernel.
      - V(keep) changes nothing. The task fails.
      - V(set) selects the kernel with C(grub-reboot), for the next boot only.
    type: str
    choices: [keep, set]
    default: keep
    version_added: 2.0.0
  window:
    description:
      - Maintenance windows in which the host may be drained and rebooted, as a list or separated by semicolons, for
        example V(22:00-04:00), V(Mon-Fri 22:00-04:00 Europe/Berlin) or V(Sat,Sun 00:00-24:00). A window can span
        midnight; its weekdays are those of its begin. By default, the times are in the time zone of the controller.
        C(@) can replace a blank. An empty value is always open.
      - The window is checked before containers are stopped, and again before the reboot, which happens after O(delay).
        If it has closed in the meantime, the containers are started again, and the task fails. Check mode ignores the
        window.
    type: raw
    default: ""
    version_added: 2.0.0
  freeze:
    description:
      - Dates on which every window is closed, as a list or separated by commas, for example V(2026-12-24) or
        V(2026-12-20..2027-01-05). They are dates in the time zone of the window.
    type: raw
    default: []
    version_added: 2.0.0
  drain_group:
    description:
      - Name of a group of hosts of which only one may be down at a time. Before containers are stopped, the host takes
        the lock of the group in O(store). It releases the lock when its containers run again.
      - If the host does not come back, or the run is killed, the lock remains, and other hosts of the group fail with
        RV(error_id=drain_group_busy). The next run on the host takes it over.
    type: str
    version_added: 2.0.0
  store:
    description: Folder on the controller, or address of a store in PostgreSQL, for the locks of drain groups. All runs
      must use the same one. Required for O(drain_group).
    type: path
    aliases: [record_dir]
    version_added: 2.0.0
  drain_group_timeout:
    description: Maximum time in seconds to wait for a run that has drained another host of O(drain_group).
    type: int
    default: 900
    version_added: 2.0.0
  restore_after:
    description:
      - Time in seconds after which the host itself starts its containers again and runs O(post_commands), if the
        controller is lost between stopping them and the reboot. No controller is needed. V(0) disables this.
      - If a reboot was ordered, but does not happen, this is done O(delay) and O(reboot_timeout) later.
    type: int
    default: 300
    version_added: 2.0.0
  pre_commands:
    description:
      - Shell commands to run on the host as root before containers are stopped, in this order. If a command fails, the
        task fails, and no container is stopped.
      - Together with stopping the containers, the commands must complete within O(drain_timeout).
      - If a run was interrupted before the reboot, the next run executes the commands again.
    type: list
    elements: str
    default: []
  post_commands:
    description:
      - Shell commands to run on the host as root after the reboot, when the containers run again.
      - They are also run if O(pre_commands) or stopping the containers fails, or if the host does not reboot.
    type: list
    elements: str
    default: []
  docker:
    description:
      - How to handle Docker containers.
      - V(stop) stops them and starts them again after the reboot. If Docker would remove a container when it stops
        (C(--rm)), the task fails, because the container could not be started again.
      - V(wait) waits until no container is running.
      - V(ignore) leaves them to Docker.
      - If the stop timeout of a container is not less than O(drain_timeout), the task fails, because Docker would kill
        the container after the end of a failed task.
      - The containers are started in the order of their creation, but those of Compose after those that they depend on.
        Those that were paused are paused again.
      - If more containers are running than Docker lists, the task fails.
      - Tasks of a Docker swarm are neither stopped nor started. The swarm does both.
    type: str
    choices: [stop, wait, ignore]
    default: stop
  podman:
    description:
      - How to handle Podman containers of root. The values are the same as for O(docker).
      - A container that an active systemd service of Podman has started, as with Quadlet, is stopped and started by
        this service.
    type: str
    choices: [stop, wait, ignore]
    default: stop
  lxd:
    description:
      - How to handle LXD or Incus containers.
      - V(stop) stops them, and starts them again in the order of C(boot.autostart.priority). A member of an LXD cluster
        is evacuated and restored instead.
      - V(ignore) leaves them to LXD.
    type: str
    choices: [stop, ignore]
    default: stop
  allow_running:
    description:
      - Kinds of containers that may run at the reboot. The module never stops these containers. If any of them runs and
        its kind is not in this list, the task fails before it stops anything.
      - V(kubernetes) are containers in pods. Drain the node first, for example with C(kubectl drain). The containers of
        its daemon sets remain.
      - V(containerd) are containers of containerd that neither Docker nor Kubernetes started, as with C(nerdctl).
      - V(rootless) are containers of Podman and Docker that users without root privileges started, also in a unit of
        systemd.
    type: list
    elements: str
    choices: [kubernetes, containerd, rootless]
    default: []
    version_added: 2.0.0
  drain_timeout:
    description:
      - Maximum time in seconds to stop all containers, and to start them again. If they do not stop in time, or the
        connection is lost, all of them are started again, and the task fails without a reboot.
    type: int
    default: 300
  message:
    description: Message that is sent to logged-in users with C(wall). No message is sent if the text is empty.
    type: str
    default: This machine reboots into a newer kernel.
  delay:
    description: Number of seconds between O(message) and the reboot.
    type: int
    default: 3
  reboot_timeout:
    description: Maximum time in seconds for the host to come back.
    type: int
    default: 900
  require_protected:
    description:
      - Wait until the host is in state V(protected) after the reboot. Hosts whose client is not enabled are skipped.
    type: bool
    default: true
  protected_timeout:
    description: Maximum time in seconds for O(require_protected).
    type: int
    default: 900
seealso:
  - module: kernelops.livepatch.kernel_upgrade
notes:
  - Runs POSIX shell scripts through the standard input of the connection. No Python and no fact gathering are needed on
    the host.
  - Requires root privileges. The task fails on a host that is a container, because a container uses the kernel of the
    machine that runs it.
"""

EXAMPLES = r"""
- name: Reboot into the newest installed kernel
  kernelops.livepatch.kernel_reboot:
  become: true

- name: Take the host out of service for the reboot
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
  description: Release of the kernel that was running before.
  returned: success
  type: str
  sample: 4.4.0-168-generic
to:
  description: Release of the kernel that is running now. In check mode, the kernel that would be running.
  returned: success
  type: str
  sample: 4.4.0-210-generic
boot_id:
  description: Boot ID of the current boot.
  returned: success
  type: str
  sample: 1c7c9b3e-43a5-4f3c-9d9b-0a0c5a8f1e52
elapsed:
  description: Number of seconds from the first of O(pre_commands) until the host was back.
  returned: when the host was rebooted
  type: int
  sample: 74
containers:
  description: Containers that were stopped and are running again, with C(runtime) and C(name). In check mode, the
    containers that would be stopped.
  returned: success
  type: list
  elements: dict
  sample:
    - runtime: docker
      name: registry
state:
  description: State of the host after the reboot, as in
    RV(kernelops.livepatch.patch_info#module:record.assessment.state).
  returned: when O(require_protected) is set and the client is enabled
  type: str
  sample: protected
error_id:
  description: Identifier of the error. All identifiers are listed in the guide, under Troubleshooting.
  returned: failure
  type: str
  sample: host_did_not_return
remedy:
  description: How to fix the problem. The text is also part of C(msg).
  returned: failure
  type: str
  sample: check its console; when the host is back, run the task again to complete the work
"""
