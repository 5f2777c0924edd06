# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Livepatch Security Notices: the vulnerabilities that a version of a live patch fixes, and the kernels it is for.

They are published in the Open Source Vulnerability format (OSV, schema 1.7). Only the data of a notice is used: some
file names and titles are wrong.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import functools
import re
import typing as t

from .._kernel_name import KERNEL_NAME_LIMIT, KernelName, module_name, parse_kernel_name
from .._package_version import VERSION_LIMIT, version_key
from .._time import parse_time
from .kernel_source import any_flavour_sources, source_candidates
from .name_pattern import PatternError, compile_pattern, name_matches

_ID = re.compile(r"LSN-[0-9A-Za-z-]{1,32}")
_CVE = re.compile(r"(?:UBUNTU-)?(CVE-[0-9]{4}-[0-9]{4,19})")
_TEXT = re.compile(r"[\x21-\x7e]{1,128}")
_MAJOR = re.compile(r"[0-9]{1,9}")
_RELEASE = re.compile(r"[0-9]{2}\.[0-9]{2}")
_ANY_FLAVOUR = ("linux", "hwe")
"""What the names of modules have in notices for all flavours of a source package. Modules have their flavour."""

_AFFECTED_LIMIT = 10_000
_CVE_LIMIT = 10_000

NoticeStatus = t.Literal["patched", "in_kernel", "open"]
"""The status of a notice on a kernel: fixed by the live patch, fixed in the kernel itself, or neither."""


class NoticeError(ValueError):
    """A notice is invalid. The message gives the reason."""


@dataclasses.dataclass(frozen=True, slots=True)
class NoticeModule:
    """The modules that a notice names for a kernel package in a release.

    `ecosystem` is the release as OSV names it (``Ubuntu:Pro:16.04:LTS``), `package` the source package. `regex`
    describes the names of the modules; only `names` may use it. `version` is the major number of the patch that fixes
    the vulnerabilities. Kernels of the version `fixed` and later need no patch; it is ``None`` where it is not known.
    No patch exists for kernels before `oldest`, a version without upload number (``4.4.0-243``).
    """

    ecosystem: str
    package: str
    regex: str
    version: str
    fixed: str | None
    oldest: str | None = None

    def names(self, module: str) -> bool:
        """Return True if the notice names a module of this name."""
        return name_matches(self.regex, module)

    def is_for(self, kernel: UbuntuKernel) -> bool:
        """Return True if the notice is for this kernel: by its flavour, or by its source package for all flavours."""
        if not kernel.may_be_of(self.ecosystem) or kernel.is_before(self.oldest):
            return False
        if self.names(kernel.module_name(self.version)):
            return kernel.source is None or self.package in any_flavour_sources([kernel.source])
        return self.package in kernel.sources_in(self.ecosystem) and any(
            self.names(kernel.module_name(self.version, flavour)) for flavour in _ANY_FLAVOUR
        )

    def fix_for(self, kernel: UbuntuKernel) -> str | None:
        """Return `fixed` if it is a version of the source package of the kernel: others cannot be compared."""
        if kernel.source is not None:
            return self.fixed if kernel.source == self.package else None
        own = self.names(kernel.module_name(self.version)) or kernel.first_source_in(self.ecosystem) == self.package
        return self.fixed if own else None

    def contains_fix(self, kernel: UbuntuKernel) -> bool:
        """Return True if the kernel itself is known to have the fixes."""
        fixed = self.fix_for(kernel)
        return fixed is not None and version_key(kernel.name.package_version) >= version_key(fixed)


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """A notice. Both times are aware; `cves` are sorted, in the form ``CVE-2024-50047``.

    `unreadable` describes affected packages with invalid data. `raw` is True for the raw form, which has no fixes in
    kernels.
    """

    id: str
    published: dt.datetime
    modified: dt.datetime
    cves: tuple[str, ...]
    modules: tuple[NoticeModule, ...]
    unreadable: tuple[str, ...] = ()
    raw: bool = False

    def modules_for(self, kernel: UbuntuKernel) -> list[NoticeModule]:
        """Return the modules for this kernel: none, or one for each release that it may be of."""
        found = [module for module in self.modules if module.is_for(kernel)]
        same_release = [module for module in found if kernel.is_of(module.ecosystem)]
        return same_release or found

    def status_for(self, kernel: UbuntuKernel, patch_version: str | None) -> NoticeStatus | None:
        """Return the status on a kernel with this live patch (``65.1``), or without one.

        ``None`` if the notice is not for this kernel. Of several statuses the worst counts.
        """
        statuses = [_status_for(module, kernel, patch_version) for module in self.modules_for(kernel)]
        return next((status for status in t.get_args(NoticeStatus)[::-1] if status in statuses), None)


