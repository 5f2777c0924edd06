# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The eligibility of a host."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.host_check import check_eligibility
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import PROBE_ARGUMENTS, check_options


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = PROBE_ARGUMENTS

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        return check_eligibility(check_options(self.host, options))
