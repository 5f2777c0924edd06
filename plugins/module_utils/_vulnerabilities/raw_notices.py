# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Livepatch Security Notices in the raw form of Canonical's repository.

A raw notice names more kernels than the same notice in OSV form, and the oldest kernel that a patch exists for. It does
not have the version of the kernel package with the fixes.
"""

from __future__ import annotations

import collections.abc as c
import datetime as dt
import re
import typing as t

from .._kernel_name import KernelName
from .._package_version import VERSION_LIMIT
from .kernel_source import CODENAMES, source_candidates
from .name_pattern import PatternError
from .notices import Notice, NoticeError, NoticeModule, module_pattern, notice_cves, notice_id

_ROWS_LIMIT = 10_000
_TIMESTAMP = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?")
_NAME = re.compile(r"[0-9a-z.-]{1,64}")
_OLDEST = re.compile(r"[0-9][0-9A-Za-z.~+-]*")
_OF_FLAVOUR = re.compile(r"(generic|lowlatency)-([0-9]+\.[0-9]+)")


def is_raw_notice(document: object) -> bool:
    """Return True for a document in the raw form."""
    return isinstance(document, dict) and isinstance(document.get("releases"), dict) and "affected" not in document


def parse_raw_notice(document: t.Any) -> Notice | None:
    """Parse a raw notice; ``None`` for another kind of notice. Raises `NoticeError`."""
    identifier = notice_id(document.get("id"))
    if identifier is None:
        return None
    published = _time(document.get("timestamp"), identifier)
    modules: dict[NoticeModule, None] = {}
    unreadable: dict[str, None] = {}
    for release, name, row in _rows(document["releases"], identifier):
        try:
            modules[_module(release, name, row)] = None
        except (NoticeError, PatternError) as error:
            unreadable[str(error)] = None
    return Notice(
        id=identifier,
        published=published,
        modified=published,
        cves=notice_cves(document, identifier, ("cves",)),
        modules=tuple(modules),
        unreadable=tuple(unreadable),
        raw=True,
    )


def _rows(releases: c.Mapping[str, t.Any], identifier: str) -> c.Iterator[tuple[str, str, dict[str, t.Any]]]:
    """Yield codename, name of the kernel, and the values of both tables for it."""
    count = 0
    for codename, tables in releases.items():
        sources = tables.get("sources") if isinstance(tables, dict) else None
        binaries = tables.get("allbinaries") if isinstance(tables, dict) else None
        if not isinstance(binaries, dict) or not isinstance(sources, dict):
            raise NoticeError(f"{identifier}: {codename[:32]!a} has no tables of kernels")
        for name, module in binaries.items():
            count += 1
            if count > _ROWS_LIMIT:
                raise NoticeError(f"{identifier}: it has more than {_ROWS_LIMIT} kernels")
            source = sources.get(name)
            oldest = source.get("version") if isinstance(source, dict) else None
            yield codename, name, {**(module if isinstance(module, dict) else {}), "oldest": oldest}


def _module(codename: str, name: str, row: c.Mapping[str, t.Any]) -> NoticeModule:
    where = f"{codename[:32]!a} {name[:64]!a}"
    release = CODENAMES.get(codename)
    if release is None or not _NAME.fullmatch(name):
        raise NoticeError(f"{where}: this release or kernel is not known")
    regex, version = module_pattern(row.get("module"), row.get("version"), where)
    oldest = row["oldest"]
    if not isinstance(oldest, str) or len(oldest) > VERSION_LIMIT or not _OLDEST.fullmatch(oldest):
        raise NoticeError(f"{where}: the oldest kernel is missing")
    package = _package(release, name)
    return NoticeModule(f"Ubuntu:Pro:{release}:LTS", package, regex, version, fixed=None, oldest=oldest)


def _package(release: str, name: str) -> str:
    """Return the source package for a name such as ``generic-4.15``, ``linux``, ``hwe-6.8`` or ``aws``."""
    if name == "linux":
        return name
    match = _OF_FLAVOUR.fullmatch(name)
    candidates = source_candidates(release, KernelName(f"{match[2]}.0", "0", match[1])) if match else ()
    return candidates[0] if candidates else f"linux-{name}"


def _time(value: object, identifier: str) -> dt.datetime:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        raise NoticeError(f"{identifier}: it has no valid time of publication")
    return dt.datetime.fromtimestamp(float(value), dt.timezone.utc)
