# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A row: alternatives that match in any case, and exceptions."""

from __future__ import annotations

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.error_texts.row import row


def test_a_row_joins_alternatives_without_case() -> None:
    built = row("disk_full", "snapd apt", ["no space left", "disk is full"], ("snap", "No space left", "Linux"))
    assert built.speakers == {"snapd", "apt"}
    assert built.pattern.search("the Disk Is Full")
    assert not built.pattern.search("disk")
    assert [(example.tool, example.source) for example in built.examples] == [("snap", "Linux")]
    assert (built.is_status, built.unless) == (False, None)


def test_a_row_can_have_exceptions() -> None:
    built = row("apt_locked", "apt", ["lock"], unless=["permission denied", "read-only"], is_status=True)
    assert built.unless is not None
    assert built.unless.search("Permission denied")
    assert built.is_status
