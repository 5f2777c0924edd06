# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Values of single variables that a type and a list of choices cannot describe.

A check takes a value of the right type. It returns what is wrong with it, or raises the error that the part which uses
the variable would raise.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import datetime
import re
import typing as t
import urllib.parse

from .._errors import LivepatchError
from .._fleet import waves, window
from .._fleet.rules import SEVERITIES, RuleError
from .._fleet.waivers import WaiverError, load_waivers
from .._io import expand_user
from .._notifications.targets import target_faults
from .._record import FORMER_STATES, STATES
from .._records.postgresql.address import address_fault, is_database
from .._records.postgresql.connection import library
from .._report import rule_evaluation
from .._report.host_exposure import read_deadlines
from .._tasks.client_config import parse_config
from .._tasks.commands import answer_timeout_fault
from .._text import mask_url
from .._verify import trust
from .._vulnerabilities.offline.data_download import PACKAGE_DATA_URL, data_urls
from .._vulnerabilities.package_data import CVE
from .faults import Fault, quoted, suggestion
from .folders import unreadable_file

_LIBRARY_MISSING = "library_missing"
_SERIES = re.compile(r"\d{1,2}\.\d{1,2}")
_URL = ("https://", "http://")

Check = c.Callable[[t.Any], "str | None"]


def value_faults(variable: str, value: object, host: str | None = None) -> list[Fault]:
    """Return the faults of one value of a variable."""
    try:
        problems = [CHECKS[variable](value)] if variable in CHECKS else []
    except LivepatchError as error:
        # What needs the library says so with its own remedy.
        problems = [] if error.id == _LIBRARY_MISSING else ["; ".join(filter(None, (error.message, error.remedy)))]
    except ValueError as error:
        problems = [str(error)]
    except OSError as error:
        # A path that cannot even be looked for: its name is too long, or a folder above it is not readable.
        problems = [f"{quoted(error.filename)} cannot be used: {error.strerror}"]
    return [Fault(variable, problem, host) for problem in [_negative(variable, value), *problems] if problem]


def fail_on_faults(variable: str, names: c.Sequence[str], rules: object, closed_cves: c.Sequence[str]) -> list[Fault]:
    """Return a fault for each name that is neither a state, a severity nor a rule."""
    try:
        ids = [rule.id for rule in rule_evaluation.load_rules(rules, [])]
    except LivepatchError:
        # The fault is that of the rules, which may have any name.
        return []
    known = [*STATES, *SEVERITIES, *ids, *closed_cves]
    return [
        Fault(variable, f"there is no state, severity or rule {quoted(name)}{_suggestion_or_all(name, known)}")
        for name in names
        if name not in known
    ]


def _suggestion_or_all(name: str, known: c.Sequence[str]) -> str:
    if name in FORMER_STATES:
        return f"; did you mean {FORMER_STATES[name]!r}?"
    return suggestion(name, known) or f"; use some of {', '.join(known)}"


def without_data_faults(variable: str, names: c.Sequence[str]) -> list[Fault]:
    """Return a fault for each name that no host can have in a report without vulnerability data."""
    problem = "needs livepatch_vulnerability_data, and would never make the run fail without it"
    return [
        Fault(variable, f"{quoted(name)} {problem}") for name in names if name in rule_evaluation.NAMES_THAT_NEED_DATA
    ]


def waiver_faults(variable: str, path: str, rules: object, closed_cves: c.Sequence[str]) -> list[Fault]:
    """Return the fault of a file of waivers. Without usable rules, any name of a rule is accepted."""
    known: list[str] | None = None
    if rules is not None:
        with contextlib.suppress(LivepatchError):
            ids = [rule.id for rule in rule_evaluation.load_rules(rules, [])]
            known = [*ids, *closed_cves, *rule_evaluation.RULES_OF_VULNERABILITIES]
    try:
        load_waivers(expand_user(path), datetime.datetime.now(datetime.timezone.utc).date(), rules=known)
    except WaiverError as error:
        return [Fault(variable, error.reason)]
    return []


def host_faults(variable: str, names: c.Iterable[str], known: c.Collection[str]) -> list[Fault]:
    """Return a fault for each name that is not a host of the inventory."""
    return [
        Fault(variable, f"{quoted(name)} is not a host of the inventory{suggestion(name, known)}")
        for name in names
        if name not in known
    ]


def trust_faults(certificates: c.Sequence[str], pins: c.Sequence[str] | None) -> list[Fault]:
    """Return the faults of the trust options: each certificate and each pin is checked alone."""
    faults = []
    for path in certificates:
        faults += _trust_fault("livepatch_trusted_certificates", [path], None)
    for pin in pins or ():
        faults += _trust_fault("livepatch_trusted_spki_sha256", [], [pin])
    return faults


def _trust_fault(variable: str, certificates: list[str], pins: list[str] | None) -> list[Fault]:
    try:
        trust.read_anchors(certificates, pins)
    except LivepatchError as error:
        reason = error.reason if isinstance(error, trust.TrustError) else error.message
        return [] if error.id == _LIBRARY_MISSING else [Fault(variable, reason)]
    return []


def store_fault(place: str) -> str | None:
    """Return why a store cannot be used, as far as this can be said without it, or None."""
    if not is_database(place):
        return None
    fault = address_fault(place)
    if fault is not None:
        return fault
    try:
        library()
    except LivepatchError as error:
        return f"{error.message}; {error.remedy}"
    return None


def _negative(variable: str, value: object) -> str | None:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    check = CHECKS.get(variable)
    if check is _answer_timeout or not numeric or t.cast("float", value) >= 0:
        return None
    return f"{value} is not allowed; the least is {1 if check is _at_least_one else 0}"


