# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Report on a fleet from the records of its hosts (module `fleet_report`)."""

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

from .. import _io
from .._decisions import causes
from .._errors import LivepatchError
from .._fleet import groups
from .._fleet.rules import SEVERITIES, RuleError
from .._fleet.waivers import Waivers, load_waivers
from .._notifications import delivery
from .._notifications.delivery import Notification, Notifier
from .._record import STATES
from .._records import store
from .._records.document import Recorded
from .._records.history_store import open_history
from .._records.postgresql.address import DatabaseAddress, StorePlace
from .._records.spool import Spool, SpoolWriter
from .._report import exposure_history, parallel, rule_evaluation
from .._report.changes.comparison import compare
from .._report.changes.model import Snapshot
from .._report.changes.snapshot import snapshot_of
from .._report.changes.state_files import Earlier, ReportSelection, StateFiles
from .._report.companions import NAMES as COMPANIONS
from .._report.companions import companions
from .._report.formats import table
from .._report.formats.registry import FILES, FORMATS_OF_SCANNERS, OPENVEX
from .._report.host_exposure import ExposureOptions, HostExposures
from .._report.report import Condensed, HostLine, Report, condense, merge
from .._report.rule_evaluation import RuleEvaluator
from .._report.scanners.openvex import vex_documents
from .._report.scanners.vex_folder import VexFigures, update_folder
from .._report.summary.result_limits import ENTRIES, NAMES, limit_lists
from .._report.summary.run_context import RunContext
from .._server.download import Downloader
from .._text import visible
from .._time import format_time
from .._vulnerabilities import notice_fixes
from .._vulnerabilities.data_files import DataFiles
from .._vulnerabilities.exposure import kernel_evidence, release_and_realm
from .._vulnerabilities.notices import Notice
from .commands import Task, read_clock, show_table, warn
from .store.delivery import send_waiting

