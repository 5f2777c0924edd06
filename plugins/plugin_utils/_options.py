# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options that several actions share, and their values: the policy, the trust anchors, the collector of a record."""

from __future__ import annotations

import os
import pathlib
import secrets
import typing as t
from collections.abc import Mapping

import yaml
from ansible import context
from ansible.release import __version__ as ansible_core_version

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import (
    Policy,
    PolicyError,
    parse_policy,
    policy_from_mapping,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import expand_user, read_bounded
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications import targets
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.drain_lock import DrainLock
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import TITLE, RunContext
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import (
    ANSWER_TIMEOUT,
    answer_timeout_fault,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.host_check import CheckOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import ELLIPSIS
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._version import COLLECTION_VERSION
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._run import OPERATOR

Arguments = dict[str, dict[str, t.Any]]
"""An argument spec, or a part of one."""

HOST_ARGUMENTS: Arguments = {"answer_timeout": {"type": "int", "default": ANSWER_TIMEOUT}}
"""Options of the actions that contact a host."""
PROBE_ARGUMENTS: Arguments = {
    **HOST_ARGUMENTS,
    "policy": {"type": "raw", "default": "launch"},
    "server": {"type": "str"},
    "network": {"type": "bool", "default": True},
    "ask_server": {"type": "bool", "default": False},
    "ca_path": {"type": "path"},
    "proxy": {"type": "str", "no_log": True},
}
STORE = {"type": "path", "aliases": ["record_dir"]}
"""The option with the folder of records, or the address of a store in PostgreSQL."""
STORES = {"type": "list", "elements": "path", "required": True, "aliases": ["record_dir"]}
TRUST_ARGUMENTS: Arguments = {
    "trusted_certificates": {"type": "list", "elements": "path", "default": []},
    "trusted_spki_sha256": {"type": "list", "elements": "str"},
}
RECORDING_ARGUMENTS: Arguments = {
    **PROBE_ARGUMENTS,
    **TRUST_ARGUMENTS,
    "store": STORE,
    "group_by": {"type": "list", "elements": "str", "default": []},
}
REPORT_ARGUMENTS: Arguments = {
    "store": STORES,
    "hosts": {"type": "list", "elements": "str"},
    "limit": {"type": "str"},
    "title": {"type": "str", "default": TITLE},
    "notify": {"type": "list", "elements": "dict", "default": [], "options": targets.ARGUMENTS},
    "ca_path": {"type": "path"},
    "proxy": {"type": "str", "no_log": True},
}
"""Options of the report that concern its store, the run and its notifications."""

_LONGEST_INVENTORY = 200

COLLECTOR = Collector(collection=COLLECTION_VERSION, ansible_core=ansible_core_version)

_POLICY_LIMIT = 1 << 20
_SHIPPED = {
    path.stem: parse_policy(path.read_text(encoding="utf-8"), str(path))
    for path in sorted((pathlib.Path(__file__).parent / "policies").glob("*.yml"), reverse=True)
}


def list_from_text(value: object) -> object:
    """Return the list that a text from the command line means; any other value unchanged.

    An empty text is an empty list, and a text in square brackets is YAML or JSON. Ansible splits others at commas,
    except for the address of a database, which can have several servers, and refuses the mapping that is returned for
    invalid YAML.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return {"invalid YAML": text}
    if text.startswith(("postgresql://", "postgres://")):
        return [text]
    return [] if not text else value


def read_answer_timeout(options: Mapping[str, t.Any]) -> int:
    """Return the time in seconds in which a host must answer. Raises `LivepatchError` (``timeout_invalid``)."""
    seconds: int = options.get("answer_timeout", ANSWER_TIMEOUT)
    fault = answer_timeout_fault(seconds)
    if fault is not None:
        raise LivepatchError(
            "timeout_invalid",
            f"the value of answer_timeout is not valid: {fault}",
            "set `answer_timeout` to a number in this range",
        )
    return seconds


def load_policy(wanted: object) -> Policy:
    """Return the policy of an option: one of the collection, a file on the controller, or a mapping.

    Raises `LivepatchError` (``policy_unusable``).
    """
    if isinstance(wanted, Mapping):
        return policy_from_mapping(wanted, "policy")
    name = str(wanted)
    if name in _SHIPPED:
        return _SHIPPED[name]
    path = expand_user(name)
    if not path.is_file():
        shipped = ", ".join(_SHIPPED)
        raise PolicyError(f"{name} is neither a policy of the collection ({shipped}) nor a file on the controller")
    try:
        return parse_policy(read_bounded(str(path), _POLICY_LIMIT).decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"the file {wanted} cannot be read: {error}") from error


def check_options(host: str, options: Mapping[str, t.Any], **more: t.Any) -> CheckOptions:
    """Return the options of a check from `PROBE_ARGUMENTS`. Raises `LivepatchError` (``policy_unusable``)."""
    return CheckOptions(
        host=host,
        policy=load_policy(options["policy"]),
        alternative=_SHIPPED["current"] if options["policy"] == "launch" else None,
        collector=COLLECTOR,
        server=options["server"],
        network=options["network"],
        ask_server=options["ask_server"],
        ca_path=options["ca_path"],
        proxy=options["proxy"],
        **more,
    )


def run_context(options: Mapping[str, t.Any], inventory: object) -> RunContext:
    """Return what a report says about this run. `inventory` are its sources, as Ansible names them."""
    # Without a choice of hosts, the records decide, and Ansible names an inventory that may not exist.
    named = inventory if isinstance(inventory, (list, tuple)) and options["hosts"] is not None else ()
    sources = ", ".join(map(str, named))
    playbooks = ", ".join(map(str, context.CLIARGS.get("args", ())))
    if len(sources) > _LONGEST_INVENTORY:
        # The source can be a list of all hosts.
        sources = f"{sources[: _LONGEST_INVENTORY - 1]}{ELLIPSIS}"
    return RunContext(options["title"] or TITLE, sources, playbooks, options["limit"] or None)


def trust_anchors(options: Mapping[str, t.Any], *, optional: bool = False) -> trust.TrustAnchors | None:
    """Return the trust anchors of the options. Raises `LivepatchError` (``trust_unusable``).

    With `optional`, return None if the options name none, and the library for the default ones is missing.
    """
    paths, pins = options["trusted_certificates"], options["trusted_spki_sha256"]
    if paths or pins is not None:
        return trust.read_anchors(paths, pins)
    if _DEFAULT_ANCHORS is None and not optional:
        return trust.canonical_anchors()
    return _DEFAULT_ANCHORS


def _default_anchors() -> trust.TrustAnchors | None:
    try:
        return trust.canonical_anchors()
    except LivepatchError:
        return None


# Read when the plugin is loaded: once in each run, before Ansible forks a process for each host.
_DEFAULT_ANCHORS = _default_anchors()


def load_drain_lock(group: str | None, store: str | None, host: str) -> DrainLock | None:
    """Return the lock of a drain group for this run on a host; None without a group. Raises `LivepatchError`."""
    if not group:
        return None
    if not store:
        remedy = "set store to the record folder, or to the address of the store, that all runs use"
        raise LivepatchError("options_invalid", "drain_group is set, but store is not", remedy)
    by = f"{OPERATOR} (process {os.getppid()})"
    return DrainLock(store_place(store), group, host, secrets.token_hex(8), by)
