# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Every check of this repository, described once: the Makefile and CI run these sessions.

`nox -l` lists them, `nox -t lint` runs those that need no test, `nox -s unit -- -k kernel` hands words to pytest.
Virtual environments stay in .build/nox and are used again until their requirements change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests" / "tools"))
import interpreters  # noqa: E402  (found by the line above)
import trees  # noqa: E402  (found by the same line)

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.envdir = ".build/nox"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False

REPORTS = trees.BUILD / "reports"
CORE = "ansible_collections.kernelops.livepatch.plugins.module_utils"
# Tests of a file share its fleet, so files are handed out whole. More than four at once would wait for the disk.
ABREAST = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")
PYTHONS = interpreters.find()
# The newest ansible-core that this machine can run, on the newest Python that it supports.
NEWEST = next(core for core in reversed(interpreters.CORES) if core.pythons(PYTHONS))
NEWEST_PYTHON = str(NEWEST.pythons(PYTHONS)[-1])
ANSIBLE = f"ansible-core~={NEWEST.version}.0"


def install(session: nox.Session, *requirements: str) -> None:
    """Install requirements, each a file of this repository or a specifier, unless this environment has them."""
    files = [name for name in requirements if name.endswith(".txt")]
    content = [(ROOT / name).read_text(encoding="utf-8") for name in files]
    wanted = hashlib.sha256("\0".join([*requirements, *content]).encode()).hexdigest()
    stamp = Path(session.virtualenv.location, "requirements.sha256")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    options = [word for name in files for word in ("--requirement", name)]
    session.install("--quiet", *options, *(name for name in requirements if name not in files))
    stamp.write_text(wanted, encoding="utf-8")


def run_all(session: nox.Session, *commands: list[str], env: dict[str, str] | None = None) -> None:
    """Run every command, also after one has failed, so that one run shows all that is wrong."""
    failed = []
    for command in commands:
        try:
            session.run(*command, env=env, external=True)
        except CommandFailed:
            failed.append(" ".join(command[:4]) if command[0] == "python" else command[0])
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def is_shell_script(path: Path) -> bool:
    """Whether this is for a POSIX shell: by its name, or by its first line where it has no ending."""
    if path.suffix or not path.is_file() or ".git" in path.parts:
        return path.suffix == ".sh"
    with path.open("rb") as file:
        return file.readline().strip() == b"#!/bin/sh"


def ansible_environment(session: nox.Session) -> dict[str, str]:
    """Variables with which Ansible finds this collection, and nothing of the user's own."""
    collections = str(trees.link_collection())
    return {
        "ANSIBLE_COLLECTIONS_PATH": collections,
        "ANSIBLE_HOME": str(trees.BUILD / "ansible"),
        "PYTHONPATH": collections,
        "PATH": os.pathsep.join([session.bin, os.environ["PATH"]]),
    }


def pytest(session: nox.Session, tests: str, *options: str) -> list[str]:
    """Words that run pytest on a folder; what stands after ``--`` on nox's command line goes to it too."""
    report = REPORTS / f"{session.name}-{Path(tests).name}.xml"
    return ["python", "-m", "pytest", tests, *options, f"--junitxml={report}", *session.posargs]


@contextlib.contextmanager
def remembered(session: nox.Session) -> Iterator[None]:
    """Leave a check out that has passed before on these very files; CI and words for the check make it run anyway.

    Only for checks whose outcome follows from the files and the tools: a test depends on the machine, too.
    """
    stamp = trees.BUILD / "passed" / session.name
    state = trees.fingerprint()
    partial = bool(session.posargs)
    if not partial and not os.environ.get("CI") and stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        session.skip("passed before on these very files")
    yield
    if not partial:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(state, encoding="utf-8")


@nox.session(python=NEWEST_PYTHON, tags=["lint"])
def code(session: nox.Session) -> None:
    """Python sources: style, types of the core, and who may import whom."""
    install(session, "tests/requirements-code.txt")
    with remembered(session):
        run_all(
            session,
            ["ruff", "check"],
            ["ruff", "format", "--check", "--diff"],
            ["mypy"],
            ["lint-imports", "--no-logo", "--no-cache"],
            env={"PYTHONPATH": str(trees.link_collection())},
        )


@nox.session(python=NEWEST_PYTHON, tags=["lint"])
def files(session: nox.Session) -> None:
    """Files that are not Python: shell, YAML, changelog, licences."""
    install(session, "tests/requirements-files.txt")
    # The copy is a checkout of what the repository would hold, so nothing that a run leaves behind is looked at.
    copy = trees.copy_collection(trees.BUILD / "files")
    scripts = [str(path.relative_to(copy)) for path in sorted(copy.rglob("*")) if is_shell_script(path)]
    doubles = [name for name in scripts if name.startswith("tests/lab/doubles/")]
    parts = [name for name in scripts if name.startswith("plugins/plugin_utils/shell/")]
    others = [name for name in scripts if name not in (*doubles, *parts)]
    with remembered(session), session.chdir(copy):
        run_all(
            session,
            ["shellcheck", "--shell=sh", *others],
            # Several make one script, after variables of the controller's: test_house.py looks at all variables.
            ["shellcheck", "--shell=sh", "--exclude=SC2034,SC2154", *parts],
            # The doubles read their variables from a file that the lab makes for each host.
            ["shellcheck", "--shell=sh", "--exclude=SC1091,SC2154", *doubles],
            ["shellcheck", ".ci/run"],
            ["yamllint", "--strict", "."],
            ["antsibull-changelog", "lint"],
            ["reuse", "lint", "--lines"],
        )


