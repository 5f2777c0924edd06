# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Parse the status output of ``canonical-livepatch``, for all generations of the client.

Clients of 2016 print three lines, clients 6 to 9.4 print YAML, and later ones print YAML or JSON on request. The
default output of later clients, which is text for people, is never parsed. The functions never raise: output that
cannot be read results in `ClientStatus.error` or in unknown values.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice

from .._config_file import YamlError, read_document
from .._time import parse_date, parse_time
from .error_texts.table import find_error

Generation = t.Literal["2016", "6", "9.5", "10", "11"]

CHECK_STATES = frozenset({"checked", "needs-check", "check-failed"})
PATCH_STATES = frozenset(
    {
        "unapplied",
        "applying",
        "applied",
        "applied-with-bug",
        "apply-failed",
        "nothing-to-apply",
        "kernel-upgrade-required",
    }
)
SUPPORT_STATES = frozenset({"supported", "unsupported", "kernel-upgrade-required", "kernel-end-of-life", "unknown"})

_ERROR_TEXT = 300
_FIRST_YAML_MAJOR = 6
_MESSAGE_LIMIT = 65536
_WORD_LIMIT = 200
CUTOFF_DATE = "cutoff-date"
"""The setting that excludes patches after a date."""

_ENTRY_NAMES = ("name", "id", "lsn", "option")
_BLOCKED_ENTRIES = 64
_BLOCKED_WORD = 64
_JSON_STARTS = 3
_YAML_LIMIT = 65536
_YAML_DEPTH = 16

_NOT_EXECUTABLE = (126, 127)
"""Exit codes of a shell for a command that could not be run, or was not found."""

_RELEASE_NAMED = re.compile(r"\bubuntu[ -]([0-9]{2}\.[0-9]{2})(?![0-9])", re.IGNORECASE)
_NOT_ENABLED = re.compile(r"machine is not enabled", re.IGNORECASE)
_SECRETS = (
    (re.compile(r"(tokens?[^0-9a-z]{1,8}(?:is )?)[0-9a-z][0-9a-z._~+/=-]{15,}", re.IGNORECASE), r"\1***"),
    (re.compile(r"[0-9a-f]{32,}", re.IGNORECASE), "***"),
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE), "***"),
)
"""Tokens by their label, and what looks like one without: 32 hexadecimal digits or a UUID."""

_JSON_START = re.compile(r"^\{", re.MULTILINE)
_YAML_START = re.compile(
    r"^(?:client-version|machine-id|architecture|cpu-model|last-check|boot-time|uptime|status):", re.MULTILINE
)
_THREE_LINES = re.compile(
    r"^kernel: (?P<kernel>[^\s]{1,128})(?P<unsupported> \(unsupported\))?\r?\n"
    r"fully-patched: (?P<patched>true|false)\r?\n"
    r'version: "?(?P<version>[0-9.]{0,32})"?\r?$',
    re.MULTILINE,
)
_NUMBER = re.compile(r"v?(?P<version>(?P<major>[0-9]{1,6})(?![0-9])(?:\.(?P<minor>[0-9]{1,6}))?.*)", re.DOTALL)
_CVE = re.compile(r"[*\s]{0,8}(CVE-[0-9]{4}-[0-9]{4,19})(?![0-9])", re.IGNORECASE)
_CONFIG_LINE = re.compile(r"(?P<key>[a-z][a-z0-9-]{0,63}):(?:[ \t]+(?P<value>.*))?")
_BLOCK_MARKS = frozenset({"|", "|-", "|+"})
_PEM_START = "-----BEGIN "
_CLOSING = {'"': re.compile(r'\\.|"', re.DOTALL), "'": re.compile("''|'")}
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<char>.))", re.DOTALL
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class StatusOutput:
    """The output of one call of the client. `exit_code` is ``None`` if the host did not report one."""

    stdout: str
    stderr: str
    exit_code: int | None
    timed_out: bool


@dataclass(frozen=True, slots=True)
class ReportedFix:
    """A CVE (``CVE-2016-0758``) that the patch lists. `patched` is true if it is fixed in the running kernel."""

    cve: str
    patched: bool


