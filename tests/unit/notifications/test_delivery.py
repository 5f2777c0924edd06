# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Notifications over real connections: when they are sent, and what happens if a server misbehaves."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications import delivery
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.delivery import Notification, Notifier
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.targets import parse_targets
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from tests.lab.certificates import Authority, make_authority
from tests.samples.changes import EARLIER, a_changed_report, compared, fresh, reported
from tests.samples.webhook import SECRET, webhook
from tests.unit.server.hostile_server import serving

CHANGED = a_changed_report()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def notify(
    url: str, report: Report = CHANGED, *, ca: Authority | None = None, failed: bool = False, **changes: t.Any
) -> Notification:
    check_mode = changes.pop("check_mode", False)
    targets = parse_targets([{"type": "webhook", "url": url, "timeout": 2, **changes}])
    notifier = Notifier(targets, str(ca.certificate) if ca else None)
    [found] = notifier.notify(report, failed=failed, page=None, check_mode=check_mode)
    assert "SECRET" not in json.dumps(found.as_dict()) + found.warning()
    return found


def test_a_message_arrives_over_tls(authority: Authority) -> None:
    with webhook(authority) as server:
        assert notify(server.url, ca=authority, authorization="Bearer x").status == "sent"
        [(path, authorization, document)] = server.received
        assert (path, authorization) == (f"/{SECRET}", "Bearer x")
        assert document["changes"]["unprotected"]["number"] == 1
        refused = notify(server.url)
    assert refused.status == "failed"
    assert "is not trusted" in str(refused.reason)
    assert len(server.received) == 1


def same() -> Report:
    now = reported(fresh("web1"))
    return dataclasses.replace(now, changes=compared(reported(fresh("web1", at=EARLIER), at=EARLIER), now))


def fixed() -> Report:
    now = reported(fresh("web1"))
    return dataclasses.replace(now, changes=compared(reported(fresh("web1", "failed", EARLIER), at=EARLIER), now))


def repeated() -> Report:
    assert CHANGED.changes is not None
    return dataclasses.replace(CHANGED, changes=dataclasses.replace(CHANGED.changes, repeated=True))


@pytest.mark.parametrize(
    ("when", "report", "failed", "status"),
    [
        ("changes", CHANGED, False, "sent"),
        ("changes", same(), False, "not_due"),
        ("changes", repeated(), False, "not_due"),
        ("changes", reported(fresh("web1", "failed")), True, "not_due"),
        ("failure", CHANGED, False, "sent"),
        ("failure", fixed(), False, "not_due"),
        ("failure", fixed(), True, "sent"),
        ("failure", reported(fresh("web1", "failed")), True, "sent"),
        ("always", same(), False, "sent"),
        ("always", reported(fresh("web1")), False, "sent"),
        ("always", repeated(), False, "sent"),
    ],
)
def test_a_message_is_sent_when_it_is_due(when: str, report: Report, failed: bool, status: str) -> None:
    with webhook() as server:
        found = notify(server.url, report, failed=failed, when=when)
        assert (found.status, len(server.received)) == (status, int(status == "sent"))
    assert bool(found.reason) == (status == "not_due")


def test_check_mode_sends_nothing() -> None:
    with webhook() as server:
        found = notify(server.url, check_mode=True)
        assert (found.status, server.received) == ("would_send", [])
    assert str(found.reason).startswith("Livepatch report: 1 of 3 protected")


def test_a_temporary_failure_is_repeated_once() -> None:
    with webhook() as server:
        server.answers = [(503, "")]
        assert notify(server.url).status == "sent"
        server.answers = [(500, ""), (500, "")]
        found = notify(server.url)
        assert "the server answered 500" in str(found.reason)
        assert len(server.received) == 4


def test_a_refusal_has_its_reason() -> None:
    with webhook() as server:
        server.answers = [(404, "")]
        assert str(notify(server.url).reason).endswith("the server answered 404 (no_service)")
        assert len(server.received) == 1


def test_redirects_stay_within_the_server() -> None:
    with webhook() as server, webhook() as other:
        server.answers = [(307, "/moved")]
        assert notify(server.url).status == "sent"
        assert [path for path, _authorization, _document in server.received] == [f"/{SECRET}", "/moved"]
        for status, location in ((302, f"{other.place}/x"), (307, other.url), (302, "/moved"), (308, "ftp://x/")):
            server.answers = [(status, location)]
            assert notify(server.url).status == "failed"
        assert other.received == []
        server.answers = [(307, "/again")] * 9
        assert "redirects more than 5 times" in str(notify(server.url).reason)


@pytest.mark.parametrize(
    ("answer", "drip", "reason"),
    [
        (b"", b"", ""),
        (b"", b"H", "did not answer completely within 1 seconds"),
        (b"HTTP/1.1 400 no\r\n\r\n", b"x" * 10_000, "the server answered 400"),
        (b"HTTP/1.1 302 x\r\nLocation: http://localhost:1/y\r\n\r\n", b"x" * 10_000, "where the content is not sent"),
        (b"not HTTP at all\r\n\r\n", b"", ""),
    ],
)
def test_broken_servers_end_in_time(answer: bytes, drip: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_RETRIES", 0)
    with serving(answer, drip) as server:
        found = notify(server.url, timeout=1)
    assert found.status == "failed"
    assert reason in str(found.reason)
    assert found.remedy


def test_an_endless_answer_to_an_accepted_message_is_not_read() -> None:
    with serving(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000) as server:
        assert notify(server.url, timeout=1).status == "sent"


def test_every_target_is_notified_and_a_required_one_is_an_error() -> None:
    with webhook() as server:
        targets = [
            {"type": "slack", "url": "http://localhost:1/SECRET/x", "required": True, "timeout": 1},
            {"type": "teams", "url": server.url},
        ]
        found = Notifier(parse_targets(targets)).notify(CHANGED, failed=False, page=None, check_mode=False)
        assert [each.status for each in found] == ["failed", "sent"]
        assert [document["type"] for _path, _authorization, document in server.received] == ["message"]
    error = delivery.failure(found)
    assert error is not None
    assert error.id == "notification_failed"
    assert "the notification 'slack localhost' was not sent" in error.message
    assert delivery.failure(found[1:]) is None
