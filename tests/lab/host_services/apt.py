# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""apt and dpkg of one host: a small archive of kernels, and the installation of a kernel."""

from __future__ import annotations

import dataclasses
import typing as t

from ..hosts.current_host import CurrentHost
from ..hosts.description import Apt, Description
from ..hosts.file_tree import installed_packages, kernel_releases, newest, package_version, release_of
from ..hosts.kernel_names import identify

_ARCHIVE = "Ubuntu:16.04/xenial-updates [amd64]"
_HEAD = "Reading package lists...\nBuilding dependency tree...\nReading state information...\n"
_DPKG_ENDED = "E: Sub-process /usr/bin/dpkg returned an error code (1)"
_FAULTS = {
    "fetch": "Failed to fetch http://archive.lab.test/pool/linux.deb  Could not resolve 'archive.lab.test'\n"
    "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
    "credentials": "Failed to fetch https://esm.ubuntu.com/infra/pool/linux.deb  401  Unauthorized [IP: 192.0.2.9 443]",
    "contradiction": "Unable to correct problems, you have held broken packages.\n"
    " linux-generic : Depends: linux-headers-generic (= 4.4.0.261.267) but 4.4.0.262.268 is to be installed",
    "unmet": "Unmet dependencies. Try 'apt-get -f install' with no packages (or specify a solution).",
    "boot-full": "mkinitramfs failure cpio 141 lz4 -9 -l 24\nError 24 : Write error : cannot write compressed block\n"
    f"{_DPKG_ENDED}",
    "module": "run-parts: /etc/kernel/postinst.d/dkms exited with return code 11\nError! Bad return status for module"
    f" build on kernel: 4.4.0-262-generic (x86_64)\nConsult /var/lib/dkms/wireguard/1.0/build/make.log\n{_DPKG_ENDED}",
}
"""What apt-get prints after "E: " for these faults. Two of them are found without downloading anything."""
_FOUND_BY_SIMULATION = ("contradiction", "unmet")
INTERRUPTED = "dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."


class AptError(Exception):
    """apt-get refuses; the text is what it prints after ``E: ``, and it ends with exit code 100."""

    status = 400


@dataclasses.dataclass(frozen=True)
class ArchivePackage:
    """A package in the archive."""

    version: str
    depends: tuple[str, ...] = ()


def archive(host: Description) -> dict[str, ArchivePackage]:
    """Return every package of the archive, by name."""
    apt = host.apt or Apt()
    fulls = {release_of(full): full for full in (*apt.kernels, *_running_full(host))}
    packages: dict[str, ArchivePackage] = {}
    for release, full in fulls.items():
        for kind in ("image", "headers"):
            packages[f"linux-{kind}-{release}"] = ArchivePackage(package_version(full))
    series = (identify(host.kernel).release or "").split("-")[0]
    for flavour in {full.split("-", 2)[2] for full in fulls.values()}:
        same = [name for name in fulls if name.endswith(f"-{flavour}") and name.startswith(f"{series}-")]
        if same:
            packages |= _metapackages(flavour, fulls[newest(same)])
    for name, full in apt.leads.items():
        packages[name] = ArchivePackage(_meta_version(full), (f"linux-image-{release_of(full)}",))
    return packages


def _running_full(host: Description) -> tuple[str, ...]:
    return (host.kernel.full,) if host.kernel.full is not None else ()


def _metapackages(flavour: str, full: str) -> dict[str, ArchivePackage]:
    version, release = _meta_version(full), release_of(full)
    return {
        f"linux-image-{flavour}": ArchivePackage(version, (f"linux-image-{release}",)),
        f"linux-headers-{flavour}": ArchivePackage(version, (f"linux-headers-{release}",)),
        f"linux-{flavour}": ArchivePackage(version, (f"linux-image-{flavour}", f"linux-headers-{flavour}")),
    }


def _meta_version(full: str) -> str:
    version, abi = package_version(full).split("-", 1)
    number = abi.partition(".")[0]
    return f"{version}.{number}.{int(number) + 6}"