@dataclass(frozen=True, slots=True)
class BlockedPatches:
    """Patches that a setting of the client withholds: the names of the settings, and the notices that they exclude."""

    options: tuple[str, ...] = ()
    excluded_notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientError:
    """The reason why the client reported no status.

    `id` is that of a row of `error_texts` with `is_status`, or ``timed_out``, ``not_executable`` or
    ``unreadable_output``. `text` contains up to 300 characters of its output, on one line, without tokens.
    """

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """The status of the client, its patch and the running kernel. ``None`` means that the client did not report it.

    Times are aware, in UTC. `check_state` and `patch_state` are lower case if they are in `CHECK_STATES` and
    `PATCH_STATES`. Any other value is kept as the client printed it, and never counts as healthy. `supported` is one of
    `SUPPORT_STATES`.
    """

    enabled: bool | None = None
    generation: Generation | None = None
    version: str | None = None
    last_check: datetime | None = None
    kernel: str | None = None
    check_state: str | None = None
    patch_state: str | None = None
    patch_version: str | None = None
    fixes: tuple[ReportedFix, ...] = ()
    supported: str | None = None
    upgrade_required_by: date | None = None
    tier: str | None = None
    blocked: BlockedPatches = BlockedPatches()
    error: ClientError | None = None


def parse_status(attempts: Sequence[StatusOutput]) -> ClientStatus:
    """Return the status from the first attempt that contains one, or else the error.

    `attempts` are the calls of ``status --format json``, ``status`` and ``status --format yaml`` in this order, up to
    the first that succeeded. Exit codes do not indicate the state: a client whose check failed can exit with any code.
    """
    for attempt in attempts:
        status = _read(attempt)
        if status is not None:
            return status
    return ClientStatus(error=_explain(attempts)) if attempts else ClientStatus()


def with_version(status: ClientStatus, version: str) -> ClientStatus:
    """Return the status of a client that does not report its version, with the version of its package."""
    number = _NUMBER.fullmatch(_word(version) or "")
    if number is None:
        return status
    oldest: Generation = "2016" if int(number["major"]) < _FIRST_YAML_MAJOR else _generation(number, {}, {}, "6")
    return replace(status, version=number["version"], generation=status.generation or oldest)


def parse_config(text: str) -> dict[str, str]:
    """Return the output of ``canonical-livepatch config``, ``key: "value"`` lines, as a mapping.

    Values are quoted as in Go or YAML, or unquoted with an optional comment. A quoted value, a YAML block and a PEM
    text (``ca-certs``) can span several lines. Other lines are ignored. Addresses of proxies can contain passwords.
    """
    config: dict[str, str] = {}
    start = 0
    while start < len(text):
        end = _line_end(text, start)
        line = _CONFIG_LINE.fullmatch(text[start:end].rstrip("\r"))
        if line:
            config[line["key"]], end = _config_value(text, line["value"] or "", start + line.start("value"), end)
        start = end + 1
    return config


def stale_platform(error_text: str, release: str | None) -> bool:
    """Return True if a text of the client names releases of Ubuntu, and that of the host (``24.04``) is not one.

    A client that was installed before a release upgrade can refuse the release that the host had then.
    """
    named = set(_RELEASE_NAMED.findall(error_text))
    return bool(named) and release is not None and release not in named


def _read(attempt: StatusOutput) -> ClientStatus | None:
    fields = _json_fields(attempt.stdout)
    if fields is not None:
        return _from_fields(fields, "9.5")
    fields = _yaml_fields(attempt.stdout)
    if fields is not None:
        return _from_fields(fields, "6")
    three_lines = _THREE_LINES.search(attempt.stdout)
    if three_lines:
        return _from_three_lines(three_lines)
    if _NOT_ENABLED.search(attempt.stderr) or _NOT_ENABLED.search(attempt.stdout):
        return ClientStatus(enabled=False)
    return None


def _json_fields(text: str) -> dict[str, object] | None:
    """Return the members of the status in the text, which can begin with lines of warnings."""
    # Numbers are kept as text: version 9.10 is not 9.1.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
    for start in islice(_JSON_START.finditer(text), _JSON_STARTS):
        try:
            document, _end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        fields = _fields(document)
        if _is_status(fields):
            return fields
    return None


def _yaml_fields(text: str) -> dict[str, object] | None:
    """Return the members of the status in the text, which can begin with lines of warnings."""
    start = _YAML_START.search(text)
    if start is None or len(text) - start.start() > _YAML_LIMIT:
        return None
    try:
        fields = _fields(read_document(text[start.start() :], _YAML_DEPTH))
    except YamlError:
        return None
    return fields if _is_status(fields) else None


def _fields(node: object) -> dict[str, object]:
    """Return the members of a mapping by names that are equal for JSON (``Last-Check``) and YAML (``last-check``)."""
    if not isinstance(node, Mapping):
        return {}
    return {str(key).lower().replace("-", ""): value for key, value in node.items()}


def _is_status(fields: Mapping[str, object]) -> bool:
    return "clientversion" in fields or isinstance(fields.get("status"), list)


