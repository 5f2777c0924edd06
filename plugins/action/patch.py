# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Apply the newest live patch of a host."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.patch import PatchOptions, apply_patch
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import (
    RECORDING_ARGUMENTS,
    check_options,
    trust_anchors,
)

_PROBE_LEVELS = {"required": "file", "best_effort": "auto", "off": "off"}
"""Value of `verify` of a check, by `verify` of this module."""


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **RECORDING_ARGUMENTS,
        "state": {"type": "str", "default": "applied"},
        "wait": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 300},
        "verify": {"type": "str", "choices": list(_PROBE_LEVELS), "default": "required"},
        "clear_crash_lock": {"type": "bool", "default": False},
    }
    RECORDS_ATTEMPTS = True

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        verify = options["verify"]
        anchors = None if verify == "off" else trust_anchors(options, optional=verify == "best_effort")
        own = {name: options[name] for name in ("state", "wait", "timeout", "verify", "clear_crash_lock")}
        return apply_patch(
            PatchOptions(
                check=check_options(
                    self.host,
                    options,
                    verify=_PROBE_LEVELS[verify],
                    anchors=anchors,
                    record_dir=options["store"],
                    groups=self.host_groups(options["group_by"]),
                ),
                **own,
                check_mode=self.check_mode,
                diff=self.diff_mode,
            )
        )
