# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reboot a host into a kernel, and start its containers again after the reboot (module `kernel_reboot`)."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import typing as t

from .._decisions import boot_order, causes, reboot_plan
from .._decisions.policy import Policy
from .._decisions.upgrade_plan import refuse_hosts_without_kernel
from .._errors import LivepatchError
from .._fleet.waves import WavesError, window_open
from .._host import apt, containers
from .._host.boot_loader import read_boot_choice
from .._host.facts import HostFacts, read_facts
from .._host.sections import Sections
from .commands import ROUND_TRIP, Task, poll, read_clock, reset_connection, run_script, sleep, try_script

_PARTS = ("probe", "kernel_reboot")
_SETTLING = 120.0
"""Seconds in which a host that came back may be unreachable again, for example while its network is configured."""
_PAUSE = 5.0
"""Seconds between two checks of the client."""


@dataclasses.dataclass(frozen=True)
class RebootOptions:
    """Options of the module `kernel_reboot`. `kernel` is None for the newest installed one of the running flavour.

    `policy` supplies the time limits by which the state of the host is assessed. `boot_entry` is ``keep``, or ``set``
    to select the kernel for the next boot. `window` is a maintenance window, empty for none. All times are in seconds.
    """

    policy: Policy
    check_mode: bool = False
    diff_mode: bool = False
    kernel: str | None = None
    force: bool = False
    boot_entry: str = "keep"
    window: str = ""
    pre_commands: c.Sequence[str] = ()
    post_commands: c.Sequence[str] = ()
    docker: str = "stop"
    podman: str = "stop"
    lxd: str = "stop"
    drain_timeout: int = 300
    message: str = "This machine reboots into a newer kernel."
    delay: int = 3
    reboot_timeout: int = 900
    require_protected: bool = True
    protected_timeout: int = 900

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
        error.with_details(**reboot.result)
        raise


class _Reboot:
    """One run of the task. Each step adds keys to `result`."""

    def __init__(self, options: RebootOptions) -> None:
        self._options = options
        self._boot_entry = ""
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
            reboot_plan.refuse_undrainable(facts, runtimes, options.runtimes)
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

    def _refuse_closed_window(self) -> Task[None]:
        """Raise `LivepatchError` (``window_closed``, ``window_unusable``). The default zone is the controller's."""
        window = self._options.window
        now = (yield from read_clock()).utc.astimezone()
        try:
            closed = bool(window) and not window_open(window, now)
        except WavesError as error:
            raise causes.WINDOW_UNUSABLE.error(str(error)) from error
        if closed:
            raise causes.WINDOW_CLOSED.error(window=window)

    def _affected_containers(
        self, runtimes: c.Mapping[str, containers.Runtime], saved: containers.SavedContainers | None
    ) -> list[dict[str, str]]:
        """Return the containers that are stopped and started again, and those that an interrupted run has stopped."""
        found = list(saved.containers) if saved is not None else []
        for name, policy in self._options.runtimes.items():
            if policy == "stop" and name in runtimes:
                found += runtimes[name].running
        return [
            {"runtime": "lxd" if each.runtime == "evacuated" else each.runtime, "name": each.name}
            for each in dict.fromkeys(found)
        ]

    def _carry_out(self, plan: reboot_plan.RebootPlan, facts: HostFacts, boot_id: str) -> Task[dict[str, t.Any]]:
        begun = (yield from read_clock()).monotonic
        if plan.step == "reboot":
            yield from self._refuse_closed_window()
            yield from self._drain()
            yield from self._reboot(plan.intended, boot_id)
            self.result["rebooted"] = True
            self.result["elapsed"] = round((yield from read_clock()).monotonic - begun)
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

    def _drain(self) -> Task[None]:
        """Run the commands before the reboot, and stop containers. If this fails, start the containers again."""
        within = self._options.drain_timeout
        sections = yield from try_script(_PARTS, self._variables("drain", within=within), seconds=ROUND_TRIP + within)
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
        """Raises `LivepatchError` if the window has closed, or the entry for the next boot could not be selected."""
        # The drain may have taken longer than the window was open.
        yield from self._refuse_closed_window()
        variables = {**self._variables("reboot"), "boot_id": boot_id, "boot_entry": self._boot_entry}
        # A host that goes down at once does not answer. The boot id shows if it has rebooted.
        sections = yield from try_script(_PARTS, variables)
        failure = reboot_plan.boot_entry_failure(sections, intended)
        if failure is not None:
            raise failure

    def _restore(self) -> Task[None]:
        """Start the saved containers, then run the commands after the reboot. Raises `LivepatchError`."""
        timeout = self._options.drain_timeout
        sections = yield from self._ask(_PARTS, self._variables("restore", within=timeout), timeout)
        reboot_plan.refuse_parallel_run(sections)
        failure = reboot_plan.restore_failure(sections)
        if failure is not None:
            raise failure

    def _try_restore(self) -> Task[None]:
        """Start the saved containers before a failure is reported. The failure itself matters more than this one."""
        with contextlib.suppress(LivepatchError):
            yield from self._restore()

    def _ask(self, parts: str | tuple[str, ...], variables: dict[str, str], seconds: float) -> Task[Sections]:
        """Run a script on a host that may still be starting. Raises `LivepatchError` without an answer."""
        limit = ROUND_TRIP + seconds
        sections = yield from poll(seconds, lambda: try_script(parts, variables, seconds=limit))
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
        texts = {"message": options.message, "delay": str(options.delay), "within": str(within)}
        return {"task": task, "server": "", "network": "", "boot_entry": "", **texts, **options.runtimes, **commands}
