# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tasks that are delegated to another host, or that ask for asynchronous execution."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet

from .conftest import Ansible

MODULE = "kernelops.livepatch.patch_info"
HOST, OTHER = "xenial-generic", "localhost"


def test_a_delegated_task_records_the_host_it_asks(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    records = tmp_path / "records"
    tasks = [{MODULE: {"record_dir": str(records), "network": False}, "name": "Ask", "delegate_to": OTHER}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": HOST, "gather_facts": False, "tasks": tasks}]))
    run = ansible.command("playbook", str(tmp_path / "play.yml"))
    assert [path.name for path in records.iterdir()] == [f"{OTHER}.json"], run.output
    record = json.loads((records / f"{OTHER}.json").read_text(encoding="utf-8"))
    assert (record["host"], record["system"]["kernel"]["release"]) == (OTHER, platform.release())


@pytest.mark.parametrize("module", [MODULE, "kernelops.livepatch.patch"])
def test_asynchronous_execution_is_refused_with_a_reason(
    fleet: Fleet, ansible: Ansible, module: str, tmp_path: Path
) -> None:
    task = {module: {}, "name": "Ask", "async": 60, "poll": 1}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": HOST, "gather_facts": False, "tasks": [task]}]))
    run = ansible.command("playbook", str(tmp_path / "play.yml"))
    message = run.result(HOST)["msg"]
    assert "async" in message and "support" in message
    assert "no attribute" not in run.output
