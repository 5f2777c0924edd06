# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The base of every action plugin here: options in, result out, secrets and hostile text made harmless."""

from __future__ import annotations

import abc
import copy
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var


class ActionError(Exception):
    """Ends the task as failed, with what happened, where, why and what to do.

    Keyword arguments become keys of the result.
    """

    def __init__(self, message: str, **result: t.Any) -> None:
        super().__init__(message)
        self.result = result


class LivepatchAction(ActionBase):
    """One task. A subclass declares `ARGUMENT_SPEC` and returns its result from `execute`.

    The options are validated before `execute` sees them. Whatever the result holds, values of ``no_log`` options
    are masked in it, and all of it is inert for templating, for it may come from a host.
    """

    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {}
    REQUIRED_IF: t.ClassVar[list[tuple[str, t.Any, list[str]]]] = []

    _supports_check_mode = True
    _supports_async = False

    host: str

    @property
    def check_mode(self) -> bool:
        return bool(self._task.check_mode)

    @property
    def diff_mode(self) -> bool:
        return bool(self._task.diff)

    @abc.abstractmethod
    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the work. Raises `ActionError` to fail."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Called by Ansible, once per host and task."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        validation = ArgumentSpecValidator(self.ARGUMENT_SPEC, required_if=self.REQUIRED_IF).validate(
            copy.deepcopy(self._task.args)
        )
        # The name in the inventory, also of a host that a task is delegated from.
        self.host = str((task_vars or {}).get("inventory_hostname", ""))
        try:
            if validation.error_messages:
                raise ActionError(self._validation_message(validation.errors))
            outcome = self.execute(validation.validated_parameters)
        except ActionError as error:
            outcome = {"failed": True, "msg": str(error), **error.result}
        result.update(changed=False)
        result.update(outcome)
        if validation._no_log_values:
            result = remove_values(result, validation._no_log_values)
        return t.cast("dict[str, t.Any]", wrap_var(result))

    def _validation_message(self, errors: t.Any) -> str:
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {errors.msg}"
        return str(errors.msg)
