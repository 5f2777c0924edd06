# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The end of a task on a host: every failure is a stored attempt, and a round trip has a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.playbook.play_context import PlayContext
from ansible.plugins.connection import ConnectionBase
from ansible.plugins.loader import connection_loader

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import answer_limit
from ansible_collections.kernelops.livepatch.plugins.module_utils._interruption import (
    DeadlineError,
    call_within,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import commands
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task, run_script
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _action, _driver
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import LivepatchAction
from tests.samples.records import make_record

pytestmark = pytest.mark.matrix


class TaskTimeoutError(BaseException):
    """Named like the class of ansible-core, which is in different modules of its versions."""


class _Silent(ConnectionBase):
    """A connection whose program never answers."""

    transport = "silent"
    has_pipelining = True
    resets = 0
    process: subprocess.Popen[bytes]

    def __init__(self) -> None:
        self.become = None

    def _connect(self) -> _Silent:
        return self

    def exec_command(self, *_arguments: t.Any, **_options: t.Any) -> tuple[int, bytes, bytes]:
        # Like the plugins of Ansible without a context, which would wait for the process after an exception.
        self.process = subprocess.Popen(["/bin/sleep", "600"])
        return self.process.wait(), b"", b""

    def put_file(self, in_path: str, out_path: str) -> None:
        raise NotImplementedError

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def reset(self) -> None:
        self.resets += 1


class _Action(LivepatchAction):
    """As much of an action plugin as the base class needs. The task is `body`."""

    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {"record_dir": {"type": "path"}}
    RECORDS_ATTEMPTS = True

    def __init__(self, folder: Path, body: t.Callable[[], Task[dict[str, t.Any]]]) -> None:
        self.host = "web1"
        self.body = body
        self.options: dict[str, t.Any] = {}
        self.lines: list[str] = []
        self._task = types.SimpleNamespace(args={"record_dir": str(folder)}, action="test")
        self._connection = _Silent()
        self._display = types.SimpleNamespace(
            vvv=lambda text, **_options: self.lines.append(text), warning=self.lines.append
        )

    def make_task(self, _options: dict[str, t.Any]) -> Task[dict[str, t.Any]]:
        return self.body()

    def _low_level_execute_command(self, cmd: str, in_data: bytes) -> dict[str, t.Any]:
        code, output, errors = self._connection.exec_command(cmd, in_data)
        return {"rc": code, "stdout": output.decode(), "stderr": errors.decode()}

    def perform(self) -> dict[str, t.Any]:
        validation = types.SimpleNamespace(error_messages=[], validated_parameters=self.options)
        return self._perform(validation)


def _ending(error: BaseException) -> t.Callable[[], Task[dict[str, t.Any]]]:
    def body() -> Task[dict[str, t.Any]]:
        yield commands.ReadClock()
        raise error

    return body


def _cause(folder: Path) -> str:
    [document] = (each for each in folder_store.load([folder]) if isinstance(each, FailedAttempt))
    return document.reasons[0]["id"]


@pytest.mark.parametrize("error", [ValueError("\x1b[2J"), RecursionError(), MemoryError(), UnicodeError(), OSError()])
def test_an_unexpected_exception_is_a_failed_attempt(error: Exception, tmp_path: Path) -> None:
    folder_store.store(tmp_path, make_record("web1", "protected"))
    action = _Action(tmp_path, _ending(error))
    result = action.perform()
    assert (result["failed"], result["error_id"], _cause(tmp_path)) == (True, "internal_error", "internal_error")
    assert f"({type(error).__name__} in test_failed_tasks.py, line " in result["msg"]
    assert "\x1b" not in str(result)
    assert any(type(error).__name__ in line for line in action.lines)
    assert not any("\x1b" in line for line in action.lines)


@pytest.mark.parametrize(
    ("error", "cause"),
    [(TaskTimeoutError(), "timed_out"), (KeyboardInterrupt(), "interrupted"), (SystemExit(), "interrupted")],
)
def test_an_interrupted_task_is_a_failed_attempt(error: BaseException, cause: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        _Action(tmp_path, _ending(error)).perform()
    assert _cause(tmp_path) == cause


def test_an_unstored_record_is_a_failed_attempt(tmp_path: Path) -> None:
    failure = folder_store.RecordStoreError("no space").with_details(record={})
    assert _Action(tmp_path, _ending(failure)).perform()["error_id"] == "record_not_stored"
    assert _cause(tmp_path) == "record_not_stored"


def test_an_unstored_attempt_hides_the_last_record(tmp_path: Path) -> None:
    """For example on a full disk, where a file can be renamed, but not written."""
    folder_store.store(tmp_path, make_record("web1", "protected"))
    (tmp_path / folder_store.note_name("web1") / "not empty").mkdir(parents=True)
    action = _Action(tmp_path, _ending(LivepatchError("policy_unusable", "it is not")))
    assert action.perform()["error_id"] == "policy_unusable"
    assert (list(folder_store.load([tmp_path])), action.lines) == ([], [])


def test_an_unstored_attempt_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    action = _Action(tmp_path / "file", _ending(LivepatchError("policy_unusable", "it is not")))
    assert action.perform()["error_id"] == "policy_unusable"
    assert "outdated record of web1" in action.lines[0]


# --- text of hosts ---


ESCAPES = "\x1b]0;a\x07\x9b2J\u202eb"


@pytest.mark.parametrize("kind", [AnsibleConnectionFailure, AnsibleError, AnsibleAuthenticationFailure])
def test_errors_of_connections_have_no_escapes(kind: type[AnsibleError], tmp_path: Path) -> None:
    with pytest.raises(AnsibleError) as caught:
        _Action(tmp_path, _ending(kind(f"no route: {ESCAPES}"))).perform()
    assert str(caught.value).endswith(r"no route: \x1b]0;a\x07\x9b2J\u202eb")
    assert isinstance(caught.value, AnsibleConnectionFailure) == issubclass(kind, AnsibleConnectionFailure)
    assert _cause(tmp_path) == "connection_failed"


def test_usual_errors_of_connections_are_unchanged(tmp_path: Path) -> None:
    error = AnsibleConnectionFailure("no route\r\nto host")
    with pytest.raises(AnsibleConnectionFailure) as caught:
        _Action(tmp_path, _ending(error)).perform()
    assert caught.value is error


def test_results_have_no_escapes(tmp_path: Path) -> None:
    def body() -> Task[dict[str, t.Any]]:
        yield commands.ReadClock()
        return {"msg": f"a\n{ESCAPES}", "checks": [{ESCAPES: ESCAPES}], "diff": f"a\n\tb{ESCAPES}", "number": 1}

    result = _Action(tmp_path, body).perform()
    shown = r"\x1b]0;a\x07\x9b2J\u202eb"
    assert result == {"msg": rf"a\n{shown}", "checks": [{shown: shown}], "diff": f"a\n\tb{shown}", "number": 1}


def test_texts_of_results_are_bounded(tmp_path: Path) -> None:
    def body() -> Task[dict[str, t.Any]]:
        yield commands.ReadClock()
        return {"msg": "m" * 250_000, "checks": [{"found": ESCAPES * 50_000}], "log": "x" * 20_000}

    result = _Action(tmp_path, body).perform()
    assert (len(result["msg"]), len(result["checks"][0]["found"])) == (2000, 20_000)
    assert result["msg"].endswith("m…")
    assert result["log"] == "x" * 20_000


def test_errors_of_connections_are_bounded(tmp_path: Path) -> None:
    def body() -> Task[dict[str, t.Any]]:
        yield commands.ReadClock()
        raise AnsibleConnectionFailure("no route " * 50_000)

    with pytest.raises(AnsibleConnectionFailure) as caught:
        _Action(tmp_path, body).perform()
    assert len(str(caught.value)) == 2000


# --- the deadline of a round trip ---


def _silent_task() -> Task[dict[str, t.Any]]:
    yield from run_script("probe", {"network": ""}, extra_seconds=0.1)
    return {}


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `answer_timeout` that is shorter than the shortest one that users can choose."""
    monkeypatch.setattr(_action, "read_answer_timeout", lambda _options: 0.2)


def test_a_script_that_waits_has_more_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limits = []
    monkeypatch.setattr(_driver, "call_within", lambda seconds, _call: limits.append(seconds))
    action = _Action(tmp_path, _silent_task)
    action.options["answer_timeout"] = 30
    action.perform()
    assert limits == [30.1]


@pytest.mark.parametrize("seconds", [0, 9, 3601])
def test_a_useless_answer_timeout_is_refused(seconds: int, tmp_path: Path) -> None:
    action = _Action(tmp_path, _silent_task)
    action.options["answer_timeout"] = seconds
    result = action.perform()
    assert (result["error_id"], result["msg"].partition(".")[0]) == (
        "timeout_invalid",
        f"The value of answer_timeout is not valid: {seconds} is not between 10 and 3600 seconds",
    )


@pytest.mark.usefixtures("short_timeout")
def test_a_silent_host_is_a_failed_attempt(tmp_path: Path) -> None:
    action = _Action(tmp_path, _silent_task)
    result = action.perform()
    assert (result["error_id"], _cause(tmp_path)) == ("timed_out", "timed_out")
    assert action._connection.process.poll() == -signal.SIGKILL
    assert action._connection.resets == 1
    assert "exec_command" not in vars(action._connection)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.usefixtures("short_timeout")
def test_a_silent_host_may_have_no_answer(tmp_path: Path) -> None:
    def body() -> Task[dict[str, t.Any]]:
        return {"answer": (yield from commands.try_script("probe", {"network": ""}))}

    assert _Action(tmp_path, body).perform() == {"answer": None}


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_connections_of_ansible_are_interrupted(transport: str, tmp_path: Path) -> None:
    """The client of ssh never answers, and the plugin would try again."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho $$ >>$(dirname $0)/started\nexec sleep 600\n", encoding="ascii")
    program.chmod(0o755)
    variables = {"ansible_ssh_executable": str(program), "ansible_ssh_retries": 3, "ansible_host": "192.0.2.1"}
    connection = connection_loader.get(transport, PlayContext())
    connection.set_options(var_options=variables)
    with pytest.raises(DeadlineError):
        call_within(1, lambda: connection.exec_command(f"exec {program}", b"", sudoable=False))
    [started] = (tmp_path / "started").read_text(encoding="ascii").split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started), 0)


