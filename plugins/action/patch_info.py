# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Everything about a host's patches, as one record."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.host_check import check_host
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import (
    RECORDING_ARGUMENTS,
    check_options,
    trust_anchors,
)


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **RECORDING_ARGUMENTS,
        "verify": {"type": "str", "choices": ["auto", "file", "off"], "default": "auto"},
        "return_record": {"type": "bool", "default": True},
    }
    RECORDS_ATTEMPTS = True

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        if not options["return_record"] and not options["store"]:
            remedy = "set store to a folder or to the address of a store, or return the record"
            raise LivepatchError(
                "options_invalid", "the record would be lost: return_record is false, and store is not set", remedy
            )
        verify = options["verify"]
        anchors = None if verify == "off" else trust_anchors(options, optional=verify == "auto")
        recording = {
            "record_dir": options["store"],
            "return_record": options["return_record"],
            "groups": self.host_groups(options["group_by"]),
        }
        return check_host(check_options(self.host, options, verify=verify, anchors=anchors, **recording))
