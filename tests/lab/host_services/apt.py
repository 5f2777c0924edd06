# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""apt and dpkg of one host: a little archive of kernels, and what happens when one of them is installed."""

from __future__ import annotations

import dataclasses
import typing as t

from ..hosts.current_host import Present
from ..hosts.description import Apt, Description
from ..hosts.file_tree import installed_packages, kernel_releases, newest, package_version, release_of
from ..hosts.kernel_names import identify

_ARCHIVE = "Ubuntu:16.04/xenial-updates [amd64]"
_HEAD = "Reading package lists...\nBuilding dependency tree...\nReading state information...\n"
INTERRUPTED = "dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."


class AptError(Exception):
    """apt-get refuses; the text is what it prints after ``E: ``, and it ends with exit code 100."""

    status = 400


@dataclasses.dataclass(frozen=True)
class Offer:
    """A package in the archive."""

    version: str
    depends: tuple[str, ...] = ()


def archive(host: Description) -> dict[str, Offer]:
    """Every package of the archive, by name."""
    apt = host.apt or Apt()
    fulls = {release_of(full): full for full in (*apt.kernels, *_running_full(host))}
    offers: dict[str, Offer] = {}
    for release, full in fulls.items():
        for kind in ("image", "headers"):
            offers[f"linux-{kind}-{release}"] = Offer(package_version(full))
    series = (identify(host.kernel).release or "").split("-")[0]
    for flavour in {full.split("-", 2)[2] for full in fulls.values()}:
        same = [name for name in fulls if name.endswith(f"-{flavour}") and name.startswith(f"{series}-")]
        if same:
            offers |= _metapackages(flavour, fulls[newest(same)])
    for name, full in apt.leads.items():
        offers[name] = Offer(_meta_version(full), (f"linux-image-{release_of(full)}",))
    return offers


def _running_full(host: Description) -> tuple[str, ...]:
    return (host.kernel.full,) if host.kernel.full is not None else ()


def _metapackages(flavour: str, full: str) -> dict[str, Offer]:
    version, release = _meta_version(full), release_of(full)
    return {
        f"linux-image-{flavour}": Offer(version, (f"linux-image-{release}",)),
        f"linux-headers-{flavour}": Offer(version, (f"linux-headers-{release}",)),
        f"linux-{flavour}": Offer(version, (f"linux-image-{flavour}", f"linux-headers-{flavour}")),
    }


def _meta_version(full: str) -> str:
    version, abi = package_version(full).split("-", 1)
    number = abi.partition(".")[0]
    return f"{version}.{number}.{int(number) + 6}"


class PackageManager:
    """apt and dpkg of one host."""

    def __init__(self, present: Present) -> None:
        self._present = present

    def names(self, prefix: str) -> str:
        """``apt-cache pkgnames``."""
        host = self._present.look()
        return "".join(f"{name}\n" for name in {*archive(host), *installed_packages(host)} if name.startswith(prefix))

    def depends(self, names: str) -> str:
        """``apt-cache depends``."""
        offers = archive(self._present.look())
        text = ""
        for name in names.split():
            text += f"{name}\n" + "".join(f"  Depends: {other}\n" for other in offers.get(name, Offer("")).depends)
        return text

    def simulate(self, names: str) -> str:
        """``apt-get -s install``."""
        host = self._present.look()
        changes = _resolve(host, names.split())
        if not changes:
            return _HEAD + "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"
        present = installed_packages(host)
        lines = [
            f"Inst {name}{f' [{present[name]}]' if name in present else ''} ({version} {_ARCHIVE})\n"
            for name, version in changes.items()
        ]
        lines += [f"Conf {name} ({version} {_ARCHIVE})\n" for name, version in changes.items()]
        return _HEAD + "".join(lines)

    def install(self, names: str) -> str:
        """``apt-get -y install``: the locks are held already."""
        host = self._present.look()
        apt = host.apt or Apt()
        if apt.interrupted:
            raise AptError(INTERRUPTED)
        changes = _resolve(host, names.split())
        held = [name for name in changes if name in apt.held]
        if held:
            raise AptError("Held packages were changed and -y was used without --allow-change-held-packages.")
        if changes and apt.fault == "fetch":
            raise AptError(
                "Failed to fetch http://archive.lab.test/pool/linux.deb  Could not resolve 'archive.lab.test'\n"
                "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?"
            )
        if changes and apt.fault == "dpkg":
            self._present.change(lambda host: with_apt(host, interrupted=True))
            raise AptError("Sub-process /usr/bin/dpkg returned an error code (1)")
        self._present.change(lambda host: _changed(host, changes))
        said = "".join(f"Setting up {name} ({version}) ...\n" for name, version in changes.items())
        return _HEAD + said + "Generating grub configuration file ...\ndone\n" * bool(changes)

    def configure(self, _body: str) -> str:
        """``dpkg --configure -a``."""
        self._present.change(lambda host: with_apt(host, interrupted=False))
        return ""

    def interrupt(self, _body: str) -> str:
        """A run of apt-get is killed in the middle of its work."""
        self._present.change(lambda host: with_apt(host, interrupted=True))
        return ""


def with_apt(host: Description, **changes: t.Any) -> Description:
    return dataclasses.replace(host, apt=dataclasses.replace(host.apt or Apt(), **changes))


def _resolve(host: Description, names: list[str]) -> dict[str, str]:
    """What would change: versions by name, dependencies first."""
    offers, present = archive(host), installed_packages(host)
    changes: dict[str, str] = {}

    def want(name: str) -> None:
        if name not in offers:
            raise AptError(f"Unable to locate package {name}")
        for other in offers[name].depends:
            want(other)
        if present.get(name) != offers[name].version:
            changes[name] = offers[name].version

    for name in names:
        want(name)
    return changes


def _changed(host: Description, changes: dict[str, str]) -> Description:
    """The host with these packages: its images stand in ``/boot``."""
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
