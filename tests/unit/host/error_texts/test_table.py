# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of error texts: each example has its row, families match other wordings, and near misses have none."""

from __future__ import annotations

import re
import time

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import causes
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_failures import recognise
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import plain_text
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.error_texts.row import ErrorText, Example
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.error_texts.table import (
    ERROR_TEXTS,
    TEMPORARY,
    find_error,
)

EXAMPLES = [(row, example) for row in ERROR_TEXTS for example in row.examples]


@pytest.mark.parametrize(("row", "example"), EXAMPLES, ids=lambda value: getattr(value, "id", None))
def test_an_example_has_exactly_its_row(row: ErrorText, example: Example) -> None:
    assert example.source
    assert plain_text(example.text) == " ".join(example.text.split()), "examples have no tokens"
    error = find_error(example.tool, plain_text(example.text))
    assert error is not None
    assert (error[0].id, error[0]) == (row.id, row)


def test_every_row_has_examples_and_a_cause() -> None:
    assert [row.id for row in ERROR_TEXTS if not row.examples] == []
    assert {row.id for row in ERROR_TEXTS} <= set(causes.CLIENT_FAILURES)
    assert {row.id for row in ERROR_TEXTS if row.is_status} <= set(causes.CLIENT_ERRORS)
    assert {row.id for row in ERROR_TEXTS} >= TEMPORARY


# A text has another cause if another program prints it.
STORE = 'Post "https://api.snapcraft.io/v2/snaps/refresh"'
LIVEPATCH = 'Post "https://livepatch.canonical.com/v1/client/x"'
CONTRACTS = "Failed to connect to https://contracts.canonical.com/v1/context/machines/token"
INSTALL = 'error: cannot install "canonical-livepatch":'
THROUGH_PRO = "Unable to install Livepatch client: Failed running command '/usr/bin/snap install x' [exit(1)]. Message:"


