# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Install, configure and enable the Livepatch client of a host, or remove it."""

from __future__ import annotations

import functools
import secrets
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import MODES
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client import ClientOptions, set_up_client
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_comparison import DesiredClient
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import PROBE_ARGUMENTS, check_options

_TRANSPORTS = ["auto", "socket", "cli"]
_DESIRED = (
    *("state", "mode", "channel", "via", "require_eligible", "reinstall"),
    *("snap_file", "snap_assertion"),
)


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **PROBE_ARGUMENTS,
        "state": {"type": "str", "choices": ["present", "enabled", "disabled", "absent"], "default": "enabled"},
        "token": {"type": "str", "no_log": True},
        "token_transport": {"type": "str", "choices": _TRANSPORTS, "default": "socket", "no_log": False},
        "config": {"type": "dict", "default": {}},
        "mode": {"type": "str", "choices": list(MODES)},
        "channel": {"type": "str"},
        "via": {"type": "str", "choices": ["livepatch", "pro"], "default": "livepatch"},
        "require_eligible": {"type": "bool", "default": True},
        "reinstall": {"type": "bool", "default": False},
        "snap_file": {"type": "str"},
        "snap_assertion": {"type": "str"},
        "wait_seeded": {"type": "int", "default": 300},
        "retry_timeout": {"type": "int", "default": 120},
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        desired = {name: options[name] for name in _DESIRED}
        return set_up_client(
            ClientOptions(
                check=check_options(self.host, options),
                desired=DesiredClient(**desired, token=options["token"] or None, transport=options["token_transport"]),
                config=options["config"] or {},
                make_salt=functools.partial(secrets.token_hex, 16),
                wait_seeded=options["wait_seeded"],
                retry_timeout=options["retry_timeout"],
                check_mode=self.check_mode,
                diff=self.diff_mode,
            )
        )
