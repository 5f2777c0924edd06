# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The services of all writable hosts of a lab, and the Unix sockets on which they listen.

Sandboxes hold no daemons, so one process listens on sockets inside the folders of the hosts: ``livepatchd.sock`` and
``livepatchd-priv.sock``, as the real livepatch daemon does, and ``lab.sock``. On the latter, the doubles forward their
arguments, and tests change a host in ways that no command of the host can.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import selectors
import socket
import threading
import typing as t
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from ..hosts.current_host import CurrentHost
from ..hosts.file_tree import LabServer, snap_revision
from ..lab_socket import LAB_SOCKET, short_path
from ..livepatch_client.livepatchd import Livepatchd, RefusedError
from .apt import AptError, PackageManager
from .containers import ContainerError, Containers
from .jobs import Jobs
from .reboots import Reboots
from .snapd import Snapd, SnapError
from .ubuntu_pro import ProError, ProService
from .units import ClientUnit, UnitError

SOCKETS = ("livepatchd.sock", "livepatchd-priv.sock")


class Host:
    """The services of one host, and their sockets."""

    def __init__(self, folder: Path, lab_server: LabServer, listeners: Listeners) -> None:
        all_commands = folder.parents[1] / "commands" / "all"
        self.current = CurrentHost(folder, lab_server, all_commands)
        self.livepatchd = Livepatchd(self.current, lab_server.address)
        self.unit = ClientUnit(self.current, self.livepatchd)
        self.snapd = Snapd(self.current, self.unit)
        self.pro = ProService(self.current, self.snapd, self.livepatchd, lab_server.address)
        self.packages = PackageManager(self.current)
        self.containers = Containers(self.current)
        self.jobs = Jobs(self.current)
        self.reboots = Reboots(self.current, self.jobs)
        self._listeners = listeners
        self._client_sockets: list[socket.socket] = []
        self._lab_socket = listeners.add(folder / "lab" / LAB_SOCKET, self, 0o600)
        self.update_sockets()

    def close(self) -> None:
        """Close all sockets, and end the host's processes."""
        for listener in (self._lab_socket, *self._client_sockets):
            self._listeners.remove(listener)
        self._client_sockets = []
        self.jobs.kill_all()

    def update_sockets(self) -> None:
        """Open the sockets that the livepatch daemon has now, and close all others."""
        for listener in self._client_sockets:
            self._listeners.remove(listener)
        self._client_sockets = []
        host = self.current.describe()
        client = host.client
        if client is None:
            return
        folder = self.current.root / "var/snap/canonical-livepatch" / snap_revision(client)
        for name in SOCKETS:
            (folder / name).unlink(missing_ok=True)
        if client.running and client.sockets and not client.refuses_kernel:
            public, private = SOCKETS
            self._client_sockets.append(self._listeners.add(folder / public, self, 0o666))
            self._client_sockets.append(
                self._listeners.add(folder / private, self, 0o600 if host.login == "root" else 0)
            )


class Services:
    """The hosts of a lab, and a socket on which tests add and remove hosts."""

    def __init__(self, folder: Path, lab_server: LabServer, listeners: Listeners) -> None:
        self._lab_server = lab_server
        self._listeners = listeners
        self._hosts: dict[str, list[Host]] = {}
        listeners.add(folder / LAB_SOCKET, self, 0o600)

    def add(self, folder: str, hosts: list[str]) -> str:
        """Start to serve the hosts in a folder."""
        self._hosts[folder] = [Host(Path(folder, name), self._lab_server, self._listeners) for name in hosts]
        return ""

    def remove(self, folder: str) -> str:
        """Stop to serve the hosts in a folder."""
        for host in self._hosts.pop(folder):
            host.close()
        return ""


