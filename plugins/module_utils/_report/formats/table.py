# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as a table, for a terminal or a text file."""

from __future__ import annotations

import collections
import functools
import typing as t

from ..._fleet.group_counts import GroupCount
from ..._record import State
from ..._text import pad, shorten, visible, width
from ..changes.model import MOST
from ..changes.wording import as_lines
from ..fleet_exposure import FleetExposure
from ..history import History
from ..report import URGENCY, HostLine, Report
from ..summary.actions import LONGEST_LIMIT, UNWRITABLE
from ..summary.protection import protection_of

FILE_WIDTH = 180
"""Width of a table that is written to a file."""

_HEADINGS = ("HOST", "STATE", "CONTAINERS", "CVES", "KERNEL", "PATCH", "CLIENT", "UPGRADE BY")
_WIDEST = (32, 16, 12, 18, 30, 10, 10, 20)
_STATE = 1
_EXPOSES = 2  # containers on a kernel that is not protected: a column shown only if there are any
_CVES = 3  # open vulnerabilities: a column shown only with vulnerability data
_KERNEL = 4
_DISPENSABLE = (6, 7)  # columns that are omitted on a narrow terminal, in this order
_LAST_HEADING = "NEXT STEP"
_ABSENT = "-"
_UNKNOWN = "unknown"
_GAP = "  "
_NARROWEST_NEXT_STEP = 44
_NARROWEST_KERNEL = 10
_INDENT = "    "
_REMEMBERED = 4096
_SHOWN_PROBLEMS = 20
_SHOWN_GROUPS = 10
_SHOWN_WAIVED = 20
_SHOWN_CHANGES = 20
_TERMINAL_NAMES = 20  # hosts of one command: more do not fit on a screen
_SHOWN_COUNTS = 12

# SGR parameters (ECMA-48) of the states: red is broken, yellow needs attention, cyan needs time.
_BOLD = "1"
COLOURS: dict[State, str] = {
    "no_answer": "35",
    "tampered": "31",
    "ineligible": "34",
    "held_back": "33",
    "failed": "31",
    "end_of_life": "31",
    "upgrade_required": "33",
    "disabled": "33",
    "stale": "33",
    "applying": "36",
    "unverified": "36",
    "exposed": "31",
    "protected": "32",
    "unknown": "35",
}


def render(
    report: Report, *, columns: int | None = None, colour: bool = False, most: int | None = None, elsewhere: str = ""
) -> t.Iterator[str]:
    """Yield the lines of the table. The first chunk holds the time of the report.

    At most `columns` wide where names allow it; without `columns`, as in a file, nothing is cut. A report of more than
    `most` hosts is shown in part: up to `most` of the hosts that are not protected, and the protected ones in groups;
    `elsewhere` then says where the rest is.
    """
    paint = _paint if colour else _leave
    yield paint(report.context.heading(report.generated_at), _BOLD) + "\n\n"
    rows, left_out = _rows(report, most)
    if rows:
        yield from _table(rows, columns, paint)
    yield from (f"{note}\n" for note in left_out)
    if left_out and elsewhere:
        yield f"{elsewhere}\n"
    yield "\n"
    yield from (f"{line}\n" for line in totals(report))
    named = _TERMINAL_NAMES if most is not None else LONGEST_LIMIT
    yield from _actions(report, named, elsewhere, paint)
    yield from _changes(report, most, paint)
    yield from _waived(report, columns, most, paint)
    yield from _problems(report, paint)


