# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of text that is shown: escapes, width, credentials."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._text import (
    mask_credentials,
    mask_url,
    pad,
    shorten,
    user_and_password,
    visible,
    visible_lines,
    visible_message,
    width,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4.4.0-168.197~16.04.1-generic", "4.4.0-168.197~16.04.1-generic"),
        ("漢字 é", "漢字 é"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202egpj", r"\u202egpj"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("e\u0301\u20dd", r"e\u0301\u20dd"),
    ],
)
def test_invisible_characters_are_named(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY_TEXT)
def test_only_line_ends_and_tabs_stay_invisible(text: str) -> None:
    shown = visible_lines(text)
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert (shown.count("\n"), shown.count("\t")) == (text.count("\n"), text.count("\t"))


@pytest.mark.parametrize("text", ["m" * 2001, "\x1b" * 600, "m" * 1_000_000])
def test_a_message_is_bounded(text: str) -> None:
    shown = visible_message(text)
    assert (len(shown), shown[-1]) == (2000, "…")
    assert visible_message("m" * 1999 + "\u00e9") == "m" * 1999 + "\u00e9"


@given(ANY_TEXT)
def test_visible_text_can_be_printed_and_encoded(text: str) -> None:
    assert visible(text).isprintable()
    visible(text).encode("utf-8")


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("漢字", 4), ("ﾊﾝ", 2), ("\uff21", 2)])
def test_width_matches_the_terminal(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("ab  cdef", 5, "ab…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
    ],
)
def test_long_text_ends_with_an_ellipsis(text: str, columns: int, shown: str) -> None:
    assert shorten(text, columns) == shown


@given(ANY_TEXT, st.integers(1, 40))
def test_padded_text_fills_its_columns(text: str, columns: int) -> None:
    assert width(pad(visible(text), columns)) == columns


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://me:secret@proxy.example.com:3128", "http://***@proxy.example.com:3128"),
        ("socks5://me@proxy", "socks5://***@proxy"),
        ("https://me:se@cr@et@proxy/path", "https://***@proxy/path"),
        ("https://me:se/cr#e?t@proxy/path", "https://***@proxy/path"),
        ("https://me:se:cr://et@proxy", "https://***@proxy"),
        ("me:secret@proxy:3128", "***@proxy:3128"),
        ("secret@proxy", "***@proxy"),
        ("//me:secret@proxy", "***@proxy"),
        ("http://a:b@c and https://d:e@f/g failed", "http://***@c and https://***@f/g failed"),
        ("http://a:b@c,https://d:e@f", "http://***@c,https://***@f"),
        ("['http://a:b@c','https://host/']", "['http://***@c','https://host/']"),
        ("cannot connect to http://a:b@c: refused", "cannot connect to http://***@c: refused"),
        ("https://example.com:8443/a?b=c#d", "https://example.com:8443/a?b=c#d"),
        ("http://@proxy", "http://***@proxy"),
        ("http://me:se cr et@proxy:3128", "http://***@proxy:3128"),
        ("proxy http://me:12 se@cr et@proxy: refused", "proxy http://***@proxy: refused"),
        ("http://a:b c@d, https://e:f g@h/", "http://***@d, https://***@h/"),
        ("GET https://host/ by me:secret@proxy", "GET https://host/ by ***@proxy"),
        ("no URL at all", "no URL at all"),
        ("", ""),
    ],
)
def test_credentials_are_masked(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked
    assert mask_credentials(masked) == masked


def test_credentials_can_be_removed() -> None:
    assert mask_credentials("http://me:secret@proxy:3128", mask="") == "http://proxy:3128"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("http://me:se cret@proxy:3128", "http://***@proxy:3128"),
        ("http://my name:se@cr://e t@proxy", "http://***@proxy"),
        ("my name:se cret@proxy", "***@proxy"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("", ""),
    ],
)
def test_a_single_url_is_masked_with_its_blanks(url: str, masked: str) -> None:
    assert mask_url(url) == mask_url(masked) == masked


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("http://me:se@cr/et@proxy:3128/a", "me:se@cr/et"),
        ("https://example.com/list", ""),
        ("/srv/me@there/list", ""),
        ("/srv/list", ""),
    ],
)
def test_credentials_of_a_url_are_found(url: str, secret: str) -> None:
    assert user_and_password(url) == secret


# Spaces end a URL, and "://" after a comma or a bracket begins another one.
_SECRETS = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1).filter(lambda text: "://" not in text)


@given(_SECRETS, _SECRETS, st.sampled_from(["", "http://", "https://", "socks5://", "HTTP://"]))
def test_no_password_is_shown(user: str, password: str, scheme: str) -> None:
    secret = f"{user}:{password}9Z"
    assert mask_credentials(f"{scheme}{secret}@proxy:3128").endswith("***@proxy:3128")
    assert f"{password}9Z" not in mask_credentials(f"tried {scheme}{secret}@proxy:3128, then gave up")


@pytest.mark.parametrize("unit", ["@", "a@", "://", "http://", "http://a@", "a:b/", " @"])
def test_a_megabyte_is_masked_at_once(unit: str) -> None:
    started = time.process_time()
    mask_credentials(unit * (2**20 // len(unit)) + "@")
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://h/list?sv=1&sig=a%2Fb=&x=1", "https://h/list?sv=1&sig=***&x=1"),
        (
            "cannot download https://h/a?X-Amz-Signature=0f, then",
            "cannot download https://h/a?X-Amz-Signature=*** then",
        ),
        ("PUT /enable?auth-token=0123: refused", "PUT /enable?auth-token=*** refused"),
        ('{"url": "https://h/?api_key=0f#a"}', '{"url": "https://h/?api_key=***#a"}'),
        ("https://me:pw@h/?TOKEN=0f", "https://***@h/?TOKEN=***"),
        ("https://h/?kernel-version=4.4&flavour=generic", "https://h/?kernel-version=4.4&flavour=generic"),
        ("token=abc", "token=abc"),
    ],
)
def test_secret_parameters_are_masked(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked
    assert mask_credentials(masked) == masked
