# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The record: all that is kept of one host after one round trip.

A record is plain JSON data, one document a host, so that any tool can read it. The types below
describe it, `validate` holds a document against them. Knowledge that is absent is ``None``.
Times are RFC 3339 in UTC with a ``Z``. Readers accept keys that they do not know.
"""

from __future__ import annotations

import functools
import types
import typing as t

SCHEMA_NAME = "kernelops.livepatch/record"
SCHEMA_VERSION = 1
SCHEMA = f"{SCHEMA_NAME}/{SCHEMA_VERSION}"

State = t.Literal[
    "unreachable",
    "tampered",
    "ineligible",
    "failed",
    "end_of_life",
    "upgrade_required",
    "disabled",
    "stale",
    "applying",
    "unverified",
    "protected",
    "unknown",
]
STATES: tuple[State, ...] = t.get_args(State)
"""Every word that a host can be given, in the order in which the first match wins."""

Verdict = t.Literal["eligible", "ineligible", "unknown"]
CheckStatus = t.Literal["pass", "fail", "warn", "unknown"]
KernelOrigin = t.Literal["ubuntu", "mainline", "custom", "unknown"]
VerificationLevel = t.Literal["file", "digest", "kernel", "client", "none"]


class Collector(t.TypedDict):
    """Who made the record: versions of this collection and of ansible-core."""

    collection: str
    ansible_core: str


class Containers(t.TypedDict):
    """Running containers that share this kernel, by runtime."""

    docker: int | None
    lxd: int | None
    podman: int | None


class Kernel(t.TypedDict):
    """The running kernel. `release` is ``uname -r``, `full` the client's name for it (with upload number)."""

    release: str | None
    full: str | None
    series: str | None
    flavour: str | None
    origin: KernelOrigin
    build_date: str | None
    booted_at: str | None
    newest_installed: str | None


class System(t.TypedDict):
    """What the host is. `architecture` is that of the userland, in Debian's spelling."""

    distribution: str | None
    release: str | None
    codename: str | None
    architecture: str | None
    virtualization: str | None
    containers: Containers
    machine_id_sha256: str | None
    secure_boot: bool | None
    kernel: Kernel


class Check(t.TypedDict):
    """One rule of a policy, held against one host."""

    id: str
    status: CheckStatus
    found: str | None
    required: str | None
    message: str
    remedy: str | None


class Eligibility(t.TypedDict):
    """What a policy says of the host."""

    policy: str
    verdict: Verdict
    checks: list[Check]


class Client(t.TypedDict):
    """The livepatch client. `generation` is one of ``2016``, ``6``, ``9.5``, ``10``, ``11``."""

    installed: bool | None
    snapd_version: str | None
    version: str | None
    generation: str | None
    enabled: bool | None
    tier: str | None
    server: str | None
    check_state: str | None
    last_check: str | None


class Fix(t.TypedDict):
    """A vulnerability that the patch closes, or does not yet."""

    cve: str
    patched: bool


class Patch(t.TypedDict):
    """The client's word on the running kernel. `upgrade_required_by` is a date, ``YYYY-MM-DD``."""

    state: str | None
    version: str | None
    fixes: list[Fix]
    support: str | None
    upgrade_required_by: str | None


class Verification(t.TypedDict):
    """How far a loaded patch was verified, and with what result (``verified``, ``failed``, ``not_checked``)."""

    level: VerificationLevel
    result: str
    signer: str | None
    key_id: str | None
    sha512: str | None


class KernelPatch(t.TypedDict):
    """A live patch module as the kernel shows it; `taint` holds the letters of its taint flags."""

    module: str
    enabled: bool | None
    transition: bool | None
    build_id: str | None
    taint: str | None
    verification: Verification


class Reason(t.TypedDict):
    """Why a host is in its state, and what to do."""

    id: str
    message: str
    remedy: str | None


class Assessment(t.TypedDict):
    """The conclusion: one word, its reasons (the one that decided comes first)."""

    state: State
    reasons: list[Reason]
    reboot_needed: bool | None


class Record(t.TypedDict):
    """One host, once."""

    schema: str
    host: str
    collected_at: str
    collector: Collector
    system: System
    eligibility: Eligibility
    client: Client
    patch: Patch
    kernel_patches: list[KernelPatch]
    assessment: Assessment


class RecordError(ValueError):
    """A document that is no record of this schema. `path` names the place within it, as ``a.b[2].c``."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)


class NewerSchemaError(RecordError):
    """A record written by a later version of this collection, in a schema that this one cannot read."""


_Checker = t.Callable[[object, str], None]


def _check_mapping(value: object, path: str, members: dict[str, _Checker]) -> None:
    if not isinstance(value, dict):
        raise RecordError(path, f"expected a mapping, found {_kind(value)}")
    for key, check in members.items():
        place = f"{path}.{key}" if path else key
        if key not in value:
            raise RecordError(place, "is missing")
        check(value[key], place)


def _check_list(value: object, path: str, item: _Checker) -> None:
    if not isinstance(value, list):
        raise RecordError(path, f"expected a list, found {_kind(value)}")
    for index, member in enumerate(value):
        item(member, f"{path}[{index}]")


def _check_choice(value: object, path: str, choices: tuple[object, ...]) -> None:
    if value not in choices or isinstance(value, (list, dict)):
        raise RecordError(path, f"expected one of {', '.join(map(str, choices))}, found {value!r:.80}")


def _check_scalar(value: object, path: str, kinds: tuple[type, ...]) -> None:
    # bool is a kind of int in Python, and never what a count means.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise RecordError(path, f"expected {wanted}, found {_kind(value)}")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


@functools.cache
def _checker(annotation: t.Any) -> _Checker:
    """Turn a type of this module into a function that holds a value against it."""
    if t.is_typeddict(annotation):
        members = {key: _checker(kind) for key, kind in t.get_type_hints(annotation).items()}
        return functools.partial(_check_mapping, members=members)
    origin, arguments = t.get_origin(annotation), t.get_args(annotation)
    if origin is list:
        return functools.partial(_check_list, item=_checker(arguments[0]))
    if origin is t.Literal:
        return functools.partial(_check_choice, choices=arguments)
    kinds = arguments if origin in (types.UnionType, t.Union) else (annotation,)
    return functools.partial(_check_scalar, kinds=tuple(kinds))


def validate(document: object) -> Record:
    """Return the document as a record.

    Raises `NewerSchemaError` when a later schema wrote it, `RecordError` with the place when it is malformed.
    """
    if not isinstance(document, dict):
        raise RecordError("", f"expected a record, found {_kind(document)}")
    schema = document.get("schema")
    name, _separator, version = schema.rpartition("/") if isinstance(schema, str) else ("", "", "")
    if name != SCHEMA_NAME or not version.isdecimal():
        raise RecordError("schema", f"expected {SCHEMA}, found {schema!r:.80}")
    if int(version) > SCHEMA_VERSION:
        raise NewerSchemaError("schema", f"this is {schema}, and this version of the collection reads up to {SCHEMA}")
    _checker(Record)(document, "")
    return t.cast(Record, document)