def totals(report: Report) -> t.Iterator[str]:
    """Yield sentences with the protected hosts, those in each state, the run and its records, and the failed rules."""
    states = report.states()
    if report.lines:
        yield protection_of(report).sentence()
    present = [f"{states[state]} {state}" for state in ("protected", *URGENCY[:-1]) if states[state]]
    yield f"{_count(len(report.lines), 'host')}: {', '.join(present)}." if present else "0 hosts."
    yield from (_groups(key, counts) for key, counts in report.groups.items())
    exposing = [line.exposes for line in report.lines if line.exposes]
    if exposing:
        found, places = _count(sum(exposing), "container"), _count(len(exposing), "host")
        yield f"{found} on {places} run on a kernel that is not protected."
    for policy, hosts in report.covered_by_other_policies().items():
        covered = f"{_count(hosts, 'ineligible host')} {'is' if hosts == 1 else 'are'} covered"
        yield f"{covered} by policy '{policy}': set livepatch_policy={policy}."
    yield from _coverage(report)
    broken = [f"{rule} ({found})" for rule, found in report.findings_by_rule().items() if found]
    if broken:
        yield f"Failed rules: {', '.join(broken)}."
    if report.exposure:
        yield from _vulnerabilities(report.exposure)
    yield from _waiver_sentences(report)
    if report.history:
        yield from _over_time(report.history)
    coverage = report.coverage.sentence() if report.run_started else None
    if coverage is not None:
        yield coverage
    if report.left_out:
        yield _not_selected(report.left_out)


def _not_selected(hosts: int) -> str:
    if hosts == 1:
        return "1 more host has a record, and is not in this report, because it was not selected."
    return f"{hosts} more hosts have records, and are not in this report, because they were not selected."


def _coverage(report: Report) -> t.Iterator[str]:
    """Yield the policies, the run, and how many hosts have a record, with the times of the records."""
    context = report.context
    policies = [f"{policy} ({_count(hosts, 'host')})" for policy, hosts in report.policies().items()]
    parts = {
        "Policy": ", ".join(policies),
        "Inventory": visible(context.inventory),
        "Playbook": visible(context.playbook),
        "Limit": visible(context.limit or ""),
    }
    if any(parts.values()):
        yield " ".join(f"{name}: {value}." for name, value in parts.items() if value)
    summary = report.summary()
    oldest, newest = summary["oldest_record"], summary["newest_record"]
    recorded = sum(line.collected_at is not None for line in report.lines)
    if oldest:
        times = oldest if oldest == newest else f"{oldest} to {newest}"
        yield f"Records of {recorded} of {_count(len(report.lines), 'host')}, collected {times}."


def _groups(key: str, counts: t.Sequence[GroupCount]) -> str:
    """Return a sentence with the protected hosts of each group."""
    shown = [f"{visible(each.group)} {each.protected} of {each.eligible}" for each in counts[:_SHOWN_COUNTS]]
    more = [f"and {len(counts) - _SHOWN_COUNTS} more"] if counts[_SHOWN_COUNTS:] else []
    return f"Protected by {visible(key)}: {', '.join([*shown, *more])}."


def _vulnerabilities(exposure: FleetExposure) -> t.Iterator[str]:
    """Yield how many vulnerabilities are open, and on how many hosts. Both kinds of counts have all hosts."""
    found = ", ".join(f"{number} {priority}" for priority, number in exposure.open_by_priority().items() if number)
    waived = sum(exposure.waived_by_priority().values())
    if waived:
        found += f" ({waived} of them waived)"
    hosts = ", ".join(f"{number} {status}" for status, number in exposure.not_waived.items() if number)
    dated = f" Oldest package data: {exposure.oldest_data}." if exposure.oldest_data else ""
    yield f"Open vulnerabilities: {found or 'none'}. Hosts by their most urgent status: {hosts or 'none'}.{dated}"


def _waiver_sentences(report: Report) -> t.Iterator[str]:
    """Yield how many findings are waived, and which waivers expire soon or have expired."""
    if report.waivers is None:
        return
    number = report.summary()["waived"]
    used = len({id(waived.waiver) for _line, waived in report.waived()})
    if number:
        waived = f"Waived: {_count(number, 'finding')}, by {_count(used, 'waiver')}"
        yield f"{waived}. Waivers do not change the states of hosts."
    yield from report.waivers.to_renew()


def _over_time(history: History) -> t.Iterator[str]:
    patched = history.time_to_patch()
    if patched:
        yield (
            f"Time to patch: {patched.mean_days:g} days on average, {patched.p95_days:g} for 95 of 100, "
            f"since {history.begins_at}."
        )
    if history.open:
        hosts = len({each.host for each in history.exposures if each.closed_at is None})
        yield f"Open: {_count(history.open, 'vulnerability')} of {_count(hosts, 'host')}, counted host by host."


