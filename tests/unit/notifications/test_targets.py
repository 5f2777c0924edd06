# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Targets of notifications: every fault is named, and no secret is."""

from __future__ import annotations

import base64
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.targets import (
    ARGUMENTS,
    parse_targets,
    target_faults,
)

SECRET = "https://hooks.example.com/services/T0SECRET/B0SECRET?sig=SIGSECRET%2F1"
SLACK: dict[str, t.Any] = {"type": "slack", "url": SECRET}
MAIL: dict[str, t.Any] = {"type": "mail", "host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com"]}


@pytest.mark.parametrize(
    "entry", [SLACK, MAIL, {**MAIL, "user": "u", "password": "p", "port": "2525", "to": "b@c.d,e@f"}]
)
def test_valid_targets_have_no_faults(entry: dict[str, t.Any]) -> None:
    assert target_faults([entry]) == []
    [target] = parse_targets([{**dict.fromkeys(ARGUMENTS), "security": "starttls", **entry}])
    assert target.type == entry["type"]


def test_defaults_depend_on_the_type() -> None:
    slack, mail, tls = parse_targets([SLACK, {**MAIL, "to": "b@c.d,e@f"}, {**MAIL, "security": "tls"}])
    assert (slack.name, slack.when, slack.required, slack.timeout) == ("slack hooks.example.com", "changes", False, 15)
    assert (mail.port, mail.recipients, tls.port) == (587, ("b@c.d", "e@f"), 465)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("https://x", "expected a list of targets, each a mapping with type"),
        ([SLACK] * 21, "there are 21 targets, and at most 20 are allowed"),
        (["slack"], "target 1: expected a mapping with type"),
        ([{}], "target 1: type is missing; use one of webhook, slack, teams, mattermost, mail"),
        ([{"type": "slak"}], "target 1: type is 'slak', and must be one of"),
        ([{**SLACK, "urll": "x"}], "target 1: there is no key 'urll'; did you mean 'url'?"),
        ([{**SLACK, "host": "x"}], "target 1: host has no meaning for the type slack"),
        ([MAIL, {**MAIL, "url": "x"}], "target 2: url has no meaning for the type mail"),
        (
            [{**SLACK, "when": "change"}],
            "when is 'change', and must be one of changes, failure, always; did you mean 'changes'?",
        ),
        ([{**SLACK, "timeout": 0}], "timeout is not a whole number from 1 to 120"),
        ([{**SLACK, "timeout": True}], "timeout is not a whole number"),
        ([{**SLACK, "required": "perhaps"}], "required is neither true nor false"),
        ([{"type": "teams"}], "url is missing"),
        ([{"type": "teams", "url": "hooks.example.com/SECRET"}], "url is not a URL"),
        ([{"type": "teams", "url": "ftp://x/SECRET"}], "url is not a URL"),
        ([{"type": "teams", "url": "https://x:99999/SECRET"}], "url is not a URL"),
        ([{"type": "teams", "url": "https://x/SECRET\nX: y"}], "url is not a URL"),
        ([{**SLACK, "authorization": "Bearer SECRET\r\nX: y"}], "authorization is not one line of text"),
        ([{**MAIL, "host": None}], "host is missing"),
        ([{**MAIL, "host": "a b"}], "host is not the name of a server"),
        ([{**MAIL, "port": 70000}], "port is not a whole number from 1 to 65535"),
        ([{**MAIL, "security": "ssl"}], "security is 'ssl'"),
        ([{**MAIL, "from": "nobody"}], "from has 'nobody', which is not an address"),
        ([{**MAIL, "to": []}], "to is missing"),
        ([{**MAIL, "to": ["a@b.c\nBcc: x@y.z"]}], "which is not an address"),
        ([{**MAIL, "user": "u"}], "user and password are used together"),
        ([{**MAIL, "user": "u", "password": "SECRET", "security": "none"}], "would be sent unencrypted"),
    ],
)
def test_every_fault_is_named(value: t.Any, fault: str) -> None:
    found = target_faults(value)
    assert any(fault in text for text in found), found
    assert "SECRET" not in " ".join(found)


def test_faults_of_the_option_are_one_error() -> None:
    with pytest.raises(LivepatchError) as caught:
        parse_targets([{"type": "slack"}, {"type": "mail"}])
    assert caught.value.id == "options_invalid"
    assert "target 1: url is missing; target 2: host is missing" in caught.value.message


def test_secrets_are_hidden_in_any_form() -> None:
    slack, mail = parse_targets(
        [{**SLACK, "authorization": "Bearer TOKENSECRET"}, {**MAIL, "user": "u", "password": "PASSECRET"}]
    )
    text = f"{SECRET} url: /services/T0SECRET/B0SECRET?sig=SIGSECRET%2F1 B0SECRET SIGSECRET/1 Bearer TOKENSECRET"
    assert "SECRET" not in slack.hide(text)
    assert "hooks.example.com" in slack.hide("https://hooks.example.com refused")
    assert slack.hide(f"cannot send to {slack.url}") == "cannot send to https://hooks.example.com/***"
    assert mail.hide("535 PASSECRET") == "535 ***"
    assert "SECRET" not in f"{slack!r} {mail!r}"


def test_secrets_are_hidden_as_they_are_sent() -> None:
    url = "https://bot:p%40ss@hooks.example.com/in"
    hook, mail = parse_targets([{"type": "webhook", "url": url}, {**MAIL, "user": "bot", "password": "p@ss"}])
    plain, login, password = (base64.b64encode(each).decode() for each in (b"\0bot\0p@ss", b"bot:p@ss", b"p@ss"))
    assert hook.hide(f"401: no user {login}") == "401: no user ***"
    assert mail.hide(f"500 {plain} and {password}?") == "500 *** and ***?"
