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
import hashlib
import html
import json
import re
import typing as t
from pathlib import Path

from .report import URGENCY, HostLine, Report
from .table import totals
from .text import visible

_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("fleet.js", "view.js", "charts.js", "table.js", "details.js", "main.js")
_PLACE = re.compile(r"@([a-z]+)@")
_RECENT = 64

_ENCODE = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_DECODER = json.JSONDecoder()
_MEMBER = re.compile(r'\s*[{,]\s*"((?:[^"\\]|\\.)*)"\s*:\s*')


def render(report: Report) -> t.Iterator[str]:
    """Yield the page. The second chunk holds the time of the report."""
    style = _source("page.css")
    script = "".join(_source(name) for name in _SCRIPTS)
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
    return (_PAGE / name).read_text(encoding="utf-8")


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


class _Known(t.NamedTuple):
    """A section of a record as it was written there, and the number of its part."""

    text: str
    number: int


class _Stream:
    """Writes hosts, and before each the parts that came with no host before it.

    A part is remembered by its digest, not by its text: in the worst fleet no two hosts have a part in common.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._states = {state: index for index, state in enumerate(URGENCY)}
        self._numbers: dict[bytes, int] = {}
        self._new: list[str] = []
        self._recent: dict[str, list[_Known]] = {name: [] for name in _SECTIONS}

    def host(self, line: HostLine) -> list[str]:
        """Return the new parts of a host and then the host, each as JSON."""
        findings = self._part({"findings": _findings(line.findings)}) if line.findings else None
        if line.document is None:
            members = self._unreachable(line)
        else:
            members = self._recorded(self._report.spool.read(line.document))
        row = _json([line.host, self._states[line.state], findings, *members])
        new, self._new = self._new, []
        return [*new, row]

    def _unreachable(self, line: HostLine) -> list[object]:
        last = line.last_record
        assessment = self._part({"reasons": line.reasons, "reboot_needed": None})
        times = (line.attempted_at, last.collected_at, last.state) if last else (line.attempted_at, None, None)
        return [assessment, *times]

    def _recorded(self, text: str) -> list[object]:
        found: dict[str, t.Any] = {}
        texts: dict[str, str] = {}
        place = 0
        while member := _MEMBER.match(text, place):
            key, begin = member[1], member.end()
            if "\\" in key:
                key = json.loads(f'"{key}"')
            known = self._known(key, text, begin)
            if known:
                found[key], place = known, begin + len(known.text)
            else:
                found[key], place = _DECODER.raw_decode(text, begin)
                texts[key] = text[begin:place]
        sections = [self._section(name, found[name], texts) for name in _SECTIONS]
        system, client = found["system"], found["client"]
        # These differ from host to host, and would keep the rest from being shared.
        system.pop("machine_id_sha256")
        booted_at, last_check = system["kernel"].pop("booted_at"), client.pop("last_check")
        shared = (self._part(part) for part in (system, client))
        return [*sections, *shared, found["collected_at"], booted_at, last_check]

    def _known(self, key: str, text: str, place: int) -> _Known | None:
        """Return the section that begins at this place of a record, if a host of late had the same."""
        # JSON says by itself where an object or a list ends: text that begins like a whole one is that one. To know
        # sections again so, and not parse them, saves most of the time of a large fleet.
        recent = self._recent.get(key, [])
        for index, known in enumerate(recent):
            if text.startswith(known.text, place):
                if index:
                    recent.insert(0, recent.pop(index))
                return known
        return None

    def _section(self, name: str, section: t.Any, texts: dict[str, str]) -> int:
        if isinstance(section, _Known):
            return section.number
        number = self._part(_SECTIONS[name](self, section))
        recent = self._recent[name]
        recent.insert(0, _Known(texts[name], number))
        del recent[_RECENT:]
        return number

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

    def _collector(self, collector: dict[str, t.Any]) -> dict[str, t.Any]:
        return collector

    def _assessment(self, assessment: dict[str, t.Any]) -> dict[str, t.Any]:
        # Its state is the host's.
        return {"reasons": assessment["reasons"], "reboot_needed": assessment["reboot_needed"]}


_SECTIONS: dict[str, t.Callable[[_Stream, t.Any], dict[str, t.Any]]] = {
    "assessment": _Stream._assessment,
    "eligibility": _Stream._eligibility,
    "patch": _Stream._patch,
    "kernel_patches": _Stream._kernel_patches,
    "collector": _Stream._collector,
}
