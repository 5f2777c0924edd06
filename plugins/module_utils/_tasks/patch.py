# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Apply the newest live patch of a host: refresh the client, wait for the kernel, verify the result."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import itertools
import typing as t

from .._errors import LivepatchError
from .._host.facts import HostFacts, read_facts
from .._host.refresh import RefreshOutput, read_refresh_output
from .._host.sections import Sections
from .commands import LONGEST_PAUSE, Task, read_clock, run_script, sleep, try_script
from .host_check import CheckOptions, keep_record, probe_variables
from .patch_progress import (
    PatchProgress,
    Verify,
    at_deadline,
    closed_cves,
    expected_version,
    judge_progress,
    locks_of_kernel,
    refresh_obstacle,
    running_patches,
    verification_failure,
)

_PARTS = ("probe", "patch")
_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the first round trips of a wait. The later ones are `LONGEST_PAUSE` apart."""

_REPEATED_SECONDS = 120
"""Seconds in which a refresh is repeated that the daemon or the server refuses temporarily."""

_NOT_REFRESHED = "Only a refresh shows if the server has a newer patch. The result contains what the host knows."


@dataclasses.dataclass(frozen=True)
class PatchOptions:
    """Options of the module `patch`. `timeout` is in seconds, for the refresh and the wait together."""

    check: CheckOptions
    state: str = "applied"
    wait: bool = True
    timeout: int = 300
    verify: Verify = "required"
    clear_crash_lock: bool = False
    check_mode: bool = False
    diff: bool = False


@dataclasses.dataclass(frozen=True)
class PatchObservation:
    """A host and the output of its refresh, as one round trip showed them. `at` is the controller's time."""

    facts: HostFacts
    refresh: RefreshOutput
    at: datetime.datetime


class _Waited(t.NamedTuple):
    """The result of a refresh and of the wait, and the number of round trips after the first refresh."""

    observation: PatchObservation
    progress: PatchProgress
    round_trips: int


def apply_patch(options: PatchOptions) -> Task[dict[str, t.Any]]:
    """Apply the newest patch of a host (module `patch`)."""
    _validate(options)
    before = yield from _observe(options)
    obstacle = refresh_obstacle(before.facts, options.check.policy)
    if obstacle is not None or options.check_mode:
        return (yield from _unchanged(options, before, obstacle))
    deadline = (yield from read_clock()).monotonic + options.timeout
    locks = locks_of_kernel(before.facts) if options.clear_crash_lock else ()
    after = yield from _observe(options, refresh=options.timeout, locks=locks)
    removed_locks = after.refresh.removed_locks
    waited = _Waited(after, _judge(options, after), 0)
    if options.wait:
        refreshed = yield from _repeat_refresh(options, after, deadline)
        waited = yield from _wait(options, refreshed.observation, deadline)
        waited = waited._replace(round_trips=refreshed.round_trips + waited.round_trips)
    return (yield from _outcome(options, before, waited, removed_locks))


def _validate(options: PatchOptions) -> None:
    """Check the options before the host is contacted. Raises `LivepatchError`."""
    if options.state != "applied":
        raise LivepatchError(
            "no_rollback",
            f"the only state is applied, not {options.state}: a live patch cannot be removed from a running kernel or"
            " replaced by an older one, so there is no rollback. Nothing has been changed",
            "to remove a patch, disable the client (kernelops.livepatch.client with state: disabled) and reboot",
        )
    if options.timeout < 1:
        raise LivepatchError("timeout_invalid", f"the timeout is {options.timeout} s", "set `timeout` to 1 or more")


# --- round trips ---


def _observe(
    options: PatchOptions, *, refresh: int | None = None, locks: c.Sequence[str] = ()
) -> Task[PatchObservation]:
    """Observe the host in one round trip. With `refresh` (seconds), the client refreshes first."""
    variables = {**probe_variables(options.check), **_refresh_variables(refresh, locks)}
    at = (yield from read_clock()).utc
    sections = yield from run_script(_PARTS, variables, extra_seconds=refresh or 0)
    if refresh is not None:
        # The host sends its facts and its time after the refresh, which can take many minutes.
        at = (yield from read_clock()).utc
    return _observation(options, sections, at)


def _observe_briefly(options: PatchOptions) -> Task[PatchObservation | None]:
    """Observe the host without verification and network checks; None if the host does not answer."""
    check = dataclasses.replace(options.check, verify="off", network=False)
    at = (yield from read_clock()).utc
    sections = yield from try_script(_PARTS, {**probe_variables(check), **_refresh_variables()})
    return None if sections is None else _observation(options, sections, at)


