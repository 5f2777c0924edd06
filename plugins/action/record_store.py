# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Stores of records: their schema, imports and exports."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.store.transfer import (
    TransferOptions,
    transfer_records,
)
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "store": {"type": "path", "required": True},
        "import_folders": {"type": "list", "elements": "path", "default": []},
        "import_history": {"type": "path"},
        "export_file": {"type": "path"},
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        history, export = options["import_history"], options["export_file"]
        return transfer_records(
            TransferOptions(
                place=store_place(options["store"]),
                import_folders=tuple(Path(folder).absolute() for folder in options["import_folders"]),
                import_history=None if history is None else Path(history).absolute(),
                export_file=None if export is None else Path(export).absolute(),
                check_mode=self.check_mode,
            )
        )
