# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Everything about a host's patches, as one record."""

from __future__ import annotations

import datetime
import pathlib
import typing as t

from ansible.errors import AnsibleError
from ansible.release import __version__ as ansible_core_version

from ansible_collections.kernelops.livepatch.plugins.module_utils import _record
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.host_record import make_record, timestamp
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _host_probe, _record_store
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import ActionError, LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._host_shell import HostShellError
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._version import COLLECTION_VERSION


class ActionModule(LivepatchAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **_host_probe.PROBE_ARGUMENTS,
        "record_dir": {"type": "path"},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        policy = _host_probe.load_policy(options["policy"])
        record_dir = pathlib.Path(options["record_dir"]) if options["record_dir"] else None
        started = datetime.datetime.now(datetime.timezone.utc)
        try:
            facts = _host_probe.probe_host(self, options)
        except HostShellError as error:
            _note_failure(record_dir, self.host, started, error.id, str(error), error.remedy)
            raise ActionError(f"{error}; {error.remedy}", error_id=error.id) from error
        except AnsibleError as error:
            remedy = f"check the connection: ansible {self.host} -m ansible.builtin.raw -a 'echo ok'"
            _note_failure(record_dir, self.host, started, "connection_failed", str(error), remedy)
            raise
        record = make_record(
            self.host,
            facts,
            policy,
            collector=_record.Collector(collection=COLLECTION_VERSION, ansible_core=ansible_core_version),
            collected_at=started,
            service_word=_host_probe.asked_service_word(options, facts),
        )
        result: dict[str, t.Any] = {"record": record}
        if record_dir is not None:
            result["record_file"] = str(_store(record_dir, record))
        return result


def _store(record_dir: pathlib.Path, record: _record.Record) -> pathlib.Path:
    try:
        return _record_store.store(record_dir, record)
    except _record_store.RecordStoreError as error:
        raise ActionError(str(error), error_id="record_not_stored", record=record) from error


def _note_failure(
    record_dir: pathlib.Path | None, host: str, at: datetime.datetime, cause: str, message: str, remedy: str
) -> None:
    """Leave word for the report; the failure itself is told in any case."""
    if record_dir is None:
        return
    reason = _record.Reason(id=cause, message=message, remedy=remedy)
    try:
        _record_store.note_unreachable(record_dir, host, timestamp(at), [reason])
    except _record_store.RecordStoreError as error:
        raise ActionError(f"{message}. {error}", error_id="record_not_stored") from error
