# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read files of records on the controller, fast enough for a large fleet."""

from __future__ import annotations

import json
import math
import os
import re
import typing as t
from urllib.parse import unquote

from .._record import SCHEMA, NewerSchemaError, Record, RecordError, is_section, rename_former_state, validate
from .._time import parse_time
from .document import ATTEMPT_CAUSES, ATTEMPT_SCHEMA, Document, FailedAttempt, Problem, Recorded, cause_of
from .spool import (
    ALIKE,
    SplitSection,
    SplitText,
    key_end,
    lines_of,
    split_document,
    split_individual,
    split_like,
    split_section,
    value_names,
)

RECORD_SUFFIX = ".json"
NOTE_SUFFIX = ".unreachable.json"

# The layout of a stored record: each section is one line, indented by two spaces. JSON has line ends only between
# tokens, so lines separate the members of the object if each can be parsed as a member.
_BEGIN, _END = b"{\n", b"\n}\n"
_INDENT, _COMMA = b"  ", b","
_ALIKE = tuple(f'  "{key}"'.encode() for key in ALIKE)
_PLAIN_TEXT = re.compile(rb'  "(host|collected_at)": ("[ !#-\[\]-~]*"),')  # printable ASCII without escapes
_AROUND_TEXT = {key: (b'"' + key + b'": ', b"") for key in (b"host", b"collected_at")}
_HOST_AT = len(f'{{\n  "schema": "{SCHEMA}",\n  "host": "')
_TAIL = 64  # bytes
_INDIVIDUAL = (
    ("host", "host"),
    ("collected_at", "collected_at"),
    ("system", "machine_id_sha256"),
    ("system", "booted_at"),
    ("client", "last_check"),
)
_SIMPLE = re.compile(rb"[ -~]*")  # no character that needs an escape in a line of pure ASCII
_AT_ONCE = 64 * 1024  # bytes; a regular file returns less only at its end
DOCUMENT_LIMIT = 4 << 20
"""Bytes of a document that is read. A record of this release has 64 KiB at most; whoever may write to a store may not
fill the memory of a report."""

_MEMORY = 8 * 1024 * 1024  # bytes of JSON text


class _RecordSection(t.NamedTuple):
    """A section as parsed, and its text as `SplitText` has it."""

    key: str
    value: t.Any
    shared: tuple[bytes, ...]
    values: tuple[bytes, ...]

    def with_values(self, split: SplitSection) -> _RecordSection:
        """Return this section with other individual values."""
        key, section, shared, _values = self
        make = _client_with if key == "client" else _system_with
        value = make(section, *split.texts())
        # The same parts each time, so that the spool recognizes them quickly.
        return _RecordSection(key, value, shared, split.values)


class _RecordKind(t.NamedTuple):
    """A record as parsed, and its file in parts, for files that differ in its individual values only."""

    record: Record
    parts: tuple[bytes, ...]
    shared: tuple[tuple[bytes, ...], ...]

    def with_values(self, split: SplitSection) -> Recorded | None:
        """Return the record with other individual values, or None if one of them needs to be described as an error."""
        host, collected_at, machine_id, booted_at, last_check = split.texts()
        if host is None or collected_at is None or parse_time(collected_at, utc_only=True) is None:
            return None
        record = self.record.copy()
        record["host"] = host
        record["collected_at"] = collected_at
        record["system"] = _system_with(record["system"], machine_id, booted_at)
        record["client"] = _client_with(record["client"], last_check)
        return Recorded(record, SplitText(self.shared, split.values))


