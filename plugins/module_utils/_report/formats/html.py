# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as one self-contained HTML page that shows every host in full.

The page consists of the files in ``page/`` and of the report's data as JSON. Its script shows values from hosts only as
text. Its content security policy runs no other script and forbids all requests.

Hosts of a fleet have most of their data in common, so each common part is written once. The JSON has a ``stream`` of
parts (objects) and hosts (lists). Parts are numbered from 0 in their order in the stream. A host comes after its parts
and refers to them by number. ``page/types.d.ts`` describes the types.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
import typing as t
from pathlib import Path

from ..._fleet.rules import Finding, Rule
from ..._fleet.waivers import WaivedFinding, Waiver
from ..._records.spool import DocumentKind, SpoolPosition, text_of
from ..._text import visible
from ..changes.model import MOST
from ..changes.wording import headline, sections, short
from ..exposure_page import exposure_page
from ..report import URGENCY, HostLine, Report
from .table import totals

PAGE = Path(__file__).parents[1] / "page"
# These files become one script with one scope. Code outside of functions can only use the files before its own.
SCRIPTS = (
    "elements.js",
    "states.js",
    "data.js",
    "vulnerabilities.js",
    "filter.js",
    "export.js",
    "overview.js",
    "summary.js",
    "charts.js",
    "history.js",
    "hosts_table.js",
    "host_details.js",
    "controls.js",
)
_ABSENT = "-"
_HOSTS_WITHOUT_SCRIPT = 200
_HEADINGS_WITHOUT_SCRIPT = ("Host", "State", "Release", "Kernel", "Patch", "Why", "Next step")
_PLACE = re.compile(r"@([a-z]+)@")
_MAX_KNOWN = 512

_BOOTED_AT, _LAST_CHECK = ("system", "booted_at"), ("client", "last_check")

_ENCODE = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def render(report: Report) -> t.Iterator[str]:
    """Yield the page. The second chunk holds the time of the report."""
    style = _source("page.css")
    script = "".join(_source(name) for name in SCRIPTS)
    contents: dict[str, t.Iterable[str]] = {
        "policy": [_policy(style, script)],
        "style": [style],
        "time": [html.escape(report.generated_at)],
        "title": [html.escape(visible(report.context.title))],
        "summary": _without_script(report),
        "changes": _changes(report),
        "data": _data(report),
        "script": [script],
    }
    text, *places = _PLACE.split(_source("page.html"))
    for name, after in zip(places[::2], places[1::2], strict=True):
        if name in ("time", "data"):
            yield text
            yield from contents[name]
            text = after
        else:
            text += "".join(contents[name]) + after
    yield text


def _changes(report: Report) -> t.Iterator[str]:
    """Yield a section without a script: a page without JavaScript has it too."""
    if report.changes is None:
        return
    yield f'<section id="changes" aria-label="Changes"><h2>Changes</h2><p>{html.escape(headline(report.changes))}</p>'
    found = sections(report.changes, MOST)
    yield f"<details><summary>{html.escape(short(report.changes) or 'Notes')}</summary>" if found else ""
    for section in found:
        yield f"<h3>{html.escape(section.heading)}</h3><ul>"
        yield from (f"<li>{html.escape(entry)}</li>" for entry in section.entries)
        yield f"<li>and {section.left_out} more</li></ul>" if section.left_out else "</ul>"
    yield "</details></section>" if found else "</section>"


def _without_script(report: Report) -> t.Iterator[str]:
    """Yield what the page shows where no script runs, as in the preview of a mail."""
    yield "".join(f"<p>{_text(sentence)}</p>" for sentence in totals(report))
    wanting = [line for line in report.lines if line.state not in ("protected", "ineligible")]
    if wanting:
        more = f", the first {_HOSTS_WITHOUT_SCRIPT} of {len(wanting)}" if len(wanting) > _HOSTS_WITHOUT_SCRIPT else ""
        heads = "".join(f'<th scope="col">{heading}</th>' for heading in _HEADINGS_WITHOUT_SCRIPT)
        yield f"<h2>Eligible hosts that are not protected{more}</h2>"
        yield f'<div class="scrollable"><table class="plain-table"><thead><tr>{heads}</tr></thead><tbody>'
        yield from map(_row, wanting[:_HOSTS_WITHOUT_SCRIPT])
        yield "</tbody></table></div>"
    yield "<p>Enable JavaScript to see all hosts, charts and details.</p>"


