# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A cache of notices at a URL: downloaded if they have changed, and stored in a folder."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from .._io import make_own_folder, open_regular, read_bounded, write_atomically
from .._server.download import Downloader
from .._text import mask_credentials

NOTICES_LIMIT = 1 << 30
"""Bytes of notices at one URL. The archive of all that Ubuntu publishes has about 200 MB."""

_STAMP_LIMIT = 1 << 16
_PIECE = 1 << 20


def cached_notices(url: str, folder: Path, downloader: Downloader) -> tuple[Path, bool]:
    """Return a file with the content at a URL, and True if it is a new download.

    Raises `LivepatchError` and `OSError`.
    """
    make_own_folder(folder)
    name = hashlib.sha256(url.encode()).hexdigest()
    content, stamp = folder / name, folder / f"{name}.json"
    unfinished = folder / f".{secrets.token_hex(8)}"
    try:
        changed, etag = downloader.download_if_changed(url, unfinished, NOTICES_LIMIT, _etag(stamp, url, content))
        if changed:
            # An old stamp with new content costs one more download. The other way round, the old content would stay.
            unfinished.replace(content)
            # The name of the file has the URL, and the text must not have its password.
            details = {"url": mask_credentials(url), "etag": etag, "sha256": _sha256(content)}
            write_atomically(stamp, [json.dumps(details)])
    finally:
        unfinished.unlink(missing_ok=True)
    return content, changed


def _etag(stamp: Path, url: str, content: Path) -> str | None:
    """Return the ETag of the stored content, if it is unchanged."""
    try:
        details = json.loads(read_bounded(str(stamp), _STAMP_LIMIT))
        known = details["url"] == mask_credentials(url) and details["sha256"] == _sha256(content)
        if known and isinstance(details["etag"], str):
            return str(details["etag"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # Missing, incomplete or modified: download again.
        return None
    return None


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with open_regular(str(path)) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
