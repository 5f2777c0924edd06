# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Notices at an address: fetched when they have changed, and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from .._io import open_regular, read_bounded
from .._server.download import Downloader

NOTICES_LIMIT = 1 << 30
"""Bytes of notices at one address. The archive of everything that Ubuntu publishes has some 200 MB."""

_STAMP_LIMIT = 1 << 16
_PIECE = 1 << 20


def cached_notices(url: str, folder: Path, downloader: Downloader) -> tuple[Path, bool]:
    """A file with what is at an address, and whether it came in this call. Raises `ServerError` and `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = hashlib.sha256(url.encode()).hexdigest()
    content, stamp = folder / name, folder / f"{name}.json"
    unfinished = folder / f".{secrets.token_hex(8)}"
    try:
        changed, etag = downloader.download_if_changed(url, unfinished, NOTICES_LIMIT, _etag(stamp, url, content))
        if changed:
            # An old stamp with new content costs one more fetch; the other way round, the old content would stay.
            unfinished.replace(content)
            said = {"url": url, "etag": etag, "sha256": _sha256(content)}
            stamp.write_text(json.dumps(said), encoding="utf-8")
    finally:
        unfinished.unlink(missing_ok=True)
    return content, changed


def _etag(stamp: Path, url: str, content: Path) -> str | None:
    """The ETag of what is kept, if that is still what came."""
    try:
        said = json.loads(read_bounded(str(stamp), _STAMP_LIMIT))
        if said["url"] == url and said["sha256"] == _sha256(content) and isinstance(said["etag"], str):
            return str(said["etag"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # It came never, or not to its end, or somebody has touched it: it is fetched.
        return None
    return None


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with open_regular(str(path)) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
