# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run a shell script on a host in one round trip, over any connection and without Python on the host."""

from __future__ import annotations

import collections.abc as c
import contextlib
import pathlib
import re
import secrets
import shlex
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._interruption import call_within_memory

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase
    from ansible.plugins.connection import ConnectionBase

# Read when the plugin is loaded: once in each run, before Ansible forks a process for each host.
_LIBRARY = "sections"
_SCRIPTS = {
    path.stem: path.read_text(encoding="utf-8") for path in (pathlib.Path(__file__).parent / "shell").glob("*.sh")
}

_MEMORY_BASE, _COPIES = 32 << 20, 10
"""A process may grow by these bytes and by so many copies of an answer. The connection plugin ssh makes up to nine."""

_EXPLANATION = 400  # characters
_WRONG_PASSWORD = re.compile(
    r"(?i)incorrect (\S+ )?password|sorry, try again|duplicate become password|authentication failure"
)
_NOT_INSTALLED = re.compile(
    r"\b(?:sudo|su|doas|pfexec|dzdo|pbrun|ksu): (?:command )?not found"
    r"|(?:not found|Unknown command): (?:sudo|su|doas)\b"
)
_NOT_ALLOWED = re.compile(r"not in the sudoers file|is not allowed to|may not run sudo")


def run_script(
    action: ActionBase, name: str | c.Sequence[str], variables: c.Mapping[str, str], *, secret: bool = False
) -> sections.Sections:
    """Run ``shell/<name>.sh`` on the host of the task and return its sections.

    Several names form one script: each part can use the functions of the parts before it, and the last ``main`` is
    called. `variables` become shell variables ``lp_<key>``. If they contain a `secret`, the script is never passed as
    an argument, because process lists show arguments.

    Raises `LivepatchError`, and Ansible's exceptions for a connection that fails.
    """
    files = variables.get("verify") == "file"
    nonce = secrets.token_hex(16)
    if secret and not _takes_stdin(action):
        raise LivepatchError(
            "stdin_unavailable",
            f"{_transport_of(action)} cannot pass standard input, and secrets must not be passed on a command line",
            "use a connection and a become method that pass standard input, such as ssh with sudo",
        )
    try:
        with _bounded_answers(action._connection, sections.answer_limit(files=files)):
            answer = _send(action, name, nonce, variables)
    except AnsibleConnectionFailure as error:
        raise _explain_loss(error, nonce) from None
    except AnsibleError as error:
        # Some connections detect a failed privilege escalation, others return its output.
        refusal = _refusal(str(error))
        if refusal is None:
            raise
        raise refusal from error
    try:
        return sections.parse(answer["stdout"], answer["stderr"], nonce, files=files)
    except sections.NoAnswerError:
        raise _explain(answer) from None


def compose(name: str | c.Sequence[str], nonce: str, variables: c.Mapping[str, str]) -> str:
    """Return the complete script: the variables, the library ``sections``, the parts, and the call of ``main``."""
    names = [name] if isinstance(name, str) else name
    values = {"nonce": nonce, **variables}
    head = "".join(f"lp_{key}={shlex.quote(value)}\n" for key, value in values.items())
    parts = "\n".join(_SCRIPTS[part] for part in (_LIBRARY, *names))
    return f"{head}{parts}\nrun {sections.SECTION_LIMIT} {sections.FILE_LIMIT}\n"


@contextlib.contextmanager
def _bounded_answers(connection: ConnectionBase, limit: int) -> c.Iterator[None]:
    """Cut the streams of every answer of the connection, before Ansible decodes, splits and logs them.

    The connection itself keeps what it receives, so it is interrupted before a host can fill the memory.
    """
    send = connection.exec_command
    memory = _MEMORY_BASE + _COPIES * limit

    def send_bounded(*arguments: t.Any, **options: t.Any) -> tuple[t.Any, ...]:
        code, *streams = call_within_memory(memory, lambda: send(*arguments, **options))
        return code, *(stream[:limit] if isinstance(stream, (bytes, str)) else stream for stream in streams)

    # Only this object is changed: the class has the method.
    vars(connection)["exec_command"] = send_bounded
    try:
        yield
    finally:
        del vars(connection)["exec_command"]


