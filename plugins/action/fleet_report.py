# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report on a fleet, from the records of its hosts."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import datetime
import difflib
import gc
import itertools
import typing as t
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils import _io
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.rules import (
    SEVERITIES,
    MissingLibraryError,
    RuleError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool, SpoolWriter
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import rule_evaluation, two_processes
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import table
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import FORMATS, halves
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import (
    Condensed,
    Report,
    condense,
    merge,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import notice_fixes
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import Notice
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _table_output
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction

_FILE_STEM = "fleet"
_MOST_ON_TERMINAL = 200
_NAMED_IN_FAILURE = 5
_FLEET = "the fleet"
_FEW_HOSTS = 2000
_Share = t.TypeVar("_Share")
_Result = t.TypeVar("_Result")
_FORMATS_OF_RULES = {"junit", "sarif"}


class ActionModule(LegacyAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "record_dir": {"type": "list", "elements": "path", "required": True},
        "hosts": {"type": "list", "elements": "str"},
        "formats": {"type": "list", "elements": "str", "choices": list(FORMATS), "default": ["table"]},
        "output_dir": {"type": "path"},
        "rules": {"type": "raw", "default": rule_evaluation.DEFAULT},
        "closed_cves": {"type": "list", "elements": "str", "default": []},
        "seats": {"type": "int"},
        "fail_on": {"type": "list", "elements": "str", "default": []},
        "history": {"type": "path"},
        "retention": {"type": "int"},
        "notices": {"type": "path"},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        with _without_collector():
            return self._report(options)

    def _report(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        now = datetime.datetime.now(datetime.timezone.utc)
        _check_history(options)
        notices = self._notices(options)
        judgement = self._judgement(options, notices, now)
        _check_fail_on(options["fail_on"], judgement)
        record_dirs = [Path(folder).absolute() for folder in options["record_dir"]]
        targets = _targets(options["output_dir"], options["formats"], record_dirs)
        report = _assembled(folder_store.find(record_dirs), options["hosts"], now, judgement)
        if not report.lines:
            raise ActionError(_nothing_to_report(record_dirs, report), problems=_problems(report))
        report = judgement.with_fleet(report, options["seats"])
        report, remembered = self._over_time(report, options, notices, now)
        if "table" in options["formats"]:
            self._show(report, targets.get("table"))
        written = self._write(report, targets)
        result = {
            "changed": written or remembered,
            "files": [str(path) for path in targets.values()],
            "summary": report.summary(),
            "history": report.history.summary() if report.history else None,
        }
        found = _found(report, options["fail_on"])
        if found:
            # A failed task prints its whole result: the names of all hosts would bury the message.
            raise ActionError(_failure(report, found, targets), **result)
        return {
            **result,
            "hosts_by_state": report.hosts_by_state(),
            "hosts_by_rule": report.hosts_by_rule(),
            "problems": _problems(report),
        }

    def _notices(self, options: dict[str, t.Any]) -> list[Notice] | None:
        if options["notices"] is None:
            return None
        try:
            notices, unreadable = notice_fixes.notices_from(Path(options["notices"]))
        except notice_fixes.NoticesUnusableError as error:
            raise ActionError(str(error)) from error
        for problem in unreadable[:_NAMED_IN_FAILURE]:
            self._display.warning(f"A notice cannot be used as a whole: {visible(problem)}")
        return notices

    def _judgement(
        self, options: dict[str, t.Any], notices: list[Notice] | None, now: datetime.datetime
    ) -> rule_evaluation.RuleEvaluator:
        """The rules of the task. Without the library for them, a report that nobody asked for rules has none."""
        asked_for = (
            options["rules"] != rule_evaluation.DEFAULT
            or options["closed_cves"]
            or _FORMATS_OF_RULES.intersection(options["formats"])
            or not set(options["fail_on"]) <= set(STATES)
        )
        try:
            rules = rule_evaluation.load_rules(options["rules"], options["closed_cves"])
            by_notices = notice_fixes.FixesByNotices(notices, options["closed_cves"]) if notices else None
            return rule_evaluation.RuleEvaluator(rules, now, by_notices)
        except MissingLibraryError as error:
            if asked_for:
                raise ActionError(f"The rules cannot be used: {error}") from error
            self._display.warning(f"The report is made without rules: {error}")
            return rule_evaluation.RuleEvaluator([], now)
        except RuleError as error:
            raise ActionError(f"The rules cannot be used. {error}") from error

    def _over_time(
        self, report: Report, options: dict[str, t.Any], notices: list[Notice] | None, now: datetime.datetime
    ) -> tuple[Report, bool]:
        """The report with its history, and whether the history has anything new. In check mode nothing is kept."""
        if options["history"] is None:
            return report, False
        # Here, for a controller whose Python has no SQLite must still report.
        from ansible_collections.kernelops.livepatch.plugins.module_utils._records import history_db
        from ansible_collections.kernelops.livepatch.plugins.module_utils._report import exposure_history

        path = Path(options["history"]).absolute()
        try:
            remembered = not self.check_mode and exposure_history.keep(report, path, options["retention"], now)
            history = exposure_history.told(path, notices, now)
        except history_db.HistoryError as error:
            raise ActionError(str(error)) from error
        return dataclasses.replace(report, history=history), remembered

    def _show(self, report: Report, whole: Path | None) -> None:
        elsewhere = f"The whole table is in {whole}." if whole else "With output_dir, a file has the whole table."
        _table_output.show(
            self._display,
            lambda **layout: table.render(report, most=_MOST_ON_TERMINAL, elsewhere=elsewhere, **layout),
        )

    def _write(self, report: Report, targets: dict[str, Path]) -> bool:
        """Write what differs, or in check mode only find out, and tell whether anything does."""

        def write(names: list[str]) -> list[bool]:
            return [self._write_one(report, name, targets[name]) for name in names]

        return any(itertools.chain(*_shared_out(write, halves(targets), len(report.lines))))

    def _write_one(self, report: Report, name: str, path: Path) -> bool:
        layout = FORMATS[name]
        try:
            if _io.holds(path, layout.render(report), besides=layout.time_chunk):
                return False
            if not self.check_mode:
                _io.write_atomically(path, layout.render(report))
        except OSError as error:
            raise ActionError(
                f"Cannot write the report to {path}: {error.strerror or error}. Give the user who runs Ansible "
                "write access to that folder, and room on its disk, or choose another output_dir."
            ) from error
        return True


@contextlib.contextmanager
def _without_collector() -> c.Iterator[None]:
    """Let no collector of garbage look through a large fleet again and again: a report leaves no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _assembled(
    found: list[folder_store.Found],
    hosts: list[str] | None,
    now: datetime.datetime,
    judgement: rule_evaluation.RuleEvaluator,
) -> Report:
    spool = Spool()
    # The other process has its lines to send, too.
    more_than_half = len(found) * 11 // 20
    shares = [(part, spool.writer()) for part in (found[:more_than_half], found[more_than_half:])]

    def condensed(share: tuple[list[folder_store.Found], SpoolWriter]) -> list[Condensed]:
        part, writer = share
        return condense(folder_store.read(part), writer, judgement)

    lines = itertools.chain(*_shared_out(condensed, shares, len(found)))
    return merge(lines, hosts, format_time(now), spool, judgement)


def _shared_out(work: c.Callable[[_Share], _Result], shares: c.Sequence[_Share], hosts: int) -> list[_Result]:
    """Do the shares of work, two at the same time where that saves more than a second process takes."""
    shares = [share for share in shares if share]
    if len(shares) < 2 or hosts < _FEW_HOSTS:
        return [work(share) for share in shares]
    try:
        return [*two_processes.in_two(work, *shares)]
    except two_processes.LostProcessError as error:
        raise ActionError(
            f"The report is not complete: {error}. See in the log of the controller's system whether memory was short, "
            "and try again."
        ) from error


def _check_fail_on(names: list[str], judgement: rule_evaluation.RuleEvaluator) -> None:
    rules = [rule.id for rule in judgement.rules]
    known = [*STATES, *SEVERITIES, *rules]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ActionError(
                f"fail_on: there is no rule {name!r}. Did you mean {near!r}? "
                f"The states are {', '.join(STATES)}, the severities {', '.join(SEVERITIES)}, "
                f"the rules {', '.join(rules) or 'none'}."
            )


def _check_history(options: dict[str, t.Any]) -> None:
    if options["retention"] is not None and options["history"] is None:
        raise ActionError("retention is about the history, and there is none. Name its file with the option history.")
    if options["notices"] is not None and options["history"] is None and not options["closed_cves"]:
        raise ActionError(
            "notices are about the history and closed_cves, and there is neither. Name the file of the history with "
            "the option history, or vulnerabilities with closed_cves."
        )
    if options["retention"] is not None and options["retention"] < 1:
        raise ActionError(f"retention is {options['retention']}; it must be at least 1 day.")


def _targets(output_dir: str | None, formats: list[str], record_dirs: list[Path]) -> dict[str, Path]:
    if output_dir is None:
        return {}
    folder = Path(output_dir).absolute()
    if folder.resolve() in (record_dir.resolve() for record_dir in record_dirs):
        raise ActionError(f"output_dir is {folder}, which holds records. Choose another folder for the report.")
    return {name: folder / f"{_FILE_STEM}{FORMATS[name].suffix}" for name in dict.fromkeys(formats)}


def _problems(report: Report) -> list[dict[str, str | None]]:
    return [problem.as_dict() for problem in report.problems]


def _nothing_to_report(record_dirs: list[Path], report: Report) -> str:
    folders = ", ".join(map(str, record_dirs))
    details = "".join(f" {problem.path}: {problem.message}." for problem in report.problems[:_NAMED_IN_FAILURE])
    return (
        f"There is no host to report on: no record in {folders}, and `hosts` names none.{details} "
        "Name the folder that kernelops.livepatch.patch_info stores records in, or run the check playbook first."
    )


def _found(report: Report, names: list[str]) -> dict[str, list[str]]:
    """What `fail_on` names and the report found: the hosts by each state, severity and rule that has any."""
    severities = {rule.id: rule.severity for rule in report.rules}
    hosts: dict[str, dict[str, None]] = {name: {} for name in names}
    for line in report.lines:
        hosts.get(line.state, {})[line.host] = None
    for where, (rule, _message) in report.findings():
        for name in (rule, severities[rule]):
            hosts.get(name, {})[where.host if where else _FLEET] = None
    return {name: list(found) for name, found in hosts.items() if found}


def _failure(report: Report, found: dict[str, list[str]], targets: dict[str, Path]) -> str:
    words = []
    for name, hosts in found.items():
        more = f" and {len(hosts) - _NAMED_IN_FAILURE} more" if hosts[_NAMED_IN_FAILURE:] else ""
        words.append(f"{len(hosts)} {name} ({', '.join(map(visible, hosts[:_NAMED_IN_FAILURE]))}{more})")
    written = f" in {next(iter(targets.values()))}" if targets else ""
    return (
        f"Of {len(report.lines)} hosts, {'; '.join(words)}: fail_on names these. "
        f"The report{written} gives the next step for each host."
    )
