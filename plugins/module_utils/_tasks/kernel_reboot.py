# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reboot a host into a kernel, and start its containers again after the reboot (module `kernel_reboot`)."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import datetime
import typing as t

from .._decisions import boot_order, causes, reboot_plan
from .._decisions.policy import Policy
from .._decisions.upgrade_plan import refuse_hosts_without_kernel
from .._errors import LivepatchError
from .._fleet.window import WindowError, window_open
from .._host import apt, containers
from .._host.boot_loader import read_boot_choice
from .._host.facts import HostFacts, read_facts
from .._host.sections import Sections
from .._records.drain_lock import DrainLock, Holder
from .._time import format_time
from .commands import (
    ANSWER_TIMEOUT,
    RunScript,
    Task,
    poll,
    read_clock,
    reset_connection,
    run_script,
    sleep,
    try_script,
    warn,
)

_PARTS = ("probe", "kernel_reboot")
_SETTLING = 120.0
"""Seconds in which a host that came back may be unreachable again, for example while its network is configured."""
_PAUSE = 5.0
"""Seconds between two checks of the client."""
_OBSTACLES = 60
"""Seconds for which the order to reboot waits for programs that it would interrupt, within the time of its answer."""


@dataclasses.dataclass(frozen=True)
class RebootOptions:
    """Options of the module `kernel_reboot`. `kernel` is None for the newest installed one of the running flavour.

    `policy` supplies the time limits by which the state of the host is assessed. `boot_entry` is ``keep``, or ``set``
    to select the kernel for the next boot. `window` has the maintenance windows, empty for none, and `freeze` the dates
    on which they are closed. `drain_lock` is the lock of the drain group of the host, None for no group; it is waited
    for at most `drain_group_timeout`. `restore_after` is the time after which the host starts its containers again
    without a controller, 0 for never. `allow_running` has kinds of containers that may run at the reboot, although they
    are not stopped. `answer_timeout` is the time in which the host must answer, besides the waits of a script. All
    times are in seconds.
    """

    policy: Policy
    check_mode: bool = False
    diff_mode: bool = False
    kernel: str | None = None
    force: bool = False
    boot_entry: str = "keep"
    window: object = ""
    freeze: object = ()
    drain_lock: DrainLock | None = None
    drain_group_timeout: int = 900
    restore_after: int = 300
    pre_commands: c.Sequence[str] = ()
    post_commands: c.Sequence[str] = ()
    docker: str = "stop"
    podman: str = "stop"
    lxd: str = "stop"
    allow_running: c.Sequence[str] = ()
    drain_timeout: int = 300
    message: str = "This machine reboots into a newer kernel."
    delay: int = 3
    reboot_timeout: int = 900
    require_protected: bool = True
    protected_timeout: int = 900
    answer_timeout: float = ANSWER_TIMEOUT

    @property
    def runtimes(self) -> dict[str, str]:
        """The policy for the containers of each runtime: ``stop``, ``wait`` or ``ignore``."""
        return {"docker": self.docker, "podman": self.podman, "lxd": self.lxd}


def reboot_host(options: RebootOptions) -> Task[dict[str, t.Any]]:
    """Reboot the host if it does not run the intended kernel, or complete an interrupted reboot.

    A failed result has the same keys as far as they are known.
    """
    reboot = _Reboot(options)
    try:
        return (yield from reboot.run())
    except LivepatchError as error:
        reboot.give_up_lock((yield from read_clock()).utc)
        error.with_details(**reboot.result)
        raise


