# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the tests from outside share: the lab's fleet, brought up once, and Ansible as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet, running_fleet

COLLECTIONS = Path(__file__).parents[2] / ".build" / "collections"


@dataclasses.dataclass(frozen=True)
class Run:
    """How a command ended. `results` are those of the tasks, by task name and then by host."""

    code: int
    output: str
    results: dict[str, dict[str, dict[str, t.Any]]]


@dataclasses.dataclass(frozen=True)
class Ansible:
    """ansible-core of the interpreter that runs the tests, in a folder of its own and without a user's configuration."""

    folder: Path
    variables: dict[str, str]

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's commands, for instance ``playbook``, and return what it printed."""
        ours = {
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": os.devnull,
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            **self.variables,
            **variables,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        command, *rest = words
        return subprocess.run(
            [sys.executable, "-m", "ansible", command, *rest],
            cwd=self.folder,
            env=inherited | ours,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=300,
        )

    def play(self, tasks: list[dict[str, t.Any]], *words: str, hosts: str = "all") -> Run:
        """Run tasks on hosts and return each task's result as the controller got it."""
        play = {"hosts": hosts, "gather_facts": False, "tasks": tasks}
        playbook = self.folder / "play.yml"
        playbook.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
        ended = self.command("playbook", str(playbook), *words, ANSIBLE_STDOUT_CALLBACK="ansible.builtin.json")
        document = json.loads(ended.stdout[ended.stdout.index("{\n") :])
        results = {task["task"]["name"]: task["hosts"] for play in document["plays"] for task in play["tasks"]}
        return Run(ended.returncode, ended.stdout, results)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Every described host of the lab, up for as long as the tests run. For tests that only look at hosts."""
    with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def ansible(tmp_path: Path, fleet: Fleet) -> Ansible:
    """Ansible with the lab's fleet as its inventory."""
    return Ansible(tmp_path, fleet.variables)
