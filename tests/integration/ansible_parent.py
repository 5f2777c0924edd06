# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A process that has imported what Ansible needs, and forks for each run of Ansible.

Half of the time of a short run is the import of libraries and of the core of this collection, which Ansible imports
again in each process of a task. Everything that reads Ansible's configuration is imported after the fork, because the
configuration comes from the environment and the folder of the run.

`AnsibleParent` starts the process, which runs this module. A run is two processes: the supervisor, which waits for the
end, and Ansible, which leads a new session. If the process of the test ends first, the supervisor kills Ansible.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pathlib
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import types
import typing as t

from tests.lab import process_end

_STOPPED = "TtZX"
"""States of a process in ``/proc/<pid>/stat`` in which it starts no other one: stopped, traced, or ended."""
_ENDED = "X"
_STOP_SECONDS = 2
_ROOT = pathlib.Path(__file__).parents[2]
_COLLECTIONS = _ROOT / ".build" / "collections"
_PLUGINS = _COLLECTIONS / "ansible_collections" / "kernelops" / "livepatch" / "plugins"
# Imports of a run. A module that the installed ansible-core does not have, or that reads the configuration there, is
# left out.
_LIBRARIES = """
    argparse ast asyncio concurrent.futures.thread configparser ctypes.util curses dataclasses decimal difflib
    email.message getpass hashlib html http.client importlib.metadata importlib.resources inspect locale logging
    multiprocessing.managers multiprocessing.popen_fork multiprocessing.queues pkgutil shlex sqlite3 ssl syslog tarfile
    tempfile termios traceback tty typing urllib.request uuid xml.etree.ElementTree zipfile
    cryptography.hazmat.backends.openssl cryptography.hazmat.primitives.asymmetric.rsa
    cryptography.hazmat.primitives.kdf.pbkdf2 cryptography.hazmat.primitives.padding
    cryptography.hazmat.primitives.serialization.ssh cryptography.x509 jinja2.nativetypes jinja2.sandbox jmespath
    packaging.requirements packaging.specifiers psycopg requests resolvelib typing_extensions yaml
    ansible._internal._datatag._wrappers ansible._internal._ssh._ssh_agent ansible._internal._templating._jinja_patches
    ansible._internal._worker._inventory_rpc ansible.config.manager ansible.context ansible.errors
    ansible.module_utils.common.file ansible.module_utils.common.locale ansible.module_utils.common.process
    ansible.module_utils.common.sys_info ansible.module_utils.common.text.formatters ansible.parsing.splitter
    ansible.parsing.utils.addresses ansible.utils.collection_loader ansible.utils.hashing ansible.utils.helpers
    ansible.utils.lock ansible.utils.shlex ansible.vars.hostvars
"""


class ForkedAnsible:
    """A run of Ansible that was forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, request: socket.socket) -> None:
        self._answers = request
        self._buffer = b""
        self._code: int | None = None
        self.pid: int = self._answer(None)["pid"]

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs. A signal is a negative code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises `subprocess.TimeoutExpired`."""
        if self._code is None:
            self._code = int(self._answer(timeout)["code"])
            self._answers.close()
        return self._code

    def _answer(self, timeout: float | None) -> dict[str, int]:
        while b"\n" not in self._buffer:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("ansible", timeout or 0)
            received = self._answers.recv(4096)
            assert received, "the supervisor of a run of Ansible died"
            self._buffer += received
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, int] = json.loads(line)
        return answer


def kill_family(pid: int) -> None:
    """Kill a process and all its descendants, and wait for their end. Workers of Ansible can lead new sessions.

    They are stopped first, until none runs and none is new: a worker that is forked while the others are found would
    survive.
    """
    stopped: set[int] = set()
    # A process that waits for a stopped child to start its program stops only when it is killed.
    deadline = time.monotonic() + _STOP_SECONDS
    while (family := _family(pid)).keys() != stopped and time.monotonic() < deadline:
        stopped = {member for member, state in family.items() if state in _STOPPED}
        for member in family.keys() - stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGSTOP)
    process_end.kill(family)


def _family(pid: int) -> dict[int, str]:
    """Return a process and all its descendants, each with the letter of its state in ``/proc/<pid>/stat``."""
    states: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text("ascii", errors="replace").rpartition(")")[2].split()[:2]
            states[int(stat.parent.name)] = state
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return {member: states.get(member, _ENDED) for member in family}


class AnsibleParent:
    """The process that forks. It ends with the process that made this object."""

    def __init__(self, *libraries: str) -> None:
        """Start the process; `libraries` are modules that it imports too."""
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *libraries],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, words: list[str], folder: pathlib.Path, environment: dict[str, str], output: int) -> ForkedAnsible:
        """Run one of Ansible's commands in a folder, with its output and errors to a descriptor."""
        return self._start({"words": words, "folder": str(folder), "environment": environment}, output, output)

    def start_source(
        self, source: str, given: str, folder: pathlib.Path, environment: dict[str, str], output: int, errors: int
    ) -> ForkedAnsible:
        """Run Python source in a folder with a text on its standard input."""
        wanted = {"source": source, "input": given, "folder": str(folder), "environment": environment}
        return self._start(wanted, output, errors)

    def _start(self, wanted: dict[str, t.Any], output: int, errors: int) -> ForkedAnsible:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"\0"], [theirs.fileno(), output, errors])
        ours.sendall(json.dumps(wanted).encode() + b"\n")
        return ForkedAnsible(ours)

    def close(self) -> None:
        """End the process."""
        self._control.close()
        self._process.wait()


