# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Find the settings of a host that withhold patches from it.

Sources: Canonical's documentation of the client, "How to disable Livepatch during startup", "How to disable the client"
and "Patch cut-off date".
"""

from __future__ import annotations

import collections.abc as c
import re

from ..._host.client_status import BlockedPatches
from ..._host.facts import ClientMode
from ..._record import Reason
from .. import causes
from .evidence import Evidence

_EFFECTS = {
    "stop": "its daemon does not start",
    "no-apply": "it applies no new patches",
    "no-refresh": "it does not ask the server for patches",
}
_GRUB_PARAMETERS = (
    "GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub and /etc/default/grub.d, run `update-grub`"
)
_ZIPL_PARAMETERS = "`parameters` in /etc/zipl.conf, run `zipl`"
"""Where the kernel command line is set, and how to apply a change: IBM Z has no GRUB."""
_WITHHOLDING = ("cutoff-date", "patch-delay")
_SHOWN_NOTICES = 5
_KEY = re.compile(r"[a-z][a-z0-9-]{0,63}")


def held_back_reasons(evidence: Evidence) -> list[Reason]:
    """Return a reason for each setting that withholds patches, with the place where it is set and how to undo it."""
    facts = evidence.facts
    if facts.client_installed is False:
        return []
    reasons = [] if facts.mode is None else _mode(facts.mode, facts.architecture)
    if facts.service_enabled is False:
        reasons.append(causes.SERVICE_DISABLED.reason())
    if evidence.client.enabled:
        reasons.extend(_settings(facts.config or {}, evidence.client.blocked))
    return reasons


def _mode(mode: ClientMode, architecture: str | None) -> list[Reason]:
    effect = _EFFECTS.get(mode.value)
    if effect is None:
        return []
    if mode.source == "kernel_command_line":
        place = _ZIPL_PARAMETERS if architecture == "s390x" else _GRUB_PARAMETERS
        return [causes.WITHHELD_BY_COMMAND_LINE.reason(mode=mode.value, effect=effect, place=place)]
    return [causes.WITHHELD_BY_MODE_FILE.reason(mode=mode.value, effect=effect)]


def _settings(config: c.Mapping[str, str], blocked: BlockedPatches) -> c.Iterator[Reason]:
    notices = ", ".join(blocked.excluded_notices[:_SHOWN_NOTICES])
    more = len(blocked.excluded_notices) - _SHOWN_NOTICES
    detail = f"it excludes {notices}{f' and {more} more' if more > 0 else ''}" if notices else ""
    values = {key: config.get(key, "") for key in _WITHHOLDING}
    active = {key: value for key, value in values.items() if value.strip() and not _is_unset(value)}
    active |= {key: values.get(key, "") for key in blocked.options if _KEY.fullmatch(key)}
    if not active and (blocked.options or blocked.excluded_notices):
        active = {"cutoff-date": ""}
    for key, value in active.items():
        shown = f"{key} ({value})" if value else key
        yield causes.PATCHES_EXCLUDED.reason(detail, setting=shown, key=key)
    interval = config.get("check-interval", "")
    if _is_zero(interval):
        yield causes.CHECKS_DISABLED.reason(interval=interval.strip())


def _is_unset(value: str) -> bool:
    """Return True for a delay of zero, and for the zero time of Go, which means no date."""
    return _is_zero(value) or value.startswith("0001-01-01")


def _is_zero(value: str) -> bool:
    """Return True for a duration of zero in any form: ``0``, ``0s``, ``0h0m``, ``0 minutes``."""
    return set(re.findall(r"[0-9]", value)) == {"0"}
