# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The playbook `enable` and the role `client`.

The token has more seats at the server than in the plan, so that only the plan limits the number of hosts.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.lab.process_trace import executions, recording

from .conftest import Ansible, Run
from .test_check import READING

ENABLE = "kernelops.livepatch.enable"
TOKEN = "c0ffee00c0ffee00c0ffee00c0ffee00"
SEATS = 2
COPIES = [f"web-{number:04}" for number in range(1, 5)]
DESCRIBED = ["i386", "not-enabled", "not-enabled-2016", "not-installed", "unreachable", "xenial-generic"]


@pytest.fixture
def copies(tmp_path: Path, lab_processes: Fleet) -> Iterator[Fleet]:
    """Four hosts without a client, with different machine ids."""
    with lab_processes.with_hosts(tmp_path / "lab", len(COPIES), "not-installed") as fleet:
        fleet.set_tokens({TOKEN: {"seats": 100, "tier": "updates"}})
        yield fleet


@pytest.fixture
def described(tmp_path: Path, lab_processes: Fleet) -> Iterator[Fleet]:
    """Hosts of several kinds. One of them holds a seat already."""
    with lab_processes.with_hosts(tmp_path / "lab", only=DESCRIBED) as fleet:
        fleet.set_tokens({TOKEN: {"seats": 100, "tier": "updates"}})
        yield fleet


def runner(fleet: Fleet, folder: Path) -> Ansible:
    folder.mkdir(exist_ok=True)
    return Ansible(folder, fleet.variables)


def enable(ansible: Ansible, *words: str, **extra: t.Any) -> Run:
    variables = {"livepatch_token": TOKEN, "livepatch_seats": SEATS, "livepatch_fail_on": []}
    return ansible.playbook(ENABLE, *words, **{**variables, **extra})


def registered(fleet: Fleet) -> int:
    """Return the number of machines that hold a seat of the token at the server."""
    return sum(machine["auth_token"] == TOKEN for machine in fleet.machines().values())


def client_changed(run: Run) -> dict[str, bool]:
    """Return whether the module `client` changed a host. The rest of its result is not shown."""
    results = [line for line in run.results if line["task"].endswith("Apply the state of the client")]
    assert all("steps" not in line["result"] for line in results)
    return {line["host"]: line["result"]["changed"] for line in results if line["kind"] == "ok"}


def shown_steps(run: Run) -> dict[str, list[str]]:
    """Return the steps that the role shows, by host."""
    shown = [line for line in run.results if line["task"].endswith("Show the changes of the client")]
    return {line["host"]: line["result"]["msg"]["steps"] for line in shown if line["kind"] == "ok"}


def seat_plan(run: Run) -> dict[str, t.Any]:
    """Return the plan of the seats of the whole run, which comes before those of the waves."""
    result = next(line["result"] for line in run.results if "granted" in line["result"])
    return t.cast("dict[str, t.Any]", result)


def records(ansible: Ansible) -> dict[str, t.Any]:
    found = (json.loads(path.read_text("utf-8")) for path in (ansible.folder / "livepatch-records").glob("*.json"))
    return {record["host"]: record for record in found}


# --- which hosts are enabled ---


@pytest.mark.matrix
def test_hosts_with_a_seat_are_enabled(described: Fleet, tmp_path: Path) -> None:
    ansible = runner(described, tmp_path / "run")
    run = enable(ansible, livepatch_seats=3, livepatch_priority=["not-enabled-2016", "not-enabled"])
    assert run.code == 0, run.output
    plan = seat_plan(run)
    assert plan["granted"] == ["xenial-generic", "not-enabled-2016", "not-enabled"]
    assert {denial["host"]: denial["id"] for denial in plan["denied"]} == {
        "i386": "ineligible",
        "not-installed": "seats_used_up",
        "unreachable": "unreachable",
    }
    for denial in plan["denied"]:
        assert re.search(rf"^{denial['host']} +denied +{re.escape(denial['message'][:20])}", run.output, re.MULTILINE)
    assert registered(described) == 2, "the host that was enabled before keeps its token"
    enabled = {host for host, record in records(ansible).items() if record.get("client", {}).get("enabled")}
    assert enabled == {*plan["granted"]}, "the report shows the hosts after the run"
    assert re.search(r"^not-enabled +(protected|applying) ", run.output, re.MULTILINE)


