# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of the snap store, of proxies, and of full disks."""

from __future__ import annotations

from .families import CLOCK, OTHER_NAME, PROXY, REFUSED, UNAVAILABLE, UNREACHABLE, UNTRUSTED
from .row import PRO, row

ROWS = (
    row(
        "store_tls_untrusted",
        "store",
        [*CLOCK, *OTHER_NAME, *UNTRUSTED],
        (
            "snap",
            (
                'error: cannot refresh: cannot refresh snap-declaration for "core18": Get'
                " https://api.snapcraft.io/api/v1/snaps/assertions/snap-declaration/16/x?max-format=4: x509:"
                " certificate has expired or is not yet valid"
            ),
            "canonical/snapd#8814",
        ),
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": Post https://api.snapcraft.io/v2/snaps/refresh: x509:'
                " certificate signed by unknown authority"
            ),
            "in the form of snapd",
        ),
        (
            "pro",
            (
                "Unable to install Livepatch client: Failed running command '/usr/bin/snap install canonical-livepatch'"
                ' [exit(1)]. Message: error: cannot install "canonical-livepatch": Post'
                ' "https://api.snapcraft.io/v2/snaps/refresh": tls: failed to verify certificate: x509: certificate has'
                " expired or is not yet valid: current time 2016-02-11T16:28:04Z is before 2024-01-01T00:00:00Z"
            ),
            "in the form of Pro and snapd",
        ),
    ),
    row(
        "store_error",
        "store",
        [*UNAVAILABLE],
        (
            "snap",
            (
                "error: cannot refresh: cannot query the store for updates: got unexpected HTTP status code 503 via"
                " POST"
                ' to "https://api.snapcraft.io/v2/snaps/refresh"'
            ),
            "canonical/snapcraft.io#4157",
        ),
        (
            "snap",
            (
                'error: cannot perform the following tasks: - Download snap "canonical-livepatch" (95) from channel'
                ' "stable" (received an unexpected http response code (502) when trying to download'
                " https://api.snapcraft.io/api/v1/snaps/download/x.snap)"
            ),
            "canonical/snapd, store/errors.go",
        ),
        ("snap", "error: too many requests to the snap store", "in the form of snapd"),
    ),
    row(
        "proxy_failed",
        "store livepatch_server contract_server pro",
        [*PROXY],
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": Post https://api.snapcraft.io/v2/snaps/refresh: Proxy'
                " Authentication Required"
            ),
            "Go, net/http",
        ),
        (
            "client",
            (
                'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed:'
                " proxyconnect tcp: dial tcp 192.0.2.7:3128: connect: connection refused"
            ),
            "Go, net/http",
        ),
        ("pro", "Proxy authentication failed", PRO),
        ("pro", '"proxy.example.com:3128" is not a valid url. Not setting as proxy.', PRO),
        (
            "client",
            'failed to register client: Post "https://livepatch.example.com/v1/client/x": Forbidden',
            "Go, net/http: the answer of a proxy to CONNECT",
        ),
    ),
    row(
        "store_refused",
        "store",
        [*REFUSED, r"invalid credentials|you need to log in|unauthori[sz]ed"],
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": got unexpected HTTP status code 403 via POST to'
                ' "https://api.snapcraft.io/v2/snaps/refresh"'
            ),
            "in the form of snapd",
        ),
    ),
    row(
        "disk_full",
        "snapd snap_run pro apt file client",
        [
            r"no space left on device|disk quota exceeded|not enough (?:free )?(?:disk )?space|disk is full",
            r"insufficient (?:free |disk )?space",
        ],
        ("snap", "error: cannot perform the following tasks: - Copy snap data (no space left on device)", "Linux"),
        ("file", "sh: printf: write error: No space left on device", "Linux"),
        (
            "snap",
            (
                'error: insufficient space in "/var/lib/snapd" to perform "install" change for the following snaps:'
                " canonical-livepatch"
            ),
            "canonical/snapd, snapstate",
        ),
    ),
    row(
        "file_system_read_only",
        "snapd snap_run pro apt client",
        [r"read-only file ?system"],
        ("pro", "[Errno 30] Read-only file system: '/var/lib/ubuntu-advantage/lock'", "Linux"),
        (
            "snap",
            "error: cannot perform the following tasks: - Mount snap (mkdir /snap/x: read-only file system)",
            "Linux",
        ),
    ),
    row(
        "store_unreachable",
        "store",
        [
            *UNREACHABLE,
            r"unable to contact (?:the )?snap store|cannot (?:contact|reach|connect to) (?:the )?(?:snap )?store",
            r"store is .{0,20}offline|persistent network error",
        ],
        (
            "snap",
            (
                'error: cannot install "canonical-livepatch": Post https://api.snapcraft.io/v2/snaps/refresh: dial tcp:'
                " lookup api.snapcraft.io on [::1]:53: read: connection refused"
            ),
            "conjure-up/conjure-up#1542",
        ),
        ("snap", "error: unable to contact snap store", "canonical/microcloud#217"),
        (
            "snap",
            (
                'error: cannot refresh snap-declaration for "core": Get'
                " https://api.snapcraft.io/api/v1/snaps/assertions/x:"
                " net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting"
                " headers)"
            ),
            "nextcloud-snap/nextcloud-snap#851",
        ),
    ),
)
