# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A running fleet: its folder, its inventory and its server; start and stop."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .certificates import BEHIND_PROXY_NAME, SERVER_NAME, make_authority
from .holds import POINTS, Hold
from .hosts.bubblewrap import PRIVATE_FOLDERS, CommandFolders, SandboxError, add_sandbox_files, command, environment
from .hosts.current_host import CurrentHost
from .hosts.description import HOST_DESCRIPTIONS, WITNESSES, Description, load_descriptions, seconds
from .hosts.file_tree import COMMON, MODE, LabServer, host_tree, machine_id, machine_token, private_files, timed_files
from .lab_socket import READY, send
from .livepatch_server.faults import Fault, Faults, write_faults
from .livepatch_server.state import State
from .process_trace import recording

PLUGINS = Path(__file__).parent / "plugins" / "connection"
REPLICATED = "xenial-generic"
"""The default host for copies (`count`)."""
FIRST_TOKEN = "token-of-the-first-hosts"
"""The auth-token of the hosts whose description is enabled. Tests use other tokens."""
_PARTS = ("hosts", "commands", "server", "services")
_LOGS = ("requests.jsonl", "proxy.jsonl")
_FILES = ("inventory.yml", "lab.json")


class LabError(Exception):
    """The lab cannot start, stop or do as requested; the message names the cause."""


