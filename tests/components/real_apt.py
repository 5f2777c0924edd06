# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""apt and dpkg of this machine, with a folder as their root and an archive in it. The machine does not change."""

from __future__ import annotations

import fcntl
import os
import subprocess
import typing as t
from collections.abc import Mapping
from pathlib import Path

from tests.lab.host_services.apt import ArchivePackage

_CONFIG = """\
Dir "{root}";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Bin::dpkg "/usr/bin/dpkg";
Dir::Bin::Methods "/usr/lib/apt/methods";
Dir::Bin::Solvers "/usr/lib/apt/solvers";
DPkg::Options {{ "--root={root}"; "--force-script-chrootless"; "--log=/dev/null"; }};
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "0";
"""
_FOLDERS = (
    *("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"),
    *("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"),
    *("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"),
)
BROKEN, UNMET = "linux-broken", "linux-unmet"
"""Packages of the archive whose script fails, and whose dependency does not exist."""


class Answer(t.NamedTuple):
    """The exit code of a program, and what it printed."""

    code: int
    output: str
    errors: str


class RealApt:
    """An archive, a root with installed packages, and the programs of this machine that use them."""

    def __init__(self, folder: Path, packages: Mapping[str, ArchivePackage], installed: Mapping[str, str]) -> None:
        self.root, self._folder = folder / "root", folder
        for name in _FOLDERS:
            (self.root / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (folder / "apt.conf").write_text(_CONFIG.format(root=self.root), encoding="utf-8")
        (folder / "archive").mkdir()
        # The dependencies of Ubuntu's metapackages have versions.
        exact = {name: f"{name} (= {package.version})" for name, package in packages.items()}
        index = [
            self._build(name, ArchivePackage(package.version, tuple(exact.get(each, each) for each in package.depends)))
            for name, package in packages.items()
        ]
        index += [self._build(BROKEN, ArchivePackage("1"), "exit 1")]
        index += [self._build(UNMET, ArchivePackage("1", ("linux-nowhere",)))]
        (folder / "archive/Packages").write_text("\n".join(index), encoding="utf-8")
        for name, version in installed.items():
            self._build(name, ArchivePackage(version))
        files = [str(self._file(name, version)) for name, version in installed.items()]
        self.check("dpkg", "--force-depends", "-i", *files)
        self.set_source(f"copy:{folder}/archive ./")
        self.check("apt-get", "-q", "update")

    def set_source(self, source: str) -> None:
        (self.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] {source}\n", encoding="utf-8")

    def run(self, *words: str) -> Answer:
        """Run apt-get, apt-cache, dpkg or dpkg-query."""
        roots = {
            "dpkg": (f"--root={self.root}", "--force-script-chrootless", "--log=/dev/null"),
            "dpkg-query": (f"--root={self.root}",),
        }
        environment = {
            **os.environ,
            "APT_CONFIG": str(self._folder / "apt.conf"),
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
        }
        done = subprocess.run(
            [words[0], *roots.get(words[0], ()), *words[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # The names of files are those of a host.
        return Answer(done.returncode, *(text.replace(str(self.root), "") for text in (done.stdout, done.stderr)))

    def check(self, *words: str) -> Answer:
        answer = self.run(*words)
        assert answer.code == 0, answer
        return answer

    def run_locked(self, lock: str, *words: str) -> Answer:
        """Run a program while this process holds a lock."""
        with (self.root / lock).open("w", encoding="ascii") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            return self.run(*words)

    def _file(self, name: str, version: str) -> Path:
        return self._folder / "archive" / f"{name}_{version}_amd64.deb"

    def _build(self, name: str, package: ArchivePackage, script: str = "") -> str:
        """Build a package without files, and return its paragraph of the index."""
        control = self._folder / "build" / name / "DEBIAN"
        control.mkdir(parents=True, exist_ok=True)
        fields = f"Package: {name}\nVersion: {package.version}\nArchitecture: amd64\nMaintainer: Lab <lab@lab.test>\n"
        if name.startswith("linux-image-4"):
            fields += "Source: linux-signed\n"
        if package.depends:
            fields += f"Depends: {', '.join(package.depends)}\n"
        (control / "control").write_text(f"{fields}Description: made up\n", encoding="utf-8")
        if script:
            (control / "postinst").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (control / "postinst").chmod(0o755)
        file = self._file(name, package.version)
        command = ["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(control.parent), str(file)]
        subprocess.run(command, check=True, capture_output=True)
        digest = subprocess.run(["sha256sum", str(file)], check=True, capture_output=True, text=True).stdout.split()[0]
        return f"{fields}Description: made up\nFilename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
