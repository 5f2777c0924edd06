# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the configuration of AWX makes, run without AWX: modules that store what AWX would get, and its jobs."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.samples.awx import CONFIGURATION, PROJECT, Arguments, inject, objects
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer
from tests.samples.vulnerabilities import package, release_data
from tests.samples.webhook import SECRET, webhook

from .conftest import COLLECTIONS, Ansible, Run

pytestmark = pytest.mark.platforms

PASSWORD = "s3cret-word"
SLICES = (["xenial-generic"], ["i386"])
HOSTS = [host for part in SLICES for host in part]
RECORDER = """
import json, os
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        with open(os.environ["AWX_OBJECTS"], "a") as file:
            file.write(json.dumps([self._task.action, dict(self._task.args)]) + chr(10))
        return {"changed": True}
"""


class Configured(t.NamedTuple):
    """What the play gave to AWX: arguments by module and name."""

    run: Run
    objects: dict[tuple[str, str], Arguments]


def configure(ansible: Ansible, variables: Arguments, **environment: str) -> Configured:
    """Run the play with modules that only store their arguments."""
    plugins = ansible.folder / "modules" / "ansible_collections" / "awx" / "awx" / "plugins" / "action"
    plugins.mkdir(parents=True, exist_ok=True)
    for module in {module for module, _arguments in objects()}:
        (plugins / f"{module}.py").write_text(RECORDER, encoding="utf-8")
    stored = ansible.folder / "objects.jsonl"
    stored.unlink(missing_ok=True)
    run = ansible.command(
        *(
            "playbook",
            str(CONFIGURATION),
            "-e",
            json.dumps({"awx_project_url": "https://git.example.com/p", **variables}),
        ),
        ANSIBLE_COLLECTIONS_PATH=f"{plugins.parents[3]}:{COLLECTIONS}",
        AWX_OBJECTS=str(stored),
        **environment,
    )
    lines = stored.read_text(encoding="utf-8").splitlines() if stored.exists() else []
    found = [json.loads(line) for line in lines]
    return Configured(run, {(module.removeprefix("awx.awx."), each["name"]): each for module, each in found})


def start_job(ansible: Ansible, made: Configured, name: str, inventory: Path) -> Run:
    """Start the job of a template, with its credentials and variables, on the hosts of an inventory."""
    template = made.objects["job_template", name]
    variables, environment = dict(template["extra_vars"]), {}
    for credential in filter(None, (made.objects.get(("credential", each)) for each in template["credentials"])):
        kind = made.objects["credential_type", credential["credential_type"]]
        injected, extra = inject(kind, credential["inputs"], ansible.folder)
        environment |= injected
        variables |= extra
    tags = [word for tag in template.get("job_tags", "").split(",") if tag for word in ("--tags", tag)]
    playbook = str(PROJECT / template["playbook"])
    return ansible.command(
        "playbook", playbook, "-i", str(inventory), *tags, "-e", json.dumps(variables), **environment
    )


def slice_of(fleet: Fleet, hosts: list[str], path: Path) -> Path:
    """Write the inventory of a slice, which has no other host."""
    inventory = yaml.safe_load(fleet.inventory.read_text(encoding="utf-8"))
    inventory["all"]["hosts"] = {host: inventory["all"]["hosts"][host] for host in hosts}
    path.write_text(yaml.safe_dump(inventory), encoding="utf-8")
    return path


@pytest.mark.skipif(NOT_INSTALLED is not None, reason=str(NOT_INSTALLED))
def test_the_workflow_checks_reports_and_notifies(fleet: Fleet, tmp_path: Path) -> None:
    variables = {name: value for name, value in fleet.variables.items() if name != "ANSIBLE_INVENTORY"}
    ansible, data = Ansible(tmp_path, variables), tmp_path / "data"
    data.mkdir()
    content = release_data({"linux": package({"CVE-2031-1001": "4.4.0-999.999"}, "4.4.0-168.197")})
    (data / "com.ubuntu.xenial.pkg.json").write_text(json.dumps(content), encoding="utf-8")
    with PostgresServer.run() as server, webhook() as receiver:
        database = server.database()
        name, _query, folder = database.partition("@/")[2].partition("?host=")
        given = {"awx_notify_type": "webhook", "awx_notify_when": "always", "awx_vulnerability_data": str(data)}
        given |= {"awx_report_dir": str(tmp_path / "report"), "awx_spool_dir": str(tmp_path / "spool")}
        role = {"PGHOST": folder, "PGDATABASE": name, "PGUSER": "postgres", "PGPASSWORD": PASSWORD}
        made = configure(ansible, given, LIVEPATCH_NOTIFY_URL=receiver.url, **role)
        assert made.run.code == 0, made.run.output
        check, report = made.objects["workflow_job_template", "Livepatch check and report"]["workflow_nodes"]
        jobs = [
            start_job(
                ansible, made, check["unified_job_template"]["name"], slice_of(fleet, hosts, tmp_path / "inventory.yml")
            )
            for hosts in SLICES
        ]
        assert [job.code for job in jobs] == [0, 0], jobs[-1].output
        assert receiver.received == []
        assert not (tmp_path / "report").exists()
        inventory = slice_of(fleet, HOSTS, tmp_path / "inventory.yml")
        jobs.append(start_job(ansible, made, report["unified_job_template"]["name"], inventory))
        jobs.append(start_job(ansible, made, "Livepatch exposure", inventory))
        assert jobs[2].code == 0, jobs[2].output
        # A vulnerability is open.
        assert jobs[3].code == 2, jobs[3].output
        assert "CVE-2031-1001" in jobs[3].output
        assert server.sql("SELECT count(*) FROM livepatch.run", database) == [(2,)]
        assert server.sql("SELECT count(*) FROM livepatch.exposure", database) == [(1,)]
        [(_path, _authorization, message)] = receiver.received
    assert message["hosts"] == len(HOSTS)
    written = json.loads((tmp_path / "report" / "fleet.json").read_text(encoding="utf-8"))
    assert sorted(record["host"] for record in written["records"]) == sorted(HOSTS)
    for run in (made.run, *jobs):
        assert PASSWORD not in run.output + json.dumps(run.results)
        assert SECRET not in run.output + json.dumps(run.results)


def test_a_shared_folder_needs_no_database(ansible: Ansible) -> None:
    made = configure(ansible, {"awx_store": "/var/lib/livepatch/records"})
    assert made.run.code == 0, made.run.output
    assert [name for module, name in made.objects if module == "credential"] == []
    assert made.objects["job_template", "Livepatch check"]["credentials"] == ["Servers"]
    assert made.objects["job_template", "Livepatch report"]["credentials"] == []


def test_a_missing_variable_of_the_store_is_named(ansible: Ansible) -> None:
    made = configure(ansible, {}, PGHOST="db", PGDATABASE="livepatch", PGUSER="livepatch_writer", PGPASSWORD="")
    assert made.run.code == 2
    assert "Set the environment variable PGPASSWORD" in made.run.output
    assert "PGHOST" not in made.run.output.partition("Set the environment variable")[2]
    assert not [name for module, name in made.objects if module == "job_template"]