class PackageManager:
    """apt and dpkg of one host."""

    def __init__(self, current: CurrentHost) -> None:
        self._current = current

    def names(self, prefix: str) -> str:
        """Return the output of ``apt-cache pkgnames``."""
        host = self._current.describe()
        return "".join(f"{name}\n" for name in {*archive(host), *installed_packages(host)} if name.startswith(prefix))

    def depends(self, names: str) -> str:
        """Return the output of ``apt-cache depends``."""
        host = self._current.describe()
        packages = archive(host)
        known = [name for name in names.split() if name in packages or name in installed_packages(host)]
        if not known:
            raise AptError("No packages found")
        text = ""
        for name in known:
            text += f"{name}\n" + "".join(
                f"  Depends: {other}\n" for other in packages.get(name, ArchivePackage("")).depends
            )
        return text

    def simulate(self, names: str) -> str:
        """Return the output of ``apt-get -s install``."""
        host = self._current.describe()
        _fail(host, _FOUND_BY_SIMULATION)
        changes = _resolve(host, names.split())
        installed = installed_packages(host)
        lines = [
            f"Inst {name}{f' [{installed[name]}]' if name in installed else ''} ({version} {_ARCHIVE})\n"
            for name, version in changes.items()
        ]
        lines += [f"Conf {name} ({version} {_ARCHIVE})\n" for name, version in changes.items()]
        return _HEAD + _summary(host, names.split(), changes) + "".join(lines)

    def install(self, names: str) -> str:
        """Run ``apt-get -y install``: the double has checked the locks."""
        host = self._current.describe()
        apt = host.apt or Apt()
        if apt.interrupted:
            raise AptError(INTERRUPTED)
        changes = _resolve(host, names.split())
        held = [name for name in changes if name in apt.held]
        if held:
            raise AptError("Held packages were changed and -y was used without --allow-change-held-packages.")
        if changes:
            _fail(host, tuple(_FAULTS))
        if changes and apt.fault == "dpkg":
            self._current.change(lambda host: with_apt(host, interrupted=True))
            raise AptError("Sub-process /usr/bin/dpkg returned an error code (1)")
        self._current.change(lambda host: _changed(host, changes))
        output = _summary(host, names.split(), changes)
        output += "".join(f"Unpacking {name} ({version}) ...\n" for name, version in changes.items())
        output += "".join(f"Setting up {name} ({version}) ...\n" for name, version in changes.items())
        return _HEAD + output + "Generating grub configuration file ...\ndone\n" * bool(changes)

    def fix(self, _body: str) -> str:
        """Run ``apt-get -f install``."""
        self._current.change(lambda host: with_apt(host, fault=None))
        return _HEAD

    def configure(self, _body: str) -> str:
        """Run ``dpkg --configure -a``."""
        self._current.change(lambda host: with_apt(host, interrupted=False))
        return ""

    def interrupt(self, _body: str) -> str:
        """Leave dpkg as after a killed run of apt-get."""
        self._current.change(lambda host: with_apt(host, interrupted=True))
        return ""


def _summary(host: Description, names: list[str], changes: dict[str, str]) -> str:
    """Return what apt-get prints about an installation before it begins."""
    packages, installed = archive(host), installed_packages(host)
    old = [name for name, version in installed.items() if name in packages and packages[name].version != version]
    text = "".join(
        f"{name} is already the newest version ({installed[name]}).\n" for name in names if name not in changes
    )
    added = [name for name in changes if name not in names]
    if added:
        text += f"The following additional packages will be installed:\n  {' '.join(sorted(added))}\n"
    new, upgraded = ([name for name in changes if (name in installed) is known] for known in (False, True))
    for title, found in (("NEW packages will be installed", new), ("packages will be upgraded", upgraded)):
        if found:
            text += f"The following {title}:\n  {' '.join(sorted(found))}\n"
    counts = f"{len(upgraded)} upgraded, {len(new)} newly installed"
    return f"{text}{counts}, 0 to remove and {len({*old} - {*changes})} not upgraded.\n"


def _fail(host: Description, faults: tuple[str, ...]) -> None:
    if host.apt is not None and host.apt.fault in faults:
        raise AptError(_FAULTS[host.apt.fault])


def with_apt(host: Description, **changes: t.Any) -> Description:
    return dataclasses.replace(host, apt=dataclasses.replace(host.apt or Apt(), **changes))


def _resolve(host: Description, names: list[str]) -> dict[str, str]:
    """Return the packages that an installation changes: versions by name, dependencies first."""
    packages, installed = archive(host), installed_packages(host)
    changes: dict[str, str] = {}

    def want(name: str) -> None:
        if name not in packages:
            raise AptError(f"Unable to locate package {name}")
        for other in packages[name].depends:
            want(other)
        if installed.get(name) != packages[name].version:
            changes[name] = packages[name].version

    for name in names:
        want(name)
    return changes


def _changed(host: Description, changes: dict[str, str]) -> Description:
    """Return the host with these packages installed; images are added to ``/boot``."""
    installed = dict(host.apt.installed) if host.apt is not None else {}
    releases = list(host.kernel.also_installed)
    for name, version in changes.items():
        release = name.removeprefix("linux-image-")
        if release != name and release[0].isdigit():
            if release not in kernel_releases(host):
                releases.append(release)
        else:
            installed[name] = version
    kernel = dataclasses.replace(host.kernel, also_installed=tuple(releases))
    return dataclasses.replace(with_apt(host, installed=installed), kernel=kernel)
