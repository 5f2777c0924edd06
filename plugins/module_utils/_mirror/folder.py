# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A folder that only its owner can change. All its files are accessed relative to its descriptor.

The module often runs as root. If another user could replace a file of the folder by a link, the module would write,
change or remove the target of the link. So a folder is refused if another user could write to it, or could replace a
folder above it, as ssh refuses the key files in such a folder. Links inside of the folder are never followed.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import types
import typing as t
from pathlib import Path

from .._io import check_owned, lock_within, open_at, open_owned

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


class Folder:
    """An open folder; without a descriptor, a folder that does not exist, and has no files. Methods raise `OSError`.

    Close it, or use it as a context manager.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        # pathlib does not accept a descriptor.
        return [] if self._descriptor is None else sorted(os.listdir(self._descriptor))  # noqa: PTH208

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a regular file, ``None`` without one. More than `limit` bytes are an error."""
        if self._descriptor is None:
            return None
        try:
            with self._open(name, os.O_RDONLY) as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"the file is larger than {limit >> 20} MiB", str(self.path / name))
        return data

    def read_private(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file that only root or this user can have written, ``None`` without one."""
        if self._descriptor is None:
            return None
        with contextlib.suppress(OSError), self._open(name, os.O_RDONLY) as file:
            status = os.fstat(file.fileno())
            if status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o077:
                data = file.read(limit + 1)
                return data if len(data) <= limit else None
        return None

    def identity(self, name: str) -> tuple[int, int, int] | None:
        """Return inode, size and time of the last change (in nanoseconds) of an entry, ``None`` without one."""
        try:
            status = os.lstat(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_ctime_ns

    def open_unfinished(self, name: str) -> t.BinaryIO:
        """Open a file for reading and writing. It is created if it does not exist."""
        return self._open(name, os.O_RDWR | os.O_CREAT, 0o644)

    def write(self, name: str, data: bytes, mode: int) -> None:
        """Replace a file atomically. It is complete also after a power failure."""
        with self._temporary(mode) as (unfinished, file):
            file.write(data)
            _flush(file)
            self._rename(unfinished, self, name)
        self.flush()

    def move(self, name: str, target: Folder, new_name: str, mode: int | None = None) -> None:
        """Move a regular file, in place of another one, and set its mode unless it is ``None``."""
        with self._open(name, os.O_RDONLY) as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            try:
                self._rename(name, target, new_name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # The other folder is in another file system.
                target._copy_here(file, new_name)
                self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file if it exists. Of a link, only the link is removed."""
        with self._named(name), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def is_empty(self, name: str) -> bool:
        """Return True if an entry has no content."""
        with self._named(name):
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_size == 0

    def remove_temporary_files(self) -> None:
        """Remove the temporary files of runs that were killed. No other run may use the folder."""
        for name in self.names():
            if _TEMPORARY.fullmatch(name):
                self.remove(name)

    def subfolder(self, name: str) -> Folder:
        """Open a folder of this folder. It is created with access for its owner only if it does not exist."""
        path = self.path / name
        if self._descriptor is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        with self._named(name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._descriptor)
            opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        folder = Folder(path, opened)
        try:
            check_owned(os.fstat(opened), str(path))
        except BaseException:
            os.close(opened)
            raise
        return folder

    def remove_subfolder(self, name: str) -> None:
        """Remove a folder of this folder if it is empty."""
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self._descriptor)

    @contextlib.contextmanager
    def locked(self, name: str, seconds: float) -> c.Iterator[bool]:
        """Lock a file that no other user can open. Yields False if another process holds the lock all the time."""
        with self._open(name, os.O_RDWR | os.O_CREAT, 0o600) as lock:
            if os.fstat(lock.fileno()).st_mode & 0o077:
                # Of an earlier version: any user who can read the file can lock it.
                os.fchmod(lock.fileno(), 0o600)
            yield lock_within(lock.fileno(), seconds)

    def flush(self) -> None:
        """Make sure that the names of all files persist after a power failure."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def _open(self, name: str, flags: int, mode: int = 0o600) -> t.BinaryIO:
        with self._named(name):
            return open_at(self._descriptor, name, flags, mode)

    @contextlib.contextmanager
    def _temporary(self, mode: int) -> c.Iterator[tuple[str, t.BinaryIO]]:
        name = f".{secrets.token_hex(8)}.tmp"
        file = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with file:
                yield name, file
        except BaseException:
            self.remove(name)
            raise

    def _copy_here(self, source: t.BinaryIO, name: str) -> None:
        with self._temporary(stat.S_IMODE(os.fstat(source.fileno()).st_mode)) as (unfinished, file):
            shutil.copyfileobj(source, file)
            _flush(file)
            self._rename(unfinished, self, name)

    def _rename(self, name: str, target: Folder, new_name: str) -> None:
        with target._named(new_name):
            os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=target._descriptor)

    @contextlib.contextmanager
    def _named(self, name: str) -> c.Iterator[None]:
        """Put the whole path into errors."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / name)) from error


def open_folder(path: Path, *, create: bool = False, mode: int = 0o755) -> Folder:
    """Open a folder that only its owner can change; without `create`, also one that does not exist.

    `mode` is that of a new folder. Raises `UnsafeFolderError` and `OSError`.
    """
    path = path.absolute()
    try:
        return Folder(path, open_owned(path, mode if create else None))
    except FileNotFoundError:
        if create:
            raise
        return Folder(path, None)


def _flush(file: t.BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
