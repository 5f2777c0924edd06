# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `exposure_info` and the playbook `exposure`: vulnerabilities of a fleet, from records and made-up data."""

from __future__ import annotations

import datetime
import json
import lzma
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.integration.module_runner import ModuleRunner
from tests.integration.record_files import write_attempt, write_record
from tests.lab import Fleet
from tests.samples.notices import affected, notice
from tests.samples.records import make_record
from tests.samples.vulnerabilities import package, release_data

MODULE = "kernelops.livepatch.exposure_info"
CVE, NEWER, LOW = "CVE-2031-1001", "CVE-2031-1002", "CVE-2031-1003"
DATA = release_data(
    {"linux": package({CVE: "4.4.0-251.285", NEWER: None, LOW: "4.4.0-251.285"}, "4.4.0-168.197", "4.4.0-251.285")},
    {LOW: "low"},
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "com.ubuntu.xenial.pkg.json.xz").write_bytes(lzma.compress(json.dumps(DATA).encode()))
    document = notice("0113-1", affected(version="113", fixed="4.4.0-251.285"), upstream=[f"UBUNTU-{CVE}"])
    (folder / "LSN-0113-1.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A fleet with every status: `web-01` runs a patch, `web-02` an older one, `db-01` a newer kernel."""
    folder = tmp_path / "records"
    plain = make_record()["patch"]
    listed: t.Any = [{"cve": CVE, "patched": True}]
    write_record(folder, make_record("web-01", patch__fixes=listed))
    write_record(folder, make_record("web-02", patch__fixes=[]))
    write_record(folder, make_record("web-03", "tampered", patch__fixes=listed))
    write_record(
        folder,
        make_record(
            "db-01", patch={**plain, "version": None, "fixes": []}, system__kernel__full="4.4.0-251.285-generic"
        ),
    )
    write_record(folder, make_record("db-02", patch__fixes=listed))
    write_attempt(folder, "db-02", "2026-01-10T07:00:00Z")
    return folder


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    return Ansible(tmp_path, {})


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleRunner]:
    runner = ModuleRunner("exposure_info")
    yield runner
    runner.close()


def options(records: Path, data: Path, tmp_path: Path, **more: t.Any) -> dict[str, t.Any]:
    return {
        "record_dir": [str(records)],
        "vulnerability_data": [str(data)],
        "cache_dir": str(tmp_path / "cache"),
        **more,
    }


