# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""All checks of this repository. The Makefile and CI run these sessions with tests/tools/run_checks.py.

`nox -l` lists them, `nox -t lint` runs the sessions with a tag, `nox -s unit -- -k kernel` passes arguments to pytest.
Virtual environments are kept in .build/nox until their requirements change.

Tags:
    lint    checks that run no test
    test    what every change must pass: `make test`
    rest    what CI checks too: `make check-all` is `test` and `rest`
    pair    waits most of the time, or uses one processor: one other session of this kind runs at the same time
    alone   runs tests on all processors, so no other session runs at the same time
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
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
# Tests wait for hosts and servers most of the time, so more of them run at once than there are processors. A worker
# that has nothing left takes tests from the others.
PARALLEL = ("--numprocesses=6", "--dist=worksteal")
# The plugin of Hypothesis takes a second of each process. Only the unit tests need it.
NO_HYPOTHESIS = ("-p", "no:hypothesispytest")
TESTS = ("requirements.txt", "tests/requirements-tests.txt")
UNIT = ("tests/unit",)
WITH_HOSTS = ("tests/components", "tests/integration")
HOSTILE = "tests/integration/test_hostile_hosts.py"
PYTHONS = interpreters.find()
# The newest ansible-core that this machine can run, on the newest Python that it supports.
NEWEST = next(core for core in reversed(interpreters.CORES) if core.pythons(PYTHONS))
NEWEST_PYTHON = str(NEWEST.pythons(PYTHONS)[-1])
ANSIBLE = f"ansible-core~={NEWEST.version}.0"


def install(session: nox.Session, *requirements: str) -> None:
    """Install requirements, each a file of this repository or a specifier, unless the environment has them."""
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
    """Run every command, also after one has failed, so that one run shows all errors."""
    failed = []
    for command in commands:
        try:
            session.run(*command, env=env, external=True)
        except CommandFailed:
            failed.append(" ".join(command[:4]) if command[0] == "python" else command[0])
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def is_shell_script(path: Path) -> bool:
    """Return True for a POSIX shell script: by its suffix, or by its first line if it has no suffix."""
    if path.suffix or not path.is_file() or ".git" in path.parts:
        return path.suffix == ".sh"
    with path.open("rb") as file:
        return file.readline().strip() == b"#!/bin/sh"


def ansible_environment(programs: str | Path) -> dict[str, str]:
    """Return the variables with which Ansible finds this collection, and nothing of the user's."""
    collections = str(trees.link_collection())
    return {
        "ANSIBLE_COLLECTIONS_PATH": collections,
        "ANSIBLE_HOME": str(trees.BUILD / "ansible"),
        "PYTHONPATH": collections,
        # Compiled code is kept, also for users who forbid it: each worker process of pytest would compile all tests.
        "PYTHONDONTWRITEBYTECODE": "",
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
    }


def pytest(session: nox.Session, tests: Iterable[str], *options: str) -> list[str]:
    """Return the command that runs pytest on folders, with the arguments after ``--`` on nox's command line."""
    tests = tuple(tests)
    report = REPORTS / f"{session.name}-{Path(tests[0]).name}.xml"
    plugins = NO_HYPOTHESIS if tests == WITH_HOSTS else ()
    return ["python", "-m", "pytest", *tests, *plugins, *options, f"--junitxml={report}", *session.posargs]


@contextlib.contextmanager
def remembered(session: nox.Session) -> Iterator[None]:
    """Skip a check that has passed before on the same files. CI never skips, and neither do runs with arguments.

    Only for checks whose outcome depends on the files and the tools alone. A test depends on the machine too.
    """
    stamp = trees.BUILD / "passed" / session.name
    state = trees.fingerprint()
    # With --install-only, commands are not run.
    partial = bool(session.posargs) or "--install-only" in sys.argv
    if not partial and not os.environ.get("CI") and stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        session.skip("passed before on the same files")
    yield
    if not partial:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(state, encoding="utf-8")


