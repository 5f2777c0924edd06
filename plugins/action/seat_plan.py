# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A plan of the seats of a token."""

from __future__ import annotations

import secrets
import typing as t
from pathlib import Path

from ansible import constants

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.seat_plan import SeatOptions, seat_plan
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import STORES, load_policy


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "store": STORES,
        "hosts": {"type": "list", "elements": "str"},
        "priority": {"type": "list", "elements": "str", "default": []},
        "seats": {"type": "int"},
        "policy": {"type": "raw", "default": "launch"},
        "require_eligible": {"type": "bool", "default": True},
        "show": {"type": "bool", "default": True},
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        return seat_plan(
            SeatOptions(
                record_dirs=tuple(store_place(place) for place in options["store"]),
                hosts=options["hosts"],
                priority=options["priority"],
                seats=options["seats"],
                policy=load_policy(options["policy"]),
                require_eligible=options["require_eligible"],
                show=options["show"],
                check_mode=self.check_mode,
                # Ansible removes this folder at the end of the run.
                granted_file=Path(constants.DEFAULT_LOCAL_TMP, f"granted-{secrets.token_hex(8)}"),
            )
        )
