# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A file with the names of many hosts, in which each host finds its own name without reading the file."""

from __future__ import annotations

import collections.abc as c
import contextlib
import json
import mmap
from pathlib import Path

from .. import _io


class HostListError(ValueError):
    """A list of hosts cannot be read: it was removed at the end of its run."""


def write_hosts(path: Path, hosts: c.Iterable[str]) -> None:
    """Write the names, sorted, each as a JSON text with its number in the given order. Raises `OSError`."""
    lines = sorted((json.dumps(host), number) for number, host in enumerate(hosts))
    _io.write_atomically(path, (f"{name} {number}\n" for name, number in lines))


def read_hosts(path: str) -> list[str]:
    """Return the names of a file that `write_hosts` wrote, in the order in which they were given.

    Raises `HostListError`.
    """
    with _errors_of(path), _io.open_regular(path) as file:
        lines = [line.decode("ascii").rpartition(" ") for line in file]
    return [json.loads(name) for _number, name in sorted((int(number), name) for name, _space, number in lines)]


def has_host(path: str, host: str) -> bool:
    """Return True if a file that `write_hosts` wrote has this name. Raises `HostListError`."""
    wanted = json.dumps(host).encode("ascii")
    with _errors_of(path), _io.open_regular(path) as file:
        # An empty file cannot be mapped.
        if not file.read(1):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            first, end = 0, len(text)
            while first < end:
                begin = text.rfind(b"\n", first, (first + end) // 2) + 1 or first
                line = text[begin : text.find(b"\n", begin)]
                name = line.rpartition(b" ")[0]
                if name == wanted:
                    return True
                if name < wanted:
                    first = begin + len(line) + 1
                else:
                    end = begin
    return False


@contextlib.contextmanager
def _errors_of(path: str) -> c.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostListError(
            f"the list of granted hosts, {path}, cannot be read: {error.strerror or error}. "
            "Run kernelops.livepatch.seat_plan again, in the run that uses its result"
        ) from error
