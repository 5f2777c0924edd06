# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The playbook `check` over the whole fleet of the lab, as a user runs it."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import load_descriptions
from tests.samples.schemas import check_document

from .conftest import Ansible, Run

CHECK = "kernelops.livepatch.check"
HOSTS = sorted(load_descriptions())
REACHABLE = [host for host in HOSTS if host != "unreachable"]
MARK = "livepatch-lab-was-here"
# Commands of a host that the probe may run: they only read.
READING = re.compile(
    r"canonical-livepatch (status( --format json)?|config)|snap (version|wait system seed\.loaded)|uname -[rvm]"
    r"|dpkg --print-architecture|systemd-detect-virt ?|mokutil --sb-state"
    r"|journalctl -q --no-pager -o cat -n 5 -u snap.canonical-livepatch.canonical-livepatchd.service"
)
FORMATS = ["table", "json", "markdown", "html", "csv", "junit", "sarif", "prometheus"]
FAIL_ON: dict[str, list[str]] = {"launch": ["patch_tampered"], "current": []}
"""The rules that fail the run of each policy."""


class Checked(t.NamedTuple):
    """A run of `check` under one policy, and the folder in which it ran."""

    run: Run
    folder: Path

    def record(self, host: str) -> t.Any:
        return json.loads((self.folder / "livepatch-records" / f"{host}.json").read_text(encoding="utf-8"))

    @property
    def report(self) -> t.Any:
        return json.loads((self.folder / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session", params=["launch", "current"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def checked(policy: str, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    folder = tmp_path_factory.mktemp(policy)
    fleet.set_clocks()
    ansible = Ansible(folder, fleet.variables)
    options = {"livepatch_policy": policy, "livepatch_fail_on": FAIL_ON[policy], "livepatch_report_formats": FORMATS}
    return Checked(ansible.playbook(CHECK, **options), folder)


def without_times(record: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a record without what differs between two checks of a host in the same state."""
    record = json.loads(json.dumps(record))
    record["clock_skew_seconds"] = None
    record["collected_at"] = record["system"]["kernel"]["booted_at"] = record["client"]["last_check"] = None
    return record


def test_every_host_has_its_described_state(policy: str, checked: Checked, fleet: Fleet) -> None:
    expected = {host: fleet.hosts[host].expected(policy) for host in REACHABLE}
    records = {host: checked.record(host) for host in REACHABLE}
    for path in (checked.folder / "livepatch-records").glob("*.json"):
        check_document(json.loads(path.read_text(encoding="utf-8")))
    found = {}
    for host, record in records.items():
        failing = (check["id"] for check in record["eligibility"]["checks"] if check["status"] == "fail")
        found[host] = (record["assessment"]["state"], record["eligibility"]["verdict"], tuple(sorted(failing)))
    assert found == {host: (each.state, each.verdict, each.failing) for host, each in expected.items()}
    assert {record["eligibility"]["policy"] for record in records.values()} == {policy}


def test_every_problem_has_a_reason_and_remedy(checked: Checked) -> None:
    for host in REACHABLE:
        record = checked.record(host)
        assert record["assessment"]["reasons"][0]["message"], host
        if record["assessment"]["state"] != "protected":
            assert record["assessment"]["reasons"][0]["remedy"], host
        for check in record["eligibility"]["checks"]:
            assert check["status"] == "pass" or check["remedy"] or check["id"] == "network", (host, check)


def test_the_report_contains_every_host(policy: str, checked: Checked) -> None:
    assert checked.run.code == (2 if FAIL_ON[policy] else 0), checked.run.output
    assert ("1 patch_tampered (tampered), which fail_on lists." in checked.run.output) == bool(FAIL_ON[policy])
    assert sorted(record["host"] for record in checked.report["records"]) == REACHABLE
    assert [host["host"] for host in checked.report["unreachable"]] == ["unreachable"]
    assert "connect to host unreachable" in json.dumps(checked.report["unreachable"])
    whole = (checked.folder / "livepatch-report" / "fleet.txt").read_text(encoding="utf-8")
    for host in HOSTS:
        assert re.search(rf"^{re.escape(host)} +\w+", whole, re.MULTILINE), host
    shown = [host for host in HOSTS if re.search(rf"^{re.escape(host)} +[a-z_]+ ", checked.run.output, re.MULTILINE)]
    assert 0 < len(shown) <= 50


def test_rules_are_broken_by_the_described_hosts(policy: str, checked: Checked) -> None:
    text = (checked.folder / "livepatch-report" / "fleet.sarif").read_text(encoding="utf-8")
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(json.loads(text)) == []
    by_rule: dict[str, set[str]] = {}
    for result in json.loads(text)["runs"][0]["results"]:
        by_rule.setdefault(result["ruleId"], set()).add(result["locations"][0]["logicalLocations"][0]["name"])
    assert by_rule["patch_tampered"] == {"tampered"}
    assert by_rule["no_answer"] == {"unreachable"}
    assert by_rule["upgrade_overdue"] >= {"end-of-life", "end-of-life-by-date", "client-2016-nothing-to-apply"}
    if policy == "launch":
        assert by_rule["upgrade_overdue"] == {"end-of-life", "end-of-life-by-date", "client-2016-nothing-to-apply"}
    assert "xenial-generic" not in by_rule["not_protected"]


def test_the_report_names_the_policy_that_covers_more(policy: str, checked: Checked) -> None:
    covered = checked.report["summary"]["covered_by_other_policies"]
    markdown = (checked.folder / "livepatch-report" / "fleet.md").read_text(encoding="utf-8")
    if policy == "current":
        assert covered == {}
        return
    assert covered["current"] > 1
    sentence = f"{covered['current']} ineligible hosts are covered by policy 'current': set livepatch_policy=current."
    assert sentence in checked.run.output
    assert sentence.replace("_", r"\_") in markdown
    (noble,) = [record for record in checked.report["records"] if record["host"] == "client-11"]
    assert noble["assessment"]["reasons"][0]["remedy"].endswith("set livepatch_policy=current")


def test_a_check_changes_nothing_on_hosts(checked: Checked, fleet: Fleet) -> None:
    asked = [command for host in REACHABLE for command in fleet.commands(host)]
    assert asked
    assert [command for command in asked if not READING.fullmatch(command)] == []


def test_data_of_hostile_hosts_is_inert(checked: Checked, fleet: Fleet) -> None:
    """Templates are not evaluated, escape sequences and markup are removed from output, and long data is cut."""
    marks = [*checked.folder.rglob(MARK), *fleet.directory.rglob(MARK), *Path.cwd().glob(MARK)]
    assert marks == []
    written = (checked.folder / "livepatch-report").rglob("*")
    reports = [path.read_text("utf-8") for path in written if path.is_file()]
    for text in (checked.run.output, *reports):
        assert "\x1b" not in text
        assert "\x07" not in text
    markdown = (checked.folder / "livepatch-report" / "fleet.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    assert "<img" not in markdown
    for path in (checked.folder / "livepatch-records").iterdir():
        assert path.stat().st_size < 200_000, path


def test_records_keep_hostile_values_unchanged(checked: Checked) -> None:
    record = checked.record("hostile-values")
    assert record["client"]["check_state"] == "{{ lookup('pipe', 'touch livepatch-lab-was-here') }}"
    assert record["patch"]["state"] == "<script>alert('applied')</script>"


def test_noise_does_not_hide_other_facts(checked: Checked) -> None:
    noisy = checked.record("hostile-noise")
    assert noisy["system"]["kernel"]["release"] == "4.4.0-261-generic"
    assert noisy["client"]["snapd_version"]
    assert noisy["kernel_patches"] == checked.record("hostile-values")["kernel_patches"]


def test_facts_that_need_root_are_unknown_without(checked: Checked) -> None:
    record = checked.record("not-root")
    by_id = {check["id"]: check for check in record["eligibility"]["checks"]}
    assert by_id["privileges"]["status"] == "unknown"
    assert "root" in by_id["privileges"]["message"]
    assert record["kernel_patches"][0]["verification"]["level"] == "client"
    assert checked.run.result("not-root")["kind"] == "ok"


@pytest.mark.matrix
def test_every_ansible_core_gives_the_same_table(fleet: Fleet, ansible: Ansible) -> None:
    hosts = "xenial-generic:tampered:not-root:hostile-values:unreachable"
    run = ansible.command("playbook", CHECK, "--limit", hosts, cold=True)
    assert run.code != 0, "an unreachable host makes the run fail by default"
    states = dict(re.findall(r"^(\S+) +(no_answer|tampered|protected|unknown)\b", run.output, re.MULTILINE))
    assert states == {
        "hostile-values": "unknown",
        "not-root": "protected",
        "tampered": "tampered",
        "unreachable": "no_answer",
        "xenial-generic": "protected",
    }


@pytest.mark.matrix
def test_check_mode_and_diff_change_no_record(fleet: Fleet, ansible: Ansible) -> None:
    hosts = "xenial-generic:not-root:lxd-container"
    results = []
    for words in ([], ["--check"], ["--diff"], ["--check", "--diff"]):
        run = ansible.task("kernelops.livepatch.patch_info", hosts, *words, policy="current", server=fleet.server)
        assert run.code == 0, run.output
        results.append({line["host"]: line["result"] for line in run.results})
    for again in results[1:]:
        for host, result in again.items():
            assert result["changed"] is False
            assert set(result) == set(results[0][host])
            assert without_times(result["record"]) == without_times(results[0][host]["record"])


def test_a_second_run_prints_the_same_table(fleet: Fleet, ansible: Ansible) -> None:
    def rows() -> list[str]:
        run = ansible.playbook(CHECK, "--limit", "xenial-generic:stale:i386")
        assert run.code == 0, run.output
        return re.findall(r"^(?:xenial-generic|stale|i386) +[a-z].*$", run.output, re.MULTILINE)

    first = rows()
    assert len(first) == 3
    assert rows() == first


def test_an_unreachable_host_keeps_its_last_record(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    names: dict[str, t.Any] = {"livepatch_group_by": ["nowhere_else", "inventory_hostname"]}
    refused = ansible.playbook(CHECK, "--limit", "xenial-generic", **names)
    assert "'nowhere_else' is neither a group of the inventory nor a variable of its hosts" in refused.output
    names = {"livepatch_group_by": ["all", "rack"], "rack": "r{{ 3 + 4 }}"}
    first = ansible.playbook(CHECK, "--limit", "xenial-generic", **names)
    assert "Protected by rack: r7 1 of 1." in first.output
    session = fleet.directory / "hosts" / "xenial-generic" / "session.json"
    healthy = session.read_text(encoding="utf-8")
    session.write_text(json.dumps(json.loads(healthy) | {"unreachable": True}), encoding="utf-8")
    try:
        gone = ansible.playbook(CHECK, "--limit", "xenial-generic", **names)
    finally:
        session.write_text(healthy, encoding="utf-8")
    assert re.search(r"^xenial-generic +no_answer", gone.output, re.MULTILINE)
    assert "Protected by group: all 0 of 1." in gone.output
    assert "protected" in gone.output, "the table has the last known state"
    assert (tmp_path / "livepatch-records" / "xenial-generic.json").exists()
    back = ansible.playbook(CHECK, "--limit", "xenial-generic")
    assert re.search(r"^xenial-generic +protected", back.output, re.MULTILINE)
    assert back.code == 0


def test_a_refused_run_leaves_records_and_report(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    """A wrong option is not a fault of the hosts: it must not show them as unreachable."""
    hosts = "xenial-generic:stale"
    assert ansible.playbook(CHECK, "--limit", hosts).code == 0

    def written() -> dict[Path, bytes]:
        folders = (tmp_path / "livepatch-records", tmp_path / "livepatch-report")
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    before = written()
    run = ansible.playbook(CHECK, "--limit", hosts, livepatch_policy="lunch")
    assert run.code != 0
    assert written() == before != {}


def test_a_limited_run_keeps_the_report_of_the_fleet(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    report = tmp_path / "livepatch-report"
    report.mkdir()
    (report / "fleet.json").write_text("{}", encoding="utf-8")
    run = ansible.playbook(CHECK, "--limit", "stale")
    assert run.code == 0, run.output
    assert (report / "fleet.json").read_text(encoding="utf-8") == "{}"
    limited = json.loads((report / "limited" / "fleet.json").read_text(encoding="utf-8"))
    assert [record["host"] for record in limited["records"]] == ["stale"]
    assert f"This run was limited to stale. Its report is in {report / 'limited'}" in run.output


def test_tags_select_collection_and_report(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    collected = ansible.playbook(CHECK, "--limit", "stale", "--tags", "collect")
    assert collected.code == 0, collected.output
    assert (tmp_path / "livepatch-records" / "stale.json").exists()
    assert not (tmp_path / "livepatch-report").exists()
    asked = len(fleet.commands("stale"))
    reported = ansible.playbook(CHECK, "--limit", "stale", "--tags", "report")
    assert reported.code == 0, reported.output
    assert re.search(r"^stale +stale ", reported.output, re.MULTILINE)
    assert len(fleet.commands("stale")) == asked, "no host is contacted"


def test_a_killed_run_keeps_collected_records(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    records = tmp_path / "livepatch-records"
    with ansible.start("playbook", CHECK, "--forks", "2", cold=True) as run:
        assert run.reaches(lambda: len(list(records.glob("*.json"))) >= 8)
    kept = {path.stem for path in records.glob("*.json") if not path.name.endswith(".unreachable.json")}
    assert kept
    assert kept < set(REACHABLE), "the run was killed before its end"
    report = ansible.playbook("kernelops.livepatch.report", livepatch_fail_on=[], livepatch_report_formats=["json"])
    assert report.code == 0, report.output
    document = json.loads((tmp_path / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))
    assert {record["host"] for record in document["records"]} == kept, "every record is complete and valid"


# --- options ---


def test_wrong_options_are_named(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    policy = tmp_path / "ours.yml"
    policy.write_text("name: ours\nsystems:\n  - release: '16.04'\n    architecure: amd64\n", encoding="utf-8")
    typing_error = f"{policy}:4: systems[0].architecure: unknown key; did you mean architecture?"
    cases: list[tuple[dict[str, t.Any], list[str]]] = [
        ({"policy": "lunch"}, ["lunch is neither", "launch, current"]),
        ({"policy": str(policy)}, [typing_error]),
        ({"polcy": "launch"}, ["polcy"]),
    ]
    for module in ("patch_info", "eligibility_info"):
        results = ansible.each(
            f"kernelops.livepatch.{module}", "xenial-generic", [options for options, _texts in cases]
        )
        for result, (_options, words) in zip(results, cases, strict=True):
            assert result["kind"] == "ignored"
            assert [word for word in words if word not in result["msg"]] == []


def test_a_custom_policy_decides(fleet: Fleet, ansible: Ansible) -> None:
    row = {"release": "18.04", "architecture": "amd64", "kernel": "4.15", "flavours": ["generic"]}
    run = ansible.task(
        "kernelops.livepatch.eligibility_info",
        "in-transition",
        policy={"name": "ours", "systems": [row]},
        server=fleet.server,
    )
    result = run.result("in-transition")
    assert (result["eligible"], result["verdict"], result["policy"]) == (True, "eligible", "ours")


def test_a_stored_record_need_not_be_returned(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    folder = str(tmp_path / "records")
    cases = [{"store": folder, "return_record": False, "network": False}, {"return_record": False}]
    stored, lost = ansible.each("kernelops.livepatch.patch_info", "xenial-generic", cases)
    assert "record" not in stored
    record = json.loads(Path(stored["record_file"]).read_text("utf-8"))
    assert record["assessment"]["state"] == stored["state"] == "protected"
    assert (lost["kind"], lost["error_id"]) == ("ignored", "options_invalid")
    assert "return_record is false, and store is not set" in lost["msg"]


def test_a_record_that_cannot_be_stored_is_returned(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, and no folder", encoding="utf-8")
    run = ansible.task("kernelops.livepatch.patch_info", "xenial-generic", record_dir=str(tmp_path / "taken"))
    failure = run.result("xenial-generic")
    assert (failure["kind"], failure["error_id"]) == ("failed", "record_not_stored")
    assert str(tmp_path / "taken") in failure["msg"]
    assert failure["record"]["host"] == "xenial-generic"


# --- the answer of the server ---


def test_the_server_is_asked_once_per_kernel(fleet: Fleet, ansible: Ansible, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hosts have two kernels."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(fleet.certificate))
    before = len(fleet.requests())
    hosts = "xenial-generic:stale:tampered:desktop:client-9.5"
    server = fleet.server.replace("livepatch.lab.test", "127.0.0.1")
    run = ansible.task("kernelops.livepatch.eligibility_info", hosts, ask_server=True, network=False, server=server)
    assert run.code == 0, run.output
    asked = [request for request in fleet.requests()[before:] if request["path"] == "/v1/api/kernels/supported"]
    assert len(asked) == 2, asked
    for line in run.results:
        (support,) = [check for check in line["result"]["checks"] if check["id"] == "kernel_supported"]
        assert (support["status"], support["found"]) == ("pass", "supported")


def test_without_an_answer_support_is_unknown(fleet: Fleet, ansible: Ansible) -> None:
    run = ansible.task(
        "kernelops.livepatch.eligibility_info",
        "not-installed",
        ask_server=True,
        network=False,
        server="https://127.0.0.1:9",
    )
    result = run.result("not-installed")
    (support,) = [check for check in result["checks"] if check["id"] == "kernel_supported"]
    assert support["status"] == "unknown"
    assert "127.0.0.1:9" in support["message"]
    assert result["verdict"] == "unknown"


def test_the_question_to_the_server_uses_authority_and_proxy(fleet: Fleet, ansible: Ansible) -> None:
    """Only the proxy can resolve the name of the server, whose certificate a private authority signed."""
    # The client is not installed, so that only the server can report the support. Each task gets a new answer.
    proxy = fleet.proxy.replace("livepatch.lab.test", "127.0.0.1")
    authority = str(fleet.certificate)
    ways = [{"ca_path": authority, "proxy": proxy}, {"proxy": proxy}, {"ca_path": authority}]
    common = {"ask_server": True, "network": False, "server": fleet.behind_proxy}
    results = ansible.each("kernelops.livepatch.patch_info", "not-installed", [{**common, **way} for way in ways])
    answered, untrusted, unresolved = (
        next(each for each in result["record"]["eligibility"]["checks"] if each["id"] == "kernel_supported")
        for result in results
    )
    assert (answered["status"], answered["found"]) == ("pass", "supported")
    assert untrusted["status"] == unresolved["status"] == "unknown"
    assert "certificate" in untrusted["message"]
    assert "`ca_path`" in untrusted["remedy"]


@pytest.mark.matrix
def test_module_defaults_apply_to_the_group(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    playbook = tmp_path / "defaults.yml"
    play = [
        {
            "name": "Defaults of the group",
            "hosts": "xenial-generic",
            "gather_facts": False,
            "module_defaults": {"group/kernelops.livepatch.livepatch": {"policy": "current"}},
            "tasks": [{"name": "Look", "kernelops.livepatch.eligibility_info": {"network": False}}],
        }
    ]
    playbook.write_text(json.dumps(play), encoding="utf-8")
    run = ansible.command("playbook", str(playbook))
    assert run.result("xenial-generic")["policy"] == "current"


@pytest.mark.matrix
def test_the_role_eligibility_names_every_reason(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    playbook = tmp_path / "role.yml"
    role = {"role": "kernelops.livepatch.eligibility", "vars": {"eligibility_server": fleet.server}}
    play = [{"name": "Provision", "hosts": "not-installed:snapd-2.14", "gather_facts": False, "roles": [role]}]
    playbook.write_text(json.dumps(play), encoding="utf-8")
    run = ansible.command("playbook", str(playbook))
    assert run.code != 0
    assert run.result("not-installed")["kind"] == "ok"
    refused = run.result("snapd-2.14")
    assert refused["kind"] == "failed"
    assert (
        "snapd 2.14.2~16.04 is too old (upgrade it on the host: apt-get install --only-upgrade snapd)" in refused["msg"]
    )
