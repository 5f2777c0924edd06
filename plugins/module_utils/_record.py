# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The record: everything that is stored about a host after one round trip.

A record is plain JSON data, one document for each host, so that any tool can read it. The types below
describe it, and `validate` checks a document. Unknown values are ``None``.
Times are RFC 3339 in UTC with a ``Z``. Readers accept keys that they do not know.
"""

from __future__ import annotations

import functools
import json
import re
import types
import typing as t

SCHEMA_NAME = "kernelops.livepatch/record"
SCHEMA_VERSION = 1
SCHEMA = f"{SCHEMA_NAME}/{SCHEMA_VERSION}"

State = t.Literal[
    "no_answer",
    "tampered",
    "ineligible",
    "held_back",
    "failed",
    "end_of_life",
    "upgrade_required",
    "disabled",
    "stale",
    "applying",
    "unverified",
    "exposed",
    "protected",
    "unknown",
]
STATES: tuple[State, ...] = t.get_args(State)
"""The states of a host, in the order in which the first match applies.

Only reports assign ``exposed``, because it needs vulnerability data."""

FORMER_STATES: dict[str, State] = {"unreachable": "no_answer"}
"""Names of states in records, reports and histories of earlier releases."""

EligibilityVerdict = t.Literal["eligible", "ineligible", "unknown"]
CheckStatus = t.Literal["pass", "fail", "warn", "unknown"]
KernelOrigin = t.Literal["ubuntu", "mainline", "custom", "unknown"]
VerificationLevel = t.Literal["file", "digest", "kernel", "client", "none"]


class Collector(t.TypedDict):
    """The versions of this collection and of ansible-core that created the record."""

    collection: str
    ansible_core: str


class _OtherContainers(t.TypedDict, total=False):
    kubernetes: int | None
    containerd: int | None


class Containers(_OtherContainers):
    """Running containers that share this kernel, by runtime; null where they could not be counted.

    Earlier releases do not store `kubernetes` and `containerd`.
    """

    docker: int | None
    lxd: int | None
    podman: int | None


class KernelPackage(t.TypedDict):
    """An installed package of a kernel: image, modules, headers or tools."""

    name: str
    version: str


class _PackagedKernel(t.TypedDict, total=False):
    source_package: str | None
    source_version: str | None
    packages: list[KernelPackage]
    packages_problem: str | None


class Kernel(_PackagedKernel):
    """The running kernel. `release` is ``uname -r``; `full` includes the upload number, as the client names kernels.

    `source_package` and `source_version` are of the package of the running kernel, `packages` those of all installed
    kernels. `packages_problem` is why they are not known: ``no_dpkg``, ``dpkg_failed`` or ``kernel_without_package``.
    Records of release 1.0 do not have these keys.
    """

    release: str | None
    full: str | None
    series: str | None
    flavour: str | None
    origin: KernelOrigin
    build_date: str | None
    booted_at: str | None
    newest_installed: str | None


class _GroupedSystem(t.TypedDict, total=False):
    groups: dict[str, str]


class System(_GroupedSystem):
    """The system of the host. `architecture` is the architecture of the userland, as Debian names it.

    `groups` has the groups of the host that the option `group_by` names, by key: ``group`` for groups of the inventory,
    and the names of host variables. Earlier releases do not store it.
    """

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
    """One rule of a policy, evaluated for a host."""

    id: str
    status: CheckStatus
    found: str | None
    required: str | None
    message: str
    remedy: str | None


class Eligibility(t.TypedDict):
    """The result of a policy for the host."""

    policy: str
    verdict: EligibilityVerdict
    checks: list[Check]


class RecordedMode(t.TypedDict):
    """The mode of the client's daemon; `source` is ``file``, ``kernel_command_line`` or ``default``."""

    value: str | None
    source: str | None


class Blocking(t.TypedDict):
    """Settings of the client that withhold patches, and the notices (``LSN-0113-1``) that they exclude.

    `cutoff_date` is the value of the setting, whether it excludes a patch or not.
    """

    options: list[str]
    excluded_notices: list[str]
    cutoff_date: str | None


class AddedToClient(t.TypedDict, total=False):
    """Keys that records of release 1.0 do not have. `recent_log` is empty unless the client failed."""

    mode: RecordedMode
    blocking: Blocking
    recent_log: list[str]


class Client(AddedToClient):
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
    """A CVE that the client lists, and whether the patch fixes it."""

    cve: str
    patched: bool


class _AddedToPatch(t.TypedDict, total=False):
    kernel: str | None
    waiting_since: str | None


class Patch(_AddedToPatch):
    """The status that the client reports for the running kernel. `upgrade_required_by` is a date, ``YYYY-MM-DD``.

    `kernel` is the kernel that the client names, `waiting_since` the time (RFC 3339, UTC, by the controller's clock)
    since which the host waits for its patch. Records of earlier releases have neither.
    """

    state: str | None
    version: str | None
    fixes: list[Fix]
    support: str | None
    upgrade_required_by: str | None


