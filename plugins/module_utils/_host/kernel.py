# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Identify the running kernel: its full name, series, flavour, origin and build date.

``uname -r`` does not contain the upload number, so it never identifies a patch. The full name comes from
``/proc/version_signature``, which exists only on kernels built by Ubuntu. The functions never raise: a malformed text
counts as unknown.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from .._kernel_name import KernelName, normalised_source, parse_kernel_name, parse_release, series_of

Origin = t.Literal["ubuntu", "mainline", "custom", "unknown"]

_UTS_FIELD = 64
"""A field of ``struct new_utsname`` holds this many characters (kernel ``include/uapi/linux/utsname.h``)."""

_SIGNATURE_LIMIT = 256
_VISIBLE = re.compile(r"[\x21-\x7e]+")

PackageProblem = t.Literal["no_dpkg", "dpkg_failed", "kernel_without_package"]
"""Why the source package of the running kernel is not known."""

_RUNNING_PACKAGES = ("modules", "image-unsigned", "image", "signed-image", "image-uc")
"""Packages of a kernel by the kind in their names, the first one to ask for its source package first."""
_KERNEL_PACKAGE = re.compile(
    r"linux-(?P<kind>(?:[a-z][a-z0-9.-]*-)?(?:image|image-unsigned|image-extra|image-uc|modules|modules-extra|headers|tools))"
    r"-(?P<release>[0-9]+\.[0-9]+\.[0-9]+-[0-9]+(?:-[0-9a-z][0-9a-z-]*)?)"
)
_PACKAGE_STATE = re.compile(r"[a-z][a-zA-Z]R?")
_INSTALLED = "i"
_PACKAGE_LINE, _PACKAGE_WORDS = 1024, 5
_PACKAGE_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~:-]{0,127}")
_MOST_PACKAGES = 128

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_DAY = r"(?P<day>[0-9]{1,2})"
_YEAR = r"(?P<year>[0-9]{4})(?![0-9])"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_BUILD_DATES = (
    # date(1) in the C locale. A zone other than UTC has only a name and no offset.
    re.compile(rf"{_MONTH} +{_DAY} {_CLOCK} (?:UTC|GMT) {_YEAR}"),
    # RFC 5322, from builds with a fixed date.
    re.compile(rf"{_DAY} {_MONTH} {_YEAR} {_CLOCK} (?P<sign>[+-])(?P<off_hour>[0-9]{{2}})(?P<off_minute>[0-9]{{2}})"),
    # Debian: the day of the last entry in the changelog of the package.
    re.compile(r"\((?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})\)"),
)


