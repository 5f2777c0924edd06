# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Desired and actual client of a host, and the differences between them."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

from .._decisions import causes
from .._errors import LivepatchError
from .._host.client_files import ClientSetup, channel_name
from .._host.client_status import ClientError, stale_platform
from .._host.error_texts.table import find_error
from .._host.facts import HostFacts
from .._text import mask_credentials
from . import client_config

TargetState = t.Literal["present", "enabled", "disabled", "absent"]
Via = t.Literal["livepatch", "pro"]
TokenTransport = t.Literal["auto", "socket", "cli"]

TOKEN = "token"  # noqa: S105  (the name of its fingerprint)
STOP, NO_APPLY = "stop", "no-apply"

# None of these characters has a meaning in a URL, in JSON or in a shell.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{4,512}")
_LIVEPATCH_TOKEN = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PRO_TOKEN = re.compile(r"C[0-9A-Za-z]{20,63}")
_PATH = re.compile(r"/[^\x00-\x1f\x7f]{1,1000}[^/\x00-\x1f\x7f]")
_SUFFIXES = {"snap_file": "snap", "snap_assertion": "assert"}


@dataclasses.dataclass(frozen=True, slots=True)
class DesiredClient:
    """The client that a task asks for. `config` is the result of `client_config.parse_config`."""

    state: TargetState = "enabled"
    token: str | None = None
    transport: TokenTransport = "auto"
    config: c.Mapping[str, str] = dataclasses.field(default_factory=dict)
    mode: str | None = None
    channel: str | None = None
    via: Via = "livepatch"
    require_eligible: bool = True
    reinstall: bool = False
    snap_file: str | None = None
    snap_assertion: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ClientSnapshot:
    """The client before or after a plan, without secrets.

    `state` is ``absent``, ``disabled``, ``enabled`` or ``unknown``. `token` is the token that the client is enabled
    with: ``given`` (that of the task), ``other``, ``unknown``, or None if the client is not enabled.
    """

    state: str
    token: str | None
    mode: str | None
    channel: str | None
    config: c.Mapping[str, str | None]

    def as_dict(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "config": dict(self.config)}


def check_token(token: str | None, via: Via) -> None:
    """Check the form of a token. Raises `LivepatchError`."""
    if token is None:
        return
    if not _TOKEN.fullmatch(token):
        raise LivepatchError(
            "token_malformed",
            "the token is too short or contains invalid characters, such as a space or a line break",
            "set `token` to the token alone; remove surrounding white space with `| trim`",
        )
    if via == "livepatch" and _PRO_TOKEN.fullmatch(token) and not _LIVEPATCH_TOKEN.fullmatch(token):
        raise LivepatchError(
            "token_is_pro",
            "the token is an Ubuntu Pro token (it begins with C), which the Livepatch client does not accept",
            "use `via: pro`, or set `token` to a Livepatch token",
        )
    if via == "pro" and _LIVEPATCH_TOKEN.fullmatch(token):
        raise LivepatchError(
            "token_is_livepatch",
            "the token is a Livepatch token, which cannot attach a machine to Ubuntu Pro",
            "use `via: livepatch`, or set `token` to a Pro token (it begins with C)",
        )


