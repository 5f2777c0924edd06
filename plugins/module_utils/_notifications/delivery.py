# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Send notifications about a report. A target that fails never loses the report, and never delays it without limit."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t
from pathlib import Path

from .._errors import LivepatchError, sentence
from .._report.report import Report
from .._server.download import Downloader, DownloadOptions
from .mail import send_mail
from .messages import Message, json_body, mail_of, message_of
from .targets import MAIL, Target, parse_targets

_RETRIES = 1


@dataclasses.dataclass(frozen=True)
class Notification:
    """The result for a target. `status` is ``sent``, ``failed``, ``not_due``, or in check mode ``would_send``.

    `reason` states why it failed or is not due.
    """

    target: Target
    status: str
    reason: str | None = None
    remedy: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """Return plain data without secrets."""
        return {
            "name": self.target.name,
            "type": self.target.type,
            "status": self.status,
            "reason": self.reason,
            "remedy": self.remedy,
        }

    def warning(self) -> str:
        """Return a text for a target that failed."""
        causes = " ".join(map(sentence, filter(None, (self.reason, self.remedy))))
        return f"The notification {self.target.name!r} was not sent. {causes}"


@dataclasses.dataclass(frozen=True)
class Notifier:
    """Targets, and how they are reached. None for the authorities and the proxy of the environment."""

    targets: tuple[Target, ...] = ()
    ca_path: str | None = None
    proxy: str | None = None

    @classmethod
    def of(cls, options: c.Mapping[str, t.Any]) -> Notifier:
        """Return the notifier for the options of the module. Raises `LivepatchError` (``options_invalid``)."""
        return cls(parse_targets(options["notify"]), options["ca_path"], options["proxy"])

    @property
    def download_options(self) -> DownloadOptions:
        """Return the same connection for downloads."""
        return DownloadOptions(self.ca_path, self.proxy)

    def notify(self, report: Report, *, failed: bool, page: Path | None, check_mode: bool) -> list[Notification]:
        """Notify all targets that are due. `failed` is true for a run that the results of the report make fail."""
        if not self.targets:
            return []
        message = message_of(report, page)
        found = []
        for target in self.targets:
            reason = _not_due(target, report, failed=failed)
            if reason is not None:
                found.append(Notification(target, "not_due", reason))
            elif check_mode:
                found.append(Notification(target, "would_send", message.subject))
            else:
                found.append(self._send(target, message))
        return found

    def _send(self, target: Target, message: Message) -> Notification:
        try:
            if target.type == MAIL:
                send_mail(target, mail_of(target, message), self.ca_path)
            else:
                self._post(target, message)
        except LivepatchError as error:
            return Notification(target, "failed", target.hide(error.message), error.remedy)
        return Notification(target, "sent")

    def _post(self, target: Target, message: Message) -> None:
        headers = {"Content-Type": "application/json"}
        if target.authorization:
            headers["Authorization"] = target.authorization
        options = DownloadOptions(self.ca_path, self.proxy, float(target.timeout), _RETRIES)
        Downloader(options).post(target.url, json_body(target.type, message), headers)


def failure(notifications: c.Sequence[Notification]) -> LivepatchError | None:
    """Return the error of the first required target that failed."""
    for each in notifications:
        if each.status == "failed" and each.target.required:
            return LivepatchError(
                "notification_failed",
                f"the report is complete, but the notification {each.target.name!r} was not sent: {each.reason}",
                each.remedy,
            )
    return None


def _not_due(target: Target, report: Report, *, failed: bool) -> str | None:
    """Return the reason why a target gets no notification."""
    changes = report.changes
    if target.when == "always" or (target.when == "failure" and failed):
        return None
    if changes is None:
        return "there is no earlier report to compare with"
    if changes.repeated:
        return "this report has the same records and results as the last one"
    if not changes:
        return "nothing changed"
    if target.when == "failure" and not changes.worse:
        return "nothing became worse"
    return None
