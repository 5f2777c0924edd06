# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `notice_info`: notices from files and addresses, evaluated for kernels and records."""

from __future__ import annotations

import io
import json
import tarfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import Ansible
from tests.integration.module_runner import ModuleRunner
from tests.integration.record_files import write_record
from tests.lab import Fleet
from tests.samples.notices import affected, notice
from tests.samples.records import make_record

MODULE = "kernelops.livepatch.notice_info"
KERNEL = "4.4.0-168.197-generic"
DOCUMENTS = {
    "LSN-0100-1.json": notice(
        "0100-1", affected(version="100"), published="2031-01-01T00:00:00Z", upstream=["UBUNTU-CVE-2030-5000"]
    ),
    "LSN-101-1.json": notice("0101-1"),
    "sub/LSN-0102-1.json": notice(
        "0102-1", affected(version="102"), published="2031-05-01T00:00:00Z", upstream=["UBUNTU-CVE-2031-2000"]
    ),
    "LSN-0103-1.json": notice("0103-1", affected(r"lkp_Ubuntu_4_4_0[_|\d]+_aws_(\d+)", "103")),
    "broken.json": {"id": "LSN-0104-1"},
    "USN-1-1.json": {"id": "USN-1-1"},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "notices"
    (folder / "sub").mkdir(parents=True)
    for name, document in DOCUMENTS.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def fleet(tmp_path: Path, lab_processes: Fleet) -> Iterator[Fleet]:
    """A host, and a server."""
    with lab_processes.with_hosts(tmp_path / "lab", only=["client-9.5"]) as fleet:
        yield fleet


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    return Ansible(tmp_path, {})


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleRunner]:
    runner = ModuleRunner("notice_info")
    yield runner
    runner.close()


@pytest.mark.matrix
@pytest.mark.parametrize("words", [(), ("--check", "--diff")], ids=["run", "check"])
def test_missing_notices_of_a_host_are_listed(ansible: Ansible, source: Path, words: tuple[str, ...]) -> None:
    options = {"source": str(source), "kernel": KERNEL, "patch_version": "101.3", "release": "16.04"}
    result = ansible.task(MODULE, "localhost", *words, **options).result("localhost")
    assert (result["kind"], result["changed"]) == ("ok", False)
    assert result["notices"] == [
        {
            "id": "LSN-0100-1",
            "published": "2031-01-01T00:00:00Z",
            "cves": ["CVE-2030-5000"],
            "version": "100",
            "standing": "patched",
        },
        {
            "id": "LSN-0101-1",
            "published": "2031-03-04T05:06:07Z",
            "cves": ["CVE-2031-1001", "CVE-2031-1002"],
            "version": "101",
            "standing": "patched",
        },
        {
            "id": "LSN-0102-1",
            "published": "2031-05-01T00:00:00Z",
            "cves": ["CVE-2031-2000"],
            "version": "102",
            "standing": "open",
        },
    ]
    assert result["missing"] == ["LSN-0102-1"]
    assert result["closed_cves"] == ["CVE-2030-5000", "CVE-2031-1001", "CVE-2031-1002"]
    assert result["open_cves"] == ["CVE-2031-2000"]
    assert (result["read"], result["fetched"]) == (4, False)
    assert [(one["name"], one["reason"]) for one in result["unreadable"]] == [
        ("broken.json", "LSN-0104-1: it has no valid time of publication")
    ]


def test_fixes_can_be_in_the_kernel(module: ModuleRunner, ansible: Ansible, source: Path) -> None:
    cases: list[dict[str, t.Any]] = [
        {"source": str(source), "kernel": KERNEL},
        {"source": str(source), "kernel": "4.4.0-200.232-generic"},
        {"source": str(source), "kernel": "4.4.0-168-aws", "patch_version": "200"},
        {"source": str(source), "kernel": "6.8.0-31.31-generic"},
        {"source": str(source), "kernel": KERNEL, "release": "18.04"},
        {"source": str(source)},
    ]
    results = [module.run(ansible, case) for case in cases]
    assert [[one.get("standing") for one in result["notices"]] for result in results] == [
        ["open"] * 3,
        ["in_kernel"] * 3,
        ["patched"],
        [],
        [],
        [None] * 4,
    ]
    assert [len(result["missing"]) for result in results] == [3, 0, 0, 0, 0, 0]