class RecordReader:
    """Reads records and notes. A section with the text of an earlier one is parsed once.

    Records share equal sections, so callers must not change them.
    """

    def __init__(self) -> None:
        self._known: dict[bytes | tuple[bytes, ...], _RecordSection] = {}
        self._kinds: dict[tuple[int, bytes], _RecordKind] = {}
        self._remembered = 0

    def read(self, folder: str, name: str) -> Document:
        """Read one file. A file that cannot be used is returned as a problem; nothing raises."""
        path = f"{folder}/{name}"
        try:
            content = _content(path)
        except OSError as error:
            return Problem("file_unreadable", path, f"this file cannot be read: {why(error)}", _host_of(name))
        return self.document(content, path, lambda: _host_of(name))

    def document(self, content: bytes, place: str, host: t.Callable[[], str]) -> Document:
        """Parse a document. One that cannot be used is returned as a problem of its place and host; nothing raises."""
        if len(content) > DOCUMENT_LIMIT:
            message = f"this file is larger than {DOCUMENT_LIMIT >> 20} MiB, and no record"
            return Problem("malformed_record", place, message, host())
        try:
            return self._like_another(content) or self._by_sections(content) or _as_a_whole(content)
        except NewerSchemaError as error:
            return Problem("newer_schema", place, f"{error}; upgrade kernelops.livepatch on this controller", host())
        except RecordError as error:
            return Problem("malformed_record", place, f"this file is not a record: {error}", host())
        except (ValueError, RecursionError) as error:
            return Problem("invalid_json", place, f"this file is truncated or not JSON: {error}", host())

    def _by_sections(self, content: bytes) -> Recorded | None:
        """Return the record of a file in the stored layout, or None where the whole file has to be parsed."""
        if not (content.startswith(_BEGIN) and content.endswith(_END)):
            return None
        *lines, last = content[len(_BEGIN) : -len(_END)].split(b"\n")
        lines.append(last + _COMMA)
        record: dict[str, t.Any] = {}
        shared: list[tuple[bytes, ...]] = []
        own: list[bytes] = []
        for line in lines:
            section = self._known.get(line) or self._section(line)
            if section is None:
                return None
            key, record[key], parts, values = section
            shared.append(parts)
            own += values
        if not record.keys() >= Record.__required_keys__ or len(record) != len(lines):
            return None
        if parse_time(record["collected_at"], utc_only=True) is None:
            return None
        recorded = Recorded(t.cast("Record", record), SplitText(tuple(shared), tuple(own)))
        self._learn(content, recorded)
        return recorded

    def _like_another(self, content: bytes) -> Recorded | None:
        """Return the record of a file that only differs from an earlier one in individual values."""
        kind = self._kinds.get(_fingerprint(content))
        split = kind and split_like(kind.parts, content)
        return kind.with_values(split) if kind and split else None

    def _learn(self, content: bytes, recorded: Recorded) -> None:
        fingerprint, (record, (shared, values)) = _fingerprint(content), recorded
        if fingerprint in self._kinds or value_names(shared) != _INDIVIDUAL:
            return
        parts = tuple((b"{\n  %b\n}\n" % b",\n  ".join(map(b"\0".join, shared))).split(b"\0"))
        split = split_like(parts, content)
        if split is not None and split.values == values:
            self._make_room(len(content))
            self._kinds[fingerprint] = _RecordKind(record, parts, shared)

    def _section(self, line: bytes) -> _RecordSection | None:
        plain = _PLAIN_TEXT.fullmatch(line)
        if plain is not None:
            key, value = plain.groups()
            return _RecordSection(key.decode(), value[1:-1].decode(), _AROUND_TEXT[key], (value,))
        if line.startswith(_ALIKE):
            section = _parse(line)
            return None if section is None else self._remember(line, section)
        text = line[len(_INDENT) : -len(_COMMA)]
        split = split_individual(text) if _SIMPLE.fullmatch(line) else None
        return _parse(line) if split is None else self._with_individual(line, split)

    def _with_individual(self, line: bytes, split: SplitSection) -> _RecordSection | None:
        """Return a section with its individual values, which are texts or null, as the schema allows them."""
        section = self._known.get(split.shared) or _parse(line)
        if section is None:
            return None
        return self._remember(split.shared, section).with_values(split)

    def _remember(self, text: bytes | tuple[bytes, ...], section: _RecordSection) -> _RecordSection:
        if text not in self._known:
            self._make_room(sum(map(len, section.shared)))
            self._known[text] = section
        return section

    def _make_room(self, size: int) -> None:
        self._remembered += size
        if self._remembered > _MEMORY:
            self._known.clear()
            self._kinds.clear()
            self._remembered = size


