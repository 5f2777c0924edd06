# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Attributes that the modules of this collection share, so that each is explained in one place."""

from __future__ import annotations


class ModuleDocFragment:
    """`attributes` explains them; the other fragments also say how far a module supports them."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change, without changing anything.
  diff_mode:
    description: Returns what it changed, or would change in check mode, when run with C(--diff).
  action_group:
    description: Takes its defaults from C(module_defaults) under the name of an action group.
  platform:
    description: Systems that the module works on.
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing on the host, so check mode gives the same result as a real run.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing on the host.
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Takes its defaults from C(module_defaults) under C(group/kernelops.livepatch.livepatch).
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
      - Needs a POSIX C(sh) on the host and no Python.
"""

    CONTROLLER = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: posix
    details:
      - Runs on the controller and never connects to a host.
"""
