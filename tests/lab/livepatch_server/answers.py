# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The answers of the server, as functions of a request and the state."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import typing as t
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from .faults import Fault
from .kernels import Kernels
from .state import RefusalError, State

HEALTH = "Canonical Livepatch Health service, version v1.14.3"
CONTRACT = "/v1/context/machines/token"
_SUPPORT_QUERY = ("kernel-version", "flavour", "architecture", "codename", "build-date")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclasses.dataclass(frozen=True)
class Request:
    """A request. `base` is the address that the peer uses for the server; `body` is the JSON object, or empty."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, t.Any]
    base: str

    @property
    def machine_token(self) -> str | None:
        """Return the token after ``Authorization: Bearer``, or None."""
        kind, _space, token = (self.headers.get("Authorization") or "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else None


@dataclasses.dataclass(frozen=True)
class Answer:
    """A status and a body: bytes, or `size` bytes of a file from `start`."""

    status: int
    kind: str = "text/plain"
    body: bytes | Path = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    start: int = 0
    size: int | None = None

    @property
    def length(self) -> int:
        """Return the size of the body in bytes."""
        if self.size is not None:
            return self.size
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size


class UnreadableError(Exception):
    """The request is malformed: status 400."""


class Answers:
    """The answers to all requests."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._kernels = Kernels()

    def answer(self, request: Request, fault: Fault) -> Answer:
        """Return the answer to a request, changed by the faults that concern its content."""
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, pattern, reply in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match and wanted == method:
                try:
                    return reply(self, request, fault, *(urllib.parse.unquote(part) for part in match.groups()))
                except RefusalError as refusal:
                    return as_json(403, {"error": str(refusal)})
                except UnreadableError as error:
                    return as_json(400, {"error": str(error)})
        known = any(pattern.fullmatch(request.path) for _method, pattern, _reply in _ROUTES)
        return Answer(405, body=b"405 method not allowed\n") if known else Answer(404, body=b"404 page not found\n")

    def _health(self, _request: Request, _fault: Fault) -> Answer:
        return Answer(200, body=HEALTH.encode())

    def _kernel(self, request: Request, fault: Fault) -> Answer:
        missing = [key for key in _SUPPORT_QUERY if key not in request.query]
        if missing:
            raise UnreadableError(f"missing {', '.join(missing)}")
        codename, architecture, kernel, flavour = (
            request.query[key] for key in ("codename", "architecture", "kernel-version", "flavour")
        )
        support = self._kernels.supported(codename, architecture, kernel, flavour)
        return as_json(200, {"Supported": fault.get("supported", support)})

    def _enable(self, request: Request, _fault: Fault) -> Answer:
        held = self._state.register(_text(request, "machine-id"), _text(request, "auth-token"))
        return as_json(200, {"machine-token": held["machine_token"]})

    def _register(self, request: Request, _fault: Fault, machine: str) -> Answer:
        held = self._state.register(machine, _text(request, "auth-token"))
        return as_json(200, {"machine-token": held["machine_token"], "tier": held["tier"]})

    def _release(self, request: Request, _fault: Fault, machine: str) -> Answer:
        self._state.release(machine, request.machine_token)
        return as_json(200, {})

    def _contract(self, request: Request, _fault: Fault) -> Answer:
        return as_json(200, {"resourceToken": self._state.resource_token(request.machine_token)})

    def _info(self, request: Request, _fault: Fault, machine: str) -> Answer:
        held = self._state.check(machine, request.machine_token)
        return as_json(200, {"machine-id": machine, "tier": held["tier"], "registered-at": held["registered_at"]})

    def _check(self, request: Request, fault: Fault, machine: str) -> Answer:
        if request.machine_token is None:
            raise RefusalError("Invalid Machine Token")
        return self._updates(request, fault, machine)

    def _updates(self, request: Request, fault: Fault, machine: str) -> Answer:
        held = self._state.check(machine, request.machine_token)
        kernel, architecture = _text(request, "kernel"), _text(request, "architecture")
        # Old clients use the kernel's name of the architecture.
        architecture = {"x86_64": "amd64"}.get(architecture, architecture)
        of_table = self._kernels.supported_by_name(architecture, kernel)
        support = fault.get("supported", self._state.support().get(kernel, of_table))
        patch = self._state.newest_patch(kernel, architecture, held["tier"]) if support == "supported" else None
        if patch is not None:
            sha256 = patch["sha256"]
            patch = {
                "version": patch["version"],
                "url": f"{request.base}/v1/patches/{urllib.parse.quote(patch['filename'])}",
                "sha256": sha256[::-1] if fault.get("hash") else sha256,
                "filename": patch["filename"],
                "fixes": patch["fixes"],
            }
        return as_json(200, {"supported": support, "patch": patch})

    def _patch(self, request: Request, fault: Fault, name: str) -> Answer:
        if name not in self._state.patches():
            return Answer(404, body=b"404 page not found\n")
        return _file(request, fault, self._state.folder / "patches" / name)

    def _any_file(self, request: Request, fault: Fault, name: str) -> Answer:
        path = self._state.folder / "files" / name
        return _file(request, fault, path) if path.is_file() else Answer(404, body=b"404 page not found\n")


_Reply = t.Callable[..., Answer]
_ROUTES: list[tuple[str, re.Pattern[str], _Reply]] = [
    (method, re.compile(pattern), reply)
    for method, pattern, reply in [
        ("GET", "/", Answers._health),
        ("GET", "/v1/api/kernels/supported", Answers._kernel),
        ("POST", "/api/machine-tokens", Answers._enable),
        ("PUT", "/api/machine/([^/]+)", Answers._check),
        ("DELETE", "/api/machine/([^/]+)", Answers._release),
        ("POST", "/v1/client/([^/]+)", Answers._register),
        ("DELETE", "/v1/client/([^/]+)", Answers._release),
        ("POST", CONTRACT, Answers._contract),
        ("GET", "/v1/client/([^/]+)/info", Answers._info),
        ("POST", "/v1/client/([^/]+)/updates", Answers._updates),
        ("GET", "/v1/patches/([^/]+)", Answers._patch),
        ("GET", "/files/([^/]+)", Answers._any_file),
    ]
]


def as_json(status: int, content: t.Any) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, "application/json", json.dumps(content).encode())


def _text(request: Request, key: str) -> str:
    value = request.body.get(key)
    if not isinstance(value, str) or not value:
        raise UnreadableError(f"missing {key}")
    return value


def _file(request: Request, fault: Fault, path: Path) -> Answer:
    """Return a file, or the requested part of it. Source: RFC 9110, 13.1 (conditions) and 14 (ranges)."""
    size, tag = path.stat().st_size, _etag(path, path.stat().st_mtime_ns)
    headers = {"ETag": tag, "Accept-Ranges": "bytes"}
    if tag in [each.strip() for each in (request.headers.get("If-None-Match") or "").split(",")]:
        return Answer(304, headers=headers)
    requested = _RANGE.fullmatch(request.headers.get("Range") or "")
    same = request.headers.get("If-Range") in (None, tag)
    if requested is None or not same or fault.get("ranges") is False:
        return Answer(200, "application/octet-stream", path, headers)
    start = int(requested[1])
    end = min(int(requested[2]) + 1 if requested[2] else size, size)
    if start >= end:
        return Answer(416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Answer(206, "application/octet-stream", path, headers, start, end - start)


@functools.lru_cache(maxsize=10_000)
def _etag(path: Path, _modified: int) -> str:
    return f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'
