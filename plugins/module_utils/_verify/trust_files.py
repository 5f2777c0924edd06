# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Trust as an operator gives it to a module: files with certificates, and pins."""

from __future__ import annotations

import collections.abc as c

from .._io import read_bounded
from .trust import CERTIFICATE_FILE_LIMIT, TrustAnchors, TrustError, operator_anchors, read_certificates


def read_anchors(paths: c.Iterable[str], pins: c.Collection[str] | None) -> TrustAnchors:
    """The trust that is asked for (see `operator_anchors`).

    Raises `TrustError` and, for a file that cannot be read, `OSError`; both name the file.
    """
    certificates = []
    for path in paths:
        data = read_named(path, CERTIFICATE_FILE_LIMIT)
        try:
            certificates += read_certificates(data)
        except TrustError as error:
            raise TrustError(f"{path}: {error}") from error
    return operator_anchors(certificates, pins)


def read_named(path: str, limit: int) -> bytes:
    """Read a file, or raise `OSError` with the path in its message."""
    try:
        return read_bounded(path, limit)
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
