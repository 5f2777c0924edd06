# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Install the newest kernel of a series and flavour on hosts that need it."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.kernel_upgrade import (
    UpgradeOptions,
    upgrade_kernel,
)
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import HOST_ARGUMENTS


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **HOST_ARGUMENTS,
        "force": {"type": "bool", "default": False},
        "required": {"type": "bool", "default": False},
        "within_days": {"type": "int", "default": 0},
        "series": {"type": "str"},
        "flavour": {"type": "str"},
        "repair": {"type": "bool", "default": True},
        "lock_timeout": {"type": "int", "default": 600},
        "timeout": {"type": "int", "default": 3600},
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        own = {name: value for name, value in options.items() if name not in HOST_ARGUMENTS}
        return upgrade_kernel(
            UpgradeOptions(check_mode=self.check_mode, diff_mode=self.diff_mode, host=self.host, **own)
        )
