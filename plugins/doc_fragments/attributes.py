# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Attributes that the modules of this collection share."""

from __future__ import annotations


class ModuleDocFragment:
    """The first fragment describes the attributes; the other fragments also set their support."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what it would change, without changing anything.
  diff_mode:
    description: Returns the changes that it made (or in check mode, would make) when run with C(--diff).
  action_group:
    description: Is part of an action group, so that C(module_defaults) can set its defaults.
  platform:
    description: Systems that the module works on.
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module does not change anything on the host. The result is the same with and without check mode.
  diff_mode:
    support: N/A
    details:
      - This module does not change anything on the host.
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Is part of the action group C(group/kernelops.livepatch.livepatch) for C(module_defaults).
    support: full
    membership:
      - kernelops.livepatch.livepatch
"""

    HOST = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: posix
    details:
      - Requires a POSIX C(sh) on the host. Python is not required.
"""

    CONTROLLER = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: posix
    details:
      - Runs on the controller and does not connect to a host.
"""
