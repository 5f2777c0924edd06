# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One script, one round trip: every kind of escalation gives the same record, and a failed one has a reason."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import types
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script
from tests.integration.conftest import Ansible, Run
from tests.integration.shells import SHELLS, each_shell
from tests.lab.process_trace import executions, recording

pytestmark = pytest.mark.matrix

NONCE = "0123456789abcdef0123456789abcdef"
SHELL_SCRIPTS = Path(__file__).parents[2] / "plugins" / "plugin_utils" / "shell"
PASSWORD = "made up: $x 'y'"
# Does what sudo does with these options. Tests that use it need not run as root.
SUDO = """\
#!/bin/sh
prompt=
while :; do
    case $1 in
        -p) prompt=$2; shift 2 ;;
        -u) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
if [ -z "$prompt" ]; then
    echo 'sudo: a password is required' >&2
    exit 1
fi
printf '%s' "$prompt" >&2
IFS= read -r password
if [ "$password" != "$PASSWORD" ]; then
    echo 'Sorry, try again.' >&2
    echo 'sudo: 1 incorrect password attempt' >&2
    exit 1
fi
exec "$@"
"""
REFUSING = """\
#!/bin/sh
echo '{words}' >&2
exit 1
"""
TALKING = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do
    if [ "$1" = -u ]; then shift; fi
    shift
done
echo 'Welcome! @0123456789abcdef begin 1'
echo '@0123456789abcdef section user' >&2
exec "$@"
"""
# Like a connection that has no standard input for a command.
DEAF = """\
DOCUMENTATION = '''
name: deaf
short_description: Without standard input
description: For tests.
'''
from ansible.plugins.connection.local import Connection as Local