class _Reboot:
    """One run of the task. Each step adds keys to `result`."""

    def __init__(self, options: RebootOptions) -> None:
        self._options = options
        self._boot_entry = ""
        self._lock: DrainLock | None = None
        """The lock of the drain group, while this run has it."""
        self._drained = False
        self._silent: set[str] = set()
        self.result: dict[str, t.Any] = {"rebooted": False, "containers": []}

    def run(self) -> Task[dict[str, t.Any]]:
        options, result = self._options, self.result
        sections = yield from run_script(_PARTS, self._variables("look"))
        if not sections.complete:
            raise causes.INTERRUPTED.error()
        facts = read_facts(sections)
        refuse_hosts_without_kernel(facts)
        boot_id = containers.read_boot_id(sections)
        saved = containers.read_saved_containers(sections)
        images = apt.read_images(sections)
        plan = reboot_plan.plan_reboot(facts, boot_id, saved, images, kernel=options.kernel, force=options.force)
        result |= {"from": facts.kernel.release, "to": plan.intended, "boot_id": boot_id}
        if plan.step == "nothing":
            return {**result, "msg": f"{plan.intended} is already running"}
        runtimes = containers.read_runtimes(sections)
        if plan.step == "reboot":
            self._check_boot_order(sections, plan.intended, facts, images)
            reboot_plan.refuse_undrainable(
                facts, runtimes, options.runtimes, options.allow_running, drain_timeout=options.drain_timeout
            )
            self._silent = {name for name, runtime in runtimes.items() if not runtime.answers}
        result["containers"] = self._affected_containers(runtimes, saved)
        result["changed"] = True
        if options.diff_mode:
            result["diff"] = {"before": f"kernel {facts.kernel.release}\n", "after": f"kernel {plan.intended}\n"}
        if not options.check_mode:
            return (yield from self._carry_out(plan, facts, boot_id or ""))
        if plan.step == "reboot":
            return {**result, "msg": f"would reboot into {plan.intended}"}
        return {**result, "msg": "would complete an interrupted run: start containers, run post_commands"}

    def _check_boot_order(
        self, sections: Sections, intended: str, facts: HostFacts, images: boot_order.Images | None
    ) -> None:
        select = self._options.boot_entry == "set"
        choice = read_boot_choice(sections)
        order = boot_order.check_boot_order(
            choice, intended, facts, images, select=select, planned=self._options.check_mode
        )
        self._boot_entry = order.entry or ""
        if order.warning is not None:
            self.result["warnings"] = [order.warning]

    def _refuse_closed_window(self, within: float = 0) -> Task[None]:
        """Raise `LivepatchError` (``window_closed``, ``window_unusable``) unless a window is open, now and `within` s.

        The default time zone is the controller's.
        """
        window, freeze = self._options.window, self._options.freeze
        now = (yield from read_clock()).utc.astimezone()
        moments = (now, now + datetime.timedelta(seconds=within))
        try:
            is_open = all(window_open(window, moment, freeze) for moment in moments)
        except WindowError as error:
            raise causes.WINDOW_UNUSABLE.error(str(error)) from error
        if not is_open:
            raise causes.WINDOW_CLOSED.error(window=_as_text(window), freeze=_as_text(freeze))

    def _take_lock(self) -> Task[None]:
        """Take the lock of the drain group, and wait for the run that has it. Raises `LivepatchError`."""
        lock, waiting = self._options.drain_lock, ""
        if lock is None:
            return

        def take() -> Task[Holder | None]:
            nonlocal waiting
            now = (yield from read_clock()).utc
            holder = lock.take(now, now + datetime.timedelta(seconds=self._phase))
            if holder is None:
                self._lock = lock
                return None
            if holder.until <= now:
                raise causes.DRAIN_GROUP_LOST.error(**_names(lock, holder), removal=lock.removal)
            if waiting != holder.run:
                waiting = holder.run
                yield from warn(f"{lock.host} waits: {causes.DRAIN_GROUP_BUSY.error(**_names(lock, holder)).message}.")
            return holder

        deadline = (yield from read_clock()).monotonic + self._options.drain_group_timeout
        while (holder := (yield from take())) is not None:
            left = deadline - (yield from read_clock()).monotonic
            if left <= 0:
                raise causes.DRAIN_GROUP_BUSY.error(**_names(lock, holder))
            yield from sleep(min(_PAUSE, left))

    @property
    def _phase(self) -> float:
        """Seconds after which a run that has not renewed the lock is lost: the longest time of one step, twice."""
        options = self._options
        return 2 * (options.answer_timeout + options.delay + max(options.drain_timeout, options.reboot_timeout))

    def _take_lock_if_free(self) -> Task[None]:
        """Take the lock for a host whose containers are stopped. Starting them does not depend on other hosts."""
        lock = self._options.drain_lock
        now = (yield from read_clock()).utc
        with contextlib.suppress(LivepatchError):
            if lock is not None and lock.take(now, now + datetime.timedelta(seconds=self._phase)) is None:
                self._lock, self._drained = lock, True

    def _renew_lock(self) -> Task[bool]:
        """Renew the lock before a step; False if another run, or the operator, has taken it away."""
        if self._lock is None:
            return True
        now = (yield from read_clock()).utc
        return self._lock.renew(now + datetime.timedelta(seconds=self._phase))

    def give_up_lock(self, now: datetime.datetime) -> None:
        """Release the lock after a failure; if containers may still be stopped, let the lock name this host as lost."""
        if self._lock is None:
            return
        # The first failure is the one to report.
        with contextlib.suppress(LivepatchError):
            if self._drained:
                self._lock.renew(now)
            else:
                self._lock.release()

    def _affected_containers(
        self, runtimes: c.Mapping[str, containers.Runtime], saved: containers.SavedContainers | None
    ) -> list[dict[str, str]]:
        """Return the containers that are stopped and started again, and those that an interrupted run has stopped."""
        found = list(saved.containers) if saved is not None else []
        for name, policy in self._options.runtimes.items():
            if policy == "stop" and name in runtimes:
                found += runtimes[name].running
        return [{"runtime": each.runtime, "name": each.name} for each in dict.fromkeys(found)]

    def _carry_out(self, plan: reboot_plan.RebootPlan, facts: HostFacts, boot_id: str) -> Task[dict[str, t.Any]]:
        begun = (yield from read_clock()).monotonic
        if plan.step == "reboot":
            yield from self._refuse_closed_window()
            yield from self._take_lock()
            yield from self._refuse_closed_window()
            yield from self._drain(plan.intended)
            yield from self._reboot(plan.intended, boot_id)
            self.result["rebooted"] = True
            self.result["elapsed"] = round((yield from read_clock()).monotonic - begun)
        else:
            yield from self._take_lock_if_free()
        yield from self._restore()
        facts_now = read_facts((yield from self._ask("probe", self._variables(""), _SETTLING)))
        if plan.step == "reboot" or plan.rebooted_before:
            reboot_plan.check_kernel(facts_now.kernel.release, plan.intended)
        # The client may not answer yet in a new boot.
        enabled = any(each.client is not None and each.client.enabled is True for each in (facts, facts_now))
        if self._options.require_protected and enabled:
            yield from self._wait_for_protection(facts_now)
        message = "rebooted into" if plan.step == "reboot" else "completed an interrupted run on"
        return {**self.result, "msg": f"{message} {plan.intended}"}

    def _drain(self, intended: str) -> Task[None]:
        """Run the commands before the reboot, and stop containers. If this fails, start the containers again."""
        within = self._options.drain_timeout
        self._drained = True
        variables, later = {**self._variables("drain", within=within), "kernel": intended}, self._timer()
        sections = yield from try_script(_PARTS, variables, extra_seconds=within, later=later)
        if sections is not None:
            reboot_plan.refuse_parallel_run(sections)
        failure = reboot_plan.drain_failure(sections)
        if failure is not None:
            yield from self._try_restore()
            raise failure

    def _reboot(self, intended: str, boot_id: str) -> Task[None]:
        """Reboot, and wait for another boot. Raises `LivepatchError`."""
        options = self._options
        try:
            yield from self._order_reboot(intended, boot_id)
        except LivepatchError:
            yield from self._try_restore()
            raise
        yield from sleep(options.delay)
        # On a connection to a machine that went down abruptly, a command would wait for minutes.
        yield from reset_connection()
        answers = False

        def find_new_boot() -> Task[str | None]:
            nonlocal answers
            sections = yield from try_script(_PARTS, self._variables("alive"))
            answers = sections is not None
            if sections is None:
                return None
            found = containers.read_boot_id(sections)
            if found not in (None, boot_id):
                return found
            # An open connection may still lead to the machine that goes down.
            yield from reset_connection()
            return None

        new_boot_id = yield from poll(options.reboot_timeout, find_new_boot)
        if new_boot_id is not None:
            self.result["boot_id"] = new_boot_id
            return
        if answers:
            yield from self._try_restore()
            raise causes.REBOOT_DID_NOT_HAPPEN.error(seconds=options.reboot_timeout)
        raise causes.HOST_DID_NOT_RETURN.error(seconds=options.reboot_timeout)

    def _order_reboot(self, intended: str, boot_id: str) -> Task[None]:
        """Raises `LivepatchError` if the host must not be rebooted any more, or its next boot could not be prepared."""
        options = self._options
        # The drain may have taken longer than the window was open.
        yield from self._refuse_closed_window(options.delay)
        if not (yield from self._renew_lock()):
            raise causes.DRAIN_LOCK_TAKEN.error(group=self._lock.group if self._lock is not None else "")
        variables = self._variables("reboot", within=int(min(_OBSTACLES, options.answer_timeout / 2)))
        variables |= {"boot_id": boot_id, "boot_entry": self._boot_entry, "kernel": intended}
        # A host that goes down at once does not answer. The boot id shows if it has rebooted.
        later = self._timer(options.delay + options.reboot_timeout)
        sections = yield from try_script(_PARTS, variables, later=later)
        failure = reboot_plan.order_failure(sections, intended, restore_after=options.restore_after)
        if failure is not None:
            raise failure

    def _timer(self, more: int = 0) -> RunScript:
        """Return the script that starts the containers again without a controller, `more` seconds later than usual."""
        options = self._options
        after = options.restore_after + more if options.restore_after else 0
        variables = {**self._variables("timer", within=options.drain_timeout), "restore_after": str(after)}
        return RunScript(_PARTS[1:], variables)

    def _restore(self) -> Task[None]:
        """Start the saved containers, then run the commands after the reboot. Raises `LivepatchError`."""
        timeout = self._options.drain_timeout
        # Containers must start again even if the lock cannot be renewed.
        with contextlib.suppress(LivepatchError):
            yield from self._renew_lock()
        sections = yield from self._ask(_PARTS, self._variables("restore", within=timeout), timeout)
        reboot_plan.refuse_parallel_run(sections)
        failure = reboot_plan.restore_failure(sections)
        if failure is not None:
            raise failure
        self._drained = False
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _try_restore(self) -> Task[None]:
        """Start the saved containers before a failure is reported. The failure itself matters more than this one."""
        with contextlib.suppress(LivepatchError):
            yield from self._restore()

    def _ask(self, parts: str | tuple[str, ...], variables: dict[str, str], seconds: float) -> Task[Sections]:
        """Run a script on a host that may still be starting. Raises `LivepatchError` without an answer."""
        sections = yield from poll(seconds, lambda: try_script(parts, variables, extra_seconds=seconds))
        if sections is None:
            raise causes.HOST_STOPPED_ANSWERING.error()
        return sections

    def _wait_for_protection(self, facts: HostFacts) -> Task[None]:
        """Wait until the host is in the state ``protected``. Raises `LivepatchError` (``not_protected``)."""
        timeout = self._options.protected_timeout
        deadline = (yield from read_clock()).monotonic + timeout
        while True:
            now = (yield from read_clock()).utc
            assessment = reboot_plan.assess_protection(facts, self._options.policy, now)
            self.result["state"] = assessment["state"]
            if assessment["state"] == "protected":
                return
            left = deadline - (yield from read_clock()).monotonic
            if left <= 0:
                reason = assessment["reasons"][0]
                raise LivepatchError(
                    "not_protected",
                    f"the host is {assessment['state']}, and not protected, after {timeout} s: {reason['message']}",
                    reason["remedy"] or "check the client on the host: canonical-livepatch status",
                )
            yield from sleep(min(_PAUSE, left))
            sections = yield from try_script("probe", self._variables(""))
            if sections is not None:
                facts = read_facts(sections)

    def _variables(self, task: str, *, within: int = 60) -> dict[str, str]:
        options = self._options
        commands = {
            f"{kind}_{number}": command
            for kind, listed in (("pre", options.pre_commands), ("post", options.post_commands))
            for number, command in enumerate(listed, start=1)
        }
        numbers = {"delay": options.delay, "within": within, "restore_after": options.restore_after}
        texts = {"message": options.message, **{name: str(number) for name, number in numbers.items()}}
        # A runtime that does not answer, and has no containers, is not asked again.
        runtimes = {**options.runtimes, **dict.fromkeys(self._silent, "ignore")}
        unused = dict.fromkeys(("server", "network", "boot_entry", "kernel"), "")
        return {"task": task, **unused, **texts, **runtimes, **commands}


def _names(lock: DrainLock, holder: Holder) -> dict[str, str]:
    return {"group": lock.group, "host": holder.host, "since": format_time(holder.since), "by": holder.by}


def _as_text(option: object) -> str:
    """Return a list option in one line; ``none`` for an empty one."""
    items = option if isinstance(option, (list, tuple)) else [option]
    return "; ".join(str(item) for item in items if item) or "none"
