# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One script, one round trip, any connection, no Python on the host."""

from __future__ import annotations

import functools
import pathlib
import secrets
import shlex
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import sections

if t.TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible.plugins.action import ActionBase

_SHELL_FOLDER = pathlib.Path(__file__).parent / "shell"

SECTION_LIMIT = 262_144
"""Bytes that one section may bring, on each stream."""


class HostShellError(Exception):
    """The script could not be run on the host. `id` names the cause, `remedy` says what to do."""

    def __init__(self, cause: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.id = cause
        self.remedy = remedy


@functools.cache
def _script(name: str) -> str:
    return "\n".join((_SHELL_FOLDER / part).read_text(encoding="utf-8") for part in ("sections.sh", f"{name}.sh"))


def run_script(
    action: ActionBase, name: str, variables: Mapping[str, str], *, secret: bool = False
) -> sections.Sections:
    """Run ``shell/<name>.sh`` on the task's host and return what it said.

    `variables` become shell variables ``lp_<key>``. With `secret`, they hold one: the script then never goes
    as an argument, where a process list would show it.

    Raises `HostShellError`; a connection that fails raises what Ansible raises.
    """
    nonce = secrets.token_hex(16)
    script = compose(name, nonce, variables)
    if _takes_stdin(action):
        answer = action._low_level_execute_command("/bin/sh -s", in_data=script.encode())
    elif secret:
        raise HostShellError(
            "stdin_unavailable",
            f"{_way_in(action)} cannot pass standard input, and a secret must not go on a command line",
            "use a connection and a become method that pass standard input, such as ssh with sudo",
        )
    else:
        answer = action._low_level_execute_command(f"/bin/sh -c {shlex.quote(script)} </dev/null")
    try:
        return sections.parse(answer.get("stdout", ""), answer.get("stderr", ""), nonce)
    except sections.NoAnswerError:
        raise _explain(answer) from None


def compose(name: str, nonce: str, variables: Mapping[str, str]) -> str:
    """The whole text that goes to the host's shell: variables, the sections' library, the script, the call."""
    values = {"nonce": nonce, **variables}
    head = "".join(f"lp_{key}={shlex.quote(value)}\n" for key, value in values.items())
    return f"{head}{_script(name)}\nrun {SECTION_LIMIT}\n"


def _takes_stdin(action: ActionBase) -> bool:
    become = action._connection.become
    if become is not None and (become.name.rpartition(".")[2] == "su" or become.require_tty):
        return False
    return bool(action._connection.has_pipelining)


def _way_in(action: ActionBase) -> str:
    become = action._connection.become
    transport = str(action._connection.transport)
    return f"become method {become.name} over {transport}" if become is not None else f"connection {transport}"


def _explain(answer: Mapping[str, t.Any]) -> HostShellError:
    """Say why no script ran, from what came back instead."""
    said = " ".join(f"{answer.get('stderr', '')} {answer.get('stdout', '')}".split())[-400:]
    if "must have a tty" in said:
        return HostShellError(
            "sudo_requires_tty",
            "sudo on the host refuses to work without a terminal (requiretty)",
            "remove `Defaults requiretty` for this user in sudoers, or log in as root",
        )
    if "password is required" in said or "Missing sudo password" in said:
        return HostShellError(
            "become_password_missing",
            "privilege escalation asked for a password and got none",
            "give the password with --ask-become-pass or ansible_become_password",
        )
    if "incorrect password" in said.lower() or "sorry, try again" in said.lower():
        return HostShellError(
            "become_password_wrong",
            "privilege escalation refused the password",
            "check ansible_become_password for this host",
        )
    code = answer.get("rc")
    return HostShellError(
        "script_did_not_run",
        f"the host's shell did not run the script (exit code {code}): {said or 'no output'}",
        "check that the login is an ordinary shell: `ansible HOST -m raw -a 'echo ok'`",
    )