@nox.session(python=NEWEST_PYTHON, tags=["lint", "test"], allow_parallel=True)
def content(session: nox.Session) -> None:
    """Roles, playbooks and metadata with ansible-lint."""
    install(session, ANSIBLE, "tests/requirements-content.txt")
    collections = trees.BUILD / "content"
    with remembered(session), session.chdir(trees.copy_collection(collections)):
        environment = {**ansible_environment(session.bin), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
        session.run("ansible-lint", "--offline", "--strict", env=environment)


@nox.session(python=NEWEST_PYTHON, tags=["lint", "test"], allow_parallel=True)
def code(session: nox.Session) -> None:
    """Python sources: style, types and import contracts."""
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


@nox.session(python=NEWEST_PYTHON, tags=["lint", "test"], allow_parallel=True)
def files(session: nox.Session) -> None:
    """Files that are not Python: shell, YAML, changelog, licences."""
    install(session, "tests/requirements-files.txt")
    # The copy holds what the repository would hold, without the files that a run leaves behind.
    copy = trees.copy_collection(trees.BUILD / "files")
    scripts = [str(path.relative_to(copy)) for path in sorted(copy.rglob("*")) if is_shell_script(path)]
    doubles = [name for name in scripts if name.startswith("tests/lab/doubles/")]
    parts = [name for name in scripts if name.startswith("plugins/plugin_utils/shell/")]
    others = [name for name in scripts if name not in (*doubles, *parts)]
    with remembered(session), session.chdir(copy):
        run_all(
            session,
            ["shellcheck", "--shell=sh", *others],
            # Several parts make one script, after variables from the controller: test_house.py checks all variables.
            ["shellcheck", "--shell=sh", "--exclude=SC2034,SC2154", *parts],
            # The doubles read their variables from a file that the lab makes for each host.
            ["shellcheck", "--shell=sh", "--exclude=SC1091,SC2154", *doubles],
            ["shellcheck", ".ci/run"],
            ["python", "tests/tools/plain_english.py"],
            ["python", "tests/tools/variables_table.py", "--check"],
            ["yamllint", "--strict", "."],
            ["antsibull-changelog", "lint"],
            ["reuse", "lint", "--lines"],
        )


@nox.session(python=NEWEST_PYTHON, tags=["lint", "test"], allow_parallel=True)
def page(session: nox.Session) -> None:
    """JavaScript of the report page: types, style and likely mistakes."""
    install(session, "tests/requirements-page.txt")
    with remembered(session):
        session.run("python", "tests/tools/page.py", env=ansible_environment(session.bin))


@nox.session(python=NEWEST_PYTHON, tags=["rest", "pair"], allow_parallel=True)
def validators(session: nox.Session) -> None:
    """A report with validators of others: HTML, accessibility in Chromium, and SARIF."""
    install(session, ANSIBLE, *TESTS, "tests/requirements-page.txt")
    session.run("python", "tests/tools/validators.py", env=ansible_environment(session.bin))


@nox.session(python=NEWEST_PYTHON, tags=["test", "rest"], allow_parallel=True)
def tests(session: nox.Session) -> None:
    """The environment of all tests with the newest ansible-core."""
    install(session, ANSIBLE, *TESTS)


def run_tests(session: nox.Session, *commands: list[str]) -> None:
    """Run commands in the environment of the session `tests`, which the session of these commands requires."""
    programs = ROOT / str(nox.options.envdir) / "tests" / "bin"
    environment = {**ansible_environment(programs), "COVERAGE_FILE": str(trees.BUILD / "coverage")}
    run_all(session, *([str(programs / command[0]), *command[1:]] for command in commands), env=environment)


@nox.session(python=False, requires=["tests"], tags=["test", "alone"])
def unit(session: nox.Session) -> None:
    """Tests of the core and of the controller without a host, and the coverage of the core."""
    # Each of these tests keeps a processor busy.
    coverage = (f"--cov={CORE}", "--cov-branch", "--cov-report=")
    commands = [pytest(session, UNIT, "--numprocesses=auto", *coverage)]
    if not session.posargs:
        commands.append(["python", "tests/tools/core_coverage.py"])
    run_tests(session, *commands)


@nox.session(python=False, requires=["tests"], tags=["test", "alone"])
def integration(session: nox.Session) -> None:
    """Tests with hosts: Ansible on hosts of the lab and on a real sshd, scripts, and the page in a browser."""
    # Markers on the command line replace these.
    chosen = () if "-m" in session.posargs else ("-m", f"not ({PLATFORMS} or {' or '.join(EXTENDED)})")
    run_tests(session, pytest(session, WITH_HOSTS, *chosen, *PARALLEL))


# Tests of one file share what is expensive to set up: an installation, the machine.
WHOLE_FILES = ("--numprocesses=2", "--dist=loadfile")
EXTENDED = {
    "shells": ("Scripts for hosts in four shells.", PARALLEL),
    "lab": ("Doubles of the lab.", PARALLEL),
    "hostile": ("Every playbook on hosts that send anything.", ()),
    "kills": ("Runs that are killed, at named points or at any moment.", PARALLEL),
    "doubles": ("Doubles of the lab, compared with the real programs of this machine.", ()),
    "containers": ("Real container runtimes and snapd in a virtual machine with Debian 13.", ()),
    "debian": ("Kernel modules that Debian signed.", ()),
    "network": ("Real sshd on 200 hosts, behind a link with latency and loss.", ()),
    "oracle": ("Signatures of modules, judged by Linux kernels in an emulator.", ()),
    "release": ("The archive of a release, installed.", ()),
    "runtimes": ("Real container runtimes under systemd.", ()),
    "snapd": ("The client with the real snapd under systemd.", ()),
    "store": ("Stores in PostgreSQL under load.", ()),
    "terminal": ("The status line in all its forms.", PARALLEL),
    "vm": ("Real live patches in a virtual machine.", WHOLE_FILES),
    "waves": ("Runs in waves, one of them over 30 hosts.", ()),
}
"""Markers of integration tests that `make test` does not run: what their session tests, and options of pytest."""
PAIRS = ("containers", "vm", "snapd", "waves", "runtimes", "release", "oracle", "debian", "doubles")
"""Those that run in pairs, the longest first. No test of them measures time, and their limits are generous."""
PLATFORMS = "platforms or docs"
"""Markers of integration tests that need the programs of other platforms, which `make test` does not run either."""


def extended(marker: str) -> None:
    """Make the session of the integration tests with a marker."""
    content, options = EXTENDED[marker]

    def session_of_marker(session: nox.Session) -> None:
        run_tests(session, pytest(session, WITH_HOSTS, "-m", marker, *options))

    session_of_marker.__doc__ = content
    paired = marker in PAIRS
    tags = ["rest", "pair" if paired else "alone"]
    nox.session(python=False, name=marker, requires=["tests"], tags=tags, allow_parallel=paired)(session_of_marker)


@nox.session(python=NEWEST_PYTHON, tags=["rest", "alone"])
def platforms(session: nox.Session) -> None:
    """Execution environments, the runner of AWX, rulebooks, molecule, and the commands that the documentation shows."""
    install(session, ANSIBLE, *TESTS, "tests/requirements-platforms.txt")
    command = pytest(session, WITH_HOSTS, "-m", PLATFORMS, *PARALLEL)
    run_all(session, command, env=ansible_environment(session.bin))


@nox.session(python=NEWEST_PYTHON, tags=["rest"], allow_parallel=True)
def package(session: nox.Session) -> None:
    """The archive of the collection, and its import into Galaxy."""
    install(session, ANSIBLE, "tests/requirements-content.txt")
    collections = trees.BUILD / "package"
    with remembered(session), session.chdir(trees.copy_collection(collections)):
        environment = {**ansible_environment(session.bin), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
        session.run("python", str(ROOT / "tests" / "tools" / "package.py"), env=environment)


@nox.session(python=NEWEST_PYTHON, tags=["rest"], allow_parallel=True)
def site(session: nox.Session) -> None:
    """Documentation of plugins and roles, and the documentation site."""
    install(session, ANSIBLE, "requirements.txt", "tests/requirements-site.txt")
    with remembered(session):
        session.run("python", "tests/tools/docsite.py", env=ansible_environment(session.bin))


@nox.session(python=False, requires=["tests"], tags=["rest", "alone"])
def fuzz(session: nox.Session) -> None:
    """Everything that reads untrusted input, with changed inputs for a minute. See `python -m tests.fuzz --help`."""
    run_tests(session, ["python", "-m", "tests.fuzz", *(session.posargs or ("--seconds", "60"))])


@nox.session(python=NEWEST_PYTHON, default=False)
def changelog(session: nox.Session) -> None:
    """The notes of the release in galaxy.yml, from the fragments. A later run adds those that came since."""
    install(session, ANSIBLE, "tests/requirements-files.txt")
    # Filters and roles are found only where ansible-core can be imported.
    session.run("antsibull-changelog", "release", "--reload-plugins", "--update-existing", *session.posargs)


@nox.session(python=NEWEST_PYTHON, default=False)
def screenshots(session: nox.Session) -> None:
    """The pictures of the report page in docs/images, from the demonstration."""
    install(session, ANSIBLE, *TESTS, "pillow>=12")
    session.run("python", "tests/tools/screenshots.py", env=ansible_environment(session.bin))


@nox.session(python=NEWEST_PYTHON, default=False)
def mutation(session: nox.Session) -> None:
    """Small mistakes in the code that decides, each of which the unit tests must notice. Takes many minutes."""
    install(session, ANSIBLE, *TESTS, "tests/requirements-mutation.txt")
    session.run("python", "tests/tools/mutation.py", *session.posargs, env=ansible_environment(session.bin))


def skip_without(session: nox.Session, core: interpreters.Core, pythons: list[Path]) -> None:
    """Skip a session, with the reason, on a machine that has no Python for its ansible-core."""
    if not pythons:
        session.skip(f"ansible-core {core.version} needs Python {core.describe_pythons()}, and none was found")


def sanity(core: interpreters.Core) -> None:
    """Make the session of the sanity tests of one ansible-core."""
    pythons = core.pythons(PYTHONS)
    name = f"sanity-{core.version}"

    @nox.session(name=name, python=str(pythons[-1]) if pythons else False, tags=["rest"], allow_parallel=True)
    def session_of_core(session: nox.Session) -> None:
        """All of `ansible-test sanity` of this ansible-core."""
        skip_without(session, core, pythons)
        install(session, f"ansible-core~={core.version}.0")
        with remembered(session):
            session.run("python", "tests/tools/sanity.py", name, *session.posargs)


def matrix(core: interpreters.Core) -> None:
    """Make the session of one ansible-core. It takes the oldest Python, since all other sessions take the newest."""
    pythons = core.pythons(PYTHONS)
    oldest = core is interpreters.CORES[0]

    @nox.session(name=f"matrix-{core.version}", python=str(pythons[0]) if pythons else False, tags=["rest", "alone"])
    def session_of_core(session: nox.Session) -> None:
        """Integration tests that are marked `matrix`. With the oldest ansible-core and Python, all unit tests too."""
        skip_without(session, core, pythons)
        install(session, f"ansible-core~={core.version}.0", *TESTS)
        commands = [pytest(session, WITH_HOSTS, "-m", "matrix", f"--ignore={HOSTILE}", *PARALLEL)]
        if oldest:
            # All examples of Hypothesis are in the session `unit`. Few show that the syntax and the libraries exist.
            commands.insert(0, pytest(session, UNIT, "--numprocesses=auto", "--hypothesis-profile=few"))
            # Four runs with time limits, so nothing else runs beside them. `make test` has the newest.
            commands.append(pytest(session, (HOSTILE,), "-m", "matrix"))
        run_all(session, *commands, env=ansible_environment(session.bin))


for each in interpreters.CORES:
    if each.version in interpreters.SANE:
        sanity(each)
for each in interpreters.CORES:
    if each.version in interpreters.TESTED:
        matrix(each)
for marker in (*PAIRS, *(each for each in EXTENDED if each not in PAIRS)):
    extended(marker)
