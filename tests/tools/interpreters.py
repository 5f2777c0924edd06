# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Which Pythons this machine has, and which of them each ansible-core can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

Version = tuple[int, int]
"""Major and minor number of a Python."""


class Core(t.NamedTuple):
    """An ansible-core that the collection is tested with, and the Pythons that it runs on as a controller."""

    version: str
    oldest_python: Version
    newest_python: Version

    def pythons(self, found: dict[Version, Path]) -> list[Path]:
        """Those of the interpreters found that this ansible-core runs on, oldest first."""
        return [path for version, path in sorted(found.items()) if self.oldest_python <= version <= self.newest_python]

    def describe_pythons(self) -> str:
        """The range in words, for messages."""
        return " to ".join(".".join(map(str, version)) for version in (self.oldest_python, self.newest_python))


# https://docs.ansible.com/ansible/latest/reference_appendices/release_and_maintenance.html
CORES = (
    Core("2.16", (3, 10), (3, 12)),
    Core("2.18", (3, 11), (3, 13)),
    Core("2.19", (3, 11), (3, 13)),
    Core("2.20", (3, 12), (3, 14)),
    Core("2.21", (3, 12), (3, 14)),
)
TESTED = ("2.16", "2.21")
"""Versions that the tests marked `matrix` run with: the oldest and the newest."""
SANE = ("2.16", "2.18", "2.20", "2.21")
"""Versions whose `ansible-test sanity` must pass: its checks change with every release."""
_NAMES = [f"python3.{minor}" for minor in range(10, 15)]


def find() -> dict[Version, Path]:
    """Find working interpreters, by version.

    The candidates are the interpreter of this process, every ``python3.N`` on PATH, and those of pyenv, whose commands
    on PATH fail while another version is selected.
    """
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [Path(sys.executable)]
    candidates += [folder / name for folder in folders for name in _NAMES]
    candidates += sorted(pyenv.glob("versions/3.*/bin/python3"), reverse=True)
    found: dict[Version, Path] = {}
    for candidate in candidates:
        if candidate.is_file() and (answer := _ask(candidate)):
            version, path = answer
            found.setdefault(version, path)
    return found


def _ask(candidate: Path) -> tuple[Version, Path] | None:
    """Let an interpreter say what it is; None when it does not run or is too old."""
    question = "import json, sys; print(json.dumps([sys.version_info[:2], sys._base_executable]))"
    try:
        answer = subprocess.run([candidate, "-Sc", question], capture_output=True, check=True, timeout=20)
        (major, minor), executable = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return ((major, minor), Path(executable)) if (major, minor) >= (3, 10) else None
