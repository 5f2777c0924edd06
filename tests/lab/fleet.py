# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A fleet that is up: its folder, its inventory, its server, and how it comes and goes."""

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
from .hosts.bubblewrap import OWN_FOLDERS, SandboxError, Toolboxes, command, environment, fit_root
from .hosts.current_host import Present
from .hosts.description import HOST_DESCRIPTIONS, Description, load_descriptions, seconds
from .hosts.file_tree import COMMON, MODE, Surroundings, host_tree, machine_id, machine_token, own_files, timed_files
from .lab_socket import READY, tell
from .livepatch_server.faults import Fault, Faults, write_faults
from .livepatch_server.state import State
from .process_trace import recording

PLUGINS = Path(__file__).parent / "plugins" / "connection"
REPLICATED = "xenial-generic"
"""The host that `count` makes copies of, unless another is named."""
FIRST_TOKEN = "token-of-the-first-hosts"
"""The auth-token of the hosts that are described as enabled. Nobody else is told of it."""
_PARTS = ("hosts", "tools", "server", "services")
_LOGS = ("requests.jsonl", "proxy.jsonl")
_FILES = ("inventory.yml", "lab.json")


class LabError(Exception):
    """The lab cannot come up or go down; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where a lab's server is: `server` by HTTPS, `on_premises` the same one by plain HTTP, `proxy` before both."""

    server: str
    on_premises: str
    proxy: str


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A running fleet. `hosts` are the descriptions by inventory name; `server` is the address of its server.

    The same server is at `on_premises` by plain HTTP, and `proxy` leads to both. What the server knows is in `state`.
    """

    directory: Path
    hosts: dict[str, Description]
    server: str
    around: Surroundings
    on_premises: str
    proxy: str
    toolboxes: Toolboxes = dataclasses.field(repr=False, compare=False)

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yml"

    @property
    def certificate(self) -> Path:
        """The authority that signed the server's certificate, as a file in PEM."""
        return self.directory / "server" / "ca.pem"

    @property
    def variables(self) -> dict[str, str]:
        """What Ansible needs in its environment to reach this fleet."""
        return {"ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS), "ANSIBLE_INVENTORY": str(self.inventory)}

    def root(self, name: str) -> Path:
        """The root folder of a host, seen from outside."""
        return self.directory / "hosts" / name / "root"

    def run(self, name: str, line: str, in_data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command line in a host as the connection plugin does, but without Ansible."""
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
            raise LabError(f"{point!r} is none of the points in {Path(__file__).with_name('holds.py')}")
        return Hold(self.root(name).parent / "lab", point)

    def hold_requests(self, path: str, *, method: str | None = None, after: int = 0) -> Hold:
        """Return a context in which the server stops at each request whose path begins so.

        It stops before it does anything, or, with `after`, when it has sent so many bytes of the body.
        """
        request = {"path": path, "method": method, "after": after}
        return Hold(self.directory / "server", f"{method or 'request'} {path.replace('/', '|')}", request)

    def commands(self, name: str) -> list[str]:
        """Every call of a double on a host so far, a line each: the command and its arguments."""
        log = self.root(name).parent / "lab" / "commands"
        return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []

    def boots(self, name: str) -> list[str]:
        """The kernel of every boot of a host since the lab came up."""
        log = self.root(name).parent / "lab" / "boots"
        return log.read_text(encoding="ascii").split() if log.exists() else []

    @property
    def behind_proxy(self) -> str:
        """The server by HTTPS under a name that only the proxy can find."""
        return self.server.replace(SERVER_NAME, BEHIND_PROXY_NAME)

    @property
    def state(self) -> State:
        """What the server knows: tokens, machines, patches, files. Tests may read and set it at any time."""
        return State(self.directory / "server")

    def requests(self) -> list[dict[str, t.Any]]:
        """Every request that the server got so far: ``method``, ``path``, ``query``, where there was one ``auth_token``
        and ``range``."""
        return _lines(self.directory / "server" / "requests.jsonl")

    def proxied(self) -> list[dict[str, t.Any]]:
        """Every request that the proxy got so far: ``method``, ``target``, ``authorized``."""
        return _lines(self.directory / "server" / "proxy.jsonl")

    def set_proxy(self, user: str | None = None, password: str = "") -> None:
        """Let the proxy ask for a name and a password from the next request on, or, without a name, for nothing."""
        path = self.directory / "server" / "proxy.json"
        if user is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(json.dumps({"user": user, "password": password}), encoding="utf-8")

    def set_tokens(self, tokens: Mapping[str, Mapping[str, t.Any]]) -> None:
        """The tokens that the server knows: ``{token: {"seats": 3, "tier": "updates"}}``, both with a default."""
        self.state.set_tokens(tokens)

    def set_contracts(self, contracts: Mapping[str, Mapping[str, t.Any]]) -> None:
        """The contract tokens of Ubuntu Pro that the server knows, as in `set_tokens`; each begins with C."""
        self.state.set_contracts(contracts)

    def machines(self) -> dict[str, dict[str, t.Any]]:
        """The machines that hold a seat, by machine-id: ``auth_token``, ``machine_token``, ``tier``, …"""
        return self.state.machines()

    def add_patch(self, name: str, archive: bytes, *, tier: str = "stable", fixes: Sequence[str] = ()) -> str:
        """Publish an archive under its name (see `signing.patch_for`) and return its SHA-256."""
        return self.state.add_patch(name, archive, tier=tier, fixes=fixes)

    def patches(self) -> dict[str, dict[str, t.Any]]:
        """What the server publishes, by file name."""
        return self.state.patches()

    def set_faults(self, *rules: Fault, **fault: t.Any) -> None:
        """Make the server misbehave from the next request on (see `livepatch_server.faults`); no fault at all heals it.

        ``set_faults(status=503, count=2)`` is one fault everywhere, ``set_faults({"path": "/v1/patches/", "cut": 1000},
        {"path": "/v1/client/", "delay_ms": 50})`` two in their places.
        """
        folder = self.directory / "server"
        faults = [*rules, fault] if fault else list(rules)
        refuse = [{"refuse": True}] if any(each.get("refuse") for each in faults) else []
        if refuse or Faults(folder).refuses():
            # First this alone, since trying whether it has come about would count as a connection.
            write_faults(folder, refuse)
            for address in (self.server, self.on_premises):
                _wait_until(lambda address=address: _takes_connections(address) is not bool(refuse), address)
        write_faults(folder, faults)

    def present(self, name: str) -> Present:
        """What a host is now, and the way to make it another."""
        return Present(self.root(name).parent, self.around, self.directory / "tools" / "stock")

    def machine_token(self, name: str) -> str | None:
        """The secret by which the server knows a host; None where the host is not enabled."""
        token = self.root(name) / COMMON / "machine-token"
        return token.read_text(encoding="utf-8").strip() if token.exists() else None

    def restart_daemon(self, name: str) -> None:
        """Start the livepatch daemon of a host anew, as a restart of its service does: it reads its mode file."""
        self._tell(name, "/snap/restart")

    def kill_daemon(self, name: str) -> None:
        """End the livepatch daemon of a host, sockets and all, until somebody starts it."""
        self._tell(name, "/snap/stop")

    def finish_apply(self, name: str) -> None:
        """Let a patch that a host is still applying, or that a process holds up, be applied."""
        self._tell(name, "/livepatchd/finish")

    def change(self, name: str, become: Callable[[Description], Description]) -> None:
        """Make a host another one, for instance with `dataclasses.replace`; its daemon goes on from there."""
        self.present(name).change(become)
        self._tell(name, "/refit")

    def reset(self, name: str) -> None:
        """Make a host what its description says, whatever it has become."""
        described = self.hosts[name]
        if f"/{MODE}" not in described.files:
            (self.root(name) / MODE).unlink(missing_ok=True)
        (self.root(name).parent / "lab" / "seeding").unlink(missing_ok=True)
        self.change(name, lambda _host: described)

    @contextlib.contextmanager
    def recorded(self, name: str, log: Path) -> Iterator[None]:
        """Record every process of a host, whoever starts a command there (see `process_trace`); one command a log."""
        session = self.root(name).parent / "session.json"
        before = session.read_text(encoding="utf-8")
        said = json.loads(before)
        session.write_text(json.dumps({**said, "command": [*recording(log), *said["command"]]}), encoding="utf-8")
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
        """Bring up other hosts in a folder, with the server and the processes of this fleet, which takes less time.

        Hosts are chosen as in `up`, and each is a host of its own. The server forgets what it knew. This fleet must not
        consist of copies that share a root, and only one such set of hosts may be up at a time.
        """
        hosts = _choose(count, replicated, only, writable=True)
        fleet = dataclasses.replace(self, directory=directory.absolute(), hosts=hosts)
        (directory / "hosts").mkdir(parents=True)
        for part in ("server", "tools"):
            (directory / part).symlink_to(self.directory / part)
        fleet.set_faults()
        fleet.set_proxy()
        fleet.state.clear()
        _clear_logs(fleet)
        _build_hosts(fleet)
        _write_inventory(fleet)
        _ask_services(self.directory, "/hosts/add", fleet)
        try:
            yield fleet
        finally:
            _ask_services(self.directory, "/hosts/remove", fleet)
            _remove(directory / "hosts")

    def _tell(self, name: str, path: str) -> None:
        status, text = tell(self.root(name).parent / "lab", path)
        if status != 200:
            raise LabError(f"{name}: {text}")

    def set_clocks(self) -> None:
        """Let every age in the descriptions count from now on, as it did when the lab came up."""
        now = dt.datetime.now(dt.timezone.utc)
        for name, described in self.hosts.items():
            host = described
            if _is_shared(self.hosts):
                for path, content in timed_files(host, self.around, now).items():
                    (self.root(name) / path).write_bytes(content)
            else:
                host = self.present(name).set_clock(now)
            session = self.root(name).parent / "session.json"
            said = json.loads(session.read_text(encoding="utf-8"))
            said["booted_at"] = now.timestamp() - seconds(host.kernel.booted)
            session.write_text(json.dumps(said), encoding="utf-8")


@contextlib.contextmanager
def running_fleet(
    directory: Path,
    count: int | None = None,
    replicated: str = REPLICATED,
    *,
    only: Sequence[str] | None = None,
    writable: bool = False,
) -> Iterator[Fleet]:
    """Bring a fleet up in a folder and take it down again at the end."""
    fleet = up(directory, count, replicated, only=only, writable=writable)
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
    writable: bool = False,
) -> Fleet:
    """Bring up the described hosts (or `only` those), or `count` copies of one, named ``web-0001`` and so on.

    Copies share a root that nobody can write to, unless they are to be `writable`: then each is a host of its own, with
    a machine id of its own.

    A lab that is up in the same folder is taken down first. Raises `LabError` when this machine cannot run one.
    """
    directory = directory.absolute()
    down(directory)
    hosts = _choose(count, replicated, only, writable=writable)
    try:
        for part in _PARTS:
            _remove(directory / part)
            (directory / part).mkdir(parents=True)
        authority = make_authority(directory / "server")
        addresses = _start_server(directory)
        around = Surroundings(addresses.server, authority.certificate.read_bytes(), authority.openssl_hash)
        toolboxes = Toolboxes(directory / "tools")
        fleet = Fleet(directory, hosts, addresses.server, around, addresses.on_premises, addresses.proxy, toolboxes)
        with _daemon(fleet) as serve:
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
def _descriptions() -> dict[str, Description]:
    return load_descriptions()


def _choose(
    count: int | None, replicated: str, only: Sequence[str] | None, *, writable: bool
) -> dict[str, Description]:
    """Return the descriptions of hosts that `up` brings up, by their names. Raises `LabError` for a name of none."""
    descriptions = _descriptions()
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
    """Stop the processes of the lab in a folder and remove what the lab made there. Without a lab, do nothing."""
    state = directory / "lab.json"
    if not state.exists():
        return
    said = json.loads(state.read_text(encoding="utf-8"))
    _stop(said["pid"], directory.absolute() / "server")
    if "daemon" in said:
        _stop(said["daemon"], directory.absolute())
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
    said = {"pid": process.pid, **dataclasses.asdict(addresses)}
    (directory / "lab.json").write_text(json.dumps(said), encoding="utf-8")
    return addresses


@contextlib.contextmanager
def _daemon(fleet: Fleet) -> Iterator[Callable[[], None]]:
    """Start the process behind the hosts; what is yielded lets it serve those that are built, and waits until it does.

    Hosts that share a root cannot be changed and need none.
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
    state.write_text(json.dumps({**json.loads(state.read_text(encoding="utf-8")), "daemon": process.pid}), "utf-8")

    def serve() -> None:
        said = {
            "server": fleet.around.server,
            "authority_hash": fleet.around.authority_hash,
            "hosts": list(fleet.hosts),
        }
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(said).encode() + b"\n")
        process.stdin.close()
        if process.stdout.readline() != READY:
            raise LabError((fleet.directory / "hosts" / "errors.log").read_text(encoding="utf-8"))
        process.stdout.close()

    yield serve


def _listen() -> socket.socket:
    """A listening socket on loopback that keeps its port when it ends listening and begins again.

    A socket that was given its port by the kernel would get another one then, so it is asked for by its number.
    """
    with socket.socket() as finder:
        finder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        finder.bind(("127.0.0.1", 0))
        return socket.create_server(finder.getsockname(), backlog=1024)


def _takes_connections(address: str) -> bool:
    port = urllib.parse.urlsplit(address).port
    with socket.socket() as client:
        client.settimeout(10)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(holds: t.Callable[[], bool], address: str) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"{address} does not do as it was told; its process may have ended")
        time.sleep(0.02)


