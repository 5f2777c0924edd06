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
from tests.lab.vm.machine import VirtualMachine, running_machine
from tests.lab.vm.packages import UnavailableError

COLLECTIONS = Path(__file__).parents[2] / ".build" / "collections"
CALLBACKS = Path(__file__).parent / "plugins" / "callback"


@dataclasses.dataclass(frozen=True)
class Run:
    """How a command ended: its exit code, what it printed, and each result as ``{kind, host, task, result}``."""

    code: int
    output: str
    results: list[dict[str, t.Any]]

    def result(self, host: str) -> dict[str, t.Any]:
        """The last result of a host, with its ``kind`` (ok, failed, unreachable, skipped)."""
        found = [line for line in self.results if line["host"] == host]
        return {"kind": found[-1]["kind"], **found[-1]["result"]}


@dataclasses.dataclass(frozen=True)
class Ansible:
    """ansible-core of the interpreter that runs the tests, in a folder of its own, without a user's configuration."""

    folder: Path
    variables: dict[str, str]
    timeout: float = 300

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of a command: the tests' own ones, and nothing of Ansible from outside."""
        configuration = self.folder / "ansible.cfg"
        configuration.touch()
        # Where tests run in several processes, those have the width of the first one's terminal in COLUMNS.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("ANSIBLE_") and name not in ("COLUMNS", "LINES")
        }
        return {
            **inherited,
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "task_results",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(configuration),
            "ANSIBLE_FORKS": "10",
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "TASK_RESULTS": str(self.folder / "results.jsonl"),
            **self.variables,
            **variables,
        }

    def command(self, *words: str, **variables: str) -> Run:
        """Run one of Ansible's commands, for instance ``playbook``, to its end."""
        environment = self.environment(**variables)
        results = Path(environment["TASK_RESULTS"])
        results.unlink(missing_ok=True)
        ended = subprocess.run(
            [sys.executable, "-m", "ansible", *words],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=self.timeout,
        )
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        return Run(ended.returncode, ended.stdout, [json.loads(line) for line in lines])

    def playbook(self, playbook: str, *words: str, **extra: t.Any) -> Run:
        """Run a playbook, with `extra` as its extra variables."""
        return self.command("playbook", playbook, *words, "-e", json.dumps(extra))

    def task(self, module: str, hosts: str, /, *words: str, **arguments: t.Any) -> Run:
        """Run one module, by its full name, on hosts."""
        task = {"name": module, module: arguments}
        playbook = self.folder / "play.yml"
        play = {"name": "Play", "hosts": hosts, "gather_facts": False, "tasks": [task]}
        playbook.write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
        return self.command("playbook", str(playbook), *words)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Every described host of the lab, up for as long as the tests run. For tests that only look at hosts."""
    with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def ansible(tmp_path: Path, fleet: Fleet) -> Ansible:
    """Ansible with the lab's fleet as its inventory."""
    return Ansible(tmp_path, fleet.variables)


@pytest.fixture(scope="session")
def vm_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The server that the virtual machine's client asks: the one of a small fleet that nothing else uses."""
    with running_fleet(tmp_path_factory.mktemp("service"), count=1) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def virtual_machine(vm_service: Fleet) -> Iterator[VirtualMachine]:
    """The lab's virtual machine, started once for all tests that use it. They put it in order with its `reset`."""
    try:
        with running_machine(vm_service.server, vm_service.certificate) as machine:
            yield machine
    except UnavailableError as reason:
        pytest.skip(f"no virtual machine: {reason}")
