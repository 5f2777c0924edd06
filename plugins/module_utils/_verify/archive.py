# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The archive of a patch, as the service names and packs it: metadata and one kernel module."""

from __future__ import annotations

import dataclasses
import io
import re

from .._elf import MAGIC
from .._kernel_name import parse_kernel_name
from .._tar import TarError, TarStream
from .file_verdict import PatchFileError

_NAME = re.compile(
    r"livepatch-(?P<kernel>.+)-(?P<version>[0-9]+(?:\.[0-9]+)*)-(?P<architecture>[0-9a-z]+)\.tar\.(?:bz2|gz|xz)"
)
_NAME_LIMIT = 255


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveName:
    """``livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2``, in its parts."""

    kernel: str
    version: str
    architecture: str


def parse_archive_name(name: str) -> ArchiveName | None:
    """Parse the name of an archive, without folders; ``None`` for any other name."""
    match = _NAME.fullmatch(name) if len(name) <= _NAME_LIMIT else None
    kernel = parse_kernel_name(match["kernel"]) if match else None
    if match is None or kernel is None or kernel.full is None:
        return None
    return ArchiveName(kernel.full, match["version"], match["architecture"])


def unpack_module(data: bytes) -> bytes:
    """Return the kernel module in an archive, which must be compressed with bzip2, gzip or xz.

    A file is a module if its name ends with ``.ko`` or it begins with an ELF header. Raises `PatchFileError`:
    ``truncated`` for an archive that ends too early, ``malformed`` for one that is damaged, too large, has entries
    other than files and folders, paths that leave it, no module, or several modules.
    """
    try:
        return _only_module(TarStream(io.BytesIO(data)))
    except TarError as error:
        raise PatchFileError(error.kind, error.reason) from error


def _only_module(stream: TarStream) -> bytes:
    module: bytes | None = None
    for name, size in stream.entries():
        head = stream.read(min(size, len(MAGIC)))
        if head != MAGIC and not name.endswith(".ko"):
            stream.skip(size - len(head))
        elif module is not None:
            raise PatchFileError("malformed", "the archive has more than one kernel module")
        else:
            module = head + stream.read(size - len(head))
    if module is None:
        raise PatchFileError("malformed", "the archive has no kernel module")
    return module
