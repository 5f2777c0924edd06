# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The data of a report for the comparison with the next one, also as a file."""

from __future__ import annotations

import collections
import collections.abc as c
import hashlib
import json
import typing as t

from ..._version import COLLECTION_VERSION
from ..report import Report
from ..summary.protection import Protection, condition, protection_of
from .model import HostCondition, RuleStatus, Snapshot, Vulnerabilities

SCHEMA = "kernelops.livepatch/states/1"


class SnapshotError(Exception):
    """A text is not a snapshot."""


def snapshot_of(report: Report) -> Snapshot:
    """Return the data of a report."""
    hosts: dict[str, HostCondition] = {}
    times = hashlib.sha256()
    for line in report.lines:
        shown = condition(line, report.generated_at)
        hosts[line.host] = HostCondition(shown, line.kernel_name, line.patch_version, line.policy)
        times.update(f"{line.host}\0{line.collected_at}\0{line.attempted_at}\n".encode(errors="backslashreplace"))
    return Snapshot(
        generated_at=report.generated_at,
        records=times.hexdigest(),
        collection=COLLECTION_VERSION,
        protection=protection_of(report),
        hosts=hosts,
        rules=_rules(report),
        vulnerabilities=_vulnerabilities(report),
    )


def _rules(report: Report) -> dict[str, RuleStatus]:
    found, waived = report.findings_by_rule(), report.waived_by_rule()
    return {
        rule.id: RuleStatus(
            hashlib.sha256(f"{rule.scope}\0{rule.expression}".encode()).hexdigest()[:16],
            found[rule.id],
            waived[rule.id],
        )
        for rule in report.rules
    }


def _vulnerabilities(report: Report) -> Vulnerabilities | None:
    exposure = report.exposure
    if exposure is None:
        return None
    found = {each.cve: (each.details.priority, each.counts["open"]) for each in exposure.cves if each.counts["open"]}
    return Vulnerabilities(exposure.minimum_priority, found)


def to_text(snapshot: Snapshot) -> c.Iterator[str]:
    """Yield a snapshot as JSON. Hosts with equal values share them: most of a fleet has few different ones."""
    numbers: dict[HostCondition, int] = collections.defaultdict(lambda: len(numbers))
    hosts = {host: numbers[values] for host, values in snapshot.hosts.items()}
    found = snapshot.vulnerabilities
    head = {
        "schema": SCHEMA,
        "generated_at": snapshot.generated_at,
        "records": snapshot.records,
        "collection": snapshot.collection,
        "protection": snapshot.protection,
        "rules": snapshot.rules,
        "vulnerabilities": None if found is None else {"minimum_priority": found.minimum_priority, "open": found.open},
        "conditions": list(numbers),
    }
    yield f'{json.dumps(head)[:-1]}, "hosts": '
    yield f"{json.dumps(hosts)}}}\n"


def from_text(text: str) -> Snapshot:
    """Return the snapshot that a file has. Raises `SnapshotError`."""
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise SnapshotError(f"its schema is {document['schema']!r:.60}, not {SCHEMA!r}")
        conditions = [HostCondition(_text(state), *map(_optional, rest)) for state, *rest in document["conditions"]]
        found = document["vulnerabilities"]
        return Snapshot(
            generated_at=_text(document["generated_at"]),
            records=_text(document["records"]),
            collection=_text(document["collection"]),
            protection=Protection(*map(_number, document["protection"])),
            hosts={host: conditions[_number(number)] for host, number in document["hosts"].items()},
            rules={
                rule: RuleStatus(_text(digest), _number(findings), _number(waived))
                for rule, (digest, findings, waived) in document["rules"].items()
            },
            vulnerabilities=None if found is None else _read_vulnerabilities(found),
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise SnapshotError("it is not a file of states, or it is cut off") from error


def _read_vulnerabilities(found: dict[str, t.Any]) -> Vulnerabilities:
    entries = {cve: (_optional(priority), _number(hosts)) for cve, (priority, hosts) in found["open"].items()}
    return Vulnerabilities(_text(found["minimum_priority"]), entries)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError
    return value
