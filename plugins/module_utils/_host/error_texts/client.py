# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of the client and of the livepatch server."""

from __future__ import annotations

from .families import CLOCK, CODE, OTHER_NAME, REFUSED, UNAVAILABLE, UNREACHABLE, UNTRUSTED
from .row import FORUM, PRO, row

ROWS = (
    # The server's text about a token comes first, because its status (403) is part of the same text.
    row(
        "seats_used_up",
        "client livepatch_server",
        [
            r"\b(?:machine|device|client|seat)s?\b.{0,40}(?<!rate )(?<!time )\blimit\b",
            r"(?<!rate )(?<!time )\blimit\b.{0,40}\b(?:machine|device|client|seat)s?\b",
            r"too many (?:machine|device|client|seat)s|maximum number of (?:machine|device|client|seat)s",
            r"no (?:free |more )?seats?\b",
        ],
        (
            "client",
            (
                "bad server status 403 (URL: https://livepatch.example.com/api/machine-tokens):"
                ' {"error": "machine limit reached for this token"}'
            ),
            "made up: the text is not published",
        ),
        ("client", "too many machines are registered with this token", "made up: the text is not published"),
    ),
    row(
        "machine_token_invalid",
        "client livepatch_server",
        [
            r"(?:invalid|unknown|expired|revoked) machine[ -]token",
            r"machine[ -]token (?:is )?(?:invalid|unknown|expired|revoked|not (?:valid|found))",
            r"unknown machine\b|machine (?:is )?not (?:found|registered)",
        ],
        (
            "client",
            (
                "Bad server status code: 403. URL: https://livepatch.example.com/api/machine/xxx"
                ' {"error": "Invalid Machine Token"}'
            ),
            "juju4/ansible-harden",
        ),
    ),
    row(
        "bad_token",
        "client livepatch_server contract_server",
        [
            r"(?:unknown|invalid|expired|revoked) auth-?token",
            r"auth-?token .{0,20}\b(?:invalid|unknown|expired|revoked|not (?:valid|found))",
            r"\bunauthori[sz]ed\b",
            r"\b(?:contract|subscription|resource token)\b.{0,40}\bexpired\b|\bexpired (?:contract|subscription)\b",
            CODE.format("401"),
        ],
        (
            "client",
            (
                "2019/06/14 16:23:17 error executing enable: cannot enable machine: bad server status 403 (URL:"
                ' https://livepatch.example.com/api/machine-tokens): {"error": "Unknown Auth-Token"}'
            ),
            f"{FORUM} 2019-06-14",
        ),
        ("client", "Could not retrieve client information.: unauthorized", f"{FORUM} 2022-11-11"),
        (
            "pro",
            (
                "Unable to enable Livepatch: Failed running command '/snap/bin/canonical-livepatch enable <REDACTED>'"
                " [exit(1)]. Message: Could not retrieve client information.: unauthorized"
            ),
            "canonical/ubuntu-pro-client#3385",
        ),
        ("pro", "Unable to enable Livepatch: Invalid Auth-Token provided to livepatch.", "canonical/ubuntu-pro-client"),
        (
            "pro",
            'Error connecting to https://contracts.canonical.com/v1/x: 401 {"code": "unauthorized"}',
            PRO,
        ),
    ),
    row(
        "no_key",
        "client",
        [r"no key provided"],
        ("client", "2019/06/14 16:22:40 error executing enable: No key provided.", f"{FORUM} 2019-06-14"),
    ),
    row(
        "crash_lock",
        "client",
        [r"may have caused kernel crash|lock file .{1,300} already exists"],
        (
            "client",
            (
                "during refresh: cannot apply patches: lock file"
                ' "/var/snap/canonical-livepatch/common/locks/livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2" already'
                " exists"
            ),
            f"{FORUM} 2019-08-20",
        ),
    ),
    row(
        "socket_unavailable",
        "client",
        [r"the daemon's socket does not exist"],
        ("client", "the daemon's socket does not exist", "shell/client_write.sh"),
    ),
    row(
        "clock_wrong",
        "client livepatch_server",
        [*CLOCK],
        (
            "client",
            (
                "error executing enable: cannot enable machine: Post"
                ' "https://livepatch.example.com/api/machine-tokens":'
                " x509: certificate has expired or is not yet valid: current time 2016-02-11T16:28:04Z is before"
                " 2024-01-01T00:00:00Z"
            ),
            "Go, crypto/x509",
        ),
        (
            "client",
            (
                "Couldn't send req: Post https://livepatch.example.com/api/machine-tokens: x509: certificate has"
                " expired or is not yet valid. Server communication failed."
            ),
            "Go, crypto/x509",
        ),
    ),
    row(
        "tls_wrong_name",
        "client livepatch_server",
        [*OTHER_NAME],
        (
            "client",
            (
                'livepatchd error: cannot use remote server: Get "https://192.0.2.1/": x509: cannot validate'
                " certificate for 192.0.2.1 because it doesn't contain any IP SANs"
            ),
            "Go, crypto/x509",
        ),
    ),
    row(
        "tls_untrusted",
        "client livepatch_server",
        [*UNTRUSTED],
        (
            "client",
            (
                "2018/09/03 18:29:16 error executing enable: Couldn't send req: Post"
                " https://livepatch.example.com/api/machine-tokens: x509: certificate signed by unknown authority."
                " Server communication failed."
            ),
            f"{FORUM} 2018-09-03",
        ),
    ),
    row(
        "server_error",
        "client livepatch_server",
        [*UNAVAILABLE],
        (
            "client",
            (
                'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed: bad'
                " server status 503: sorry"
            ),
            "canonical/ubuntu.com#14625",
        ),
        (
            "client",
            "Bad server status code: 500. URL: https://livepatch.example.com/api/machine-tokens",
            f"{FORUM} 2020-08-30",
        ),
        ("client", "livepatch check failed: 502 Bad Gateway", "canonical/ubuntu.com#14716"),
    ),
    row(
        "server_refused",
        "client livepatch_server",
        [*REFUSED],
        (
            "client",
            "bad server status 403 (URL: https://livepatch.example.com/api/machine-tokens): no",
            "in the form of the clients of 2019",
        ),
    ),
    row(
        "contract_server_refused",
        "contract_server",
        [*REFUSED],
        ("pro", "Error connecting to https://contracts.canonical.com/v1/x: 404 not found", PRO),
    ),
    row(
        "contract_server_unreachable",
        "contract_server",
        [*UNREACHABLE, r"authentication server|failed to (?:access|connect to)|canonical servers"],
        (
            "pro",
            "Failed to connect to authentication server Check your Internet connection and try again.",
            "canonical/ubuntu-pro-client#2786",
        ),
        (
            "pro",
            (
                "Failed to connect to https://contracts.canonical.com/v1/context/machines/token [Errno -3] Temporary"
                " failure in name resolution"
            ),
            PRO,
        ),
    ),
    row(
        "server_unreachable",
        "client livepatch_server",
        [*UNREACHABLE],
        (
            "client",
            (
                "2019/06/14 09:38:08 error executing enable: cannot enable machine: cannot send request: Post"
                " https://livepatch.example.com/api/machine-tokens: dial tcp: lookup livepatch.example.com on [::1]:53:"
                " dial udp [::1]:53: connect: cannot assign requested address"
            ),
            f"{FORUM} 2019-06-14",
        ),
        (
            "client",
            (
                'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed: Post'
                ' "https://livepatch.example.com/v1/client/x": dial tcp 192.0.2.1:443: i/o timeout'
            ),
            "Go, net",
        ),
    ),
    row(
        "registration_failed",
        "client livepatch_server",
        [r"failed to register client|could not retrieve client information"],
        (
            "client",
            'failed to register client: POST request to "https://livepatch.example.com/v1/client/x" failed',
            f"{FORUM} 2022-06-09",
        ),
        (
            "client",
            (
                "Could not retrieve client information.: GET request to"
                ' "https://livepatch.example.com/v1/client/x/info" failed'
            ),
            f"{FORUM} 2022-06-09",
        ),
    ),
    row(
        "server_unreachable",
        "client livepatch_server",
        [r'\b(?:GET|POST|PUT|DELETE) request to "?https?://[^ ]{1,300} failed'],
        (
            "client",
            (
                "livepatch check failed: POST request to"
                ' "https://livepatch.example.com/v1/client/x/updates" failed, retrying in 30s.'
            ),
            f"{FORUM} 2022-07-02",
        ),
    ),
    row(
        "not_enabled",
        "client",
        [r"machine is not enabled"],
        (
            "client",
            "Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the token obtained",
            "canonical/ubuntu-pro-client, features/livepatch.feature",
        ),
    ),
    row(
        "setting_refused",
        "client livepatch_server",
        [r"executing config|unknown (?:config|key|setting)|invalid (?:config|key|setting|value)"],
        (
            "client",
            'error executing config: unknown configuration key "log-level"',
            "in the form of the clients of 2016",
        ),
    ),
)
