# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts that send anything, in every playbook: the run ends, nothing is believed, and honest hosts are judged rightly.

Each hostile host was `protected` an hour ago. In the playbooks that change hosts, some are hostile from the first
script on, some from the plan of the change on, and some only when the change is made. All scenarios are in the check.
`make test` runs every seventh one in the other playbooks, and so do the tests with the oldest ansible-core. The session
`hostile` runs all.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import json
import sys
import time
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.fleet import PLUGINS, Fleet
from tests.lab.hosts.description import Client, Description
from tests.lab.live_patches import module_files, signing
from tests.lab.plugins.connection.hostile import PLANTED, SCENARIOS, STAGES
from tests.samples.records import make_record
from tests.samples.schemas import check_document

from .conftest import Ansible, Run
from .record_files import note_of, write_record
from .upgrading import NEW

RECORDS, REPORT = "livepatch-records", "livepatch-report"
TOKEN = "c0ffee00c0ffee00c0ffee00c0ffee00"
SECONDS = 300
MEMORY = 300 << 20
TASK_SECONDS = 40
"""A deadline for each task that is shorter than the usual one: three hosts never answer."""

# What only hostile hosts get, so that a run ends soon: seconds for steps, repetitions and reboots.
PATIENCE = {
    f"livepatch_{name}": 4
    for name in ("timeout", "retry_timeout", "upgrade_timeout", "drain_timeout", "reboot_timeout", "protected_timeout")
}
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, flush=True)
sys.exit(code)
"""
"""Runs a command, and prints as its last line its processor time in seconds, and the KiB of its largest process."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """A playbook with its options, what hostile hosts claim to be, and the states of the honest ones afterwards."""

    claims: str
    honest: Mapping[str, str]
    options: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


ATTACKS = {
    "check": Attack(
        "protected",
        {"xenial-generic": "protected", "stale": "stale", "i386": "ineligible"},
        {"livepatch_verify": "file"},
    ),
    "enable": Attack(
        "enrollable",
        {"not-enabled": "protected", "not-installed": "protected", "enable-10": "protected"},
        {
            "livepatch_token": TOKEN,
            "livepatch_seats": 1000,
            "livepatch_max_fail_percentage": 100,
            "livepatch_canary": 0,
        },
    ),
    "patch": Attack(
        "protected",
        {"client-10": "protected", "client-11": "protected"},
        {"livepatch_policy": "current", "livepatch_max_fail_percentage": 100, "livepatch_serial": "100%"},
    ),
    "upgrade": Attack(
        "outdated",
        {"upgradable": "protected", "upgradable-container-host": "protected"},
        {"livepatch_max_fail_percentage": 100, "livepatch_serial": 100, "livepatch_delay": 0, "livepatch_canary": 0},
    ),
}

# Scenarios whose answers have all that shows a protected host, and something else besides: root on a host can lie.
LIES = {
    *("boot_menu", "containers", "crlf", "duplicates", "keys", "machine_id", "module_base64", "packages"),
    *("proxies", "section_names", "steps", "uptime"),
}
CHANGES = [name for name in ATTACKS if name != "check"]
PARTS = {"some": 7, "whole": 1}
"""Parts of the scenarios for the playbooks that change hosts: every seventh one, or all. The check always has all."""
ALWAYS = "templates"
"""A scenario that every run has: each ansible-core has other rules on which texts are templates."""


@dataclasses.dataclass(frozen=True)
class Attacked:
    """A run over all scenarios and some honest hosts."""

    run: Run
    folder: Path
    attack: Attack
    stages: dict[str, str]
    began: str
    files_before: set[str]
    seconds: float
    memory: int

    def states(self) -> dict[str, str]:
        report = json.loads((self.folder / REPORT / "fleet.json").read_text(encoding="utf-8"))
        return {each["host"]: each["assessment"]["state"] for each in (*report["records"], *report["unreachable"])}

    def document(self, scenario: str) -> dict[str, t.Any]:
        """Return the failed attempt on a hostile host, or else its record."""
        host = host_of(scenario)
        note = note_of(self.folder / RECORDS, host)
        path = note if note.exists() else self.folder / RECORDS / f"{host}.json"
        document: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
        check_document(document)
        return document


def host_of(scenario: str) -> str:
    return f"hostile-{scenario.replace('_', '-')}"


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.relative_to(folder).parts[0] != "home"}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Fleet]:
    """The honest hosts of all runs, and a patch for those that can be patched."""
    names = [name for attack in ATTACKS.values() for name in attack.honest]
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), only=names) as fleet:
        fleet.set_tokens({TOKEN: {"seats": 1000, "tier": "updates"}})
        for name in ATTACKS["patch"].honest:
            fleet.change(name, without_patch)
            full = fleet.current(name).describe().kernel.full
            assert full is not None
            fleet.add_patch(*signing.patch_for(full, "901.1", module_files.vendor()))
        yield fleet


def without_patch(host: Description) -> Description:
    client = dataclasses.replace(host.client or Client(), patch_state="nothing-to-apply", patch_version="", fixes=())
    return dataclasses.replace(host, client=client, module=None)


def stages_of(name: str, part: str) -> dict[str, str]:
    """Return the scenarios of a run, each with the stage from which on its host is hostile."""
    if name == "check":
        return dict.fromkeys(SCENARIOS, STAGES[0])
    shift, step = CHANGES.index(name), PARTS[part]
    numbered = [
        (number, scenario)
        for number, scenario in enumerate(SCENARIOS)
        if number % step == shift % step or scenario == ALWAYS
    ]
    return {scenario: STAGES[(number // len(CHANGES) + shift) % len(STAGES)] for number, scenario in numbered}


def carry_out(name: str, folder: Path, hosts: Fleet, stages: dict[str, str]) -> Attacked:
    attack = ATTACKS[name]
    hour_ago = f"{datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    variables = {
        host_of(scenario): {
            "hostile_scenario": scenario,
            "hostile_stage": stage,
            "hostile_claims": attack.claims,
            "ansible_connection": "hostile",
            **PATIENCE,
        }
        for scenario, stage in stages.items()
    }
    (folder / "hostile.json").write_text(json.dumps({"all": {"hosts": variables}}), encoding="utf-8")
    (folder / "vendor.pem").write_bytes(module_files.vendor().pem)
    for number, host in enumerate((*variables, *attack.honest)):
        record = make_record(host, "protected", collected_at=hour_ago, system__machine_id_sha256=f"{number:064x}")
        write_record(folder / RECORDS, record)
    options = {
        "livepatch_hosts": [*variables, *attack.honest],
        "livepatch_network": False,
        "livepatch_fail_on": [],
        "livepatch_report_formats": ["json", "table"],
        "livepatch_trusted_certificates": [str(folder / "vendor.pem")],
        **attack.options,
    }
    ansible = Ansible(
        folder,
        {
            **hosts.variables,
            "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS),
            "ANSIBLE_INVENTORY": f"{hosts.inventory},hostile.json",
            "ANSIBLE_FORKS": "20",
            "ANSIBLE_TASK_TIMEOUT": str(TASK_SECONDS),
            PLANTED: str(folder / PLANTED),
        },
        timeout=SECONDS,
    )
    before = files_of(folder)
    began = time.monotonic()
    words = ["playbook", f"kernelops.livepatch.{name}", "-e", json.dumps(options)]
    run = ansible.command(*words, prefix=[sys.executable, "-c", MEASURE])
    cpu, memory = run.output.splitlines()[-1].split()
    print(f"{name}: {cpu} s of processor time, {time.monotonic() - began:.0f} s")
    return Attacked(run, folder, attack, stages, hour_ago, before, time.monotonic() - began, int(memory) * 1024)


@pytest.fixture(
    scope="module",
    params=[pytest.param("some", marks=pytest.mark.matrix), pytest.param("whole", marks=pytest.mark.hostile)],
)
def attacks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, hosts: Fleet
) -> dict[str, Attacked]:
    """All runs, at the same time: most of it is spent on waiting for hosts that never answer."""

    def attack(name: str) -> Attacked:
        return carry_out(name, tmp_path_factory.mktemp(name), hosts, stages_of(name, request.param))

    with concurrent.futures.ThreadPoolExecutor(len(ATTACKS)) as pool:
        return dict(zip(ATTACKS, pool.map(attack, ATTACKS), strict=True))


@pytest.fixture(params=ATTACKS)
def attacked(request: pytest.FixtureRequest, attacks: dict[str, Attacked]) -> Attacked:
    return attacks[request.param]


def test_a_silent_host_is_cut_at_the_answer_timeout(tmp_path: Path) -> None:
    variables = {"ansible_connection": "hostile", "hostile_scenario": "silent", "hostile_stage": STAGES[0]}
    inventory = {"all": {"hosts": {"silent": variables}}}
    (tmp_path / "hostile.json").write_text(json.dumps(inventory), encoding="utf-8")
    environment = {"ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS), "ANSIBLE_INVENTORY": "hostile.json"}
    ansible = Ansible(tmp_path, environment, timeout=SECONDS)
    run = ansible.command("playbook", "kernelops.livepatch.check", "-e", "livepatch_answer_timeout=10")
    [reason] = json.loads(note_of(tmp_path / RECORDS, "silent").read_text(encoding="utf-8"))["reasons"]
    assert reason["id"] == "timed_out", run.output
    assert "within 10 s" in reason["message"]
    assert "livepatch_answer_timeout" in reason["remedy"]


def test_honest_hosts_are_judged_rightly(attacked: Attacked, hosts: Fleet) -> None:
    states = attacked.states()
    assert {host: states[host] for host in attacked.attack.honest} == attacked.attack.honest, attacked.run.output
    if attacked.attack.claims == "outdated":
        kernels = {host: hosts.run(host, "uname -r").stdout.decode().strip() for host in attacked.attack.honest}
        assert kernels == dict.fromkeys(attacked.attack.honest, NEW)


def test_no_hostile_host_is_protected(attacks: dict[str, Attacked]) -> None:
    for name, attacked in attacks.items():
        states = attacked.states()
        found = {scenario for scenario in attacked.stages if states[host_of(scenario)] == "protected"}
        if name == "check":
            assert found == LIES
        # After the refresh, a host that was hostile only then answers like a protected one.
        honest_again = {scenario for scenario, stage in attacked.stages.items() if stage == "change"}
        assert found - LIES - (honest_again if name == "patch" else set()) == set(), name


def test_no_hostile_host_keeps_its_last_record(attacked: Attacked) -> None:
    """Each host has a new record with its reasons, or a failed attempt with a cause."""
    for scenario in attacked.stages:
        document = attacked.document(scenario)
        assert document.get("attempted_at", document.get("collected_at")) > attacked.began, scenario
        reasons = document["reasons"] if "attempted_at" in document else document["assessment"]["reasons"]
        assert all(reason["id"] and reason["message"] for reason in reasons), scenario
        assert reasons, scenario


def test_causes_of_failed_attempts_are_named(attacks: dict[str, Attacked]) -> None:
    attacked = attacks["check"]
    ids = {scenario: attacked.document(scenario).get("reasons", [{"id": None}])[0]["id"] for scenario in SCENARIOS}
    unstarted = ("wrong_nonce", "replayed", "empty", "code_only", "refusal", "another_protocol")
    assert {ids[scenario] for scenario in unstarted} == {"script_did_not_run"}
    assert {ids[scenario] for scenario in ("silent", "dripping", "late")} == {"timed_out"}
    expected = {"lost": "connection_failed", "prompt": "become_password_wrong", "endless": "answer_too_large"}
    assert {scenario: ids[scenario] for scenario in expected} == expected


def test_no_scenario_is_an_internal_error(attacked: Attacked) -> None:
    assert [line["host"] for line in attacked.run.results if line["result"].get("error_id") == "internal_error"] == []
    assert "Traceback" not in attacked.run.output


def test_records_and_output_of_hostile_hosts_are_bounded(attacked: Attacked) -> None:
    for path in (attacked.folder / RECORDS).iterdir():
        assert path.stat().st_size <= 66_000, path
    assert len(attacked.run.output) < 500_000
    for character in ("\x1b", "\x07", "\x9b", "\u202e", "\x00"):
        assert character not in attacked.run.output


def test_runs_with_hostile_hosts_are_bounded(attacked: Attacked) -> None:
    assert attacked.memory <= MEMORY
    assert attacked.seconds < SECONDS


def test_no_text_of_a_host_is_evaluated(attacked: Attacked) -> None:
    if attacked.attack.claims == "protected" and "templates" in attacked.stages:
        assert "lookup(" in json.dumps(attacked.document("templates"))
    assert not (attacked.folder / PLANTED).exists()


def test_only_records_and_the_report_are_written(attacked: Attacked) -> None:
    notes = {f"{RECORDS}/{host_of(scenario)}.unreachable.json" for scenario in attacked.stages}
    written = files_of(attacked.folder) - attacked.files_before - notes
    assert written <= {
        "ansible.cfg",
        "results.jsonl",
        REPORT,
        f"{REPORT}/fleet.json",
        f"{REPORT}/fleet.txt",
        *(f"{REPORT}/{name}" for name in ("summary.txt", "changes.txt", "changes.json")),
        *(f"{REPORT}/{name}" for name in ("states", "states/named.json", "states/named.before.json")),
        f"{RECORDS}/seats.lock",
        f"{RECORDS}/seats.granted",
    }
