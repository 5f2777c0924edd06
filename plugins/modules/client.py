#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client
short_description: Install, configure and enable the Canonical Livepatch client
version_added: 1.0.0
description:
  - Installs the snap C(canonical-livepatch) and, if necessary, snapd. Configures the client, sets its mode, and enables
    or disables it.
  - The first round trip to the host collects facts. If something must change, a second round trip makes the changes and
    collects the facts again to confirm the result.
  - All input is validated before anything is changed. An unknown setting, a token of the wrong type or an ineligible
    host fails the task at this point.
  - The steps run in a fixed order and stop at the first failure. Completed steps are not undone. The next run performs
    the remaining steps.
  - A step that fails for a temporary cause, such as a lock, another operation of snapd or Ubuntu Pro, or a server that
    reports an internal error, is repeated for up to O(retry_timeout) seconds.
  - With O(state=enabled), success means that the client works. A client that is registered but whose daemon is down,
    that refuses every command or that hangs is a failure with its cause.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
  - kernelops.livepatch.probe.answer
attributes:
  check_mode:
    support: full
    details:
      - In check mode, the module only reads from the host. It returns the steps that a run without check mode would
        perform.
  diff_mode:
    support: full
    details:
      - Shows the difference between RV(before) and RV(after). It contains no token and no proxy password. Certificates
        are shown as a digest.