_FILE_STEM = "fleet"
_FOLDER_OF_LIMITS = "limited"
_TERMINAL_HOSTS = 50
_NAMED_HOSTS = 5
_FLEET = "the fleet"
_FEW_HOSTS = 2000
_FOR_PEOPLE = ("html", "table", "markdown")
_ENTRIES_OF_RESULT = 20
_FORMATS_OF_RULES = {"junit", "sarif"}
_SLOWEST_FIRST = (OPENVEX, "html", "csv", "table", "json", "junit", "prometheus", "jsonl", "markdown", "sarif")
_PARTS_OF_PROCESSOR = 4
_LIMITS_OF_SUMMARY = {"kernels": ENTRIES, "patch_versions": ENTRIES}
_LIMITS_OF_OPENVEX = {"changed": ENTRIES, "withdrawn": ENTRIES}
_LIMITS = {"hosts_by_state": NAMES, "hosts_by_rule": NAMES, "problems": ENTRIES}
_Share = t.TypeVar("_Share")
_Result = t.TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Options of the module, with absolute paths. `hosts` None means every host that has a record.

    `groups` are the hosts of the groups of the inventory, for waivers. A report whose `context` has a limit is one of a
    part of the fleet. It never replaces the report of the fleet. `run_started` is the begin of the run of Ansible.
    `group_by` names groups of the inventory and host variables, by which the report groups the hosts.
    """

    record_dirs: tuple[StorePlace, ...]
    hosts: list[str] | None
    formats: tuple[str, ...]
    output_dir: Path | None
    rules: object
    closed_cves: list[str]
    waivers: Path | None
    groups: c.Mapping[str, c.Iterable[str]]
    seats: int | None
    fail_on: list[str]
    history: Path | None
    retention: int | None
    notices: Path | None
    exposure: ExposureOptions
    check_mode: bool
    context: RunContext = dataclasses.field(default_factory=RunContext)
    notifier: Notifier = dataclasses.field(default_factory=Notifier)
    run_started: datetime.datetime | None = None
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `LivepatchError` (``options_invalid``) for options that contradict each other."""
        if self.retention is not None and self.history_place is None:
            raise _invalid("retention needs a history", "name the file of the history with the option history")
        if self.notices is not None and not (self.history_place or self.closed_cves or self.exposure.data):
            raise _invalid(
                "notices are used for vulnerability_data, a history or closed_cves, and none of them is given",
                "name the data with vulnerability_data, the file of the history with history, or CVEs with closed_cves",
            )
        if self.exposure.deadlines_from == "seen" and self.history_place is None:
            raise _invalid(
                "vulnerability_deadlines_from is seen, which needs a history",
                "name the file of the history with the option history, or use published or fixed",
            )
        if self.for_scanners and not self.exposure.data:
            raise _invalid(
                f"without vulnerability_data, a report cannot be written as {' or '.join(self.for_scanners)}",
                "name the data with vulnerability_data, or remove these formats",
            )
        if self.retention is not None and self.retention < 1:
            raise _invalid(f"retention is {self.retention}", "give retention as a number of days, 1 or more")
        if self.seats is not None and self.seats < 0:
            raise _invalid(f"seats is {self.seats}", "give seats as a whole number, 0 or more")
        fault = groups.name_fault(self.group_by)
        if fault is not None:
            raise _invalid(f"group_by: {fault}", "name groups of the inventory, or host variables")
        folders = {folder.resolve() for folder in store.folders(self.record_dirs)}
        if self.output_dir and self.output_dir.resolve() in folders:
            raise _invalid(f"output_dir is {self.output_dir}, which holds records", "choose another folder")

        if self.notifier.targets and not self.compares:
            raise _invalid(
                "notify needs output_dir and formats, because changes are those since the last report there",
                "set output_dir, or remove notify",
            )

    @property
    def compares(self) -> bool:
        """Return True if the report is compared with the last one: a run without files leaves nothing to compare."""
        return self.output_dir is not None and bool(self.formats)

    @property
    def page(self) -> Path | None:
        """Return the file that people read, a page if there is one."""
        return next((self.targets[name] for name in _FOR_PEOPLE if name in self.targets), None)

    @property
    def history_place(self) -> StorePlace | None:
        """Return the file of the history, or the database, whose store also has the history; None for no history."""
        databases = (place for place in self.record_dirs if isinstance(place, DatabaseAddress))
        return self.history or next(databases, None)

    @property
    def targets(self) -> dict[str, Path]:
        """Return the file of each format, and the folder of OpenVEX documents."""
        folder = self.folder
        if folder is None:
            return {}
        return {n: folder / (n if n == OPENVEX else f"{_FILE_STEM}{FILES[n].suffix}") for n in self.formats}

    @property
    def for_scanners(self) -> tuple[str, ...]:
        """Return the formats that need vulnerability data."""
        return tuple(name for name in self.formats if name in FORMATS_OF_SCANNERS)

    @property
    def folder(self) -> Path | None:
        """Return the folder of the files."""
        return self.output_dir / _FOLDER_OF_LIMITS if self.output_dir and self.context.limit else self.output_dir


def fleet_report(options: ReportOptions) -> Task[dict[str, t.Any]]:
    """Assemble the report, show it, write it, and fail where `fail_on` says so."""
    with _without_collector():
        now = (yield from read_clock()).utc
        notices = yield from _read_notices(options)
        evaluator = yield from _load_rules(options, notices, now)
        _check_fail_on(options.fail_on, evaluator, bool(options.exposure.data))
        waivers = _load_waivers(options, evaluator, now)
        if not options.check_mode:
            yield from send_waiting(options.record_dirs)
        found = store.find(options.record_dirs)
        exposures = _open_vulnerabilities(options, found, waivers, now)
        if exposures is None:
            evaluator.require_vulnerabilities()
        report = evaluator.with_fleet(_assemble(options, found, now, evaluator, exposures), options.seats)
        report = yield from _with_groups(report, options)
        if exposures is not None:
            report = report.with_exposure(exposures)
        if waivers is not None:
            report = report.with_waivers(waivers)
            for sentence in waivers.warnings():
                yield from warn(sentence)
        report, stored = yield from _add_history(report, options, notices, now)
        report, comparison = yield from _compare(dataclasses.replace(report, context=options.context), options)
        if "table" in options.formats:
            yield from _show(report, options.targets.get("table"))
        if not options.check_mode:
            folders = [options.folder, options.targets.get(OPENVEX)]
            for folder in (*store.folders(options.record_dirs), *filter(None, folders)):
                _io.remove_unfinished(folder, now.timestamp())
        written, openvex = _write(report, options)
        if comparison is not None:
            written |= _write_companions(report, options, comparison)
        if "table" in options.formats and options.folder is not None:
            yield from show_table(lambda **_layout: [_where(report, options)])
        matches = _found(report, options.fail_on)
        notifications = yield from _notify(report, options, failed=bool(matches))
        return _result(report, options, openvex, matches, notifications, changed=written or stored)


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """The states of this report, and the earlier ones that they are compared with."""

    files: StateFiles
    now: Snapshot
    earlier: Earlier