def check_snap_files(desired: DesiredClient) -> None:
    """Check the files from which the snap is installed. Raises `LivepatchError`."""
    for option, path in (("snap_file", desired.snap_file), ("snap_assertion", desired.snap_assertion)):
        if path is not None and not _PATH.fullmatch(path):
            raise LivepatchError(
                "snap_file_invalid",
                f"{option} is not an absolute path of a file on the host",
                f"set `{option}` to a path such as /var/tmp/canonical-livepatch_282.{_SUFFIXES[option]}",
            )
    if desired.snap_assertion is not None and desired.snap_file is None:
        raise LivepatchError(
            "snap_file_invalid",
            "snap_assertion is set without the snap that it belongs to",
            "set `snap_file` to the path of the snap on the host",
        )
    if desired.snap_file is not None and desired.channel is not None:
        raise LivepatchError(
            "snap_file_invalid",
            "a snap from a file does not follow a channel, but the task sets channel and snap_file",
            "remove `channel` or `snap_file`",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class ClientComparison:
    """The desired client, and the facts and the setup of the actual one."""

    desired: DesiredClient
    facts: HostFacts
    setup: ClientSetup

    @property
    def installed(self) -> bool:
        return self.facts.client_installed is True

    @property
    def present(self) -> bool:
        """True if the snap is installed, also if it is disabled and its client cannot be asked."""
        return self.installed or self.setup.snap_disabled

    @property
    def enabled(self) -> bool | None:
        """The client's own report; without one, whether its machine-token exists (exactly while it is enabled)."""
        reported = self.facts.client.enabled if self.facts.client is not None else None
        if not self.present:
            return False
        return reported if reported is not None else self.setup.registered

    @property
    def client_error(self) -> ClientError | None:
        """The reason why the client reports no status."""
        return self.facts.client.error if self.facts.client is not None else None

    @property
    def is_stale(self) -> bool:
        """True if the client refuses the host because it takes it for another release."""
        error = self.client_error
        return error is not None and self._is_stale_refusal(error.id, error.text)

    def client_failure(self) -> LivepatchError | None:
        """Return why the installed client does not work, by its output, its mode and its log; None if it works."""
        error = self.client_error
        if error is None or not self.installed:
            return None
        if self.is_stale:
            return causes.PLATFORM_STALE.error(error.text)
        if error.id != "daemon_down":
            return causes.CLIENT_ERRORS[error.id].error(error.text)
        if self.setup.kernel_mode == STOP:
            return causes.MODE_ON_COMMAND_LINE.error(mode=STOP, conflict=", so its daemon does not run")
        if self.setup.mode == STOP:
            return causes.MODE_STOP.error()
        return self._logged_failure() or causes.DAEMON_DOWN.error(next(reversed(self.facts.client_log), error.text))

    def _logged_failure(self) -> LivepatchError | None:
        """Return the reason for which the daemon ended, if its log has it."""
        for line in reversed(self.facts.client_log):
            found = find_error("client", line, status=True)
            if found is not None and found[0].id != "daemon_down":
                stale = self._is_stale_refusal(found[0].id, line)
                return (causes.PLATFORM_STALE if stale else causes.CLIENT_ERRORS[found[0].id]).error(line)
        return None

    def _is_stale_refusal(self, identifier: str, text: str) -> bool:
        """Return True if a refusal names another release, or only the one that the host has."""
        release = self.facts.release
        only_this = release is not None and f"only ubuntu {release}" in text.lower()
        return identifier == "platform_unsupported" and (stale_platform(text, release) or only_this)

    @property
    def enabled_with(self) -> str | None:
        """The token of the enabled client: ``given``, ``other``, ``unknown``, or None as in `ClientSnapshot`."""
        if self.enabled is False:
            return None
        fingerprint = self.setup.fingerprints.get(TOKEN)
        if fingerprint is None or self.desired.token is None:
            return "unknown"
        return "given" if fingerprint.matches(self.desired.token) else "other"

    @property
    def attached_to_pro(self) -> bool:
        return self.setup.pro is not None and self.setup.pro.attached is True

    @property
    def desired_channel(self) -> str:
        return channel_name(self.desired.channel) if self.desired.channel else ""

    @property
    def channel_differs(self) -> bool:
        """True if the installed snap tracks another channel. A snap whose channel is unknown is left unchanged."""
        actual = self.setup.channel
        return bool(self.installed and self.desired.channel and actual and actual != self.desired_channel)

    def setting(self, key: str) -> str | None:
        """Return a setting of the actual client, None if the settings could not be read."""
        return None if self.facts.config is None else self.facts.config.get(key, "")

    def differing_settings(self) -> list[str]:
        """Return the settings to change, in the order in which the client must receive them.

        A stopped client that is to stay stopped cannot report its settings. They are left unchanged.
        """
        if self.setup.effective_mode == STOP == self.desired.mode and self.facts.config is None:
            return []
        return [key for key, text in self.desired.config.items() if not self._has_setting(key, text)]

    def _has_setting(self, key: str, text: str) -> bool:
        actual = self.setting(key)
        if not self.installed:
            return client_config.effective(key, text) == client_config.effective(key, "")
        if actual is None or not client_config.same_value(key, actual, text):
            return False
        if not client_config.holds_secret(key, text):
            # Hosts mask credentials: a URL with a password differs from the same URL without one.
            return mask_credentials(actual) == actual
        fingerprint = self.setup.fingerprints.get(key)
        return fingerprint is not None and fingerprint.matches(text)

    def before(self) -> ClientSnapshot:
        """Return the actual client, with the settings and the channel that the task names."""
        enabled = {True: "enabled", False: "disabled", None: "unknown"}[self.enabled]
        return ClientSnapshot(
            state=enabled if self.present else "absent",
            token=self.enabled_with,
            mode=self.setup.effective_mode,
            channel=self.setup.channel if self.desired.channel else None,
            config={key: self._masked_setting(key) for key in self.desired.config} if self.installed else {},
        )

    def _masked_setting(self, key: str) -> str | None:
        actual = self.setting(key)
        return None if actual is None else client_config.masked(key, actual)

    def after(self) -> ClientSnapshot:
        """Return the client as it is after all differences are removed."""
        before, desired = self.before(), self.desired
        if desired.state == "absent":
            return ClientSnapshot("absent", None, before.mode, None, {})
        if desired.state == "disabled" and not self.present:
            return before
        state = {"present": before.state if self.present else "disabled"}.get(desired.state, desired.state)
        enabled_with = before.token
        if state == "disabled":
            enabled_with = None
        elif desired.state == "enabled" and desired.token is not None:
            enabled_with = "given"
        channel = before.channel
        if desired.channel and desired.state != "disabled" and (self.channel_differs or not self.installed):
            channel = self.desired_channel
        config = {key: client_config.masked(key, text) for key, text in desired.config.items()}
        return ClientSnapshot(state, enabled_with, desired.mode or before.mode, channel, config)
