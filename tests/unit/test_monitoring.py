# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The alert rules and the dashboards: they use metrics of the report, and have descriptions.

tests/unit/records/postgresql/test_dashboard.py runs the queries of the dashboard of a store.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.rules import Finding
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import prometheus
from tests.samples.exposures import an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import RULES as RULES_OF_REPORT
from tests.samples.reports import recorded

MONITORING = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
ALERTS = MONITORING / "alerts.yml"
DASHBOARD: dict[str, t.Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
STORE_DASHBOARD = json.loads((MONITORING / "grafana-dashboard-postgresql.json").read_text(encoding="utf-8"))
RULES: list[dict[str, t.Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
EXPOSED = an_exposed_report(
    recorded(make_record("web1")),
    recorded(make_record("web2", "tampered")),
    FailedAttempt("web3", "2026-01-11T00:00:00Z", []),
).with_waivers(Waivers())
REPORT = dataclasses.replace(EXPOSED, rules=RULES_OF_REPORT, group_keys=("group",)).with_findings(
    [("web2", Finding("not_protected", "m"))]
)
METRICS = "".join(prometheus.render(REPORT))
_FETCHED = Path(__file__).resolve().parents[2] / ".build" / "tools" / "promtool"
PROMTOOL = shutil.which("promtool") or shutil.which(_FETCHED)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool on PATH, and none could be fetched")


def _expressions() -> list[str]:
    variables = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]
    targets = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [rule["expr"] for rule in RULES] + targets + variables


def _promtool(*words: str, text: str = "", codes: tuple[int, ...] = (0,)) -> str:
    assert PROMTOOL is not None
    ended = subprocess.run([PROMTOOL, *words], input=text, capture_output=True, text=True, check=False)
    assert ended.returncode in codes, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("expression", _expressions())
def test_queried_metrics_are_in_the_report(expression: str) -> None:
    written = set(re.findall(r"^# TYPE (\S+) gauge$", METRICS, re.MULTILINE))
    asked_for = set(re.findall(r"livepatch_\w+", expression))
    assert asked_for
    assert asked_for <= written
    for metric, labels in re.findall(r"(livepatch_\w+)\{([^}]*)\}", expression):
        series = re.search(rf"^{metric}\{{(.*)\}}", METRICS, re.MULTILINE)
        assert series
        names = set(re.findall(r'(\w+)="', series[1]))
        # Prometheus adds the label instance.
        assert set(re.findall(r"(\w+)\s*[=!]~?", labels)) <= names | {"instance"}
    for words in re.findall(r'state!?=~?"([^"$]*)"', expression):
        assert set(words.split("|")) <= set(STATES)


def test_the_documented_metrics_match_the_report() -> None:
    table = (MONITORING / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(livepatch_\w+)`", table, re.MULTILINE) == re.findall(
        r"^# TYPE (\S+)", METRICS, re.MULTILINE
    )


def test_every_alert_has_summary_and_remedy() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")


@pytest.mark.parametrize("dashboard", [DASHBOARD, STORE_DASHBOARD], ids=["prometheus", "postgresql"])
def test_dashboard_panels_are_unique_and_separate(dashboard: dict[str, t.Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        rows, columns = range(place["y"], place["y"] + place["h"]), range(place["x"], place["x"] + place["w"])
        cells = {(row, column) for row in rows for column in columns}
        assert columns.stop <= 24
        assert not cells & taken
        taken |= cells
        assert panel["description"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_dashboards_differ_and_let_choose_their_source() -> None:
    assert DASHBOARD["uid"] != STORE_DASHBOARD["uid"]
    assert DASHBOARD["title"] != STORE_DASHBOARD["title"]
    for dashboard, kind in ((DASHBOARD, "prometheus"), (STORE_DASHBOARD, "postgres")):
        source, *others = dashboard["templating"]["list"]
        assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", kind)
        used = [each["datasource"] for each in (*others, *dashboard["panels"])]
        used += [target["datasource"] for panel in dashboard["panels"] for target in panel["targets"]]
        assert all(each == {"type": kind, "uid": "${datasource}"} for each in used)


@needs_promtool
def test_promtool_accepts_alerts_and_metrics() -> None:
    _promtool("check", "rules", str(ALERTS))
    assert _promtool("check", "metrics", text=METRICS) == ""


@needs_promtool
def test_the_alerts_fire_correctly(tmp_path: Path) -> None:
    firing = {
        "LivepatchTampered": 'livepatch_host_state{host="a",state="tampered"}',
        "LivepatchFailed": 'livepatch_host_state{host="a",state="failed"}',
        "LivepatchHeldBack": 'livepatch_host_state{host="a",state="held_back"}',
        "LivepatchUpgradeRequired": 'livepatch_host_state{host="a",state="end_of_life"}',
        "LivepatchHostUnreachable": 'livepatch_host_state{host="a",state="no_answer"}',
        "LivepatchExposed": 'livepatch_host_state{host="a",state="exposed"}',
        "LivepatchVulnerabilityOverdue": 'livepatch_host_overdue_cves{host="a"}',
        "LivepatchVulnerabilityDataOld": "livepatch_vulnerability_data_timestamp_seconds",
        "LivepatchUpgradeDue": 'livepatch_upgrade_required_by_timestamp_seconds{host="a"}',
        "LivepatchCheckOld": 'livepatch_last_check_timestamp_seconds{host="a"}',
        "LivepatchReportOld": 'livepatch_record_timestamp_seconds{host="a",instance="i"}',
        "LivepatchRuleBroken": 'livepatch_rule_findings{rule="r",severity="error"}',
    }
    assert set(firing) == {rule["alert"] for rule in RULES}
    well = ['livepatch_host_state{host="b",state="protected"}', 'livepatch_rule_findings{rule="w",severity="warning"}']
    counted = {"state=": "1x300", "findings": "1x300", "overdue": "1x300", "timestamp": "0x300"}
    series = [
        {"series": name, "values": next(values for part, values in counted.items() if part in name)}
        for name in (*firing.values(), *well)
    ]
    queries = [
        {
            "expr": f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})',
            "eval_time": "10d",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}],
        }
        for name in firing
    ]
    document = {
        "rule_files": [str(ALERTS)],
        # The shortest time for which a condition must hold.
        "evaluation_interval": "1h",
        "tests": [{"interval": "1h", "input_series": series, "promql_expr_test": queries}],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    _promtool("test", "rules", str(path))