@dataclasses.dataclass(frozen=True, slots=True)
class UbuntuKernel:
    """A kernel by its full name or its release, and its Ubuntu release (``16.04``) where that is known.

    `source` is its source package where the host reports it.
    """

    name: KernelName
    release: str | None = None
    source: str | None = None

    @classmethod
    def parse(cls, name: str, release: str | None = None) -> UbuntuKernel:
        """Parse the name of a kernel. Raises `ValueError` for any other text."""
        kernel = parse_kernel_name(name)
        if kernel is None or kernel.foreign:
            raise ValueError(
                f"{name[:KERNEL_NAME_LIMIT]!r} is not the name of an Ubuntu kernel, as 4.4.0-168.197-generic is"
            )
        return cls(kernel, release)

    def module_name(self, version: str, flavour: str | None = None) -> str:
        """Name a module of the patch for this kernel, or for `flavour`, by the major number of its version."""
        return _module_name(self.name, flavour or self.name.flavour, version)

    def sources_in(self, ecosystem: str) -> frozenset[str]:
        """Return the source packages, as notices name them, that the kernel can be of in a release."""
        if self.source is not None:
            return any_flavour_sources([self.source])
        return any_flavour_sources(source_candidates(_release_of(ecosystem), self.name))

    def first_source_in(self, ecosystem: str) -> str | None:
        """Return the most probable source package of the kernel in a release."""
        return self.source or next(iter(source_candidates(_release_of(ecosystem), self.name)), None)

    def is_before(self, oldest: str | None) -> bool:
        """Return True if the kernel is older than a version without upload number."""
        if oldest is None:
            return False
        own = f"{self.name.version}-{self.name.abi}"
        return version_key(own) < version_key(oldest)

    def may_be_of(self, ecosystem: str) -> bool:
        """Return True unless the kernel is known to be of another release."""
        return self.release is None or self.release in ecosystem.split(":")

    def is_of(self, ecosystem: str) -> bool:
        """Return True if the kernel is known to be of this release: as given, or by its own name (``~16.04.1``)."""
        release = self.release or self.name.ubuntu_release
        return release is not None and release in ecosystem.split(":")


@functools.lru_cache(maxsize=4096)
def _module_name(name: KernelName, flavour: str, version: str) -> str:
    return module_name(str(dataclasses.replace(name, flavour=flavour)), version)


def _release_of(ecosystem: str) -> str:
    return next((part for part in ecosystem.split(":") if _RELEASE.fullmatch(part)), "")


def _status_for(module: NoticeModule, kernel: UbuntuKernel, patch_version: str | None) -> NoticeStatus:
    if module.contains_fix(kernel):
        return "in_kernel"
    return "patched" if patch_major(patch_version) >= int(module.version) else "open"


def patch_major(patch_version: str | None) -> int:
    """Return the major number of a patch (``121.4``), -1 without a patch or for another text."""
    major = (patch_version or "").partition(".")[0]
    return int(major) if _MAJOR.fullmatch(major) else -1


def patched_cves(notices: c.Iterable[Notice], kernel: UbuntuKernel, patch_version: str | None) -> list[str]:
    """Return the vulnerabilities that a live patch of this version fixes on this kernel, sorted."""
    return sorted({cve for one in notices if one.status_for(kernel, patch_version) == "patched" for cve in one.cves})


def resolved_cves(notices: c.Iterable[Notice], kernel: UbuntuKernel, patch_version: str | None) -> frozenset[str]:
    """Return the vulnerabilities that are fixed on this kernel, by the live patch or in the kernel itself.

    A vulnerability of several notices is fixed if none of them is open.
    """
    resolved: set[str] = set()
    still_open: set[str] = set()
    for notice in notices:
        status = notice.status_for(kernel, patch_version)
        if status is not None:
            (still_open if status == "open" else resolved).update(notice.cves)
    return frozenset(resolved - still_open)


def parse_notice(document: object) -> Notice | None:
    """Parse an OSV document; ``None`` if it is not a Livepatch notice, or was withdrawn. Raises `NoticeError`."""
    if not isinstance(document, dict):
        return None
    identifier = notice_id(document.get("id"))
    if identifier is None or document.get("withdrawn") is not None:
        return None
    published = _time(document.get("published") or document.get("modified"), identifier)
    modules, unreadable = _modules(_list(document, "affected", identifier, _AFFECTED_LIMIT))
    return Notice(
        id=identifier,
        published=published,
        modified=_time(document.get("modified") or document.get("published"), identifier),
        cves=notice_cves(document, identifier, ("upstream", "aliases"), ("related",)),
        modules=modules,
        unreadable=unreadable,
    )


def notice_id(identifier: object) -> str | None:
    """Return the id of a notice; ``None`` if it is not one. Raises `NoticeError` if it is malformed."""
    if not isinstance(identifier, str) or not identifier.startswith("LSN-"):
        return None
    if not _ID.fullmatch(identifier):
        raise NoticeError(f"{identifier[:64]!r} is not the number of a notice")
    return identifier


