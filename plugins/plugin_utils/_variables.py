# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Collect the variables of a run from Ansible, and check their names and types against the argument specs of a role."""

from __future__ import annotations

import copy
import functools
import json
import operator
import typing as t
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from ansible import context
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.loader import lookup_loader

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables import names
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.faults import Fault, quoted, suggestion
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.validation import Settings
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import list_from_text, load_policy

_ROLES = Path(__file__).parents[2] / "roles"
_DEFAULTS = "playbook_defaults"
_COLLECTION = "kernelops.livepatch."
_MOST_HOSTS = 100
_YAML = (".yml", ".yaml", ".json")
_KINDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}

_OF_RUN = frozenset(
    f"{names.PREFIX}{name}"
    for name in (
        *("canary", "closed_cves", "event_host", "fail_on", "history", "hosts", "max_fail_percentage", "notices"),
        *("priority", "record_dir", "report_dir", "report_formats", "retention", "rules", "seats", "serial", "waivers"),
        *("group_by", "notify", "report_title", "store"),
        *("minimum_priority", "openvex_author", "vulnerability_data", "vulnerability_deadlines"),
        "vulnerability_deadlines_from",
    )
)
"""Variables that a playbook reads once for all hosts."""
_KEYWORD = f"{names.PREFIX}hosts"
"""The variable in a keyword of plays, which Ansible evaluates without the variables of the inventory."""

Specs = dict[str, dict[str, t.Any]]


def specs_of(role: str, *points: str) -> Specs:
    """Return the options of entry points of a role, all by default."""
    found = _read(_ROLES / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: spec for point in points or found for name, spec in found.get(point, {}).get("options", {}).items()}


def misspelt_role_variables(role: str, task_vars: Mapping[str, t.Any]) -> list[Fault]:
    """Return the faults in names of variables of a role on the host of a task."""
    return names.misspelt_variables(map(str, task_vars), specs_of(role).keys(), f"{role}_")


