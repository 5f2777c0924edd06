# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Settings of the client: valid values, comparison, and masking."""

from __future__ import annotations

import base64
import datetime

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_config import (
    SETTINGS,
    effective,
    holds_secret,
    masked,
    parse_config,
    same_value,
)

NOW = datetime.datetime(2026, 3, 1, 4, 0, tzinfo=datetime.timezone.utc)
PASSWORD = "made-up-proxy-password"
PROXY = f"http://fleet:{PASSWORD}@proxy.example.com:3128"


def pem(content: bytes = b"\x30\x03\x02\x01\x01") -> str:
    body = base64.b64encode(content).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("http-proxy", "http://10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("https-proxy", "socks5://[::1]:1080", "socks5://[::1]:1080"),
        ("https-proxy", PROXY, PROXY),
        ("no-proxy", " localhost,.example.com ", "localhost,.example.com"),
        ("ca-certs", pem() + "\n" + pem(), pem() + pem()),
        ("ca-certs", pem().replace("\n", "\r\n"), pem()),
        ("dial-timeout", "1m30s", "1m30s"),
        ("check-interval", 120, "120"),
        ("check-interval", "0060", "60"),
        ("check-interval", 0, "0"),
        ("log-level", "Notice", "notice"),
        ("tls-patch-download", True, "true"),
        ("tls-patch-download", "no", "false"),
        ("remote-server", "https://livepatch.example.com:8443/", "https://livepatch.example.com:8443"),
        ("remote-server", "http://10.0.0.2:8080", "http://10.0.0.2:8080"),
        ("cutoff-date", "2024-10-01T12:00:00Z", "2024-10-01T12:00:00Z"),
        ("cutoff-date", "2026-03-01T05:00:00+02:00", "2026-03-01T05:00:00+02:00"),
        ("cutoff-date", datetime.datetime(2024, 10, 1, 12), "2024-10-01T12:00:00Z"),
        ("cutoff-date", "2024-10-01 12:00:00+00:00", "2024-10-01T12:00:00+00:00"),
        ("patch-delay", "2w3d", "2w3d"),
        ("patch-delay", 0, "0"),
        ("remote-server", None, ""),
        ("ca-certs", "  ", ""),
    ],
)
def test_a_value_becomes_text_for_the_client(key: str, value: object, text: str) -> None:
    assert parse_config({key: value}, NOW) == {key: text}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("http-proxy", "proxy.example.com:3128", "expected a URL with http://"),
        ("https-proxy", "ftp://proxy.example.com", "expected a URL with http://"),
        ("https-proxy", "http://proxy.example.com:port", "expected a URL"),
        ("https-proxy", "http://proxy.example.com:0", "expected a URL"),
        ("https-proxy", 3128, "expected one line of text"),
        ("no-proxy", "one\ntwo", "expected one line of text"),
        ("no-proxy", ["localhost"], "expected one line of text"),
        ("ca-certs", "/etc/ssl/authority.pem", "expected only certificates in PEM"),
        ("ca-certs", pem() + "something else", "expected only certificates in PEM"),
        ("ca-certs", pem(b"\x31\x00"), "certificate 1 is damaged"),
        ("ca-certs", pem() + "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----", "certificate 2 is damaged"),
        ("ca-certs", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "private key"),
        ("dial-timeout", "12", "expected a duration"),
        ("dial-timeout", "2d", "in the units s, m, h"),
        ("dial-timeout", "0s", "greater than zero"),
        ("dial-timeout", True, "expected a duration"),
        ("check-interval", 59, "at least 60"),
        ("check-interval", "-60", "at least 60"),
        ("check-interval", "1h", "expected minutes"),
        ("check-interval", True, "expected minutes"),
        ("log-level", "loud", "expected one of debug, info, notice, warning, error"),
        ("tls-patch-download", 1, "expected true or false"),
        ("remote-server", "livepatch.example.com", "expected a URL with https://"),
        ("remote-server", "https://me:secret@livepatch.example.com", "without user"),
        ("remote-server", "https://livepatch.example.com/?a=b", "without user, query"),
        ("cutoff-date", "2024-10-01", "RFC 3339"),
        ("cutoff-date", "2024-13-01T12:00:00Z", "RFC 3339"),
        ("cutoff-date", "2026-03-01T04:00:00Z", "not in the past"),
        ("cutoff-date", "2027-03-01T04:00:00.5Z", "not in the past"),
        ("patch-delay", "3 days", "expected a duration"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key(key: str, value: object, words: str) -> None:
    with pytest.raises(LivepatchError) as failure:
        parse_config({key: value}, NOW)
    assert f"config: {key}: " in str(failure.value)
    assert words in str(failure.value)
    assert failure.value.id == "config_invalid"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("remote_server", "remote-server"),
        ("ca-cert", "ca-certs"),
        ("httpproxy", "http-proxy"),
        ("loglevel", "log-level"),
    ],
)
def test_an_unknown_setting_suggests_the_nearest_one(key: str, nearest: str) -> None:
    with pytest.raises(LivepatchError, match=f"config: {key}: the client has no such setting; did you mean {nearest}"):
        parse_config({key: "x"}, NOW)