class _HostRow(t.NamedTuple):
    state: State
    cells: tuple[str, ...]
    next_step: str


_Paint = t.Callable[[str, str], str]


def _rows(report: Report, most: int | None) -> tuple[list[_HostRow], list[str]]:
    """Return the rows to show, and a sentence for each group of hosts that is left out."""
    if most is None or len(report.lines) <= most:
        return [_row(line) for line in report.lines], []
    wanting = [line for line in report.lines if line.state != "protected"]
    groups = collections.Counter(
        (line.kernel_name, line.patch_version) for line in report.lines if line.state == "protected"
    ).most_common()
    rows = [_row(line) for line in wanting[:most]]
    rows += [_group(kernel, patch, hosts) for (kernel, patch), hosts in groups[:_SHOWN_GROUPS]]
    notes = []
    if wanting[most:]:
        rest = collections.Counter(line.state for line in wanting[most:])
        words = ", ".join(f"{hosts} {state}" for state, hosts in rest.items())
        notes.append(f"Not shown: {_count(len(wanting) - most, 'more host')} that are not protected ({words}).")
    if groups:
        grouped = sum(hosts for _group_key, hosts in groups[:_SHOWN_GROUPS])
        unshown = sum(hosts for _group_key, hosts in groups[_SHOWN_GROUPS:])
        more = f", {unshown} on other kernels are not shown" if unshown else ""
        notes.append(f"Not named: {_count(grouped, 'protected host')}, grouped by kernel and patch{more}.")
    return rows, notes


def _row(line: HostLine) -> _HostRow:
    upgrade_by = line.upgrade_required_by or line.support
    exposes = str(line.exposes) if line.exposes else ""
    if line.exposes_unknown:
        exposes = _UNKNOWN
    cves = line.exposure.as_cell() if line.exposure else ""
    cells = (
        line.host,
        line.state,
        exposes,
        cves,
        line.kernel_name,
        line.patch_version,
        line.client_version,
        upgrade_by,
    )
    next_step = "; ".join(filter(None, (line.last_seen, line.next_step or line.message)))
    return _HostRow(line.state, tuple(_cell(cell) for cell in cells), _cell(next_step))


def _group(kernel: str | None, patch: str | None, hosts: int) -> _HostRow:
    cells = (_count(hosts, "host"), "protected", _ABSENT, _ABSENT, _cell(kernel), _cell(patch), "", "")
    return _HostRow("protected", cells, "")


# Rows of similar hosts have equal cells.
@functools.lru_cache(_REMEMBERED)
def _cell(text: str | None) -> str:
    return visible(text) if text else _ABSENT


def _table(rows: list[_HostRow], columns: int | None, paint: _Paint) -> t.Iterator[str]:
    if columns is None:
        yield from _whole_table(rows, paint)
        return
    widths = _fit(rows, columns)
    room = columns - sum(size + len(_GAP) for size in widths.values())
    beside = room >= _NARROWEST_NEXT_STEP
    headings = _GAP.join(pad(_HEADINGS[index], size) for index, size in widths.items())
    yield paint(f"{headings}{_GAP}{_LAST_HEADING}" if beside else headings.rstrip(), _BOLD) + "\n"
    for row in rows:
        cells = {index: pad(row.cells[index], size) for index, size in widths.items()}
        cells[_STATE] = paint(cells[_STATE], COLOURS[row.state])
        line = _GAP.join(cells.values())
        yield (f"{line}{_GAP}{shorten(row.next_step, room)}" if beside else line).rstrip() + "\n"
        if not beside and row.state != "protected" and row.next_step != _ABSENT:
            yield f"{_INDENT}{shorten(row.next_step, columns - len(_INDENT))}\n"


def _whole_table(rows: list[_HostRow], paint: _Paint) -> t.Iterator[str]:
    """Yield a table in which no cell is cut: one that is wider than its column moves the others of its row."""
    widths = _widths(rows)
    headings = _GAP.join(pad(_HEADINGS[index], size) for index, size in widths.items())
    yield paint(f"{headings}{_GAP}{_LAST_HEADING}", _BOLD) + "\n"
    for row in rows:
        cells = {index: _filled(row.cells[index], size) for index, size in widths.items()}
        cells[_STATE] = paint(cells[_STATE], COLOURS[row.state])
        yield f"{_GAP.join(cells.values())}{_GAP}{row.next_step}".rstrip() + "\n"


