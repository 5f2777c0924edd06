# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documents of a record folder, as read: a record, a failed attempt, or a file that cannot be used."""

from __future__ import annotations

import dataclasses
import typing as t

from .._record import Reason, Record

ATTEMPT_SCHEMA = "kernelops.livepatch/attempt/1"


class Recorded(t.NamedTuple):
    """A record, and its sections as `spool.sections_of` writes them."""

    record: Record
    sections: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A host gave no answer at `attempted_at` (RFC 3339, UTC)."""

    host: str
    attempted_at: str
    reasons: list[Reason]


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
