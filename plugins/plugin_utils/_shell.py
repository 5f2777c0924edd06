# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One script, one round trip, any connection, no Python on the host."""

from __future__ import annotations

import pathlib
import re
import secrets
import shlex
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import sections

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible.plugins.action import ActionBase

# Read when the plugin is loaded: once a run, before Ansible forks a process for each host.
_LIBRARY = "sections"
_SCRIPTS = {
    path.stem: path.read_text(encoding="utf-8") for path in (pathlib.Path(__file__).parent / "shell").glob("*.sh")
}

SECTION_LIMIT = 262_144
"""Bytes that one section may bring, on each stream."""

FILE_LIMIT = 11_600_000
"""The same for a file, in base64: 8 MiB, and some more, so that one that is larger shows."""

_WRONG_PASSWORD = re.compile(
    r"(?i)incorrect (\S+ )?password|sorry, try again|duplicate become password|authentication failure"
)
_NOT_ALLOWED = re.compile(r"not in the sudoers file|is not allowed to|may not run sudo")


def run_script(
    action: ActionBase, name: str | Sequence[str], variables: Mapping[str, str], *, secret: bool = False
) -> sections.Sections:
    """Run ``shell/<name>.sh`` on the task's host and return what it said.

    Several names are one script, each part using the functions of those before it; the last ``main`` counts.
    `variables` become shell variables ``lp_<key>``. With `secret`, they hold one: the script then never goes
    as an argument, where a process list would show it.

    Raises `LivepatchError`; a connection that fails raises what Ansible raises.
    """
    nonce = secrets.token_hex(16)
    if secret and not _takes_stdin(action):
        raise LivepatchError(
            "stdin_unavailable",
            f"{_way_in(action)} cannot pass standard input, and a secret must not go on a command line",
            "use a connection and a become method that pass standard input, such as ssh with sudo",
        )
    try:
        answer = _send(action, name, nonce, variables)
    except AnsibleConnectionFailure:
        raise
    except AnsibleError as error:
        # Some connections notice that privilege escalation failed, others hand on what it said.
        refusal = _refusal(str(error))
        if refusal is None:
            raise
        raise refusal from error
    try:
        return sections.parse(answer["stdout"], answer["stderr"], nonce)
    except sections.NoAnswerError:
        raise _explain(answer) from None


def compose(name: str | Sequence[str], nonce: str, variables: Mapping[str, str]) -> str:
    """The whole text that goes to the host's shell: variables, the sections' library, the script's parts, the call."""
    names = [name] if isinstance(name, str) else name
    values = {"nonce": nonce, **variables}
    head = "".join(f"lp_{key}={shlex.quote(value)}\n" for key, value in values.items())
    parts = "\n".join(_SCRIPTS[part] for part in (_LIBRARY, *names))
    return f"{head}{parts}\nrun {SECTION_LIMIT} {FILE_LIMIT}\n"


def _send(action: ActionBase, name: str | Sequence[str], nonce: str, variables: Mapping[str, str]) -> dict[str, t.Any]:
    if _takes_stdin(action):
        script = compose(name, nonce, variables)
        return dict(action._low_level_execute_command("/bin/sh -s", in_data=script.encode()))
    script = compose(name, nonce, {"terminal": "1", **variables})
    answer = action._low_level_execute_command(f"/bin/sh -c {shlex.quote(script)} </dev/null")
    # A terminal ends lines in its own way, and what the script said on its other stream follows the first.
    output, done, errors = answer["stdout"].replace("\r\n", "\n").partition(f"@{nonce} done\n")
    return {**answer, "stdout": output + done, "stderr": errors + answer["stderr"]}


def _takes_stdin(action: ActionBase) -> bool:
    connection = action._connection
    become = connection.become
    if become is not None and (become.name.rpartition(".")[2] == "su" or become.require_tty):
        return False
    if become is not None and connection.transport == "local" and become.get_option("become_pass"):
        # This connection then puts a terminal in the place of standard input, unless told to use pipes.
        return bool(connection.get_option("pipelining"))
    return bool(connection.has_pipelining)


def _way_in(action: ActionBase) -> str:
    become = action._connection.become
    transport = str(action._connection.transport)
    return f"become method {become.name} over {transport}" if become is not None else f"connection {transport}"


def _explain(answer: Mapping[str, t.Any]) -> LivepatchError:
    """Say why no script ran, from what came back instead."""
    said = " ".join(f"{answer.get('stderr', '')} {answer.get('stdout', '')}".split())[-400:]
    code = answer.get("rc")
    return _refusal(said) or LivepatchError(
        "script_did_not_run",
        f"the host's shell did not run the script (exit code {code}): {said or 'no output'}",
        "check that the login is an ordinary shell: `ansible HOST -m raw -a 'echo ok'`",
    )


def _refusal(said: str) -> LivepatchError | None:
    """Know a failed privilege escalation by the words of sudo, su, or Ansible on their behalf."""
    if "must have a tty" in said:
        return LivepatchError(
            "sudo_requires_tty",
            "sudo on the host refuses to work without a terminal (requiretty)",
            "remove `Defaults requiretty` for this user in sudoers, or log in as root",
        )
    if "password is required" in said or re.search(r"Missing \S+ password", said):
        return LivepatchError(
            "become_password_missing",
            "privilege escalation asked for a password and got none",
            "give the password with --ask-become-pass or ansible_become_password",
        )
    if _WRONG_PASSWORD.search(said):
        return LivepatchError(
            "become_password_wrong",
            "privilege escalation refused the password",
            "check ansible_become_password for this host",
        )
    if _NOT_ALLOWED.search(said):
        return LivepatchError(
            "become_not_allowed",
            f"the host does not let this user become another: {said}",
            "allow it in the host's sudoers, or log in as root",
        )
    return None
