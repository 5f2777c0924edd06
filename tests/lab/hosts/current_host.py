# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The current state of a host: its description on disk, and the operation that changes it.

A host that installs, enables or applies something gets another description. The files of a host are a pure function
of its description (`file_tree.py`), so a change writes the files that differ: the output of the client in every format,
its files, sysfs, the facts that the doubles read. Files that a user wrote on the host are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
import shutil
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

from .bubblewrap import update_client_command
from .description import Description, from_plain, seconds
from .file_tree import PRIVATE_FILES, LabServer, Tree, host_tree, timed_files

_STATE = "present.json"


class CurrentHost:
    """One host of a running lab, by its folder. Safe with several processes and threads."""

    def __init__(self, folder: Path, lab_server: LabServer, all_commands: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self._lab_server = lab_server
        self._all_commands = all_commands

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def machine_id(self) -> str:
        """The content of the host's own file: clones of a machine share it."""
        return (self.folder / "lab" / PRIVATE_FILES["etc/machine-id"]).read_text(encoding="ascii").strip()

    def begin(self, host: Description, now: dt.datetime) -> None:
        """Store the description at the start of the lab; the root has been written already."""
        self._write(host, now)

    def describe(self) -> Description:
        """Return the description of the host at this moment: its ages count from now."""
        host, then = self._read()
        return _aged(host, _now() - then)

    def change(self, update: Callable[[Description], Description]) -> Description:
        """Replace the description of the host by the result of `update`, and return it.

        `update` receives the description at this moment.
        """
        with self._locked():
            host, then = self._read()
            now = _now()
            new = update(_aged(host, now - then))
            before = host_tree(host, self._lab_server, then)
            after = host_tree(new, self._lab_server, now)
            _move(self.root, before, after)
            update_client_command(self.root, new, self._all_commands)
            self._write(new, now)
        return new

    def change_client(self, **changes: t.Any) -> Description:
        """Replace keys of the client of the host, if it has one."""

        def update(host: Description) -> Description:
            if host.client is None:
                return host
            return dataclasses.replace(host, client=dataclasses.replace(host.client, **changes))

        return self.change(update)

    def set_clock(self, now: dt.datetime) -> Description:
        """Make every age of the host count from `now`, and return the description."""
        with self._locked():
            host, _then = self._read()
            for path, content in timed_files(host, self._lab_server, now).items():
                _replace(self.root / path, content)
            self._write(host, now)
        return host

    def add_command(self, name: str) -> None:
        """Add one of the lab's commands that the host did not have at the start."""
        place = self.root / "usr/local/bin" / name
        if not place.exists():
            place.hardlink_to(self._all_commands / name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> tuple[Description, dt.datetime]:
        stored: dict[str, t.Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        return from_plain(stored["host"]), dt.datetime.fromtimestamp(stored["at"], dt.timezone.utc)

    def _write(self, host: Description, now: dt.datetime) -> None:
        stored = {"at": int(now.timestamp()), "host": dataclasses.asdict(host)}
        part = self.folder / f"{_STATE}.part"
        part.write_text(json.dumps(stored), encoding="utf-8")
        part.replace(self.folder / _STATE)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


def _aged(host: Description, passed: dt.timedelta) -> Description:
    """Return the same host after this time."""

    def older(age: str) -> str:
        return f"{max(0, seconds(age) + int(passed.total_seconds()))}s"

    kernel = dataclasses.replace(host.kernel, booted=older(host.kernel.booted))
    client = host.client
    if client is not None:
        client = dataclasses.replace(client, last_check=older(client.last_check))
    return dataclasses.replace(host, kernel=kernel, client=client)


def _move(root: Path, before: Tree, after: Tree) -> None:
    """Write the differences between two trees of a host. A folder that is gone is removed with its content."""
    old_folders, new_folders = set(before.all_folders()), after.all_folders()
    for folder in sorted(old_folders.difference(new_folders)):
        if (root / folder).exists():
            shutil.rmtree(root / folder)
    for path in (before.files.keys() - after.files.keys()) | (before.links.keys() - after.links.keys()):
        (root / path).unlink(missing_ok=True)
    for folder in new_folders:
        if folder not in old_folders:
            (root / folder).mkdir(exist_ok=True)
    for path, content in after.files.items():
        if before.files.get(path) != content:
            _replace(root / path, content)
    for path, moment in after.times.items():
        os.utime(root / path, (moment, moment))
    for path, target in after.links.items():
        if before.links.get(path) != target:
            (root / path).unlink(missing_ok=True)
            (root / path).symlink_to(target)


def _replace(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
