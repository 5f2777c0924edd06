# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Known texts of failures: each has an id and a cause, and no secret."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_failures import (
    ClientFailure,
    recognise,
)

TOKEN = "d3b07384d113edec49eaa6238ad5ff00"

QUOTED = {
    "daemon_down": f"2016/10/19 11:09:41 Error executing enable?auth-token={TOKEN}. Connection to the daemon failed:\n"
    f"Put http://127.0.0.1/enable?auth-token={TOKEN}: dial unix /var/snap/canonical-livepatch/15/livepatchd-priv.sock:"
    " connect: no such file or directory",
    "already_enabled": f"2017/08/04 18:03:47 Error executing enable?auth-token={TOKEN}. Machine-token already\nexists!",
    "bad_token": f'bad server status 403 (URL: https://livepatch.example.com): "Unknown Auth-Token", "{TOKEN}"',
}


@pytest.mark.parametrize("cause", QUOTED)
def test_a_known_text_is_one_line_without_tokens(cause: str) -> None:
    found = recognise("client", QUOTED[cause])
    assert found.id == cause
    assert TOKEN not in found.text
    assert "\n" not in found.text


@pytest.mark.parametrize(
    ("tool", "text", "temporary"),
    [
        ("client", "livepatchd error: daemon shutting down", True),
        ("client", "bad server status 503", True),
        ("snap", "got unexpected HTTP status code 503 via POST to https://api.snapcraft.io/v2/snaps/refresh", True),
        ("pro", "Operation in progress: pro attach (pid:1)", True),
        ("client", "bad server status 403", False),
        ("client", "Unknown Auth-Token", False),
        ("client", "something new", False),
    ],
)
def test_only_causes_that_end_by_themselves_are_temporary(tool: str, text: str, temporary: bool) -> None:
    assert recognise(tool, text).temporary is temporary


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
