# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Safe access to files that another user may have created: regular files only, bounded reads, atomic writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
import secrets
import shlex
import stat
import time
import typing as t
from pathlib import Path

from ._errors import LivepatchError

_SAFE_OPEN = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags without which opening a pipe that has just replaced a file would block."""

_LINK_LIMIT = 40
_SEARCH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_BUFFER = 1 << 16  # bytes: those of a download that are lost when the process is killed


def open_regular(path: str) -> t.BinaryIO:
    """Open a regular file for reading. Raises `OSError`, also for any other kind of file."""
    # Opening a device can have an effect, so it is not even tried.
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise _not_regular(path)
    return _checked(os.open(path, os.O_RDONLY | _SAFE_OPEN), path, "rb")


def open_for_writing(path: Path) -> t.BinaryIO:
    """Open a regular file for writing, empty. A new one has the mode 0600. Raises `OSError`, also for a link."""
    file = open_at(None, str(path), os.O_WRONLY | os.O_CREAT, 0o600)
    file.truncate(0)
    return file


def open_at(folder: int | None, name: str, flags: int, mode: int = 0o600) -> t.BinaryIO:
    """Open a regular file in the folder with this descriptor, for reading, writing or both, as `flags` say.

    Raises `OSError`, also for a link or another kind of file.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
            raise _not_regular(name)
    descriptor = os.open(name, flags | os.O_NOFOLLOW | _SAFE_OPEN, mode, dir_fd=folder)
    access = flags & os.O_ACCMODE
    return _checked(descriptor, name, {os.O_RDONLY: "rb", os.O_WRONLY: "wb"}.get(access, "r+b"))


def _checked(descriptor: int, path: str, mode: t.Literal["rb", "wb", "r+b"] | str) -> t.BinaryIO:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return t.cast(t.BinaryIO, open(descriptor, mode, buffering=_FILE_BUFFER))


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", path)


def read_bounded(path: str, limit: int) -> bytes:
    """Return the content of a regular file. Raises `OSError`, also for more than `limit` bytes."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"the file is larger than {limit >> 20} MiB")
    return data


def expand_user(path: str) -> Path:
    """Return a path with the home folder for ``~``. That of an unknown user stays, as in Ansible's options."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (pathlib raises RuntimeError for an unknown user)


def file_error(error: OSError, path: str, remedy: str) -> LivepatchError:
    """Return the error (``files``) for a file or folder that cannot be used. `path` is used if `error` has no path."""
    return LivepatchError("files", f"cannot use {error.filename or path}: {error.strerror or error}", remedy)


TEMPORARY_PREFIX = "."
"""Prefix of unfinished files. A killed run can leave one; readers skip them."""

_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")
_UNFINISHED_SECONDS = 86_400.0
_BUFFER = 256 * 1024  # bytes: a large report is written in few calls


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Create a folder, and missing ones above it, by default with access for their owner only. Raises `OSError`."""
    if not path.parent.exists():
        make_folder(path.parent, mode)
    path.mkdir(mode, exist_ok=True)


def write_atomically(path: Path, chunks: t.Iterable[str], *, durable: bool = False) -> None:
    """Write the chunks as UTF-8 to a temporary file in the same folder, then rename it to `path`.

    The file is private, or as readable as its folder, less the umask: who may read the folder may read the file.
    Missing folders are created with access for their owner only. A `durable` file is complete also after a power
    failure. Raises `OSError`; the file is then unchanged.
    """
    make_folder(path.parent)
    mode = 0o600 | path.parent.stat().st_mode & 0o044
    unfinished = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    # O_EXCL: never follow a link that another user created in a shared folder.
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", _BUFFER, encoding="utf-8", newline="\n") as file:
            file.writelines(chunks)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path, now: float) -> None:
    """Remove the unfinished files that killed runs left in a folder more than a day before `now` (seconds since 1970).

    Later ones can belong to a run that is not finished. Nothing raises: such files do no harm.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if _UNFINISHED.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < now - _UNFINISHED_SECONDS:
                    Path(entry.path).unlink()


def has_content(path: Path, chunks: t.Iterable[str], *, ignore: int | None = None) -> bool:
    """Return True if the file has exactly this text. The chunk with the index `ignore` may differ, with equal length.

    A file that does not exist has no content. Raises `OSError` for one that cannot be read.
    """
    try:
        with io.TextIOWrapper(open_regular(str(path)), encoding="utf-8", errors="replace", newline="") as file:
            same = all(file.read(len(chunk)) == chunk or index == ignore for index, chunk in enumerate(chunks))
            return same and not file.read(1)
    except FileNotFoundError:
        return False


_LOCK_PAUSE_SECONDS = 0.1


def open_lock(path: Path) -> t.BinaryIO:
    """Open a lock file, which only users can lock who may write to its folder. Raises `OSError`."""
    file = open_at(None, str(path), os.O_RDWR | os.O_CREAT, 0o600)
    status = os.fstat(file.fileno())
    mode = _mode_for_writers(path.parent)
    if stat.S_IMODE(status.st_mode) != mode and status.st_uid == os.geteuid():
        os.fchmod(file.fileno(), mode)
    return file


