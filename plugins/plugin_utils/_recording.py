# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The base of the actions that make a record of a host: judged by one policy, one trust, and kept if asked to."""

from __future__ import annotations

import datetime
import pathlib
import typing as t

from ansible.release import __version__ as ansible_core_version

from ansible_collections.kernelops.livepatch.plugins.module_utils import _record
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import Policy
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.trust import TrustAnchors
from ansible_collections.kernelops.livepatch.plugins.module_utils._version import COLLECTION_VERSION
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _probe, _trust
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import LegacyAction

RECORDING_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **_probe.PROBE_ARGUMENTS,
    **_trust.TRUST_ARGUMENTS,
    "record_dir": {"type": "path"},
}


class RecordingAction(LegacyAction):
    """An action that looks at a host. Its options hold `RECORDING_ARGUMENTS`."""

    RECORDS_ATTEMPTS = True

    def record_of(
        self,
        facts: HostFacts,
        policy: Policy,
        looked_at: datetime.datetime,
        anchors: TrustAnchors | None,
        kernel_support: KernelSupport | None,
    ) -> _record.Record:
        """The record of what a host showed at a moment of the controller's clock."""
        return make_record(
            self.host,
            facts,
            policy,
            collector=_record.Collector(collection=COLLECTION_VERSION, ansible_core=ansible_core_version),
            collected_at=looked_at,
            kernel_support=kernel_support,
            anchors=anchors,
        )

    @staticmethod
    def kept(record: _record.Record, options: dict[str, t.Any]) -> dict[str, t.Any]:
        """The record as a result shows it, stored where the task asks for it. Raises `ActionError`."""
        if not options["record_dir"]:
            return {"record": record}
        try:
            stored = folder_store.store(pathlib.Path(options["record_dir"]), record)
        except folder_store.RecordStoreError as error:
            raise error.with_details(record=record) from error
        return {"record": record, "record_file": str(stored)}
