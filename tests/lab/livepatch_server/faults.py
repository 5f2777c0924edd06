# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Faults on demand: the kind of misbehaviour, the requests that it affects, and the number of times."""

from __future__ import annotations

import json
import secrets
import threading
import typing as t
from collections.abc import Mapping
from pathlib import Path

Fault: t.TypeAlias = "dict[str, t.Any]"
"""The affected requests, and one or more kinds of misbehaviour.

``path`` (a prefix, by default every path), ``method`` (by default any), ``count`` (only the first requests).

``status``: answer with this status. ``delay_ms``: wait first. ``reset``: true, reset the connection instead of an
answer. ``slow``: bytes of the body per second. ``cut``: close the connection after this number of bytes of the body.
``length``: added to the announced length. ``spoil``: true, flip a bit of the body. ``ranges``: false, ignore requests
for a range. ``hash``: true, name a wrong SHA-256 in the answer to a check. ``supported``: support status of any kernel.

For the connection, without path and method: ``refuse``: true, refuse connections. ``certificate``: use a wrong one,
``stranger`` (of an untrusted authority), ``misnamed`` or ``expired``.
"""

_PLACE = {"path", "method", "count"}
_ANSWER = {"status", "delay_ms", "reset", "slow", "cut", "length", "spoil", "ranges", "hash", "supported"}
_CONNECTION = {"refuse", "certificate"}
CERTIFICATES = ("stranger", "misnamed", "expired")


def write_faults(folder: Path, faults: list[Fault]) -> None:
    """Replace the faults of the server of a folder. Raises `ValueError` for unknown ones."""
    for fault in faults:
        _check(fault)
    path = folder / "faults.json"
    part = path.with_suffix(".part")
    # Each call restarts the counts, also for the same faults.
    part.write_text(json.dumps({"setting": secrets.token_hex(8), "faults": faults}), encoding="utf-8")
    part.replace(path)


def _check(fault: Fault) -> None:
    kinds = set(fault) - _PLACE
    unknown = kinds - _ANSWER - _CONNECTION
    if unknown or not kinds:
        raise ValueError(f"{fault} is not a fault" + (f": {', '.join(sorted(unknown))} is unknown" if unknown else ""))
    if kinds & _CONNECTION and (kinds - _CONNECTION or {"path", "method"} & set(fault)):
        raise ValueError(f"{fault} mixes faults of a connection with those of requests: use two faults")
    if "refuse" in fault and "count" in fault:
        raise ValueError(f"{fault} cannot count refused connections")
    if fault.get("certificate", CERTIFICATES[0]) not in CERTIFICATES:
        raise ValueError(f"{fault} names an unknown certificate")


class Faults:
    """The faults of a server: reads ``faults.json`` at every request, and counts."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faults.json"
        self._lock = threading.Lock()
        self._setting = ""
        self._times: dict[int, int] = {}

    def of_request(self, method: str, path: str) -> Fault:
        """Return the fault of this request; of two matching faults, the later one applies."""
        return self._take(
            lambda fault: (
                bool(set(fault) & _ANSWER)
                and path.startswith(fault.get("path", "/"))
                and fault.get("method", method) == method
            )
        )

    def of_connection(self) -> Fault:
        """Return the fault of this connection, before any request."""
        return self._take(lambda fault: "certificate" in fault)

    def refuses(self) -> bool:
        """Return True if connections are refused now."""
        with self._lock:
            return any(fault.get("refuse") for fault in self._read())

    def _take(self, matches: t.Callable[[Fault], bool]) -> Fault:
        taken: Fault = {}
        with self._lock:
            for index, fault in enumerate(self._read()):
                if not matches(fault) or self._times.get(index, 0) >= fault.get("count", float("inf")):
                    continue
                self._times[index] = self._times.get(index, 0) + 1
                taken |= {key: value for key, value in fault.items() if key not in _PLACE}
        return taken

    def _read(self) -> list[Fault]:
        try:
            stored: Mapping[str, t.Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        if stored["setting"] != self._setting:
            self._setting, self._times = stored["setting"], {}
        faults: list[Fault] = stored["faults"]
        return faults
