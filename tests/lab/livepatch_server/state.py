# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The state of the server, as files in a folder: the server and the tests access them under one lock."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import re
import secrets
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_ARCHIVE = re.compile(r"livepatch-(?P<kernel>.+)-(?P<version>[0-9.]+)-(?P<architecture>[0-9a-z]+)\.tar\.[a-z0-9]+")
_TIERS = {
    **dict.fromkeys(("proposed", "edge"), 0),
    **dict.fromkeys(("internal", "beta"), 1),
    **dict.fromkeys(("updates", "candidate"), 2),
    "stable": 3,
}
"""The order of the tiers. A machine gets the patches of its own tier and of later ones."""

SEATS_USED_UP = "machine limit reached for this token"
UNKNOWN_TOKEN = "Unknown Auth-Token"
INVALID_MACHINE = "Invalid Machine Token"


class RefusalError(Exception):
    """The server refuses a request: status 403, with this text as its error."""


class State:
    """The folder of a server.

    ``tokens.json``: ``seats`` (null: no limit) and ``tier`` by auth-token; ``contracts.json``: the same by contract
    token of Ubuntu Pro. ``machines.json``, by machine-id: the ``auth_token`` whose seat it holds, ``machine_token``,
    ``tier``, and the times of registration and of the last check. ``patches.json``: the published patches by file name;
    ``patches/``, ``files/``: the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("patches", "files"):
            (folder / part).mkdir(exist_ok=True)

    # The interface for tests.

    def clear(self) -> None:
        """Reset the state to that of a new server."""
        self.remove_patches()
        for path in (self.folder / "files").iterdir():
            path.unlink()
        with self._locked():
            for name in ("tokens", "contracts", "machines", "support"):
                self._write(name, {})

    def set_tokens(self, tokens: Mapping[str, Mapping[str, t.Any]]) -> None:
        """Accept these tokens and no others: ``{token: {"seats": 3, "tier": "updates"}}``."""
        with self._locked():
            self._write("tokens", _complete(tokens))

    def set_contracts(self, contracts: Mapping[str, Mapping[str, t.Any]]) -> None:
        """Accept these contract tokens and no others, each with its seats and tier."""
        with self._locked():
            self._write("contracts", _complete(contracts))

    def machines(self) -> dict[str, dict[str, t.Any]]:
        """Return the machines that hold a seat, by machine-id."""
        with self._locked():
            return self._read("machines")

    def set_machines(self, machines: Mapping[str, Mapping[str, t.Any]]) -> None:
        """Replace the machines that hold seats: ``{machine_id: {"auth_token": …}}`` is sufficient."""
        with self._locked():
            tokens = self._read("tokens")
            complete = {
                machine: {**_registration(held["auth_token"], tokens.get(held["auth_token"], {})), **held}
                for machine, held in machines.items()
            }
            self._write("machines", complete)

    def add_patch(self, name: str, archive: bytes, *, tier: str = "stable", fixes: Sequence[str] = ()) -> str:
        """Publish an archive for the kernel in its name. Return the SHA-256 that the server will send."""
        parts = _ARCHIVE.fullmatch(name)
        if parts is None or tier not in _TIERS:
            raise ValueError(f"{name} in tier {tier} is not an archive of a patch")
        sha256 = hashlib.sha256(archive).hexdigest()
        entry = {**parts.groupdict(), "sha256": sha256, "tier": tier, "fixes": list(fixes)}
        with self._locked():
            _replace(self.folder / "patches" / name, archive)
            self._write("patches", {**self._read("patches"), name: entry})
        return sha256

    def patches(self) -> dict[str, dict[str, t.Any]]:
        """Return the published patches by file name: kernel, version, architecture, sha256, tier, fixes."""
        with self._locked():
            return self._read("patches")

    def remove_patches(self) -> None:
        """Remove all published patches."""
        with self._locked():
            self._write("patches", {})
            for path in (self.folder / "patches").iterdir():
                path.unlink()

    def set_support(self, statuses: Mapping[str, str]) -> None:
        """Answer a check with these support statuses, by full kernel name, and use the table for all others."""
        with self._locked():
            self._write("support", statuses)

    def support(self) -> dict[str, str]:
        """Return the support statuses that a test has set."""
        with self._locked():
            return self._read("support")

    def put_file(self, name: str, content: bytes) -> None:
        """Serve a file at ``/files/<name>``."""
        _replace(self.folder / "files" / name, content)

    # The operations of the server.

    def resource_token(self, contract_token: str | None) -> str:
        """Return the auth-token of a contract, always the same one. Raises `RefusalError`."""
        with self._locked():
            terms = self._read("contracts").get(contract_token or "")
            if terms is None:
                raise RefusalError("unauthorized")
            token = hashlib.sha256(f"resource token of {contract_token}".encode()).hexdigest()[:32]
            self._write("tokens", {**self._read("tokens"), token: terms})
            return token

    def register(self, machine: str, auth_token: str) -> dict[str, t.Any]:
        """Give a machine a seat of the token, unless it has one already. Raises `RefusalError`."""
        with self._locked():
            token = self._read("tokens").get(auth_token)
            if token is None:
                raise RefusalError(UNKNOWN_TOKEN)
            machines = self._read("machines")
            others = [one for one, held in machines.items() if held["auth_token"] == auth_token and one != machine]
            if token["seats"] is not None and len(others) >= token["seats"]:
                raise RefusalError(SEATS_USED_UP)
            registration = _registration(auth_token, token)
            self._write("machines", {**machines, machine: registration})
            return registration

    def check(self, machine: str, machine_token: str | None) -> dict[str, t.Any]:
        """Return the registration of a machine that checks. Raises `RefusalError`.

        A wrong machine-token is refused. A missing one is accepted, because the service does not publish its rule.
        """
        with self._locked():
            machines = self._read("machines")
            held = machines.get(machine)
            if held is None or machine_token not in (None, held["machine_token"]):
                raise RefusalError(INVALID_MACHINE)
            held["checked_at"] = _now()
            self._write("machines", machines)
            return dict(held)

    def release(self, machine: str, machine_token: str | None) -> None:
        """Release the seat of a machine. Raises `RefusalError`."""
        with self._locked():
            machines = self._read("machines")
            held = machines.get(machine)
            if held is None or machine_token not in (None, held["machine_token"]):
                raise RefusalError(INVALID_MACHINE)
            del machines[machine]
            self._write("machines", machines)

    def newest_patch(self, kernel: str, architecture: str, tier: str) -> dict[str, t.Any] | None:
        """Return the newest patch of a kernel in this tier: an entry of `patches` with its filename, or None."""
        fitting = [
            {"filename": name, **patch}
            for name, patch in self.patches().items()
            if (patch["kernel"], patch["architecture"]) == (kernel, architecture)
            and _TIERS[patch["tier"]] >= _TIERS[tier]
        ]
        return max(fitting, key=lambda patch: [int(part) for part in patch["version"].split(".")], default=None)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Each opened file has its own lock, so threads exclude each other as processes do.
        with (self.folder / "state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self, name: str) -> dict[str, t.Any]:
        try:
            content: dict[str, t.Any] = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def _write(self, name: str, content: t.Any) -> None:
        _replace(self.folder / f"{name}.json", json.dumps(content, indent=1).encode())


def _complete(tokens: Mapping[str, Mapping[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    complete = {token: {"seats": None, "tier": "updates", **terms} for token, terms in tokens.items()}
    invalid = [terms for terms in complete.values() if set(terms) != {"seats", "tier"} or terms["tier"] not in _TIERS]
    if invalid:
        raise ValueError(f"a token has seats and a tier, not {invalid}")
    return complete


def _registration(auth_token: str, token: Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "auth_token": auth_token,
        "machine_token": secrets.token_hex(16),
        "tier": token.get("tier", "updates"),
        "registered_at": _now(),
        "checked_at": None,
    }


def _now() -> str:
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds")


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