def _fingerprint(content: bytes) -> tuple[int, bytes]:
    """Return what files of one kind have in common, and few others: the size after the host, and the last bytes."""
    return len(content) - content.find(b'"', _HOST_AT), content[-_TAIL:]


def _system_with(system: t.Any, machine_id: str | None, booted_at: str | None) -> t.Any:
    return {**system, "machine_id_sha256": machine_id, "kernel": {**system["kernel"], "booted_at": booted_at}}


def _client_with(client: t.Any, last_check: str | None) -> t.Any:
    return {**client, "last_check": last_check}


def _parse(line: bytes) -> _RecordSection | None:
    """Parse a section in the stored layout. Return None if it is not one that the schema allows."""
    if not (line.startswith(_INDENT) and line.endswith(_COMMA)):
        return None
    text = line[len(_INDENT) : -len(_COMMA)]
    try:
        members = _DECODER.decode(f"{{{text.decode('utf-8')}}}")
    except (ValueError, RecursionError):
        return None
    if len(members) != 1:
        return None
    key, value = next(iter(members.items()))
    renamed = key == "assessment" and rename_former_state(value)
    if not is_section(key, value):
        return None
    if renamed or not _SIMPLE.fullmatch(text) or not key_end(text):
        [text] = lines_of(members)
    split = split_section(text)
    return _RecordSection(key, value, split.shared, split.values)


def _content(path: str) -> bytes:
    # Half the system calls that a file object needs.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, _AT_ONCE)
        while (
            len(content) % _AT_ONCE == 0 and len(content) <= DOCUMENT_LIMIT and (more := os.read(descriptor, _AT_ONCE))
        ):
            content += more
        return content
    finally:
        os.close(descriptor)


def _as_a_whole(content: bytes) -> Recorded | FailedAttempt:
    document = _DECODER.decode(content.decode("utf-8"))
    if isinstance(document, dict) and document.get("schema") == ATTEMPT_SCHEMA:
        return _attempt(document)
    record = validate(document)
    _check_time(record["collected_at"], "collected_at")
    return Recorded(record, split_document(record))


def _attempt(document: dict[str, t.Any]) -> FailedAttempt:
    host, attempted_at, reasons = (document.get(key) for key in ("host", "attempted_at", "reasons"))
    if not isinstance(host, str):
        raise RecordError("host", "expected str")
    _check_time(attempted_at, "attempted_at")
    if not isinstance(reasons, list) or not all(_is_reason(reason) for reason in reasons):
        raise RecordError("reasons", "expected a list of reasons with id, message and remedy")
    cause, groups = document.get("cause"), document.get("groups")
    return FailedAttempt(
        host,
        t.cast("str", attempted_at),
        reasons,
        cause if cause in ATTEMPT_CAUSES else cause_of(reasons),
        groups if _are_groups(groups) else {},
    )


def _are_groups(value: object) -> t.TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_reason(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("message"), str)
        and isinstance(value.get("remedy", False), (str, type(None)))
    )


def _check_time(value: object, place: str) -> None:
    if parse_time(value, utc_only=True) is None:
        raise RecordError(place, f"expected an RFC 3339 time in UTC with a Z, found {value!r:.80}")


def _host_of(name: str) -> str:
    return unquote(name.removesuffix(NOTE_SUFFIX).removesuffix(RECORD_SUFFIX))


def _refuse_constant(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits:.40} is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def why(error: OSError) -> str:
    """Return the system's description of an error."""
    return error.strerror or str(error)
