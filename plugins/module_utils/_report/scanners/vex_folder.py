# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The folder of OpenVEX documents: versions that only increase, and documents that no host supports any more.

A document of a set of hosts keeps its ``@id`` and its file. If the last host of a set is gone, for example because it
booted without the live patch, its statements become ``affected``. Other files in the folder are left alone.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import functools
import hashlib
import json
import typing as t
from pathlib import Path

from ..._errors import LivepatchError
from ..._io import has_content, lock_within, make_folder, open_lock, read_bounded, write_atomically
from .openvex import SUFFIX, TOOLING, VexDocuments

INDEX = "index.json"
INDEX_SCHEMA = "kernelops.livepatch/openvex-index/1"

_DOCUMENT_LIMIT = 64 << 20
_LOCK = ".lock"
_LOCK_SECONDS = 60
_KEPT = ("vulnerability", "products", "timestamp")
"""Members of a statement that do not change when the document is withdrawn."""
_WITHDRAWN = (
    "The last evaluation confirmed the live patch on no host with these packages, for example after a boot, or because "
    "the host was not part of it: evaluate the host again, and use the document that index.json names for it."
)


@dataclasses.dataclass(frozen=True)
class VexChanges:
    """The files to write, and the names of the documents that are withdrawn.

    `files` has a function for the text of each: the texts of a large fleet together need much memory.
    """

    files: dict[str, c.Callable[[], str]]
    withdrawn: list[str]


class VexFigures(t.TypedDict):
    """The figures of a folder after a run. `changed` are the names of the files that differ from those before."""

    documents: int
    changed: list[str]
    withdrawn: list[str]
    without_document: int


def update_folder(folder: Path, documents: VexDocuments, *, check_mode: bool) -> VexFigures:
    """Write the files that differ, in check mode only compare them. Raises `LivepatchError` and `OSError`."""
    if check_mode:
        changes = plan_folder(folder, documents)
    else:
        make_folder(folder)
        with open_lock(folder / _LOCK) as lock:
            # Two runs at once would use the same version for different documents.
            if not lock_within(lock.fileno(), _LOCK_SECONDS):
                raise _locked(folder)
            changes = plan_folder(folder, documents)
            write_folder(folder, changes)
    return {
        "documents": len(documents.documents),
        "changed": sorted(changes.files),
        "withdrawn": changes.withdrawn,
        "without_document": sum(map(len, documents.left_out.values())),
    }


def plan_folder(folder: Path, documents: VexDocuments) -> VexChanges:
    """Return what changes in the folder. Raises `LivepatchError` if a document in it cannot be read."""
    previous = {path.name: _Previous.of(_read(path)) for path in sorted(folder.glob(f"*{SUFFIX}")) if path.is_file()}
    files: dict[str, c.Callable[[], str]] = {}
    for each in documents.documents:
        content = _versioned(each.content, previous.get(each.name))
        if content is not None:
            files[each.name] = functools.partial(_text, content)
    current = {each.name for each in documents.documents}
    withdrawn = []
    for name, found in previous.items():
        if name not in current and found.in_force:
            files[name] = functools.partial(_withdrawn_text, folder / name, documents.newest)
            withdrawn.append(name)
    index = {
        "schema": INDEX_SCHEMA,
        "hosts": {host: each.name for each in documents.documents for host in each.hosts},
        "without_document": documents.left_out,
    }
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    if not has_content(folder / INDEX, [text]):
        files[INDEX] = functools.partial(str, text)
    return VexChanges(files, withdrawn)


def write_folder(folder: Path, changes: VexChanges) -> None:
    """Write the files of a plan, the index last. Raises `OSError`."""
    make_folder(folder)
    for name in sorted(changes.files, key=lambda name: name == INDEX):
        write_atomically(folder / name, [changes.files[name]()])


class _Previous(t.NamedTuple):
    """What is needed of a document of an earlier run. `in_force` is true for one of this collection that suppresses."""

    version: int
    identifier: object
    timestamp: object
    statements: bytes
    in_force: bool

    @classmethod
    def of(cls, content: dict[str, t.Any]) -> _Previous:
        suppresses = any(statement.get("status") == "not_affected" for statement in _statements(content))
        return cls(
            version=content["version"],
            identifier=content.get("@id"),
            timestamp=content.get("timestamp"),
            statements=_digest(_statements(content)),
            in_force=suppresses and content.get("tooling") == TOOLING,
        )


def _digest(statements: list[dict[str, t.Any]]) -> bytes:
    return hashlib.sha256(json.dumps(statements, sort_keys=True).encode("ascii")).digest()


def _versioned(content: dict[str, t.Any], previous: _Previous | None) -> dict[str, t.Any] | None:
    """Return a document with its version; ``None`` if the previous one states the same."""
    if previous is None:
        return {**content, "version": 1}
    if previous.identifier == content["@id"] and previous.statements == _digest(_statements(content)):
        return None
    dated = {"timestamp": previous.timestamp or content["timestamp"], "last_updated": content["timestamp"]}
    return {**content, **dated, "version": previous.version + 1}


def _withdrawn_text(path: Path, newest: str | None) -> str:
    content, statements = _read(path), []
    for statement in _statements(content):
        if statement.get("status") != "not_affected":
            statements.append(statement)
            continue
        kept: dict[str, t.Any] = {key: statement[key] for key in _KEPT if key in statement}
        dated = {"timestamp": newest} if newest else {}
        statements.append({**kept, **dated, "status": "affected", "action_statement": _WITHDRAWN})
    updated = {"last_updated": newest} if newest else {}
    return _text({**content, **updated, "version": content["version"] + 1, "statements": statements})


def _statements(content: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return t.cast("list[dict[str, t.Any]]", content["statements"])


def _text(content: dict[str, t.Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _read(path: Path) -> dict[str, t.Any]:
    """Read a document that an earlier run wrote. A new version must be higher than its version."""
    try:
        content = json.loads(read_bounded(str(path), _DOCUMENT_LIMIT))
        version, statements = content["version"], content["statements"]
        usable = isinstance(version, int) and not isinstance(version, bool)
        usable = usable and all(isinstance(each, dict) for each in statements)
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise _unusable(path, str(error) or type(error).__name__) from error
    if not usable:
        raise _unusable(path, "it has no version or no statements")
    return t.cast("dict[str, t.Any]", content)


def _locked(folder: Path) -> LivepatchError:
    return LivepatchError(
        "openvex_locked",
        f"another run writes OpenVEX documents to {folder}",
        "wait until it has ended, then run the task again",
    )


def _unusable(path: Path, why: str) -> LivepatchError:
    return LivepatchError(
        "openvex_unusable",
        f"the OpenVEX document {path} of an earlier run cannot be read, so that its version is unknown: {why}",
        "restore the file, or move it to another folder",
    )
