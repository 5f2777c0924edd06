# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as a table on a terminal."""

from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, State
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.table import render
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import RunContext
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import width
from tests.samples.changes import a_changed_report
from tests.samples.exposures import an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, HOSTILE, a_report, a_waived_report, hostile_record, recorded

SMALL = a_report(
    recorded(make_record("web1")),
    recorded(make_record("web2", "disabled", patch__version=None, patch__upgrade_required_by=None)),
    FailedAttempt("web3", "2026-01-11T00:00:00Z", [{"id": "x", "message": "refused", "remedy": "start sshd"}]),
)


def _text(report: Report, **layout: t.Any) -> str:
    return "".join(render(report, **layout))


def _fleet(protected: int, disabled: int = 0, kernels: int = 1) -> Report:
    healthy = (
        make_record(f"web{number}", system__kernel__full=f"4.4.0-{number % kernels}.1-generic")
        for number in range(protected)
    )
    ill = (make_record(f"db{number}", "disabled") for number in range(disabled))
    return a_report(*(recorded(record) for record in (*healthy, *ill)))


def test_the_most_urgent_host_comes_first() -> None:
    assert _text(SMALL) == (
        f"Livepatch report of {GENERATED_AT}\n"
        "\n"
        "HOST  STATE      KERNEL                 PATCH  CLIENT  UPGRADE BY  NEXT STEP\n"
        "web3  no_answer  -                      -      -       -           start sshd\n"
        "web2  disabled   4.4.0-168.197-generic  -      10.8.3  supported   Enable the client.\n"
        "web1  protected  4.4.0-168.197-generic  65.1   10.8.3  2026-06-01  Patch 65.1 is applied and confirmed.\n"
        "\n"
        "0 of 3 eligible hosts are protected (0%). 1 more was protected in a record that is older than 24 hours.\n"
        "3 hosts: 1 protected, 1 no_answer, 1 disabled.\n"
        "Policy: launch (2 hosts).\n"
        "Records of 2 of 3 hosts, collected 2026-01-10T06:00:00Z.\n"
        "\n"
        "To do (add the options of this run to the commands, such as -i and --become)\n"
        "  1 host (no_answer): refused\n"
        "    start sshd\n"
        "    then: ansible-playbook kernelops.livepatch.check --limit web3\n"
        "  1 host (disabled): The client is not enabled.\n"
        "    Enable the client.\n"
        "    then: ansible-playbook kernelops.livepatch.check --limit web2\n"
    )


def test_a_file_has_whole_names_and_next_steps() -> None:
    name = "ip-10-1-136-199.eu-central-1.compute.internal.example.com"
    remedy = "ansible-playbook kernelops.livepatch.upgrade --limit " + ",".join(f"web{number}" for number in range(60))
    attempt = FailedAttempt(name, "2026-01-11T00:00:00Z", [{"id": "x", "message": "refused", "remedy": remedy}])
    report = a_report(recorded(make_record("web1")), attempt)
    [line] = [line for line in _text(report).splitlines() if line.startswith("ip-")]
    assert line.split()[0] == name
    assert line.endswith(remedy)
    on_terminal = [line for line in _text(report, columns=180).splitlines() if name in line]
    assert all("--limit" in line for line in on_terminal), "only a command is wider than a terminal"


def test_a_narrow_terminal_wraps_the_next_step() -> None:
    assert _text(SMALL, columns=80).splitlines()[2:7] == [
        "HOST  STATE      KERNEL                 PATCH  CLIENT  UPGRADE BY",
        "web3  no_answer  -                      -      -       -",
        "    start sshd",
        "web2  disabled   4.4.0-168.197-generic  -      10.8.3  supported",
        "    Enable the client.",
    ]


