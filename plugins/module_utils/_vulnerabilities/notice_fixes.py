# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerabilities that notices show as fixed on a host, in addition to those that its client reports."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import functools
from pathlib import Path

from .._errors import LivepatchError
from .._record import Fix, Record
from .exposure import kernel_evidence
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

        A patch must be shown to run. Where the client lists what its patch fixes, this list decides, because a notice
        also names vulnerabilities that the patch of another kernel fixes. The kernel itself must be one of Ubuntu.
        """
        evidence, patch = kernel_evidence(record), record["patch"]
        if evidence.kernel is None or not evidence.ubuntu or evidence.container:
            return record
        version = evidence.patch if evidence.confirmed and not evidence.fixes else None
        named = {fix["cve"] for fix in patch["fixes"]}
        found = self._resolved(evidence.kernel, evidence.release, evidence.source, version)
        added = [cve for cve in found if cve not in named]
        if not added:
            return record
        fixes = [*patch["fixes"], *(Fix(cve=cve, patched=True) for cve in added)]
        return {**record, "patch": {**patch, "fixes": fixes}}

    def _find(self, kernel: str, release: str | None, source: str | None, version: str | None) -> list[str]:
        try:
            parsed = dataclasses.replace(UbuntuKernel.parse(kernel, release), source=source)
            found = resolved_cves(self._notices, parsed, version)
        except ValueError:
            return []
        return sorted(found & self._cves)
