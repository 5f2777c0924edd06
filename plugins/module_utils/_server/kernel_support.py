# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The livepatch server's answer whether it supports a kernel, which needs no credentials."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse

from .._text import mask_credentials
from .download import Downloader, ServerError

HOSTED = "https://livepatch.canonical.com"
"""The server of a client that is not configured with another one."""

_ANSWER_LIMIT = 1 << 16
_STATUSES = frozenset({"supported", "unsupported", "kernel-upgrade-required", "kernel-end-of-life", "unknown"})


@dataclasses.dataclass(frozen=True, slots=True)
class KernelQuestion:
    """A kernel as the server is asked about it; `build_date` is RFC 3339 or ``unknown``."""

    kernel_version: str
    flavour: str
    architecture: str
    codename: str
    build_date: str

    def url(self, server: str) -> str:
        """Return the URL of the question. Source: API description of the livepatch server."""
        query = urllib.parse.urlencode(
            {
                "kernel-version": self.kernel_version,
                "flavour": self.flavour,
                "architecture": self.architecture,
                "codename": self.codename,
                "build-date": self.build_date,
            }
        )
        return f"{server.rstrip('/')}/v1/api/kernels/supported?{query}"


def ask_kernel_supported(downloader: Downloader, server: str, question: KernelQuestion) -> str:
    """Return the status that the server reports for a kernel.

    It is supported, unsupported, kernel-upgrade-required, kernel-end-of-life or unknown. Raises `LivepatchError`:
    `ServerError`, or ``library_missing``. An object without the key ``Supported`` is an answer of an old server.
    """
    data = downloader.read(question.url(server), _ANSWER_LIMIT)
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ServerError(f"the server {mask_credentials(server)} answered in an unknown form")
    return _status(answer.get("Supported"))


def _status(supported: object) -> str:
    # Old servers answered true for a supported kernel, and null, another value or no value for any other kernel.
    if not isinstance(supported, str):
        return "supported" if supported is True else "unsupported"
    status = supported.lower()
    return status if status in _STATUSES else "unknown"
