# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Callback plugin that shows the progress of a run over many hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_progress
type: aggregate
short_description: Show the progress of a run over many hosts
version_added: 1.0.0
description:
  - Shows how many hosts have completed the current task, their results, and the remaining time.
  - On a terminal, the progress is one line below the output. It is updated in place, and erased before other output is
    written, so that the output stays intact.
  - If no host has returned a result for five seconds, the line shows the hosts that the task is waiting for.
  - If standard output is not a terminal, progress lines are written to standard error and to the log of Ansible, after
    each quarter of the hosts of a task. In long tasks, a line is also written if there was none for 30 seconds, then
    for one, two and four minutes, and so on. There are at most twelve lines for each task. Tasks that take less than
    two seconds, and short tasks with fewer than 20 hosts, get no line.
  - Results of M(kernelops.livepatch.patch_info) are counted by the state of the host. C(no record) means that the task
    failed on the host. Results of other tasks are counted as ok, failed, no_answer and skipped.
  - No progress is shown for a task that only one host has started.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - The plugin must be enabled, with C(callbacks_enabled = kernelops.livepatch.fleet_progress) in C(ansible.cfg) or with
    the environment variable E(ANSIBLE_CALLBACKS_ENABLED).
notes:
  - If only some hosts run a task, for example in the rescue section of a block, the number of these hosts is not known
    in advance. The progress line then uses the number of all hosts of the play that have not failed.
  - Before ansible-core 2.19, C(ssh) itself asks on the terminal whether to trust the key of an unknown host. Add the
    keys of new hosts before the run, because the progress line can overwrite this question.
"""

EXAMPLES = r"""
# Enable the plugin in ansible.cfg:
#   [defaults]
#   callbacks_enabled = kernelops.livepatch.fleet_progress
#
# Enable the plugin for one run:
#   ANSIBLE_CALLBACKS_ENABLED=kernelops.livepatch.fleet_progress ansible-playbook kernelops.livepatch.check -i inventory
#
# Progress line on a terminal with 100 columns:
#    417/1200  ━━━━━━──────────────  380 protected  2 no_answer  35 upgrade_required  1:23 left
#
# Progress line in a log:
#   Collect the Livepatch state: 600 of 1200 hosts (50 %): 551 protected, 2 no_answer, 47 upgrade_required; 1:01 left
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
        self._report(task)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        outcome = progress.outcome_of_record(_result(result)) if _is_patch_info(result) else progress.OK
        self._finish(result, outcome)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        outcome = progress.FAILED
        if _is_patch_info(result):
            outcome = progress.outcome_of_record(_result(result)) if "record" in _result(result) else progress.NO_RECORD
        self._finish(result, outcome, gone=not ignore_errors)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._finish(result, progress.NO_ANSWER, gone=not _task(result).ignore_unreachable)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._finish(result, progress.SKIPPED)

    def v2_playbook_on_stats(self, _stats: t.Any) -> None:
        if self._line is not None:
            self._line.close()

    def _finish(self, result: t.Any, outcome: str, *, gone: bool = False) -> None:
        with self._lock:
            self._play.finish(_task(result)._uuid, _host(result).get_name(), outcome, time.monotonic(), gone=gone)
        self._report(_task(result))

    def _report(self, task: t.Any) -> None:
        if self._line is not None:
            self._line.refresh()
            return
        milestone = self._play.milestone(task._uuid, time.monotonic())
        if milestone:
            self._display.display(milestone, stderr=True)

    def _text(self, columns: int) -> str:
        return self._play.line(time.monotonic(), progress.Style(columns, ANSIBLE_COLOR, self._unicode))


def _is_patch_info(result: t.Any) -> bool:
    return bool(_task(result).resolved_action == _PATCH_INFO)


# These attributes are public as of ansible-core 2.19. Before, only the private ones exist.


def _task(result: t.Any) -> t.Any:
    return getattr(result, "task", None) or result._task


def _host(result: t.Any) -> t.Any:
    return getattr(result, "host", None) or result._host


def _result(result: t.Any) -> t.Any:
    return getattr(result, "result", None) or result._result
