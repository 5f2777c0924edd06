# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The base class of every action plugin: options in, result out, errors converted, secrets and host text made safe."""

from __future__ import annotations

import abc
import contextlib
import copy
import datetime
import importlib
import pathlib
import re
import traceback
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import causes
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.next_steps import connection_step
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.groups import host_groups
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Reason
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    is_database,
    store_place,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.store import passwords
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.store import RecordStore, open_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import (
    visible,
    visible_message,
    visible_values,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._driver import Driver
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import list_from_text, read_answer_timeout
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._run import RUN

# Ansible loads an action in the process that later starts one for each host. In these, loading the library of a store
# in PostgreSQL would take 0.1 s for each host. A store that needs the library reports that it is missing.
with contextlib.suppress(ImportError):
    importlib.import_module("psycopg")

_TEMPLATE = re.compile(r"\{(?=[{%#])")
"""The first character of what begins an expression, a statement or a comment of a template."""

_SEVERAL_LINES = {"variables_invalid"}
"""Errors with a message of several lines. No part of it comes from a host."""


class LivepatchAction(ActionBase):
    """One Ansible task. A subclass declares `ARGUMENT_SPEC` and makes a task of the core from validated options.

    Values of ``no_log`` options are masked in the result, and the result is never templated, because it can hold text
    from a host. With `RECORDS_ATTEMPTS`, every end of the task without a stored record, whatever the reason, is stored
    in ``store`` as a failed attempt, so that a report does not show an older record instead.
    """

    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {}
    RECORDS_ATTEMPTS: t.ClassVar[bool] = False

    _supports_check_mode = True
    _supports_async = False

    host: str
    """The name of the host that the task asks: that of the play, or the one that the task is delegated to."""

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
        # A record of another host's facts would show them as those of this host.
        self.host = str(self._task.delegate_to or (task_vars or {}).get("inventory_hostname", ""))
        self.groups: dict[str, list[str]] = (task_vars or {}).get("groups", {})
        self.inventory: object = (task_vars or {}).get("ansible_inventory_sources")
        self._variables = task_vars or {}
        validation = ArgumentSpecValidator(self.ARGUMENT_SPEC).validate(self._arguments())
        result.update(changed=False)
        result.update(self._perform(validation))
        secrets = validation._no_log_values | self._passwords_in_addresses()
        if secrets:
            result = remove_values(result, secrets)
        return t.cast("dict[str, t.Any]", wrap_var(result))

    def _passwords_in_addresses(self) -> set[str]:
        stores = list_from_text(self._task.args.get("store") or self._task.args.get("record_dir") or [])
        texts = [str(each) for each in (stores if isinstance(stores, list) else [stores])]
        return passwords(DatabaseAddress(text) for text in texts if is_database(text))

    def host_groups(self, names: t.Sequence[str]) -> dict[str, str]:
        """Return the groups of the host that these names of the option `group_by` select."""
        of_host = [name for name in names if self.host in self.groups.get(name, ())]
        return host_groups(names, of_host, self.groups, self._value_of)

    def _value_of(self, variable: str) -> object:
        if self._task.delegate_to:
            # The variables of the task are those of the host of the play.
            variables = self._variables.get("hostvars", {}).get(self.host, {})
            return variables.get(variable)
        try:
            return self._templar.template(self._variables.get(variable))
        except AnsibleError:
            return None

    def _arguments(self) -> dict[str, t.Any]:
        """Return the options of the task, with texts for lists as the lists that they mean."""
        specs = self.ARGUMENT_SPEC.items()
        lists = {each for name, spec in specs if spec["type"] == "list" for each in (name, *spec.get("aliases", ()))}
        given = copy.deepcopy(self._task.args)
        return {name: list_from_text(value) if name in lists else value for name, value in given.items()}

    def _perform(self, validation: t.Any) -> dict[str, t.Any]:
        """Run the task. Any text of the result can quote a host, and Ansible, roles and playbooks print it as it is."""
        result: dict[str, t.Any] = visible_values(self._run_task(validation))
        if isinstance(result.get("msg"), str) and result.get("error_id") not in _SEVERAL_LINES:
            result["msg"] = visible_message(result["msg"])
        return result

    def _run_task(self, validation: t.Any) -> dict[str, t.Any]:
        """Run the task. Every `LivepatchError`, and every unexpected exception, becomes a failed result here only."""
        try:
            if validation.error_messages:
                remedy = f"correct the options; to list them: ansible-doc {self._task.action}"
                raise LivepatchError("options_invalid", self._validation_message(validation.errors), remedy)
            options = validation.validated_parameters
            return Driver(self, read_answer_timeout(options)).run(self.make_task(options))
        except LivepatchError as error:
            return self._failed(error)
        except AnsibleError as error:
            remedy = connection_step(self.host, str(error))
            self._record_attempt(Reason(id="connection_failed", message=str(error), remedy=remedy))
            raise _visible_error(error) from None
        except Exception as error:
            self._show_traceback(error)
            return self._failed(causes.INTERNAL_ERROR.error(place=_place_of(error)))
        except BaseException as error:
            # The keyword `timeout` of the task, or a signal. The class for the former is in different modules of
            # different versions of ansible-core, and is no `Exception` in any of them.
            cause = causes.TASK_TIMED_OUT if type(error).__name__ == "TaskTimeoutError" else causes.TASK_ENDED
            self._record_attempt(cause.reason())
            raise

    def _failed(self, error: LivepatchError) -> dict[str, t.Any]:
        outcome = {"failed": True, **error.as_result()}
        # A result can have a record that could not be stored.
        if "record" not in outcome or isinstance(error, folder_store.RecordStoreError):
            self._record_attempt(Reason(id=error.id, message=error.message, remedy=error.remedy))
        return outcome

    def _record_attempt(self, reason: Reason) -> None:
        """Store a failed attempt. If this fails too, only warn: the task already reports a failure."""
        place = self._task.args.get("store") or self._task.args.get("record_dir")
        if not self.RECORDS_ATTEMPTS or not place:
            return
        now = format_time(datetime.datetime.now(datetime.timezone.utc))
        try:
            store = open_store(store_place(str(place)), RUN)
        except LivepatchError:
            # The options cannot be used, which is the failure that the task reports.
            return
        try:
            store.note_attempt(self.host, now, [reason], self._groups_of_attempt())
        except Exception as error:
            # Whatever prevents this must not replace the first failure.
            self._hide_outdated_record(store, error)

    def _groups_of_attempt(self) -> dict[str, str]:
        """Return the groups of the host, none if they cannot be found: a failed attempt counts without groups too."""
        try:
            names = self._arguments().get("group_by") or []
            names = names.split(",") if isinstance(names, str) else names
            return self.host_groups([str(name) for name in names]) if isinstance(names, list) and names else {}
        except Exception:
            return {}

    def _hide_outdated_record(self, store: RecordStore, reason: Exception) -> None:
        """Make sure that no report shows the last record of the host as one of this run."""
        try:
            store.set_aside(self.host)
        except Exception:
            self._display.warning(visible(f"A report shows an outdated record of {self.host}: {reason}"))

    def _show_traceback(self, error: Exception) -> None:
        """Print a traceback with -vvv. The texts in it can come from the host."""
        for line in traceback.format_exception(error):
            for part in line.splitlines():
                self._display.vvv(visible(part), host=self.host)

    def _validation_message(self, errors: t.Any) -> str:
        if isinstance(errors[0], UnsupportedError):
            return f"Unsupported parameters for ({self._task.action}) module: {errors.msg}"
        return str(errors.msg)


def _visible_error(error: AnsibleError) -> AnsibleError:
    """Return the error, or one of the same kind without invisible characters and templates: its text can quote a host.

    Before 2.19, ansible-core registers the text of a failed connection as a value that it evaluates.
    """
    text = " ".join(str(error).split())
    shown = _TEMPLATE.sub("{ ", visible_message(text))
    if shown == text:
        return error
    kind = AnsibleConnectionFailure if isinstance(error, AnsibleConnectionFailure) else AnsibleError
    return t.cast("AnsibleError", kind(shown))


def _place_of(error: Exception) -> str:
    """Return the type of an unexpected exception and its place in the code, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    name = type(error).__name__
    return f"{name} in {pathlib.Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else name
