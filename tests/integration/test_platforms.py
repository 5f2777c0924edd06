# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The collection where no one types its commands: execution environments, AWX's runner, event-driven rulebooks."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer

from .conftest import COLLECTIONS, Ansible

pytestmark = pytest.mark.platforms

ROOT = Path(__file__).parents[2]
RULEBOOK = ROOT / "extensions" / "eda" / "rulebooks" / "livepatch_alerts.yml"
STAND_IN = Path(__file__).parent / "plugins" / "event_source" / "alertmanager.py"


def tool(name: str) -> str:
    """A command of the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, "PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )


# --- execution environments ---


def test_an_execution_environment_is_described(tmp_path: Path) -> None:
    definition = ROOT / "docs" / "platforms" / "execution-environment.yml"
    made = run(tool("ansible-builder"), "create", "-f", str(definition), "-c", str(tmp_path / "context"), cwd=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    assert (tmp_path / "context" / "Containerfile").exists() or (tmp_path / "context" / "Dockerfile").exists()
    galaxy = yaml.safe_load((tmp_path / "context" / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    assert galaxy == {"collections": [{"name": "kernelops.livepatch", "version": ">=2.0.0,<3.0.0"}]}
    python = (tmp_path / "context" / "_build" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in python if line.startswith("psycopg[binary]")] == python != []


def test_an_execution_environment_has_every_requirement(tmp_path: Path) -> None:
    found = run(tool("ansible-builder"), "introspect", str(COLLECTIONS), cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    needed = yaml.safe_load(found.stdout)
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("ansible-core")]
    assert [line.split("#")[0].strip() for line in needed["python"]] == wanted
    assert any(line.startswith("openssh-client ") for line in needed["system"])


# --- ansible-runner, which is what AWX runs ---


def test_the_runner_checks_a_fleet(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    (tmp_path / "runner").mkdir()
    shutil.copy(fleet.inventory, tmp_path / "inventory.yml")
    theirs = ("ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CALLBACKS_ENABLED")  # the runner has another callback
    ours = {key: value for key, value in ansible.environment().items() if key.startswith("ANSIBLE_")}
    where = f"-e livepatch_record_dir={tmp_path}/records -e livepatch_report_dir={tmp_path}/report"
    ended = run(
        *(tool("ansible-runner"), "run", "runner", "--playbook", "kernelops.livepatch.check"),
        *("--inventory", str(tmp_path / "inventory.yml"), "--limit", "xenial-generic,i386,unreachable"),
        *("--cmdline", f"""{where} -e '{{"livepatch_fail_on": []}}'"""),
        cwd=tmp_path,
        **{key: value for key, value in ours.items() if key not in theirs},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [artifacts] = (tmp_path / "runner" / "artifacts").iterdir()
    assert (artifacts / "status").read_text(encoding="utf-8") == "successful"
    events = [json.loads(path.read_text("utf-8")) for path in (artifacts / "job_events").glob("*.json")]
    results = [(event["event_data"]["host"], event["event_data"]["res"]) for event in events if _is_result(event)]
    looked = {host: result["state"] for host, result in results if "state" in result}
    assert looked == {"xenial-generic": "protected", "i386": "ineligible"}
    report = json.loads((tmp_path / "report" / "limited" / "fleet.json").read_text(encoding="utf-8"))
    assert report["summary"]["hosts"] == 3


def test_the_navigator_checks_a_fleet_without_a_container(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    theirs = ("ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CALLBACKS_ENABLED")
    ours = {key: value for key, value in ansible.environment().items() if key.startswith("ANSIBLE_")}
    where = {"livepatch_record_dir": f"{tmp_path}/records", "livepatch_report_dir": f"{tmp_path}/report"}
    ended = run(
        *(tool("ansible-navigator"), "run", "kernelops.livepatch.check", "--execution-environment", "false"),
        *("--mode", "stdout", "--playbook-artifact-enable", "false", "--log-file", str(tmp_path / "navigator.log")),
        *("-i", str(fleet.inventory), "--limit", "xenial-generic,i386", "-e", json.dumps(where)),
        cwd=tmp_path,
        **{key: value for key, value in ours.items() if key not in theirs},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "report" / "limited" / "fleet.json").read_text(encoding="utf-8"))
    assert {record["host"] for record in report["records"]} == {"xenial-generic", "i386"}
    assert "xenial-generic" in ended.stdout


def run_slice(fleet: Fleet, folder: Path, environment: dict[str, str], limit: str, variables: dict[str, t.Any]) -> str:
    """Run a slice of a job as AWX does: transmit to a node, work there, process its results. Return the status."""
    private, results = folder / limit, folder / f"{limit}-results"
    (private / "inventory").mkdir(parents=True)
    results.mkdir()
    shutil.copy(fleet.inventory, private / "inventory" / "hosts.yml")
    words = shlex.join(["--limit", limit, "--tags", "collect", "-e", json.dumps(variables)])
    steps = [
        ["transmit", str(private), "--playbook", "kernelops.livepatch.check", "--cmdline", words],
        ["worker", "--private-data-dir", str(folder / f"{limit}-node")],
        ["process", str(results), "--ident", "job"],
    ]
    stream = b""
    for step in steps:
        done = subprocess.run(
            [tool("ansible-runner"), *step],
            input=stream,
            env=environment,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        stream = done.stdout
    return (results / "artifacts" / "job" / "status").read_text(encoding="utf-8")


@pytest.mark.skipif(NOT_INSTALLED is not None, reason=str(NOT_INSTALLED))
def test_slices_share_a_store(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    theirs = ("ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CALLBACKS_ENABLED")  # the runner has another callback
    environment = {name: value for name, value in ansible.environment().items() if name not in theirs}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment["LIVEPATCH_SPOOL_DIR"] = str(tmp_path / "spool")
    slices = ["xenial-generic,stale", "i386", "not-enabled,unreachable"]
    with PostgresServer.run() as server:
        database = server.database()
        variables = {"livepatch_store": database, "livepatch_fail_on": []}
        with ThreadPoolExecutor(len(slices)) as pool:
            statuses = pool.map(lambda each: run_slice(fleet, tmp_path, environment, each, variables), slices)
            assert list(statuses) == ["successful"] * len(slices)
        report = ansible.playbook("kernelops.livepatch.report", **variables).result("localhost")
        assert len(server.sql("SELECT id FROM livepatch.run", database)) == len(slices)
    assert {name for hosts in report["hosts_by_state"].values() for name in hosts} == set(",".join(slices).split(","))
    assert report["summary"]["coverage"] == {"this_run": 0, "last_day": 4, "older": 0, "none": 1}


def _is_result(event: dict[str, t.Any]) -> bool:
    return event["event"] == "runner_on_ok" and "res" in event["event_data"]


# --- event-driven ---


def alerts() -> dict[str, dict[str, t.Any]]:
    """The alert rules that the collection ships, by name."""
    document = yaml.safe_load((ROOT / "docs" / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def test_the_rulebook_handles_alerts_that_name_hosts() -> None:
    from ansible_rulebook.validators import Validate

    rulebook = yaml.safe_load(RULEBOOK.read_text(encoding="utf-8"))
    Validate.rulebook(rulebook)
    [ruleset] = rulebook
    [rule] = ruleset["rules"]
    listened = re.findall(r'"(Livepatch\w+)"', rule["condition"])
    assert listened
    for name in listened:
        # Which labels an alert has is what its expression leaves of those of the metric; these two have `host`.
        expression = alerts()[name]["expr"]
        assert re.search(r"livepatch_(host_state|last_check_timestamp_seconds)\b", expression)
        assert " by " not in expression
    action = rule["action"]["run_playbook"]
    playbook = ROOT / "playbooks" / f"{action['name'].removeprefix('kernelops.livepatch.')}.yml"
    assert set(action["extra_vars"]) <= set(re.findall(r"\blivepatch_\w+", playbook.read_text(encoding="utf-8")))


SECRET = "Bearer made-up-5d1c"


def alert(name: str, host: str, status: str = "firing", authorization: str | None = SECRET) -> dict[str, t.Any]:
    """Return an alert. The event source of the tests takes the header from it."""
    header = {} if authorization is None else {"authorization": authorization}
    return {
        **header,
        "status": status,
        "labels": {"alertname": name, "host": host, "severity": "warning"},
        "annotations": {},
    }


@pytest.mark.skipif(shutil.which("java") is None, reason="the engine of ansible-rulebook runs on Java")
def test_an_alert_patches_its_host_and_no_other(tmp_path: Path) -> None:
    """The engine runs the rulebook. The playbook logs the hosts on which it runs."""
    collections = tmp_path / "collections" / "ansible_collections"
    source = collections / "ansible" / "eda"
    _collection(source, "ansible", "eda")
    plugins = source / "extensions" / "eda" / "plugins" / "event_source"
    plugins.mkdir(parents=True)
    shutil.copy(STAND_IN, plugins)
    patch = collections / "kernelops" / "livepatch"
    _collection(patch, "kernelops", "livepatch")
    (patch / "extensions" / "eda").mkdir(parents=True)
    shutil.copytree(RULEBOOK.parent, patch / "extensions" / "eda" / "rulebooks")
    (patch / "playbooks").mkdir()
    log = tmp_path / "patched"
    task = {
        "name": "Note",
        "ansible.builtin.shell": f"echo {{{{ inventory_hostname }}}} {{{{ livepatch_store }}}} >> {log}",
    }
    shipped = yaml.safe_load((ROOT / "playbooks" / "patch.yml").read_text(encoding="utf-8"))
    tasks = [task for each in shipped for task in each["tasks"]]
    [condition] = [each["when"] for each in tasks if each.get("register") == "livepatch_patch_check"]
    guarded = {**task, "when": condition}
    play = {"name": "Patch", "hosts": "all", "connection": "local", "gather_facts": False, "tasks": [guarded]}
    (patch / "playbooks" / "patch.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    inventory = tmp_path / "inventory.yml"
    groups = {"web": {"hosts": {"web5": None, "web6": None}}}
    inventory.write_text(
        yaml.safe_dump({"all": {"hosts": {f"web{number}": None for number in range(9)}, "children": groups}})
    )
    sent = tmp_path / "alerts.json"
    mischief = ["all", "*", "web*", "web1:web2", "!web1", "~web", "@/etc/passwd", "web1,web2", "{{ 1 }}", "", "-e"]
    received = [
        alert("LivepatchFailed", "web1"),
        alert("LivepatchCheckOld", "web4"),
        alert("LivepatchFailed", "web1"),
        alert("LivepatchFailed", "web2", "resolved"),
        alert("LivepatchTampered", "web3"),
        *(alert("LivepatchFailed", host) for host in mischief),
        alert("LivepatchFailed", "web"),
        *(
            alert("LivepatchFailed", "web7", authorization=each)
            for each in (None, "", "Bearer", "Bearer made-up-other")
        ),
    ]
    sent.write_text(json.dumps({"alerts": received}), encoding="utf-8")
    variables = tmp_path / "livepatch.yml"
    variables.write_text(
        yaml.safe_dump({"livepatch_record_dir": "/srv/records", "livepatch_webhook_authorization": SECRET}),
        encoding="utf-8",
    )
    patched = ["web1", "/srv/records", "web4", "/srv/records"]
    command = ["--rulebook", "kernelops.livepatch.livepatch_alerts", "-i", str(inventory), "--vars", str(variables)]
    ended = run(
        *(tool("ansible-rulebook"), *command),
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(collections.parent),
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        ALERTS=str(sent),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sorted(log.read_text(encoding="utf-8").split()) == sorted(patched), ended.stdout + ended.stderr


def _collection(folder: Path, namespace: str, name: str) -> None:
    folder.mkdir(parents=True)
    information = {"namespace": namespace, "name": name, "version": "1.0.0", "readme": "README.md", "authors": ["x"]}
    (folder / "galaxy.yml").write_text(yaml.safe_dump(information), encoding="utf-8")


# --- molecule ---


def test_the_molecule_scenario_passes(tmp_path: Path) -> None:
    home = str(tmp_path)  # of the folder that molecule makes for a scenario, too
    command = (tool("molecule"), "test", "--scenario-name", "lab")
    ended = run(*command, cwd=ROOT / "extensions", HOME=home, XDG_CACHE_HOME=home, NO_COLOR="1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout + ended.stderr)
    for action in ("create", "converge", "idempotence", "verify", "destroy"):
        assert re.search(rf"{action}: +Executed: Successful", shown), shown