class InstalledPackage(t.NamedTuple):
    """An installed package of a kernel: image, modules, headers or tools."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class KernelPackageList:
    """The packages of kernels. `source` and `source_version` are of the package of the running kernel.

    `source` is normalised: ``linux-signed-aws`` is ``linux-aws``. `installed` begins with the packages of the running
    kernel. `problem` is set if the source package is not known, or if the list is not complete.
    """

    source: str | None = None
    source_version: str | None = None
    installed: tuple[InstalledPackage, ...] = ()
    problem: PackageProblem | None = None


@dataclass(frozen=True, slots=True)
class KernelIdentity:
    """The running kernel.

    `release` is ``uname -r``. `full` is the name that the client and its patches use (``4.4.0-21.37-generic``), known
    only for a kernel built by Ubuntu. `series` is ``4.4``. `origin_reason` is a clause with the evidence for `origin`.
    """

    release: str | None
    full: str | None
    series: str | None
    flavour: str | None
    origin: Origin
    origin_reason: str
    build_date: datetime | None
    realtime: bool | None

    @property
    def fips(self) -> bool:
        """The kernel is a FIPS build, either certified or with updates."""
        name = parse_kernel_name(self.full or self.release or "")
        return name is not None and name.fips


def identify(
    release: str | None,
    version: str | None,
    signature: str | None,
    signature_absent: bool,
    in_container: bool,
    image_built_at: datetime | None = None,
) -> KernelIdentity:
    """Identify the kernel from ``uname -r``, ``uname -v`` and the content of ``/proc/version_signature``.

    A `signature` of ``None`` means that the file is missing (`signature_absent`) or could not be read. `image_built_at`
    (aware) is the fallback if ``uname -v``, which the kernel cuts after 64 characters, does not contain the date.
    """
    release = _clean(release, _UTS_FIELD)
    parts = parse_release(release) if release else None
    signed = _signed_name(signature)
    origin, reason = _origin(release, signed, signature, signature_absent, in_container)
    # A signature that contradicts uname -r is not that of the running kernel.
    named = signed if signed and (release is None or release == signed.release) else None
    source = named or parts
    flavour = source.flavour if source else None
    return KernelIdentity(
        release=release,
        full=named.full if named else None,
        series=series_of(release or (str(named) if named else "")),
        flavour=flavour,
        origin=origin,
        origin_reason=reason,
        build_date=_build_date(version) or image_built_at,
        realtime=_realtime(version, flavour),
    )


def newest_release(releases: Iterable[str], flavour: str | None) -> str | None:
    """Return the newest release of a flavour. The releases are those of ``/boot/vmlinuz-<release>``.

    A kernel whose name shows that Ubuntu did not build it never counts. Return ``None`` if there is none, or if the
    flavour is unknown: kernels of different flavours have no order.
    """
    names = (parse_release(release) for release in releases if len(release) <= _UTS_FIELD)
    same = [name for name in names if name and name.flavour == flavour and not name.foreign]
    return str(max(same, key=lambda name: name.age)) if same else None


def kernel_packages(text: str, release: str | None, *, complete: bool) -> KernelPackageList:
    """Parse lines with the state, name, version, source package, source version and architecture of a package.

    `release` is that of the running kernel. A removed package still names its source while its kernel runs. `complete`
    is False if dpkg did not print all packages.
    """
    sources: dict[str, tuple[str, str]] = {}
    installed: dict[InstalledPackage, bool] = {}
    for line in text.splitlines():
        state, *words = line.split(" ") if len(line) <= _PACKAGE_LINE else [""]
        words = [word for word in words if word]
        match = _KERNEL_PACKAGE.fullmatch(words[0]) if len(words) == _PACKAGE_WORDS else None
        if match is None or not _PACKAGE_STATE.fullmatch(state) or not all(map(_PACKAGE_WORD.fullmatch, words)):
            continue
        name, version, source, source_version, _architecture = words
        if match["release"] == release:
            sources.setdefault(match["kind"], (normalised_source(source), source_version))
        if state[1] == _INSTALLED:
            installed[InstalledPackage(name, version)] = match["release"] == release
    found = next((sources[kind] for kind in _RUNNING_PACKAGES if kind in sources), None)
    ordered = sorted(installed, key=lambda package: not installed[package])[:_MOST_PACKAGES]
    problem: PackageProblem | None = "kernel_without_package" if found is None else None
    packages = KernelPackageList(installed=tuple(ordered), problem=problem if complete else "dpkg_failed")
    return packages if found is None else replace(packages, source=found[0], source_version=found[1])


def _clean(text: str | None, limit: int) -> str | None:
    """Return the text without surrounding space, or ``None`` if it is empty or cannot be a name."""
    text = (text or "").strip()
    return text if len(text) <= limit and _VISIBLE.fullmatch(text) else None


def _signed_name(signature: str | None) -> KernelName | None:
    """Return the full name in ``/proc/version_signature``, or ``None`` if there is none."""
    words = (signature or "").split() if len(signature or "") <= _SIGNATURE_LIMIT else []
    name = parse_kernel_name(words[1]) if len(words) > 1 and words[0] == "Ubuntu" else None
    return name if name and name.full else None


def _origin(
    release: str | None, signed: KernelName | None, signature: str | None, signature_absent: bool, in_container: bool
) -> tuple[Origin, str]:
    if signed:
        return _signed_origin(release, signed)
    if signature is None and not signature_absent:
        return "unknown", "/proc/version_signature could not be read"
    if signature is None and in_container:
        return "unknown", "/proc/version_signature is missing, as it often is in a container"
    if release is None:
        return "unknown", "uname -r printed no release"
    name = parse_release(release)
    if name is not None and name.mainline:
        return "mainline", f"{release} is a release from Ubuntu's mainline archive"
    problem = "is missing" if signature is None else "does not name an Ubuntu build"
    return "custom", f"/proc/version_signature {problem}"


def _signed_origin(release: str | None, signed: KernelName) -> tuple[Origin, str]:
    if release is None:
        return "unknown", "uname -r printed no release to compare /proc/version_signature with"
    if release == signed.release and not signed.of_archive:
        return "unknown", f"the version of {signed} has an addition that kernels of the Ubuntu archive do not have"
    if release == signed.release:
        return "ubuntu", "/proc/version_signature names an Ubuntu build, and uname -r agrees"
    return "custom", f"/proc/version_signature names {signed}, but uname -r prints {release}"


def _build_date(version: str | None) -> datetime | None:
    text = (version or "")[:_SIGNATURE_LIMIT]
    for pattern in _BUILD_DATES:
        match = pattern.search(text)
        if match:
            return _moment(match.groupdict())
    return None


def _moment(found: dict[str, str]) -> datetime | None:
    month = found["month"]
    offset = timedelta(hours=int(found.get("off_hour", 0)), minutes=int(found.get("off_minute", 0)))
    try:
        local = datetime(
            int(found["year"]),
            _MONTHS.index(month) + 1 if month in _MONTHS else int(month),
            int(found["day"]),
            int(found.get("hour", 0)),
            int(found.get("minute", 0)),
            int(found.get("second", 0)),
            tzinfo=timezone.utc,
        )
        return local + offset if found.get("sign") == "-" else local - offset
    except (ValueError, OverflowError):
        return None


def _realtime(version: str | None, flavour: str | None) -> bool | None:
    text = (version or "")[:_SIGNATURE_LIMIT]
    # Kernels before 5.4 separate the two parts by a space.
    if "realtime" in (flavour or "").split("-") or "PREEMPT_RT" in text or "PREEMPT RT" in text:
        return True
    return False if text.strip() else None
