# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fixtures of the integration tests: hosts of the lab, and Ansible as a user runs it."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet, running_fleet
from tests.lab.runtimes.machine import Machine
from tests.lab.snapd.machine import running_machine as running_snapd
from tests.lab.vm.debian_packages import UnavailableError
from tests.lab.vm.virtual_machine import VirtualMachine, running_machine
from tests.temporary_files import keep_in_memory

from .ansible_parent import AnsibleParent, ForkedAnsible, kill_family

keep_in_memory()

COLLECTIONS = Path(__file__).parents[2] / ".build" / "collections"
CALLBACKS = Path(__file__).parent / "plugins" / "callback"


@dataclasses.dataclass(frozen=True)
class Run:
    """The end of a command: its exit code, its output, and each result as ``{kind, host, task, result}``."""

    code: int
    output: str
    results: list[dict[str, t.Any]]

    def result(self, host: str) -> dict[str, t.Any]:
        """Return the last result of a host, with its ``kind`` (ok, failed, unreachable). Skipped tasks do not count."""
        found = [line for line in self.results if line["host"] == host and line["kind"] != "skipped"]
        return {"kind": found[-1]["kind"], **found[-1]["result"]}


@dataclasses.dataclass(frozen=True)
class Started:
    """A command that runs, and the file of its output. It is killed when its context ends."""

    process: subprocess.Popen[bytes] | ForkedAnsible
    log: Path

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def reaches(self, moment: Callable[[], bool], seconds: float = 120) -> bool:
        """Wait until a condition holds. Return False if the run ended before."""
        deadline = time.monotonic() + seconds
        while not moment():
            if self.process.poll() is not None:
                return moment()
            assert time.monotonic() < deadline, self.log.read_text("utf-8")
            time.sleep(0.005)
        return True

    def kill(self) -> None:
        """Kill it and all its descendants."""
        if self.process.poll() is None:
            kill_family(self.process.pid)
        self.process.wait()


@functools.cache
def ansible_parent() -> AnsibleParent:
    """Return the process that forks the runs of this process's tests."""
    parent = AnsibleParent()
    atexit.register(parent.close)
    return parent


