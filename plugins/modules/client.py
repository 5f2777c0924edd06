#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documentation only: the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client
short_description: Install, configure and enable the Livepatch client
version_added: 1.0.0
description:
  - Brings the client of a host into a state, with snapd and the snap installed, the client configured, its mode set and
    the machine enabled with a token, or not.
  - Looks at the host in one round trip. Where something is to be done, a second one does it and looks again.
  - Whatever can be found wrong is found before anything is changed, such as an unknown setting, a host that may not
    have Livepatch, or a token of the wrong kind.
  - The steps end at the first that fails. What was done stays done, and the next run does the rest.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.host
  - kernelops.livepatch.probe
attributes:
  check_mode:
    support: full
    details:
      - Check mode returns the steps that the same run without it would take, and only reads on the host.
  diff_mode:
    support: full
    details:
      - The difference is that of RV(before) and RV(after). It holds no token, no password of a proxy, and of
        certificates their digest.
options:
  state:
    description:
      - With V(present), the snap is installed and configured. Whether it is enabled stays as it is.
      - With V(enabled), it is enabled, too.
      - With V(disabled), it is not enabled, which gives its seat back. Where it is installed it is configured, and
        where it is not it stays so.
      - With V(absent), it is disabled and removed. The mode file stays. O(config), O(mode) and O(channel) mean nothing
        then.
      - A patch that runs stays in the kernel until the next reboot, whatever the state.
    type: str
    choices: [present, enabled, disabled, absent]
    default: enabled
  token:
    description:
      - The token with which the machine is enabled, a Livepatch token, or with O(via=pro) one of Ubuntu Pro.
      - Needed for O(state=enabled) where the client is not enabled yet, and where it moves to another server.
      - When it differs from the one that this module enabled the client with, the client is disabled and enabled again.
        A salted SHA-256 of the token tells, which is kept on the host in a file of root's own,
        C(/var/lib/kernelops-livepatch/token.mark).
      - A client that was enabled in another way has no such file. Its token cannot be told, and to disable it on a
        suspicion could cost the host its protection. So it is taken to have this token, and stays enabled. To make
        sure, use O(state=disabled) once, and then O(state=enabled).
    type: str
  token_transport:
    description:
      - How the token is handed over to the client.
      - With V(socket), it goes through the private socket of the client's daemon, by C(curl) or OpenBSD's C(nc). It is
        on no command line, in no environment and in no file. Where that cannot be done the task fails.
      - With V(cli), the client is called with the token as an argument, for as long as which every user of the host can
        see it in the list of processes. The client has no other way.
      - With V(auto), the socket is used where it can be, and the command line where it cannot.
      - With O(via=pro) the token always goes through a pipe, and this option means nothing.
    type: str
    choices: [auto, socket, cli]
    default: auto
  config:
    description:
      - Settings of the client. Those that are not named stay as they are. An empty value puts one back to its default.
      - V(http-proxy), V(https-proxy) take a URL (http, https or socks5), V(no-proxy) a list with commas.
      - V(ca-certs) takes certificates in PEM, V(remote-server) the URL of the server. The certificates are always set
        before the server, which the client contacts at once.
      - V(dial-timeout) takes a duration such as V(12s) in the units V(s), V(m), V(h); V(check-interval) minutes, at
        least 60, or 0 for never; V(log-level) one of V(debug), V(info), V(notice), V(warning), V(error);
        V(tls-patch-download) a truth value.
      - V(cutoff-date) takes a time in the past (RFC 3339), V(patch-delay) a duration in the units V(s), V(m), V(h),
        V(d), V(w). Both need a client of 10.11.2 or later and a paid subscription of the hosted service.
      - An enabled client whose V(remote-server) changes is disabled on the old server and enabled on the new one.
      - A proxy's password is not on a command line either, and a changed one is noticed.
    type: dict
    default: {}
  mode:
    description:
      - What the daemon may do. V(no-apply) fetches and applies nothing, V(no-refresh) does not look for patches either,
        V(stop) keeps the daemon from running.
      - The daemon reads it when it starts, and is restarted when it changes. What holds patches back is set before the
        client is configured and enabled, what lets them go after it.
      - A client that is stopped and shall stay so cannot be asked for its settings, which then stay as they are.
    type: str
    choices: [normal, no-apply, no-refresh, stop]
  channel:
    description:
      - The channel of the snap, such as V(latest/stable), V(stable) or V(10.x). Without it, a snap that is installed
        stays on the channel that it tracks.
      - Older snapd does not tell which channel an installed snap tracks. Such a snap stays on it, too.
    type: str
  via:
    description:
      - With V(livepatch), the client is enabled with a token of Livepatch.
      - With V(pro), the machine is attached to Ubuntu Pro with O(token), and Livepatch enabled as one of its services
        and the only one. The token goes through a pipe and is never in a file. A machine that is attached stays so,
        also when Livepatch is disabled.
    type: str
    choices: [livepatch, pro]
    default: livepatch
  require_eligible:
    description:
      - Enable the client only on a host that the policy admits. Where it does not, the task fails before it changes
        anything.
      - The checks C(snapd) and C(snapd_seeded) do not count, for this module mends what they find. The check C(network)
        counts where it fails and no setting of the way to the server is about to change.
    type: bool
    default: true
  wait_seeded:
    description:
      - How many seconds to wait for a snapd that is still setting itself up, as on a first boot.
    type: int
    default: 300
  server:
    description:
      - URL of the livepatch server that the host must be able to reach.
      - By default the V(remote-server) of O(config), then the server that the host's client is configured with, then
        the hosted service.
