# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Evaluate vulnerabilities for the running kernel and the live patch of a host.

The sources are used in this order: the list of the client for the running kernel, package data, notices. A good status
needs evidence: where a source is silent, the status is unknown. Hosts with equal evidence are evaluated once.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import functools
import typing as t

from .._kernel_name import (
    KernelName,
    module_name,
    normalised_source,
    parse_kernel_name,
    parse_module_name,
    parse_release,
)
from .._package_version import VERSION_LIMIT, version_key
from .._record import Check, KernelPackage, Reason, Record
from .._time import parse_date
from .index import PackageIndex, VulnerabilityIndex
from .kernel_source import source_candidates
from .notices import Notice, UbuntuKernel, newest_of_each, patch_major
from .package_data import FIXED, NOT_AFFECTED, VULNERABLE, Advice, Vulnerability

VulnerabilityStatus = t.Literal["open", "unknown", "live_patched", "fixed", "not_affected"]
STATUSES: tuple[VulnerabilityStatus, ...] = t.get_args(VulnerabilityStatus)
"""The statuses of a vulnerability on a host, in the order in which reports show them."""

_CONFIRMED_STATES = ("protected", "exposed")
"""States of a host in which every witness confirms the live patch. In any other state, a patch proves nothing."""

_CACHED_VERSIONS = 1 << 16
_NO_PATCHES_STATES = ("tampered", "end_of_life", "upgrade_required", "ineligible")
_PATCH_RAN = ("applied", "applied-with-bug")
_MAINTAINED = datetime.timedelta(days=90)
_MISSED = 20
"""A package that is missing from so many vulnerabilities in a row may not be maintained any more. Fewer can concern
other packages only."""

CHECK = "ansible-playbook kernelops.livepatch.check --become"
"""The end of the steps that collect a new record. Where the policy of a host is known, they continue with it."""

NOT_IDENTIFIED = Reason(
    id="kernel_not_identified",
    message="the record does not show the running kernel or its Ubuntu release",
    remedy=f"collect a new record as root: {CHECK}",
)
OTHER_KERNEL = Reason(
    id="kernel_without_data",
    message="Ubuntu did not build the running kernel, so its data does not apply to it",
    remedy="boot a kernel from the Ubuntu archive",
)
OTHER_MACHINE = Reason(
    id="kernel_of_another_machine",
    message="the host is a container, and its kernel is that of the machine that runs it",
    remedy="check the machine that runs the container: its record shows the vulnerabilities of the kernel",
)
NO_SOURCE = Reason(
    id="source_package_unknown",
    message="the data has no source package for the running kernel",
    remedy="add the package data of this release to vulnerability_data",
)
NO_RELEASE = Reason(
    id="release_not_in_data",
    message="there is no package data for the Ubuntu release of the host",
    remedy="add the package data of this release to vulnerability_data",
)
NO_CVE = Reason(
    id="cve_not_in_data",
    message="the data of this release does not have the vulnerability",
    remedy="check the number of the vulnerability, or use newer vulnerability data",
)
UNDECIDED = Reason(
    id="cve_undecided",
    message="the data does not show whether the kernel is affected",
    remedy="use newer vulnerability data, or see the vulnerability on https://ubuntu.com/security/cves",
)
DATA_ENDED = Reason(
    id="kernel_data_ended",
    message="the data lists no vulnerability as new as this one for the kernel, so Ubuntu may not maintain it any more",
    remedy="upgrade to a kernel that Ubuntu maintains, or use newer vulnerability data",
)
NO_UPLOAD = Reason(
    id="kernel_version_incomplete",
    message="the record does not have the upload number of the kernel, which decides here",
    remedy=f"collect a new record as root: {CHECK}",
)
NOT_CONFIRMED = Reason(
    id="patch_not_confirmed",
    message="the client reports a live patch with the fix, and the state of the host does not confirm that it runs",
    remedy="solve the problem that the report shows for the host, then check it again",
)


