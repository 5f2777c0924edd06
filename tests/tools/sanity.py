# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run all of `ansible-test sanity` in a copy of this repository.

    python tests/tools/sanity.py FOLDER [words for ansible-test]

The copy is in .build/FOLDER, so that several versions of ansible-core can run at the same time.

`ansible-test` creates virtual environments and downloads the installer of pip for them. Every Python includes that
installer as `ensurepip`, so a script that calls it is written to the cache of `ansible-test`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import interpreters
import trees

_INSTALLER = "import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n"


def write_pip_installers(home: Path) -> None:
    """Write the pip installers that the installed ansible-test requires to its cache below `home`."""
    sources = Path(sysconfig.get_path("purelib"), "ansible_test", "_internal", "python_requirements.py")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in re.findall(r"""\bpip=['"]([\d.]+)['"]""", sources.read_text(encoding="utf-8")):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(_INSTALLER, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run the ansible-test of this Python's environment; return its exit code."""
    folder = trees.BUILD / arguments[0]
    home = folder / "home"
    copy = trees.copy_collection(folder)
    write_pip_installers(home)
    # ansible-test searches PATH for `python3.N`, and would find commands that fail.
    folders = [sysconfig.get_path("scripts"), *(str(path.parent) for path in interpreters.find().values())]
    environment = {**os.environ, "HOME": str(home), "PATH": os.pathsep.join([*folders, os.environ["PATH"]])}
    command = [sys.executable, str(Path(folders[0], "ansible-test")), "sanity", "--color", *arguments[1:]]
    return subprocess.run(command, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
