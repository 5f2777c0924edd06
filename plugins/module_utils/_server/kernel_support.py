# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The livepatch server, as far as it answers without credentials."""

from __future__ import annotations

import dataclasses
import urllib.parse

HOSTED = "https://livepatch.canonical.com"
"""The server that a client talks to unless it is configured otherwise."""

_TIMEOUT_SECONDS = 10.0
_WORDS = frozenset({"supported", "unsupported", "kernel-upgrade-required", "kernel-end-of-life", "unknown"})


class ServerError(Exception):
    """The server gave no usable answer. The message says which server, and what happened."""


@dataclasses.dataclass(frozen=True, slots=True)
class KernelQuestion:
    """A kernel as the server asks for it; `build_date` is RFC 3339 or ``unknown``."""

    kernel_version: str
    flavour: str
    architecture: str
    codename: str
    build_date: str

    def url(self, server: str) -> str:
        """Where the question is asked. Source: API description of the livepatch server."""
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


def ask_kernel_supported(server: str, question: KernelQuestion) -> str:
    """The server's word for a kernel: supported, unsupported, kernel-upgrade-required, kernel-end-of-life, unknown.

    Raises `ServerError`.
    """
    try:
        # Here, as only who asks a server needs it: looking at hosts must work without, and not wait for it.
        import requests
    except ImportError as error:
        message = "the Python package requests is missing on the controller: pip install requests"
        raise ServerError(message) from error
    try:
        response = requests.get(question.url(server), timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
        answer = response.json()
    except requests.RequestException as error:
        raise ServerError(f"{server} did not say whether it supports the kernel: {error}") from error
    if not isinstance(answer, dict) or "Supported" not in answer:
        raise ServerError(f"{server} answered in a form that is not known")
    return _word(answer["Supported"])


def _word(supported: object) -> str:
    # Servers before the words said true for a supported kernel and null for any other.
    if supported is True:
        return "supported"
    word = str(supported).lower()
    return word if word in _WORDS else "unknown"
