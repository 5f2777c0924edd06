# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Programs that change a host run to their end, however much they print and however long they take."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.shells import SHELLS, each_shell

SCRIPTS = Path(__file__).parents[2] / "plugins" / "plugin_utils" / "shell"
# With $DAEMON, it starts a daemon, which must not hold a descriptor of the script open.
TALKATIVE = """\
#!/bin/sh
[ -z "$DAEMON" ] || { sleep 60 >/dev/null 2>&1 & echo "$!" >"$DAEMON"; }
i=0
while [ "$i" -lt 4000 ]; do
    echo "line $i of a program that prints more than a pipe holds, and then ends as usual"
    i=$((i + 1))
done
echo finished >"$END"
exit 3
"""
# It says that it has begun, waits for permission, and says that it has ended.
SLOW_APT = """\
#!/bin/sh
echo begun >"$FOLDER/begun"
read -r word <"$FOLDER/permission"
echo "$word $*" >"$FOLDER/ended"
"""

CLIENT = """\
#!/bin/sh
echo attempt >>"$COUNT"
case $(wc -l <"$COUNT") in
1) cause='connection refused' ;;
2) cause='no such file or directory' ;;
*) exit 0 ;;
esac
echo "cannot connect to the daemon: dial unix livepatchd.sock: connect: $cause" >&2
exit 1
"""


def run(shell: str, folder: Path, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line after the functions of the script."""
    parts = "\n".join((SCRIPTS / f"{name}.sh").read_text("utf-8") for name in ("sections", "probe", "client_write"))
    script = f"lp_nonce=5e5e\nlp_state_folder={folder}/client\nlp_timeout=1\n{parts}\n{line}\n"
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    words = [*SHELLS[shell].split(), "-s"]
    if shutil.which(words[0]) is None:
        pytest.skip(f"this machine has no {words[0]}")
    return subprocess.run(words, input=script, env=environment, capture_output=True, text=True, check=False, timeout=60)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="ascii")
    path.chmod(0o755)
    return path


@each_shell
@pytest.mark.parametrize("daemon", [False, True])
def test_a_program_may_print_any_amount(shell: str, daemon: bool, tmp_path: Path) -> None:
    program = write(tmp_path / "talkative", TALKATIVE)
    variables = {"END": str(tmp_path / "end"), "DAEMON": str(tmp_path / "pid") if daemon else ""}
    done = run(shell, tmp_path, f'capture {program}; echo "$lp_exit ${{#lp_output}}"', **variables)
    if daemon:
        os.kill(int((tmp_path / "pid").read_text("ascii")), 9)
    assert done.stdout.split() == ["3", "65536"], done.stderr
    assert (tmp_path / "end").read_text("ascii") == "finished\n"


@each_shell
@pytest.mark.parametrize(("program", "expected"), [("true", "0 0"), ("false", "1 0"), ("printf x", "0 1")])
def test_output_and_exit_code_are_kept(shell: str, program: str, expected: str, tmp_path: Path) -> None:
    done = run(shell, tmp_path, f'capture {program}; echo "$lp_exit ${{#lp_output}}"')
    assert done.stdout.strip() == expected, done.stderr


@each_shell
def test_a_socket_without_a_daemon_is_not_enough(shell: str, tmp_path: Path) -> None:
    """The client reaches its daemon at the third attempt."""
    client = write(tmp_path / "client", CLIENT)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "socket"))
    line = f"lp_socket={tmp_path}/socket; sleep() {{ :; }}; find_client() {{ lp_client={client}; }}; wait_for_daemon"
    done = run(shell, tmp_path, f'{line}; echo "code $?"', COUNT=str(tmp_path / "count"))
    assert done.stdout.splitlines() == ["code 0"], done.stderr
    assert (tmp_path / "count").read_text("ascii") == "attempt\n" * 3


@each_shell
def test_apt_is_never_ended(shell: str, tmp_path: Path) -> None:
    """It takes longer than the step may take, and continues."""
    write(tmp_path / "apt-get", SLOW_APT)
    pipes = {}
    for name, mode in {"begun": "r", "permission": "w", "ended": "r"}.items():
        os.mkfifo(tmp_path / name)
        # Open for reading and writing, so that nobody waits for the other end.
        pipes[name] = open(os.open(tmp_path / name, os.O_RDWR), mode, encoding="ascii")
    done = run(shell, tmp_path, 'set_deadline 2; run_apt install snapd; echo "code $?"', FOLDER=str(tmp_path))
    assert done.stdout.splitlines() == ["code 124"], done.stderr
    assert pipes["begun"].readline() == "begun\n"
    pipes["permission"].write("granted\n")
    pipes["permission"].flush()
    words = pipes["ended"].readline().split()
    assert (words[0], words[-2:]) == ("granted", ["install", "snapd"])


@each_shell
@pytest.mark.parametrize("code", [0, 100])
def test_the_result_of_apt_is_kept(shell: str, code: int, tmp_path: Path) -> None:
    write(tmp_path / "apt-get", f"#!/bin/sh\necho E: no room >&2\nexit {code}\n")
    done = run(shell, tmp_path, 'set_deadline 60; run_apt update; echo "$lp_exit $lp_output"')
    assert done.stdout.splitlines() == [f"{code} E: no room"], done.stderr
    assert list((tmp_path / "client").iterdir()) == []
