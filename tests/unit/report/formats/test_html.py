# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report page as text: its data, its content security policy, and the escaping of values from hosts."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import html.parser
import json
import re
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.rules import Rule
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.folder_store import load
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import table
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.html import render
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import FORMATS
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from tests.samples.changes import a_changed_report, compared
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, HOSTILE, a_report, a_waived_report, hostile_record, recorded

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


class Page(html.parser.HTMLParser):
    """A parsed page: its elements with their attributes, and the text of its style and script elements."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.text = "".join(render(report))
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.CDATA_CONTENT_ELEMENTS:
            self.raw.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            tag, text = self.raw[-1]
            self.raw[-1] = (tag, text + data)

    @property
    def style(self) -> str:
        return self.raw[0][1]

    @property
    def data(self) -> dict[str, t.Any]:
        document: dict[str, t.Any] = json.loads(self.raw[1][1])
        return document

    @property
    def script(self) -> str:
        return self.raw[2][1]

    @property
    def policy(self) -> dict[str, str]:
        (content,) = (
            attributes["content"]
            for _tag, attributes in self.elements
            if attributes.get("http-equiv") == "Content-Security-Policy"
        )
        assert content is not None
        return dict(directive.split(" ", 1) for directive in content.split("; "))


def records_of(page: Page) -> dict[str, dict[str, t.Any]]:
    """Return the records that the data of a page contains, without their schema and the identity of the machine."""
    states = page.data["states"]
    parts: list[dict[str, t.Any]] = []
    records = {}
    for item in page.data["stream"]:
        if isinstance(item, dict):
            parts.append(item)
            continue
        host, state, _findings, _groups, assessment, eligibility, patch, modules, collector, system, client, *times = (
            item
        )
        kernel = {**parts[system]["kernel"], "booted_at": times[1]}
        fixes = {key: value for key, value in parts[patch].items() if key not in ("closed", "open")}
        records[host] = {
            "host": host,
            "collected_at": times[0],
            "collector": parts[collector],
            "system": {**parts[system], "kernel": kernel},
            "eligibility": {
                **parts[eligibility],
                "checks": [parts[number] for number in parts[eligibility]["checks"]],
            },
            "client": {**parts[client], "last_check": times[2]},
            "patch": {
                **fixes,
                "fixes": [
                    *({"cve": cve, "patched": True} for cve in parts[patch]["closed"]),
                    *({"cve": cve, "patched": False} for cve in parts[patch]["open"]),
                ],
            },
            "kernel_patches": parts[modules]["modules"],
            "assessment": {**parts[assessment], "state": states[state]},
        }
    return records


def expected(record: Record) -> dict[str, t.Any]:
    """Return the keys of a record that a page must contain."""
    document: dict[str, t.Any] = copy.deepcopy(dict(record))
    del document["schema"], document["system"]["machine_id_sha256"]
    return document


def rule(identifier: str) -> Rule:
    return Rule(identifier, "error", "host", "x", "the host is well", "make it well")


def test_the_page_contains_every_record_in_full() -> None:
    records = [
        make_record("web1"),
        make_record("web2", "disabled", client__enabled=False, kernel_patches=[], patch__fixes=[]),
        make_record("web3", "stale", client__last_check="2026-01-07T00:00:00Z"),
        make_record("web4", "failed", eligibility__checks=[], system__kernel__booted_at=None),
        make_record("web5", collected_at="2026-01-10T07:00:00Z"),
    ]
    page = Page(a_report(*map(recorded, records)))
    assert records_of(page) == {record["host"]: expected(record) for record in records}
    assert [item[0] for item in page.data["stream"] if isinstance(item, list)] == [
        "web4",
        "web2",
        "web3",
        "web1",
        "web5",
    ]


def test_the_json_style_makes_no_difference(tmp_path: Path) -> None:
    record = make_record("web1", patch__version='}, "patch": {', client__server=', "client": {"last_check": "never"}')
    plain = json.dumps(record)
    kernel = {"booted_at": "never", "kernel": None}
    texts = [
        plain,
        json.dumps(record, indent=2) + "\n",
        json.dumps(record, indent=2, separators=(",", " :\n\t ")) + "\n",
        json.dumps(record, indent=2).replace("\n", "\r\n"),
        json.dumps(record, indent=4).replace("\n", ""),
        json.dumps(dict(reversed(record.items()))),
        plain.replace('"client":', '"\\u0063lient":'),
        json.dumps({"note": {"client": {}, "x": [{"patch": {}}, "\\"]}, **record}),
        json.dumps({"patch": 1})[:-1] + "," + plain[1:],
        '{\n  "patch": 1,\n  ' + plain[1:-1] + "\n}\n",
        json.dumps({**record, "system": {"more": kernel, **record["system"], "last": kernel}}, indent=2) + "\n",
        json.dumps(record, indent=2).replace('"booted_at"', '"booted\\u005fat"') + "\n",
    ]
    for text in texts:
        (tmp_path / "web1.json").write_text(text, encoding="utf-8")
        page = Page(a_report(*load([tmp_path])))
        found = records_of(page)
        for added in ("more", "last"):
            found["web1"]["system"].pop(added, None)
        assert found == {"web1": expected(record)}


def test_individual_values_stay_with_their_host() -> None:
    records = [
        make_record("web1", system__kernel__booted_at="2026-01-01T00:00:01Z", client__last_check="2026-01-02"),
        make_record("web2", system__kernel__booted_at="2026-01-01T00:00:03Z", client__last_check=None),
        make_record("web3", system__kernel__booted_at=None, client__last_check='"last_check": "x"'),
        make_record("web4", system__kernel__booted_at="2026-01-01T00:00:04Z", client__server='"last_check": "x"'),
        make_record("web5", system__kernel__booted_at='\\"', client__server='"last_check": "x"'),
    ]
    assert records_of(Page(a_report(*map(recorded, records)))) == {
        record["host"]: expected(record) for record in records
    }


def test_common_parts_are_written_once() -> None:
    records = [
        make_record(
            f"web{number}.example.com",
            system__machine_id_sha256=f"{number:064}",
            system__kernel__booted_at=f"2026-01-01T00:00:{number % 60:02}Z",
            client__last_check=f"2026-01-10T05:31:{number % 60:02}Z",
        )
        for number in range(300)
    ]
    one, many = (Page(a_report(*map(recorded, records[:size]))) for size in (1, 300))
    assert len(records_of(many)) == 300
    assert (len(many.text) - len(one.text)) / 299 < 150
    assert sum(isinstance(item, dict) for item in many.data["stream"]) == 8


def test_a_different_check_does_not_repeat_the_others() -> None:
    check = {"id": "network", "status": "fail", "found": None, "required": None, "remedy": None}
    shared = make_record()["eligibility"]["checks"]
    records = [
        make_record(f"web{number}", eligibility__checks=[*shared, {**check, "message": f"after {number} ms"}])
        for number in range(200)
    ]
    page = Page(a_report(*map(recorded, records)))
    assert records_of(page) == {record["host"]: expected(record) for record in records}
    assert page.text.count(shared[0]["message"]) == 1


def test_an_unreachable_host_has_its_last_contact() -> None:
    page = Page(
        a_report(
            recorded(make_record("web3", "stale", system__containers={"docker": 3, "lxd": 1, "podman": None})),
            FailedAttempt("web3", "2026-01-11T00:00:00Z", [{"id": "x", "message": "refused", "remedy": "start it"}]),
            hosts=["web3", "web4"],
        )
    )
    first, web3, second, web4 = page.data["stream"]
    assert first == {"reasons": [{"id": "x", "message": "refused", "remedy": "start it"}], "reboot_needed": None}
    assert web3 == ["web3", 0, None, None, 0, "2026-01-11T00:00:00Z", "2026-01-10T06:00:00Z", "stale", 4]
    assert second["reasons"][0]["message"] == "this host has no record"
    assert web4 == ["web4", 0, None, None, 1, None, None, None, None]
    assert page.data["states"][0] == "no_answer"


def test_rules_and_problems_are_in_the_page() -> None:
    report = a_report(
        recorded(make_record("web1")), recorded(make_record("web2")), Problem("x", "/r/a.json", "cut off")
    )
    lines = [report.lines[0], report.lines[1]._replace(findings=(("well", "it is not"),))]
    page = Page(dataclasses.replace(report, lines=lines, rules=(rule("well"),), fleet_findings=(("seats", "full"),)))
    assert page.data["problems"] == [{"id": "x", "path": "/r/a.json", "message": "cut off", "host": None}]
    keys = ("id", "severity", "description", "remedy", "of_fleet")
    assert page.data["rules"] == [{key: getattr(rule("well"), key) for key in keys}]
    assert page.data["fleet_findings"] == [{"rule": "seats", "message": "full"}]
    assert {"findings": [{"rule": "well", "message": "it is not"}], "waived": []} in page.data["stream"]
    found = {item[0]: item[2] for item in page.data["stream"] if isinstance(item, list)}
    assert found["web1"] is None
    assert isinstance(found["web2"], int)


def test_only_the_chunk_with_the_time_changes() -> None:
    report = a_report(recorded(make_record("web1")), recorded(make_record("web2", "failed")))
    first = list(render(report))
    second = list(render(dataclasses.replace(report, generated_at="2027-12-31T23:59:59Z")))
    place = FORMATS["html"].time_chunk
    assert place is not None
    assert (first[place], second[place]) == (GENERATED_AT, "2027-12-31T23:59:59Z")
    assert [*first[:place], *first[place + 1 :]] == [*second[:place], *second[place + 1 :]]
    assert GENERATED_AT not in "".join(first[place + 1 :])


def test_the_policy_allows_only_this_style_and_script() -> None:
    page = Page(a_report(recorded(make_record())))

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert page.policy == {
        "default-src": "'none'",
        "style-src": source(page.style),
        "script-src": source(page.script),
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    # The policy does not apply to elements before it.
    assert not re.search("<(style|script|link)", page.text.partition("Content-Security-Policy")[0])


def test_the_page_refers_to_no_other_address() -> None:
    page = Page(a_report())
    for _tag, attributes in page.elements:
        assert not attributes.keys() & {"src", "srcset", "action", "data", "style"}
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import|image-set", page.style)
    assert set(re.findall(r"\w+://[^\"'`\s]*", page.script)) <= {
        "http://www.w3.org/2000/svg",
        "https://github.com/kernelops/livepatch/blob/main/docs/guide/states.md",  # a link
    }
    # The script uses no function that turns text into markup or code.
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|fetch\("
    assert not re.search(ways, page.script)


@pytest.mark.parametrize("text", [*HOSTILE, "</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028"])
def test_a_value_from_a_host_is_never_markup(text: str) -> None:
    report = a_report(
        recorded(hostile_record(text)),
        FailedAttempt(f"gone{text}", GENERATED_AT, []),
        Problem("x", text, text, f"p{text}"),
    )
    harmless = a_report(
        recorded(make_record("web1", "failed")), FailedAttempt("web2", GENERATED_AT, []), Problem("x", "x", "x", "web3")
    )
    page, plain = Page(report), Page(harmless)
    assert page.elements == plain.elements
    assert (page.style, page.script) == (plain.style, plain.script)
    assert "<" not in page.raw[1][1]
    # Only the data and the text for browsers without scripts differ, and both are printable.
    assert all(line.isprintable() for line in page.text.split("\n"))
    (shown,) = (item for item in page.data["stream"] if isinstance(item, list) and item[0].startswith("evil"))
    assert shown[0] == f"evil{visible(text)}"


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_shown_as_visible_text(text: str, other: str) -> None:
    record = make_record("web1", "failed", client__version=text, assessment__reasons=[])
    record["eligibility"]["checks"][0]["message"] = other
    page = Page(a_report(recorded(record)))
    shown = records_of(page)["web1"]
    assert shown["client"]["version"] == visible(text)
    assert shown["eligibility"]["checks"][0]["message"] == visible(other)


def test_states_have_the_colours_of_the_terminal() -> None:
    (table_of_tones,) = re.findall(r"const STATE_TEXTS = \{(.*?)\n\};", Page(a_report()).script, re.DOTALL)
    tones = dict(re.findall(r"^  (\w+): \{.*?tone: \"(\w+)\"", table_of_tones, re.DOTALL | re.MULTILINE))
    coloured = "".join(table.render(a_report(*(recorded(make_record(s, s)) for s in STATES[1:])), colour=True))
    of_terminal = {state: code for code, state in re.findall(r"\x1b\[(\d+)m(\w+)", coloured) if state in STATES}
    assert set(tones) == set(STATES)
    assert len({(tones[state], of_terminal[state]) for state in STATES[1:]}) == len(set(of_terminal.values())) == 6


def test_the_page_has_waivers_and_waived_findings() -> None:
    data = Page(a_waived_report()).data
    assert [(each["scope"], each["status"], each["findings"]) for each in data["waivers"]] == [
        ("rule not_protected, group build", "active", 2),
        ("rule seats_exceeded", "expiring", 1),
        ("host web2", "expired", 0),
    ]
    assert [each["rule"] for each in data["fleet_waived"]] == ["seats_exceeded"]
    parts = [part for part in data["stream"] if isinstance(part, dict) and part.get("waived")]
    assert [each["rule"] for part in parts for each in part["waived"]] == ["not_protected", "not_protected"]


def test_changes_need_no_script() -> None:
    page = "".join(render(a_changed_report()))
    assert "<h3>No longer protected (1 host)</h3><ul><li>web1: protected -&gt; failed: The patch" in page
    assert "<h2>Changes</h2>" not in "".join(render(a_waived_report()))


@pytest.mark.parametrize("text", HOSTILE)
def test_changes_have_no_markup_of_hosts(text: str) -> None:
    def tags(text: str) -> list[str]:
        now = a_report(recorded(hostile_record(text)))
        changed = dataclasses.replace(now, changes=compared(a_report(), now))
        return [name for name, _attributes in Page(changed).elements]

    assert tags(text) == tags("x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"patch": {', '"patch":{'),
        ('"system": {', '"system":{'),
        ('"schema": ', '"schema" : '),
        ("{\n", '{\n  "a: b": 1,\n  "c\\": d": {"e": [": "]},\n'),
        ('"last_check": ', '"last_check":'),
        ('"client": {', '"client": { '),
    ],
)
def test_records_that_others_wrote_are_shown(tmp_path: Path, old: str, new: str) -> None:
    """They are valid, and have spaces or keys that this collection does not write."""
    text = "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in make_record("web1").items()) + "\n}\n"
    assert old in text
    (tmp_path / "web1.json").write_text(text.replace(old, new, 1))
    report = a_report(*load([tmp_path]))
    assert [line.host for line in report.lines if line.document] == ["web1"]
    for layout in FORMATS.values():
        assert "".join(layout.render(report))
