# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""snapd of one host, for the only snap of the lab, canonical-livepatch: install, refresh, remove, start, stop."""

from __future__ import annotations

import dataclasses
import re

from ..hosts import description
from ..hosts.current_host import CurrentHost
from ..hosts.description import Client, Description
from ..hosts.file_tree import loaded_module
from ..livepatch_client.livepatchd import Livepatchd
from ..livepatch_client.settings import HOSTED

NAME = "canonical-livepatch"
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

    def __init__(self, current: CurrentHost, livepatchd: Livepatchd) -> None:
        self._current = current
        self._livepatchd = livepatchd

    def install(self, channel: str) -> str:
        host = self._current.describe()
        if host.client is not None:
            return f"snap \"{NAME}\" is already installed, see 'snap help refresh'\n"
        if host.snapd is None or _version(host.snapd.version) < (2, 15):
            raise SnapError(f'snap "{NAME}" assumes unsupported features: snapd2.15 (try to upgrade snapd)')
        followed = _channel(channel or "stable")
        if not host.snapd.store or not host.network:
            raise SnapError(_STORE)

        def update(host: Description) -> Description:
            settings = {"remote-server": HOSTED, **host.offers.settings}
            client = dataclasses.replace(host.offers, enabled=False, channel=followed, settings=settings)
            return dataclasses.replace(host, client=client)

        client = self._current.change(update).client or Client()
        if client.trouble != "apparmor" and not client.refuses_kernel:
            self._livepatchd.start()
        return f"{NAME}{_risk(followed)} {client.version} from Canonical✓ installed\n"

    def refresh(self, channel: str) -> str:
        host = self._current.describe()
        if host.client is None:
            raise SnapError(f'snap "{NAME}" is not installed')
        followed = _channel(channel) if channel else host.client.channel
        if host.snapd is None or not host.snapd.store or not host.network:
            raise SnapError(_STORE.replace("install", "refresh"))
        if followed == host.client.channel:
            return f'snap "{NAME}" has no updates available\n'

        def update(host: Description) -> Description:
            if host.client is None:
                return host
            return dataclasses.replace(host, client=dataclasses.replace(host.client, channel=followed))

        self._current.change(update)
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

    def restart(self) -> str:
        self._installed_client()
        self._livepatchd.start()
        return "Restarted.\n"

    def start(self) -> str:
        if not self._installed_client().running:
            self._livepatchd.start()
        return "Started.\n"

    def stop(self) -> str:
        self._installed_client()
        self._livepatchd.stop()
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

    def _installed_client(self) -> Client:
        client = self._current.describe().client
        if client is None:
            raise SnapError(f'snap "{NAME}" not found')
        return client


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
