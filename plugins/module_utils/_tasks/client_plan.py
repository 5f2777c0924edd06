# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What must be done to a host for its client to be as wanted: the wanted held against the present, as ordered steps.

One plan serves the run, its check mode and its diff. A plan that cannot be carried out is refused as a whole, before
anything is done.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .._decisions.eligibility import FIXED_BY_CLIENT, version_numbers
from .._host import client_failures
from .._host.client_files import DEFAULT_MODE, ClientState, channel_name
from .._host.facts import HostFacts
from .._record import Check, Eligibility
from .._server.kernel_support import HOSTED
from .._text import mask_credentials
from . import client_config

StateWord = t.Literal["present", "enabled", "disabled", "absent"]
Via = t.Literal["livepatch", "pro"]
Transport = t.Literal["auto", "socket", "cli"]

TOKEN = "token"  # noqa: S105  (the name of its mark)
STOP, NO_APPLY = "stop", "no-apply"

# None of these means anything in a URL, in JSON or to a shell.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{4,512}")
_LIVEPATCH_TOKEN = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PRO_TOKEN = re.compile(r"C[0-9A-Za-z]{20,63}")
_REFUSALS = frozenset({"not_eligible_kernel", "platform_unsupported"})
# Why a client gives no status that no command of it gets around.
_HOPELESS = frozenset({"daemon_down", "apparmor", "interface_not_connected", *_REFUSALS})
_PAID_TIERS = frozenset({"stable"})


