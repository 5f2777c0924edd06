# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Perform the commands of a task: the one place where time passes and a host is contacted."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import causes
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._interruption import (
    DeadlineError,
    MemoryLimitError,
    call_within,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.store import open_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import commands
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible_message
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _table_output
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._kernel_support import kernel_support
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._run import RUN
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose, run_script

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

    from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections


class Driver:
    """Runs tasks for an action plugin, on the host of its Ansible task.

    `answer_timeout` is the time in seconds in which the host must answer, in addition to the waits of a script.
    """

    def __init__(self, action: ActionBase, answer_timeout: float) -> None:
        self._action = action
        self._answer_timeout = answer_timeout

    def run(self, task: commands.Task[dict[str, t.Any]]) -> dict[str, t.Any]:
        """Run a task to its end and return its result.

        A `LivepatchError` of a command is raised within the task, which can handle it. An exception of Ansible, for
        example for a connection that fails, ends the task and is raised here.
        """
        answer: t.Any = None
        failure: LivepatchError | None = None
        with contextlib.closing(task):
            while True:
                try:
                    command = task.send(answer) if failure is None else task.throw(failure)
                except StopIteration as end:
                    return t.cast("dict[str, t.Any]", end.value)
                answer, failure = None, None
                try:
                    answer = self._perform(command)
                except LivepatchError as error:
                    failure = error

    def _perform(self, command: commands.Command) -> object:
        """Perform one command and return its answer. Raises `LivepatchError` and Ansible's exceptions."""
        match command:
            case commands.RunScript():
                return self._try_script(command) if command.may_fail else self._run_script(command)
            case commands.ResetConnection():
                self._reset_connection()
            case commands.Sleep():
                time.sleep(command.seconds)
            case commands.ReadClock():
                return commands.Instant(datetime.datetime.now(datetime.timezone.utc), time.monotonic())
            case commands.AskService():
                return kernel_support(command.server, command.facts, command.ca_path, command.proxy)
            case commands.StoreRecord():
                return open_store(store_place(command.place), RUN).put(command.record)
            case commands.ShowTable():
                _table_output.show(self._action._display, command.render)
            case commands.Warn():
                self._action._display.warning(visible_message(command.message))
        return None

    def _run_script(self, command: commands.RunScript) -> Sections:
        seconds = self._answer_timeout + command.extra_seconds
        variables = dict(command.variables)
        if command.later is not None:
            variables["later"] = compose(command.later.parts, secrets.token_hex(16), command.later.variables)

        def call() -> Sections:
            return run_script(self._action, command.parts, variables, secret=command.secret)

        try:
            return call_within(seconds, call)
        except DeadlineError as error:
            self._reset_connection()
            raise causes.HOST_TIMED_OUT.error(seconds=f"{seconds:.0f}") from error
        except MemoryLimitError as error:
            self._reset_connection()
            raise causes.ANSWER_TOO_LARGE.error() from error

    def _try_script(self, command: commands.RunScript) -> Sections | None:
        try:
            sections = self._run_script(command)
        except (AnsibleError, LivepatchError):
            sections = None
        if sections is None or not sections.complete:
            self._reset_connection()
            return None
        return sections

    def _reset_connection(self) -> None:
        """Make the next command connect again, because an open connection can belong to a machine that has stopped."""
        connection = self._action._connection
        with contextlib.suppress(AnsibleError, OSError):
            # The default implementation only warns.
            if type(connection).reset is ConnectionBase.reset:
                connection.close()
            else:
                connection.reset()
