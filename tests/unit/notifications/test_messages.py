# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Bodies of notifications: the form that each receiver expects, and no markup from hosts."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.messages import (
    json_body,
    mail_of,
    message_of,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.targets import WEBHOOKS, parse_targets
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.run_context import RunContext
from tests.samples.changes import a_changed_report, compared, fresh, reported
from tests.samples.reports import HOSTILE, hostile_record, recorded

MESSAGE = message_of(a_changed_report(), Path("/srv/report/fleet.html"))


def body(kind: str, message: t.Any = MESSAGE) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(json_body(kind, message))
    return found


def test_a_webhook_gets_numbers_and_text() -> None:
    document = body("webhook")
    assert document["schema"] == "kernelops.livepatch/notification/1"
    assert document["protection"] == {"protected": 1, "outdated": 0, "eligible": 3}
    assert document["changes"]["unprotected"]["first"][0]["host"] == "web1"
    assert document["report"] == "file:///srv/report/fleet.html"
    assert "web1: protected -> failed" in document["text"]
    assert document["subject"].startswith("Livepatch report: 1 of 3 protected; 1 no longer protected")


def test_chats_get_a_code_block() -> None:
    for kind in ("slack", "mattermost"):
        assert set(body(kind)) == {"text"}
        assert body(kind)["text"].startswith("```\nLivepatch report: 1 of 3 protected")
        assert body(kind)["text"].endswith("\n```")
    assert "-&gt; failed" in body("slack")["text"]


def test_teams_gets_an_adaptive_card() -> None:
    document = body("teams")
    [attachment] = document["attachments"]
    assert (document["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    texts = [run["text"] for block in card["body"] for run in block["inlines"]]
    assert texts[0].startswith("Livepatch report: 1 of 3 protected")
    assert "  web1: protected -> failed: The patch could not be applied." in texts


@functools.cache
def many_hosts() -> list[t.Any]:
    """Return records of more hosts than a message can list."""
    return [fresh(f"web{number}") for number in range(2000)]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_hosts_stay_text(text: str) -> None:
    now = reported(recorded(hostile_record(text)), *many_hosts())
    now = dataclasses.replace(now, changes=compared(reported(), now), context=RunContext(text))
    message = message_of(now, None)
    assert message.subject.isprintable()
    assert all(line.isprintable() for line in message.lines)
    for kind in WEBHOOKS:
        assert len(json_body(kind, message)) < 28_000, "the limit of Teams is the lowest"
    for kind in ("slack", "mattermost"):
        assert body(kind, message)["text"].count("```") == 2
    assert not {"<", ">"} & set(body("slack", message)["text"])


def test_a_mail_has_headers_for_people_and_programs() -> None:
    entry = {"type": "mail", "host": "h", "from": "livepatch@example.com", "to": ["a@example.com", "b@example.com"]}
    mail = mail_of(parse_targets([entry])[0], MESSAGE)
    assert mail["Subject"] == MESSAGE.subject
    assert mail["To"] == "a@example.com, b@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.com>")
    assert "web1: protected -> failed" in mail.get_content()
