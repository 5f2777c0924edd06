# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""systemd of one host, for the unit of the livepatch daemon: start, stop, restart, and the limit of starts.

The unit has ``Restart=always``, and systemd allows five starts in ten seconds. A daemon that ends at once uses them up,
and the unit fails with the result ``start-limit-hit``. Then no start succeeds before the ten seconds are over or
``systemctl reset-failed``. In the lab the ten seconds never end, so that no test depends on its speed.
"""

from __future__ import annotations

from ..hosts.current_host import CurrentHost
from ..hosts.description import Client
from ..hosts.file_tree import SERVICE
from ..livepatch_client.livepatchd import Livepatchd

_TOO_OFTEN = f"""\
Job for {SERVICE} failed because start of the service was attempted too often.
See "systemctl status {SERVICE}" and "journalctl -xeu {SERVICE}" for details.
To force a start use "systemctl reset-failed {SERVICE}"
followed by "systemctl start {SERVICE}" again."""
_LIMIT_IN_JOURNAL = (
    "Scheduled restart job, restart counter is at 5.",
    "Start request repeated too quickly.",
    "Failed with result 'start-limit-hit'.",
)


class UnitError(Exception):
    """systemctl refuses; the text is what it prints, and the status stands for its exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
        self.status = {1: 400, 5: 404}[code]


class ClientUnit:
    """The unit of the livepatch daemon of one host."""

    def __init__(self, current: CurrentHost, livepatchd: Livepatchd) -> None:
        self._current = current
        self._livepatchd = livepatchd

    def start(self) -> str:
        client = self._loaded(f"Failed to start {SERVICE}: Unit {SERVICE} not found.", 5)
        if client.running:
            return ""
        if client.start_limited:
            raise UnitError(_TOO_OFTEN, 1)
        if not self._livepatchd.start():
            for line in _LIMIT_IN_JOURNAL:
                self._livepatchd.log(f"{SERVICE}: {line}", "systemd[1]")
            self._current.change_client(start_limited=True)
        return ""

    def stop(self) -> str:
        """Stop the daemon. A unit that has failed remains in this state."""
        self._loaded(f"Failed to stop {SERVICE}: Unit {SERVICE} not loaded.", 5)
        self._livepatchd.stop()
        return ""

    def restart(self) -> str:
        self._loaded(f"Failed to restart {SERVICE}: Unit {SERVICE} not found.", 5)
        self._livepatchd.stop()
        return self.start()

    def reset_failed(self) -> str:
        self._loaded(f"Failed to reset failed state of unit {SERVICE}: Unit {SERVICE} not loaded.", 1)
        self._current.change_client(start_limited=False)
        return ""

    def _loaded(self, otherwise: str, code: int) -> Client:
        """Return the client of the unit. Raises `UnitError` if the host has no such unit."""
        client = self._current.describe().client
        if client is None or client.snap_disabled:
            raise UnitError(otherwise, code)
        return client
