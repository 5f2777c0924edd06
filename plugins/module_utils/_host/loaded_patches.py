# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The live patches that the kernel reports in sysfs, and the keys that it contains.

The kernel is a source that does not depend on the client. Formats: ``sysfs-kernel-livepatch`` and ``sysfs-module`` in
``Documentation/ABI/testing``, and ``/proc/keys`` in keyrings(7). The functions never raise: malformed content counts as
unknown.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import typing as t
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .._elf import build_id

LIVE_PATCH_KEY_IDS = frozenset(
    {
        "14df34d1a87cf37625abec039ef2bf521249b969",  # Canonical Ltd. Live Patch Signing
        "d541cef61dc7e793b7eb7e899970a2eef0b5dc8c",  # Canonical Ltd. Live Patch Signing 2025 Kmod
    }
)
"""Key identifiers (SHA-1 of the public key) of the keys with which Canonical signs live patches.

Ubuntu kernels with a key log it at boot (``Loaded X.509 cert 'Canonical Ltd. Live Patch Signing: 14df34d1…'``).
"""

_LIVEPATCH = "/sys/kernel/livepatch/"
_MODULE = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,63}")
_SRCVERSION = re.compile(r"[0-9A-Za-z]{1,64}")
_TAINT = re.compile(r"[A-Z]{0,32}")
_KEY_ID = re.compile(r"[0-9a-f]{8,128}")

_NOTE_DUMP_LIMIT = 8192

_KEY_COLUMNS = 9
_KEY_LINE = re.compile(r"[0-9a-f]{8} [A-Za-z-]{7} +[0-9]+ +[0-9a-z]+ [0-9a-f]{8} +-?[0-9]+ +-?[0-9]+ ")
_ASYMMETRIC = "asymmetri"  # The kernel cuts the type off after nine characters.
_KEY_TYPES_OF_ROOT = frozenset({_ASYMMETRIC, "keyring", "user", "logon", "blacklist", "encrypted", "trusted"})
"""Types whose keys of root have descriptions that only root or the kernel chooses, unlike those of file systems."""

_KEY_LINE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class SysfsPatch:
    """A live patch module in the running kernel. ``None`` means unknown.

    `transition` is also ``None`` on kernels without this attribute (4.4). `build_id` is hexadecimal in lower case.
    `taint` contains the letters of ``/sys/module/<module>/taint``, and is empty if there are none. `file` is the file
    that the module was loaded from, or ``None`` if it was not requested.
    """

    module: str
    enabled: bool | None
    transition: bool | None
    build_id: str | None
    srcversion: str | None
    taint: str | None
    file: ModuleFile | None = None


@dataclass(frozen=True, slots=True)
class KernelKey:
    """A public key in the kernel's keyrings: subject, key identifier (lower case) and kind (``X509.rsa``).

    `certain` is false if a local user can have written the line of the key.
    """

    subject: str
    key_id: str
    kind: str
    certain: bool = True


def parse_patches(files: Mapping[str, str], reports: Mapping[str, ModuleReport]) -> tuple[SysfsPatch, ...]:
    """Return the patches under ``/sys/kernel/livepatch``, ordered by module.

    `files` maps paths to contents: those under ``/sys/kernel/livepatch/<module>`` list the patches, those under
    ``/sys/module/<module>`` describe them. `reports` has the host's report on each module.
    """
    found = {path.removeprefix(_LIVEPATCH).partition("/")[0] for path in files if path.startswith(_LIVEPATCH)}
    return tuple(
        _patch(module, files, reports.get(module, ModuleReport()))
        for module in sorted(found)
        if _MODULE.fullmatch(module)
    )


def kernel_keys(proc_keys: str) -> tuple[KernelKey, ...]:
    """Return root's valid public keys in the content of ``/proc/keys``, which must be complete.

    Only root can see the keys of the kernel there. An empty result for another user proves nothing.

    The kernel prints descriptions without escaping line ends, so the description of a user's key can contain lines
    that imitate other keys. The owner column of the first line of a key is written by the kernel. A key is therefore
    certain only before the first line that is not the line of a key whose description only root chooses. Lines of the
    kernel itself cannot be hidden: a key that is not listed at all is not there.
    """
    found = []
    certain = True
    # Not splitlines(): it also splits at characters that the description of a key can contain.
    for line in proc_keys.split("\n"):
        certain = certain and (not line or _is_written_by_root(line))
        key = _kernel_key(line, certain=certain)
        if key is not None:
            found.append(key)
    return tuple(found)


