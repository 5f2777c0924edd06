# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Changes of valid input: single bytes, pieces, and texts that parsers of other programs could not handle."""

from __future__ import annotations

import collections.abc as c
import json
import random
import typing as t

LARGEST = 1 << 20
"""Bytes of an input after all changes."""

# Texts, not bytes of a certain format: a change must also hit the inside of values.
PIECES: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\xff\xfe\x80",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\n",
    b"\r\n",
    b"\xe2\x80\xa8",
    b"\x1b]0;x\x07\x1b[2J",
    "\u202e\u2066\u200b".encode(),
    b"9" * 5000,
    b"-1",
    b"1e999",
    b"NaN",
    b"Infinity",
    b"18446744073709551616",
    b"99999999999",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"- " * 20_000,
    b"&a [*a, *a]",
    b"*a",
    b"!!python/object/apply:os.system [id]",
    b"<<: *a",
    b"{{ 7 * 7 }}",
    b"../" * 50,
    b"'" + b"\\'" * 5000,
    b'"' + b'\\"' * 5000,
    b"x" * 70_000,
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"CVE-2016-0001",
    b"2026-02-30T25:61:61Z",
    b"9999-12-31T23:59:59+23:59",
    b"0001-01-01T00:00:00+14:00",
)
_VALUES: tuple[t.Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    1e308,
    "",
    "\0",
    "\ud800",
    "\u202e",
    "9" * 5000,
    "x" * 70_000,
    "9999-12-31T23:59:59+23:59",
    "0001-01-01T00:00:00+14:00",
    "CVE-2016-0001",
    "{{ 7 * 7 }}",
    "../../x",
    [],
    {},
    [[]],
    [None],
    {"": None},
    [{}] * 3000,
)


def mutated(data: bytes, others: c.Sequence[bytes], chance: random.Random) -> bytes:
    """Return a changed input. `others` are further valid inputs, of which pieces are taken."""
    if chance.random() < 0.3:
        document = _document(data)
        if document is not None:
            data = _encoded(_mutated_value(document, chance))
    for _each in range(min(chance.choice((0, 1, 1, 1, 2, 3, 8)), 8)):
        data = _mutated_bytes(data, others, chance)
    return data[:LARGEST]


def _mutated_bytes(data: bytes, others: c.Sequence[bytes], chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.choice((0, 1, 1, 2, 4, 16, 256)))
    match chance.randrange(8):
        case 0 if start < len(data):
            return data[:start] + bytes([data[start] ^ 1 << chance.randrange(8)]) + data[start + 1 :]
        case 1:
            return data[:start] + chance.randbytes(end - start) + data[end:]
        case 2:
            return data[:start] + data[end:]
        case 3:
            return data[:start]
        case 4:
            return data[:end] + data[start:end] * chance.choice((1, 2, 50, 2000)) + data[end:]
        case 5:
            other = chance.choice(others)
            at = chance.randrange(len(other) + 1)
            return data[:start] + other[at : at + chance.choice((8, 64, 1024, len(other)))] + data[end:]
        case _:
            return data[:start] + chance.choice(PIECES) + data[end:]


def _document(data: bytes) -> t.Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _encoded(document: t.Any) -> bytes:
    return json.dumps(document).encode()


def _mutated_value(value: t.Any, chance: random.Random, depth: int = 0) -> t.Any:
    """Replace one value of a document, in any depth, or remove it, or repeat it."""
    if depth and (chance.random() < 0.25 or not isinstance(value, dict | list) or not value):
        return chance.choice(_VALUES)
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        changed = dict(value)
        if chance.random() < 0.15:
            del changed[key]
        elif chance.random() < 0.1:
            changed[str(chance.choice(_VALUES))[:100]] = changed.pop(key)
        else:
            changed[key] = _mutated_value(value[key], chance, depth + 1)
        return changed
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        return [*value[:at], _mutated_value(value[at], chance, depth + 1), *value[at + chance.randrange(2) :]]
    return chance.choice(_VALUES)