def _compare(report: Report, options: ReportOptions) -> Task[tuple[Report, _Comparison | None]]:
    """Return the report with what changed since the last one of the same selection of hosts."""
    if options.folder is None or not options.compares:
        return report, None
    files = StateFiles(options.folder, ReportSelection(options.context.limit, options.hosts is not None))
    now = snapshot_of(report)
    earlier = files.find(now)
    if earlier.problem is not None:
        yield from warn(f"The report is not compared with the last one. {visible(earlier.problem)}")
    if earlier.snapshot is not None:
        changes = compare(earlier.snapshot, now, report, repeated=earlier.repeated)
        report = dataclasses.replace(report, changes=changes)
    return report, _Comparison(files, now, earlier)


def _write_companions(report: Report, options: ReportOptions, comparison: _Comparison) -> bool:
    """Write the further files, and the states for the next report. Return True if any differs."""
    if options.folder is None:
        return False
    differs = False
    for name, file in companions(report, options.page).items():
        path = options.folder / name
        with _errors_of_files(path):
            if not _io.has_content(path, file.chunks(), ignore=file.time_chunk):
                differs = True
                if not options.check_mode:
                    _io.write_atomically(path, file.chunks())
    if not options.check_mode:
        with _errors_of_files(options.folder):
            comparison.files.store(comparison.now, comparison.earlier)
    return differs


def _notify(report: Report, options: ReportOptions, *, failed: bool) -> Task[list[Notification]]:
    found = options.notifier.notify(report, failed=failed, page=options.page, check_mode=options.check_mode)
    for each in found:
        if each.status == "failed":
            yield from warn(each.warning())
        elif each.status == "would_send":
            line = f"Check mode: the notification {each.target.name!r} would be sent: {each.reason}"
            yield from show_table(lambda line=line, **_layout: [line])
    return found


def _read_notices(options: ReportOptions) -> Task[list[Notice] | None]:
    if options.notices is None:
        return None
    notices, unreadable = notice_fixes.notices_from(options.notices)
    for problem in unreadable[:_NAMED_HOSTS]:
        yield from warn(f"A notice cannot be used completely: {visible(problem)}")
    return notices


def _load_rules(options: ReportOptions, notices: list[Notice] | None, now: datetime.datetime) -> Task[RuleEvaluator]:
    """Load the rules. Without the library that rules need, a report for which no rules were requested has none."""
    requested = (
        options.rules != rule_evaluation.DEFAULT
        or options.closed_cves
        or _FORMATS_OF_RULES.intersection(options.formats)
        or not set(options.fail_on) <= set(STATES)
    )
    try:
        rules = rule_evaluation.load_rules(options.rules, options.closed_cves)
        if not options.exposure.data:
            rules = [rule for rule in rules if rule.id not in rule_evaluation.RULES_OF_VULNERABILITIES]
        fixes = notice_fixes.FixesByNotices(notices, options.closed_cves) if notices else None
        return RuleEvaluator(rules, now, fixes)
    except RuleError:
        raise
    except LivepatchError as error:
        if requested:
            raise
        yield from warn(f"The report is made without rules: {error}")
        return RuleEvaluator([], now)


def _load_waivers(options: ReportOptions, evaluator: RuleEvaluator, now: datetime.datetime) -> Waivers | None:
    if options.waivers is None:
        return None
    # A report without rules cannot know their names.
    known = [rule.id for rule in evaluator.rules]
    rules = [*known, *rule_evaluation.RULES_OF_VULNERABILITIES] if known else None
    return load_waivers(options.waivers, now.date(), groups=options.groups, rules=rules)


