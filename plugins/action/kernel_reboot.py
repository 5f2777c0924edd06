# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reboot hosts into their newest kernel, and start their containers again."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.kernel_reboot import (
    RebootOptions,
    reboot_host,
)
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _options
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **_options.HOST_ARGUMENTS,
        "kernel": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "boot_entry": {"type": "str", "choices": ["keep", "set"], "default": "keep"},
        "window": {"type": "raw", "default": ""},
        "freeze": {"type": "raw", "default": []},
        "drain_group": {"type": "str"},
        "store": _options.STORE,
        "drain_group_timeout": {"type": "int", "default": 900},
        "restore_after": {"type": "int", "default": 300},
        "pre_commands": {"type": "list", "elements": "str", "default": []},
        "post_commands": {"type": "list", "elements": "str", "default": []},
        "docker": {"type": "str", "choices": ["stop", "wait", "ignore"], "default": "stop"},
        "podman": {"type": "str", "choices": ["stop", "wait", "ignore"], "default": "stop"},
        "lxd": {"type": "str", "choices": ["stop", "ignore"], "default": "stop"},
        "allow_running": {
            "type": "list",
            "elements": "str",
            "choices": ["kubernetes", "containerd", "rootless"],
            "default": [],
        },
        "drain_timeout": {"type": "int", "default": 300},
        "message": {"type": "str", "default": "This machine reboots into a newer kernel."},
        "delay": {"type": "int", "default": 3},
        "reboot_timeout": {"type": "int", "default": 900},
        "require_protected": {"type": "bool", "default": True},
        "protected_timeout": {"type": "int", "default": 900},
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        lock = _options.load_drain_lock(options.pop("drain_group"), options.pop("store"), self.host)
        return reboot_host(
            RebootOptions(
                policy=_options.load_policy("current"),
                check_mode=self.check_mode,
                diff_mode=self.diff_mode,
                drain_lock=lock,
                **options,
            )
        )