class Verdict(t.NamedTuple):
    """A vulnerability on a host.

    `fix` is ``patch``, ``reboot`` (a kernel with the fix is installed), ``kernel`` or ``none`` where it is open.
    `fixed_in` is the version of the source package with the fix, `patch` the major number of the live patch with the
    fix. `evidence` is ``client``, ``package_data`` or ``notice``. `reason` explains an unknown status. `since` is the
    date on which the first fix was published, if it is known.
    """

    status: VulnerabilityStatus
    fix: str | None = None
    fixed_in: str | None = None
    patch: int | None = None
    evidence: str | None = None
    reason: Reason | None = None
    since: str | None = None

    @property
    def key(self) -> tuple[t.Any, ...]:
        """Equal for verdicts that are shown together."""
        return (*self[:5], self.reason["id"] if self.reason else None)


class KernelEvidence(t.NamedTuple):
    """The evidence of a record about kernel and live patch. Equal evidence has equal verdicts.

    `ubuntu` is True if Ubuntu built the kernel, ``None`` if it is not known. `source` is the source package that the
    host reports. `patch` is the version of the running patch, and `confirmed` is True where kernel and state of the
    host confirm it. `fixes` is the list of the client: CVE, and True if patched. `patchable` is False where a live
    patch cannot help. `enabled` is ``None`` if the client does not report whether it is enabled. `installed` is the
    version of the newest installed kernel of the same kind, if it is newer than the running one. `container` is True
    for a container, whose kernel can be of another release. `policy` is the name of the policy of the check, which the
    commands of next steps repeat.
    """

    ubuntu: bool | None
    release: str | None
    kernel: str | None
    source: str | None
    patch: str | None
    confirmed: bool
    fixes: tuple[tuple[str, bool], ...]
    patchable: bool
    enabled: bool | None
    installed: str | None = None
    container: bool = False
    policy: str | None = None


def kernel_evidence(record: Record) -> KernelEvidence:
    """Return the evidence in a record."""
    system, patch, assessment = record["system"], record["patch"], record["assessment"]
    kernel = _kernel_of(record)
    ran = patch["state"] in _PATCH_RAN and patch["version"] is not None and _is_of_running_kernel(record)
    reported = system["kernel"].get("source_package")
    return KernelEvidence(
        ubuntu=_is_of_ubuntu(record),
        release=system["release"],
        kernel=kernel,
        source=None if reported is None else normalised_source(reported),
        patch=patch["version"] if ran else None,
        confirmed=ran and kernel is not None and _is_confirmed(record, kernel),
        fixes=tuple((fix["cve"], fix["patched"]) for fix in patch["fixes"]) if ran else (),
        patchable=assessment["state"] not in _NO_PATCHES_STATES and record["eligibility"]["verdict"] != "ineligible",
        enabled=record["client"]["enabled"],
        installed=_newer_installed(record, kernel),
        container=any(check["id"] == "container" and check["status"] == "fail" for check in _checks(record)),
        policy=record["eligibility"]["policy"],
    )


def _checks(record: Record) -> list[Check]:
    return record["eligibility"]["checks"]


def _is_of_running_kernel(record: Record) -> bool:
    """Return False if the client reports on another kernel, as it can after a reboot: its patch does not run."""
    reported, running = record["patch"].get("kernel"), record["system"]["kernel"]["full"]
    return reported is None or running is None or reported == running


def _newer_installed(record: Record, kernel: str | None) -> str | None:
    """Return the version of the newest installed image of the same kind as the kernel, if it is newer."""
    running = parse_kernel_name(kernel or "")
    if running is None or running.upload is None:
        return None
    newer = {
        package["version"]
        for package in record["system"]["kernel"].get("packages", [])
        if _is_same_kind(package, running) and _version_key(package["version"]) > _version_key(running.package_version)
    }
    return max(newer, key=_version_key, default=None)


def _is_same_kind(package: KernelPackage, running: KernelName) -> bool:
    """Return True for an image with the series and the flavour of a kernel, for the same release of Ubuntu."""
    name, version = package["name"], package["version"]
    image = parse_release(name.removeprefix("linux-image-").removeprefix("unsigned-"))
    if not name.startswith("linux-image-") or image is None or len(version) > VERSION_LIMIT:
        return False
    built = parse_kernel_name(f"{version}-{image.flavour}")
    return (
        built is not None
        and (image.series, image.flavour) == (running.series, running.flavour)
        and (built.ubuntu_release, built.fips) == (running.ubuntu_release, running.fips)
    )


