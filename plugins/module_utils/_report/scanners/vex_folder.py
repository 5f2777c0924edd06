# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The folder of OpenVEX documents: versions that only increase, and documents that no host supports any more.

A document of a set of hosts keeps its ``@id`` and its file. If the last host of a set is gone, for example because it
booted without the live patch, its statements become ``affected``. Other files in the folder are left alone.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

from ..._errors import LivepatchError
from ..._io import has_content, make_folder, read_bounded, write_atomically
from .openvex import SUFFIX, TOOLING, VexDocuments

INDEX = "index.json"
INDEX_SCHEMA = "kernelops.livepatch/openvex-index/1"

_DOCUMENT_LIMIT = 64 << 20
_WITHDRAWN = (
    "The last evaluation confirmed the live patch on no host with these packages, for example after a boot, or because "
    "the host was not part of it: evaluate the host again, and use the document that index.json names for it."
)


@dataclasses.dataclass(frozen=True)
class VexChanges:
    """The files to write, and the names of the documents that are withdrawn."""

    files: dict[str, str]
    withdrawn: list[str]


class VexFigures(t.TypedDict):
    """The figures of a folder after a run. `changed` are the names of the files that differ from those before."""

    documents: int
    changed: list[str]
    withdrawn: list[str]
    without_document: int


def update_folder(folder: Path, documents: VexDocuments, *, check_mode: bool) -> VexFigures:
    """Write the files that differ, in check mode only compare them. Raises `LivepatchError` and `OSError`."""
    changes = plan_folder(folder, documents)
    if not check_mode:
        write_folder(folder, changes)
    return {
        "documents": len(documents.documents),
        "changed": sorted(changes.files),
        "withdrawn": changes.withdrawn,
        "without_document": sum(map(len, documents.left_out.values())),
    }


def plan_folder(folder: Path, documents: VexDocuments) -> VexChanges:
    """Return what changes in the folder. Raises `LivepatchError` if a document in it cannot be read."""
    previous = {path.name: _read(path) for path in sorted(folder.glob(f"*{SUFFIX}")) if path.is_file()}
    files: dict[str, str] = {}
    for each in documents.documents:
        content = _versioned(each.content, previous.get(each.name))
        if content is not None:
            files[each.name] = _text(content)
    current = {each.name for each in documents.documents}
    withdrawn = []
    for name, content in previous.items():
        if name not in current and content.get("tooling") == TOOLING and _is_in_force(content):
            files[name] = _text(_withdrawn(content, documents.newest))
            withdrawn.append(name)
    index = {
        "schema": INDEX_SCHEMA,
        "hosts": {host: each.name for each in documents.documents for host in each.hosts},
        "without_document": documents.left_out,
    }
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    if not has_content(folder / INDEX, [text]):
        files[INDEX] = text
    return VexChanges(files, withdrawn)


def write_folder(folder: Path, changes: VexChanges) -> None:
    """Write the files of a plan, the index last. Raises `OSError`."""
    make_folder(folder)
    for name in sorted(changes.files, key=lambda name: name == INDEX):
        write_atomically(folder / name, [changes.files[name]])


def _versioned(content: dict[str, t.Any], previous: dict[str, t.Any] | None) -> dict[str, t.Any] | None:
    """Return a document with its version; ``None`` if the previous one states the same."""
    if previous is None:
        return {**content, "version": 1}
    if _statements(previous) == content["statements"] and previous.get("@id") == content["@id"]:
        return None
    dated = {"timestamp": previous.get("timestamp", content["timestamp"]), "last_updated": content["timestamp"]}
    return {**content, **dated, "version": previous["version"] + 1}


def _is_in_force(content: dict[str, t.Any]) -> bool:
    return any(statement.get("status") == "not_affected" for statement in _statements(content))


def _withdrawn(content: dict[str, t.Any], newest: str | None) -> dict[str, t.Any]:
    statements = []
    for statement in _statements(content):
        if statement.get("status") != "not_affected":
            statements.append(statement)
            continue
        kept: dict[str, t.Any] = {key: statement[key] for key in ("vulnerability", "products", "timestamp")}
        dated = {"timestamp": newest} if newest else {}
        statements.append({**kept, **dated, "status": "affected", "action_statement": _WITHDRAWN})
    updated = {"last_updated": newest} if newest else {}
    return {**content, **updated, "version": content["version"] + 1, "statements": statements}


def _statements(content: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return t.cast("list[dict[str, t.Any]]", content["statements"])


def _text(content: dict[str, t.Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _read(path: Path) -> dict[str, t.Any]:
    """Read a document that an earlier run wrote. A new version must be higher than its version."""
    try:
        content = json.loads(read_bounded(str(path), _DOCUMENT_LIMIT))
        version, statements = content["version"], content["statements"]
        usable = isinstance(version, int) and all(isinstance(each, dict) for each in statements)
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise _unusable(path, str(error) or type(error).__name__) from error
    if not usable:
        raise _unusable(path, "it has no version or no statements")
    return t.cast("dict[str, t.Any]", content)


def _unusable(path: Path, why: str) -> LivepatchError:
    return LivepatchError(
        "openvex_unusable",
        f"the OpenVEX document {path} of an earlier run cannot be read, so that its version is unknown: {why}",
        "restore the file, or move it to another folder",
    )
