# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The server double: the Livepatch service and its proxy, for the hosts and controllers of the lab.

One process with three listeners: HTTPS, plain HTTP as an on-premises server offers it, and a proxy. All of them use one
folder (`State`), which tests read and change while the server runs.

- ``GET /``: the health page
- ``GET /v1/api/kernels/supported``: the support status of a kernel, from `kernels.yml`
- ``POST /api/machine-tokens`` (clients of 2016 to 2020): ``{auth-token, machine-id}`` gives ``{machine-token}``
- ``PUT /api/machine/<machine-id>`` (their check), with ``Authorization: Bearer <machine-token>``: as ``updates`` below
- ``POST /v1/client/<machine-id>`` (since 2021): ``{auth-token}`` gives ``{machine-token, tier}``
- ``GET /v1/client/<machine-id>/info``: the registration of the machine
- ``POST /v1/client/<machine-id>/updates``: ``{kernel, architecture}`` gives ``{supported, patch}``
- ``DELETE`` of either path of a machine: releases its seat
- ``POST /v1/context/machines/token`` (contracts, for Ubuntu Pro), with ``Authorization: Bearer <contract token>``:
  ``{resourceToken}``, an auth-token for the seats of the contract
- ``GET /v1/patches/<filename>``: an archive, with ETag and ranges
- ``GET /files/<name>``: any file that a test has added, with ETag and ranges

The paths, the errors ``Unknown Auth-Token`` and ``Invalid Machine Token`` and the names of archives are those of the
service. The bodies of the requests since 2021 and the error for a token without seats are not published: the lab
defines them, and the rule that a machine that registers again keeps its seat and gets a new machine-token.
"""

from __future__ import annotations

from .server import Server
from .state import State

__all__ = ["Server", "State"]
