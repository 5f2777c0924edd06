# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The cause of a failed step: by the id of the failure, and by the tool that printed it."""

from __future__ import annotations

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import causes


def test_a_refused_token_has_the_remedy_of_its_source() -> None:
    own, pro = (causes.command_failure("bad_token", tool) for tool in ("client", "pro"))
    assert own.id == pro.id
    assert "set `token`" in str(own.remedy)
    assert "pro refresh" in str(pro.remedy)
    assert causes.command_failure("pro_busy", "pro") is causes.CLIENT_FAILURES["pro_busy"]
