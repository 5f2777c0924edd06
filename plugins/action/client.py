# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The livepatch client of a host: installed, configured, enabled, or not."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import assess_eligibility
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_failures import ClientFailure, failure
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import MODES
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import client_config, client_plan
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _client_host, _probe
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction


class ActionModule(LegacyAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **_probe.PROBE_ARGUMENTS,
        "state": {"type": "str", "choices": ["present", "enabled", "disabled", "absent"], "default": "enabled"},
        "token": {"type": "str", "no_log": True},
        "token_transport": {
            "type": "str",
            "choices": ["auto", "socket", "cli"],
            "default": "auto",
            "no_log": False,
        },
        "config": {"type": "dict", "default": {}},
        "mode": {"type": "str", "choices": list(MODES)},
        "channel": {"type": "str"},
        "via": {"type": "str", "choices": ["livepatch", "pro"], "default": "livepatch"},
        "require_eligible": {"type": "bool", "default": True},
        "wait_seeded": {"type": "int", "default": 300},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        policy = _probe.load_policy(options["policy"])
        wanted = _wanted(options)
        options = {**options, "server": options["server"] or wanted.config.get(client_config.SERVER)}
        variables = {
            **_probe.probe_variables(options),
            "channel": "1" if wanted.channel else "",
            "pro": "1" if wanted.via == "pro" else "",
        }
        look = _client_host.look_at_client(self, variables)
        word = _probe.asked_kernel_support(options, look.facts)
        eligibility = assess_eligibility(look.facts, policy, word)

        def planned(seen: _client_host.Look) -> client_plan.ClientPlan:
            return client_plan.make_plan(wanted, seen.facts, seen.client, eligibility, policy.snapd_minimum)

        try:
            plan = planned(look)
        except client_plan.PlanError as error:
            message = f"{error}. {_sentence(error.remedy)}"
            raise ActionError(message, error_id=error.id, remedy=error.remedy, eligibility=eligibility) from error
        result = {**self._foreseen(plan), "eligibility": eligibility, "version": _version(look)}
        if not plan.steps or self.check_mode:
            return result
        work = _client_host.carry_out(self, plan, wanted, variables, options["wait_seeded"])
        return self._outcome(plan, work, _rest(planned, work.look), result)

    def _outcome(
        self, plan: client_plan.ClientPlan, work: _client_host.Work, rest: _Rest, result: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """The result of a run. Raises `ActionError` where it is not what the plan foresaw."""
        result = {
            **result,
            "changed": bool(work.done),
            "steps": _client_host.as_values(work.done),
            "version": _version(work.look),
            "round_trips": 2,
            **({"token_transport": work.transport} if work.transport else {}),
        }
        problem = work.failure
        if problem is None and rest.words is not None:
            problem = failure("not_confirmed", rest.words)
        if problem is None:
            return result
        # What came about, in the place of what was foreseen.
        result["after"] = rest.now.as_dict() if rest.now else None
        if self.diff_mode:
            result["diff"] = {"before": result["before"], "after": result["after"] or {}}
        raise _failed(problem, plan, work, result)

    def _foreseen(self, plan: client_plan.ClientPlan) -> dict[str, t.Any]:
        """What the plan comes to, which is the whole result in check mode."""
        before, after = plan.before.as_dict(), plan.after.as_dict()
        return {
            "changed": bool(plan.steps),
            "steps": _client_host.as_values(plan.steps),
            "enabled": _enabled(plan.after.state),
            "before": before,
            "after": after,
            "round_trips": 1,
            **({"diff": {"before": before, "after": after}} if self.diff_mode else {}),
        }


def _wanted(options: dict[str, t.Any]) -> client_plan.Wanted:
    """The task's options, checked as far as that can be done before a host is looked at. Raises `ActionError`."""
    now = datetime.datetime.now(datetime.timezone.utc)
    token = options["token"] or None
    try:
        client_plan.check_token(token, options["via"])
        config = client_config.wanted_config(options["config"] or {}, now)
    except client_plan.PlanError as error:
        raise ActionError(f"{error}. {_sentence(error.remedy)}", error_id=error.id, remedy=error.remedy) from error
    except client_config.ConfigError as error:
        raise ActionError(f"{error}. Nothing has been changed.", error_id="config_invalid") from error
    return client_plan.Wanted(
        state=options["state"],
        token=token,
        transport=options["token_transport"],
        config=config,
        mode=options["mode"],
        channel=options["channel"],
        via=options["via"],
        require_eligible=options["require_eligible"],
    )


class _Rest(t.NamedTuple):
    """What a host is after the work, and in words what is still to be done to it, None where that is nothing."""

    now: client_plan.View | None
    words: str | None


def _rest(replan: t.Callable[[_client_host.Look], client_plan.ClientPlan], seen: _client_host.Look) -> _Rest:
    """Plan once more: what every step that ended well has left to do, the host has not done."""
    try:
        plan = replan(seen)
    except client_plan.PlanError as error:
        return _Rest(None, str(error))
    return _Rest(plan.before, plan.steps[0].message if plan.steps else None)


def _failed(
    problem: ClientFailure, plan: client_plan.ClientPlan, work: _client_host.Work, result: dict[str, t.Any]
) -> ActionError:
    """The failure of a run, with where it ended and what that left behind."""
    undone = plan.steps[len(work.done) :]
    where = f"at the step {undone[0].id!r} ({undone[0].message})" if undone else "after the last step"
    client = work.look.facts.client
    enabled = client.enabled if client is not None and client.enabled is not None else work.look.client.registered
    left = {
        True: "The client is enabled",
        False: "The client is not enabled",
        None: "Whether the client is enabled is not known",
    }[enabled]
    steps = f"{len(work.done)} of {len(plan.steps)} steps are done"
    return ActionError(
        f"{_sentence(problem.message)} It happened {where}. {left}, {steps}. {_sentence(problem.remedy)}",
        **{
            **result,
            "error_id": problem.id,
            "remedy": problem.remedy,
            "enabled": enabled,
            "failed_step": undone[0].id if undone else None,
        },
    )


def _enabled(state: str) -> bool | None:
    return None if state == "unknown" else state == "enabled"


def _version(look: _client_host.Look) -> str | None:
    return look.facts.client.version if look.facts.client is not None else None


def _sentence(text: str) -> str:
    """Text as a sentence: ended, and begun with a capital unless it is a command."""
    first = text[:1].upper() + text[1:]
    return first if first.endswith((".", "!", "?")) else f"{first}."