class VariableReader:
    """Reads the variables of one run. `template` evaluates a value in the context of the task."""

    def __init__(
        self,
        playbook: str,
        task_vars: Mapping[str, t.Any],
        extra_vars: Collection[str],
        template: Callable[[t.Any], t.Any],
    ) -> None:
        self._playbook = playbook
        self._vars = task_vars
        self._template = template
        self._specs = {**specs_of(_DEFAULTS, "main", playbook)}
        self._defaults = _read(_ROLES / _DEFAULTS / "defaults" / "main.yml")
        self._extra_vars = extra_vars
        self._faults: list[Fault] = []
        self._undefined: set[str] = set()

    def settings(self) -> Settings:
        """Return the variables of the run and of its hosts, with the faults in names and types."""
        of_run = dict(self._values_of_run())
        hosts = self._hosts(of_run.get("livepatch_hosts"))
        of_hosts = list(self._values_of_hosts(hosts))
        stray = self._vars.get("_raw_params")
        if stray:
            text = f'{quoted(str(stray))} has no name; write values with blanks as JSON: -e \'{{"name": "value"}}\''
            self._faults.insert(0, Fault("--extra-vars", text))
        return Settings(
            playbook=self._playbook,
            values=of_run,
            values_of_hosts=of_hosts,
            inventory=self._vars.get("groups", {}).get("all", ()),
            hosts=hosts,
            groups=self._vars.get("groups", {}).keys(),
            variables=self._found_variables(of_run.get("livepatch_group_by", ()), hosts),
            tags=self._vars.get("ansible_run_tags", ()) if _runs_only_this_collection() else (),
            found=self._faults,
        )

    def _found_variables(self, wanted: Collection[str], hosts: Sequence[str]) -> frozenset[str]:
        """Return those of the names that are variables of any host. An inventory sets most of them for whole groups."""
        missing = set(wanted) - self._vars.get("groups", {}).keys()
        if not missing:
            return frozenset()
        hostvars = self._vars["hostvars"]
        inventory = getattr(hostvars, "_inventory", None)
        own = (inventory.get_host(host) for host in hosts) if inventory is not None else ()
        found = {name for host in own if host is not None for name in missing & host.vars.keys()}
        for host in self._representatives(hosts) if missing - found else ():
            found |= missing & {str(name) for name in hostvars.raw_get(host)}
        return frozenset(found)

    def _hosts(self, pattern: str | list[str] | None) -> list[str]:
        """Return the hosts of the run: those of the pattern or of a list of patterns, within a limit."""
        groups = self._vars.get("groups", {})
        if pattern is None or pattern == "all":
            found = list(groups.get("all", ()))
        else:
            lookup = lookup_loader.get("ansible.builtin.inventory_hostnames")
            found = lookup.run(pattern if isinstance(pattern, list) else [pattern], variables={"groups": groups})
        if "ansible_limit" not in self._vars:
            return found
        limited = set(self._vars["ansible_play_hosts_all"])
        return [host for host in found if host in limited]

    def _values_of_run(self) -> Iterator[tuple[str, t.Any]]:
        self._check_names({str(name): None for name in self._vars})
        for name, spec in self._specs.items():
            raw = self._vars.get("cve", self._vars.get(name)) if name == "livepatch_cve" else self._vars.get(name)
            default = raw == self._defaults.get(name)
            if raw is None or (default and "default" not in spec):
                continue
            known, value = self._evaluated(name, raw, self._template, None)
            if known:
                yield from self._converted(name, value, None)

    def _values_of_hosts(self, hosts: Sequence[str]) -> Iterator[tuple[str, t.Any, str]]:
        """Yield each value that differs from that of the run once, with the first host that has it."""
        seen: set[tuple[str, str]] = set()
        hostvars = self._vars["hostvars"]
        for host in self._representatives(hosts):
            raw = {str(n): v for n, v in hostvars.raw_get(host).items() if str(n).startswith(names.PREFIX)}
            self._check_names({name: host for name in raw if name not in self._vars})
            for name, value in raw.items():
                new = (name, repr(value)) not in seen and name in self._specs
                seen.add((name, repr(value)))
                special = name in self._undefined or self._vars.get(name) != value
                if new and self._is_placed_well(name, value, host) and special:
                    known, evaluated = self._evaluated(name, hostvars[host], operator.itemgetter(name), host)
                    if known:
                        yield from ((each, result, host) for each, result in self._converted(name, evaluated, host))

    def _representatives(self, hosts: Sequence[str]) -> list[str]:
        """Return hosts that have all variables of the inventory between them.

        Ansible needs some milliseconds for the variables of one host, and more in a large inventory.
        """
        combinations: dict[str, list[str]] = {}
        for group, members in self._vars["groups"].items():
            for member in members:
                combinations.setdefault(member, []).append(group)
        of_groups = {tuple(combinations.get(host, ())): host for host in reversed(hosts)}
        of_values = {each: host for host in reversed(hosts) for each in self._own_variables(host)}
        in_files = [host for host in hosts if host in self._names_in_host_vars]
        found = [*list(of_groups.values())[-_MOST_HOSTS:], *list(of_values.values())[-_MOST_HOSTS:]]
        return sorted({*found, *in_files[:_MOST_HOSTS]}, key=hosts.index)

    def _own_variables(self, host: str) -> list[tuple[str, str]]:
        """Return the variables that the inventory sets for one host. Nothing public gives them in a large fleet."""
        inventory = getattr(self._vars["hostvars"], "_inventory", None)
        found = inventory.get_host(host) if inventory is not None else None
        own = found.vars if found is not None else {}
        return [(str(name), repr(value)) for name, value in own.items() if str(name).startswith(names.PREFIX)]

    @functools.cached_property
    def _names_in_host_vars(self) -> frozenset[str]:
        """The names of files and folders in `host_vars` next to inventories and to the playbook."""
        given = self._vars.get("ansible_inventory_sources") or ()
        sources = [Path(source) for source in given if not _is_host_list(source)]
        places = {source if source.is_dir() else source.parent for source in sources}
        folders = [place / "host_vars" for place in (*places, Path(self._vars.get("playbook_dir", ".")))]
        files = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        return frozenset(path.stem if path.suffix in _YAML else path.name for path in files)

    def _is_placed_well(self, name: str, value: t.Any, host: str) -> bool:
        """Note a fault for a variable of the inventory that would have no effect there."""
        if name == _KEYWORD and name not in self._extra_vars:
            self._faults.append(Fault(name, "it has no effect in the inventory; set it with -e"))
        elif name in _OF_RUN and self._vars.get(name) != value:
            self._faults.append(Fault(name, "it applies to the whole run; set it in the group all or with -e", host))
        else:
            return True
        return False

    def _check_names(self, found: Mapping[str, str | None]) -> None:
        known = specs_of(_DEFAULTS).keys() | names.SET_BY_PLAYBOOKS | names.SET_BY_PLUGINS | names.OF_THE_RULEBOOK
        self._faults += names.unknown_variables(found, known)

    def _evaluated(
        self, name: str, raw: t.Any, template: Callable[[t.Any], t.Any], host: str | None
    ) -> tuple[bool, t.Any]:
        """Return True and the value. A value that depends on what only hosts have is evaluated for a host."""
        try:
            return True, _plain(template(raw))
        except AnsibleUndefinedVariable as error:
            if host is None:
                self._undefined.add(name)
            else:
                self._faults.append(Fault(name, f"it cannot be evaluated: {error}", host))
            return False, None
        except AnsibleError as error:
            if "omit" not in str(raw):
                self._faults.append(Fault(name, f"it cannot be evaluated: {error}", host))
            return False, None

    def _converted(self, name: str, value: t.Any, host: str | None) -> Iterator[tuple[str, t.Any]]:
        """Yield the variable with its value in the type of its specification, or note a fault."""
        if value == self._vars.get("omit") or value is None:
            return
        spec = self._specs[name]
        converted, problem = _convert(spec, value)
        if problem is None and name == "livepatch_policy":
            problem = _policy_problem(converted)
        if problem is not None:
            secret = spec.get("no_log") or spec["type"] == "dict" or name == "livepatch_policy"
            shown = "" if secret else f"{quoted(value)}: "
            self._faults.append(Fault(name, f"{shown}{problem}", host))
        else:
            yield name, converted


