# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The facts that a kernel module contains: its name, its kernel and its build, read from the ELF file.

Three sections matter: ``.modinfo`` (strings), ``.note.gnu.build-id`` and ``.gnu.linkonce.this_module`` (the kernel's
``struct module``). Source: kernel ``include/linux/module.h``.
"""

from __future__ import annotations

import dataclasses

from .._elf import ElfError, build_id, read_elf
from .._kernel_name import parse_kernel_name, parse_module_name, parse_release
from .file_verdict import PatchFileError

_MODINFO_LIMIT = 1 << 20
_VALUE_LIMIT = 256
_NAME_SIZE = 56
_NAME_AT = {32: 12, 64: 24}
"""Where ``struct module`` has its name, behind a state and a list, by the bits of the file."""

_MODINFO, _BUILD_ID, _THIS_MODULE = ".modinfo", ".note.gnu.build-id", ".gnu.linkonce.this_module"


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleFacts:
    """The facts in a module. A value that is missing, or not a short printable text, is ``None``.

    `extent` is the size of the ELF file in bytes, by its headers: the position of a signature. `machine` is the number
    of its architecture in ELF. `is_live_patch` is true if the kernel loads it as a live patch (``livepatch=Y``).
    """

    name: str | None
    build_id: str | None
    srcversion: str | None
    vermagic: str | None
    extent: int
    machine: int
    is_live_patch: bool

    @property
    def release(self) -> str | None:
        """The release of the kernel that it was built for: the first word of the vermagic."""
        words = (self.vermagic or "").split()
        return words[0] if words else None

    @property
    def patch_major(self) -> str | None:
        """The major number of the live patch, from the end of its name."""
        named = parse_module_name(self.name or "")
        return named.major if named else None

    @property
    def kernel(self) -> str | None:
        """The full name of its kernel, or the release where the full name is uncertain.

        The name of the module holds the full name with ``_`` for every sign, and the release gives the signs of all
        but the upload number: ``lkp_Ubuntu_4_4_0_168_197_generic_65`` with ``4.4.0-168-generic`` is for
        ``4.4.0-168.197-generic``.
        """
        named, release = parse_module_name(self.name or ""), parse_release(self.release or "")
        kernel = named.kernel_of_release(release) if named and release else None
        return str(kernel) if kernel else self.release

    def is_for(self, kernel: str) -> bool:
        """Return True if it is for this kernel, given by its full name or by its release."""
        name, named = parse_kernel_name(kernel), parse_module_name(self.name or "")
        if name is None or name.full is None:
            return self.release == kernel
        return self.release == name.release and (named is None or named.is_for(name.full))


def read_module(content: bytes | memoryview) -> ModuleFacts:
    """Read a module. Bytes behind it are ignored.

    Raises `PatchFileError`: ``malformed`` for any other file, ``truncated`` if it ends before its last section.
    """
    try:
        file = read_elf(content, (_MODINFO, _BUILD_ID, _THIS_MODULE))
    except ElfError as error:
        reason = error.reason if error.kind == "truncated" else f"this is not a kernel module: {error.reason}"
        raise PatchFileError(error.kind, reason) from error
    nothing = memoryview(b"")
    modinfo = _modinfo(file.sections.get(_MODINFO, nothing))
    return ModuleFacts(
        # Kernels before 4.13 have the name in their structure only.
        name=modinfo.get(b"name") or _name(file.sections.get(_THIS_MODULE, nothing), _NAME_AT[file.bits]),
        build_id=build_id(file.sections.get(_BUILD_ID, nothing)),
        srcversion=modinfo.get(b"srcversion"),
        vermagic=modinfo.get(b"vermagic"),
        extent=file.extent,
        machine=file.machine,
        is_live_patch=modinfo.get(b"livepatch") == "Y",
    )


def _modinfo(section: memoryview) -> dict[bytes, str | None]:
    """Parse ``key=value`` strings that end with a zero byte. The first with a key counts, as in the kernel."""
    values: dict[bytes, str | None] = {}
    for line in section[:_MODINFO_LIMIT].tobytes().split(b"\0"):
        key, equals, value = line.partition(b"=")
        if equals and key not in values:
            values[key] = _text(value)
    return values


def _name(structure: memoryview, at: int) -> str | None:
    return _text(structure[at : at + _NAME_SIZE].tobytes().partition(b"\0")[0])


def _text(value: bytes) -> str | None:
    text = value.decode("ascii", "replace") if 0 < len(value) <= _VALUE_LIMIT else ""
    return text if text.isascii() and text.isprintable() and text else None
