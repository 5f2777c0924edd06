# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The status line on a terminal that other processes use too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.conftest import COLLECTIONS
from tests.integration.terminal import run_python_on_terminal

ASK = """
import sys, termios, threading, time
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.status_line import StatusLine, can_be_shown

assert can_be_shown()
line = StatusLine(lambda columns: f"1/2 {columns}", threading.RLock())
time.sleep(0.6)
WAY
time.sleep(0.6)
line.close()
print("!")
"""
SECRETLY = """
mode = termios.tcgetattr(0)
mode[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, mode)
open("/dev/tty", "w").write("Password: ")
"""
OPENLY = """
print("Word: ", end="", flush=True)
"""


@pytest.mark.parametrize(("way", "end"), [(SECRETLY, "Password: !"), (OPENLY, "Word: !")], ids=["secretly", "openly"])
def test_a_question_is_not_drawn_over(way: str, end: str, tmp_path: Path) -> None:
    """A child asks on the terminal itself, without echo, or this process without the end of a line."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(COLLECTIONS)}
    terminal = run_python_on_terminal(tmp_path, environment, ["-c", ASK.replace("WAY", way)], 60)
    assert terminal.progress[0] == "1/2 59", terminal.lines
    assert terminal.code == 0, "\n".join(terminal.lines)
    assert terminal.lines[0].endswith(end)