notes:
  - Runs POSIX shell scripts over the connection's standard input. No Python is needed on the host, and no fact
    gathering.
  - Needs root on the host. Where anything is to be done with a token, it also needs a connection and a become method
    that pass standard input, such as ssh with sudo.
  - snapd comes from the host's archive, by apt-get, where there is none or one that is older than the policy wants
    (2.15).
seealso:
  - module: kernelops.livepatch.eligibility_info
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Enable Livepatch with a token from a vault
  kernelops.livepatch.client:
    token: "{{ vault_livepatch_token }}"

- name: Enable it on a server of one's own, whose certificate has a private authority
  kernelops.livepatch.client:
    token: "{{ vault_livepatch_token }}"
    token_transport: socket
    config:
      ca-certs: "{{ lookup('ansible.builtin.file', 'files/authority.pem') }}"
      remote-server: https://livepatch.example.com

- name: Install and configure it, and hold patches back
  kernelops.livepatch.client:
    state: present
    mode: no-apply
    config:
      https-proxy: http://proxy.example.com:3128
      no-proxy: localhost,.example.com
      check-interval: 120

- name: Enable it as a service of Ubuntu Pro
  kernelops.livepatch.client:
    via: pro
    token: "{{ vault_pro_token }}"
    policy: current

- name: Give the seat back, and remove the client
  kernelops.livepatch.client:
    state: absent
"""

RETURN = r"""
steps:
  description:
    - What was done, in order. In check mode, what would be done. Empty where nothing is to be done.
    - The names are C(snapd), C(seeded), C(install), C(refresh), C(mode), C(config), C(disable), C(enable), C(adopt),
      C(pro_attach), C(pro_enable), C(pro_disable), C(remove) and C(forget).
  returned: success, and failure of a step
  type: list
  elements: dict
  contains:
    id:
      description: Name of the step.
      type: str
      sample: config
    message:
      description: What was done and why.
      type: str
      sample: set check-interval to '120'
enabled:
  description: Whether the client is enabled now, in check mode whether it would be. Null where that cannot be told.
  returned: success, and failure of a step
  type: bool
  sample: true
version:
  description: Version of the client, null where there is none or it does not say.
  returned: success, and failure of a step
  type: str
  sample: 10.8.3
before:
  description: The client as it was. Of its settings, those that the task names.
  returned: success, and failure of a step
  type: dict
  contains:
    state:
      description: V(absent), V(disabled), V(enabled) or V(unknown).
      type: str
      sample: disabled
    token:
      description:
        - With whose token it is enabled, V(given) for that of the task, V(other) for another, V(unknown) where that
          cannot be told. Null where it is not enabled.
      type: str
      sample: given
    mode:
      description: Its mode.
      type: str
      sample: normal
    channel:
      description: The channel of the snap, where O(channel) is given and the host tells it.
      type: str
      sample: latest/stable
    config:
      description: Its settings, without secrets.
      type: dict
      sample: {"check-interval": "60"}
after:
  description:
    - The same as it is when every step is done. Where one failed, as it is then, or null where that is not known.
  returned: success, and failure of a step
  type: dict
  sample: {"state": "enabled", "token": "given", "mode": "normal", "channel": null, "config": {"check-interval": "120"}}
token_transport:
  description: How the token was handed over, V(socket) or V(cli).
  returned: when the client was enabled with O(via=livepatch)
  type: str
  sample: socket
round_trips:
  description: How often the host was given a script.
  returned: success, and failure of a step
  type: int
  sample: 2
eligibility:
  description: What the policy says of the host, with C(policy), C(verdict) and C(checks) as of
    M(kernelops.livepatch.eligibility_info).
  returned: when the host could be looked at
  type: dict
  sample: {"policy": "launch", "verdict": "eligible", "checks": []}
failed_step:
  description: Name of the step that failed.
  returned: failure of a step
  type: str
  sample: enable
error_id:
  description: A name for what went wrong. All of them are in the guide, under Troubleshooting.
  returned: failure
  type: str
  sample: bad_token
remedy:
  description: What to do about it. It is part of C(msg), too.
  returned: failure, apart from mistakes in the options
  type: str
  sample: check that the token is a Livepatch token, and one of the server that `remote-server` names
"""
