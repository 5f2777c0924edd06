# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerabilities that notices show as fixed on a host, in addition to those that its client reports."""

from __future__ import annotations

import collections.abc as c
import functools
from pathlib import Path

from .._errors import LivepatchError
from .._record import Fix, Record
from .notice_files import read_notices
from .notices import Notice, NoticeError, UbuntuKernel, resolved_cves

_CACHED_KINDS = 4096  # combinations of kernel and patch: evaluating all notices for one takes milliseconds


def notices_from(path: Path) -> tuple[list[Notice], list[str]]:
    """Read notices from a folder, an archive or a file. Return them, and descriptions of the invalid ones.

    Raises `LivepatchError` (``notices_unusable``).
    """
    try:
        found = read_notices(path)
    except (OSError, NoticeError) as error:
        raise LivepatchError(
            "notices_unusable",
            f"the notices in {path} cannot be read: {error}",
            "name a folder, an archive or a file with Livepatch security notices in OSV format",
        ) from error
    return found.notices, [f"{each.name}: {each.reason}" for each in found.unreadable]


class FixesByNotices:
    """Adds fixes to records: of some vulnerabilities, those that notices show as resolved by kernel or patch."""

    def __init__(self, notices: c.Sequence[Notice], cves: c.Iterable[str]) -> None:
        self._notices = notices
        self._cves = frozenset(cves)
        self._resolved = functools.lru_cache(_CACHED_KINDS)(self._find)

    def applied(self, record: Record) -> Record:
        """Return the record with the fixes that notices show.

        The patch of a host that is not protected fixes nothing. The client's own list of fixes takes precedence.
        """
        patch, system = record["patch"], record["system"]
        version = patch["version"] if record["assessment"]["state"] in ("protected", "exposed") else None
        kernel = system["kernel"]["full"] or system["kernel"]["release"]
        named = {fix["cve"] for fix in patch["fixes"]}
        added = [cve for cve in self._resolved(kernel, system["release"], version) if cve not in named]
        if not added:
            return record
        fixes = [*patch["fixes"], *(Fix(cve=cve, patched=True) for cve in added)]
        return {**record, "patch": {**patch, "fixes": fixes}}

    def _find(self, kernel: str | None, release: str | None, version: str | None) -> list[str]:
        try:
            found = resolved_cves(self._notices, UbuntuKernel.parse(kernel or "", release), version)
        except ValueError:
            return []
        return sorted(found & self._cves)
