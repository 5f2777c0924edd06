# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerability data in the form in which it is evaluated: small, and quick to load.

For each source package, a column has one number for each vulnerability: the position of its advice in a list, 0 where
the package is not named.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import functools
import json
import typing as t

from .._time import format_time, parse_time
from .notice_files import NoticeFiles, Unreadable
from .notices import Notice, NoticeModule
from .package_data import Advice, Packages, Vulnerability

FORMAT = 3
"""Version of the stored form. Files of another version are compiled again."""


class IndexFormatError(ValueError):
    """The stored index is damaged, or another version wrote it."""


@dataclasses.dataclass(frozen=True)
class SourceColumn:
    """The advice for a source package, and its published versions. Position 0 of `values` stands for no advice."""

    values: list[Advice | None]
    column: list[int]
    versions: frozenset[str]

    def all_versions(self) -> c.Iterator[str]:
        """Yield the published versions, and those with a fix."""
        yield from self.versions
        yield from (value.fixed for value in self.values if value is not None and value.fixed is not None)


@dataclasses.dataclass(frozen=True)
class PackageIndex:
    """Vulnerabilities of the kernels of one release. `realm` is as in `Packages`; `cves` is sorted by name."""

    release: str
    realm: str
    published: str | None
    cves: list[str]
    vulnerabilities: list[Vulnerability]
    sources: dict[str, SourceColumn]

    @functools.cached_property
    def positions(self) -> dict[str, int]:
        """The position of each vulnerability."""
        return {cve: position for position, cve in enumerate(self.cves)}

    def published_on(self, cve: str) -> str:
        """Return the date of a vulnerability that the data has; without one, the year of its number."""
        return self.vulnerabilities[self.positions[cve]].published or cve[4:8]

    def newest_of(self, source: str) -> str:
        """Return the date of the newest vulnerability that the data lists for a package; empty without one.

        Later vulnerabilities that are not listed say nothing: the package may not be maintained any more.
        """
        column = self.sources.get(source)
        positions = () if column is None else column.column
        return max((self.published_on(self.cves[at]) for at, value in enumerate(positions) if value), default="")

    def advice(self, source: str, cve: str) -> Advice | None:
        """Return the advice for a package; ``None`` if the data does not name it for this vulnerability."""
        column, position = self.sources.get(source), self.positions.get(cve)
        return None if column is None or position is None else column.values[column.column[position]]


@dataclasses.dataclass(frozen=True)
class VulnerabilityIndex:
    """All data of one file, folder or archive."""

    packages: list[PackageIndex] = dataclasses.field(default_factory=list)
    notices: NoticeFiles = dataclasses.field(default_factory=lambda: NoticeFiles([], []))


def index_packages(packages: Packages) -> PackageIndex:
    """Return the index of the packages of a release."""
    cves = sorted(packages.vulnerabilities)
    sources = {}
    for name, advice in sorted(packages.advice.items()):
        values: dict[Advice | None, int] = {None: 0}
        column = [values.setdefault(advice.get(cve), len(values)) for cve in cves]
        sources[name] = SourceColumn(list(values), column, frozenset(packages.versions.get(name, ())))
    found = [packages.vulnerabilities[cve] for cve in cves]
    return PackageIndex(packages.release, packages.realm, packages.published, cves, found, sources)


def dump_index(index: VulnerabilityIndex, digest: str) -> str:
    """Return the stored form. `digest` identifies the data from which it was compiled."""
    document = {
        "format": FORMAT,
        "digest": digest,
        "packages": [_package_document(each) for each in index.packages],
        "notices": [_notice_document(each) for each in index.notices.notices],
        "unreadable": [[each.name, each.reason] for each in index.notices.unreadable],
    }
    return json.dumps(document, separators=(",", ":"))


def load_index(text: bytes, digest: str) -> VulnerabilityIndex:
    """Return the index in its stored form. Raises `IndexFormatError`."""
    try:
        document = json.loads(text)
        if (document["format"], document["digest"]) != (FORMAT, digest):
            raise IndexFormatError("another version, or other data")
        notices = [_notice(each) for each in document["notices"]]
        unreadable = [Unreadable(str(name), str(reason)) for name, reason in document["unreadable"]]
        return VulnerabilityIndex([_package(each) for each in document["packages"]], NoticeFiles(notices, unreadable))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise IndexFormatError(str(error)) from error


def _package_document(index: PackageIndex) -> dict[str, t.Any]:
    return {
        "release": index.release,
        "realm": index.realm,
        "published": index.published,
        "cves": index.cves,
        "priorities": [each.priority for each in index.vulnerabilities],
        "dates": [each.published for each in index.vulnerabilities],
        "sources": {
            name: {
                "values": [[each.status, each.fixed, each.since] for each in column.values if each is not None],
                "column": column.column,
                "versions": sorted(column.versions),
            }
            for name, column in index.sources.items()
        },
    }


def _package(document: c.Mapping[str, t.Any]) -> PackageIndex:
    cves = document["cves"]
    details = list(map(Vulnerability, document["priorities"], document["dates"]))
    sources = {name: _column(each, len(cves)) for name, each in document["sources"].items()}
    if len(details) != len(cves):
        raise IndexFormatError("the lists differ in length")
    return PackageIndex(document["release"], document["realm"], document["published"], cves, details, sources)


def _column(document: c.Mapping[str, t.Any], size: int) -> SourceColumn:
    values: list[Advice | None] = [None, *(Advice(*value) for value in document["values"])]
    column = document["column"]
    if len(column) != size or (column and not 0 <= min(column) <= max(column) < len(values)):
        raise IndexFormatError("a column is damaged")
    return SourceColumn(values, column, frozenset(document["versions"]))


def _notice_document(notice: Notice) -> list[t.Any]:
    modules = [dataclasses.astuple(module) for module in notice.modules]
    times = format_time(notice.published, exact=True), format_time(notice.modified, exact=True)
    return [notice.id, *times, notice.cves, modules, notice.raw]


def _notice(document: c.Sequence[t.Any]) -> Notice:
    identifier, published, modified, cves, modules, raw = document
    times = parse_time(published), parse_time(modified)
    if times[0] is None or times[1] is None:
        raise IndexFormatError("a time is damaged")
    rows = tuple(NoticeModule(*module) for module in modules)
    return Notice(identifier, times[0], times[1], tuple(cves), rows, raw=raw)