@nox.session(python=NEWEST_PYTHON, tags=["lint"])
def page(session: nox.Session) -> None:
    """JavaScript of the report page: types, style and likely mistakes."""
    install(session, "tests/requirements-page.txt")
    with remembered(session):
        session.run("python", "tests/tools/page.py", env=ansible_environment(session))


@nox.session(python=NEWEST_PYTHON, tags=["lint"])
def content(session: nox.Session) -> None:
    """Roles, playbooks and metadata with ansible-lint, and the collection's archive."""
    install(session, ANSIBLE, "tests/requirements-content.txt")
    collections = trees.BUILD / "content"
    with remembered(session), session.chdir(trees.copy_collection(collections)):
        environment = {**ansible_environment(session), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
        run_all(
            session,
            ["ansible-lint", "--offline", "--strict"],
            ["python", str(ROOT / "tests" / "tools" / "package.py")],
            env=environment,
        )


@nox.session(python=NEWEST_PYTHON, tags=["lint"])
def site(session: nox.Session) -> None:
    """Documentation of plugins and roles, and the site made of it and of the guide."""
    install(session, ANSIBLE, "requirements.txt", "tests/requirements-site.txt")
    with remembered(session):
        session.run("python", "tests/tools/docsite.py", env=ansible_environment(session))


@nox.session(python=NEWEST_PYTHON)
def unit(session: nox.Session) -> None:
    """Tests of the core and of the controller's side, without a host, and how much of the core they reach."""
    install(session, ANSIBLE, "requirements.txt", "tests/requirements-tests.txt")
    environment = {**ansible_environment(session), "COVERAGE_FILE": str(trees.BUILD / "coverage")}
    measured = ["-m", "coverage", "run", "--branch", f"--source={CORE}"]
    python, *words = pytest(session, "tests/unit")
    run_all(session, [python, *measured, *words], env=environment)
    if not session.posargs:
        session.run("python", "tests/tools/core_coverage.py", env=environment)


@nox.session(python=NEWEST_PYTHON, default=False)
def mutation(session: nox.Session) -> None:
    """Small mistakes in the code that decides, each of which the unit tests must notice. Takes many minutes."""
    install(session, ANSIBLE, "requirements.txt", "tests/requirements-tests.txt", "tests/requirements-mutation.txt")
    session.run("python", "tests/tools/mutation.py", *session.posargs, env=ansible_environment(session))


@nox.session(python=NEWEST_PYTHON)
def integration(session: nox.Session) -> None:
    """Tests that run Ansible against lab hosts and a real sshd."""
    tools = ("tests/requirements-tests.txt", "tests/requirements-platforms.txt")
    install(session, ANSIBLE, "requirements.txt", *tools)
    run_all(session, pytest(session, "tests/integration", *ABREAST), env=ansible_environment(session))


def skip_without(session: nox.Session, core: interpreters.Core, pythons: list[Path]) -> None:
    """Say why a session does not run on a machine that has no Python for its ansible-core."""
    if not pythons:
        session.skip(f"ansible-core {core.version} needs Python {core.describe_pythons()}, and none was found")


def matrix(core: interpreters.Core) -> None:
    """Make the session of one ansible-core. It takes the oldest Python, since all other sessions take the newest."""
    pythons = core.pythons(PYTHONS)

    @nox.session(name=f"matrix-{core.version}", python=str(pythons[0]) if pythons else False)
    def session_of_core(session: nox.Session) -> None:
        """All unit tests, and the integration tests that are marked `matrix`, with this ansible-core."""
        skip_without(session, core, pythons)
        install(session, f"ansible-core~={core.version}.0", "requirements.txt", "tests/requirements-tests.txt")
        run_all(
            session,
            pytest(session, "tests/unit"),
            pytest(session, "tests/integration", "-m", "matrix", *ABREAST),
            env=ansible_environment(session),
        )


def sanity(core: interpreters.Core) -> None:
    """Make the session of one ansible-core's own checks."""
    pythons = core.pythons(PYTHONS)
    name = f"sanity-{core.version}"

    @nox.session(name=name, python=str(pythons[-1]) if pythons else False, tags=["lint"])
    def session_of_core(session: nox.Session) -> None:
        """All of `ansible-test sanity` of this ansible-core."""
        skip_without(session, core, pythons)
        install(session, f"ansible-core~={core.version}.0")
        with remembered(session):
            session.run("python", "tests/tools/sanity.py", name, *session.posargs)


for each in interpreters.CORES:
    if each.version in interpreters.SANE:
        sanity(each)
    if each.version in interpreters.TESTED:
        matrix(each)
