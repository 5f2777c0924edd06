# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read files of records on the controller, fast enough for a large fleet."""

from __future__ import annotations

import json
import math
import os
import typing as t
from urllib.parse import unquote

from .._record import NewerSchemaError, Record, RecordError, is_section, rename_former_state, validate
from .._time import parse_time
from .document import ATTEMPT_CAUSES, ATTEMPT_SCHEMA, Document, FailedAttempt, Problem, Recorded, cause_of
from .spool import sections_of

RECORD_SUFFIX = ".json"
NOTE_SUFFIX = ".unreachable.json"

# The layout of a stored record: each section is one line, indented by two spaces. JSON has line ends only between
# tokens, so these markers separate the members of the object if each part can be parsed as a member.
_BEGIN, _JOINT, _END = b'{\n  "', b',\n  "', b"\n}\n"
# Sections that similar hosts have in common. The others differ from host to host and are not cached.
_ALIKE = frozenset({"schema", "collector", "eligibility", "patch", "kernel_patches", "assessment"})
_AT_ONCE = 64 * 1024  # bytes; a regular file returns less only at its end
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
        self._known: dict[bytes, _RecordSection] = {}
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
        texts = content[len(_BEGIN) : -len(_END)].split(_JOINT)
        sections = [self._known.get(text) or self._section(text) for text in texts]
        record = {section.key: section.value for section in sections if section is not None}
        if None in sections or not record.keys() >= Record.__required_keys__ or len(record) != len(sections):
            return None
        if parse_time(record["collected_at"], utc_only=True) is None:
            return None
        return Recorded(t.cast("Record", record), tuple(section.line for section in sections if section is not None))

    def _section(self, text: bytes) -> _RecordSection | None:
        try:
            members = _DECODER.decode(f'{{"{text.decode("utf-8")}}}')
        except (ValueError, RecursionError):
            return None
        key, value = next(iter(members.items()))
        renamed = key == "assessment" and rename_former_state(value)
        if len(members) != 1 or not is_section(key, value):
            return None
        section = _RecordSection(key, value, sections_of(members)[0] if renamed else _one_line(text, members))
        if key in _ALIKE:
            self._remember(text, section)
        return section

    def _remember(self, text: bytes, section: _RecordSection) -> None:
        self._remembered += len(text)
        if self._remembered > _MEMORY:
            self._known.clear()
            self._remembered = len(text)
        self._known[text] = section


def _content(path: str) -> bytes:
    # Half the system calls that a file object needs.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, _AT_ONCE)
        while len(content) % _AT_ONCE == 0 and (more := os.read(descriptor, _AT_ONCE)):
            content += more
        return content
    finally:
        os.close(descriptor)


def _one_line(text: bytes, members: dict[str, t.Any]) -> bytes:
    # Without characters that need an escape, removing the line ends is sufficient.
    if text.isascii() and b"\x7f" not in text:
        return b'"' + text.translate(None, b"\r\n")
    return sections_of(members)[0]


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
        and isinstance(value.get("remedy"), (str, type(None)))
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
