# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The one process behind all hosts of a lab that change: their livepatch daemons, their snapd, their Pro service.

No process lives in a sandbox, so this one listens on Unix sockets inside the hosts' folders: the two of each livepatch
daemon, ``livepatchd.sock`` and ``livepatchd-priv.sock``, as in life, and one of the lab's own, ``lab.sock``, over which
the doubles hand on what they were told and tests do to a host what no command of the host does.
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

from ..hosts.current_host import Present
from ..hosts.file_tree import Surroundings, snap_revision
from ..lab_socket import LAB_SOCKET, opened
from ..livepatch_client.livepatchd import Livepatchd, RefusedError
from .apt import AptError, PackageManager
from .containers import ContainerError, Containers
from .jobs import Jobs
from .reboots import Reboots
from .snapd import Snapd, SnapError
from .ubuntu_pro import ProError, ProService

SOCKETS = ("livepatchd.sock", "livepatchd-priv.sock")


class Host:
    """A host's services, and the sockets on which they listen."""

    def __init__(self, folder: Path, around: Surroundings, listeners: Listeners) -> None:
        stock = folder.parents[1] / "tools" / "stock"
        self.present = Present(folder, around, stock)
        self.livepatchd = Livepatchd(self.present, around.server)
        self.snapd = Snapd(self.present, self.livepatchd)
        self.pro = ProService(self.present, self.snapd, self.livepatchd, around.server)
        self.packages = PackageManager(self.present)
        self.containers = Containers(self.present)
        self.jobs = Jobs(self.present)
        self.reboots = Reboots(self.present, self.jobs)
        self._listeners = listeners
        self._own: list[socket.socket] = []
        self._lab = listeners.add(folder / "lab" / LAB_SOCKET, self, 0o600)
        self.fit_sockets()

    def close(self) -> None:
        """Listen no more, and end the host's processes."""
        for listener in (self._lab, *self._own):
            self._listeners.remove(listener)
        self._own = []
        self.jobs.kill_all()

    def fit_sockets(self) -> None:
        """Listen where the daemon does now, and nowhere else."""
        for listener in self._own:
            self._listeners.remove(listener)
        self._own = []
        host = self.present.look()
        client = host.client
        if client is None:
            return
        folder = self.present.root / "var/snap/canonical-livepatch" / snap_revision(client)
        for name in SOCKETS:
            (folder / name).unlink(missing_ok=True)
        if client.running and client.sockets and not client.refuses_kernel:
            public, private = SOCKETS
            self._own.append(self._listeners.add(folder / public, self, 0o666))
            self._own.append(self._listeners.add(folder / private, self, 0o600 if host.login == "root" else 0))


class Services:
    """The hosts of a lab, and a socket on which tests add and remove some."""

    def __init__(self, folder: Path, around: Surroundings, listeners: Listeners) -> None:
        self._around = around
        self._listeners = listeners
        self._hosts: dict[str, list[Host]] = {}
        listeners.add(folder / LAB_SOCKET, self, 0o600)

    def add(self, folder: str, hosts: list[str]) -> None:
        """Serve the hosts that were built in a folder."""
        self._hosts[folder] = [Host(Path(folder, name), self._around, self._listeners) for name in hosts]

    def remove(self, folder: str) -> None:
        """Serve the hosts in a folder no more."""
        for host in self._hosts.pop(folder):
            host.close()


class Listeners:
    """Every socket of the lab, and a thread for each connection that one of them takes."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, path: Path, owner: Host | Services, mode: int) -> socket.socket:
        """Listen at a path, for a host or for all of them."""
        listener = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        with opened(path.parent) as place:
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
        """Take connections until the lab's folder is gone."""
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
    """Answers as Go's server does: HTTP/1.1, connections that stay, and no request of 1.1 without ``Host``."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    server: t.Any

    @property
    def host(self) -> Host:
        host: Host = self.server
        return host

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        """What this socket answers, by method and path: from the query and the body to the text."""
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
        except (RefusedError, SnapError, ProError, AptError, ContainerError) as error:
            self._answer(error.status, str(error))

    def note(self, path: str) -> None:
        """What was asked for has been done."""

    do_GET = do_PUT = do_POST = handle_request  # noqa: N815  (the names that http.server looks for)

    def _answer(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "livepatchd"

    def log_message(self, *_said: t.Any) -> None:
        """Say nothing: what a request did is in the host's files."""


