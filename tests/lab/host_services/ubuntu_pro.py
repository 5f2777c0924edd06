# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the Ubuntu Pro client of a host does with Livepatch: attach, enable, disable, detach.

A contract token, which begins with C, is no livepatch token: the contracts' server gives one for it, which nobody on
the host is shown.
"""

from __future__ import annotations

import dataclasses
import typing as t

import yaml

from ..hosts.current_host import Present
from ..hosts.description import Description, Pro
from ..livepatch_client.livepatchd import Livepatchd, RefusedError
from ..livepatch_client.server_connection import UnreachableError, route
from .snapd import Snapd, SnapError

CONTRACTS = "https://contracts.canonical.com/v1/context/machines/token"
_INVALID = "Invalid token. See https://ubuntu.com/pro/dashboard"


class ProError(Exception):
    """The Pro client refuses; the text is what it prints."""

    status = 400


class ProService:
    """The Pro client of one host, as far as the double of its command does not answer by itself."""

    def __init__(self, present: Present, snapd: Snapd, livepatchd: Livepatchd, server: str) -> None:
        self._present = present
        self._snapd = snapd
        self._livepatchd = livepatchd
        self._server = server
        self._resource_token = ""

    def attach(self, config: str) -> str:
        """Attach with a configuration of ``token`` and ``enable_services``."""
        host, pro = self._look()
        if pro.attached:
            raise ProError(
                "This machine is already attached to 'lab'\nTo use a different subscription first run: sudo pro detach."
            )
        try:
            said = yaml.safe_load(config)
        except yaml.YAMLError:
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("token"), str):
            raise ProError('Error while reading the attach config: Got value with incorrect type for field\n"token"')
        services = said.get("enable_services", ["livepatch"])
        self._resource_token = self._contract(host, said["token"])
        self._become(attached=True)
        if "livepatch" not in services:
            return "This machine is now attached to 'lab'\n"
        try:
            enabled = self.enable()
        except ProError as error:
            raise ProError(f"{error}\nFailed to enable default services, check: sudo pro status") from error
        return f"{enabled}This machine is now attached to 'lab'\n"

    def enable(self) -> str:
        """Bring the client, and enable it with the token of the contract."""
        host, pro = self._look()
        if not pro.attached:
            raise ProError(
                "To use 'livepatch' you need an Ubuntu Pro subscription\nPersonal and community subscriptions are "
                "available at no charge\nSee https://ubuntu.com/pro"
            )
        conflict = _conflict(host)
        if conflict is not None:
            raise ProError(conflict)
        if host.client is not None and host.client.enabled:
            raise ProError("Livepatch is already enabled.\nSee: sudo pro status")
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
        host, pro = self._look()
        if not pro.attached or host.client is None or not host.client.enabled:
            raise ProError("Livepatch is not currently enabled - to enable it use `pro enable livepatch`.")
        self._livepatchd.disable()
        return ""

    def detach(self) -> str:
        host, pro = self._look()
        if not pro.attached:
            raise ProError("This machine is not attached to an Ubuntu Pro subscription.\nSee https://ubuntu.com/pro")
        if host.client is not None and host.client.enabled:
            self._livepatchd.disable()
        self._become(attached=False)
        self._resource_token = ""
        return "This machine is now detached.\n"

    def _look(self) -> tuple[Description, Pro]:
        host = self._present.look()
        if host.pro is None:
            raise ProError("the lab described no Pro client")
        return host, host.pro

    def _become(self, **changes: t.Any) -> None:
        def become(host: Description) -> Description:
            return dataclasses.replace(host, pro=dataclasses.replace(host.pro or Pro(), **changes))

        self._present.change(become)

    def _contract(self, host: Description, token: str) -> str:
        """Ask the contracts' server for what the token entitles to; return the token for Livepatch."""
        if not token.startswith("C"):
            raise ProError(_INVALID)
        way = route(host, host.client or host.offers, self._present.root, self._server)
        try:
            answer = way.request("POST", CONTRACTS, {"machineId": self._present.machine_id}, token)
        except UnreachableError as error:
            raise ProError(f"Failed to access URL: {CONTRACTS}\n{error}") from error
        given = answer.document.get("resourceToken")
        if answer.status in (401, 403):
            raise ProError(_INVALID)
        if answer.status != 200 or not isinstance(given, str):
            raise ProError(f"Error connecting to {CONTRACTS}: {answer.status}")
        return given


def _conflict(host: Description) -> str | None:
    """Why Pro does not enable Livepatch on such a host."""
    if host.virtualization == "wsl":
        return "Cannot install Livepatch on WSL."
    if host.is_container:
        return "Cannot install Livepatch on a container."
    if host.kernel.preemption == "PREEMPT_RT":
        return "Cannot enable Livepatch when Real-time kernel is enabled."
    if host.kernel.fips and "/etc/apt/sources.list.d/ubuntu-fips-updates.list" not in host.files:
        return "Cannot enable Livepatch when FIPS is enabled."
    return None
