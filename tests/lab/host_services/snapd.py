# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What snapd does with the one snap of the lab, canonical-livepatch: install, refresh, remove, start and stop."""

from __future__ import annotations

import dataclasses
import re

from ..hosts import description
from ..hosts.current_host import Present
from ..hosts.description import Client, Description
from ..hosts.file_tree import loaded_module
from ..livepatch_client.livepatchd import Livepatchd
from ..livepatch_client.settings import HOSTED

NAME = "canonical-livepatch"
ARCHIVED = "2.61.3"
"""The version of snapd in the archive that apt-get installs from."""
_RISKS = ("stable", "candidate", "beta", "edge")
_STORE = (
    f'cannot install "{NAME}": Post https://api.snapcraft.io/v2/snaps/refresh:\n'
    "       dial tcp: lookup api.snapcraft.io: no such host"
)


class SnapError(Exception):
    """snapd refuses; the text is what the snap command prints after ``error: ``."""

    status = 400


class Snapd:
    """The snap daemon of one host, as far as the double of the snap command does not answer by itself."""

    def __init__(self, present: Present, livepatchd: Livepatchd) -> None:
        self._present = present
        self._livepatchd = livepatchd

    def install(self, channel: str) -> str:
        host = self._present.look()
        if host.client is not None:
            return f"snap \"{NAME}\" is already installed, see 'snap help refresh'\n"
        if host.snapd is None or _version(host.snapd.version) < (2, 15):
            raise SnapError(f'snap "{NAME}" assumes unsupported features: snapd2.15 (try to upgrade snapd)')
        followed = _channel(channel or "stable")
        if not host.snapd.store or not host.network:
            raise SnapError(_STORE)

        def become(host: Description) -> Description:
            settings = {"remote-server": HOSTED, **host.offers.settings}
            client = dataclasses.replace(host.offers, enabled=False, channel=followed, settings=settings)
            return dataclasses.replace(host, client=client)

        client = self._present.change(become).client or Client()
        if client.trouble != "apparmor" and not client.refuses_kernel:
            self._livepatchd.start()
        return f"{NAME}{_risk(followed)} {client.version} from Canonical✓ installed\n"

    def refresh(self, channel: str) -> str:
        host = self._present.look()
        if host.client is None:
            raise SnapError(f'snap "{NAME}" is not installed')
        followed = _channel(channel) if channel else host.client.channel
        if host.snapd is None or not host.snapd.store or not host.network:
            raise SnapError(_STORE.replace("install", "refresh"))
        if followed == host.client.channel:
            return f'snap "{NAME}" has no updates available\n'

        def become(host: Description) -> Description:
            if host.client is None:
                return host
            return dataclasses.replace(host, client=dataclasses.replace(host.client, channel=followed))

        self._present.change(become)
        return f"{NAME}{_risk(followed)} {host.client.version} from Canonical✓ refreshed\n"

    def remove(self) -> str:
        """Remove the snap with its data: the machine-token goes, the seat at the server stays taken."""
        host = self._present.look()
        if host.client is None:
            return f'snap "{NAME}" is not installed\n'

        def become(host: Description) -> Description:
            return dataclasses.replace(host, client=None, module=loaded_module(host) or host.module)

        self._present.change(become)
        return f"{NAME} removed\n"

    def restart(self) -> str:
        self._need()
        self._livepatchd.start()
        return "Restarted.\n"

    def start(self) -> str:
        if not self._need().running:
            self._livepatchd.start()
        return "Started.\n"

    def stop(self) -> str:
        self._need()
        self._livepatchd.stop()
        return "Stopped.\n"

    def upgrade(self) -> str:
        """What ``apt-get install snapd`` does: the archive's version comes, unless it is here."""
        host = self._present.look()
        old = host.snapd
        if old is not None and _version(old.version) >= _version(ARCHIVED):
            return f"snapd is already the newest version ({old.version}).\n"

        def become(host: Description) -> Description:
            snapd = dataclasses.replace(host.snapd or description.Snapd(), version=ARCHIVED, running=True)
            return dataclasses.replace(host, snapd=snapd)

        self._present.change(become)
        if old is None:
            self._present.add_command("snap")
        return f"Setting up snapd ({ARCHIVED}) ...\n"

    def _need(self) -> Client:
        client = self._present.look().client
        if client is None:
            raise SnapError(f'snap "{NAME}" not found')
        return client


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _channel(said: str) -> str:
    """The full name of a channel: ``stable`` is ``latest/stable``."""
    track, _slash, risk = said.rpartition("/")
    if track not in ("", "latest") or risk not in _RISKS:
        raise SnapError(f'snap "{NAME}" is not available on {said} but is available to install on: latest/stable')
    return f"latest/{risk}"


def _risk(channel: str) -> str:
    risk = channel.rpartition("/")[2]
    return "" if risk == "stable" else f" ({risk})"