def has_key(keys: Collection[KernelKey] | None, key_ids: Collection[str]) -> bool | None:
    """Return True if one of these keys is in the kernel, and None if this is unknown."""
    if keys is None:
        return None
    matching = [key.certain for key in keys if key.key_id in key_ids]
    return any(matching) or (None if matching else False)


def _patch(module: str, files: Mapping[str, str], report: ModuleReport) -> SysfsPatch:
    return SysfsPatch(
        module=module,
        enabled=_flag(files.get(f"{_LIVEPATCH}{module}/enabled")),
        transition=_flag(files.get(f"{_LIVEPATCH}{module}/transition")),
        build_id=_build_id_of_dump(report.note),
        srcversion=_matching(_SRCVERSION, files.get(f"/sys/module/{module}/srcversion")),
        taint=_matching(_TAINT, files.get(f"/sys/module/{module}/taint")),
        file=report.file,
    )


def _flag(content: str | None) -> bool | None:
    return {"0": False, "1": True}.get((content or "").strip())


def _matching(pattern: re.Pattern[str], content: str | None) -> str | None:
    if content is None:
        return None
    word = content.strip()
    return word if pattern.fullmatch(word) else None


def _build_id_of_dump(dump: str) -> str | None:
    if len(dump) > _NOTE_DUMP_LIMIT:
        return None
    try:
        return build_id(bytes.fromhex("".join(dump.split())))
    except ValueError:
        return None


def _columns(line: str) -> list[str] | None:
    columns = line[:_KEY_LINE_LIMIT].split(None, _KEY_COLUMNS - 1)
    return columns if len(columns) == _KEY_COLUMNS else None


def _is_written_by_root(line: str) -> bool:
    """Return True if the line is that of a root's key of a type for which no other user chooses descriptions."""
    columns = _columns(line) if _KEY_LINE.match(line) else None
    return columns is not None and columns[5] == "0" and columns[7] in _KEY_TYPES_OF_ROOT


def _kernel_key(line: str, *, certain: bool) -> KernelKey | None:
    """Read ``0b4f1c8a I------     1 perm 1f030000     0     0 asymmetri <subject>: <key id>: X509.rsa 1249b969 []``."""
    columns = _columns(line)
    if columns is None:
        return None
    _serial, flags, _usage, expiry, _permissions, owner, _group, key_type, description = columns
    if key_type != _ASYMMETRIC or owner != "0" or expiry == "expd":
        return None
    # The key must be instantiated, and neither revoked, dead, negative nor invalidated.
    if "I" not in flags or any(mark in flags for mark in "RDNi"):
        return None
    # The subject can contain colons.
    match description.rsplit(": ", 2):
        case [subject, key_id, detail] if _KEY_ID.fullmatch(key_id):
            return KernelKey(subject, key_id, detail.partition(" ")[0], certain)
    return None


CONTENT_LIMIT = 8 << 20
"""Largest module that is transferred, in bytes. Patches have between 100 KB and a few MB."""

FileAccess = t.Literal["ok", "absent", "denied"]

_DIGEST = re.compile(r"(?P<name>sha256|sha384|sha512) (?P<value>[0-9a-f]{64,128})( .*)?")
_DIGEST_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_TRAILER_LIMIT = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleFile:
    """The file of a loaded module, or the parts of it that the host sent. `digest` is the algorithm and the value.

    `trailer` contains the bytes after the module, or is ``None`` if the end of the module is unknown.
    """

    access: FileAccess
    path: str | None = None
    built: bytes = b""
    trailer: bytes | None = None
    digest: tuple[str, bytes] | None = None
    content: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleReport:
    """The host's report on a module. `note` is the build ID note of the running module in hexadecimal.

    `file` is ``None`` if it was not requested.
    """

    note: str = ""
    file: ModuleFile | None = None


def parse_report(text: str, content: str | None = None) -> ModuleReport:
    """Parse a report. `content` is the file in base64, or ``None`` if it was not sent."""
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
    """Decode a file. Return ``None`` if it is not valid base64, empty, or larger than `CONTENT_LIMIT`."""
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


def _digest(line: str) -> tuple[str, bytes] | None:
    match = _DIGEST.fullmatch(line)
    if match is None or len(match["value"]) != _DIGEST_DIGITS[match["name"]]:
        return None
    return match["name"], bytes.fromhex(match["value"])
