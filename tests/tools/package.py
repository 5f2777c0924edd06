# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Build the archive of the collection as a release does, check its content, and import it as Galaxy does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import trees

OUTPUT = trees.BUILD / "dist"
LARGEST = 1024 * 1024
"""Bytes. The collection is text: an archive above this has caught something that is not part of it."""
# All checks of galaxy-importer except ansible-test, which runs separately with every supported ansible-core.
_IMPORTER = """\
[galaxy-importer]
CHECK_CHANGELOG = True
CHECK_REQUIRED_TAGS = True
REQUIRE_V1_OR_GREATER = True
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = True
RUN_ANSIBLE_TEST = False
RUN_FLAKE8 = False
"""
WANTED = {"COPYING", "README.md", "MANIFEST.json", "FILES.json", "changelogs", "docs", "meta", "plugins"}
ALLOWED = WANTED | {
    ".ansible-lint-ignore",  # Galaxy runs ansible-lint on the archive
    "CHANGELOG.md",
    "CHANGELOG.rst",
    "CONTRIBUTING.md",
    "LICENSES",
    "REUSE.toml",
    "SECURITY.md",
    "bindep.txt",
    "extensions",
    "playbooks",
    "requirements.txt",
    "roles",
}


def build(source: Path) -> Path:
    """Build the archive of the collection at `source` with ansible-galaxy."""
    command = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(OUTPUT), str(source)]
    subprocess.run(command, check=True)
    (archive,) = OUTPUT.glob("*.tar.gz")
    return archive


def archive_problems(archive: Path) -> list[str]:
    """Return the problems of the archive, one sentence each."""
    with tarfile.open(archive) as tar:
        names = {name.split("/")[0] for name in tar.getnames()}
    found = [f"lacks {name}" for name in sorted(WANTED - names)]
    found += [f"contains {name}, which users do not need: see build_ignore" for name in sorted(names - ALLOWED)]
    if archive.stat().st_size > LARGEST:
        found.append(f"has {archive.stat().st_size} bytes, more than {LARGEST}")
    return found


def import_into_galaxy(archive: Path) -> list[str]:
    """Import the archive as Galaxy does at publication; return its warnings and errors, one per line."""
    settings = OUTPUT / "galaxy-importer.cfg"
    settings.write_text(_IMPORTER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", str(archive.resolve())],
        cwd=OUTPUT,
        env={**os.environ, "GALAXY_IMPORTER_CONFIG": str(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    found = [line for line in lines if re.match(r"(WARNING|ERROR|CRITICAL)\b", line)]
    return found if found or done.returncode == 0 else [f"galaxy-importer ended with {done.returncode}", *lines[-5:]]


def main() -> int:
    """Build in the current folder, print all problems, return the exit code."""
    for old in OUTPUT.glob("*.tar.gz"):
        old.unlink()
    archive = build(Path.cwd())
    found = archive_problems(archive) + import_into_galaxy(archive)
    for problem in found:
        print(f"{archive.name} {problem}", file=sys.stderr)
    print(f"{archive.name}: {archive.stat().st_size} bytes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
