# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The queries of the Grafana dashboard of a store, on a real server, as the role that only reads."""

from __future__ import annotations

import datetime
import json
import re
import typing as t
from pathlib import Path

import psycopg
import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import attempt_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_store import open_history
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import records
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.runs import Run
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import CveCounts, Kind, Sighting
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time, to_microseconds
from tests.samples.records import make_record
from tests.samples.stores import DatabaseRoles

FILE = Path(__file__).resolve().parents[4] / "docs" / "monitoring" / "grafana-dashboard-postgresql.json"
DASHBOARD: dict[str, t.Any] = json.loads(FILE.read_text(encoding="utf-8"))
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
GOOD, BAD, NEVER = Kind("protected", "4.4", "16.04", "65.1"), Kind("failed", "4.4"), Kind("ineligible")


def ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


def expand(query: str, days: float = 30) -> str:
    """Replace the macros and variables as Grafana does, for the last days and an interval of an hour."""
    begin, end = (f"'{time:%Y-%m-%dT%H:%M:%SZ}'" for time in (ago(days), NOW + datetime.timedelta(minutes=1)))
    query = query.replace("$__interval", "1h").replace("$__timeFrom()", begin).replace("$__timeTo()", end)
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {begin} AND {end}", query)
    query = re.sub(r"\$__timeGroup\((\w+), 1h\)", r"floor(extract(epoch from \1)/3600)*3600", query)
    query = query.replace("$state", ",".join(f"'{state}'" for state in STATES))
    assert "$" not in query
    return query


def fill(roles: DatabaseRoles) -> None:
    """Store a fleet of four hosts with a past."""
    known = [make_record(f"web{number}", state) for number, state in ((1, "protected"), (2, "failed"))]
    known.append(make_record("old1", "ineligible"))
    for record, days in zip(known, (0.1, 0.1, 3), strict=True):
        record["collected_at"] = format_time(ago(days))
    attempts = [attempt_of("gone1", format_time(ago(0.1)), [])]
    records.put(roles.writer, known, attempts, Run("run-1", ago(0.1), "awx@controller", "web*"))
    past = [
        *[("web1", 5.0, BAD), ("web1", 4.0, GOOD), ("web1", 0.1, GOOD)],
        *[("web2", 5.0, GOOD), ("web2", 0.1, BAD)],
        *[("old1", 6.0, NEVER), ("old1", 3.0, NEVER), ("lost1", 9.0, GOOD), ("lost1", 8.0, GOOD)],
    ]
    history = open_history(roles.writer)
    history.add_sightings(Sighting(host, to_microseconds(ago(days)), kind) for host, days, kind in past)
    for days, counts in ((2, {"high": 1}), (1, {"critical": 1, "high": 2, "low": 7})):
        open_cves = {f"CVE-2031-{number}": "high" for number in range(counts["high"])}
        history.add_counts(CveCounts(to_microseconds(ago(days)), 4, 0, counts), open_cves)


Rows = dict[str, list[dict[str, t.Any]]]


def ask(roles: DatabaseRoles, days: float = 30) -> Rows:
    """Return the rows of each panel and each variable."""
    queries = {panel["title"]: target["rawSql"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
    queries |= {f"${each['name']}": each["query"] for each in DASHBOARD["templating"]["list"] if "definition" in each}
    with psycopg.connect(roles.reader.url, autocommit=True, row_factory=psycopg.rows.dict_row) as database:
        database.execute("SET default_transaction_read_only = on")
        return {title: database.execute(expand(query, days).encode()).fetchall() for title, query in queries.items()}


def test_every_query_gives_rows_to_the_reader(roles: DatabaseRoles) -> None:
    fill(roles)
    found = ask(roles)
    assert {title for title, rows in found.items() if not rows} == set()
    assert found["Hosts"] == [{"hosts": 4}]
    assert found["Protected of eligible hosts"] == [{"protected": pytest.approx(1 / 3)}]
    assert found["No record of the last day"] == [{"hosts": 2}]
    assert found["Tampered"] == [{"hosts": 0}]
    assert found["Open critical and high vulnerabilities"] == [{"open": 3}]
    assert {row["state"]: row["hosts"] for row in found["Hosts by state"]} == dict.fromkeys(
        ("protected", "failed", "ineligible", "no_answer"), 1
    )
    assert [(row["critical"], row["high"]) for row in found["Open critical and high vulnerabilities over time"]] == [
        (0, 1),
        (1, 2),
    ]
    assert sum(row["hosts"] for row in found["Patch versions"]) == 4
    assert sum(row["hosts"] for row in found["Kernels"]) == 4
    unprotected = {row["host"]: row["next_step"] for row in found["Hosts that are not protected"]}
    assert unprotected == {"gone1": None, "web2": "Read the log of the client."}
    assert [row["host"] for row in found["Hosts without a record of the last day"]] == ["gone1", "old1"]
    assert [row["name"] for row in found["Oldest open vulnerabilities"]] == ["CVE-2031-0", "CVE-2031-1"]
    [run] = found["Last runs"]
    assert (run["run_by"], run["host_limit"], run["hosts"]) == ("awx@controller", "web*", 3)
    assert [row["state"] for row in found["$state"]] == ["failed", "ineligible", "no_answer", "protected"]


@pytest.mark.parametrize("days", [30, 4.5, 0.05])
def test_the_past_has_the_hosts_of_each_time(roles: DatabaseRoles, days: float) -> None:
    fill(roles)
    rows = ask(roles, days)["Protected and eligible hosts over time"]

    def at(days_ago: float) -> tuple[int, int]:
        time = ago(days_ago).timestamp()
        row = [row for row in rows if row["time"] <= time][-1]
        return int(row["protected"]), int(row["eligible"])

    # lost1 until a day after its last record; web1 and web2 change places; old1 is ineligible.
    expected = {8.5: (1, 1), 6.5: (0, 0), 4.3: (1, 2), 3.5: (2, 2), 0.0: (1, 2)}
    assert {time: at(time) for time in expected if time <= days} == {
        time: counts for time, counts in expected.items() if time <= days
    }
    assert [row["time"] for row in rows] == sorted({row["time"] for row in rows})


def test_an_empty_store_has_no_errors(roles: DatabaseRoles) -> None:
    found = ask(roles)
    assert found["Hosts"] == [{"hosts": 0}]
    assert found["Protected of eligible hosts"] == [{"protected": None}]
    assert found["Last runs"] == []