@dataclasses.dataclass(frozen=True)
class Ansible:
    """ansible-core of the interpreter that runs the tests, in a folder without a user's configuration."""

    folder: Path
    variables: dict[str, str]
    timeout: float = 300

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of a command: those of the tests, and none of Ansible from outside."""
        configuration = self.folder / "ansible.cfg"
        configuration.touch()
        # Worker processes of pytest have the width of a terminal in COLUMNS.
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

    def command(self, *words: str, cold: bool = False, prefix: Sequence[str] = (), **variables: str) -> Run:
        """Run one of Ansible's commands, for instance ``playbook``, to its end.

        It runs in a new process if it must be `cold`, or if another command starts it, whose words are `prefix`.
        """
        environment = self.environment(**variables)
        results = Path(environment["TASK_RESULTS"])
        results.unlink(missing_ok=True)
        with open(os.memfd_create("output"), "r+b") as output:
            process = self._start(list(words), environment, output.fileno(), cold, prefix)
            try:
                code = process.wait(self.timeout)
            except BaseException:
                kill_family(process.pid)
                raise
            output.seek(0)
            printed = output.read().decode(errors="replace")
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        return Run(code, printed, [json.loads(line) for line in lines])

    def start(self, *words: str, cold: bool = False, **variables: str) -> Started:
        """Run one of Ansible's commands, without waiting for its end."""
        log = self.folder / "started.log"
        with log.open("wb") as output:
            return Started(self._start(list(words), self.environment(**variables), output.fileno(), cold), log)

    def _start(
        self, words: list[str], environment: dict[str, str], output: int, cold: bool, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[bytes] | ForkedAnsible:
        """Start a command in a forked process that has the libraries, or in a new one."""
        if cold or prefix or _needs_new_process(environment):
            return subprocess.Popen(
                [*prefix, sys.executable, "-m", "ansible", *words],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return ansible_parent().start(words, self.folder, environment, output)

    def start_task(self, module: str, hosts: str, /, **arguments: t.Any) -> Started:
        """Run one module, by its full name, on hosts, without waiting for its end."""
        results = str(self.folder / "started.jsonl")
        return self.start("playbook", self._play("started.yml", module, hosts, arguments), TASK_RESULTS=results)

    def playbook(self, playbook: str, *words: str, **extra: t.Any) -> Run:
        """Run a playbook, with `extra` as its extra variables."""
        return self.command("playbook", playbook, *words, "-e", json.dumps(extra))

    def task(self, module: str, hosts: str, /, *words: str, **arguments: t.Any) -> Run:
        """Run one module, by its full name, on hosts."""
        return self.command("playbook", self._play("play.yml", module, hosts, arguments), *words)

    def each(self, module: str, hosts: str, cases: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
        """Return the results of a module for each set of options, in one play. A failure is ``ignored``."""
        return [{"kind": line["kind"], **line["result"]} for line in self.each_run(module, hosts, cases).results]

    def each_run(self, module: str, hosts: str, cases: list[dict[str, t.Any]], *words: str) -> Run:
        """Run a module on one host with each set of options, in one play that ignores failures."""
        tasks = [{"name": f"Case {number}", module: case, "ignore_errors": True} for number, case in enumerate(cases)]
        run = self.command("playbook", self._write_play("each.yml", hosts, tasks), *words)
        assert [line["task"] for line in run.results] == [task["name"] for task in tasks], run.output
        return run

    def cases(
        self, module: str, options: Mapping[str, Mapping[str, t.Any]], *words: str
    ) -> dict[str, dict[str, t.Any]]:
        """Run a module on several hosts at the same time, each with its options; return the result of each host."""
        task = {"name": module, module: None, "args": "{{ options_of[inventory_hostname] }}"}
        play = self._write_play("cases.yml", ",".join(options), [task], options_of=dict(options))
        run = self.command("playbook", play, *words)
        return {host: run.result(host) for host in options}

    def _play(self, name: str, module: str, hosts: str, arguments: dict[str, t.Any]) -> str:
        """Write a playbook of one task; return its path."""
        return self._write_play(name, hosts, [{"name": module, module: arguments}])

    def _write_play(self, name: str, hosts: str, tasks: list[dict[str, t.Any]], **variables: t.Any) -> str:
        """Write a playbook; return its path."""
        play = {"name": "Play", "hosts": hosts, "gather_facts": False, "vars": variables, "tasks": tasks}
        playbook = self.folder / name
        playbook.write_text(json.dumps([play]), encoding="utf-8")
        return str(playbook)


def _needs_new_process(environment: dict[str, str]) -> bool:
    """Return True if Python reads one of the variables that differ when it starts."""
    changed = {name for name, value in environment.items() if os.environ.get(name) != value}
    return any(name.startswith(("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")) for name in changed)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Every described host of the lab, for tests that do not change hosts."""
    with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def lab_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet whose server and processes other hosts use: see `Fleet.with_hosts`."""
    with running_fleet(tmp_path_factory.mktemp("processes"), only=["xenial-generic"]) as fleet:
        yield fleet


@pytest.fixture
def ansible(tmp_path: Path, fleet: Fleet) -> Ansible:
    """Ansible with every described host of the lab as its inventory."""
    return Ansible(tmp_path, fleet.variables)


@pytest.fixture(scope="session")
def vm_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The server of the virtual machine's client. It belongs to a small fleet that nothing else uses."""
    with running_fleet(tmp_path_factory.mktemp("service"), count=1) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def virtual_machine(vm_service: Fleet) -> Iterator[VirtualMachine]:
    """The lab's virtual machine, started once. Each test calls its `reset` first."""
    try:
        with running_machine(vm_service.server, vm_service.certificate) as machine:
            yield machine
    except UnavailableError as reason:
        pytest.skip(f"no virtual machine: {reason}")


@pytest.fixture(scope="session")
def snapd_machine() -> Iterator[tuple[Machine, Path]]:
    """The machine with the real snapd, and its inventory. Its tests share one client, and run in the order of files."""
    try:
        with running_snapd() as started:
            yield started
    except UnavailableError as reason:
        pytest.skip(f"no machine with snapd: {reason}")
