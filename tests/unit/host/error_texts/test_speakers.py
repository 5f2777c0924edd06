# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Who can have printed a text: the tool, and the programs and servers that it quotes."""

from __future__ import annotations

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.error_texts.speakers import speakers

CONTRACTS = "https://contracts.canonical.com/v1/context/machines/token"


def test_pro_speaks_for_the_programs_that_it_quotes() -> None:
    assert speakers("pro", "Cannot install Livepatch on a container.") == {"pro"}
    assert {"client", "livepatch_server"} <= speakers("pro", "Unable to enable Livepatch: no")
    assert {"snapd", "store"} <= speakers("pro", "snap install x: cannot query the store")
    assert "contract_server" in speakers("pro", f"Failed to connect to {CONTRACTS}")
    assert "contract_server" not in speakers("snap", f"Failed to connect to {CONTRACTS}")