def test_an_unlike_setting_lists_all_settings() -> None:
    with pytest.raises(LivepatchError, match="known settings are http-proxy, https-proxy"):
        parse_config({"zzz": "x"}, NOW)


def test_proxies_and_certificates_come_before_the_server() -> None:
    given = {
        "cutoff-date": "2024-10-01T12:00:00Z",
        "remote-server": "https://livepatch.example.com",
        "ca-certs": pem(),
        "no-proxy": "localhost",
        "https-proxy": PROXY,
    }
    order = list(parse_config(given, NOW))
    assert order == ["https-proxy", "no-proxy", "ca-certs", "remote-server", "cutoff-date"]


def test_no_message_has_a_proxy_password() -> None:
    for value in (PROXY.replace("http", "ftp"), PROXY.replace("3128", "port"), f"{PROXY} "):
        try:
            parse_config({"https-proxy": f"{value} x" if value.endswith(" ") else value}, NOW)
        except LivepatchError as error:
            assert PASSWORD not in str(error)
        else:
            pytest.fail("the value was accepted")


@pytest.mark.parametrize("scheme", ["http://", "https://", "", "//"])
@pytest.mark.parametrize("sign", "@/#?: %\\")
def test_a_password_of_any_signs_is_never_shown(sign: str, scheme: str) -> None:
    """Either the value is refused without it, or results show it masked."""
    url = f"{scheme}admin:left{sign}right@proxy.example.com:3128"
    for key in ("http-proxy", "https-proxy", "no-proxy", "remote-server"):
        try:
            shown = masked(key, parse_config({key: url}, NOW)[key])
        except LivepatchError as error:
            shown = str(error)
        assert "left" not in shown, key
        assert "right" not in shown, key
        assert holds_secret(key, url), key


@pytest.mark.parametrize(
    ("key", "one", "other", "same"),
    [
        ("remote-server", "https://Livepatch.example.com/", "https://livepatch.example.com", True),
        ("remote-server", "", "https://livepatch.canonical.com", True),
        ("remote-server", None, "", True),
        ("remote-server", "https://a.example.com", "https://b.example.com", False),
        ("ca-certs", pem(), pem().strip(), True),
        ("ca-certs", pem(), pem() + pem(), False),
        ("dial-timeout", "90s", "1m30s", True),
        ("dial-timeout", "what", "12s", False),
        ("patch-delay", "1w", "7d", True),
        ("patch-delay", "", "0", True),
        ("cutoff-date", "2024-10-01T12:00:00Z", "2024-10-01T14:00:00+02:00", True),
        ("cutoff-date", "", "2024-10-01T12:00:00Z", False),
        ("cutoff-date", "", "not a time", False),
        ("https-proxy", "http://removed@proxy.example.com:3128", PROXY, True),
        ("check-interval", "60", "", True),
    ],
)
def test_texts_with_the_same_meaning_are_equal(key: str, one: str | None, other: str | None, same: bool) -> None:
    assert same_value(key, one, other) is same
    assert same_value(key, one=other, other=one) is same


def test_masked_values_have_no_secrets() -> None:
    assert masked("https-proxy", PROXY) == "http://***@proxy.example.com:3128"
    assert masked("ca-certs", pem()).startswith("1 certificate(s), SHA-256 ")
    assert masked("ca-certs", pem()) == masked("ca-certs", pem().strip())
    assert masked("remote-server", "") == "https://livepatch.canonical.com"


def test_only_proxies_with_passwords_are_secret() -> None:
    assert holds_secret("https-proxy", PROXY)
    assert not holds_secret("https-proxy", "http://proxy.example.com:3128")
    assert not holds_secret("ca-certs", pem())


def test_every_default_equals_an_empty_value() -> None:
    assert set(SETTINGS) == {
        "http-proxy", "https-proxy", "no-proxy", "remote-server", "ca-certs", "dial-timeout", "check-interval",
        "log-level", "tls-patch-download", "cutoff-date", "patch-delay",
    }  # fmt: skip
    for key in SETTINGS:
        assert same_value(key, effective(key, ""), "")