@functools.lru_cache(_REMEMBERED)
def _filled(cell: str, size: int) -> str:
    return cell + " " * (size - width(cell))


def _fit(rows: list[_HostRow], columns: int) -> dict[int, int]:
    """Return the shown columns by their index, and the width of each, for a table of at most `columns`."""
    widths = _widths(rows)
    for index in (*_DISPENSABLE, None):
        excess = sum(widths.values()) + len(_GAP) * (len(widths) - 1) - columns
        if excess <= 0:
            break
        if index is None:
            widths[_KERNEL] = max(_NARROWEST_KERNEL, widths[_KERNEL] - excess)
        else:
            del widths[index]
    return widths


def _actions(report: Report, named: int, elsewhere: str, paint: _Paint) -> t.Iterator[str]:
    """Yield what people must do. Its lines are never cut, because they have commands that can be pasted."""
    actions = report.actions
    if not actions:
        return
    yield f"\n{paint('To do', _BOLD)} (add the options of this run to the commands, such as -i and --become)\n"
    for action in actions:
        lines = [f"{action.counted()}: {action.why}", f"{_GAP}{action.step}"] if action.why else [action.heading()]
        yield from (f"{_GAP}{line}\n" for line in lines)
        yield f"{_INDENT}{'' if action.playbook else 'then: '}{action.command(named) or UNWRITABLE}\n"
        if action.hosts[named:]:
            yield f"{_INDENT}The first {named} of {len(action.hosts)} hosts are named. {elsewhere}".rstrip() + "\n"


def _changes(report: Report, most: int | None, paint: _Paint) -> t.Iterator[str]:
    if report.changes is None:
        return
    yield "\n" + paint("Changes", _BOLD) + "\n"
    most_entries = MOST if most is None else _SHOWN_CHANGES
    yield from (f"{_GAP}{line}\n" for line in as_lines(report.changes, most_entries))


def _waived(report: Report, columns: int | None, most: int | None, paint: _Paint) -> t.Iterator[str]:
    found = list(report.waived())
    if not found:
        return
    shown = found if most is None else found[:_SHOWN_WAIVED]
    yield "\n" + paint(f"{_count(len(found), 'finding')} waived", _BOLD) + "\n"
    for line, (rule, message, waiver) in shown:
        host = visible(line.host) if line else "the fleet"
        for text in (f"{_GAP}{host}: {rule}: {visible(message)}", f"{_INDENT}{visible(waiver.justification)}"):
            yield (text if columns is None else shorten(text, columns)) + "\n"
    if found[len(shown) :]:
        yield f"{_GAP}and {len(found) - len(shown)} more\n"


def _widths(rows: list[_HostRow]) -> dict[int, int]:
    """Return the columns that have values by their index, and the width of each."""
    widths = {
        index: min(widest, max(len(heading), *map(width, {row.cells[index] for row in rows})))
        for index, (heading, widest) in enumerate(zip(_HEADINGS, _WIDEST, strict=True))
    }
    if not any(row.cells[_EXPOSES].isdigit() for row in rows):
        del widths[_EXPOSES]
    if all(row.cells[_CVES] == _ABSENT for row in rows):
        del widths[_CVES]
    return widths


def _problems(report: Report, paint: _Paint) -> t.Iterator[str]:
    if not report.problems:
        return
    yield "\n" + paint(_count(len(report.problems), "problem"), _BOLD) + "\n"
    for problem in report.problems[:_SHOWN_PROBLEMS]:
        yield f"{_GAP}{visible(problem.path)}\n"
        yield f"{_INDENT}{visible(problem.message)}\n"
    if report.problems[_SHOWN_PROBLEMS:]:
        yield f"{_GAP}and {len(report.problems) - _SHOWN_PROBLEMS} more\n"


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def _paint(text: str, parameter: str) -> str:
    return f"\x1b[{parameter}m{text}\x1b[0m"


def _leave(text: str, _parameter: str) -> str:
    return text
