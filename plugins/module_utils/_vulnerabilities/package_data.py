# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Published data on the vulnerabilities of kernel packages, in its two forms.

Canonical's data of a release (``com.ubuntu.xenial.pkg.json``) is one document of about 60 MB. It is read member by
member, so that only one package is in memory. OSV documents (``UBUNTU-CVE-2024-1086``) have one vulnerability each, for
all releases.
"""

from __future__ import annotations

import codecs
import collections.abc as c
import dataclasses
import json
import re
import typing as t

from .._package_version import VERSION_LIMIT, version_key
from .._time import parse_date
from .kernel_source import is_kernel_source

PRIORITIES = ("negligible", "low", "medium", "high", "critical")
"""The priorities that Ubuntu gives to vulnerabilities, in rising order."""

CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
FIXED, VULNERABLE, NOT_AFFECTED = "fixed", "vulnerable", "not-vulnerable"

_SYNONYMS = {
    "released": FIXED,
    **dict.fromkeys(("needed", "pending", "deferred", "ignored"), VULNERABLE),
    **dict.fromkeys(("not-affected", "DNE"), NOT_AFFECTED),
}
"""Statuses of Ubuntu's CVE tracker. A fix that is pending, deferred or ignored is not published."""

_OSV_ID = re.compile(r"UBUNTU-(CVE-[0-9]{4}-[0-9]{4,19})")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+:~-]*")
_RELEASE = re.compile(r"[0-9]{2}\.[0-9]{2}")
_MEMBER_LIMIT = 64 << 20
"""Characters of one member, a package or a vulnerability. The largest kernel packages have 3 MB."""

_SPACE = " \t\r\n"


class DataError(ValueError):
    """Data cannot be used. The message gives the reason."""


@dataclasses.dataclass(frozen=True, slots=True)
class Advice:
    """What the data shows about a vulnerability in a source package: its status, and the first version with the fix.

    `since` is the date of the first security notice (USN) about the fix in this package, if the data has one.
    """

    status: str
    fixed: str | None = None
    since: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Vulnerability:
    """A vulnerability. `published` is a date (``2024-01-31``), both are ``None`` where they are not known."""

    priority: str | None
    published: str | None

    def merged(self, other: Vulnerability) -> Vulnerability:
        """Return the higher priority and the earlier date of two."""
        dates = [date for date in (self.published, other.published) if date is not None]
        return Vulnerability(_priority([self.priority, other.priority]), min(dates, default=None))


@dataclasses.dataclass
class Packages:
    """Kernel packages of one release. `realm` is ``fips`` or ``fips-updates`` for FIPS builds, else empty.

    `published` is a date. `versions` are the published versions of each source package, `advice` is by source package
    and vulnerability.
    """

    release: str
    realm: str
    published: str | None = None
    vulnerabilities: dict[str, Vulnerability] = dataclasses.field(default_factory=dict)
    versions: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    advice: dict[str, dict[str, Advice]] = dataclasses.field(default_factory=dict)


def read_release(pieces: c.Iterable[bytes], packages: Packages) -> None:
    """Read the data of a release into `packages`. Raises `DataError`."""
    document = _JsonReader(pieces)
    notices_of: dict[str, list[str]] = {}
    notices: dict[str, _SecurityNotice] = {}
    sections = 0
    for key in document.members():
        if key == "packages":
            for name in document.members():
                value = document.value()
                if is_kernel_source(name) and isinstance(value, dict):
                    _add_package(packages, name, value)
                    named = value.get("ubuntu_security_notices")
                    notices_of[name] = list(named) if isinstance(named, dict) else []
            sections += 1
        elif key == "security_issues":
            _read_issues(document, packages, notices)
            sections += 1
        else:
            value = document.value()
            if key == "published_at":
                day = parse_date(value, of_time=True)
                packages.published = day.isoformat() if day else None
    if sections != 2:
        raise DataError("the file has no packages, or no security_issues")
    for name, named in notices_of.items():
        _add_dates(packages.advice[name], [notices[each] for each in named if each in notices])
    # Only those of kernels: the data has all vulnerabilities of the release.
    known = {cve for advice in packages.advice.values() for cve in advice}
    for cve in packages.vulnerabilities.keys() - known:
        del packages.vulnerabilities[cve]
    for cve in known - packages.vulnerabilities.keys():
        packages.vulnerabilities[cve] = Vulnerability(None, None)


