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

from .._record import NewerSchemaError, Record, RecordError, is_section, rename_former_state, validate
from .._time import parse_time
from .document import ATTEMPT_CAUSES, ATTEMPT_SCHEMA, Document, FailedAttempt, Problem, Recorded, cause_of
from .spool import ALIKE, SplitSection, sections_of, split_section

RECORD_SUFFIX = ".json"
NOTE_SUFFIX = ".unreachable.json"

# The layout of a stored record: each section is one line, indented by two spaces. JSON has line ends only between
# tokens, so these markers separate the members of the object if each part can be parsed as a member.
_BEGIN, _JOINT, _END = b'{\n  "', b',\n  "', b"\n}\n"
_ALIKE = tuple(f'{key}"'.encode() for key in ALIKE)
_PLAIN_TEXT = re.compile(rb'(host|collected_at)": "([ !#-\[\]-~]*)"')  # printable ASCII without escapes
_AT_ONCE = 64 * 1024  # bytes; a regular file returns less only at its end
DOCUMENT_LIMIT = 4 << 20
"""Bytes of a document that is read. A record of this release has 64 KiB at most; whoever may write to a store may not
fill the memory of a report."""

_MEMORY = 8 * 1024 * 1024  # bytes of JSON text


class _RecordSection(t.NamedTuple):
    key: str
    value: t.Any
    line: bytes


class RecordReader:
    """Reads records and notes. A section with the text of an earlier one is parsed once.

    Records share equal sections, so callers must not change them.
    """

    def __init__(self) -> None:
        self._known: dict[bytes | tuple[str, ...], _RecordSection] = {}
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
            return self._by_sections(content) or _as_a_whole(content)
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
        record: dict[str, t.Any] = {}
        lines = []
        texts = content[len(_BEGIN) : -len(_END)].split(_JOINT)
        for text in texts:
            section = self._known.get(text) or self._section(text)
            if section is None:
                return None
            record[section.key] = section.value
            lines.append(section.line)
        if not record.keys() >= Record.__required_keys__ or len(record) != len(texts):
            return None
        if parse_time(record["collected_at"], utc_only=True) is None:
            return None
        return Recorded(t.cast("Record", record), tuple(lines))

    def _section(self, text: bytes) -> _RecordSection | None:
        plain = _PLAIN_TEXT.fullmatch(text)
        if plain is not None:
            return _RecordSection(plain[1].decode(), plain[2].decode(), b'"' + text)
        if text.startswith(_ALIKE):
            section = _parse(text)
            return None if section is None else self._remember(text, section)
        split = split_section(f'"{text.decode()}') if _is_simple(text) else None
        return _parse(text) if split is None else self._with_individual(text, split)

    def _with_individual(self, text: bytes, split: SplitSection) -> _RecordSection | None:
        """Return a section with its individual values, which are texts or null, as the schema allows them."""
        known = self._known.get(split.common)
        if known is None:
            section = _parse(text)
            return None if section is None else self._remember(split.common, section)
        return _RecordSection(known.key, _with_values(known.key, known.value, split.individual), _one_line(text))

    def _remember(self, text: bytes | tuple[str, ...], section: _RecordSection) -> _RecordSection:
        self._remembered += len(section.line)
        if self._remembered > _MEMORY:
            self._known.clear()
            self._remembered = len(section.line)
        self._known[text] = section
        return section


def _parse(text: bytes) -> _RecordSection | None:
    """Parse a section in the stored layout. Return None if it is not one that the schema allows."""
    try:
        members = _DECODER.decode(f'{{"{text.decode("utf-8")}}}')
    except (ValueError, RecursionError):
        return None
    key, value = next(iter(members.items()))
    renamed = key == "assessment" and rename_former_state(value)
    if len(members) != 1 or not is_section(key, value):
        return None
    return _RecordSection(key, value, _one_line(text) if _is_simple(text) and not renamed else sections_of(members)[0])


def _with_values(key: str, section: dict[str, t.Any], values: dict[str, str | None]) -> dict[str, t.Any]:
    """Return a copy of a section with other individual values."""
    if key == "client":
        return {**section, "last_check": values["last_check"]}
    kernel = {**section["kernel"], "booted_at": values["booted_at"]}
    return {**section, "machine_id_sha256": values["machine_id_sha256"], "kernel": kernel}


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


def _is_simple(text: bytes) -> bool:
    """Return True if no character needs an escape in a line of pure ASCII."""
    return text.isascii() and b"\x7f" not in text


def _one_line(text: bytes) -> bytes:
    # Without characters that need an escape, removing the line ends is sufficient.
    return b'"' + (text.translate(None, b"\r\n") if b"\n" in text or b"\r" in text else text)


def _as_a_whole(content: bytes) -> Recorded | FailedAttempt:
    document = _DECODER.decode(content.decode("utf-8"))
    if isinstance(document, dict) and document.get("schema") == ATTEMPT_SCHEMA:
        return _attempt(document)
    record = validate(document)
    _check_time(record["collected_at"], "collected_at")
    return Recorded(record, sections_of(record))


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