class ServicesHandler(_Handler):
    """The socket of all hosts, for tests."""

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        services: Services = self.server
        return {
            ("PUT", "/hosts/add"): lambda _query, body: services.add(**json.loads(body)) or "",
            ("PUT", "/hosts/remove"): lambda _query, body: services.remove(json.loads(body)["folder"]) or "",
        }


class PublicHandler(_Handler):
    """``livepatchd.sock``, for everybody."""

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

    What it has done is in the file ``done``. A double cannot say so: it may end before, with its controller or host.
    """

    def note(self, path: str) -> None:
        with (self.host.present.folder / "lab" / "done").open("a", encoding="ascii") as done:
            done.write(f"{path}\n")

    def routes(self) -> dict[tuple[str, str], Callable[[dict[str, str], str], str]]:
        daemon, snapd, pro = self.host.livepatchd, self.host.snapd, self.host.pro
        packages, containers = self.host.packages, self.host.containers
        return {
            ("PUT", "/job"): lambda _query, body: self.host.jobs.start(body),
            ("PUT", "/reboot"): lambda _query, body: self.host.reboots.reboot(body),
            ("PUT", "/containers/stop"): lambda _query, body: containers.stop(body),
            ("PUT", "/containers/start"): lambda _query, body: containers.start(body),
            ("PUT", "/containers/evacuate"): lambda _query, body: containers.evacuate(body),
            ("PUT", "/containers/restore"): lambda _query, body: containers.take_back(body),
            ("PUT", "/apt/names"): lambda _query, body: packages.names(body.strip()),
            ("PUT", "/apt/depends"): lambda _query, body: packages.depends(body),
            ("PUT", "/apt/simulate"): lambda _query, body: packages.simulate(body),
            ("PUT", "/apt/install"): lambda _query, body: packages.install(body),
            ("PUT", "/dpkg/configure"): lambda _query, body: packages.configure(body),
            ("PUT", "/dpkg/interrupt"): lambda _query, body: packages.interrupt(body),
            ("PUT", "/livepatchd/enable"): lambda _query, body: daemon.enable(body),
            ("PUT", "/livepatchd/disable"): lambda _query, _body: daemon.disable(),
            ("PUT", "/livepatchd/refresh"): lambda _query, _body: daemon.refresh(),
            ("PUT", "/livepatchd/config"): lambda _query, body: daemon.configure(_pairs(body)),
            ("PUT", "/livepatchd/finish"): lambda _query, _body: daemon.finish() or "",
            ("PUT", "/apt/snapd"): lambda _query, _body: snapd.upgrade(),
            ("PUT", "/pro/attach"): lambda _query, body: self._moved(pro.attach, body),
            ("PUT", "/pro/enable"): lambda _query, _body: self._moved(pro.enable),
            ("PUT", "/pro/disable"): lambda _query, _body: self._moved(pro.disable),
            ("PUT", "/pro/detach"): lambda _query, _body: self._moved(pro.detach),
            ("PUT", "/refit"): lambda _query, _body: self.host.fit_sockets() or "",
            ("PUT", "/snap/install"): lambda query, _body: self._moved(snapd.install, query.get("channel", "")),
            ("PUT", "/snap/refresh"): lambda query, _body: self._moved(snapd.refresh, query.get("channel", "")),
            ("PUT", "/snap/remove"): lambda _query, _body: self._moved(snapd.remove),
            ("PUT", "/snap/restart"): lambda _query, _body: self._moved(snapd.restart),
            ("PUT", "/snap/start"): lambda _query, _body: self._moved(snapd.start),
            ("PUT", "/snap/stop"): lambda _query, _body: self._moved(snapd.stop),
        }

    def _moved(self, action: Callable[..., str], *words: str) -> str:
        """Do something after which the daemon may listen, or listen no more."""
        try:
            return action(*words)
        finally:
            self.host.fit_sockets()


def _pairs(body: str) -> list[tuple[str, str]]:
    """Keys and values: each a line of the key and the number of bytes of the value, then the value and a newline."""
    rest, pairs = body.encode(), []
    while rest:
        head, _newline, rest = rest.partition(b"\n")
        key, _blank, size = head.decode().rpartition(" ")
        pairs.append((key, rest[: int(size)].decode()))
        rest = rest[int(size) + 1 :]
    return pairs