@pytest.mark.matrix
@pytest.mark.parametrize("words", [(), ("--check", "--diff")], ids=["run", "check"])
def test_every_host_has_a_status(
    ansible: Ansible, records: Path, data: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    output = tmp_path / "exposure.json"
    given = options(records, data, tmp_path, cve=CVE.lower(), output_file=str(output))
    result = ansible.task(MODULE, "localhost", *words, **given).result("localhost")
    assert (result["kind"], result["changed"], output.exists()) == ("ok", True, not words)
    counts = {"open": 1, "unknown": 2, "live_patched": 1, "fixed": 1, "not_affected": 0}
    assert (result["hosts"], result["hosts_by_status"], result["evaluated"]) == (5, counts, 1)
    (found,) = result["cves"]
    assert (found["cve"], found["priority"], found["published"], found["counts"]) == (CVE, "high", "2031-01-02", counts)
    assert [(each["status"], each["hosts"], each["reason"], each["fix"]) for each in found["groups"]] == [
        ("open", ["web-02"], None, "patch"),
        ("unknown", ["web-03"], "patch_not_confirmed", None),
        ("unknown", ["db-02"], "no_current_record", None),
        ("live_patched", ["web-01"], None, None),
        ("fixed", ["db-01"], None, None),
    ]
    assert [(each["reason"], each["hosts"]) for each in result["without_data"]] == [("no_current_record", ["db-02"])]
    assert (result["left_out"], result["unreadable"], result["problems"], result["fetched"]) == (0, [], [], False)
    assert result["oldest_record"] == "2026-01-10T06:00:00Z"
    assert [each["name"] for each in result["sources"]] == ["com.ubuntu.xenial.pkg.json.xz", "data"]


def test_open_vulnerabilities_are_listed(
    module: ModuleRunner, ansible: Ansible, records: Path, data: Path, tmp_path: Path
) -> None:
    found = module.run(ansible, options(records, data, tmp_path))
    assert [each["cve"] for each in found["cves"]] == [CVE, NEWER]
    everything = module.run(ansible, options(records, data, tmp_path, minimum_priority="low"))
    assert [each["cve"] for each in everything["cves"]] == [CVE, NEWER, LOW]
    assert everything["evaluated"] == 3


def test_the_complete_result_is_written_once(
    module: ModuleRunner, ansible: Ansible, records: Path, data: Path, tmp_path: Path
) -> None:
    given = options(records, data, tmp_path, output_file=str(tmp_path / "out" / "exposure.json"))
    assert [module.run(ansible, given)["changed"] for _run in range(2)] == [True, False]
    document = json.loads((tmp_path / "out" / "exposure.json").read_text(encoding="utf-8"))
    assert sorted(host for group in document["groups"] for host in group["hosts"]) == [
        *("db-01", "db-02", "web-01", "web-02", "web-03")
    ]


def test_hosts_without_a_record_are_unknown(
    module: ModuleRunner, ansible: Ansible, records: Path, data: Path, tmp_path: Path
) -> None:
    found = module.run(ansible, options(records, data, tmp_path, cve=[CVE], hosts=["web-01", "web-99"]))
    assert found["hosts_by_status"] == {"open": 0, "unknown": 1, "live_patched": 1, "fixed": 0, "not_affected": 0}


@pytest.mark.parametrize(
    ("change", "error_id", "message"),
    [
        ({"vulnerability_data": ["/nonexistent"]}, "files", "/nonexistent"),
        ({"vulnerability_data": ["EMPTY"]}, "vulnerability_data_unusable", "neither data of a release nor"),
        ({"record_dir": ["EMPTY"]}, "nothing_to_report", "no record in"),
        ({"record_dir": ["/nonexistent"]}, "nothing_to_report", "/nonexistent"),
        ({"cve": ["CVE-1"]}, "bad_option", "'CVE-1'"),
        ({"cve": []}, "bad_option", "an empty list"),
    ],
)
def test_an_unusable_option_is_named(
    module: ModuleRunner,
    ansible: Ansible,
    records: Path,
    data: Path,
    tmp_path: Path,
    change: dict[str, list[str]],
    error_id: str,
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    given = {key: [each.replace("EMPTY", str(tmp_path / "empty")) for each in values] for key, values in change.items()}
    found = module.run(ansible, options(records, data, tmp_path, **given))
    assert (found["kind"], found["error_id"]) == ("failed", error_id)
    assert message in found["msg"]
    assert found["remedy"]


def test_the_data_of_a_release_is_downloaded_once(
    module: ModuleRunner, ansible: Ansible, records: Path, tmp_path: Path, lab_processes: Fleet
) -> None:
    name = "com.ubuntu.xenial.pkg.json.xz"
    with lab_processes.with_hosts(tmp_path / "lab", only=["client-9.5"]) as fleet:
        fleet.state.put_file(name, lzma.compress(json.dumps(DATA).encode()))
        url = f"{fleet.server.replace('livepatch.lab.test', 'localhost')}/files/"
        given = options(records, Path(), tmp_path, ca_path=str(fleet.certificate), timeout=5)
        runs = [module.run(ansible, {**given, "vulnerability_data": [url]}) for _run in range(2)]
    assert [(each["kind"], each.get("fetched"), each["sources"][0]["name"]) for each in runs] == [
        ("ok", True, name),
        ("ok", False, name),
    ]


# --- the playbook


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("fail_on", "failure"), [(["open", "unknown"], "Of 5 hosts, 1 open, 2 unknown, which"), (["not_affected"], "")]
)
def test_the_playbook_fails_on_statuses(
    ansible: Ansible, records: Path, data: Path, fail_on: list[str], failure: str
) -> None:
    """Paths are relative to the folder of the user, who is not in the folder of the playbook."""
    run = ansible.playbook(
        "kernelops.livepatch.exposure",
        cve=CVE,
        livepatch_record_dir=records.name,
        livepatch_vulnerability_data=[data.name],
        livepatch_notices=data.name,
        livepatch_exposure_file="exposure.json",
        livepatch_exposure_fail_on=fail_on,
    )
    assert run.code == (2 if failure else 0), run.output
    assert f"{CVE} (high, 2031-01-02): 1 open, 2 unknown, 1 live_patched, 1 fixed" in run.output
    assert "  1 open: web-02" in run.output
    assert "    apply live patch 113 or newer: ansible-playbook kernelops.livepatch.patch --limit web-02" in run.output
    assert (ansible.folder / "exposure.json").is_file()
    assert failure in run.output
    assert (", which livepatch_exposure_fail_on lists" in run.output) == bool(failure)


@pytest.mark.matrix
def test_the_playbook_passes_over_waivers(ansible: Ansible, records: Path, data: Path) -> None:
    expires = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)).date()
    (ansible.folder / "waivers.yml").write_text(
        f"- {{cve: {CVE}, host: web-02, reason: no users, owner: web team, expires: {expires}}}\n"
        f"- {{group: no_such_group, reason: no users, owner: web team, expires: {expires}}}\n"
    )
    run = ansible.playbook(
        "kernelops.livepatch.exposure",
        cve=CVE,
        livepatch_record_dir=records.name,
        livepatch_vulnerability_data=[data.name],
        livepatch_notices=data.name,
        livepatch_waivers="waivers.yml",
        livepatch_exposure_fail_on=["unknown"],
    )
    assert run.code == 2, "two hosts are unknown, and not waived"
    assert f"{CVE} (high, 2031-01-02): 2 unknown, 1 waived, 1 live_patched, 1 fixed" in run.output
    assert f'"    waived until {expires} by web team: no users"' in run.output
    assert "Of 5 hosts, 2 unknown, which livepatch_exposure_fail_on lists (1 waived, not counted)" in run.output
    assert "cover no host there: no_such_group" in " ".join(run.output.split())


# --- documents for scanners


def test_documents_for_scanners_are_written_once(
    module: ModuleRunner, ansible: Ansible, records: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "vex"
    given = options(records, data, tmp_path, openvex_dir=str(folder), scanner_csv=str(tmp_path / "scanner.csv"))
    checked = module.run(ansible, given, check=True)
    assert not folder.exists()
    first, second = (module.run(ansible, given) for _run in range(2))
    assert (checked["changed"], first["changed"], second["changed"]) == (True, True, False)
    assert first["openvex"]["without_document"] == 5, "the records of release 1 have no packages"
    assert second["openvex"]["changed"] == []
    index = json.loads((folder / "index.json").read_text())
    assert sum(map(len, index["without_document"].values())) == 5
    rows = (tmp_path / "scanner.csv").read_text().splitlines()
    assert rows[0].startswith("host,cve,status,package,installed_version,fixed_version,patch,evidence,collected_at")
    assert any(row.startswith(f"web-02,{CVE},open,linux,") for row in rows)
