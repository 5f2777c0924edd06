# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Wrong variables end a run before a host is contacted: one run of each playbook has many of them."""

from __future__ import annotations

import functools
import json
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet

from .conftest import Ansible, Run

Variables = dict[str, t.Any]

# Variables of a run, and what the message has on each. A value is JSON, or a text as of `-e name=value`.
WRONG: dict[str, list[tuple[str, t.Any, str]]] = {
    "check": [
        ("livepatch_polcy", "current", "livepatch_polcy: there is no such variable; did you mean livepatch_policy?"),
        ("livepatch_wave_size", 5, "livepatch_wave_size: there is no such variable; "),
        ("livepatch_policy", "curent", "livepatch_policy: curent is neither a policy"),
        ("livepatch_network", "maybe", "livepatch_network: 'maybe': expected true or false"),
        ("livepatch_ask_server", "2", "livepatch_ask_server: '2': expected true or false"),
        ("livepatch_verify", "of", "livepatch_verify: 'of': expected one of auto, file, off; did you mean 'off'?"),
        ("livepatch_server", "livepatch.example.com", "is not a URL with https:// or http://, and a host"),
        ("livepatch_seats", "-1", "livepatch_seats: -1 is not allowed; the least is 0"),
        ("livepatch_report_formats", "table,htlm", "did you mean 'html'?"),
        (
            "livepatch_fail_on",
            "erorr",
            "livepatch_fail_on: there is no state, severity or rule 'erorr'; did you mean 'error'?",
        ),
        ("livepatch_closed_cves", "CVE-24-1", "livepatch_closed_cves: 'CVE-24-1' is not a number of a vulnerability"),
        ("livepatch_retention", "0", "livepatch_retention: 0 is not allowed; the least is 1"),
        ("livepatch_notices", "no-such-folder", "livepatch_notices: no-such-folder does not exist on the controller"),
        ("livepatch_trusted_certificates", "no-such.pem", "livepatch_trusted_certificates: no-such.pem cannot be read"),
        ("livepatch_trusted_spki_sha256", "abc", "livepatch_trusted_spki_sha256: 'abc' is not the SHA-256"),
        ("livepatch_record_dir", ["one", "two"], "livepatch_record_dir: the playbook check needs one folder, not 2"),
        ("livepatch_report_dir", "a-file/report", "a-file is not a folder"),
        ("livepatch_history", "a-file/history.sqlite", "livepatch_history: "),
        ("livepatch_hosts", "no-such-group", "livepatch_hosts: the pattern 'no-such-group' matches no host"),
        ("livepatch_answer_timeout", "5", "livepatch_answer_timeout: 5 is not between 10 and 3600 seconds"),
        ("livepatch_ca_path", "", "livepatch_ca_path: '': expected a path, and not an empty text"),
        ("livepatch_waivers", "no-waivers.yml", "livepatch_waivers: no-waivers.yml: the file cannot be read: No such"),
    ],
    "enable": [
        ("livepatch_token", "two words", "livepatch_token: the token is too short or contains invalid characters"),
        ("livepatch_token_transport", "sockt", "did you mean 'socket'?"),
        ("livepatch_via", "ubuntu-pro", "livepatch_via: 'ubuntu-pro': expected one of livepatch, pro"),
        (
            "livepatch_config",
            {"remote-sever": "https://a.example"},
            "livepatch_config: remote-sever: the client has no such",
        ),
        ("livepatch_mode", "nromal", "did you mean 'normal'?"),
        ("livepatch_seats", "three", "livepatch_seats: 'three': expected a whole number"),
        (
            "livepatch_priority",
            "web-0009",
            "livepatch_priority: 'web-0009' is not a host of the inventory; did you mean",
        ),
        ("livepatch_retry_timeout", "-5", "livepatch_retry_timeout: -5 is not allowed; the least is 0"),
        ("livepatch_require_eligible", [], "livepatch_require_eligible: []: expected true or false"),
        (
            "livepatch_rules",
            "no-rules.yml",
            "livepatch_rules: the rules cannot be used: no-rules.yml: the file cannot be read",
        ),
        ("livepatch_retention", "30", "livepatch_retention: it needs the file of a history in livepatch_history"),
        (
            "livepatch_report_formats",
            ["table", "openvex", "scanner_csv"],
            "without livepatch_vulnerability_data, a report cannot be written as openvex or scanner_csv",
        ),
        ("livepatch_report_dir", "livepatch-records", "is the folder of the records; choose another one"),
        ("livepatch_canary", "web-0009", "the canary web-0009 is not a host of this run; did you mean 'web-000"),
        (
            "livepatch_serial",
            "0",
            "livepatch_serial: the size of a wave is '0': use a number of hosts, or a percentage",
        ),
        (
            "livepatch_snap_file",
            "client.snap",
            "livepatch_snap_file: snap_file is not an absolute path of a file on the",
        ),
        (
            "livepatch_proxy",
            "socks5://proxy.example",
            "livepatch_proxy: 'socks5://proxy.example' is not a URL with http",
        ),
    ],
    "patch": [
        (
            "livepatch_canary",
            "web-0001,web-0009",
            "livepatch_canary: the canary web-0009 is not a host of this run",
        ),
        ("livepatch_serial", "abc", "livepatch_serial: the size of a wave is 'abc'"),
        ("livepatch_max_fail_percentage", "101", "livepatch_max_fail_percentage: 101.0 is more than 100 percent"),
        ("livepatch_timeout", "0", "livepatch_timeout: 0 is not allowed; the least is 1"),
        (
            "livepatch_patch_verify",
            "optional",
            "livepatch_patch_verify: 'optional': expected one of required, best_effort, off",
        ),
        ("livepatch_throttle", "1.5", "livepatch_throttle: '1.5': expected a whole number"),
        ("livepatch_group_by", "prodution", "livepatch_group_by: 'prodution' is neither a group of the inventory nor"),
        ("livepatch_event_host", "web-0009", "'web-0009' is not a host of this run; did you mean 'web-000"),
        ("livepatch_config", "https-proxy=http://p:1", "expected a mapping; with -e, write it as JSON: -e '{"),
    ],
    "upgrade": [
        ("livepatch_window", "22-04", "livepatch_window: the window '22-04' is not valid"),
        ("livepatch_pre_tasks", "drain.yml", "drain.yml is not a file on the controller"),
        ("livepatch_docker", "pause", "livepatch_docker: 'pause': expected one of stop, wait, ignore"),
        ("livepatch_boot_entry", "sett", "did you mean 'set'?"),
        (
            "livepatch_freeze",
            "2026-13-01",
            "livepatch_freeze: the freeze date '2026-13-01' is not valid: use 2026-12-24",
        ),
        (
            "livepatch_upgrade_states",
            "upgrade-required",
            "no state 'upgrade-required'; did you mean 'upgrade_required'?",
        ),
        ("livepatch_series", "5,15", "livepatch_series: '5,15' is not a series of kernels such as 5.15"),
        ("livepatch_reboot_timeout", "0", "livepatch_reboot_timeout: 0 is not allowed; the least is 1"),
        ("livepatch_pre_commands", {"drain": "x"}, "livepatch_pre_commands: {'drain': 'x'}: expected a list"),
        ("livepatch_policy", {"name": "ours", "sytems": []}, "livepatch_policy: policy: sytems: unknown key"),
    ],
    "exposure": [
        ("livepatch_cve", "CVE-2024", "livepatch_cve: 'CVE-2024' is not a number of a vulnerability"),
        (
            "livepatch_minimum_priority",
            "urgent",
            "livepatch_minimum_priority: 'urgent': expected one of negligible, low",
        ),
        (
            "livepatch_vulnerability_data",
            "ftp://mirror.example/",
            "is neither a URL with https:// or http://, nor a file",
        ),
        ("livepatch_exposure_fail_on", "opne", "did you mean 'open'?"),
        ("livepatch_exposure_file", "a-file/x.json", "livepatch_exposure_file: "),
    ],
    "report": [
        ("livepatch_fail_on", "unreachable", "no state, severity or rule 'unreachable'; did you mean 'no_answer'?"),
        ("livepatch_history", "/", "livepatch_history: / is a folder, not a file"),
        ("livepatch_minimum_priority", "hihg", "did you mean 'high'?"),
        (
            "livepatch_notify",
            [{"type": "slak", "url": "x"}],
            "type is 'slak', and must be one of webhook, slack, teams",
        ),
        ("livepatch_report_title", {"a": "b"}, "livepatch_report_title: {'a': 'b'}: expected text"),
        ("livepatch_store", "mysql://db.example/x", "livepatch_store: there is no store with the scheme mysql"),
        (
            "livepatch_vulnerability_deadlines",
            {"urgent": 7},
            "has 'urgent', which is not a priority; use critical, high",
        ),
        ("livepatch_vulnerability_deadlines_from", "publised", "did you mean 'published'?"),
    ],
    "store": [
        ("livepatch_import", "a-file", "livepatch_import: a-file is not a folder on the controller"),
        ("livepatch_import_history", "no-history", "livepatch_import_history: no-history is not a file"),
        ("livepatch_export", "a-file/x.jsonl", "livepatch_export: "),
        ("livepatch_importt", "x", "livepatch_importt: there is no such variable; did you mean livepatch_import?"),
    ],
    "vulnerability_data": [
        (
            "livepatch_releases",
            "24.4,noble",
            "contains '24.4', which is not a long-term release of Ubuntu; use releases",
        ),
        ("livepatch_fips_data", "maybe", "livepatch_fips_data: 'maybe': expected true or false"),
        ("livepatch_package_data_url", "example.com/oval", "'example.com/oval' is not a URL with https:// or http://"),
        ("livepatch_vulnerability_data_dir", "a-file", "a-file is not a folder"),
    ],
}
CASES = [(playbook, variable, expected) for playbook, rows in WRONG.items() for variable, _value, expected in rows]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> t.Iterator[Fleet]:
    """Two hosts. No test of this file contacts them."""
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 2, "not-installed") as fleet:
        yield fleet
        assert [command for host in ("web-0001", "web-0002") for command in fleet.commands(host)] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    (path / "a-file").write_text("not a folder", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def failed(hosts: Fleet, folder: Path) -> Callable[[str], Run]:
    """The run of a playbook with all its wrong variables at once."""

    @functools.cache
    def run(playbook: str) -> Run:
        texts = [
            word
            for name, value, _message in WRONG[playbook]
            if isinstance(value, str)
            for word in ("-e", f"{name}={value}")
        ]
        others = {name: value for name, value, _message in WRONG[playbook] if not isinstance(value, str)}
        texts = [word.replace("two words", "'two words'") for word in texts]
        return Ansible(folder, hosts.variables).playbook(f"kernelops.livepatch.{playbook}", *texts, **others)

    return run


def refused(run: Run) -> dict[str, t.Any]:
    """Return the result of a run that ended before it contacted a host."""
    assert run.code == 2, run.output
    [line] = run.results
    assert line["kind"] == "failed"
    assert line["result"]["error_id"] == "variables_invalid"
    return t.cast("dict[str, t.Any]", line["result"])


@pytest.mark.parametrize(("playbook", "variable", "expected"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_a_wrong_value_is_named(playbook: str, variable: str, expected: str, failed: Callable[[str], Run]) -> None:
    lines = refused(failed(playbook))["msg"].splitlines()
    assert [line for line in lines if line.startswith(f"- {variable}") and expected in line], "\n".join(lines)


@pytest.mark.parametrize("playbook", WRONG)
def test_a_refused_run_writes_nothing(playbook: str, failed: Callable[[str], Run], folder: Path) -> None:
    run = failed(playbook)
    refused(run)
    assert run.results[0]["host"] == "localhost", "the fault is not one of a host"
    written = {path.name for path in folder.iterdir()} - {"a-file", "ansible.cfg", "home", "results.jsonl"}
    assert not [name for name in written if not name.endswith(".log")]


def test_the_token_is_not_in_the_message(failed: Callable[[str], Run]) -> None:
    assert "two words" not in failed("enable").output.replace("-e 'two words'", "")


def inventory(folder: Path, variables: Variables, hosts: dict[str, Variables]) -> dict[str, str]:
    path = folder / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    return {"ANSIBLE_INVENTORY": str(path)}


NOBODY = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}


def test_variables_of_the_inventory_are_checked(tmp_path: Path) -> None:
    hosts = {
        "web-1": {**NOBODY, "livepatch_verify": "fiel"},
        "web-2": {**NOBODY, "livepatch_sever": "x"},
        "db-1": NOBODY,
    }
    waves = {"livepatch_serial": 5, "livepatch_max_fail_percentage": 10, "livepatch_canary": "web-1"}
    variables = inventory(tmp_path, {"livepatch_hosts": "web-*", "livepatch_timeout": "soon", **waves}, hosts)
    message = refused(Ansible(tmp_path, variables).playbook("kernelops.livepatch.patch"))["msg"]
    assert not [name for name in waves if name in message], "they count in the inventory"
    assert "- livepatch_verify of web-1: 'fiel': expected one of auto, file, off; did you mean 'file'?" in message
    assert "- livepatch_sever of web-2: there is no such variable; did you mean livepatch_server?" in message
    assert "- livepatch_timeout: 'soon': expected a whole number" in message
    assert "- livepatch_hosts: it has no effect in the inventory; set it with -e" in message


def test_a_variable_of_the_run_cannot_differ_between_hosts(tmp_path: Path) -> None:
    hosts = {"web-1": NOBODY, "web-2": {**NOBODY, "livepatch_report_dir": "elsewhere"}}
    run = Ansible(tmp_path, inventory(tmp_path, {}, hosts)).playbook("kernelops.livepatch.check")
    assert (
        "- livepatch_report_dir of web-2: it applies to the whole run; set it in the group all or with -e"
        in refused(run)["msg"]
    )


def test_a_limited_run_is_checked_too(tmp_path: Path) -> None:
    variables = inventory(tmp_path, {}, {"web-1": NOBODY, "db-1": NOBODY})
    run = Ansible(tmp_path, variables).playbook("kernelops.livepatch.check", "--limit", "db-1", livepatch_verify="of")
    assert "livepatch_verify" in refused(run)["msg"]


def test_an_empty_inventory_is_a_failure(tmp_path: Path) -> None:
    run = Ansible(tmp_path, inventory(tmp_path, {}, {})).playbook("kernelops.livepatch.check")
    expected = "- livepatch_hosts: the pattern 'all' matches no host of the inventory, which has no hosts: name an"
    assert expected in refused(run)["msg"]


def test_an_unknown_tag_is_a_failure(tmp_path: Path) -> None:
    variables = inventory(tmp_path, {}, {"web-1": NOBODY})
    run = Ansible(tmp_path, variables).playbook("kernelops.livepatch.check", "--tags", "anything")
    assert "- --tags: no task has the tag 'anything'; the tags are collect and report" in refused(run)["msg"]


def test_a_text_with_a_blank_is_not_cut_silently(tmp_path: Path) -> None:
    # The inventory is a list that is longer than the name of a file may be.
    words = (
        "-i",
        ",".join(f"web-{number}" for number in range(100)),
        "-e",
        "livepatch_window=22:00-04:00 Europe/Berlin",
    )
    run = Ansible(tmp_path, {}).command("playbook", "kernelops.livepatch.upgrade", *words)
    assert "- --extra-vars: 'Europe/Berlin' has no name" in refused(run)["msg"]


@pytest.mark.matrix
def test_texts_of_the_command_line_are_accepted(tmp_path: Path) -> None:
    """Numbers, booleans, lists and empty lists, of all types."""
    variables = inventory(tmp_path, {}, {"web-1": {"ansible_connection": "local"}})
    texts = ("seats=5", "network=false", "verify=off", "report_formats=table,json", "fail_on=", "closed_cves=[]")
    words = [word for text in (*texts, "history=h.sqlite", "retention=30") for word in ("-e", f"livepatch_{text}")]
    run = Ansible(tmp_path, variables).command("playbook", "kernelops.livepatch.check", *words)
    assert run.code == 0, run.output
    summary = json.loads((tmp_path / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))["summary"]
    assert summary["hosts"] == 1
