# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Install the kernel to which the metapackages of a host lead, if the host needs it (module `kernel_upgrade`)."""

from __future__ import annotations

import dataclasses
import typing as t

from .._decisions import causes, upgrade_plan
from .._decisions.apt_failures import apt_failure
from .._decisions.next_steps import subscription
from .._errors import LivepatchError
from .._host import apt
from .._host.facts import HostFacts, read_facts
from .._host.sections import Section, Sections
from .commands import Task, poll, read_clock, run_script, try_script

_PARTS = ("probe", "kernel_upgrade")
_WAIT = 20
"""Seconds for which one script waits on the host for the end of apt-get."""
_START = 60
"""Seconds in which apt-get must have started."""
_APT_UPDATE = 300
"""Seconds in which the package lists must be refreshed."""
_NO_SIMULATION = Section("simulation", "lost")


@dataclasses.dataclass(frozen=True)
class UpgradeOptions:
    """Options of the module `kernel_upgrade`. `series` and `flavour` are None for those of the installed metapackages.

    `timeout` is the number of seconds for the whole task, `lock_timeout` for one wait for the lock of apt or dpkg.
    `host` is the name in the inventory.
    """

    check_mode: bool = False
    diff_mode: bool = False
    force: bool = False
    required: bool = False
    within_days: int = 0
    series: str | None = None
    flavour: str | None = None
    repair: bool = True
    lock_timeout: int = 600
    timeout: int = 3600
    host: str | None = None


def upgrade_kernel(options: UpgradeOptions) -> Task[dict[str, t.Any]]:
    """Install a newer kernel if the host needs one. A failed result has the same keys as far as they are known."""
    upgrade = _Upgrade(options, deadline=(yield from read_clock()).monotonic + options.timeout)
    try:
        return (yield from upgrade.run())
    except LivepatchError as error:
        error.with_details(**upgrade.result)
        raise