@pytest.mark.parametrize(
    ("cause", "tool", "text"),
    [
        ("store_tls_untrusted", "snap", f"{INSTALL} {STORE}: x509: certificate has expired or is not yet valid"),
        ("store_tls_untrusted", "pro", f"{THROUGH_PRO} {INSTALL} {STORE}: x509: certificate has expired or is not yet"),
        ("clock_wrong", "client", f"{LIVEPATCH}: x509: certificate has expired or is not yet valid"),
        ("clock_wrong", "client", f"{LIVEPATCH}: current time 2031-01-01T00:00:00Z is after 2030-05-05T00:00:00Z"),
        ("pro_tls_untrusted", "pro", f"{CONTRACTS} [SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired"),
        ("store_error", "snap", f"{INSTALL} got unexpected HTTP status code 500 via POST to {STORE[5:]}"),
        ("store_error", "snap", f"{INSTALL} got unexpected HTTP status code 408 via POST to {STORE[5:]}"),
        ("store_error", "snap", f"{INSTALL} got unexpected HTTP status code 429 via POST to {STORE[5:]}"),
        ("store_error", "pro", f"{THROUGH_PRO} {INSTALL} got unexpected HTTP status code 503 via POST to {STORE[5:]}"),
        ("server_error", "client", f"{LIVEPATCH} failed: server returned status 504: <html>504 Gateway Time-out"),
        (
            "server_error",
            "client",
            "POST request to https://livepatch.canonical.com/v1/client/x failed: 500 Internal Server Error",
        ),
        ("server_error", "pro", "Unable to enable Livepatch: POST request to https://x/v1/client/x failed: status 503"),
        ("contract_server_error", "pro", f"{CONTRACTS} 502 Bad Gateway"),
        ("store_unreachable", "snap", f"{INSTALL} {STORE}: dial tcp: lookup api.snapcraft.io: server misbehaving"),
        ("server_unreachable", "client", f"{LIVEPATCH}: net/http: TLS handshake timeout"),
        ("server_unreachable", "client", 'Get "https://livepatch.canonical.com/": context deadline exceeded'),
        ("contract_server_unreachable", "pro", f"{CONTRACTS} [Errno 110] Connection timed out"),
        ("proxy_failed", "client", f"{LIVEPATCH}: Proxy Authentication Required"),
        ("proxy_failed", "snap", f"{INSTALL} {STORE}: proxyconnect tcp: dial tcp 10.0.0.1:3128: i/o timeout"),
        ("proxy_failed", "pro", '"http://proxy.example.com:3128" is not working. Not setting as proxy.'),
        ("store_refused", "snap", f"{INSTALL} got unexpected HTTP status code 401 via POST to {STORE[5:]}"),
        ("bad_token", "client", "failed to register client: bad server status 401: Unauthorized"),
        (
            "bad_token",
            "pro",
            'Error connecting to https://contracts.canonical.com/v1/x: 401 {"message": "unauthorized"}',
        ),
        ("tls_wrong_name", "client", f"{LIVEPATCH}: x509: certificate is valid for a.example, not livepatch.example"),
        ("no_client_for_architecture", "snap", 'error: snap "canonical-livepatch" not found'),
        ("no_client_for_architecture", "pro", f'{THROUGH_PRO} error: snap "canonical-livepatch" not found'),
        ("not_executable", "client", 'error: snap "canonical-livepatch" not found: cannot find current revision'),
        ("not_executable", "client", "snap-confine has elevated permissions and is not confined but should be"),
        ("not_executable", "client", "cannot locate base snap core18: No such file or directory"),
        ("not_executable", "client", "/snap/bin/canonical-livepatch: Permission denied"),
        ("snap_failed", "snap", 'error: run hook "configure": snap-confine: error while loading shared libraries'),
        ("snapd_kernel_unsupported", "snap", "error: cannot perform readlinkat() on the mount namespace file"),
        ("snapd_restarting", "snap", "error: snapd is about to reboot the system"),
        ("snapd_kernel_unsupported", "snap", "error: system does not fully support snapd: cannot mount squashfs image"),
        ("snapd_down", "snap", "error: timeout exceeded while waiting for response"),
        (
            "daemon_down",
            "client",
            "error executing status: cannot connect to the daemon: Get http://127.0.0.1/status: EOF",
        ),
        ("daemon_down", "client", "read unix @->/var/snap/x/current/livepatchd.sock: read: connection reset by peer"),
        ("not_executable", "client", "permanently dropping privs did not work: File exists"),
        ("server_unreachable", "client", f"{LIVEPATCH}: remote error: tls: handshake failure"),
        ("disk_full", "snap", "error: cannot write state file: no space left on device"),
        ("server_error", "client", 'livepatch check failed: error response with status 503 (Service Unavailable): "x"'),
        ("server_error", "client", 'error response with status 429 (Too Many Requests): ""'),
        ("bad_token", "client", 'failed to register client: error response with status 401 (Unauthorized): "x"'),
        ("server_refused", "client", 'livepatch check failed: error response with status 403 (Forbidden): ""'),
        ("bad_token", "client", 'error response with status 403 (Forbidden): "the contract has expired"'),
        ("machine_token_invalid", "client", 'error response with status 404 (Not Found): "machine not found"'),
        # The text of the status alone is the answer of a proxy to the request for a tunnel.
        ("proxy_failed", "client", f"{LIVEPATCH}: Forbidden"),
        ("proxy_failed", "snap", f"{INSTALL} {STORE}: Forbidden"),
        ("proxy_failed", "pro", f"{CONTRACTS} Tunnel connection failed: 403 Forbidden"),
        ("proxy_failed", "pro", "To use an HTTPS proxy for HTTPS connections, please install pycurl"),
        ("proxy_failed", "client", f"{LIVEPATCH}: Received HTTP code 403 from proxy after CONNECT"),
        ("clock_wrong", "client", f"{LIVEPATCH}: remote error: tls: expired certificate"),
        ("server_unreachable", "client", f"{LIVEPATCH}: http2: server sent GOAWAY and closed the connection"),
        ("server_unreachable", "client", f"{LIVEPATCH}: stream error: stream ID 5; INTERNAL_ERROR; received from peer"),
        ("server_unreachable", "client", f"{LIVEPATCH}: read tcp 10.0.0.2:4411: use of closed network connection"),
        ("server_unreachable", "client", f"{LIVEPATCH}: tls: oversized record received with length 20527"),
        (
            "store_unreachable",
            "snap",
            '- Download snap "core20" (19) from channel "stable" (stream error: stream ID 3;',
        ),
        ("store_unreachable", "snap", '- Download snap "core20" (19) from channel "stable" (unexpected EOF)'),
        ("pro_tls_untrusted", "pro", "Problem reading SSL CA certificates"),
        ("permission_denied", "client", "error executing refresh: permission denied: please run with sudo"),
        ("not_eligible_kernel", "client", "the kernel 5.11.0-40-generic is not supported by Canonical"),
        (
            "snapd_too_old",
            "snap",
            (
                '- Ensure prerequisites for "x" are available (cannot install snap base "core20": snap "core20" assumes'
                " unsupported features: snapd2.61 (try to refresh snapd))"
            ),
        ),
        ("snap_prerequisite_missing", "snap", '- Mount snap "x" (28) (cannot find required base "core18")'),
        ("channel_unknown", "snap", 'error: requested a non-existing branch on latest/stable for snap "x": y'),
    ],
)
def test_the_speaker_decides_the_cause(cause: str, tool: str, text: str) -> None:
    assert recognise(tool, text).id == cause


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (
            "pro_kernel_refused",
            "One moment\nLivepatch is not available for kernel 5.8.0-1041-azure.\nSupported flavors are: generic",
        ),
        (
            "pro_kernel_refused",
            "Livepatch is not available for kernel 6.1.0-1012-fips.\nSupported flavors are: generic.",
        ),
        ("container", "One moment, checking your subscription first\nCannot install Livepatch on a container."),
        ("container", "Cannot enable Livepatch in an LXD container."),
        ("platform_unsupported", "Livepatch is not available for Ubuntu 23.10 (Mantic Minotaur)."),
        ("kernel_conflict", "Cannot enable Livepatch when FIPS Updates is enabled."),
        ("kernel_conflict", "Cannot enable Livepatch when Real-time kernel is enabled."),
        ("already_enabled", "Livepatch is already enabled.\nSee: sudo pro status"),
        (
            "pro_busy",
            "Unable to perform: pro enable.\n\nOperation in progress: pro.daemon.attempt_auto_attach (pid:99)",
        ),
        ("pro_busy", "Unable to perform: ua attach. Operation in progress: ua refresh (pid:7)"),
        ("pro_token_expired", 'Attach denied:\nContract "abc" is not effective until 2027-01-01'),
        ("pro_token_expired", "Your Ubuntu Pro subscription has expired"),
        ("pro_token_invalid", "Invalid token. See https://ubuntu.com/advantage"),
        ("pro_not_attached", "This machine is not attached to an Ubuntu Advantage subscription."),
        ("pro_not_attached", "To use 'livepatch' you need an Ubuntu Advantage subscription"),
        (
            "no_client_for_architecture",
            "Livepatch is not available for platform ppc64el.\nSupported platforms are: amd64",
        ),
        ("apt_locked", "APT update failed. Another process is running APT."),
        ("not_eligible_kernel", "Unable to enable Livepatch: Your running kernel is not supported by Livepatch."),
        ("snapd_down", "Could not reach the SNAPD API"),
        (
            "not_eligible_kernel",
            "The current kernel (5.4.0-1-generic, x86_64) has reached the end of its livepatch coverage.",
        ),
        ("pro_token_invalid", "Internal Server Error: [https://contracts.canonical.com/v1/x]invalid token: checksum"),
        ("pro_not_attached", "This machine is not attached to a UA subscription."),
        ("already_enabled", "Livepatch already enabled.\nYou may use the canonical-livepatch status command"),
        ("pro_failed", "Something went wrong during the attach process. Check the logs."),
    ],
)
def test_texts_of_the_pro_client_have_their_cause(cause: str, text: str) -> None:
    assert recognise("pro", text).id == cause


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("client", "error: flag provided but not defined: --format"),
        ("client", "kernel module lkp_Ubuntu_4_4_0 loaded"),
        ("client", "loading the kernel module is not supported by this container"),
        ("client", "the server of 2016 listens on port 503"),
        ("client", "update 5034 of 6000 installed"),
        ("client", "the client is limited"),
        ("client", 'Task "refresh" completed succesfully after 2 retries.'),
        ("client", "Client information is recent, not refreshing."),
        ("client", "Error in livepatch check state: check-failed."),
        ("client", "Received context done signal (context canceled), stopping kernel event listener."),
        ("client", "Socket server shutting down."),
        ("client", "livepatch: enabling patch 'lkp_Ubuntu_5_15_0_130_140_generic_110'"),
        ("client", "Starting snap.canonical-livepatch.canonical-livepatchd.service as root"),
        ("client", "machine-token was removed"),
        ("snap", "error: unknown flag `purge'"),
        ("snap", "error: this is revision 503 of the snap"),
        ("pro", "Enabling default service esm-infra"),
        ("pro", "Updating package lists for kernel 5.4.0-1056-azure"),
        ("apt", "E: Sub-process /usr/bin/dpkg returned an error code (1)"),
        ("apt", "dpkg: error: cannot obtain lock: permission denied; are you root?"),
        ("file", "mkdir: cannot create directory: Read-only file system"),
    ],
)
def test_a_near_miss_keeps_its_words(tool: str, text: str) -> None:
    found = recognise(tool, text)
    assert (found.id, found.text) == (f"{tool}_failed", text)


def test_only_status_rows_explain_a_status() -> None:
    assert find_error("client", "dial tcp: lookup livepatch.example.com: no such host", status=True) is None
    error = find_error("client", "System contains non-livepatch tainted modules.", status=True)
    assert error is not None
    assert error[0].id == "tainted_modules"


@pytest.mark.parametrize("tool", ["client", "snap", "pro", "apt", "file"])
def test_patterns_are_fast_on_long_texts(tool: str) -> None:
    hostile = (
        "kernel platform ubuntu 22.10 https://" + "x" * 250 + " canonical-livepatch fips status code machine "
    ) * 170
    start = time.process_time()
    recognise(tool, hostile)
    recognise(tool, "a" * 65000)
    recognise(tool, "status : " * 7000)
    assert time.process_time() - start < 2


def test_examples_name_no_person_and_no_token() -> None:
    for _row, example in EXAMPLES:
        assert not re.search(r"[0-9a-f]{32}|@", example.text)
