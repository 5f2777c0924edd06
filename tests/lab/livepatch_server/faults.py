# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Faults on demand: what the server does wrong, where, and how often."""

from __future__ import annotations

import json
import secrets
import threading
import typing as t
from collections.abc import Mapping
from pathlib import Path

Fault: t.TypeAlias = "dict[str, t.Any]"
"""Where and how often, and one or more things that go wrong.

``path`` (a prefix, by default every path), ``method`` (by default any), ``count`` (only the first so many times).

``status``: answer with it. ``delay_ms``: wait first. ``reset``: true, reset the connection in place of an answer.
``slow``: bytes a second of the body. ``cut``: end the connection after so many bytes of the body. ``length``: this
much is added to the announced length. ``spoil``: true, flip a bit of the body. ``ranges``: false, send all to whoever
asks for a part. ``hash``: true, name a wrong SHA-256 in the reply to a check. ``supported``: the word for any kernel.

Of the connection itself, so without path and method: ``refuse``: true, refuse to connect. ``certificate``: a wrong
one, ``stranger`` (of an authority that nobody knows), ``misnamed`` or ``expired``.
"""

_PLACE = {"path", "method", "count"}
_ANSWER = {"status", "delay_ms", "reset", "slow", "cut", "length", "spoil", "ranges", "hash", "supported"}
_CONNECTION = {"refuse", "certificate"}
CERTIFICATES = ("stranger", "misnamed", "expired")


def write_faults(folder: Path, faults: list[Fault]) -> None:
    """Set the faults of the server of a folder, in place of those that it had. Raises `ValueError` for unknown ones."""
    for fault in faults:
        _check(fault)
    path = folder / "faults.json"
    part = path.with_suffix(".part")
    # A count begins anew with every setting, also of the same faults.
    part.write_text(json.dumps({"setting": secrets.token_hex(8), "faults": faults}), encoding="utf-8")
    part.replace(path)


def _check(fault: Fault) -> None:
    what = set(fault) - _PLACE
    unknown = what - _ANSWER - _CONNECTION
    if unknown or not what:
        raise ValueError(f"{fault} is no fault" + (f": {', '.join(sorted(unknown))} is unknown" if unknown else ""))
    if what & _CONNECTION and (what - _CONNECTION or {"path", "method"} & set(fault)):
        raise ValueError(f"{fault} mixes faults of a connection with those of requests: give two")
    if "refuse" in fault and "count" in fault:
        raise ValueError(f"{fault} counts connections that nobody sees")
    if fault.get("certificate", CERTIFICATES[0]) not in CERTIFICATES:
        raise ValueError(f"{fault} names a certificate that there is not")


class Faults:
    """The server's side: reads ``faults.json`` at every request, and counts."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faults.json"
        self._lock = threading.Lock()
        self._setting = ""
        self._times: dict[int, int] = {}

    def of_request(self, method: str, path: str) -> Fault:
        """What goes wrong with this request; of two faults that fit, the later one decides."""
        return self._take(
            lambda fault: (
                bool(set(fault) & _ANSWER)
                and path.startswith(fault.get("path", "/"))
                and fault.get("method", method) == method
            )
        )

    def of_connection(self) -> Fault:
        """What goes wrong with this connection, before anything is asked."""
        return self._take(lambda fault: "certificate" in fault)

    def refuses(self) -> bool:
        """Whether no connection is to be taken now."""
        with self._lock:
            return any(fault.get("refuse") for fault in self._read())

    def _take(self, fits: t.Callable[[Fault], bool]) -> Fault:
        taken: Fault = {}
        with self._lock:
            for index, fault in enumerate(self._read()):
                if not fits(fault) or self._times.get(index, 0) >= fault.get("count", float("inf")):
                    continue
                self._times[index] = self._times.get(index, 0) + 1
                taken |= {key: value for key, value in fault.items() if key not in _PLACE}
        return taken

    def _read(self) -> list[Fault]:
        try:
            said: Mapping[str, t.Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        if said["setting"] != self._setting:
            self._setting, self._times = said["setting"], {}
        faults: list[Fault] = said["faults"]
        return faults
