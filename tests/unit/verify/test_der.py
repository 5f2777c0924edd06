# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the strict reader of DER."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.der import (
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Der,
    DerError,
    context,
)


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


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
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
        (b"\x04\x80", "a length of an unusual form at byte 1"),
        (b"\x04\x85\0\0\0\0\1x", "a length of an unusual form at byte 1"),
        (b"\x04\x81\x01x", "a length longer than needed at byte 1"),
        (b"\x04\x82\0\x80" + bytes(128), "a length longer than needed at byte 1"),
        (b"\x04\x02x", "the element at byte 0 is longer than the element around it"),
        (b"\x04\x84\xff\xff\xff\xffx", "the element at byte 0 is longer than the element around it"),
    ],
)
def test_other_encodings_are_errors(data: bytes, fault: str) -> None:
    with pytest.raises(DerError, match=fault):
        Der(data).value(OCTET_STRING)


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
        assert encode(tag, Der(element).value(tag)) == element
