# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The question to the server, where the library for it is not there or not wanted yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._server import kernel_support

QUESTION = kernel_support.KernelQuestion("4.4", "generic", "amd64", "xenial", "unknown")


def test_without_requests_the_server_gives_no_word_and_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(kernel_support.ServerError, match="pip install requests"):
        kernel_support.ask_kernel_supported("https://livepatch.example.com", QUESTION)


def test_who_asks_no_server_does_not_wait_for_requests() -> None:
    program = f"import sys, {kernel_support.__name__}; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