@dataclasses.dataclass(frozen=True)
class Addresses:
    """The addresses of a lab's server: `server` (HTTPS), `on_premises` (plain HTTP), and `proxy` for both."""

    server: str
    on_premises: str
    proxy: str


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A running fleet. `hosts` are the descriptions by inventory name; `server` is the HTTPS address of its server.

    `on_premises` is the same server with plain HTTP, and `proxy` reaches both. `state` is the state of the server.
    """

    directory: Path
    hosts: dict[str, Description]
    server: str
    lab_server: LabServer
    on_premises: str
    proxy: str
    command_folders: CommandFolders = dataclasses.field(repr=False, compare=False)

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yml"

    @property
    def certificate(self) -> Path:
        """Return the certificate file (PEM) of the authority that signed the server's certificate."""
        return self.directory / "server" / "ca.pem"

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables with which Ansible reaches this fleet."""
        return {"ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS), "ANSIBLE_INVENTORY": str(self.inventory)}

    def root(self, name: str) -> Path:
        """Return the root folder of a host on this machine."""
        return self.directory / "hosts" / name / "root"

    def run(self, name: str, line: str, in_data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command line in a host, as the connection plugin does."""
        session = json.loads((self.root(name).parent / "session.json").read_text(encoding="utf-8"))
        words = [*session["command"], "/bin/sh", "-c", line]
        return subprocess.run(words, input=in_data, env=session["environment"], capture_output=True, check=False)

    def start(self, name: str, line: str) -> subprocess.Popen[bytes]:
        """Start a command line in a host, without waiting for its end. Its output is in ``stdout``."""
        session = json.loads((self.root(name).parent / "session.json").read_text(encoding="utf-8"))
        return subprocess.Popen(
            [*session["command"], "/bin/sh", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=session["environment"],
        )

    def hold(self, name: str, point: str) -> Hold:
        """Return a context in which the doubles of a host stop at a point, one of `holds.POINTS`."""
        if point not in POINTS:
            raise LabError(f"{point!r} is not one of the points in {Path(__file__).with_name('holds.py')}")
        return Hold(self.root(name).parent / "lab", point)

    def hold_requests(self, path: str, *, method: str | None = None, after: int = 0) -> Hold:
        """Return a context in which the server stops at each request whose path begins with `path`.

        It stops before it handles the request, or, with `after`, after this number of bytes of the body.
        """
        request = {"path": path, "method": method, "after": after}
        return Hold(self.directory / "server", f"{method or 'request'} {path.replace('/', '|')}", request)

    def commands(self, name: str) -> list[str]:
        """Return every call of a double on a host, one per line: the command and its arguments."""
        log = self.root(name).parent / "lab" / "commands"
        return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []

    def boots(self, name: str) -> list[str]:
        """Return the kernel of every boot of a host since the start of the lab."""
        log = self.root(name).parent / "lab" / "boots"
        return log.read_text(encoding="ascii").split() if log.exists() else []

    @property
    def behind_proxy(self) -> str:
        """Return the HTTPS address of the server under a name that only the proxy can resolve."""
        return self.server.replace(SERVER_NAME, BEHIND_PROXY_NAME)

    @property
    def state(self) -> State:
        """Return the state of the server: tokens, machines, patches, files. Tests may change it at any time."""
        return State(self.directory / "server")

    def requests(self) -> list[dict[str, t.Any]]:
        """Return every request to the server: ``method``, ``path``, ``query``, optional ``auth_token``, ``range``."""
        return _lines(self.directory / "server" / "requests.jsonl")

    def proxied(self) -> list[dict[str, t.Any]]:
        """Return every request to the proxy: ``method``, ``target``, ``authorized``."""
        return _lines(self.directory / "server" / "proxy.jsonl")

    def set_proxy(self, user: str | None = None, password: str = "") -> None:
        """Make the proxy require a user name and a password from the next request on, or nothing without a name."""
        path = self.directory / "server" / "proxy.json"
        if user is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(json.dumps({"user": user, "password": password}), encoding="utf-8")

    def set_tokens(self, tokens: Mapping[str, Mapping[str, t.Any]]) -> None:
        """Set the tokens that the server accepts: ``{token: {"seats": 3, "tier": "updates"}}``, both optional."""
        self.state.set_tokens(tokens)

    def set_contracts(self, contracts: Mapping[str, Mapping[str, t.Any]]) -> None:
        """Set the Ubuntu Pro contract tokens that the server accepts, as in `set_tokens`; each begins with C."""
        self.state.set_contracts(contracts)

    def machines(self) -> dict[str, dict[str, t.Any]]:
        """Return the machines that hold a seat, by machine-id: ``auth_token``, ``machine_token``, ``tier``, …"""
        return self.state.machines()

    def add_patch(self, name: str, archive: bytes, *, tier: str = "stable", fixes: Sequence[str] = ()) -> str:
        """Publish an archive under its name (see `signing.patch_for`) and return its SHA-256."""
        return self.state.add_patch(name, archive, tier=tier, fixes=fixes)

    def patches(self) -> dict[str, dict[str, t.Any]]:
        """Return the published patches, by file name."""
        return self.state.patches()

    def set_faults(self, *rules: Fault, **fault: t.Any) -> None:
        """Make the server misbehave from the next request on (see `livepatch_server.faults`). Without faults, it works.

        ``set_faults(status=503, count=2)`` is one fault for all paths, ``set_faults({"path": "/v1/patches/",
        "cut": 1000}, {"path": "/v1/client/", "delay_ms": 50})`` are two faults for their paths.
        """
        folder = self.directory / "server"
        faults = [*rules, fault] if fault else list(rules)
        refuse = [{"refuse": True}] if any(each.get("refuse") for each in faults) else []
        if refuse or Faults(folder).refuses():
            # This fault comes first and alone, because the attempts to connect count as connections.
            write_faults(folder, refuse)
            for address in (self.server, self.on_premises):
                _wait_for_connections(address, accepted=not refuse)
        write_faults(folder, faults)

    def current(self, name: str) -> CurrentHost:
        """Return the current state of a host."""
        return CurrentHost(self.root(name).parent, self.lab_server, self.directory / "commands" / "all")

    def machine_token(self, name: str) -> str | None:
        """Return the secret that identifies a host at the server; None if the host is not enabled."""
        token = self.root(name) / COMMON / "machine-token"
        return token.read_text(encoding="utf-8").strip() if token.exists() else None

    def restart_daemon(self, name: str) -> None:
        """Restart the livepatch daemon of a host, however often it has ended; it reads its mode file."""
        self._send(name, "/unit/reset-failed")
        self._send(name, "/unit/restart")

    def kill_daemon(self, name: str) -> None:
        """Stop the livepatch daemon of a host and close its sockets."""
        self._send(name, "/unit/stop")

    def finish_apply(self, name: str) -> None:
        """Complete the application of a patch that is slow, or that a process blocks."""
        self._send(name, "/livepatchd/finish")

    def change(self, name: str, update: Callable[[Description], Description]) -> None:
        """Replace the description of a host, for instance with `dataclasses.replace`; its daemon uses the new one."""
        self.current(name).change(update)
        self._send(name, "/sockets")

    def reset(self, name: str) -> None:
        """Reset a host to its description."""
        described = self.hosts[name]
        if f"/{MODE}" not in described.files:
            (self.root(name) / MODE).unlink(missing_ok=True)
        (self.root(name).parent / "lab" / "seeding").unlink(missing_ok=True)
        self.change(name, lambda _host: described)

    @contextlib.contextmanager
    def recorded(self, name: str, log: Path) -> Iterator[None]:
        """Record every process of a host (see `process_trace`). Use a separate log for each command."""
        session = self.root(name).parent / "session.json"
        before = session.read_text(encoding="utf-8")
        content = json.loads(before)
        command = [*recording(log), *content["command"]]
        session.write_text(json.dumps({**content, "command": command}), encoding="utf-8")
        try:
            yield
        finally:
            session.write_text(before, encoding="utf-8")

    @contextlib.contextmanager
    def with_hosts(
        self,
        directory: Path,
        count: int | None = None,
        replicated: str = REPLICATED,
        *,
        only: Sequence[str] | None = None,
    ) -> Iterator[Fleet]:
        """Start other hosts in a folder, with the server and the processes of this fleet, which takes less time.

        The arguments are those of `up`, and the hosts are writable. The state of the server is cleared. This fleet must
        not consist of copies that share a root, and only one such set of hosts may exist at a time.
        """
        hosts = _choose(count, replicated, only, (), writable=True)
        fleet = dataclasses.replace(self, directory=directory.absolute(), hosts=hosts)
        (directory / "hosts").mkdir(parents=True)
        for part in ("server", "commands"):
            (directory / part).symlink_to(self.directory / part)
        fleet.set_faults()
        fleet.set_proxy()
        fleet.state.clear()
        _clear_logs(fleet)
        _build_hosts(fleet)
        _write_inventory(fleet)
        _send_to_services(self.directory, "/hosts/add", fleet)
        try:
            yield fleet
        finally:
            _send_to_services(self.directory, "/hosts/remove", fleet)
            _remove(directory / "hosts")

    def _send(self, name: str, path: str) -> None:
        status, text = send(self.root(name).parent / "lab", path)
        if status != 200:
            raise LabError(f"{name}: {text}")

    def set_clocks(self) -> None:
        """Make every age in the descriptions count from now."""
        now = dt.datetime.now(dt.timezone.utc)
        for name, described in self.hosts.items():
            host = described
            if _is_shared(self.hosts):
                for path, content in timed_files(host, self.lab_server, now).items():
                    (self.root(name) / path).write_bytes(content)
            else:
                host = self.current(name).set_clock(now)
            session = self.root(name).parent / "session.json"
            content = json.loads(session.read_text(encoding="utf-8"))
            content["booted_at"] = now.timestamp() - seconds(host.kernel.booted)
            session.write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def running_fleet(
    directory: Path,
    count: int | None = None,
    replicated: str = REPLICATED,
    *,
    only: Sequence[str] | None = None,
    further: Sequence[Path] = (),
    writable: bool = False,
) -> Iterator[Fleet]:
    """Start a fleet in a folder, and stop it at the end of the context."""
    fleet = up(directory, count, replicated, only=only, further=further, writable=writable)
    try:
        yield fleet
    finally:
        down(directory)


def up(
    directory: Path,
    count: int | None = None,
    replicated: str = REPLICATED,
    *,
    only: Sequence[str] | None = None,
    further: Sequence[Path] = (),
    writable: bool = False,
) -> Fleet:
    """Start the described hosts (or `only` those), or `count` copies of one, named ``web-0001`` and so on.

    Hosts that are described in `further` folders are started after the described hosts. Copies share a read-only root,
    unless they are `writable`: then each has its own root and machine id.

    A lab that runs in the same folder is stopped first. Raises `LabError` when this machine cannot run a lab.
    """
    directory = directory.absolute()
    down(directory)
    hosts = _choose(count, replicated, only, further, writable=writable)
    try:
        for part in _PARTS:
            _remove(directory / part)
            (directory / part).mkdir(parents=True)
        authority = make_authority(directory / "server")
        addresses = _start_server(directory)
        lab_server = LabServer(addresses.server, authority.certificate.read_bytes(), authority.openssl_hash)
        commands = CommandFolders(directory / "commands")
        fleet = Fleet(directory, hosts, addresses.server, lab_server, addresses.on_premises, addresses.proxy, commands)
        with _host_services(fleet) as serve:
            _build_hosts(fleet)
            _write_inventory(fleet)
            serve()
        _try_sandbox(fleet)
    except BaseException as error:
        down(directory)
        if isinstance(error, (SandboxError, OSError)):
            raise LabError(str(error)) from error
        raise
    return fleet


@functools.cache
def _descriptions(*further: Path) -> dict[str, Description]:
    return load_descriptions(HOST_DESCRIPTIONS, *further)


def _choose(
    count: int | None, replicated: str, only: Sequence[str] | None, further: Sequence[Path], *, writable: bool
) -> dict[str, Description]:
    """Return the descriptions of the hosts that `up` starts, by name. Raises `LabError` for an unknown name."""
    whole = only is None and replicated in _descriptions()
    descriptions = _descriptions(*further) if whole else _descriptions(WITNESSES, *further)
    for name in (replicated, *(only or ())):
        if name not in descriptions:
            raise LabError(f"no host {name} is described in {HOST_DESCRIPTIONS}")
    if count is None:
        return {name: host for name, host in descriptions.items() if only is None or name in only}
    hosts = {f"web-{number:04}": descriptions[replicated] for number in range(1, count + 1)}
    if writable or count == 1:
        hosts = {name: dataclasses.replace(host, name=name) for name, host in hosts.items()}
    return hosts


def down(directory: Path) -> None:
    """Stop the processes of the lab in a folder and remove its files. Without a lab, do nothing."""
    state = directory / "lab.json"
    if not state.exists():
        return
    processes = json.loads(state.read_text(encoding="utf-8"))
    _stop(processes["pid"], directory.absolute() / "server")
    if "services" in processes:
        _stop(processes["services"], directory.absolute())
    for part in _PARTS:
        _remove(directory / part)
    for name in _FILES:
        (directory / name).unlink(missing_ok=True)


def _start_server(directory: Path) -> Addresses:
    folder = directory / "server"
    for log in _LOGS:
        (folder / log).touch()
    package = __package__ or "lab"
    top = Path(__file__).absolute().parents[package.count(".") + 1]
    with contextlib.ExitStack() as stack:
        ports = ("https", "http", "proxy")
        listeners = {name: stack.enter_context(_listen()) for name in ports}
        descriptors = {name: listener.fileno() for name, listener in listeners.items()}
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", f"{package}.livepatch_server", "--folder", str(folder)),
                *(word for name, number in descriptors.items() for word in (f"--{name}", str(number))),
            ],
            cwd=top,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "errors.log").open("wb"),
            pass_fds=list(descriptors.values()),
            start_new_session=True,
        )
        https, http, proxy = (f"{SERVER_NAME}:{listeners[name].getsockname()[1]}" for name in ports)
    addresses = Addresses(f"https://{https}", f"http://{http}", f"http://{proxy}")
    running = {"pid": process.pid, **dataclasses.asdict(addresses)}
    (directory / "lab.json").write_text(json.dumps(running), encoding="utf-8")
    return addresses