def _refresh_variables(refresh: int | None = None, locks: c.Sequence[str] = ()) -> dict[str, str]:
    return {"refresh": "" if refresh is None else str(refresh), "locks": " ".join(locks)}


def _observation(options: PatchOptions, sections: Sections, at: datetime.datetime) -> PatchObservation:
    facts = read_facts(sections, inventory_name=options.check.host)
    return PatchObservation(facts, read_refresh_output(sections), at)


def _judge(options: PatchOptions, observation: PatchObservation) -> PatchProgress:
    return judge_progress(observation.facts, observation.refresh, options.check.policy)


def _wait(options: PatchOptions, last: PatchObservation, deadline: float) -> Task[_Waited]:
    """Observe the host with growing pauses until it is done, has failed, or the time is up.

    Each round trip is short, so that a lost connection costs one of them and not the wait.
    """
    round_trips = 0
    for pause in itertools.chain(_PAUSES, itertools.repeat(LONGEST_PAUSE)):
        left = deadline - (yield from read_clock()).monotonic
        if _judge(options, last).phase != "pending" or left <= 0:
            break
        yield from sleep(min(pause, left))
        last = (yield from _observe_briefly(options)) or last
        round_trips += 1
    if round_trips:
        # The brief round trips had no file of the module and no network check.
        last = yield from _observe(options)
        round_trips += 1
    progress = at_deadline(_judge(options, last), last.refresh.blocking_tasks, options.timeout)
    return _Waited(last, progress, round_trips)


def _repeat_refresh(options: PatchOptions, last: PatchObservation, deadline: float) -> Task[_Waited]:
    """Refresh again while the daemon or the server refuses it temporarily."""
    deadline = min(deadline, (yield from read_clock()).monotonic + _REPEATED_SECONDS)
    round_trips = 0
    for pause in itertools.chain(_PAUSES, itertools.repeat(LONGEST_PAUSE)):
        left = deadline - (yield from read_clock()).monotonic
        if last.refresh.failure is None or not last.refresh.failure.temporary or left <= 0:
            break
        yield from sleep(min(pause, left))
        last = yield from _observe(options, refresh=options.timeout)
        round_trips += 1
    return _Waited(last, _judge(options, last), round_trips)


# --- results ---


def _unchanged(
    options: PatchOptions, observation: PatchObservation, obstacle: PatchProgress | None
) -> Task[dict[str, t.Any]]:
    """Return the prediction of check mode. Raises `LivepatchError` if a refresh cannot succeed."""
    current = running_patches(observation.facts).version
    expected = expected_version(observation.facts) if obstacle is None else None
    result = yield from _result(options, observation, current, expected or current)
    if obstacle is not None:
        raise obstacle.as_error(**result, changed=False)
    if expected is None:
        result["msg"] = _NOT_REFRESHED
    return {**result, "changed": result["version"] != current}


def _outcome(
    options: PatchOptions, before: PatchObservation, waited: _Waited, removed_locks: c.Sequence[str]
) -> Task[dict[str, t.Any]]:
    """Return the result of a refresh. Raises `LivepatchError` if the patch is not applied as the options require."""
    after, progress = waited.observation, waited.progress
    old, new = running_patches(before.facts), running_patches(after.facts)
    result = yield from _result(options, after, old.version, new.version, round_trips=2 + waited.round_trips)
    if new.differs_from(old):
        result["closed_cves"] = closed_cves(before.facts.client, after.facts.client)
    result.update(changed=new.differs_from(old) or bool(removed_locks), cleared_locks=list(removed_locks))
    if progress.phase != "failed":
        progress = verification_failure(result["record"], options.verify) or progress
    if progress.phase == "failed":
        logs = {"kernel_log": list(after.refresh.kernel_log), "journal": list(after.refresh.journal)}
        raise progress.as_error(**result, **logs)
    return {**result, "msg": progress.message}


def _result(
    options: PatchOptions, observation: PatchObservation, before: str | None, after: str | None, round_trips: int = 1
) -> Task[dict[str, t.Any]]:
    client = observation.facts.client
    diff = {"diff": {"before": {"version": before}, "after": {"version": after}}} if options.diff else {}
    return {
        **(yield from keep_record(options.check, observation.facts, observation.at)),
        "previous_version": before,
        "version": after,
        "patch_state": client.patch_state if client is not None else None,
        "closed_cves": [],
        "crash_locks": list(locks_of_kernel(observation.facts)),
        "cleared_locks": [],
        "tasks": [dataclasses.asdict(task) for task in observation.refresh.blocking_tasks],
        "round_trips": round_trips,
        **diff,
    }
