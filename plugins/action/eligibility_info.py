# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whether a host may have Livepatch."""

from __future__ import annotations

import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import assess_eligibility
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import system_of
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _probe
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = _probe.PROBE_ARGUMENTS

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        policy = _probe.load_policy(options["policy"])
        facts = _probe.probe_host(self, options)
        eligibility = assess_eligibility(facts, policy, _probe.asked_service_word(options, facts))
        return {
            "eligible": eligibility["verdict"] == "eligible",
            "verdict": eligibility["verdict"],
            "checks": eligibility["checks"],
            "policy": eligibility["policy"],
            "system": system_of(facts),
        }
