# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Actions that are not tasks of the core yet."""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction


class ActionError(LivepatchError):
    """A failure with keys of the result."""

    def __init__(self, message: str, **result: t.Any) -> None:
        error_id, remedy = result.pop("error_id", None), result.pop("remedy", None)
        super().__init__(str(error_id), message, remedy, **result)

    def as_result(self) -> dict[str, t.Any]:
        ids = {} if self.id == "None" else {"error_id": self.id}
        remedy = {} if self.remedy is None else {"remedy": self.remedy}
        return {"msg": self.message, **ids, **remedy, **self.details}


class LegacyAction(LivepatchAction):
    """An action whose work is a method."""

    @abc.abstractmethod
    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the work."""

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        return self.execute(options)
        yield  # a task is a generator
