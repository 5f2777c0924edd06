# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Install, configure and enable the client of a host, or remove it: one round trip to read, one to change.

A step that fails for a temporary cause, such as a lock or a server in trouble, is repeated until a deadline. Each
attempt plans again from the facts that the failed one returned.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import itertools
import typing as t

from .._decisions import causes
from .._decisions.eligibility import assess_eligibility
from .._errors import LivepatchError
from .._host.client_failures import ClientFailure, recognise
from .._host.client_files import ClientSetup, fingerprint_of, read_client_setup
from .._host.error_texts.table import TEMPORARY
from .._host.facts import HostFacts, read_facts
from .._host.sections import Section, Sections
from . import client_config
from .client_comparison import ClientSnapshot, DesiredClient, check_snap_files, check_token
from .client_plan import ClientPlan, ClientStep, make_plan
from .commands import LONGEST_PAUSE, Task, poll, read_clock, run_script, sleep
from .host_check import CheckOptions, kernel_support, probe_variables

_READ = ("probe", "client_read")
_WRITE = (*_READ, "client_write")
_READ_SECONDS = 60
"""Seconds that the questions about the client take, in addition to the usual time for an answer."""
_STEP_SECONDS = {
    "snapd": 660,
    "acknowledge": 660,
    "install": 660,
    "install_file": 660,
    "snap_enable": 660,
    "refresh": 660,
    "remove": 960,
    "enable": 360,
    "pro_attach": 360,
    "pro_enable": 360,
}
"""Seconds that a step takes at most on the host, with some more for its end. Other steps take `_QUICK_STEP`."""
_QUICK_STEP = 180
_WAITING_STEPS = frozenset({"seeded", "acknowledge", "install", "install_file", "snap_enable", "refresh", "remove"})
"""The steps that wait for snapd, in addition to these times."""
_PAUSES = (2.0, 4.0, 8.0)
"""Seconds between the first attempts of a step. The later ones are `LONGEST_PAUSE` apart."""
_CLIENT_PROBLEMS = frozenset({*causes.CLIENT_ERRORS, causes.MODE_STOP.id, causes.MODE_ON_COMMAND_LINE.id})
"""Failures that describe the client better than the step that its plan lacks."""


@dataclasses.dataclass(frozen=True)
class ClientOptions:
    """Options of the module `client`.

    `config` holds the settings as given; `desired` gets them after validation. `make_salt` returns 32 random
    hexadecimal digits. `wait_seeded` is the time in seconds for the initialization of snapd, and `retry_timeout` the
    time in which steps that fail temporarily are repeated.
    """

    check: CheckOptions
    desired: DesiredClient
    config: c.Mapping[str, object]
    make_salt: c.Callable[[], str]
    wait_seeded: int = 300
    retry_timeout: int = 120
    check_mode: bool = False
    diff: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ClientObservation:
    """A host and its client, as one round trip showed them."""

    facts: HostFacts
    setup: ClientSetup

    @property
    def version(self) -> str | None:
        return self.facts.client.version if self.facts.client is not None else None

    @property
    def enabled(self) -> bool | None:
        client = self.facts.client
        return client.enabled if client is not None and client.enabled is not None else self.setup.registered


@dataclasses.dataclass(frozen=True, slots=True)
class _Execution:
    """An executed plan: the completed steps, the `pending` ones, and the host afterwards.

    The first pending step failed with `failure`; `temporary` is True if it can succeed later. `transport` passed the
    token to the client: ``socket``, ``cli``, or None if no token was passed.
    """

    completed: tuple[ClientStep, ...]
    pending: tuple[ClientStep, ...]
    failure: LivepatchError | None
    temporary: bool
    after: ClientObservation
    transport: str | None
    round_trips: int = 1

    def followed_by(self, last: _Execution) -> _Execution:
        """Return both executions as one, which ends as the second one."""
        return dataclasses.replace(
            last,
            completed=(*self.completed, *last.completed),
            transport=last.transport or self.transport,
            round_trips=self.round_trips + last.round_trips,
        )


