# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Validate the variables of a run before a host is contacted (module `validate_variables`)."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from .._errors import LivepatchError
from .._fleet import groups as group_names
from .._fleet import waves
from .._io import expand_user
from .._records.postgresql.address import is_database
from .._report.formats.registry import FORMATS_OF_SCANNERS
from .._tasks.client_comparison import DesiredClient, check_snap_files, check_token
from .._tasks.commands import Task
from . import faults, folders, values
from .faults import Fault

PLAYBOOKS = ("check", "enable", "exposure", "patch", "report", "store", "upgrade", "vulnerability_data")
_REPORTS_ONLY = ("report", "exposure", "store", "vulnerability_data")
_WITHOUT_REPORT = ("exposure", "store", "vulnerability_data")
_SEVERAL_FOLDERS = ("report", "exposure", "vulnerability_data", "enable")
_KNOWN_TAGS = ("collect", "report")
_TAGS_OF_ANSIBLE = ("all", "always", "never", "tagged", "untagged")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The variables of a run, of the right types, and what they refer to.

    `values` has no entry for a variable with a fault or without a value. `inventory` has the names of all hosts,
    `hosts` those of the run. `groups` are those of the inventory, and `variables` the names in `livepatch_group_by`
    that are variables of hosts. `tags` are those that the user selected. `found` are faults of names and types.
    """

    playbook: str
    values: c.Mapping[str, t.Any]
    values_of_hosts: c.Sequence[tuple[str, t.Any, str]]
    inventory: c.Collection[str]
    hosts: c.Sequence[str]
    groups: c.Collection[str]
    variables: c.Collection[str]
    tags: c.Sequence[str]
    found: c.Sequence[Fault]


def validate_variables(settings: Settings) -> Task[dict[str, t.Any]]:
    """Fail with all faults of the variables at once."""
    found = list(dict.fromkeys([*settings.found, *_faults(settings)]))
    if found:
        raise faults.failure(found, "ansible-doc -t role kernelops.livepatch.playbook_defaults")
    yield from ()
    return {"changed": False}


def validate_role(role: str, found: c.Sequence[Fault]) -> Task[dict[str, t.Any]]:
    """Fail with all faults in the names of variables of a role."""
    if found:
        raise faults.failure(found, f"ansible-doc -t role kernelops.livepatch.{role}")
    yield from ()
    return {"changed": False}


def _faults(settings: Settings) -> c.Iterator[Fault]:
    for variable, value in settings.values.items():
        yield from values.value_faults(variable, value)
    for variable, value, host in settings.values_of_hosts:
        yield from values.value_faults(variable, value, host)
    for each in (
        _tags,
        _hosts,
        _groups,
        _token,
        _snap,
        _report,
        _waivers,
        _vulnerabilities,
        _store,
        _history,
        _folders,
        _trust,
    ):
        yield from each(settings)


def _tags(settings: Settings) -> c.Iterator[Fault]:
    for tag in settings.tags:
        if tag not in (*_KNOWN_TAGS, *_TAGS_OF_ANSIBLE):
            yield Fault("--tags", f"no task has the tag {faults.quoted(tag)}; the tags are {' and '.join(_KNOWN_TAGS)}")


def _hosts(settings: Settings) -> c.Iterator[Fault]:
    if settings.playbook in _REPORTS_ONLY:
        return
    given = settings.values
    if not settings.hosts:
        pattern = given.get("livepatch_hosts", "")
        hint = ", which has no hosts: name an inventory with -i"
        if settings.inventory:
            hint = faults.suggestion(pattern, settings.groups)
        yield Fault("livepatch_hosts", f"the pattern {faults.quoted(pattern)} matches no host of the inventory{hint}")
        return
    yield from values.host_faults("livepatch_priority", given.get("livepatch_priority", ()), settings.inventory)
    event_host = given.get("livepatch_event_host")
    if settings.playbook == "patch" and event_host and event_host not in settings.hosts:
        hint = faults.suggestion(event_host, settings.hosts)
        yield Fault("livepatch_event_host", f"{faults.quoted(event_host)} is not a host of this run{hint}")
    if settings.playbook in ("enable", "patch", "upgrade") and "livepatch_canary" in given:
        try:
            waves.read_canaries(given["livepatch_canary"], settings.hosts)
        except waves.WavesError as error:
            near = "".join(faults.suggestion(name, settings.hosts) for name in error.unknown[:1])
            yield Fault("livepatch_canary", f"{error}{near}")


def _groups(settings: Settings) -> c.Iterator[Fault]:
    names = settings.values.get("livepatch_group_by", ())
    fault = group_names.name_fault(names)
    if fault is not None:
        yield Fault("livepatch_group_by", fault)
    if settings.playbook in _REPORTS_ONLY or not settings.hosts:
        return
    for name in names:
        if name not in settings.groups and name not in settings.variables:
            hint = faults.suggestion(name, settings.groups)
            problem = f"{faults.quoted(name)} is neither a group of the inventory nor a variable of its hosts{hint}"
            yield Fault("livepatch_group_by", problem)


def _token(settings: Settings) -> c.Iterator[Fault]:
    token, via = settings.values.get("livepatch_token"), settings.values.get("livepatch_via", "livepatch")
    if settings.playbook != "enable" or token is None:
        return
    if not token:
        yield Fault(
            "livepatch_token",
            "there is no token. Set livepatch_token, preferably in a file of Ansible Vault (-e @secrets.yml)",
        )
        return
    try:
        check_token(token, via)
    except LivepatchError as error:
        yield Fault("livepatch_token", error.message)


def _snap(settings: Settings) -> c.Iterator[Fault]:
    if settings.playbook != "enable":
        return
    snap_file, snap_assertion, channel = (
        settings.values.get(f"livepatch_{name}") or None for name in ("snap_file", "snap_assertion", "channel")
    )
    try:
        check_snap_files(DesiredClient(snap_file=snap_file, snap_assertion=snap_assertion, channel=channel))
    except LivepatchError as error:
        yield Fault("livepatch_snap_file", f"{error.message}; {error.remedy}")


def _report(settings: Settings) -> c.Iterator[Fault]:
    given = settings.values
    if {"livepatch_fail_on", "livepatch_rules"} <= given.keys() and settings.playbook not in _WITHOUT_REPORT:
        cves = given.get("livepatch_closed_cves", ())
        yield from values.fail_on_faults(
            "livepatch_fail_on", given["livepatch_fail_on"], given["livepatch_rules"], cves
        )
        if not given.get("livepatch_vulnerability_data"):
            yield from values.without_data_faults("livepatch_fail_on", given["livepatch_fail_on"])


def _waivers(settings: Settings) -> c.Iterator[Fault]:
    given = settings.values
    if "livepatch_waivers" not in given or settings.playbook in ("store", "vulnerability_data"):
        return
    # The playbook exposure has no rules, and ignores waivers of them.
    rules = None if settings.playbook == "exposure" else given.get("livepatch_rules")
    cves = given.get("livepatch_closed_cves", ())
    yield from values.waiver_faults("livepatch_waivers", given["livepatch_waivers"], rules, cves)


def _vulnerabilities(settings: Settings) -> c.Iterator[Fault]:
    given = settings.values
    if settings.playbook == "vulnerability_data" and not given.get("livepatch_releases", True):
        yield Fault("livepatch_releases", 'it is empty; name releases: -e \'{"livepatch_releases": ["24.04"]}\'')
    if settings.playbook in _WITHOUT_REPORT or given.get("livepatch_vulnerability_data"):
        return
    wanted = [name for name in given.get("livepatch_report_formats", ()) if name in FORMATS_OF_SCANNERS]
    if wanted:
        names = " or ".join(dict.fromkeys(wanted))
        text = f"without livepatch_vulnerability_data, a report cannot be written as {names}"
        yield Fault("livepatch_report_formats", text)
    if given.get("livepatch_vulnerability_deadlines"):
        yield Fault("livepatch_vulnerability_deadlines", "they need livepatch_vulnerability_data")


def _store(settings: Settings) -> c.Iterator[Fault]:
    given = settings.values
    wanted = ("livepatch_import", "livepatch_import_history", "livepatch_export")
    if settings.playbook != "store" or any(given.get(name) for name in wanted):
        return
    if not any(is_database(place) for place in _several(given.get("livepatch_store", ()))):
        yield Fault(
            "livepatch_store", "there is nothing to do: it names no database, and nothing is imported or exported"
        )


def _history(settings: Settings) -> c.Iterator[Fault]:
    given = settings.values
    if settings.playbook in _WITHOUT_REPORT:
        return
    in_store = any(is_database(place) for place in _several(given.get("livepatch_store", ())))
    if "livepatch_retention" in given and "livepatch_history" not in given and not in_store:
        yield Fault("livepatch_retention", "it needs the file of a history in livepatch_history")
    users = ("livepatch_history", "livepatch_closed_cves", "livepatch_vulnerability_data")
    if (
        given.get("livepatch_vulnerability_deadlines_from") == "seen"
        and "livepatch_history" not in given
        and not in_store
    ):
        text = "'seen' needs the file of a history in livepatch_history"
        yield Fault("livepatch_vulnerability_deadlines_from", text)
    if "livepatch_notices" in given and not in_store and not any(given.get(user) for user in users):
        yield Fault("livepatch_notices", f"they need one of {', '.join(users)}")


def _folders(settings: Settings) -> c.Iterator[Fault]:
    given = settings.values
    if settings.playbook == "vulnerability_data":
        yield from _folder(settings, "livepatch_vulnerability_data_dir")
        return
    name = "livepatch_store" if "livepatch_store" in given else "livepatch_record_dir"
    stores = _several(given.get(name, ()))
    records = [expand_user(place).resolve() for place in stores if not is_database(place)]
    if len(stores) > 1 and settings.playbook not in _SEVERAL_FOLDERS:
        yield Fault(name, f"the playbook {settings.playbook} needs one folder, not {len(stores)}")
    if not stores and name in given:
        yield Fault(name, "the value is empty; it needs a folder")
    for place in stores:
        yield from _unusable(name, values.store_fault(place))
    if stores and not is_database(stores[0]) and settings.playbook not in _REPORTS_ONLY:
        yield from _unusable(name, folders.unwritable(records[0], len(settings.hosts)))
    if settings.playbook == "exposure":
        yield from _file(settings, "livepatch_exposure_file")
        yield from _file(settings, "livepatch_scanner_csv")
        yield from _folder(settings, "livepatch_openvex_dir")
        return
    if settings.playbook == "store":
        yield from _transfer(settings, stores)
        return
    yield from _file(settings, "livepatch_history")
    if "livepatch_report_dir" in given:
        report = expand_user(given["livepatch_report_dir"]).resolve()
        if report in records:
            yield Fault("livepatch_report_dir", f"{report} is the folder of the records; choose another one")
        yield from _unusable("livepatch_report_dir", folders.unwritable(report, len(settings.hosts)))


def _transfer(settings: Settings, stores: c.Sequence[str]) -> c.Iterator[Fault]:
    given = settings.values
    for variable in ("livepatch_import", "livepatch_import_history"):
        if given.get(variable) and not all(is_database(place) for place in stores):
            yield Fault(variable, "it needs a store in PostgreSQL in livepatch_store")
    yield from _file(settings, "livepatch_export")


def _file(settings: Settings, variable: str) -> c.Iterator[Fault]:
    if variable in settings.values:
        yield from _unusable(variable, folders.unwritable_file(expand_user(settings.values[variable]).resolve()))


def _folder(settings: Settings, variable: str) -> c.Iterator[Fault]:
    if variable in settings.values:
        yield from _unusable(variable, folders.unwritable(expand_user(settings.values[variable]).resolve(), 0))


def _unusable(variable: str, problem: str | None) -> c.Iterator[Fault]:
    if problem is not None:
        yield Fault(variable, problem)


def _trust(settings: Settings) -> c.Iterator[Fault]:
    yield from values.trust_faults(
        settings.values.get("livepatch_trusted_certificates", ()),
        settings.values.get("livepatch_trusted_spki_sha256"),
    )


def _several(value: object) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    text = str(value)
    return [text] if is_database(text) else [part for part in text.split(",") if part]
