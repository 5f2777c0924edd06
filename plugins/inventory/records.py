# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Inventory plugin that groups hosts by their stored records."""

from __future__ import annotations

DOCUMENTATION = r"""
name: records
short_description: Group hosts by their stored Livepatch records
version_added: 1.0.0
description:
  - Reads the records that M(kernelops.livepatch.patch_info) and the playbook C(kernelops.livepatch.check) stored on the
    controller, and creates groups and host variables from them. No host is contacted.
  - Use it together with the inventory that defines how to connect to the hosts, for example C(ansible-playbook -i hosts
    -i livepatch.yml site.yml --limit livepatch_state_upgrade_required). This plugin does not set connection variables.
  - Each host is added to the group C(livepatch_state_<state>) for the state in its newest record. If its kernel is
    known, it is also added to C(livepatch_kernel_<series>), for example C(livepatch_kernel_4_4). A host whose last
    attempt returned no record is added to C(livepatch_state_no_answer). The groups of all states are created even if
    they are empty.
  - A record that cannot be read causes a warning. The other records are still used.
author:
  - The kernelops.livepatch contributors (@kernelops)
extends_documentation_fragment:
  - ansible.builtin.constructed
notes:
  - The inventory contains a host as long as its record is stored. To select only hosts that are also in another
    inventory, limit the run to a group of that inventory, for example C(--limit 'web:&livepatch_state_stale').
  - Values that come from a host are never evaluated as templates.
options:
  plugin:
    description: Name of this plugin. The name of the configuration file must end in C(livepatch.yml) or
      C(livepatch.yaml).
    type: str
    required: true
    choices: [kernelops.livepatch.records]
  store:
    description:
      - Folders on the controller that contain records, or addresses of stores in PostgreSQL such as
        C(postgresql://livepatch@db.example.com/livepatch). If a host has several records, the newest one is used.
      - Relative paths are relative to the folder of the inventory file.
    type: list
    elements: str
    aliases: [record_dir]
    default: [livepatch-records]
  use_extra_vars:
    description: Make extra variables (C(--extra-vars)) available in O(compose), O(groups) and O(keyed_groups).
    type: bool
    default: false
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
---
# File livepatch.yml. Only the option plugin is required if the records are in the folder livepatch-records next to this
# file. This example reads the records of two controllers and adds groups and variables.
plugin: kernelops.livepatch.records
store:
  - records-eu
  - ~/records-us
groups:
  reboot_window: livepatch_reboot_needed
keyed_groups:
  - prefix: livepatch_tier
    key: livepatch_record.client.tier
compose:
  next_step: livepatch_record.assessment.reasons[0].remedy

# Variables of each host. Unknown values are null. All but the first two are null for no_answer.
#   livepatch_state           state, for example protected
#   livepatch_collected_at    time of the newest record (RFC 3339, UTC)
#   livepatch_kernel          running kernel, for example 4.4.0-210.242-generic
#   livepatch_patch_version   version of the live patch, for example 113.1
#   livepatch_reboot_needed   whether the host needs a reboot for its kernel
#   livepatch_record          complete record, as returned by the module kernelops.livepatch.patch_info
"""

import datetime
import json
import os
import re
import typing as t
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import expand_user
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    StorePlace,
    is_database,
    store_place,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.store import load
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import HostLine, assemble
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.faults import suggestion

_FILE_ENDINGS = ("livepatch.yml", "livepatch.yaml")
_SERIES = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_MOST_WARNINGS = 20


class InventoryModule(BaseInventoryPlugin, Constructable):
    NAME = "kernelops.livepatch.records"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path) and path.endswith(_FILE_ENDINGS))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        _check_options(self._read_config_data(path), self.option_definitions, path)
        for state in STATES:
            self.inventory.add_group(f"livepatch_state_{state}")
        spool, inert = Spool(), _Inert()
        problems: list[Problem] = []
        documents = _usable(load(self._places(Path(path))), problems)
        for line in assemble(documents, None, _now(), spool).lines:
            record = json.loads(spool.document(line.document)) if line.document is not None else None
            self._add(line, record, inert)
        self._warn(problems)

    def _places(self, path: Path) -> list[StorePlace]:
        """Return the stores. Raises `AnsibleParserError` for an address that cannot be used."""
        texts = [os.path.expandvars(text) for text in self.get_option("store")]
        try:
            return [store_place(text) if is_database(text) else path.parent / expand_user(text) for text in texts]
        except LivepatchError as error:
            raise AnsibleParserError(f"{path}: {error.message}; {error.remedy}") from error

    def _add(self, line: HostLine, record: Record | None, inert: _Inert) -> None:
        host = self.inventory.add_host(inert(line.host), f"livepatch_state_{line.state}")
        series = record["system"]["kernel"]["series"] if record else None
        if series is not None and _SERIES.fullmatch(series):
            self.inventory.add_host(host, self.inventory.add_group(f"livepatch_kernel_{series.replace('.', '_')}"))
        # Set on the host itself: as of ansible-core 2.19, the inventory would store the origin of every string.
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
    """Mark values as unsafe for templating, as `wrap_var` of ansible-core does, and share equal strings.

    Thousands of records contain the same few hundred strings. Without sharing, they take ten times the time and memory.
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


def _check_options(given: t.Mapping[str, t.Any], known: t.Mapping[str, t.Any], path: str) -> None:
    """Raise `AnsibleParserError` for options that the plugin does not have: Ansible would ignore them."""
    names = [each for name, option in known.items() for each in (name, *option.get("aliases", ()))]
    unknown = [f"there is no option {name!r}{suggestion(name, names)}" for name in map(str, given) if name not in names]
    if unknown:
        raise AnsibleParserError(f"{path}: {'; '.join(unknown)}")


def _usable(documents: t.Iterable[Document], problems: list[Problem]) -> t.Iterator[Recorded | FailedAttempt]:
    # The host name in an invalid record is not reliable, so such a file must not add a host.
    for document in documents:
        if isinstance(document, Problem):
            problems.append(document)
        elif not (document.host if isinstance(document, FailedAttempt) else document.record["host"]):
            problems.append(Problem("host_unnamed", "a record", "the host name is empty"))
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
    return format_time(datetime.datetime.now(datetime.timezone.utc))
