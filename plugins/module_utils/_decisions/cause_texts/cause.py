# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A cause, and the clauses that causes of several subjects share."""

from __future__ import annotations

import dataclasses

from ..._errors import LivepatchError
from ..._record import Reason


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """A problem. `message` is one sentence, `remedy` an imperative sentence; both can have placeholders."""

    id: str
    message: str
    remedy: str | None = None

    def reason(self, detail: str = "", /, **values: object) -> Reason:
        """Return the cause as a reason. `detail` is added to the message; `values` replace the placeholders."""
        message = self.message.format(**values)
        return Reason(
            id=self.id,
            message=f"{message}: {detail}" if detail else message,
            remedy=None if self.remedy is None else self.remedy.format(**values),
        )

    def error(self, detail: str = "", /, **values: object) -> LivepatchError:
        """Return the cause as the error that ends a task. The arguments are those of `reason`."""
        reason = self.reason(detail, **values)
        return LivepatchError(reason["id"], reason["message"], reason["remedy"])


DAEMON = "snap.canonical-livepatch.canonical-livepatchd"
AS_ROOT = "run the task as root: add --become, or set become: true"
UPGRADE_INSTEAD = "patch this host with kernel upgrades and reboots"
STEP = "{step}"
"""The remedy of a cause whose next step depends on the host: `next_steps` computes it."""
READ_JOURNAL = f"read `journalctl -u {DAEMON}` on the host"
TRUST_AUTHORITY = "set ca-certs in the client's config to the authority of the server, or of a proxy that inspects TLS"
ALLOW_COMMAND_LINE = "allow the token on a command line with token_transport: cli"
READ_OUTPUT = "read the quoted output"
REFRESH = "refresh the client: canonical-livepatch refresh"
RUN_AGAIN = "and run the task again"
WAIT_FOR_SERVER = f"wait until it works again, {RUN_AGAIN}, or increase `retry_timeout`"
SET_CLOCK = "compare the clock of the host (`date -u`) with the real time, and set it: timedatectl set-ntp true"
SYSTEM_AUTHORITIES = "if the clock is right, update the package ca-certificates on the host"
