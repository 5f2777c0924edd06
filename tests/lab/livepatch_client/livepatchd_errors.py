# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the livepatch daemon complains of, in the words of each generation.

The words are those that people have published; where nobody did (seats used up, a client of today and a bad token) they
are the lab's own, in the manner of their generation.
"""

from __future__ import annotations

from ..hosts.description import Client, Description
from .server_connection import Answer, UnreachableError

NO_TOKEN = "No key provided."
ALREADY_ENABLED = "Machine-token already exists! Please use 'disable' to delete existing machine-token."
SHUTTING_DOWN = "livepatchd error: daemon shutting down"
NOT_SEEDED = "too early for operation, device not yet seeded or device model not acknowledged"
_LTS = ("14.04", "16.04", "18.04", "20.04", "22.04", "24.04")


def platform(host: Description, client: Client) -> str | None:
    """What the daemon says on a release that it does not know; None on one that it does."""
    release = host.distribution
    if release.id == "ubuntu" and release.version in _LTS:
        return None
    said = f"The platform {release.name} {release.version} is not supported."
    return f"livepatchd error: {said}" if client.numbers >= (10,) else f"Livepatchd error: {said} exiting."


def no_answer(client: Client, method: str, url: str, error: UnreachableError) -> str:
    """The server did not answer the attempt to enable, or is not trusted."""
    if client.numbers >= (10,):
        # A client of today names the cause only where the server is not trusted.
        why = f': {method.title()} "{url}": {error}' if error.tls else ""
        return f'failed to register client: {method} request to "{url}" failed{why}'
    if client.numbers >= (9,):
        return f"cannot enable machine: cannot send request: {method.title()} {url}: {error}"
    return f"Couldn't send req: {method.title()} {url}: {error}. Server communication failed."


def bad_answer(client: Client, method: str, url: str, answer: Answer) -> str:
    """The server refused, or failed."""
    text = answer.content.decode(errors="replace").strip()
    if client.numbers >= (10,):
        return (
            f'failed to register client: {method} request to "{url}" failed: bad server status {answer.status}: {text}'
        )
    if client.numbers >= (6,):
        return f"cannot enable machine: bad server status {answer.status} (URL: {url}): {text}"
    return f"Bad server status code: {answer.status}. URL: {url} {text}"


def no_information(url: str) -> str:
    """The server registered the machine, and then did not say more of it."""
    return f'Could not retrieve client information.: GET request to "{url}" failed'


def server_refused(url: str, cause: str) -> str:
    """A server that was configured did not answer as one."""
    return f"livepatchd error: cannot use remote server: Get {url}: {cause}"
