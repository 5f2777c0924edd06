# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Validation of the variables of a run: what contradicts each other, and what a playbook needs."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.faults import Fault
from ansible_collections.kernelops.livepatch.plugins.module_utils._variables.validation import (
    Settings,
    validate_role,
    validate_variables,
)

TOKEN = "0123456789abcdef0123456789abcdef"


def faults(playbook: str, **given: t.Any) -> list[str]:
    """Return the faults of a run with these variables, and what else `Settings` has. `hosts_` is the variable."""
    defaults: dict[str, t.Any] = {
        "inventory": ["web-1"],
        "hosts": ["web-1"],
        "groups": ["all", "production"],
        "variables": ["region"],
        "tags": [],
        "found": [],
        "values_of_hosts": [],
    }
    own = {name: given.pop(name) for name in defaults if name in given}
    values = {f"livepatch_{name.rstrip('_')}": value for name, value in given.items()}
    settings = Settings(playbook=playbook, values=values, **{**defaults, **own})
    try:
        next(validate_variables(settings))
    except StopIteration:
        return []
    except LivepatchError as error:
        assert error.id == "variables_invalid"
        return [line.removeprefix("- ") for line in error.message.splitlines()[1:]]
    raise AssertionError("the validation has no commands")


def test_valid_variables_have_no_fault(tmp_path: Path) -> None:
    folders = {"record_dir": str(tmp_path / "records"), "report_dir": str(tmp_path / "report")}
    assert faults("check", seats=0, fail_on=["no_answer"], rules="default", **folders) == []
    assert list(tmp_path.iterdir()) == []


def test_all_faults_are_listed_once() -> None:
    fault = Fault("livepatch_polcy", "there is no such variable")
    found = faults("check", found=[fault, fault], seats=-1, values_of_hosts=[("livepatch_delay", -2, "web-1")])
    assert found == [
        "livepatch_polcy: there is no such variable",
        "livepatch_seats: -1 is not allowed; the least is 0",
        "livepatch_delay of web-1: -2 is not allowed; the least is 0",
    ]


@pytest.mark.parametrize(("playbook", "number"), [("check", 1), ("enable", 1), ("report", 0), ("exposure", 0)])
def test_only_playbooks_that_contact_hosts_need_one(playbook: str, number: int) -> None:
    found = faults(playbook, hosts=[], inventory=[])
    assert len([line for line in found if line.startswith("livepatch_hosts")]) == number
    assert all("which has no hosts: name an inventory with -i" in line for line in found[:number])
    near = "livepatch_hosts: the pattern 'prodution' matches no host of the inventory; did you mean 'production'?"
    assert faults(playbook, hosts=[], hosts_="prodution")[:number] == [near] * number


@pytest.mark.parametrize(
    ("token", "via", "text"),
    [
        ("", "livepatch", "there is no token"),
        ("a b", "livepatch", "invalid characters"),
        (TOKEN, "pro", "Livepatch token"),
    ],
)
def test_enable_needs_a_usable_token(token: str, via: str, text: str) -> None:
    [found] = faults("enable", token=token, via=via)
    assert text in found
    assert faults("check", token=token, via=via) == []
    assert faults("enable", token=TOKEN, via="livepatch") == []


def test_canaries_must_be_hosts() -> None:
    for playbook in ("enable", "patch", "upgrade"):
        [found] = [line for line in faults(playbook, canary="web-9") if line.startswith("livepatch_canary")]
        assert found == "livepatch_canary: the canary web-9 is not a host of this run; did you mean 'web-1'?"
    assert faults("patch", canary="1") == faults("upgrade", canary=["web-1"]) == faults("check", canary="web-9") == []


def test_the_nearest_host_is_suggested() -> None:
    assert faults("patch", event_host="web-1") == []
    for variable in ("canary", "event_host"):
        [found] = faults("patch", **{variable: "web1"})
        assert found.startswith(f"livepatch_{variable}: ")
        assert found.endswith(" is not a host of this run; did you mean 'web-1'?")


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"snap_file": "client.snap"}, "snap_file is not an absolute path of a file on the host; set `snap_file`"),
        ({"snap_assertion": "/srv/x.assert"}, "snap_assertion is set without the snap"),
        ({"snap_file": "/srv/x.snap", "channel": "latest/edge"}, "does not follow a channel"),
    ],
)
def test_snap_files_are_checked_before_a_host_is_contacted(variables: dict[str, t.Any], text: str) -> None:
    [found] = faults("enable", **variables)
    assert found.startswith("livepatch_snap_file: ")
    assert text in found
    assert faults("patch", **variables) == faults("enable", snap_file="", channel="edge") == []