def _row(line: HostLine) -> str:
    state = line.state.replace("_", " ")
    cells = (state, line.release, line.kernel_name, line.patch_version, line.message, line.next_step)
    return f'<tr><th scope="row">{_text(line.host)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in cells)}</tr>'


def _text(value: str | None) -> str:
    return html.escape(visible(value)) if value else _ABSENT


def _source(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a policy that allows this style and this script only: no requests, and no text that becomes markup."""
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


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "severity": rule.severity,
        "description": rule.description,
        "remedy": rule.remedy,
        "of_fleet": rule.of_fleet,
    }


def _data(report: Report) -> t.Iterator[str]:
    summary = report.summary()
    head = {
        "states": URGENCY,
        "title": report.context.title,
        "inventory": report.context.inventory,
        "limit": report.context.limit,
        "group_keys": report.group_keys,
        "oldest_record": summary["oldest_record"],
        "newest_record": summary["newest_record"],
        "left_out": report.left_out,
        "covered_by_other_policies": report.covered_by_other_policies(),
        "problems": [problem.as_dict() for problem in report.problems],
        "rules": [_rule(rule) for rule in report.rules],
        "fleet_findings": _findings(report.fleet_findings),
        "fleet_waived": _waived(report.fleet_waived),
        "waivers": [_waiver(report, waiver, number) for waiver, number in report.findings_by_waiver()],
        "vulnerabilities": _vulnerabilities(report),
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


def _vulnerabilities(report: Report) -> dict[str, t.Any] | None:
    if report.exposure is None:
        return None
    return exposure_page(report.exposure, {line.host: place for place, line in enumerate(report.lines)})


def _findings(findings: t.Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"rule": rule, "message": message} for rule, message in findings]


def _waived(findings: t.Iterable[WaivedFinding]) -> list[dict[str, str]]:
    return [{"rule": each.rule, "message": each.message, "waiver": each.waiver.justification} for each in findings]


def _waiver(report: Report, waiver: Waiver, findings: int) -> dict[str, t.Any]:
    status = waiver.status(report.waivers.today) if report.waivers else None
    dated = {"expires": waiver.expires.isoformat(), "status": status, "findings": findings}
    return {"scope": waiver.scope, "reason": waiver.reason, "owner": waiver.owner, **dated}


def _json(value: object) -> str:
    return _escape(_ENCODE(_visible(value)))


def _escape(text: str) -> str:
    # Without "<", the text cannot end the script element that contains it, and cannot start a comment.
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
    """A section without the individual values of a host: its key, and the number of its part."""

    key: str
    number: int


class _PartsOfKind(t.NamedTuple):
    """The parts of all records of a kind in the order of `_PARTS`, and the places of two values among the values."""

    numbers: t.Sequence[int]
    booted_at: int
    last_check: int


class _Stream:
    """Encodes hosts, each after the parts that no earlier host has.

    Parts are recognized by their digest. Their text would need much memory in a fleet without common parts.

    Most sections are not parsed: records of one kind have the same parts, and so have equal sections of two kinds.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._states = {state: index for index, state in enumerate(URGENCY)}
        self._numbers: dict[bytes, int] = {}
        self._new: list[str] = []
        self._kinds: dict[DocumentKind, _PartsOfKind] = {}
        self._sections: dict[tuple[str, ...], _Part] = {}
        self._findings_part = functools.lru_cache(_MAX_KNOWN)(self._findings)

    def host(self, line: HostLine) -> list[str]:
        """Return the new parts of a host and then the host, each as JSON."""
        findings = self._findings_part(line.findings, line.waived) if line.findings or line.waived else None
        members = self._without_record(line) if line.document is None else self._recorded(line, line.document)
        groups = self._part({"groups": dict(line.groups)}) if line.groups else None
        row = _escape(_ENCODE([visible(line.host), self._states[line.state], findings, groups, *members]))
        new, self._new = self._new, []
        return [*new, row]

    def _findings(self, findings: tuple[Finding, ...], waived: tuple[WaivedFinding, ...]) -> int:
        return self._part({"findings": _findings(findings), "waived": _waived(waived)})

    def _without_record(self, line: HostLine) -> list[object]:
        assessment = self._part({"reasons": line.reasons, "reboot_needed": None})
        return [
            assessment,
            *map(_visible, (line.attempted_at, *(line.last_record or (None, None)))),
            line.containers,
        ]

    def _recorded(self, line: HostLine, document: SpoolPosition) -> list[object]:
        kind, values = self._report.spool.parts(document)
        known = self._kinds.get(kind) or self._parts_of_kind(kind)
        if known is not None:
            numbers, booted_at, last_check = known
            times = text_of(values[booted_at]), text_of(values[last_check])
        else:
            numbers, times = self._parts_of_record(json.loads(kind.document(values)))
        return [*numbers, *[time and visible(time) for time in (line.collected_at, *times)], line.patch_runs]

    def _parts_of_kind(self, kind: DocumentKind) -> _PartsOfKind | None:
        """Return the parts of a kind, or None if a section is a value as a whole, so that each record has its own."""
        names = kind.value_names
        if not {_BOOTED_AT, _LAST_CHECK} <= set(names) or any((key, key) in names for key in _PARTS):
            return None
        parts = [self._sections.get(section) or self._part_of_section(section) for section in kind.sections]
        numbers = dict(parts)
        if len(self._kinds) >= _MAX_KNOWN:
            self._kinds.clear()
        found = _PartsOfKind([numbers[key] for key in _PARTS], names.index(_BOOTED_AT), names.index(_LAST_CHECK))
        self._kinds[kind] = found
        return found

    def _part_of_section(self, section: tuple[str, ...]) -> _Part:
        [(key, value)] = json.loads(f"{{{'null'.join(section)}}}").items()
        number = self._part(_PARTS[key](self, value)) if key in _PARTS else -1
        if len(self._sections) >= _MAX_KNOWN:
            self._sections.clear()
        part = self._sections[section] = _Part(key, number)
        return part

    def _parts_of_record(self, record: dict[str, t.Any]) -> tuple[list[int], tuple[str | None, str | None]]:
        times = record["system"]["kernel"]["booted_at"], record["client"]["last_check"]
        return [self._part(make(self, record[key])) for key, make in _PARTS.items()], times

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
        patch.pop("kernel", None)  # the page shows the running kernel
        closed = [fix["cve"] for fix in fixes if fix["patched"]]
        return {**patch, "closed": closed, "open": [fix["cve"] for fix in fixes if not fix["patched"]]}

    def _kernel_patches(self, patches: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        return {"modules": patches}

    def _assessment(self, assessment: dict[str, t.Any]) -> dict[str, t.Any]:
        # The row of the host contains the state.
        return {"reasons": assessment["reasons"], "reboot_needed": assessment["reboot_needed"]}

    def _system(self, system: dict[str, t.Any]) -> dict[str, t.Any]:
        system.pop("machine_id_sha256")
        system.pop("groups", None)  # the row of the host has them
        system["kernel"].pop("booted_at")
        system["kernel"].pop("packages", None)  # a long list that the page does not show
        return system

    def _client(self, client: dict[str, t.Any]) -> dict[str, t.Any]:
        client.pop("last_check")
        return client

    def _unchanged(self, section: dict[str, t.Any]) -> dict[str, t.Any]:
        return section


_PARTS: dict[str, t.Callable[[_Stream, t.Any], dict[str, t.Any]]] = {
    "assessment": _Stream._assessment,
    "eligibility": _Stream._eligibility,
    "patch": _Stream._patch,
    "kernel_patches": _Stream._kernel_patches,
    "collector": _Stream._unchanged,
    "system": _Stream._system,
    "client": _Stream._client,
}