def _is_of_ubuntu(record: Record) -> bool | None:
    distribution, origin = record["system"]["distribution"], record["system"]["kernel"]["origin"]
    if distribution is None or origin == "unknown":
        return None
    # A check stores the ID of os-release, which is in lower case.
    return distribution.lower() == "ubuntu" and origin == "ubuntu"


def _kernel_of(record: Record) -> str | None:
    """Return the full name of the kernel. A loaded patch has it too; otherwise the release is returned."""
    kernel = record["system"]["kernel"]
    release = parse_kernel_name(kernel["release"] or "")
    if kernel["full"] is not None or release is None:
        return kernel["full"] or kernel["release"]
    for patch in record["kernel_patches"]:
        module = parse_module_name(patch["module"])
        found = module.kernel_of_release(release) if module is not None and patch["enabled"] else None
        if found is not None:
            return str(found)
    return kernel["release"]


def _is_confirmed(record: Record, kernel: str) -> bool:
    """Return True if the kernel runs the patch that the client reports, and nothing is known against it."""
    patch = record["patch"]
    module = module_name(kernel, patch["version"] or "")
    return (
        record["assessment"]["state"] in _CONFIRMED_STATES
        and patch["state"] == "applied"
        and any(
            loaded["module"] == module
            and loaded["enabled"] is True
            and loaded["transition"] is not True
            and loaded["verification"]["result"] in ("verified", "not_checked")
            for loaded in record["kernel_patches"]
        )
    )


@dataclasses.dataclass(frozen=True, slots=True)
class IdentifiedKernel:
    """A kernel with its source package. `derived` is True where the host does not report it.

    `installed` is as in `KernelEvidence`.
    """

    name: KernelName
    release: str
    source: str
    derived: bool
    installed: str | None = None


class _NoticeAdvice(t.NamedTuple):
    """The evidence of the notices for a kernel about a vulnerability: the patch that is needed, -1 if none is.

    `fixed` is the version with the fix. Without it, it is not known whether the kernel has the fix. `version` is the
    patch of the notice, and `published` the date of the notice.
    """

    version: int
    needed: int
    fixed: str | None
    published: str

    def joined(self, other: _NoticeAdvice) -> _NoticeAdvice:
        """Return the advice of two notices: the one that needs most counts, unless it knows no version."""
        if (self.fixed is None) != (other.fixed is None):
            known, silent = (self, other) if other.fixed is None else (other, self)
            if known.needed < 0:
                return known if known.version >= silent.version else silent
            return known._replace(needed=max(known.needed, silent.needed))
        return max(self, other, key=lambda advice: advice.needed)


_NOT_NAMED = (
    Verdict("not_affected", evidence="package_data"),
    Verdict("unknown", reason=NO_CVE),
    Verdict("unknown", reason=DATA_ENDED),
)
_NOT_LISTED, _MISSING, _ENDED = range(len(_NOT_NAMED))
"""Verdicts where the data does not name the package for a vulnerability, and their positions."""