class _Upgrade:
    """One run of the task. Each step adds keys to `result`."""

    def __init__(self, options: UpgradeOptions, deadline: float) -> None:
        self._options = options
        self._deadline = deadline
        self._refresh_failure: LivepatchError | None = None
        self.result: dict[str, t.Any] = {"needed": False, "reasons": [], "packages": [], "unfinished": False}

    def run(self) -> Task[dict[str, t.Any]]:
        options, result = self._options, self.result
        sections = yield from self._collect()
        facts = read_facts(sections, inventory_name=options.host)
        facts = dataclasses.replace(facts, asked_at=(yield from read_clock()).utc)
        running = facts.kernel.release
        result |= {"from": running, "to": running, "reboot_needed": False}
        result["unfinished"] = "ok " in (sections.output("unfinished") or "")
        upgrade_plan.refuse_hosts_without_kernel(facts)
        result["reasons"] = upgrade_plan.reasons_to_upgrade(
            facts, within_days=options.within_days, force=options.force, required=options.required
        )
        known = apt.read_kernel_packages(sections)
        ended = upgrade_plan.series_ended_reason(facts, known) if known is not None else None
        if ended is not None and not upgrade_plan.is_needed(result["reasons"]):
            result["reasons"] = [ended]
        result["needed"] = bool(result["reasons"])
        if not result["needed"]:
            return {**result, "msg": f"{running} does not need an upgrade"}
        found = yield from self._find_packages(sections)
        plan = upgrade_plan.plan_upgrade(facts, found, series=options.series, flavour=options.flavour)
        result["to"] = plan.target
        upgrade_plan.check_plan(plan, found, repair=options.repair, running=running)
        if plan.packages:
            yield from self._install(plan, found)
        elif plan.target != running:
            sections = yield from self._ask("wait", release=plan.target)
            upgrade_plan.check_kernel_on_disk(apt.read_kernel_on_disk(sections), plan.target)
        elif upgrade_plan.is_needed(result["reasons"]):
            return self._without_newer_kernel(facts)
        result["reboot_needed"] = plan.target != running
        before = upgrade_plan.sorted_before(plan.target, facts, found)
        if result["reboot_needed"] and before:
            warning = f"GRUB sorts {', '.join(before)} before {plan.target}, and Ubuntu did not build this kernel."
            self._warn(f"{warning} The module kernel_reboot refuses the host if GRUB would start it.")
        return {**result, "msg": self._summary(plan)}

    def _without_newer_kernel(self, facts: HostFacts) -> dict[str, t.Any]:
        """Fail, because the host needs another kernel and the archive has none.

        In check mode, return a warning instead: the package lists on the host may be old, and are not refreshed.
        """
        running = facts.kernel
        series, flavour = self._options.series or running.series, self._options.flavour or running.flavour
        kernel = f"no kernel of series {series} and flavour {flavour} that is newer than {running.release}"
        if not self._options.check_mode:
            missing = causes.NO_NEWER_KERNEL.error(kernel=kernel, subscription=subscription(facts))
            raise self._refresh_failure or missing
        warning = f"the package lists on the host have {kernel}. A run without check mode refreshes the lists first."
        message = f"{running.release} needs an upgrade, but the new kernel is not known yet"
        return {**self.result, "warnings": [warning], "msg": message}

    def _warn(self, warning: str) -> None:
        self.result.setdefault("warnings", []).append(warning)

    def _collect(self) -> Task[Sections]:
        """Collect facts of the host, after the end of a run of apt-get that an earlier task started."""
        sections = yield from self._ask("look")
        if apt.read_run(sections).state not in ("running", "starting"):
            return sections
        if self._options.check_mode:
            raise causes.INSTALLATION_RUNNING.error()
        yield from self._wait_for_run("")
        return (yield from self._ask("look"))

    def _find_packages(self, sections: Sections) -> Task[apt.KernelPackages]:
        """Return the kernel packages, from refreshed package lists unless in check mode."""
        if not self._options.check_mode:
            sections = yield from self._ask("refresh")
            refresh = sections.get("refresh")
            if refresh is not None and not apt.lists_are_refreshed(refresh.output, refresh.exit_code):
                failure = apt_failure(refresh.output, refresh.exit_code)
                self._refresh_failure = failure if failure.id != causes.APT_FAILED.id else None
                output = " ".join(refresh.output.split())[-300:]
                self._warn(f"The package lists could not be refreshed. The old ones are used: {output}")
        found = apt.read_kernel_packages(sections)
        if found is None:
            raise causes.NO_APT.error()
        return found

    def _install(self, plan: upgrade_plan.UpgradePlan, found: apt.KernelPackages) -> Task[None]:
        """Start apt-get, wait for its end, and verify the kernel; in check mode, only simulate it."""
        options = self._options
        running = self.result["from"]
        repair = "1" if found.interrupted else ""
        simulation = yield from self._start(plan, repair)
        failure = _simulation_failure(simulation, found, running)
        # The run completes what was interrupted. This can remove the cause of a failed simulation.
        if failure is not None and not repair:
            if not (options.repair and upgrade_plan.can_be_repaired(failure)):
                raise failure
            repair = "1"
            if not options.check_mode:
                simulation = yield from self._start(plan, repair)
        changes = apt.read_changes(simulation.output)
        self.result["packages"] = [dataclasses.asdict(change) for change in changes]
        self.result |= {"changed": True, "repaired": bool(repair)}
        if options.diff_mode:
            self.result["diff"] = _diff(changes)
        if options.check_mode:
            return
        sections = yield from self._wait_for_run(plan.target)
        upgrade_plan.check_run(apt.read_run(sections), found, running, repaired=bool(repair))
        upgrade_plan.check_kernel_on_disk(apt.read_kernel_on_disk(sections), plan.target)

    def _start(self, plan: upgrade_plan.UpgradePlan, repair: str) -> Task[Section]:
        """Simulate the installation and start it; in check mode, only simulate it. Return the simulation."""
        task = "simulate" if self._options.check_mode else "start"
        variables = self._variables(task, packages=" ".join(plan.packages), repair=repair)
        sections = yield from run_script(_PARTS, variables, extra_seconds=self._extra_seconds)
        # If the answer is incomplete, apt-get may have been started. Its result shows this.
        if self._options.check_mode:
            _require_complete(sections)
        return sections.get("simulation", _NO_SIMULATION)

    def _wait_for_run(self, release: str) -> Task[Sections]:
        """Wait for the end of apt-get. Lost connections are tolerated until the deadline; apt-get is never stopped."""
        begun = (yield from read_clock()).monotonic
        while True:
            left = self._deadline - (yield from read_clock()).monotonic
            sections = yield from poll(max(left, 0), lambda: self._observe(release))
            now = (yield from read_clock()).monotonic
            if sections is not None:
                state = apt.read_run(sections).state
                if state in ("ended", "lost", "absent") or (state == "starting" and now - begun > _START):
                    return sections
            if now >= self._deadline:
                observed = "the host does not answer" if sections is None else "it is still running"
                raise causes.UPGRADE_TIMED_OUT.error(timeout=self._options.timeout, state=observed)

    def _observe(self, release: str) -> Task[Sections | None]:
        """Wait on the host for the end of apt-get, at most `_WAIT` seconds; None without an answer."""
        left = self._deadline - (yield from read_clock()).monotonic
        wait = max(1, min(_WAIT, int(left)))
        variables = self._variables("wait", wait=str(wait), release=release)
        return (yield from try_script(_PARTS, variables, extra_seconds=wait))

    def _ask(self, task: str, **variables: str) -> Task[Sections]:
        """Run a part of the script whose answer must be complete."""
        sections = yield from run_script(_PARTS, self._variables(task, **variables), extra_seconds=self._extra_seconds)
        return _require_complete(sections)

    @property
    def _extra_seconds(self) -> float:
        """The time of a script that uses apt or dpkg: it waits for their locks, and updates lists."""
        return _APT_UPDATE + self._options.lock_timeout

    def _variables(self, task: str, **variables: str) -> dict[str, str]:
        base = {"task": task, "server": "", "network": "", "packages": "", "release": "", "repair": "", "wait": "0"}
        return {**base, "lock_wait": str(self._options.lock_timeout), **variables}

    def _summary(self, plan: upgrade_plan.UpgradePlan) -> str:
        running = self.result["from"]
        if plan.packages:
            verb = "would be installed" if self._options.check_mode else "is installed"
            return f"{plan.target} {verb}; {running} runs until a reboot"
        if self.result["reboot_needed"]:
            return f"{plan.target} is already installed; {running} runs until a reboot"
        return f"{running} is the newest kernel to which this host's packages lead"


def _simulation_failure(simulation: Section, found: apt.KernelPackages, running: str | None) -> LivepatchError | None:
    if simulation.exit_code in (0, None):
        return None
    run = apt.InstallRun("ended", simulation.exit_code, simulation.output + simulation.errors)
    return upgrade_plan.run_failure(run, found, running)


def _require_complete(sections: Sections) -> Sections:
    if not sections.complete:
        raise causes.INTERRUPTED.error()
    return sections


def _diff(changes: list[apt.Change]) -> dict[str, str]:
    before = "".join(f"{change.name} {change.old}\n" for change in changes if change.old)
    after = "".join(f"{change.name} {change.new}\n" for change in changes if change.new)
    return {"before_header": "packages", "after_header": "packages", "before": before, "after": after}