class PlanError(Exception):
    """The wanted cannot be had on this host. `id` names the cause, `remedy` says what to do."""

    def __init__(self, cause: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.id = cause
        self.remedy = remedy


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What the task asks for. `config` is what `client_config.wanted_config` returned."""

    state: StateWord = "enabled"
    token: str | None = None
    transport: Transport = "auto"
    config: c.Mapping[str, str] = dataclasses.field(default_factory=dict)
    mode: str | None = None
    channel: str | None = None
    via: Via = "livepatch"
    require_eligible: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class ClientStep:
    """One thing to do, under the name that the script on the host has for it, with what that needs to know.

    `message` says what and why. `tool` is who does it: ``apt``, ``snap``, ``client``, ``pro`` or ``file``.
    """

    id: str
    message: str
    tool: str
    argument: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"id": self.id, "message": self.message}


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """The client as the plan sees it, before and after. No secret is in it.

    `state` is ``absent``, ``disabled``, ``enabled`` or ``unknown``. `token` says whose token the client is enabled
    with: ``given`` (that of the task), ``other``, ``unknown``, or None where it is not enabled.
    """

    state: str
    token: str | None
    mode: str | None
    channel: str | None
    config: c.Mapping[str, str | None]

    def as_dict(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "config": dict(self.config)}


@dataclasses.dataclass(frozen=True, slots=True)
class ClientPlan:
    """The steps, in order, and the client before and after them. `ways` hand the token over, the first that can."""

    steps: tuple[ClientStep, ...]
    before: View
    after: View
    ways: tuple[str, ...] = ()


def check_token(token: str | None, via: Via) -> None:
    """Hold a token against the form that it must have, before any host is looked at. Raises `PlanError`."""
    if token is None:
        return
    if not _TOKEN.fullmatch(token):
        raise PlanError(
            "token_malformed",
            "the token holds characters that no token has, such as a blank or the end of a line, or is too short",
            "give the token alone; take away white space around it with `| trim`",
        )
    if via == "livepatch" and _PRO_TOKEN.fullmatch(token) and not _LIVEPATCH_TOKEN.fullmatch(token):
        raise PlanError(
            "token_is_pro",
            "the token is one of Ubuntu Pro (it begins with C), which the Livepatch client does not take",
            "use `via: pro`, or give a Livepatch token",
        )
    if via == "pro" and _LIVEPATCH_TOKEN.fullmatch(token):
        raise PlanError(
            "token_is_livepatch",
            "the token is one of Livepatch, with which a machine cannot be attached to Ubuntu Pro",
            "use `via: livepatch`, or give a Pro token (it begins with C)",
        )


def make_plan(
    wanted: Wanted, facts: HostFacts, client: ClientState, eligibility: Eligibility, snapd_minimum: str
) -> ClientPlan:
    """Compare the wanted with the present. Raises `PlanError`.

    `snapd_minimum` is the oldest snapd that will do, such as ``2.15``.
    """
    if facts.root is not True:
        raise PlanError(
            "not_root",
            "the task does not run as root on the host, and only root may install, configure and enable the client",
            "run as root: add --become, or `become: true`",
        )
    return _Planner(wanted, facts, client, eligibility, snapd_minimum).plan()


@dataclasses.dataclass(frozen=True, slots=True)
class _Planner:
    wanted: Wanted
    facts: HostFacts
    client: ClientState
    eligibility: Eligibility
    snapd_minimum: str

    def plan(self) -> ClientPlan:
        before = self._before()
        if self.wanted.state == "absent":
            steps = [*(() if self._refuses_everything else self._disabling()), *self._removing()]
        elif self.wanted.state == "disabled":
            steps = [*self._disabling(), *(self._configuring(self._settings()) if self._installed else ())]
        else:
            steps = self._installing_to_enabling()
        self._demand_client(steps)
        ways = self._ways() if any(step.id == "enable" for step in steps) else ()
        return ClientPlan(tuple(steps), before, self._after(before), ways)

    # --- the present ---

    @property
    def _installed(self) -> bool:
        return self.facts.client_installed is True

    @property
    def _enabled(self) -> bool | None:
        """The client's word; where it gives none, its machine-token, which it has exactly while it is enabled."""
        said = self.facts.client.enabled if self.facts.client is not None else None
        if not self._installed:
            return False
        return said if said is not None else self.client.registered

    @property
    def _refuses_everything(self) -> bool:
        """A client that does not take this kernel or release fails at every command."""
        error = self.facts.client.error if self.facts.client is not None else None
        return error is not None and error.id in _REFUSALS

    def _token(self) -> str | None:
        """Whose token the client is enabled with."""
        if self._enabled is False:
            return None
        mark = self.client.marks.get(TOKEN)
        if mark is None or self.wanted.token is None:
            return "unknown"
        return "given" if mark.fits(self.wanted.token) else "other"

    def _present(self, key: str) -> str | None:
        """A setting as the host says it, None where the host says nothing."""
        return None if self.facts.config is None else self.facts.config.get(key, "")

    def _settings(self) -> list[str]:
        """The wanted settings that the client does not have yet, in the order in which it must get them.

        A client that is stopped and is to stay so can be asked for none: they stay as they are.
        """
        if self.client.mode == STOP == self.wanted.mode and self.facts.config is None:
            return []
        return [key for key, text in self.wanted.config.items() if not self._holds(key, text)]

    def _holds(self, key: str, text: str) -> bool:
        present = self._present(key)
        if not self._installed:
            return client_config.effective(key, text) == client_config.effective(key, "")
        if present is None or not client_config.same_value(key, present, text):
            return False
        if not client_config.holds_secret(key, text):
            # What the host says is masked: an address with a password differs from the same one without.
            return mask_credentials(present) == present
        mark = self.client.marks.get(key)
        return mark is not None and mark.fits(text)

    def _before(self) -> View:
        enabled = {True: "enabled", False: "disabled", None: "unknown"}[self._enabled]
        return View(
            state=enabled if self._installed else "absent",
            token=self._token(),
            mode=self.client.mode,
            channel=self.client.channel if self.wanted.channel else None,
            config={key: self._shown(key) for key in self.wanted.config} if self._installed else {},
        )

    def _shown(self, key: str) -> str | None:
        present = self._present(key)
        return None if present is None else client_config.shown(key, present)

    def _after(self, before: View) -> View:
        if self.wanted.state == "absent":
            return View("absent", None, before.mode, None, {})
        if self.wanted.state == "disabled" and not self._installed:
            return before
        state = {"present": before.state if self._installed else "disabled"}.get(self.wanted.state, self.wanted.state)
        whose = before.token
        if state == "disabled":
            whose = None
        elif self.wanted.state == "enabled" and self.wanted.token is not None:
            whose = "given"
        channel = before.channel
        if self.wanted.channel and self.wanted.state != "disabled":
            channel = self._wanted_channel() if self._channel_differs() or not self._installed else before.channel
        config = {key: client_config.shown(key, text) for key, text in self.wanted.config.items()}
        return View(state, whose, self.wanted.mode or before.mode, channel, config)

    # --- the steps ---

    def _installing_to_enabling(self) -> list[ClientStep]:
        settings = self._settings()
        enabling = self._enabling(settings) if self.wanted.state == "enabled" else []
        self._demand_paid_settings(settings)
        disabling = [step for step in enabling if step.id == "disable"]
        rest = [step for step in enabling if step.id != "disable"]
        if any(step.id in ("enable", "pro_attach", "pro_enable") for step in rest):
            self._demand_eligibility()
        return [*self._installing(), *disabling, *self._configuring(settings, rest)]

    def _installing(self) -> list[ClientStep]:
        if self._installed and not self._channel_differs():
            return []
        steps = []
        snapd = self.facts.snapd
        if not snapd.installed:
            steps.append(ClientStep("snapd", "install snapd: the host has none", "apt"))
        elif snapd.version and version_numbers(snapd.version) < version_numbers(self.snapd_minimum):
            words = f"upgrade snapd: {snapd.version} is older than {self.snapd_minimum}"
            steps.append(ClientStep("snapd", words, "apt"))
        elif snapd.answers is False:
            raise PlanError("snapd_down", "snapd does not answer on the host", "systemctl restart snapd on the host")
        if steps or not (self._installed or snapd.seeded):
            steps.append(ClientStep("seeded", "wait until snapd has set itself up", "snap"))
        channel = self._wanted_channel()
        if self._installed:
            found = self.client.channel
            steps.append(ClientStep("refresh", f"move the snap from channel {found} to {channel}", "snap", channel))
        else:
            of_channel = f" from channel {channel}" if channel else ""
            steps.append(ClientStep("install", f"install the snap canonical-livepatch{of_channel}", "snap", channel))
        return steps

    def _wanted_channel(self) -> str:
        return channel_name(self.wanted.channel) if self.wanted.channel else ""

    def _channel_differs(self) -> bool:
        """An installed snap whose channel the host does not tell is left as it is."""
        present = self.client.channel
        return bool(self._installed and self.wanted.channel and present and present != self._wanted_channel())

    def _configuring(self, settings: list[str], enabling: c.Sequence[ClientStep] = ()) -> list[ClientStep]:
        """Mode, settings, enabling, in the order in which no patch is applied that the task wants held back."""
        first, last = self._modes(needs_daemon=bool(settings or enabling))
        return [*first, *(self._setting(key) for key in settings), *enabling, *last]

    def _setting(self, key: str) -> ClientStep:
        text = self.wanted.config[key]
        if not text:
            words = f"put {key} back to its default {client_config.effective(key, '')!r}"
        else:
            words = f"set {key} to {client_config.shown(key, text)!r}"
            if key == client_config.CERTIFICATES and client_config.SERVER in self.wanted.config:
                words += ", before the server that it is for"
        return ClientStep("config", words, "client", key)

    def _modes(self, *, needs_daemon: bool) -> tuple[list[ClientStep], list[ClientStep]]:
        """What holds patches back goes first; what lets them go, and what stops the daemon, last."""
        present, wanted = self.client.mode, self.wanted.mode
        first: list[ClientStep] = []
        if present == STOP and needs_daemon:
            if wanted is None or wanted == STOP:
                raise _stopped()
            first.append(self._mode(NO_APPLY, "the daemon must run to be configured"))
            present = NO_APPLY
        if wanted is None or wanted == present:
            if self.client.restart_due and not first:
                first.append(self._mode(present or DEFAULT_MODE, "the daemon has not started since it was set"))
            return first, []
        step = self._mode(wanted, f"it is {present}" if present else "what it is could not be read")
        return (first, [step]) if wanted in (DEFAULT_MODE, STOP) else ([*first, step], [])

    @staticmethod
    def _mode(mode: str, reason: str) -> ClientStep:
        return ClientStep("mode", f"set the mode to {mode} and restart the daemon: {reason}", "client", mode)

    def _enabling(self, settings: list[str]) -> list[ClientStep]:
        if self.wanted.via == "pro":
            return self._enabling_by_pro()
        moves = client_config.SERVER in settings and self._present(client_config.SERVER) is not None
        if self._enabled is False:
            self._demand_token("the client is not enabled")
            return [ClientStep("enable", "enable the client with the token", "client")]
        if moves and self._enabled:
            self._demand_token("the client is to be enabled on another server, which knows it not")
            reason = "the server changes, and a machine is enabled on one"
        elif self._token() == "other":
            reason = "it is enabled with another token"
        elif self._enabled is None:
            self._demand_token("whether the client is enabled could not be told")
            reason = "whether it is enabled could not be told"
        else:
            return self._adopting()
        return [
            ClientStep("disable", f"disable the client: {reason}", "client"),
            ClientStep("enable", "enable the client with the token", "client"),
        ]

    def _adopting(self) -> list[ClientStep]:
        """An enabled client without a mark was enabled by somebody else: its token cannot be told, so it stays."""
        if self.wanted.token is None or TOKEN in self.client.marks:
            return []
        words = "note the token: the client is enabled, with which token nobody noted, and is taken to have this one"
        return [ClientStep("adopt", words, "file")]

    def _enabling_by_pro(self) -> list[ClientStep]:
        pro = self.client.pro
        if pro is None or not pro.installed or pro.attached is None:
            raise PlanError(
                "pro_missing",
                "the host has no Ubuntu Pro client that answers `pro status --format json`",
                "install ubuntu-pro-client (ubuntu-advantage-tools 27 or newer), or use `via: livepatch`",
            )
        if not pro.attached:
            if self._enabled and self.wanted.token is None:
                return []
            self._demand_token("the machine is not attached to Ubuntu Pro")
            steps = []
            if self._enabled is not False:
                steps.append(ClientStep("disable", "disable the client: it is not enabled by Ubuntu Pro", "client"))
            return [*steps, ClientStep("pro_attach", "attach the machine to Ubuntu Pro, with Livepatch enabled", "pro")]
        if self._token() == "other":
            raise PlanError(
                "pro_attached_otherwise",
                "the machine is attached to Ubuntu Pro with another token, on which its other services rest, too",
                "run `pro detach` on the host first, if that is meant",
            )
        if self._enabled:
            return self._adopting()
        return [
            ClientStep("pro_enable", "enable Livepatch through Ubuntu Pro, to which the machine is attached", "pro")
        ]

    def _disabling(self) -> list[ClientStep]:
        if self._enabled is False:
            return []
        reason = "the task wants it so" if self._enabled else "whether it is enabled could not be told"
        pro = self.client.pro
        if self.wanted.via == "pro" and pro is not None and pro.attached:
            return [ClientStep("pro_disable", f"disable Livepatch through Ubuntu Pro: {reason}", "pro")]
        return [ClientStep("disable", f"disable the client: {reason}", "client")]

    def _removing(self) -> list[ClientStep]:
        if not self._installed:
            left = self.client.marks or self.client.restart_due
            return [ClientStep("forget", "remove what this collection has left on the host", "file")] if left else []
        if self.facts.snapd.answers is False:
            raise PlanError("snapd_down", "snapd does not answer on the host", "systemctl restart snapd on the host")
        return [ClientStep("remove", "remove the snap canonical-livepatch", "snap")]

    # --- what a plan cannot do without ---

    def _demand_client(self, steps: c.Sequence[ClientStep]) -> None:
        """A client that answers nothing now will do nothing then, unless its daemon is restarted first."""
        error = self.facts.client.error if self.facts.client is not None else None
        first = next((step for step in steps if step.tool == "client"), None)
        if error is None or first is None or first.id == "mode" or error.id not in _HOPELESS:
            return
        if error.id == "daemon_down" and self.client.mode == STOP:
            raise _stopped()
        cause = client_failures.failure(error.id, error.text)
        raise PlanError(cause.id, cause.message, cause.remedy)

    def _demand_token(self, reason: str) -> None:
        if self.wanted.token is None:
            raise PlanError("token_missing", f"{reason}, and the task has no token", "give `token`")

    def _demand_eligibility(self) -> None:
        if not self.wanted.require_eligible:
            return
        checks = [check for check in self.eligibility["checks"] if self._counts(check)]
        failing = [check for check in checks if check["status"] == "fail"]
        unknown = [check for check in checks if check["status"] == "unknown"]
        for cause, found in (("not_eligible", failing), ("eligibility_unknown", unknown)):
            if found:
                words = "; ".join(check["message"] for check in found)
                remedies = "; ".join(dict.fromkeys(check["remedy"] for check in found if check["remedy"]))
                how = "may not have Livepatch" if found is failing else "cannot be known to be eligible"
                raise PlanError(
                    cause,
                    f"the host {how} under the policy {self.eligibility['policy']}: {words}",
                    remedies or "see kernelops.livepatch.eligibility_info, or set require_eligible: false",
                )

    def _counts(self, check: Check) -> bool:
        """The way to the server counts only where another tool's try can tell: as it fails, with nothing to change."""
        if check["id"] == "network":
            ways = (*client_config.PROXIES, client_config.CERTIFICATES, client_config.SERVER)
            return check["status"] == "fail" and not set(ways).intersection(self._settings())
        return check["id"] not in FIXED_BY_CLIENT

    def _demand_paid_settings(self, settings: list[str]) -> None:
        client = self.facts.client
        for key in settings:
            least = client_config.PAID_AND_HOSTED.get(key)
            if least is None or not self.wanted.config[key]:
                continue
            version = version_numbers(client.version) if client else ()
            server = self.wanted.config.get(client_config.SERVER, self._present(client_config.SERVER))
            reason = None
            if version and version < least:
                reason = f"client {client.version if client else ''} is older than {'.'.join(map(str, least))}"
            elif not client_config.same_value(client_config.SERVER, server, HOSTED):
                reason = f"the client's server is not {HOSTED}"
            elif client and client.tier and client.tier not in _PAID_TIERS:
                reason = f"the client's tier is {client.tier}, which is not a paid one"
            if reason:
                raise PlanError(
                    "setting_unavailable",
                    f"config.{key} is for paid subscribers of the hosted service, and {reason}",
                    f"leave {key} out of `config` for this host",
                )

    def _ways(self) -> tuple[str, ...]:
        """What hands the token over, the first choice first."""
        by_socket = self.client.tools if self.wanted.transport != "cli" else ()
        if self.wanted.transport == "socket" and not by_socket:
            raise PlanError(
                "socket_unavailable",
                "the host has neither a curl nor an nc that can speak to the daemon's socket",
                "install curl on the host, or accept the token on a command line: token_transport: cli",
            )
        return by_socket if self.wanted.transport == "socket" else (*by_socket, "cli")


def _stopped() -> PlanError:
    return PlanError(
        "mode_stop",
        "the client's mode is stop: its daemon does not run, and takes no command",
        "set `mode` to normal, or to no-apply to hold patches back",
    )