@pytest.mark.parametrize("columns", [79, 80, 100, 120, 140, 180])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    names = [f"a-host-with-a-very-long-name-{state}.fleet.example.org" for state in STATES]
    records = [make_record(name, state) for name, state in zip(names, STATES, strict=True)]
    records += [make_record("web1", system__kernel__full="4.15.0-1023.23~16.04.1-azure-fips")]
    records += [hostile_record(text) for text in HOSTILE]
    report = a_report(*map(recorded, records))
    table = _text(report, columns=columns).split("\n\n")[1]
    assert max(map(width, table.splitlines())) <= columns
    assert all(state in table for state in STATES)


def test_an_unreachable_host_shows_its_last_contact() -> None:
    report = a_report(recorded(make_record(state="stale")), FailedAttempt("web1", "2026-01-11T00:00:00Z", []))
    assert "last seen 2026-01-10T06:00:00Z, stale; check that the host runs" in _text(report, columns=80)


def _exposing(host: str, state: State, docker: int | None, lxd: int | None = 0) -> Recorded:
    counts = {"docker": docker, "lxd": lxd, "podman": 0}
    return recorded(make_record(host, state, system__containers=counts))


def test_exposed_containers_are_shown_and_sorted() -> None:
    report = a_report(
        _exposing("web1", "disabled", 0),
        _exposing("web2", "disabled", 2),
        _exposing("web3", "disabled", 7, lxd=4),
        recorded(make_record("web4", "failed", system__containers={"docker": None, "lxd": None, "podman": None})),
        _exposing("web5", "protected", 90),
        _exposing("web6", "stale", 1),
        FailedAttempt("web6", "2026-01-11T00:00:00Z", []),
    )
    lines = _text(report).splitlines()
    assert lines[2].split()[:3] == ["HOST", "STATE", "CONTAINERS"]
    assert [line.split()[:3] for line in lines[3:9]] == [
        ["web6", "no_answer", "1"],
        ["web4", "failed", "unknown"],
        ["web3", "disabled", "11"],
        ["web2", "disabled", "2"],
        ["web1", "disabled", "-"],
        ["web5", "protected", "-"],
    ]
    assert "14 containers on 3 hosts run on a kernel that is not protected." in lines
    assert report.summary()["exposed_containers"] == 14


