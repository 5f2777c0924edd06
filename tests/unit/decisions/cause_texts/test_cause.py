# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A cause as a reason and as an error."""

from __future__ import annotations

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.cause_texts.cause import Cause

EXAMPLE = Cause("disk_full", "the disk {disk} is full", "delete files on {disk}")


def test_reason_has_values_and_detail() -> None:
    reason = EXAMPLE.reason("0 bytes left", disk="/dev/{x}")
    assert reason == {
        "id": "disk_full",
        "message": "the disk /dev/{x} is full: 0 bytes left",
        "remedy": "delete files on /dev/{x}",
    }
    assert Cause("done", "all is done").reason() == {"id": "done", "message": "all is done", "remedy": None}


def test_error_has_the_text_of_the_reason() -> None:
    error = EXAMPLE.error("0 bytes left", disk="/")
    assert {"id": error.id, "message": error.message, "remedy": error.remedy} == EXAMPLE.reason(
        "0 bytes left", disk="/"
    )