class _SecurityNotice(t.NamedTuple):
    published: str
    cves: list[str]


def _add_dates(advice: dict[str, Advice], notices: c.Iterable[_SecurityNotice]) -> None:
    """Add to the advice for a package when its notices were published, the first one of each vulnerability."""
    for notice in notices:
        for cve in notice.cves:
            known = advice.get(cve)
            if (
                known is not None
                and known.fixed is not None
                and (known.since is None or notice.published < known.since)
            ):
                advice[cve] = Advice(known.status, known.fixed, notice.published)


def _read_issues(document: _JsonReader, packages: Packages, notices: dict[str, _SecurityNotice]) -> None:
    for kind in document.members():
        if kind == "usns":
            for name in document.members():
                notice = _security_notice(document.value())
                if notice is not None:
                    notices[name] = notice
            continue
        if kind != "cves":
            document.skip()
            continue
        for cve in document.members():
            value = document.value()
            if CVE.fullmatch(cve) and isinstance(value, dict):
                packages.vulnerabilities[cve] = Vulnerability(
                    _priority([value.get("ubuntu_priority")]), _date(value.get("published_at"))
                )


def _security_notice(value: object) -> _SecurityNotice | None:
    if not isinstance(value, dict):
        return None
    day, cves = _date(value.get("published_at")), value.get("related_cves")
    if day is None or not isinstance(cves, list):
        return None
    return _SecurityNotice(day, [cve for cve in cves if isinstance(cve, str) and CVE.fullmatch(cve)])


def _add_package(packages: Packages, name: str, value: dict[str, t.Any]) -> None:
    cves, versions = value.get("cves"), value.get("source_versions")
    if not isinstance(cves, dict) or not isinstance(versions, dict):
        raise DataError(f"the package {name} has no cves or no source_versions")
    packages.versions[name] = {version for version in versions if _is_version(version)}
    packages.advice[name] = {
        cve: _advice(entry.get("status"), entry.get("source_fixed_version"))
        for cve, entry in cves.items()
        if CVE.fullmatch(cve) and isinstance(entry, dict)
    }


def _advice(status: object, fixed: object) -> Advice:
    if not isinstance(status, str) or len(status) > 32:
        return Advice("unknown")
    status = _SYNONYMS.get(status, status)
    if status == FIXED and not _is_version(fixed):
        return Advice("unknown")
    return Advice(status, t.cast("str", fixed) if _is_version(fixed) else None)


def osv_vulnerability(document: object) -> str | None:
    """Return the vulnerability (``CVE-2024-1086``) that an OSV document of Ubuntu describes; ``None`` for others."""
    if not isinstance(document, dict) or document.get("withdrawn") is not None:
        return None
    identifier = document.get("id")
    match = _OSV_ID.fullmatch(identifier) if isinstance(identifier, str) else None
    return match[1] if match else None


def add_osv(document: dict[str, t.Any], cve: str, packages: dict[tuple[str, str], Packages]) -> Vulnerability | None:
    """Add an OSV document to the packages by release and realm. Return its vulnerability, ``None`` without a kernel.

    A package that is not named is not affected, or not in the release. Raises `DataError`.
    """
    affected = document.get("affected")
    rows = [row for each in (affected if isinstance(affected, list) else []) if (row := _osv_row(each)) is not None]
    severity = document.get("severity")
    found = [each for each in severity if isinstance(each, dict)] if isinstance(severity, list) else []
    priority = _priority([each.get("score") for each in found if each.get("type") == "Ubuntu"])
    details = Vulnerability(priority, _date(document.get("published")))
    for ecosystem, name, advice, versions in rows:
        place = packages.setdefault(ecosystem, Packages(*ecosystem))
        of_package = place.advice.setdefault(name, {})
        of_package[cve] = _worse(of_package.get(cve), advice)
        known = place.versions.setdefault(name, set())
        if len(versions) > len(known):
            known.update(filter(_is_version, versions))
    return details if rows else None


