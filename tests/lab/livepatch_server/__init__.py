# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The server double: what the lab's hosts and controllers find at `livepatch_server`, and on the way to it.

One process with three listeners: HTTPS, plain HTTP as an on-premises server offers it, and a proxy. All of them work on
one folder (`State`), which tests read and set while the server runs.

- ``GET /``: the health page
- ``GET /v1/api/kernels/supported``: the word for a kernel, from `kernels.yml`
- ``POST /api/machine-tokens`` (clients of 2016 to 2020): ``{auth-token, machine-id}`` gives ``{machine-token}``
- ``PUT /api/machine/<machine-id>`` (their check), with ``Authorization: Bearer <machine-token>``: as ``updates`` below
- ``POST /v1/client/<machine-id>`` (since 2021): ``{auth-token}`` gives ``{machine-token, tier}``
- ``GET /v1/client/<machine-id>/info``: what is known of the machine
- ``POST /v1/client/<machine-id>/updates``: ``{kernel, architecture}`` gives ``{supported, patch}``
- ``DELETE`` of either path of a machine: frees its seat
- ``POST /v1/context/machines/token`` (contracts, for Ubuntu Pro), with ``Authorization: Bearer <contract token>``:
  ``{resourceToken}``, an auth-token of the contract's seats
- ``GET /v1/patches/<filename>``: an archive, with ETag and ranges
- ``GET /files/<name>``: any file that a test has put there, with ETag and ranges

The paths, the two refusals ``Unknown Auth-Token`` and ``Invalid Machine Token`` and the names of archives are the
service's. The bodies of the calls since 2021 and the text for a token without seats are not published: those are the
lab's own, and so is the rule that a machine that registers again keeps its seat and gets a new machine-token.
"""

from __future__ import annotations

from .server import Server
from .state import State

__all__ = ["Server", "State"]