def test_unknown_tags_are_faults() -> None:
    assert faults("check", tags=["all", "collect", "report"]) == []
    assert faults("check", tags=["x"]) == ["--tags: no task has the tag 'x'; the tags are collect and report"]


def test_retention_and_notices_need_a_history(tmp_path: Path) -> None:
    history = str(tmp_path / "h.sqlite")
    assert len(faults("check", retention=30)) == 1
    assert len(faults("check", notices=str(tmp_path))) == 1
    [seen] = faults("check", vulnerability_deadlines_from="seen")
    assert seen == "livepatch_vulnerability_deadlines_from: 'seen' needs the file of a history in livepatch_history"
    assert faults("check", vulnerability_deadlines_from="seen", history=history) == []
    assert faults("check", notices=str(tmp_path), closed_cves=["CVE-2024-1086"]) == []
    assert faults("check", notices=str(tmp_path), retention=30, history=history) == []
    assert faults("exposure", notices=str(tmp_path)) == []


def test_a_store_without_a_database_needs_an_import_or_an_export(tmp_path: Path) -> None:
    [nothing] = faults("store")
    assert nothing.startswith("livepatch_store: there is nothing to do")
    assert faults("store", store="postgresql://db.example.com/livepatch") == []
    assert faults("store", export=str(tmp_path / "records.jsonl")) == []


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"report_formats": ["openvex"]}, "report_formats: without livepatch_vulnerability_data, a report cannot be "),
        ({"report_formats": ["json", "scanner_csv"], "vulnerability_data": []}, "cannot be written as scanner_csv"),
        ({"report_formats": ["openvex", "scanner_csv", "openvex"]}, "cannot be written as openvex or scanner_csv"),
        ({"vulnerability_deadlines": {"high": 30}}, "deadlines: they need livepatch_vulnerability_data"),
    ],
)
def test_what_needs_vulnerability_data(variables: dict[str, t.Any], text: str, tmp_path: Path) -> None:
    for playbook in ("check", "enable", "patch", "report", "upgrade"):
        [found] = [line for line in faults(playbook, **variables) if "vulnerability_data" in line]
        assert text in found
        given = {**variables, "vulnerability_data": [str(tmp_path)]}
        assert [line for line in faults(playbook, **given) if "vulnerability_data" in line] == []
    assert faults("exposure", **variables) == [], "the playbook creates no report, and has a default"


WAIVER = "- cve: CVE-2024-1086\n  reason: accepted\n  owner: a team\n  expires: 2026-02-30\n"


@pytest.mark.parametrize("playbook", ["check", "exposure", "report"])
def test_waivers_are_read_before_a_host_is_contacted(playbook: str, tmp_path: Path) -> None:
    path = tmp_path / "waivers.yml"
    path.write_text(WAIVER, encoding="utf-8")
    [found] = faults(playbook, waivers=str(path))
    assert found.startswith(f"livepatch_waivers: {path}:4: [0].expires: expected a date")
    [missing] = faults(playbook, waivers=str(tmp_path / "none.yml"))
    assert "none.yml" in missing
    assert faults("vulnerability_data", waivers=str(path)) == []


