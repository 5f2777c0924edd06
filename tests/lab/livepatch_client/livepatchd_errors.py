# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Error messages of the livepatch daemon, for each generation of the client.

The messages come from published outputs. For the cases without one (all seats in use, a current client and an invalid
token), the lab uses messages in the style of the generation.
"""

from __future__ import annotations

from ..hosts.description import Client, Description
from .server_connection import Answer, UnreachableError

NO_TOKEN = "No key provided."
ALREADY_ENABLED = "Machine-token already exists! Please use 'disable' to delete existing machine-token."
SHUTTING_DOWN = "livepatchd error: daemon shutting down"
NOT_SEEDED = "too early for operation, device not yet seeded or device model not acknowledged"
_LTS = ("14.04", "16.04", "18.04", "20.04", "22.04", "24.04")


def unsupported_platform(host: Description, client: Client) -> str | None:
    """Return the error of the daemon on an unsupported release; None on a supported one."""
    release = host.distribution
    if release.id == "ubuntu" and release.version in _LTS:
        return None
    text = f"The platform {release.name} {release.version} is not supported."
    return f"livepatchd error: {text}" if client.numbers >= (10,) else f"Livepatchd error: {text} exiting."


def server_unreachable(client: Client, method: str, url: str, error: UnreachableError) -> str:
    """Return the error of ``enable`` when the server does not answer or is not trusted."""
    if client.numbers >= (10,):
        # A current client names the cause only if the server is not trusted.
        cause = f': {method.title()} "{url}": {error}' if error.tls else ""
        return f'failed to register client: {method} request to "{url}" failed{cause}'
    if client.numbers >= (9,):
        return f"cannot enable machine: cannot send request: {method.title()} {url}: {error}"
    return f"Couldn't send req: {method.title()} {url}: {error}. Server communication failed."


def bad_status(client: Client, method: str, url: str, answer: Answer) -> str:
    """Return the error of ``enable`` when the server refuses or fails."""
    text = answer.content.decode(errors="replace").strip()
    if client.numbers >= (10,):
        return (
            f'failed to register client: {method} request to "{url}" failed: bad server status {answer.status}: {text}'
        )
    if client.numbers >= (6,):
        return f"cannot enable machine: bad server status {answer.status} (URL: {url}): {text}"
    return f"Bad server status code: {answer.status}. URL: {url} {text}"


def information_missing(url: str) -> str:
    """Return the error of ``enable`` when the server has registered the machine but does not return its tier."""
    return f'Could not retrieve client information.: GET request to "{url}" failed'


def server_unusable(url: str, cause: str) -> str:
    """Return the error of ``config`` when the configured server does not answer correctly."""
    return f"livepatchd error: cannot use remote server: Get {url}: {cause}"