def newest_of_each(notices: c.Iterable[Notice]) -> list[Notice]:
    """Return the last revision of each notice, ordered by publication.

    A notice in both forms has the rows of the OSV form, completed by what only the raw form has.
    """
    newest: dict[tuple[str, bool], Notice] = {}
    for notice in notices:
        key = _number(notice.id), notice.raw
        if key not in newest or newest[key].modified < notice.modified:
            newest[key] = notice
    merged = [
        _completed(notice, newest.get((number, True))) if not raw else notice
        for (number, raw), notice in newest.items()
        if not raw or (number, False) not in newest
    ]
    return sorted(merged, key=lambda notice: (notice.published, notice.id))


def _number(identifier: str) -> str:
    """Return the id without leading zeros: the published ids are not uniform (``LSN-120-1``, ``LSN-0121-1``)."""
    return re.sub(r"-0+(?=[0-9])", "-", identifier)


def _completed(notice: Notice, raw: Notice | None) -> Notice:
    if raw is None:
        return notice
    rows = {(_release_of(module.ecosystem), module.regex): module for module in raw.modules}
    modules = []
    for module in notice.modules:
        row = rows.pop((_release_of(module.ecosystem), module.regex), None)
        modules.append(module if row is None else dataclasses.replace(module, oldest=row.oldest))
    return dataclasses.replace(notice, modules=(*modules, *rows.values()))


def notice_cves(document: c.Mapping[str, t.Any], identifier: str, *groups: tuple[str, ...]) -> tuple[str, ...]:
    """Return the vulnerabilities in the first group of fields that has any, sorted. Raises `NoticeError`."""
    # `related` had them before OSV 1.7 added `upstream`.
    for keys in groups:
        values = [value for key in keys for value in _list(document, key, identifier, _CVE_LIMIT)]
        found = {match[1] for value in values if isinstance(value, str) and (match := _CVE.fullmatch(value))}
        if found:
            return tuple(sorted(found))
    return ()


def _modules(affected: list[t.Any]) -> tuple[tuple[NoticeModule, ...], tuple[str, ...]]:
    modules: dict[NoticeModule, None] = {}
    unreadable: dict[str, None] = {}
    for entry in affected:
        try:
            modules[_module(entry)] = None
        except (NoticeError, PatternError) as error:
            unreadable[str(error)] = None
    return tuple(modules), tuple(unreadable)


def _module(entry: object) -> NoticeModule:
    package = _mapping(entry, "package")
    where = f"{_word(package, 'ecosystem')} {_word(package, 'name')}"
    specific = _mapping(entry, "ecosystem_specific")
    regex, version = module_pattern(specific.get("module_name_regex"), specific.get("module_version"), where)
    return NoticeModule(
        package["ecosystem"], package["name"], regex, version, _fixed(t.cast("dict[str, t.Any]", entry))
    )


def module_pattern(regex: object, number: object, where: str) -> tuple[str, str]:
    """Return the pattern for modules and their version, both checked. Raises `NoticeError`, which names `where`."""
    version = str(number)
    if not _MAJOR.fullmatch(version):
        raise NoticeError(f"{where}: {version[:32]!r} is not the version of a module")
    if not isinstance(regex, str):
        raise NoticeError(f"{where}: the pattern for names of modules is missing")
    try:
        compile_pattern(regex)
    except PatternError as error:
        raise NoticeError(f"{where}: {error}") from error
    return regex, version


def _fixed(entry: c.Mapping[str, t.Any]) -> str | None:
    """Return the first version of the package with the fixes; of several, the last."""
    ranges = [each for each in _as_list(entry.get("ranges")) if isinstance(each, dict)]
    events = [event for each in ranges for event in _as_list(each.get("events")) if isinstance(event, dict)]
    fixed = [version for event in events if isinstance(version := event.get("fixed"), str)]
    fixed = [version for version in fixed if _TEXT.fullmatch(version) and len(version) <= VERSION_LIMIT]
    return max(fixed, key=version_key, default=None)


def _as_list(value: object) -> list[t.Any]:
    return value if isinstance(value, list) else []


def _list(document: c.Mapping[str, t.Any], key: str, identifier: str, limit: int) -> list[t.Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > limit:
        raise NoticeError(f"{identifier}: {key} is not a list of at most {limit} entries")
    return value


def _mapping(entry: object, key: str) -> dict[str, t.Any]:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, dict):
        raise NoticeError(f"an affected package has no {key}")
    return value


def _word(package: c.Mapping[str, t.Any], key: str) -> str:
    value = package.get(key)
    if not isinstance(value, str) or not _TEXT.fullmatch(value):
        raise NoticeError(f"an affected package has no valid {key}")
    return value


def _time(value: object, identifier: str) -> dt.datetime:
    moment = parse_time(value)
    if moment is None:
        raise NoticeError(f"{identifier}: it has no valid time of publication")
    return moment
