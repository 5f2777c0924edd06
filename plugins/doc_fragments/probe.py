# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options of the modules that collect facts about a host."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  policy:
    description:
      - Policy that defines the systems that are eligible for Livepatch.
      - V(launch) accepts the systems of the service as announced in 2016, which are Ubuntu 16.04 LTS on amd64 with
        kernel 4.4, flavour generic or lowlatency.
      - V(current) accepts the kernels that Canonical documents as covered.
      - Any other string is the path of a policy file (YAML) on the controller.
      - A mapping is an inline policy with the same keys as a policy file. The key C(systems) is required. Quote version
        numbers, because YAML changes V(16.10) to the number V(16.1).
    type: raw
    default: launch
  server:
    description:
      - URL of the livepatch server that must be reachable from the host.
      - The default is the server in the configuration of the client, then the hosted service.
    type: str
  network:
    description:
      - Test from the host whether the servers that the client needs are reachable. These are V(livepatch.canonical.com)
        and V(livepatch-files.canonical.com) for the hosted service, and otherwise the server of the client. The test
        uses the proxy in the configuration of the client, and the first tool that the host has of C(curl), C(wget),
        C(openssl) and C(bash).
      - With V(false), the check C(network) is omitted.
    type: bool
    default: true
  ask_server:
    description:
      - Query the livepatch server from the controller whether it supports the kernel of the host. There is one query
        for each kernel in a run, regardless of the number of hosts. It needs no credentials.
      - With V(false), the check C(kernel_supported) uses the support status that the client got from the server last.
    type: bool
    default: false
  ca_path:
    description:
      - File on the controller with certificates of certificate authorities in PEM format, or folder with such
        certificates that was prepared with C(openssl rehash), for O(ask_server). They are trusted instead of the
        authorities that are trusted by default.
    type: path
    version_added: 2.0.0
  proxy:
    description:
      - URL of an HTTP proxy that the controller uses for O(ask_server). It can contain a user name and a password,
        which are not shown in results.
      - By default, the environment variables E(https_proxy), E(http_proxy) and E(no_proxy) are used.
    type: str
    version_added: 2.0.0
"""

    ANSWER = r"""
options:
  answer_timeout:
    description:
      - Maximum time in seconds in which the host must answer a script that only reads, from V(10) to V(3600). A script
        that also waits on the host, for example for C(apt-get), has this time in addition.
      - After this time, the connection is closed, and the error is C(timed_out).
    type: int
    default: 120
    version_added: 2.0.0
"""

    LOOKS = r"""
options: {}
notes:
  - Runs one POSIX shell script through the standard input of the connection, in one round trip. No Python and no fact
    gathering are needed on the host.
  - Root privileges are recommended. Without them, values that only root can read are reported as unknown, with the
    reason. The task does not fail because of this.
"""

    GROUPS = r"""
options:
  group_by:
    description:
      - Groups of the inventory and host variables that are stored with the record, for reports by group.
      - Groups of the inventory are the values of the key C(group). A host is in the first one that contains it. Each
        host variable is a key of its own, with a value that is a string, a number or a boolean.
      - At most 50 names, of which at most 8 are variables.
    type: list
    elements: str
    default: []
"""