class _Replan(t.Protocol):
    """A function that plans from an observation."""

    def __call__(self, seen: ClientObservation, *, reinstall: bool) -> ClientPlan:
        """Return a plan. Without `reinstall`, a client that does not work is an error."""


def set_up_client(options: ClientOptions) -> Task[dict[str, t.Any]]:
    """Turn the client of a host into the desired one (module `client`)."""
    started = (yield from read_clock()).utc
    desired = _validated(options, started)
    check = dataclasses.replace(
        options.check, verify="off", server=options.check.server or desired.config.get(client_config.SERVER)
    )
    variables = {
        **probe_variables(check),
        "channel": "1" if desired.channel else "",
        "pro": "1" if desired.via == "pro" else "",
    }
    before = yield from _read_settled(variables, options)
    facts = dataclasses.replace(before.facts, inventory_name=check.host)
    support = yield from kernel_support(check, facts)
    eligibility = assess_eligibility(facts, check.policy, support, collected_at=started, alternative=check.alternative)

    def plan_for(seen: ClientObservation, *, reinstall: bool) -> ClientPlan:
        wanted = dataclasses.replace(desired, reinstall=reinstall)
        return make_plan(wanted, seen.facts, seen.setup, eligibility, check.policy.snapd_minimum)

    try:
        plan = plan_for(before, reinstall=desired.reinstall)
    except LivepatchError as error:
        raise error.with_details(eligibility=eligibility) from error
    result = {**_planned_result(plan, diff=options.diff), "eligibility": eligibility, "version": before.version}
    if not plan.steps or options.check_mode:
        return result
    execution = yield from _execute_until_done(plan, plan_for, desired, variables, options)
    return _result(plan_for, execution, result)


def _validated(options: ClientOptions, now: datetime.datetime) -> DesiredClient:
    """Return the desired client with validated settings. Raises `LivepatchError`."""
    check_token(options.desired.token, options.desired.via)
    check_snap_files(options.desired)
    return dataclasses.replace(options.desired, config=client_config.parse_config(options.config, now))


def _read_client(variables: c.Mapping[str, str]) -> Task[ClientObservation]:
    sections = yield from run_script(_READ, variables, extra_seconds=_READ_SECONDS)
    if not sections.complete:
        # A host with an incomplete answer looks like a host without a client.
        raise causes.INTERRUPTED.error()
    return _observed(sections)


def _read_settled(variables: c.Mapping[str, str], options: ClientOptions) -> Task[ClientObservation]:
    """Read a client whose daemon is not just stopping, or snapd starting, and that reports its settings."""
    seen = yield from _read_client(variables)

    def is_unsettled(seen: ClientObservation) -> bool:
        stopping = options.desired.state == "enabled" and _has_error(seen, TEMPORARY)
        return stopping or _lacks_settings(seen, options.config)

    if not is_unsettled(seen):
        return seen
    settled = yield from _settle(variables, options.retry_timeout, is_unsettled)
    return settled or seen


def _settle(
    variables: c.Mapping[str, str], seconds: float, is_unsettled: c.Callable[[ClientObservation], bool]
) -> Task[ClientObservation | None]:
    """Read a client until it is settled; None if it is not in time."""

    def attempt() -> Task[ClientObservation | None]:
        seen = yield from _read_client(variables)
        return None if is_unsettled(seen) else seen

    return (yield from poll(seconds, attempt)) if seconds > 0 else None


def _has_error(seen: ClientObservation, errors: c.Collection[str]) -> bool:
    client = seen.facts.client
    return client is not None and client.error is not None and client.error.id in errors


def _lacks_settings(seen: ClientObservation, config: c.Mapping[str, object]) -> bool:
    """Return True if a client answers, but was too slow to report the settings, as on a host with a high load."""
    client = seen.facts.client
    return bool(config) and client is not None and client.error is None and seen.facts.config is None


def _observed(sections: Sections) -> ClientObservation:
    return ClientObservation(read_facts(sections), read_client_setup(sections))


# --- the steps ---