options:
  state:
    description:
      - V(enabled) installs, configures and enables the client.
      - V(present) installs and configures the client. It does not enable or disable it.
      - V(disabled) disables the client, which releases the seat of the machine, and configures it. It does not install
        a missing client.
      - V(absent) disables the client and removes the snap. The mode file stays on the host. O(config), O(mode) and
        O(channel) are ignored.
      - A live patch that is already applied stays in the kernel until the next reboot, whatever the state.
    type: str
    choices: [present, enabled, disabled, absent]
    default: enabled
  token:
    description:
      - Token to enable the client with. This is a Livepatch token or, with O(via=pro), an Ubuntu Pro token.
      - Required for O(state=enabled) if the client is not enabled yet, or if it moves to another server.
      - The module keeps a salted SHA-256 hash of the token on the host, in
        C(/var/lib/kernelops-livepatch/client/token.mark), which only root can read. If O(token) does not match this
        hash, the client is disabled and enabled again with the new token.
      - There is no such hash if the client was enabled without this module. The token that the client uses cannot be
        read, so the module assumes that it is O(token), stores its hash, and leaves the client enabled. To make sure
        that O(token) is used, run the module with O(state=disabled) and then with O(state=enabled).
    type: str
  token_transport:
    description:
      - How to pass the token to the client.
      - V(socket) uses the private socket of the client daemon, through C(curl) or the OpenBSD version of C(nc). The
        token does not appear on a command line, in an environment variable or in a file. The task fails if the socket
        cannot be used.
      - V(cli) passes the token as an argument to the client, which provides no other method. Every user of the host
        can see the token in the process list while the command runs.
      - V(auto) uses the socket if possible, and the command line otherwise.
      - This option is ignored with O(via=pro). The token is then always passed through a pipe.
    type: str
    choices: [auto, socket, cli]
    default: socket
  config:
    description:
      - Settings of the client. Settings that are not listed are not changed. An empty value restores the default.
      - V(http-proxy) and V(https-proxy) take a URL with the scheme C(http), C(https) or C(socks5). V(no-proxy) takes a
        comma-separated list.
      - V(ca-certs) takes certificates in PEM format, V(remote-server) the URL of the livepatch server. The certificates
        are always set before the server, because the client contacts the server immediately.
      - V(dial-timeout) takes a duration in the units V(s), V(m) and V(h), for example V(12s).
      - V(check-interval) takes a number of minutes, at least 60, or 0 to switch automatic checks off.
      - V(log-level) takes V(debug), V(info), V(notice), V(warning) or V(error).
      - V(tls-patch-download) takes a boolean.
      - V(cutoff-date) takes a time in the past (RFC 3339). V(patch-delay) takes a duration in the units V(s), V(m),
        V(h), V(d) and V(w). Both require a client of version 10.11.2 or later and a paid subscription to the hosted
        service.
      - If V(remote-server) changes, an enabled client is disabled on the old server and enabled on the new one.
      - A proxy URL that contains a password is not passed on a command line. Changes of the password are detected.
    type: dict
    default: {}
  mode:
    description:
      - Mode of the client daemon. By default, the mode is not changed.
      - V(normal) checks for patches and applies them.
      - V(no-apply) does not download or apply patches.
      - V(no-refresh) does not download or apply patches, and does not check for them.
      - V(stop) keeps the daemon from running.
      - The parameter C(canonical_livepatch_mode) on the kernel command line also sets the mode. The task fails if it
        differs from this option.
      - The daemon reads the mode when it starts, so a changed mode restarts it. A mode that withholds patches is set
        before the client is configured and enabled. A mode that allows them is set afterwards.
      - A client in mode V(stop) cannot return its settings. If it stays in this mode, O(config) is not applied.
    type: str
    choices: [normal, no-apply, no-refresh, stop]
  channel:
    description:
      - Channel of the snap, for example V(latest/stable), V(stable) or V(10.x). By default, an installed snap stays on
        the channel that it tracks.
      - Old versions of snapd do not show which channel an installed snap tracks. On such a host, the channel is not
        changed.
    type: str
  snap_file:
    description:
      - Absolute path of the snap of the client on the host. If the client is not installed, it is installed from this
        file, so that the host does not need the snap store. An installed client is not changed.
      - C(snap download canonical-livepatch) creates this file and the one for O(snap_assertion), on any machine with
        snapd and internet access. Copy both to the host before this task.
      - The base of the snap and the snap C(snapd) must be installed on the host if the store cannot provide them.
      - Mutually exclusive with O(channel), because a snap from a file follows no channel.
    type: str
    version_added: 2.0.0
  snap_assertion:
    description:
      - Absolute path on the host of the assertions (C(.assert)) that belong to O(snap_file). Before the installation,
        snapd verifies and stores them (C(snap ack)).
      - Without assertions, snapd refuses the file, unless it has stored them before. The module never installs a snap
        whose publisher is not proven (C(--dangerous)).
      - Requires O(snap_file).
    type: str
    version_added: 2.0.0
  via:
    description:
      - How to enable Livepatch.
      - V(livepatch) enables the client with a Livepatch token.
      - V(pro) attaches the machine to Ubuntu Pro with O(token) and enables Livepatch as its only service. The token is
        passed through a pipe and is never written to a file. A machine that is attached stays attached, also when
        Livepatch is disabled.
    type: str
    choices: [livepatch, pro]
    default: livepatch
  require_eligible:
    description:
      - Enable the client only if the host is eligible under the policy. Otherwise the task fails before it changes
        anything.
      - The checks C(snapd) and C(snapd_seeded) are ignored, because this module fixes what they report. The check
        C(network) is only considered if it fails and the task does not change C(http-proxy), C(https-proxy),
        C(ca-certs) or C(remote-server).
    type: bool
    default: true
  reinstall:
    description:
      - With O(state=enabled), remove the snap and its data and install it again if the client does not work, then
        configure and enable it. This repairs a client that takes the host for another release of Ubuntu after an
        upgrade (C(platform_stale)), a snap that cannot be started, and a daemon that ends or hangs.
      - A client that works is not changed. A client that refuses the kernel or the release of the host is not installed
        again, because another installation refuses it too.
      - Requires O(token), unless the machine is attached to Ubuntu Pro with O(via=pro).
    type: bool
    default: false
    version_added: 2.0.0
  wait_seeded:
    description:
      - Maximum time in seconds to wait for snapd to complete its initial setup (seeding), as on a first boot.
    type: int
    default: 300
  retry_timeout:
    description:
      - Maximum time in seconds in which a step that fails for a temporary cause is repeated, counted from the first
        step. V(0) switches the repetition off.
      - Temporary causes are locks of apt and dpkg, another change in snapd, another operation of Ubuntu Pro, a daemon
        that is starting or stopping, and servers (the livepatch server, the snap store, the contract server) that
        answer with a status of 5xx, 408 or 429. Refusals, such as that of a token, are never repeated.
    type: int
    default: 120
    version_added: 2.0.0
  server:
    description:
      - URL of the livepatch server that must be reachable from the host.
      - The default is V(remote-server) in O(config), then the server in the configuration of the client, then the
        hosted service.
notes:
  - Runs POSIX shell scripts through the standard input of the connection. No Python and no fact gathering are needed on
    the host.
  - Requires root privileges on the host. A task that uses a token also requires a connection and a become method that
    pass standard input, such as C(ssh) with C(sudo).
  - If snapd is missing or older than the policy requires (2.15), it is installed with C(apt-get) from the package
    archive of the host.
  - A seat is one machine that a token can enable.
seealso:
  - module: kernelops.livepatch.eligibility_info
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Enable Livepatch with a token from Ansible Vault
  kernelops.livepatch.client:
    token: "{{ vault_livepatch_token }}"