def test_colour_does_not_change_the_text() -> None:
    plain, coloured = _text(SMALL), _text(SMALL, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[32mprotected" in coloured
    assert re.sub(r"\x1b\[[0-9]+m", "", coloured) == plain
    assert coloured.count("\x1b[") == 2 * coloured.count("\x1b[0m"), "every colour ends"


def test_without_a_limit_every_host_is_shown() -> None:
    assert _text(_fleet(250)).count(" protected  ") == 250


def test_a_fleet_at_the_limit_is_complete() -> None:
    text = _text(_fleet(5), most=5, elsewhere="elsewhere")
    assert text.count(" protected  ") == 5
    assert "elsewhere" not in text


def test_a_large_fleet_groups_protected_hosts() -> None:
    text = _text(_fleet(250, disabled=3, kernels=2), most=200, elsewhere="The whole table is in /r/fleet.txt.")
    lines = text.splitlines()
    assert sum(line.startswith("db") for line in lines) == 3
    assert [line.split()[:4] for line in lines if line.startswith("125 hosts")] == [
        ["125", "hosts", "protected", "4.4.0-0.1-generic"],
        ["125", "hosts", "protected", "4.4.0-1.1-generic"],
    ]
    assert not any(line.startswith("web") for line in lines)
    assert "Not named: 250 protected hosts, grouped by kernel and patch." in lines
    assert "The whole table is in /r/fleet.txt." in lines
    assert "253 hosts: 250 protected, 3 disabled." in lines


def test_omitted_hosts_are_counted() -> None:
    lines = _text(_fleet(0, disabled=25), most=20, elsewhere="Elsewhere.").splitlines()
    assert sum(line.startswith("db") for line in lines) == 20
    assert "Not shown: 5 more hosts that are not protected (5 disabled)." in lines
    assert "Elsewhere." in lines


def test_the_size_of_groups_is_limited() -> None:
    lines = _text(_fleet(60, kernels=30), most=10).splitlines()
    assert sum("hosts" in line and " protected  " in line for line in lines) == 10
    assert "Not named: 20 protected hosts, grouped by kernel and patch, 40 on other kernels are not shown." in lines


def test_problems_are_listed_up_to_a_limit() -> None:
    problems = [Problem("invalid_json", f"/r/{number}.json", "cut off " * 30 + "END") for number in range(25)]
    text = _text(a_report(recorded(make_record()), *problems), columns=80)
    assert "25 problems" in text
    assert text.count("END\n") == 20
    assert text.endswith("and 5 more\n")


def test_unrequested_hosts_are_mentioned() -> None:
    report = a_report(recorded(make_record("web1")), recorded(make_record("db1")), hosts=["web1"])
    assert "1 more host has a record, and is not in this report, because it was not selected." in _text(report)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    report = a_report(recorded(hostile_record(text)), Problem("invalid_json", f"/r/{text}", text))
    for columns in (80, 140):
        shown = _text(report, columns=columns)
        shown.encode("utf-8")
        assert all(line.isprintable() for line in shown.split("\n"))
        ordinary = a_report(recorded(hostile_record("x")), Problem("invalid_json", "/r/x", "x"))
        assert shown.count("\n") == _text(ordinary, columns=columns).count("\n") + (
            _beside(_text(ordinary, columns=columns)) - _beside(shown)
        )


def _beside(table: str) -> bool:
    return "NEXT STEP" in table


def test_the_run_is_described() -> None:
    context = RunContext("Fleet of Berlin", "/srv/inventory", "kernelops.livepatch.check", "web*")
    text = _text(dataclasses.replace(SMALL, context=context))
    assert text.startswith(f"Fleet of Berlin, {GENERATED_AT}\n")
    assert (
        "\nPolicy: launch (2 hosts). Inventory: /srv/inventory. Playbook: kernelops.livepatch.check. Limit: web*.\n"
        in text
    )


def test_a_command_for_many_hosts_is_whole_in_a_file() -> None:
    report = _fleet(0, disabled=250)
    command = "ansible-playbook kernelops.livepatch.check --limit db0,db1,"
    [whole] = [line for line in _text(report).splitlines() if command in line]
    assert whole.count(",") == 249
    shown = _text(report, columns=100, most=200, elsewhere="See fleet.txt.")
    [first] = [line for line in shown.splitlines() if command in line]
    assert first.count(",") == 19
    assert "The first 20 of 250 hosts are named. See fleet.txt." in shown


def test_changes_follow_the_totals() -> None:
    for layout in ({}, {"columns": 80, "most": 200}):
        text = _text(a_changed_report(), **layout)
        assert "\nChanges\n  Since the report of " in text
        assert "\n    web1: protected -> failed: The patch could not be applied.\n" in text
    assert "Changes" not in _text(SMALL), "there is no earlier report"


def test_waivers_are_shown_with_their_end() -> None:
    text = "".join(render(a_waived_report()))
    assert "Waived: 3 findings, by 2 waivers." in text
    assert "Failed rules: not_protected (1)." in text
    assert "Waivers that expire within 14 days: rule seats_exceeded (2026-01-19, purchasing)." in text
    assert "Expired waivers, whose findings count again: host web2 (2026-01-11, web team)." in text
    assert "  build1: not_protected: it is disabled\n    Waived until 2026-03-01 by build team: rebuilt" in text


def test_open_vulnerabilities_have_a_column() -> None:
    text = "".join(render(an_exposed_report()))
    assert re.search(r"^HOST +STATE +CVES +KERNEL", text, re.MULTILINE)
    assert re.search(r"^web1 +exposed +1 critical, 1 high +4\.4\.0", text, re.MULTILINE)
    assert (
        "Open vulnerabilities: 1 critical, 2 high. Hosts by their most urgent status: 3 open, 1 unknown. "
        "Oldest package data: 2026-01-10.\n" in text
    )