class Evaluator:
    """Evaluates a list of vulnerabilities for the evidence of hosts."""

    def __init__(self, indexes: c.Sequence[VulnerabilityIndex], cves: c.Iterable[str]) -> None:
        self.cves = tuple(cves)
        self._positions = {cve: position for position, cve in enumerate(self.cves)}
        self._packages = [package for index in indexes for package in index.packages]
        self._notices = newest_of_each(notice for index in indexes for notice in index.notices.notices)
        self._base = functools.cache(self._by_packages)
        self._merged = functools.cache(self._merge)
        self._by_notice = functools.cache(self._of_notices)
        self._listed = [self._listed_since(cve) for cve in self.cves]
        self._published = [self._published_on(cve) for cve in self.cves]

    def verdicts(self, evidence: KernelEvidence) -> list[Verdict]:
        """Return one verdict for each vulnerability, in their order."""
        kernel = self.identify(evidence)
        name = parse_kernel_name(evidence.kernel or "")
        if not isinstance(kernel, IdentifiedKernel) and kernel["id"] not in (NO_SOURCE["id"], NO_RELEASE["id"]):
            return [Verdict("unknown", reason=kernel)] * len(self.cves)
        if isinstance(kernel, IdentifiedKernel):
            verdicts = list(self._base(kernel))
        else:
            verdicts = [Verdict("unknown", reason=kernel)] * len(self.cves)
        if name is not None and evidence.release is not None:
            notices = self._by_notice(UbuntuKernel(name, evidence.release, evidence.source))
            self._add_notices(verdicts, evidence, notices)
            self._add_client(verdicts, evidence, notices)
        return verdicts

    def identify(self, evidence: KernelEvidence) -> IdentifiedKernel | Reason:
        """Return the kernel with its source package, or the reason why it cannot be evaluated."""
        name = parse_kernel_name(evidence.kernel or "")
        if evidence.container:
            return OTHER_MACHINE
        if name is not None and (name.foreign or not name.of_archive):
            return OTHER_KERNEL
        if evidence.kernel is None or evidence.release is None or evidence.ubuntu is None:
            return NOT_IDENTIFIED
        if not evidence.ubuntu or name is None:
            return OTHER_KERNEL
        if name.ubuntu_release not in (None, evidence.release):
            return NOT_IDENTIFIED
        layers = self._layers(evidence.release, fips=name.fips)
        if not layers:
            return NO_RELEASE
        source = evidence.source or _derived_source(evidence.release, name, layers)
        if source is None or not _is_published(source, name, layers):
            return NO_SOURCE
        derived = evidence.source is None
        return IdentifiedKernel(name, evidence.release, source, derived=derived, installed=evidence.installed)

    def _layers(self, release: str, *, fips: bool) -> list[PackageIndex]:
        # A fix in fips-updates decides by its version, also for the kernels that get no updates.
        realms = ("fips-updates", "fips") if fips else ("",)
        found = [index for index in self._packages if index.release == release and index.realm in realms]
        return sorted(found, key=lambda index: realms.index(index.realm))

    def _listed_since(self, cve: str) -> str | None:
        """Return the date of the oldest data by release that lists a vulnerability.

        ``None`` for one that was published on that day: the data of another release may not have it yet.
        """
        for index in sorted(self._packages, key=lambda index: index.published or ""):
            position = index.positions.get(cve)
            if position is not None and index.published is not None:
                published = index.vulnerabilities[position].published
                return index.published if published is not None and published < index.published else None
        return None

    def _published_on(self, cve: str) -> str:
        """Return the first date of a vulnerability in the data, empty if the data does not have it."""
        return min((index.published_on(cve) for index in self._packages if cve in index.positions), default="")

    def _by_packages(self, kernel: IdentifiedKernel) -> list[Verdict]:
        """Evaluate package data for a kernel."""
        values, column = self._merged(kernel.release, kernel.name.fips, kernel.source)
        judged = [value if isinstance(value, Verdict) else _by_advice(kernel, value) for value in values]
        return [judged[position] for position in column]

    def _merge(self, release: str, fips: bool, source: str) -> tuple[list[Advice | Verdict], list[int]]:
        """Return what all data has on a source package: distinct values, and the position of that for each CVE."""
        layers = [layer for layer in self._layers(release, fips=fips) if source in layer.sources]
        maintained = _maintained_until(max((layer.newest_of(source) for layer in layers), default=""))
        missed = sum(day > maintained for layer in layers for day in map(layer.published_on, layer.cves))
        later = _ENDED if missed >= _MISSED else _NOT_LISTED
        values: dict[Advice, int] = {}
        column = []
        for cve, listed, published in zip(self.cves, self._listed, self._published, strict=True):
            advice = next((found for layer in layers if (found := layer.advice(source, cve))), None)
            if advice is not None:
                column.append(len(_NOT_NAMED) + values.setdefault(advice, len(values)))
            elif any(cve in one.positions or _is_newer(one, listed) for one in layers):
                column.append(_NOT_LISTED if published <= maintained else later)
            else:
                column.append(_MISSING)
        return [*_NOT_NAMED, *values], column

    def _of_notices(self, kernel: UbuntuKernel) -> dict[str, _NoticeAdvice]:
        """Return what the notices for a kernel show."""
        found: dict[str, _NoticeAdvice] = {}
        for notice in self._notices:
            advice = _of_notice(notice, kernel)
            if advice is None:
                continue
            for cve in notice.cves:
                if cve in self._positions:
                    found[cve] = found.get(cve, advice).joined(advice)
        return found

    def _add_notices(
        self, verdicts: list[Verdict], evidence: KernelEvidence, notices: dict[str, _NoticeAdvice]
    ) -> None:
        """Let notices decide what package data leaves open: which patch has the fix, and whether it runs."""
        running = patch_major(evidence.patch)
        for cve, (_version, needed, fixed, published) in notices.items():
            position = self._positions[cve]
            verdict = verdicts[position]
            if verdict.status not in ("open", "unknown"):
                continue
            if needed < 0:
                if verdict.status == "unknown":
                    verdicts[position] = Verdict("fixed", fixed_in=fixed, evidence="notice")
            elif running >= needed:
                if not evidence.fixes:
                    verdicts[position] = _patched(evidence, verdict.fixed_in, needed, "notice")
            elif verdict.status == "unknown" and fixed is None:
                continue
            elif evidence.patchable:
                shown, since = verdict.evidence or "notice", _first_fix(verdict, published)
                verdicts[position] = Verdict("open", "patch", verdict.fixed_in or fixed, needed, shown, since=since)
            elif verdict.status == "unknown":
                verdicts[position] = Verdict("open", "kernel", fixed, None, "notice", since=published)

    def _add_client(self, verdicts: list[Verdict], evidence: KernelEvidence, notices: dict[str, _NoticeAdvice]) -> None:
        """Let the list of the client decide: it is for exactly this kernel."""
        running = patch_major(evidence.patch)
        for cve, patched in evidence.fixes:
            position = self._positions.get(cve)
            if position is None:
                continue
            verdict = verdicts[position]
            if patched:
                if evidence.confirmed or verdict.status in ("open", "unknown"):
                    verdicts[position] = _patched(evidence, verdict.fixed_in, running, "client")
                continue
            needed = notices[cve].needed if cve in notices else -1
            fixed, by_kernel = (verdict.fixed_in, verdict.fix) if verdict.status == "open" else (None, None)
            fix = "patch" if needed > running and evidence.patchable else by_kernel if fixed else "none"
            since = _first_fix(verdict, notices[cve].published) if fix == "patch" else verdict.since if fixed else None
            verdicts[position] = Verdict("open", fix, fixed, needed if fix == "patch" else None, "client", since=since)


