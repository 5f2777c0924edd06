# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A host's client, looked at and worked on: one round trip each, the second with a look at the end."""

from __future__ import annotations

import dataclasses
import secrets
import typing as t
from collections.abc import Mapping

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import client_failures
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import (
    ClientState,
    mark_of,
    read_client_state,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import client_config, client_plan
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script

_READING = ("probe", "client_read")
_WORKING = (*_READING, "client_write")
# A host that this module has not marked yet gets its own salt, so that equal secrets do not look equal.
_SALT_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a host showed."""

    facts: HostFacts
    client: ClientState


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What came of a plan: the steps that were done, the failure that ended them, the host after it.

    `transport` is how the token was handed over: ``socket``, ``cli``, or None where it was not.
    """

    done: tuple[client_plan.ClientStep, ...]
    failure: client_failures.ClientFailure | None
    look: Look
    transport: str | None


def look_at_client(action: LegacyAction, variables: Mapping[str, str]) -> Look:
    """Look at the task's host. Raises `ActionError`, and what the connection raises."""
    sections = _run(action, _READING, variables)
    if not sections.complete:
        # Half of an answer looks like a host without a client.
        cause = client_failures.failure("interrupted")
        raise ActionError(f"{cause.message}; {cause.remedy}", error_id=cause.id, remedy=cause.remedy)
    return _look(sections)


def carry_out(
    action: LegacyAction,
    plan: client_plan.ClientPlan,
    wanted: client_plan.Wanted,
    variables: Mapping[str, str],
    wait_seeded: int,
) -> Work:
    """Do the steps of a plan, up to the first that fails. Raises `ActionError`, and what the connection raises."""
    script = {
        **variables,
        "network": "",
        "ways": " ".join(plan.ways),
        "wait": str(max(1, wait_seeded)),
        **_steps(plan, wanted),
    }
    # What needs no secret can be done over any connection.
    secret = any(key == "token" or key.startswith("mark_") for key in script)
    sections = _run(action, _WORKING, script, secret=secret)
    done, failure = _progress(plan.steps, sections, wait_seeded)
    return Work(tuple(done), failure, _look(sections), _transport(plan.steps, sections))


def _run(
    action: LegacyAction, parts: tuple[str, ...], variables: Mapping[str, str], *, secret: bool = False
) -> Sections:
    try:
        return run_script(action, parts, variables, secret=secret)
    except LivepatchError as error:
        raise ActionError(f"{error}; {error.remedy}", error_id=error.id, remedy=error.remedy) from error


def _look(sections: Sections) -> Look:
    return Look(read_facts(sections), read_client_state(sections))


def _steps(plan: client_plan.ClientPlan, wanted: client_plan.Wanted) -> dict[str, str]:
    """The steps as variables of the script: their names, and by number what each needs."""
    variables = {"steps": " ".join(step.id for step in plan.steps)}
    for number, step in enumerate(plan.steps, 1):
        secret = None
        if step.id == "config":
            text = wanted.config[step.argument]
            variables[f"value_{number}"] = text
            secret = text if client_config.holds_secret(step.argument, text) else None
        elif step.id in ("enable", "adopt", "pro_attach"):
            secret = wanted.token
            if step.id != "adopt":
                variables["token"] = wanted.token or ""
        if secret is not None:
            variables[f"mark_{number}"] = str(mark_of(secret, secrets.token_hex(_SALT_BYTES)))
        variables[f"argument_{number}"] = step.argument
    return variables


def _progress(
    steps: tuple[client_plan.ClientStep, ...], sections: Sections, wait_seeded: int
) -> tuple[list[client_plan.ClientStep], client_failures.ClientFailure | None]:
    done: list[client_plan.ClientStep] = []
    for number, step in enumerate(steps, 1):
        section = sections.get(f"step {number}")
        if section is None or section.status == "lost":
            return done, client_failures.failure("interrupted")
        if section.status != "ok" or section.exit_code != 0:
            return done, _failure(step, section, wait_seeded)
        done.append(step)
    return done, None if sections.complete else client_failures.failure("interrupted")


def _failure(step: client_plan.ClientStep, section: Section, wait_seeded: int) -> client_failures.ClientFailure:
    timed_out = section.status == "timeout"
    if timed_out and step.id == "seeded":
        return client_failures.failure("not_seeded", f"not within {wait_seeded} s")
    return client_failures.explain(step.tool, section.errors, timed_out=timed_out)


def _transport(steps: tuple[client_plan.ClientStep, ...], sections: Sections) -> str | None:
    for number, step in enumerate(steps, 1):
        said = (sections.output(f"step {number}") or "").split() if step.id == "enable" else []
        if said[:1] == ["way"]:
            return "cli" if said[-1] == "cli" else "socket"
    return None


def as_values(steps: tuple[client_plan.ClientStep, ...]) -> list[dict[str, t.Any]]:
    """Steps as a result shows them."""
    return [step.as_dict() for step in steps]