class Connection(Local):
    transport = "deaf"
    has_pipelining = False

    def exec_command(self, cmd, in_data=None, sudoable=True):
        assert in_data is None
        return super().exec_command(cmd, sudoable=sudoable)
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A check of this machine with every kind of escalation, at a high verbosity."""
    folder = tmp_path_factory.mktemp("escalations")
    programs = {
        "sudo": SUDO,
        "wants-terminal": REFUSING.format(words="sudo: sorry, you must have a tty to run sudo"),
        "not-allowed": REFUSING.format(words="fleet is not in the sudoers file"),
        "talking": TALKING,
    }
    for name, script in programs.items():
        (folder / name).write_text(script, encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "connection").mkdir()
    (folder / "connection" / "deaf.py").write_text(DEAF, encoding="utf-8")

    def become(program: str, **more: t.Any) -> dict[str, t.Any]:
        # Ansible uses sudo only for another user than the one who logs in.
        user = {"ansible_become": True, "ansible_become_user": "another-user"}
        return {**user, "ansible_become_exe": str(folder / program), **more}

    password = {"ansible_become_password": PASSWORD}
    hosts = {
        "plain": {},
        "talking": become("talking"),
        "password": become("sudo", **password),
        "password-by-pipe": become("sudo", **password, ansible_pipelining=True),
        "deaf": {"ansible_connection": "deaf"},
        "deaf-too": {"ansible_connection": "deaf"},
        "wrong-password": become("sudo", ansible_become_password="made up, and wrong"),
        "no-password": become("sudo"),
        "wants-terminal": become("wants-terminal"),
        "not-allowed": become("not-allowed"),
        "not-installed": become("missing/sudo"),
    }
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "/nonexistent/python"}
    (folder / "inventory.json").write_text(json.dumps({"all": {"vars": variables, "hosts": hosts}}), encoding="utf-8")
    environment = {"PASSWORD": PASSWORD, "ANSIBLE_CONNECTION_PLUGINS": str(folder / "connection")}
    ansible = Ansible(folder, environment)
    return ansible.task("kernelops.livepatch.patch_info", "all", "-i", "inventory.json", "-vvv", network=False)


@pytest.mark.parametrize("host", ["talking", "password", "password-by-pipe", "deaf"])
def test_every_escalation_gives_the_same_record(seen: Run, host: str) -> None:
    record, plain = (seen.result(name)["record"] for name in (host, "plain"))
    assert plain["system"]["kernel"]["release"]
    for each in (record, plain):
        each["collected_at"] = each["host"] = each["system"]["kernel"]["booted_at"] = None
    assert record == plain


@pytest.mark.parametrize(
    ("host", "reason", "words"),
    [
        ("wrong-password", "become_password_wrong", "correct ansible_become_password"),
        ("no-password", "become_password_missing", "--ask-become-pass"),
        ("wants-terminal", "sudo_requires_tty", "requiretty"),
        ("not-allowed", "become_not_allowed", "fleet is not in the sudoers file"),
        ("not-installed", "become_not_installed", "install sudo on the host"),
    ],
)
def test_a_refused_escalation_has_a_remedy(seen: Run, host: str, reason: str, words: str) -> None:
    result = seen.result(host)
    assert (result["kind"], result.get("error_id")) == ("failed", reason)
    assert words in result["msg"].lower()


def test_every_host_runs_one_command(seen: Run) -> None:
    for host in ("plain", "talking", "password", "deaf", "no-password"):
        assert len(re.findall(rf"^<{host}> EXEC ", seen.output, re.MULTILINE)) == 1


def test_every_call_has_another_boundary(seen: Run) -> None:
    """The script is visible where it is an argument. Where it is input, it is never shown."""
    boundaries = {
        call.partition(">")[0]: nonce
        for call in re.split(r"^<(?=\S+> EXEC )", seen.output, flags=re.MULTILINE)
        for nonce in re.findall(r"lp_nonce=([0-9a-f]{32})\b", call)
    }
    assert boundaries.keys() == {"password", "wrong-password", "deaf", "deaf-too"}
    assert len(set(boundaries.values())) == len(boundaries)


class Connection(types.SimpleNamespace):
    """The attributes of a connection that a script needs."""

    def exec_command(self) -> None:
        raise AssertionError("the tests run commands themselves")


class Action:
    """The part of an action plugin that a script needs, with the shell of this machine as its host."""

    def __init__(self, error: Exception | None = None, **connection: t.Any) -> None:
        self._connection = Connection(**{"become": None, "transport": "ssh", **connection})
        self.error = error
        self.commands: list[str] = []

    def _low_level_execute_command(self, cmd: str, in_data: bytes | None = None) -> dict[str, t.Any]:
        self.commands.append(cmd)
        if self.error:
            raise self.error
        done = subprocess.run(["/bin/sh", "-c", cmd], input=in_data, capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


def look(action: Action, **variables: str) -> t.Any:
    return run_script(t.cast("t.Any", action), "probe", {"network": "", **variables}, secret=True)


def test_a_secret_is_passed_as_input() -> None:
    action = Action(has_pipelining=True)
    assert look(action, token=PASSWORD).complete
    assert action.commands == ["/bin/sh -s"]


@pytest.mark.parametrize(
    "connection",
    [
        {"has_pipelining": False},
        {"has_pipelining": True, "become": types.SimpleNamespace(name="su", require_tty=True)},
        {"has_pipelining": True, "become": types.SimpleNamespace(name="ansible.builtin.su", require_tty=False)},
    ],
)
def test_a_secret_is_never_an_argument(connection: dict[str, t.Any]) -> None:
    action = Action(**connection)
    with pytest.raises(LivepatchError) as failure:
        look(action, token=PASSWORD)
    assert failure.value.id == "stdin_unavailable"
    assert action.commands == []


@pytest.mark.parametrize("error", [AnsibleConnectionFailure("Incorrect sudo password"), AnsibleError("no ssh here")])
def test_other_connection_failures_are_raised(error: AnsibleError) -> None:
    with pytest.raises(type(error)) as failure:
        look(Action(error, has_pipelining=True))
    assert failure.value is error


class Lost(Action):
    """A host that disappears while it answers. Ansible reports this as data that could not be sent."""

    def __init__(self, end: str) -> None:
        super().__init__(has_pipelining=True)
        self.end = end

    def _low_level_execute_command(self, cmd: str, in_data: bytes | None = None) -> dict[str, t.Any]:
        self.commands.append(cmd)
        nonce = re.findall("lp_nonce=([0-9a-f]+)", (in_data or b"").decode())[0]
        printed = f"\n@{nonce} begin 1\n\n@{nonce} section user\nwarning\n\n@{nonce} end user ok 0\n{self.end}"
        raise AnsibleConnectionFailure(f'Data could not be sent to remote host "web1": {printed}')


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("a warning\nConnection to web1 closed by remote host.\r\n", ": Connection to web1 closed by remote host."),
        ("", ""),
    ],
)
def test_a_host_lost_within_its_answer_has_the_reason(end: str, reason: str) -> None:
    with pytest.raises(AnsibleConnectionFailure) as failure:
        look(Lost(end))
    assert str(failure.value) == f"the connection was lost before the host had completed its answer{reason}"


# --- what other users of the host can see and change


def script_with(main: str, start: str = "") -> str:
    """Return a script with this function `main`, as a connection passes it to a shell."""
    library = (SHELL_SCRIPTS / "sections.sh").read_text(encoding="utf-8")
    return f"lp_nonce={NONCE}\n{start}\n{library}\nmain() {{\n{main}\n}}\nrun 100000 100000\n"


@each_shell
def test_the_boundary_is_no_argument_of_a_process(shell: str, tmp_path: Path) -> None:
    """Every user of the host can read the arguments of all processes."""
    trace = tmp_path / "trace"
    script = script_with("section one echo content; empty_section two absent")
    done = subprocess.run(
        [*recording(trace), *SHELLS[shell].split(), "-s"], input=script, capture_output=True, text=True, check=True
    )
    assert f"@{NONCE} section one\ncontent\n" in done.stdout
    started = executions(trace)
    assert any(each.argv[0] == "awk" for each in started)
    assert [each.argv for each in started if any(NONCE in word for word in each.argv)] == []


@each_shell
@pytest.mark.parametrize(
    "path", ["", ":", "/usr/bin:", ":/usr/bin", "/usr/bin::/bin", ".:/usr/bin", "/usr/bin:.", "/usr/bin:bin/../."]
)
def test_programs_of_the_current_folder_are_not_run(shell: str, path: str, tmp_path: Path) -> None:
    for name in ("awk", "timeout", "planted"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho planted >{tmp_path}/ran\n", encoding="utf-8")
        program.chmod(0o755)
    script = script_with("section one planted", f"PATH={path}")
    command = [str(shutil.which(SHELLS[shell].split()[0])), *SHELLS[shell].split()[1:], "-s"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert f"@{NONCE} end one ok 127" in done.stdout
    assert not (tmp_path / "ran").exists()


@each_shell
@pytest.mark.parametrize(("terminal", "scopes"), [("", ""), ("1", "exit 1"), ("", "work")])
def test_no_answer_waits_for_a_detached_command(shell: str, terminal: str, scopes: str, tmp_path: Path) -> None:
    """`cat` waits until the test opens the FIFO, after the script has ended. systemd may refuse to make a scope."""
    fifo, end = tmp_path / "fifo", tmp_path / "end"
    os.mkfifo(fifo)
    os.mkfifo(end)
    main = f"detach sh -c 'cat {fifo}; echo $IN_SCOPE done >{end}'\nsection one echo content"
    script = script_with(main, f"lp_terminal={terminal}")
    if scopes:
        program = tmp_path / "systemd-run"
        start = "IN_SCOPE=scoped; export IN_SCOPE" if scopes == "work" else scopes
        program.write_text(f'#!/bin/sh\n{start}\nshift 3\nexec "$@"\n', "ascii")
        program.chmod(0o755)
        script = script.replace("/run/systemd/system", str(tmp_path)).replace(
            "lp_terminal=", f"PATH={tmp_path}:$PATH\nlp_terminal=", 1
        )
    command = [*SHELLS[shell].split(), "-s"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=60)
    assert f"@{NONCE} section one\ncontent\n" in done.stdout
    fifo.write_bytes(b"")
    assert end.read_text("ascii").split() == (["scoped", "done"] if scopes == "work" else ["done"])
