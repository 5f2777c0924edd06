# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read a policy: the systems that can use Livepatch, and the limits that apply to them."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re

from .._config_file import Location, mapping, read_yaml, text
from .._errors import LivepatchError

DEFAULT_MONTHS = 13
"""The age in months at which a kernel gets no more patches, where a policy does not state it.

Source: Canonical's documentation, which gives 13 months for all kernels except some interim HWE kernels.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class AdmittedSystem:
    """One row of a policy. `upgrade_within_months` is the age in months at which a kernel gets no more patches."""

    distribution: str
    release: str
    architecture: str
    series: str
    flavours: tuple[str, ...]
    upgrade_within_months: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """A policy. A failed check is normal for `check_grace` after boot, and a check is too old after `stale_after`.

    A host waits for its patch for at most `applying_limit`. After that, its client has failed.

    `snapd_minimum` is the oldest supported version of snapd, and `seats` the number of seats of the token, if known.
    With `service_decides`, a kernel that the service reports as supported passes, even if no row covers it.
    """

    name: str
    systems: tuple[AdmittedSystem, ...]
    snapd_minimum: str
    seats: int | None
    check_grace: datetime.timedelta
    stale_after: datetime.timedelta
    service_decides: bool = False
    applying_limit: datetime.timedelta = datetime.timedelta(minutes=60)


class PolicyError(LivepatchError):
    """A policy cannot be used. The message names the file, the line and the key."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "policy_unusable",
            f"the policy cannot be used: {reason}",
            "name a policy of the collection (launch, current), give the path of a policy file, or give a mapping",
        )


def policy_from_mapping(document: object, source: str, lines: c.Mapping[str, int] | None = None) -> Policy:
    """Parse a policy from plain data. Raises `PolicyError`.

    `source` is the name of the policy in messages. For a policy from a file, `lines` has the line of each value by its
    path, such as ``systems[0].kernel``.
    """
    return _policy(document, Location(source, "", lines or {}, PolicyError))


_TIMES = ("check_grace_minutes", "stale_after_hours", "applying_limit_minutes")


def _policy(document: object, place: Location) -> Policy:
    keys = mapping(
        document,
        place,
        required=("systems",),
        optional=("name", "description", "snapd_minimum", "seats", "service_decides", *_TIMES),
    )
    systems = keys["systems"]
    if not isinstance(systems, list) or not systems:
        raise place.below("systems").error("expected a list with at least one system")
    return Policy(
        name=text(keys.get("name", "custom"), place.below("name")),
        systems=tuple(_system(row, place.below("systems").below(f"[{index}]")) for index, row in enumerate(systems)),
        snapd_minimum=_version(keys.get("snapd_minimum", "2.15"), place.below("snapd_minimum")),
        seats=None if keys.get("seats") is None else _number(keys["seats"], place.below("seats")),
        check_grace=datetime.timedelta(
            minutes=_number(keys.get("check_grace_minutes", 10), place.below("check_grace_minutes"))
        ),
        stale_after=datetime.timedelta(
            hours=_number(keys.get("stale_after_hours", 24), place.below("stale_after_hours"))
        ),
        service_decides=_flag(keys.get("service_decides", False), place.below("service_decides")),
        applying_limit=datetime.timedelta(
            minutes=_number(keys.get("applying_limit_minutes", 60), place.below("applying_limit_minutes"))
        ),
    )


def _system(row: object, place: Location) -> AdmittedSystem:
    keys = mapping(
        row,
        place,
        required=("release", "architecture", "kernel", "flavours"),
        optional=("distribution", "upgrade_within_months"),
    )
    flavours = keys["flavours"]
    if not isinstance(flavours, list) or not flavours:
        raise place.below("flavours").error("expected a list with at least one flavour")
    months = keys.get("upgrade_within_months")
    return AdmittedSystem(
        distribution=text(keys.get("distribution", "ubuntu"), place.below("distribution")),
        release=_version(keys["release"], place.below("release")),
        architecture=text(keys["architecture"], place.below("architecture")),
        series=_version(keys["kernel"], place.below("kernel")),
        flavours=tuple(
            text(flavour, place.below("flavours").below(f"[{index}]")) for index, flavour in enumerate(flavours)
        ),
        upgrade_within_months=None if months is None else _number(months, place.below("upgrade_within_months")),
    )


def _version(value: object, place: Location) -> str:
    if isinstance(value, float):
        raise place.error(f"YAML reads {value} as a number, and 16.10 would become 16.1: use quotes")
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+)*", value):
        raise place.error(f"expected a version such as '16.04', found {value!r:.80}")
    return str(value)


def _number(value: object, place: Location) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise place.error(f"expected a whole number, found {value!r:.80}")


def _flag(value: object, place: Location) -> bool:
    if isinstance(value, bool):
        return value
    # In a file, all values are text.
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise place.error(f"expected true or false, found {value!r:.80}")


def parse_policy(text: str, source: str) -> Policy:
    """Parse a policy from YAML text. `source` is its name in messages. Raises `PolicyError`."""
    document, lines = read_yaml(text, source, PolicyError)
    return policy_from_mapping(document, source, lines)
