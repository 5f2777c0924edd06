# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The role that holds the defaults of the playbooks: precedence, omitted options, and keywords of plays."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from .conftest import Ansible, Run

HOSTS = {f"web-{number}": {"ansible_connection": "local"} for number in range(1, 6)}
LOAD = {"name": "kernelops.livepatch.playbook_defaults", "rolespec_validate": False}


def play(*tasks: dict[str, t.Any], files: tuple[str, ...] = (), **keywords: t.Any) -> dict[str, t.Any]:
    """A play that loads the defaults as the playbooks do."""
    loads = [{"ansible.builtin.import_role": LOAD}]
    loads += [{"ansible.builtin.import_role": {**LOAD, "defaults_from": name}} for name in files]
    return {"hosts": "all", "gather_facts": False, **keywords, "tasks": [*loads, *tasks]}


def run(folder: Path, *plays: dict[str, t.Any], variables: dict[str, t.Any], **extra: t.Any) -> Run:
    """Run plays on five hosts. The inventory has these variables for all hosts."""
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": HOSTS, "vars": variables}}), encoding="utf-8")
    playbook = folder / "play.yml"
    playbook.write_text(yaml.safe_dump(list(plays), sort_keys=False), encoding="utf-8")
    return Ansible(folder, {"ANSIBLE_INVENTORY": str(inventory)}).playbook(str(playbook), **extra)


@pytest.mark.matrix
def test_every_other_definition_has_precedence(tmp_path: Path) -> None:
    shown = {"that": ["livepatch_policy == policy", "livepatch_verify == 'file'", "livepatch_via == 'pro'"]}
    asserts = {"ansible.builtin.assert": {**shown, "quiet": True}, "vars": {"policy": "launch"}}
    ended = run(
        tmp_path,
        play(asserts, hosts="{{ livepatch_hosts }}"),
        variables={"livepatch_verify": "file", "livepatch_via": "livepatch"},
        livepatch_via="pro",
        livepatch_hosts="web-1:web-2",
    )
    assert ended.code == 0, ended.output
    assert sorted((line["host"], line["task"]) for line in ended.results) == [
        ("web-1", "ansible.builtin.assert"),
        ("web-2", "ansible.builtin.assert"),
    ], "importing the role shows no task"


@pytest.mark.matrix
def test_a_variable_without_a_default_omits_the_option(tmp_path: Path) -> None:
    report = {"record_dir": "records", "hosts": ["web-1"], "fail_on": []}
    passed = {"history": "{{ livepatch_history }}", "retention": "{{ livepatch_retention }}"}
    role = {f"report_{name}": value for name, value in {**report, "history": passed["history"]}.items()}
    ended = run(
        tmp_path,
        play({"kernelops.livepatch.fleet_report": {**report, **passed}}, hosts="localhost", connection="local"),
        play(
            {"ansible.builtin.include_role": {"name": "kernelops.livepatch.report"}, "vars": role},
            hosts="localhost",
            connection="local",
        ),
        variables={},
    )
    assert ended.code == 0, ended.output
    assert ended.output.count("1 host: 1 no_answer") == 2
    assert ended.result("localhost")["history"] is None