def test_waivers_name_rules_of_the_report(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yml"
    waiver = WAIVER.replace("2026-02-30", "2026-02-27").replace("cve: CVE-2024-1086", "rule: {}")
    for rule in ("not_protected", "vulnerability_open", "CVE-2024-1086"):
        path.write_text(waiver.format(rule), encoding="utf-8")
        assert faults("check", waivers=str(path), rules="default", closed_cves=["CVE-2024-1086"]) == []
    path.write_text(waiver.format("not_protcted"), encoding="utf-8")
    [found] = faults("check", waivers=str(path), rules="default")
    assert "did you mean not_protected?" in found
    assert faults("exposure", waivers=str(path), rules="default") == [], "the playbook has no rules"


def test_data_is_downloaded_for_releases(tmp_path: Path) -> None:
    [empty] = faults("vulnerability_data", releases=[])
    assert empty.startswith("livepatch_releases: it is empty; name releases: -e '")
    assert faults("vulnerability_data", releases=["24.04", "xenial"]) == faults("check", releases=[]) == []
    (tmp_path / "file").touch()
    [found] = faults("vulnerability_data", releases=["24.04"], vulnerability_data_dir=str(tmp_path / "file" / "x"))
    assert found.startswith("livepatch_vulnerability_data_dir: ")


def test_record_folders_are_those_of_the_playbook(tmp_path: Path) -> None:
    two = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert faults("check", record_dir=two) == ["livepatch_record_dir: the playbook check needs one folder, not 2"]
    assert faults("check", record_dir=",".join(two)) == faults("check", record_dir=two)
    assert faults("check", record_dir=[]) == ["livepatch_record_dir: the value is empty; it needs a folder"]
    for playbook in ("enable", "report", "exposure"):
        assert [line for line in faults(playbook, record_dir=two) if "folder" in line] == []


def test_report_and_records_need_different_folders(tmp_path: Path) -> None:
    [found] = faults("check", record_dir=str(tmp_path / "x"), report_dir=str(tmp_path / "." / "x"))
    assert found == f"livepatch_report_dir: {tmp_path / 'x'} is the folder of the records; choose another one"


def test_output_files_of_the_playbook_are_checked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = str(tmp_path / "file" / "below")
    assert len(faults("check", history=below, exposure_file=below)) == 1
    assert len(faults("exposure", history=below, exposure_file=below, openvex_dir=below, scanner_csv=below)) == 3


def test_a_role_fails_with_its_faults() -> None:
    with pytest.raises(LivepatchError, match=r"- client_sate: wrong\n"):
        next(validate_role("client", [Fault("client_sate", "wrong")]))
    with pytest.raises(StopIteration):
        next(validate_role("client", []))


@pytest.mark.parametrize("name", ["exposed", "vulnerability_open", "vulnerability_overdue"])
def test_fail_on_names_that_need_data_are_faults(name: str) -> None:
    given: dict[str, t.Any] = {"fail_on": ["failed", name], "rules": "default"}
    assert faults("check", **given) == [
        f"livepatch_fail_on: '{name}' needs livepatch_vulnerability_data, and would never make the run fail without it"
    ]
    assert faults("check", **given, vulnerability_data=["https://example.com/"]) == []


@pytest.mark.parametrize(
    ("store", "text"),
    [
        ("mysql://db/livepatch", "no store with the scheme mysql"),
        ("postgresql://db/livepatch?password=s3cret", "use the variable PGPASSWORD"),
        (["postgresql://db/a", "postgresql://db/b"], "the playbook check needs one folder, not 2"),
        ([], "the value is empty"),
    ],
)
def test_a_store_that_cannot_be_used_is_a_fault(store: object, text: str) -> None:
    [found] = faults("check", store=store)
    assert found.startswith("livepatch_store: ")
    assert text in found
    assert "s3cret" not in found


def test_a_store_in_a_database_has_its_history() -> None:
    for playbook in ("check", "enable", "report"):
        assert faults(playbook, store="postgresql://one,two/livepatch", retention=30) == []


def test_a_store_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    [found] = faults("check", store="postgresql://db/livepatch")
    assert "python3 -m pip install 'psycopg[binary]>=3'" in found


def test_an_import_needs_a_database(tmp_path: Path) -> None:
    given = {"import": [str(tmp_path)], "import_history": str(tmp_path / "missing")}
    assert len(faults("store", store=str(tmp_path), **given)) == 3
    assert len(faults("store", store="postgresql:///?service=livepatch", **given)) == 1
    assert faults("store", store="postgresql:///?service=livepatch", **{"import": [str(tmp_path)]}) == []


def test_a_group_must_be_in_the_inventory() -> None:
    assert faults("check", group_by=["production", "region"]) == []
    assert faults("report", group_by=["elsewhere"]) == [], "the records can be of another inventory"
    assert faults("check", group_by=["prodution", "x"]) == [
        (
            "livepatch_group_by: 'prodution' is neither a group of the inventory nor a variable of its hosts; "
            "did you mean 'production'?"
        ),
        "livepatch_group_by: 'x' is neither a group of the inventory nor a variable of its hosts",
    ]
