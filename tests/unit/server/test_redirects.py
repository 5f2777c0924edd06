# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the rules for redirects."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._server.redirects import (
    RedirectError,
    is_same_server,
    redirect_target,
)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://a.example/b/c", "d?e=f#g", "http://a.example/b/d?e=f"),
        ("http://a.example/b", "https://c.example:8443/", "https://c.example:8443/"),
        ("https://a.example/b", "//c.example/d", "https://c.example/d"),
        ("http://me:secret@a.example:8080/b", "/c", "http://a.example:8080/c"),
        ("http://a.example/b", "http://you:word@[::1]:80/c", "http://[::1]:80/c"),
    ],
)
def test_a_target_has_no_credentials(url: str, location: str, target: str) -> None:
    assert redirect_target(url, location) == target


@pytest.mark.parametrize(
    ("url", "location", "message"),
    [
        ("https://a.example/", "http://a.example/", "redirects from HTTPS to http://a.example/"),
        ("https://a.example/", "file:///etc/passwd", "redirects from HTTPS to "),
        ("http://a.example/", "ftp://a.example/", "is not an HTTP URL"),
        ("http://a.example/", "http://:80/c", "is not an HTTP URL"),
        ("http://a.example/", "http://[1/", "redirects to an invalid URL"),
        ("http://a.example/", "http://a.example:99999/", "redirects to an invalid URL"),
    ],
)
def test_other_targets_are_refused(url: str, location: str, message: str) -> None:
    with pytest.raises(RedirectError, match=message):
        redirect_target(url, location)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("http://a.example/c", True),
        ("http://a.example:80/c", True),
        ("https://a.example/c", True),
        ("https://a.example:8443/c", False),
        ("http://a.example:8080/c", False),
        ("http://b.example/c", False),
        ("http://a.example.b.example/c", False),
    ],
)
def test_credentials_are_for_one_server(other: str, same: bool) -> None:
    assert is_same_server("http://me:secret@A.example/b", other) is same


def test_credentials_never_leave_https() -> None:
    assert not is_same_server("https://a.example/", "http://a.example/")