def _first_fix(verdict: Verdict, published: str) -> str | None:
    """Return the date of the first of two fixes, of a live patch on this date, and of the kernel if one is known."""
    if verdict.fixed_in is None:
        return published
    return None if verdict.since is None else min(verdict.since, published)


def _patched(evidence: KernelEvidence, fixed_in: str | None, patch: int, source: str) -> Verdict:
    if evidence.confirmed:
        return Verdict("live_patched", fixed_in=fixed_in, patch=patch, evidence=source)
    return Verdict("unknown", fixed_in=fixed_in, patch=patch, evidence=source, reason=NOT_CONFIRMED)


def _is_published(source: str, name: KernelName, layers: c.Sequence[PackageIndex]) -> bool:
    """Return True if the data has the source package, and does not only have versions of other series.

    A kernel of another release of Ubuntu can have the same source package (``linux``) in a version that is not
    comparable.
    """
    columns = [layer.sources[source] for layer in layers if source in layer.sources]
    versions = [version for column in columns for version in column.all_versions()]
    return bool(columns) and (not versions or any(version.startswith(f"{name.series}.") for version in versions))


def _derived_source(release: str, name: KernelName, layers: c.Sequence[PackageIndex]) -> str | None:
    """Return the source package of a kernel: the candidate that was published in its version, else in its series."""
    columns = {
        candidate: [layer.sources[candidate] for layer in layers if candidate in layer.sources]
        for candidate in source_candidates(release, name)
    }
    own, prefix = name.package_version, f"{name.series}."
    for candidate, found in columns.items():
        published = {version for column in found for version in column.versions}
        if own in published or (name.upload is None and any(each.startswith(f"{own}.") for each in published)):
            return candidate
    for candidate, found in columns.items():
        # The list of published versions can be incomplete. Those with a fix were published too.
        if any(version.startswith(prefix) for column in found for version in column.all_versions()):
            return candidate
    return None