def _from_fields(fields: Mapping[str, object], oldest: Generation) -> ClientStatus:
    """Build the status. `oldest` is the first generation that uses the format of these fields."""
    entry = _running_entry(fields.get("status"))
    livepatch = _fields(entry.get("livepatch"))
    number = _NUMBER.fullmatch(_word(fields.get("clientversion")) or "")
    return ClientStatus(
        enabled=True,
        generation=_generation(number, fields, entry, oldest),
        version=number["version"] if number else _word(fields.get("clientversion")),
        last_check=_time(fields.get("lastcheck")),
        kernel=_word(entry.get("kernel")),
        check_state=_state(livepatch.get("checkstate"), CHECK_STATES),
        patch_state=_state(livepatch.get("state") or livepatch.get("patchstate"), PATCH_STATES),
        patch_version=_word(livepatch.get("version")),
        fixes=_fixes(livepatch.get("fixes")),
        supported=_support(entry.get("supported")),
        upgrade_required_by=_date(entry.get("upgraderequireddate")),
        tier=_word(fields.get("tier")),
        blocked=_blocked(fields),
    )


def _blocked(fields: Mapping[str, object]) -> BlockedPatches:
    """Return the patches that settings withhold: ``Blocking-Options``, ``Using-Cutoff-Date`` and ``Excluded-LSNs``.

    The type of the entries is not published, so texts and mappings with a name are accepted.
    """
    options = _entries(fields.get("blockingoptions"))
    if not options and _is_true(fields.get("usingcutoffdate")):
        options = (CUTOFF_DATE,)
    return BlockedPatches(options, _entries(fields.get("excludedlsns")))


def _entries(value: object) -> tuple[str, ...]:
    """Return the names in a list, a mapping of names to values, or a text with commas, each once."""
    if isinstance(value, str):
        items: list[object] = list(value[: _BLOCKED_ENTRIES * _BLOCKED_WORD].split(","))
    elif isinstance(value, Mapping):
        # A name that is set to false is no entry.
        items = [key for key, member in value.items() if member not in (False, None, "false", "")]
    else:
        items = value if isinstance(value, list) else []
    names = (_word(_entry_name(item)) for item in items[: 4 * _BLOCKED_ENTRIES])
    return tuple(dict.fromkeys(name[:_BLOCKED_WORD] for name in names if name))[:_BLOCKED_ENTRIES]


def _entry_name(item: object) -> object:
    if not isinstance(item, Mapping):
        return item
    fields = _fields(item)
    return next((fields[key] for key in _ENTRY_NAMES if fields.get(key)), None)


def _running_entry(status: object) -> dict[str, object]:
    """Return the members of the entry for the running kernel, at any position of the list."""
    entries = map(_fields, status if isinstance(status, list) else ())
    return next((entry for entry in entries if _is_true(entry.get("running"))), {})


def _generation(
    number: re.Match[str] | None, fields: Mapping[str, object], entry: Mapping[str, object], oldest: Generation
) -> Generation:
    if number:
        version = (int(number["major"]), int(number["minor"] or 0))
        return "11" if version >= (11, 0) else "10" if version >= (10, 0) else "9.5" if version >= (9, 5) else "6"
    if "fixedcves" in fields or isinstance(_fields(entry.get("livepatch")).get("fixes"), list):
        return "11"
    if "tier" in fields or "cloudenabled" in fields or "supported" in entry:
        return "10"
    return oldest


def _from_three_lines(match: re.Match[str]) -> ClientStatus:
    """Parse the output of the first clients. Fully patched without a version means that there was nothing to apply."""
    version = match["version"] or None
    patched = "applied" if version else "nothing-to-apply"
    return ClientStatus(
        enabled=True,
        generation="2016",
        kernel=match["kernel"],
        patch_state=patched if match["patched"] == "true" else "unapplied",
        patch_version=version,
        supported="unsupported" if match["unsupported"] else None,
    )


def _word(value: object) -> str | None:
    """Return a text that can be stored and shown; ``None`` for an empty text and for any other type."""
    if not isinstance(value, str):
        return None
    word = value.strip()[:_WORD_LIMIT]
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in word) or None


def _state(value: object, known: frozenset[str]) -> str | None:
    word = _word(value)
    return word.lower() if word and word.lower() in known else word


def _support(value: object) -> str | None:
    """Return one of `SUPPORT_STATES`. Old clients report a boolean."""
    if value is None:
        return None
    if _is_true(value):
        return "supported"
    state = _state(value, SUPPORT_STATES)
    return state if state in SUPPORT_STATES else "unknown"


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _time(value: object) -> datetime | None:
    moment = parse_time(value.strip(), basic_offset=True) if isinstance(value, str) else None
    return None if moment is None else _unless_zero(moment)