- name: Enable Livepatch on an on-premises server with a private certificate authority
  kernelops.livepatch.client:
    token: "{{ vault_livepatch_token }}"
    token_transport: socket
    config:
      ca-certs: "{{ lookup('ansible.builtin.file', 'files/authority.pem') }}"
      remote-server: https://livepatch.example.com

- name: Install and configure the client without applying patches
  kernelops.livepatch.client:
    state: present
    mode: no-apply
    config:
      https-proxy: http://proxy.example.com:3128
      no-proxy: localhost,.example.com
      check-interval: 120

- name: Enable Livepatch through Ubuntu Pro
  kernelops.livepatch.client:
    via: pro
    token: "{{ vault_pro_token }}"
    policy: current

- name: Repair clients that stopped working after an upgrade of Ubuntu
  kernelops.livepatch.client:
    token: "{{ vault_livepatch_token }}"
    reinstall: true
    policy: current

- name: Copy the snap to hosts without access to the store
  ansible.builtin.copy:
    src: "files/{{ item }}"
    dest: "/var/tmp/{{ item }}"
    mode: "0644"
  loop: [canonical-livepatch_282.snap, canonical-livepatch_282.assert]

- name: Install the client from the copied files, and enable it on an on-premises server
  kernelops.livepatch.client:
    token: "{{ vault_livepatch_token }}"
    snap_file: /var/tmp/canonical-livepatch_282.snap
    snap_assertion: /var/tmp/canonical-livepatch_282.assert
    config:
      remote-server: https://livepatch.example.com

- name: Disable and remove the client
  kernelops.livepatch.client:
    state: absent
"""

RETURN = r"""
steps:
  description:
    - Steps that were performed, in order. In check mode, the steps that would be performed. Empty if no change is
      needed.
    - The names are C(snapd), C(seeded), C(acknowledge), C(install), C(install_file), C(snap_enable), C(refresh),
      C(mode), C(config), C(disable), C(enable), C(adopt), C(pro_attach), C(pro_enable), C(pro_disable), C(remove) and
      C(forget).
  returned: success, or failure of a step
  type: list
  elements: dict
  contains:
    id:
      description: Name of the step.
      type: str
      sample: config
    message:
      description: Description of the step and the reason for it.
      type: str
      sample: set check-interval to '120'
enabled:
  description:
    - Whether the client is enabled after the task. In check mode, whether it would be enabled. Null if this is unknown.
  returned: success, or failure of a step
  type: bool
  sample: true
version:
  description: Version of the client. Null if the client is not installed or does not report its version.
  returned: success, or failure of a step
  type: str
  sample: 10.8.3
before:
  description: State of the client before the task.
  returned: success, or failure of a step
  type: dict
  contains:
    state:
      description: V(absent), V(disabled), V(enabled) or V(unknown).
      type: str
      sample: disabled
    token:
      description:
        - Token that the client is enabled with, V(given) for the token of the task, V(other) for a different one,
          V(unknown) if it cannot be determined. Null if the client is not enabled.
      type: str
      sample: given
    mode:
      description: Mode of the client daemon, by the kernel command line or else the mode file.
      type: str
      sample: normal
    channel:
      description: Channel of the snap, if O(channel) is set and the host provides it.
      type: str
      sample: latest/stable
    config:
      description: Settings of the client that are listed in O(config), without secrets.
      type: dict
      sample: {"check-interval": "60"}
after:
  description:
    - State of the client after the task, with the same keys as RV(before). If a step failed, this is the actual state
      after the failure, or null if it is unknown.
  returned: success, or failure of a step
  type: dict
  sample: {"state": "enabled", "token": "given", "mode": "normal", "channel": null, "config": {"check-interval": "120"}}
token_transport:
  description: How the token was passed to the client, V(socket) or V(cli).
  returned: when the client was enabled with O(via=livepatch)
  type: str
  sample: socket
round_trips:
  description: Number of scripts that were run on the host. More than 2 if steps were repeated.
  returned: success, or failure of a step
  type: int
  sample: 2
eligibility:
  description: Eligibility of the host under the policy. The keys C(policy), C(verdict) and C(checks) are those of
    M(kernelops.livepatch.eligibility_info).
  returned: when the facts of the host could be collected
  type: dict
  sample: {"policy": "launch", "verdict": "eligible", "checks": []}
failed_step:
  description: Name of the step that failed.
  returned: failure of a step
  type: str
  sample: enable
error_id:
  description: Identifier of the error. All identifiers are listed in the guide, under Troubleshooting.
  returned: failure
  type: str
  sample: bad_token
remedy:
  description: How to fix the problem. The text is also part of C(msg).
  returned: failure
  type: str
  sample: check that the token is a Livepatch token of the server in `remote-server`
"""
