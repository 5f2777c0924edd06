# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report on a fleet, from the records of its hosts."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.delivery import Notifier
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import host_exposure
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import NAMES
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.rule_evaluation import DEFAULT
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.fleet_report import ReportOptions, fleet_report
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import REPORT_ARGUMENTS, run_context
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._run import RUN


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "formats": {"type": "list", "elements": "str", "choices": list(NAMES), "default": ["table"]},
        "rules": {"type": "raw", "default": DEFAULT},
        **{n: {"type": "list", "elements": "str", "default": []} for n in ("closed_cves", "fail_on", "group_by")},
        **{name: {"type": "int"} for name in ("seats", "retention")},
        **{name: {"type": "path"} for name in ("output_dir", "waivers", "history", "notices")},
        **(host_exposure.ARGUMENTS | REPORT_ARGUMENTS),
    }

    def make_task(self, options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        return fleet_report(
            ReportOptions(
                record_dirs=tuple(store_place(place) for place in options["store"]),
                hosts=options["hosts"],
                formats=tuple(dict.fromkeys(options["formats"])),
                output_dir=_path(options["output_dir"]),
                rules=options["rules"],
                closed_cves=options["closed_cves"],
                waivers=_path(options["waivers"]),
                groups=self.groups if options["waivers"] else {},
                seats=options["seats"],
                fail_on=options["fail_on"],
                history=_path(options["history"]),
                retention=options["retention"],
                notices=_path(options["notices"]),
                exposure=host_exposure.ExposureOptions.of(options),
                context=run_context(options, self.inventory),
                notifier=Notifier.of(options),
                run_started=RUN.started_at,
                group_by=tuple(options["group_by"]),
                check_mode=self.check_mode,
            )
        )


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value).absolute()
