# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a host is now: its description as it has become, on disk, and the one way in which it changes.

A host that installs, enables or applies something gets another description. The files of a host are a pure function
of its description (`file_tree.py`), so a change writes the files that differ: the output of the client in every format,
its files, sysfs, the facts that the doubles read. Files that somebody wrote on the host are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import shutil
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

from .bubblewrap import fit_client
from .description import Description, from_plain, seconds
from .file_tree import OWN_FILES, Surroundings, Tree, host_tree, timed_files

_STATE = "present.json"


class Present:
    """One host of a lab that is up, by its folder. Safe with several processes and threads."""

    def __init__(self, folder: Path, around: Surroundings, stock: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self._around = around
        self._stock = stock

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def machine_id(self) -> str:
        """What the host's own file says: clones of a machine have one in common."""
        return (self.folder / "lab" / OWN_FILES["etc/machine-id"]).read_text(encoding="ascii").strip()

    def begin(self, host: Description, now: dt.datetime) -> None:
        """Keep what a host is as the lab comes up; its root is written already."""
        self._write(host, now)

    def look(self) -> Description:
        """Return the host as it is at this moment: its ages count from now."""
        host, then = self._read()
        return _aged(host, _now() - then)

    def change(self, become: Callable[[Description], Description]) -> Description:
        """Let the host become another, and return that; `become` gets the host with its ages as of now."""
        with self._locked():
            host, then = self._read()
            now = _now()
            new = become(_aged(host, now - then))
            before = host_tree(host, self._around, then)
            after = host_tree(new, self._around, now)
            _move(self.root, before, after)
            fit_client(self.root, new, self._stock)
            self._write(new, now)
        return new

    def set_clock(self, now: dt.datetime) -> Description:
        """Let every age of the host count from `now`, and return it."""
        with self._locked():
            host, _then = self._read()
            for path, content in timed_files(host, self._around, now).items():
                _replace(self.root / path, content)
            self._write(host, now)
        return host

    def add_command(self, name: str) -> None:
        """Give the host one of the lab's commands that it did not have from the beginning."""
        place = self.root / "usr/local/bin" / name
        if not place.exists():
            place.hardlink_to(self._stock / name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> tuple[Description, dt.datetime]:
        said: dict[str, t.Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        return from_plain(said["host"]), dt.datetime.fromtimestamp(said["at"], dt.timezone.utc)

    def _write(self, host: Description, now: dt.datetime) -> None:
        said = {"at": int(now.timestamp()), "host": dataclasses.asdict(host)}
        part = self.folder / f"{_STATE}.part"
        part.write_text(json.dumps(said), encoding="utf-8")
        part.replace(self.folder / _STATE)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


def _aged(host: Description, passed: dt.timedelta) -> Description:
    """The same host after that time."""

    def older(age: str) -> str:
        return f"{max(0, seconds(age) + int(passed.total_seconds()))}s"

    kernel = dataclasses.replace(host.kernel, booted=older(host.kernel.booted))
    client = host.client
    if client is not None:
        client = dataclasses.replace(client, last_check=older(client.last_check))
    return dataclasses.replace(host, kernel=kernel, client=client)


def _move(root: Path, before: Tree, after: Tree) -> None:
    """Write what differs between two trees of a host; a folder that is no longer there goes with all that it holds."""
    were, are = set(before.all_folders()), after.all_folders()
    for folder in sorted(were.difference(are)):
        if (root / folder).exists():
            shutil.rmtree(root / folder)
    for path in (before.files.keys() - after.files.keys()) | (before.links.keys() - after.links.keys()):
        (root / path).unlink(missing_ok=True)
    for folder in are:
        if folder not in were:
            (root / folder).mkdir(exist_ok=True)
    for path, content in after.files.items():
        if before.files.get(path) != content:
            _replace(root / path, content)
    for path, target in after.links.items():
        if before.links.get(path) != target:
            (root / path).unlink(missing_ok=True)
            (root / path).symlink_to(target)


def _replace(path: Path, content: bytes) -> None:
    """Write a file at once, so that no reader finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
