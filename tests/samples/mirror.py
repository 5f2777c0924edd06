# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Archives of a mirror and of its source, made up."""

from __future__ import annotations

import datetime as dt
import hashlib

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import Index, MirroredPatch
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import ListedPatch
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.archive import parse_archive_name

NOW = dt.datetime(2031, 1, 31, tzinfo=dt.timezone.utc)
KERNEL = "4.4.0-168.197-generic"


def name_of(version: str, kernel: str = KERNEL, architecture: str = "amd64") -> str:
    """Return the name of an archive."""
    return f"livepatch-{kernel}-{version}-{architecture}.tar.bz2"


def listed(version: str, kernel: str = KERNEL, tier: str | None = None, architecture: str = "amd64") -> ListedPatch:
    """Return an archive of a source."""
    name = name_of(version, kernel, architecture)
    parsed = parse_archive_name(name)
    assert parsed is not None
    return ListedPatch(name, parsed, hashlib.sha256(name.encode()).hexdigest(), tier)


def mirrored(version: str, kernel: str = KERNEL, days: int = 0) -> MirroredPatch:
    """Return an archive of a mirror, copied some days before `NOW`."""
    patch = listed(version, kernel)
    fetched = format_time(NOW - dt.timedelta(days=days))
    facts = (None, patch.sha256, 1, None, None, "Vendor", "00", fetched)
    return MirroredPatch(patch.filename, kernel, version, "amd64", *facts)


def index_of(*patches: MirroredPatch) -> Index:
    """Return the index of a mirror with these archives."""
    return Index({patch.filename: patch for patch in patches})
