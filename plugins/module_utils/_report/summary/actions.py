# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Actions for people: hosts with the same next step together, with a command for all of them."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..._decisions.next_steps import limit_of, policy_option
from ..._text import visible

if t.TYPE_CHECKING:
    from ..report import HostLine

LONGEST_LIMIT = 1000
"""Hosts in one ``--limit``: longer arguments than those with this many names do not fit on every command line."""

UNWRITABLE = "name the hosts in --limit yourself, because their names have signs with a meaning there"
"""Text instead of a command for hosts whose names cannot be written in it."""

_COMMAND = re.compile(
    r"ansible-playbook kernelops\.livepatch\.(?P<name>[a-z]+)\b(?P<options>(?: --limit \S+| -e [\w]+=[\w.]+)*)"
)
_VARIABLE = re.compile(r"-e ([\w]+=[\w.]+)")
_POLICY = "livepatch_policy="
_TITLES = {
    "check": "check again",
    "enable": "enable the client",
    "patch": "apply the latest patch",
    "upgrade": "upgrade the kernel and reboot",
}
_RECHECK = "check"
_WAITING = frozenset({"protected", "applying"})
"""States that need no action, unless the next step names a playbook."""


@dataclasses.dataclass
class Action:
    """The next step of some hosts. `playbook` is the one that performs it, None where people do it.

    `hosts` are in the order of the report. Where people do it, `state`, `why` and `step` are those of the first one.
    """

    step: str
    playbook: str | None
    variables: tuple[str, ...]
    state: str | None = None
    why: str | None = None
    hosts: list[str] = dataclasses.field(default_factory=list)

    def heading(self) -> str:
        """Return the number of hosts, their state where people do the step, and the step."""
        return f"{self.counted()}: {self.step}"

    def counted(self) -> str:
        """Return the number of hosts, and their state where people do the step."""
        hosts = "1 host" if len(self.hosts) == 1 else f"{len(self.hosts)} hosts"
        return f"{hosts} ({self.state})" if self.state else hosts

    def command(self, most: int = LONGEST_LIMIT) -> str | None:
        """Return the command for the first hosts, None if no name can be written as a limit.

        Where people do the step, the command is the check after it.
        """
        names = limit_of(self.hosts[:most])
        if names is None:
            return None
        options = "".join(f" -e {variable}" for variable in self.variables)
        return f"ansible-playbook kernelops.livepatch.{self.playbook or _RECHECK} --limit {names}{options}"


def actions_of(lines: t.Iterable[HostLine], policy: str | None) -> list[Action]:
    """Return the actions, the most urgent first. Ineligible hosts are last: many of them need nothing.

    `policy` is the policy of hosts without a record, None if it is not known.
    """
    found: dict[tuple[t.Any, ...], Action] = {}
    for line in sorted(lines, key=lambda line: line.state == "ineligible"):
        step = line.next_step
        playbook, variables = _playbook(step or "")
        if _POLICY not in " ".join(variables):
            variables = (*variables, *_VARIABLE.findall(policy_option(line.policy or policy)))
        if playbook is None and line.state in _WAITING:
            continue
        reason = line.reasons[0]["id"] if line.reasons else None
        # Hosts with one reason can have different steps, which depend on their facts.
        key = (playbook, variables) if playbook else (line.state, reason, variables)
        action = found.get(key)
        if action is None:
            action = found[key] = (
                Action(_TITLES[playbook], playbook, variables) if playbook else _by_hand(line, variables)
            )
        action.hosts.append(line.host)
    return list(found.values())


def _by_hand(line: HostLine, variables: tuple[str, ...]) -> Action:
    """Return the step of a host that no playbook performs."""
    step = visible(line.next_step or line.message or "see the host")
    why = visible(line.message) if line.next_step and line.message else None
    return Action(step, None, variables, line.state, why)


def _playbook(step: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the playbook of the collection whose whole command is in a next step, and its variables.

    A step that only mentions a playbook is one for people, such as to find the cause of a crash before a patch.
    """
    found = _COMMAND.search(step)
    if found is None or found["name"] not in _TITLES:
        return None, ()
    return found["name"], tuple(_VARIABLE.findall(found["options"]))
