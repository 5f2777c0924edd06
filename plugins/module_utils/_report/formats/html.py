# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as one HTML page for people, which needs nothing but itself and shows every host in full.

The page is made of the files in ``page/``. What hosts said stands in it once, as JSON that its script shows as text and
nothing else; its policy lets no other script run, and nothing be loaded or sent.

Hosts are few kinds, so what records have in common is written once. The JSON has a ``stream`` of parts (objects) and
hosts (lists): parts are numbered as they come, from 0, and a host names its parts by these numbers, after they came.
"""

from __future__ import annotations

import base64
import collections.abc as c
import functools
import hashlib
import html
import json
import re
import typing as t
from pathlib import Path

from ..._records.spool import SpoolPosition
from ..._text import visible
from ..report import URGENCY, Finding, HostLine, Report
from .table import totals

PAGE = Path(__file__).parents[1] / "page"
# The page has one script, in which the files share one scope. What runs at once in a file uses only files before it.
SCRIPTS = (
    "elements.js",
    "data.js",
    "filter.js",
    "summary.js",
    "charts.js",
    "history.js",
    "hosts_table.js",
    "host_details.js",
    "controls.js",
)
_PLACE = re.compile(r"@([a-z]+)@")
_REMEMBERED = 512  # sections

# Sections that a line of the report has already.
_IN_LINE = ('"schema": ', '"host": ', '"collected_at": ')
# What is each host's own in a section, sorted.
_OWN_OF = {'"system"': ["booted_at", "machine_id_sha256"], '"client"': ["last_check"]}
_LONGEST_KEY = len('"system"')
_OWN = re.compile(r'"(booted_at|last_check|machine_id_sha256)"\s*:\s*(?:"([^"]*)"|null)')

_ENCODE = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def render(report: Report) -> t.Iterator[str]:
    """Yield the page. The second chunk holds the time of the report."""
    style = _source("page.css")
    script = "".join(_source(name) for name in SCRIPTS)
    contents: dict[str, t.Iterable[str]] = {
        "policy": [_policy(style, script)],
        "style": [style],
        "time": [html.escape(report.generated_at)],
        "totals": [html.escape(visible(" ".join(totals(report))))],
        "fleet": _fleet(report),
        "script": [script],
    }
    text, *places = _PLACE.split(_source("page.html"))
    for name, after in zip(places[::2], places[1::2], strict=True):
        if name in ("time", "fleet"):
            yield text
            yield from contents[name]
            text = after
        else:
            text += "".join(contents[name]) + after
    yield text


def _source(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Allow this style and this script, and nothing else: no address, no other script, no markup made from text."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_digest(style)}'",
            f"script-src 'sha256-{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _fleet(report: Report) -> t.Iterator[str]:
    summary = report.summary()
    head = {
        "states": URGENCY,
        "oldest_record": summary["oldest_record"],
        "newest_record": summary["newest_record"],
        "left_out": report.left_out,
        "problems": [problem.as_dict() for problem in report.problems],
        "rules": [rule._asdict() for rule in report.rules],
        "fleet_findings": _findings(report.fleet_findings),
        "history": report.history.as_dict() if report.history else None,
    }
    yield f'{_json(head)[:-1]},"stream":[\n'
    stream = _Stream(report)
    separator = ""
    for line in report.lines:
        for text in stream.host(line):
            yield f"{separator}{text}"
            separator = ",\n"
    yield "\n]}"


def _findings(findings: t.Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"rule": rule, "message": message} for rule, message in findings]


def _json(value: object) -> str:
    return _inert(_ENCODE(_visible(value)))


def _inert(text: str) -> str:
    # Without "<" nothing in a script element can end it, and no comment can begin in it.
    return text.replace("<", "\\u003c")


def _visible(value: t.Any) -> t.Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _visible(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_visible(member) for member in value]
    return value


class _Part(t.NamedTuple):
    """A section that was read: its key, the number of its part, and what is the host's own in it, by name."""

    key: str
    number: int
    own: c.Mapping[str, str | None]