def main(control: socket.socket, libraries: list[str]) -> dict[str, t.Any]:
    """Fork for each request, until the other end is closed. Returns only in a forked process, with its request."""
    _import_libraries()
    _import_core()
    for name in libraries:
        importlib.import_module(name)
    _remember_routing()
    _remember_compiled()
    # Objects that no collection of garbage touches stay in memory that the processes share.
    gc.freeze()
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(control, 1, 3)
        _reap()
        if not message:
            sys.exit()
        if os.fork() == 0:
            control.close()
            request, *streams = descriptors
            return _supervise(socket.socket(fileno=request), streams)
        for descriptor in descriptors:
            os.close(descriptor)


def _import_libraries() -> None:
    # The import of this module would read the configuration before it is known, so it fails.
    sys.modules["ansible.constants"] = t.cast("types.ModuleType", None)
    for name in _LIBRARIES.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    del sys.modules["ansible.constants"]
    assert len([*pathlib.Path("/proc/self/task").iterdir()]) == 1, "a process with threads must not fork"


def _import_core() -> None:
    """Import the core of the collection, which imports nothing of Ansible. Ansible loads the packages above it."""
    sys.path.insert(0, str(_COLLECTIONS))
    for path in (_PLUGINS / "module_utils").rglob("*.py"):
        importlib.import_module(".".join(path.relative_to(_COLLECTIONS).with_suffix("").parts))
    sys.path.remove(str(_COLLECTIONS))
    for package in (_PLUGINS, *_PLUGINS.parents[:3]):
        del sys.modules[".".join(package.relative_to(_COLLECTIONS).parts)]


def _forget_core() -> None:
    """Remove the core from a process that uses another installation of the collection."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible_collections"]:
        del sys.modules[name]


def _remember_routing() -> None:
    """Parse the routing of ansible.builtin once. ansible-core documents that this function may be replaced."""
    import ansible
    from ansible.utils.collection_loader import _collection_finder as finder

    routing = pathlib.Path(ansible.__path__[0], "config", "ansible_builtin_runtime.yml").read_bytes()
    parse = finder._meta_yml_to_dict
    remembered = {routing: parse(routing, None)}

    def parse_once(text: bytes | str, content_id: object) -> t.Any:
        key = text.encode() if isinstance(text, str) else text
        # Each process may change what it gets.
        return remembered.pop(key) if key in remembered else parse(text, content_id)

    finder._meta_yml_to_dict = parse_once


def _remember_compiled() -> None:
    """Compile this collection once. ansible-core does so in each run, as it keeps no compiled code of collections."""
    from ansible.utils.collection_loader import _collection_finder as finder

    code: dict[tuple[str, bytes], types.CodeType] = {}
    for path in _PLUGINS.rglob("*.py"):
        source = path.read_bytes()
        code[str(path), source] = compile(source, str(path), "exec", dont_inherit=True)

    def compile_once(source: bytes, filename: str, mode: str, **options: t.Any) -> types.CodeType:
        # Modules of other collections, and a module that a test has changed, are compiled as usual.
        found = code.get((filename, source))
        return found or t.cast("types.CodeType", compile(source, filename, mode, **options))

    vars(finder)["compile"] = compile_once


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _supervise(request: socket.socket, streams: list[int]) -> dict[str, t.Any]:
    """Fork the process that runs what is wanted, and wait for its end. Returns in that process only."""
    with request.makefile("rb") as lines:
        wanted: dict[str, t.Any] = json.loads(lines.readline())
    child = os.fork()
    if child == 0:
        request.close()
        _become(wanted, streams)
        return wanted
    for descriptor in streams:
        os.close(descriptor)
    descriptor = os.pidfd_open(child)
    request.sendall(json.dumps({"pid": child}).encode() + b"\n")
    ended = False
    while not ended:
        ready = select.select([descriptor, request], [], [])[0]
        if request in ready:
            # The other end was closed: no test waits for this run.
            kill_family(child)
        ended = descriptor in ready or request in ready
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        request.sendall(json.dumps({"code": code}).encode() + b"\n")
    os._exit(0)


def _become(wanted: dict[str, t.Any], streams: list[int]) -> None:
    """Set what a new process would have: session, folder, environment, arguments, standard streams."""
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    if os.environ.get("ANSIBLE_COLLECTIONS_PATH") != str(_COLLECTIONS):
        _forget_core()
    for number, descriptor in enumerate(streams, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if "input" in wanted:
        given = os.memfd_create("input")
        os.write(given, wanted["input"].encode())
        os.lseek(given, 0, os.SEEK_SET)
        os.dup2(given, 0)
    # As `python -m ansible` does.
    sys.path[0] = wanted["folder"]
    sys.argv = ["ansible", *wanted.get("words", [])]


if __name__ == "__main__":
    _wanted = main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    if "source" in _wanted:
        exec(compile(_wanted["source"], "<source>", "exec"), {"__name__": "__main__"})  # noqa: S102  (of a test)
    else:
        runpy.run_module("ansible", run_name="__main__", alter_sys=True)