def _at_least_one(value: int) -> str | None:
    return f"{value} is not allowed; the least is 1" if value == 0 else None


def _answer_timeout(value: int) -> str | None:
    return answer_timeout_fault(value)


def _percentage(value: float) -> str | None:
    return f"{value} is more than 100 percent" if value > 100 else None


def _server(value: str) -> str | None:
    try:
        parse_config({"remote-server": value}, datetime.datetime.now(datetime.timezone.utc))
    except LivepatchError:
        return f"{mask_url(value)!r} is not a URL with https:// or http://, and a host"
    return None


def _proxy(value: str) -> str | None:
    # Without a scheme, HTTP is meant, as in the variables of the environment. A wrong port is an error of urllib.
    with contextlib.suppress(ValueError):
        url = urllib.parse.urlsplit(value if "://" in value else f"http://{value}")
        if url.scheme in ("http", "https") and url.hostname and url.port != 0 and not re.search(r"\s", value):
            return None
    return f"{mask_url(value)!r} is not a URL with http:// or https://, and a host"


def _config(value: dict[str, object]) -> str | None:
    now = datetime.datetime.now(datetime.timezone.utc)
    problems = []
    for key, member in value.items():
        try:
            parse_config({key: member}, now)
        except LivepatchError as error:
            problems.append(error.message.removeprefix("config: "))
    return "; ".join(problems) or None


def _rules(value: object) -> str | None:
    try:
        rule_evaluation.load_rules(value, [])
    except RuleError as error:
        return error.message
    return None


def _cves(value: object) -> str | None:
    names = value if isinstance(value, (list, tuple)) else str(value).split(",")
    wrong = [str(name).strip() for name in names if not CVE.fullmatch(str(name).strip())]
    return f"{quoted(wrong[0])} is not a number of a vulnerability such as CVE-2024-1086" if wrong else None


def _evaluated_cves(value: object) -> str | None:
    """Check the numbers of the playbook exposure, which may be in lower case."""
    return _cves([str(name).upper() for name in value] if isinstance(value, (list, tuple)) else str(value).upper())


def _window(value: object) -> str | None:
    window.read_windows(value)
    return None


def _freeze(value: object) -> str | None:
    window.read_freeze(value)
    return None


def _serial(value: object) -> str | None:
    waves.plan_waves([], canaries=0, serial=value, groups_down={})
    return None


def _data(value: object) -> str | None:
    for source in value if isinstance(value, (list, tuple)) else [value]:
        text = str(source)
        if not text.startswith(_URL) and not expand_user(text).exists():
            return (
                f"{mask_url(text)!r} is neither a URL with https:// or http://, nor a file or folder on the controller"
            )
    return None


def _releases(value: c.Sequence[str]) -> str | None:
    data_urls(value, PACKAGE_DATA_URL, None, fips=False)
    return None


def _deadlines(value: dict[str, object]) -> str | None:
    read_deadlines(value)
    return None


def _url(value: str) -> str | None:
    return None if value.startswith(_URL) else f"{mask_url(value)!r} is not a URL with https:// or http://"


def _existing(value: str) -> str | None:
    return None if expand_user(value).exists() else f"{value} does not exist on the controller"


def _existing_file(value: str) -> str | None:
    return unreadable_file(expand_user(value))


def _existing_folders(value: c.Sequence[str]) -> str | None:
    wrong = [folder for folder in value if not expand_user(folder).is_dir()]
    return f"{', '.join(wrong)} is not a folder on the controller" if wrong else None


def _states(value: object) -> str | None:
    names = [str(name) for name in value] if isinstance(value, (list, tuple)) else str(value).split(",")
    wrong = [name.strip() for name in names if name.strip() and name.strip() not in STATES]
    return f"there is no state {quoted(wrong[0])}{_suggestion_or_all(wrong[0], STATES)}" if wrong else None


def _series(value: str) -> str | None:
    return None if _SERIES.fullmatch(value) else f"{quoted(value)} is not a series of kernels such as 5.15"


def _task_file(value: str) -> str | None:
    return unreadable_file(expand_user(value)) if value else None


def _notify(value: object) -> str | None:
    return "; ".join(target_faults(value)) or None


CHECKS: t.Final[dict[str, Check]] = {
    "livepatch_answer_timeout": _answer_timeout,
    "livepatch_ca_path": _existing,
    "livepatch_closed_cves": _cves,
    "livepatch_config": _config,
    "livepatch_cve": _evaluated_cves,
    "livepatch_drain_timeout": _at_least_one,
    "livepatch_freeze": _freeze,
    "livepatch_import": _existing_folders,
    "livepatch_import_history": _existing_file,
    "livepatch_max_fail_percentage": _percentage,
    "livepatch_notices": _existing,
    "livepatch_notices_url": _url,
    "livepatch_notify": _notify,
    "livepatch_package_data_url": _url,
    "livepatch_post_tasks": _task_file,
    "livepatch_pre_tasks": _task_file,
    "livepatch_protected_timeout": _at_least_one,
    "livepatch_proxy": _proxy,
    "livepatch_reboot_timeout": _at_least_one,
    "livepatch_releases": _releases,
    "livepatch_retention": _at_least_one,
    "livepatch_rules": _rules,
    "livepatch_serial": _serial,
    "livepatch_series": _series,
    "livepatch_server": _server,
    "livepatch_timeout": _at_least_one,
    "livepatch_upgrade_states": _states,
    "livepatch_upgrade_timeout": _at_least_one,
    "livepatch_vulnerability_data": _data,
    "livepatch_vulnerability_deadlines": _deadlines,
    "livepatch_window": _window,
}
"""Checks of the values of variables, by variable."""
