# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The newest patch of a host: fetched, applied, verified, with a deadline."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import time
import typing as t
from collections.abc import Sequence

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import Policy
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import (
    RefreshOutput,
    read_refresh_output,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import patch_progress
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.trust import TrustAnchors
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _probe, _recording, _trust
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script

_LONGEST_PAUSE = 15
_LEVELS = {"required": "file", "best_effort": "auto", "off": "off"}
_NO_ROLLBACK = (
    "A live patch cannot be taken out of a running kernel, and no older one can be put in its place: there is no"
    " rollback. Nothing has been changed. To be rid of a patch, disable the client (kernelops.livepatch.client, state"
    " disabled) and reboot."
)


@dataclasses.dataclass(frozen=True)
class _Look:
    """What a host showed at a moment of the controller's clock."""

    facts: HostFacts
    watch: RefreshOutput
    at: datetime.datetime


class ActionModule(_recording.RecordingAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **_recording.RECORDING_ARGUMENTS,
        "state": {"type": "str", "default": "applied"},
        "wait": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 300},
        "verify": {"type": "str", "choices": ["required", "best_effort", "off"], "default": "required"},
        "clear_crash_lock": {"type": "bool", "default": False},
    }

    _options: dict[str, t.Any]
    _policy: Policy
    _anchors: TrustAnchors | None
    _round_trips = 0

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        _check(options)
        self._options = options
        self._policy = _probe.load_policy(options["policy"])
        self._anchors = _anchors(options)
        before = self._look()
        useless = patch_progress.before_refresh(before.facts)
        if useless is not None or self.check_mode:
            return self._unchanged(before, useless)
        deadline = time.monotonic() + options["timeout"]
        locks = patch_progress.locks_of_kernel(before.facts) if options["clear_crash_lock"] else ()
        after = self._look(refresh=options["timeout"], locks=locks)
        removed = after.watch.removed
        standing = self._standing(after)
        if options["wait"]:
            after, standing = self._wait(after, deadline)
        return self._outcome(before, after, standing, removed)

    def _look(
        self, *, refresh: int | None = None, locks: Sequence[str] = (), verify: bool = True, network: bool = True
    ) -> _Look:
        """One round trip: with `refresh` (seconds) the client is told to fetch and apply first."""
        options, anchors = self._options, self._anchors
        variables = _probe.probe_variables(
            {**options, "network": options["network"] and network},
            _LEVELS[options["verify"]] if verify and anchors is not None else "off",
            certificate=anchors is not None and bool(anchors.unmet_pins),
        )
        variables |= {"refresh": "" if refresh is None else str(refresh), "locks": " ".join(locks)}
        at = datetime.datetime.now(datetime.timezone.utc)
        self._round_trips += 1
        try:
            sections = run_script(self, ("probe", "patch"), variables)
        except LivepatchError as error:
            raise ActionError(f"{error}; {error.remedy}", error_id=error.id, remedy=error.remedy) from error
        return _Look(read_facts(sections), read_refresh_output(sections), at)

    def _standing(self, look: _Look) -> patch_progress.PatchProgress:
        return patch_progress.judge_progress(look.facts, look.watch, self._policy)

    def _wait(self, last: _Look, deadline: float) -> tuple[_Look, patch_progress.PatchProgress]:
        """Look again and again, with longer pauses, until the host has arrived, is stuck, or the time is over.

        Every look is a short round trip, so that a connection that breaks in between costs one look and no more.
        """
        waited = False
        for pause in itertools.chain((1, 2, 4, 8), itertools.repeat(_LONGEST_PAUSE)):
            left = deadline - time.monotonic()
            if self._standing(last).phase != "moving" or left <= 0:
                break
            time.sleep(min(pause, left))
            waited = True
            try:
                last = self._look(verify=False, network=False)
            except AnsibleConnectionFailure:
                if deadline - time.monotonic() <= 0:
                    raise
        if waited:
            # What was looked at on the way lacks the module's file, and whether the server can be reached.
            last = self._look()
        return last, patch_progress.too_late(self._standing(last), last.watch.tasks, self._options["timeout"])

    def _unchanged(self, look: _Look, useless: patch_progress.PatchProgress | None) -> dict[str, t.Any]:
        """What check mode can foresee, or a failure before anything was done."""
        now = patch_progress.running(look.facts).version
        coming = patch_progress.expected_version(look.facts) if useless is None else None
        result = self._result(look, now, coming or now)
        if useless is not None:
            raise _failed(useless, result)
        if coming is None:
            result["msg"] = "Only a refresh can tell whether the server has a newer patch; this is what the host knows."
        return {**result, "changed": result["version"] != now}

    def _outcome(
        self, before: _Look, after: _Look, standing: patch_progress.PatchProgress, removed: Sequence[str]
    ) -> dict[str, t.Any]:
        then, now = patch_progress.running(before.facts), patch_progress.running(after.facts)
        result = self._result(after, then.version, now.version)
        if now.differs_from(then):
            result["closed_cves"] = patch_progress.closed_cves(before.facts.client, after.facts.client)
        result.update(changed=now.differs_from(then) or bool(removed), cleared_locks=list(removed))
        if standing.phase != "stuck":
            standing = patch_progress.verified(result["record"], self._options["verify"]) or standing
        if standing.phase == "stuck":
            logs = {"kernel_log": list(after.watch.kernel_log), "journal": list(after.watch.journal)}
            raise _failed(standing, {**result, **logs})
        return {**result, "msg": standing.message}

    def _result(self, look: _Look, before: str | None, after: str | None) -> dict[str, t.Any]:
        word = _probe.asked_kernel_support(self._options, look.facts)
        record = self.record_of(look.facts, self._policy, look.at, self._anchors, word)
        client = look.facts.client
        diff = {"diff": {"before": {"version": before}, "after": {"version": after}}} if self.diff_mode else {}
        return {
            **self.kept(record, self._options),
            "previous_version": before,
            "version": after,
            "patch_state": client.patch_state if client is not None else None,
            "closed_cves": [],
            "crash_locks": list(patch_progress.locks_of_kernel(look.facts)),
            "cleared_locks": [],
            "tasks": [dataclasses.asdict(task) for task in look.watch.tasks],
            "round_trips": self._round_trips,
            **diff,
        }


def _anchors(options: dict[str, t.Any]) -> TrustAnchors | None:
    """Whom to trust, or nobody where no signature is to be verified here."""
    verify = options["verify"]
    if verify == "off" or (verify == "best_effort" and _trust.usual_trust_is_impossible(options)):
        return None
    return _trust.trust_anchors(options)


def _check(options: dict[str, t.Any]) -> None:
    """Refuse what cannot be, before a host is looked at. Raises `ActionError`."""
    if options["state"] != "applied":
        raise ActionError(
            f"The state can only be applied, not {options['state']}. {_NO_ROLLBACK}", error_id="no_rollback"
        )
    if options["timeout"] < 1:
        raise ActionError("The timeout must be 1 second or more. Nothing has been changed.", error_id="timeout_invalid")


def _failed(standing: patch_progress.PatchProgress, result: dict[str, t.Any]) -> ActionError:
    message = standing.message[:1].upper() + standing.message[1:]
    remedy = f" What to do: {standing.remedy}." if standing.remedy else ""
    return ActionError(f"{message}.{remedy}", **{**result, "error_id": standing.id, "remedy": standing.remedy})
