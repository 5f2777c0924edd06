# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A reboot into the kernel that is meant, with the containers stopped before it and running after it."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import reboot_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.upgrade_plan import (
    KernelUpgradeError,
    refuse_hosts_without_kernel,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import containers
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _patient_shell, _probe
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script

_SCRIPTS = ("probe", "kernel_reboot")
_RUNTIMES = ("docker", "podman", "lxd")
_SETTLING = 120.0
"""Seconds in which a host that has come back may be out of reach again, as while its network is set up."""
_BETWEEN_LOOKS = 5.0
"""Seconds between two looks at a client that has not come so far yet."""


class ActionModule(LegacyAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "kernel": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "pre_commands": {"type": "list", "elements": "str", "default": []},
        "post_commands": {"type": "list", "elements": "str", "default": []},
        "docker": {"type": "str", "choices": ["stop", "wait", "ignore"], "default": "stop"},
        "podman": {"type": "str", "choices": ["stop", "wait", "ignore"], "default": "stop"},
        "lxd": {"type": "str", "choices": ["stop", "ignore"], "default": "stop"},
        "drain_timeout": {"type": "int", "default": 300},
        "message": {"type": "str", "default": "This machine reboots into a newer kernel."},
        "delay": {"type": "int", "default": 3},
        "reboot_timeout": {"type": "int", "default": 900},
        "require_protected": {"type": "bool", "default": True},
        "protected_timeout": {"type": "int", "default": 900},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        self._options = options
        self._result: dict[str, t.Any] = {"rebooted": False, "containers": []}
        try:
            return self._reboot_if_needed()
        except (reboot_plan.KernelRebootError, KernelUpgradeError) as error:
            message = f"{error}; {error.remedy}"
            raise ActionError(message, error_id=error.id, remedy=error.remedy, **self._result) from error
        except LivepatchError as error:
            message = f"{error}; {error.remedy}"
            raise ActionError(message, error_id=error.id, remedy=error.remedy, **self._result) from error

    def _reboot_if_needed(self) -> dict[str, t.Any]:
        sections = run_script(self, _SCRIPTS, self._variables("look"))
        facts = read_facts(sections)
        refuse_hosts_without_kernel(facts)
        boot_id = containers.read_boot_id(sections)
        unfinished = containers.read_unfinished(sections)
        course = reboot_plan.plan_reboot(
            facts, boot_id, unfinished, kernel=self._options["kernel"], force=self._options["force"]
        )
        result = self._result
        result |= {"from": facts.kernel.release, "to": course.intended, "boot_id": boot_id}
        if course.step == "nothing":
            return {**result, "msg": f"{course.intended} runs already"}
        runtimes = containers.read_runtimes(sections)
        if course.step == "reboot":
            reboot_plan.refuse_undrainable(facts, runtimes, self._options)
        noted = unfinished.containers if unfinished is not None else ()
        stopped = [item for name in _RUNTIMES if self._options[name] == "stop" for item in _running(runtimes, name)]
        result["containers"] = [_shown(item) for item in dict.fromkeys((*noted, *stopped))]
        result["changed"] = True
        if self.diff_mode:
            result["diff"] = {"before": f"kernel {facts.kernel.release}\n", "after": f"kernel {course.intended}\n"}
        if self.check_mode:
            return {**result, "msg": _would(course)}
        return self._carry_out(course, facts, boot_id or "")

    def _carry_out(self, course: reboot_plan.RebootPlan, facts: HostFacts, boot_id: str) -> dict[str, t.Any]:
        begun = time.monotonic()
        if course.step == "reboot":
            self._drain()
            self._reboot(boot_id)
            self._result["rebooted"] = True
            self._result["elapsed"] = round(time.monotonic() - begun)
        self._restore()
        facts_now = read_facts(self._ask("probe", self._variables(""), _SETTLING))
        if course.step == "reboot" or course.rebooted_before:
            reboot_plan.check_kernel(facts_now.kernel.release, course.intended)
        if self._options["require_protected"] and _enabled(facts, facts_now):
            self._wait_for_protection(facts_now)
        done = "rebooted into" if course.step == "reboot" else "an earlier run was completed on"
        return {**self._result, "msg": f"{done} {course.intended}"}

    def _drain(self) -> None:
        """Stop what runs in containers. Where that fails, all of it is started again before the failure is told."""
        sections = run_script(self, _SCRIPTS, self._variables("drain", within=self._options["drain_timeout"]))
        failure = _drain_failure(sections)
        if failure is None and sections.complete:
            return
        with contextlib.suppress(reboot_plan.KernelRebootError):
            self._restore()
        raise failure or reboot_plan.KernelRebootError(
            "drain_failed", "the connection broke off while containers were being stopped", "run again"
        )

    def _reboot(self, boot_id: str) -> None:
        """Reboot, and come back in another boot. Raises `KernelRebootError`."""
        run_script(self, _SCRIPTS, {**self._variables("reboot"), "boot_id": boot_id})
        gone = False

        def ask() -> Sections | None:
            nonlocal gone
            sections = _patient_shell.try_script(self, _SCRIPTS, self._variables("alive"))
            gone = gone or sections is None
            if sections is None or containers.read_boot_id(sections) in (None, boot_id):
                # What is kept open may still lead to the machine that goes down.
                _patient_shell.forget_connection(self)
                return None
            return sections

        time.sleep(self._options["delay"])
        # A machine that goes down hard leaves a connection on which a command would wait for minutes.
        _patient_shell.forget_connection(self)
        answer = _patient_shell.keep_asking(self._options["reboot_timeout"], ask)
        if answer is not None:
            self._result["boot_id"] = containers.read_boot_id(answer)
            return
        if _patient_shell.try_script(self, _SCRIPTS, self._variables("alive")) is not None:
            with contextlib.suppress(reboot_plan.KernelRebootError):
                self._restore()
            raise reboot_plan.KernelRebootError(
                "reboot_did_not_happen",
                f"the host was told to reboot and is still in the same boot after {self._options['reboot_timeout']} s",
                "look at what holds it up on the host: systemctl list-jobs",
            )
        raise reboot_plan.KernelRebootError(
            "host_did_not_return",
            f"the host was rebooted and did not come back within {self._options['reboot_timeout']} s",
            "look at its console; when it is back, the next run of this module completes what this one began",
        )

    def _restore(self) -> None:
        """Run again what ran before, then the commands that come after. Raises `KernelRebootError`."""
        variables = self._variables("restore", within=self._options["drain_timeout"])
        sections = self._ask(_SCRIPTS, variables, self._options["drain_timeout"])
        wanting = sections.output("wanting") or ""
        reboot_plan.check_containers(
            containers.read_containers(wanting), sections["said"].output if "said" in sections else ""
        )
        _check_commands(sections, "post")

    def _ask(self, name: str | tuple[str, ...], variables: dict[str, str], seconds: float) -> Sections:
        """Run a script on a host that may still be coming up. Raises `KernelRebootError` when it stays silent."""
        sections = _patient_shell.keep_asking(seconds, lambda: _patient_shell.try_script(self, name, variables))
        if sections is None:
            raise reboot_plan.KernelRebootError(
                "host_did_not_return", "the host does not answer any more", "look at its console, then run again"
            )
        return sections

    def _wait_for_protection(self, facts: HostFacts) -> None:
        policy = _probe.load_policy("current")
        deadline = time.monotonic() + self._options["protected_timeout"]
        while True:
            assessment = reboot_plan.protection(facts, policy)
            self._result["state"] = assessment["state"]
            if assessment["state"] == "protected":
                return
            if time.monotonic() >= deadline:
                raise reboot_plan.KernelRebootError(
                    "not_protected",
                    f"{self._options['protected_timeout']} s after the reboot the host is {assessment['state']}: "
                    f"{assessment['reasons'][0]['message']}",
                    assessment["reasons"][0]["remedy"] or "look at its client",
                )
            time.sleep(min(_BETWEEN_LOOKS, max(0.0, deadline - time.monotonic())))
            sections = _patient_shell.try_script(self, "probe", self._variables(""))
            if sections is not None:
                facts = read_facts(sections)

    def _variables(self, task: str, *, within: int = 60) -> dict[str, str]:
        options = self._options
        commands = {
            f"{kind}_{number}": command
            for kind in ("pre", "post")
            for number, command in enumerate(options[f"{kind}_commands"], start=1)
        }
        policies = {name: options[name] for name in _RUNTIMES}
        texts = {"message": options["message"], "delay": str(options["delay"]), "within": str(within)}
        return {"task": task, "server": "", "network": "", **texts, **policies, **commands}


def _running(runtimes: dict[str, containers.Runtime], name: str) -> tuple[containers.Container, ...]:
    return runtimes[name].running if name in runtimes else ()


def _shown(container: containers.Container) -> dict[str, str]:
    return {"runtime": "lxd" if container.runtime == "evacuated" else container.runtime, "name": container.name}


def _would(course: reboot_plan.RebootPlan) -> str:
    if course.step == "reboot":
        return f"would reboot into {course.intended}"
    return "would complete what an earlier run has begun: containers and commands after the reboot"


def _enabled(*looks: HostFacts) -> bool:
    """Whether the client was enabled before the reboot, or is now: a new boot may begin without its word."""
    return any(facts.client is not None and facts.client.enabled is True for facts in looks)


def _drain_failure(sections: Sections) -> reboot_plan.KernelRebootError | None:
    try:
        _check_commands(sections, "pre")
    except reboot_plan.KernelRebootError as error:
        return error
    for name in ("docker", "podman"):
        ended = sections.get(f"ended {name}")
        if ended is not None and ended.exit_code != 0:
            left = ", ".join(item.name for item in containers.read_containers(ended.output))
            return reboot_plan.KernelRebootError(
                "containers_did_not_end",
                f"containers of {name} still run at the end of drain_timeout: {left}",
                f"give them more time, or let them be stopped ({name}: stop)",
            )
    stop = sections.get("stop")
    if stop is not None and stop.exit_code != 0:
        said = " ".join(f"{stop.output} {stop.errors}".split())[-300:] or "it did not end in time"
        return reboot_plan.KernelRebootError(
            "drain_failed",
            f"containers could not be stopped within drain_timeout, and run again now: {said}",
            "find the one that hangs on the host; nothing was rebooted",
        )
    return None


def _check_commands(sections: Sections, kind: str) -> None:
    for name, section in sections.items():
        if name.startswith(f"{kind} ") and section.exit_code != 0:
            said = " ".join(f"{section.output} {section.errors}".split())[-300:] or "no output"
            raise reboot_plan.KernelRebootError(
                f"{kind}_command_failed",
                f"command {name.split()[1]} of {kind}_commands ended with exit code {section.exit_code}: {said}",
                "run it on the host to see why" if kind == "pre" else "the next run of this module runs it again",
            )
