# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""snapd of one host, for the only snap of the lab, canonical-livepatch: install, refresh, remove, enable, start."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from ..hosts import description
from ..hosts.current_host import CurrentHost
from ..hosts.description import Client, Description
from ..hosts.file_tree import SERVICE, loaded_module
from ..livepatch_client.settings import HOSTED
from .units import ClientUnit, UnitError

NAME = "canonical-livepatch"
_APP = "canonical-livepatchd"
ARCHIVED = "2.61.3"
"""The version of snapd in the archive that apt-get installs from."""
_RISKS = ("stable", "candidate", "beta", "edge")
_STORE = (
    f'cannot install "{NAME}": Post\n'
    '       "https://api.snapcraft.io/v2/snaps/refresh": dial tcp: lookup\n'
    "       api.snapcraft.io on 127.0.0.53:53: no such host"
)


class SnapError(Exception):
    """snapd refuses; the text is what the snap command prints after ``error: ``."""

    status = 400


class Snapd:
    """The snap daemon of one host: the operations that the double of the snap command does not perform itself."""

    def __init__(self, current: CurrentHost, unit: ClientUnit) -> None:
        self._current = current
        self._unit = unit

    def install(self, channel: str) -> str:
        host = self._current.describe()
        if host.client is not None:
            return f"snap \"{NAME}\" is already installed, see 'snap help refresh'\n"
        if host.snapd is None or _version(host.snapd.version) < (2, 15):
            raise SnapError(f'snap "{NAME}" assumes unsupported features: snapd2.15 (try to upgrade snapd)')
        followed = _channel(channel or "stable")
        if not host.snapd.store or not host.network:
            raise SnapError(_STORE)

        starts = host.offers.trouble != "apparmor" and not host.offers.refuses_kernel

        def update(host: Description) -> Description:
            settings = {"remote-server": HOSTED, **host.offers.settings}
            client = dataclasses.replace(host.offers, enabled=False, channel=followed, settings=settings)
            return dataclasses.replace(host, client=dataclasses.replace(client, running=client.running and not starts))

        client = self._current.change(update).client or Client()
        if starts:
            self._unit.start()
        return f"{NAME}{_risk(followed)} {client.version} from Canonical✓ installed\n"

    def refresh(self, channel: str) -> str:
        host = self._current.describe()
        if host.client is None:
            raise SnapError(f'snap "{NAME}" is not installed')
        if host.client.snap_disabled:
            raise SnapError(f'cannot refresh "{NAME}": refreshing disabled snap\n       "{NAME}" not supported')
        followed = _channel(channel) if channel else host.client.channel
        if host.snapd is None or not host.snapd.store or not host.network:
            raise SnapError(_STORE.replace("install", "refresh"))
        if followed == host.client.channel:
            return f'snap "{NAME}" has no updates available\n'
        self._current.change_client(channel=followed)
        return f"{NAME}{_risk(followed)} {host.client.version} from Canonical✓ refreshed\n"

    def remove(self) -> str:
        """Remove the snap with its data, including the machine-token; the seat at the server stays in use."""
        host = self._current.describe()
        if host.client is None:
            return f'snap "{NAME}" is not installed\n'

        def update(host: Description) -> Description:
            return dataclasses.replace(host, client=None, module=loaded_module(host) or host.module)

        self._current.change(update)
        return f"{NAME} removed\n"

    def enable(self) -> str:
        """Bring back the command, and the unit with a new count of starts."""
        self._changeable("enable")
        self._current.change_client(snap_disabled=False, start_limited=False)
        self._control("enable", "start", self._unit.start)
        return f"{NAME} enabled\n"

    def disable(self) -> str:
        self._changeable("disable")
        self._unit.stop()
        self._current.change_client(snap_disabled=True)
        return f"{NAME} disabled\n"

    def restart(self, name: str) -> str:
        """Restart the services of a snap that are active, or a service by its own name."""
        client = self._named(name)
        if client.running or name != NAME:
            self._control("restart", "stop", self._unit.stop)
            self._control("restart", "start", self._unit.start)
        return "Restarted.\n"

    def start(self, name: str, enable: str = "") -> str:
        self._named(name)
        if enable:
            self._current.change_client(service_enabled=True)
        self._control("start", "start", self._unit.start)
        return "Started.\n"

    def stop(self, name: str, disable: str = "") -> str:
        """Stop the services of a snap. A disabled snap has none that run."""
        if not self._named(name).snap_disabled:
            self._unit.stop()
        if disable:
            self._current.change_client(service_enabled=False)
        return "Stopped.\n"

    def upgrade(self) -> str:
        """Run ``apt-get install snapd``: install the version of the archive unless it is installed."""
        host = self._current.describe()
        old = host.snapd
        if old is not None and _version(old.version) >= _version(ARCHIVED):
            return f"snapd is already the newest version ({old.version}).\n"

        def update(host: Description) -> Description:
            snapd = dataclasses.replace(host.snapd or description.Snapd(), version=ARCHIVED, running=True)
            return dataclasses.replace(host, snapd=snapd)

        self._current.change(update)
        if old is None:
            self._current.add_command("snap")
        return f"Setting up snapd ({ARCHIVED}) ...\n"

    def _named(self, name: str) -> Client:
        """Return the client, if this is the name of its snap or of its service."""
        snap, _dot, app = name.partition(".")
        client = self._current.describe().client
        if client is None and not app:
            raise SnapError(f'snap "{snap}" not found')
        if client is None or app not in ("", _APP):
            raise SnapError(f'snap "{snap}" has no service "{app}"')
        return client

    def _changeable(self, verb: str) -> None:
        client = self._current.describe().client
        if client is None:
            raise SnapError(f'snap "{NAME}" is not installed')
        if client.snap_disabled is (verb == "disable"):
            raise SnapError(f'cannot {verb} "{NAME}": snap "{NAME}" already\n       {verb}d')

    def _control(self, command: str, verb: str, act: Callable[[], str]) -> None:
        """Let systemd start or stop the service, and fail as the task of a change."""
        try:
            act()
        except UnitError as error:
            raise SnapError(
                f'cannot perform the following tasks:\n- Run service command "{command}" for services ["{_APP}"] of'
                f' snap "{NAME}" (systemctl command [{verb} {SERVICE}] failed with exit status {error.code}: {error}\n)'
            ) from error


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _channel(name: str) -> str:
    """Return the full name of a channel: ``latest/stable`` for ``stable``."""
    track, _slash, risk = name.rpartition("/")
    if track not in ("", "latest") or risk not in _RISKS:
        raise SnapError(f'snap "{NAME}" is not available on {name} but is available to install on: latest/stable')
    return f"latest/{risk}"


def _risk(channel: str) -> str:
    risk = channel.rpartition("/")[2]
    return "" if risk == "stable" else f" ({risk})"