def _osv_row(entry: object) -> tuple[tuple[str, str], str, Advice, list[t.Any]] | None:
    """Return release and realm, source package, advice and versions; ``None`` for another package than a kernel."""
    package = entry.get("package") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(package, dict):
        raise DataError("an affected package has no name")
    name, ecosystem = package.get("name"), package.get("ecosystem")
    if not isinstance(name, str) or not isinstance(ecosystem, str):
        raise DataError("an affected package has no name or no ecosystem")
    place = parse_ecosystem(ecosystem)
    if place is None or not is_kernel_source(name):
        return None
    ranges = entry.get("ranges")
    events = [
        event
        for each in (ranges if isinstance(ranges, list) else [])
        if isinstance(each, dict)
        for event in (each["events"] if isinstance(each.get("events"), list) else [])
        if isinstance(event, dict)
    ]
    fixed = [event["fixed"] for event in events if "fixed" in event]
    if not all(map(_is_version, fixed)):
        raise DataError(f"{ecosystem} {name}: the version with the fix is not valid")
    advice = Advice(FIXED, max(fixed, key=version_key)) if fixed else Advice(VULNERABLE)
    versions = entry.get("versions")
    return place, name, advice, versions if isinstance(versions, list) else []


def parse_ecosystem(ecosystem: str) -> tuple[str, str] | None:
    """Return release and realm of an ecosystem (``Ubuntu:Pro:FIPS:16.04:LTS``), ``None`` if it is not of Ubuntu.

    Kernels of fips-updates have a realm of their own: the same source package gets no fixes in the other one.
    """
    parts = ecosystem.split(":")
    release = next((part for part in parts if _RELEASE.fullmatch(part)), None)
    if parts[0] != "Ubuntu" or release is None:
        return None
    realms = {part.upper() for part in parts if part.upper().startswith("FIPS")}
    return release, "fips-updates" if "FIPS-UPDATES" in realms else "fips" if realms else ""


def _worse(one: Advice | None, other: Advice) -> Advice:
    """Return the advice that claims less, of several for one package."""
    if one is None or one.fixed is None or other.fixed is None:
        return other if one is None or other.fixed is None else one
    return max(one, other, key=lambda advice: version_key(advice.fixed or ""))


def _priority(values: list[t.Any]) -> str | None:
    """Return the highest priority: some documents have several."""
    return max((value for value in values if value in PRIORITIES), key=PRIORITIES.index, default=None)


def _date(value: object) -> str | None:
    day = parse_date(value, of_time=True)
    return day.isoformat() if day else None


def _is_version(value: object) -> bool:
    return isinstance(value, str) and len(value) <= VERSION_LIMIT and _VERSION.fullmatch(value) is not None


class _JsonReader:
    """Reads a JSON document from pieces, one member of an object at a time. Every method raises `DataError`."""

    def __init__(self, pieces: c.Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._ended = False

    def members(self) -> c.Iterator[str]:
        """Yield the keys of the object that is next. The caller must read the value of each before the next one."""
        self._expect("{")
        if self._next() == "}":
            self._at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise DataError("this is not JSON: a key is not a string")
            self._expect(":")
            yield key
            sign = self._next()
            self._at += 1
            if sign == "}":
                return
            if sign != ",":
                raise DataError("this is not JSON: a comma is missing")

    def skip(self) -> None:
        """Skip the next value. An object is skipped member by member."""
        if self._next() == "{":
            for _key in self.members():
                self.value()
        else:
            self.value()

    def value(self) -> t.Any:
        """Return the next value."""
        self._next()
        wanted = 0
        while True:
            try:
                value, end = self._scan(self._text, self._at)
                # A number at the end of the text can have more digits.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            except (ValueError, RecursionError) as error:
                if self._ended:
                    raise DataError(f"this is not JSON, or it is cut off: {error}") from error
            # Twice as much each time, so that a large value is not parsed too often.
            wanted = max(2 * wanted, len(self._text) - self._at, 1 << 16)
            self._fill(wanted)

    def _expect(self, sign: str) -> None:
        if self._next() != sign:
            raise DataError(f"this is not JSON: {sign!r} is missing")
        self._at += 1

    def _next(self) -> str:
        """Return the next character that is not white space, without reading it."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                raise DataError("this is not JSON: it ends too early")
            self._fill(1)

    def _fill(self, amount: int) -> None:
        parts = [self._text[self._at :]]
        size = 0
        try:
            while size < amount and not self._ended:
                piece = next(self._pieces, None)
                parts.append(self._decoder.decode(piece or b"", final=piece is None))
                size += len(parts[-1])
                self._ended = piece is None
        except UnicodeDecodeError as error:
            raise DataError("this is not UTF-8") from error
        self._text, self._at = "".join(parts), 0
        if len(self._text) > _MEMBER_LIMIT + amount:
            raise DataError(f"a member of the document is larger than {_MEMBER_LIMIT >> 20} MiB")
