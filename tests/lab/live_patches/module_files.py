# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Module files for the live patches that hosts of the lab have loaded, with valid and with wrong signatures."""

from __future__ import annotations

import functools
import typing as t
from pathlib import Path

from ..fleet import Fleet
from . import signing

PAYLOAD = "var/snap/canonical-livepatch/common/payload"


@functools.cache
def vendor() -> signing.Signer:
    """Return the signer of the lab's patches, with a key of the same size as Canonical's."""
    return signing.make_signer("The Lab's Live Patch Signing", bits=4096)


class Loaded(t.NamedTuple):
    """A live patch in a host's kernel: its module, with build id (hexadecimal) and srcversion as in sysfs."""

    module: str
    build_id: str
    srcversion: str

    def unsigned(self, build_id: str | None = None) -> bytes:
        """Return the module without a signature."""
        note = bytes.fromhex(build_id or self.build_id)
        return signing.module(name=self.module, build_id=note, srcversion=self.srcversion)

    def file(self, signer: signing.Signer | None = None, build_id: str | None = None) -> bytes:
        """Return the file of the module, signed by the vendor or by another signer."""
        return signing.sign(self.unsigned(build_id), signer or vendor())


def loaded(fleet: Fleet, host: str) -> Loaded:
    """Return the only live patch of a host."""
    (module,) = (path.name for path in (fleet.root(host) / "sys/kernel/livepatch").iterdir())
    folder = fleet.root(host) / f"sys/module/{module}"
    note = (folder / "notes/.note.gnu.build-id").read_bytes()
    return Loaded(module, note[16:].hex(), (folder / "srcversion").read_text("ascii").strip())


def put(fleet: Fleet, host: str, content: bytes, name: str | None = None) -> Path:
    """Write a file to the client's folder of patch files, by default with the name of the module."""
    path = fleet.root(host) / PAYLOAD / (name or f"{loaded(fleet, host).module}.ko")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path
