# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Plan the steps that turn the actual client of a host into the desired one.

The run, check mode and diff mode use the same plan. A plan that cannot succeed is refused as a whole, before anything
is changed.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses

from .._decisions import causes
from .._decisions.eligibility import FIXED_BY_CLIENT, version_numbers
from .._errors import LivepatchError
from .._host.client_files import DEFAULT_MODE, ClientSetup
from .._host.facts import HostFacts
from .._record import Check, Eligibility
from .._server.kernel_support import HOSTED
from . import client_config
from .client_comparison import NO_APPLY, STOP, TOKEN, ClientComparison, ClientSnapshot, DesiredClient

# Errors of a client that fails at every command.
_REFUSALS = frozenset({"not_eligible_kernel", "platform_unsupported", "not_executable", "snapd_kernel_unsupported"})
# Errors of a client that no command can fix.
_FATAL_ERRORS = frozenset({"daemon_down", "tainted_modules", "apparmor", "interface_not_connected", *_REFUSALS})
# Failures of a client that a new installation of its snap can end.
_REPAIRABLE = frozenset({"platform_stale", "not_executable", "daemon_down", "unreadable_output", "timed_out"})
_PAID_TIERS = frozenset({"stable"})
_ENABLING_STEPS = frozenset({"enable", "pro_attach", "pro_enable"})
_SEE_CHECKS = "see the checks in the result of kernelops.livepatch.eligibility_info, or set require_eligible: false"


@dataclasses.dataclass(frozen=True, slots=True)
class ClientStep:
    """A step of a plan. `id` is its name in ``client_write.sh``, and `argument` the value that it needs there.

    `message` says what is done and why. `tool` does it: ``apt``, ``snap``, ``client``, ``pro`` or ``file``.
    """

    id: str
    message: str
    tool: str
    argument: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"id": self.id, "message": self.message}


@dataclasses.dataclass(frozen=True, slots=True)
class ClientPlan:
    """The steps in order, and the client before and after them.

    `transports` are the ways to pass the token to the client, in order of preference: ``curl``, ``nc``, ``cli``.
    """

    steps: tuple[ClientStep, ...]
    before: ClientSnapshot
    after: ClientSnapshot
    transports: tuple[str, ...] = ()


def make_plan(
    desired: DesiredClient, facts: HostFacts, setup: ClientSetup, eligibility: Eligibility, snapd_minimum: str
) -> ClientPlan:
    """Compare the desired client with the actual one. Raises `LivepatchError` if the plan cannot succeed.

    `snapd_minimum` is the oldest usable version of snapd, such as ``2.15``.
    """
    if facts.root is not True:
        raise causes.NOT_ROOT.error(action="a change of the client")
    comparison = ClientComparison(desired, facts, setup)
    planner = _Planner(comparison, eligibility, snapd_minimum)
    failure = comparison.client_failure()
    if failure is None or failure.id not in _REPAIRABLE or not desired.reinstall or desired.state != "enabled":
        return planner.plan()
    planner = dataclasses.replace(planner, comparison=_without_client(comparison))
    message = f"remove the snap canonical-livepatch and its data, because its client does not work ({failure.id})"
    rest = planner.plan()
    steps = (ClientStep("remove", message, "snap"), *rest.steps)
    return dataclasses.replace(rest, steps=steps, before=comparison.before())


def _without_client(comparison: ClientComparison) -> ClientComparison:
    """Return the comparison after the snap and its data are removed."""
    # A snapd that has installed a snap has finished its initialization.
    snapd = dataclasses.replace(comparison.facts.snapd, seeded=True)
    facts = dataclasses.replace(comparison.facts, client_installed=False, client=None, config=None, snapd=snapd)
    setup = dataclasses.replace(comparison.setup, registered=False, restart_due=False, fingerprints={}, channel=None)
    return ClientComparison(comparison.desired, facts, setup)