class Verification(t.TypedDict):
    """The level of verification of a loaded patch, and its result (``verified``, ``failed``, ``not_checked``)."""

    level: VerificationLevel
    result: str
    signer: str | None
    key_id: str | None
    sha512: str | None


class KernelPatch(t.TypedDict):
    """A live patch module as the kernel shows it; `taint` contains the letters of its taint flags."""

    module: str
    enabled: bool | None
    transition: bool | None
    build_id: str | None
    taint: str | None
    verification: Verification


class _Evidence(t.TypedDict, total=False):
    evidence: list[str]


class Reason(_Evidence):
    """The reason for a state, and its remedy. `evidence` are lines that the host wrote itself, where there are any."""

    id: str
    message: str
    remedy: str | None


class Assessment(t.TypedDict):
    """The state of the host, and its reasons; the first reason decided."""

    state: State
    reasons: list[Reason]
    reboot_needed: bool | None


class _Skew(t.TypedDict, total=False):
    clock_skew_seconds: int | None


class Record(_Skew):
    """The record of one host.

    `clock_skew_seconds` is the time by which its clock is ahead of the controller's; earlier releases do not store it.
    """

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
    """A document does not match the schema. `path` names the value, as ``a.b[2].c``."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}" if path else message)

    def below(self, step: str) -> RecordError:
        """Return the error with the path of the enclosing value."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return RecordError(f"{step}{joint}{self.path}", self.message)


class NewerSchemaError(RecordError):
    """A later version of this collection wrote the record, with a schema that this version cannot read."""


RECORD_LIMIT = 65_536
"""Bytes of a record as JSON text. A host can send anything, and each report reads the records of all hosts."""

_ROOM = 2048  # bytes for white space, and for a reason that is added to a record that was cut
_TEXT_LIMIT = 200  # characters
_TEXT_LIMITS = {"message": 300, "remedy": 500, "recent_log": 300}
_ENCODED = 3  # bytes of JSON text for each character of the limit; a character outside the BMP has twelve
_ENTRY_LIMIT = 1000
_ENTRY_LIMITS = {"fixes": 5000, "reasons": 20, "evidence": 5}
_FROM_HOST = ("system", "eligibility", "client", "patch", "kernel_patches", "assessment")


_NOT_IN_DATABASES = re.compile("[\0\ud800-\udfff]")


