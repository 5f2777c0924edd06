# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The Ubuntu Pro client of a host, for Livepatch: attach, enable, disable, detach.

A contract token begins with C and is not a livepatch token: the contracts server exchanges it for one, which no command
of the host shows.
"""

from __future__ import annotations

import dataclasses
import typing as t

import yaml

from ..hosts.current_host import CurrentHost
from ..hosts.description import Description, Pro
from ..livepatch_client.livepatchd import Livepatchd, RefusedError
from ..livepatch_client.server_connection import UnreachableError, host_network
from .snapd import Snapd, SnapError

CONTRACTS = "https://contracts.canonical.com/v1/context/machines/token"
_INVALID = "Invalid token. See https://ubuntu.com/pro/dashboard"


class ProError(Exception):
    """The Pro client refuses; the text is what it prints."""

    status = 400


class ProService:
    """The Pro client of one host: the operations that the double of its command does not perform itself."""

    def __init__(self, current: CurrentHost, snapd: Snapd, livepatchd: Livepatchd, server: str) -> None:
        self._current = current
        self._snapd = snapd
        self._livepatchd = livepatchd
        self._server = server
        self._resource_token = ""

    def attach(self, config: str) -> str:
        """Attach with a configuration of ``token`` and ``enable_services``."""
        host, pro = self._state()
        if pro.attached:
            raise ProError(
                "This machine is already attached to 'lab'\nTo use a different subscription first run: sudo pro detach."
            )
        try:
            settings = yaml.safe_load(config)
        except yaml.YAMLError:
            settings = None
        if not isinstance(settings, dict) or not isinstance(settings.get("token"), str):
            raise ProError('Error while reading the attach config: Got value with incorrect type for field\n"token"')
        services = settings.get("enable_services", ["livepatch"])
        self._resource_token = self._contract(host, settings["token"])
        self._update(attached=True)
        if "livepatch" not in services:
            return "This machine is now attached to 'lab'\n"
        try:
            enabled = self.enable()
        except ProError as error:
            raise ProError(f"{error}\nFailed to enable default services, check: sudo pro status") from error
        return f"{enabled}This machine is now attached to 'lab'\n"

    def enable(self) -> str:
        """Install the client if necessary, and enable it with the token of the contract."""
        host, pro = self._state()
        if not pro.attached:
            raise ProError(
                "To use 'livepatch' you need an Ubuntu Pro subscription\nPersonal and community subscriptions are "
                "available at no charge\nSee https://ubuntu.com/pro"
            )
        conflict = _conflict(host)
        if conflict is not None:
            raise ProError(conflict)
        if host.client is not None and host.client.enabled:
            raise ProError(
                "Livepatch is already enabled - nothing to do.\nSee: sudo pro status\nCould not enable Livepatch."
            )
        try:
            if host.client is None:
                self._snapd.install("")
            self._livepatchd.enable(self._resource_token)
        except SnapError as error:
            raise ProError(f"Unable to install Livepatch client: error: {error}") from error
        except RefusedError as error:
            raise ProError(f"Unable to enable Livepatch: {error}") from error
        return "One moment, checking your subscription first\nCanonical Livepatch enabled\n"

    def disable(self) -> str:
        host, pro = self._state()
        if not pro.attached or host.client is None or not host.client.enabled:
            raise ProError("Livepatch is not currently enabled - to enable it use `pro enable livepatch`.")
        self._livepatchd.disable()
        return ""

    def detach(self) -> str:
        host, pro = self._state()
        if not pro.attached:
            raise ProError("This machine is not attached to an Ubuntu Pro subscription.\nSee https://ubuntu.com/pro")
        if host.client is not None and host.client.enabled:
            self._livepatchd.disable()
        self._update(attached=False)
        self._resource_token = ""
        return "This machine is now detached.\n"

    def _state(self) -> tuple[Description, Pro]:
        host = self._current.describe()
        if host.pro is None:
            raise ProError("the description of this host has no Pro client")
        return host, host.pro

    def _update(self, **changes: t.Any) -> None:
        def update(host: Description) -> Description:
            return dataclasses.replace(host, pro=dataclasses.replace(host.pro or Pro(), **changes))

        self._current.change(update)

    def _contract(self, host: Description, token: str) -> str:
        """Exchange a contract token at the contracts server; return the token for Livepatch."""
        if not token.startswith("C"):
            raise ProError(_INVALID)
        network = host_network(host, host.client or host.offers, self._current.root, self._server)
        try:
            answer = network.request("POST", CONTRACTS, {"machineId": self._current.machine_id}, token)
        except UnreachableError as error:
            raise ProError(f"Failed to access URL: {CONTRACTS}\n{error}") from error
        given = answer.document.get("resourceToken")
        if answer.status in (401, 403):
            raise ProError(_INVALID)
        if answer.status != 200 or not isinstance(given, str):
            raise ProError(f"Error connecting to {CONTRACTS}: {answer.status}")
        return given


def _conflict(host: Description) -> str | None:
    """Return the reason for which Pro does not enable Livepatch on a host, or None."""
    if host.virtualization == "wsl":
        return "Cannot install Livepatch on WSL."
    if host.is_container:
        return "Cannot install Livepatch on a container."
    if host.kernel.preemption == "PREEMPT_RT":
        return "Cannot enable Livepatch when Real-time kernel is enabled."
    if host.kernel.fips and "/etc/apt/sources.list.d/ubuntu-fips-updates.list" not in host.files:
        return "Cannot enable Livepatch when FIPS is enabled."
    return None