def _send(
    action: ActionBase, name: str | c.Sequence[str], nonce: str, variables: c.Mapping[str, str]
) -> dict[str, t.Any]:
    if _takes_stdin(action):
        script = compose(name, nonce, variables)
        return dict(action._low_level_execute_command("/bin/sh -s", in_data=script.encode()))
    script = compose(name, nonce, {"terminal": "1", **variables})
    answer = action._low_level_execute_command(f"/bin/sh -c {shlex.quote(script)} </dev/null")
    # A terminal changes the ends of lines, and the script prints its standard error after its standard output.
    output, done, errors = answer["stdout"].replace("\r\n", "\n").partition(f"@{nonce} done\n")
    return {**answer, "stdout": output + done, "stderr": errors + answer["stderr"]}


def _takes_stdin(action: ActionBase) -> bool:
    connection = action._connection
    become = connection.become
    if become is not None and (become.name.rpartition(".")[2] == "su" or become.require_tty):
        return False
    if become is not None and connection.transport == "local" and become.get_option("become_pass"):
        # Without pipelining, this connection replaces standard input by a terminal.
        return bool(connection.get_option("pipelining"))
    return bool(connection.has_pipelining)


def _transport_of(action: ActionBase) -> str:
    become = action._connection.become
    transport = str(action._connection.transport)
    return f"become method {become.name} over {transport}" if become is not None else f"connection {transport}"


def _explain_loss(error: AnsibleConnectionFailure, nonce: str) -> AnsibleConnectionFailure:
    """Return the error, or if the host had begun to answer, one with the last line of the connection's errors.

    For such a host, the connection plugin ssh reports that no data could be sent, and quotes the errors of the script.
    """
    _before, mark, end = str(error).rpartition(f"@{nonce} ")
    if not mark:
        return error
    lines = [*end.split("\n")[1:], ""]
    words = next((f": {line.strip()[:_EXPLANATION]}" for line in reversed(lines) if line.strip()), "")
    return AnsibleConnectionFailure(f"the connection was lost before the host had completed its answer{words}")


def _explain(answer: c.Mapping[str, t.Any]) -> LivepatchError:
    """Return the reason why the script did not run, from the output of the host."""
    ends = (str(answer.get(stream, ""))[-_EXPLANATION:] for stream in ("stderr", "stdout"))
    output = " ".join(" ".join(ends).split())[-_EXPLANATION:]
    code = answer.get("rc")
    return _refusal(output) or LivepatchError(
        "script_did_not_run",
        f"the host's shell did not run the script (exit code {code}): {output or 'no output'}",
        "check that the login shell of the user is a POSIX shell: ansible HOST -m ansible.builtin.raw -a 'echo ok'",
    )


def _refusal(output: str) -> LivepatchError | None:
    """Return the error if the output of sudo, su or Ansible shows that privilege escalation failed."""
    if _NOT_INSTALLED.search(output):
        return LivepatchError(
            "become_not_installed",
            f"the host has no program for privilege escalation: {output}",
            "install sudo on the host, set ansible_become_method to what the host has, such as su, or log in as root",
        )
    if "must have a tty" in output:
        return LivepatchError(
            "sudo_requires_tty",
            "sudo on the host requires a terminal (requiretty)",
            "remove `Defaults requiretty` for this user from sudoers, or log in as root",
        )
    if "password is required" in output or re.search(r"Missing \S+ password", output):
        return LivepatchError(
            "become_password_missing",
            "privilege escalation requires a password, and the task has none",
            "use --ask-become-pass, or set ansible_become_password",
        )
    if _WRONG_PASSWORD.search(output):
        return LivepatchError(
            "become_password_wrong",
            "privilege escalation refused the password",
            "correct ansible_become_password for this host",
        )
    if _NOT_ALLOWED.search(output):
        return LivepatchError(
            "become_not_allowed",
            f"the user is not allowed to become another user on the host: {output}",
            "allow this in the host's sudoers, or log in as root",
        )
    return None