@contextlib.contextmanager
def _host_services(fleet: Fleet) -> Iterator[Callable[[], None]]:
    """Start the process of the host services; yield a function that makes it serve the hosts, once they are built.

    The function returns when the process listens. Hosts that share a root are read-only and need no services.
    """
    if _is_shared(fleet.hosts):
        yield lambda: None
        return
    package = __package__ or "lab"
    process = subprocess.Popen(
        [sys.executable, "-m", f"{package}.host_services", "--folder", str(fleet.directory)],
        cwd=Path(__file__).absolute().parents[package.count(".") + 1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(fleet.directory / "hosts" / "errors.log").open("wb"),
        start_new_session=True,
    )
    state = fleet.directory / "lab.json"
    processes = {**json.loads(state.read_text(encoding="utf-8")), "services": process.pid}
    state.write_text(json.dumps(processes), encoding="utf-8")

    def serve() -> None:
        configuration = {
            "server": fleet.lab_server.address,
            "certificate_hash": fleet.lab_server.certificate_hash,
            "hosts": list(fleet.hosts),
        }
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(configuration).encode() + b"\n")
        process.stdin.close()
        if process.stdout.readline() != READY:
            raise LabError((fleet.directory / "hosts" / "errors.log").read_text(encoding="utf-8"))
        process.stdout.close()

    yield serve


