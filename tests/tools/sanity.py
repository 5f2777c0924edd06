# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run `ansible-test sanity`, all of it, in a copy of this repository.

    python tests/tools/sanity.py FOLDER [words for ansible-test]

The copy lies in .build/FOLDER, so that several ansible-core can look at one at the same time.

`ansible-test` makes virtual environments of its own and fetches pip's installer from the internet for them. Every
Python carries that installer as `ensurepip`, so a script that calls it is laid where ansible-test looks first.
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


def lay_pip_installers(home: Path) -> None:
    """Put the pip installers that the installed ansible-test asks for into its cache below `home`."""
    sources = Path(sysconfig.get_path("purelib"), "ansible_test", "_internal", "python_requirements.py")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in re.findall(r"""\bpip=['"]([\d.]+)['"]""", sources.read_text(encoding="utf-8")):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(_INSTALLER, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run ansible-test of this Python's environment; its exit code is ours."""
    folder = trees.BUILD / arguments[0]
    home = folder / "home"
    copy = trees.copy_collection(folder)
    lay_pip_installers(home)
    # ansible-test looks for `python3.N` on PATH, and would find commands that refuse to run.
    folders = [sysconfig.get_path("scripts"), *(str(path.parent) for path in interpreters.find().values())]
    environment = {**os.environ, "HOME": str(home), "PATH": os.pathsep.join([*folders, os.environ["PATH"]])}
    command = [sys.executable, str(Path(folders[0], "ansible-test")), "sanity", "--color", *arguments[1:]]
    return subprocess.run(command, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
