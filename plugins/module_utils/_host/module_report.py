# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a host sends of a loaded patch: the build id of the module in memory, and what its file's signature needs.

A report has lines of a word and its value: ``note`` (the running module's ``.note.gnu.build-id``), ``file`` (access and
path), ``built`` (what follows the header of the file, which is the same note in every module that the kernel's build
links), ``trailer`` (what follows the module in its file) and ``digest`` (algorithm and value, of the module without
that). Bytes are hexadecimal. Nothing here raises: what is not as it should be counts as not known.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import typing as t

CONTENT_LIMIT = 8 << 20
"""Bytes of a module that is transferred. Patches are some 100 KB to some MB."""

FileAccess = t.Literal["ok", "absent", "denied"]

_DIGEST = re.compile(r"(?P<name>sha256|sha384|sha512) (?P<value>[0-9a-f]{64,128})( .*)?")
_DIGEST_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_TRAILER_LIMIT = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleFile:
    """The file of a loaded module, as far as the host sent it. `digest` is the algorithm and the value.

    `trailer` is ``None`` where it is not known where the module ends, and empty where nothing follows it.
    """

    access: FileAccess
    path: str | None = None
    built: bytes = b""
    trailer: bytes | None = None
    digest: tuple[str, bytes] | None = None
    content: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleReport:
    """`note` is the dump of the running module's note, in hexadecimal. `file` is ``None`` where nobody asked for it."""

    note: str = ""
    file: ModuleFile | None = None


def parse_report(text: str, content: str | None = None) -> ModuleReport:
    """Read a report; `content` is the file in base64, where it was sent."""
    lines = dict(line.partition(" ")[::2] for line in text.split("\n"))
    access, _blank, path = lines.get("file", "").partition(" ")
    if access not in t.get_args(FileAccess):
        return ModuleReport(lines.get("note", ""))
    file = ModuleFile(
        access=t.cast(FileAccess, access),
        path=path or None,
        built=_bytes(lines.get("built")) or b"",
        trailer=_bytes(lines.get("trailer")),
        digest=_digest(lines.get("digest", "")),
        content=None if content is None else decode_file(content),
    )
    return ModuleReport(lines.get("note", ""), file)


def decode_file(content: str) -> bytes | None:
    """A file in base64, unless that is damaged or the file is larger than `CONTENT_LIMIT`."""
    try:
        data = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if 0 < len(data) <= CONTENT_LIMIT else None


def _bytes(digits: str | None) -> bytes | None:
    if digits is None or len(digits) > 2 * _TRAILER_LIMIT:
        return None
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None


def _digest(said: str) -> tuple[str, bytes] | None:
    match = _DIGEST.fullmatch(said)
    if match is None or len(match["value"]) != _DIGEST_DIGITS[match["name"]]:
        return None
    return match["name"], bytes.fromhex(match["value"])