def _clear_logs(fleet: Fleet) -> None:
    for log in _LOGS:
        (fleet.directory / "server" / log).write_bytes(b"")


def _ask_services(directory: Path, path: str, fleet: Fleet) -> None:
    """Let the process behind the hosts of a lab serve the hosts of a fleet, or end that."""
    said = json.dumps({"folder": str(fleet.directory / "hosts"), "hosts": list(fleet.hosts)})
    status, text = tell(directory / "services", path, said.encode())
    if status != 200:
        raise LabError(text)


def _lines(log: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _stop(pid: int, folder: Path) -> None:
    """End the recorded process, if it still is the one of this folder."""
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
        for folder in (root.parent, *(root.parent / own for own in OWN_FOLDERS)):
            folder.mkdir()
        for own, text in own_files(host, name).items():
            (root.parent / "lab" / own).write_text(text, encoding="ascii")
        if host.name in originals:
            root.symlink_to(originals[host.name])
        else:
            originals[host.name] = root
            tree = host_tree(host, fleet.around, now)
            tree.write(root)
            fit_root(root, host, fleet.toolboxes)
            tree.close(root)
            fleet.present(name).begin(host, now)
        session = {
            "command": command(host, name, root.parent, fleet.toolboxes.for_host(host), shared=shared),
            "environment": environment(host),
            "booted_at": now.timestamp() - seconds(host.kernel.booted),
            "unreachable": host.faults.unreachable,
            "latency_ms": host.faults.latency_ms,
        }
        (root.parent / "session.json").write_text(json.dumps(session), encoding="utf-8")


def _register_enabled(fleet: Fleet) -> None:
    """Let the server know the machines that are enabled from the beginning: they hold seats of a token of their own."""
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
    """Whether some hosts are copies that have their root in common."""
    return len({host.name for host in hosts.values()}) < len(hosts)


def _write_inventory(fleet: Fleet) -> None:
    variables = {
        "ansible_connection": "livepatch_lab",
        "ansible_python_interpreter": "/nonexistent/python",
        "livepatch_lab_directory": str(fleet.directory),
        "livepatch_server": fleet.server,
    }
    with_python = {"ansible_python_interpreter": "/usr/bin/python3"}
    hosts = {name: with_python if host.python else None for name, host in fleet.hosts.items()}
    inventory = {"all": {"vars": variables, "hosts": hosts}}
    # JSON is YAML, and Ansible reads it many times faster.
    fleet.inventory.write_text(json.dumps(inventory, indent=2), encoding="utf-8")


def _try_sandbox(fleet: Fleet) -> None:
    """Start one command in one host, so that a machine that forbids sandboxes says so now and not in every task."""
    tried = fleet.run(next(iter(fleet.hosts)), ":")
    if tried.returncode != 0:
        said = tried.stderr.decode(errors="replace").strip()
        raise SandboxError(
            f"bubblewrap cannot start a sandbox on this machine ({said}). It needs user namespaces: as root, "
            "`sysctl kernel.unprivileged_userns_clone=1` or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; "
            "a container must be allowed to make them."
        )


def _remove(folder: Path) -> None:
    """Remove a folder of hosts, closed folders included."""
    if not folder.exists():
        return
    for parent, names, _files in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink() and not path.stat().st_mode & 0o700:
                path.chmod(0o700)
    shutil.rmtree(folder)
