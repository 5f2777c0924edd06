# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The grammar of kernel names, and of the names of live patch modules and crash locks that are made from them.

A kernel has a full name (``4.4.0-168.197-generic``: version, ABI, upload, flavour) and a release, which leaves out the
upload (``uname -r``: ``4.4.0-168-generic``). HWE kernels add their Ubuntu release to the upload
(``4.15.0-36.39~16.04.1-generic``), FIPS kernels ``+fips2`` or ``~recert1``. Builds of the mainline archive repeat the
version in an ABI of six digits (``5.7.7-050707-generic``).
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

KERNEL_NAME_LIMIT = 128
"""Characters of a kernel name. The kernel itself has 64 for a release."""

MODULE_NAME_LIMIT = 64
"""Characters of a module name. The kernel's limit is ``MODULE_NAME_LEN``, 64 less the size of a pointer."""

_KERNEL = re.compile(
    r"(?P<version>[0-9]+(?:\.[0-9]+)+)-(?P<abi>[0-9]+)(?:\.(?P<upload>[0-9A-Za-z.~+]+)|(?P<suffix>[a-z][a-z0-9]*))?"
    r"-(?P<flavour>[0-9A-Za-z][0-9A-Za-z_-]*)"
)
_SERIES = re.compile(r"([0-9]+\.[0-9]+)(?![0-9])")
_UBUNTU_RELEASE = re.compile(r"~([0-9]{2}\.[0-9]{2})(?:\.|$)")
_ARCHIVE_UPLOAD = re.compile(
    r"[0-9]+(?:\.[0-9]+)*(?:~[0-9]{2}\.[0-9]{2}(?:\.[0-9]+)*)?(?:~recert[0-9]*|\+(?:fips|cvm)[0-9]*)?(?:\.[0-9]+)*"
)
"""Uploads of the Ubuntu archive: HWE kernels add the release, FIPS kernels and those of confidential VMs a word."""
_META = re.compile(r"linux-(?:signed|meta)(?=-|$)")
_MODULE = re.compile(r"(?:lkp|livepatch)_Ubuntu_(?P<kernel>[0-9][0-9A-Za-z_]*)_(?P<major>[0-9]+)")
_PATCH_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_PATCH_VERSION_LIMIT = 32
_NOT_IN_IDENTIFIERS = re.compile(r"[^0-9A-Za-z]")
_MAINLINE_ABI_DIGITS = 6
_UBUNTU_ABI_DIGITS = 4
"""Digits of the longest ABI of Ubuntu's own kernels, those of clouds and boards (``5.15.0-1080-aws``)."""

Age: t.TypeAlias = "tuple[list[int], int, bool, list[int]]"


