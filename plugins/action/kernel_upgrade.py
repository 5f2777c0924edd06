# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The newest kernel of a line, on hosts that need it."""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import upgrade_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _patient_shell
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script

_SCRIPTS = ("probe", "kernel_upgrade")
_POLL = 20
"""Seconds that one look at the run waits on the host for its end."""
_START = 60
"""Seconds in which a run must have begun."""


class ActionModule(LegacyAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "force": {"type": "bool", "default": False},
        "within_days": {"type": "int", "default": 0},
        "series": {"type": "str"},
        "flavour": {"type": "str"},
        "repair": {"type": "bool", "default": True},
        "lock_timeout": {"type": "int", "default": 600},
        "timeout": {"type": "int", "default": 3600},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        self._options = options
        self._deadline = time.monotonic() + options["timeout"]
        self._result: dict[str, t.Any] = {"needed": False, "reasons": [], "packages": [], "unfinished": False}
        try:
            return self._upgrade()
        except upgrade_plan.KernelUpgradeError as error:
            message = f"{error}; {error.remedy}"
            raise ActionError(message, error_id=error.id, remedy=error.remedy, **self._result) from error
        except LivepatchError as error:
            message = f"{error}; {error.remedy}"
            raise ActionError(message, error_id=error.id, remedy=error.remedy, **self._result) from error

    def _upgrade(self) -> dict[str, t.Any]:
        sections = self._look()
        facts = read_facts(sections)
        result = self._result
        result["from"] = result["to"] = facts.kernel.release
        result["reboot_needed"] = False
        result["unfinished"] = sections.output("unfinished") is not None and "ok " in sections["unfinished"].output
        upgrade_plan.refuse_hosts_without_kernel(facts)
        result["reasons"] = upgrade_plan.reasons_to_upgrade(
            facts, within_days=self._options["within_days"], force=self._options["force"]
        )
        result["needed"] = bool(result["reasons"])
        if not result["needed"]:
            return {**result, "msg": f"{result['from']} needs no upgrade"}
        found = self._packages(sections)
        plan = upgrade_plan.plan_upgrade(facts, found, series=self._options["series"], flavour=self._options["flavour"])
        result["to"] = plan.target
        upgrade_plan.check_plan(plan, found, repair=self._options["repair"])
        if plan.packages:
            self._install(plan, repair=bool(found.interrupted))
        elif plan.target != facts.kernel.release:
            self._prove(run_script(self, _SCRIPTS, self._variables("wait", release=plan.target)), plan.target)
        if self._finds_nothing_new(facts, plan):
            return result
        result["reboot_needed"] = plan.target != facts.kernel.release
        return {**result, "msg": self._summary(plan)}

    def _finds_nothing_new(self, facts: HostFacts, plan: upgrade_plan.UpgradePlan) -> bool:
        """A host that needs another kernel, and gets none, has failed.

        Only check mode cannot tell: it changes nothing, and so looks into lists of packages that may be old.
        """
        running = facts.kernel
        forced_only = all(reason["id"] == "forced" for reason in self._result["reasons"])
        if plan.target != running.release or forced_only:
            return False
        series, flavour = self._options["series"] or running.series, self._options["flavour"] or running.flavour
        message = f"no kernel of series {series}, flavour {flavour}, that is newer than {running.release}"
        if self.check_mode:
            told = f"the lists of packages on the host have {message}; the run fetches them anew before it decides"
            self._result["warnings"] = [told]
            self._result["msg"] = f"{running.release} needs an upgrade, to which kernel is not known yet"
            return True
        raise upgrade_plan.KernelUpgradeError(
            "no_newer_kernel",
            f"the archive has {message}",
            "look at the host's sources of packages, or name another series (series)",
        )

    def _look(self) -> Sections:
        """Look at the host, when no run of an earlier task is going on there any more."""
        sections = run_script(self, _SCRIPTS, self._variables("look"))
        run = apt.read_run(sections)
        if run.state not in ("running", "starting"):
            return sections
        if self.check_mode:
            raise upgrade_plan.KernelUpgradeError(
                "run_in_progress", "a kernel is being installed on this host at this moment", "wait for its end"
            )
        self._wait("")
        return run_script(self, _SCRIPTS, self._variables("look"))

    def _packages(self, sections: Sections) -> apt.KernelPackages:
        if not self.check_mode:
            refreshed = run_script(self, _SCRIPTS, self._variables("refresh"))
            if refreshed.output("refresh") is None and "refresh" in refreshed:
                said = " ".join(refreshed["refresh"].output.split())[-300:]
                warning = f"the lists of packages could not be fetched, and those of before count: {said}"
                self._result["warnings"] = [warning]
            sections = refreshed
        found = apt.read_kernel_packages(sections)
        if found is None:
            raise upgrade_plan.KernelUpgradeError(
                "no_apt", "this host has no apt-get", "upgrade its kernel in its own way"
            )
        return found

    def _install(self, plan: upgrade_plan.UpgradePlan, *, repair: bool) -> None:
        task = "simulate" if self.check_mode else "start"
        names = " ".join(plan.packages)
        sections = run_script(self, _SCRIPTS, self._variables(task, packages=names, repair="1" if repair else ""))
        simulation = sections["simulation"]
        if not repair and simulation.exit_code != 0:
            upgrade_plan.check_run(apt.InstallRun("ended", simulation.exit_code, simulation.output + simulation.errors))
        changes = apt.read_changes(simulation.output)
        self._result["packages"] = [{"name": item.name, "old": item.old, "new": item.new} for item in changes]
        self._result["changed"] = True
        self._result["repaired"] = repair
        if self.diff_mode:
            self._result["diff"] = _diff(changes)
        if self.check_mode:
            return
        final = self._wait(plan.target)
        upgrade_plan.check_run(apt.read_run(final))
        self._prove(final, plan.target)

    def _prove(self, sections: Sections, release: str) -> None:
        upgrade_plan.check_kernel_on_disk(apt.read_proof(sections), release)

    def _wait(self, release: str) -> Sections:
        """Wait for the run's end, however often the connection drops on the way. The run itself is never ended."""
        begun = time.monotonic()
        while True:
            left = self._deadline - time.monotonic()
            wait = str(max(1, min(_POLL, int(left))))
            variables = self._variables("wait", wait=wait, release=release)
            ask = functools.partial(_patient_shell.try_script, self, _SCRIPTS, variables)
            sections = _patient_shell.keep_asking(max(left, 0), ask)
            if sections is not None:
                run = apt.read_run(sections)
                too_late = run.state == "starting" and time.monotonic() - begun > _START
                if run.state in ("ended", "lost", "absent") or too_late:
                    return sections
            if time.monotonic() >= self._deadline:
                where = "the run goes on there" if sections is not None else "the host does not answer any more"
                raise upgrade_plan.KernelUpgradeError(
                    "upgrade_timed_out",
                    f"apt-get did not end within {self._options['timeout']} s; {where}",
                    "run again: the next run waits for the one that goes on",
                )

    def _variables(self, task: str, **more: str) -> dict[str, str]:
        base = {"task": task, "server": "", "network": "", "packages": "", "release": "", "repair": "", "wait": "0"}
        return {**base, "lock_wait": str(self._options["lock_timeout"]), **more}

    def _summary(self, plan: upgrade_plan.UpgradePlan) -> str:
        running = self._result["from"]
        if plan.packages:
            verb = "would be installed" if self.check_mode else "is installed"
            return f"{plan.target} {verb}; {running} runs until a reboot"
        if self._result["reboot_needed"]:
            return f"{plan.target} is installed already; {running} runs until a reboot"
        return f"{running} is the newest there is"


def _diff(changes: list[apt.Change]) -> dict[str, str]:
    before = "".join(f"{change.name} {change.old}\n" for change in changes if change.old)
    after = "".join(f"{change.name} {change.new}\n" for change in changes if change.new)
    return {"before_header": "packages", "after_header": "packages", "before": before, "after": after}
