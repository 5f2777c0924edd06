# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `fleet_report`, on folders of records."""

from __future__ import annotations

import csv
import dataclasses
import gc
import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.delivery import Notifier
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.targets import parse_targets
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store, history_db
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import parallel
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import (
    FORMATS,
    FORMATS_OF_SCANNERS,
    NAMES,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.host_exposure import ExposureOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import RunContext
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import fleet_report as task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.fleet_report import (
    ReportOptions,
    fleet_report,
)
from tests.samples.notices import affected, notice
from tests.samples.proofs import KERNEL_ONLY, PATCHED, UNDECIDED, VERSION, a_record
from tests.samples.records import make_record
from tests.samples.replay import NOW, Replay
from tests.samples.vulnerabilities import package, release_data

COMPANIONS = "summary.txt, changes.txt, changes.json"


@pytest.fixture
def options(tmp_path: Path) -> ReportOptions:
    """A report on a protected and a failed host, in every format."""
    folder_store.store(tmp_path / "records", make_record("web1"))
    folder_store.store(tmp_path / "records", make_record("web2", "failed"))
    return ReportOptions(
        record_dirs=(tmp_path / "records",),
        hosts=None,
        formats=tuple(FORMATS),
        output_dir=tmp_path / "report",
        rules="default",
        closed_cves=[],
        waivers=None,
        groups={},
        seats=None,
        fail_on=[],
        history=None,
        retention=None,
        notices=None,
        exposure=ExposureOptions(),
        check_mode=False,
    )


def report(options: ReportOptions, **changes: t.Any) -> tuple[dict[str, t.Any], Replay]:
    replay = Replay(lambda _command: pytest.fail("a report contacts no host"))
    return replay.run(fleet_report(dataclasses.replace(options, **changes))), replay


def error_of(options: ReportOptions, **changes: t.Any) -> LivepatchError:
    with pytest.raises(LivepatchError) as caught:
        report(options, **changes)
    return caught.value


def test_every_format_has_its_file(options: ReportOptions) -> None:
    result, replay = report(options)
    assert result["changed"] is True
    assert [Path(file).suffix for file in result["files"]] == [Path(f"x{f.suffix}").suffix for f in FORMATS.values()]
    assert all(Path(file).stat().st_size for file in result["files"])
    assert "web2" in replay.shown[0]


def test_a_second_report_changes_nothing(options: ReportOptions) -> None:
    report(options)
    assert report(options)[0]["changed"] is False


def test_the_files_of_a_report_are_named(options: ReportOptions) -> None:
    line = report(options, formats=("table", "json"))[1].shown[-1]
    assert line.strip() == f"The report is in {options.output_dir}: fleet.txt, fleet.json, {COMPANIONS}."
    checked = report(options, formats=("table",), check_mode=True)[1].shown[-1]
    assert checked.startswith("Check mode: no file was written to ")
    assert report(options, formats=("json",))[1].shown == [], "standard output keeps another format"


def test_a_limited_report_never_replaces_that_of_the_fleet(options: ReportOptions) -> None:
    assert options.output_dir is not None
    report(options, formats=("json",))
    fleet = (options.output_dir / "fleet.json").read_bytes()
    result, replay = report(
        options, formats=("table", "json"), hosts=["web1"], context=RunContext(limit="web1:\x1b[31m")
    )
    assert result["files"] == [str(options.output_dir / "limited" / f"fleet.{end}") for end in ("txt", "json")]
    assert (options.output_dir / "fleet.json").read_bytes() == fleet
    assert "The report of the fleet in " in replay.shown[-1]
    assert "\x1b" not in replay.shown[-1]


def test_negative_seats_are_refused(options: ReportOptions) -> None:
    assert error_of(options, seats=-1).id == "options_invalid"


def test_check_mode_compares_and_writes_nothing(options: ReportOptions) -> None:
    assert options.output_dir is not None
    assert report(options, check_mode=True)[0]["changed"] is True
    assert not options.output_dir.exists()


def test_what_killed_runs_left_is_removed(options: ReportOptions) -> None:
    report(options)
    left = [folder / f".{'5e' * 8}.tmp" for folder in (*options.record_dirs, options.output_dir) if folder is not None]
    for path in left:
        path.touch()
        os.utime(path, (NOW.timestamp() - 2 * 86_400,) * 2)
    report(options, check_mode=True)
    assert [path.exists() for path in left] == [True, True]
    assert report(options)[0]["changed"] is False
    assert [path.exists() for path in left] == [False, False]


def test_a_history_that_others_can_lock_is_a_warning(
    options: ReportOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tmp_path / "history.db"
    assert report(options, history=history)[1].warnings == []
    monkeypatch.setattr(history_db, "restrict_access", lambda _path: False)
    [warning] = report(options, history=history)[1].warnings
    assert f"chmod 0600 {history}" in warning
    assert report(options, history=history, check_mode=True)[1].warnings == []


def test_fail_on_names_hosts_and_keeps_the_summary(options: ReportOptions) -> None:
    error = error_of(options, fail_on=["failed", "not_protected"])
    assert error.id == "fail_on"
    assert "1 failed (web2)" in error.message
    assert error.details["summary"]["states"]["failed"] == 1
    assert "hosts_by_state" not in error.details
    assert all(Path(file).exists() for file in error.details["files"])


def test_fail_on_without_a_match_succeeds(options: ReportOptions) -> None:
    assert "hosts_by_state" in report(options, fail_on=["tampered"])[0]


@pytest.mark.parametrize(
    ("changes", "error_id", "text"),
    [
        ({"retention": 3}, "options_invalid", "history"),
        ({"retention": 0, "history": Path("h")}, "options_invalid", "1 or more"),
        ({"notices": Path("n")}, "options_invalid", "closed_cves"),
        ({"fail_on": ["end-of-live"]}, "options_invalid", "Did you mean 'end_of_life'?"),
        ({"rules": "/no/such/rules.yml"}, "rules_unusable", "/no/such/rules.yml"),
        ({"closed_cves": ["1086"]}, "rules_unusable", "1086"),
        ({"notices": Path("/no/such"), "closed_cves": ["CVE-2024-1086"]}, "notices_unusable", "/no/such"),
        ({"record_dirs": (Path("/no/such"),)}, "nothing_to_report", "/no/such"),
    ],
)
def test_errors_are_reported_before_anything_is_written(
    options: ReportOptions, changes: dict[str, t.Any], error_id: str, text: str
) -> None:
    error = error_of(options, **changes)
    assert error.id == error_id
    assert text in error.as_result()["msg"]
    assert error.remedy is not None
    assert options.output_dir is not None
    assert not options.output_dir.exists()


def test_a_store_that_is_down_is_the_error(
    options: ReportOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("LIVEPATCH_SPOOL_DIR", str(tmp_path / "spool"))
    place = store_place(f"postgresql://u@/x?host={tmp_path}")
    error = error_of(options, record_dirs=(place,))
    assert error.id == "database_unreachable"
    message = error.as_result()["msg"]
    assert message.count("postgresql://") == 2, "in the message and in the remedy"
    assert "No such file or directory. Check that PostgreSQL runs" in message
    assert error_of(options, record_dirs=(*options.record_dirs, place)).id == "database_unreachable"
    named, _replay = report(options, record_dirs=(*options.record_dirs, place), hosts=["web1", "web2"])
    assert [problem["id"] for problem in named["problems"]] == ["database_unreachable"]


def test_a_report_with_a_limit_may_lack_groups(options: ReportOptions) -> None:
    limited = RunContext(limit="web1")
    assert any("group_by" in text for text in report(options, group_by=("nowhere",))[1].warnings)
    assert not any("group_by" in text for text in report(options, group_by=("nowhere",), context=limited)[1].warnings)


def test_the_report_is_not_written_among_records(options: ReportOptions) -> None:
    folder = options.record_dirs[0] / ".." / "records"
    assert error_of(options, output_dir=folder).id == "options_invalid"


def test_a_folder_that_cannot_be_written_is_named(options: ReportOptions, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = error_of(options, output_dir=tmp_path / "file")
    assert error.id == "report_not_written"
    assert str(tmp_path / "file") in error.message


def test_rules_without_their_library_are_a_warning(options: ReportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_arguments: object) -> t.NoReturn:
        raise LivepatchError("library_missing", "a report with rules needs jmespath")

    monkeypatch.setattr(task.rule_evaluation, "load_rules", missing)
    result, replay = report(options, formats=("table",))
    assert result["hosts_by_rule"] == {}
    assert replay.warnings == ["The report is made without rules: a report with rules needs jmespath"]
    assert error_of(options, formats=("sarif",)).id == "library_missing"


def test_a_large_fleet_is_shared_among_processes(options: ReportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, _replay = report(options)
    monkeypatch.setattr(task, "_FEW_HOSTS", 1)
    monkeypatch.setattr(parallel, "processors", lambda: 3)
    shared, _replay = report(options)
    assert shared == {**alone, "changed": False}


@pytest.mark.parametrize(("files", "processors"), [(1, 4), (10, 2), (100, 3), (7, 16)])
def test_parts_hold_every_file_once(monkeypatch: pytest.MonkeyPatch, files: int, processors: int) -> None:
    monkeypatch.setattr(task, "_FEW_HOSTS", 1)
    monkeypatch.setattr(parallel, "processors", lambda: processors)
    found: list[t.Any] = list(range(files))
    parts = task._parts(found)
    assert [file for part in parts for file in part] == found
    assert 1 <= len(parts) <= 4 * processors


def test_the_collector_runs_again_after_an_error(options: ReportOptions) -> None:
    error_of(options, fail_on=["x"])
    assert gc.isenabled()


def waivers_of(folder: Path, *entries: str, expires: str) -> Path:
    path = folder / "waivers.yml"
    path.write_text(
        "".join(f"- {entry}\n  reason: accepted\n  owner: a team\n  expires: {expires}\n" for entry in entries)
    )
    return path


def test_fail_on_ignores_waived_findings(options: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, "rule: not_protected\n  group: web", expires="2026-06-01")
    groups = {"web": ["web1", "web2"]}
    result, replay = report(options, waivers=path, groups=groups, fail_on=["not_protected"])
    assert result["hosts_by_rule"]["not_protected"] == []
    assert result["waived_by_rule"]["not_protected"] == 2, "the record of web1 is too old"
    assert result["summary"]["states"]["failed"] == 1
    assert replay.warnings == []


def test_the_state_of_a_waived_host_stays(options: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, "host: web2", expires="2026-06-01")
    assert "1 failed (web2)" in error_of(options, waivers=path, fail_on=["failed"]).message


def test_a_waiver_of_the_rule_no_answer_covers_fail_on(options: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, "rule: no_answer\n  host: web3", expires="2026-06-01")
    changes: dict[str, t.Any] = {"hosts": ["web1", "web3"], "fail_on": ["no_answer"]}
    result, _replay = report(options, waivers=path, **changes)
    assert result["hosts_by_state"]["no_answer"] == ["web3"]
    assert "1 no_answer (web3)" in error_of(options, **changes).message


def test_expired_waivers_and_unknown_groups_warn(options: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, "rule: not_protected\n  group: wep", expires="2025-12-31")
    result, replay = report(options, waivers=path, groups={"web": ["web2"]})
    assert "web2" in result["hosts_by_rule"]["not_protected"]
    assert ["Expired waivers" in each or "wep" in each for each in replay.warnings] == [True, True]


def test_a_waiver_of_an_unknown_rule_is_an_error(options: ReportOptions, tmp_path: Path) -> None:
    error = error_of(options, waivers=waivers_of(tmp_path, "rule: not_protcted", expires="2026-06-01"))
    assert error.id == "waivers_unusable"
    assert "waivers.yml:1: [0].rule: there is no rule 'not_protcted'; did you mean not_protected?" in error.message
    assert options.output_dir is not None
    assert not options.output_dir.exists()


# --- vulnerabilities


@pytest.fixture
def exposed(options: ReportOptions, tmp_path: Path) -> ReportOptions:
    """The same report with data in which a vulnerability is open on both hosts."""
    data = tmp_path / "data"
    data.mkdir()
    content = release_data({"linux": package({"CVE-2025-1001": "4.4.0-200.232"}, "4.4.0-168.197")})
    (data / "com.ubuntu.xenial.pkg.json").write_text(json.dumps(content), encoding="utf-8")
    return dataclasses.replace(options, exposure=ExposureOptions((str(data),), tmp_path / "cache"))


def test_the_report_evaluates_vulnerabilities(exposed: ReportOptions) -> None:
    result, _replay = report(exposed)
    assert result["hosts_by_state"]["exposed"] == ["web1"]
    assert result["hosts_by_state"]["failed"] == ["web2"], "another problem comes first"
    assert result["summary"]["vulnerabilities"]["open_cves"] == {"high": 1}
    assert result["hosts_by_rule"]["vulnerability_open"] == ["web2", "web1"]
    assert report(exposed)[0]["changed"] is False


def test_an_exposed_host_can_fail_the_run(exposed: ReportOptions) -> None:
    error = error_of(exposed, fail_on=["exposed"])
    assert error.id == "fail_on"
    assert "1 exposed (web1)" in str(error)


def test_deadlines_can_count_from_the_first_report(exposed: ReportOptions, tmp_path: Path) -> None:
    exposure = dataclasses.replace(exposed.exposure, deadlines={"high": 60}, deadlines_from="seen")
    history = tmp_path / "history.sqlite"
    for _run in range(2):
        result, _replay = report(exposed, exposure=exposure, history=history, formats=("json",))
        assert result["hosts_by_rule"]["vulnerability_overdue"] == []
    published = dataclasses.replace(exposed.exposure, deadlines={"high": 60})
    assert report(exposed, exposure=published)[0]["hosts_by_rule"]["vulnerability_overdue"] != []
    with pytest.raises(LivepatchError, match="needs a history"):
        dataclasses.replace(exposed, exposure=exposure)


def test_waived_vulnerabilities_are_findings_of_their_waiver(exposed: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, "cve: CVE-2025-1001\n  host: web2", expires="2026-06-01")
    report(exposed, waivers=path, formats=("json",))
    document = json.loads((tmp_path / "report" / "fleet.json").read_text(encoding="utf-8"))
    assert [waiver["findings"] for waiver in document["waivers"]] == [1]
    assert document["summary"]["waived"] == 1, "the rule that the vulnerability would violate"
    [waived] = document["waived"]
    assert (waived["rule"], waived["host"]) == ("vulnerability_open", "web2")
    assert document["summary"]["vulnerabilities"]["not_waived"]["waived"] == 1
    found = {each["host"]: each["vulnerabilities"] for each in document["records"]}
    assert (found["web2"]["waived"], found["web2"]["open_cves"]) == (1, [])
    assert [each["cve"] for each in found["web2"]["waived_cves"]] == ["CVE-2025-1001"]
    assert (found["web1"]["waived"], len(found["web1"]["open_cves"])) == (0, 1)


def test_a_run_fails_only_for_what_is_not_waived(exposed: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, "cve: CVE-2025-1001\n  host: web1", expires="2026-06-01")
    failing = ["exposed", "vulnerability_open"]
    error = error_of(exposed, waivers=path, fail_on=failing)
    assert "1 vulnerability_open (web2)" in str(error)
    assert "exposed (" not in str(error)
    path = waivers_of(tmp_path, "cve: CVE-2025-1001", expires="2026-06-01")
    result, _replay = report(exposed, waivers=path, fail_on=failing)
    assert result["hosts_by_state"]["exposed"] == ["web1"], "the vulnerability is accepted, not closed"
    assert result["waived_by_rule"]["vulnerability_open"] == 2


def test_unusable_data_fails_the_run(options: ReportOptions, tmp_path: Path) -> None:
    error = error_of(options, exposure=ExposureOptions((str(tmp_path / "missing"),), tmp_path / "cache"))
    assert error.id == "files"
    assert "missing" in str(error)
    assert not (tmp_path / "report").exists(), "no host may be shown as protected without the evaluation"


def test_a_rule_about_vulnerabilities_needs_data(options: ReportOptions, exposed: ReportOptions) -> None:
    rule = {"id": "named", "expression": "open_cves[?cve == 'CVE-2025-1001']", "message": "open"}
    error = error_of(options, rules=rule)
    assert (error.id, "rule named uses open_cves" in str(error)) == ("rules_unusable", True)
    result, _replay = report(exposed, rules=rule)
    assert result["hosts_by_rule"]["named"] == ["web2", "web1"]


def test_notices_complete_vulnerability_data(exposed: ReportOptions, tmp_path: Path) -> None:
    notices = tmp_path / "LSN-0101-1.json"
    content = notice("0101-1", affected(version="101"), upstream=["UBUNTU-CVE-2025-1001"])
    notices.write_text(json.dumps(content), encoding="utf-8")
    report(exposed, notices=notices, formats=("json",))
    document = json.loads((tmp_path / "report" / "fleet.json").read_text(encoding="utf-8"))
    found = next(each for each in document["records"] if each["host"] == "web1")
    assert found["assessment"]["reasons"][0]["remedy"] == (
        "apply live patch 101 or newer: ansible-playbook kernelops.livepatch.patch --limit web1"
    )
    assert document["vulnerabilities"]["cves"][0]["groups"][0]["fix"] == "patch"


def test_rules_about_vulnerabilities_exist_with_data_only(options: ReportOptions, exposed: ReportOptions) -> None:
    rules = {"vulnerability_open", "vulnerability_overdue"}
    assert rules <= report(exposed)[0]["hosts_by_rule"].keys()
    assert not rules & report(options)[0]["hosts_by_rule"].keys()


@pytest.mark.parametrize("name", ["exposed", "vulnerability_open", "vulnerability_overdue"])
def test_fail_on_refuses_what_needs_missing_data(options: ReportOptions, name: str) -> None:
    error = error_of(options, fail_on=["failed", name])
    assert (error.id, error.message, error.remedy) == (
        "options_invalid",
        f"fail_on: {name!r} needs vulnerability data, and would never make the run fail without it",
        "set vulnerability_data, or remove the entry",
    )


# --- formats for vulnerability scanners


@pytest.fixture
def scanned(options: ReportOptions, tmp_path: Path) -> ReportOptions:
    """A report for scanners: `web1` runs a patch that fixes a vulnerability, `web2` does not, `db1` gave no answer."""
    data = tmp_path / "data"
    data.mkdir()
    versions = {PATCHED: "4.4.0-200.232", KERNEL_ONLY: "4.4.0-201.233", UNDECIDED: ("deferred", None)}
    content = release_data({"linux": package(dict(versions), VERSION)})
    (data / "com.ubuntu.xenial.pkg.json").write_text(json.dumps(content), encoding="utf-8")
    fixes = notice("0065-1", affected(version="65"), upstream=[PATCHED])
    (data / "LSN-0065-1.json").write_text(json.dumps(fixes), encoding="utf-8")
    for record in (a_record("web1"), a_record("web2", patched=False)):
        folder_store.store(tmp_path / "records", record)
    return dataclasses.replace(
        options,
        hosts=["web1", "web2", "db1"],
        formats=("openvex", "scanner_csv"),
        exposure=ExposureOptions((str(data),), tmp_path / "cache", openvex_author="a team"),
    )


def statuses_of(folder: Path, host: str) -> dict[str, str]:
    name = json.loads((folder / "index.json").read_text(encoding="utf-8"))["hosts"][host]
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    assert document["author"] == "a team"
    return {each["vulnerability"]["name"]: each["status"] for each in document["statements"]}


def test_scanners_get_documents_and_a_table(scanned: ReportOptions, tmp_path: Path) -> None:
    result, _replay = report(scanned)
    folder, table = tmp_path / "report" / "openvex", tmp_path / "report" / "fleet.scanner.csv"
    assert (result["changed"], result["files"]) == (True, [str(folder), str(table)])
    assert statuses_of(folder, "web1")[PATCHED] == "not_affected"
    assert statuses_of(folder, "web2")[PATCHED] == "affected"
    rows = {(row["host"], row["cve"]): row["status"] for row in csv.DictReader(table.read_text().splitlines())}
    assert [rows[host, PATCHED] for host in ("web1", "web2", "db1")] == ["live_patched", "open", "unknown"]
    figures = result["openvex"]
    assert (figures["documents"], figures["without_document"], len(figures["changed"])) == (2, 1, 3)


def test_the_second_run_of_scanner_formats_changes_nothing(scanned: ReportOptions) -> None:
    checked, _replay = report(scanned, check_mode=True)
    assert scanned.output_dir is not None
    assert (checked["changed"], scanned.output_dir.exists()) == (True, False)
    assert report(scanned)[0]["openvex"] == checked["openvex"]
    second, _replay = report(scanned)
    assert (second["changed"], second["openvex"]["changed"]) == (False, [])


def test_the_formats_of_scanners_are_named(scanned: ReportOptions) -> None:
    line = report(scanned, formats=("table", "openvex", "scanner_csv"))[1].shown[-1]
    assert line.endswith("fleet.txt, openvex/, fleet.scanner.csv, summary.txt, changes.txt, changes.json.")


def test_a_limited_report_has_documents_of_its_own(scanned: ReportOptions, tmp_path: Path) -> None:
    report(scanned)
    before = {path: path.read_bytes() for path in (tmp_path / "report").rglob("*.*")}
    result, _replay = report(scanned, hosts=["web2"], context=RunContext(limit="web2"))
    limited = tmp_path / "report" / "limited"
    assert result["files"] == [str(limited / "openvex"), str(limited / "fleet.scanner.csv")]
    assert {path: path.read_bytes() for path in before} == before
    assert list(json.loads((limited / "openvex" / "index.json").read_text())["hosts"]) == ["web2"]


def test_a_waived_vulnerability_has_its_date(scanned: ReportOptions, tmp_path: Path) -> None:
    path = waivers_of(tmp_path, f"cve: {PATCHED}", expires="2026-06-01")
    report(scanned, waivers=path)
    table = (tmp_path / "report" / "fleet.scanner.csv").read_text()
    rows = {(row["host"], row["cve"]): row["waived_until"] for row in csv.DictReader(table.splitlines())}
    assert [rows[host, PATCHED] for host in ("web1", "web2", "db1")] == ["", "2026-06-01", "2026-06-01"]
    assert rows["web2", KERNEL_ONLY] == ""


@pytest.mark.parametrize("formats", [("openvex",), ("table", "scanner_csv"), ("openvex", "json", "scanner_csv")])
def test_formats_of_scanners_need_vulnerability_data(options: ReportOptions, formats: tuple[str, ...]) -> None:
    error = error_of(options, formats=formats)
    named = " or ".join(name for name in formats if name in FORMATS_OF_SCANNERS)
    assert error.id == "options_invalid"
    assert error.message == f"without vulnerability_data, a report cannot be written as {named}"
    assert options.output_dir is not None
    assert not options.output_dir.exists()


def test_several_processes_write_the_same_documents(scanned: ReportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = tuple(NAMES)
    first, _replay = report(scanned, formats=formats)
    monkeypatch.setattr(task, "_FEW_HOSTS", 1)
    monkeypatch.setattr(parallel, "processors", lambda: 3)
    second, _replay = report(scanned, formats=formats)
    assert (second["changed"], second["openvex"]) == (False, {**first["openvex"], "changed": []})


def test_what_killed_runs_left_in_the_documents_is_removed(scanned: ReportOptions, tmp_path: Path) -> None:
    report(scanned)
    left = tmp_path / "report" / "openvex" / f".{'5e' * 8}.tmp"
    left.touch()
    os.utime(left, (NOW.timestamp() - 2 * 86_400,) * 2)
    report(scanned)
    assert not left.exists()


def test_a_folder_of_documents_that_cannot_be_written_is_named(scanned: ReportOptions, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "openvex").touch()
    error = error_of(scanned)
    assert (error.id, str(tmp_path / "report" / "openvex") in error.message) == ("report_not_written", True)


def test_only_formats_of_scanners_keep_proofs(scanned: ReportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    merge = task.merge

    def spy(lines: t.Any, *rest: t.Any) -> t.Any:
        found = merge(lines, *rest)
        kept.append(any(line.proof for line in found.lines))
        return found

    monkeypatch.setattr(task, "merge", spy)
    report(scanned, formats=("json",))
    report(scanned, output_dir=None)
    report(scanned)
    assert kept == [False, False, True]


def folder_of(options: ReportOptions) -> Path:
    assert options.output_dir is not None
    return options.output_dir


def test_a_report_has_what_changed_since_the_last_one(options: ReportOptions) -> None:
    first, replay = report(options)
    assert first["changes"] is None
    assert "Changes" not in replay.shown[0]
    assert (folder_of(options) / "summary.txt").read_text().startswith("Livepatch report of ")
    folder_store.store(options.record_dirs[0], make_record("web1", "failed", collected_at="2026-02-28T05:00:00Z"))
    folder_store.store(options.record_dirs[0], make_record("web3", collected_at="2026-02-28T05:00:00Z"))
    second, replay = report(options)
    assert [each["host"] for each in second["changes"]["new"]["first"]] == ["web3"]
    assert "web1: outdated -> failed" in replay.shown[0]
    for name in ("fleet.txt", "fleet.md", "fleet.html", "changes.txt"):
        text = (folder_of(options) / name).read_text()
        assert "outdated -&gt; failed" in text or "outdated -> failed" in text, name
    assert json.loads((folder_of(options) / "changes.json").read_text())["changes"]["others"]["number"] == 1
    third, _replay = report(options)
    assert (third["changes"], third["changed"]) == (second["changes"], False), "the same records, the same changes"


def test_a_limited_report_is_compared_with_the_same_limit(options: ReportOptions) -> None:
    report(options, hosts=["web1", "web2"])
    results = [report(options, hosts=["web1"], context=RunContext(limit=limit))[0] for limit in ("web1", "other")]
    assert [result["changes"] for result in results] == [None, None]
    assert "no earlier report with the limit 'other'" in (folder_of(options) / "limited" / "changes.txt").read_text()
    folder_store.store(options.record_dirs[0], make_record("web1", "failed", collected_at="2026-02-28T05:00:00Z"))
    changes = report(options, hosts=["web1"], context=RunContext(limit="web1"))[0]["changes"]
    assert (changes["others"]["number"], changes["gone"]["number"]) == (1, 0)
    again = [report(options, hosts=["web1"], context=RunContext(limit=limit))[1].shown for limit in ("web1", "new")]
    assert ["no earlier report" in shown[-1] for shown in again] == [False, True]


def test_check_mode_shows_changes_and_keeps_the_last_report(options: ReportOptions) -> None:
    report(options)
    before = {path: path.read_bytes() for path in folder_of(options).rglob("*") if path.is_file()}
    folder_store.store(options.record_dirs[0], make_record("web1", "failed", collected_at="2026-02-28T05:00:00Z"))
    for _again in range(2):
        result, replay = report(options, check_mode=True)
        assert result["changes"]["others"]["number"] == 1
        assert "web1: outdated -> failed" in replay.shown[0]
    assert {path: path.read_bytes() for path in folder_of(options).rglob("*") if path.is_file()} == before


def test_broken_states_are_a_warning(options: ReportOptions) -> None:
    report(options)
    (folder_of(options) / "states" / "recorded.json").write_text("{", encoding="utf-8")
    result, replay = report(options)
    assert result["changes"] is None
    assert "recorded.json cannot be used: it is not a file of states, or it is cut off" in replay.warnings[0]


NOWHERE = {"type": "slack", "url": "http://localhost:1/services/T0SECRET", "when": "always", "timeout": 1}


def test_a_failed_notification_loses_no_report(options: ReportOptions) -> None:
    notifier = Notifier(parse_targets([NOWHERE]))
    result, replay = report(options, notifier=notifier)
    assert [each["status"] for each in result["notifications"]] == ["failed"]
    assert replay.warnings[0].startswith("The notification 'slack localhost' was not sent. ")
    assert "SECRET" not in json.dumps([result, replay.warnings])
    assert (folder_of(options) / "fleet.json").is_file()
    required = Notifier(parse_targets([{**NOWHERE, "required": True}]))
    error = error_of(options, notifier=required)
    assert error.id == "notification_failed"
    assert error.details["summary"]["hosts"] == 2
    assert error_of(options, notifier=required, fail_on=["failed"]).id == "fail_on", "the report comes first"


def test_check_mode_shows_what_would_be_sent(options: ReportOptions) -> None:
    result, replay = report(options, notifier=Notifier(parse_targets([NOWHERE])), check_mode=True)
    assert [each["status"] for each in result["notifications"]] == ["would_send"]
    assert "Check mode: the notification 'slack localhost' would be sent: Livepatch report: " in replay.shown[-1]


def test_notifications_need_a_folder(options: ReportOptions) -> None:
    error = error_of(options, notifier=Notifier(parse_targets([NOWHERE])), output_dir=None)
    assert (error.id, error.remedy) == ("options_invalid", "set output_dir, or remove notify")


def test_a_folder_without_records_is_an_error(options: ReportOptions, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert error_of(options, record_dirs=(tmp_path / "empty",)).id == "nothing_to_report"


def test_many_problems_fit_into_a_failed_result(options: ReportOptions, tmp_path: Path) -> None:
    missing = tuple(tmp_path / f"folder-{number:04}" for number in range(600))
    result = error_of(options, record_dirs=missing, hosts=None).as_result()
    assert result["error_id"] == "nothing_to_report"
    assert len(result["problems"]) + result["not_listed"]["problems"] == 600
    assert len(json.dumps({**result, "msg": ""})) < 60_000


def test_the_result_for_many_hosts_is_small(options: ReportOptions) -> None:
    """AWX removes results of more than 700,000 bytes."""
    hosts = [f"web-{number:06}.example.com" for number in range(20_000)]
    rules = [{"id": "silent", "expression": "state == 'no_answer'", "message": "there is no answer"}]
    result, _replay = report(options, hosts=hosts, rules=rules, formats=())
    assert len(json.dumps(result)) < 300_000 < len(json.dumps(hosts))
    assert result["summary"]["states"]["no_answer"] == result["summary"]["rules"]["silent"] == len(hosts)
    for key, name in (("hosts_by_state", "no_answer"), ("hosts_by_rule", "silent")):
        assert result[key][name] == hosts[: len(result[key][name])]
        assert len(result[key][name]) + result["not_listed"][key] == len(hosts)