def _date(value: object) -> date | None:
    day = parse_date(value.strip(), of_time=True) if isinstance(value, str) else None
    return None if day is None else _unless_zero(day)


_Day = t.TypeVar("_Day", bound=date)


def _unless_zero(day: _Day) -> _Day | None:
    """Return ``None`` for the zero time of Go (year 1), which means never."""
    return None if day.year == 1 else day


def _fixes(value: object) -> tuple[ReportedFix, ...]:
    """Return each CVE once, in their order. A CVE that is listed twice is patched only if both entries are."""
    patched: dict[str, bool] = {}
    for fix in _listed_fixes(value):
        patched[fix.cve] = patched.get(fix.cve, True) and fix.patched
    return tuple(ReportedFix(cve, closed) for cve, closed in patched.items())


def _listed_fixes(value: object) -> Iterator[ReportedFix]:
    """Parse ``* CVE-2016-0758 LP: #1581202 (unpatched)`` lines, or a list of {Name, Patched}."""
    items = value.splitlines() if isinstance(value, str) else value
    for item in items if isinstance(items, list) else ():
        fields = _fields(item)
        text = item if isinstance(item, str) else fields.get("name")
        match = _CVE.match(text) if isinstance(text, str) else None
        if match:
            is_line = isinstance(item, str)
            patched = not item.rstrip().endswith("(unpatched)") if is_line else _is_true(fields.get("patched"))
            yield ReportedFix(match[1].upper(), patched)


def _explain(attempts: Sequence[StatusOutput]) -> ClientError:
    messages = [plain_text(attempt.stderr) for attempt in attempts] + [
        plain_text(attempt.stdout) for attempt in attempts
    ]
    for message in messages:
        error = find_error("client", message, status=True)
        if error is not None:
            row, found = error
            return ClientError(row.id, message[0 if found.end() <= _ERROR_TEXT else found.start() :][:_ERROR_TEXT])
    text = next(filter(None, messages), "")[:_ERROR_TEXT]
    if any(attempt.timed_out for attempt in attempts):
        return ClientError("timed_out", text)
    if any(attempt.exit_code in _NOT_EXECUTABLE for attempt in attempts):
        return ClientError("not_executable", text)
    return ClientError("unreadable_output", text)


def plain_text(output: str) -> str:
    """Return an output on one line, with printable characters only, and without anything that looks like a token."""
    head = output[:_MESSAGE_LIMIT]
    if len(head) < len(output):
        # A token that is cut in two would not be recognised.
        head = head.rpartition(" ")[0]
    message = " ".join("".join(char if char.isprintable() else " " for char in head).split())
    for secret, mask in _SECRETS:
        message = secret.sub(mask, message)
    return message


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _config_value(text: str, value: str, start: int, end: int) -> tuple[str, int]:
    """Return the value that begins at `start` of the text, and the end of its last line."""
    quote = value[:1]
    if quote in _CLOSING:
        closing = next((mark.start() for mark in _CLOSING[quote].finditer(text, start + 1) if mark[0] == quote), None)
        if closing is not None:
            quoted = text[start + 1 : closing]
            return _unescaped(quoted) if quote == '"' else quoted.replace("''", "'"), _line_end(text, closing)
    if value in _BLOCK_MARKS:
        return _following(text, end, lambda line: line.startswith(" ") or not line.strip())
    if value.startswith(_PEM_START):
        rest, end = _following(text, end, lambda line: not _CONFIG_LINE.fullmatch(line))
        return f"{value}\n{rest}".strip(), end
    return value.partition(" #")[0].strip(), end


def _following(text: str, end: int, belongs: t.Callable[[str], object]) -> tuple[str, int]:
    """Return the lines after `end` that belong to a value, without indentation, and the end of the last one."""
    lines: list[str] = []
    while end < len(text):
        line_end = _line_end(text, end + 1)
        line = text[end + 1 : line_end].rstrip("\r")
        if not belongs(line):
            break
        lines.append(line.strip())
        end = line_end
    return "\n".join(lines).strip(), end


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_unescaped_character, text)


def _unescaped_character(match: re.Match[str]) -> str:
    char = match["char"]
    if char:
        return _ESCAPED.get(char, char)
    code = int(match["x"] or match["u"] or match["U"], 16)
    return "\N{REPLACEMENT CHARACTER}" if code > _LAST_CHARACTER or code in _SURROGATES else chr(code)
