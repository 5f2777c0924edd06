# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reboot hosts into their newest kernel, and start their containers again."""

from __future__ import annotations

import getpass
import os
import pathlib
import secrets
import socket
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.drain_lock import DrainLock
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.kernel_reboot import (
    RebootOptions,
    reboot_host,
)
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import load_policy


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "kernel": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "boot_entry": {"type": "str", "choices": ["keep", "set"], "default": "keep"},
        "window": {"type": "raw", "default": ""},
        "freeze": {"type": "raw", "default": []},
        "drain_group": {"type": "str"},
        "record_dir": {"type": "path"},
        "drain_group_timeout": {"type": "int", "default": 900},
        "restore_after": {"type": "int", "default": 300},
        "pre_commands": {"type": "list", "elements": "str", "default": []},
        "post_commands": {"type": "list", "elements": "str", "default": []},
        "docker": {"type": "str", "choices": ["stop", "wait", "ignore"], "default": "stop"},
        "podman": {"type": "str", "choices": ["stop", "wait", "ignore"], "default": "stop"},
        "lxd": {"type": "str", "choices": ["stop", "ignore"], "default": "stop"},
        "drain_timeout": {"type": "int", "default": 300},
        "message": {"type": "str", "default": "This machine reboots into a newer kernel."},
        "delay": {"type": "int", "default": 3},
        "reboot_timeout": {"type": "int", "default": 900},
        "require_protected": {"type": "bool", "default": True},
        "protected_timeout": {"type": "int", "default": 900},
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        group, folder = options.pop("drain_group"), options.pop("record_dir")
        if group and not folder:
            remedy = "set record_dir to the record folder that all runs use"
            raise LivepatchError("options_invalid", "drain_group is set, but record_dir is not", remedy)
        lock = DrainLock(pathlib.Path(folder).absolute(), group, self.host, *_this_run()) if group else None
        return reboot_host(
            RebootOptions(
                policy=load_policy("current"),
                check_mode=self.check_mode,
                diff_mode=self.diff_mode,
                drain_lock=lock,
                **options,
            )
        )


def _this_run() -> tuple[str, str]:
    """Return an identifier of this run, and the user and machine that other runs name as its owner."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container can run as a user without a name.
        user = str(os.getuid())
    return secrets.token_hex(8), f"{user}@{socket.gethostname()} (process {os.getppid()})"