def _execute_until_done(
    plan: ClientPlan,
    plan_for: _Replan,
    desired: DesiredClient,
    variables: c.Mapping[str, str],
    options: ClientOptions,
) -> Task[_Execution]:
    """Execute a plan, and plan again after temporary failures, for at most `retry_timeout` seconds."""
    deadline = (yield from read_clock()).monotonic + options.retry_timeout
    execution = yield from _execute(plan, desired, variables, options)
    for pause in itertools.chain(_PAUSES, itertools.repeat(LONGEST_PAUSE)):
        left = deadline - (yield from read_clock()).monotonic
        if not execution.temporary or left <= 0:
            break
        yield from sleep(min(pause, left))
        removed = any(step.id == "remove" for step in execution.completed)
        try:
            plan = plan_for(execution.after, reinstall=desired.reinstall and not removed)
        except LivepatchError:
            break
        execution = execution.followed_by((yield from _execute(plan, desired, variables, options)))
    left = deadline - (yield from read_clock()).monotonic
    if execution.failure is None and desired.state in ("enabled", "present"):
        return (yield from _settled_execution(execution, variables, options, left))
    return execution


def _settled_execution(
    execution: _Execution, variables: c.Mapping[str, str], options: ClientOptions, seconds: float
) -> Task[_Execution]:
    """Wait for a client that does not answer because it applies its first patch, or that is slow."""

    def is_unsettled(seen: ClientObservation) -> bool:
        return _has_error(seen, {*TEMPORARY, "timed_out"}) or _lacks_settings(seen, options.config)

    if not is_unsettled(execution.after):
        return execution
    settled = yield from _settle({**variables, "network": ""}, seconds, is_unsettled)
    return dataclasses.replace(execution, after=settled or execution.after, round_trips=execution.round_trips + 1)


def _execute(
    plan: ClientPlan, desired: DesiredClient, variables: c.Mapping[str, str], options: ClientOptions
) -> Task[_Execution]:
    """Execute a plan up to the first step that fails."""
    given = {
        **variables,
        "network": "",
        "transports": " ".join(plan.transports),
        "wait": str(max(1, options.wait_seeded)),
        **_step_variables(plan, desired, options.make_salt),
    }
    # Steps without a secret can be executed over any connection.
    secret = any(name == "token" or name.startswith("fingerprint_") for name in given)
    extra = _seconds_for(plan.steps, options.wait_seeded)
    sections = yield from run_script(_WRITE, given, secret=secret, extra_seconds=extra)
    completed, failure = _progress(plan.steps, sections)
    error = None if failure is None else _step_error(failure, plan.steps[len(completed) :], options.wait_seeded)
    return _Execution(
        completed,
        plan.steps[len(completed) :],
        error,
        failure is not None and failure.temporary and sections.complete,
        _observed(sections),
        _transport(plan.steps, sections),
    )


def _seconds_for(steps: tuple[ClientStep, ...], wait_seeded: int) -> float:
    """Return the time for the steps of a script: their limits on the host, and the facts after them."""
    waits = sum(max(1, wait_seeded) for step in steps if step.id in _WAITING_STEPS)
    return _READ_SECONDS + waits + sum(_STEP_SECONDS.get(step.id, _QUICK_STEP) for step in steps)


def _step_variables(plan: ClientPlan, desired: DesiredClient, make_salt: c.Callable[[], str]) -> dict[str, str]:
    """Return the steps as variables of ``client_write``: their names, and the values of each by its number."""
    variables = {"steps": " ".join(step.id for step in plan.steps)}
    for number, step in enumerate(plan.steps, 1):
        secret = None
        if step.id == "config":
            text = desired.config[step.argument]
            variables[f"value_{number}"] = text
            secret = text if client_config.holds_secret(step.argument, text) else None
        elif step.id in ("enable", "adopt", "pro_attach"):
            secret = desired.token
            if step.id != "adopt":
                variables["token"] = desired.token or ""
        if secret is not None:
            # Equal secrets on different hosts must not have equal fingerprints.
            variables[f"fingerprint_{number}"] = str(fingerprint_of(secret, make_salt()))
        variables[f"argument_{number}"] = step.argument
    return variables


