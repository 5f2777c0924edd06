# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run a task of the core from recorded answers, with a clock that only moves when the task sleeps."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import commands

NOW = datetime.datetime(2026, 3, 1, 4, 0, tzinfo=datetime.timezone.utc)


class ConnectionLost(Exception):  # noqa: N818  (it replaces an exception of Ansible, which the task must not catch)
    """The connection fails in a script that must not fail: the driver ends the task."""


Answer: t.TypeAlias = "Sections | LivepatchError | ConnectionLost | None"
"""The result of a script: sections, None for a host that does not answer, or an error."""


@dataclasses.dataclass
class Replay:
    """The commands of a task. `script` answers each `RunScript`; it may use the command and the clock of this object.

    A script takes `script_seconds` of the clock. `sleeps`, `scripts`, `stored`, `shown` and `warnings` collect the
    commands in order, and `questions` those to the service; `resets` counts them.
    """

    script: c.Callable[[commands.RunScript], Answer]
    support: KernelSupport = dataclasses.field(default_factory=lambda: KernelSupport("supported", ""))
    questions: list[commands.AskService] = dataclasses.field(default_factory=list)
    script_seconds: float = 0.0
    store_failure: LivepatchError | None = None
    elapsed: float = 0.0
    sleeps: list[float] = dataclasses.field(default_factory=list)
    scripts: list[commands.RunScript] = dataclasses.field(default_factory=list)
    stored: list[Record] = dataclasses.field(default_factory=list)
    shown: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    resets: int = 0

    def run(self, task: commands.Task[dict[str, t.Any]]) -> dict[str, t.Any]:
        """Run a task to its end, as the driver does. Raises what the task raises."""
        answer: t.Any = None
        failure: LivepatchError | None = None
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
        match command:
            case commands.RunScript():
                return self._answer(command)
            case commands.ResetConnection():
                self.resets += 1
            case commands.Sleep():
                assert command.seconds >= 0
                self.sleeps.append(command.seconds)
                self.elapsed += command.seconds
            case commands.ReadClock():
                return commands.Instant(NOW + datetime.timedelta(seconds=self.elapsed), self.elapsed)
            case commands.AskService():
                self.questions.append(command)
                return self.support
            case commands.StoreRecord():
                if self.store_failure is not None:
                    raise self.store_failure
                self.stored.append(command.record)
                return f"{command.place}/{command.record['host']}.json"
            case commands.ShowTable():
                self.shown.append("".join(command.render(columns=120, colour=False)))
            case commands.Warn():
                self.warnings.append(command.message)
        return None

    def _answer(self, command: commands.RunScript) -> Sections | None:
        self.scripts.append(command)
        self.elapsed += self.script_seconds
        answer = self.script(command)
        if not command.may_fail:
            assert answer is not None, "a host that does not answer is ConnectionLost here"
            if isinstance(answer, Exception):
                raise answer
            return answer
        if answer is None or isinstance(answer, Exception) or not answer.complete:
            self.resets += 1
            return None
        return answer


def sections(*, complete: bool = True, **outputs: str | Section) -> Sections:
    """Return an answer whose sections hold these outputs; ``_`` in a name stands for a space."""
    return Sections(
        [
            output if isinstance(output, Section) else Section(name.replace("_", " "), "ok", output, exit_code=0)
            for name, output in outputs.items()
        ],
        complete=complete,
    )