@dataclasses.dataclass(frozen=True, slots=True)
class KernelName:
    """The name of a kernel in its parts. `str` returns the name itself.

    `upload` is None where only the release is known. `suffix` follows the ABI of a release candidate (``rc7``).
    """

    version: str
    abi: str
    flavour: str
    upload: str | None = None
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.package_version}-{self.flavour}"

    @property
    def full(self) -> str | None:
        """The full name, which the client and its patches use."""
        return None if self.upload is None else str(self)

    @property
    def release(self) -> str:
        """The name as ``uname -r`` prints it."""
        return f"{self.version}-{self.abi}{self.suffix}-{self.flavour}"

    @property
    def package_version(self) -> str:
        """The version of the kernel's package: the name without the flavour."""
        upload = "" if self.upload is None else f".{self.upload}"
        return f"{self.version}-{self.abi}{self.suffix}{upload}"

    @property
    def series(self) -> str | None:
        """The first two numbers of the version (``4.4``)."""
        return series_of(self.version)

    @property
    def ubuntu_release(self) -> str | None:
        """The Ubuntu release that an HWE kernel names (``16.04`` of ``~16.04.1``)."""
        match = _UBUNTU_RELEASE.search(self.upload or "")
        return match[1] if match else None

    @property
    def of_archive(self) -> bool:
        """Return True if the upload has a form of the archive: private builds add words (``25.25~lp123``, ``+acme1``).

        Patches are only made for kernels of the archive.
        """
        return self.upload is None or _ARCHIVE_UPLOAD.fullmatch(self.upload) is not None

    @property
    def mainline(self) -> bool:
        """Return True if the ABI repeats the version with two digits a part (``4.4.0-040400-generic``)."""
        repeated = "".join(part.zfill(2) for part in self.version.split("."))
        return len(repeated) >= _MAINLINE_ABI_DIGITS and self.abi.startswith(repeated)

    @property
    def foreign(self) -> bool:
        """Return True if the name shows that Ubuntu did not build the kernel.

        Other distributions with Ubuntu's names have longer ABIs: ``6.2.6-76060206-generic`` of Pop!_OS.
        """
        return self.mainline or len(self.abi) > _UBUNTU_ABI_DIGITS

    @property
    def fips(self) -> bool:
        """Return True for a FIPS build, certified or with updates."""
        return "fips" in self.flavour.split("-") or any(mark in (self.upload or "") for mark in ("+fips", "recert"))

    @property
    def age(self) -> Age:
        """A key by which releases sort. A release candidate (``051500rc7``) is older than the release."""
        version = [int(part) for part in self.version.split(".")]
        suffix = [int(part) for part in re.findall("[0-9]+", self.suffix)]
        return version, int(self.abi), not self.suffix, suffix


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleName:
    """The name of a live patch module in its parts.

    `kernel` is the full name of the kernel with ``_`` for every sign (``4_4_0_168_197_generic``), `major` the major
    number of the patch.
    """

    kernel: str
    major: str

    def is_for(self, full: str) -> bool:
        """Return True if the module is a patch for exactly this kernel, given by its full name."""
        return self.kernel == _as_identifier(full)

    def kernel_of_release(self, release: KernelName) -> KernelName | None:
        """Return the kernel that has this release, with the upload number that the module's name holds.

        ``None`` when the name is of another kernel, or its upload is more than a number: then the signs are lost.
        """
        head, tail = _as_identifier(f"{release.version}-{release.abi}."), _as_identifier(f"-{release.flavour}")
        upload = self.kernel[len(head) : -len(tail)]
        if self.kernel != f"{head}{upload}{tail}" or not upload.isdecimal():
            return None
        return dataclasses.replace(release, upload=upload)


def normalised_source(name: str) -> str:
    """Return the source of the kernel for the source package of an installed image (``linux-signed-aws``)."""
    return _META.sub("linux", name)


def parse_kernel_name(text: str) -> KernelName | None:
    """Parse a full name or a release; ``None`` for any other text."""
    match = _KERNEL.fullmatch(text) if len(text) <= KERNEL_NAME_LIMIT else None
    if match is None:
        return None
    return KernelName(match["version"], match["abi"], match["flavour"], match["upload"], match["suffix"] or "")


def parse_release(text: str) -> KernelName | None:
    """Parse a release (``4.4.0-168-generic``); ``None`` for a full name and for any other text."""
    name = parse_kernel_name(text)
    return name if name is not None and name.upload is None else None


def series_of(release: str) -> str | None:
    """Return the series (``4.4``) of any release, also of one that is not in the form of Ubuntu's."""
    match = _SERIES.match(release[:KERNEL_NAME_LIMIT])
    return match[1] if match else None


def module_name(full: str, patch_version: str) -> str:
    """Name the module of a patch: ``4.4.0-168.197-generic``, ``65.1`` → ``lkp_Ubuntu_4_4_0_168_197_generic_65``.

    The name holds the major number of the patch only.
    """
    return f"lkp_Ubuntu_{_as_identifier(full)}_{_as_identifier(patch_version.partition('.')[0])}"


def parse_module_name(text: str) -> ModuleName | None:
    """Parse the name of a live patch module; ``None`` for any other module.

    Clients up to 9 wrote ``livepatch_Ubuntu_…`` (seen in the names of their crash locks), later ones ``lkp_Ubuntu_…``.
    """
    match = _MODULE.fullmatch(text) if len(text) <= MODULE_NAME_LIMIT else None
    return ModuleName(match["kernel"], match["major"]) if match else None


def parse_lock_name(text: str) -> ModuleName | None:
    """Parse the name of a crash lock, and return the module that is locked; ``None`` for any other file.

    A lock has the name of the module, with the whole version of the patch behind it:
    ``livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2``.
    """
    module, _separator, version = text.rpartition("_")
    if len(version) > _PATCH_VERSION_LIMIT or not _PATCH_VERSION.fullmatch(version):
        return None
    return parse_module_name(module)


def _as_identifier(name: str) -> str:
    return _NOT_IN_IDENTIFIERS.sub("_", name)