def is_reading(command: str) -> bool:
    return bool(READING.fullmatch(command)) or command.startswith(
        ("snap list", "snap info", "canonical-livepatch --version")
    )


@pytest.mark.matrix
def test_a_run_is_predicted_and_repeatable(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    predicted = enable(ansible, "--check", "--diff")
    assert predicted.code == 0, predicted.output
    assert registered(copies) == 0
    assert [command for host in COPIES for command in copies.commands(host) if not is_reading(command)] == []
    assert not (tmp_path / "run" / "livepatch-records" / "seats.granted").exists()
    run = enable(ansible)
    assert seat_plan(run)["granted"] == seat_plan(predicted)["granted"] == COPIES[:SEATS]
    assert set(shown_steps(run)) == set(COPIES[:SEATS])
    assert shown_steps(predicted) == shown_steps(run)
    machines = {machine: held["machine_token"] for machine, held in copies.machines().items()}
    assert len(machines) == SEATS
    asked = {host: len(copies.commands(host)) for host in COPIES}
    again = enable(ansible)
    assert again.code == 0
    assert client_changed(again) == dict.fromkeys(COPIES[:SEATS], False)
    assert seat_plan(again)["free"] == 0
    assert {machine: held["machine_token"] for machine, held in copies.machines().items()} == machines
    new = [command for host in COPIES for command in copies.commands(host)[asked[host] :]]
    assert [command for command in new if not is_reading(command)] == []


def test_a_new_token_enables_the_same_hosts(copies: Fleet, tmp_path: Path) -> None:
    other = "decade00decade00decade00decade00"
    copies.set_tokens({TOKEN: {"seats": 100}, other: {"seats": 100}})
    ansible = runner(copies, tmp_path / "run")
    assert enable(ansible, livepatch_priority=COPIES[::-1]).code == 0
    run = enable(ansible, livepatch_token=other)
    assert run.code == 0
    assert sorted(seat_plan(run)["granted"]) == sorted(COPIES[-SEATS:]), "hosts that hold a seat come first"
    assert [held["auth_token"] for held in copies.machines().values()] == [other] * SEATS


def test_clones_get_no_seat(copies: Fleet, tmp_path: Path) -> None:
    identities = [copies.root(host).parent / "lab" / "machine-id" for host in COPIES]
    identities[1].write_text(identities[0].read_text("utf-8"), encoding="utf-8")
    run = enable(runner(copies, tmp_path / "run"))
    plan = seat_plan(run)
    assert plan["granted"] == COPIES[2:4]
    clones = {denial["host"]: denial["message"] for denial in plan["denied"] if denial["id"] == "cloned"}
    assert sorted(clones) == COPIES[:2]
    assert all(
        message.startswith("web-0001 and web-0002 have the same machine identity") for message in clones.values()
    )


# --- never more than the seats ---


def test_limited_runs_share_the_seats(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    for limit, expected in [("web-0004", 1), ("web-0003", 2), ("all", 2)]:
        run = enable(ansible, "--limit", limit)
        assert run.code == 0, run.output
        assert registered(copies) == expected
    assert sorted(seat_plan(run)["granted"]) == ["web-0003", "web-0004"]


# The host and the point at which a run is killed, and the number of hosts that it has enabled.
KILLED_AT = [
    (COPIES[0], "snap install", 0),
    (COPIES[0], "canonical-livepatch enable done", 1),
    (COPIES[1], "canonical-livepatch enable done", 2),
]


@pytest.mark.kills
@pytest.mark.parametrize(("host", "point", "enabled"), KILLED_AT)
def test_a_killed_run_never_exceeds_the_seats(
    host: str, point: str, enabled: int, copies: Fleet, tmp_path: Path
) -> None:
    ansible = runner(copies, tmp_path / "run")
    # With the command line as transport, the double of the client enables the host.
    variables = {"livepatch_token": TOKEN, "livepatch_seats": SEATS, "livepatch_token_transport": "cli"}
    with (
        copies.hold(host, point) as hold,
        ansible.start("playbook", ENABLE, "--forks", "1", "-e", json.dumps(variables)) as run,
    ):
        hold.wait(run.process)
        run.kill()
    assert registered(copies) == enabled
    # The next run checks other hosts only, and cannot know the result of the killed run.
    limited = enable(ansible, "--limit", ":".join(COPIES[2:]))
    assert ("None of the hosts got a seat" in limited.output) == (host == COPIES[1]), "the seats of waves that started"
    assert registered(copies) <= SEATS
    whole = enable(ansible)
    assert whole.code == 0, whole.output
    assert registered(copies) == SEATS, "no seat is lost"
    assert TOKEN not in _all_text(*map(copies.root, COPIES), ansible.folder / "livepatch-records")


# --- waves ---


def test_a_refused_token_is_tried_on_the_canary_only(copies: Fleet, tmp_path: Path) -> None:
    """Hosts of waves that did not start are not changed, and hold no seat."""
    ansible = runner(copies, tmp_path / "run")
    copies.set_tokens({})
    stopped = enable(ansible, livepatch_seats=3, livepatch_canary="web-0002")
    assert stopped.code == 2, stopped.output
    assert "wave 1: 1 host (web-0002)" in stopped.output
    assert "No further wave starts. Failed hosts: 1. Hosts of this wave: 1. livepatch_max" in stopped.output
    assert "Hosts of later waves, which were not changed: 2." in stopped.output
    changed = [host for host in COPIES if any(not is_reading(command) for command in copies.commands(host))]
    assert changed == ["web-0002"]
    report = json.loads((ansible.folder / "livepatch-report" / "fleet.json").read_text(encoding="utf-8"))
    assert report["summary"]["hosts"] == len(COPIES), "the report is complete"
    granted = (ansible.folder / "livepatch-records" / "seats.granted").read_text(encoding="utf-8")
    assert [host for host in COPIES if host in granted] == ["web-0002"]


def test_failures_within_the_percentage_do_not_stop_the_waves(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    copies.change("web-0001", lambda now: dataclasses.replace(now, snapd=None))
    run = enable(
        ansible,
        livepatch_seats=4,
        livepatch_canary=0,
        livepatch_serial=[2, "100%"],
        livepatch_max_fail_percentage=50,
        livepatch_require_eligible=False,
    )
    assert [len(wave) for wave in client_waves(run)] == [2, 2], run.output
    assert run.code == 2, "the host that failed is a failure of the run"
    assert "No further wave starts" not in run.output
    assert registered(copies) == 3
    assert len(re.findall(r"^4 hosts: ", run.output, re.MULTILINE)) == 1, "one report, at the end"


def client_waves(run: Run) -> list[set[str]]:
    """Return the hosts of each wave: those between two grants of seats."""
    waves: list[set[str]] = []
    for line in run.results:
        if line["task"].endswith("Grant the seats of the wave"):
            waves.append(set())
        elif line["task"].endswith("Apply the state of the client"):
            waves[-1].add(line["host"])
    return waves


# --- the token ---


def test_without_a_token_no_host_changes(copies: Fleet, tmp_path: Path) -> None:
    run = runner(copies, tmp_path / "run").playbook(ENABLE)
    assert run.code != 0
    assert "Set livepatch_token" in run.output
    assert run.output.count("There is no token") <= 2, "reported once, not for each host"
    assert [command for host in COPIES for command in copies.commands(host)] == []


def test_the_token_is_in_no_output_or_file(described: Fleet, tmp_path: Path) -> None:
    """Nor is it an argument of a process. The output has the highest verbosity, and one host fails."""
    folder, secrets = tmp_path / "run", tmp_path / "secrets.yml"
    secrets.write_text(yaml.safe_dump({"livepatch_token": TOKEN}), encoding="utf-8")
    described.set_faults({"path": "/api/machine-tokens", "status": 503})
    ansible = runner(described, folder)
    run = ansible.command(
        *("playbook", ENABLE, "-vvvvv", "--diff", "-e", f"@{secrets}"),
        *("-e", json.dumps({"livepatch_seats": 9, "livepatch_report_formats": ["table", "json", "html", "csv"]})),
        *("-e", "livepatch_retry_timeout=0"),
        prefix=recording(tmp_path / "trace"),
        ANSIBLE_LOG_PATH=str(folder / "ansible.log"),
        ANSIBLE_CACHE_PLUGIN="jsonfile",
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(folder / "facts"),
    )
    failed = [
        line["result"]["msg"] for line in run.results if line["kind"] == "failed" and line["host"] != "unreachable"
    ]
    assert any("503" in message for message in failed), "the server fails for the client of 2016"
    assert registered(described) == 2
    assert TOKEN not in run.output
    assert TOKEN not in json.dumps(run.results)
    assert (folder / "ansible.log").stat().st_size > 10_000
    assert TOKEN not in _all_text(folder, described.directory / "hosts")
    started = executions(tmp_path / "trace")
    assert any("ansible" in word for each in started for word in each.argv)
    assert [each.argv for each in started if TOKEN in each] == []
    given = {request.get("auth_token") for request in described.requests()}
    assert TOKEN in given, "only the server gets the token"


def _all_text(*folders: Path) -> str:
    """Return the content of all files below these folders."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 5_000_000:
                found.append(path.read_bytes().decode("latin-1"))
    return "\n".join(found)


# --- the role ---


def play(folder: Path, hosts: str, **variables: t.Any) -> str:
    path = folder / "provision.yml"
    role = {"role": "kernelops.livepatch.client", "vars": variables}
    path.write_text(yaml.safe_dump([{"name": "Provision", "hosts": hosts, "gather_facts": False, "roles": [role]}]))
    return str(path)


@pytest.mark.matrix
def test_the_role_provisions_one_host(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    config = {"remote-server": copies.server, "ca-certs": copies.certificate.read_text("utf-8")}
    variables = {"client_token": TOKEN, "client_seats": 1, "client_config": config, "client_required": True}
    first = ansible.command("playbook", play(ansible.folder, "web-0001", **variables))
    assert first.code == 0, first.output
    assert registered(copies) == 1
    second = ansible.command("playbook", play(ansible.folder, "web-0002", **variables))
    assert second.code != 0
    assert "web-0002 gets no seat: the only seat is taken by web-0001" in second.output
    assert registered(copies) == 1
    gone = ansible.command("playbook", play(ansible.folder, "web-0001", client_state="absent"))
    assert gone.code == 0, gone.output
    assert registered(copies) == 0


def test_a_run_in_which_no_host_gets_a_seat_fails(copies: Fleet, tmp_path: Path) -> None:
    """Zero seats are none, and not the number in the policy."""
    run = enable(runner(copies, tmp_path / "run"), livepatch_seats=0)
    assert run.code != 0
    assert seat_plan(run)["granted"] == []
    assert run.result("localhost")["kind"] == "failed", "no host failed"
    assert "None of the hosts got a seat" in run.output
    assert registered(copies) == 0


def test_the_role_accepts_a_folder_as_text(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    run = ansible.command("playbook", play(ansible.folder, "web-0001", client_token=TOKEN, client_record_dir="myrec"))
    assert run.code == 0, run.output
    assert (ansible.folder / "myrec" / "web-0001.json").exists()
    assert not (ansible.folder / "m").exists()
    assert "no_record" not in [denial["id"] for denial in seat_plan(run)["denied"]], "the plan reads the same folder"


def test_the_role_plans_the_hosts_of_a_batch(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    path = Path(play(ansible.folder, "web-0001:web-0002", client_token=TOKEN))
    [content] = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump([{**content, "serial": 1}]), encoding="utf-8")
    run = ansible.command("playbook", str(path))
    plans = [line["result"] for line in run.results if "granted" in line["result"]]
    assert len(plans) == 2
    assert "no_record" not in [denial["id"] for plan in plans for denial in plan["denied"]]


def test_a_misspelt_role_variable_is_named(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    run = ansible.command("playbook", play(ansible.folder, "web-0001", client_sate="absent", client_token=TOKEN))
    assert run.code != 0
    assert "client_sate: the role has no such variable; did you mean client_state?" in run.output
    assert copies.commands("web-0001") == []


def test_a_wrong_role_variable_is_named(copies: Fleet, tmp_path: Path) -> None:
    ansible = runner(copies, tmp_path / "run")
    run = ansible.command("playbook", play(ansible.folder, "web-0001", client_state="on", client_token=TOKEN))
    assert run.code != 0
    assert "client_state" in run.output
    assert TOKEN not in run.output