def _progress(steps: tuple[ClientStep, ...], sections: Sections) -> tuple[tuple[ClientStep, ...], ClientFailure | None]:
    """Return the completed steps and the failure that ended them."""
    completed: list[ClientStep] = []
    for number, step in enumerate(steps, 1):
        section = sections.get(f"step {number}")
        if section is None or section.status == "lost":
            return tuple(completed), ClientFailure("interrupted")
        if section.status != "ok" or section.exit_code != 0:
            return tuple(completed), _step_failure(step, section)
        completed.append(step)
    return tuple(completed), None if sections.complete else ClientFailure("interrupted")


def _step_failure(step: ClientStep, section: Section) -> ClientFailure:
    timed_out = section.status == "timeout"
    if timed_out and step.id == "seeded":
        # Another attempt would wait as long as this one.
        return ClientFailure("timed_out")
    return recognise(step.tool, section.errors, timed_out=timed_out)


def _step_error(failure: ClientFailure, pending: tuple[ClientStep, ...], wait_seeded: int) -> LivepatchError:
    if failure.id == "timed_out" and pending[0].id == "seeded":
        return causes.NOT_SEEDED.error(f"not within {wait_seeded} s")
    tool = pending[0].tool if pending else ""
    return causes.command_failure(failure.id, tool).error(failure.text)


def _transport(steps: tuple[ClientStep, ...], sections: Sections) -> str | None:
    for number, step in enumerate(steps, 1):
        output = (sections.output(f"step {number}") or "").split() if step.id == "enable" else []
        if output[:1] == ["transport"]:
            return "cli" if output[-1] == "cli" else "socket"
    return None


# --- the result ---


def _planned_result(plan: ClientPlan, *, diff: bool) -> dict[str, t.Any]:
    """Return the result of a plan that succeeds. In check mode, this is the whole result."""
    before, after = plan.before.as_dict(), plan.after.as_dict()
    return {
        "changed": bool(plan.steps),
        "steps": [step.as_dict() for step in plan.steps],
        "enabled": None if plan.after.state == "unknown" else plan.after.state == "enabled",
        "before": before,
        "after": after,
        "round_trips": 1,
        **({"diff": {"before": before, "after": after}} if diff else {}),
    }


def _result(plan_for: _Replan, execution: _Execution, planned: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of an executed plan. Raises `LivepatchError` if the client is not the desired one."""
    result = {
        **planned,
        "changed": bool(execution.completed),
        "steps": [step.as_dict() for step in execution.completed],
        "version": execution.after.version,
        "round_trips": 1 + execution.round_trips,
        **({"token_transport": execution.transport} if execution.transport else {}),
    }
    actual, problem = _verify(plan_for, execution.after)
    failure = execution.failure or problem
    if failure is None:
        return result
    result["after"] = actual.as_dict() if actual else None
    if "diff" in result:
        result["diff"] = {"before": result["before"], "after": result["after"] or {}}
    raise _failed(failure, execution, result)


def _verify(plan_for: _Replan, seen: ClientObservation) -> tuple[ClientSnapshot | None, LivepatchError | None]:
    """Plan again, and return the actual client and the difference from the desired one, None if there is none."""
    try:
        plan = plan_for(seen, reinstall=False)
    except LivepatchError as error:
        return None, error if error.id in _CLIENT_PROBLEMS else causes.NOT_CONFIRMED.error(error.message)
    return plan.before, causes.NOT_CONFIRMED.error(plan.steps[0].message) if plan.steps else None


def _failed(failure: LivepatchError, execution: _Execution, result: dict[str, t.Any]) -> LivepatchError:
    """Return the failure of a run, with the step that failed and the state of the host."""
    done, pending = len(execution.completed), execution.pending
    where = f"step {pending[0].id!r} ({pending[0].message}) failed: " if pending else ""
    enabled = execution.after.enabled
    state = {True: "enabled", False: "not enabled", None: "in an unknown state"}[enabled]
    return LivepatchError(
        failure.id,
        f"{where}{failure.message}. {done} of {done + len(pending)} steps are complete, and the client is {state}",
        failure.remedy,
        **{**result, "enabled": enabled, "failed_step": pending[0].id if pending else None},
    )
