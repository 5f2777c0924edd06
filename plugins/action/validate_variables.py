# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The variables of a run, before a host is contacted."""

from __future__ import annotations

import typing as t

from ansible.utils.vars import load_extra_vars

from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.validation import (
    PLAYBOOKS,
    validate_role,
    validate_variables,
)
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._variables import (
    VariableReader,
    misspelt_role_variables,
)


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "playbook": {"type": "str", "choices": list(PLAYBOOKS)},
        "role": {"type": "str", "choices": ["client", "eligibility", "kernel_upgrade", "mirror", "patch", "report"]},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        self.task_vars = task_vars or {}
        return super().run(tmp, task_vars)

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        if options["role"]:
            return validate_role(options["role"], misspelt_role_variables(options["role"], self.task_vars))
        reader = VariableReader(
            options["playbook"], self.task_vars, load_extra_vars(self._loader), self._templar.template
        )
        return validate_variables(reader.settings())
