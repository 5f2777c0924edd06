# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documents of a record folder, as read: a record, a failed attempt, or a file that cannot be used."""

from __future__ import annotations

import dataclasses
import typing as t

from .._record import Reason, Record, limit_reasons
from .spool import SplitText

ATTEMPT_SCHEMA = "kernelops.livepatch/attempt/1"

AttemptCause = t.Literal["unreachable", "permission", "timed_out", "answer_unusable", "not_stored"]
ATTEMPT_CAUSES: tuple[AttemptCause, ...] = t.get_args(AttemptCause)

_CAUSES: dict[str, AttemptCause] = {
    "connection_failed": "unreachable",
    "no_answer": "unreachable",
    "timed_out": "timed_out",
    "interrupted": "timed_out",
    "sudo_requires_tty": "permission",
    "become_password_missing": "permission",
    "become_password_wrong": "permission",
    "become_not_allowed": "permission",
    "become_not_installed": "permission",
    "not_root": "permission",
    "permission_denied": "permission",
    "record_not_stored": "not_stored",
}
"""The cause of a failed attempt by the id of its first reason. All other ids are of answers that cannot be used."""


class AttemptGroups(t.TypedDict, total=False):
    """The groups of a host by key, if a failed attempt has any."""

    groups: dict[str, str]


class Attempt(AttemptGroups):
    """A failed attempt as it is stored. `attempted_at` is RFC 3339 in UTC."""

    schema: str
    host: str
    attempted_at: str
    cause: AttemptCause
    reasons: list[Reason]


class Recorded(t.NamedTuple):
    """A record, and its text."""

    record: Record
    text: SplitText


@dataclasses.dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A host gave no answer at `attempted_at` (RFC 3339, UTC). `cause` is one of `ATTEMPT_CAUSES`.

    `groups` are the groups of the host, as in a record.
    """

    host: str
    attempted_at: str
    reasons: list[Reason]
    cause: AttemptCause = "unreachable"
    groups: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def attempt_of(
    host: str, attempted_at: str, reasons: list[Reason], groups: t.Mapping[str, str] | None = None
) -> Attempt:
    """Return the failed attempt to store for a host."""
    attempt = Attempt(
        schema=ATTEMPT_SCHEMA,
        host=host,
        attempted_at=attempted_at,
        cause=cause_of(reasons),
        reasons=limit_reasons(reasons),
    )
    if groups:
        attempt["groups"] = dict(groups)
    return attempt


def cause_of(reasons: t.Sequence[Reason]) -> AttemptCause:
    """Return the cause of a failed attempt with these reasons."""
    return _CAUSES.get(reasons[0]["id"], "answer_unusable") if reasons else "unreachable"


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A file or folder that could not be used. `host` is the host the file belongs to, if known."""

    id: str
    path: str
    message: str
    host: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return dataclasses.asdict(self)


Document: t.TypeAlias = "Recorded | FailedAttempt | Problem"
