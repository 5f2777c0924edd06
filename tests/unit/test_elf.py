# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the reader of ELF files and notes."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._elf import ElfError, build_id, read_elf
from tests.lab.live_patches import signing

BUILD_ID = "5d" * 20


def note(descriptor: bytes = bytes.fromhex(BUILD_ID), name: bytes = b"GNU\0", kind: int = 3, order: str = "<") -> bytes:
    padding = b"\0" * (-len(name) % 4), b"\0" * (-len(descriptor) % 4)
    header = struct.pack(f"{order}3I", len(name), len(descriptor), kind)
    return header + name + padding[0] + descriptor + padding[1]


def fault(content: bytes) -> str:
    with pytest.raises(ElfError) as caught:
        read_elf(content, [".modinfo"])
    assert caught.value.reason == str(caught.value)
    return caught.value.kind


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [64, 32])
def test_reads_the_wanted_sections(order: str, bits: int) -> None:
    content = signing.elf({".text": b"code", ".modinfo": b"a=b\0", ".modinfo.x": b"c"}, bits=bits, order=order)
    file = read_elf(content + b"signature", [".modinfo", ".bss", ".absent"])
    assert (file.bits, file.extent) == (bits, len(content))
    assert {name: section.tobytes() for name, section in file.sections.items()} == {".modinfo": b"a=b\0"}


@pytest.mark.parametrize(
    "content",
    [
        b"MZ\x90",
        b"\x7fELG" + bytes(100),
        b"\x7fELF\3\1\1" + bytes(100),
        b"\x7fELF\2\3\1" + bytes(100),
        signing.elf({}, kind=2),
        b"\x7fELF\2\1\1" + bytes(57),
    ],
)
def test_other_files_are_malformed(content: bytes) -> None:
    assert fault(content) == "malformed"


@pytest.mark.parametrize("bits", [64, 32])
def test_every_truncation_is_noticed(bits: int) -> None:
    content = signing.module(bits=bits)
    assert {fault(content[:size]) for size in range(len(content))} == {"truncated"}


@settings(max_examples=500)
@given(st.data())
def test_any_file_is_parsed_or_rejected(data: st.DataObject) -> None:
    content = bytearray(signing.module(bits=data.draw(st.sampled_from([32, 64]))))
    for _change in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + 8] = data.draw(st.one_of(st.binary(max_size=8), st.just(b"\xff" * 8), st.just(bytes(8))))
    try:
        file = read_elf(bytes(content), [".modinfo", ".note.gnu.build-id"])
    except ElfError as error:
        assert error.kind in ("truncated", "malformed")
    else:
        assert file.extent <= len(content)
        assert all(len(section) <= len(content) for section in file.sections.values())


def test_many_sections_with_one_name_are_fast() -> None:
    names = b"\0.modinfo\0" * 100_000
    entry = struct.Struct("<II4QII2Q")
    sections = [(11, 1, 0, 0, 64, 1 << 20, 0, 0, 1, 0)] * 65_000
    sections[0] = (0, 3, 0, 0, 64, len(names), 0, 0, 1, 0)
    body = names + b"k=v\0" * ((1 << 18) - len(names) // 4)
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHI3QIHHHHHH", 1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(sections), 0
    )
    content = header + body + b"".join(entry.pack(*section) for section in sections)
    started = time.process_time()
    assert len(read_elf(content, [".modinfo"]).sections[".modinfo"]) == 1 << 20
    assert time.process_time() - started < 5


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [8, 16, 20, 32, 64])
def test_build_id_in_both_byte_orders(order: str, size: int) -> None:
    assert build_id(note(bytes(range(size)), order=order)) == bytes(range(size)).hex()


def test_build_id_behind_other_notes() -> None:
    section = note(b"abcde", b"Linux\0", 0x100) + note(kind=1) + note(name=b"GO\0\0") + note(b"\x07" * 20)
    assert build_id(memoryview(section)) == "07" * 20


def test_bytes_behind_the_notes_are_ignored() -> None:
    assert build_id(note() + b"\xff" * 100_000) == BUILD_ID


@pytest.mark.parametrize(
    "section",
    [
        b"",
        note()[:-1],
        note()[:10],
        note(b""),
        note(b"1234567"),
        note(b"1" * 65),
        note(kind=4),
        note(name=b"GNV\0"),
        struct.pack("<3I", 2**32 - 1, 20, 3) + bytes(64),
        struct.pack("<3I", 4, 2**32 - 1, 3) + b"GNU\0" + bytes(64),
        note(kind=4) * 1000 + note(),
    ],
)
def test_malformed_notes_have_no_build_id(section: bytes) -> None:
    assert build_id(section) is None


@given(st.binary(max_size=200) | st.builds(note, st.binary(max_size=70), st.binary(max_size=9), st.integers(0, 4)))
def test_any_notes_have_a_build_id_or_none(section: bytes) -> None:
    found = build_id(section)
    assert found is None or bytes.fromhex(found) in section


def test_many_notes_take_no_time() -> None:
    started = time.process_time()
    build_id(bytes(64 << 20))
    assert time.process_time() - started < 1
