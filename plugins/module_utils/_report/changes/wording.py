# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A comparison of two reports in words, for texts, mail, chat and pages."""

from __future__ import annotations

import collections
import collections.abc as c
import typing as t

from ..._text import visible
from .model import Changes, CveChange, HostChange, Listed, RuleChange, ValueChange

FIRST_REPORT = "This is the first report, so there is nothing to compare it with."

_NONE = "none"


class ChangeSection(t.NamedTuple):
    """A heading and its entries, of which some can be left out. An entry is one line."""

    heading: str
    entries: list[str]
    left_out: int = 0


def headline(changes: Changes) -> str:
    """Return the protection now and its difference, as one sentence."""
    return f"Since the report of {changes.since}: {changes.now.sentence()[:-1]}; before, {before(changes)}."


def before(changes: Changes) -> str:
    """Return the protection of the earlier report with the difference in hosts."""
    difference = changes.now.protected - changes.before.protected
    signed = f"{difference:+d}" if difference else "no difference"
    return f"{changes.before.protected} of {changes.before.eligible} ({signed})"


def sections(changes: Changes, most: int) -> list[ChangeSection]:
    """Return what changed, without what did not. Each section has at most `most` entries."""
    found = [
        _section("No longer protected", "host", changes.unprotected, _host, most),
        _section("Protected again or for the first time", "host", changes.protected, _host, most),
        _section("Changed between other states", "host", changes.others, _host, most),
        _section("Changed, and evaluated by another policy", "host", changes.judged_anew, _host, most),
        _section(f"New in the report{_states(changes.new)}", "host", changes.new, _new, most),
        _section("No longer in the report", "host", changes.gone, _gone, most),
        _section("Other kernels", "change", changes.kernels, _value, most),
        _section("Other patches", "change", changes.patches, _value, most),
        _section("Rules that fail now", "rule", changes.failing, _failing, most),
        _section("Rules that pass now", "rule", changes.passing, _passing, most),
        _section("Open now", "CVE", changes.opened, _cve, most),
        _section("No longer open on any host", "CVE", changes.closed, _closed, most),
        _section("No longer known to be open", "CVE", changes.undecided, _undecided, most),
    ]
    notes = [ChangeSection("Not comparable", list(changes.notes))] if changes.notes else []
    return [section for section in found if section is not None] + notes


def as_lines(changes: Changes, most: int) -> c.Iterator[str]:
    """Yield the comparison as lines of text."""
    yield headline(changes)
    if not changes:
        yield "No host, kernel, patch, rule or vulnerability changed."
    for section in sections(changes, most):
        yield f"{section.heading}:"
        yield from (f"  {entry}" for entry in section.entries)
        if section.left_out:
            yield f"  and {section.left_out} more"


def short(changes: Changes) -> str:
    """Return the numbers of changes in a few words: ``2 no longer protected, 1 new host``."""
    words = (
        (changes.unprotected, "no longer protected"),
        (changes.protected, "now protected"),
        (changes.others, "changed between other states"),
        (changes.judged_anew, "evaluated by another policy"),
        (changes.new, "new"),
        (changes.gone, "no longer in the report"),
        (changes.failing, "newly failing rules"),
        (changes.passing, "newly passing rules"),
        (changes.opened, "newly open CVEs"),
        (changes.closed, "CVEs no longer open"),
        (changes.undecided, "CVEs no longer known to be open"),
    )
    kernels = sum(each.hosts for each in changes.kernels.first)
    patches = sum(each.hosts for each in changes.patches.first)
    counted = [(found.number, text) for found, text in words]
    counted += [(kernels, "with another kernel"), (patches, "with another patch")]
    return ", ".join(f"{number} {_singular(text) if number == 1 else text}" for number, text in counted if number)


def _singular(text: str) -> str:
    return text.replace("rules", "rule").replace("CVEs", "CVE")


_Entry = t.TypeVar("_Entry")


def _section(
    heading: str, noun: str, found: Listed[_Entry], word: c.Callable[[_Entry], str], most: int
) -> ChangeSection | None:
    if not found:
        return None
    shown = [visible(word(entry)) for entry in found.first[:most]]
    counted = f"{found.number} {noun}{'' if found.number == 1 else 's'}"
    return ChangeSection(f"{heading} ({counted})", shown, found.number - len(shown))


def _states(new: Listed[HostChange]) -> str:
    found = collections.Counter(change.now for change in new.first)
    return f", {', '.join(f'{number} {state}' for state, number in found.most_common())}" if found else ""


def _host(change: HostChange) -> str:
    return f"{change.host}: {change.before} -> {change.now}{_because(change)}"


def _new(change: HostChange) -> str:
    return f"{change.host}: {change.now}{_because(change)}"


def _because(change: HostChange) -> str:
    return f": {change.reason}" if change.reason and change.now != "protected" else ""


def _gone(change: HostChange) -> str:
    return f"{change.host}: was {change.before}"


def _value(change: ValueChange) -> str:
    hosts = "1 host" if change.hosts == 1 else f"{change.hosts} hosts"
    return f"{change.before or _NONE} -> {change.now or _NONE}: {hosts}"


def _failing(change: RuleChange) -> str:
    return f"{change.rule} ({change.severity}): {_findings(change.now)}"


def _passing(change: RuleChange) -> str:
    waived = f", and {change.waived} are waived" if change.waived else ""
    return f"{change.rule} ({change.severity}): before, {_findings(change.before)}{waived}"


def _findings(number: int) -> str:
    return "1 finding" if number == 1 else f"{number} findings"


def _cve(change: CveChange) -> str:
    return f"{change.cve} ({change.priority or 'no priority'}): {_hosts(change.hosts)}"


def _closed(change: CveChange) -> str:
    return f"{change.cve} ({change.priority or 'no priority'}): before, {_hosts(change.hosts)}"


def _undecided(change: CveChange) -> str:
    return f"{_closed(change)}; now unknown on {change.unknown}"


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"