def _convert(spec: Mapping[str, t.Any], value: t.Any) -> tuple[t.Any, str | None]:
    """Return the value in the type of a specification, and what is wrong with it or None."""
    kind = spec["type"]
    if kind == "dict" and not isinstance(value, dict):
        return None, 'expected a mapping; with -e, write it as JSON: -e \'{"name": {"key": "value"}}\''
    if kind == "path" and value == "" and spec.get("default") != "":
        return None, "expected a path, and not an empty text"
    if kind in ("str", "path") and isinstance(value, (dict, list)):
        return None, f"expected {_KINDS[kind]}"
    if kind == "list":
        value = list_from_text(value)
    wanted = {key: spec[key] for key in ("type", "elements", "choices") if key in spec}
    validation = ArgumentSpecValidator({"value": wanted}).validate({"value": copy.deepcopy(value)})
    if not validation.error_messages:
        return validation.validated_parameters["value"], None
    choices = [str(choice) for choice in spec.get("choices", ())]
    if not choices:
        elements = f" of {_KINDS[spec['elements']]} each" if spec.get("elements") in ("int", "bool", "float") else ""
        return None, f"expected {_KINDS[kind]}{elements}"
    words = value.split(",") if kind == "list" and isinstance(value, str) else value
    wrong = [word for word in (words if isinstance(words, list) else [words]) if str(word) not in choices]
    some = "some of " if kind == "list" else "one of "
    return None, f"expected {some}{', '.join(filter(None, choices))}{suggestion(wrong[0] if wrong else value, choices)}"


def _policy_problem(wanted: object) -> str | None:
    try:
        load_policy(wanted)
    except LivepatchError as error:
        reason = error.message.removeprefix("the policy cannot be used: ")
        return f"{reason}{suggestion(wanted, ('launch', 'current'))}"
    return None


def _runs_only_this_collection() -> bool:
    """Return True if every playbook of the command is one of the collection: its tags are then all tags."""
    given = [str(name) for name in context.CLIARGS.get("args", ())]
    return bool(given) and all(name.startswith(_COLLECTION) for name in given)


def _plain(value: t.Any) -> t.Any:
    """Return a value without the types in which Ansible marks its origin."""
    return json.loads(json.dumps(value, default=str))


def _is_host_list(source: str) -> bool:
    """Return True for a list of hosts (``-i web1,web2``), which can be longer than a path may be."""
    try:
        return "," in source and not Path(source).exists()
    except OSError:
        return True


def _read(path: Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
