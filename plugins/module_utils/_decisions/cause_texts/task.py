# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a task that cannot change its host."""

from __future__ import annotations

from .cause import ALLOW_COMMAND_LINE, AS_ROOT, READ_JOURNAL, Cause

NOT_ROOT = Cause("not_root", "the task does not run as root on the host, and {action} needs root", AS_ROOT)
INTERRUPTED = Cause("interrupted", "the answer of the host is incomplete", "run the task again; it continues its work")
PRO_MISSING = Cause(
    "pro_missing",
    "the host has no Ubuntu Pro client that answers `pro status --format json`",
    "install ubuntu-pro-client (ubuntu-advantage-tools 27 or newer), or use `via: livepatch`",
)
MODE_STOP = Cause(
    "mode_stop",
    "the client's mode is stop: its daemon does not run and accepts no commands",
    "set `mode` to normal, or to no-apply to withhold patches",
)
MODE_ON_COMMAND_LINE = Cause(
    "mode_on_command_line",
    "the kernel command line of the host sets the client's mode to {mode} (canonical_livepatch_mode={mode}){conflict}",
    "remove canonical_livepatch_mode from GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, run"
    " `update-grub` and reboot; or set `mode` to {mode}",
)
NOT_CONFIRMED = Cause(
    "not_confirmed",
    "all steps succeeded, but the host does not show the result",
    f"run `canonical-livepatch status` on the host, and {READ_JOURNAL}",
)
REFRESH_TIMED_OUT = Cause(
    "refresh_timed_out",
    "the client did not complete its refresh",
    f"{READ_JOURNAL}, and run the task again",
)
NOT_ELIGIBLE = Cause("not_eligible", "the host is not eligible: {reasons}", "{remedy}")
PRO_ATTACHED_OTHERWISE = Cause(
    "pro_attached_otherwise",
    "the machine is attached to Ubuntu Pro with another token, which its other services also use",
    "to change the token, run `pro detach` on the host first",
)
SOCKET_WITHOUT_TOOL = Cause(
    "socket_unavailable",
    "the host has no curl or nc that supports the daemon's socket",
    f"install curl on the host, or {ALLOW_COMMAND_LINE}",
)
