# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a kernel module says of itself: its name, its kernel and its build, read from the ELF file.

Three sections matter: ``.modinfo`` (strings), ``.note.gnu.build-id`` and ``.gnu.linkonce.this_module`` (the kernel's
``struct module``). Besides these only the file header, the section headers and their names are read, each within the
bounds of the file and once. Sources: ELF gABI, chapters 4 and 5; kernel ``include/linux/module.h``.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from .._kernel_name import parse_kernel_name, parse_module_name, parse_release
from .file_verdict import PatchFileError

ELF_MAGIC = b"\x7fELF"

_RELOCATABLE = 1
_STRINGS = 3
_NO_BITS = 8
_SECTION_LIMIT = 0xFF00
"""Section numbers from here on have other meanings."""

_BUILD_ID_TYPE = 3
_BUILD_ID_LIMIT = 64
_MODINFO_LIMIT = 1 << 20
_VALUE_LIMIT = 256
_NAME_SIZE = 56

_MODINFO, _BUILD_ID, _THIS_MODULE = b".modinfo\0", b".note.gnu.build-id\0", b".gnu.linkonce.this_module\0"


class _Layout(t.NamedTuple):
    """How a file of 32 or 64 bits is laid out.

    `header` gives type, offset of the section headers, size and number of these, and which of them has the names;
    `section` name, type, offset and size. `name_at` is where ``struct module`` has its name, behind a state and a list.
    """

    header: str
    section: str
    name_at: int


_LAYOUTS = {1: _Layout("16xH14xI10xHHH", "II8xII16x", 12), 2: _Layout("16xH22xQ10xHHH", "II16xQQ24x", 24)}
_BYTE_ORDERS = {1: "<", 2: ">"}


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What the module says. What is missing, or is no short printable text, is ``None``.

    `extent` is the size of the ELF file in bytes, by its headers: where a signature begins.
    """

    name: str | None
    build_id: str | None
    srcversion: str | None
    vermagic: str | None
    extent: int

    @property
    def release(self) -> str | None:
        """The kernel for which it was built, by its release: the first word of the vermagic."""
        words = (self.vermagic or "").split()
        return words[0] if words else None

    @property
    def patch_major(self) -> str | None:
        """The major number of the live patch, with which its name ends."""
        named = parse_module_name(self.name or "")
        return named.major if named else None

    @property
    def kernel(self) -> str | None:
        """The full name of its kernel, or the release where the module does not give the full name for certain.

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
    """Read a module; what stands behind it does no harm.

    Raises `PatchFileError`: ``malformed`` when this is no module, ``truncated`` when it ends before its last section.
    """
    data = memoryview(content)
    if len(data) < len(ELF_MAGIC) and ELF_MAGIC.startswith(data):
        raise PatchFileError("truncated", "the file ends before its header")
    if data[: len(ELF_MAGIC)] != ELF_MAGIC:
        raise PatchFileError("malformed", "this is no kernel module: it does not begin like an ELF file")
    sections, order, layout, extent = _read_sections(data)
    modinfo = _modinfo(sections.get(_MODINFO, memoryview(b"")))
    return ModuleFacts(
        # Kernels before 4.13 have the name in their structure only.
        name=modinfo.get(b"name") or _name(sections.get(_THIS_MODULE, memoryview(b"")), layout),
        build_id=_build_id(sections.get(_BUILD_ID, memoryview(b"")), order),
        srcversion=modinfo.get(b"srcversion"),
        vermagic=modinfo.get(b"vermagic"),
        extent=extent,
    )


def _read_sections(data: memoryview) -> tuple[dict[bytes, memoryview], str, _Layout, int]:
    """The wanted sections by name, the byte order, the layout, and where the file ends by its headers."""
    layout, order = _LAYOUTS.get(_byte(data, 4)), _BYTE_ORDERS.get(_byte(data, 5))
    if layout is None or order is None:
        raise PatchFileError("malformed", "this is no kernel module: its ELF header is of no known kind")
    header, entry = struct.Struct(order + layout.header), struct.Struct(order + layout.section)
    if len(data) < header.size:
        raise PatchFileError("truncated", "the file ends within its header")
    kind, offset, entry_size, count, names_index = header.unpack_from(data)
    if kind != _RELOCATABLE or entry_size != entry.size or not names_index < count < _SECTION_LIMIT:
        raise PatchFileError("malformed", "this is no kernel module: its ELF header names no sections")
    extent = offset + count * entry_size
    if extent > len(data):
        raise PatchFileError("truncated", "the module ends before its section headers")
    headers = list(entry.iter_unpack(data[offset:extent]))
    ends = [start + size for _name, type_, start, size in headers if type_ != _NO_BITS]
    extent = max(extent, header.size, *ends)
    if extent > len(data):
        raise PatchFileError("truncated", "the module ends before its last section")
    _name, type_, start, size = headers[names_index]
    if type_ != _STRINGS:
        raise PatchFileError("malformed", "this is no kernel module: its sections have no names")
    names = data[start : start + size]
    found: dict[bytes, memoryview] = {}
    for at, type_, start, size in headers:
        for wanted in (_MODINFO, _BUILD_ID, _THIS_MODULE):
            if type_ != _NO_BITS and names[at : at + len(wanted)] == wanted:
                found.setdefault(wanted, data[start : start + size])
    return found, order, layout, extent


def _byte(data: memoryview, at: int) -> int:
    if len(data) <= at:
        raise PatchFileError("truncated", "the file ends within its header")
    return data[at]


def _modinfo(section: memoryview) -> dict[bytes, str | None]:
    """``key=value`` strings, each ended by a zero byte. Of several with one key the kernel takes the first."""
    values: dict[bytes, str | None] = {}
    for line in section[:_MODINFO_LIMIT].tobytes().split(b"\0"):
        key, equals, value = line.partition(b"=")
        if equals and key not in values:
            values[key] = _text(value)
    return values


def _name(structure: memoryview, layout: _Layout) -> str | None:
    field = structure[layout.name_at : layout.name_at + _NAME_SIZE].tobytes()
    return _text(field.partition(b"\0")[0])


def _build_id(section: memoryview, order: str) -> str | None:
    """The build ID in hex, from a note: sizes of name and content, type, ``GNU``, content."""
    note = struct.Struct(order + "III4s")
    if len(section) < note.size:
        return None
    name_size, size, kind, name = note.unpack_from(section)
    if (name_size, kind, name) != (4, _BUILD_ID_TYPE, b"GNU\0") or not 0 < size <= _BUILD_ID_LIMIT:
        return None
    build_id = section[note.size : note.size + size].tobytes()
    return build_id.hex() if len(build_id) == size else None


def _text(value: bytes) -> str | None:
    text = value.decode("ascii", "replace") if 0 < len(value) <= _VALUE_LIMIT else ""
    return text if text.isascii() and text.isprintable() and text else None
