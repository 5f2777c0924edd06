# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Known texts of failures: each has an id and a cause, and no secret."""

from __future__ import annotations

import re

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.causes import CLIENT_FAILURES
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import client_failures, client_status
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_failures import (
    ClientFailure,
    recognise,
)

TOKEN = "d3b07384d113edec49eaa6238ad5ff00"
SERVER = "https://livepatch.canonical.com"
STAMP = "2019/06/14 16:22:40 "

TEXTS = """\
daemon_down:
  2016/10/19 11:09:41 Error executing enable?auth-token={token}. Connection to the daemon failed: Put
  http://127.0.0.1/enable?auth-token={token}: dial unix /var/snap/canonical-livepatch/15/livepatchd-priv.sock:
  connect: no such file or directory
daemon_down:
  error executing enable: cannot connect to the daemon: Put "http://127.0.0.1/enable": dial unix
  /var/snap/canonical-livepatch/95/livepatchd-priv.sock: connect: connection refused
permission_denied:
  error executing config: cannot connect to the daemon: Put http://127.0.0.1/config: dial unix
  /var/snap/canonical-livepatch/95/livepatchd-priv.sock: connect: permission denied
apparmor:
  cannot change apparmor hat of the support process for mount namespace capture. errmsg: Operation not permitted
interface_not_connected:
  Snappy kernel-module-control interface not connected!
already_enabled:
  2017/08/04 18:03:47 Error executing enable?auth-token={token}. Machine-token already exists! Please use
  'disable' to delete existing machine-token.
already_enabled:
  {stamp} error executing enable: Machine-token already exists! Please use 'disable' to delete
no_key:
  {stamp} error executing enable: No key provided.
bad_token:
  {stamp} error executing enable: cannot enable machine: bad server status 403 (URL:
  {server}/api/machine-tokens): {"error": "Unknown Auth-Token"}
seats_used_up:
  bad server status 403 (URL: {server}/api/machine-tokens): {"error": "machine limit reached for this token"}
seats_used_up:
  too many machines are registered with this token
machine_token_invalid:
  Bad server status code: 403. URL: {server}/api/machine/xxx {"error": "Invalid Machine Token"}
server_unreachable:
  {stamp} error executing enable: cannot enable machine: cannot send request: Post {server}/api/machine-tokens:
  dial tcp: lookup livepatch.canonical.com on [::1]:53: ... connect: cannot assign requested address
tls_untrusted:
  {stamp} error executing enable: Couldn't send req: Post {server}/api/machine-tokens: x509: certificate signed
  by unknown authority. Server communication failed.
not_eligible_kernel:
  {stamp} cannot use livepatch: your kernel "4.15.0-1010-kvm" is not eligible for livepatch updates
platform_unsupported:
  {stamp} error executing enable: Livepatchd error: The platform Ubuntu 19.04 is not supported. exiting.
platform_unsupported:
  livepatchd error: The platform Ubuntu 22.10 is not supported.
registration_failed:
  failed to register client: POST request to "{server}/v1/client/0123/" failed
server_error:
  failed to register client: POST request to "{server}/v1/client/0123" failed: bad server status 503: sorry
registration_failed:
  Could not retrieve client information.: GET request to "{server}/v1/client/0123/info" failed
server_error:
  Bad server status code: 503. URL: {server}/api/machine-tokens the lab was told to fail
server_refused:
  bad server status 418 (URL: {server}/api/machine-tokens): short and stout
daemon_shutting_down:
  error executing config: livepatchd error: daemon shutting down
not_enabled:
  Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the token obtained
crash_lock:
  during refresh: cannot apply patches: lock file
  "/var/snap/canonical-livepatch/common/locks/livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2" already exists
setting_refused:
  error executing config: unknown configuration key "log-level"
not_seeded:
  error: too early for operation, device not yet seeded or device model not acknowledged
snapd_down:
  error: cannot communicate with server: Post "http://localhost/v2/snaps/canonical-livepatch": dial unix
  /run/snapd.socket: connect: no such file or directory
store_unreachable:
  error: cannot install "canonical-livepatch": Post https://store.example/v2/snaps/refresh: dial tcp: lookup
  store.example: no such host
snapd_too_old:
  error: snap "canonical-livepatch" assumes unsupported features: snapd2.15 (try to upgrade snapd)
snap_busy:
  error: snap "canonical-livepatch" has "install-snap" change in progress
channel_unknown:
  error: snap "canonical-livepatch" is not available on 9.x/stable but is available to install on the following
  channels:
apt_locked:
  E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (apt-get)
apt_locked:
  dpkg: error: dpkg frontend lock was locked by another process with pid 1234
snapd_not_in_archive:
  E: Unable to locate package snapd
socket_unavailable:
  the daemon's socket does not exist
pro_token_invalid:
  Invalid token. See https://ubuntu.com/pro/dashboard
pro_already_attached:
  This machine is already attached to 'somebody'
"""


def recorded() -> list[tuple[str, str]]:
    """Return the texts with their ids."""
    found = []
    for entry in re.split(r"^(?=\w+:$)", TEXTS, flags=re.MULTILINE)[1:]:
        cause, _colon, text = entry.partition(":\n")
        words = text.replace("{token}", TOKEN).replace("{server}", SERVER).replace("{stamp}  ", STAMP)
        found.append((cause, " ".join(words.split())))
    return found


@pytest.mark.parametrize(("cause", "text"), recorded())
def test_a_known_text_has_its_id(cause: str, text: str) -> None:
    found = recognise("client", text)
    assert found.id == cause
    assert TOKEN not in found.text
    assert "\n" not in found.text


def test_an_unknown_text_is_quoted_without_tokens() -> None:
    found = recognise("snap", f"something new about {TOKEN}\nand the auth-token: ABCDEFGHIJKLMNOPQR")
    assert found == ClientFailure("snap_failed", "something new about *** and the auth-token: ***")


def test_a_long_text_is_cut_at_its_cause() -> None:
    found = recognise("client", "x " * 1000 + "Unknown Auth-Token")
    assert found == ClientFailure("bad_token", "Unknown Auth-Token")
    assert len(recognise("client", "x " * 1000).text) == 300


def test_a_timeout_counts_only_without_known_text() -> None:
    assert recognise("client", "", timed_out=True).id == "timed_out"
    assert recognise("client", "dial tcp 192.0.2.1:443: i/o timeout", timed_out=True).id == "server_unreachable"


@pytest.mark.parametrize("tool", ["client", "snap", "apt", "pro", "file"])
def test_an_unknown_failure_names_its_tool(tool: str) -> None:
    assert recognise(tool, "").id == f"{tool}_failed"


def test_every_failure_has_a_cause() -> None:
    patterns = (*client_failures._CAUSES, *client_status.STATUS_ERRORS, *client_failures._BROAD_CAUSES)
    assert {cause for cause, _pattern in patterns} <= set(CLIENT_FAILURES)