def test_a_record_has_the_options_of_the_module(source: Path, fleet: Fleet, tmp_path: Path) -> None:
    """The play lists the open vulnerabilities of a host, like the example of the documentation."""
    tasks = [
        {"kernelops.livepatch.patch_info": {"network": False, "verify": "off"}, "register": "looked"},
        {
            MODULE: {
                "source": str(source),
                "kernel": "{{ looked.record.system.kernel.full }}",
                "release": "{{ looked.record.system.release }}",
                "patch_version": "{{ looked.record.patch.version or omit }}",
            },
            "delegate_to": "localhost",
        },
    ]
    playbook = tmp_path / "record.yml"
    play = {"hosts": "client-9.5", "gather_facts": False, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    result = Ansible(tmp_path, fleet.variables).command("playbook", str(playbook)).result("client-9.5")
    assert result["kind"] == "ok", result
    assert result["missing"] == ["LSN-0100-1", "LSN-0101-1", "LSN-0102-1"], "version 65 is older than all of them"


def test_an_address_is_fetched_when_it_has_changed(
    module: ModuleRunner, ansible: Ansible, fleet: Fleet, tmp_path: Path
) -> None:
    def put(*numbers: str) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:xz") as archive:
            for number in numbers:
                content = json.dumps(notice(number)).encode()
                entry = tarfile.TarInfo(f"osv/{number}.json")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        fleet.state.put_file("lsn.tar.xz", packed.getvalue())

    options = {
        "source": f"{fleet.server.replace('livepatch.lab.test', 'localhost')}/files/lsn.tar.xz",
        "ca_path": str(fleet.certificate),
        "cache_dir": str(tmp_path / "cache"),
        "timeout": 5,
    }
    put("0100-1")
    first, again = module.run(ansible, options), module.run(ansible, options)
    assert [(one["fetched"], one["read"]) for one in (first, again)] == [(True, 1), (False, 1)]
    put("0100-1", "0101-1")
    changed = module.run(ansible, options)
    assert (changed["fetched"], changed["read"]) == (True, 2)
    for path in (tmp_path / "cache").iterdir():
        assert path.stat().st_size > 0
        if path.suffix != ".json":
            path.write_bytes(b"damaged")
    fleet.set_faults(status=403)
    refused = module.run(ansible, options)
    assert (refused["kind"], refused["error_id"]) == ("failed", "server")
    assert "the server answered 403" in refused["msg"]
    fleet.set_faults(certificate="stranger")
    assert "is not trusted" in module.run(ansible, options)["msg"]
    fleet.set_faults()
    healed = module.run(ansible, options)
    assert (healed["fetched"], healed["read"]) == (True, 2), "a damaged cache is not used"


def test_an_unusable_source_is_named(module: ModuleRunner, ansible: Ansible, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4")
    cases = [
        {"source": "/nonexistent"},
        {"source": str(tmp_path / "empty")},
        {"source": str(tmp_path / "bad.zip")},
        {"source": str(tmp_path / "empty"), "kernel": "generic"},
    ]
    expected = [
        ("files", "/nonexistent"),
        ("bad_source", "Livepatch Security Notice in"),
        ("bad_source", "the archive is damaged"),
        ("bad_option", "generic"),
    ]
    for case, (error_id, message) in zip(cases, expected, strict=True):
        result = module.run(ansible, case)
        assert (result["kind"], result["error_id"]) == ("failed", error_id)
        assert message in result["msg"]
        assert result["remedy"]


# --- notices and the report


def test_a_report_uses_notices_without_fixes(ansible: Ansible, tmp_path: Path) -> None:
    cve = "CVE-2031-1001"
    silent: t.Any = {**make_record("silent")["patch"], "version": "101.1", "fixes": []}
    records = {
        "silent": make_record("silent", patch=silent),
        "not-loaded": make_record("not-loaded", patch=silent),
        "stale": make_record("stale", "stale", patch=silent),
        "older": make_record("older", patch={**silent, "version": "100.1"}),
        "says-open": make_record("says-open", patch={**silent, "fixes": [{"cve": cve, "patched": False}]}),
        # The patch 65 is older than that of the notice.
        "says-closed": make_record(
            "says-closed", patch={**silent, "version": "65.1", "fixes": [{"cve": cve, "patched": True}]}
        ),
        "new-kernel": make_record("new-kernel", patch={**silent, "version": None}),
    }
    records["new-kernel"]["system"]["kernel"]["full"] = "4.4.0-200.232-generic"
    # The kernels of the other hosts show the patch 65, which the client does not report.
    records["silent"]["kernel_patches"][0]["module"] = "lkp_Ubuntu_4_4_0_168_197_generic_101"
    for record in records.values():
        write_record(tmp_path / "records", record)
    (tmp_path / "lsn.json").write_text(json.dumps(notice()), encoding="utf-8")
    records_only = {"record_dir": str(tmp_path / "records")}
    notices = {"notices": str(tmp_path / "lsn.json")}
    cases = [{"closed_cves": [cve]}, {"closed_cves": [cve], **notices}, notices]
    without, with_notices, needless = ansible.each(
        "kernelops.livepatch.fleet_report", "localhost", [{**records_only, **case} for case in cases]
    )
    assert set(without["hosts_by_rule"][cve]) == set(records) - {"says-closed"}
    assert set(with_notices["hosts_by_rule"][cve]) == {"not-loaded", "stale", "older", "says-open"}
    assert "none of them is given" in needless["msg"]
