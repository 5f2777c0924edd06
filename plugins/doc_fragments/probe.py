# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options of the modules that look at a host."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  policy:
    description:
      - Which systems may have Livepatch.
      - V(launch) is the service as it was announced in 2016, for Ubuntu 16.04 LTS, amd64, kernel 4.4, generic and
        lowlatency.
      - V(current) is the list of kernels that Canonical documents as covered today.
      - Any other text is the path of a policy file (YAML) on the controller.
      - A mapping is a policy given in place. It has the keys of a policy file, C(systems) being the one that it must
        have. Versions must be quoted in it, or YAML makes numbers of them.
    type: raw
    default: launch
  server:
    description:
      - URL of the livepatch server that the host must be able to reach.
      - By default the server that the host's client is configured with, and the hosted service where it is not.
    type: str
  network:
    description:
      - Try from the host whether the server can be reached, through the proxy that the client is configured with, with
        whatever the host has for it (curl, wget, openssl, bash).
      - Without this there is no check C(network).
    type: bool
    default: true
  ask_server:
    description:
      - Ask the server, from the controller, whether it supports the host's kernel.
      - It is asked once for each kernel in a run, however many hosts run it, and without credentials.
      - Without this, the check C(kernel_supported) rests on what the client was last told.
    type: bool
    default: false
"""

    LOOKS = r"""
options: {}
notes:
  - Runs one POSIX shell script over the connection's standard input, in one round trip. No Python is needed on the
    host, and no fact gathering.
  - Without root, what only root may read is V(unknown) in the result, with the reason, and nothing fails.
"""
