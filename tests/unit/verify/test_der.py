# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the reader of DER, which accepts what the kernel accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.der import (
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Der,
    DerError,
    context,
)

NULL = 0x05


def encode(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = b"" if size < 0x80 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets) if octets else size]) + octets + content


def test_elements_are_read_in_order() -> None:
    inner = encode(INTEGER, b"\x05") + encode(NULL, b"")
    reader = Der(encode(SEQUENCE, inner) + encode(SET, b""))
    assert (reader.more(), reader.at(SEQUENCE), reader.at(SET)) == (True, True, False)
    sequence = reader.enter(SEQUENCE)
    assert sequence.value(INTEGER) == b"\x05"
    assert sequence.encoded(NULL) == b"\x05\x00"
    sequence.finish()
    assert reader.encoded(SET) == b"\x31\x00"
    reader.finish()
    assert (reader.more(), reader.at(SET)) == (False, False)


def test_context_tags() -> None:
    assert (context(0), context(3)) == (0xA0, 0xA3)
    assert context(0, constructed=False) == 0x80


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF])
def test_lengths_of_every_form(size: int) -> None:
    reader = Der(encode(OCTET_STRING, bytes(size)))
    assert len(reader.value(OCTET_STRING)) == size
    reader.finish()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "data ends at byte 0"),
        (b"\x04", "data ends at byte 1"),
        (b"\x02\x01\x05", "tag 0x02 at byte 0"),
        (b"\x24\x01x", "tag 0x24 at byte 0, where 0x04 is expected"),
        (b"\x1f\x01\x00", "a tag of several bytes at byte 0"),
        (b"\x04\x80\0\0", "a length of an unusual form at byte 1"),
        (b"\x04\x83\0\0\1x", "a length of an unusual form at byte 1"),
        (b"\x04\x85\0\0\0\0\1x", "a length of an unusual form at byte 1"),
        (b"\x04\x02x", "the element at byte 0 is longer than the element around it"),
        (b"\x04\x82\xff\xffx", "the element at byte 0 is longer than the element around it"),
    ],
)
def test_other_encodings_are_errors(data: bytes, fault: str) -> None:
    with pytest.raises(DerError, match=fault):
        Der(data).value(OCTET_STRING)


@pytest.mark.parametrize("encoded", ["040178", "04810178", "0482000178"])
def test_a_length_need_not_be_the_shortest(encoded: str) -> None:
    reader = Der(bytes.fromhex(encoded))
    assert reader.value(OCTET_STRING) == b"x"
    reader.finish()


def test_constructed_elements_need_no_bit() -> None:
    assert Der(b"\x10\x02\x05\0").enter(SEQUENCE).value(NULL) == b""
    assert Der(b"\x80\x00").at(context(0))
    assert not Der(b"\xa0\x00").at(context(0, constructed=False))


def test_one_of_several_tags_is_read() -> None:
    reader = Der(b"\x30\x00\x31\x00\x02\x00")
    assert reader.at(SET, SEQUENCE)
    reader.enter(SET, SEQUENCE).finish()
    reader.enter(SET, SEQUENCE).finish()
    with pytest.raises(DerError, match="tag 0x02 at byte 4, where 0x31 or 0x30 is expected"):
        reader.enter(SET, SEQUENCE)


def test_a_mark_ends_an_indefinite_length() -> None:
    inner = encode(INTEGER, b"\x05") + b"\x30\x80" + encode(NULL, b"") + b"\0\0"
    reader = Der(b"\x30\x80" + inner + b"\0\0" + encode(NULL, b""))
    sequence = reader.enter(SEQUENCE)
    assert sequence.value(INTEGER) == b"\x05"
    assert sequence.value(SEQUENCE) == b"\x05\0"
    sequence.finish()
    assert reader.encoded(NULL) == b"\x05\0"
    reader.finish()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x30\x80", "data ends at byte 2"),
        (b"\x30\x80\0", "data ends at byte 3"),
        (b"\x30\x80\5\0", "data ends at byte 4"),
        (b"\x30\x80\x30\x80\0\0", "data ends at byte 6"),
        (b"\x10\x80\0\0", "a length of an unusual form at byte 1"),
        (b"\x30\x80\x1f\1\0\0\0", "a tag of several bytes at byte 2"),
    ],
)
def test_an_indefinite_length_needs_its_mark(data: bytes, fault: str) -> None:
    with pytest.raises(DerError, match=fault):
        Der(data).enter(SEQUENCE)


def test_a_mark_is_taken_for_an_optional_element() -> None:
    assert not Der(b"\x30\0").enter(SEQUENCE).more_of_any()
    assert Der(b"\x30\2\5\0").enter(SEQUENCE).more_of_any()
    assert Der(b"\x30\x80\5\0\0\0").enter(SEQUENCE).more_of_any()
    with pytest.raises(DerError, match="the mark at byte 2"):
        Der(b"\x30\x80\0\0").enter(SEQUENCE).more_of_any()


def test_an_element_ends_within_the_one_around_it() -> None:
    reader = Der(encode(SEQUENCE, b"\x04\x02x") + b"y").enter(SEQUENCE)
    with pytest.raises(DerError, match="longer than the element around it"):
        reader.value(OCTET_STRING)


def test_unexpected_data_is_an_error() -> None:
    reader = Der(b"\x05\x00\x05\x00")
    reader.value(NULL)
    with pytest.raises(DerError, match="unexpected data at byte 2"):
        reader.finish()


@given(st.binary(max_size=40), st.sampled_from([SEQUENCE, OCTET_STRING, INTEGER]))
def test_any_bytes_are_read_or_an_error(data: bytes, tag: int) -> None:
    reader = Der(data)
    try:
        element = reader.encoded(tag)
    except DerError as error:
        assert "byte" in str(error)
    else:
        assert data.startswith(element)
        value = Der(element).value(tag)
        assert Der(encode(tag, value)).value(tag) == value
