# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A bounded reader of ELF files: sections by name, and the build ID in notes.

Only the file header, the section headers, their names and the wanted sections are read, each within the bounds of the
file and once. Sources: ELF gABI, chapters 4 and 5; elf(5), notes. Decision 0003 has the reasons for a reader of
its own.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import struct
import typing as t

MAGIC = b"\x7fELF"

_RELOCATABLE = 1
_STRINGS = 3
_NO_BITS = 8
_SECTION_LIMIT = 0xFF00
"""Section numbers from here on have other meanings."""

_NOTES_LIMIT = 8192
_BUILD_ID_TYPE = 3
_BUILD_ID_SIZES = range(8, 65)

ByteOrder = t.Literal["<", ">"]


class _Layout(t.NamedTuple):
    """The layout of a file of 32 or 64 bits.

    `header` gives type, machine, offset of the section headers, size and number of these, and the index of the one with
    the names; `section` name, type, offset and size.
    """

    bits: int
    header: str
    section: str


_LAYOUTS = {1: _Layout(32, "16xHH12xI10xHHH", "II8xII16x"), 2: _Layout(64, "16xHH20xQ10xHHH", "II16xQQ24x")}
_BYTE_ORDERS: dict[int, ByteOrder] = {1: "<", 2: ">"}


class ElfError(Exception):
    """The file cannot be read. `kind` is the fault, `reason` explains it in a sentence."""

    def __init__(self, kind: t.Literal["truncated", "malformed"], reason: str) -> None:
        super().__init__(reason)
        self.kind: t.Literal["truncated", "malformed"] = kind
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True)
class ElfFile:
    """A relocatable file: the wanted sections by name, and its size in bytes by its headers (`extent`).

    `machine` is the number of its architecture (``e_machine``).
    """

    bits: int
    machine: int
    sections: c.Mapping[str, memoryview]
    extent: int


def read_elf(content: bytes | memoryview, wanted: c.Collection[str]) -> ElfFile:
    """Read a relocatable file (an object or a kernel module); bytes behind it are ignored.

    Of several sections with one name the first counts. Raises `ElfError`: ``malformed`` for any other file,
    ``truncated`` when it ends before its last section.
    """
    data = memoryview(content)
    if len(data) < len(MAGIC) and MAGIC.startswith(data):
        raise ElfError("truncated", "the file ends before its header")
    if data[: len(MAGIC)] != MAGIC:
        raise ElfError("malformed", "the file does not begin with an ELF header")
    layout, order = _LAYOUTS.get(_byte(data, 4)), _BYTE_ORDERS.get(_byte(data, 5))
    if layout is None or order is None:
        raise ElfError("malformed", "the ELF header is of an unknown kind")
    headers, names_index, machine, extent = _read_headers(data, layout, order)
    _name, type_, start, size = headers[names_index]
    if type_ != _STRINGS:
        raise ElfError("malformed", "the sections have no names")
    names = data[start : start + size]
    encoded = {name: name.encode() + b"\0" for name in wanted}
    sections: dict[str, memoryview] = {}
    for at, type_, start, size in headers:
        for name, text in encoded.items():
            if type_ != _NO_BITS and names[at : at + len(text)] == text:
                sections.setdefault(name, data[start : start + size])
    return ElfFile(layout.bits, machine, sections, extent)


def _read_headers(data: memoryview, layout: _Layout, order: ByteOrder) -> tuple[list[tuple[int, ...]], int, int, int]:
    """Return the section headers, the index of the one with the names, the machine, and where the file ends."""
    header, entry = struct.Struct(order + layout.header), struct.Struct(order + layout.section)
    if len(data) < header.size:
        raise ElfError("truncated", "the file ends within its header")
    kind, machine, offset, entry_size, count, names_index = header.unpack_from(data)
    if kind != _RELOCATABLE or entry_size != entry.size or not names_index < count < _SECTION_LIMIT:
        raise ElfError("malformed", "the ELF header names no sections of a relocatable file")
    extent = offset + count * entry_size
    if extent > len(data):
        raise ElfError("truncated", "the file ends before its section headers")
    headers = list(entry.iter_unpack(data[offset:extent]))
    ends = [start + size for _name, type_, start, size in headers if type_ != _NO_BITS]
    extent = max(extent, header.size, *ends)
    if extent > len(data):
        raise ElfError("truncated", "the file ends before its last section")
    return headers, names_index, machine, extent


def _byte(data: memoryview, at: int) -> int:
    if len(data) <= at:
        raise ElfError("truncated", "the file ends within its header")
    return data[at]


def build_id(notes: bytes | memoryview) -> str | None:
    """Return the build ID in ELF notes, or in bytes that begin with them, in hexadecimal; ``None`` without one.

    The byte order is the machine's, and notes do not name it: in the wrong one no note fits.
    """
    section = bytes(notes[:_NOTES_LIMIT])
    for order in _BYTE_ORDERS.values():
        for kind, name, descriptor in _notes(section, order):
            if kind == _BUILD_ID_TYPE and name == b"GNU\0" and len(descriptor) in _BUILD_ID_SIZES:
                return descriptor.hex()
    return None


def _notes(section: bytes, order: ByteOrder) -> c.Iterator[tuple[int, bytes, bytes]]:
    """Yield type, name and descriptor of each note, up to the first that does not fit into the section."""
    header = struct.Struct(f"{order}III")
    start = 0
    while start + header.size <= len(section):
        name_size, descriptor_size, kind = header.unpack_from(section, start)
        name = start + header.size
        descriptor = name + _padded(name_size)
        if descriptor + descriptor_size > len(section):
            return
        yield kind, section[name : name + name_size], section[descriptor : descriptor + descriptor_size]
        start = descriptor + _padded(descriptor_size)


def _padded(size: int) -> int:
    return size + -size % 4