def restrict_to_writers(file: t.BinaryIO, folder: Path) -> bool:
    """Remove the access of users who may not write to the folder of an open file: who can read it can lock it.

    Return False if other users have access, and this user may not change that.
    """
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    restricted = mode & _mode_for_writers(folder)
    if restricted == mode:
        return True
    try:
        os.fchmod(file.fileno(), restricted)
    except OSError:
        return False
    return True


def _mode_for_writers(folder: Path) -> int:
    """Return the mode of a file for its owner and for the users who may write to its folder."""
    writers = folder.stat().st_mode & 0o022
    return 0o600 | writers | writers << 1


def lock_within(
    descriptor: int,
    seconds: float,
    *,
    sleep: t.Callable[[float], object] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> bool:
    """Lock an open file for this process alone. Return False if another process held the lock all the time.

    Raises `OSError` if the file cannot be locked.
    """
    end = clock() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if clock() >= end:
                return False
        sleep(_LOCK_PAUSE_SECONDS)


# --- folders that only their owner can change


class UnsafeFolderError(LivepatchError):
    """Another user could replace files in a folder."""

    def __init__(self, path: str, fault: str, remedy: str) -> None:
        super().__init__(
            "unsafe_folder",
            f"{path} {fault}, so that another user could replace its files",
            f"{remedy}, or use another folder",
        )


def open_owned(path: Path, mode: int | None) -> int:
    """Open a folder that only root and this user can change, and return its descriptor.

    Another user could otherwise replace a file by a link, whose target this process would write, change or remove. So
    all folders above are checked too, as ssh checks those of its key files. With a `mode`, a missing folder is created;
    folders above it get the mode 0755. Raises `UnsafeFolderError`, `FileNotFoundError` and other `OSError`.
    """
    return _Walk(path.absolute(), mode).open()


def make_own_folder(path: Path) -> None:
    """Create a private folder. Raises `OSError`, and `UnsafeFolderError` if another user can change an existing one."""
    make_folder(path)
    check_owned(path.stat(), str(path))


class _Walk:
    """Opens the folders of a path one after the other, and checks each. Links are followed by hand."""

    def __init__(self, path: Path, mode: int | None) -> None:
        self._path = path
        self._mode = mode
        self._left = list(reversed(path.parts[1:]))
        self._links = 0
        self._shown = Path("/")
        self._current = os.open("/", _SEARCH)

    def open(self) -> int:
        """Return a descriptor of the folder, open for reading."""
        try:
            self._check(os.fstat(self._current))
            while self._left:
                self._step(self._left.pop())
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._current)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        finally:
            os.close(self._current)

    def _step(self, name: str) -> None:
        try:
            status = os.lstat(name, dir_fd=self._current)
        except FileNotFoundError:
            if self._mode is None:
                raise
            # Another thread or process can create it at the same time.
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755 if self._left else self._mode, dir_fd=self._current)
            status = os.lstat(name, dir_fd=self._current)
        if stat.S_ISLNK(status.st_mode):
            _check_owner(status, str(self._shown / name))
            self._follow(name)
            return
        self._enter(name)
        self._shown = self._shown / name
        self._check(os.fstat(self._current))

    def _follow(self, name: str) -> None:
        self._links += 1
        if self._links > _LINK_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = Path(os.readlink(name, dir_fd=self._current))
        if target.is_absolute():
            self._enter("/")
            self._shown = Path("/")
        self._left += reversed([part for part in target.parts if part != "/"])

    def _enter(self, name: str) -> None:
        entered = os.open(name, _SEARCH, dir_fd=self._current)
        os.close(self._current)
        self._current = entered

    def _check(self, status: os.stat_result) -> None:
        check_owned(status, str(self._shown), is_last=not self._left)


def check_owned(status: os.stat_result, path: str, *, is_last: bool = True) -> None:
    """Check that only root and this user can replace entries of a folder. Raises `UnsafeFolderError`.

    Without `is_last`, it is a folder above: others may create entries there if they cannot replace those of this user,
    as in ``/tmp``.
    """
    _check_owner(status, path)
    is_shared = not is_last and status.st_mode & stat.S_ISVTX
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not is_shared:
        mode = stat.S_IMODE(status.st_mode)
        raise UnsafeFolderError(
            path, f"has the mode {mode:04o}: its group or others may write to it", f"run chmod go-w {shlex.quote(path)}"
        )


def _check_owner(status: os.stat_result, path: str) -> None:
    user = os.geteuid()
    if status.st_uid not in (0, user):
        raise UnsafeFolderError(
            path,
            f"belongs to the user with the id {status.st_uid}, and the task runs as the user with the id {user}",
            f"run chown {user} {shlex.quote(path)}",
        )
