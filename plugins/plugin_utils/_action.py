# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The base class of every action plugin: options in, result out, errors converted, secrets and host text made safe."""

from __future__ import annotations

import abc
import contextlib
import copy
import datetime
import pathlib
import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Reason
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._driver import Driver


class LivepatchAction(ActionBase):
    """One Ansible task. A subclass declares `ARGUMENT_SPEC` and makes a task of the core from validated options.

    Values of ``no_log`` options are masked in the result, and the result is never templated, because it can hold text
    from a host. With `RECORDS_ATTEMPTS`, a failure without a record is stored in ``record_dir`` as a failed attempt, so
    that a report shows it.
    """

    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {}
    RECORDS_ATTEMPTS: t.ClassVar[bool] = False

    _supports_check_mode = True
    _supports_async = False

    host: str
    """The name of the host in the inventory, also of a host that a task is delegated from."""

    @property
    def check_mode(self) -> bool:
        return bool(self._task.check_mode)

    @property
    def diff_mode(self) -> bool:
        return bool(self._task.diff)

    @abc.abstractmethod
    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        """Return the task of the core. Raises `LivepatchError` for options that cannot be used."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Called by Ansible, once for each host and task."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self.host = str((task_vars or {}).get("inventory_hostname", ""))
        validation = ArgumentSpecValidator(self.ARGUMENT_SPEC).validate(copy.deepcopy(self._task.args))
        result.update(changed=False)
        result.update(self._perform(validation))
        if validation._no_log_values:
            result = remove_values(result, validation._no_log_values)
        return t.cast("dict[str, t.Any]", wrap_var(result))

    def _perform(self, validation: t.Any) -> dict[str, t.Any]:
        """Run the task. Every `LivepatchError` becomes a failed result here, and nowhere else."""
        try:
            if validation.error_messages:
                remedy = f"correct the options; to list them: ansible-doc {self._task.action}"
                raise LivepatchError("options_invalid", self._validation_message(validation.errors), remedy)
            return Driver(self).run(self.make_task(validation.validated_parameters))
        except LivepatchError as error:
            outcome = {"failed": True, **error.as_result()}
            if "record" not in outcome:
                self._record_attempt(Reason(id=error.id, message=error.message, remedy=error.remedy))
            return outcome
        except AnsibleError as error:
            remedy = f"check the connection: ansible {self.host} -m ansible.builtin.raw -a 'echo ok'"
            self._record_attempt(Reason(id="connection_failed", message=str(error), remedy=remedy))
            raise

    def _record_attempt(self, reason: Reason) -> None:
        """Store a failed attempt. If this fails too, ignore it: the task already reports a failure."""
        record_dir = self._task.args.get("record_dir")
        if not self.RECORDS_ATTEMPTS or not record_dir:
            return
        now = format_time(datetime.datetime.now(datetime.timezone.utc))
        with contextlib.suppress(folder_store.RecordStoreError):
            folder_store.note_unreachable(pathlib.Path(str(record_dir)).expanduser(), self.host, now, [reason])

    def _validation_message(self, errors: t.Any) -> str:
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {errors.msg}"
        return str(errors.msg)