def _listen() -> socket.socket:
    """Return a listening socket on loopback that keeps its port when it stops and starts listening.

    A socket whose port the kernel chose would get another port then, so it is bound to a port by number.
    """
    with socket.socket() as finder:
        finder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        finder.bind(("127.0.0.1", 0))
        return socket.create_server(finder.getsockname(), backlog=1024)


def _accepts_connections(address: str) -> bool:
    port = urllib.parse.urlsplit(address).port
    with socket.socket() as client:
        client.settimeout(10)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wait_for_connections(address: str, *, accepted: bool) -> None:
    deadline = time.monotonic() + 10
    while _accepts_connections(address) != accepted:
        if time.monotonic() > deadline:
            raise LabError(f"{address} {'refuses' if accepted else 'accepts'} connections; its process may have ended")
        time.sleep(0.02)


def _clear_logs(fleet: Fleet) -> None:
    for log in _LOGS:
        (fleet.directory / "server" / log).write_bytes(b"")


def _send_to_services(directory: Path, path: str, fleet: Fleet) -> None:
    """Make the host services of a lab start or stop to serve the hosts of a fleet."""
    request = json.dumps({"folder": str(fleet.directory / "hosts"), "hosts": list(fleet.hosts)})
    status, text = send(directory / "services", path, request.encode())
    if status != 200:
        raise LabError(text)