# --- limits of memory

MEBIBYTE = 1 << 20
MEASURED = """
import os, resource, sys
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _shell
from ansible_collections.kernelops.livepatch.plugins.module_utils._interruption import MemoryLimitError
transport, program, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = connection_loader.get(transport, PlayContext())
connection.set_options(var_options={"ansible_ssh_executable": program, "ansible_host": "192.0.2.1"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with _shell._bounded_answers(connection, limit):
        code, output, errors = connection.exec_command(f"exec {program}", b"script", sudoable=False)
    print("answer", len(output))
except MemoryLimitError:
    print("too_large", 0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
"""Sends a command over a connection, and prints the length of the answer and the growth of the process in KiB."""


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_an_endless_answer_does_not_fill_the_memory(transport: str, tmp_path: Path) -> None:
    """The client of ssh, and in place of a local command, prints without an end."""
    outcome, grown = _measured(transport, tmp_path, "cat >/dev/null; exec head -c 2000000000 /dev/zero")
    assert outcome == ["too_large", "0"]
    assert grown <= 240 * MEBIBYTE


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_the_largest_answer_is_received(transport: str, tmp_path: Path) -> None:
    limit = answer_limit(files=True)
    outcome, _grown = _measured(transport, tmp_path, f"cat >/dev/null; exec head -c {limit + 1} /dev/zero")
    assert outcome == ["answer", str(limit)]


def _measured(transport: str, folder: Path, line: str) -> tuple[list[str], int]:
    program = folder / "ssh"
    program.write_text(f"#!/bin/sh\n{line}\n", encoding="ascii")
    program.chmod(0o755)
    words = [sys.executable, "-c", MEASURED, transport, str(program), str(answer_limit(files=True))]
    run = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    outcome, grown = run.stdout.splitlines()[-2:]
    return outcome.split(), int(grown) * 1024