def _maintained_until(newest: str) -> str:
    """Return the date until which a source package is maintained, by the date of its newest vulnerability.

    Kernels get new vulnerabilities every week. Those that are not listed for a maintained one do not affect it.
    """
    day = parse_date(newest if "-" in newest else f"{newest}-01-01")
    return "" if day is None else (min(day, datetime.date.max - _MAINTAINED) + _MAINTAINED).isoformat()


def _is_newer(layer: PackageIndex, listed: str | None) -> bool:
    """Return True if the data is as new as other data that lists a vulnerability: it would list it too."""
    return listed is not None and layer.published is not None and layer.published >= listed


def _by_advice(kernel: IdentifiedKernel, advice: Advice) -> Verdict:
    if advice.status == NOT_AFFECTED:
        return Verdict("not_affected", evidence="package_data")
    if advice.status == FIXED and advice.fixed is not None:
        has_fix = _has_fix(kernel.name, advice.fixed)
        if has_fix is None:
            return Verdict("unknown", fixed_in=advice.fixed, evidence="package_data", reason=NO_UPLOAD)
        if has_fix:
            return Verdict("fixed", fixed_in=advice.fixed, evidence="package_data")
        waits = kernel.installed is not None and _version_key(kernel.installed) >= _version_key(advice.fixed)
        return Verdict("open", "reboot" if waits else "kernel", advice.fixed, None, "package_data", since=advice.since)
    if advice.status == VULNERABLE:
        return Verdict("open", "none", None, None, "package_data")
    return Verdict("unknown", evidence="package_data", reason=UNDECIDED)


def _has_fix(kernel: KernelName, fixed: str) -> bool | None:
    """Compare versions of one source package; ``None`` if the upload number would decide, and is unknown."""
    own = kernel.package_version
    if kernel.upload is None and (fixed == own or fixed.startswith(f"{own}.")):
        return None
    return _version_key(own) >= _version_key(fixed)


_version_key = functools.lru_cache(_CACHED_VERSIONS)(version_key)


def _of_notice(notice: Notice, kernel: UbuntuKernel) -> _NoticeAdvice | None:
    rows = notice.modules_for(kernel)
    if not rows:
        return None
    found = []
    for row in rows:
        version, published = int(row.version), notice.published.date().isoformat()
        needed = -1 if row.contains_fix(kernel) else version
        found.append(_NoticeAdvice(version, needed, row.fix_for(kernel), published))
    return functools.reduce(_NoticeAdvice.joined, found)


def known_vulnerabilities(indexes: c.Iterable[VulnerabilityIndex]) -> dict[str, Vulnerability]:
    """Return all vulnerabilities in the data. Of several priorities the highest counts, of several dates the first."""
    found: dict[str, Vulnerability] = {}
    for index in indexes:
        for package in index.packages:
            for cve, details in zip(package.cves, package.vulnerabilities, strict=True):
                known = found.get(cve)
                found[cve] = details if known is None or known == details else known.merged(details)
        for notice in index.notices.notices:
            for cve in notice.cves:
                found.setdefault(cve, Vulnerability(None, None))
    return found


def release_and_realm(evidence: KernelEvidence) -> tuple[str, str] | None:
    """Return release and realm of the data that a kernel needs, as in `Packages`; ``None`` if they are not known."""
    name = parse_kernel_name(evidence.kernel or "")
    return None if name is None or evidence.release is None else (evidence.release, "fips" if name.fips else "")
