# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Everything about a host's patches, as one record."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import typing as t

from ansible.errors import AnsibleError
from ansible.release import __version__ as ansible_core_version

from ansible_collections.kernelops.livepatch.plugins.module_utils import _record
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.host_record import make_record, timestamp
from ansible_collections.kernelops.livepatch.plugins.module_utils._patches.trust import TrustAnchors
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _host_probe, _record_store, _trust
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import ActionError, LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._version import COLLECTION_VERSION


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **_host_probe.PROBE_ARGUMENTS,
        **_trust.TRUST_ARGUMENTS,
        "verify": {"type": "str", "choices": ["auto", "file", "off"], "default": "auto"},
        "record_dir": {"type": "path"},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """As every action, and leave word for the report when the host gives no record, for whatever reason."""
        try:
            result = super().run(tmp, task_vars)
        except AnsibleError as error:
            remedy = f"check the connection: ansible {self.host} -m ansible.builtin.raw -a 'echo ok'"
            self._note_failure("connection_failed", str(error), remedy)
            raise
        if result.get("failed"):
            self._note_failure(str(result.get("error_id", "task_failed")), str(result["msg"]), result.get("remedy"))
        return result

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        policy = _host_probe.load_policy(options["policy"])
        anchors = self._anchors(options)
        wanted = options["verify"] if anchors else "off"
        started = datetime.datetime.now(datetime.timezone.utc)
        facts = _host_probe.probe_host(
            self, options, wanted, certificate=anchors is not None and bool(anchors.unmet_pins)
        )
        record = make_record(
            self.host,
            facts,
            policy,
            collector=_record.Collector(collection=COLLECTION_VERSION, ansible_core=ansible_core_version),
            collected_at=started,
            service_word=_host_probe.asked_service_word(options, facts),
            anchors=anchors,
        )
        if not options["record_dir"]:
            return {"record": record}
        try:
            stored = _record_store.store(pathlib.Path(options["record_dir"]), record)
        except _record_store.RecordStoreError as error:
            raise ActionError(str(error), error_id="record_not_stored", record=record) from error
        return {"record": record, "record_file": str(stored)}

    @staticmethod
    def _anchors(options: dict[str, t.Any]) -> TrustAnchors | None:
        """Whom to trust, or nobody where no signature is to be verified here."""
        verify = options["verify"]
        if verify == "off" or (verify == "auto" and _trust.usual_trust_is_impossible(options)):
            return None
        return _trust.trust_anchors(options)

    def _note_failure(self, cause: str, message: str, remedy: str | None) -> None:
        """Write the attempt down. Where that fails too, the failure that is told already has to do."""
        record_dir = self._task.args.get("record_dir")
        if not record_dir:
            return
        reason = _record.Reason(id=cause, message=message, remedy=remedy)
        now = timestamp(datetime.datetime.now(datetime.timezone.utc))
        with contextlib.suppress(_record_store.RecordStoreError):
            _record_store.note_unreachable(pathlib.Path(str(record_dir)).expanduser(), self.host, now, [reason])