def limit_text(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Cut a text to a number of characters, fewer if they need escapes in JSON. An ellipsis marks a cut.

    Characters that a database cannot have in a text are replaced.
    """
    if not text.isprintable():
        text = _NOT_IN_DATABASES.sub("\ufffd", text)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    if len(text) * 12 > limit * _ENCODED and len(json.dumps(text)) > limit * _ENCODED:
        text = f"{text[: limit // 4 - 1]}…"
    return text


def with_storable_texts(value: t.Any) -> t.Any:
    """Return plain data without the characters that a database cannot have in a text."""
    if isinstance(value, str):
        return _NOT_IN_DATABASES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {with_storable_texts(key): with_storable_texts(member) for key, member in value.items()}
    return [with_storable_texts(member) for member in value] if isinstance(value, list) else value


def limit_reasons(reasons: list[Reason]) -> list[Reason]:
    """Return reasons whose texts have at most the lengths that a record allows."""
    return t.cast("list[Reason]", _limited(reasons, "reasons"))


def limit_record(record: Record) -> tuple[Record, bool]:
    """Return a record within all limits, and True if entries of a list are missing from it.

    Texts and lists of a host are cut at their own limits. If the record is still too large, the largest list is cut.
    """
    limited = t.cast(
        Record, {key: _limited(value, key) if key in _FROM_HOST else value for key, value in record.items()}
    )
    before = _count_entries(record)
    excess = _size(limited) - (RECORD_LIMIT - _ROOM)
    while excess > 0 and (lists := [each for each in _lists_of(limited) if each]):
        largest = max(lists, key=_size)
        kept = int(len(largest) * (1 - excess / max(_size(largest), excess)))
        del largest[min(kept, len(largest) - 1) :]
        excess = _size(limited) - (RECORD_LIMIT - _ROOM)
    return limited, _count_entries(limited) < before


def _limited(value: t.Any, key: str) -> t.Any:
    if isinstance(value, str):
        return limit_text(value, _TEXT_LIMITS.get(key, _TEXT_LIMIT))
    if isinstance(value, dict):
        return {name: _limited(member, name) for name, member in value.items()}
    if isinstance(value, list):
        return [_limited(member, key) for member in value[: _ENTRY_LIMITS.get(key, _ENTRY_LIMIT)]]
    return value


def _lists_of(record: Record) -> tuple[list[t.Any], ...]:
    """Return the lists of a record. The reasons are not included, because the first one explains the state."""
    packages = record["system"]["kernel"].get("packages", [])
    return record["patch"]["fixes"], record["kernel_patches"], record["eligibility"]["checks"], packages


def _count_entries(record: Record) -> int:
    return len(record["assessment"]["reasons"]) + sum(map(len, _lists_of(record)))


def _size(value: object) -> int:
    return len(json.dumps(value))


# A checker takes a value and raises `RecordError` where it does not fit. Reports hold records by the hundred thousand
# against the schema, so the common case is one look-up of a member's class, and places are named only on failure.
_Checker = t.Callable[[object], None]
_Member = tuple[str, frozenset[type], _Checker]


def _mapping_checker(members: tuple[_Member, ...], optional: tuple[_Member, ...]) -> _Checker:
    def check(value: object) -> None:
        if not isinstance(value, dict):
            raise RecordError("", f"expected a mapping, found {_kind(value)}")
        key = ""
        try:
            for key, scalars, checker in members:
                member = value[key]
                if member.__class__ not in scalars:
                    checker(member)
            for key, scalars, checker in optional:
                if key in value and value[key].__class__ not in scalars:
                    checker(value[key])
        except KeyError:
            raise RecordError(key, "is missing") from None
        except RecordError as error:
            raise error.below(key) from None

    return check


def _list_checker(item: _Checker) -> _Checker:
    def check(value: object) -> None:
        if not isinstance(value, list):
            raise RecordError("", f"expected a list, found {_kind(value)}")
        for index, member in enumerate(value):
            try:
                item(member)
            except RecordError as error:
                raise error.below(f"[{index}]") from None

    return check


def _values_checker(value_checker: _Checker) -> _Checker:
    def check(value: object) -> None:
        if not isinstance(value, dict):
            raise RecordError("", f"expected a mapping, found {_kind(value)}")
        for key, member in value.items():
            try:
                value_checker(member)
            except RecordError as error:
                raise error.below(key) from None

    return check


def _choice_checker(choices: tuple[object, ...]) -> _Checker:
    def check(value: object) -> None:
        if not isinstance(value, str) or value not in choices:
            raise RecordError("", f"expected one of {', '.join(map(str, choices))}, found {value!r:.80}")

    return check


def _scalar_checker(kinds: tuple[type, ...]) -> _Checker:
    def check(value: object) -> None:
        # bool is a kind of int in Python, and never what a count means.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join("null" if kind is types.NoneType else kind.__name__ for kind in kinds)
            raise RecordError("", f"expected {wanted}, found {_kind(value)}")

    return check


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _scalars(annotation: t.Any) -> tuple[type, ...]:
    """Return the plain types that an annotation of this module allows; none if it is not a scalar."""
    origin, arguments = t.get_origin(annotation), t.get_args(annotation)
    if origin in (types.UnionType, t.Union):
        return arguments
    return (annotation,) if origin is None and not t.is_typeddict(annotation) else ()


@functools.cache
def _checker(annotation: t.Any) -> _Checker:
    """Return a function that checks a value against a type of this module."""
    if t.is_typeddict(annotation):
        hints = t.get_type_hints(annotation)
        members = [(key, frozenset(_scalars(kind)), _checker(kind)) for key, kind in hints.items()]
        required = annotation.__required_keys__
        return _mapping_checker(
            tuple(member for member in members if member[0] in required),
            tuple(member for member in members if member[0] not in required),
        )
    origin, arguments = t.get_origin(annotation), t.get_args(annotation)
    if origin is list:
        return _list_checker(_checker(arguments[0]))
    if origin is dict:
        return _values_checker(_checker(arguments[1]))
    return _choice_checker(arguments) if origin is t.Literal else _scalar_checker(_scalars(annotation))


def rename_former_state(assessment: object) -> bool:
    """Replace the former name of a state in an assessment. Return True if it had one."""
    former = assessment.get("state") if isinstance(assessment, dict) else None
    if not isinstance(assessment, dict) or not isinstance(former, str) or former not in FORMER_STATES:
        return False
    assessment["state"] = FORMER_STATES[former]
    return True


def is_section(key: str, value: object) -> bool:
    """Return True if the schema allows this value for this key. An unknown key allows any value."""
    if key == "schema":
        return value == SCHEMA
    checker = _sections().get(key)
    try:
        if checker is not None:
            checker(value)
    except RecordError:
        return False
    return True


@functools.cache
def _sections() -> dict[str, _Checker]:
    return {key: _checker(kind) for key, kind in t.get_type_hints(Record).items()}


def validate(document: object) -> Record:
    """Return the document as a record.

    Raises `NewerSchemaError` when a later schema wrote it, `RecordError` with the place when it is malformed.
    """
    if not isinstance(document, dict):
        raise RecordError("", f"expected a record, found {_kind(document)}")
    schema = document.get("schema")
    name, _separator, version = schema.rpartition("/") if isinstance(schema, str) else ("", "", "")
    if name != SCHEMA_NAME or not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise RecordError("schema", f"expected {SCHEMA}, found {schema!r:.80}")
    if int(version) > SCHEMA_VERSION:
        raise NewerSchemaError("schema", f"this is {schema}, and this version of the collection reads up to {SCHEMA}")
    rename_former_state(document.get("assessment"))
    _checker(Record)(document)
    return t.cast(Record, document)