@dataclasses.dataclass(frozen=True, slots=True)
class _Planner:
    comparison: ClientComparison
    eligibility: Eligibility
    snapd_minimum: str

    @property
    def desired(self) -> DesiredClient:
        return self.comparison.desired

    @property
    def facts(self) -> HostFacts:
        return self.comparison.facts

    def plan(self) -> ClientPlan:
        differences = self.comparison.differing_settings()
        if self.desired.state == "absent":
            steps = [*self._before_removal(), *self._removal()]
        elif self.desired.state == "disabled":
            configuration = self._configuration(differences) if self.comparison.installed else []
            steps = [*self._disabling(), *configuration]
        else:
            steps = self._installation_and_configuration(differences)
        self._require_usable_client(steps)
        transports = self._transports() if any(step.id == "enable" for step in steps) else ()
        return ClientPlan(tuple(steps), self.comparison.before(), self.comparison.after(), transports)

    # --- the steps ---

    def _installation_and_configuration(self, differences: list[str]) -> list[ClientStep]:
        enabling = self._enabling(differences) if self.desired.state == "enabled" else []
        self._require_paid_subscription(differences)
        disabling = [step for step in enabling if step.id == "disable"]
        rest = [step for step in enabling if step.id != "disable"]
        if any(step.id in _ENABLING_STEPS for step in rest):
            self._require_eligibility(differences)
        return [*self._installation(), *disabling, *self._configuration(differences, rest)]

    def _installation(self) -> list[ClientStep]:
        installed, channel = self.comparison.installed, self.comparison.desired_channel
        if installed and not self.comparison.channel_differs:
            return []
        if self.comparison.setup.snap_disabled:
            return self._snap_enabling()
        steps = self._snapd_installation()
        if steps or not (installed or self.facts.snapd.seeded):
            steps.append(ClientStep("seeded", "wait until snapd has finished its initialization", "snap"))
        if installed:
            message = f"change the channel of the snap from {self.comparison.setup.channel} to {channel}"
            steps.append(ClientStep("refresh", message, "snap", channel))
        elif self.desired.snap_file is not None:
            steps += self._installation_from_file(self.desired.snap_file)
        else:
            from_channel = f" from channel {channel}" if channel else ""
            message = f"install the snap canonical-livepatch{from_channel}"
            steps.append(ClientStep("install", message, "snap", channel))
        return steps

    def _installation_from_file(self, path: str) -> list[ClientStep]:
        steps, assertion = [], self.desired.snap_assertion
        if assertion is not None:
            message = f"let snapd verify and store the assertions in {assertion}"
            steps.append(ClientStep("acknowledge", message, "snap", assertion))
        message = f"install the snap canonical-livepatch from the file {path}"
        return [*steps, ClientStep("install_file", message, "snap", path)]

    def _snap_enabling(self) -> list[ClientStep]:
        """Return the steps for a snap that is installed and disabled. Its channel is unknown until it is enabled."""
        self._require_snapd()
        message = "enable the snap canonical-livepatch, which is installed and disabled (snap disable)"
        steps, channel = [ClientStep("snap_enable", message, "snap")], self.comparison.desired_channel
        if channel and self.desired.state in ("present", "enabled"):
            message = f"let the snap follow channel {channel}"
            steps.append(ClientStep("refresh", message, "snap", channel))
        return steps

    def _snapd_installation(self) -> list[ClientStep]:
        snapd = self.facts.snapd
        if not snapd.installed:
            return [ClientStep("snapd", "install snapd, which is missing on the host", "apt")]
        if snapd.version and version_numbers(snapd.version) < version_numbers(self.snapd_minimum):
            message = f"upgrade snapd: {snapd.version} is older than {self.snapd_minimum}"
            return [ClientStep("snapd", message, "apt")]
        self._require_snapd()
        return []

    def _configuration(self, differences: list[str], enabling: c.Sequence[ClientStep] = ()) -> list[ClientStep]:
        """Return steps for mode, settings and enabling, ordered so that no patch is applied that `mode` withholds."""
        first, last = self._mode_changes(needs_daemon=bool(differences or enabling))
        return [*first, *(self._setting_change(key) for key in differences), *enabling, *last]

    def _setting_change(self, key: str) -> ClientStep:
        text = self.desired.config[key]
        if not text:
            message = f"reset {key} to its default {client_config.effective(key, '')!r}"
        else:
            message = f"set {key} to {client_config.masked(key, text)!r}"
            if key == client_config.CERTIFICATES and client_config.SERVER in self.desired.config:
                message += ", before the server that uses it"
        return ClientStep("config", message, "client", key)

    def _mode_changes(self, *, needs_daemon: bool) -> tuple[list[ClientStep], list[ClientStep]]:
        """Return steps before and after the configuration.

        A mode that withholds patches is set first. A mode that allows patches or stops the daemon is set last.
        """
        self._require_free_mode(needs_daemon=needs_daemon)
        actual, desired = self.comparison.setup.effective_mode, self.desired.mode
        first: list[ClientStep] = []
        if actual == STOP and needs_daemon:
            if desired is None or desired == STOP:
                raise causes.MODE_STOP.error()
            first.append(_mode_change(NO_APPLY, "the daemon must run to be configured"))
            actual = NO_APPLY
        if desired is None or desired == actual:
            if self.comparison.setup.restart_due and not first:
                mode = self.comparison.setup.mode or DEFAULT_MODE
                first.append(_mode_change(mode, "the daemon has not been restarted since the change"))
            return first, []
        step = _mode_change(desired, f"it is {actual}" if actual else "the current mode could not be read")
        return (first, [step]) if desired in (DEFAULT_MODE, STOP) else ([*first, step], [])

    def _enabling(self, differences: list[str]) -> list[ClientStep]:
        if self.desired.via == "pro":
            return self._enabling_with_pro()
        enabled = self.comparison.enabled
        server_changes = client_config.SERVER in differences and self.facts.config is not None
        if enabled is False:
            self._require_token(causes.NOT_ENABLED.message)
            return [ClientStep("enable", "enable the client with the token", "client")]
        if server_changes and enabled:
            self._require_token("the client must be enabled on another server, where it is not registered")
            reason = "the server changes, and each server has its own registration"
        elif self.comparison.enabled_with == "other":
            reason = "it is enabled with another token"
        elif enabled is None:
            reason = "its state could not be determined"
            self._require_token("the state of the client could not be determined")
        else:
            return self._adoption()
        return [
            ClientStep("disable", f"disable the client: {reason}", "client"),
            ClientStep("enable", "enable the client with the token", "client"),
        ]

    def _adoption(self) -> list[ClientStep]:
        """Return the step for a client that was enabled outside this collection, with a token that is unknown."""
        if self.desired.token is None or TOKEN in self.comparison.setup.fingerprints:
            return []
        message = "store the fingerprint of the token, assuming that it is the one used outside this collection"
        return [ClientStep("adopt", message, "file")]

    def _enabling_with_pro(self) -> list[ClientStep]:
        pro, enabled = self.comparison.setup.pro, self.comparison.enabled
        if pro is None or not pro.installed or pro.attached is None:
            raise causes.PRO_MISSING.error()
        if not pro.attached:
            return self._attaching()
        if self.comparison.enabled_with == "other":
            raise causes.PRO_ATTACHED_OTHERWISE.error()
        if enabled:
            return self._adoption()
        message = "enable Livepatch with Ubuntu Pro, to which the machine is attached"
        return [ClientStep("pro_enable", message, "pro"), *self._adoption()]

    def _attaching(self) -> list[ClientStep]:
        enabled = self.comparison.enabled
        if enabled and self.desired.token is None:
            return []
        self._require_token("the machine is not attached to Ubuntu Pro")
        steps = []
        if enabled is not False:
            steps.append(ClientStep("disable", "disable the client: it was not enabled by Ubuntu Pro", "client"))
        return [*steps, ClientStep("pro_attach", "attach the machine to Ubuntu Pro, with Livepatch enabled", "pro")]

    def _disabling(self) -> list[ClientStep]:
        if self.comparison.enabled is False:
            return []
        reason = "as requested" if self.comparison.enabled else "its state could not be determined"
        first = self._snap_enabling() if self.comparison.setup.snap_disabled else []
        if self.desired.via == "pro" and self.comparison.attached_to_pro:
            return [*first, ClientStep("pro_disable", f"disable Livepatch with Ubuntu Pro: {reason}", "pro")]
        return [*first, ClientStep("disable", f"disable the client: {reason}", "client")]

    def _before_removal(self) -> list[ClientStep]:
        """Return the steps that free the seat. A client that refuses every command is removed without them."""
        error = self.comparison.client_error
        return [] if error is not None and error.id in _REFUSALS else self._disabling()

    def _removal(self) -> list[ClientStep]:
        setup = self.comparison.setup
        if not self.comparison.present:
            if not setup.fingerprints and not setup.restart_due:
                return []
            return [ClientStep("forget", "remove the files of this collection from the host", "file")]
        self._require_snapd()
        return [ClientStep("remove", "remove the snap canonical-livepatch", "snap")]

    def _transports(self) -> tuple[str, ...]:
        tools = self.comparison.setup.tools if self.desired.transport != "cli" else ()
        if self.desired.transport == "socket" and not tools:
            raise causes.SOCKET_WITHOUT_TOOL.error()
        return tools if self.desired.transport == "socket" else (*tools, "cli")

    # --- conditions without which a plan cannot succeed ---

    def _require_snapd(self) -> None:
        if self.facts.snapd.answers is False:
            raise causes.SNAPD_DOWN.error()

    def _require_usable_client(self, steps: c.Sequence[ClientStep]) -> None:
        """Raise if the client cannot execute the first step that needs it, unless its daemon is restarted before.

        A client that is enabled must also work if no step needs it, unless it is to stay stopped.
        """
        error, failure = self.comparison.client_error, self.comparison.client_failure()
        if error is None or failure is None:
            return
        first = next((step for step in steps if step.tool == "client" or step.id in _ENABLING_STEPS), None)
        if first is not None and first.id != "mode" and error.id in _FATAL_ERRORS:
            raise failure
        stopped = self.desired.mode == STOP == self.comparison.setup.effective_mode
        changes = any(step.tool != "file" for step in steps)
        if self.desired.state == "enabled" and not changes and not stopped:
            raise failure

    def _require_free_mode(self, *, needs_daemon: bool) -> None:
        """Raise if the kernel command line sets another mode than the task, or stops a daemon that must run."""
        fixed, desired = self.comparison.setup.kernel_mode, self.desired.mode
        if fixed is not None and desired not in (None, fixed):
            raise causes.MODE_ON_COMMAND_LINE.error(mode=fixed, conflict=f", but the task requests {desired}")
        if fixed == STOP and needs_daemon:
            raise causes.MODE_ON_COMMAND_LINE.error(mode=fixed, conflict=", so its daemon does not run")

    def _require_token(self, reason: str) -> None:
        if self.desired.token is None:
            raise LivepatchError("token_missing", f"{reason}, and the task has no token", "set `token`")

    def _require_eligibility(self, differences: c.Sequence[str]) -> None:
        if not self.desired.require_eligible:
            return
        checks = [check for check in self.eligibility["checks"] if _is_relevant(check, differences)]
        failed = [check for check in checks if check["status"] == "fail"]
        unknown = [check for check in checks if check["status"] == "unknown"]
        for cause, found in ((causes.NOT_ELIGIBLE, failed), (causes.ELIGIBILITY_UNKNOWN, unknown)):
            if found:
                reasons = "; ".join(check["message"] for check in found)
                remedies = "; ".join(dict.fromkeys(check["remedy"] for check in found if check["remedy"]))
                raise cause.error(reasons=reasons, remedy=remedies or _SEE_CHECKS)

    def _require_paid_subscription(self, differences: list[str]) -> None:
        for key in differences:
            reason = self._unavailable(key) if self.desired.config[key] else None
            if reason:
                raise LivepatchError(
                    "setting_unavailable",
                    f"config.{key} is for paid subscribers of the hosted service, and {reason}",
                    f"remove {key} from `config` for this host",
                )

    def _unavailable(self, key: str) -> str | None:
        """Return why the client cannot have a setting; None if it can."""
        minimum = client_config.PAID_AND_HOSTED.get(key)
        if minimum is None:
            return None
        client = self.facts.client
        version = version_numbers(client.version) if client else ()
        server = self.desired.config.get(client_config.SERVER, self.comparison.setting(client_config.SERVER))
        if version and version < minimum:
            return f"client {client.version if client else ''} is older than {'.'.join(map(str, minimum))}"
        if not client_config.same_value(client_config.SERVER, server, HOSTED):
            return f"the client's server is not {HOSTED}"
        if client and client.tier and client.tier not in _PAID_TIERS:
            return f"the client's tier is {client.tier}, which is not a paid tier"
        return None


def _mode_change(mode: str, reason: str) -> ClientStep:
    return ClientStep("mode", f"set the mode to {mode} and restart the daemon: {reason}", "client", mode)


def _is_relevant(check: Check, differences: c.Sequence[str]) -> bool:
    """Return True if a check decides about enabling.

    The network check counts only if it fails, which needs a tool on the host, and if no setting for the network
    changes in this run.
    """
    if check["id"] == "network":
        settings = (*client_config.PROXIES, client_config.CERTIFICATES, client_config.SERVER)
        return check["status"] == "fail" and not set(settings).intersection(differences)
    return check["id"] not in FIXED_BY_CLIENT
