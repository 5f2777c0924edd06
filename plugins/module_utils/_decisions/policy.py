# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A policy: which systems may have Livepatch, and the numbers that go with it. Data, never code."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import difflib
import re
import typing as t


@dataclasses.dataclass(frozen=True, slots=True)
class AdmittedSystem:
    """One row of a policy. `upgrade_within_months` is the age at which its kernels stop getting patches."""

    distribution: str
    release: str
    architecture: str
    series: str
    flavours: tuple[str, ...]
    upgrade_within_months: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """`check_grace`: how long after boot a failed check is normal. `stale_after`: how old a good check may be."""

    name: str
    systems: tuple[AdmittedSystem, ...]
    snapd_minimum: str
    seats: int | None
    check_grace: datetime.timedelta
    stale_after: datetime.timedelta


class PolicyError(ValueError):
    """A policy that cannot be used. The message names the file, the line and the key."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where in which document a value stands, for messages."""

    source: str
    path: str
    lines: c.Mapping[str, int]

    def below(self, step: str) -> _Place:
        path = f"{self.path}{step}" if step.startswith("[") or not self.path else f"{self.path}.{step}"
        return _Place(self.source, path, self.lines)

    def error(self, message: str) -> PolicyError:
        line = self.lines.get(self.path)
        where = f"{self.source}:{line}" if line is not None else self.source
        return PolicyError(f"{where}: {self.path}: {message}" if self.path else f"{where}: {message}")


def policy_from_mapping(document: object, source: str, lines: c.Mapping[str, int] | None = None) -> Policy:
    """Read a policy from plain data.

    `source` is its name in messages; `lines` has the line of each value by its path, such as ``systems[0].kernel``,
    where it was read from a file. Raises `PolicyError`.
    """
    return _policy(document, _Place(source, "", lines or {}))


def _policy(document: object, place: _Place) -> Policy:
    keys = _mapping(
        document,
        place,
        required=("systems",),
        optional=("name", "description", "snapd_minimum", "seats", "check_grace_minutes", "stale_after_hours"),
    )
    systems = keys["systems"]
    if not isinstance(systems, list) or not systems:
        raise place.below("systems").error("expected a list with at least one system")
    return Policy(
        name=_text(keys.get("name", "custom"), place.below("name")),
        systems=tuple(_system(row, place.below("systems").below(f"[{index}]")) for index, row in enumerate(systems)),
        snapd_minimum=_version(keys.get("snapd_minimum", "2.15"), place.below("snapd_minimum")),
        seats=None if keys.get("seats") is None else _number(keys["seats"], place.below("seats")),
        check_grace=datetime.timedelta(
            minutes=_number(keys.get("check_grace_minutes", 10), place.below("check_grace_minutes"))
        ),
        stale_after=datetime.timedelta(
            hours=_number(keys.get("stale_after_hours", 24), place.below("stale_after_hours"))
        ),
    )


def _system(row: object, place: _Place) -> AdmittedSystem:
    keys = _mapping(
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
        distribution=_text(keys.get("distribution", "ubuntu"), place.below("distribution")),
        release=_version(keys["release"], place.below("release")),
        architecture=_text(keys["architecture"], place.below("architecture")),
        series=_version(keys["kernel"], place.below("kernel")),
        flavours=tuple(
            _text(flavour, place.below("flavours").below(f"[{index}]")) for index, flavour in enumerate(flavours)
        ),
        upgrade_within_months=None if months is None else _number(months, place.below("upgrade_within_months")),
    )


def _mapping(
    value: object, place: _Place, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> c.Mapping[str, object]:
    if not isinstance(value, c.Mapping):
        raise place.error(f"expected a mapping with {', '.join(required)}")
    known = (*required, *optional)
    for key in value:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known keys are {', '.join(known)}"
            raise place.below(str(key)).error(f"unknown key; {hint}")
    for key in required:
        if value.get(key) is None:
            raise place.error(f"{key} is missing")
    return t.cast("c.Mapping[str, object]", value)


def _text(value: object, place: _Place) -> str:
    if not isinstance(value, str) or not value.strip():
        raise place.error(f"expected text, found {value!r:.80}")
    # A copy in plain str: the value may carry a subclass of Ansible's.
    return str(value)


def _version(value: object, place: _Place) -> str:
    if isinstance(value, float):
        raise place.error(f"{value} is a number to YAML, which would lose digits (16.10 becomes 16.1): quote it")
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+)*", value):
        raise place.error(f"expected a version such as '16.04', found {value!r:.80}")
    return str(value)


def _number(value: object, place: _Place) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise place.error(f"expected a whole number, found {value!r:.80}")