def _lines(log: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _stop(pid: int, folder: Path) -> None:
    """Stop a recorded process if it still is the process of this folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return
    if str(folder).encode() not in words:
        return
    os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _build_hosts(fleet: Fleet) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    _register_enabled(fleet)
    originals: dict[str, Path] = {}
    shared = _is_shared(fleet.hosts)
    for name, host in fleet.hosts.items():
        root = fleet.root(name)
        for folder in (root.parent, *(root.parent / private for private in PRIVATE_FOLDERS)):
            folder.mkdir()
        for file_name, text in private_files(host, name).items():
            (root.parent / "lab" / file_name).write_text(text, encoding="ascii")
        if host.name in originals:
            root.symlink_to(originals[host.name])
        else:
            originals[host.name] = root
            tree = host_tree(host, fleet.lab_server, now)
            tree.write(root)
            add_sandbox_files(root, host, fleet.command_folders)
            tree.close(root)
            fleet.current(name).begin(host, now)
        session = {
            "command": command(host, name, root.parent, fleet.command_folders.for_host(host), shared=shared),
            "environment": environment(host),
            "booted_at": now.timestamp() - seconds(host.kernel.booted),
            "unreachable": host.faults.unreachable,
            "latency_ms": host.faults.latency_ms,
        }
        (root.parent / "session.json").write_text(json.dumps(session), encoding="utf-8")


def _register_enabled(fleet: Fleet) -> None:
    """Register the machines whose description is enabled: they hold seats of a separate token."""
    enabled = [host for host in fleet.hosts.values() if host.client is not None and host.client.enabled]
    fleet.state.set_machines(
        {
            machine_id(host.name): {
                "auth_token": FIRST_TOKEN,
                "machine_token": machine_token(host),
                "tier": host.client.tier if host.client is not None else None,
            }
            for host in enabled
        }
    )


def _is_shared(hosts: Mapping[str, Description]) -> bool:
    """Return True if some hosts are copies that share a root."""
    return len({host.name for host in hosts.values()}) < len(hosts)


def _write_inventory(fleet: Fleet) -> None:
    variables = {
        "ansible_connection": "livepatch_lab",
        "ansible_python_interpreter": "/nonexistent/python",
        "lab_directory": str(fleet.directory),
        "livepatch_server": fleet.server,
    }
    with_python = {"ansible_python_interpreter": "/usr/bin/python3"}
    hosts = {name: with_python if host.python else None for name, host in fleet.hosts.items()}
    inventory = {"all": {"vars": variables, "hosts": hosts}}
    # JSON is valid YAML, and Ansible reads it many times faster.
    fleet.inventory.write_text(json.dumps(inventory, indent=2), encoding="utf-8")


def _try_sandbox(fleet: Fleet) -> None:
    """Start one command in one host, so that a machine that forbids sandboxes fails now and not in every task."""
    tried = fleet.run(next(iter(fleet.hosts)), ":")
    if tried.returncode != 0:
        errors = tried.stderr.decode(errors="replace").strip()
        raise SandboxError(
            f"bubblewrap cannot start a sandbox on this machine ({errors}). It needs user namespaces: as root, "
            "`sysctl kernel.unprivileged_userns_clone=1` or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; "
            "a container must be allowed to create them."
        )


def _remove(folder: Path) -> None:
    """Remove a folder of hosts, including folders without permissions."""
    if not folder.exists():
        return
    for parent, names, _files in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink() and not path.stat().st_mode & 0o700:
                path.chmod(0o700)
    shutil.rmtree(folder)
