# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""How far a run over many hosts has come."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_progress
type: aggregate
short_description: Show how far a run over many hosts has come
version_added: 1.0.0
description:
  - On a terminal, shows one line below the output, with the hosts that are done, what came of them so far, and the time
    that is left. It is drawn in place, and erased before anything else is written, so that nothing is lost or garbled.
  - When no host has answered for five seconds, the line names the hosts that the task waits for.
  - Where standard output is no terminal, writes a line to standard error, and to Ansible's log, at each quarter of the
    hosts of a task, and after 30 seconds, then one, two, four minutes without one. That is at most twelve lines a task.
    Tasks of less than two seconds get none, and short tasks of less than twenty hosts neither.
  - Results of M(kernelops.livepatch.patch_info) are counted by the state of the host, C(no record) being a host on
    which the task failed. Results of all other tasks are counted as ok, failed, unreachable and skipped.
  - A task that only one host has begun shows nothing.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - enabled in the configuration, as C(callbacks_enabled = kernelops.livepatch.fleet_progress) or by the environment
    variable E(ANSIBLE_CALLBACKS_ENABLED)
notes:
  - How many hosts a task will meet is not known beforehand where only some hosts run it, as in the rescue of a block.
    The line then counts against all hosts of the play that have not failed.
  - Before ansible-core 2.19, C(ssh) itself asks on the terminal whether to trust an unknown host. Add the keys of new
    hosts before a run, as the line could be drawn over that question.
"""

EXAMPLES = r"""
# In ansible.cfg:
#   [defaults]
#   callbacks_enabled = kernelops.livepatch.fleet_progress
#
# For one run:
#   ANSIBLE_CALLBACKS_ENABLED=kernelops.livepatch.fleet_progress ansible-playbook kernelops.livepatch.check -i inventory
#
# What a terminal of 100 columns shows:
#    417/1200  ━━━━━━──────────────  380 protected  2 unreachable  35 upgrade_required  1:23 left
#
# What a log gets:
#   Look at the host: 600 of 1200 hosts (50 %): 551 protected, 2 unreachable, 47 upgrade_required; 1:01 left
"""

import threading
import time
import typing as t

from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase
from ansible.utils.color import ANSIBLE_COLOR

from ansible_collections.kernelops.livepatch.plugins.module_utils._report import progress
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.status_line import (
    StatusLine,
    can_be_shown,
    shows,
)

_PATCH_INFO = "kernelops.livepatch.patch_info"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kernelops.livepatch.fleet_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock: threading.RLock = self._display._lock
        self._play = progress.PlayProgress(())
        self._unicode = shows("".join(progress.BAR))
        self._line = StatusLine(self._text, self._lock) if can_be_shown() else None

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        hosts = play.get_variable_manager().get_vars(play=play)["ansible_play_batch"]
        with self._lock:
            self._play = progress.PlayProgress(hosts, self._play.gone)

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        with self._lock:
            self._play.start(
                task._uuid,
                task.get_name(),
                host.get_name(),
                time.monotonic(),
                of_some_hosts=isinstance(task, Handler),
            )
        self._tell(task)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        outcome = progress.outcome_of_record(_result(result)) if _looks_at_patches(result) else progress.OK
        self._finish(result, outcome)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        outcome = progress.FAILED
        if _looks_at_patches(result):
            outcome = progress.outcome_of_record(_result(result)) if "record" in _result(result) else progress.NO_RECORD
        self._finish(result, outcome, gone=not ignore_errors)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._finish(result, progress.UNREACHABLE, gone=not _task(result).ignore_unreachable)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._finish(result, progress.SKIPPED)

    def v2_playbook_on_stats(self, _stats: t.Any) -> None:
        if self._line is not None:
            self._line.close()

    def _finish(self, result: t.Any, outcome: str, *, gone: bool = False) -> None:
        with self._lock:
            self._play.finish(_task(result)._uuid, _host(result).get_name(), outcome, time.monotonic(), gone=gone)
        self._tell(_task(result))

    def _tell(self, task: t.Any) -> None:
        if self._line is not None:
            self._line.refresh()
            return
        milestone = self._play.milestone(task._uuid, time.monotonic())
        if milestone:
            self._display.display(milestone, stderr=True)

    def _text(self, columns: int) -> str:
        return self._play.line(time.monotonic(), progress.Style(columns, ANSIBLE_COLOR, self._unicode))


def _looks_at_patches(result: t.Any) -> bool:
    return bool(_task(result).resolved_action == _PATCH_INFO)


# ansible-core 2.19 made these attributes public, and 2.16 has only the private ones.


def _task(result: t.Any) -> t.Any:
    return getattr(result, "task", None) or result._task


def _host(result: t.Any) -> t.Any:
    return getattr(result, "host", None) or result._host


def _result(result: t.Any) -> t.Any:
    return getattr(result, "result", None) or result._result
