# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as metrics in Prometheus' text format, for the textfile collector of the node exporter.

A host has one series of each metric: its state and its patch version are labels of a series that is always 1. So the
number of series follows that of the hosts, whatever they say.
"""

from __future__ import annotations

import functools
import hashlib
import typing as t

from ..._text import shorten, visible
from ..._time import parse_time
from ..fleet_exposure import FleetExposure
from ..history import CveHistory, History
from ..report import HostLine, Report

_LONGEST_LABEL = 200
_DAY = 24 * 3600
_REMEMBERED = 4096
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})


def render(report: Report) -> t.Iterator[str]:
    """Yield the metrics. The times of the records, not of the report, show the age of the data."""
    yield _family("livepatch_hosts", "Hosts in each state.")
    yield from (f'livepatch_hosts{{state="{state}"}} {hosts}\n' for state, hosts in report.states().items())
    yield _family("livepatch_rule_findings", "How often each rule is broken.")
    found = report.findings_by_rule()
    for rule in report.rules:
        yield f'livepatch_rule_findings{{rule="{rule.id}",severity="{rule.severity}"}} {found[rule.id]}\n'
    if report.waivers is not None:
        yield from _waived(report)
    if report.exposure is not None:
        yield from _vulnerabilities(report.exposure)
    yield from _groups(report)
    yield _family("livepatch_problems", "Files and folders that could not be used for this report.")
    yield f"livepatch_problems {len(report.problems)}\n"
    if report.history and report.history.vulnerabilities:
        yield from _time_to_close(report.history.vulnerabilities)
    if report.history and report.history.with_notices:
        yield from _over_time(report.history)
    # Computed once because every metric names every host.
    hosts = [_label(line.host) for line in report.lines]
    for name, description, value in _OF_HOSTS:
        if report.exposure is None and name in _OF_VULNERABILITIES:
            continue
        yield _family(name, description)
        for host, line in zip(hosts, report.lines, strict=True):
            sample = value(line)
            if sample is not None:
                labels, number = sample
                yield f'{name}{{host="{host}"{labels}}} {number}\n'


def _vulnerabilities(exposure: FleetExposure) -> t.Iterator[str]:
    """Yield counts by priority and status. No series has the number of a vulnerability, because that has no bound."""
    yield _family("livepatch_open_cves", "Vulnerabilities that are open on at least one host, by priority.")
    for priority, number in exposure.open_by_priority().items():
        yield f'livepatch_open_cves{{priority="{priority}"}} {number}\n'
    yield _family("livepatch_waived_cves", "Of these, vulnerabilities that waivers cover on all these hosts.")
    for priority, number in exposure.waived_by_priority().items():
        yield f'livepatch_waived_cves{{priority="{priority}"}} {number}\n'
    yield _family("livepatch_vulnerabilities", "Vulnerabilities, counted host by host, by priority and status.")
    for priority, counts in exposure.pairs.items():
        for status, number in counts.items():
            yield f'livepatch_vulnerabilities{{priority="{priority}",status="{status}"}} {number}\n'
    yield _family("livepatch_exposure_hosts", "Hosts by the most urgent status of their vulnerabilities.")
    for status, number in exposure.not_waived.items():
        yield f'livepatch_exposure_hosts{{status="{status}"}} {number}\n'
    data = _seconds(exposure.oldest_data)
    if data is not None:
        yield _family("livepatch_vulnerability_data_timestamp_seconds", "When the oldest package data was published.")
        yield f"livepatch_vulnerability_data_timestamp_seconds {data}\n"


def _groups(report: Report) -> t.Iterator[str]:
    """Yield the numbers of each group. `count_groups` limits the number of series."""
    for name, description, member in _OF_GROUPS:
        if report.groups:
            yield _family(name, description)
        for key, counts in report.groups.items():
            for each in counts:
                labels = f'group_by="{_label(key)}",group="{_label(each.group)}"'
                yield f"{name}{{{labels}}} {getattr(each, member)}\n"


def _waived(report: Report) -> t.Iterator[str]:
    yield _family("livepatch_waived_findings", "How often a rule is broken where a waiver accepts it.")
    waived = report.waived_by_rule()
    for rule in report.rules:
        yield f'livepatch_waived_findings{{rule="{rule.id}",severity="{rule.severity}"}} {waived[rule.id]}\n'
    yield _family(
        "livepatch_waivers", "Waivers by status: expiring ones end within 14 days, expired ones have no effect."
    )
    waivers = report.summary()["waivers"]
    yield from (f'livepatch_waivers{{status="{status}"}} {number}\n' for status, number in waivers.items())


def _time_to_close(history: CveHistory) -> t.Iterator[str]:
    yield _family("livepatch_time_to_close_mean_seconds", "How long vulnerabilities were open in reports, by priority.")
    for priority, figures in history.time_to_close.items():
        if figures["mean_days"] is not None:
            seconds = figures["mean_days"] * _DAY
            yield f'livepatch_time_to_close_mean_seconds{{priority="{priority}"}} {seconds:.0f}\n'


def _over_time(history: History) -> t.Iterator[str]:
    yield _family("livepatch_open_exposures", "Vulnerabilities that are open, counted host by host.")
    yield f"livepatch_open_exposures {history.open}\n"
    patched = history.time_to_patch()
    if patched:
        yield _family("livepatch_time_to_patch_mean_seconds", "How long vulnerabilities were open, on average.")
        yield f"livepatch_time_to_patch_mean_seconds {patched.mean_days * _DAY:.0f}\n"
        yield _family("livepatch_time_to_patch_p95_seconds", "How long vulnerabilities were open, 95th percentile.")
        yield f"livepatch_time_to_patch_p95_seconds {patched.p95_days * _DAY:.0f}\n"


_Sample: t.TypeAlias = "tuple[str, int] | None"


def _state(line: HostLine) -> _Sample:
    return f',state="{line.state}"', 1


def _patch_version(line: HostLine) -> _Sample:
    return (f',version="{_label(line.patch_version)}"', 1) if line.patch_version else None


def _open_cves(line: HostLine) -> _Sample:
    return None if line.exposure is None else ("", len(line.exposure.open))


def _waived_cves(line: HostLine) -> _Sample:
    return None if line.exposure is None else ("", len(line.exposure.waived))


def _overdue_cves(line: HostLine) -> _Sample:
    return None if line.exposure is None else ("", line.exposure.overdue)


def _time_of(name: str) -> t.Callable[[HostLine], _Sample]:
    def time(line: HostLine) -> _Sample:
        seconds = _seconds(getattr(line, name))
        return None if seconds is None else ("", seconds)

    return time


def _record_time(line: HostLine) -> _Sample:
    seconds = _seconds(line.last_record.collected_at if line.last_record else line.collected_at)
    return None if seconds is None else ("", seconds)


_OF_HOSTS: tuple[tuple[str, str, t.Callable[[HostLine], _Sample]], ...] = (
    ("livepatch_host_state", "The state of a host; always 1.", _state),
    ("livepatch_patch_version", "The version of a host's live patch; always 1.", _patch_version),
    ("livepatch_host_open_cves", "Open vulnerabilities of a host.", _open_cves),
    ("livepatch_host_overdue_cves", "Open vulnerabilities of a host whose deadline has passed.", _overdue_cves),
    ("livepatch_host_waived_cves", "Open or unknown vulnerabilities of a host that waivers cover.", _waived_cves),
    ("livepatch_record_timestamp_seconds", "When the last record of a host was collected.", _record_time),
    (
        "livepatch_last_check_timestamp_seconds",
        "When a host's client last checked for patches.",
        _time_of("last_check"),
    ),
    (
        "livepatch_upgrade_required_by_timestamp_seconds",
        "Until when a host's kernel gets patches, the beginning of that day.",
        _time_of("upgrade_required_by"),
    ),
)


_OF_GROUPS = (
    ("livepatch_group_hosts", "Hosts of each group.", "hosts"),
    ("livepatch_group_eligible_hosts", "Hosts of each group that live patches could protect.", "eligible"),
    ("livepatch_group_protected_hosts", "Protected hosts of each group.", "protected"),
)
_OF_VULNERABILITIES = ("livepatch_host_open_cves", "livepatch_host_overdue_cves", "livepatch_host_waived_cves")


def _family(name: str, description: str) -> str:
    return f"# HELP {name} {description}\n# TYPE {name} gauge\n"


def _label(text: str) -> str:
    """Return text as the value of a label: short and distinct, because two equal series make the whole file invalid."""
    shown = visible(text)
    if shown != text or len(shown) > _LONGEST_LABEL:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
        shown = f"{shorten(shown, _LONGEST_LABEL)}~{digest}"
    return shown.translate(_ESCAPES)


@functools.lru_cache(_REMEMBERED)
def _seconds(time: str | None) -> int | None:
    """Return seconds since 1970 of an RFC 3339 time or of a date; ``None`` for anything else."""
    moment = parse_time(time, date_only=True)
    return None if moment is None else int(moment.timestamp())