def _check_fail_on(names: list[str], evaluator: RuleEvaluator, has_data: bool) -> None:
    rules = [rule.id for rule in evaluator.rules]
    known = [*STATES, *SEVERITIES, *rules]
    for name in names:
        if name in rule_evaluation.NAMES_THAT_NEED_DATA and not has_data:
            raise _invalid(
                f"fail_on: {name!r} needs vulnerability data, and would never make the run fail without it",
                "set vulnerability_data, or remove the entry",
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise _invalid(
                f"fail_on: there is no rule {name!r}. Did you mean {near!r}?",
                f"use a state ({', '.join(STATES)}), a severity ({', '.join(SEVERITIES)}), or a rule "
                f"({', '.join(rules) or 'there are none'})",
            )


def _open_vulnerabilities(
    options: ReportOptions, found: list[store.Stored], waivers: Waivers | None, now: datetime.datetime
) -> HostExposures | None:
    """Return the vulnerabilities of the releases that the records are of, or None if no data is named."""
    if not options.exposure.data:
        return None

    def releases(part: list[store.Stored]) -> set[tuple[str, str]]:
        records = (document.record for document in store.read(part) if isinstance(document, Recorded))
        return {place for record in records if (place := release_and_realm(kernel_evidence(record))) is not None}

    wanted = set[tuple[str, str]]().union(*_shared(releases, _parts(found), len(found)))
    places = [*options.exposure.data, *([] if options.notices is None else [str(options.notices)])]
    try:
        data = DataFiles(options.exposure.cache, Downloader(options.notifier.download_options)).open(places, wanted)
    except OSError as error:
        remedy = "check that the data exists and is readable, and that cache_dir is writable"
        raise _io.file_error(error, str(options.exposure.cache), remedy) from error
    proofs = bool(options.for_scanners and options.folder)
    first_seen = _first_seen(options)
    return HostExposures(data.indexes, options.exposure, now, waivers=waivers, first_seen=first_seen, proofs=proofs)


def _first_seen(options: ReportOptions) -> dict[str, str] | None:
    """Return the date of the first report in which each vulnerability was open, if deadlines count from it."""
    if options.exposure.deadlines_from != "seen" or options.history_place is None:
        return None
    return exposure_history.first_seen(open_history(options.history_place))


def _assemble(
    options: ReportOptions,
    found: list[store.Stored],
    now: datetime.datetime,
    evaluator: RuleEvaluator,
    exposures: HostExposures | None,
) -> Report:
    spool = Spool()
    shares = [(part, spool.writer()) for part in _parts(found)]

    def condensed(share: tuple[list[store.Stored], SpoolWriter]) -> list[Condensed]:
        part, writer = share
        return condense(store.read(part), writer, evaluator, exposures)

    lines = itertools.chain(*_shared(condensed, shares, len(found)))
    report = merge(lines, options.hosts, format_time(now), spool, evaluator)
    report = dataclasses.replace(report, run_started=options.run_started)
    if options.hosts is None or not report.lines:
        _require_store(report, options)
    if report.lines:
        return report
    folders = ", ".join(map(str, options.record_dirs))
    details = "".join(f"; {problem.path}: {problem.message}" for problem in report.problems[:_NAMED_HOSTS])
    raise LivepatchError(
        "nothing_to_report",
        f"there is no host to report on: no record in {folders}, and `hosts` names none{details}",
        "name the folder in which kernelops.livepatch.patch_info stores records, or run the check playbook first",
        **_first_problems(report),
    )


def _require_store(report: Report, options: ReportOptions) -> None:
    """Raise `LivepatchError` if a database was not reached: without it, the hosts of the fleet are not known."""
    for problem, place in itertools.product(report.problems, options.record_dirs):
        if problem.id == causes.STORE_UNREACHABLE.id and problem.path == str(place):
            remedy = causes.STORE_UNREACHABLE.reason(store=place)["remedy"]
            raise LivepatchError(problem.id, problem.message, remedy, **_first_problems(report))


def _first_problems(report: Report) -> dict[str, t.Any]:
    """Return the problems for a failed result, which has room for some of many damaged files."""
    return limit_lists({"problems": _problems(report)}, {"problems": ENTRIES})


def _parts(found: list[store.Stored]) -> list[list[store.Stored]]:
    """Split the files into several parts for each processor, so that all are busy until the end."""
    processors = parallel.processors() if len(found) >= _FEW_HOSTS else 1
    size = -(-len(found) // (_PARTS_OF_PROCESSOR * processors)) if processors > 1 else len(found)
    return [found[begin : begin + size] for begin in range(0, len(found), size or 1)]


def _shared(work: c.Callable[[_Share], _Result], shares: c.Sequence[_Share], hosts: int) -> list[_Result]:
    """Do all shares, in several processes where that saves more time than starting them takes."""
    return parallel.run_shared(work, shares) if hosts >= _FEW_HOSTS else [work(share) for share in shares]


def _with_groups(report: Report, options: ReportOptions) -> Task[Report]:
    """Return a report that shows the groups which `group_by` names, and warn of names that no host has."""
    keys, unknown = groups.shown_keys(options.group_by, (line.groups for line in report.lines))
    # The hosts of a limit need not be in every group.
    if unknown and not options.context.limit:
        known = sorted({key for line in report.lines for key in line.groups})
        yield from warn(
            f"group_by: no host of the report has {visible(', '.join(unknown[:_NAMED_HOSTS]))} "
            f"(recorded: {visible(', '.join(known[:_NAMED_HOSTS])) or 'no groups'}). Check the names, and run the "
            "check playbook with the same group_by"
        )
    return dataclasses.replace(report, group_keys=tuple(keys))


def _add_history(
    report: Report, options: ReportOptions, notices: list[Notice] | None, now: datetime.datetime
) -> Task[tuple[Report, bool]]:
    """Return the report with its history, and True if the history has new sightings. Check mode stores nothing."""
    place = options.history_place
    if place is None:
        return report, False
    history, stored = open_history(place), False
    try:
        if not options.check_mode:
            stored = exposure_history.store_sightings(report, history, options.retention, now)
            if not history.restrict_access():
                yield from warn(
                    f"Other users can read and lock the history {place}, which another user owns. "
                    f"Its owner can prevent this: chmod 0600 {place}"
                )
        found = exposure_history.read_history(history, notices, now)
    except LivepatchError as error:
        if not isinstance(place, DatabaseAddress):
            raise
        # A store that is down does not stop a run. The next report adds the same records.
        yield from warn(f"The report is made without its history: {error}")
        return report, False
    return dataclasses.replace(report, history=found), stored


def _show(report: Report, file: Path | None) -> Task[None]:
    elsewhere = f"The whole table is in {file}." if file else "With output_dir, a file has the whole table."
    yield from show_table(lambda **layout: table.render(report, most=_TERMINAL_HOSTS, elsewhere=elsewhere, **layout))


def _where(report: Report, options: ReportOptions) -> str:
    """Return the line that names the files of the report."""
    names = [f"{path.name}/" if name == OPENVEX else path.name for name, path in options.targets.items()]
    files = ", ".join([*names, *COMPANIONS])
    folder = options.folder
    if options.check_mode:
        return f"Check mode: no file was written to {folder} ({files})."
    if options.context.limit is None:
        return f"The report is in {folder}: {files}."
    none_before = " There is no earlier report with this limit to compare it with." if report.changes is None else ""
    return (
        f"This run was limited to {visible(options.context.limit)}. Its report is in {folder}: {files}. "
        f"The report of the fleet in {options.output_dir} was not changed.{none_before}"
    )


def _write(report: Report, options: ReportOptions) -> tuple[bool, VexFigures | None]:
    """Write the files that differ, or in check mode only compare them.

    Return True if any differs, and the figures of the OpenVEX documents if they are a format.
    """
    targets = options.targets

    def write(name: str) -> tuple[bool, VexFigures | None]:
        with _errors_of_files(targets[name]):
            if name != OPENVEX:
                return _write_file(report, name, targets[name], check_mode=options.check_mode), None
            figures = _write_openvex(report, targets[name], options)
            return bool(figures["changed"]), figures

    # All processes are ready at the same time if the short tasks are the last ones.
    names = sorted(targets, key=lambda name: _SLOWEST_FIRST.index(name) if name in _SLOWEST_FIRST else -1)
    written = _shared(write, names, len(report.lines))
    figures = next((found for _differs, found in written if found is not None), None)
    return any(differs for differs, _figures in written), figures


def _write_file(report: Report, name: str, path: Path, *, check_mode: bool) -> bool:
    layout = FILES[name]
    if _io.has_content(path, layout.render(report), ignore=layout.time_chunk):
        return False
    if not check_mode:
        _io.write_atomically(path, layout.render(report))
    return True


def _write_openvex(report: Report, folder: Path, options: ReportOptions) -> VexFigures:
    exposure = report.vulnerabilities
    documents = vex_documents(*report.proofs(), exposure.indexes, exposure.chosen, options.exposure.openvex_author)
    return update_folder(folder, documents, check_mode=options.check_mode)


@contextlib.contextmanager
def _errors_of_files(path: Path) -> c.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LivepatchError(
            "report_not_written",
            f"the report cannot be written to {path}: {error.strerror or error}",
            "give the user who runs Ansible write access to that folder, and room on its disk, or choose another "
            "output_dir",
        ) from error


def _result(
    report: Report,
    options: ReportOptions,
    openvex: VexFigures | None,
    found: dict[str, list[str]],
    notifications: list[Notification],
    *,
    changed: bool,
) -> dict[str, t.Any]:
    """Return the result. Raises `LivepatchError` (``fail_on``) where the report has what `fail_on` names.

    Raises `LivepatchError` (``notification_failed``) where a notification is required and failed.
    """
    result = {
        "changed": changed,
        "files": [str(path) for path in options.targets.values()],
        "summary": limit_lists(report.summary(), _LIMITS_OF_SUMMARY),
        "history": report.history.summary() if report.history else None,
        "openvex": limit_lists(openvex, _LIMITS_OF_OPENVEX) if openvex else None,
        "changes": report.changes.as_dict(_ENTRIES_OF_RESULT) if report.changes else None,
        "notifications": [each.as_dict() for each in notifications],
    }
    failure = _failure(report, found, options) if found else delivery.failure(notifications)
    if failure is not None:
        # A failed task prints its whole result: the names of all hosts would hide the message.
        raise failure.with_details(**{**result, "changes": report.changes.as_dict(0) if report.changes else None})
    return limit_lists(
        {
            **result,
            "hosts_by_state": report.hosts_by_state(),
            "hosts_by_rule": report.hosts_by_rule(),
            "waived_by_rule": report.waived_by_rule(),
            "problems": _problems(report),
        },
        _LIMITS,
    )


def _found(report: Report, names: list[str]) -> dict[str, list[str]]:
    """Return the hosts of each state, severity and rule that `fail_on` names and that has any."""
    if not names:
        return {}
    severities = {rule.id: rule.severity for rule in report.rules}
    hosts: dict[str, dict[str, None]] = {name: {} for name in names}
    for line in report.lines:
        if not _is_waived(line):
            hosts.get(line.state, {})[line.host] = None
    for where, (rule, _message) in report.findings():
        for name in (rule, severities[rule]):
            hosts.get(name, {})[where.host if where else _FLEET] = None
    return {name: list(found) for name, found in hosts.items() if found}


def _is_waived(line: HostLine) -> bool:
    """Return True if waivers cover what the state of a host stands for.

    They do where a rule has the same name, because `fail_on` cannot distinguish them, and where all vulnerabilities
    that expose the host are waived.
    """
    if line.state == "exposed" and line.exposure is not None:
        return not line.exposure.open
    return any(waived.rule == line.state for waived in line.waived)


def _failure(report: Report, found: dict[str, list[str]], options: ReportOptions) -> LivepatchError:
    texts = []
    for name, hosts in found.items():
        more = f" and {len(hosts) - _NAMED_HOSTS} more" if hosts[_NAMED_HOSTS:] else ""
        texts.append(f"{len(hosts)} {name} ({', '.join(map(visible, hosts[:_NAMED_HOSTS]))}{more})")
    written = f" in {next(iter(options.targets.values()))}" if options.targets else ""
    return LivepatchError(
        "fail_on",
        f"of {len(report.lines)} hosts, {'; '.join(texts)}, which fail_on lists",
        f"see the report{written}: it has the next step for each host",
    )


def _problems(report: Report) -> list[dict[str, str | None]]:
    return [problem.as_dict() for problem in report.problems]


def _invalid(message: str, remedy: str) -> LivepatchError:
    return LivepatchError("options_invalid", message, remedy)


@contextlib.contextmanager
def _without_collector() -> c.Iterator[None]:
    """Disable the garbage collector: it would scan a large fleet repeatedly, and a report leaves no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
