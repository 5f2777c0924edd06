# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The livepatch daemon of a host: enable, disable, configure, check, apply.

It talks to its server by real HTTPS. It changes the host's description (`hosts/current_host.py`), from which the
host's files follow. It respects changes that an operator makes on the host: a removed machine-token, a removed crash
lock, and the mode file, which it reads at its start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import threading
import typing as t
import urllib.parse
from collections.abc import Sequence

from ..hosts.current_host import CurrentHost
from ..hosts.description import Client, Description, Fix, Module, seconds
from ..hosts.file_tree import COMMON, LAB, MODE, loaded_module, machine_token, shows_transition, snap_revision
from ..hosts.kernel_names import identify, lock_name
from ..live_patches.patch_archive import Payload, PayloadError, open_payload
from . import livepatchd_errors
from .server_connection import Answer, HostNetwork, UnreachableError, host_network
from .settings import defaults, needs_payment, setting_error

MODES = ("normal", "no-apply", "no-refresh", "stop")
_SYSLOG = "var/log/syslog"
_KERNEL_LOG = "var/log/kern.log"


class RefusedError(Exception):
    """The daemon refuses a request; the text is its answer."""

    def __init__(self, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.status = status


class Livepatchd:
    """The daemon of one host. It runs one operation at a time."""

    def __init__(self, current: CurrentHost, server: str) -> None:
        self._current = current
        self._server = server
        self._lock = threading.RLock()

    # Requests.

    def status(self, query: dict[str, str]) -> str:
        """Return the answer to ``GET /status``: YAML from older clients, which have no other format."""
        client = self._client()
        if not client.enabled:
            raise RefusedError(self._text("not-enabled"), 400)
        if client.generation == "2016":
            return self._text("status-text")
        verbose = query.get("verbose", "").lower() == "true" or query.get("verbosity", "0") > "0"
        format_name = query.get("format", "yaml") if client.generation != "6" else "yaml"
        if format_name not in ("json", "yaml", "humane"):
            raise RefusedError(f'unknown output format "{format_name}"', 400)
        return self._text(f"status-{format_name}{'-verbose' if verbose else ''}")

    def enable(self, token: str) -> str:
        """Register with the server, check once, and apply the offered patch."""
        with self._lock:
            host, client = self._ready()
            unsupported = livepatchd_errors.unsupported_platform(host, client)
            if unsupported is not None:
                raise RefusedError(unsupported)
            if not token:
                raise RefusedError(livepatchd_errors.NO_TOKEN)
            if client.enabled:
                raise RefusedError(livepatchd_errors.ALREADY_ENABLED)
            issued, tier = self._register(host, client, token)
            self._current.change_client(
                enabled=True, machine_token=issued, tier=tier, check_state="needs-check", patch_state="unapplied"
            )
            self.log("Client.Check")
            if client.mode != "no-refresh":
                self._check()
            return f"Successfully enabled device. Using machine-token: {issued}\n"

    def disable(self) -> str:
        """Remove the registration, also at the server if it answers. An applied patch stays in the kernel."""
        with self._lock:
            host, client = self._ready()
            if not client.enabled:
                return "Device is already disabled.\n"
            token = machine_token(host)
            path = "v1/client" if client.numbers >= (10,) else "api/machine"
            try:
                self._ask(host, client, "DELETE", f"/{path}/{self._current.machine_id}", token=token)
            except UnreachableError as error:
                self.log(f"cannot release the registration: {error}")
            self._current.change(_disabled)
            return f"Successfully disabled device. Removed machine-token: {token}\n"

    def refresh(self) -> str:
        """Check and apply now; return the status before and after."""
        with self._lock:
            host, client = self._ready()
            if not client.enabled:
                raise RefusedError(self._text("not-enabled").rstrip("\n"), 400)
            before = _summary(host)
            self._check()
            return f"Before refresh:\n\n{before}\n\nAfter refresh:\n\n\n{_summary(self._current.describe())}"

    def configure(self, settings: Sequence[tuple[str, str]]) -> str:
        """Apply settings in the given order; apply none if one of them is invalid."""
        with self._lock:
            _host, client = self._ready()
            for key, value in settings:
                error = setting_error(client, key, value)
                if error is not None:
                    raise RefusedError(error, 400)
                if value and needs_payment(client, key):
                    raise RefusedError(f'"{key}" needs a paid subscription', 400)
            for key, value in settings:
                self._set(key, value or defaults(client)[key])
            return ""

    # Start and stop.

    def start(self) -> bool:
        """Start in the mode that the kernel command line or the mode file names. Return True if the daemon runs."""
        with self._lock:
            client = self._client()
            mode = self._mode()
            if client.trouble == "interface":
                self.log("Snappy kernel-module-control interface not connected!")
            running = mode != "stop" and client.trouble != "interface"
            self._current.change_client(mode=mode, running=running)
            if running and client.enabled and mode != "no-refresh":
                self._check()
            return running

    def _mode(self) -> str:
        """Return the mode on the kernel command line, or else in the mode file."""
        root = self._current.root
        words = [word.partition("=") for word in (root / "proc/cmdline").read_text(encoding="utf-8").split()]
        content = next((value for key, _equals, value in words if key == "canonical_livepatch_mode"), "")
        with contextlib.suppress(FileNotFoundError):
            content = content or (root / MODE).read_text(encoding="utf-8", errors="replace").strip()
        return content if content in MODES else "normal"

    def stop(self) -> None:
        with self._lock:
            self._current.change_client(running=False)

    def finish(self) -> str:
        """Complete the application of a patch that is slow, or that a process blocks."""
        self._current.change(_applied)
        return ""

    # Implementation.

    def _client(self) -> Client:
        client = self._current.describe().client
        if client is None:
            raise RefusedError("canonical-livepatch is not installed", 404)
        return client

    def _ready(self) -> tuple[Description, Client]:
        """Return the host and its client, after the changes that an operator made on the host."""
        client = self._client()
        if client.trouble == "shutting-down":
            raise RefusedError(livepatchd_errors.SHUTTING_DOWN, 503)
        if client.enabled and not (self._current.root / COMMON / "machine-token").exists():
            self._current.change(_disabled)
        host = self._current.describe()
        return host, self._client()

    def _text(self, name: str) -> str:
        return (self._current.root / LAB / "client" / name).read_text(encoding="utf-8")

    def _set(self, key: str, value: str) -> None:
        host, client = self._ready()
        settings = {**client.settings, key: value}
        if key == "remote-server":
            client = dataclasses.replace(client, settings=settings)
            self._try_server(host_network(host, client, self._current.root, self._server), value)
        self._current.change_client(settings=settings)

    def _try_server(self, network: HostNetwork, address: str) -> None:
        try:
            answer = network.request("GET", f"{address.rstrip('/')}/")
        except UnreachableError as error:
            raise RefusedError(livepatchd_errors.server_unusable(address, str(error))) from error
        if answer.status != 200:
            raise RefusedError(livepatchd_errors.server_unusable(address, f"bad server status {answer.status}"))

    def _url(self, client: Client, path: str) -> str:
        return client.settings.get("remote-server", self._server).rstrip("/") + path

    def _ask(
        self,
        host: Description,
        client: Client,
        method: str,
        path: str,
        body: dict[str, t.Any] | None = None,
        token: str | None = None,
    ) -> Answer:
        network = host_network(host, client, self._current.root, self._server)
        return network.request(method, self._url(client, path), body, token)

    def _register(self, host: Description, client: Client, token: str) -> tuple[str, str]:
        """Request a seat; return the machine-token and the tier."""
        machine = self._current.machine_id
        if client.numbers >= (10,):
            path, body = f"/v1/client/{machine}", {"auth-token": token}
        else:
            path, body = "/api/machine-tokens", {"auth-token": token, "machine-id": machine}
        url = self._url(client, path)
        try:
            answer = self._ask(host, client, "POST", path, body)
        except UnreachableError as error:
            raise RefusedError(livepatchd_errors.server_unreachable(client, "POST", url, error)) from error
        issued = answer.document.get("machine-token")
        if answer.status != 200 or not isinstance(issued, str):
            raise RefusedError(livepatchd_errors.bad_status(client, "POST", url, answer))
        if client.numbers < (10,):
            return issued, client.tier
        return issued, self._tier(host, client, issued)

    def _tier(self, host: Description, client: Client, token: str) -> str:
        path = f"/v1/client/{self._current.machine_id}/info"
        refused = RefusedError(livepatchd_errors.information_missing(self._url(client, path)))
        try:
            answer = self._ask(host, client, "GET", path, token=token)
        except UnreachableError as error:
            raise refused from error
        if answer.status != 200:
            raise refused
        return str(answer.document.get("tier", client.tier))

    def _check(self) -> None:
        """Request the newest patch, and apply it unless the mode, a lock or an error prevents that."""
        self._current.change(_with_loaded_module)
        host, client = self._ready()
        self.log("Checking with livepatch service.")
        machine, kernel = self._current.machine_id, identify(host.kernel).status_name
        question = {"kernel": kernel, "architecture": host.machine}
        if client.numbers >= (10,):
            method, path = "POST", f"/v1/client/{machine}/updates"
        else:
            method, path = "PUT", f"/api/machine/{machine}"
        url = self._url(client, path)
        try:
            answer = self._ask(host, client, method, path, question, machine_token(host))
        except UnreachableError as error:
            self._check_failed(f'{method} request to "{url}" failed: {error}, retrying in 30s.')
            return
        if answer.status != 200:
            text = answer.content.decode(errors="replace").strip()
            self._check_failed(f"Bad server status code: {answer.status}. URL: {url} {text}")
            return
        supported = str(answer.document.get("supported", "unknown"))
        self._current.change_client(
            check_state="checked",
            last_check="0s",
            status_exit=0,
            supported=supported if client.numbers >= (10,) or supported == "unsupported" else None,
        )
        self._apply_offer(supported, answer.document.get("patch"))

    def _check_failed(self, why: str) -> None:
        self.log(f'Task "refresh" returned an error: livepatch check failed: {why}')
        self._current.change_client(check_state="check-failed")

    def _apply_offer(self, supported: str, patch: dict[str, t.Any] | None) -> None:
        """Apply the patch that the server offers, or log why not."""
        host, client = self._ready()
        if supported == "kernel-upgrade-required":
            self._current.change_client(patch_state="kernel-upgrade-required")
            return
        loaded = loaded_module(host)
        if patch is None:
            self.log("No updates available at this time.")
            state = "applied" if loaded else "unapplied" if supported == "unsupported" else "nothing-to-apply"
            self._current.change_client(patch_state=state, patch_version=loaded.version if loaded else "")
            return
        version, fixes = str(patch["version"]), patch.get("fixes", [])
        named = {"patch_version": version, "fixes": _fixes(fixes)}
        if loaded is not None and loaded.version == version:
            self._current.change_client(patch_state="applied", **named)
            return
        if client.mode == "no-apply":
            self._current.change_client(patch_state="unapplied", **named)
            return
        lock = f"{COMMON}/locks/{lock_name(host.kernel.full or '', version)}"
        if (self._current.root / lock).exists():
            self.log("Module may have caused kernel crash! Not inserting module.")
            self.log(f"To override this warning, remove /{lock}")
            self.log(f'during refresh: cannot apply patches: lock file "/{lock}" already exists')
            self._current.change_client(patch_state="apply-failed", **named)
            return
        try:
            payload = self._fetch(host, client, patch)
        except (PayloadError, UnreachableError) as error:
            self.log(f"during refresh: cannot apply patches: {error}")
            self._current.change_client(patch_state="apply-failed", **named)
            return
        self._insert(payload, named)

    def _fetch(self, host: Description, client: Client, patch: dict[str, t.Any]) -> Payload:
        url = urllib.parse.urljoin(self._url(client, "/"), str(patch["url"]))
        answer = host_network(host, client, self._current.root, self._server).request("GET", url)
        if answer.status != 200:
            raise PayloadError(f"bad server status {answer.status} (URL: {url})")
        key = self._current.root / "snap/canonical-livepatch" / snap_revision(client) / "keys" / "livepatch-kmod.x509"
        certificate = key.read_bytes() if key.exists() else None
        payload = open_payload(answer.content, str(patch["sha256"]), certificate)
        if payload.release != identify(host.kernel).release:
            raise PayloadError("Payload does not match current kernel version.")
        folder = self._current.root / COMMON / "payload"
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.ko"):
            old.unlink()
        (folder / f"{payload.name}.ko").write_bytes(payload.content)
        return payload

    def _insert(self, payload: Payload, named: dict[str, t.Any]) -> None:
        """Insert the module into the kernel, which takes the time that the description defines."""
        host, client = self._ready()
        self.kernel_log(f"livepatch: enabling patch '{payload.name}'")
        if client.apply_fails:
            self.kernel_log(f"livepatch: failed to enable patch '{payload.name}'")
            self.log("during refresh: cannot apply patches: insmod: ERROR: could not insert module: Invalid parameters")
            self._current.change_client(patch_state="apply-failed", **named)
            return
        if not host.kernel.key:
            self.kernel_log(
                f"{payload.name}: module verification failed: signature and/or required key missing - tainting kernel"
            )
        self.kernel_log(f"{payload.name}: livepatch: tainting kernel with TAINT_LIVEPATCH")
        duration = seconds(client.apply_takes)
        in_transition = duration > 0 or client.held_by is not None
        module = Module(
            name=payload.name,
            version=named["patch_version"],
            build_id=payload.build_id,
            srcversion=payload.srcversion,
            transition=in_transition and shows_transition(host),
            held_by=client.held_by,
        )

        def update(host: Description) -> Description:
            client = dataclasses.replace(
                host.client or Client(), patch_state="applying" if in_transition else "applied", **named
            )
            return dataclasses.replace(host, client=client, module=module)

        self._current.change(update)
        if not in_transition:
            self.kernel_log(f"livepatch: '{payload.name}': patching complete")
        elif client.held_by is None:
            timer = threading.Timer(duration, self.finish)
            timer.daemon = True
            timer.start()

    # The host's logs.

    def log(self, line: str, process: str = "canonical-livepatch[1039]") -> None:
        """Add a line of the daemon, or of systemd about it, to the host's system log."""
        self._append(_SYSLOG, f"{process}: {line}")

    def kernel_log(self, line: str) -> None:
        """Add a line to the log of the kernel."""
        uptime = seconds(self._current.describe().kernel.booted)
        self._append(_KERNEL_LOG, f"[{uptime:>5}.{dt.datetime.now().microsecond:06}] {line}")

    def _append(self, path: str, line: str) -> None:
        with (self._current.root / path).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _fixes(names: Sequence[t.Any]) -> tuple[Fix, ...]:
    return tuple(Fix(name) if isinstance(name, str) else Fix(**name) for name in names)


def _with_loaded_module(host: Description) -> Description:
    """Return the host with its loaded patch in the description, independent of the status of its client."""
    return dataclasses.replace(host, module=loaded_module(host) or host.module)


def _disabled(host: Description) -> Description:
    """Return the host without its registration; the loaded patch stays."""
    if host.client is None:
        return host
    client = dataclasses.replace(host.client, enabled=False, machine_token=None, patch_version="", fixes=())
    return dataclasses.replace(_with_loaded_module(host), client=client)


def _applied(host: Description) -> Description:
    client, module = host.client, host.module
    if client is None or module is None or client.patch_state != "applying":
        return host
    client = dataclasses.replace(client, patch_state="applied", held_by=None)
    return dataclasses.replace(host, client=client, module=dataclasses.replace(module, transition=False, held_by=None))


def _summary(host: Description) -> str:
    """Return the three lines with which ``refresh`` reports the status of a host."""
    client = host.client or Client()
    patched = "true" if client.patch_state in ("applied", "nothing-to-apply") else "false"
    kernel = identify(host.kernel).status_name
    return f'kernel: {kernel}\nfully-patched: {patched}\nversion: "{client.patch_version}"\n'
