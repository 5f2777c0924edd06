# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of an answer that is missing, incomplete or not usable."""

from __future__ import annotations

from .cause import Cause

HOST_TIMED_OUT = Cause(
    "timed_out",
    "the host did not complete its answer within {seconds} s",
    "run the command `true` on the host with the same connection, and look for a program or a mount that hangs; for a"
    " slow host, increase `answer_timeout` (in the playbooks: livepatch_answer_timeout)",
)
ANSWER_TOO_LARGE = Cause(
    "answer_too_large",
    "the host sent more than any answer of the script can have, and the connection was closed",
    "run the command `true` on the host with the same connection, and find out what else the host prints",
)
TASK_TIMED_OUT = Cause(
    "timed_out",
    "the task was ended by its time limit before the host had answered",
    "increase `timeout` of the task, or look for a program or a mount that hangs on the host",
)
TASK_ENDED = Cause("interrupted", "the task was ended before the host had answered", "run the task again")
RECORD_TRUNCATED = Cause(
    "record_truncated",
    "the answer of the host is too large for a record, and entries are missing from it",
    "run `canonical-livepatch status` on the host, and find out why its output is so large",
)
INTERNAL_ERROR = Cause(
    "internal_error",
    "the answer of the host caused an unexpected error in this collection ({place})",
    "run the task again with -vvv, and report the error with its traceback",
)
ANSWER_CUT_SHORT = Cause(
    "answer_cut_short", "the answer of the host is incomplete, so some facts are unknown", "run the check again"
)
CLOCK_SKEW = Cause(
    "clock_skew",
    "the clock of the host is {span} {direction} the controller's, so its times prove nothing",
    "correct the clock of the host (timedatectl set-ntp true), or that of the controller, and run the check again",
)
CLOCK_UNKNOWN = Cause(
    "clock_unknown", "the host did not report its time, so its clock could not be compared", "run the check again"
)
REBOOT_REQUESTED = Cause(
    "reboot_requested",
    "packages that are not the kernel request a reboot: {packages}",
    "reboot the host when it is convenient",
)
NOTHING_KNOWN = Cause(
    "nothing_known", "the host sent too few facts to determine its state", "run the check again as root"
)