class Listeners:
    """Every socket of the lab, and a thread for each accepted connection."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, path: Path, owner: Host | Services, mode: int) -> socket.socket:
        """Listen on a path of a host, or of all hosts."""
        listener = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        with short_path(path.parent) as place:
            listener.bind(f"{place}/{path.name}")
        path.chmod(mode)
        listener.listen(64)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, (owner, path.name))
        return listener

    def remove(self, listener: socket.socket) -> None:
        self._selector.unregister(listener)
        listener.close()

    def serve(self, folder: Path) -> None:
        """Accept connections until the lab's folder is removed."""
        while folder.exists():
            for key, _events in self._selector.select(timeout=1):
                owner, name = key.data
                with contextlib.suppress(OSError):
                    connection, _address = t.cast("socket.socket", key.fileobj).accept()
                    connection.setblocking(True)
                    threading.Thread(target=_serve, args=(connection, owner, name), daemon=True).start()


def _serve(connection: socket.socket, owner: Host | Services, name: str) -> None:
    handler = {LAB_SOCKET: LabHandler, SOCKETS[0]: PublicHandler, SOCKETS[1]: PrivateHandler}[name]
    if isinstance(owner, Services):
        handler = ServicesHandler
    with contextlib.suppress(OSError), connection:
        handler(connection, name, t.cast("t.Any", owner))


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers like a Go server: HTTP/1.1, persistent connections, and ``Host`` is required for HTTP/1.1."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    server: t.Any

    @property
    def host(self) -> Host:
        host: Host = self.server
        return host

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        """Return the actions of this socket by method and path: functions of query and body that return a text."""
        raise NotImplementedError

    def handle_request(self) -> None:
        if self.request_version == "HTTP/1.1" and "Host" not in self.headers:
            self.close_connection = True
            self._answer(400, "400 Bad Request: missing required Host header")
            return
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        action = self.routes().get((self.command, address.path))
        if action is None:
            self._answer(404, "404 page not found\n")
            return
        try:
            text = action(query, body)
            self.note(address.path)
            self._answer(200, text)
        except (RefusedError, SnapError, UnitError, ProError, AptError, ContainerError) as error:
            self._answer(error.status, str(error))

    def note(self, path: str) -> None:
        """Record that a request is complete."""

    do_GET = do_PUT = do_POST = handle_request  # noqa: N815  (names that http.server requires)

    def _answer(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "livepatchd"

    def log_message(self, *_message: t.Any) -> None:
        """Log nothing: the host's files show the effects of a request."""


class ServicesHandler(_Handler):
    """The socket of the services, for tests."""

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        services: Services = self.server
        return {
            ("PUT", "/hosts/add"): lambda _query, body: services.add(**json.loads(body)),
            ("PUT", "/hosts/remove"): lambda _query, body: services.remove(json.loads(body)["folder"]),
        }


class PublicHandler(_Handler):
    """``livepatchd.sock``, for all users."""

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        return {("GET", "/status"): lambda query, _body: self.host.livepatchd.status(query)}


class PrivateHandler(_Handler):
    """``livepatchd-priv.sock``, for root."""

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        daemon = self.host.livepatchd
        return {
            ("PUT", "/enable"): lambda query, _body: daemon.enable(query.get("auth-token", "")),
            ("PUT", "/disable"): lambda _query, _body: daemon.disable(),
        }


class LabHandler(_Handler):
    """``lab.sock``, for the doubles and the tests.

    The file ``done`` lists its completed requests. A double cannot write that list, because the double may end earlier,
    together with its controller or host.
    """

    def note(self, path: str) -> None:
        with (self.host.current.folder / "lab" / "done").open("a", encoding="ascii") as done:
            done.write(f"{path}\n")

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        daemon, snapd, pro = self.host.livepatchd, self.host.snapd, self.host.pro
        packages, containers, unit = self.host.packages, self.host.containers, self.host.unit
        return {
            ("PUT", "/job"): lambda _query, body: self.host.jobs.start(body),
            ("PUT", "/reboot"): lambda _query, body: self.host.reboots.reboot(body),
            ("PUT", "/containers/stop"): lambda _query, body: containers.stop(body),
            ("PUT", "/containers/start"): lambda _query, body: containers.start(body),
            ("PUT", "/containers/evacuate"): lambda _query, body: containers.evacuate(body),
            ("PUT", "/containers/restore"): lambda _query, body: containers.restore(body),
            ("PUT", "/apt/names"): lambda _query, body: packages.names(body.strip()),
            ("PUT", "/apt/depends"): lambda _query, body: packages.depends(body),
            ("PUT", "/apt/simulate"): lambda _query, body: packages.simulate(body),
            ("PUT", "/apt/install"): lambda _query, body: packages.install(body),
            ("PUT", "/apt/fix"): lambda _query, body: packages.fix(body),
            ("PUT", "/grub/reboot"): lambda _query, body: self.host.reboots.select(body),
            ("PUT", "/dpkg/configure"): lambda _query, body: packages.configure(body),
            ("PUT", "/dpkg/interrupt"): lambda _query, body: packages.interrupt(body),
            ("PUT", "/livepatchd/enable"): lambda _query, body: daemon.enable(body),
            ("PUT", "/livepatchd/disable"): lambda _query, _body: daemon.disable(),
            ("PUT", "/livepatchd/refresh"): lambda _query, _body: daemon.refresh(),
            ("PUT", "/livepatchd/config"): lambda _query, body: daemon.configure(_pairs(body)),
            ("PUT", "/livepatchd/finish"): lambda _query, _body: daemon.finish(),
            ("PUT", "/apt/snapd"): lambda _query, _body: snapd.upgrade(),
            ("PUT", "/pro/attach"): lambda _query, body: self._with_sockets(pro.attach, body),
            ("PUT", "/pro/enable"): lambda _query, _body: self._with_sockets(pro.enable),
            ("PUT", "/pro/disable"): lambda _query, _body: self._with_sockets(pro.disable),
            ("PUT", "/pro/detach"): lambda _query, _body: self._with_sockets(pro.detach),
            ("PUT", "/sockets"): lambda _query, _body: self._with_sockets(str),
            ("PUT", "/snap/install"): lambda query, _body: self._with_sockets(snapd.install, query.get("channel", "")),
            ("PUT", "/snap/refresh"): lambda query, _body: self._with_sockets(snapd.refresh, query.get("channel", "")),
            ("PUT", "/snap/remove"): lambda _query, _body: self._with_sockets(snapd.remove),
            ("PUT", "/snap/enable"): lambda _query, _body: self._with_sockets(snapd.enable),
            ("PUT", "/snap/disable"): lambda _query, _body: self._with_sockets(snapd.disable),
            ("PUT", "/snap/restart"): lambda _query, body: self._with_sockets(snapd.restart, *body.split()),
            ("PUT", "/snap/start"): lambda _query, body: self._with_sockets(snapd.start, *body.split()),
            ("PUT", "/snap/stop"): lambda _query, body: self._with_sockets(snapd.stop, *body.split()),
            ("PUT", "/unit/start"): lambda _query, _body: self._with_sockets(unit.start),
            ("PUT", "/unit/stop"): lambda _query, _body: self._with_sockets(unit.stop),
            ("PUT", "/unit/restart"): lambda _query, _body: self._with_sockets(unit.restart),
            ("PUT", "/unit/reset-failed"): lambda _query, _body: unit.reset_failed(),
        }

    def _with_sockets(self, action: Callable[..., str], *words: str) -> str:
        """Run an action that may start or stop the daemon, then update the sockets."""
        try:
            return action(*words)
        finally:
            self.host.update_sockets()


def _pairs(body: str) -> list[tuple[str, str]]:
    """Parse keys and values: a line with the key and the size of the value in bytes, the value, and a newline."""
    rest, pairs = body.encode(), []
    while rest:
        head, _newline, rest = rest.partition(b"\n")
        key, _blank, size = head.decode().rpartition(" ")
        pairs.append((key, rest[: int(size)].decode()))
        rest = rest[int(size) + 1 :]
    return pairs
