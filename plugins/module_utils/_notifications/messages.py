# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The bodies of notifications: JSON of a webhook, messages of chats, and mail. No text can add markup or mentions."""

from __future__ import annotations

import email.message
import email.policy
import email.utils
import itertools
import json
import typing as t
from pathlib import Path

from .._report.changes.wording import as_lines
from .._report.report import Report
from .._report.summary import brief
from .._report.summary.protection import protection_of
from .._text import shorten, visible
from .._time import parse_time
from .targets import Target

SCHEMA = "kernelops.livepatch/notification/1"

_ENTRIES = 10  # of each list of changes in a chat or a mail
_ENTRIES_OF_JSON = 50
_MOST_LINES = 60
_LONGEST_LINE = 200
_LONGEST_SUBJECT = 150
_CARD = "application/vnd.microsoft.card.adaptive"


class Message(t.NamedTuple):
    """The content of a notification: a subject, lines of text, and plain data."""

    subject: str
    lines: list[str]
    data: dict[str, t.Any]


def message_of(report: Report, page: Path | None) -> Message:
    """Return the message about a report, within limits of size."""
    subject = shorten(brief.subject(report), _LONGEST_SUBJECT)
    lines = list(brief.lines(report, page))
    if report.changes:
        lines += ["", *as_lines(report.changes, _ENTRIES)]
    if lines[_MOST_LINES:]:
        lines = [*lines[:_MOST_LINES], "The report has more."]
    data = {
        "schema": SCHEMA,
        "title": report.context.title,
        "generated_at": report.generated_at,
        "limit": report.context.limit,
        "hosts": len(report.lines),
        "states": report.states(),
        "protection": protection_of(report)._asdict(),
        "rules": report.findings_by_rule(),
        "changes": report.changes.as_dict(_ENTRIES_OF_JSON) if report.changes else None,
        "report": page.as_uri() if page is not None else None,
    }
    return Message(subject, [shorten(visible(line), _LONGEST_LINE) for line in lines], data)


def json_body(kind: str, message: Message) -> bytes:
    """Return the body for a type of webhook."""
    return json.dumps(_BODIES[kind](message)).encode("ascii")


def _generic(message: Message) -> dict[str, t.Any]:
    return {**message.data, "subject": message.subject, "text": "\n".join(message.lines)}


def _slack(message: Message) -> dict[str, t.Any]:
    # Slack finds links and mentions in angle brackets only, and these three signs are escaped.
    text = _code_block(message).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text}


def _mattermost(message: Message) -> dict[str, t.Any]:
    return {"text": _code_block(message)}


def _code_block(message: Message) -> str:
    """Return a code block, in which chats know neither markup nor mentions. No line can end it."""
    body = "\n".join((message.subject, *message.lines)).replace("`", "'")
    return f"```\n{body}\n```"


def _teams(message: Message) -> dict[str, t.Any]:
    # Unlike a TextBlock, the runs of a RichTextBlock know no Markdown.
    title = _block(message.subject, weight="Bolder")
    blocks = [_block(line or " ", fontType="Monospace") for line in message.lines]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [title, *blocks],
    }
    return {"type": "message", "attachments": [{"contentType": _CARD, "contentUrl": None, "content": card}]}


def _block(text: str, **style: str) -> dict[str, t.Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


_BODIES: dict[str, t.Callable[[Message], dict[str, t.Any]]] = {
    "webhook": _generic,
    "slack": _slack,
    "teams": _teams,
    "mattermost": _mattermost,
}


def mail_of(target: Target, message: Message) -> email.message.EmailMessage:
    """Return a mail. Programs that answer mail do not answer it."""
    mail = email.message.EmailMessage(email.policy.SMTP)
    mail["Subject"] = message.subject
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.recipients)
    mail["Date"] = email.utils.format_datetime(_time(message))
    mail["Message-ID"] = email.utils.make_msgid(domain=target.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("".join(itertools.chain.from_iterable((line, "\n") for line in message.lines)))
    return mail


def _time(message: Message) -> t.Any:
    return parse_time(message.data["generated_at"])
