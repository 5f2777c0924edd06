# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Readers of what operators write: policies, rules, waivers, and values of variables.

These people are trusted, but a mistake must be an error that names its place, and rules read the texts of hosts.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import typing as t
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import parse_policy
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet import waves, window
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.rules import (
    Rule,
    RuleError,
    RuleSet,
    host_facts,
    rules_from_list,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import load_waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import rule_evaluation
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.values import CHECKS, value_faults
from tests.fuzz.target import ALIASES, AcceptedForgeryError, Target, json_bytes
from tests.samples.facts import SHIPPED
from tests.samples.records import make_record

_NOW = dt.datetime(2026, 3, 1, 4, 0, tzinfo=dt.timezone.utc)
_RECORD = make_record("web1")
_LONGEST_WAIVER = 2000  # characters of a sentence in a report


def read_policy(data: bytes, _folder: Path) -> None:
    parse_policy(data.decode("utf-8", "replace"), "policy.yml")


def read_rules(data: bytes, folder: Path) -> None:
    (folder / "rules.yml").write_bytes(data)
    _evaluate(rule_evaluation.load_rules([str(folder / "rules.yml")], []))


def read_expression(data: bytes, _folder: Path) -> None:
    """Read the expression of a rule for hosts, and of one for the fleet."""
    for scope in ("host", "fleet"):
        rule = {"id": "a", "scope": scope, "expression": data.decode("utf-8", "replace"), "message": "m"}
        with contextlib.suppress(RuleError):
            _evaluate(rules_from_list([rule], "rules"))


def _evaluate(found: list[Rule]) -> None:
    rules = RuleSet(found)
    rules.broken_by_host({**_RECORD, "open_cves": []}, host_facts(_RECORD, _NOW))
    rules.broken_by_fleet(
        {"hosts": 2, "states": {"protected": 2}, "enabled": 1, "seats": None, "clones": [{"host": "a", "found": "b"}]}
    )


def read_waivers(data: bytes, folder: Path) -> None:
    """Read waivers, and use them for hosts and for the fleet. An expired one must not cover anything."""
    (folder / "waivers.yml").write_bytes(data)
    found = load_waivers(folder / "waivers.yml", _NOW.date(), groups={"db": ["web1", "web2"]}, rules=("stale", "old"))
    for sentence in (*found.warnings(), *(each.justification for each in found.entries[:10])):
        if len(sentence) > _LONGEST_WAIVER * 5:
            raise AcceptedForgeryError(f"a sentence has {len(sentence)} characters")
    for host in ("web1", "web9", None):
        for rule, cve in (("stale", None), (None, "CVE-2024-1086"), ("CVE-2024-1086", None)):
            waiver = found.find(host, rule=rule, cve=cve)
            if waiver is None:
                continue
            if waiver.expires < _NOW.date():
                raise AcceptedForgeryError("an expired waiver covers a finding")
            if waiver.host not in (None, host) or (waiver.group and host not in ("web1", "web2")):
                raise AcceptedForgeryError("a waiver covers the finding of another host")
            waiver.as_dict()


def read_variables(data: bytes, _folder: Path) -> None:
    """Check the values of variables. A fault is one text for each."""
    document = json.loads(data)
    if not isinstance(document, dict):
        return
    for name, value in document.items():
        # Values have the right type when they are checked.
        if name in CHECKS and isinstance(value, type(_VARIABLES[name])):
            for fault in value_faults(name, value):
                str(fault)


def read_times_and_waves(data: bytes, _folder: Path) -> None:
    """Read a window, a freeze, canaries and the sizes of waves, each on a line."""
    lines = [*data.decode("utf-8", "replace").split("\n"), "", "", "", ""]
    known = ("web1", "web2", "3")
    for read in (
        lambda: window.window_open(lines[0], _NOW, lines[1]),
        lambda: waves.read_canaries(lines[2], known),
        lambda: waves.plan_waves(
            [waves.Candidate(name) for name in known], canaries=1, serial=lines[3].split(","), groups_down={}
        ),
    ):
        try:
            read()
        except (window.WindowError, waves.WavesError) as error:
            str(error)


_RULES = b"""\
- id: old
  severity: error
  expression: hours_since_record > `24`
  message: the record is {hours_since_record} hours old
- id: fleet
  scope: fleet
  expression: "clones[?contains(host, 'a')] | [0] || max([hosts, enabled]) > `5`"
  message: "{hosts} hosts"
"""
_EXPRESSIONS = (
    b"hours_since_record > `24` || state != 'protected'",
    b"length(patch.fixes[?patched] | [0:2:1]) > `0` && ceil(to_number('1.5')) == `2`",
    b"floor(to_number(host)) == `1` || contains(system.groups, 'db') || sort_by(patch.fixes, &cve)[0].cve == `\"x\"`",
    b"clones[?contains(host, 'a')] | [0] || max([hosts, enabled]) > `5` || to_number('nan') > `0`",
    b"{a: not_null(patch.version, 'x'), b: avg([`1`, `2`]), c: join(',', ['a'])}",
)
_WAIVERS = [
    {"cve": "CVE-2024-1086", "group": "db", "reason": "no users", "owner": "ops", "expires": "2026-03-05"},
    {"rule": "stale", "host": "web1", "reason": "is rebuilt", "owner": "build team", "expires": "2027-12-31"},
    {"rule": "old", "reason": "is known", "owner": "ops", "expires": "2026-02-28"},
]
_WAIVERS_YAML = b"- cve: CVE-2024-1086\n  reason: no users\n  owner: ops\n  expires: 2026-03-05\n"
_VARIABLES: dict[str, t.Any] = {
    "livepatch_answer_timeout": 120,
    "livepatch_ca_path": "/etc/ssl/ca.pem",
    "livepatch_closed_cves": ["CVE-2024-1086"],
    "livepatch_config": {"http-proxy": "http://u:p@proxy:3128", "check-interval": "60", "cutoff-date": "2026-01-01"},
    "livepatch_cve": ["CVE-2024-1086"],
    "livepatch_freeze": ["2026-12-24", "2026-12-20..2027-01-05"],
    "livepatch_max_fail_percentage": 10.0,
    "livepatch_notices": "/srv/notices",
    "livepatch_post_tasks": "tasks.yml",
    "livepatch_pre_tasks": "~/tasks.yml",
    "livepatch_proxy": "http://u:p@proxy:3128",
    "livepatch_retention": 30,
    "livepatch_rules": ["default", "~/rules.yml"],
    "livepatch_serial": [1, "10%"],
    "livepatch_server": "https://livepatch.example.com",
    "livepatch_timeout": 5,
    "livepatch_vulnerability_data": ["https://u:p@example.com/", "~/data"],
    "livepatch_window": ["Mon-Fri 22:00-04:00 Europe/Berlin"],
}
_TIMES = (
    b"Mon-Fri 22:00-04:00 Europe/Berlin; Sat,Sun 00:00-24:00\n2026-12-24, 2026-12-20..2027-01-05\nweb1,web2\n1,10%",
    b"22:00-04:00@UTC\n\n3\n5",
)

OPERATOR_TARGETS: dict[str, Target] = {
    "policy": Target(
        (*((SHIPPED / f"{name}.yml").read_bytes() for name in ("launch", "current")), ALIASES), read_policy
    ),
    "rules": Target((_RULES, ALIASES), read_rules),
    "expressions": Target(_EXPRESSIONS, read_expression, ()),
    "waivers": Target((json_bytes(_WAIVERS), _WAIVERS_YAML, ALIASES), read_waivers),
    "variables": Target((json_bytes(_VARIABLES),), read_variables, (ValueError, RecursionError)),
    "times": Target(_TIMES, read_times_and_waves, ()),
}
