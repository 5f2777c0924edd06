# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts grouped by what their stored records say."""

from __future__ import annotations

DOCUMENTATION = r"""
name: records
short_description: Group hosts by what their stored records say
version_added: 1.0.0
description:
  - Reads the records that M(kernelops.livepatch.patch_info) and the playbook C(kernelops.livepatch.check) stored, and
    makes groups and variables of them, without touching a host.
  - Meant to stand beside the inventory that knows how to reach the hosts, as in
    C(ansible-playbook -i hosts -i livepatch.yml site.yml --limit livepatch_state_upgrade_required). No variable of a
    connection is set.
  - Every host is in the group C(livepatch_state_<state>) of its newest record, and where its kernel is known, in
    C(livepatch_kernel_<series>), for instance C(livepatch_kernel_4_4). The groups of all states exist also when they
    are empty. A host whose newest attempt gave no record is in C(livepatch_state_unreachable).
  - What cannot be read gives a warning, and hides nothing else.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - ansible.builtin.constructed
notes:
  - A host is known here for as long as its record is stored. To act only on hosts that another inventory has, too,
    limit the run to one of its groups, as in C(--limit 'web:&livepatch_state_stale').
  - Nothing that came from a host is taken as a template.
options:
  plugin:
    description: Names this plugin in a file whose name ends in C(livepatch.yml) or C(livepatch.yaml).
    type: str
    required: true
    choices: [kernelops.livepatch.records]
  record_dir:
    description:
      - Folders that records are stored in. Of several records of one host the newest counts.
      - Relative paths begin in the folder of the inventory file.
    type: list
    elements: str
    default: [livepatch-records]
  use_extra_vars:
    description: Whether O(compose), O(groups) and O(keyed_groups) see extra variables (C(--extra-vars)), too.
    type: bool
    default: false
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
---
# livepatch.yml: the line with the plugin's name is all that is needed where the records are in livepatch-records
# beside this file. The rest is for records of two controllers, and for groups of one's own.
plugin: kernelops.livepatch.records
record_dir:
  - records-eu
  - ~/records-us
groups:
  reboot_window: livepatch_reboot_needed
keyed_groups:
  - prefix: livepatch_tier
    key: livepatch_record.client.tier
compose:
  livepatch_next_step: livepatch_record.assessment.reasons[0].remedy

# What each host gets (null where it is not known, and all null but the first two for a host that is unreachable):
#   livepatch_state           the state, for instance protected
#   livepatch_collected_at    when the newest record was collected (RFC 3339, UTC)
#   livepatch_kernel          the running kernel, for instance 4.4.0-210.242-generic
#   livepatch_patch_version   the version of its patch, for instance 113.1
#   livepatch_reboot_needed   whether it waits for a reboot
#   livepatch_record          the whole record, as M(kernelops.livepatch.patch_info) returns it
"""

import datetime
import json
import os
import re
import typing as t
from pathlib import Path

from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import HostLine, assemble
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible

_FILE_ENDINGS = ("livepatch.yml", "livepatch.yaml")
_SERIES = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_MOST_WARNINGS = 20


class InventoryModule(BaseInventoryPlugin, Constructable):
    NAME = "kernelops.livepatch.records"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path) and path.endswith(_FILE_ENDINGS))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        for state in STATES:
            self.inventory.add_group(f"livepatch_state_{state}")
        spool, inert = Spool(), _Inert()
        problems: list[Problem] = []
        documents = _usable(folder_store.load(self._record_dirs(Path(path).parent)), problems)
        for line in assemble(documents, None, _now(), spool).lines:
            record = json.loads(spool.document(line.document)) if line.document is not None else None
            self._add(line, record, inert)
        self._warn(problems)

    def _record_dirs(self, origin: Path) -> list[Path]:
        return [origin / Path(os.path.expandvars(folder)).expanduser() for folder in self.get_option("record_dir")]

    def _add(self, line: HostLine, record: Record | None, inert: _Inert) -> None:
        host = self.inventory.add_host(inert(line.host), f"livepatch_state_{line.state}")
        series = record["system"]["kernel"]["series"] if record else None
        if series is not None and _SERIES.fullmatch(series):
            self.inventory.add_host(host, self.inventory.add_group(f"livepatch_kernel_{series.replace('.', '_')}"))
        # Set on the host itself: from ansible-core 2.19 on, the inventory would note the origin of every single string.
        variables = self.inventory.get_host(host)
        for name, value in _variables(line, record).items():
            variables.set_variable(name, inert(value))
        self._construct(host)

    def _construct(self, host: str) -> None:
        strict = self.get_option("strict")
        if self.get_option("compose"):
            variables = self.inventory.get_host(host).get_vars()
            self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), {}, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), {}, host, strict=strict)

    def _warn(self, problems: list[Problem]) -> None:
        for problem in problems[:_MOST_WARNINGS]:
            self.display.warning(f"{visible(problem.path)}: {visible(problem.message)}")
        if problems[_MOST_WARNINGS:]:
            self.display.warning(f"{len(problems) - _MOST_WARNINGS} more records could not be used.")


class _Inert:
    """Makes values safe from templating, as ansible-core's own `wrap_var` does, and keeps equal text once.

    Thousands of records say the same few hundred things; kept apart, they would take ten times the time and memory.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def __call__(self, value: t.Any) -> t.Any:
        kind = value.__class__
        if kind is str:
            return self._texts.get(value) or self._texts.setdefault(value, wrap_var(value))
        if kind is dict:
            return {self(key): self(member) for key, member in value.items()}
        if kind is list:
            return [self(member) for member in value]
        return value


def _usable(documents: t.Iterable[Document], problems: list[Problem]) -> t.Iterator[Recorded | FailedAttempt]:
    # A file that is no record names no host for sure, and a name that was guessed from it must not be acted upon.
    for document in documents:
        if isinstance(document, Problem):
            problems.append(document)
        elif not (document.host if isinstance(document, FailedAttempt) else document.record["host"]):
            problems.append(Problem("host_unnamed", "a record", "it names no host"))
        else:
            yield document


def _variables(line: HostLine, record: Record | None) -> dict[str, t.Any]:
    seen_at = line.last_record.collected_at if line.last_record else line.collected_at
    return {
        "livepatch_state": line.state,
        "livepatch_collected_at": seen_at,
        "livepatch_kernel": line.kernel_name,
        "livepatch_patch_version": line.patch_version,
        "livepatch_reboot_needed": record["assessment"]["reboot_needed"] if record else None,
        "livepatch_record": record,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