class _Stream:
    """Writes hosts, and before each the parts that came with no host before it.

    A part is remembered by its digest, not by its text: in the worst fleet no two hosts have a part in common.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._states = {state: index for index, state in enumerate(URGENCY)}
        self._numbers: dict[bytes, int] = {}
        self._new: list[str] = []
        self._known: dict[tuple[str, ...], _Part] = {}
        self._part_of_findings = functools.lru_cache(_REMEMBERED)(self._findings)

    def host(self, line: HostLine) -> list[str]:
        """Return the new parts of a host and then the host, each as JSON."""
        findings = self._part_of_findings(line.findings) if line.findings else None
        members = self._unreachable(line) if line.document is None else self._recorded(line, line.document)
        row = _inert(_ENCODE([visible(line.host), self._states[line.state], findings, *members]))
        new, self._new = self._new, []
        return [*new, row]

    def _findings(self, findings: tuple[Finding, ...]) -> int:
        return self._part({"findings": _findings(findings)})

    def _unreachable(self, line: HostLine) -> list[object]:
        assessment = self._part({"reasons": line.reasons, "reboot_needed": None})
        return [
            assessment,
            *map(_visible, (line.attempted_at, *(line.last_record or (None, None)))),
            line.containers,
        ]

    def _recorded(self, line: HostLine, document: SpoolPosition) -> list[object]:
        numbers: dict[str, int] = {}
        own: dict[str, str | None] = {}
        for text in self._report.spool.sections(document):
            if not text.startswith(_IN_LINE):
                self._section(text, numbers, own)
        times = (line.collected_at, own["booted_at"], own["last_check"])
        return [*(numbers[key] for key in _PARTS), *map(_visible, times)]

    def _section(self, text: str, numbers: dict[str, int], own: dict[str, str | None]) -> None:
        # A section that a host of late had too is known by its text. Not to parse it saves most of the time.
        around, names, values = _apart(text)
        part = self._known.get(around)
        if part is None:
            part = self._read(text)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[around] = part
        numbers[part.key] = part.number
        own.update(zip(names, values, strict=True) if names else part.own)

    def _read(self, text: str) -> _Part:
        [(key, value)] = json.loads(f"{{{text}}}").items()
        own: dict[str, str | None] = {}
        if key == "system":
            own = {"machine_id_sha256": value.pop("machine_id_sha256"), "booted_at": value["kernel"].pop("booted_at")}
        elif key == "client":
            own = {"last_check": value.pop("last_check")}
        return _Part(key, self._part(_PARTS[key](self, value)) if key in _PARTS else -1, own)

    def _part(self, part: dict[str, t.Any]) -> int:
        digest = hashlib.sha256(_ENCODE(part).encode("ascii")).digest()
        number = self._numbers.get(digest)
        if number is None:
            number = self._numbers[digest] = len(self._numbers)
            self._new.append(_json(part))
        return number

    def _eligibility(self, eligibility: dict[str, t.Any]) -> dict[str, t.Any]:
        checks = [self._part(check) for check in eligibility["checks"]]
        return {"policy": eligibility["policy"], "verdict": eligibility["verdict"], "checks": checks}

    def _patch(self, patch: dict[str, t.Any]) -> dict[str, t.Any]:
        fixes = patch.pop("fixes")
        closed = [fix["cve"] for fix in fixes if fix["patched"]]
        return {**patch, "closed": closed, "open": [fix["cve"] for fix in fixes if not fix["patched"]]}

    def _kernel_patches(self, patches: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        return {"modules": patches}

    def _assessment(self, assessment: dict[str, t.Any]) -> dict[str, t.Any]:
        # Its state is the host's.
        return {"reasons": assessment["reasons"], "reboot_needed": assessment["reboot_needed"]}

    def _as_it_is(self, section: dict[str, t.Any]) -> dict[str, t.Any]:
        return section


_PARTS: dict[str, t.Callable[[_Stream, t.Any], dict[str, t.Any]]] = {
    "assessment": _Stream._assessment,
    "eligibility": _Stream._eligibility,
    "patch": _Stream._patch,
    "kernel_patches": _Stream._kernel_patches,
    "collector": _Stream._as_it_is,
    "system": _Stream._as_it_is,
    "client": _Stream._as_it_is,
}


def _apart(text: str) -> tuple[tuple[str, ...], list[str], list[str | None]]:
    """Take what differs from host to host out of a section: the text around it, the names, and the values.

    Without these, parts of ``system`` and ``client`` would not be shared.
    """
    wanted = _OWN_OF.get(text[:_LONGEST_KEY])
    # Without a backslash, text has quotation marks around its strings only, so that names and values are just these.
    if wanted is None or "\\" in text:
        return (text,), [], []
    pieces = _OWN.split(text)
    names = pieces[1::3]
    if sorted(names) != wanted:
        return (text,), [], []
    return (*pieces[::3], *names), names, pieces[2::3]
